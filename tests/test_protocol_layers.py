"""Layers that published protocols need go the whole way: engines, precisions, files, copies, ONNX, the command line."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.cli import main

EVEN: dict[str, Any] = {"network": "conv", "channels": (8, 16), "kernel": 4, "enlarge": "transposed", "hidden": (20,)}
LAYERS: dict[str, dict[str, Any]] = {
    "gated mlp": {"network": "mlp", "widths": (70, 20), "activation": "gated"},
    "gated mlp alone": {"network": "mlp", "widths": (70, 20), "activation": "gated", "start": "random"},
    "gated conv": {"network": "conv", "channels": (8, 16), "hidden": (20,), "activation": "gated"},
    "gated conv alone": {**EVEN, "activation": "gated", "start": "random"},
    "even": {**EVEN, "start": "mean"},
    "even beside a path": EVEN,
    "bare mlp": {"network": "mlp", "widths": (70, 20), "bias": False, "start": "random"},
    "bare conv": {**EVEN, "bias": False, "start": "random"},
    "bare linear": {"network": "linear", "bias": False, "start": "random"},
    "spectral mlp": {"network": "mlp", "widths": (70, 20), "spectral": "both", "start": "random"},
    "spectral conv": {**EVEN, "spectral": "both", "start": "mean"},
    "spectral decoder": {"network": "conv", "channels": (8, 16), "spectral": "decoder", "start": "random"},
}
X = np.random.default_rng(0).integers(0, 256, (60, 9, 11), dtype=np.uint8)


def trained(name: str, **more: Any) -> diabolo.Autoencoder:
    options = {"model": "vae", "latent_dim": 3, "epochs": 2, "batch_size": 20, "precision": "float32", **more}
    return diabolo.train(X, layout="HW", **LAYERS[name], **options)


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_saved_loaded_copied_and_pickled(name: str, tmp_path: Path) -> None:
    model = trained(name, out=tmp_path / "run")
    codes = model.encode(X)
    for again in (diabolo.load(tmp_path / "run"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.encode(X), codes)
        assert np.array_equal(again.decode(codes), model.decode(codes))
        assert again.model.config() == model.model.config()


@pytest.mark.parametrize("name", LAYERS)
def test_precisions_and_engines_train_alike(name: str) -> None:
    losses = {
        (engine, precision): trained(name, engine=engine, precision=precision, lr=1e-3).info["result"]["test"]["loss"]
        for engine, precision in (("torch", "float32"), ("fused", "float32"), ("fused", "bf16"))
    }
    base = losses["torch", "float32"]
    assert losses["fused", "float32"] == pytest.approx(base, rel=1e-4)
    assert losses["fused", "bf16"] == pytest.approx(base, rel=0.02, abs=0.5)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if at else ()) for at, name in enumerate(LAYERS)]
)
def test_it_is_exported(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'diabolo[onnx]'")
    from diabolo.export import export_onnx

    model = trained(name)
    made = export_onnx(model, tmp_path)
    session = onnxruntime.InferenceSession(made.encoder, providers=["CPUExecutionProvider"])
    codes = session.run(None, {"x": X[:7] / np.float32(255)})[0]
    np.testing.assert_allclose(codes, model.encode(X[:7]), rtol=1e-3, atol=1e-4)


def test_a_protocol_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        "train digits --model vae --network mlp --widths 16,12 --activation gated --init he --start mean --eps 1e-4 "
        "--schedule milestones --milestones 1,2 --lr-decay 0.5 --lr 0.001 --lr-warmup 0 --log-variance -6,2 "
        "--optimizer adamax --likelihood bernoulli --epochs 3 --quiet --no-report -o"
    )
    assert main([*line.split(), str(tmp_path / "run")]) == 0
    model = diabolo.load(tmp_path / "run")
    assert [line["lr"] for line in model.history if line["kind"] == "epoch"] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    settings = model.info["run_config"]["settings"]
    assert (settings["eps"], settings["milestones"], settings["optimizer"]) == (1e-4, [1.0, 2.0], "adamax")
    config = model.model.config()
    assert config["model"]["options"]["log_variance"] == [-6.0, 2.0]
    assert {name: config["network"]["options"][name] for name in ("activation", "init", "start")} == {
        "activation": "gated",
        "init": "he",
        "start": "mean",
    }
    capsys.readouterr()
    assert main(["info", str(tmp_path / "run")]) == 0
    assert "milestones=[1.0, 2.0], lr_decay=0.5" in " ".join(capsys.readouterr().out.split())
