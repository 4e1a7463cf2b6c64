"""Checks of the arrays that metrics take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import DataError, ShapeError

__all__ = ["Floats", "class_indices", "matrix", "pair", "same_width"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def matrix(values: Any, what: str, least: int = 1) -> Floats:
    """Rows of numbers as float64, (n, d).

    Args:
        values: (n, d).
        what: the rows' name in an error, a plural.
        least: how many rows there must be.

    Raises:
        ShapeError: another shape, or too few rows.
        DataError: NaN or infinite numbers, or no numbers.
    """
    rows = _numbers(values, what)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ShapeError(f"The {what} should have the shape (n, d), one row for each example, and have {rows.shape}.")
    if len(rows) < least:
        raise ShapeError(f"At least {least} rows of {what} are needed, and {len(rows)} were given.")
    _finite(rows, what)
    return rows


def pair(a: Any, b: Any, what: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Two arrays of numbers, (n, *event) each, of the same shape and with at least one example.

    Raises:
        ShapeError: different shapes, or no examples.
        DataError: NaN or infinite numbers, or no numbers.
    """
    arrays = tuple(np.asarray(values) for values in (a, b))
    if arrays[0].shape != arrays[1].shape:
        raise ShapeError(
            f"The two arrays of {what} should have the same shape, one entry for each example, and have "
            f"{arrays[0].shape} and {arrays[1].shape}."
        )
    if not arrays[0].ndim or not arrays[0].size:
        raise ShapeError(f"The {what} should be at least one example, and have the shape {arrays[0].shape}.")
    for values in arrays:
        _finite(values if values.dtype.kind in "fiub" else _numbers(values, what), what)
    return arrays[0], arrays[1]


def same_width(a: Floats, b: Floats, what: str) -> None:
    """Raises ShapeError unless two matrices have as many columns."""
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"The two sets of {what} should have as many columns, and have {a.shape[1]:,} and {b.shape[1]:,}: "
            "were they made by the same model or extractor?"
        )


def class_indices(labels: Any, count: int, what: str = "labels") -> tuple[Indices, npt.NDArray[Any]]:
    """Class labels as indices into the sorted classes, (n,), and the classes.

    Args:
        labels: (n,), integers, booleans, text, or floats that are whole numbers.
        count: n.
        what: the labels' name in an error, a plural.

    Raises:
        ShapeError: not one for each example.
        DataError: a missing label, or labels that are continuous.
    """
    column = np.asarray(labels)
    if column.shape != (count,):
        raise ShapeError(
            f"The {what} should have the shape ({count},), one for each example, and have the shape {column.shape}."
        )
    missing = _missing(column)
    if missing.any():
        raise DataError(
            f"{int(missing.sum()):,} of {count:,} {what} are missing (NaN, infinite or None), first that of example "
            f"{int(missing.argmax())}: fill them in, or leave those examples out."
        )
    if column.dtype.kind == "f" and not np.array_equal(column, np.round(column)):
        raise DataError(
            f"The {what} should be classes, and are continuous ({column.min():g} to {column.max():g}): put them into "
            "bins first, for example with np.digitize."
        )
    classes, indices = np.unique(column.tolist() if column.dtype == object else column, return_inverse=True)
    return indices.astype(np.int64), classes


def _missing(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if column.dtype.kind == "f":
        missing: npt.NDArray[np.bool_] = ~np.isfinite(column)
        return missing
    if column.dtype != object:
        return np.zeros(column.shape, bool)
    return np.array([value is None or value != value for value in column], bool)  # NaN is unlike itself


def _numbers(values: Any, what: str) -> Floats:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The {what} should be an array of numbers, and cannot be read as one: {error}.") from error


def _finite(values: npt.NDArray[Any], what: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        wrong = int((~np.isfinite(values).reshape(len(values), -1).all(1)).sum())
        raise DataError(
            f"The {what} of {wrong:,} of {len(values):,} examples are NaN or infinite: find out where they come from "
            "(did training diverge?), or leave those examples out."
        )
