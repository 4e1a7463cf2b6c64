"""A trained model is a plain value: copied, pickled, cached or sent to another process, it answers as before."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from torch import nn

import diabolo
from diabolo.autoencoder.inference import Inference
from diabolo.errors import ExportError
from diabolo.models.objectives.vae import VAE
from diabolo.sklearn import AutoencoderTransformer

X = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)


class Encoder(nn.Module):
    """A module of a user's own, whose class can be imported."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.Linear(6, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(x)
        return output


class OwnVAE(VAE):
    """A variant of a user's own, of a module that nobody said to trust."""


def decoder() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)))


def trained(**options: Any) -> diabolo.Autoencoder:
    return diabolo.train(X, layout="HW", **({"model": "vae", "latent_dim": 2, "epochs": 1} | options))


KINDS: dict[str, Callable[[], Any]] = {
    "by name": lambda: trained(network="conv"),
    "in bf16": lambda: diabolo.Autoencoder(trained().model, precision="bf16", engine="fused"),
    "by torch": lambda: diabolo.Autoencoder(trained().model, engine="torch"),
    "tokens": lambda: trained(model="vq", latent_dim=4, positions=2, codes=8),
    "modules of one's own": lambda: trained(network=(Encoder(), decoder())),
    "a variant of one's own": lambda: trained(model=OwnVAE),
    "for arrays alone": lambda: Inference(trained().model),
    "an estimator": lambda: AutoencoderTransformer(2, epochs=1, model=OwnVAE(), random_state=0).fit(X.reshape(60, -1)),
}


def answers(model: Any) -> np.ndarray:
    if isinstance(model, AutoencoderTransformer):
        return np.asarray(model.transform(X.reshape(60, -1)))
    return model.encode(X, flat=True)


def train_there(*_: Any) -> diabolo.Autoencoder:
    return trained(network=(Encoder(), decoder()))


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {kind: make() for kind, make in KINDS.items()}


def test_another_process_gives_the_same_codes_bit_for_bit(models: dict[str, Any]) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {kind: pool.submit(answers, model) for kind, model in models.items()}
        method = pool.submit(models["by name"].encode, X)
        made_there = pool.submit(train_there).result()
        for kind, job in jobs.items():
            np.testing.assert_array_equal(job.result(), answers(models[kind]), kind)
        np.testing.assert_array_equal(method.result(), models["by name"].encode(X))
    assert made_there.encode(X).shape == (60, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_caches(models: dict[str, Any], kind: str, tmp_path: Path) -> None:
    model = models[kind]
    joblib.dump(model, tmp_path / "model.joblib", compress=3)
    ways = pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib"), copy.deepcopy(model)
    for again in (*ways, *(joblib.Parallel(1)(joblib.delayed(copy.copy)(one) for one in [model]))):
        np.testing.assert_array_equal(answers(again), answers(model))
        assert again is not model


def test_what_a_pickle_holds() -> None:
    """All that was learned, and not the data of the training; weights are no torch tensors, and of no device."""
    model = trained()
    model.fit_prior("gaussian")
    model.learn_concept("first", X, np.arange(60) < 30, positive=True)
    model.calibrate(X, false_alarms=0.1)
    model.label = None
    again = pickle.loads(pickle.dumps(model))
    assert (again.info, again.history, again.folder, again.label) == (model.info, model.history, None, None)
    np.testing.assert_array_equal(again.sample(3, seed=0), model.sample(3, seed=0))
    np.testing.assert_array_equal(again.edit(X, "first"), model.edit(X, "first"))
    np.testing.assert_array_equal(again.detect(X), model.detect(X))
    assert model.trained_on is not None
    assert again.trained_on is None
    assert copy.deepcopy(model).trained_on is not None
    assert all(isinstance(value, np.ndarray) for value in model.__getstate__()["model"]["weights"].values())


def test_the_model_alone(models: dict[str, Any]) -> None:
    for model in (models["by name"], models["modules of one's own"]):
        buffer = io.BytesIO()
        torch.save(model.model, buffer)
        buffer.seek(0)
        core = torch.load(buffer, weights_only=False)
        for again in (core, copy.deepcopy(model.model), pickle.loads(pickle.dumps(model.model))):
            np.testing.assert_array_equal(diabolo.Autoencoder(again).encode(X), model.encode(X))


def ended(model: nn.Module) -> None:
    model.decoder = nn.Sequential(model.decoder, nn.Tanh())


def hooked(model: nn.Module) -> None:
    model.encoder.register_forward_hook(double)


def double(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


def frozen(model: nn.Module) -> None:
    model.encoder.requires_grad_(False)


@pytest.mark.parametrize("change", [ended, hooked, frozen])
def test_modules_that_were_changed_go_as_they_are(change: Callable[[nn.Module], None]) -> None:
    model = trained()
    change(model.model)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.reconstruct(X), model.reconstruct(X))
    for one, other in zip(again.model.parameters(), model.model.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad


def local_class() -> nn.Module:
    class Local(Encoder):
        pass

    return Local()


def with_lambda() -> nn.Module:
    module = Encoder()
    module.layers[1].register_forward_hook(lambda *_: None)
    return module


def with_lock() -> nn.Module:
    module = Encoder()
    module.lock = threading.Lock()
    return module


@pytest.mark.parametrize("make", [local_class, with_lambda, with_lock])
def test_modules_that_cannot_be_pickled_are_named(make: Callable[[], nn.Module]) -> None:
    model = trained(network=(make(), decoder()))
    for dump in (pickle.dumps, lambda one: torch.save(one.model, io.BytesIO())):
        with pytest.raises(ExportError, match=r"^The encoder, \w+\(.*, cannot be pickled: .*\.$"):
            dump(model)
    if make is not with_lock:
        np.testing.assert_array_equal(copy.deepcopy(model).encode(X), model.encode(X))
        by_value = pickle.dumps(joblib.wrap_non_picklable_objects(model, keep_wrapper=False))
        np.testing.assert_array_equal(pickle.loads(by_value).encode(X), model.encode(X))
