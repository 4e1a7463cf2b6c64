"""Tables of mixed kinds: missing values, categories, booleans and dates, at every door, there and back."""

from __future__ import annotations

import copy
import datetime
import decimal
import fractions
import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import diabolo
from diabolo import bulk, open_dataset
from diabolo.cli import main
from diabolo.datasets._mixed import coded, decoded
from diabolo.errors import ConfigError, DataError, RunError
from diabolo.runs import open_data
from test_columns import as_hugging_face, as_parquet, as_pieces

pytestmark = pytest.mark.usefixtures("environment", "here")

draw = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": np.where(np.arange(60) % 10 == 3, np.nan, np.arange(60) % 7 + 30.0),
        "colour": ["red", "green", "blue"] * 20,
        "ill": [True, False] * 30,
        "when": pd.date_range("2020-01-01", periods=60, freq="D"),
        "size": pd.Categorical(["lo", "mid", "hi"] * 20, ["lo", "mid", "hi"], ordered=True),
        "y": ["p", "q"] * 30,
    }
)
FRAME.loc[5, "colour"] = None
FEATURES = (
    *("age", "colour=blue", "colour=green", "colour=red", "colour=missing", "ill", "when"),
    *("size=lo", "size=mid", "size=hi"),
)


def _csv(frame: pd.DataFrame) -> Any:
    frame.to_csv("t.csv", index=False)
    return "t.csv"


def _european(frame: pd.DataFrame) -> Any:
    frame.to_csv("e.csv", index=False, sep=";", decimal=",")
    return "e.csv"


def _lists(frame: pd.DataFrame) -> Any:
    return {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}


def _structured(frame: pd.DataFrame) -> Any:
    return frame.astype({"size": object}).to_records(index=False)


SOURCES: list[Callable[[pd.DataFrame], Any]] = [
    lambda frame: frame,
    *(_csv, _european, as_parquet, as_pieces, as_hugging_face, _lists, _structured),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    FRAME.to_csv(folder / "own.csv", index=False)
    options: dict[str, Any] = {"labels": "y", "latent_dim": 2, "widths": (8,), "epochs": 2, "model": "vae"}
    diabolo.train(FRAME, mixed=True, **options, out=folder / "frame")
    diabolo.train(str(folder / "own.csv"), mixed=True, **options, out=folder / "run")
    return folder


@pytest.fixture
def model(folder: Path) -> diabolo.Autoencoder:
    return diabolo.load(folder / "frame")


@pytest.mark.parametrize("source", SOURCES)
def test_columns_become_numbers(source: Callable[[pd.DataFrame], Any]) -> None:
    data = open_dataset(source(FRAME), labels="y", mixed=True)
    keeps_order = source in (SOURCES[0], as_parquet)
    names = FEATURES if keeps_order else (*FEATURES[:7], "size=hi", "size=lo", "size=mid")
    assert data.features == names
    columns = dict(zip(data.features, data.x.T, strict=True))
    assert np.array_equal(columns["age"], FRAME["age"].fillna(FRAME["age"].median()))
    assert np.array_equal(columns["colour=red"], FRAME["colour"] == "red")
    assert columns["colour=missing"].nonzero()[0].tolist() == [5]
    assert np.array_equal(columns["ill"], FRAME["ill"])
    assert np.array_equal(columns["when"], 18262 + np.arange(60))
    assert np.array_equal(columns["size=hi"], FRAME["size"] == "hi")
    assert data.classes == ("p", "q")
    said = data.describe()
    assert "missing values filled: 'age' (6 with 33, the median)" in said
    assert "categories are columns of 0 and 1: 'colour' ('blue', 'green', 'red', 'missing'); 'size'" in said
    assert "dates are days since 1970-01-01: 'when'" in said


def _random_frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows, frame = int(rng.integers(5, 40)), {}
    for place in range(int(rng.integers(1, 6))):
        kind, column = rng.integers(6), None
        if kind == 0:
            column = pd.Series(rng.normal(size=rows) * 10.0 ** rng.integers(-3, 6))
        elif kind == 1:
            column = pd.Series(rng.integers(0, 2, rows).astype(bool))
        elif kind == 2:
            column = pd.Series(rng.choice(["a", "b", "c d", "", "é"][: rng.integers(2, 5)], rows))
        elif kind == 3:
            column = pd.Series(pd.Timestamp("1999-12-31") + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="min"))
        elif kind == 4:
            column = pd.Series(pd.Categorical(rng.choice([3, 1, 2], rows)))
        else:
            column = pd.Series(rng.integers(-5, 5, rows), dtype="Int64")
        if rng.random() < 0.4:
            column = column.astype(object).where(rng.random(rows) > 0.2, None)
            column[0] = column.dropna().iloc[0] if column.notna().any() else 1.0
        frame[f"c{place}"] = column
    return pd.DataFrame(frame)


