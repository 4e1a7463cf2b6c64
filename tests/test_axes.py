"""What the axes of examples are: told by their lengths, asked for, moved to where a model wants them, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import diabolo
from diabolo.datasets import open_dataset
from diabolo.errors import ShapeError
from diabolo.models.preprocess import Preprocess

SHAPES = {
    (28, 28, 28): "DHW",
    (16, 24, 24, 3): "THWC",
    (16, 24, 24, 1): "THWC",
    (16, 3, 24, 24): "TCHW",
    (1, 16, 24, 24): "CDHW",
    (3, 16, 24, 24): "CDHW",
    (24, 24, 3): "HWC",
    (3, 24, 24): "CHW",
    (2, 2, 2, 2, 2): "any",
    (8, 8, 8): None,
    (16, 64, 64): None,
    (3, 24, 3): None,
    (16, 16, 16, 16): None,
    (3, 16, 24, 3): None,
    (1, 3, 24, 24): None,
}
VOLUMES = ("DHW", "THWC", "TCHW", "CDHW")


@pytest.mark.parametrize("dtype", ["u1", "f4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_axes_are_known_or_asked_for(shape: tuple[int, ...], dtype: str) -> None:
    x, layout = np.zeros((2, *shape), dtype), SHAPES[shape]
    if layout is None:
        with pytest.raises(ShapeError, match=r"more than one way.*layout="):
            open_dataset(x)
        return
    opened = open_dataset(x)
    assert opened.layout == layout
    assert any("taken" in note for note in opened.notes) == (layout not in ("HWC", "CHW"))


@pytest.mark.parametrize("layout", [*VOLUMES, "HW", "HWC", "CHW", "LC", "CL", "F", "any"])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_axes_are_moved_and_moved_back(layout: str, scale: Any) -> None:
    shape = tuple(range(2, 2 + len(layout))) if layout != "any" else (2, 3, 4)
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    preprocess = Preprocess.fit(x, layout, np.arange(5), scale)
    seen = preprocess(torch.from_numpy(x))
    assert tuple(seen.shape[1:]) == preprocess.model_shape
    np.testing.assert_allclose(preprocess.undo(seen).numpy(), x, atol=1e-6)
    if "C" in layout:
        channels = np.moveaxis(x, 1 + layout.index("C"), 1)
        assert preprocess.model_shape == channels.shape[1:]
        mean = channels.mean(tuple(axis for axis in range(channels.ndim) if axis != 1)) if scale == "standard" else 0
        np.testing.assert_allclose(preprocess.shift.flatten().numpy(), mean, atol=1e-6)


@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
@pytest.mark.parametrize("layout", VOLUMES)
def test_volumes_and_video_are_trained_on(layout: str, network: str) -> None:
    sides = {"C": 3, "D": 5, "T": 5, "H": 8, "W": 8}
    x = np.random.default_rng(0).integers(0, 256, (6, *(sides[axis] for axis in layout)), dtype=np.uint8)
    sizes: dict[str, Any] = {"widths": (8,)} if network == "mlp" else {"channels": (4, 4)}
    model = diabolo.train(
        x, layout=layout, network=network, latent_dim=2, epochs=1, validation=0.0, test=0.0, compile="off", **sizes
    )
    assert model.reconstruct(x).shape == x.shape
    kernels = {module.kernel_size for module in model.model.encoder.modules() if isinstance(module, nn.Conv3d)}
    assert bool(kernels) == (network != "mlp")
    channels = {model.model.preprocess.model_shape[0]}
    assert channels == ({3} if "C" in layout else {1})
