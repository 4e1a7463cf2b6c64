"""The variants of docs/extending.md, from a module of somebody's own: labels, an adversary, codes with places."""

from __future__ import annotations

import json
import os
import subprocess
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

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
MODULE = "my_variants"
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


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request: pytest.FixtureRequest, folder: Path) -> tuple[str, diabolo.Autoencoder]:
    name = request.param
    model = diabolo.train("digits", model=f"{MODULE}:{name}", out=folder / name, epochs=2, seed=1, **VARIANTS[name])
    return name, model


def in_a_fresh_process(folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "DIABOLO_TRUST"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", "diabolo", *words, "--trust", MODULE],
        cwd=folder, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_evaluated_in_a_fresh_process(trained: tuple[str, diabolo.Autoencoder], folder: Path) -> None:
    name, model = trained
    card = json.loads(in_a_fresh_process(folder, "evaluate", name, "--metrics", "mse", "--json"))
    dataset, split = diabolo.runs.open_data(model)  # type: ignore[attr-defined]
    test = dataset.subset(split.test)
    errors = np.square(model.reconstruct(test) - np.asarray(test.x)).mean()
    assert f"{errors:.6f}"[:6] in json.dumps(card)


def test_its_codes_are_written_and_are_the_same(trained: tuple[str, diabolo.Autoencoder], folder: Path) -> None:
    name, model = trained
    in_a_fresh_process(folder, "encode", name, "digits", "--out", f"{name}.npz")
    codes = np.load(folder / f"{name}.npz")["codes"]
    assert np.array_equal(codes, model.encode(diabolo.open_dataset("digits"), flat=True))


def test_it_is_exported(trained: tuple[str, diabolo.Autoencoder], folder: Path) -> None:
    name, model = trained
    pytest.importorskip("onnxruntime")
    in_a_fresh_process(folder, "export", name, "--out", f"{name}-onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{name}-onnx" / "encoder.onnx")
    x = np.asarray(diabolo.open_dataset("digits").x[:3], np.float32)
    given = {"x": x} | ({"y": np.array([4, 0, 9])} if name == "Conditional" else {})
    assert [one.name for one in session.get_inputs()] == list(given)
    codes = session.run(None, given)[0]
    assert np.allclose(codes, model.encode(x, given.get("y"), flat=True), atol=1e-4)


def test_the_report_is_written(trained: tuple[str, diabolo.Autoencoder], folder: Path) -> None:
    name, _ = trained
    in_a_fresh_process(folder, "report", name)
    assert "Reconstructions" in (folder / name / "report.html").read_text(encoding="utf-8")


def test_the_explorer_opens_it(trained: tuple[str, diabolo.Autoencoder]) -> None:
    pytest.importorskip("fastapi")
    _, model = trained
    assert open_atlas(model, points=50).codes.shape == (50, model.latent_dim)
    shown = explore(model, points=50)
    try:
        with urllib.request.urlopen(shown.url, timeout=30) as answer:
            assert answer.status == 200
    finally:
        shown.stop()


def test_a_class_may_be_asked_for(folder: Path) -> None:
    if not (folder / "Conditional").exists():
        diabolo.train("digits", model=f"{MODULE}:Conditional", out=folder / "Conditional", epochs=1, latent_dim=2)
    model = diabolo.load(folder / "Conditional", trust=MODULE)
    three = model.sample(6, seed=0, y="3")
    assert np.array_equal(three, model.decode(model.sample_codes(6, seed=0), np.full(6, 3)))
    assert not np.array_equal(three, model.sample(6, seed=0, y="4"))
    in_a_fresh_process(folder, "sample", "Conditional", "-n", "6", "--class", "3", "--out", "three.npz")
    assert np.array_equal(np.load(folder / "three.npz")["x"], three)


def test_the_critic_learns_and_stays_out_of_the_loss(trained: tuple[str, diabolo.Autoencoder]) -> None:
    name, model = trained
    if name != "Adversarial":
        return
    terms = model.history[-1]["train"]
    assert np.isclose(terms["loss"], terms["reconstruction"] + terms["adversary"])
    assert 0 < terms["critic"] < 3
    assert model.has_prior


def test_the_average_of_a_code_s_size_is_kept(trained: tuple[str, diabolo.Autoencoder], folder: Path) -> None:
    name, model = trained
    if name != "Smooth":
        return
    spread = model.model.objective.get_buffer("spread")
    assert not torch.equal(spread, torch.ones(()))
    assert torch.equal(diabolo.load(folder / name, trust=MODULE).model.objective.get_buffer("spread"), spread)
    assert model.code_shape == (2, 2, 2)
    assert model.encode(diabolo.open_dataset("digits").x[:3]).shape == (3, 2, 2, 2)
