"""Distributed evaluation: each process computes its share of every chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from diabolo.evaluation.terms import (
    ACTIVE,
    CHUNK,
    Evaluation,
    error_of_the_mean,
    evaluate,
    evaluating,
    kl_per_dimension,
    labels_at,
    to_device,
)
from diabolo.models.model import Model
from diabolo.models.objectives import Batch, Loss, Meter
from diabolo.training.distributed import ProcessGroup, share
from diabolo.training.partial_noise import Part, PartialNoise

__all__ = ["distributed_averages", "evaluate_distributed"]


def distributed_averages(
    meter: Meter, model: Model, weights: dict[str, float], processes: ProcessGroup
) -> dict[str, float]:
    """The averages of a meter over the examples of all processes, in every process."""
    if processes.count == 1:
        return meter.averages(weights, model.preprocess.values, model.objective.training_only)
    whole = Meter()
    count, *sums = processes.all_reduce([meter.count, *(value.item() for value in meter.sums.values())])
    whole.count = int(count)
    whole.sums = dict(zip(meter.sums, torch.tensor(sums, dtype=torch.float64), strict=True))
    return whole.averages(weights, model.preprocess.values, model.objective.training_only)


@torch.no_grad()
def evaluate_distributed(
    model: Model,
    x: np.ndarray,
    indices: np.ndarray,
    seed: int,
    processes: ProcessGroup,
    y: np.ndarray | None = None,
) -> Evaluation:
    """The result of `evaluate`, within rounding, in every process; each computes its share.

    Args:
        model: the model of this process.
        x: (N, *event), in the user's layout and units.
        indices: the examples to evaluate.
        seed: of the noise of latent codes and of any corruption.
        processes: the group; all its processes make this call.
        y: (N,) int64, the class of each of x, for variants that take labels.
    """
    if processes.count == 1:
        return evaluate(model, x, indices, seed, y)
    sums: dict[str, Tensor] = {}
    weights = dict[str, float]()
    for loss, batch, count in _losses(model, x, indices, seed, processes, y):
        error = error_of_the_mean(model, loss, batch)
        values = {**loss.terms, "mse": error.square().flatten(1).mean(1), " mean": loss.posterior.mean}
        values[" square"] = loss.posterior.mean.double().square()
        values[" used"] = loss.posterior.mean.count_nonzero(1)
        per_dimension = kl_per_dimension(model, loss.posterior, batch.y)
        if per_dimension is not None:
            values[" kl"] = per_dimension
        for name, value in values.items():
            total = value[:count].sum(0, dtype=torch.float64).cpu()
            sums[name] = sums[name] + total if name in sums else total
        weights = loss.weights
    return _evaluation(model, _all_reduced(sums, processes), weights, len(indices))


def _losses(
    model: Model,
    x: np.ndarray,
    indices: np.ndarray,
    seed: int,
    processes: ProcessGroup,
    y: np.ndarray | None,
) -> Iterator[tuple[Loss, Batch, int]]:
    """Yields the loss of each share of this process, its examples, and how many of these count."""
    device = next(model.parameters()).device
    state = evaluating(model, seed)
    with state:
        for start in range(0, len(indices), CHUNK):
            chunk = indices[start : start + CHUNK]
            part = Part(*share(len(chunk), processes.rank, processes.count), len(chunk))
            rows = chunk[part.rows]
            batch = Batch(to_device(x[rows], device), labels_at(y, rows, device))
            with PartialNoise(state.generator, part, (seed, start)):
                loss = model(batch.x, batch.y)
            yield loss, batch, part.count


def _all_reduced(sums: dict[str, Tensor], processes: ProcessGroup) -> dict[str, Tensor]:
    """The sums over all processes, of the sums in this one: one collective call for all tensors."""
    flat = processes.all_reduce(torch.cat([value.flatten() for value in sums.values()]).tolist())
    totals, start = dict[str, Tensor](), 0
    for name, value in sums.items():
        totals[name] = torch.tensor(flat[start : start + value.numel()], dtype=torch.float64).reshape(value.shape)
        start += value.numel()
    return totals


def _evaluation(model: Model, sums: dict[str, Tensor], weights: dict[str, float], count: int) -> Evaluation:
    mean, square, kl = sums.pop(" mean"), sums.pop(" square"), sums.pop(" kl", None)
    used = float(sums.pop(" used")) / count
    meter = Meter()
    meter.count, meter.sums = count, sums
    variance = square / count - (mean / count).square()
    return Evaluation(
        meter.averages(weights, model.preprocess.values, model.objective.training_only),
        weights,
        (variance > ACTIVE).numpy(),
        None if kl is None else (kl / count).float().numpy(),
        used,
    )
