"""Heat maps of surprise: where examples of images, signals and tables depart from their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import DataError, ShapeError
from diabolo.figures._grids import (
    as_signals,
    as_table,
    draw_grid,
    examples,
    finish,
    kind_of,
    label_columns,
    label_rows,
)
from diabolo.figures._overlays import COLUMNS, MOST_CHANNELS, MOST_FEATURES
from diabolo.figures._theme import SMALL, Look, Theme, look_of, number, place, plain, sheet, shorten, style
from diabolo.storage.images import as_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["heat_maps"]

Array = npt.NDArray[Any]
MAP = "inferno"
UNIT = "surprise, nats"
MOST_NUMBERS = 240  # cells of a table: up to so many, each shows its number


def heat_maps(
    x: Array,
    reconstruction: Array,
    surprise: Array,
    layout: str,
    notes: Sequence[str] = (),
    *,
    label: str = "",
    features: Sequence[str] = (),
    theme: Theme = "light",
) -> Figure:
    """Examples, their reconstructions, and heat maps of their surprise in nats per value.

    Images: a column for each example, the heat map (summed over colours) in its last row. Signals: a panel for each
    example, the reconstruction drawn over the first 6 channels, with the heat (summed over channels) beneath. Tables
    (and other ranks, taken as tables of all their values): a column of heat for each example, a row for each feature,
    the most surprising first, at most 24. All examples share one scale of heat, from 0 to the largest.

    Args:
        x: (n, *event), as drawn: uint8, or floats in [0, 1].
        reconstruction: (n, *event), as drawn.
        surprise: (n, *event), nats of each value, as `Autoencoder.surprise` gives them.
        layout: F, LC, CL, HW, HWC, CHW or any.
        notes: the text beneath each example, such as its score; nothing when left out.
        label: the name of the notes.
        features: the names of a table's columns.
        theme: light or dark.

    Raises:
        ShapeError: an array that does not fit the layout or the others, or another number of notes or names.
        DataError: a surprise that is not finite.
        ConfigError: an unknown layout or theme.

    >>> x = np.zeros((3, 8, 8), np.uint8)
    >>> figure = heat_maps(x, x, np.ones((3, 8, 8)), "HW", notes=["1.0", "2.0", "3.0"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['1.0', '2.0', '3.0']
    """
    look = look_of(theme)
    x = examples(x, layout)
    reconstruction = examples(reconstruction, layout, "The reconstructions", like=x)
    heat = examples(surprise, layout, "The surprise", like=x).astype(np.float64)
    if not np.isfinite(heat).all():
        raise DataError("The surprise holds NaN or infinite numbers, which have no place on a scale of colours.")
    notes = list(notes) or [""] * len(x)
    if len(notes) != len(x):
        raise ShapeError(f"There are {len(notes)} notes for {len(x)} examples: give one for each, or none.")
    heat = np.maximum(heat, 0)  # rounding leaves some values a little below 0
    if kind_of(layout) == "table":
        return _tables(as_table(heat), notes, label, features, look)
    if kind_of(layout) == "signal":
        return _signals(as_signals(x, layout), as_signals(reconstruction, layout), heat, layout, notes, label, look)
    return _images(as_pixels(x, layout), as_pixels(reconstruction, layout), heat, layout, notes, label, look)


def _images(x: Array, rebuilt: Array, heat: Array, layout: str, notes: list[str], label: str, look: Look) -> Figure:
    if layout != "HW":
        heat = heat.sum(1 if layout == "CHW" else 3)
    most = heat.max() or 1.0
    rows = [*(_in_color(part) for part in (x, rebuilt)), _colours(heat, most)]
    grid = draw_grid(np.concatenate(rows), "HWC", len(x), look, inches=0.85 if len(x) > 4 else 1.3)
    label_rows(grid, ["example", "reconstruction", "heat map"])
    label_columns(grid, notes)
    grid.axes.set_xlabel(label)
    figure = finish(grid, look)
    box = _inches(figure, grid.axes)
    _colour_bar(figure, (box[0] + box[2] + 0.12, box[1], 0.1, box[3] / 3), most, look, [grid.axes])
    return figure


def _signals(x: Array, rebuilt: Array, heat: Array, layout: str, notes: list[str], label: str, look: Look) -> Figure:
    heat = heat.sum(2 if layout == "LC" else 1)
    most = heat.max() or 1.0
    columns = min(len(x), COLUMNS)
    rows = -(-len(x) // columns)
    figure = sheet(look, 2.3 * max(columns, 2) + 0.3, 1.9 * rows + 0.3, constrained=True)
    panels = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, height_ratios=[6, 1] * rows)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.05, hspace=0)
    low, high = min(np.nanmin(x), np.nanmin(rebuilt)), max(np.nanmax(x), np.nanmax(rebuilt))
    for axes in panels[-2:, (len(x) - 1) % columns + 1 :].flat:
        axes.set_axis_off()
    for example in range(len(x)):
        row, column = 2 * (example // columns), example % columns
        above, below = panels[row, column], panels[row + 1, column]
        style(above, look)
        for channel in range(min(x.shape[1], MOST_CHANNELS)):
            color = look.lines[0] if x.shape[1] == 1 else look.classes[channel]
            above.plot(x[example, channel], color=look.muted if x.shape[1] == 1 else color, linewidth=1.8, alpha=0.55)
            above.plot(rebuilt[example, channel], color=color, linewidth=0.9)
        above.set_ylim(low, high)
        plain(above.title, " ".join([label, *notes[example].split()])).set(color=look.muted, fontsize=SMALL)
        style(below, look).set(yticks=[])
        above.tick_params(bottom=False)
        below.imshow(heat[example][None], cmap=MAP, norm=_norm(most), aspect="auto", interpolation="none")
    _colour_bar(figure, None, most, look, list(panels.flat))
    return figure


def _tables(heat: Array, notes: list[str], label: str, features: Sequence[str], look: Look) -> Figure:
    count = heat.shape[1]
    if len(features) not in (0, count):
        raise ShapeError(f"There are {len(features)} feature names for {count} features: give one for each, or none.")
    names = [str(name) for name in features] or [f"x{place + 1}" for place in range(count)]
    largest = np.argsort(-heat.mean(0), kind="stable")[:MOST_FEATURES]
    cells, most = heat[:, largest].T, heat.max() or 1.0
    longest = max(len(shorten(names[place])) for place in largest)
    width = 0.62 * len(heat) + 0.08 * longest + 1.3
    figure = sheet(look, max(width, 4.2), 0.24 * len(largest) + 1.1, constrained=True)
    axes = style(figure.subplots(), look)
    axes.imshow(cells, cmap=MAP, norm=_norm(most), aspect="auto", interpolation="none")
    axes.set_yticks(range(len(largest)), [shorten(names[place]) for place in largest], parse_math=False)
    axes.set_xticks(range(len(heat)), notes, parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if cells.size <= MOST_NUMBERS:
        for row, column in np.ndindex(cells.shape):
            color = "#000000" if cells[row, column] > 0.4 * most else "#ffffff"
            text = number(float(cells[row, column]), ".1f" if most < 100 else ".0f")
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=SMALL - 1)
    if len(largest) < count:
        label += f"\n(the {len(largest)} of {count:,} features with the most surprise)"
    axes.set_xlabel(label.strip())
    _colour_bar(figure, None, most, look, [axes])
    return figure


def _colour_bar(
    figure: Figure, box: tuple[float, float, float, float] | None, most: float, look: Look, panels: list[Axes]
) -> None:
    """A colour bar: at a place in inches, for which the figure grows to the right, or placed by the layout engine."""
    from matplotlib.cm import ScalarMappable

    scale = ScalarMappable(_norm(most), MAP)
    if box is None:
        bar = figure.colorbar(scale, ax=panels, aspect=30, pad=0.02)
    else:
        height = figure.get_size_inches()[1]
        boxes = [_inches(figure, axes) for axes in panels]
        figure.set_size_inches(box[0] + box[2] + 0.62, height)
        for axes, inches in zip(panels, boxes, strict=True):
            place(figure, axes, inches)
        own = figure.add_axes((0, 0, 1, 1))
        place(figure, own, box)
        bar = figure.colorbar(scale, cax=own)
    bar.outline.set_visible(False)
    bar.locator = _few_ticks()
    bar.update_ticks()
    bar.ax.tick_params(color=look.faint, labelcolor=look.muted, labelsize=SMALL, length=2, width=0.8)
    bar.set_label(UNIT, color=look.text, fontsize=SMALL)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _inches(figure: Figure, axes: Axes) -> tuple[float, float, float, float]:
    """The place of axes: left, bottom, width, height, in inches."""
    width, height = figure.get_size_inches()
    box = axes.get_position()
    return box.x0 * width, box.y0 * height, box.width * width, box.height * height


def _norm(most: float) -> Any:
    """The square root of heat, scaled to [0, 1]: a linear scale would not show small values."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, most)


def _colours(heat: Array, most: float) -> Array:
    """Heat, (n, H, W), as pixels, (n, H, W, 3)."""
    from matplotlib import colormaps

    pixels: Array = colormaps[MAP](_norm(most)(heat), bytes=True)[..., :3]
    return pixels


def _in_color(pixels: Array) -> Array:
    return np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 3 else pixels
