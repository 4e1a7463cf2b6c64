"""The progress bar of training: steps, the time left, the running terms of the loss."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from diabolo.training import Callback, Training

__all__ = ["ProgressBar"]


class ProgressBar(Callback):
    """A bar over all steps with the running loss, and a line for each epoch, or for some 20 of many epochs.

    Args:
        console: where it is drawn; stderr when left out.

    >>> import io
    >>> from rich.console import Console
    >>> bar = ProgressBar(Console(file=io.StringIO()))  # diabolo.train(..., callbacks=[bar])
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._drawn_at = 0.0

    def start(self, training: Training) -> None:
        total = training.settings.epochs * training.steps_per_epoch
        columns = (
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[terms]}"),
        )
        self.bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=8)
        self.task = self.bar.add_task(
            "train",
            total=total,
            completed=training.steps,
            epoch=training.epochs + 1,
            epochs=training.settings.epochs,
            terms="",
        )
        self.bar.start()

    def step(self, training: Training, loss: float) -> None:
        now = time.monotonic()
        if now - self._drawn_at < 0.1:  # the averages below cost more than a small model's step
            return
        self._drawn_at = now
        averages = training.meter.averages(training.weights, training.model.preprocess.values)
        names = [name for name in averages if name not in ("loss", "bits_per_dim")]
        terms = "  ".join(f"{name} {averages[name]:.2f}" for name in names)
        self.bar.update(self.task, completed=training.steps, epoch=training.epochs + 1, terms=f"{terms} nats")

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        self.bar.update(self.task, completed=training.steps)
        every = max(1, training.settings.epochs // 20)
        if line["epoch"] % every == 0 or line["epoch"] in (1, training.settings.epochs):
            self.console.print(describe(line), highlight=False, soft_wrap=True)

    def note(self, training: Training, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def end(self, training: Training) -> None:
        self.bar.stop()


def _sum(terms: dict[str, float], line: dict[str, Any]) -> str:
    """The sum that a loss is, where reconstruction and KL are all of it."""
    if "kl" not in terms:
        return ""
    beta = line.get("beta", 1.0)
    is_all = math.isclose(terms["loss"], terms["reconstruction"] + beta * terms["kl"], rel_tol=1e-3)
    return f" = {terms['reconstruction']:.2f} + {beta:g} x {terms['kl']:.2f}" if is_all else ""


def describe(line: dict[str, Any]) -> str:
    """One line of text about an epoch.

    Args:
        line: of the history.
    """
    text = f"epoch {line['epoch']:>3}  train {line['train']['loss']:.3f}"
    for name in ("validation", "test"):
        if name in line:
            terms = line[name]
            text += f"  {name} {terms['loss']:.3f}{_sum(terms, line)} nats  mse {terms['mse']:.5f}"
    return f"{text}  {line['seconds']:.1f} s"
