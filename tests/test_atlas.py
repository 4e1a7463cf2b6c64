"""The explorer's atlas: which examples, what is known of each, what is kept with the run, what cannot be shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import diabolo
from diabolo.datasets import open_dataset
from diabolo.errors import ConfigError, DataError, RunError, ShapeError, SourceNotFound
from diabolo.explorer import Atlas, open_atlas, open_atlases
from diabolo.explorer import _atlas as module
from diabolo.explorer._cache import Cache
from diabolo.explorer._run_state import health_of, saves, state_of

pytestmark = pytest.mark.usefixtures("environment")
SMALL = {"epochs": 2, "widths": (16,), "latent_dim": 2}


@pytest.fixture(scope="module")
def spots(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures as a file, with three classes."""
    path = tmp_path_factory.mktemp("data") / "spots.npz"
    np.savez(path, x=pictures, y=np.arange(len(pictures)) % 3)
    return path


@pytest.fixture(scope="module")
def trained(spots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "spots"
    diabolo.train(str(spots), layout="HW", labels="y", model="vae", validation=0.2, test=0.2, out=run, **SMALL)
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many examples were measured, each time that any were."""
    calls: list[int] = []
    measure: Callable[..., dict[str, np.ndarray]] = module.measure

    def counted(*words: object) -> dict[str, np.ndarray]:
        found = measure(*words)
        calls.append(len(found["codes"]))
        return found

    monkeypatch.setattr(module, "measure", counted)
    return calls


def cached(run: Path) -> list[Path]:
    return sorted((run / "explorer").glob("*"))


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_every_example_with_what_is_known_of_it(run: Path, pictures: np.ndarray) -> None:
    model = diabolo.load(run)
    atlas = open_atlas(model)
    assert len(atlas) == len(pictures)
    assert (atlas.own, atlas.name, atlas.run) == (True, "run", str(run))
    np.testing.assert_array_equal(atlas.codes, model.encode(pictures))
    assert [(one.name, one.kind, one.values.dtype) for one in atlas.columns] == [
        ("class", "category", np.uint8),
        ("part", "category", np.uint8),
        ("error", "number", np.float32),
        ("score", "number", np.float32),
    ]
    np.testing.assert_array_equal(atlas.column("class").values, np.arange(len(pictures)) % 3)
    assert atlas.column("class").categories == ("0", "1", "2")
    error = (model.reconstruct(pictures).astype(np.float64) - pictures / 255) ** 2
    np.testing.assert_allclose(atlas.column("error").values, error.mean((1, 2)), rtol=1e-4)
    np.testing.assert_array_equal(atlas.column("score").values, model.score(pictures, kind="reconstruction"))
    split = open_dataset(pictures, layout="HW").split(0, 0.2, 0.2)
    part = atlas.column("part")
    for place, chosen in enumerate((split.train, split.validation, split.test)):
        np.testing.assert_array_equal(np.flatnonzero(part.values == place), chosen)
    assert part.categories == ("training", "validation", "test")
    assert atlas.column("0") is atlas.columns[0]


def test_more_examples_than_points_are_chosen_at_random(run: Path, pictures: np.ndarray) -> None:
    model = diabolo.load(run)
    atlas, again, other = (open_atlas(model, points=20, seed=seed) for seed in (1, 1, 2))
    assert len(atlas) == 20
    assert (np.diff(atlas.indices) > 0).all()
    np.testing.assert_array_equal(atlas.indices, again.indices)
    assert not np.array_equal(atlas.indices, other.indices)
    np.testing.assert_array_equal(atlas.codes, model.encode(pictures)[atlas.indices])
    np.testing.assert_array_equal(atlas.examples([3, 0]), pictures[atlas.indices[[3, 0]]])
    assert len(atlas.column("class").values) == 20
    told = state_of(atlas)
    assert (told["count"], told["data"]["total"]) == (20, len(pictures))


def test_a_table_s_features_are_columns(table: np.ndarray, tmp_path: Path) -> None:
    names = ["a/b", "error", "", "..", 'ü "%?#']
    path = tmp_path / "table.csv"
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in [*names[:2], "c", *names[3:], "target"])
    target = np.linspace(-1, 1, len(table))
    lines = [quoted, *(",".join(map(repr, [*map(float, row), float(y)])) for row, y in zip(table, target, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = diabolo.train(str(path), labels="target", **SMALL)
    atlas = open_atlas(model)
    assert [one.name for one in atlas.columns] == [
        *("label", "part", "error", "score"),
        *("a/b", "error (feature 2)", "c", "feature 4", 'ü "%?#'),
    ]
    np.testing.assert_array_equal(atlas.column("a/b").values, table[:, 0])
    np.testing.assert_array_equal(atlas.column("5").values, table[:, 1])
    np.testing.assert_allclose(atlas.column("label").values, target, rtol=1e-6)
    errors = np.square(model.reconstruct(table).astype(np.float64) - table).mean(1)  # in the table's own units
    np.testing.assert_allclose(atlas.column("error").values, errors, rtol=1e-3)
    told = state_of(atlas)
    assert told["display"]["kind"] == "values"
    low, high = np.quantile(table, (0.005, 0.995))
    assert (told["display"]["low"], told["display"]["high"]) == pytest.approx((low, high), rel=1e-5)
    assert told["features"] == ["a/b", "error", "c", "..", 'ü "%?#']


def test_signals_and_coloured_images_say_how_they_are_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(size=(60, 16, 2)).astype(np.float32)
    shown = state_of(open_atlas(diabolo.train(wave, layout="LC", **SMALL)))["display"]
    assert shown["kind"] == "signal"
    assert -4 < shown["low"] < -1 < 1 < shown["high"] < 4
    for layout, shape in (("HWC", (60, 6, 5, 3)), ("CHW", (60, 3, 6, 5))):
        x = rng.integers(0, 256, shape, dtype=np.uint8)
        shown = state_of(open_atlas(diabolo.train(x, layout=layout, **SMALL)))["display"]
        assert shown == {"kind": "image", "height": 6, "width": 5, "channels": 3, "low": 0.0, "high": 1.0}
    floats = (rng.normal(size=(60, 6, 6)) * 3 + 100).astype(np.float32)
    model = diabolo.train(floats, layout="HW", **SMALL)
    shown = state_of(open_atlas(model))["display"]
    assert (shown["low"], shown["high"]) == pytest.approx(model.model.preprocess.display)


def test_a_folder_s_examples_have_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        place = tmp_path / "faces" / ("glad" if number % 2 else "sad")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(place / f"{number:02}.png")
    atlas = open_atlas(diabolo.train(str(tmp_path / "faces"), **SMALL))
    assert state_of(atlas)["named"]
    assert atlas.names([0, 11]) == [atlas.dataset.ids[0], atlas.dataset.ids[11]]
    assert {"glad/01.png", "sad/00.png"} <= set(atlas.names(range(12)))


def test_examples_that_are_not_there(run: Path) -> None:
    atlas = open_atlas(diabolo.load(run))
    for ids, says in (
        ([], "1 to 1,000 examples can be asked for at a time, not 0"),
        ([0] * 1001, "not 1,001"),
        ([-1], "0 to 89: none has the number -1"),
        ([90], "none has the number 90"),
        ([2**70], "whole numbers"),
        ([0.5], "whole numbers"),
        ([[1]], "whole numbers"),
    ):
        with pytest.raises(DataError, match=says):
            atlas.examples(ids)
    with pytest.raises(ConfigError, match=r"no column 'clas'\. Known: class, part"):
        atlas.column("clas")
    with pytest.raises(ConfigError, match="no column '4'"):
        atlas.column("4")


# --- what is said about a run -----------------------------------------------------------------------------------------


def test_the_state_is_plain_json(run: Path) -> None:
    model = diabolo.load(run)
    told = json.loads(json.dumps(state_of(open_atlas(model, run="runs/x")), allow_nan=False))
    assert told["summary"] == "A variational autoencoder (mlp) with a code of 2 numbers, trained on spots"
    assert told["variant"].startswith("Learns a Gaussian posterior of the latent code")
    assert "E_q(z|x)" in told["variant"]
    assert "Kingma" in told["variant"]
    assert (told["prior"], told["threshold"]) == ("own", None)
    assert (told["name"], told["run"]) == ("x", "runs/x")
    assert told["columns"][0] == {"name": "class", "kind": "category", "unit": "", "categories": ["0", "1", "2"]}
    assert told["columns"][3] == {"name": "score", "kind": "number", "unit": "nats"}
    limit = model.calibrate(model.examples, false_alarms=0.2)
    told = state_of(open_atlas(model))
    assert (told["threshold"]["kind"], told["threshold"]["limit"]) == ("elbo", limit.value)


def test_health_says_what_the_report_says(run: Path) -> None:
    model = diabolo.load(run)
    atlas = open_atlas(model)
    found = json.loads(json.dumps(health_of(atlas), allow_nan=False))
    assert found["part"] == "test"
    assert found["numbers"]["loss"] == model.info["result"]["test"]["loss"]
    levels = {one["level"] for one in found["findings"]}
    assert levels <= {"good", "note", "problem"}
    assert levels
    assert all(one["title"] and one["text"] for one in found["findings"])
    curves = {one["name"]: one for one in found["curves"]}
    assert {"loss", "reconstruction", "kl"} <= set(curves)
    assert curves["loss"]["epochs"] == [1, 2]
    epochs = [line for line in model.history if line["kind"] == "epoch"]
    assert curves["kl"]["training"] == [line["train"]["kl"] for line in epochs]
    assert curves["kl"]["validation"] == [line["validation"]["kl"] for line in epochs]
    kl = model.info["result"]["test"]["kl_per_dimension"]
    for one, nats, spread in zip(found["dimensions"], kl, atlas.codes.std(0), strict=True):
        assert one["kl"] == pytest.approx(nats)
        assert one["spread"] == pytest.approx(spread, rel=1e-5)
        assert one["active"] == (spread**2 > 0.01)


def test_health_of_points_and_of_other_data(pictures: np.ndarray) -> None:
    model = diabolo.train(pictures, layout="HW", model="autoencoder", **SMALL)
    with torch.no_grad():
        last = list(model.model.encoder.parameters())
        for part in last[-2:]:
            part[0] = 0  # the first dimension says nothing
    found = health_of(open_atlas(model, pictures[::-1].copy(), {"layout": "HW"}))
    assert [one["kl"] for one in found["dimensions"]] == [None, None]
    assert [one["active"] for one in found["dimensions"]] == [False, True]
    assert any("dead" in one["title"] for one in found["findings"])
    assert found["numbers"]["examples"] == 45, "half of it is the test part"


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_was_measured_is_kept_with_the_run(run: Path, measured: list[int]) -> None:
    told: list[tuple[int, int]] = []
    first = open_atlas(diabolo.load(run), progress=lambda *words: told.append(words))
    assert (measured, told) == ([90], [(90, 90)])
    (folder,) = cached(run)
    assert {path.name for path in folder.iterdir()} == {"codes.npy", "error.npy", "score.npy", "index.json"}
    second = open_atlas(diabolo.load(run), progress=lambda *words: told.append(words))
    assert (len(measured), len(told)) == (1, 1)
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.column("score").values, second.column("score").values)
    open_atlas(diabolo.load(run), points=10)
    assert measured == [90, 10]
    assert len(cached(run)) == 2


def test_large_arrays_are_mapped(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_atlas(diabolo.load(run))
    monkeypatch.setattr("diabolo.explorer._cache.LARGE", 500)
    assert isinstance(open_atlas(diabolo.load(run)).codes, np.memmap)


@pytest.mark.parametrize("harm", ["cut", "edited", "no index", "other shape", "no json", "a list"])
def test_what_is_broken_is_made_anew(run: Path, measured: list[int], harm: str) -> None:
    expected = open_atlas(diabolo.load(run)).codes
    (folder,) = cached(run)
    path = folder / "codes.npy"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif harm == "edited":
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    elif harm == "other shape":
        Cache(folder, "?").write({name: np.zeros((3, 2), np.float32) for name in ("codes", "error", "score")})
    elif harm == "no index":
        (folder / "index.json").unlink()
    else:
        (folder / "index.json").write_text("{" if harm == "no json" else "[]")
    np.testing.assert_array_equal(open_atlas(diabolo.load(run)).codes, expected)
    assert measured == [90, 90]
    open_atlas(diabolo.load(run))
    assert measured == [90, 90]


def test_other_weights_have_codes_of_their_own(run: Path, measured: list[int]) -> None:
    open_atlas(diabolo.load(run))
    before = cached(run)
    (run / "explorer" / "mine").mkdir()
    model = diabolo.resume(run, epochs=3).go()
    atlas = open_atlas(model)
    np.testing.assert_array_equal(atlas.codes, model.encode(atlas.dataset.x))
    after = [path for path in cached(run) if path.name != "mine"]
    assert measured == [90, 90]
    assert len(after) == 1
    assert after != before
    assert (run / "explorer" / "mine").exists(), "what somebody else put there stays"


def test_a_run_that_cannot_be_written_has_no_cache(run: Path, measured: list[int]) -> None:
    (run / "explorer").write_text("in the way")
    first, second = open_atlas(diabolo.load(run)), open_atlas(diabolo.load(run))
    np.testing.assert_array_equal(first.codes, second.codes)
    assert measured == [90, 90]


def test_a_model_without_a_folder(pictures: np.ndarray) -> None:
    model = diabolo.train(pictures, layout="HW", **SMALL)
    atlas = open_atlas(model)
    assert (atlas.name, atlas.run, atlas.own, len(atlas)) == ("model", "", True, 90)
    assert not saves(atlas)
    np.testing.assert_array_equal(atlas.codes, model.encode(pictures))


# --- what cannot be shown ---------------------------------------------------------------------------------------------


def test_a_run_of_an_array_needs_a_source(pictures: np.ndarray, tmp_path: Path) -> None:
    diabolo.train(pictures, layout="HW", out=tmp_path / "run", **SMALL)
    model = diabolo.load(tmp_path / "run")
    with pytest.raises(DataError, match=r"trained on an array.* as SOURCE"):
        open_atlas(model)
    np.save(tmp_path / "x.npy", pictures)
    atlas = open_atlas(model, str(tmp_path / "x.npy"))
    assert atlas.own, "the same examples, by whatever name"


def test_data_that_is_gone_or_other(spots: Path, tmp_path: Path, pictures: np.ndarray) -> None:
    path = tmp_path / "moving.npz"
    shutil.copy(spots, path)
    diabolo.train(str(path), layout="HW", labels="y", out=tmp_path / "run", **SMALL)
    model = diabolo.load(tmp_path / "run")
    path.unlink()
    with pytest.raises(DataError, match="own data is not there any more: name the examples to show as SOURCE"):
        open_atlas(model)
    with pytest.raises(SourceNotFound, match="nowhere"):
        open_atlas(model, str(tmp_path / "nowhere.npy"))
    np.savez(path, x=pictures[:, :4], y=np.arange(len(pictures)) % 3)
    with pytest.raises(ShapeError, match=r"shape \(8, 8\), and those of moving have the shape \(4, 8\)"):
        open_atlas(model)
    np.save(tmp_path / "other.npy", pictures[:, :4])
    with pytest.raises(ShapeError, match=r"expects examples of shape \(8, 8\)"):
        open_atlas(model, str(tmp_path / "other.npy"))


@pytest.mark.parametrize(("options", "says"), [({"points": 0}, "points"), ({"seed": -1}, "seed")])
def test_options_that_cannot_be(run: Path, options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_atlas(diabolo.load(run), **options)


def test_a_broken_run(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    del config["run_config"]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="it has no 'run_config'"):
        open_atlas(diabolo.load(run))


# --- two runs ---------------------------------------------------------------------------------------------------------


def test_two_runs_show_the_same_examples(run: Path, spots: Path, tmp_path: Path) -> None:
    other = diabolo.train(str(spots), layout="HW", labels="y", seed=7, out=tmp_path / "other", **SMALL)
    found: list[Atlas] = open_atlases([diabolo.load(run), other], points=30)
    np.testing.assert_array_equal(found[0].indices, found[1].indices)
    np.testing.assert_array_equal(found[0].examples([5]), found[1].examples([5]))
    assert not np.array_equal(found[0].column("part").values, found[1].column("part").values)


def test_two_runs_of_different_data(run: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    other = diabolo.train(pictures[::-1].copy(), layout="HW", **SMALL)
    with pytest.raises(ConfigError, match=r"trained on different ones: run on spots, model on .* as SOURCE"):
        open_atlases([diabolo.load(run), other])
    np.save(tmp_path / "x.npy", pictures)
    assert len(open_atlases([diabolo.load(run), other], str(tmp_path / "x.npy"))) == 2