@pytest.mark.parametrize("seed", range(30))
def test_there_and_back(seed: int) -> None:
    """What is decoded is what was coded, wherever it was not missing."""
    frame = _random_frame(seed)
    names, columns = list(frame.columns), [frame[name] for name in frame]
    x, codes, _ = coded("t", names, columns)
    assert np.isfinite(x).all()
    back = decoded(codes, x)
    again = coded("t", names, columns, codes)[0]
    assert np.array_equal(again, x)
    for name, code in zip(names, codes, strict=True):
        known = frame[name].notna()
        values, returned = frame[name][known].tolist(), back[name][known.to_numpy()].tolist()
        if code.kind == "category":
            values = [str(value) for value in values]
        assert returned == values, (name, code)


# ruff: noqa: E501 (tables)
ODD: list[Any] = [
    *(1, 2, 3.5, -1e308, 1e-300, True, False, None, float("nan"), float("inf"), pd.NA, pd.NaT, "a", "", "é", "a=b", "missing"),
    *("2020-01-01", b"x", b"\xff", "\ud800", "x" * 500, 10**400, -(10**30), 1j, [1], (1, 2), {"a": 1}, np.array([1, 2]), type),
    *(datetime.date(2020, 1, 1), datetime.datetime(1, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
    *(np.datetime64("2020-01-01"), np.datetime64("NaT"), np.datetime64(10**17, "s"), np.timedelta64(1, "D")),
    *(datetime.timedelta(1), datetime.time(3), decimal.Decimal("NaN"), decimal.Decimal("1e9999"), fractions.Fraction(1, 3)),
    *(np.float16(2), np.str_("q"), np.bool_(True), pd.Timestamp("2020-05-05", tz="Asia/Tokyo"), pd.Interval(0, 1), object()),
]  # fmt: skip


def _walk(seeds: range) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        rows, columns = rng.randint(1, 8), {}
        for place in range(rng.randint(1, 3)):
            pool = rng.sample(ODD, rng.randint(1, 3))
            columns["abc"[place]] = [rng.choice(pool) for _ in range(rows)]
        source = (
            columns if rng.random() < 0.3 else pd.DataFrame({n: pd.Series(c, dtype=object) for n, c in columns.items()})
        )
        options: dict[str, Any] = {"mixed": rng.random() < 0.8, "labels": "a" if rng.random() < 0.2 else None}
        try:
            data = open_dataset(source, **options)
        except DataError as error:
            if "an entry is missing" in str(error) or len(str(error)) > 1000:
                raise AssertionError((seed, columns)) from error
            continue
        assert np.isfinite(np.asarray(data.x)).all()
        decoded(data.codes, np.asarray(data.x))
        json.dumps([code.config() for code in data.codes], allow_nan=False).encode()


def test_columns_of_anything_end_in_numbers_or_in_one_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _walk(range(100))


@pytest.mark.slow
def test_ten_thousand_tables_of_anything() -> None:
    _walk(range(1000, 11_000))


DOORS: dict[str, Callable[[diabolo.Autoencoder, Any], Any]] = {
    "encode": lambda model, x: model.encode(x),
    "reconstruct": lambda model, x: model.reconstruct(x),
    "score": lambda model, x: model.score(x),
    "surprise": lambda model, x: model.surprise(x),
    "loss_terms": lambda model, x: list(model.loss_terms(x).values()),
    "denoise": lambda model, x: model.denoise(x),
    "calibrate": lambda model, x: model.calibrate(x, false_alarms=0.1).value,
    "concept": lambda model, x: model.learn_concept("odd", x, np.arange(60) % 2, positive=1, negative=0).direction,
    "fit_prior": lambda model, x: model.fit_prior("gaussian", x).sample(3, seed=0),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_reads_as_the_training_did(model: diabolo.Autoencoder, door: str) -> None:
    data = open_dataset(FRAME, labels="y", mixed=True)
    expected = DOORS[door](model, data.x)
    for frame in (FRAME, FRAME[["y", "when", "size", "colour", "ill", "age"]].assign(d=7.0)):
        for source in (SOURCES[0], _csv):
            assert np.array_equal(DOORS[door](model, source(frame)), expected)
    with pytest.raises(DataError, match="lacks the column 'ill'"):
        DOORS[door](model, FRAME.drop(columns="ill"))


def test_few_rows_are_read_by_the_codes_of_the_training(
    model: diabolo.Autoencoder, caplog: pytest.LogCaptureFixture
) -> None:
    expected = open_dataset(FRAME, labels="y", mixed=True).x
    for rows in ([1, 2], [5]):
        for source in SOURCES:
            assert np.array_equal(model.encode(source(FRAME.iloc[rows])), model.encode(expected[rows]))
    strange = FRAME.iloc[[0]].assign(colour="violet", ill=None)
    row = expected[[0]].copy()
    row[0, [1, 2, 3, 5]] = 0, 0, 0, 1
    assert np.array_equal(model.encode(strange), model.encode(row))
    assert "'colour' ('violet')" in caplog.text
    for wrong, says in (({"age": "old"}, "holds 'old' in row 0"), ({"when": 3.0}, "The training had a date in it")):
        with pytest.raises(DataError, match=says):
            model.encode(FRAME.iloc[[0]].assign(**wrong))


def test_answers_come_back_as_the_source_names_them(model: diabolo.Autoencoder) -> None:
    data = open_dataset(FRAME, labels="y", mixed=True)
    back = pd.DataFrame(model.table(data.x))
    assert list(back) == ["age", "colour", "ill", "when", "size"]
    for name in ("ill", "when", "size"):
        assert back[name].tolist() == FRAME[name].tolist()
    assert back["colour"].tolist() == FRAME["colour"].fillna("missing").tolist()
    assert np.array_equal(model.encode(pd.DataFrame(model.table(model.reconstruct(FRAME)))).shape, (60, 2))
    copies = pd.DataFrame(model.table(model.reconstruct(data.x)))
    assert set(copies["colour"]) <= {"red", "green", "blue", "missing"}


def test_the_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, own = str(folder / "run"), str(folder / "own.csv")
    assert json.loads((folder / "run/config.json").read_text())["data"]["codes"][0]["fill"] == 33.0
    for out, words in {
        "r.csv": ("reconstruct", run, own),
        "r.parquet": ("reconstruct", run),
        "s.csv": ("sample", run, "-n", "60"),
        "d.csv": ("decode", run, "--code", "0,1"),
        "n.csv": ("denoise", run, own),
    }.items():
        assert main([*words, "-o", out]) == 0
        table = pd.read_csv(out, parse_dates=["when"]) if out.endswith("csv") else pd.read_parquet(out)
        assert list(table) == ["age", "colour", "ill", "when", "size"]
        assert set(table["colour"]) <= {"red", "green", "blue", "missing"}
        assert set(table["size"]) <= {"lo", "mid", "hi"}
        assert table["ill"].dtype == bool
        assert table["when"].dt.year.between(2019, 2021).all()
    assert main(["encode", run, "r.csv", "-o", "codes.npz"]) == 0
    assert main(["score", run, own, "-o", "scores.csv"]) == 0
    assert main(["evaluate", run]) == 0
    assert main(["datasets", own, "--mixed", "--labels", "y"]) == 0
    assert "note: categories are columns of 0 and 1" in capsys.readouterr().out
    assert main(["datasets", own, "--labels", "y"]) == 1
    assert "--mixed" in capsys.readouterr().err


def test_codes_that_were_edited(folder: Path) -> None:
    shutil.copytree(folder / "frame", "run")
    config = json.loads(Path("run/config.json").read_text())
    for change, says in (
        (lambda codes: codes.pop(), "config.json codes 4 columns as 7, and the model has 10"),
        (lambda codes: codes[1]["names"].clear(), "config.json codes 5 columns as 6"),
        (lambda codes: codes[0].pop("fill"), "has no 'fill'"),
    ):
        edited = copy.deepcopy(config)
        change(edited["data"]["codes"])
        Path("run/config.json").write_text(json.dumps(edited))
        with pytest.raises(RunError, match=says):
            diabolo.load("run").encode(FRAME)


def test_a_run_finds_its_own_data(folder: Path) -> None:
    model = diabolo.load(folder / "run")
    data, split = open_data(model)
    assert (data.features[0], len(data), len(split.test)) == ("age", 60, 6)
    diabolo.resume(folder / "run", epochs=3)
    bulk.run(diabolo.load(folder / "run"), str(folder / "own.csv"), "codes", bulk.Encode())
    piece = pd.read_parquet("codes/piece-00000.parquet")
    assert np.allclose(piece[["z1", "z2"]], diabolo.load(folder / "run").encode(str(folder / "own.csv")), atol=1e-6)
    bulk.run(diabolo.load(folder / "run"), FRAME, "copies", bulk.Reconstruct())
    piece = pd.read_parquet("copies/piece-00000.parquet")
    assert list(piece)[-5:] == ["age", "colour", "ill", "when", "size"]
    assert set(piece["colour"]) <= {"red", "green", "blue", "missing"}


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ([None] * 30, "holds no value"),
        ([f"id{i}" for i in range(30)], "holds 30 different texts in 30 rows"),
        ([datetime.timedelta(i) for i in range(30)], "Turn durations into numbers"),
        ([[1, 2]] * 30, r"holds \[1, 2\] in row 0. It is no number, text"),
    ],
)
def test_columns_that_no_code_fits(column: list[Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_dataset(pd.DataFrame({"a": np.arange(30.0), "b": pd.Series(column, dtype=object)}), mixed=True)


def test_messages_are_short_whatever_categories_are_called() -> None:
    for count in (3, 200):
        texts = [f"{i % count}{'x' * 100_000}" for i in range(200)]
        try:
            said = open_dataset({"a": list(range(200)), "b": texts}, mixed=True).describe()
        except DataError as error:
            said = str(error)
        assert len(said) < 1000


def test_dates_that_cannot_be_told() -> None:
    Path("t.csv").write_text("a,b\n31.12.2020,1\n01.02.2020,2\n")
    with pytest.raises(DataError, match=r"holds '31\.12\.2020': which date that is cannot be told for sure"):
        open_dataset("t.csv", mixed=True)
    Path("t.csv").write_text("a,b\n2020/2/1,1\n2020-02-02T06:00,2\n2020-02-03 12:00:00,NA\n")
    assert open_dataset("t.csv", mixed=True).x.tolist() == [[18293, 1], [18294.25, 2], [18295.5, 1.5]]


def test_columns_of_unlike_lengths() -> None:
    with pytest.raises(DataError, match=r"should have one length, and these differ: 'a' 2, 'b' 1"):
        open_dataset({"a": [1, 2], "b": [1]})
    assert open_dataset({"a": [1, 2], "b": [0.5, 1]}).features == ("a", "b")


def test_other_sources_refuse_the_option() -> None:
    with pytest.raises(ConfigError, match="mixed= is for tables with names of columns"):
        open_dataset(np.eye(3), mixed=True)
    with pytest.raises(ConfigError, match="mixed should be True or False"):
        open_dataset(FRAME, mixed="yes")


def test_the_lines_for_scikit_learn_run() -> None:
    page = (Path(__file__).parents[1] / "docs/data.md").read_text()
    lines = next(part.partition("```")[0] for part in page.split("```python\n") if part.startswith("from sklearn"))
    names: dict[str, Any] = {"frame": FRAME[["age", "colour", "ill"]]}
    exec(lines.replace("latent_dim=2", "latent_dim=2, epochs=1"), names)
    assert names["codes"].shape == (60, 2)


@pytest.mark.parametrize("estimator", ["AutoencoderTransformer", "AutoencoderOutlierDetector"])
@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (["age"], "missing values in 'age'"),
        (["ill", "colour", "size"], "text or categories in 'colour', 'size'"),
        (["ill", "when"], "dates in 'when'. Turn dates into numbers first"),
    ],
)
def test_the_estimators_name_the_line_to_write(estimator: str, columns: list[str], says: str) -> None:
    import sklearn.compose
    import sklearn.impute
    import sklearn.pipeline
    import sklearn.preprocessing

    import diabolo.sklearn

    with pytest.raises(DataError) as caught:
        getattr(diabolo.sklearn, estimator)().fit(FRAME[columns])
    assert says in str(caught.value)
    line = str(caught.value).partition("numbers of the columns: ")[2].partition(". Or train by")[0]
    modules = (sklearn.compose, sklearn.impute, sklearn.pipeline, sklearn.preprocessing, diabolo.sklearn)
    names = {name: getattr(module, name) for module in modules for name in module.__all__}
    pipeline = eval(line.replace(f"{estimator}()", f"{estimator}(epochs=1, random_state=0)"), names)
    assert np.isfinite(pipeline.fit(FRAME[["age", "ill", "colour"]]).named_steps[estimator.lower()].n_features_in_)


def test_the_server_takes_columns_by_name_and_answers_so(folder: Path) -> None:
    pytest.importorskip("fastapi")
    from diabolo.explorer._api import make_api
    from test_explore_labels import asked

    model = diabolo.load(folder / "run")
    app = make_api(model, "it")
    columns: dict[str, list[Any]] = {
        "when": ["2020-01-05", "2020-01-06"],
        "colour": ["red", None],
        "size": ["lo", "hi"],
        "age": [None, 31],
        "ill": [True, False],
    }
    frame = pd.DataFrame(columns).assign(when=pd.to_datetime(columns["when"]))

    def ask(path: str, body: Any) -> Any:
        return asked(app, "POST", f"/api/{path}", json.dumps(body).encode(), {"content-type": "application/json"})

    for path, answer in (("encode", model.encode), ("score", model.score), ("reconstruct", model.reconstruct)):
        np.testing.assert_allclose(ask(path, {"columns": columns}).json["data"], answer(frame), rtol=1e-6)
    back = ask("reconstruct?columns=true", {"columns": columns}).json["columns"]
    assert back["colour"] == model.table(model.reconstruct(frame))["colour"].tolist()
    assert back["when"][0].startswith("20")
    assert list(ask("sample?n=3&columns=true", None).json["columns"]) == list(model.table(model.sample(3, seed=0)))
    for body, says in (
        ({"columns": {**columns, "age": ["old", 3]}}, "holds 'old' in row 0"),
        ({"columns": {name: columns[name] for name in ("age", "ill")}}, "lacks the columns"),
        ({"columns": {"age": [1], "ill": [1, 2]}}, "columns should have one length"),
        ({"columns": [1]}, "columns are no lists by name"),
        ({"columns": {"age": [[1]]}}, "columns hold lists or objects"),
    ):
        said = ask("encode", body)
        assert said.status == 400
        assert says in said.json["error"]
    assert "holds columns of a table" in ask("decode", {"columns": columns}).json["error"]
