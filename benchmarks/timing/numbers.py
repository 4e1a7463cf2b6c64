"""From turns to numbers: medians, ratios of what stood side by side, and losses that agree."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Middle", "departing", "middle", "ratio"]


class Middle(NamedTuple):
    """A median between the lowest and the highest."""

    median: float
    low: float
    high: float


def middle(values: Sequence[float]) -> Middle:
    """The median of some values, the lowest and the highest.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("A median needs at least one value, and there are none.")
    return Middle(statistics.median(values), min(values), max(values))


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Middle:
    """How many times as long they take as we do: each turn's two times stand side by side, and are divided.

    What else the machine does in that moment slows both.

    Args:
        theirs: seconds of each turn.
        ours: seconds of each turn.

    Raises:
        ValueError: not as many turns.
    """
    return middle([long / short for long, short in zip(theirs, ours, strict=True)])


def departing(losses: Mapping[str, float], tolerance: float) -> list[str]:
    """The names whose loss is further than `tolerance`, a fraction, from the median of all."""
    if not losses:
        return []
    centre = statistics.median(losses.values())
    return [name for name, loss in losses.items() if not abs(loss - centre) <= tolerance * abs(centre)]
