"""The contract of a variant: `Objective`, and `Net`, the part of the model that it sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.distributions import Posterior
from diabolo.models.objectives._parts import Batch, Group, Loss, Reduction, Remark, Space, ramp
from diabolo.models.priors.own import CodePrior
from diabolo.models.units import Units

__all__ = ["Batch", "Group", "Loss", "Net", "Objective", "Reduction", "Remark", "Space", "ramp"]


class Net(Protocol):
    """The part of the model that a variant sees: encoder, decoder with its likelihood, and the time of training.

    Attributes:
        epoch: training time in epochs, fractions included; infinite in evaluation. In a compiled step it is a tensor:
            what depends on it must use operations and no `if`, see `ramp`.
        generator: the source of noise; None is torch's own.
        encoder: for its parameters; to encode, call `encode`.
        decoder: likewise.
    """

    epoch: float
    generator: torch.Generator | None
    encoder: nn.Module
    decoder: nn.Module

    def encode(self, x: Tensor, y: Tensor | None = None) -> Posterior:
        """q(z | x) for x of shape (B, C, ...), with the labels of the batch where the variant has some, (B,)."""

    def decode(self, z: Tensor | Units, y: Tensor | None = None) -> Tensor:
        """The parameters of the likelihood for latent codes of shape (B, d), or for `Units`, the active ones of them.

        Units are decoded by reading what belongs to them where the decoder can (`takes_units`), and else as rows.
        """

    def prior(self, y: Tensor | None = None) -> CodePrior | None:
        """The variant's prior, of codes of examples with these labels, (B,), where it depends on them."""

    def log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """Log p(x | z), (B,), from the output of `decode`."""


