"""What a verdict is made of: the numbers, on which examples they were measured, and the ends of the loss's scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split
from diabolo.evaluation.terms import chunks, evaluate
from diabolo.models.distributions import Bernoulli, Gaussian, Laplace, Likelihood
from diabolo.models.model import Model

__all__ = ["NOT_TERMS", "Facts", "Scale", "gather", "scale_of"]

MOST = 10_000  # examples from which the ends of the scale are taken
SOME = 2_000  # examples from which the spread of each dimension is taken
NOT_TERMS = ("loss", "mse", "bits_per_dim", "active_units", "kl_per_dimension")


@dataclass(frozen=True)
class Scale:
    """The two ends of a loss's scale, and the error of knowing nothing.

    Attributes:
        perfect: the reconstruction term of a perfect copy, nats per example.
        average: that of answering always with the average example, which takes no code.
        variance: the mean squared error per value of that answer.
    """

    perfect: float
    average: float
    variance: float


@dataclass(frozen=True)
class Facts:
    """What a verdict is made of.

    Attributes:
        model: the trained model.
        config: what config.json says.
        run: the run's folder, as a page may say it.
        own: whether it is shown with the data that it was trained on.
        part: the part of the data on which `numbers` were measured: test, validation or training.
        count: the examples of that part.
        numbers: a line of an `Evaluation`.
        weights: the factors of the loss's terms.
        scale: between which numbers the loss can be expected, where that is known.
        spreads: (d,), the standard deviation of the codes of examples.
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
        """The history's lines of epochs."""
        return [line for line in self.model.history if line["kind"] == "epoch"]

    @property
    def trained(self) -> int:
        """The epochs that were trained."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    @property
    def kept(self) -> int:
        """The epoch of the weights."""
        return int(self.config.get("result", {}).get("kept_epoch", self.trained))


def gather(model: Autoencoder, run: str, dataset: Dataset, split: Split) -> Facts:
    """The facts of a run. What was measured on its own test part is taken as it was; other data is measured now.

    Args:
        model: the trained model.
        run: its folder, as a page may say it.
        dataset: the data to judge it by: its own, or other data of the same shape.
        split: of that data.
    """
    config = {**model.info, **model.model.config()}
    own = dataset.fingerprint == config["data"]["fingerprint"]
    parts = {"test": split.test, "validation": split.validation, "training": split.train}
    part, indices = next((name, chosen) for name, chosen in parts.items() if len(chosen))
    result = config.get("result", {})
    if own and part == "test" and "test" in result:
        numbers, weights = result["test"], result["weights"]
    else:
        evaluation = evaluate(model.model, dataset.x, indices, seed=config["run_config"]["settings"]["seed"])
        numbers, weights = evaluation.line(), evaluation.weights
    spreads = model.encode(dataset.x[indices[:SOME]]).std(0)
    scale = scale_of(model.model, dataset.x, indices[:MOST])
    return Facts(model, config, run, own, part, len(indices), numbers, weights, scale, spreads)


@torch.no_grad()
def scale_of(model: Model, x: np.ndarray, indices: np.ndarray) -> Scale | None:
    """Between which numbers a model's loss can be expected on examples; None where its likelihood has no such ends."""
    likelihood, device = model.likelihood, next(model.parameters()).device
    if not isinstance(likelihood, Bernoulli | Gaussian | Laplace) or likelihood.width != 1:
        return None
    batches = (model.prepare(batch) for batch in chunks(x, indices, device))
    mean = (torch.stack([batch.sum(0, dtype=torch.float64) for batch in batches]).sum(0) / len(indices)).float()
    sums = torch.zeros(3, dtype=torch.float64)
    for batch in chunks(x, indices, device):
        values = model.prepare(batch)
        average = mean.expand_as(values)
        perfect_nats = -likelihood.log_prob(_output(likelihood, values), values)
        average_nats = -likelihood.log_prob(_output(likelihood, average), values)
        squares = (values - average).square().flatten(1).mean(1)
        sums += torch.stack([perfect_nats, average_nats, squares]).sum(1, dtype=torch.float64).cpu()
    return Scale(*(sums / len(indices)).tolist())


def _output(likelihood: Likelihood, mean: Tensor) -> Tensor:
    """What a decoder has to give for this mean."""
    logits = (
        likelihood.inputs == "logits" if isinstance(likelihood, Bernoulli) else getattr(likelihood, "squash", False)
    )
    return torch.logit(mean, 1e-7) if logits else mean
