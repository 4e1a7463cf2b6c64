"""Parts of a user's own: whatever they raise or return, wherever, is one error that names them, or is said."""

from __future__ import annotations

import copy
import itertools
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import diabolo
from diabolo.errors import DiaboloError, DivergedError, PartError, ShapeError, TrainingError
from diabolo.models.distributions import Gaussian
from diabolo.models.networks import Network
from diabolo.models.objectives.vae import VAE

X = np.random.default_rng(0).random((41, 4, 4), np.float32)
Fault = Callable[[nn.Module, torch.Tensor, torch.Tensor], Any]


def raises(error: Exception) -> Fault:
    def fault(*_: Any) -> Any:
        raise error

    return fault


class Part(nn.Module):
    """An encoder or a decoder with a fault at some moments."""

    def __init__(self, name: str, fault: Fault | None = None, when: str = "always") -> None:
        super().__init__()
        self.name, self.fault, self.when = name, fault, when
        self.layer = nn.Linear(16, 2) if name == "encoder" else nn.Linear(2, 16)

    def forward(self, x: torch.Tensor) -> Any:
        output = self.layer(x.flatten(1))
        output = output if self.name == "encoder" else output.view(-1, 1, 4, 4)
        moments = {"always": True, "training": self.training, "evaluation": not self.training and len(x) > 3}
        return self.fault(self, x, output) if self.fault and moments[self.when] else output


FAULTS: dict[str, tuple[Fault, str]] = {
    "raises": (raises(ValueError("boom")), r"fails .* on a batch of shape \(\d+, .*\): ValueError: boom\."),
    "stops": (raises(StopIteration()), r"fails .* on a batch of shape .*: StopIteration\."),
    "asserts": (raises(AssertionError()), r"fails .*: AssertionError\."),
    "lacks a key": (raises(KeyError("mask")), r"fails .*: KeyError: 'mask'\."),
    "a tuple": (lambda _, x, y: (y, y), r"should give .*, and gave an object of tuple"),
    "a dict": (lambda _, x, y: {"y": y}, r"should give .*, and gave an object of dict"),
    "None": (lambda _, x, y: None, r"should give .*, and gave an object of NoneType"),
    "NumPy's": (lambda _, x, y: y.detach().numpy(), r"should give .*, and gave an object of ndarray"),
    "one for all": (lambda _, x, y: y[:1], r"should give .*, and (gave|gives) (shape )?\(1, "),
    "fewer numbers": (lambda _, x, y: y[..., :1], r"should give .*, and (gave|gives) |The decoder, Part, fails"),
    "whole numbers": (lambda _, x, y: y.long(), r"should give floating-point numbers, and gave torch\.int64"),
    "truth": (lambda _, x, y: y > 0, r"should give floating-point numbers, and gave torch\.bool"),
    "complex": (
        lambda _, x, y: y.to(torch.complex64),
        r"should give floating-point numbers, and gave torch\.complex64",
    ),
    "elsewhere": (lambda _, x, y: y.to("meta"), r"should give its output on cpu, .* gave it on meta"),
    "sparse": (lambda _, x, y: y.to_sparse(), r"should give a tensor, and gave one of the layout torch\.sparse_coo"),
    "NaN": (lambda _, x, y: y * float("nan"), r"gives NaN or infinite numbers for finite ones\."),
    "infinite": (lambda _, x, y: y / 0, r"gives NaN or infinite numbers for finite ones\."),
}


def trained(**options: Any) -> diabolo.Autoencoder:
    usual = {"layout": "HW", "epochs": 1, "batch_size": 16, "validation": 0.2, "test": 0.2, "precision": "float32"}
    return diabolo.train(X, **(usual | options))


def pair(name: str = "encoder", fault: Fault | None = None, when: str = "always") -> tuple[nn.Module, nn.Module]:
    parts = {"encoder": Part("encoder"), "decoder": Part("decoder")} | {name: Part(name, fault, when)}
    return parts["encoder"], parts["decoder"]


@pytest.mark.parametrize(("name", "when"), [*itertools.product(("encoder", "decoder"), ("training", "evaluation"))])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_while_training(name: str, when: str, fault: str) -> None:
    wrong, says = FAULTS[fault]
    with pytest.raises(DiaboloError) as caught:
        trained(network=pair(name, wrong, when))
    assert re.search(rf"The {name}, Part, ({says})" if "|The" not in says else says, str(caught.value)), caught.value


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_faults_from_the_start_and_of_a_trained_model(name: str, fault: str) -> None:
    wrong, says = FAULTS[fault]
    with pytest.raises(DiaboloError) as caught:
        trained(network=pair(name, wrong))
    assert f"The {name}" in str(caught.value) or fault == "fewer numbers"
    assert isinstance(caught.value, DivergedError if fault in ("NaN", "infinite") else PartError | ShapeError)
    model = trained(network=pair())
    getattr(model.model, name).fault = wrong
    doors = [model.reconstruct, model.score, model.loss_terms, model.denoise]
    for door in [*doors, model.encode] if name == "encoder" else [*doors, lambda _: model.decode(np.zeros((4, 2)))]:
        with pytest.raises(DiaboloError, match=says):
            door(X)


class Fails(VAE):
    """A variant that fails somewhere."""

    where = ""

    def _failing(self, name: str) -> None:
        if self.where == name:
            raise KeyError(name)

    def build(self, space: Any) -> None:
        self._failing("build")
        super().build(space)

    def loss(self, batch: Any, net: Any) -> Any:
        self._failing("loss")
        return super().loss(batch, net)

    def posterior(self, features: Any, batch: Any) -> Any:
        self._failing("posterior")
        return super().posterior(features, batch)

    def nearest(self, z: Any) -> Any:
        self._failing("nearest")
        return z

    def embed(self, z: Any, y: Any) -> Any:
        self._failing("embed")
        return super().embed(z, y)


