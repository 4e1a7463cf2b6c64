"""Findings on the training, in words with the numbers behind them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diabolo.diagnostics._facts import NOT_TERMS
from diabolo.diagnostics._finding import Finding
from diabolo.diagnostics._number_format import number, plural

__all__ = ["diagnose_training"]

GAP = 0.15  # of the fall of the training loss, by which the validation loss may lie above it
GAIN = 0.05  # of the fall in all; a fall in the last quarter above it means that training has not settled
LOSS = 0.02  # of the fall in all, which the loss may rise again after the best epoch


def diagnose_training(
    lines: Sequence[Mapping[str, Any]],
    weights_epoch: int,
    keep: str = "best",
    weights: Mapping[str, float] | None = None,
    run: str = "RUN",
) -> list[Finding]:
    """The findings on the training: overfitting, past its best epoch, still improving, or settled.

    Args:
        lines: the epochs of the history.
        weights_epoch: the epoch whose weights the model has.
        keep: the rule for that: best or last.
        weights: the final weights of the loss's terms, so that the epochs of a warm-up are compared by one measure.
        run: the run's folder, for the command that resumes it.

    >>> losses = [100.0, 60.0, 50.0, 49.9, 49.8, 49.8]
    >>> lines = [
    ...     {"epoch": i + 1, "train": {"reconstruction": loss}, "weights": {}} for i, loss in enumerate(losses)
    ... ]
    >>> [finding.title for finding in diagnose_training(lines, weights_epoch=6)]
    ['Training has settled']
    """
    if len(lines) < 2:
        many = plural(len(lines), "epoch")
        return [Finding("note", "Too short to judge", f"It was trained for {many}: too few to see where it goes.")]
    part = next((name for name in ("validation", "test") if name in lines[-1]), "train")
    losses = [_loss(line[part], weights or line["weights"]) for line in lines]
    trains = [_loss(line["train"], weights or line["weights"]) for line in lines]
    epochs = [int(line["epoch"]) for line in lines]
    name = "training" if part == "train" else part
    row = epochs.index(weights_epoch) if weights_epoch in epochs else len(epochs) - 1
    findings = [
        *_overfitting(losses[row], trains[row], trains[0], epochs[row], name),
        *(_best_past(losses, epochs, weights_epoch, keep, name) or _improving(losses, epochs, name, run)),
    ]
    if findings:
        return findings
    quarter = max(1, len(losses) // 4)
    other = f", and the training loss {number(trains[-1])}" if part != "train" else "; nothing was held out"
    return [
        Finding(
            "good",
            "Training has settled",
            f"{_lately(quarter, len(losses))} the {name} loss changed by "
            f"{number(abs(losses[-1 - quarter] - losses[-1]))} nats. It is {number(losses[-1])}{other}.",
        )
    ]


def _overfitting(loss: float, train: float, first: float, epoch: int, name: str) -> Iterator[Finding]:
    gap = loss - train
    if gap > GAP * (first - train) and gap > 0.02 * abs(train):
        yield Finding(
            "note",
            "It fits its training examples better than others: overfitting",
            f"At epoch {epoch} the {name} loss is {number(loss)} and the training loss {number(train)}: {number(gap)} "
            f"nats ({gap / abs(train):.0%}) higher. More data, a smaller network, a smaller `--latent-dim`, "
            "`--weight-decay` or fewer `--epochs` narrow the gap.",
        )


def _best_past(
    losses: Sequence[float], epochs: Sequence[int], weights_epoch: int, keep: str, name: str
) -> list[Finding]:
    best = int(np.argmin(losses))
    lost = losses[-1] - losses[best]
    if best + 1 > 0.8 * len(losses) or lost <= LOSS * (losses[0] - losses[best]):
        return []
    cure = (
        f"The weights of epoch {weights_epoch} are kept; `--patience {max(3, len(losses) // 10)}` would have stopped "
        "sooner."
        if keep == "best" and name == "validation"
        else "The last weights are kept; `--keep best` with a `--validation` part keeps the best ones."
    )
    return [
        Finding(
            "note",
            f"The best epoch was {epochs[best]} of {epochs[-1]}",
            f"The {name} loss was {number(losses[best])} then and is {number(losses[-1])} at the end, {number(lost)} "
            f"nats higher. {cure}",
        )
    ]


def _improving(losses: Sequence[float], epochs: Sequence[int], name: str, run: str) -> Iterator[Finding]:
    quarter = max(1, len(losses) // 4)
    best = int(np.argmin(losses))
    fall, in_all = losses[-1 - quarter] - losses[-1], losses[0] - losses[best]
    if best >= len(losses) - max(1, len(losses) // 10) and fall > GAIN * in_all > 0:
        yield Finding(
            "note",
            "It was still improving when training ended",
            f"{_lately(quarter, len(losses))} the {name} loss fell by {number(fall)} nats, "
            f"{fall / in_all:.0%} of what it fell since epoch {epochs[0]}. Train it for longer: "
            f"`diabolo resume {shlex.quote(run)} --epochs {2 * epochs[-1]}`",
        )


def _loss(terms: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    """The loss of a line with final weights: losses of a warm-up, where beta still rises, would not compare."""
    known = {name: value for name, value in terms.items() if name not in NOT_TERMS and value is not None}
    return math.fsum(weights.get(name, 1.0) * value for name, value in known.items())


def _lately(quarter: int, count: int) -> str:
    return f"Over the last {quarter} of {count} epochs" if quarter > 1 else f"In the last of {count} epochs"
