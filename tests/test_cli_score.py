"""`diabolo score`: the scores, the anomalies by a threshold that is kept, the heat maps."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import open_dataset
from diabolo.evaluation.scores import DRAWS
from diabolo.latent.anomalies import SCORES, Threshold
from diabolo.runs.run import train
from diabolo.storage.files import read_json, write_json

SMALL = {"epochs": 1, "widths": (16,), "latent_dim": 2}


Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE on digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train("digits", model="vae", out=folder, **SMALL)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy, which a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, table: np.ndarray) -> Path:
    """A plain autoencoder on a table in memory."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    train(table, model="autoencoder", out=folder, **SMALL)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_are_the_models(command: Command, run: Path) -> None:
    said = command("score", run)
    assert (said.status, said.err) == (0, "")
    rows = rows_of(Path("scores.csv"))
    assert list(rows[0]) == ["label", "elbo"]
    expected = Autoencoder.load(run).score(open_dataset("digits").x)
    np.testing.assert_array_equal(np.array([row["elbo"] for row in rows], np.float32), expected)
    assert f"1,797 elbo scores: mean {expected.mean():.3f}" in said.out
    assert f"largest {expected.max():.3f} nats" in said.out
    assert "anomal" not in said.out
    assert not (run / "threshold.json").exists()


@pytest.mark.parametrize("kind", SCORES)
def test_the_column_is_named_after_the_kind(command: Command, run: Path, kind: str) -> None:
    draws = ("--draws", 2) if kind in DRAWS else ()
    said = command("score", run, "--kind", kind, *draws, "--seed", 3, "-o", "s.npz", "--json")
    assert said.status == 0
    expected = Autoencoder.load(run).score(open_dataset("digits").x, kind=kind, draws=2 if draws else None, seed=3)
    with np.load("s.npz") as found:
        np.testing.assert_array_equal(found[kind], expected)
        assert set(found) == {kind, "labels", "classes"}
    assert json.loads(said.out) == {
        "out": "s.npz", "count": 1797, "kind": kind, "mean": pytest.approx(float(expected.mean())),
        "median": pytest.approx(float(np.median(expected))), "largest": pytest.approx(float(expected.max())),
    }  # fmt: skip


def test_a_threshold_is_calibrated_on_the_test_split_and_kept(command: Command, run: Path) -> None:
    said = command("score", run, "--threshold", 0.05)
    assert (said.status, said.err) == (0, "")
    digits, model = open_dataset("digits"), Autoencoder.load(run)
    test = digits.split(0, 0.1, 0.1).test
    expected = Threshold.calibrate(model.score(digits.x[test]), 0.05, kind="elbo", draws=16)
    kept = Threshold.load(run / "threshold.json")
    assert (kept.value, kept.count, kept.source) == (expected.value, 180, "digits, test examples")
    rows = rows_of(Path("scores.csv"))
    scores = np.array([float(row["elbo"]) for row in rows])
    np.testing.assert_array_equal([int(row["anomaly"]) for row in rows], scores > kept.value)
    np.testing.assert_allclose([float(row["p_value"]) for row in rows], kept.p_values(scores))
    words = " ".join(said.out.split())
    assert f"{(scores > kept.value).sum()} of 1,797 examples are anomalies: above {kept.value:.3f} nats" in words
    assert "at most 5% of normal examples exceed (calibrated on 180 from digits, test examples)" in words


def test_a_kept_threshold_is_used_where_it_fits(command: Command, run: Path, tmp_path: Path) -> None:
    np.save("normal.npy", open_dataset("digits").x[:300])
    first = json.loads(command("score", run, "--threshold", 0.1, "--calibrate", "normal.npy", "--json").out)
    assert first["threshold"]["source"] == "normal"
    kept = (run / "threshold.json").read_bytes()
    again = json.loads(command("score", run, "--threshold", 0.1, "--json").out)
    unasked = json.loads(command("score", run, "--json").out)
    assert again["threshold"] == unasked["threshold"] == first["threshold"]
    for other in (("--kind", "latent"), ("--draws", 4), ("--seed", 1)):
        said = command("score", run, *other)
        assert "The run's threshold is for other scores (--kind elbo --draws 16 --seed 0)" in said.out
        assert "anomaly" not in rows_of(Path("scores.csv"))[0]
    assert (run / "threshold.json").read_bytes() == kept
    stricter = json.loads(command("score", run, "--threshold", 0.05, "--json").out)
    assert stricter["threshold"]["source"] == "digits, test examples"
    assert Threshold.load(run / "threshold.json").false_alarms == 0.05


