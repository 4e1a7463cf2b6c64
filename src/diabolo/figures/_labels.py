"""Labels of any kind, read as classes with names, as continuous values, or as nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import DataError, ShapeError

__all__ = ["MARKERS", "Labels", "read_codes", "read_labels"]

MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">")
MOST_VALUES = 20  # whole numbers without class names are classes where at most so many differ


@dataclass(frozen=True)
class Labels:
    """The labels of n points.

    Attributes:
        index: (n,) the class of each, -1 for none; None where there are no classes.
        names: of the classes.
        values: (n,) continuous labels, or None.
    """

    index: npt.NDArray[np.int64] | None = None
    names: list[str] = field(default_factory=list)
    values: npt.NDArray[np.float64] | None = None

    def __getitem__(self, rows: Any) -> Labels:
        index = None if self.index is None else self.index[rows]
        return Labels(index, self.names, None if self.values is None else self.values[rows])

    @property
    def present(self) -> list[int]:
        """The classes that have a point."""
        if self.index is None:
            return []
        return [int(number) for number in np.unique(self.index) if number >= 0]


def read_codes(codes: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    """Latent codes as floats, (n, d), checked; `what` names the figure in messages.

    Raises:
        ShapeError: no codes, or an array that is not (n, d).
        DataError: no code is finite.
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
    """The labels of points: whole numbers are classes if named or few, floats are values, strings are class names.

    Negative numbers, and NaN beside class names, mean a point without a class.

    Raises:
        ShapeError: not one label for each point.
        DataError: a label that is no class.
    """
    if labels is None:
        return Labels()
    array, classes = np.asarray(labels), list(classes)
    if array.shape != (count,):
        raise ShapeError(
            f"There should be one label for each of the {count:,} codes, and their shape is {array.shape}."
        )
    if array.dtype.kind not in "biuf":
        return _by_name(array, classes)
    if not classes:
        distinct = np.unique(array)
        if array.dtype.kind == "f" or len(distinct) > MOST_VALUES:
            return Labels(values=array.astype(np.float64))
        return Labels(np.searchsorted(distinct, array), [str(value) for value in distinct])
    index = np.where(np.isfinite(array), array, -1).astype(np.int64)
    if (index != array)[np.isfinite(array)].any() or index.max(initial=-1) >= len(classes):
        raise DataError(
            f"Labels beside {len(classes)} class names should be whole numbers from 0 to {len(classes) - 1} (-1 for "
            f"none), and go up to {np.nanmax(array)}. Give all the classes, or none for continuous labels."
        )
    return Labels(np.maximum(index, -1), [str(name) for name in classes])


def _by_name(labels: npt.NDArray[Any], classes: Sequence[str]) -> Labels:
    names = [str(name) for name in classes] or sorted({str(label) for label in labels})
    places = {name: number for number, name in enumerate(names)}
    unknown = sorted({str(label) for label in labels} - set(places))
    if unknown:
        raise DataError(
            f"The label {unknown[0]!r} is none of the {len(names)} classes given: add it, or give no classes."
        )
    return Labels(np.array([places[str(label)] for label in labels], np.int64), names)
