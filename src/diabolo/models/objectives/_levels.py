"""Codes of two levels: the posterior of both, and the prior, in which the upper level makes the lower."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import ConfigError
from diabolo.models.distributions import DiagonalGaussian, LinearStart, Posterior
from diabolo.models.objectives._parts import Remark, Space
from diabolo.models.priors.mixtures import GaussianOfEach
from diabolo.models.priors.own import CodePrior, StandardNormal, summed

__all__ = ["Levels", "TwoLevelPrior", "TwoLevels", "product"]

Hold = Callable[[DiagonalGaussian], DiagonalGaussian]

IDLE = 0.1  # nats: an upper level that says less says nothing


class Levels(nn.Module):
    """The maps between two levels of codes: q(z2 | z1) and p(z1 | z2).

    Args:
        space: with the numbers of both.
        lower: how many are z1.
        widths: hidden units, from z1 upwards; downwards likewise.
        held: cuts the variances of a Gaussian.

    >>> levels = Levels(Space(6), 4, (8,), held=lambda gaussian: gaussian)
    >>> levels.up(torch.zeros(3, 4)).mean.shape, levels.down(torch.zeros(3, 2)).mean.shape
    (torch.Size([3, 2]), torch.Size([3, 4]))
    """

    def __init__(self, space: Space, lower: int, widths: tuple[int, ...], held: Hold) -> None:
        super().__init__()
        upper = space.latent_dim - lower
        require(lower >= 1, "upper", f"less than the code's {space.latent_dim} numbers", upper)
        if len(space.code_shape) > 1:
            raise ConfigError(
                f"Two levels need codes without places, and these have the shape {space.code_shape}: leave out "
                f"--spatial, or take --upper 0, which is `vae`."
            )
        require(all(width >= 1 for width in widths), "upper_widths", "numbers of at least 1", widths)
        self.lower, self.upper, self.held = lower, upper, held
        self.upwards = self._layers((lower, *widths, 2 * upper))
        self.downwards = self._layers((upper, *widths[::-1], 2 * lower))

    def up(self, z1: Tensor) -> DiagonalGaussian:
        """q(z2 | z1)."""
        return self.held(DiagonalGaussian.from_features(self.upwards(z1)))

    def down(self, z2: Tensor) -> DiagonalGaussian:
        """p(z1 | z2)."""
        return self.held(DiagonalGaussian.from_features(self.downwards(z2)))

    def completed(self, z2: Tensor) -> Tensor:
        """Whole codes, (B, d1 + d2), of z2 alone: z1 is the mean of p(z1 | z2)."""
        return torch.cat([self.down(z2).mean, z2], 1)

    def remarks(self, lower: float, upper: float) -> list[Remark]:
        """Whether the upper level is of use, from the KL of each in nats."""
        text = f"KL of z1 {lower:.2f} nats, of z2 {upper:.2f}."
        if upper >= IDLE:
            return [Remark("good", "Both levels are in use", text)]
        cure = "Take a longer `--warmup`, or `--ladder`, or one level: `--upper 0`."
        return [Remark("note", "The upper level is idle", f"{text} {cure}")]

    def _layers(self, sizes: tuple[int, ...]) -> nn.Sequential:
        pairs = [(nn.Linear(inner, outer), nn.Tanh()) for inner, outer in itertools.pairwise(sizes)]
        return nn.Sequential(*[layer for pair in pairs for layer in pair][:-1])


def product(one: DiagonalGaussian, other: DiagonalGaussian) -> DiagonalGaussian:
    """The product of two Gaussian densities, which is one: their means weighted by their precisions.

    >>> level = DiagonalGaussian(torch.zeros(1, 1), torch.zeros(1, 1))
    >>> both = product(level, DiagonalGaussian(torch.ones(1, 1), torch.zeros(1, 1)))
    >>> both.mean, both.log_variance.exp()
    (tensor([[0.5000]]), tensor([[0.5000]]))
    """
    log_precision = torch.logaddexp(-one.log_variance, -other.log_variance)
    share = torch.exp(-one.log_variance - log_precision)
    return DiagonalGaussian(other.mean + share * (one.mean - other.mean), -log_precision)


class Drawn(NamedTuple):
    """Codes of both levels, with the distributions that they were drawn from.

    Attributes:
        z1: (B, d1).
        z2: (B, d2).
        lower: of z1, given what was drawn before it.
        upper: of z2, likewise.
        below: p(z1 | z2).
    """

    z1: Tensor
    z2: Tensor
    lower: DiagonalGaussian
    upper: DiagonalGaussian
    below: DiagonalGaussian

    @property
    def code(self) -> Tensor:
        """(B, d1 + d2)."""
        return torch.cat([self.z1, self.z2], 1)

    def kl(self, ladder: bool) -> tuple[Tensor, Tensor]:
        """KL of z1 from p(z1 | z2), and of z2 from N(0, I): (B,) each.

        In closed form given the level that is drawn first; without a ladder that of z1 is estimated at the codes.
        """
        if ladder:
            of_lower = summed(cast(Tensor, GaussianOfEach("", self.below.mean, self.below.log_variance).kl(self.lower)))
        else:
            of_lower = self.lower.log_prob(self.z1) - self.below.log_prob(self.z1)
        return of_lower, summed(cast(Tensor, StandardNormal(self.z2.shape[1]).kl(self.upper)))


class TwoLevels(Posterior):
    """q(z1, z2 | x), of codes (z1, z2) side by side.

    Bottom-up it is q(z1 | x) q(z2 | z1). A ladder goes down again: q(z2 | x) q(z1 | x, z2), the latter the product of
    what the example says of z1 and what z2 says of it (Sonderby et al. 2016).

    Args:
        lower: of B examples: q(z1 | x), or in a ladder what they say of z1.
        levels: the maps between the two.
        ladder: whether it is one.
    """

    kind = "levels"
    width = 2
    density = True

    def __init__(self, lower: DiagonalGaussian, levels: Levels, ladder: bool) -> None:
        self.lower, self.levels, self.ladder = lower, levels, ladder

    @classmethod
    def from_features(cls, features: Tensor) -> Self:
        raise NotImplementedError("the posterior of two levels is given its maps by a variant")

    @classmethod
    def linear_start(cls, variances: Tensor, noise: float) -> LinearStart:
        return DiagonalGaussian.linear_start(variances, noise)

    def at(self, z1: Tensor, z2: Tensor | None = None) -> tuple[DiagonalGaussian, DiagonalGaussian]:
        """The distributions of both levels for the code (z1, z2); a ladder has no use for z1."""
        if not self.ladder:
            return self.lower, self.levels.up(z1)
        upper = self.levels.up(self.lower.mean)
        return product(self.lower, self.levels.down(upper.mean if z2 is None else z2)), upper

    @cached_property
    def mean(self) -> Tensor:  # type: ignore[override]
        """(B, d): of the level that is drawn first, and of the other given it."""
        return torch.cat([level.mean for level in self.at(self.lower.mean)], 1)

    @property
    def deviation(self) -> Tensor:
        return torch.exp(0.5 * torch.cat([level.log_variance for level in self.at(self.lower.mean)], 1))

    def drawn(self, noise: Tensor) -> Drawn:
        """Codes of given standard normal noise, (d,) or (B, d), and the distributions that they were drawn from."""
        first, second = self.parts(noise)
        if self.ladder:
            upper = self.levels.up(self.lower.mean)
            z2 = upper.shifted(second)
            below = self.levels.down(z2)
            lower = product(self.lower, below)
            return Drawn(lower.shifted(first), z2, lower, upper, below)
        z1 = self.lower.shifted(first)
        upper = self.levels.up(z1)
        z2 = upper.shifted(second)
        return Drawn(z1, z2, self.lower, upper, self.levels.down(z2))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.shifted(self.noise(generator))

    def shifted(self, noise: Tensor) -> Tensor:
        return self.drawn(noise).code

    def placed(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        drawn = self.drawn(noise)
        return drawn.code, drawn.lower.log_prob(drawn.z1) + drawn.upper.log_prob(drawn.z2)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        mean = self.lower.mean
        shape = (len(mean), self.levels.lower + self.levels.upper)
        return torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        z1, z2 = self.parts(z)
        lower, upper = self.at(z1, z2)
        return lower.log_prob(z1) + upper.log_prob(z2)

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The levels of codes, (..., d1) and (..., d2)."""
        return z[..., : self.levels.lower], z[..., self.levels.lower :]


class TwoLevelPrior(CodePrior):
    """p(z2) p(z1 | z2), with N(0, I) above.

    Args:
        levels: the maps between the two.
    """

    name = "p(z1 | z2) p(z2), learned below N(0, I)"

    def __init__(self, levels: Levels) -> None:
        self.levels, self.above = levels, StandardNormal(levels.upper)

    def log_prob(self, z: Tensor) -> Tensor:
        rows = z.reshape(-1, z.shape[-1])
        z1, z2 = rows[:, : self.levels.lower], rows[:, self.levels.lower :]
        return (self.levels.down(z2).log_prob(z1) + self.above.log_prob(z2)).view(z.shape[:-1])

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        weight = next(self.levels.parameters())
        z2 = self.above.draw(n, generator)
        below = self.levels.down(z2.to(weight.device))
        below = DiagonalGaussian(below.mean.to(z2.device), below.log_variance.to(z2.device))
        return torch.cat([below.sample(generator), z2], 1)
