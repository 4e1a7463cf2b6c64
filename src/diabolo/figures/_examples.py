"""Figures of a model's output: reconstructions, samples, the plane of latent codes, traversals of one dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from diabolo.errors import ConfigError, ShapeError, unknown_name
from diabolo.figures._grids import draw_grid, examples, finish, kind_of, label_columns, label_rows
from diabolo.figures._overlays import compare_signals, compare_tables
from diabolo.figures._theme import Theme, look_of, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["manifold", "reconstructions", "samples", "traversals"]

Array = npt.NDArray[Any]
MOST_TICKS = 7


def reconstructions(
    x: Array,
    reconstruction: Array,
    layout: str,
    n: int = 10,
    noisy: Array | None = None,
    *,
    features: Sequence[str] = (),
    theme: Theme = "light",
) -> Figure:
    """Examples and their reconstructions.

    Images: a row of originals above a row of reconstructions; with noisy inputs three rows, noisy, reconstruction and
    clean. Signals: the reconstruction drawn over the original, one panel for each example; with several channels one
    row of panels for each of the first 6. Tables (and other ranks, taken as tables of all their values): one panel for
    each example, one line for each feature, from the original (a filled dot) to the reconstruction (a ring); features
    are in their standard deviations over the examples in `x`, or in their own units where `x` has fewer than 3. Of more
    than 24 features those with the largest errors are shown.

    Args:
        x: (m, *event).
        reconstruction: (m, *event).
        layout: F, LC, CL, HW, HWC, CHW or any.
        n: the number of examples, the first ones; all m if there are fewer.
        noisy: (m, *event), the inputs of the model, where these were not `x`.
        features: the names of a table's columns.
        theme: light or dark.

    Raises:
        ShapeError: an array that does not fit the layout or the others, or another number of names than of features.
        ConfigError: n below 1, an unknown layout or theme.

    >>> x = np.zeros((4, 8, 8), np.uint8)
    >>> figure = reconstructions(x, x, "HW")
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['original', 'reconstruction']
    """
    look = look_of(theme)
    x = examples(x, layout)
    reconstruction = examples(reconstruction, layout, "The reconstructions", like=x)
    noisy = None if noisy is None else examples(noisy, layout, "The noisy examples", like=x)
    if n < 1:
        raise ConfigError(f"n, how many examples are shown, should be at least 1, and was given {n}.")
    if kind_of(layout) == "signal":
        return compare_signals(x, reconstruction, layout, n, noisy, look)
    if kind_of(layout) == "table":
        return compare_tables(x, reconstruction, n, noisy, features, look)
    parts = {"original": x, "reconstruction": reconstruction}
    if noisy is not None:
        parts = {"noisy": noisy, "reconstruction": reconstruction, "clean": x}
    n = min(n, len(x))
    inches = 0.8 if n > 4 else 1.2
    grid = draw_grid(_joined([part[:n] for part in parts.values()]), layout, n, look, inches=inches)
    label_rows(grid, list(parts))
    return finish(grid, look)


def samples(x: Array, layout: str, columns: int = 10, *, theme: Theme = "light") -> Figure:
    """Examples row by row: images, signals as lines (all on one scale), tables as bars.

    A table's bars go up and down from the mean of the examples shown, in the feature's own standard deviations.

    Args:
        x: (n, *event).
        layout: F, LC, CL, HW, HWC, CHW or any.
        columns: examples in a row.
        theme: light or dark.

    Raises:
        ShapeError: an array that does not fit the layout, or is empty.
        ConfigError: fewer than one column, an unknown layout or theme.

    >>> type(samples(np.zeros((6, 8, 8), np.uint8), "HW", columns=3)).__name__
    'Figure'
    """
    look = look_of(theme)
    x = examples(x, layout)
    grid = draw_grid(x, layout, min(columns, len(x)), look, inches=0.7)
    return finish(grid, look)


def manifold(
    x: Array,
    layout: str,
    n: int,
    ticks: npt.ArrayLike | None = None,
    labels: tuple[str, str] = ("z1", "z2"),
    *,
    order: Literal["up", "down"] = "up",
    theme: Theme = "light",
) -> Figure:
    """The decoded plane of latent codes: n x n examples without gaps, row by row, in the order of `manifold_grid`.

    Args:
        x: (n * n, *event).
        layout: F, LC, CL, HW, HWC, CHW or any.
        n: examples along each axis.
        ticks: the values of the latent code along the axes, growing: (n,) for both, or (2, n) for z1 and z2; None for
            no numbers.
        labels: the names of the two axes.
        order: whether z2 grows upwards, as in any diagram, or downwards: that of `manifold_grid`.
        theme: light or dark.

    Raises:
        ShapeError: not n * n examples, or not n ticks.
        ConfigError: n below 1, ticks that do not grow, an unknown layout, order or theme.

    >>> figure = manifold(np.zeros((9, 8, 8), np.uint8), "HW", 3, ticks=[-1, 0, 1])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['−1.00', '0.00', '1.00']
    """
    if order not in ("up", "down"):
        raise unknown_name("order of the rows", order, ("up", "down"))
    look = look_of(theme)
    x = _counted(examples(x, layout), n, n, f"A plane of n={n} by {n} codes")
    grid = draw_grid(x, layout, n, look, inches=max(5.6 / n, 0.1), gaps=False)
    labelled = np.unique(np.round(np.linspace(0, n - 1, min(n, MOST_TICKS))).astype(int))
    values = _ticks(ticks, n)
    if values is not None:
        names = [[number(value, ".2f") if i in labelled else "" for i, value in enumerate(row)] for row in values]
        label_columns(grid, names[0], numbers=True)
        label_rows(grid, names[1][::-1] if order == "up" else names[1], numbers=True)
    grid.axes.set_xlabel(labels[0])
    grid.axes.set_ylabel(labels[1], rotation=0, ha="right", va="center")
    return finish(grid, look)


def _ticks(ticks: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64] | None:
    if ticks is None:
        return None
    values = np.asarray(ticks, np.float64)
    if values.shape not in ((n,), (2, n)):
        raise ShapeError(f"The ticks should be {n} code values, or two rows of {n}, and have the shape {values.shape}.")
    values = np.broadcast_to(values, (2, n))
    if not (np.diff(values) > 0).all():
        raise ConfigError("The ticks should be growing code values, for z1 from left to right.")
    return values


def traversals(
    x: Array,
    layout: str,
    dims: Sequence[int],
    values: Sequence[float],
    *,
    unit: str = "",
    theme: Theme = "light",
) -> Figure:
    """Traversals of the latent code: each row varies one dimension, each column is one value of it.

    Args:
        x: (len(dims) * len(values), *event), row by row.
        layout: F, LC, CL, HW, HWC, CHW or any.
        dims: the dimensions of the rows, from 0; dimension 0 is labelled z1.
        values: the values of the columns.
        unit: of the values, for the label below them.
        theme: light or dark.

    Raises:
        ShapeError: another number of examples, or a shape that does not fit the layout.
        ConfigError: no dims or values, an unknown layout or theme.

    >>> figure = traversals(np.zeros((4, 8, 8), np.uint8), "HW", dims=[0, 3], values=[-1, 1])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['z1', 'z4']
    """
    look = look_of(theme)
    rows, columns = len(dims), len(values)
    x = _counted(examples(x, layout), rows, columns, f"{rows} dimensions at {columns} values")
    grid = draw_grid(x, layout, columns, look, inches=0.7)
    label_rows(grid, [f"z{int(dim) + 1}" for dim in dims])
    step = -(-columns // 15)
    texts = [number(value, ".3g") for value in values]
    label_columns(grid, [text if i % step == 0 else "" for i, text in enumerate(texts)], numbers=True)
    if unit:
        grid.axes.set_xlabel(unit)
    return finish(grid, look)


def _counted(x: Array, rows: int, columns: int, what: str) -> Array:
    if rows < 1 or columns < 1:
        raise ConfigError(f"{what} cannot be drawn: give at least one of each.")
    if len(x) != rows * columns:
        raise ShapeError(f"{what} are {rows * columns} examples, and {len(x)} were given, shape {x.shape}.")
    return x


def _joined(parts: list[Array]) -> Array:
    """Arrays of one shape, concatenated; uint8 beside floats becomes floats in [0, 1]."""
    if len({part.dtype == np.uint8 for part in parts}) > 1:
        parts = [part.astype(np.float32) / 255 if part.dtype == np.uint8 else part for part in parts]
    return np.concatenate(parts)
