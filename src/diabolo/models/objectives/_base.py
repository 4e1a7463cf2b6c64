"""The contract of a variant: `Objective`, its `Loss`, and `Net`, the part of the model that it sees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.distributions import Posterior
from diabolo.models.priors.own import CodePrior

__all__ = ["Loss", "Meter", "Net", "Objective", "Space", "ramp"]


class Net(Protocol):
    """The part of the model that a variant sees: encoder, decoder with its likelihood, and the time of training.

    Attributes:
        epoch: training time in epochs, fractions included; infinite in evaluation. In a compiled step it is a tensor:
            what depends on it must use operations and no `if`, see `ramp`.
        generator: the source of noise; None is torch's own.
    """

    epoch: float
    generator: torch.Generator | None

    def encode(self, x: Tensor) -> Posterior:
        """q(z | x) for x of shape (B, C, ...)."""

    def decode(self, z: Tensor) -> Tensor:
        """The parameters of the likelihood for latent codes of shape (B, d)."""

    def log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """Log p(x | z), (B,), from the output of `decode`."""


@dataclass(frozen=True)
class Loss:
    """The terms of a variant's loss for a batch of B examples.

    Attributes:
        terms: name -> (B,), nats per example, unweighted. `reconstruction` is -log p(x | z), `kl` is KL(q || p).
        posterior: q(z | x) of the batch.
        output: the output of the decoder.
        weights: name -> factor, 1 for terms that are not named. The weight of `kl` is the effective beta.

    >>> from diabolo.models.distributions import Dirac
    >>> terms = {"reconstruction": torch.tensor([3.0, 1.0]), "l1": torch.tensor([4.0, 0.0])}
    >>> Loss(terms, Dirac(torch.zeros(2, 1)), torch.zeros(2, 5), {"l1": 0.5}).total
    tensor(3.)
    """

    terms: dict[str, Tensor]
    posterior: Posterior
    output: Tensor
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The objective of training: the weighted sum of the terms, averaged over the batch; a scalar."""
        terms = [self.weights[name] * value if name in self.weights else value for name, value in self.terms.items()]
        return torch.stack(terms).sum(0).mean() if len(terms) > 1 else terms[0].mean()


class Meter:
    """Running sums of a loss's terms, from which averages over examples are read.

    Attributes:
        count: the number of examples.
        sums: name -> the sum of a term over them, a float64 scalar.

    >>> from diabolo.models.distributions import Dirac
    >>> meter = Meter()
    >>> meter.add(Loss({"reconstruction": torch.tensor([3.0, 1.0])}, Dirac(torch.zeros(2, 1)), torch.zeros(2, 5)))
    >>> meter.averages({}, values=5)["loss"]
    2.0
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Loss, **more: Tensor) -> None:
        """Counts a batch: the terms of its loss and `more` values, each (B,)."""
        for name, value in (loss.terms | more).items():
            total = value.detach().sum(dtype=torch.float64)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.count += len(loss.posterior.mean)

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
    """A linear ramp from 0 at epoch 0 to 1 at epoch `length`; 1 where `length` is 0.

    Returns a tensor where the epoch is one, as in a compiled step.

    >>> ramp(2.5, 10), ramp(20, 10), ramp(0, 0)
    (0.25, 1.0, 1.0)
    """
    if not length:
        return 1.0
    share: Any = epoch / length
    return cast(float, share.clamp(max=1.0) if isinstance(share, Tensor) else min(1.0, share))


@dataclass(frozen=True)
class Space:
    """The sizes that a variant is built for.

    Attributes:
        latent_dim: the dimensions of the latent code, d.
        event_shape: of an example as the model sees it, (C, ...).

    >>> Space(2, (1, 28, 28)).latent_dim
    2
    """

    latent_dim: int = 0
    event_shape: tuple[int, ...] = ()


class Objective(nn.Module, ABC):
    """A variant. Its file's name is its name; the typed keyword-only arguments of its constructor are its settings.

    Attributes:
        posterior_family: the family of q(z | x), which sets the width of the encoder's last layer.
        equation: the objective of training, in one line.
        source: authors, year, title, link.
        space: what `build` was told.
        couples: what of the loss is a statistic of the whole batch, in words; empty for none. Such a batch is not
            computed in parts, nor by several processes.
        overcomplete: whether latent codes of as many numbers as an example has are of use.
        second_order: whether the loss holds a gradient of the encoder or the decoder, which training differentiates
            again; slower, because fused layers cannot be differentiated twice.

    >>> from diabolo.models.distributions import Dirac
    >>> class Plain(Objective):
    ...     posterior_family = Dirac
    ...     def loss(self, x, net):
    ...         posterior = net.encode(x)
    ...         output = net.decode(posterior.mean)
    ...         return Loss({"reconstruction": -net.log_likelihood(output, x)}, posterior, output)
    >>> Plain().posterior(torch.zeros(4, 2)).mean.shape
    torch.Size([4, 2])
    """

    posterior_family: ClassVar[type[Posterior]]
    equation: ClassVar[str]
    source: ClassVar[str]
    couples: str = ""
    overcomplete: ClassVar[bool] = False
    second_order: ClassVar[bool] = False

    space: Space = Space()

    def build(self, space: Space) -> None:
        """Makes what depends on the sizes of the code and of the examples; called once, under the seed of the weights.

        What a variant makes here, parameters and buffers of this module, is trained and saved with the model.
        """
        self.space = space

    def prior(self) -> CodePrior | None:
        """The density that training holds latent codes near, and that new ones are drawn from; None for none."""
        return None

    def posterior(self, features: Tensor) -> Posterior:
        """q(z | x) from the encoder's output of shape (B, posterior_family.width * d)."""
        return self.posterior_family.from_features(features)

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuses what was a flag once: a prior is an object, which says where codes are."""
        super().__init_subclass__(**options)
        if isinstance(vars(cls).get("prior"), bool):
            raise ConfigError(
                f"{cls.__name__}.prior should be a method that returns a `CodePrior`, such as StandardNormal(d), or "
                "None, and is a flag."
            )

    @abstractmethod
    def loss(self, x: Tensor, net: Net) -> Loss:
        """The named terms for a batch x of shape (B, C, ...), in nats per example."""
