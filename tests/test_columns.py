"""Columns go by name at every door by which a table reaches a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

import diabolo
from diabolo import bulk
from diabolo.cli import main
from diabolo.errors import DataError
from diabolo.runs import open_data

FRAME = pd.DataFrame(
    {"a": np.arange(60.0), "b": np.arange(60.0) % 7, "c": 100.0 * (np.arange(60) % 5), "kind": ["x", "y"] * 30}
)
pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("columns")
    FRAME.to_csv(folder / "own.csv", index=False)
    diabolo.train(
        str(folder / "own.csv"), labels="kind", latent_dim=2, widths=(8,), epochs=2, model="vae", out=folder / "run"
    )
    return folder


@pytest.fixture
def model(folder: Path) -> diabolo.Autoencoder:
    return diabolo.load(folder / "run")


def _csv(frame: pd.DataFrame) -> Any:
    frame.to_csv("t.csv", index=False)
    return "t.csv"


def as_parquet(frame: pd.DataFrame) -> Any:
    frame.to_parquet("t.parquet")
    return Path("t.parquet")


def as_pieces(frame: pd.DataFrame) -> Any:
    Path("pieces").mkdir(exist_ok=True)
    frame.to_parquet("pieces/1.parquet")
    return "pieces/*.parquet"


def as_hugging_face(frame: pd.DataFrame) -> Any:
    return pytest.importorskip("datasets").Dataset.from_pandas(frame, preserve_index=False)


def _polars(frame: pd.DataFrame) -> Any:
    return pytest.importorskip("polars").from_pandas(frame)


def _dataset(frame: pd.DataFrame) -> Any:
    return diabolo.open_dataset(frame[[name for name in frame if name != "kind"]])


SOURCES: list[Callable[[pd.DataFrame], Any]] = [
    lambda frame: frame,
    _csv,
    as_parquet,
    as_pieces,
    as_hugging_face,
    _polars,
    _dataset,
]
DOORS: dict[str, Callable[[diabolo.Autoencoder, Any], Any]] = {
    "encode": lambda model, x: model.encode(x),
    "reconstruct": lambda model, x: model.reconstruct(x),
    "score": lambda model, x: model.score(x),
    "latent score": lambda model, x: model.score(x, kind="latent"),
    "surprise": lambda model, x: model.surprise(x),
    "loss_terms": lambda model, x: list(model.loss_terms(x).values()),
    "denoise": lambda model, x: model.denoise(x),
    "calibrate": lambda model, x: model.calibrate(x, false_alarms=0.1).value,
    "concept": lambda model, x: model.learn_concept("odd", x, np.arange(60) % 2, positive=1, negative=0).direction,
    "neighbours": lambda model, x: model.neighbours(x, x, k=2)[1],
    "fit_prior": lambda model, x: model.fit_prior("gaussian", x).sample(3, seed=0),
}


@pytest.mark.parametrize("source", SOURCES)
def test_any_order_gives_the_same_codes_and_extra_columns_are_left_out(
    model: diabolo.Autoencoder, source: Callable[[pd.DataFrame], Any]
) -> None:
    expected = model.encode(FRAME[["a", "b", "c"]].to_numpy())
    for frame in (FRAME, FRAME[["c", "kind", "a", "b"]], FRAME[["b", "c", "a"]], FRAME.assign(d=7.0)):
        assert np.array_equal(model.encode(source(frame)), expected)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fault", [FRAME.drop(columns="b"), FRAME.rename(columns={"b": "B"})])
def test_a_column_that_is_missing_is_named(
    model: diabolo.Autoencoder, source: Callable[[pd.DataFrame], Any], fault: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match="lacks the column 'b'"):
        model.encode(source(fault))


@pytest.mark.parametrize("door", DOORS)
def test_every_method_takes_columns_by_name(model: diabolo.Autoencoder, door: str) -> None:
    expected = DOORS[door](model, FRAME[["a", "b", "c"]].to_numpy())
    assert np.array_equal(expected, DOORS[door](model, FRAME[["c", "kind", "a", "b"]]))
    with pytest.raises(DataError, match="lacks the column 'a'"):
        DOORS[door](model, FRAME.rename(columns={"a": "z"}))


def test_single_rows_keep_their_names(model: diabolo.Autoencoder) -> None:
    rows = FRAME[["a", "b", "c"]]
    a, b = rows.iloc[0], rows.iloc[1]
    there = model.interpolate(a.to_numpy(), b.to_numpy(), 3)
    assert np.array_equal(there, model.interpolate(a[["c", "a", "b"]], b[["b", "c", "a"]], 3))
    assert np.array_equal(model.traverse(a.to_numpy(), 0, [0.5]), model.traverse(a[["c", "b", "a"]], 0, [0.5]))


def test_columns_without_names_go_by_their_places(model: diabolo.Autoencoder) -> None:
    expected = model.encode(FRAME[["a", "b", "c"]].to_numpy())
    assert np.array_equal(model.encode(pd.DataFrame(FRAME[["a", "b", "c"]].to_numpy())), expected)
    with pytest.raises(DataError, match="lacks the column"):
        model.encode(pd.DataFrame(FRAME[["a", "b"]].to_numpy()))


def test_the_commands_go_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = str(folder / "run")
    for name, frame in (("same", FRAME), ("other", FRAME[["c", "kind", "a", "b"]].assign(d=7.0))):
        frame.to_csv(f"{name}.csv", index=False)
        for command, words in (("encode", ()), ("score", ()), ("reconstruct", ())):
            assert main([command, run, f"{name}.csv", "-o", f"{name}-{command}.npz", *words]) == 0
    assert "columns left out: 'd'" in caplog.text
    for command in ("encode", "score", "reconstruct"):
        one, other = np.load(f"same-{command}.npz"), np.load(f"other-{command}.npz")
        assert all(np.array_equal(one[key], other[key]) for key in one.files)
    FRAME.drop(columns="c").to_csv("less.csv", index=False)
    assert main(["encode", run, "less.csv", "-o", "x.npz"]) != 0
    assert "lacks the column 'c'" in capsys.readouterr().err


def test_large_jobs_go_by_name(model: diabolo.Autoencoder) -> None:
    bulk.run(model, _csv(FRAME[["b", "kind", "c", "a"]]), "codes", bulk.Encode())
    read = pyarrow.parquet.read_table("codes/piece-00000.parquet").to_pandas()
    codes = np.stack([read[name] for name in read.columns if name.startswith("z")], 1)
    assert np.array_equal(codes, model.encode(FRAME))


def test_own_data_in_another_order_are_the_same_data(folder: Path, model: diabolo.Autoencoder) -> None:
    expected = open_data(model)[0].x
    FRAME[["c", "kind", "b", "a"]].to_csv(folder / "own.csv", index=False)
    try:
        dataset, split = open_data(model)
        assert np.array_equal(dataset.x, expected)
        assert dataset.features == ("a", "b", "c")
        assert len(split.test) == 6
    finally:
        FRAME.to_csv(folder / "own.csv", index=False)


def test_columns_choose_features_and_their_order() -> None:
    data = diabolo.open_dataset(FRAME, columns=("c", "a"), labels="kind")
    assert data.features == ("c", "a")
    assert data.x[3].tolist() == [300.0, 3.0]
    assert data.classes == ("x", "y")
    assert "columns left out: 'b'" in data.notes
    _csv(FRAME)
    assert np.array_equal(diabolo.open_dataset("t.csv", columns="c,a").x, data.x)
    for source in (FRAME, "t.csv"):
        rest = diabolo.open_dataset(source, columns="-b,-kind")
        assert rest.features == ("a", "c")
        assert "columns left out: 'b', 'kind'" in rest.notes
    with pytest.raises(DataError, match=r"lacks the column '-B'.*Did you mean"):
        diabolo.open_dataset(FRAME, columns=("-B",), labels="kind")


def test_parquet_leaves_out_what_has_a_dash(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    FRAME.to_parquet(tmp_path / "t.parquet")
    assert diabolo.open_dataset(tmp_path / "t.parquet", columns="-b,-kind").features == ("a", "c")


def test_scikit_learn_refuses_another_order() -> None:
    from diabolo.sklearn import AutoencoderTransformer

    rows = FRAME[["a", "b", "c"]]
    fitted = AutoencoderTransformer(epochs=1, random_state=0).fit(rows)
    for wrong in (rows[["c", "a", "b"]], rows.rename(columns={"a": "z"})):
        with pytest.raises(ValueError, match="eature names"):
            fitted.transform(wrong)
