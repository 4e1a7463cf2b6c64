"""The evaluation of a model over a whole data set: the terms of its loss, and the dimensions of its latent code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diabolo.models.distributions import Posterior
from diabolo.models.model import Model
from diabolo.models.objectives import Batch, Loss, Meter

__all__ = [
    "ACTIVE",
    "CHUNK",
    "Evaluation",
    "chunks",
    "error_of_the_mean",
    "evaluate",
    "evaluating",
    "kl_per_dimension",
    "labels_at",
    "to_device",
]

CHUNK = 1000  # examples at a time: chunks that fit the processor's caches are faster than one huge batch
CODES_AT_ONCE = 2**27  # numbers of codes that are held until their variance is taken
AT_ONCE = 2**27  # values of examples that are evaluated together where their statistics count
ACTIVE = 0.01  # a dimension is active when the variance of its posterior mean is above this (Burda et al. 2016)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a model over a data set.

    Attributes:
        averages: `loss` and each term in nats per example, `mse` per value, `bits_per_dim`.
        weights: the factors of the terms in the loss; that of `kl` is the effective beta.
        active: (d,), whether each dimension of the latent code is in use.
        kl_per_dimension: (d,), nats; None where the posterior has no density.
        used: how many numbers of a code are not zero, on average.

    >>> Evaluation({"loss": 3.0}, {}, np.array([True, False]), None).line()
    {'loss': 3.0, 'active_units': 1}
    """

    averages: dict[str, float]
    weights: dict[str, float]
    active: np.ndarray
    kl_per_dimension: np.ndarray | None
    used: float = 0.0

    @property
    def bits(self) -> float | None:
        """The rate of the latent code, the mean KL from the prior; None where the posterior has no density."""
        return None if self.kl_per_dimension is None else float(self.kl_per_dimension.sum()) / math.log(2)

    @property
    def components(self) -> int:
        """How many principal components are worth as much as the latent code.

        A dimension that costs r nats says a part 1 - exp(-2 r) of what a component says without error: that is the
        share of a component's variance that probabilistic PCA keeps at this rate (Tipping & Bishop 1999). A point is
        a component each.
        """
        kl = self.kl_per_dimension
        return len(self.active) if kl is None else round(float((1 - np.exp(-2 * kl.astype(np.float64))).sum()))

    def line(self) -> dict[str, object]:
        """The evaluation as one flat JSON object."""
        kl = self.kl_per_dimension
        extra = {} if kl is None else {"kl_per_dimension": [round(float(value), 6) for value in kl]}
        return {**self.averages, "active_units": int(self.active.sum()), **extra}


def error_of_the_mean(model: Model, loss: Loss, batch: Batch) -> Tensor:
    """The reconstruction from the posterior's mean, less the batch, (B, C, ...); drawn codes are for the loss alone."""
    is_drawn = model.objective.posterior_family.density
    with model.naming(batch.x):
        output = model.decode(loss.posterior.mean, batch.y) if is_drawn else loss.output
        return model.likelihood.mean(output) - model.prepare(batch.x)


def kl_per_dimension(model: Model, posterior: Posterior, y: Tensor | None = None) -> Tensor | None:
    """KL(q(z | x) || p) of each dimension, (B, d), in nats; None where the model's prior gives none.

    Args:
        model: whose prior it is.
        posterior: of B examples.
        y: (B,), their labels, where the prior depends on them.
    """
    prior = model.prior(y)
    kl = None if prior is None else prior.kl(posterior)
    return kl if kl is not None and kl.dim() == 2 else None


def to_device(x: np.ndarray, device: torch.device) -> Tensor:
    """A copy of a batch on a device.

    A copy even on the CPU: torch cannot share memory that is read-only, such as a memory map.

    >>> to_device(np.zeros((2, 3), np.uint8), torch.device("cpu")).shape
    torch.Size([2, 3])
    """
    return torch.from_numpy(np.array(x)).to(device)


def labels_at(y: np.ndarray | None, rows: slice | np.ndarray, device: torch.device) -> Tensor | None:
    """The labels of some examples on a device, where there are any.

    >>> labels_at(np.array([0, 2, 1]), slice(1, 3), torch.device("cpu"))
    tensor([2, 1])
    """
    return None if y is None else torch.from_numpy(np.array(y[rows], np.int64)).to(device)


