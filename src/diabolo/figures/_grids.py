"""Examples in rows and columns: images as one exact grid of pixels, signals as lines, tables as bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from diabolo.datasets._layouts import LAYOUTS
from diabolo.errors import ConfigError, ShapeError, unknown_name
from diabolo.figures._theme import DPI, NORMAL, SMALL, Look, place, plain, renderer_of, sheet, style
from diabolo.storage.images import as_pixels, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Grid",
    "as_signals",
    "as_table",
    "draw_grid",
    "examples",
    "finish",
    "kind_of",
    "label_columns",
    "label_rows",
]

Array = npt.NDArray[Any]
Kind = Literal["image", "signal", "table"]

MARGIN = 0.08  # inches around everything
WIDEST = 12.0  # inches of a row of cells


def kind_of(layout: str) -> Kind:
    """The way to draw examples of a layout; those of other layouts are drawn as tables of all their values."""
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    return "image" if layout in ("HW", "HWC", "CHW") else "signal" if layout in ("LC", "CL") else "table"


def examples(x: Array, layout: str, what: str = "The examples", like: Array | None = None) -> Array:
    """Examples as an array (n, *event), n at least 1, checked against a layout and the shape of another array.

    Raises:
        ConfigError: an unknown layout.
        ShapeError: no examples, or a shape that does not fit.
    """
    x = np.asarray(x)
    kind_of(layout)
    rank = LAYOUTS[layout]
    if rank not in (None, x.ndim) or x.ndim == 0 or x.size == 0:
        shape = f"(n, {', '.join(layout)})" if rank else "(n, ...)"
        raise ShapeError(
            f"{what} should have the shape {shape} with n at least 1 for the layout {layout}, and have {x.shape}."
        )
    if like is not None and x.shape != like.shape:
        raise ShapeError(f"{what} should have the shape of the originals, {like.shape}, and have {x.shape}.")
    return x


def as_signals(x: Array, layout: str) -> Array:
    """Signals as (n, C, L), floats."""
    x = x.astype(np.float64)
    return x.swapaxes(1, 2) if layout == "LC" else x


def as_table(x: Array) -> Array:
    """Examples of any shape as (n, F), floats."""
    return x.reshape(len(x), -1).astype(np.float64)


@dataclass(frozen=True)
class Grid:
    """A figure with one pair of axes, divided into cells in rows and columns; y points down.

    Attributes:
        figure: the figure.
        axes: its axes, in pixels of the images, or in cells.
        x: the centre of each column.
        y: the centre of each row.
        size: width and height of the axes in inches.
    """

    figure: Figure
    axes: Axes
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    size: tuple[float, float]


def draw_grid(x: Array, layout: str, columns: int, look: Look, *, inches: float, gaps: bool = True) -> Grid:
    """A grid of examples, row by row, without labels.

    A pixel of an image takes a whole number of screen pixels, so that all look equally wide, unless images are larger
    than their cells. Signals share one scale over all cells. A table's features are bars from the mean of all examples
    shown, in the feature's own standard deviations.

    Args:
        x: (n, *event).
        layout: what the axes of an example are.
        columns: cells in a row.
        look: the colours.
        inches: the size of a cell, roughly.
        gaps: whether there is a gap between neighbours.
    """
    if columns < 1:
        raise ConfigError(f"A grid should have at least one column, and was given columns={columns}.")
    if kind_of(layout) == "image":
        return _image_grid(as_pixels(x, layout), columns, look, min(inches, WIDEST / columns), gaps)
    return _drawn_grid(x, layout, columns, look, min(inches, WIDEST / columns), gaps)


def _image_grid(pixels: Array, columns: int, look: Look, inches: float, gaps: bool) -> Grid:
    height, width = pixels.shape[1:3]
    gap = max(1, round(max(height, width) / 16)) if gaps else 0
    whole = tile(pixels, columns, gap, _rgb(look.background))
    longest = max(height, width)
    scale = inches * DPI * min((height * width) ** -0.5, 2 / longest)
    scale = min(float(round(scale)) if scale >= 1 else scale, WIDEST * DPI / columns / (width + gap))
    scale = float(int(scale)) if scale >= 1 else scale
    high, wide = whole.shape[:2]
    size = (round(wide * scale) / DPI, round(high * scale) / DPI)
    figure = sheet(look, *size)
    axes = _bare(figure, look)
    axes.imshow(whole, extent=(0, wide, high, 0), aspect="auto", interpolation="none" if scale >= 1 else "antialiased")
    rows = -(-len(pixels) // columns)
    x, y = np.arange(columns) * (width + gap) + width / 2, np.arange(rows) * (height + gap) + height / 2
    return Grid(figure, axes, x, y, size)


def _drawn_grid(x: Array, layout: str, columns: int, look: Look, inches: float, gaps: bool) -> Grid:
    """Lines or bars in cells of 1 x 1."""
    rows = -(-len(x) // columns)
    inches = max(inches, 0.3)
    size = (columns * inches * 1.2, rows * inches)
    figure = sheet(look, *size)
    axes = _bare(figure, look)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    corners = np.stack([np.arange(len(x)) % columns, np.arange(len(x)) // columns], axis=1).astype(np.float64)
    _frames(axes, corners, look, 0.04 if gaps else 0.0)
    if kind_of(layout) == "signal":
        _lines(axes, as_signals(x, layout), corners, look)
    else:
        _bars(axes, as_table(x), corners, look)
    return Grid(figure, axes, np.arange(columns) + 0.5, np.arange(rows) + 0.5, size)


def _bare(figure: Figure, look: Look) -> Axes:
    """Axes as large as the figure, without ticks and frame."""
    axes = style(figure.add_axes((0, 0, 1, 1)), look)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _frames(axes: Axes, corners: Array, look: Look, gap: float) -> None:
    from matplotlib.collections import PolyCollection

    square = np.array([[gap, gap], [1 - gap, gap], [1 - gap, 1 - gap], [gap, 1 - gap]])
    axes.add_collection(
        PolyCollection(list(corners[:, None] + square), facecolors="none", edgecolors=look.faint, linewidths=0.6),
        autolim=False,
    )


def _lines(axes: Axes, signals: Array, corners: Array, look: Look) -> None:
    """Signals (n, C, L): one line for each channel, on the same scale in every cell."""
    from matplotlib.collections import LineCollection

    _, channels, length = signals.shape
    low, high = np.nanmin(signals), np.nanmax(signals)
    across = np.broadcast_to(np.linspace(0.08, 0.92, length) if length > 1 else np.array([0.5]), signals.shape)
    down = 0.9 - 0.8 * (signals - low) / (high - low or 1.0)
    lines = np.stack([across, down], axis=-1) + corners[:, None, None]
    colors = [look.classes[channel % len(look.classes)] for channel in range(channels)]
    width = 1.0 if channels < 4 else 0.7
    axes.add_collection(
        LineCollection(list(lines.reshape(-1, length, 2)), colors=colors * len(signals), linewidths=width),
        autolim=False,
    )


def _bars(axes: Axes, table: Array, corners: Array, look: Look) -> None:
    """A table (n, F): one bar for each feature, up and down from the mean of the examples shown."""
    from matplotlib.collections import LineCollection, PolyCollection

    features = table.shape[1]
    deviation = np.nanstd(table, axis=0)
    heights = (table - np.nanmean(table, axis=0)) / np.where(deviation > 0, deviation, 1)
    heights = 0.42 * heights / (np.nanmax(np.abs(heights)) or 1.0)
    starts = 0.1 + 0.8 * np.arange(features) / features
    ends = starts + 0.8 / features * (0.75 if features <= 60 else 1.0)
    x = np.stack([starts, ends, ends, starts], axis=-1)[None] + corners[:, None, None, 0]
    y = 0.5 - heights[..., None] * np.array([0, 0, 1, 1]) + corners[:, None, None, 1]
    bars = np.stack([np.broadcast_to(x, y.shape), y], axis=-1).reshape(-1, 4, 2)
    colors = [look.lines[0] if value > 0 else look.lines[1] for value in heights.ravel()]
    axes.add_collection(PolyCollection(list(bars), facecolors=colors, edgecolors="none"), autolim=False)
    zeros = corners[:, None] + np.array([[0.08, 0.5], [0.92, 0.5]])
    axes.add_collection(LineCollection(list(zeros), colors=look.muted, linewidths=0.5), autolim=False)


def label_rows(grid: Grid, names: list[str], *, numbers: bool = False) -> None:
    """Labels the rows; an empty name leaves its row without."""
    _label(grid, names, "y", numbers)


def label_columns(grid: Grid, names: list[str], *, numbers: bool = False) -> None:
    """Labels the columns; an empty name leaves its column without."""
    _label(grid, names, "x", numbers)


def _label(grid: Grid, names: list[str], which: Literal["x", "y"], numbers: bool) -> None:
    axis = grid.axes.xaxis if which == "x" else grid.axes.yaxis
    places = [where for where, name in zip(getattr(grid, which), names, strict=True) if name]
    axis.set_ticks(places)
    axis.set_ticklabels([name for name in names if name], parse_math=False)
    grid.axes.tick_params(axis=which, labelsize=SMALL if numbers else NORMAL, length=3 if numbers else 0)


def finish(grid: Grid, look: Look, *, title: str = "") -> Figure:
    """Resizes a figure to its grid and the labels of it, and places the grid."""
    figure, axes = grid.figure, grid.axes
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        label.set_color(look.muted)
    if title:
        plain(axes.title, title).set(color=look.text, fontsize=NORMAL)
    left, bottom, right, top = _margins(grid)
    width, height = grid.size
    whole = (left + width + right, bottom + height + top)
    figure.set_size_inches(*whole)
    place(figure, axes, (left, bottom, width, height))
    return figure


def _margins(grid: Grid) -> tuple[float, float, float, float]:
    """The margins that labels need around the axes: left, bottom, right, top, in inches, rounded up to whole pixels."""
    figure, axes = grid.figure, grid.axes
    renderer = renderer_of(figure)
    outer, inner = axes.get_tightbbox(renderer), axes.get_window_extent(renderer)
    if outer is None:
        return (MARGIN,) * 4
    over = (inner.x0 - outer.x0, inner.y0 - outer.y0, outer.x1 - inner.x1, outer.y1 - inner.y1)
    left, bottom, right, top = (float(np.ceil(max(pixels, 0) + MARGIN * DPI)) / DPI for pixels in over)
    return left, bottom, right, top


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
