"""Codebooks: the nearest entries to vectors, in one book or in several, and how entries move."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import ConfigError
from diabolo.models.engine import is_transformed
from diabolo.models.objectives._tokens import KEPT, Quantised, positions_of, rows_of, tokens_checked

__all__ = ["Codebooks", "Nearest", "before", "entries_of", "quantised", "require_vectors", "split_entries"]

MOST, EACH = 512, 8  # entries, where they are left to the data, and vectors to each of them
ITERATIONS, STARTS, VECTORS = 20, 3, 2**15  # of the k-means that a codebook starts from
NOISE = 0.1  # of the error, by which an entry that was dead differs from its neighbour


def entries_of(codes: int, vectors: int) -> int:
    """The entries of a codebook for so many training vectors: what is asked for, or a power of two of at most 512.

    >>> entries_of(100, 64), entries_of(0, 64), entries_of(0, 10**6), entries_of(0, 5)
    (100, 8, 512, 2)
    """
    require(codes == 0 or codes >= 2, "codes", "a number of entries of at least 2, or 0 for the data's size", codes)
    return codes or max(2, min(MOST, 1 << max(1, (vectors or MOST * EACH) // EACH).bit_length() - 1))


def require_vectors(vectors: int, entries: int) -> None:
    """Raises a ConfigError for a codebook that is larger than the data."""
    if vectors < entries:
        raise ConfigError(
            f"codes should be at most the {vectors:,} vectors that the training examples give (examples times "
            f"positions), and was given {entries}."
        )


def _distances(rows: Tensor, book: Tensor) -> Tensor:
    """Squared distances of vectors, (N, dim), from entries, (K, dim), less the vectors' own squares: (N, K)."""
    with_ones = torch.cat([-2 * rows, torch.ones_like(rows[:, :1])], 1)
    return with_ones @ torch.cat([book, book.square().sum(1, keepdim=True)], 1).T  # one product, and no pass after it


def _least(distances: Tensor) -> Tensor:
    """The place of the least in each row, (N,) int64; NumPy looks ten times as fast as torch does on a processor."""
    if distances.device.type != "cpu" or distances.dtype != torch.float32 or is_transformed():
        return distances.argmin(1)
    return torch.from_numpy(distances.numpy().argmin(1))


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
        nearest = _least(_distances(rows - total, book))
        total = total + book[nearest]
        index.append(nearest)
        sums.append(total)
    return torch.stack(index, 1), torch.stack(sums)


class Nearest(Quantised):
    """The nearest entries to an encoder's output, with what a loss asks for of them.

    Args:
        output: (B, d).
        books: (levels, K, dim).
        positions: vectors that a code without places is cut into.

    Attributes:
        rows: (N, dim), the outputs' vectors.
        numbers: (N, levels) int64, their entries'.
        sums: (levels, N, dim), of the entries up to each level.
    """

    index: Tensor

    def __init__(self, output: Tensor, books: Tensor, positions: int) -> None:
        self.rows = rows_of(output, positions).flatten(0, 1)
        self.numbers, self.sums = quantised(self.rows, books)
        count = output.shape[0]  # and not its len(), which an export would take for a constant
        entries = self.sums[-1].view(count, positions, -1)
        super().__init__(output, positions_of(entries), self.numbers.view(count, positions, -1))


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
        require(levels >= 1, "levels", "a number of codebooks of at least 1", levels)
        require(0 <= ema < 1, "decay", "at least 0 and below 1", ema)
        require(0 <= restart < 1, "restart", "at least 0 and below 1", restart)
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
        return self.of(tokens_checked(tokens, positions, levels, entries))

    def of(self, tokens: Tensor) -> Tensor:
        """As `lookup`, of tokens that are right."""
        return torch.stack([book[tokens[..., level]] for level, book in enumerate(self.books)]).sum(0)

    def terms(self, code: Nearest) -> dict[str, Tensor]:
        """What brings outputs to their entries, and entries that learn by gradient to theirs: (B,) each."""
        terms = {"commitment": code.rows - code.sums}
        if not self.ema:
            entries = [book[code.numbers[:, level]] for level, book in enumerate(self.books)]
            terms["codebook"] = code.rows.detach() - before(code.sums) - torch.stack(entries)
        return {name: apart.square().sum((0, 2)).view(code.mean.shape[0], -1).sum(1) for name, apart in terms.items()}

    def statistics(self, code: Nearest) -> dict[str, Tensor]:
        """Sums over a batch for each level: the usage of entries, their members, and the members' squared errors."""
        rows, index, sums = code.rows.detach(), code.numbers, code.sums
        levels, entries, _ = self.books.shape
        chosen = torch.zeros(levels, entries, len(rows), dtype=rows.dtype, device=rows.device)
        chosen.scatter_(1, index.T[:, None], 1.0)
        return {
            "used": chosen.sum(2),
            "members": chosen @ (rows - before(sums)),
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
