"""What is said before the first step: of a decoder that squashes twice, axes without names, a large network."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diabolo
from diabolo.errors import ConfigError
from diabolo.models._outputs import check_outputs
from diabolo.models.networks import Conv
from diabolo.runs import make_run_config, start

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8)
TABLE = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)


def said(caplog: pytest.LogCaptureFixture, source: Any, **options: Any) -> str:
    """What is said when a run is started."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "diabolo"):
        start(make_run_config(source, epochs=1, **options))
    return caplog.text


def pair(*ends: nn.Module) -> tuple[nn.Module, nn.Module]:
    """An encoder, and a decoder with these modules at its end."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), nn.Sequential(nn.Linear(2, 16), *ends)


class Ended(nn.Module):
    """A decoder whose end is a function, or a module that it registers first."""

    def __init__(self, end: Any) -> None:
        super().__init__()
        self.end = end
        self.layer = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 16))

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.end(self.layer(z)).view(-1, 1, 4, 4)
        return y


IMAGE = nn.Unflatten(1, (1, 4, 4))
NAMED = {
    "Sigmoid": pair(nn.Sigmoid(), IMAGE),
    "Sigmoid, behind it what passes": pair(IMAGE, nn.Sigmoid(), nn.Identity(), nn.Dropout(0.1)),
    "Sigmoid, registered first": (pair()[0], Ended(nn.Sigmoid())),
    "Softmax": pair(nn.Softmax(1), IMAGE),
    "Tanh": pair(nn.Tanh(), IMAGE),
    "Hardtanh": pair(nn.Hardtanh(), IMAGE),
    "ReLU": pair(nn.ReLU(), IMAGE),
    "LogSigmoid": pair(nn.LogSigmoid(), IMAGE),
}
SQUASHING: list[dict[str, Any]] = [
    {"likelihood": "bernoulli"},
    {"likelihood": "gaussian", "output": "sigmoid"},
]


@pytest.mark.parametrize("options", SQUASHING, ids=["logits", "a Gaussian behind a sigmoid"])
@pytest.mark.parametrize("name", NAMED)
def test_a_decoder_that_squashes_what_is_squashed_again_is_named(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"The decoder ends in {name.partition(',')[0]}, .* Take .* away") as error:
        diabolo.train(PIXELS, network=NAMED[name], epochs=1, **options)
    keeps = options["likelihood"] == "bernoulli" and name.startswith(("Sigmoid", "Softmax"))
    assert ("inputs='probabilities'" in str(error.value)) == keeps


@pytest.mark.parametrize(
    ("end", "words"), [(torch.sigmoid, "like sigmoid"), (torch.tanh, "like tanh"), (lambda y: y.softmax(1), "softmax")]
)
def test_a_function_at_the_end_is_told_by_the_range_of_outputs(
    end: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    network = (pair()[0], Ended(end))
    assert words in said(caplog, PIXELS, network=network, likelihood="bernoulli")


@pytest.mark.parametrize(
    "network", [pair(IMAGE), pair(nn.ELU(), nn.Linear(16, 16), IMAGE), (pair()[0], Ended(nn.Identity()))]
)
def test_outputs_without_bounds_are_left_alone(network: Any, caplog: pytest.LogCaptureFixture) -> None:
    for options in SQUASHING:
        assert "decoder" not in said(caplog, PIXELS, network=network, **options)


def test_values_that_no_output_reaches_are_said(caplog: pytest.LogCaptureFixture) -> None:
    for end in (nn.Sigmoid(), nn.Tanh(), nn.ReLU()):
        network = (nn.Linear(16, 2), nn.Sequential(nn.Linear(2, 16), end))
        assert "of the training values lie outside" in said(caplog, TABLE, network=network)
        assert not said(caplog, TABLE, network=network, scaling="range")
    assert not said(caplog, PIXELS, network=pair(nn.Sigmoid(), IMAGE))  # a Gaussian takes values in [0, 1]
    options = {"likelihood": "bernoulli", "inputs": "probabilities"}
    assert not said(caplog, PIXELS, network=pair(nn.Sigmoid(), IMAGE), **options)


def test_a_run_whose_decoder_squashes_twice_still_loads(tmp_path: Any) -> None:
    network = pair(IMAGE)
    diabolo.train(PIXELS, network=network, likelihood="bernoulli", epochs=1, out=tmp_path / "run")
    squashed = (network[0], nn.Sequential(*network[1], nn.Sigmoid()))
    assert diabolo.load(tmp_path / "run", modules=squashed).reconstruct(PIXELS).max() < 0.74  # sigmoid of 1


# Axes and sizes


def test_convolutions_over_axes_without_names_are_said(caplog: pytest.LogCaptureFixture) -> None:
    x = np.random.default_rng(0).normal(size=(6, 5, 8, 8)).astype(np.float32)
    words = "takes the first, of length 5, for channels, and convolves over the others, 8 x 8"
    assert words in said(caplog, x, layout="any", network="conv", channels=(4, 4))
    assert "axes" not in said(caplog, x, layout="any", network="mlp", widths=(8,))
    assert "axes" not in said(caplog, x, layout="CHW", network="conv", channels=(4, 4))


def test_a_large_default_network_says_what_it_costs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diabolo.runs._before_training.LARGE", 100_000)
    x = np.zeros((6, 24, 24, 3), np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None, None]
    text = said(caplog, x)
    assert "parameters for examples of 1,728 values" in text
    assert "--size 64, --network resnet" in text
    assert "parameters" not in said(caplog, x, widths=(256,))
    assert "parameters" not in said(caplog, x, network=Conv(channels=(128, 128)))


@pytest.mark.parametrize(
    ("columns", "code", "most"), [(2, 1, 5_000), (4, 2, 6_000), (13, 6, 80_000), (30, 15, 310_000)]
)
def test_tables_get_a_network_and_a_code_of_their_own_size(columns: int, code: int, most: int) -> None:
    x = np.random.default_rng(0).normal(size=(40, columns)).astype(np.float32)
    run = start(make_run_config(x, epochs=1))
    assert run.training.model.latent_dim == code
    assert run.training.model.parameter_count < most
    assert start(make_run_config(x, epochs=1, model="sparse")).training.model.latent_dim == 16


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_modules_of_any_kind_are_looked_at_and_left_as_they_were() -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 16)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, z: Tensor) -> Tensor:
            if not self.training:
                self.calls += 1
            return super().forward(z)

    for decoder in (Counting(), torch.jit.script(nn.Linear(2, 16)), nn.utils.spectral_norm(nn.Linear(2, 16))):
        model = start(make_run_config(TABLE, network=(nn.Linear(16, 2), decoder), epochs=1)).training.model
        before = {name: value.clone() for name, value in model.decoder.named_buffers()}
        assert not check_outputs(model, torch.from_numpy(TABLE))
        assert all(torch.equal(value, before[name]) for name, value in model.decoder.named_buffers())
