"""The contract of a variant in training: buffers that move by the statistics of each step, and where they start.

Run by torchrun, this file is the worker of its own tests.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import diabolo
from diabolo.datasets import open_dataset
from diabolo.evaluation.terms import evaluate
from diabolo.models.model import Model, build_model
from diabolo.models.objectives import Batch, Loss, Net, Space
from diabolo.models.objectives.autoencoder import Autoencoder as Plain
from diabolo.models.preprocess import Preprocess
from diabolo.models.priors.own import StandardNormal
from diabolo.runs.resuming import resume
from stepping import CLOSE, OPTIONS, Pull, PulledPlugError, assert_same, gone, needs_compiler, started, state

# --- statistics of a step ---------------------------------------------------------------------------------------------


class Moving(Plain):
    """Holds codes near a running average of them; and keeps one of the examples, and of noise."""

    def build(self, space: Space) -> None:
        super().build(space)
        self.register_buffer("average", torch.zeros(space.latent_dim))
        self.register_buffer("centre", torch.zeros(math.prod(space.event_shape)))
        self.register_buffer("noise", torch.zeros(3))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = net.encode(batch.x)
        output = net.decode(code.mean)
        pull = (code.mean - self.average).square().sum(1)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "pull": pull}
        x = batch.x.flatten(1)
        statistics = {"codes": code.mean.sum(0), "x": x.sum(0), "count": torch.ones_like(pull).sum()}
        return Loss(terms, code, output, {}, statistics)

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        count = statistics["count"]
        self.average.lerp_(statistics["codes"] / count, 0.2)
        self.centre.lerp_(statistics["x"] / count, 0.2)
        self.noise.lerp_(torch.rand(3, generator=generator), 0.2)
        self.steps.add_(1)


class Replacing(Moving):
    """Puts new buffers in the place of the old ones, as one may in plain torch."""

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        count = statistics["count"]
        self.average = torch.lerp(self.average, statistics["codes"] / count, 0.2)
        self.centre = torch.lerp(self.centre, statistics["x"] / count, 0.2)
        self.noise = torch.lerp(self.noise, torch.rand(3, generator=generator), 0.2)
        self.steps = self.steps + 1


@pytest.fixture(scope="module")
def moved(pictures: np.ndarray) -> dict[str, Tensor]:
    return state(gone(pictures, Moving))


def test_statistics_are_those_of_each_step(moved: dict[str, Tensor], pictures: np.ndarray) -> None:
    training = started(pictures, Moving).training
    centre, noise = torch.zeros(64), torch.zeros(3)
    generator = torch.Generator().manual_seed(OPTIONS["seed"])
    for epoch in (0, 1):
        for batch in training.batches.epoch(epoch, 0):
            x = training.model.preprocess(batch.x).flatten(1)
            centre.lerp_(x.sum(0) / len(x), 0.2)
            noise.lerp_(torch.rand(3, generator=generator), 0.2)
    expected = {"centre": centre, "noise": noise, "steps": torch.tensor(10)}
    assert_same(expected, {name: moved[f"objective.{name}"] for name in expected})
    assert moved["objective.average"].abs().min() > 0


@pytest.mark.parametrize("accumulate", [2, 4, 16])
def test_statistics_of_parts_are_those_of_the_batch(
    accumulate: int, moved: dict[str, Tensor], pictures: np.ndarray
) -> None:
    assert_same(moved, state(gone(pictures, Moving, accumulate=accumulate)), **CLOSE)


def test_buffers_that_are_replaced_stay_the_same_tensors(moved: dict[str, Tensor], pictures: np.ndarray) -> None:
    run = started(pictures, Replacing)
    before = {name: value.data_ptr() for name, value in run.training.model.objective.named_buffers()}
    run.go()
    assert_same(moved, state(run.training))
    assert {name: value.data_ptr() for name, value in run.training.model.objective.named_buffers()} == before


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("variant", [Moving, Replacing])
def test_a_compiled_step_sees_the_buffers_move(
    variant: type[Moving], moved: dict[str, Tensor], pictures: np.ndarray
) -> None:
    compiled = gone(pictures, variant, compile="on")
    assert compiled.compilation._step is not None
    assert_same(moved, state(compiled), **CLOSE)
    assert torch.equal(compiled.model.objective.noise, moved["objective.noise"])


@pytest.mark.parametrize(
    ("at", "how"), [(3, "off"), (5, "off"), (7, "off"), pytest.param(7, "on", marks=[needs_compiler, pytest.mark.slow])]
)
def test_statistics_go_on_after_a_kill(at: int, how: str, pictures: np.ndarray, tmp_path: Path) -> None:
    options = {"compile": how, "ema": 0.9, "accumulate": 1 if how == "on" else 2}
    whole = gone(pictures, Moving, **options)
    run = started(pictures, Moving, tmp_path / "run", [Pull(at)], checkpoint_seconds=1e-9, **options)
    with pytest.raises(PulledPlugError):
        run.go()
    again = resume(tmp_path / "run", source=pictures, trust=__name__)
    assert 0 < again.training.steps <= at
    again.go()
    assert_same(state(whole), state(again.training), **(CLOSE if how == "on" else {}))


# --- where it starts --------------------------------------------------------------------------------------------------


class Starting(Plain):
    """Starts from the mean of its examples and of their codes, and some examples drawn by chance."""

    labels = "partial"
    calls: ClassVar[list[Batch]] = []

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, Tensor] = {}

    def build(self, space: Space) -> None:
        super().build(space)
        self.register_buffer("centre", torch.zeros(space.event_shape))
        self.register_buffer("codes", torch.zeros(space.latent_dim))
        self.register_buffer("drawn", torch.zeros(4, *space.event_shape))

    def initialise(self, batch: Batch, net: Net) -> None:
        assert not torch.is_grad_enabled()
        self.calls.append(batch)
        self.centre.copy_(batch.x.mean(0))
        self.codes.copy_(net.encode(batch.x).mean.mean(0))
        self.drawn.copy_(batch.x[torch.randperm(len(batch), generator=net.generator)[:4]])

    def loss(self, batch: Batch, net: Net) -> Loss:
        self.first = self.first or {name: value.clone() for name, value in self.named_buffers()}
        return super().loss(batch, net)


def test_it_starts_from_training_examples_once(pictures: np.ndarray, tmp_path: Path) -> None:
    data = open_dataset(pictures, labels=np.arange(90) % 3)
    Starting.calls.clear()
    run = started(data, Starting, tmp_path / "run")
    (batch,) = Starting.calls
    train = run.training.split.train
    x = run.training.model.preprocess(torch.from_numpy(pictures[train]))
    assert torch.equal(batch.x, x)
    assert batch.y.tolist() == (train % 3).tolist()
    assert batch.index.tolist() == train.tolist()
    with torch.no_grad():
        codes = run.training.model.eval().encode(x).mean.mean(0)
    run.go()
    first = run.training.model.objective.first
    assert torch.equal(first["centre"], x.mean(0))
    torch.testing.assert_close(first["codes"], codes)
    assert all(any(torch.equal(one, other) for other in x) for one in first["drawn"])
    diabolo.load(tmp_path / "run", trust=__name__)
    again = resume(tmp_path / "run", source=data, epochs=3, trust=__name__)
    again.go()
    assert len(Starting.calls) == 1
    assert_same(first, dict(again.training.model.objective.named_buffers()))


def test_a_run_without_a_checkpoint_starts_again_as_it_did(pictures: np.ndarray, tmp_path: Path) -> None:
    whole = gone(pictures, Starting)
    Starting.calls.clear()
    run = started(pictures, Starting, tmp_path / "run", [Pull(1)], checkpoint_seconds=1e9)
    with pytest.raises(PulledPlugError):
        run.go()
    torch.rand(7)  # of torch's own noise, which is not the run's
    again = resume(tmp_path / "run", source=pictures, trust=__name__)
    assert (again.training.steps, len(Starting.calls)) == (0, 2)
    again.go()
    assert_same(state(whole), state(again.training))


# --- two processes ----------------------------------------------------------------------------------------------------

# A last batch of one example leaves a process with none; three parts to a batch.
SCENES: dict[str, dict[str, Any]] = {"even": {}, "parts": {"accumulate": 3}, "none": {"batch_size": 71}, "short": {}}


@contextlib.contextmanager
def little_memory(most: int) -> Any:
    """While it lasts, the second process has no room for more than so many examples with their gradients."""
    forward = Model.forward

    def limited(self: Model, x: Tensor, *more: Any) -> Any:
        if self.training and len(x) > most and os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory (says a test)")
        return forward(self, x, *more)

    Model.forward = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        Model.forward = forward  # type: ignore[method-assign]


def work(folder: Path, scene: str) -> None:
    """One scene, with another in this process."""
    torch.set_num_threads(1)
    x = np.load(folder / "x.npy")
    with little_memory(5) if scene == "short" else contextlib.nullcontext():
        training = gone(x, Moving, **SCENES[scene])
    rank = int(os.environ["RANK"])
    np.savez(folder / f"{scene}-{rank}.npz", **{name: value.numpy() for name, value in state(training).items()})


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_two_processes_sum_their_statistics(scene: str, pictures: np.ndarray, tmp_path: Path) -> None:
    """Also where memory runs out in one of them, and all take smaller parts."""
    np.save(tmp_path / "x.npy", pictures)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_CURRENT_TEST", None)
    process = subprocess.Popen(
        [*command, str(tmp_path), scene], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said = process.communicate(timeout=300)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # where they wait for each other
    assert process.returncode == 0, said[-3000:]
    first, second = (
        {name: torch.from_numpy(value) for name, value in np.load(tmp_path / f"{scene}-{rank}.npz").items()}
        for rank in (0, 1)
    )
    assert_same(first, second)
    alone = state(gone(pictures, Moving, **{**SCENES[scene], "accumulate": 1}))
    assert_same(alone, first, **CLOSE)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])


def test_an_evaluation_takes_the_statistic_of_all_examples() -> None:
    """And not of chunks of a thousand: the free bits of a VAE, by hand."""
    x = np.random.default_rng(0).random((2_300, 6), dtype=np.float32)
    x[:1_000] *= 3  # so that chunks differ
    model = diabolo.train(x, model="vae", free_bits=0.4, latent_dim=4, widths=(8,), epochs=1, beta=0.5)
    with torch.no_grad():
        kl = StandardNormal(4).kl(model.model.encode(model.model.prepare(torch.from_numpy(x))))
    assert kl is not None
    first, rest = kl[:1_000].mean(0), kl[1_000:].mean(0)
    floor = float((first + rest)[(first - rest).abs().argmax()] / 2)  # one of the two is above it, the other below
    model.model.objective.free_bits = floor  # type: ignore[assignment]
    expected = float((floor - kl.mean(0)).clamp(min=0).sum())
    terms = model.loss_terms(x)
    assert terms["free_bits"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    order = np.random.default_rng(1).permutation(len(x))
    assert model.loss_terms(x[order])["free_bits"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


class Paired(Plain):
    """Compares each example with each other, and notes how many were together."""

    couples = "pairs, a comparison of all examples"
    pairs = True

    def loss(self, batch: Batch, net: Net) -> Loss:
        loss = super().loss(batch, net)
        together = torch.full((len(batch),), float(len(batch)))
        return Loss({**loss.terms, "together": together}, loss.posterior, loss.output, {"together": 0.0})


@pytest.mark.parametrize(
    ("count", "mean"), [(3, 3), (1000, 1000), (1600, (1000**2 + 600**2) / 1600), (2001, (2 * 889**2 + 223**2) / 2001)]
)
def test_an_evaluation_takes_pairs_in_groups_none_of_which_is_small(count: int, mean: float) -> None:
    x = np.zeros((count, 2), np.float32)
    model = build_model(Preprocess(event_shape=(2,), layout="F", scale="none"), model=Paired(), latent_dim=1)
    assert evaluate(model, x).averages["together"] == pytest.approx(mean)
    Paired.pairs = False
    assert evaluate(model, x).averages["together"] == count
    Paired.pairs = True
