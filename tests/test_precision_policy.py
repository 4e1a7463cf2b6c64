"""The precision is chosen by measuring, changes nothing, and is looked at again."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from diabolo.models.model import build_model
from diabolo.models.objectives import Batch
from diabolo.models.preprocess import Preprocess
from diabolo.runs.config import make_run_config
from diabolo.runs.resuming import resume
from diabolo.runs.run import start
from diabolo.storage import checkpoint
from diabolo.training import CHECKPOINT, loop
from diabolo.training.speed import precision_policy
from diabolo.training.speed.precision_policy import PrecisionChoice, rounding


def choose(precision, *parts, engine="fused"):
    return precision_policy.choose(precision, engine, *parts)


@pytest.fixture
def parts():
    """A model with dropout and running statistics, two batches and a generator."""
    x = np.random.default_rng(0).integers(0, 256, (96, 12, 12), dtype=np.uint8)
    preprocess = Preprocess.fit(x, "HW", np.arange(96))
    layers = (torch.nn.Flatten(), torch.nn.BatchNorm1d(144), torch.nn.Dropout(0.5), torch.nn.Linear(144, 200))
    encoder = torch.nn.Sequential(*layers, torch.nn.Tanh(), torch.nn.Linear(200, 8))
    modules = encoder, torch.nn.Sequential(torch.nn.Linear(4, 144), torch.nn.Unflatten(1, (1, 12, 12)))
    model = build_model(preprocess, model="vae", network=modules)
    return model, [Batch(torch.from_numpy(part)) for part in (x[:48], x[48:])], torch.Generator().manual_seed(3)


@pytest.fixture
def native(monkeypatch):
    """A processor that has bf16, whatever this one has."""
    monkeypatch.setattr(precision_policy, "has_native_bf16", lambda device: True)
    monkeypatch.setattr(precision_policy, "WORTH", 0.0)
    monkeypatch.setattr(precision_policy, "SECONDS", 0.0)


def times(monkeypatch, float32: float, bf16: float, torch: float = 100.0) -> None:
    """Seconds of a step with fused layers in each precision, and with torch's in float32."""
    seconds = {("float32", "fused"): float32, ("bf16", "fused"): bf16, ("float32", "torch"): torch}
    seconds["bf16", "torch"] = bf16
    monkeypatch.setattr(precision_policy, "_seconds", lambda model, batch, ways: {way: seconds[way] for way in ways})


def test_what_is_asked_for_is_taken(parts):
    assert choose("bf16", *parts).precision == "bf16"
    assert choose("float32", *parts).precision == "float32"


def test_what_is_measured(parts, native, monkeypatch):
    model = parts[0]
    operations = 3 * 2 * (144 * 200 + 200 * 8 + 4 * 144)  # forward, and twice as many backward; per example
    monkeypatch.setattr(precision_policy, "WORTH", 10.0 * operations)
    assert precision_policy.is_worth_measuring(model, 10)
    assert not precision_policy.is_worth_measuring(model, 9)
    assert model.training
    assert choose("auto", model, [], parts[2]) == PrecisionChoice("float32", "fused")


def test_without_bf16_the_engine_alone_is_measured(parts, monkeypatch):
    monkeypatch.setattr(precision_policy, "has_native_bf16", lambda device: False)
    monkeypatch.setenv("DIABOLO_ENGINE", "auto")
    times(monkeypatch, 2.0, 9.0, torch=1.0)
    choice = choose("auto", *parts, engine="auto")
    assert (choice.precision, choice.engine) == ("float32", "torch")
    assert choice.reason.strip() == "The torch engine takes a step 2.00 times as fast as fused's."
    times(monkeypatch, 1.0, 9.0, torch=2.0)
    assert choose("auto", *parts, engine="auto").engine == "fused"
    assert choose("float32", *parts, engine="auto").engine == "fused"
    assert choose("auto", *parts, engine="torch") == PrecisionChoice("float32", "torch")


def test_a_precision_that_is_named_leaves_the_engine_open(parts, native, monkeypatch):
    monkeypatch.setenv("DIABOLO_ENGINE", "auto")
    times(monkeypatch, 2.0, 1.0, torch=1.0)
    assert choose("float32", *parts, engine="auto").engine == "torch"
    choice = choose("auto", *parts, engine="auto")  # bf16 is no faster than torch's float32
    assert (choice.precision, choice.engine) == ("float32", "torch")


def test_a_small_run_is_float32_and_not_measured(monkeypatch):
    monkeypatch.setattr(precision_policy, "has_native_bf16", lambda device: True)
    monkeypatch.setattr(precision_policy, "_seconds", None)
    assert start(run_config(epochs=2)).training.choice == PrecisionChoice("float32", "fused")


