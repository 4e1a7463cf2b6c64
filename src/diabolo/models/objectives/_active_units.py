"""What variants share whose codes have few active units: the choice, thresholds, dead units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.models.distributions import Dirac, Posterior
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Space
from diabolo.models.units import Units, is_recorded

__all__ = ["Active", "TopUnits", "jumped", "largest"]

USUAL, SHARE = 32, 4  # units of an example where they are left to the code's size: so many, and one in so many at most
KEPT = 0.99  # of the running threshold in a step
STARTING = 512  # examples whose codes say where the threshold starts
STRIDE = 61  # of the numbers that a first guess looks at: no divisor of a width that anybody takes
MARGIN = 1.25  # by which more numbers should lie above the guess than are wanted


class Active(Dirac):
    """A code of few active units, in training; its rows of numbers, `mean`, are made when asked for.

    Args:
        code: the active units, or rows.
        source: what they were chosen from: the encoder's outputs, (B, d), or what a variant needs of them.
    """

    def __init__(self, code: Units | Tensor, source: Tensor) -> None:
        self.code = code
        self.source = source

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        """(B, d)."""
        return self.code.dense() if isinstance(self.code, Units) else self.code

    def detached(self) -> Dirac:  # type: ignore[override]
        return Dirac(self.mean.detach())


class TopUnits(Objective):
    """Keeps the largest outputs of the encoder, cut at zero.

    Buffers: `threshold`, the running average of the least activation that a batch keeps; `silent`, (d,), the steps
    since each unit was active.
    """

    posterior_family = Dirac
    overcomplete = True
    evaluates_apart = True
    averaged = ("threshold",)
    training_only = ("auxiliary",)

    threshold: Tensor
    silent: Tensor

    def __init__(
        self, *, k: int, scope: Literal["example", "batch"], auxiliary: float, auxiliary_k: int, dead: int
    ) -> None:
        super().__init__()
        require(k >= 0, "k", "a number of units of at least 1, or 0 for the code's size", k)
        require(auxiliary >= 0, "auxiliary", "a number of at least 0", auxiliary)
        require(auxiliary_k >= 0, "auxiliary_k", "a number of units of at least 1, or 0 for k", auxiliary_k)
        require(dead >= 0, "dead", "a number of steps of at least 0", dead)
        self.k, self.scope, self.auxiliary, self.auxiliary_k, self.dead = k, scope, auxiliary, auxiliary_k, dead
        self.couples = "The choice of the largest units of a batch, scope='batch'" if scope == "batch" else ""

    def build(self, space: Space) -> None:
        super().build(space)
        d = space.latent_dim
        require(self.k <= d, "k", f"at most the code's {d} units", self.k)
        self.kept = self.k or max(1, min(USUAL, d // SHARE))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("silent", torch.zeros(d))

    def initialise(self, batch: Batch, net: Net) -> None:
        if self.scope == "batch":
            codes = net.encode(batch.x[:STARTING]).mean.relu().flatten()  # of a threshold of zero: all that are active
            self.threshold.copy_(codes[largest(codes, len(batch.x[:STARTING]) * self.kept)].min())

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        features = features.float()
        if self.training and torch.is_grad_enabled():
            return Active(self.chosen(features), features)
        if self.scope == "batch":  # each example by itself, whatever its neighbours are
            return Dirac(torch.where(features > self.threshold, features, 0.0))
        values, index = features.topk(self.kept, dim=1)
        return Dirac(torch.zeros_like(features).scatter(1, index, values.relu()))

    def chosen(self, features: Tensor) -> Units:
        """The units that a training batch keeps."""
        if self.scope == "example":
            index = features.detach().topk(self.kept, dim=1, sorted=False).indices
            return Units.of(features.gather(1, index).relu(), index, features.shape[1])
        units = Units.at(features, largest(features.detach().flatten(), len(features) * self.kept))
        return units._replace(values=units.values.relu())

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = net.encode(batch.x)
        active = code.code if isinstance(code, Active) else code.mean
        output, terms = self.decoded(active, batch.x, net)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x)} | terms
        weights = {"auxiliary": self.auxiliary} if self.auxiliary else {}
        if not (isinstance(code, Active) and isinstance(active, Units)):  # an evaluation
            none = {name: torch.zeros_like(terms["reconstruction"]) for name in weights}
            return Loss(terms | none, code, output, weights)
        if self.auxiliary:
            terms["auxiliary"] = self.revived(code.source, output, batch.x, net)
        values = active.values.detach()
        fired = values.new_zeros(active.width).index_add(0, active.numbers, (values > 0).float())
        statistics = {"fired": fired}
        if self.scope == "batch":
            statistics["least"] = torch.where(values > 0, values, math.inf).min()
        return Loss(terms, code, output, weights, statistics)

    def decoded(self, code: Units | Tensor, x: Tensor, net: Net) -> tuple[Tensor, dict[str, Tensor]]:
        """The output of codes, and further terms."""
        return net.decode(code), {}

    def revived(self, features: Tensor, output: Tensor, x: Tensor, net: Net) -> Tensor:
        """What the dead units that are nearest to being active add to an output that is given, nats, (B,); 0 for none.

        With a Gaussian of variance 1/2 it is |r - r'|^2 - |r|^2, r what the output leaves and r' what they make of it
        (AuxK: Gao et al. 2024, section A.2), less the more, the fewer of them there are. As many are taken as a code
        keeps: half as many as an example has values, as there, become directions that are all active together.
        """
        dead = self.silent >= self.dead
        most = min(self.auxiliary_k or self.kept, features.shape[1])
        count = most if is_recorded() else min(most, int(dead.sum()))
        if not count:
            return output.new_zeros(len(output))
        index = torch.where(dead, features.detach(), -math.inf).topk(count, dim=1, sorted=False).indices
        values = features.gather(1, index) * dead[index]
        width = features.shape[1]
        none = net.decode(Units.of(values[:1, :1] * 0, index[:1, :1], width))
        added = net.decode(Units.of(values, index, width)) - none
        before, after = (net.log_likelihood(one, x) for one in (output.detach(), output.detach() + added))
        return (dead.sum() / most).clamp(max=1.0) * (before.detach() - after)

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.silent.copy_(torch.where(statistics["fired"] > 0, 0.0, self.silent + 1))
        if self.scope == "batch" and bool(statistics["least"].isfinite()):
            self.threshold.lerp_(statistics["least"], 1 - KEPT)


@torch.no_grad()
def largest(numbers: Tensor, count: int) -> Tensor:
    """The places of the largest of (n,) numbers, (count,) int64, ascending.

    >>> largest(torch.tensor([3.0, 1.0, 9.0, 5.0]), 2).tolist()
    [2, 3]
    """
    candidates = torch.arange(0)
    wanted = int(MARGIN * count / STRIDE) + 8
    if STRIDE * wanted < len(numbers) and not is_recorded():
        guess = numbers[::STRIDE].topk(wanted, sorted=False).values.min()
        candidates = (numbers > guess).nonzero()[:, 0]  # few, but for the least of which the numbers are many times
    if len(candidates) < count:
        return numbers.topk(count, sorted=False).indices.sort().values
    return candidates[numbers[candidates].topk(count, sorted=False).indices].sort().values


def jumped(features: Tensor, thresholds: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """What lies above thresholds of the same shape, or zero; and 1 where it does, or 0.

    Thresholds learn from what lies within half a bandwidth of them: see equations 11 and 12 of Rajamanoharan et al.
    2024, https://arxiv.org/abs/2407.14435.

    >>> [values.tolist() for values in jumped(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]), 0.1)]
    [[0.0, 3.0], [0.0, 1.0]]
    """
    above = features > thresholds
    kernel = ((features - thresholds).abs() < bandwidth / 2).to(features.dtype) / bandwidth
    still = thresholds - thresholds.detach()  # zero, with a gradient: that of a rectangle in the place of Dirac's delta
    values = torch.where(above, features, 0.0) - (kernel * thresholds).detach() * still
    return values, above.to(features.dtype) - kernel.detach() * still
