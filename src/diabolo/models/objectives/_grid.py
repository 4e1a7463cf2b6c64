"""A grid of levels, to whose points codes are rounded: each number of a code has levels of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import ConfigError
from diabolo.models.objectives._base import Batch, Net, Objective
from diabolo.models.objectives._tokens import (
    KEPT,
    Outputs,
    Quantised,
    outputs_of,
    positions_of,
    rows_of,
    tokens_checked,
    vectors_of,
)

__all__ = ["Grid", "OnGrid", "laid"]

MOST, MOST_SIGNS = 2**16, 12  # points of a grid; numbers of a vector of signs
SHARP = 10.0  # log-odds of a sign for a number of 1
FOLLOWED = 0.99  # of the running mean and deviation in a step
LEAST, SEEN = 0.5, 2.0  # deviation of codes that have a scale; deviations of the codes that the grid spans
SLACK = 1e-3  # by which the outermost levels are reached before the bound is


class Grid(nn.Module):
    """The levels of each number of a vector, and the tokens of its points: those of the levels in mixed radix.

    A number is bounded and rounded to one of L levels, which are 2 / L apart for an even L and 2 / (L - 1) for an odd
    one, within [-1, 1] (Mentzer et al. 2023, https://arxiv.org/abs/2309.15505, section 3.1 and listing 1); of two
    levels, with `signs`, it is its sign.

    Args:
        levels: L of each number of a vector.
        signs: whether numbers become -1 and 1 (Yu et al. 2023, https://arxiv.org/abs/2310.05737).

    >>> grid = Grid((8, 5), signs=False)
    >>> grid.entries, grid.points(torch.arange(40)).unique(dim=0).shape
    (40, torch.Size([40, 2]))
    """

    span: Tensor
    least: Tensor
    factors: Tensor
    levels: Tensor
    usage: Tensor

    def __init__(self, levels: tuple[int, ...], signs: bool) -> None:
        super().__init__()
        self.signs = signs
        self.entries = math.prod(levels)
        count = torch.tensor(levels)
        self.register_buffer("levels", count, persistent=False)
        self.register_buffer("span", count // 2, persistent=False)  # a level is an integer over this
        self.register_buffer("least", -(count // 2), persistent=False)
        self.register_buffer("usage", torch.zeros(self.entries))  # none before training: a start would count as use
        self.register_buffer("factors", torch.cat([count.new_ones(1), count.cumprod(0)[:-1]]), persistent=False)

    def bounded(self, z: Tensor) -> Tensor:
        """Vectors, (..., dim), with each number where rounding takes it to one of its levels, times `span`."""
        size = (self.levels - 1) * (1 + SLACK) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)  # or an even L would have L + 1 levels
        return torch.tanh(z * self.span / size + torch.atanh(offset / size)) * size - offset

    def rounded(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The bounded vectors and the points they are rounded to, (..., dim) each, in units of the grid."""
        if self.signs:  # bounded, too, or codes would run away from their signs
            return torch.tanh(z), torch.where(z > 0, 1.0, -1.0)
        bounded = self.bounded(z)
        return bounded / self.span, bounded.detach().round() / self.span

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest points to vectors, which are not bounded."""
        if self.signs:
            return self.rounded(z)[1]
        return torch.clamp((z * self.span).round(), self.least, self.least + self.levels - 1) / self.span

    def numbers(self, points: Tensor) -> Tensor:
        """The number, from 0 to `entries` - 1, of each point, (..., dim)."""
        steps = (points > 0).long() if self.signs else (points * self.span).round().long() - self.least
        return (steps * self.factors).sum(-1)

    def points(self, numbers: Tensor) -> Tensor:
        """The points of numbers, (...): (..., dim)."""
        steps = numbers[..., None] // self.factors % self.levels
        return 2.0 * steps - 1 if self.signs else (steps + self.least) / self.span

    def entropies(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How uncertain the signs of vectors are, (B,), and how uneven the use of tokens is in a batch, (B,); in nats.

        Yu et al. 2023, equation 5: E[H(q)] and -H(E[q]), the latter here above that of an even use, ln K; both summed
        over positions.

        Args:
            rows: (B, positions, dim).
        """
        plus, minus = F.logsigmoid(SHARP * rows), F.logsigmoid(-SHARP * rows)
        uncertainty = -(plus.exp() * plus + minus.exp() * minus).sum((1, 2))
        of_points = (self.points(torch.arange(self.entries, device=rows.device)) > 0).to(rows.dtype)  # (K, dim)
        mean = (plus @ of_points.T + minus @ (1 - of_points).T).exp().mean((0, 1))
        imbalance = math.log(self.entries) + torch.xlogy(mean, mean).sum()
        return uncertainty, (rows.shape[1] * imbalance).expand(len(rows))

    def statistics(self, tokens: Tensor) -> dict[str, Tensor]:
        """How often a batch uses each point."""
        counts = torch.zeros(self.entries, device=tokens.device)
        return {"used": counts.index_add(0, tokens.flatten(), counts.new_ones(tokens.numel()))}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Moves the running usage by the statistics of a step."""
        self.usage.lerp_(statistics["used"], 1 - KEPT)


def laid(levels: tuple[int, ...], code_shape: tuple[int, ...], positions: int, *, signs: bool) -> tuple[Grid, int]:
    """The grid of a code, (d,) or (c, h, w), and the number of its vectors.

    Args:
        levels: one for all numbers, or one for each number of a vector.
        code_shape: of the code.
        positions: vectors in a code without places; 0 for as many as the levels say, or else at most 8.
        signs: see `Grid`.

    Raises:
        ConfigError: they do not go together, or the grid has too many points for a token.

    >>> laid((8,), (16,), 0, signs=False)[1], laid((8, 5, 5), (6,), 0, signs=False)[1]
    (8, 2)
    """
    fits = len(levels) >= 1 and all(level >= 2 for level in levels)
    require(fits, "levels", "numbers of at least 2, one for all or one for each number of a vector", levels)
    require(positions >= 0, "positions", "a number of vectors of at least 1, or 0 for the code's size", positions)
    d, *places = code_shape
    if len(levels) > 1 and not places and not positions:
        require(d % len(levels) == 0, "levels", f"a number of levels that divides the code's {d} numbers", levels)
        positions = d // len(levels)
    count = vectors_of(code_shape, positions)
    dim = math.prod(code_shape) // count
    if len(levels) == 1:
        if not places and not positions and levels[0] ** dim > MOST:
            count, dim = d, 1
        levels = levels * dim
    require(len(levels) == dim, "levels", f"one number, or one for each of a vector's {dim}", levels)
    most, what = (2**MOST_SIGNS, "signs") if signs else (MOST, "levels")
    if math.prod(levels) > most:
        raise ConfigError(
            f"A token should be one of at most {most:,}, and a vector of {dim} {what} is one of {math.prod(levels):,}: "
            f"take a smaller code at each place (--latent-dim), more --positions, or fewer --levels."
        )
    return Grid(levels, signs), count


class OnGrid(Objective):
    """Codes that are rounded to a grid, which follows their running mean and deviation where they start at random."""

    posterior_family = Quantised
    overcomplete = True
    averaged = ("centre", "spread")
    unit: Tensor
    centre: Tensor
    spread: Tensor
    follows: Tensor

    def lay(self, levels: tuple[int, ...], positions: int, *, signs: bool) -> None:
        """Makes the grid: see `laid`."""
        self.grid, self.count = laid(levels, self.space.code_shape, positions, signs=signs)
        self.entries, self.reach = self.grid.entries, 1.0 if signs else SEEN
        shape = self.count, self.space.latent_dim // self.count
        for name, start in (("unit", torch.ones), ("centre", torch.zeros), ("spread", torch.ones)):
            self.register_buffer(name, start(shape))
        self.register_buffer("follows", torch.ones(()))

    def initialise(self, batch: Batch, net: Net) -> None:
        rows = rows_of(outputs_of(batch, net), self.count)
        self._follow(self.moments(rows), 1.0)
        if rows.std() > LEAST:  # a scale of their own, such as that of principal components: the grid stays with it
            self.follows.zero_()
            self.centre.zero_()
            self.unit.copy_(self.spread * self.reach)

    def posterior(self, features: Tensor, batch: Batch) -> Outputs:
        rows = rows_of(features.float(), self.count)
        output, points = self.grid.rounded((rows - self.centre) / (self.spread * self.reach))
        index = self.grid.numbers(points)[..., None]
        return Outputs(positions_of(output * self.unit), positions_of(points * self.unit), index, rows)

    def nearest(self, z: Tensor) -> Tensor:
        return positions_of(self.grid.nearest(rows_of(z, self.count) / self.unit) * self.unit)

    def from_tokens(self, tokens: Tensor) -> Tensor:
        return self.vectors(tokens_checked(tokens, self.count, 1, self.entries))

    def vectors(self, tokens: Tensor) -> Tensor:
        return positions_of(self.grid.points(tokens[..., 0]) * self.unit)

    def moments(self, rows: Tensor) -> dict[str, Tensor]:
        """Sums over outputs, (B, positions, dim), by which the grid follows them."""
        sums = torch.stack([torch.ones_like(rows), rows, rows.square()]).detach().sum(1)
        return {"moments": sums.mean(1, keepdim=True).expand_as(sums) if self.space.code_shape[1:] else sums}

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self._follow(statistics, 1 - FOLLOWED)
        self.grid.update(statistics)

    def _follow(self, statistics: Mapping[str, Tensor], pace: float) -> None:
        count, first, second = statistics["moments"]
        mean = first / count
        deviation = (second / count - mean.square()).clamp(min=1e-12).sqrt()
        self.centre.lerp_(mean, pace * self.follows)
        self.spread.lerp_(deviation, pace * self.follows)