def test_the_faster_is_taken_and_said(parts, native, monkeypatch):
    times(monkeypatch, 2.0, 1.0)
    choice = choose("auto", *parts)
    assert choice.precision == "bf16"
    assert choice.reason.startswith("bf16 is 2.0 times as fast as float32")
    times(monkeypatch, 1.09, 1.0)
    choice = choose("auto", *parts)
    assert choice.precision == "float32"
    assert "1.09 times as fast" in choice.reason


def test_steps_that_will_be_compiled_need_not_be_faster_yet(parts, native, monkeypatch):
    times(monkeypatch, 0.9, 1.0)
    asked = []
    choice = choose("auto", *parts, lambda seconds: asked.append(seconds) or True)
    assert asked == [0.9]
    assert choice.precision == "bf16"
    assert "0.9 times as fast as float32, more so in compiled steps, and rounds off" in choice.reason
    assert choose("auto", *parts, lambda seconds: False).precision == "float32"
    times(monkeypatch, 0.8, 1.0)
    assert choose("auto", *parts, lambda seconds: True).precision == "float32"


@pytest.mark.parametrize("how", ["on", "off", "auto"])
def test_a_long_run_of_affine_layers_is_likely_to_be_compiled(how, native, monkeypatch):
    times(monkeypatch, 1.0, 1.0)
    monkeypatch.setattr(precision_policy, "rounding", lambda *_: 0.1)
    long, short = (
        start(run_config(compile=how, epochs=epochs)).training.precision for epochs in (400, 14)
    )  # 1,600 s and 56 s
    assert (long, short) == {"on": ("bf16", "bf16"), "off": ("float32", "float32")}.get(how, ("bf16", "float32"))


def test_bf16_that_rounds_too_much_is_not_taken(parts, native, monkeypatch):
    times(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(precision_policy, "rounding", lambda *_: 0.5)
    choice = choose("auto", *parts)
    assert choice.precision == "float32"
    assert "rounds off 50%" in choice.reason


def test_rounding_is_little_beside_another_batch_and_none_beside_itself(parts):
    model, batches, generator = parts
    assert 0 < rounding(model, batches, generator) < 0.2
    assert rounding(model, [batches[0], batches[0]], generator) > 1e3


def test_one_batch_that_is_an_outlier_decides_nothing(parts, monkeypatch):
    def gradient(model, batch, dtype, engine):
        number = int(batch.x.flatten()[0])
        exact = torch.eye(5)[number]
        return exact if dtype == torch.float32 else exact * (10.0 if number == 1 else 1.1)

    monkeypatch.setattr(precision_policy, "_gradient", gradient)
    batches = [Batch(torch.full((2, 12, 12), number)) for number in range(5)]
    assert rounding(parts[0], batches, parts[2]) == pytest.approx(0.1)


def test_measuring_leaves_no_trace(parts, native):
    model, _, generator = parts
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, common = generator.get_state(), torch.random.get_rng_state()
    model.eval()
    choose("auto", *parts)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(torch.random.get_rng_state(), common)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def run_config(**more):
    x = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    more = {"widths": (16,), **more}
    return make_run_config(x, model="autoencoder", network="mlp", latent_dim=2, batch_size=50, **more)


def test_the_choice_is_kept_with_the_run(native, monkeypatch, tmp_path):
    times(monkeypatch, 2.0, 1.0)
    run = start(run_config(epochs=1), tmp_path / "run")
    run.go()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["result"]["precision"] == "bf16"
    assert checkpoint.load_tensors(tmp_path / "run" / CHECKPOINT)[1]["precision"] == "bf16"
    times(monkeypatch, 1.0, 2.0)
    again = resume(tmp_path / "run", source=run.dataset, epochs=2)
    assert again.training.precision == "bf16"  # as it began, not as it would be chosen now


def test_rounding_is_looked_at_again(native, monkeypatch, caplog):
    times(monkeypatch, 2.0, 1.0)
    shares = iter([0.01, 0.02, 0.9])
    for module in (precision_policy, loop):
        monkeypatch.setattr(module, "rounding", lambda *_: next(shares))
    monkeypatch.setattr(loop, "FIRST_LOOK", 4)  # steps, as many as an epoch has
    run = start(run_config(epochs=5))
    with caplog.at_level(logging.WARNING, "diabolo"):
        run.go()
    assert run.training.precision == "float32"
    assert "From epoch 3 on in float32: bf16 rounds off 90%" in caplog.text


def test_measured_or_named_the_steps_are_the_same(native, monkeypatch):
    times(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(loop, "FIRST_LOOK", 4)  # steps, as many as an epoch has: it looks after the first and second
    named, measured = (
        start(run_config(epochs=3, widths=(256,), keep="last", precision=one)).go() for one in ("bf16", "auto")
    )
    for one, other in zip(named.model.parameters(), measured.model.parameters(), strict=True):
        assert torch.equal(one, other)
