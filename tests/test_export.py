"""ONNX files of every network and layout, run by ONNX Runtime beside torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import diabolo
from diabolo import export
from diabolo.errors import ExportError, MissingExtraError, StorageError
from diabolo.export import DECODER, ENCODER, export_onnx
from diabolo.models.networks import networks

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'diabolo[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'diabolo[onnx]'")

RNG = np.random.default_rng(0)
SIGNALS = RNG.standard_normal((60, 12, 3)).cumsum(1).astype(np.float32)
COLOURED = RNG.integers(0, 256, (60, 10, 12, 3), dtype=np.uint8)
ANY = RNG.standard_normal((60, 3, 4, 2, 2)).astype(np.float32)


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def check(model: diabolo.Autoencoder, x: np.ndarray, folder: Path) -> dict[str, Any]:
    """Exports, compares with the model on other numbers of examples than the export did; the metadata."""
    made = export_onnx(model, folder)
    assert sorted(path.name for path in folder.iterdir()) == [DECODER, ENCODER], "one file each, nothing beside them"
    encoder, decoder = session(made.encoder), session(made.decoder)
    for count in (1, 2, 37):
        part = x[:count]
        values = part / np.float32(255) if part.dtype == np.uint8 else part
        code, *deviation = encoder.run(None, {"x": values})
        expected = model.encode(part)
        rows = expected.reshape(count, -1)  # a code with places is a row there
        np.testing.assert_allclose(code, rows, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        assert bool(deviation) == model.has_density
        decoded = decoder.run(None, {"code": rows})[0]
        np.testing.assert_allclose(decoded, model.decode(expected), rtol=1e-4, atol=1e-4 * np.abs(x).max())
    proto = onnx.load(made.encoder)
    onnx.checker.check_model(proto)
    return dict(json.loads({entry.key: entry.value for entry in proto.metadata_props}["diabolo"]))


@pytest.mark.parametrize("network", [name for name in networks if name != "bottleneck"])
def test_every_network(network: str, pictures: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(pictures, layout="HW", model="vae", network=network, latent_dim=3, epochs=1)
    info = check(model, pictures, tmp_path / "onnx")
    assert info["event_shape"] == [8, 8]
    assert (info["layout"], info["pixels"], info["latent_dim"], info["prior"]) == ("HW", True, 3, "N(0, I)")
    assert (info["model"]["name"], info["network"]["name"], info["part"]) == ("vae", network, "encoder")


@pytest.mark.parametrize("network", ["conv", pytest.param("resnet", marks=pytest.mark.slow)])
def test_codes_with_places(network: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"channels": (4, 6), "spatial": True, "layout": "HWC"}
    check(diabolo.train(COLOURED, network=network, latent_dim=3, epochs=1, **options), COLOURED, tmp_path / "onnx")


@pytest.mark.parametrize(
    ("x", "layout", "network", "model"),
    [
        (COLOURED, "HWC", "conv", "autoencoder"),
        pytest.param(COLOURED.transpose(0, 3, 1, 2), "CHW", "resnet", "denoising", marks=pytest.mark.slow),
        (SIGNALS, "LC", "conv", "vae"),
        (ANY, "any", "mlp", "sparse"),
    ],
)
def test_layouts_and_variants(x: np.ndarray, layout: str, network: str, model: str, tmp_path: Path) -> None:
    made = diabolo.train(np.ascontiguousarray(x), layout=layout, network=network, model=model, latent_dim=4, epochs=1)
    info = check(made, np.ascontiguousarray(x), tmp_path)
    assert info["prior"] == ("N(0, I)" if model == "vae" else None)


def test_a_table_in_its_own_units_and_the_deviations(table: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(table, model="vae", latent_dim=2, widths=(8,), epochs=2)
    info = check(model, table, tmp_path)
    assert info["pixels"] is False
    code, deviation = session(tmp_path / ENCODER).run(None, {"x": table})
    drawn = np.stack([model.encode(table, sample=True, seed=seed) for seed in range(300)])
    np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.3)
    np.testing.assert_allclose(drawn.mean(0), code, atol=0.3)


def test_a_module_that_cannot_be_exported(table: np.ndarray, tmp_path: Path) -> None:
    class Odd(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made = super().forward(x)
            return made * float(np.tanh(made.detach().float().numpy()).mean() > -2)

    model = diabolo.train(table, network=(Odd(5, 2), nn.Linear(2, 5)), epochs=1)
    with pytest.raises(ExportError, match="The encoder cannot be written as ONNX"):
        export_onnx(model, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_what_differs_from_torch_is_not_written(
    table: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = diabolo.train(table, latent_dim=2, widths=(8,), epochs=1)
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="gives other numbers than torch"):
        export_onnx(model, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_missing_packages_and_places(table: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = diabolo.train(table, latent_dim=2, widths=(8,), epochs=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        export_onnx(model, tmp_path / "file" / "onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"'onnxscript'.*diabolo\[onnx\]"):
        export_onnx(model, tmp_path)
