"""`diabolo fit-prior`: the density that is kept with a run, what it says of itself, and what `sample` makes of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.datasets import open_dataset

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain autoencoder on digits: it has no prior of its own."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    diabolo.train("digits", epochs=2, widths=(16,), latent_dim=3, out=folder)
    return folder


@pytest.fixture
def run(trained: Path, here: Path) -> str:
    """A copy, which a test may change."""
    shutil.copytree(trained, here / "run")
    return "run"


def samples(command: Command, *words: object) -> np.ndarray:
    said = command("sample", "run", "-n", 7, "-o", "x.npy", *words)
    assert said.status == 0, said.err
    return np.asarray(np.load("x.npy"))


def test_a_plain_autoencoder_samples_once_a_prior_is_fitted(command: Command, run: str) -> None:
    said = command("sample", run)
    assert said.status == 2
    assert "diabolo fit-prior RUN --kind gmm" in said.err
    for kind, options in (("gaussian", ()), ("gmm", ("--components", 4)), ("flow", ("--epochs", 2))):
        said = command("fit-prior", run, "--kind", kind, *options)
        assert said.status == 0, said.err
        assert said.out.startswith(f"{kind} (")
        assert "Log-likelihood of 143 codes held out, nats per code:" in said.out
        assert f"Fitting a {kind} to the codes of 1,437 examples" in said.err
        first = samples(command, "--seed", 3)
        np.testing.assert_array_equal(first, samples(command, "--seed", 3))
        np.testing.assert_array_equal(first, diabolo.load(run).sample(7, seed=3))
        assert not np.array_equal(first, samples(command, "--seed", 4))
        assert re.search(rf"^prior +{kind} \(.*", command("info", run).out, re.MULTILINE)
    said = command("fit-prior", run, "--kind", "none")
    assert said.out == "Removed run/prior.safetensors\n"
    assert command("sample", run).status == 2


def test_it_is_fitted_to_the_training_split_or_to_a_source(command: Command, run: str) -> None:
    digits = open_dataset("digits")
    found = json.loads(command("fit-prior", run, "--kind", "gaussian", "--json").out)
    model = diabolo.load(run)
    expected = model.fit_prior("gaussian", digits.x[digits.split(0, 0.1, 0.1).train])
    assert found["count"] == 1437
    assert found["held_out"] == pytest.approx(expected.info["held_out"])
    np.save("some.npy", digits.x[:300])
    assert json.loads(command("fit-prior", run, "some.npy", "--json").out)["count"] == 300


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("--kind gm", 2, "Did you mean 'gmm'"),
        ("--kind gmm --components 0", 2, "components"),
        ("--kind gaussian --components 3", 2, "--components is an option of the prior 'gmm', which was not chosen"),
        ("few.npy --kind gmm", 1, "Give more codes, or take fewer components"),
        ("wide.npy", 1, "shape (8, 8), and those of wide"),
        ("--seed -1", 2, "seed"),
    ],
)
def test_what_cannot_be_is_said(command: Command, run: str, words: str, status: int, says: str) -> None:
    np.save("few.npy", open_dataset("digits").x[:12])
    np.save("wide.npy", np.zeros((5, 4, 4), np.float32))
    said = command("fit-prior", run, *words.split())
    assert (said.status, said.out) == (status, "")
    assert says in said.err
    assert not Path("run/prior.safetensors").exists()


def test_going_on_with_training_removes_what_was_learned_of_older_codes_and_says_so(
    command: Command, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("fit-prior", run, "--kind", "gaussian").status == 0
    assert command("concept", "learn", run, "--name", "seven", "--positive", 7).status == 0
    assert command("score", run, "--threshold", 0.05).status == 0
    assert command("resume", run, "--epochs", 3, "--no-report", "--quiet").status == 0
    assert "Removed: the concept 'seven', the fitted prior, the threshold." in caplog.text
    model = diabolo.load(run)
    assert (model.prior, model.concepts, model.threshold) == (None, {}, None)
    assert model.statistics is not None