class Unlikely(Gaussian):
    """A likelihood that fails somewhere."""

    where = ""

    def log_prob_each(self, output: Any, x: Any) -> Any:
        return super().log_prob_each(output, x if self.where != "log_prob_each" else {}[self.where])

    def mean(self, output: Any) -> Any:
        return super().mean(output if self.where != "mean" else {}[self.where])

    def surprise(self, output: Any, x: Any) -> Any:
        return super().surprise(output, x if self.where != "surprise" else {}[self.where])


class Plan(Network):
    """A network that is not built."""

    def build(self, *_: Any) -> Any:
        raise KeyError("build")


@pytest.mark.parametrize("where", ["build", "loss", "posterior", "nearest", "embed"])
def test_a_variant_that_fails(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fails, "where", where)
    with pytest.raises(PartError, match=rf"^The variant, Fails, fails.*: KeyError: '{where}'\.$"):
        trained(model=Fails, latent_dim=2, widths=(8,)).reconstruct(X)


@pytest.mark.parametrize("where", ["log_prob_each", "mean", "surprise"])
def test_a_likelihood_that_fails(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unlikely, "where", where)
    with pytest.raises(PartError, match=rf"^The likelihood, Unlikely, fails.*: KeyError: '{where}'\.$"):
        trained(likelihood=Unlikely, latent_dim=2, widths=(8,)).score(X, kind="surprise")


def test_a_network_that_fails() -> None:
    with pytest.raises(PartError, match=r"^The network, Plan, fails: KeyError: 'build'\.$"):
        trained(network=Plan, latent_dim=2)


# What is no error, and is said


def normalised(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4, **options), nn.Linear(4, 2))


@pytest.mark.parametrize("from_disk", [False, True])
def test_a_last_batch_of_one_is_left_out(from_disk: bool, caplog: pytest.LogCaptureFixture, tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r") if from_disk else X
    options = {"layout": "HW", "epochs": 3, "batch_size": 10, "validation": 0, "test": 0, "out": tmp_path / "run"}
    model = diabolo.train(x, network=(normalised(), Part("decoder")), **options)
    assert "The last batch of an epoch would hold one example" in caplog.text
    assert [line["step"] for line in model.history if line["kind"] == "epoch"] == [4, 8, 12]
    again = diabolo.resume(tmp_path / "run", source=x, epochs=4, modules=(normalised(), Part("decoder"))).go()
    assert again.history[-1]["step"] == 16
    caplog.clear()
    assert diabolo.train(X, network=pair(), **(options | {"out": None})).history[-1]["step"] == 15
    assert "last batch" not in caplog.text


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"accumulate": 16}])
def test_batches_of_one_are_named(options: dict[str, Any]) -> None:
    says = r"^The encoder, Sequential, fails in training on a batch of shape \(1, 1, 4, 4\): .* above 1, and drop_last"
    with pytest.raises(PartError, match=says):
        trained(network=(normalised(), Part("decoder")), **options)


SAID: dict[str, tuple[Fault, str]] = {
    "noise": (lambda _, x, y: y + torch.randn_like(y), "gives other numbers each time, in evaluation too"),
    "dropout": (lambda _, x, y: nn.functional.dropout(y), "gives other numbers each time, in evaluation too"),
    "the batch's mean": (lambda _, x, y: y - y.mean(0), "gives an example other numbers beside other examples"),
    "detached": (lambda self, x, y: y.detach().requires_grad_(self.training), "gets no gradient, and does not learn"),
    "double": (lambda _, x, y: y.double(), ""),
    "nothing": (lambda _, x, y: y, ""),
}


@pytest.mark.parametrize("name", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", SAID)
def test_what_is_said(name: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    fault, says = SAID[kind]
    network = pair(name, fault)
    state = torch.get_rng_state()
    with caplog.at_level(logging.WARNING, "diabolo"):
        assert trained(network=network, validation=0, test=0).encode(X).shape == (41, 2)
    said = [record.getMessage() for record in caplog.records]
    expected = ["decoder", "encoder"] if (name, kind) == ("decoder", "detached") else [name] * bool(says)
    assert len(said) == len(expected)
    assert all(one.startswith(f"The {which}, Part, {says}") for one, which in zip(said, expected, strict=True))
    if kind in ("nothing", "the batch's mean"):  # nobody's random numbers are moved on
        assert torch.equal(torch.get_rng_state(), state)


class Shifted(nn.Module):
    """A layer that may write into its input."""

    def __init__(self, writes: bool) -> None:
        super().__init__()
        self.writes = writes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sub_(0.5) if self.writes else x - 0.5


def test_what_writes_into_its_input_learns_as_what_does_not() -> None:
    """The loss compares with the examples as they were."""
    parts = pair()
    one, other = (
        trained(network=tuple(nn.Sequential(Shifted(writes), copy.deepcopy(part)) for part in parts))
        for writes in (False, True)
    )
    np.testing.assert_array_equal(other.encode(X), one.encode(X))
    np.testing.assert_array_equal(other.reconstruct(X), one.reconstruct(X))
    assert other.history[-1]["train"] == one.history[-1]["train"]


def test_gradients_that_cannot_be_computed_are_said() -> None:
    with pytest.raises(TrainingError, match=r"^The gradients of the loss cannot be computed: .* inplace=False\)\.$"):
        trained(network=pair("encoder", lambda _, x, y: (x.mul_(2), y)[1]))


def test_batch_statistics_without_running_ones_are_said(caplog: pytest.LogCaptureFixture) -> None:
    trained(network=(normalised(track_running_stats=False), Part("decoder")))
    assert "results depend on what is asked together" in caplog.text
