"""Vectors written with the entries of a codebook: what quantisers share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.distributions import Posterior

__all__ = [
    "Codebooks",
    "Quantised",
    "before",
    "positions_of",
    "quantised",
    "require_vectors",
    "rows_of",
    "split_entries",
    "vectors_of",
]

ITERATIONS, STARTS, VECTORS = 20, 3, 2**15  # of the k-means that a codebook starts from
USUAL = 8  # the most positions of a code without places, where they are left to its size
KEPT = 0.99  # of the running usage, where entries are learned by gradient
NOISE = 0.1  # of the error, by which an entry that was dead differs from its neighbour


class Quantised(Posterior):
    """The entries that stand for an encoder's output: `mean` is their sum, exactly, with the gradient of the output.

    The gradient passes straight through (Bengio et al. 2013, https://arxiv.org/abs/1308.3432).

    Args:
        output: (B, d), the encoder's.
        entries: (B, d), the sum of those that are nearest, without gradient.
        index: (B, positions, levels) int64, which these are.

    >>> code = Quantised(torch.tensor([[0.9]]), torch.tensor([[1.0]]), torch.zeros(1, 1, 1, dtype=torch.int64))
    >>> code.mean, code.kind
    (tensor([[1.]]), 'index')
    """

    kind = "index"
    width = 1

    def __init__(self, output: Tensor, entries: Tensor, index: Tensor) -> None:
        self.output = output
        self.entries = entries
        self.mean = entries + (output - output.detach())
        self.index = index

    @classmethod
    def from_features(cls, features: Tensor) -> Quantised:
        raise NotImplementedError("an index is found by a codebook: see `Objective.posterior`")

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean


def vectors_of(code_shape: tuple[int, ...], positions: int) -> int:
    """How many vectors a code is cut into: one for each place, else as many as are asked for.

    Args:
        code_shape: (d,), or (c, h, w).
        positions: of a code without places; 0 for the most up to 8 that divide d and leave two numbers each.

    Raises:
        ConfigError: they do not divide d, or the code has places.

    >>> vectors_of((16,), 0), vectors_of((10,), 0), vectors_of((3,), 0), vectors_of((4, 8, 8), 0)
    (8, 5, 1, 64)
    """
    d, *places = code_shape
    if places:
        require(not positions, "positions", "left out: the code has a vector at each of its places", positions)
        return math.prod(places)
    count = positions or max(
        number for number in range(1, USUAL + 1) if number == 1 or (d % number == 0 and d // number > 1)
    )
    require(d % count == 0, "positions", f"a divisor of the code's {d} dimensions", count)
    return count


def require_vectors(vectors: int, entries: int) -> None:
    """Raises a ConfigError for a codebook that is larger than the data."""
    if vectors < entries:
        raise ConfigError(
            f"codes should be at most the {vectors:,} vectors that the training examples give (examples times "
            f"positions), and was given {entries}."
        )


def rows_of(z: Tensor, positions: int) -> Tensor:
    """Codes, (B, d), as vectors, (B, positions, dim): those of the places of a map, channels first."""
    return z.view(z.shape[0], -1, positions).transpose(1, 2)


def positions_of(rows: Tensor) -> Tensor:
    """The inverse of `rows_of`: (B, d)."""
    return rows.transpose(1, 2).flatten(1)


def _distances(rows: Tensor, book: Tensor) -> Tensor:
    """Squared distances of vectors, (N, dim), from entries, (K, dim), less the vectors' own squares: (N, K)."""
    return book.square().sum(1) - 2 * rows @ book.T


@torch.no_grad()
def quantised(rows: Tensor, books: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest entries of several codebooks in turn, each of what the ones before leave (residual quantisation).

    Zeghidour et al. 2021, SoundStream, https://arxiv.org/abs/2107.03312, algorithm 1.

    Args:
        rows: (N, dim).
        books: (levels, K, dim).

    Returns:
        The entries' numbers, (N, levels) int64, and the sums of the entries up to each level, (levels, N, dim).

    >>> index, sums = quantised(torch.tensor([[0.9]]), torch.tensor([[[0.0], [1.0]]]))
    >>> index.tolist(), sums.tolist()
    ([[1]], [[[1.0]]])
    """
    index, sums, total = [], [], torch.zeros_like(rows)
    for book in books:
        nearest = _distances(rows - total, book).argmin(1)
        total = total + book[nearest]
        index.append(nearest)
        sums.append(total)
    return torch.stack(index, 1), torch.stack(sums)


def split_entries(book: Tensor, usage: Tensor, least: float, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A codebook whose dead entries have moved beside the most used ones, which give them half of their usage.

    Splitting, as in Linde, Buzo, Gray 1980, https://doi.org/10.1109/TCOM.1980.1094577.

    Args:
        book: (K, dim).
        usage: (K,), how often each entry is used.
        least: the usage below which an entry is dead.
        noise: (K, dim), by which a moved entry differs from its neighbour.

    Returns:
        The codebook and the usage, new tensors.

    >>> book, usage = torch.tensor([[0.0], [5.0]]), torch.tensor([8.0, 0.0])
    >>> split_entries(book, usage, 1.0, torch.full((2, 1), 0.5))
    (tensor([[0.0000],
            [0.5000]]), tensor([4., 4.]))
    """
    order = usage.argsort(stable=True)
    dead = order[: int((usage < least).sum())]
    dead = dead[: len(usage) // 2]  # each gets a neighbour of its own, which is not dead
    near = order.flip(0)[: len(dead)]
    book, usage = book.clone(), usage.clone()
    book[dead] = book[near] + noise[dead]
    usage[near] = usage[near] / 2
    usage[dead] = usage[near]
    return book, usage


class Codebooks(nn.Module):
    """Codebooks in a row, which move to the running average of their members, or are learned by gradient.

    Buffers: `usage`, (levels, K), the running number of vectors in a batch that each entry stands for; `spread`,
    (levels,), their mean squared error per number in the last batch.

    Args:
        levels: of them.
        entries: of each, K.
        dim: numbers of a vector.
        ema: the part of its running average that an entry keeps in a step; 0 for gradients.
        restart: the share of the average usage below which an entry is dead.
    """

    def __init__(self, levels: int, entries: int, dim: int, ema: float, restart: float) -> None:
        super().__init__()
        self.ema, self.restart = ema, restart
        books = torch.randn(levels, entries, dim)
        self.books: Tensor
        if ema:
            self.register_buffer("books", books)
        else:
            self.books = nn.Parameter(books)
        self.usage: Tensor
        self.spread: Tensor
        self.register_buffer("usage", torch.ones(levels, entries))
        self.register_buffer("spread", torch.zeros(levels))

    def start(self, rows: Tensor, generator: torch.Generator | None) -> None:
        """Sets the entries to the k-means of vectors, (N, dim), level by level.

        Raises:
            ConfigError: there are fewer vectors than entries.
        """
        from sklearn.cluster import KMeans

        levels, entries, _ = self.books.shape
        require_vectors(len(rows), entries)
        order = torch.randperm(len(rows), generator=generator)[: max(entries, VECTORS)]
        rows = rows[order.to(rows.device)]
        seed = int(torch.randint(2**31, (), generator=generator))
        for level in range(levels):
            means = KMeans(entries, n_init=STARTS, max_iter=ITERATIONS, random_state=seed).fit(rows.cpu().numpy())
            self.books[level] = torch.from_numpy(means.cluster_centers_)
            index, sums = quantised(rows, self.books[level : level + 1])
            rows = rows - sums[0]
            self.usage[level] = torch.bincount(index[:, 0], minlength=entries)
            self.spread[level] = rows.square().mean()

    def lookup(self, tokens: Tensor, positions: int) -> Tensor:
        """The vectors, (B, positions, dim), of tokens, (B, positions, levels).

        Raises:
            ShapeError, DataError: tokens of other levels, or of other numbers than those of entries.
        """
        levels, entries, _ = self.books.shape
        if tokens.dim() != 3 or tuple(tokens.shape[1:]) != (positions, levels):
            raise ShapeError(
                f"Tokens of this model have the shape (n, {positions}, {levels}), positions and levels, and were given "
                f"as {tuple(tokens.shape)}."
            )
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < entries:
            raise DataError(
                f"Tokens of this model are numbers from 0 to {entries - 1}, and numbers from {int(tokens.min())} to "
                f"{int(tokens.max())} were given."
            )
        return self.of(tokens)

    def of(self, tokens: Tensor) -> Tensor:
        """As `lookup`, of tokens that are right."""
        return torch.stack([book[tokens[..., level]] for level, book in enumerate(self.books)]).sum(0)

    def statistics(self, rows: Tensor, index: Tensor, sums: Tensor) -> dict[str, Tensor]:
        """Sums over a batch for each level: the usage of entries, their members, and the members' squared errors.

        Args:
            rows: (N, dim), without gradient.
            index: of `quantised`.
            sums: likewise.
        """
        levels, entries, _ = self.books.shape
        chosen = torch.zeros(levels, len(rows), entries, dtype=rows.dtype, device=rows.device)
        chosen = chosen.scatter(2, index.T[..., None], 1.0)
        return {
            "used": chosen.sum(1),
            "members": chosen.transpose(1, 2) @ (rows - before(sums)),
            "errors": (rows - sums).square().mean(2).sum(1),
        }

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Moves entries to the running average of their members, and dead ones beside those that are used most."""
        used, members = statistics["used"], statistics["members"]
        keep = self.ema or KEPT
        total = keep * self.usage + (1 - keep) * used
        if self.ema:
            moved = keep * self.usage[..., None] * self.books + (1 - keep) * members
            moved = moved / total[..., None].clamp(min=1e-12)
            self.books.copy_(torch.where((used > 0)[..., None], moved, self.books))
        self.usage.copy_(total)
        self.spread.copy_(statistics["errors"] / used.sum(1))
        for level, usage in enumerate(self.usage):
            least = self.restart * float(usage.mean())
            if bool((usage < least).any()):
                noise = torch.randn(self.books[level].shape, generator=generator, device=usage.device)
                noise = NOISE * self.spread[level].sqrt() * noise
                book, counts = split_entries(self.books[level], usage, least, noise)
                self.books[level].copy_(book)
                self.usage[level].copy_(counts)


def before(sums: Tensor) -> Tensor:
    """What each level found: the sums of the entries before it, (levels, N, dim)."""
    return torch.cat([torch.zeros_like(sums[:1]), sums[:-1]])
