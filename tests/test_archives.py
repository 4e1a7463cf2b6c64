"""Archives as they are published, and the columns of a table that are an index."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow
import pytest

import diabolo
from diabolo import open_dataset
from diabolo.errors import DataError

PX = np.random.default_rng(0).integers(0, 255, (24, 8, 8), dtype=np.uint8)
Y = np.arange(24) % 3
pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"), ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"), ("train_x", "train_y", "test_x", "test_y"),
        ("train-data", "train-target", "test-data", "test-target"),
    ],
)  # fmt: skip
def test_parts_of_an_archive(names: tuple[str, ...]) -> None:
    np.savez("mnist.npz", **dict(zip(names, (PX, Y, PX[:5], Y[:5]), strict=True)))
    opened = open_dataset("mnist.npz")
    np.testing.assert_array_equal(opened.x, np.concatenate([PX, PX[:5]]))
    assert opened.y.tolist() == [*Y, *Y[:5]]
    assert opened.official_test.tolist() == list(range(24, 29))
    assert len(open_dataset("mnist.npz", examples=names[0])) == 24


def test_other_archives_and_the_option() -> None:
    np.savez("sprites.npz", imgs=PX, latents_values=np.zeros((24, 6)), latents_classes=np.zeros((24, 6)), metadata=Y)
    np.testing.assert_array_equal(open_dataset("sprites.npz").x, PX)
    np.savez("plain.npz", PX, Y)
    assert open_dataset("plain.npz").y.tolist() == Y.tolist()
    np.savez("odd.npz", first=PX, second=PX[:3])
    with pytest.raises(DataError, match="examples='first'"):
        open_dataset("odd.npz")
    assert len(open_dataset("odd.npz", examples="second")) == 3
    with pytest.raises(DataError, match="no such array"):
        open_dataset("odd.npz", examples="third")
    diabolo.train("odd.npz", examples="first", latent_dim=2, widths=(8,), epochs=1, out="run")
    assert diabolo.load("run").encode("odd.npz").shape == (24, 2)


@pytest.mark.parametrize("name", ["id", "__index_level_0__", None])
def test_an_index_of_pandas_is_no_feature(name: str | None) -> None:
    frame = pd.DataFrame({"a": [1, 2, 4]}, index=pd.Index([10, 20, 30], name=name))
    frame.to_parquet("p.parquet")
    assert open_dataset("p.parquet").features == ("a",)
    assert open_dataset("*.parquet").features == ("a",)
    if name == "id":
        assert open_dataset("p.parquet", columns="id,a").features == ("id", "a")


@pytest.mark.parametrize("name", [None, "id"])
def test_an_index_is_no_feature_of_tables_in_memory(name: str | None) -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 4]}, index=pd.Index([10, 20, 40], name=name))
    assert open_dataset(frame).features == ("a",)
    table = pyarrow.Table.from_pandas(frame)
    assert open_dataset(table).features == ("a",)
    index = name or "__index_level_0__"
    assert open_dataset(table, columns=f"a,{index}").features == ("a", index)
    if name is None:
        datasets = pytest.importorskip("datasets")
        assert open_dataset(datasets.Dataset.from_pandas(frame)).features == ("a",)


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_the_rows_is_said(start: int) -> None:
    frame = pd.DataFrame({"row": np.arange(start, start + 9), "a": np.arange(9.0) ** 2})
    frame.to_csv("t.csv", index=False)
    for source in (frame, "t.csv"):
        assert any("'row' counts the rows" in note for note in open_dataset(source).notes)
    frame.drop(columns="row").to_csv("t.csv")
    assert any("without a name" in note for note in open_dataset("t.csv").notes)


@pytest.mark.parametrize(("name", "is_said"), [("id", True), ("user_id", True), ("orderID", True), ("width", False)])
def test_a_column_of_names_of_rows_is_said(name: str, is_said: bool) -> None:
    frame = pd.DataFrame({"a": np.arange(9.0) ** 2, name: [71, 13, 99, 5, 8, 44, 23, 17, 31]})
    frame.to_csv("t.csv", index=False)
    for source in (frame, "t.csv"):
        for mixed in (False, True):
            notes = open_dataset(source, mixed=mixed).notes
            assert any("another number in each row" in note for note in notes) == is_said
    assert open_dataset(frame.assign(**{name: 3})).notes == ()
