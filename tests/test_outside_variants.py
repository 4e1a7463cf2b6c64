"""The variants of docs/extending.md, from a module of somebody's own: labels, an adversary, codes with places."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.explorer import explore, open_atlas
from diabolo.runs import open_data
from test_extending import good, said_each

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
MODULE = "my_variants"
Trained = tuple[str, diabolo.Autoencoder]
VARIANTS: dict[str, dict[str, Any]] = {
    "Conditional": {"latent_dim": 2, "widths": (16,)},
    "Adversarial": {"latent_dim": 2, "widths": (16,), "clip": 1.0},
    "Smooth": {"latent_dim": 2, "network": "conv", "channels": (4, 8), "spatial": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the module lies, and its runs."""
    place = tmp_path_factory.mktemp("outside")
    code = PAGE.split(f"`{MODULE}.py`")[1].split("```python\n")[1].split("```")[0]
    (place / f"{MODULE}.py").write_text(code, encoding="utf-8")
    sys.path.insert(0, str(place))
    yield place
    sys.path.remove(str(place))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in ("Adversarial", "Smooth") else ()) for name in VARIANTS
    ],
)
def trained(request: pytest.FixtureRequest, folder: Path) -> Trained:
    name = request.param
    model = diabolo.train("digits", model=f"{MODULE}:{name}", out=folder / name, epochs=2, seed=1, **VARIANTS[name])
    return name, model


@pytest.fixture(scope="module")
def answers(trained: Trained, folder: Path) -> dict[str, str]:
    """What the commands say in one fresh process, each of which is told whom to trust."""
    name, _ = trained
    commands = [
        ["evaluate", name, "--metrics", "mse", "--json"],
        ["encode", name, "digits", "--out", f"{name}.npz"],
        ["export", name, "--out", f"{name}-onnx"],
        ["report", name],
    ]
    if name == "Conditional":
        commands.append(["sample", name, "-n", "6", "--class", "3", "--out", "three.npz"])
    given = [[*words, "--trust", MODULE] for words in commands]
    said = said_each(folder, *given, path=folder)
    return {words[0]: good(one) for words, one in zip(commands, said, strict=True)}


def test_it_is_evaluated_in_a_fresh_process(trained: Trained, answers: dict[str, str]) -> None:
    _, model = trained
    dataset, split = open_data(model)
    test = dataset.subset(split.test)
    error = float(np.square(model.reconstruct(test) - np.asarray(test.x)).mean())
    assert f"{error:.5f}"[:6] in answers["evaluate"]


def test_its_codes_are_written_and_are_the_same(trained: Trained, answers: dict[str, str], folder: Path) -> None:
    name, model = trained
    assert "1,797 codes" in answers["encode"]
    codes = np.load(folder / f"{name}.npz")["codes"]
    assert np.array_equal(codes, model.encode(diabolo.open_dataset("digits"), flat=True))


def test_it_is_exported(trained: Trained, answers: dict[str, str], folder: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    name, model = trained
    assert "onnx" in answers["export"]
    session = onnxruntime.InferenceSession(folder / f"{name}-onnx" / "encoder.onnx")
    x = np.asarray(diabolo.open_dataset("digits").x[:3], np.float32)
    given = {"x": x} | ({"y": np.array([4, 0, 9])} if name == "Conditional" else {})
    assert [one.name for one in session.get_inputs()] == list(given)
    codes = session.run(None, given)[0]
    assert np.allclose(codes, model.encode(x, given.get("y"), flat=True), atol=1e-4)


def test_the_report_is_written(trained: Trained, answers: dict[str, str], folder: Path) -> None:
    assert "report" in answers["report"]
    assert "Reconstructions" in (folder / trained[0] / "report.html").read_text(encoding="utf-8")


def test_the_explorer_opens_it(trained: Trained) -> None:
    pytest.importorskip("fastapi")
    _, model = trained
    assert open_atlas(model, points=50).codes.shape == (50, model.latent_dim)
    shown = explore(model, points=50)
    try:
        with urllib.request.urlopen(shown.url, timeout=30) as answer:
            assert answer.status == 200
    finally:
        shown.stop()


def test_a_class_may_be_asked_for(trained: Trained, answers: dict[str, str], folder: Path) -> None:
    name, model = trained
    if name != "Conditional":
        return
    three = model.sample(6, seed=0, y="3")
    assert np.array_equal(three, model.decode(model.sample_codes(6, seed=0), np.full(6, 3)))
    assert not np.array_equal(three, model.sample(6, seed=0, y="4"))
    assert "6 examples" in answers["sample"]
    assert np.array_equal(np.load(folder / "three.npz")["x"], three)


def test_the_critic_learns_and_stays_out_of_the_loss(trained: Trained) -> None:
    name, model = trained
    if name != "Adversarial":
        return
    terms = model.history[-1]["train"]
    assert np.isclose(terms["loss"], terms["reconstruction"] + terms["adversary"])
    assert 0 < terms["critic"] < 3
    assert model.has_prior


def test_the_average_of_a_code_s_size_is_kept(trained: Trained, folder: Path) -> None:
    name, model = trained
    if name != "Smooth":
        return
    spread = model.model.objective.get_buffer("spread")
    assert not torch.equal(spread, torch.ones(()))
    assert torch.equal(diabolo.load(folder / name, trust=MODULE).model.objective.get_buffer("spread"), spread)
    assert model.code_shape == (2, 2, 2)
    assert model.encode(diabolo.open_dataset("digits").x[:3]).shape == (3, 2, 2, 2)
