"""Figures of examples that change along a concept or a path: a row for each example, a column for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import ShapeError
from diabolo.figures._grids import draw_grid, examples, finish, label_columns, label_rows
from diabolo.figures._theme import Theme, look_of, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["strip"]

Array = npt.NDArray[Any]


def strip(
    x: Array,
    layout: str,
    steps: Sequence[float | str],
    *,
    originals: Array | None = None,
    rows: Sequence[str] = (),
    label: str = "",
    theme: Theme = "light",
) -> Figure:
    """Rows of examples that change step by step, each row after its original where there is one.

    Args:
        x: (rows * len(steps), *event), row by row.
        layout: F, LC, CL, HW, HWC, CHW or any.
        steps: the labels of the columns: numbers, such as strengths, or words.
        originals: (rows, *event), drawn as a first column.
        rows: the labels of the rows.
        label: the name of the steps.
        theme: light or dark.

    Raises:
        ShapeError: numbers of examples that do not make up rows, or a shape that does not fit the layout.
        ConfigError: an unknown layout or theme.

    >>> figure = strip(np.zeros((6, 8, 8), np.uint8), "HW", [-1, 0, 1], rows=["a", "b"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['−1', '0', '1']
    """
    look = look_of(theme)
    x = examples(x, layout)
    count = len(steps)
    if not count or len(x) % count or (originals is not None and len(originals) != len(x) // count):
        raise ShapeError(f"{len(x)} examples do not make up rows of {count} steps, with one original for each row.")
    grid_of = x.reshape(-1, count, *x.shape[1:])
    words = [step if isinstance(step, str) else number(step, ".3g") for step in steps]
    if originals is not None:
        first = examples(originals, layout, "The originals", like=x[: len(originals)])
        if first.dtype != x.dtype:
            first, grid_of = (part / np.float32(255) if part.dtype == np.uint8 else part for part in (first, grid_of))
        grid_of = np.concatenate([first[:, None], grid_of], 1)
        words = ["original", *words]
    inches = min(1.0, max(0.5, 9.0 / len(words)))
    grid = draw_grid(grid_of.reshape(-1, *x.shape[1:]), layout, len(words), look, inches=inches)
    if rows:
        label_rows(grid, list(rows))
    label_columns(grid, words)
    if label:
        grid.axes.set_xlabel(label)
    return finish(grid, look)
