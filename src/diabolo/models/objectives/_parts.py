"""What a variant is given and what it gives: batches, sizes, losses, groups of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from diabolo.models.distributions import Posterior

__all__ = ["Batch", "Group", "Loss", "Meter", "Reduction", "Remark", "Space", "frozen", "ramp"]


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
    others: dict[str, Any] = {}


class Remark(NamedTuple):
    """What a variant says of its own health, for reports and the explorer.

    Attributes:
        level: good, note or problem.
        title: the finding, without a full stop.
        text: the numbers behind it and what to do, in sentences; `backticks` enclose commands.

    >>> Remark("good", "All 8 entries are in use", "Their perplexity is 7.1.").level
    'good'
    """

    level: Literal["good", "note", "problem"]
    title: str
    text: str


@dataclass(frozen=True)
class Loss:
    """The terms of a variant's loss for a batch of B examples.

    Attributes:
        terms: name -> (B,), nats per example, unweighted. `reconstruction` is -log p(x | z), `kl` is KL(q || p);
            where codes have levels, each further one's begins with `kl_`.
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

    def detached(self) -> Loss:
        """The same without gradients."""
        terms, statistics = (
            {name: value.detach() for name, value in part.items()} for part in (self.terms, self.statistics)
        )
        return Loss(terms, self.posterior.detached(), self.output.detach(), self.weights, statistics)

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
        self.count += len(next(iter(loss.terms.values())))

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
            bound = terms["reconstruction"] + sum(value for name, value in terms.items() if name.startswith("kl"))
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
