"""How to train: every setting of the loop, checked."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from diabolo.config import check_choices, require
from diabolo.devices import Precision
from diabolo.models.engine import Engine

__all__ = ["Optimizer", "Schedule", "Settings"]

EPOCHS, FEWEST_STEPS, MOST_STEPS = 20, 1_500, 6_000  # of a training whose epochs are left to the data

Optimizer = Literal["adam", "adamw", "adamax", "rmsprop", "sgd"]
Schedule = Literal["auto", "constant", "cosine", "linear", "milestones", "plateau"]

MOST_THREADS = 1024  # of which the system can start as many


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train.

    Args:
        epochs: passes over the training split; 0 leaves them to its size: 20, but at least 1,500 steps in all and,
            where that leaves 3 epochs, no more than 6,000. Then training also ends when the validation loss has not
            fallen for a third of them.
        batch_size: examples in a step.
        drop_last: leave out an epoch's last batch where it would be smaller than the others. Which examples that
            concerns changes with every epoch. A training split smaller than one batch is one batch all the same.
        optimizer: adam, adamw, adamax, rmsprop or sgd.
        lr: the largest learning rate of the run.
        schedule: the learning rate after its largest value: constant; down to zero along a cosine or a line; times
            lr_decay at each of the milestones, or on a plateau, where the validation loss has not fallen for
            lr_patience epochs; auto is cosine.
        milestones: the epochs after which schedule=milestones multiplies the rate by lr_decay, rising; numbers below 1
            are fractions of all epochs.
        lr_decay: the factor of the rate at a milestone or on a plateau.
        lr_patience: epochs without a better validation loss, since the best one or the last decay, after which
            schedule=plateau multiplies the rate by lr_decay.
        lr_warmup: epochs over which the learning rate first rises from zero; -1 is a twentieth of all, at most one.
        momentum: beta1 of Adam, AdamW and Adamax, momentum of RMSprop and SGD; torch's default when left out.
        beta2: beta2 of Adam, AdamW and Adamax, alpha of RMSprop; torch's default when left out.
        eps: what Adam, AdamW, Adamax and RMSprop add to the root that they divide by; torch's 1e-8 when left out.
        weight_decay: the optimizer's weight decay.
        clip: largest norm of the gradient; none when left out.
        ema: decay of an average of the weights that is then used in their place; 0 for none. It does what a falling
            rate does, at any time, so that training may end when the validation loss rises.
        augment: mirror, shift, or mirror,shift: pictures are mirrored left to right by chance, and shifted by up to a
            sixteenth of a side, anew each time; none leaves them; auto takes what leaves pictures that are as likely as
            before, by the principal components of the others. For one process.
        precision: float32, bf16 (products in bf16, sums in float32), or auto: bf16 where training takes more
            than a second, a few steps are faster in it, and it rounds off little beside the noise of the batches.
        engine: computes the layers: torch, as they are; fused, by diabolo's own kernels, which give the same but for
            rounding; or auto, the one that is faster here: measured where training takes more than a second, and
            otherwise what was measured once on this machine. The environment's DIABOLO_ENGINE stands for auto.
        compile: whether steps are compiled: on, off or auto. With auto, compiling is tried where all layers are affine,
            there is a compiler of C++, and the steps that are left are expected to save more time than it costs; the
            compiled step is kept if it is faster. For one process; on a GPU `on` captures steps in a CUDA graph, and
            auto does not. What an objective of your own does in Python happens once, while its operations are recorded.
        device: cpu, cuda, ...; auto takes a GPU where there is one.
        threads: the number of threads that compute. Default: the number of idle processors, checked twice a second.
            The number does not change the results of affine layers, and of convolutions only rounding.
        accumulate: parts in which a batch is computed one after the other, to save memory; the step stays the same.
        sharding: among several processes: none gives each the whole model, full its share of the weights.
        seed: the seed of the split, the initial weights, the order of examples and the noise.
        validation: the fraction of examples held out to watch the training and to choose the epoch to keep.
        test: the fraction held out for the end, where the data set has no test part of its own.
        patience: epochs without a better validation loss after which training stops; never when left out.
        keep: which epoch's weights are kept: the one of the best validation loss, or the last.
        log_every: the history gets a line after every so many steps, besides one per epoch; 0 for none.
        checkpoint_seconds: a killed process loses at most about this much work; 0 saves after every epoch.

    >>> Settings(epochs=3, lr=1e-2).epochs
    3
    >>> Settings(lr=-1)
    Traceback (most recent call last):
    diabolo.errors.ConfigError: lr should be a number above 0, and was given -1.
    """

    epochs: int = 0
    batch_size: int = 64
    drop_last: bool = False
    optimizer: Optimizer = "adam"
    lr: float = 5e-4
    schedule: Schedule = "auto"
    milestones: tuple[float, ...] = ()
    lr_decay: float = 0.1
    lr_patience: int = 5
    lr_warmup: float = -1.0
    momentum: float | None = None
    beta2: float | None = None
    eps: float | None = None
    weight_decay: float = 0.0
    clip: float | None = None
    ema: float = 0.995
    augment: str = "auto"
    precision: Precision = "auto"
    engine: Engine = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    device: str = "auto"
    threads: int | None = None
    accumulate: int = 1
    sharding: Literal["none", "full"] = "none"
    seed: int = 0
    validation: float = 0.1
    test: float = 0.1
    patience: int | None = None
    keep: Literal["best", "last"] = "best"
    log_every: int = 0
    checkpoint_seconds: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # a list, where it comes from JSON
        check_choices(self)
        require(self.epochs >= 0, "epochs", "a number of at least 1, or 0 for as many as fit the data", self.epochs)
        require(self.batch_size >= 1, "batch_size", "a number of at least 1", self.batch_size)
        require(
            self.lr_warmup >= 0 or self.lr_warmup == -1,
            "lr_warmup",
            "a number of epochs of at least 0, or -1 for a twentieth of all",
            self.lr_warmup,
        )
        require(
            1 <= self.accumulate <= self.batch_size,
            "accumulate",
            f"a number of parts from 1 to batch_size, {self.batch_size}",
            self.accumulate,
        )
        require(
            self.threads is None or 1 <= self.threads <= MOST_THREADS, "threads", f"1 to {MOST_THREADS}", self.threads
        )
        require(self.lr > 0, "lr", "a number above 0", self.lr)
        require(0 <= self.ema < 1, "ema", "at least 0 and below 1", self.ema)
        require(self.clip is None or self.clip > 0, "clip", "a number above 0", self.clip)
        require(
            self.patience is None or self.patience >= 1, "patience", "a number of epochs of at least 1", self.patience
        )
        require(
            self.patience is None or self.validation > 0,
            "patience",
            "left out where validation is 0: it goes by the loss of examples that are held out",
            self.patience,
        )
        self._check_schedule()
        require(self.eps is None or 0 < self.eps < math.inf, "eps", "a number above 0", self.eps)
        require(
            self.eps is None or self.optimizer != "sgd", "eps", "left out with sgd, which divides by no root", self.eps
        )
        for name in ("weight_decay", "log_every", "checkpoint_seconds"):
            require(getattr(self, name) >= 0, name, "a number of at least 0", getattr(self, name))
        for name in ("momentum", "beta2"):
            value = getattr(self, name)
            require(value is None or 0 <= value < 1, name, "at least 0 and below 1", value)
        require(0 <= self.seed < 2**32, "seed", "a whole number from 0 to 2**32 - 1", self.seed)
        for name in ("validation", "test"):
            require(0 <= getattr(self, name) < 1, name, "a fraction of at least 0 and below 1", getattr(self, name))

    def _check_schedule(self) -> None:
        """Checks what belongs to the schedules by milestones and on a plateau."""
        stones = self.milestones
        rising = all(one < next_ < math.inf for one, next_ in itertools.pairwise((0, *stones)))
        of_one_kind = not stones or stones[-1] < 1 or stones[0] >= 1
        require(rising and of_one_kind, "milestones", "epochs of at least 1, or fractions below 1, that rise", stones)
        require(
            bool(stones) == (self.schedule == "milestones"),
            "milestones",
            "given with schedule='milestones', and with no other",
            stones,
        )
        require(0 < self.lr_decay <= 1, "lr_decay", "above 0 and at most 1", self.lr_decay)
        require(self.lr_patience >= 1, "lr_patience", "a number of epochs of at least 1", self.lr_patience)
        require(
            self.schedule != "plateau" or self.validation > 0,
            "schedule",
            "another than 'plateau' where validation is 0: it goes by the loss of examples that are held out",
            self.schedule,
        )

    def for_examples(self, count: int) -> Settings:
        """The settings with a number in the place of each that was left to the size of the training split.

        Args:
            count: its examples.

        >>> settings = Settings().for_examples(4000)
        >>> settings.epochs, settings.schedule, settings.patience
        (24, 'cosine', 8)
        """
        changes: dict[str, Any] = {}
        steps = math.ceil(count / self.batch_size)
        epochs = self.epochs
        if not epochs:
            epochs = max(math.ceil(FEWEST_STEPS / steps), min(EPOCHS, max(3, math.ceil(MOST_STEPS / steps))))
            changes["epochs"] = epochs
            if self.patience is None and self.validation > 0:
                changes["patience"] = max(5, math.ceil(epochs / 3))
        if self.schedule == "auto":
            changes["schedule"] = "cosine"
        if self.lr_warmup < 0:
            changes["lr_warmup"] = min(1.0, epochs / 20)
        return replace(self, **changes)

    def config(self) -> dict[str, Any]:
        """As a JSON object."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
