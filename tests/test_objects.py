"""Arrays of other makes: columns called by numbers, lists of unlike images, objects, numbers that are too large."""

from __future__ import annotations

import io
import tarfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import diabolo
from diabolo import open_dataset
from diabolo.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("environment", "here")

PX = np.random.default_rng(0).integers(0, 255, (24, 8, 8), dtype=np.uint8)
Y = np.arange(24) % 3


def test_columns_may_be_called_by_numbers() -> None:
    frame = pd.DataFrame(np.arange(24.0).reshape(8, 3) % 6)
    for name in (2, np.int64(2), "2"):
        data = open_dataset(frame, labels=name)
        assert (data.features, data.classes) == (("0", "1"), ("2", "5"))
    assert open_dataset(frame, columns=[2, 0]).features == ("2", "0")
    assert open_dataset(frame, columns=2).x.tolist() == frame[[2]].to_numpy().tolist()
    frame.to_csv("t.csv", index=False)
    assert open_dataset("t.csv", labels=2).classes == ("2", "5")
    model = diabolo.train("t.csv", labels=2, columns=[1, 0], latent_dim=1, widths=(4,), epochs=1, out="run")
    assert np.array_equal(diabolo.load("run").encode(frame[[2, 1, 0]]), model.encode("t.csv"))
    with pytest.raises(DataError, match="names a column of a table"):
        open_dataset(np.eye(3), labels=2)
    with pytest.raises(ConfigError, match="columns should be"):
        open_dataset(frame, columns=2.5)  # type: ignore[arg-type]


def _objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = list(items)
    return array


UNLIKE: dict[str, Any] = {
    "arrays": [np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((9, 9))],
    "arrays of one height": [np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 9))],
    "colour beside grey": [np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8, 3))],
    "tensors": [torch.zeros(8, 8), torch.zeros(8, 8), torch.zeros(9, 9)],
    "images": [Image.fromarray(np.zeros(shape, np.uint8)) for shape in ((8, 8), (8, 8), (9, 9))],
    "objects": _objects(np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((9, 9))),
    "lists": [[[0] * 8] * 8, [[0] * 8] * 8, [[0] * 9] * 9],
}


@pytest.mark.parametrize("kind", UNLIKE)
def test_examples_of_unlike_shapes_are_named(kind: str) -> None:
    with pytest.raises(DataError, match=r"row 0 has the shape \(8, 8\), and row 2 \([89], .*pad, cut or resize"):
        open_dataset(UNLIKE[kind])
    model = diabolo.train(PX, latent_dim=2, widths=(4,), epochs=1)
    with pytest.raises(DataError, match=r"and row 2 \("):
        model.encode(UNLIKE[kind])


def test_objects_that_are_numbers() -> None:
    assert open_dataset(np.array([[1, 2.5], [3, True]], object)).x.tolist() == [[1, 2.5], [3, 1]]
    assert np.array_equal(open_dataset(_objects(PX[0], PX[1])).x, PX[:2])
    with pytest.raises(DataError, match=r"example 1, position \(0,\) \(nan\)"):
        open_dataset(np.array([[1, 2], [None, 3]], object))
    with pytest.raises(DataError, match="Python objects"):
        open_dataset(np.array([["a", 2]], object))


