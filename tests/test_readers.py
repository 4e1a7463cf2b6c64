"""The registry of readers: its order, what a reader refuses, and readers of a user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diabolo.datasets import RawData, ReadOptions, open_dataset, register_reader
from diabolo.datasets._readers import readers
from diabolo.errors import ConfigError, DataError, ShapeError

PIXELS = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_items", dict(readers._items))


def register_squares(**arguments: object) -> None:
    @register_reader("squares", suffixes=(".squares",), **arguments)  # type: ignore[arg-type]
    def read(path: Path, options: ReadOptions) -> RawData:
        side = options.size[0] if options.size else 4
        values = np.fromfile(path, np.uint8).reshape(-1, side, side)
        return RawData(x=values, name=path.stem, labels=options.label and [options.label] * len(values), layout="HW")


def test_a_reader_for_a_suffix_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "two.SQUARES"
    path.write_bytes(PIXELS.tobytes())
    with pytest.raises(
        DataError,
        match=r"has '.SQUARES'; files that can be read: .npy, .npz, .csv, .tsv, .txt, .dat, .data, .parquet, .tar",
    ):
        open_dataset(path)
    register_squares()
    dataset = open_dataset(path)
    assert (dataset.name, dataset.layout, dataset.x.dtype) == ("two", "HW", np.uint8)
    np.testing.assert_array_equal(dataset.x, PIXELS)
    with pytest.raises(DataError, match=r"that can be read: .squares, .npy"):
        open_dataset(Path(__file__))


def test_options_that_a_reader_does_not_take_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.squares"
    path.write_bytes(PIXELS.tobytes())
    register_squares()
    with pytest.raises(ConfigError, match="size= is for images"):
        open_dataset(path, size=2)
    with pytest.raises(DataError, match="labels='kind' names a column"):
        open_dataset(path, labels="kind")
    register_squares(takes=("labels", "size"))  # takes the place of the first
    assert open_dataset(path, size=2).x.shape == (8, 2, 2)
    assert open_dataset(path, labels="kind").classes == ("kind",)


def test_what_a_reader_returns_is_checked() -> None:
    @register_reader("letters", kind="name", accepts=lambda name: name.startswith("letters:"))
    def read(name: str, options: ReadOptions) -> RawData:
        return RawData(x=np.array([[float(part)] for part in name[8:].split(",")]), name="letters", layout="HW")

    with pytest.raises(ShapeError, match="layout 'HW'"):
        open_dataset("letters:1,2")
    with pytest.raises(DataError, match="NaN"):
        open_dataset("letters:1,nan", layout="F")
    assert open_dataset("letters:1,2", layout="F").x.dtype == np.float32


def test_readers_of_one_kind_are_asked_by_rank(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)

    def register(name: str, rank: int) -> None:
        @register_reader(name, suffixes=(".npy",), rank=rank)
        def read(path: Path, options: ReadOptions) -> RawData:
            return RawData(x=PIXELS[:1], name=name)

    register("after", 99)
    assert open_dataset(tmp_path / "x.npy").name == "x"
    register("before", 0)
    assert open_dataset(tmp_path / "x.npy").name == "before"


def test_registrations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="one of name, object, pattern, folder, file, and is 'url'"):
        register_reader("web", kind="url", accepts=bool)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="give it suffixes=, accepts=, or both"):
        register_reader("nothing")
