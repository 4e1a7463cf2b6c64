"""The training split in batches, in an order that the seed and the number of the epoch set."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from diabolo.settings import Settings

__all__ = ["Batches"]


class Batches:
    """The training split in a new order for every epoch, set by the seed and the epoch's number alone."""

    def __init__(self, x: np.ndarray, indices: np.ndarray, settings: Settings, device: torch.device) -> None:
        self.indices = torch.from_numpy(indices)
        self.size = settings.batch_size
        self.seed = settings.seed
        self.count = math.ceil(len(indices) / self.size)
        self.device = device
        self.x = x
        # A memory map is read batch by batch; an array in memory is lent to torch; a GPU takes it whole.
        lendable = not isinstance(x, np.memmap) and x.flags.writeable and min(x.strides) >= 0
        self.lent = torch.from_numpy(x).to(device) if lendable else None

    def epoch(self, epoch: int, skip: int) -> Iterator[Tensor]:
        """The batches of an epoch, (B, *event), without the first `skip`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = self.indices[torch.randperm(len(self.indices), generator=generator)]
        if self.lent is not None:
            order = order.to(self.device)
        for number in range(skip, self.count):
            chosen = order[number * self.size : (number + 1) * self.size]
            if self.lent is not None:
                yield self.lent[chosen]
            else:
                yield torch.from_numpy(self.x[chosen.numpy()]).to(self.device)