class Objective(nn.Module, ABC):
    """A variant. Its file's name is its name; the typed keyword-only arguments of its constructor are its settings.

    Latent codes are rows of d numbers here; a code of shape (c, h, w) is flattened, channels first.

    Attributes:
        posterior_family: the family of q(z | x).
        equation: the objective of training, in one line.
        formula: the same, as LaTeX, for pages.
        when: when to take it, and when not.
        teaches: each term, under any settings -> which of encoder, decoder, likelihood and objective learn from it, in
            this order; in brackets those that learn under some settings only; the others it does not reach.
        source: authors, year, title, link.
        labels: which classes it takes with its examples: none; partial, where -1 stands for unknown; or required.
        wants_index: whether it asks for the place of each example in the data set.
        training_only: the terms that train and do not count, such as a critic's: in no loss that chooses an epoch.
        couples: what of the loss is a statistic of the whole batch, in words; empty for none. Such a batch is not
            computed in parts, nor by several processes, and an evaluation takes all examples together.
        pairs: whether that statistic compares each example with each other: an evaluation then takes groups of some
            1,000 and averages, for all examples together would take time and memory with the square of their number.
        evaluates_apart: whether that is so in training alone, and an evaluation takes each example by itself.
        sections: the names and sizes of the parts of a code that has levels; the last one makes the others.
        entries: how many numbers a token may be, where a code is written with tokens; 0 where it is not.
        corrupts: whether training puts noise on its examples (`corrupt`).
        averaged: the buffers that a running average of the weights (`ema`) averages too.
        overcomplete: whether latent codes of as many numbers as an example has are of use.
        second_order: whether the loss holds a gradient of the encoder or the decoder, which training differentiates
            again; slower, because fused layers cannot be differentiated twice. It can be taken in evaluations, too.
        reduces: settings under which it is another variant.
        space: what `build` was told.

    >>> from diabolo.models.distributions import Dirac
    >>> class Plain(Objective):
    ...     posterior_family = Dirac
    ...     def loss(self, batch, net):
    ...         posterior = net.encode(batch.x)
    ...         output = net.decode(posterior.mean)
    ...         return Loss({"reconstruction": -net.log_likelihood(output, batch.x)}, posterior, output)
    >>> Plain().posterior(torch.zeros(4, 2), Batch(torch.zeros(4, 1))).mean.shape
    torch.Size([4, 2])
    """

    posterior_family: ClassVar[type[Posterior]]
    equation: ClassVar[str]
    formula: ClassVar[str] = ""
    when: ClassVar[str] = ""
    teaches: ClassVar[Mapping[str, str]] = {}
    source: ClassVar[str]
    labels: ClassVar[Literal["none", "partial", "required"]] = "none"
    wants_index: bool = False
    training_only: ClassVar[tuple[str, ...]] = ()
    couples: str = ""
    pairs: ClassVar[bool] = False
    evaluates_apart: bool = False
    sections: tuple[tuple[str, int], ...] = ()
    entries: int = 0
    corrupts: ClassVar[bool] = False
    averaged: ClassVar[tuple[str, ...]] = ()
    overcomplete: ClassVar[bool] = False
    second_order: bool = False
    reduces: ClassVar[tuple[Reduction, ...]] = ()

    space: Space = Space()

    # Sizes and parameters

    def features(self, latent_dim: int) -> int:
        """How many numbers the encoder gives for a code of d numbers; at each place, where codes have places."""
        return self.posterior_family.width * latent_dim

    def fed(self, latent_dim: int) -> int:
        """How many numbers the decoder takes: those that `embed` makes of a code; likewise at each place."""
        return latent_dim

    def encoder_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what `enter` makes of an example, (C', ...)."""
        return event_shape

    def build(self, space: Space) -> None:
        """Makes what depends on the data and the code's shape; called once, under the seed of the weights.

        What a variant makes here, parameters and buffers of this module, is trained and saved with the model.
        """
        self.space = space

    def initialise(self, batch: Batch, net: Net) -> None:
        """Sets what starts from the data, before the first step, from some training examples; without gradients."""

    def groups(self) -> list[Group]:
        """The groups of its own parameters that are learned otherwise than the rest: at a pace of their own, or apart.

        One backward serves all of them: see `frozen`.
        """
        return []

    # From examples to codes and back

    def enter(self, batch: Batch) -> Tensor:
        """What the encoder is given, (B, C', ...): the examples, to which labels may be added."""
        return batch.x

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        """q(z | x) from the encoder's output, (B, features)."""
        return self.posterior_family.from_features(features)

    def embed(self, z: Tensor, y: Tensor | None) -> Tensor:
        """What the decoder is given, (B, fed): the codes, to which labels may be added."""
        return z

    def nearest(self, z: Tensor) -> Tensor:
        """The codes nearest to some, (B, d), that an example may have: others are not decoded."""
        return z

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """The codes, (B, d), of tokens, (B, positions, levels), where a code is written with entries of a codebook."""
        raise ConfigError(f"The codes of this {type(self).__name__} are no tokens: they have no codebook.")

    def vectors(self, tokens: Tensor) -> Tensor:
        """As `from_tokens`, of tokens that are right: for graphs, which look at no values."""
        return self.from_tokens(tokens)

    def completed(self, z: Tensor) -> Tensor:
        """The codes, (B, d), whose last part alone is given, (B, less than d): the others are what it expects."""
        raise ConfigError(f"A code of this {type(self).__name__} is no whole without all of its numbers.")

    def corrupt(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A batch, (B, C, ...), with the noise that training puts on."""
        raise ConfigError("This model is trained on clean examples: it has no noise to put on (model='denoising' has).")

    def prior(self) -> CodePrior | None:
        """The density that training holds latent codes near, and that new ones are drawn from; None for none."""
        return None

    # Training

    @abstractmethod
    def loss(self, batch: Batch, net: Net) -> Loss:
        """The named terms for a batch, in nats per example."""

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Moves buffers after a step, by the statistics of the whole batch, such as a codebook by its members.

        Every process does the same; noise comes from the generator.
        """

    def remarks(self, terms: Mapping[str, float]) -> list[Remark]:
        """What it says of its health, such as how many entries of a codebook are in use.

        Args:
            terms: name -> average of a term of its loss over examples that it was not trained on.
        """
        return []

    def in_turn(self, count: int) -> np.ndarray:
        """The classes in turn, (count,) int64, for new examples of no class in particular; -1 where there are none."""
        classes = len(self.space.classes)
        return np.arange(count) % classes if classes else np.full(count, -1, np.int64)

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuses what was a flag once: a prior is an object, which says where codes are."""
        super().__init_subclass__(**options)
        if cls.labels not in ("none", "partial", "required"):
            raise ConfigError(f"{cls.__name__}.labels should be none, partial or required, and is {cls.labels!r}.")
        for name in ("training_only", "averaged"):
            if not isinstance(getattr(cls, name), tuple):
                raise ConfigError(f"{cls.__name__}.{name} should be a tuple of names, such as ('critic',).")
        if isinstance(vars(cls).get("prior"), bool):
            raise ConfigError(
                f"{cls.__name__}.prior should be a method that returns a `CodePrior`, such as StandardNormal(d), or "
                "None, and is a flag."
            )
