"""Labels of any kind as what a scatter needs: classes with names, continuous values, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import DataError, ShapeError

__all__ = ["MARKERS", "Labels", "read_codes", "read_labels"]

MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">")
MOST_VALUES = 20  # whole numbers without class names are classes up to so many different ones


@dataclass(frozen=True)
class Labels:
    """What is known about each of n points.

    Attributes:
        index: (n,) which class, -1 for none; None where there are no classes.
        names: the classes.
        values: (n,) continuous labels, or None.
    """

    index: npt.NDArray[np.int64] | None = None
    names: list[str] = field(default_factory=list)
    values: npt.NDArray[np.float64] | None = None

    def __getitem__(self, chosen: Any) -> Labels:
        index = None if self.index is None else self.index[chosen]
        return Labels(index, self.names, None if self.values is None else self.values[chosen])

    @property
    def present(self) -> list[int]:
        """The classes that some point has."""
        if self.index is None:
            return []
        return [int(number) for number in np.unique(self.index) if number >= 0]


def read_codes(codes: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    """Codes as floats (n, d).

    Raises:
        ShapeError: no codes, or no rows and columns.
        DataError: none of them is finite.
    """
    points = np.asarray(codes, np.float64)
    if points.ndim != 2 or points.size == 0:
        raise ShapeError(f"{what} needs codes of the shape (n, d) with n at least 1, and was given {points.shape}.")
    if not np.isfinite(points).all(axis=1).any():
        raise DataError(
            f"{what} needs codes that are finite, and none of the {len(points):,} is: did training diverge?"
        )
    return points


def read_labels(labels: npt.ArrayLike | None, classes: Sequence[str], count: int) -> Labels:
    """Whole numbers are classes where these have names or are few, floats are values, strings are classes by name.

    Negative numbers, and NaN beside class names, mean a point without a class.

    Raises:
        ShapeError: not one label for each point.
        DataError: a label that is no class.
    """
    if labels is None:
        return Labels()
    given, classes = np.asarray(labels), list(classes)
    if given.shape != (count,):
        raise ShapeError(
            f"There should be one label for each of the {count:,} codes, and their shape is {given.shape}."
        )
    if given.dtype.kind not in "biuf":
        return _by_name(given, classes)
    if not classes:
        values = np.unique(given)
        if given.dtype.kind == "f" or len(values) > MOST_VALUES:
            return Labels(values=given.astype(np.float64))
        return Labels(np.searchsorted(values, given), [str(value) for value in values])
    index = np.where(np.isfinite(given), given, -1).astype(np.int64)
    if (index != given)[np.isfinite(given)].any() or index.max(initial=-1) >= len(classes):
        raise DataError(
            f"Labels beside {len(classes)} class names should be whole numbers from 0 to {len(classes) - 1} (-1 for "
            f"none), and go up to {np.nanmax(given)}. Give all the classes, or none for continuous labels."
        )
    return Labels(np.maximum(index, -1), [str(name) for name in classes])


def _by_name(given: npt.NDArray[Any], classes: Sequence[str]) -> Labels:
    names = [str(name) for name in classes] or sorted({str(label) for label in given})
    places = {name: number for number, name in enumerate(names)}
    unknown = sorted({str(label) for label in given} - set(places))
    if unknown:
        raise DataError(
            f"The label {unknown[0]!r} is none of the {len(names)} classes given: add it, or give no classes."
        )
    return Labels(np.array([places[str(label)] for label in given], np.int64), names)
