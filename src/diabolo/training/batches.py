"""The training split in batches, in an order that the seed and the number of the epoch set."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from diabolo.datasets import Shuffled, as_store
from diabolo.models.objectives import Batch
from diabolo.training.settings import Settings

__all__ = ["Batches"]


class Batches:
    """The training split in a new order for every epoch, set by the seed and the epoch's number alone.

    What lies in memory is mixed as a whole; what is read from the disk is mixed in windows, see `datasets.Shuffled`.
    Several ranks, processes that train together, see the batches that one would see, each its even share of every
    batch: shares differ by one example at most, and that of a last batch of fewer examples than ranks may be empty. A
    batch size above the number of examples makes one batch of all, with `drop_last` too.

    Args:
        x: (N, *event), an array, a memory map or a `Store`.
        indices: (n,) int64, sorted: the training split.
        settings: the batch size, of all ranks together, whether a smaller last batch is left out, and the seed.
        device: where the batches are wanted.
        rank: which share of each batch is read here.
        ranks: how many such shares there are.
        y: (N,) int64, the class of each example, where batches shall hold them.
        places: whether batches shall hold the examples' places in the data set.
    """

    def __init__(
        self,
        x: np.ndarray,
        indices: np.ndarray,
        settings: Settings,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
        y: np.ndarray | None = None,
        places: bool = False,
    ) -> None:
        self.indices = torch.from_numpy(indices)
        self.size = settings.batch_size
        self.seed = settings.seed
        whole = len(indices) // self.size
        self.count = max(1, whole) if settings.drop_last else math.ceil(len(indices) / self.size)
        self.device = device
        self.rank, self.ranks = rank, ranks
        self.x = x
        self.y = None if y is None else torch.from_numpy(y).to(device)
        self.places = places
        store = as_store(x)
        self.tensor: Tensor | None = None
        self.shuffled: Shuffled | None = None
        if store is not None:
            self.shuffled = Shuffled(
                store, indices, batch_size=self.size, count=self.count, seed=settings.seed, rank=rank, ranks=ranks
            )
        # A memory map is read batch by batch; an array in memory is lent to torch; a GPU takes it whole.
        elif not isinstance(x, np.memmap) and x.flags.writeable and min(x.strides) >= 0:
            self.tensor = torch.from_numpy(x).to(device)

    def epoch(self, epoch: int, skip: int) -> Generator[Batch, None, None]:
        """The batches of an epoch, of x (B, *event), without the first `skip`: this rank's share of each.

        Raises:
            DataError: a file that is read while it trains is missing, damaged or other than it was.
        """
        if self.shuffled is not None:
            return self._read(self.shuffled, epoch, skip)
        return self._drawn(epoch, skip)

    def _read(self, shuffled: Shuffled, epoch: int, skip: int) -> Generator[Batch, None, None]:
        for batch, indices in shuffled.batches_with_indices(epoch, skip):
            yield self._batch(torch.from_numpy(batch).to(self.device), torch.from_numpy(indices))

    def _batch(self, x: Tensor, indices: Tensor) -> Batch:
        y = None if self.y is None else self.y[indices.to(self.device)]
        return Batch(x, y, indices.to(self.device) if self.places else None)

    def _drawn(self, epoch: int, skip: int) -> Generator[Batch, None, None]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = self.indices[torch.randperm(len(self.indices), generator=generator)]
        if self.tensor is not None:
            order = order.to(self.device)
        for number in range(skip, self.count):
            batch_indices = order[number * self.size : (number + 1) * self.size]
            if self.ranks > 1:
                batch_indices = batch_indices[
                    len(batch_indices) * self.rank // self.ranks : len(batch_indices) * (self.rank + 1) // self.ranks
                ]
            if self.tensor is not None:
                yield self._batch(self.tensor.index_select(0, batch_indices), batch_indices)
            else:
                x = torch.from_numpy(self.x[batch_indices.numpy()]).to(self.device)
                yield self._batch(x, batch_indices)
