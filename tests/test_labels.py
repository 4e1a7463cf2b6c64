"""A label's name is what the source says; missing values and other objects of data frames."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest

from diabolo import open_dataset
from diabolo.errors import DataError

pytestmark = pytest.mark.usefixtures("environment", "here")
X = np.random.default_rng(0).normal(size=(6, 2))


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["01234", "98765"], ("01234", "98765")), (["1_000", "2_000"], ("1_000", "2_000")), (["+1", "2"], ("+1", "2")),
        (["NA", "EU"], ("EU", "NA")), (["nan", "x"], ("nan", "x")), (["1e3", "x"], ("1e3", "x")),
        (["3", "12"], ("3", "12")),
        (["-1", "1"], ("-1", "1")), (["True", "False"], ("False", "True")),
        (["1", "99999999999999999999"], ("1", "99999999999999999999"))
    ],
)  # fmt: skip
def test_names_of_classes_print_as_they_were_written(cells: list[str], classes: tuple[str, ...] | None) -> None:
    rows = "\n".join(f"{i},{cell}" for i, cell in enumerate(cells * 3))
    Path("z.csv").write_text(f"a,k\n{rows}\n")
    opened = open_dataset("z.csv", labels="k")
    assert opened.classes == classes if classes else opened.y is not None
    if classes:
        assert [classes[y] for y in opened.y] == cells * 3


@pytest.mark.parametrize("cells", [[b"cat", b"dog"], np.array([b"cat", b"dog"], object), np.array(["cat", "dog"])])
def test_bytes_are_decoded(cells: Any) -> None:
    opened = open_dataset(X, labels=np.concatenate([np.asarray(cells)] * 3))
    assert opened.classes == ("cat", "dog")


def test_an_index_without_a_name_is_missing() -> None:
    bunch = {"data": X, "target": np.array([0, 1, -1, 0, 1, 2]), "target_names": ["cat", "dog"]}
    opened = open_dataset(bunch)
    assert opened.classes == ("cat", "dog")
    assert opened.y.tolist() == [0, 1, -1, 0, 1, -1]
    assert open_dataset({**bunch, "target": np.array([1, 2, 1, 2, 1, 2])}).classes == ("1", "2")


@pytest.mark.parametrize("where", ["labels", "column"])
def test_ordered_categories_keep_their_order(where: str) -> None:
    kind = pd.Series(pd.Categorical(["mid", "lo", "hi"] * 2, ["none", "lo", "mid", "hi"], ordered=True))
    frame = pd.DataFrame(X).assign(k=kind)
    opened = open_dataset(X, labels=kind) if where == "labels" else open_dataset(frame, labels="k")
    assert opened.classes == ("lo", "mid", "hi")
    assert opened.y.tolist() == [1, 0, 2, 1, 0, 2]


MISSING = [
    pd.Series(["x", pd.NA, "y"] * 2, dtype="string"), pd.Series(["x", None, "y"] * 2),
    pd.Series([1, pd.NA, 2] * 2, dtype="Int64"),
    pd.Series([1.0, np.nan, 2.0] * 2), pd.Series(pd.to_datetime(["2020-01-01", None, "2021-01-01"] * 2)),
    pd.Series(pd.Categorical(["a", None, "b"] * 2, ordered=True)), pd.Series(pd.Categorical(["a", None, "b"] * 2)),
    ["x", None, "y"] * 2, pyarrow.array(["x", None, "y"] * 2), pd.Series([True, pd.NA, False] * 2, dtype="boolean"),
]  # fmt: skip


@pytest.mark.parametrize("labels", MISSING)
def test_a_missing_label_is_said(labels: Any) -> None:
    with pytest.raises(DataError, match="label of example 1 is missing"):
        open_dataset(X, labels=labels)
    if isinstance(labels, pd.Series):
        with pytest.raises(DataError, match="label of example 1 is missing"):
            open_dataset(pd.DataFrame(X).assign(k=labels), labels="k")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pd.to_timedelta([1, 2], unit="s"), "durations"), (pd.to_datetime(["2020-01-01", "2020-01-02"]), "dates"),
        ([datetime.date(2020, 1, 1)] * 2, "dates"), (pd.period_range("2020", periods=2), "not numeric"),
        (pd.array(["a", "b"], dtype="string"), "not numeric"), ([[1], [2]], "not numeric"),
        ([{"a": 1}] * 2, "not numeric"),
        (pd.array([1, None], dtype="Int64"), "NaN"), ([1j, 2j], "not numeric"),
        (pd.Categorical(["a", "b"]), "not numeric"),
        (pd.interval_range(0, 2), "not numeric"), ([np.array([1, 2]), np.array([3, 4])], "not numeric"),
    ],
)  # fmt: skip
def test_columns_that_are_no_numbers_end_in_one_error(column: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(pd.DataFrame({"a": column, "b": [1, 2]}))


@pytest.mark.parametrize(
    "column",
    [[True, False], [Decimal(1), Decimal(0)], pd.array([1, 0], dtype="Int64"), pd.array([1.0, 0], dtype="Float32"),
     pd.array([True, False], dtype="boolean"), pd.arrays.SparseArray([1.0, 0.0]),
     pd.array([1, 0], dtype=pd.ArrowDtype(pyarrow.int32()))],
)  # fmt: skip
def test_columns_of_numbers_of_any_kind(column: Any) -> None:
    assert open_dataset(pd.DataFrame({"a": column, "b": [1, 2]})).x.tolist() == [[1, 1], [0, 2]]


def test_arrow_tables() -> None:
    opened = open_dataset(pyarrow.table({"a": [1, 2], "k": ["x", "y"]}), labels="k")
    assert (opened.features, opened.classes, opened.x.tolist()) == (("a",), ("x", "y"), [[1], [2]])


@pytest.mark.parametrize(
    "source", [object(), 3, {1: 2}, iter([1]), lambda: 1, pd.NA, [object()], [[1], [2, 3]], {"data": None}]
)
def test_objects_of_any_kind_end_in_one_error(source: Any) -> None:
    with pytest.raises(DataError):
        open_dataset(source)
