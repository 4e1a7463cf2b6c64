"""The facts of a diagnosis: numbers, the examples they were measured on, and the scale of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split
from diabolo.evaluation.terms import chunks, evaluate
from diabolo.models.distributions import Bernoulli, Gaussian, Laplace, StudentT
from diabolo.models.model import Model

__all__ = ["NOT_TERMS", "Facts", "Scale", "facts_of", "scale_of"]

SCALE_EXAMPLES = 10_000  # from which the ends of the scale are computed
SPREAD_EXAMPLES = 2_000  # from which the spread of each dimension is computed
MOSTLY = 0.5  # of the numbers of codes at least are zero, where active units are counted
NOT_TERMS = ("loss", "mse", "bits_per_dim", "active_units", "kl_per_dimension")


@dataclass(frozen=True)
class Scale:
    """The scale of a loss: that of a perfect copy, and that of a model without a code.

    Attributes:
        perfect: the reconstruction term of a perfect copy, nats per example.
        average: that of a model that answers always with the average example.
        variance: the mean squared error per value of that answer.

    >>> Scale(perfect=80.0, average=206.0, variance=0.067).average - 80.0
    126.0
    """

    perfect: float
    average: float
    variance: float


@dataclass(frozen=True)
class Facts:
    """The facts of a diagnosis.

    Attributes:
        model: the trained model.
        config: the contents of config.json.
        run: the run's folder, as a page may name it.
        own: whether the numbers are of the data that it was trained on.
        part: the part of the data on which `numbers` were measured: test, validation or training.
        count: the number of examples in that part.
        numbers: a line of an `Evaluation`.
        weights: the factors of the loss's terms.
        scale: the ends between which the loss lies, where the likelihood has them.
        spreads: (d,), the standard deviation of each latent dimension over examples.
        units: where codes are mostly zeros, how many units are active in an example, on average, how many are so in
            none, and in how many examples that was looked at; else None.

    >>> import diabolo
    >>> from diabolo.runs import open_data
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> facts = facts_of(model, "runs/digits", *open_data(model))
    >>> list(facts.terms), facts.spreads.shape
    (['reconstruction'], (2,))
    """

    model: Autoencoder
    config: dict[str, Any]
    run: str
    own: bool
    part: str
    count: int
    numbers: Mapping[str, Any]
    weights: Mapping[str, float]
    scale: Scale | None
    spreads: np.ndarray
    units: tuple[float, int, int] | None = None

    @property
    def values(self) -> int:
        """The values of an example, D."""
        return self.model.model.preprocess.values

    @property
    def terms(self) -> dict[str, float]:
        """The terms of the loss."""
        return {name: value for name, value in self.numbers.items() if name not in NOT_TERMS}

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The lines of the history that are epochs."""
        return [line for line in self.model.history if line["kind"] == "epoch"]

    @property
    def epoch_count(self) -> int:
        """The number of epochs of training."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    @property
    def weights_epoch(self) -> int:
        """The epoch whose weights the model has."""
        return int(self.config.get("result", {}).get("kept_epoch", self.epoch_count))


def facts_of(model: Autoencoder, run: str, dataset: Dataset, split: Split) -> Facts:
    """The facts of a run: those of its own test part come from config.json, those of other data are measured.

    Args:
        model: the trained model.
        run: its folder, as a page may name it.
        dataset: its own data, or other data of the same shape.
        split: of that data.

    >>> import diabolo
    >>> from diabolo.runs import open_data
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> facts = facts_of(model, "runs/digits", *open_data(model))
    >>> facts.part, facts.count, facts.values, facts.epoch_count
    ('test', 180, 64, 1)
    """
    config = {**model.info, **model.model.config()}
    own = dataset.fingerprint == config["data"]["fingerprint"]
    parts = {"test": split.test, "validation": split.validation, "training": split.train}
    part, indices = next((name, indices) for name, indices in parts.items() if len(indices))
    result = config.get("result", {})
    if own and part == "test" and "test" in result:
        numbers, weights = result["test"], result["weights"]
    else:
        evaluation = evaluate(
            model.model, dataset.x, indices, config["run_config"]["settings"]["seed"], model.labels_of(dataset)
        )
        numbers, weights = evaluation.line(), evaluation.weights
    codes = model.encode(dataset.subset(indices[:SPREAD_EXAMPLES]), flat=True)
    scale = scale_of(model.model, dataset.x, indices[:SCALE_EXAMPLES])
    active, units = codes != 0, None
    kind = model.model.objective
    if active.mean() < MOSTLY and kind.overcomplete and not kind.entries:
        units = float(active.sum(1).mean()), int((~active.any(0)).sum()), len(codes)
    return Facts(model, config, run, own, part, len(indices), numbers, weights, scale, codes.std(0), units)


@torch.no_grad()
def scale_of(model: Model, x: np.ndarray, indices: np.ndarray) -> Scale | None:
    """The scale of a model's loss on examples; None where its likelihood has no perfect copy.

    Args:
        model: the network and its likelihood.
        x: (n, *event), the data.
        indices: (k,), which examples.

    >>> import diabolo
    >>> x = np.random.default_rng(0).random((60, 6))
    >>> model = diabolo.train(x, latent_dim=2, widths=(4,), epochs=1, precision="float32")
    >>> scale = scale_of(model.model, x, np.arange(60))
    >>> scale.perfect < scale.average
    True
    """
    likelihood, device = model.likelihood, next(model.parameters()).device
    if not isinstance(likelihood, Bernoulli | Gaussian | Laplace | StudentT) or likelihood.width != 1:
        return None
    batches = (model.prepare(batch) for batch in chunks(x, indices, device))
    mean = (torch.stack([batch.sum(0, dtype=torch.float64) for batch in batches]).sum(0) / len(indices)).float()
    sums = torch.zeros(3, dtype=torch.float64)
    for batch in chunks(x, indices, device):
        values = model.prepare(batch)
        average = mean.expand_as(values)
        perfect_nats = -likelihood.log_prob(likelihood.output_of(values), values)
        average_nats = -likelihood.log_prob(likelihood.output_of(average), values)
        squares = (values - average).square().flatten(1).mean(1)
        sums += torch.stack([perfect_nats, average_nats, squares]).sum(1, dtype=torch.float64).cpu()
    return Scale(*(sums / len(indices)).tolist())