def chunks(x: np.ndarray, indices: np.ndarray | None, device: torch.device, size: int = CHUNK) -> Iterator[Tensor]:
    """Yields all examples, or those at `indices`, `size` at a time on a device.

    >>> [len(batch) for batch in chunks(np.zeros((10, 3)), None, torch.device("cpu"), size=4)]
    [4, 4, 2]
    """
    count = len(x) if indices is None else len(indices)
    for start in range(0, count, size):
        part = slice(start, start + size)
        yield to_device(x[part] if indices is None else x[indices[part]], device)


def together(model: Model, count: int) -> int:
    """How many of `count` examples an evaluation takes at a time: see `Objective.couples` and `Objective.pairs`."""
    if not model.objective.couples or model.objective.evaluates_apart:
        return CHUNK
    if not model.objective.pairs:  # a statistic of a batch is that of all examples, and no accident of a chunk
        return max(CHUNK, AT_ONCE // model.preprocess.values)
    if count <= CHUNK:
        return CHUNK
    return next(size for size in range(CHUNK, 0, -1) if not 0 < count % size < size // 4)  # no group of a few


class evaluating:  # noqa: N801 (reads as a context: `with evaluating(model, seed)`)
    """A context in which a model is evaluated: no dropout, final weights of every term, noise from a seed of its own.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> with evaluating(model, seed=0):
    ...     model.training, model.epoch
    (False, inf)
    >>> model.training
    True
    """

    def __init__(self, model: Model, seed: int) -> None:
        self.model = model
        device = next(model.parameters()).device
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def __enter__(self) -> None:
        model = self.model
        self.before = (model.training, model.epoch, model.generator)
        model.eval()
        model.epoch, model.generator = math.inf, self.generator

    def __exit__(self, *_: object) -> None:
        training, self.model.epoch, self.model.generator = self.before
        self.model.train(training)


class _Variance:
    """The variance of each dimension over examples: of all codes at once, or, where these are many, of parts of them.

    Parts are put together as by Chan, Golub, LeVeque 1983, https://doi.org/10.2307/2683386.
    """

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, codes: Tensor) -> None:
        """Counts the codes of some examples, (B, d)."""
        self.parts.append(codes)
        if sum(part.numel() for part in self.parts) > CODES_AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        codes = torch.cat(self.parts)
        self.parts, count = [], len(codes)
        total = self.count + count
        away = codes.mean(0) - self.mean
        self.squares = self.squares + codes.var(0, correction=0) * count + away.square() * (self.count * count / total)
        self.mean, self.count = self.mean + away * (count / total), total

    def value(self) -> Tensor:
        """(d,)."""
        if not self.count:
            return torch.cat(self.parts).var(0, correction=0)
        if self.parts:
            self._settle()
        return self.squares / self.count


@torch.no_grad()
def evaluate(
    model: Model, x: np.ndarray, indices: np.ndarray | None = None, seed: int = 0, y: np.ndarray | None = None
) -> Evaluation:
    """The averages of the terms of a loss over examples, computed in float32; the same seed gives the same numbers.

    Args:
        model: the model.
        x: (N, *event), in the user's layout and units.
        indices: the examples to evaluate; None for all.
        seed: of the noise of latent codes and of any corruption.
        y: (N,) int64, the class of each of x, for variants that take labels.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), model="vae", latent_dim=2)
    >>> evaluation = evaluate(model, np.zeros((10, 4), np.float32))
    >>> sorted(evaluation.averages)
    ['bits_per_dim', 'kl', 'loss', 'mse', 'reconstruction']
    """
    device = next(model.parameters()).device
    size = together(model, len(x) if indices is None else len(indices))
    meter, weights = Meter(), dict[str, float]()
    means, used = _Variance(), 0
    kl: list[Tensor] = []
    with evaluating(model, seed):
        for number, part in enumerate(chunks(x, indices, device, size)):
            rows = slice(number * size, number * size + len(part))
            batch = Batch(part, labels_at(y, rows if indices is None else indices[rows], device))
            loss = model(batch.x, batch.y)
            error = error_of_the_mean(model, loss, batch)
            meter.add(loss, mse=error.square().flatten(1).mean(1))
            weights = loss.weights
            means.add(loss.posterior.mean)
            used += int(loss.posterior.mean.count_nonzero())
            per_dimension = kl_per_dimension(model, loss.posterior, batch.y)
            if per_dimension is not None:
                kl.append(per_dimension)
    per_dimension = torch.cat(kl).mean(0) if kl else None
    return Evaluation(
        meter.averages(weights, model.preprocess.values, model.objective.training_only),
        weights,
        (means.value() > ACTIVE).cpu().numpy(),
        None if per_dimension is None else per_dimension.cpu().numpy(),
        used / max(meter.count, 1),
    )