@pytest.mark.parametrize(
    "large", [1e300, -1e39, 10**400, np.longdouble("1e4000")], ids=["1e300", "-1e39", "int", "longdouble"]
)
def test_numbers_that_are_too_large_end_in_one_error_and_no_warning(large: Any) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    model = diabolo.train(x, latent_dim=2, widths=(4,), epochs=1)
    rows = np.array([[large, 1, 2]], None if isinstance(large, (float, np.longdouble)) else object)
    doors: list[Callable[[], Any]] = [
        *(
            lambda answer=answer: answer(rows)
            for answer in (model.encode, model.score, model.reconstruct, open_dataset)
        ),
        lambda: model.decode(rows[:, :2]),
        lambda: open_dataset(pd.DataFrame(rows)),
        lambda: model.encode(pd.DataFrame(rows)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for door in doors:
            with pytest.raises(DataError):
                door()


def _deep(path: str, high: int, kind: str) -> np.ndarray:
    """Writes six images of 16 bits, with a label each; returns their values."""
    values = np.tile(np.linspace(0, high, 16).astype(np.uint16), (6, 16, 1))
    data = []
    for image in values:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        data.append(buffer.getvalue())
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            for i, one in enumerate(data):
                member = tarfile.TarInfo(f"{i}.png")
                member.size = len(one)
                archive.addfile(member, io.BytesIO(one))
    else:
        pyarrow.parquet.write_table(pyarrow.table({"image": [{"bytes": one, "path": None} for one in data]}), path)
    return values


@pytest.mark.parametrize("kind", ["parquet", "tar"])
@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize(("high", "white"), [(4095, 4095), (60000, 65535)])
def test_images_of_16_bits_keep_them_in_other_containers(kind: str, memory: float, high: int, white: int) -> None:
    values = _deep(f"deep.{kind}", high, kind)
    data = open_dataset(f"deep.{kind}", memory=memory)
    np.testing.assert_allclose(np.asarray(data.x), values / white, rtol=1e-6)
    assert any(str(white) in note for note in data.notes)
    eight = open_dataset(f"deep.{kind}", memory=memory, white="full")
    assert eight.x.dtype == np.uint8
    assert np.array_equal(np.asarray(eight.x), (values.astype(np.int64) + 128) // 257)
    assert "reduced to 8" in eight.describe()


def test_hugging_face_images_of_16_bits() -> None:
    datasets = pytest.importorskip("datasets")
    values = np.tile(np.linspace(0, 4095, 16).astype(np.uint16), (6, 16, 1))
    images = [Image.fromarray(image) for image in values]
    made = datasets.Dataset.from_dict({"image": images}, features=datasets.Features({"image": datasets.Image()}))
    assert np.array_equal(open_dataset(made).x, values.astype(np.float32) / np.float32(4095))


def test_transparent_images_in_other_containers_get_a_ground() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[2:5, 2:5] = 255
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    pyarrow.parquet.write_table(pyarrow.table({"image": [buffer.getvalue()] * 3}), "a.parquet")
    for ground, corner in (("white", 255), ("black", 0)):
        data = open_dataset("a.parquet", ground=ground)
        assert data.x[0, 0, 0].tolist() == [corner] * 3
        assert f"with transparency, laid on {ground}" in data.describe()


# ruff: noqa: E501 (tables)
ARCHIVES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "glued": ({"xtrain": PX, "ytrain": Y, "xtest": PX[:5], "ytest": Y[:5]}, (29, ("0", "1", "2"), 5, "parts: xtrain")),
    "camels": ({"trainX": PX, "trainY": Y, "testX": PX[:5], "testY": Y[:5]}, (29, ("0", "1", "2"), 5, "parts: trainX")),
    "names": ({"x": PX, "y": Y, "class_names": np.array(["a", "b", "c"])}, (24, ("a", "b", "c"), None, "")),
    "more": ({"arr_0": PX, "arr_1": Y, "arr_2": PX}, (24, ("0", "1", "2"), None, "arrays left out: 'arr_2' (examples=")),
    "mask": ({"images": PX, "mask": PX}, (24, (), None, "arrays left out: 'mask'")),
    "no part": ({"latest": PX}, (24, (), None, "")),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_as_they_are_published(kind: str) -> None:
    arrays, (count, classes, test, says) = ARCHIVES[kind]
    np.savez("a.npz", **arrays)
    data = open_dataset("a.npz")
    assert (len(data), data.classes) == (count, classes)
    assert (data.official_test is None) if test is None else (len(data.official_test) == test)  # type: ignore[arg-type]
    assert says in data.describe()


def test_factors_and_features_of_archives() -> None:
    latents = np.stack([np.zeros(24, int), Y, np.arange(24) % 4, np.arange(24) % 2], 1)
    np.savez("dsprites.npz", imgs=PX % 2, latents_classes=latents, metadata=np.array({"a": 1}, dtype=object))
    data = open_dataset("dsprites.npz")
    assert data.factors is not None
    assert data.factors.tolist() == latents[:, 1:].tolist()
    assert "arrays left out: 'metadata'" in data.describe()
    np.savez("t.npz", data=np.arange(12.0).reshape(6, 2), target=Y[:6], feature_names=np.array(["a", "b"]))
    assert open_dataset("t.npz").features == ("a", "b")