def test_naming_normal_examples_is_enough(command: Command, run: Path) -> None:
    said = command("score", run, "--calibrate", "digits", "--json")
    found = json.loads(said.out)
    assert (found["threshold"]["false_alarms"], found["threshold"]["count"]) == (0.01, 1797)
    assert found["anomalies"] <= 17


def test_an_array_s_run_asks_for_normal_examples(command: Command, plain: Path, table: np.ndarray) -> None:
    np.save("table.npy", table)
    said = command("score", plain, "table.npy", "--threshold", 0.1)
    assert (said.status, said.out) == (2, "")
    assert "trained on an array" in said.err
    assert "--calibrate SOURCE" in said.err
    said = command("score", plain, "table.npy", "--threshold", 0.1, "--calibrate", "table.npy")
    assert said.status == 0
    assert "reconstruction" in rows_of(Path("scores.csv"))[0]


def test_a_run_without_held_out_examples_asks_for_some(command: Command, tmp_path: Path) -> None:
    train("digits", validation=0.0, test=0.0, keep="last", out="all", **SMALL)
    said = command("score", "all", "--threshold", 0.1)
    assert (said.status, said.out) == (2, "")
    assert "trained on all of its data" in said.err
    train("digits", validation=0.1, test=0.0, out="some", **SMALL)
    assert "digits, validation examples" in command("score", "some", "--threshold", 0.1).out


def test_data_that_changed_since_is_not_calibrated_on(command: Command, run: Path) -> None:
    config = read_json(run / "config.json")
    config["data"]["fingerprint"] = "blake2b:other"
    write_json(run / "config.json", config)
    said = command("score", run, "--threshold", 0.1)
    assert said.status == 1
    assert "digits has 1,797 examples as then, and some of them (or their labels) have changed since" in said.err


def test_too_few_normal_examples(command: Command, run: Path) -> None:
    said = command("score", run, "--threshold", 0.001)
    assert said.status == 1
    assert "needs at least 999 normal examples" in said.err
    assert not (run / "threshold.json").exists()


def test_the_worst_are_drawn(command: Command, run: Path) -> None:
    said = command("score", run, "--heatmaps", "heat.png", "-n", 3)
    assert said.status == 0
    assert "heat maps -> heat.png" in said.out
    with Image.open("heat.png") as few:
        few.load()
        narrow = few.width
    command("score", run, "--heatmaps", "heat.png", "-n", 8)
    with Image.open("heat.png") as many:
        assert many.width > narrow


def test_heat_maps_have_a_name_of_their_own(command: Command, run: Path, here: Path) -> None:
    assert command("score", run, "digits", "--heatmaps", "-n", 2).status == 0
    assert (here / "heatmaps.png").exists()


def test_all_heat_maps_can_be_kept(command: Command, run: Path) -> None:
    command("score", run, "--heatmaps", "heat.npz")
    with np.load("heat.npz") as found:
        np.testing.assert_array_equal(found["x"], Autoencoder.load(run).surprise(open_dataset("digits").x))


def test_a_table_has_heat_maps(command: Command, plain: Path, table: np.ndarray) -> None:
    np.save("table.npy", table)
    assert command("score", plain, "table.npy", "--heatmaps", "heat.png").status == 0
    with Image.open("heat.png") as drawn:
        assert min(drawn.size) > 200


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--threshold 0", "threshold should be a rate above 0 and at most 0.5, and was given 0.0"),
        ("--threshold 0.6", "at most 0.5, and was given 0.6"),
        ("--threshold nan", "and was given nan"),
        ("-n 0", "n should be a number of examples of at least 1"),
        ("--heatmaps heat.jpg", "heatmaps should be a .png, .npz or .npy, and was given 'heat.jpg'"),
        ("-o scores.txt", "out should be a .npz, .csv or .parquet, and was given 'scores.txt'"),
        ("--kind elbow", "invalid choice: 'elbow'"),
        ("--kind latent --draws 3", "draws should be 0 or left out for the score 'latent'"),
        ("--kind likelihood --draws 0", "draws should be a number of codes of at least 1"),
        ("--seed -1", "seed should be a number of at least 0"),
    ],
)
def test_what_cannot_be_is_refused(command: Command, run: Path, words: str, says: str) -> None:
    said = command("score", run, *words.split())
    assert (said.status, said.out) == (2, "")
    assert says in said.err
    assert [path.name for path in Path().iterdir()] == ["run"]


@pytest.mark.parametrize("kind", ["elbo", "likelihood"])
def test_points_have_no_bounds(command: Command, plain: Path, table: np.ndarray, kind: str) -> None:
    np.save("table.npy", table)
    said = command("score", plain, "table.npy", "--kind", kind)
    assert said.status == 2
    assert "codes with a density" in said.err
