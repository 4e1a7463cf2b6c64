"""Numbers and counts as a sentence has them."""

from __future__ import annotations

import math

__all__ = ["counted", "number"]


def number(value: float | None, digits: int = 4) -> str:
    """A number to some significant digits and at least one decimal, without an exponent where that can be."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if power < -4:
        return f"{value:.1e}"
    return f"{value:,.{max(1, digits - 1 - power)}f}"


def counted(count: int, what: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
