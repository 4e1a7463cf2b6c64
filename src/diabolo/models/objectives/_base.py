"""The contract of a variant: `Objective`, its `Batch` and `Loss`, and `Net`, the part of the model that it sees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.distributions import Posterior
from diabolo.models.priors.own import CodePrior

__all__ = [
    "Batch",
    "Group",
    "Loss",
    "Meter",
    "Net",
    "Objective",
    "Reduction",
    "Space",
    "checked_labels",
    "frozen",
    "ramp",
]


@dataclass(frozen=True)
class Batch:
    """B examples; a variant gets them as the model sees them.

    Attributes:
        x: (B, C, ...); in training, until then, (B, *event), as the user holds them.
        y: (B,) int64, the class of each; -1 where it is not known. None where the variant asks for no labels.
        index: (B,) int64, the place of each in the data set; None unless the variant asks for it.

    >>> batch = Batch(torch.zeros(4, 1, 8, 8), y=torch.tensor([0, 1, 1, 0]))
    >>> len(batch), batch[1:3].y
    (4, tensor([1, 1]))
    """

    x: Tensor
    y: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Batch:
        return self.map(lambda part: part[rows])

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """What a function makes of each part that is there."""
        return Batch(*(None if part is None else function(part) for part in (self.x, self.y, self.index)))  # type: ignore[arg-type]

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Those that are there: x, y, index."""
        return tuple(part for part in (self.x, self.y, self.index) if part is not None)


def checked_labels(objective: Objective, y: Any, count: int) -> np.ndarray | None:
    """The labels that a variant takes with its examples, (N,) int64; None where it takes none.

    Args:
        objective: the variant, built.
        y: (N,), a class for each example, or None.
        count: N.

    Raises:
        ConfigError: there are none, and the variant requires them.
        ShapeError: there are more or fewer than examples.
        DataError: they are no classes, or not of those that the variant was built for.

    >>> from diabolo.models.objectives import objectives
    >>> checked_labels(objectives.create("vae"), [0, 1], 2) is None
    True
    """
    if objective.labels == "none":
        return None
    classes = objective.space.classes
    named = f"its classes are {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
    if y is None:
        if objective.labels == "partial":
            return np.full(count, -1, np.int64)
        raise ConfigError(
            f"The variant {type(objective).__name__} takes a label with each example, and there is none: give them "
            f"({named})."
        )
    numbers = np.asarray(y)
    if numbers.shape != (count,):
        raise ShapeError(f"There should be {count:,} labels, one for each example, and there are {numbers.shape}.")
    if numbers.dtype.kind in "USO":
        places = {name: place for place, name in enumerate(classes)}
        strange = sorted({str(name) for name in numbers} - set(places))
        if strange:
            raise DataError(f"There is no class {strange[0]!r}: {named}.")
        return np.array([places[str(name)] for name in numbers], np.int64)
    if numbers.dtype.kind not in "iub":
        raise DataError(f"Labels are numbers of classes or their names, and these are {numbers.dtype}: {named}.")
    least = -1 if objective.labels == "partial" else 0
    outside = numbers[(numbers < least) | (numbers >= len(classes))]
    if len(outside):
        unknown = "; -1 stands for unknown" if least else ""
        raise DataError(
            f"There is no class number {outside[0]}: there are 0 to {len(classes) - 1}{unknown}, and {named}."
        )
    return numbers.astype(np.int64)


class Group(NamedTuple):
    """Parameters that are learned at one rate.

    Attributes:
        parameters: of the model.
        pace: their learning rate over that of the run.
        momentum: their beta1, where the optimizer is Adam or its like; that of the run when left out.
        beta2: likewise.
        is_apart: whether `clip` limits the norm of their gradient by itself: those of another player, such as a critic.

    >>> Group([nn.Parameter(torch.zeros(2))], pace=10.0).pace
    10.0
    """

    parameters: list[nn.Parameter]
    pace: float = 1.0
    momentum: float | None = None
    beta2: float | None = None
    is_apart: bool = False


