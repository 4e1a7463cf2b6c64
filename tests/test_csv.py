"""CSV as the world writes it: what is sure is read and said, what is not is refused by its name."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import diabolo
from diabolo import open_dataset
from diabolo.cli import main
from diabolo.errors import ConfigError, DataError
from diabolo.runs import open_data

pytestmark = pytest.mark.usefixtures("environment", "here")

ROWS = [[1, 2], [3, 4]]
READ = {
    "decimal commas": ("a;b\n1,5;2,25\n3,0;4,5\n", [[1.5, 2.25], [3, 4.5]], "the comma is a decimal mark, as in '1,5'"),
    "decimal commas without names": ("1,5;2,25\n3,0;4,5\n", [[1.5, 2.25], [3, 4.5]], "decimal= names"),
    "decimal commas and tabs": ("a\tb\n1,5\t2\n", [[1.5, 2]], "decimal mark"),
    "decimal commas, late": ("a;b\n" + "1,234;2\n" * 11_000 + "1,5;3\n", [[1.234, 2]] * 11_000 + [[1.5, 3]], "1,5"),
    "the names of labels hold commas": ("a;b\n1;1,5\n2;x,y\n", None, ""),
    "thousands and decimal commas": ("a;b\n1.234,5;3\n2.345;4\n", [[1234.5, 3], [2345, 4]], "'1.234,5'"),
    "thousands": ('a,b\n"1,234",1.5\n"2,345",2\n', [[1234, 1.5], [2345, 2]], "the comma parts thousands"),
    "millions": ('a,b\n"1,234,567",1\n"2,345",2\n', [[1234567, 1], [2345, 2]], "parts thousands"),
    "thousands of India": ('a,b\n"12,34,567",1\n"2,345",2\n', [[1234567, 1], [2345, 2]], "parts thousands"),
    "thousands by blanks": ("a;b\n1 234;2\n12\u00a0345,5;3\n1\u202f234;1\n", [[1234, 2], [12345.5, 3], [1234, 1]], ""),
    "thousands by apostrophes": ("a,b\n1'234.5,2\n3,4\n", [[1234.5, 2], [3, 4]], ""),
    "a minus that is a sign of its own": ("a;b\n\u22121,5;2\n2,5;3\n", [[-1.5, 2], [2.5, 3]], ""),
    "points that may part thousands": ("1.234;2.345\n3.456;4.567\n", [[1.234, 2.345], [3.456, 4.567]], "decimal=','"),
    "true and false": ("a,b\nTrue,1\nFALSE,2\n", [[1, 1], [0, 2]], "true is 1 and false is 0 in 'a'"),
    "true and false without names": ("True,False\nFalse,True\n", [[1, 0], [0, 1]], "true is 1"),
    "sep=": ("sep=;\na;b\n1;2\n3;4\n", ROWS, "sep=;, names the separator"),
    "sep= in quotes": ('"sep=|"\na|b\n1|2\n3|4\n', ROWS, "names the separator"),
    "bars": ("a|b\n1|2\n3|4\n", ROWS, "parted by '|' (separator="),
    "blanks": ("a  b\n1    2\n  3 \t 4\n", ROWS, "parted by blanks (separator="),
    "blanks without names": ("1 2\n3 4\n", ROWS, "parted by blanks"),
    "comments": ("# by x\n# x, y, z\na,b\n1,2\n# don't\n3,4\n", ROWS, "3 lines that begin with #"),
    "a comment of as many cells": ("a,b\n1,2\n#5,6\n3,4\n", ROWS, "1 line that begins with # taken for comments (comments='none'"),
    "names in a comment": ("# from x\n# a b\n1 2\n3 4\n", ROWS, "the comment above the first row was taken for the names"),
    "names of rows": ("a,b\nx,1,2\ny,3,4\n", ROWS, "the first was taken for the name of the row"),
    "names of rows as R writes them": ('"a" "b"\n"Mazda RX4" 1 2\n"Fiat 128" 3 4\n', ROWS, "the name of the row"),
    "numbers of rows as R writes them": ('"a" "b"\n"1" 1 2\n"2" 3 4\n', ROWS, "the name of the row"),
    "thousands by blanks in one column": ("a\n1 234\n2 345\n", [[1234], [2345]], ""),
    "a comma at the end": ("a,b,\n1,2,\n3,4,\n", ROWS, "the empty cell at the end"),
    "a comma at the end of rows": ("a,b\n1,2,\n3,4,\n", ROWS, "the empty cell at the end"),
    "a comma at the end of names": ("a,b,\n1,2\n3,4\n", ROWS, ""),
    "empty cells and rows": ("a,b,,,\n1,2,,,\n3,4,,,\n,,,,\n", ROWS, "1 row without any value"),
    "units": ("a,b\nm,s\n1,2\n3,4\n", ROWS, "the second row (m, s) was taken for units, and left out (header=1"),
    "units in brackets, not everywhere": ("a,b\n[m/s],\n1,2\n3,4\n", ROWS, "taken for units"),
    "per cent": ("a,b\n12%,1\n3.5 %,2\n", [[12, 1], [3.5, 2]], "% left out in 'a': 12 % is 12"),
    "money": ('a,b\n"$1,234.50",1\n-$3,2\n', [[1234.5, 1], [-3, 2]], "$ left out in 'a': 12 $ is 12"),
    "a cell of two lines": ('"a\n# b",b\n1,2\n3,4\n', ROWS, ""),
    "years": ("1990,1991\n0.1,0.2\n0.3,0.4\n", [[1990, 1991], [0.1, 0.2], [0.3, 0.4]], "names of the columns (header=1)"),
    "wavelengths": ("9,8,7\n1,2,3\n3,2,2\n", [[9, 8, 7], [1, 2, 3], [3, 2, 2]], "names of the columns (header=1)"),
    "wavelengths beside an index": (",9.5,8.5,7.5\n1,1,2,3\n2,2,2,2\n", [[1, 1, 2, 3], [2, 2, 2, 2]], "is it an index?"),
}  # fmt: skip
# ruff: noqa: E501 (tables)
REFUSED = {
    "1,234": ('a,b\n"1,234",1\n"2,345",2\n', "What '1,234' (line 2, column 'a') in t.csv means is not clear", "decimal=','"),
    "1.234 beside 1,5": ("a;b\n1,5;1.234\n2,5;4.567\n", "What '1.234' (line 2, column 'b')", "decimal="),
    "1,5 beside 2.5": ("a;b\n1,5;2\n2.5;3\n", "'1,5' (line 2, column 'a') in t.csv is a comma", "'2.5' (line 3"),
    "per cent and none": ("a,b\n12%,1\n0.5,2\n", "The column 'a' of t.csv holds '12%' and '0.5': numbers of two kinds", ""),
    "true and 3": ("a,b\nTrue,1\n3,2\n", "holds 'True' and '3': numbers of two kinds", ""),
    "no units": ("a,b\nm,2\n1,2\n3,4\n", "'a'", "row 0 holds 'm'"),
    "missing values, no units": ("a,b\nNA,NA\n1,2\n3,4\n", "misses a value in line 2", "fill it in"),
    "a date": ("a,b\n31.12.2020,1\n", "row 0 holds '31.12.2020'", "mixed=True (--mixed) turns"),
    "a decimal comma, or a separator": ("a\n1,5\n2,25\n", "Line 2 of t.csv has 2 cells, and the first row has 1", "decimal=','"),
    "a comment of another kind": ("% hello\n1,2\n3,4\n", "Line 2 of t.csv has 2 cells", ""),
    "a title": ("// hello\na,b\n1,2\n", "Line 2 of t.csv has 2 cells", ""),
    "a title above names": ("My report,\na,b\n1,2\n", "row 0 holds 'a'", ""),
    "a name too few": ("a,b\n5,1,2\n7,3,4\n", "Line 2 of t.csv has 3 cells, and the first row has 2", ""),
    "more cells, where columns are chosen": ("a,b\n1,2\n3,4,5\n", "Line 3 of t.csv has 3 cells", "quotes"),
}  # fmt: skip


def _write(text: str, encoding: str = "utf-8") -> str:
    Path("t.csv").write_bytes(text.encode(encoding))
    return "t.csv"


@pytest.mark.parametrize("kind", READ)
def test_what_is_sure_is_read_and_said(kind: str) -> None:
    text, rows, says = READ[kind]
    if rows is None:
        assert open_dataset(_write(text), labels="b").classes == ("1,5", "x,y")
        return
    data = open_dataset(_write(text))
    assert np.array_equal(data.x, np.array(rows, np.float32))
    assert says in data.describe()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_sure_is_refused_by_name(kind: str) -> None:
    text, *says = REFUSED[kind]
    with pytest.raises(DataError) as caught:
        open_dataset(_write(text), columns="a" if "columns" in kind else None)
    assert all(words in str(caught.value) for words in says), str(caught.value)


@pytest.mark.parametrize("suffix", ["tsv", "txt", "dat", "data"])
def test_text_tables_of_other_names(suffix: str) -> None:
    Path(f"iris.{suffix}").write_text("5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n6.4,3.2,Iris-virginica\n\n")
    data = open_dataset(f"iris.{suffix}", labels=2)
    assert (data.x.shape, data.classes) == ((3, 2), ("Iris-setosa", "Iris-virginica"))


def test_labels_with_decimal_commas_are_numbers() -> None:
    data = open_dataset(_write("a;y\n1;1,5\n2;2,25\n"), labels="y")
    assert data.y is not None
    assert data.y.tolist() == [1.5, 2.25]
    assert "a decimal mark in the labels" in data.describe()
    assert open_dataset(_write('a,y\n1,"1,5"\n2,"x,2"\n'), labels="y").classes == ("1,5", "x,2")


def test_an_option_overrules_each_guess() -> None:
    text = 'a;b\n"1,234";1.234\n'
    assert open_dataset(_write(text.replace(";1.234", ";5")), decimal=",").x.tolist() == [[np.float32(1.234), 5]]
    assert open_dataset(_write(text), decimal=".").x.tolist() == [[1234, np.float32(1.234)]]
    assert open_dataset(_write("1.234;2.345\n"), decimal=",").x.tolist() == [[1234, 2345]]
    with pytest.raises(DataError, match=r"is a comma, and decimal='\.' was given"):
        open_dataset(_write("1,5;2\n"), decimal=".")
    assert open_dataset(_write("a\n1,5\n2,25\n"), decimal=",").x.tolist() == [[1.5], [2.25]]
    years = "1990,1991\n0.1,0.2\n0.3,0.4\n"
    named = open_dataset(_write(years), header=True)
    assert (named.features, len(named), named.notes) == (("1990", "1991"), 2, ())
    assert open_dataset(_write(years), header=False).notes == ()
    assert len(open_dataset(_write("0,1,2\n3,4,5\n"), header=0)) == 2
    with pytest.raises(DataError, match="row 0 holds 'm'"):
        open_dataset(_write("a,b\nm,s\n1,2\n"), header=1)
    assert open_dataset(_write("a,b\n(x),1\n1,2\n"), header=2).x.tolist() == [[1, 2]]
    assert open_dataset(_write("# a b\n1 2\n"), header=0).features == ("0", "1")
    assert open_dataset(_write("1,2;3,4\n"), separator=",", columns="0,2").x.tolist() == [[1, 4]]
    assert open_dataset(_write("a:b\n1:2\n"), separator=":").x.tolist() == [[1, 2]]
    assert open_dataset(_write("1\t2\n"), separator="tab").x.tolist() == [[1, 2]]
    for wrong in ({"encoding": "zip"}, {"encoding": "u"}, {"separator": ""}, {"separator": "a"}, {"header": 3}):
        with pytest.raises(ConfigError):
            open_dataset("t.csv", **wrong)  # type: ignore[arg-type]
    for source in (np.eye(3), open_dataset(np.eye(3))):
        with pytest.raises(ConfigError, match="decimal= is for text tables"):
            open_dataset(source, decimal=",")
        with pytest.raises(ConfigError, match="mixed= is for tables"):
            open_dataset(source, mixed=True)
    assert main(["datasets", "t.csv", "--header", "x"]) == 2


def test_a_first_row_that_holds_what_is_asked_for_holds_names() -> None:
    named = "name,1990,1991\nx,1,2\ny,3,4\n"
    data = open_dataset(_write(named), labels="name")
    assert (data.features, data.classes, data.x.tolist()) == (("1990", "1991"), ("x", "y"), [[1, 2], [3, 4]])
    assert open_dataset(_write(named), columns="1991,1990").x.tolist() == [[2, 1], [4, 3]]
    assert len(open_dataset(_write("0,1\n1,0\n"), columns="0,1")) == 2, "0 and 1 are places as well"


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_that_bytes_tell(encoding: str) -> None:
    data = open_dataset(_write("größe;tür;20 °C\n1;2;5\n3;4;6\n", encoding))
    assert (data.features, data.x.tolist()) == (("größe", "tür", "20 °C"), [[1, 2, 5], [3, 4, 6]])
    assert ("encoding=" in data.describe()) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("gbk", "名字"),
        ("cp1251", "рост"),
        ("shift_jis", "テスト"),
        ("euc_kr", "이름"),
        ("cp1250", "żółty"),
        ("cp1253", "ύψος"),
    ],
)
def test_encodings_that_have_to_be_named(encoding: str, name: str) -> None:
    with pytest.raises(DataError, match=r"t.csv is not UTF-8 text.*Save it as UTF-8, or name its encoding"):
        open_dataset(_write(f"{name},b\n1,2\n", encoding))
    assert open_dataset("t.csv", encoding=encoding).features == (name, "b")
    with pytest.raises(DataError, match=r"is not ascii text\. Name its encoding"):
        open_dataset("t.csv", encoding="ascii")


def _number(value: float, decimal: str, group: str) -> str:
    return f"{value:,.4f}".rstrip("0").rstrip(".").translate(str.maketrans({",": group, ".": decimal}))


def _member(seed: int) -> tuple[bytes, np.ndarray, dict[str, Any]]:
    """A table in a random form: its bytes, its numbers, and the option that it may need."""
    draw = random.Random(seed)
    rows, columns = draw.randint(2, 6), draw.randint(1, 5)
    values = np.array(
        [[round(draw.uniform(-1, 1) * 10 ** draw.randint(0, 6), draw.randint(0, 4)) for _ in range(columns)]
         for _ in range(rows)]
    )  # fmt: skip
    decimal = draw.choice(".,")
    separator = draw.choice([mark for mark in ",;\t|" if mark != decimal])
    alone = {"separator": "tab" if separator == "\t" else separator} if columns == 1 else {}
    group = draw.choice(["", "", "." if decimal == "," else ",", "\u00a0"])
    has_names, end = draw.random() < 0.7 or columns == 1, draw.choice(["", "", separator])
    lines = [separator.join(f"n{i}" for i in range(columns)) + end] if has_names else []
    if has_names and columns > 1 and draw.random() < 0.2:
        lines.append(separator.join("kg" for _ in range(columns)) + end)
    signs = [draw.choice(["", "", "", "%"]) for _ in range(columns)]
    for row in values:
        cells = [_number(float(value), decimal, group) + sign for value, sign in zip(row, signs, strict=True)]
        lines.append(separator.join(f'"{cell}"' if separator in cell else cell for cell in cells) + end)
    if draw.random() < 0.2:
        lines.insert(0, f"sep={separator}")
    if draw.random() < 0.2:
        lines.insert(draw.randint(len(lines) - rows, len(lines)), "# a comment, in words; of some length | and more")
    text = draw.choice(["\n", "\r\n"]).join(lines) + draw.choice(["", "\n", "\n\n"])
    return text.encode(draw.choice(["utf-8", "utf-8-sig", "utf-16"])), values, {"decimal": decimal, **alone}


def _walk(seeds: range) -> None:
    """Each is read right at once; or `decimal=` is asked for, or named in a note, and makes it right."""
    asked = 0
    for seed in seeds:
        data, values, options = _member(seed)
        Path("t.csv").write_bytes(data)
        try:
            opened = open_dataset("t.csv")
            read, note = opened.x, next((one for one in opened.notes if "(decimal=',': it" in one), "")
        except DataError as error:
            read, note = np.empty(0), str(error)
        if note:
            asked += 1
            assert "decimal=" in note, (seed, data)
            read = open_dataset("t.csv", **options).x
        assert read.shape == values.shape, (seed, data)
        assert np.allclose(read, values, rtol=1e-6, atol=1e-6), (seed, data)
    assert asked < len(seeds) / 3


def test_tables_in_random_forms() -> None:
    _walk(range(100))


@pytest.mark.slow
def test_ten_thousand_tables_in_random_forms() -> None:
    _walk(range(1000, 11_000))


PARTS = [
    *(",", ";", "\t", "|", " ", "\n", "\r\n", "\r", '"', "#", "sep=;", "1", "2.5", "3,5", "1,234", "1.234,5", "True", "NA"),
    *("", "nan", "inf", "-", "%", "$", "€", "a", "kind", "[s]", "2020-01-01", "31.12.2020", "é", "名", "\0", "\ufeff", "1e400"),
    *("1_000", "\u2212" "3", "0x1", "'", "?", "1 234", "\u00a0", "\u2028", "\x1f", "\x0b", "9" * 30, "+-3", "e", ".", ",,"),
]  # fmt: skip
CHOICES: dict[str, list[Any]] = {
    "header": [0, 1, 2], "decimal": [".", ","], "separator": [";", "tab", "blanks", "|"], "mixed": [True],
    "comments": ["none", "#", "%", "//"], "labels": ["kind", "a", 0], "encoding": ["utf-8", "cp1252", "gbk", "utf-16", "ascii", "idna", "utf-7"],
}  # fmt: skip


def _fuzz(seeds: range) -> None:
    for seed in seeds:
        draw = random.Random(seed)
        mark, count = draw.choice(["", ",", ";", "\t", "|", " "]), draw.randint(1, 5)
        rows = (mark.join(draw.choice(PARTS) for _ in range(count)) for _ in range(draw.randint(0, 6)))
        text = draw.choice(["\n", ""]).join(rows).encode(draw.choice(["utf-8", "utf-16", "cp1252", "gbk"]), "replace")
        Path("t.csv").write_bytes(text)
        options = {name: draw.choice(values) for name, values in CHOICES.items() if draw.random() < 0.15}
        try:
            open_dataset("t.csv", **options).describe()
        except DataError as error:
            message = str(error)
            if "an entry is missing" in message or "\n" in message or len(message) > 900:
                raise AssertionError((seed, text, options)) from error


def test_hostile_texts_end_in_one_error() -> None:
    _fuzz(range(100))


@pytest.mark.slow
def test_ten_thousand_hostile_texts_end_in_one_error() -> None:
    _fuzz(range(1000, 11_000))


def test_options_of_text_are_kept_with_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)).round(3), columns=["größe", "b", "1990"])
    frame.to_csv("own.csv", sep=";", decimal=",", index=False, encoding="gbk", errors="replace")
    words = ["--encoding", "gbk", "--decimal", ",", "--separator", ";", "--header", "true"]
    assert main(["datasets", "own.csv", *words]) == 0
    options: dict[str, Any] = {"encoding": "gbk", "decimal": ",", "separator": ";", "header": True}
    diabolo.train("own.csv", **options, latent_dim=2, widths=(8,), epochs=1, out="run")
    kept = json.loads(Path("run/config.json").read_text())["run_config"]["data"]
    assert kept == {"encoding": "gbk", "decimal": ",", "separator": ";", "header": 1}
    assert main(["encode", "run", "-o", "own.npz"]) == 0
    assert main(["encode", "run", "own.csv", "-o", "named.npz"]) == 0
    model = diabolo.load("run")
    expected = model.encode(frame.to_numpy())
    for name in ("own.npz", "named.npz"):
        assert np.allclose(np.load(name)["codes"], expected, atol=1e-6)
    assert len(open_data(model)[0]) == 40
    assert main(["datasets", "own.csv", "--header", "4"]) == 2
    assert main(["datasets", "own.csv", "--encoding", "gbk"]) == 0
    assert "note: the comma is a decimal mark" in capsys.readouterr().out


def test_the_mark_that_the_training_told_decides_where_cells_do_not(caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f"{i}.{100 + i},5;{i}\n" for i in range(1, 40))
    model = diabolo.train(_write(f"a;b\n{rows}"), latent_dim=1, widths=(4,), epochs=1, out="run")
    model = diabolo.load("run")
    assert model.info["data"]["decimal"] == ","
    for text, values in (
        ("a;b\n1.234;5\n", [[1234, 5]]),
        ('a;b\n"1,234";5\n', [[1.234, 5]]),
        ("a;b\n1.5;5\n", [[1.5, 5]]),
        ('a,b\n"1,234.5",5\n', [[1234.5, 5]]),
    ):
        assert np.array_equal(model.encode(_write(text)), model.encode(np.array(values, np.float32)))
    assert np.array_equal(model.encode(pd.DataFrame({"b": [5], "a": [1.5]})), model.encode(np.array([[1.5, 5]])))
    assert "decimal" not in diabolo.train(_write("a,b\n1,2\n2.5,4\n3,3\n"), latent_dim=1, epochs=1).info["data"]


def test_a_name_in_another_case_is_offered() -> None:
    frame = pd.DataFrame({"a": [1.0, 2], "Kind": ["x", "y"]})
    frame.to_parquet("t.parquet")
    for source in (_write(frame.to_csv(index=False)), frame, "t.parquet"):
        with pytest.raises(DataError, match="Did you mean 'Kind'"):
            open_dataset(source, labels="kind")
        with pytest.raises(DataError, match="Did you mean 'a'"):
            open_dataset(source, labels="Kind", columns="A")
