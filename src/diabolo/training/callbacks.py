"""What may look on while a model trains, and how it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from diabolo.config import require
from diabolo.training.state import Training

__all__ = ["Callback", "Interrupted", "Stop", "check_callbacks"]


class Callback:
    """What may look on while a model trains; every method does nothing until it is overridden.

    Among several processes it looks on in the first one. Where the model is sharded over them, `training.model` has the
    weights of the last epoch's end.

    >>> import numpy as np
    >>> import diabolo
    >>> class Losses(Callback):
    ...     def epoch(self, training, line):
    ...         print(line["epoch"], sorted(line["train"]))
    >>> model = diabolo.train(np.eye(30), latent_dim=2, widths=(8,), epochs=1, callbacks=[Losses()])
    1 ['bits_per_dim', 'loss', 'reconstruction']
    """

    def start(self, training: Training) -> None:
        """Before the first step."""

    def step(self, training: Training, loss: float) -> None:
        """After each step; `loss` is that of its batch."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        """After each epoch, with its line of the history."""

    def note(self, training: Training, text: str) -> None:
        """Where something was decided on the way, in one line."""

    def end(self, training: Training) -> None:
        """When training is over, in whatever way."""


def check_callbacks(callbacks: Any) -> Sequence[Callback]:
    """The callbacks as they are; ConfigError where they are anything but a sequence of callbacks."""
    is_valid = isinstance(callbacks, Sequence) and all(isinstance(one, Callback) for one in callbacks)
    require(is_valid, "callbacks", "a sequence of objects of diabolo.training.Callback", callbacks)
    checked: Sequence[Callback] = callbacks
    return checked


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C, SIGTERM). What was done so far is saved where the run has a folder."""


class Stop:
    """Whether somebody asked this process to stop."""

    def __init__(self) -> None:
        self.is_requested = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask to stop after the step that is under way, a second one at once; while it lasts."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(*_: object) -> None:
            if self.is_requested:
                raise KeyboardInterrupt
            self.is_requested = True

        before: dict[int, Callable[..., Any] | int | None] = {
            number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
