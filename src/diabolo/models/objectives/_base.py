"""What a variant says, and what it is given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn

from diabolo.models.distributions import Posterior

__all__ = ["Loss", "Meter", "Net", "Objective", "ramp"]


class Net(Protocol):
    """What a variant sees of the model: an encoder, a decoder with its likelihood, and where training stands.

    Attributes:
        epoch: training time in epochs, fractions included; infinite when the model is evaluated. In a compiled step a
            tensor stands in its place, so that what depends on it should go through operations: see `ramp`.
        generator: where noise is drawn from; None is torch's own.
    """

    epoch: float
    generator: torch.Generator | None

    def encode(self, x: Tensor) -> Posterior:
        """q(z | x) for x of shape (B, C, ...)."""

    def decode(self, z: Tensor) -> Tensor:
        """The likelihood's parameters for codes of shape (B, d)."""

    def log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """Log p(x | z), (B,), from what `decode` gave."""


@dataclass(frozen=True)
class Loss:
    """The terms of a variant's loss for a batch of B examples.

    Attributes:
        terms: name -> (B,), nats per example, unweighted. `reconstruction` is -log p(x | z), `kl` is KL(q || p).
        code: q(z | x) of the batch.
        output: what the decoder gave for it.
        weights: name -> factor; 1 where a term is not named. The weight of `kl` is the effective beta.
    """

    terms: dict[str, Tensor]
    code: Posterior
    output: Tensor
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """What training minimises: the weighted sum of the terms, averaged over the batch; a scalar."""
        terms = [self.weights[name] * value if name in self.weights else value for name, value in self.terms.items()]
        return torch.stack(terms).sum(0).mean() if len(terms) > 1 else terms[0].mean()


class Meter:
    """Running sums of a loss's terms, from which averages over examples are read.

    Attributes:
        count: the number of examples.
        sums: name -> the sum of a term over them, a float64 scalar.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Loss, **more: Tensor) -> None:
        """Counts a batch: the terms of its loss and `more` values, each (B,)."""
        for name, value in (loss.terms | more).items():
            total = value.detach().sum(dtype=torch.float64)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.count += len(loss.code.mean)

    def averages(self, weights: Mapping[str, float], values: int) -> dict[str, float]:
        """Name -> average: `loss` and the terms in nats per example, `mse` per value, `bits_per_dim`.

        Args:
            weights: name -> factor of a term in the loss.
            values: how many values an example has, D; `bits_per_dim` is the bound in nats over D ln 2.
        """
        terms = {name: (value / max(self.count, 1)).item() for name, value in self.sums.items()}
        mse = {"mse": terms.pop("mse")} if "mse" in terms else {}
        loss = sum(weights.get(name, 1.0) * value for name, value in terms.items())
        averages = {"loss": loss, **terms, **mse}
        if "reconstruction" in terms:
            bound = terms["reconstruction"] + terms.get("kl", 0.0)
            averages["bits_per_dim"] = bound / (values * math.log(2))
        return averages


def ramp(epoch: float, length: float) -> float:
    """How far something has been brought in: from 0 at the start to 1 after `length` epochs; 1 where that is 0.

    A tensor where the epoch is one, as in a compiled step.
    """
    if not length:
        return 1.0
    share: Any = epoch / length
    return cast(float, share.clamp(max=1.0) if isinstance(share, Tensor) else min(1.0, share))


class Objective(nn.Module, ABC):
    """One variant. Its file's name is its name; its constructor's typed keyword-only arguments are its settings.

    Attributes:
        code: the family of q(z | x); it sets how wide the encoder's last layer is.
        equation: what is minimised, in one line.
        source: authors, year, title, link.
        prior: whether codes may be drawn from N(0, I) to generate examples.
        second_order: whether the loss holds a gradient of the encoder or the decoder, which training then
            differentiates again; slower, because layers have to be computed one by one for it.
    """

    code: ClassVar[type[Posterior]]
    equation: ClassVar[str]
    source: ClassVar[str]
    prior: ClassVar[bool] = False
    second_order: ClassVar[bool] = False

    def posterior(self, features: Tensor) -> Posterior:
        """q(z | x) from the encoder's output of shape (B, code.width * d)."""
        return self.code.from_features(features)

    @abstractmethod
    def loss(self, x: Tensor, net: Net) -> Loss:
        """The named terms for a batch x of shape (B, C, ...), in nats per example."""
