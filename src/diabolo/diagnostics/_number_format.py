"""Numbers and counts in a sentence."""

from __future__ import annotations

import math

__all__ = ["number", "plural"]


def number(value: float | None, digits: int = 4) -> str:
    """A number to some significant digits and at least one decimal, with an exponent only below 0.0001.

    Args:
        value: the number; None, NaN and infinity give a dash.
        digits: significant ones.

    >>> number(1234.5678), number(0.0123), number(float("nan"))
    ('1,234.6', '0.01230', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if power < -4:
        return f"{value:.1e}"
    return f"{value:,.{max(1, digits - 1 - power)}f}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "epoch"), plural(2000, "epoch")
    ('1 epoch', '2,000 epochs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