class Reduction(NamedTuple):
    """Settings under which a variant is another one: the same loss and gradients, bit for bit.

    Attributes:
        settings: of the variant.
        other: the other's name.
        others: the other's settings.

    >>> Reduction({"l1": 0.0}, "autoencoder").other
    'autoencoder'
    """

    settings: dict[str, Any]
    other: str
    others: dict[str, Any] = {}  # noqa: RUF012 (nobody writes into it)


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

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The parameters of the likelihood for latent codes of shape (B, d)."""

    def prior(self, y: Tensor | None = None) -> CodePrior | None:
        """The variant's prior, of codes of examples with these labels, (B,), where it depends on them."""

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
        statistics: name -> a sum over the batch, of any shape, for `Objective.update`. It is added up over parts and
            processes.

    >>> from diabolo.models.distributions import Dirac
    >>> terms = {"reconstruction": torch.tensor([3.0, 1.0]), "l1": torch.tensor([4.0, 0.0])}
    >>> Loss(terms, Dirac(torch.zeros(2, 1)), torch.zeros(2, 5), {"l1": 0.5}).total
    tensor(3.)
    """

    terms: dict[str, Tensor]
    posterior: Posterior
    output: Tensor
    weights: dict[str, float] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)

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

    def averages(
        self, weights: Mapping[str, float], values: int, training_only: Collection[str] = ()
    ) -> dict[str, float]:
        """Name -> average: `loss` and the terms in nats per example, `mse` per value, `bits_per_dim`.

        Args:
            weights: name -> factor of a term in the loss.
            values: how many values an example has, D; `bits_per_dim` is the bound in nats over D ln 2.
            training_only: the terms that do not count in `loss`.
        """
        terms = {name: (value / max(self.count, 1)).item() for name, value in self.sums.items()}
        mse = {"mse": terms.pop("mse")} if "mse" in terms else {}
        counted = {name: value for name, value in terms.items() if name not in training_only}
        loss = sum(weights.get(name, 1.0) * value for name, value in counted.items())
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


def frozen(module: nn.Module, *inputs: Any) -> Any:
    """A module's output, with gradients that pass to its inputs and not to its weights.

    So one backward serves two players, each stopped where it is not the learner: the one calls `frozen(critic, z)`, the
    critic's own term is that of `z.detach()`. Each weight gets exactly the gradient of its own player.

    >>> layer = nn.Linear(2, 1)
    >>> frozen(layer, torch.zeros(1, 2, requires_grad=True)).sum().backward()
    >>> layer.weight.grad is None
    True
    """
    tensors = {name: value.detach() for name, value in module.named_parameters()}
    return torch.func.functional_call(module, tensors, inputs)


@dataclass(frozen=True)
class Space:
    """What a variant is built for.

    Attributes:
        latent_dim: the numbers of the latent code, d.
        event_shape: of an example as the model sees it, (C, ...).
        code_shape: of the latent code: (d,), or (c, h, w), which is flattened wherever the variant meets it.
        classes: the names of the classes of the data, if it has any.
        examples: how many there are to train on; 0 where nobody said.
        mean: (C, ...), the average of some of them; None where it is not known, as when a run is loaded.

    >>> Space(2, (1, 28, 28)).latent_dim
    2
    """

    latent_dim: int = 0
    event_shape: tuple[int, ...] = ()
    code_shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    examples: int = 0
    mean: Tensor | None = None


class Objective(nn.Module, ABC):
    """A variant. Its file's name is its name; the typed keyword-only arguments of its constructor are its settings.

    Latent codes are rows of d numbers here; a code of shape (c, h, w) is flattened, channels first.

    Attributes:
        posterior_family: the family of q(z | x).
        equation: the objective of training, in one line.
        source: authors, year, title, link.
        labels: which classes it takes with its examples: none; partial, where -1 stands for unknown; or required.
        wants_index: whether it asks for the place of each example in the data set.
        training_only: the terms that train and do not count, such as a critic's: in no loss that chooses an epoch.
        couples: what of the loss is a statistic of the whole batch, in words; empty for none. Such a batch is not
            computed in parts, nor by several processes.
        entries: how many numbers a token may be, where a code is written with tokens; 0 where it is not.
        corrupts: whether training puts noise on its examples (`corrupt`).
        averaged: the buffers that a running average of the weights (`ema`) averages too.
        overcomplete: whether latent codes of as many numbers as an example has are of use.
        second_order: whether the loss holds a gradient of the encoder or the decoder, which training differentiates
            again; slower, because fused layers cannot be differentiated twice.
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
    source: ClassVar[str]
    labels: ClassVar[Literal["none", "partial", "required"]] = "none"
    wants_index: bool = False
    training_only: ClassVar[tuple[str, ...]] = ()
    couples: str = ""
    entries: int = 0
    corrupts: ClassVar[bool] = False
    averaged: ClassVar[tuple[str, ...]] = ()
    overcomplete: ClassVar[bool] = False
    second_order: ClassVar[bool] = False
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

    def in_turn(self, count: int) -> np.ndarray:
        """The classes in turn, (count,) int64, for new examples of no class in particular; -1 where there are none."""
        classes = len(self.space.classes)
        return np.arange(count) % classes if classes else np.full(count, -1, np.int64)

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuses what was a flag once: a prior is an object, which says where codes are."""
        super().__init_subclass__(**options)
        if isinstance(vars(cls).get("prior"), bool):
            raise ConfigError(
                f"{cls.__name__}.prior should be a method that returns a `CodePrior`, such as StandardNormal(d), or "
                "None, and is a flag."
            )
