"""The weights that are worth keeping: their running average, those of the best epoch, those that stay in the end."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from diabolo.models.model import Model
from diabolo.storage import checkpoint
from diabolo.training.replica import Replica
from diabolo.training.settings import Settings

__all__ = ["WeightKeeper"]


class WeightKeeper:
    """What becomes of a replica's weights.

    Args:
        model: the whole model, which holds them in the end.
        replica: the model as it is trained.
        settings: how to train.
        chooses: whether there are examples by which to choose the best epoch.

    Attributes:
        average: the running average of each parameter, and of the buffers that the variant has averaged, where `ema`
            asks for it.
    """

    def __init__(self, model: Model, replica: Replica, settings: Settings, chooses: bool) -> None:
        self.model = model
        self.replica = replica
        self.decay = settings.ema
        self.keeps_best = settings.keep == "best" and chooses
        own = [parameter.detach().clone() for parameter in replica.averaged] if settings.ema else None
        self.average: list[Tensor] | None = own
        self._best: dict[str, Tensor] | None = None
        self._best_is_saved = False

    def follow(self, steps: int) -> None:
        """Takes a step's weights into the average."""
        if self.average is not None:
            decay = min(self.decay, (1 + steps) / (10 + steps))
            own = [parameter.detach() for parameter in self.replica.averaged]
            lerp = getattr(torch, "_foreach_lerp_", None)  # all at once, where torch has it
            if lerp is not None:
                lerp(self.average, own, 1 - decay)
            else:
                for average, value in zip(self.average, own, strict=True):
                    average.lerp_(value, 1 - decay)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts the model holds the averaged weights, where there are any."""
        if self.average is None:
            yield
            return
        own = [parameter.detach().clone() for parameter in self.replica.averaged]
        self.replica.put(self.average)
        try:
            yield
        finally:
            self.replica.put(own)

    def current(self) -> dict[str, Tensor]:
        """The weights in use, averaged where that is asked for; whole and copied."""
        with self.averaged():
            return self.replica.state()

    def ended_epoch(self, is_best: bool) -> None:
        """Remembers the weights of the best epoch, and where the model is sharded, shows its weights to the outside."""
        if is_best and self.keeps_best:
            self._best, self._best_is_saved = self.current(), False
        if self.replica.is_sharded:
            self.model.load_state_dict(self.current())

    def unsaved(self) -> dict[str, Tensor] | None:
        """The weights that are to be kept, as far as is known by now; None where they are on disk already."""
        if not self.keeps_best:
            return self.current()
        return None if self._best_is_saved else self._best

    def saved(self, is_best: bool) -> None:
        """Notes that they are on disk."""
        self._best_is_saved = is_best

    def keep(self, is_best: bool, path: Path | None) -> None:
        """Puts the weights that are to be kept into the model.

        Args:
            is_best: whether there was a best epoch.
            path: where its weights were saved.
        """
        if self.keeps_best and is_best:
            best = self._best
            if best is None and path is not None:
                best = checkpoint.load_tensors(path)[0]
                checkpoint.fit_tensors(self.model, best, path)
            if best is not None:
                self.replica.load(best)
        elif self.average is not None:
            self.replica.put(self.average)
        if self.replica.is_sharded:
            self.model.load_state_dict(self.replica.state())
        for model in (self.model, self.replica.model):
            model.epoch, model.generator = math.inf, None
            model.eval()
