"""Priors that are learned and codes of tokens in compiled steps, exports and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from stepping import needs_compiler

MADE: dict[str, dict[str, Any]] = {
    "vamp": {"model": "vamp", "components": 10, "widths": (16,)},
    "exemplars": {"model": "vamp", "components": 10, "exemplars": True, "widths": (16,)},
    "vq": {"model": "vq", "positions": 2, "codes": 16, "widths": (16,)},
    "levels": {"model": "vq", "positions": 2, "codes": 16, "levels": 2, "decay": 0.0, "widths": (16,)},
    "places": {"model": "vq", "codes": 16, "network": "conv", "channels": (4, 8), "spatial": True},
}
Trained = tuple[str, diabolo.Autoencoder]
COMMON: dict[str, Any] = {"latent_dim": 4, "epochs": 2, "precision": "float32", "seed": 1}


@pytest.fixture(scope="module", params=MADE)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, diabolo.Autoencoder]:
    name = request.param
    out = tmp_path_factory.mktemp(name)
    return name, diabolo.train("digits", out=out / "run", compile="off", **COMMON, **MADE[name])


@pytest.mark.slow
@needs_compiler
def test_compiled_steps_are_the_same_steps(trained: Trained) -> None:
    name, eager = trained
    compiled = diabolo.train("digits", compile="on", **COMMON, **MADE[name])
    assert compiled.info["result"]["compiled"]
    for one, other in zip(eager.history, compiled.history, strict=True):
        for term, value in one["train"].items():
            assert other["train"][term] == pytest.approx(value, rel=2e-3, abs=2e-3), term
    buffers = dict(compiled.model.objective.named_buffers())
    for buffer, value in eager.model.objective.named_buffers():
        assert torch.allclose(value.float(), buffers[buffer].float(), rtol=0.05, atol=0.05), buffer


def test_an_export_gives_the_same_codes_and_pictures(trained: Trained, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from diabolo.export import export_onnx

    _, model = trained
    exported = export_onnx(model, tmp_path)
    x = np.asarray(diabolo.open_dataset("digits").x[:7], np.float32)
    encoder, decoder = (onnxruntime.InferenceSession(path) for path in (exported.encoder, exported.decoder))
    code, more = encoder.run(None, {"x": x})
    assert np.allclose(code, model.encode(x, flat=True), atol=1e-4)
    if model.model.objective.entries:
        assert np.array_equal(more, model.tokens(x))
        assert [one.name for one in decoder.get_inputs()] == ["tokens"]
        assert np.allclose(decoder.run(None, {"tokens": more})[0], model.decode(tokens=more), atol=1e-4)
    else:
        assert np.allclose(decoder.run(None, {"code": code})[0], model.decode(code), atol=1e-4)


def test_a_report_is_written(trained: Trained) -> None:
    from diabolo.cli import main

    _, model = trained
    assert main(["report", str(model.folder)]) == 0
    assert "Reconstructions" in (Path(str(model.folder)) / "report.html").read_text(encoding="utf-8")
