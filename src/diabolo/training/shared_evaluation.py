"""The evaluation of a model by several processes, each of which takes its share of every chunk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from diabolo.evaluation.terms import ACTIVE, CHUNK, Evaluation, evaluate, evaluating, to_device
from diabolo.models.model import Model
from diabolo.models.objectives import Loss, Meter
from diabolo.training.distributed import ProcessGroup, share
from diabolo.training.partial_noise import Part, PartOfNoise

__all__ = ["averages_together", "evaluate_together"]


def averages_together(
    meter: Meter, model: Model, weights: dict[str, float], processes: ProcessGroup
) -> dict[str, float]:
    """The averages of a meter's terms over the examples of all processes."""
    if processes.count == 1:
        return meter.averages(weights, model.preprocess.values)
    whole = Meter()
    count, *sums = processes.all_reduce([meter.count, *(value.item() for value in meter.sums.values())])
    whole.count = int(count)
    whole.sums = dict(zip(meter.sums, torch.tensor(sums, dtype=torch.float64), strict=True))
    return whole.averages(weights, model.preprocess.values)


@torch.no_grad()
def evaluate_together(
    model: Model, x: np.ndarray, indices: np.ndarray, seed: int, processes: ProcessGroup
) -> Evaluation:
    """What `evaluate` gives, within rounding, in every process; each computes its share.

    Args:
        model: the model as this process holds it.
        x: (N, *event), as the user holds it.
        indices: which examples.
        seed: of the codes' noise and of any corruption.
        processes: all of which call this now.
    """
    if processes.count == 1:
        return evaluate(model, x, indices, seed)
    sums: dict[str, Tensor] = {}
    weights = dict[str, float]()
    for loss, error, count in _losses(model, x, indices, seed, processes):
        values = {**loss.terms, "mse": error.square().flatten(1).mean(1), " mean": loss.posterior.mean}
        values[" square"] = loss.posterior.mean.double().square()
        per_dimension = loss.posterior.kl()
        if per_dimension is not None:
            values[" kl"] = per_dimension
        for name, value in values.items():
            total = value[:count].sum(0, dtype=torch.float64).cpu()
            sums[name] = sums[name] + total if name in sums else total
        weights = loss.weights
    return _evaluation(model, _added(sums, processes), weights, len(indices))


def _losses(
    model: Model, x: np.ndarray, indices: np.ndarray, seed: int, processes: ProcessGroup
) -> Iterator[tuple[Loss, Tensor, int]]:
    """The loss of each of this process's shares, its errors, and how many of its examples count."""
    device = next(model.parameters()).device
    state = evaluating(model, seed)
    with state:
        for start in range(0, len(indices), CHUNK):
            chunk = indices[start : start + CHUNK]
            part = Part(*share(len(chunk), processes.rank, processes.count), len(chunk))
            batch = to_device(x[chunk[part.rows]], device)
            with PartOfNoise(state.generator, part, (seed, start)):
                loss = model(batch)
            yield loss, model.likelihood.mean(loss.output) - model.prepare(batch), part.count


def _added(sums: dict[str, Tensor], processes: ProcessGroup) -> dict[str, Tensor]:
    """Sums over the examples of all processes, from those of this one."""
    flat = processes.all_reduce(torch.cat([value.flatten() for value in sums.values()]).tolist())
    added, start = dict[str, Tensor](), 0
    for name, value in sums.items():
        added[name] = torch.tensor(flat[start : start + value.numel()], dtype=torch.float64).reshape(value.shape)
        start += value.numel()
    return added


def _evaluation(model: Model, sums: dict[str, Tensor], weights: dict[str, float], count: int) -> Evaluation:
    mean, square, kl = sums.pop(" mean"), sums.pop(" square"), sums.pop(" kl", None)
    meter = Meter()
    meter.count, meter.sums = count, sums
    variance = square / count - (mean / count).square()
    return Evaluation(
        meter.averages(weights, model.preprocess.values),
        weights,
        (variance > ACTIVE).numpy(),
        None if kl is None else (kl / count).float().numpy(),
    )
