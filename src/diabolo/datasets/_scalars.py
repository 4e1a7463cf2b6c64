"""Single values of any library: what they are, and dates as numbers."""

from __future__ import annotations

import datetime
import math
import numbers
from decimal import Decimal
from typing import Any, Literal

import numpy as np

__all__ = ["day_of", "float_of", "kind_of"]


def kind_of(value: Any) -> Literal["missing", "number", "date", "duration", "other"]:
    """What a single value is, whatever library it comes from.

    >>> kind_of(None), kind_of(np.float32("nan")), kind_of(np.timedelta64(3, "s")), kind_of(True), kind_of("3")
    ('missing', 'missing', 'duration', 'number', 'other')
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return "missing"
    if isinstance(value, (np.datetime64, datetime.date)):
        return "missing" if isinstance(value, np.datetime64) and np.isnat(value) else "date"
    if isinstance(value, (np.timedelta64, datetime.timedelta)):
        return "missing" if isinstance(value, np.timedelta64) and np.isnat(value) else "duration"
    if isinstance(value, (numbers.Real, Decimal, np.bool_)):
        return "missing" if math.isnan(float_of(value)) else "number"
    return "other"


def float_of(value: Any) -> float:
    """A number as a float; infinite where it is too large for one.

    >>> float_of(3), float_of(-(10**400))
    (3.0, -inf)
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def day_of(value: Any) -> float:
    """The days of a date since the beginning of 1970; times without a zone are taken for UTC.

    >>> day_of(np.datetime64("1970-01-02")), day_of(datetime.datetime(1970, 1, 1, 12))
    (1.0, 0.5)
    """
    if isinstance(value, np.datetime64):
        return float((value - np.datetime64("1970-01-01", "s")) / np.timedelta64(1, "s")) / 86400
    if not isinstance(value, datetime.datetime):
        return float(value.toordinal() - datetime.date(1970, 1, 1).toordinal())
    zone = value.tzinfo or datetime.UTC
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (value.replace(tzinfo=zone) - epoch).total_seconds() / 86400
