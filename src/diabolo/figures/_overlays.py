"""Originals and reconstructions of signals, as lines over lines, and of tables, as dots and rings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import ShapeError
from diabolo.figures._grids import as_signals, as_table
from diabolo.figures._theme import NORMAL, SMALL, Look, sheet, shorten, style, style_legend

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["compare_signals", "compare_tables"]

Array = npt.NDArray[Any]
COLUMNS = 5
MOST_CHANNELS = 6
MOST_FEATURES = 24
FEW = 3  # examples: with fewer, the deviation of a feature says nothing


def compare_signals(x: Array, reconstruction: Array, layout: str, n: int, noisy: Array | None, look: Look) -> Figure:
    """Signals in grey, their reconstructions over them: a panel for each example, and for each channel if several."""
    n = min(n, len(x))
    parts = [None if part is None else as_signals(part[:n], layout) for part in (noisy, x, reconstruction)]
    channels = min(x.shape[2] if layout == "LC" else x.shape[1], MOST_CHANNELS)
    columns = n if channels > 1 else min(n, COLUMNS)
    rows = channels if channels > 1 else -(-n // columns)
    figure = sheet(look, max(1.3 * columns, 2.2 * min(columns, COLUMNS)) + 0.6, 1.25 * rows + 0.5, constrained=True)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row" if channels > 1 else True)
    kinds = (
        ("noisy", look.lines[1], 0.7, 0.8),
        ("original", look.muted, 2.2, 0.6),
        ("reconstruction", look.lines[0], 1.0, 1.0),
    )
    lines: dict[str, Artist] = {}
    for place, axes in enumerate(panels.flat):
        style(axes, look)
        example, channel = (place % columns, place // columns) if channels > 1 else (place, 0)
        if example >= n:
            axes.set_axis_off()
            continue
        for part, (name, color, width, alpha) in zip(parts, kinds, strict=True):
            if part is not None:
                (lines[name],) = axes.plot(part[example, channel], color=color, linewidth=width, alpha=alpha)
        if channels > 1 and example == 0:
            axes.set_ylabel(f"channel {channel + 1}")
    _legend(figure, lines, look)
    return figure


def compare_tables(
    x: Array, reconstruction: Array, n: int, noisy: Array | None, features: Sequence[str], look: Look
) -> Figure:
    """The features of examples: a dot for the original, a ring for the reconstruction, a line for the error."""
    names = _names(features, as_table(x[:1]).shape[1])
    scaled = len(x) >= FEW
    table, rebuilt, *inputs = (
        _scaled(as_table(part), as_table(x) if scaled else None)
        for part in (x, reconstruction, noisy)
        if part is not None
    )
    error = np.abs(table - rebuilt).mean(axis=0)
    largest = np.sort(np.argsort(-error, kind="stable")[:MOST_FEATURES])
    n = min(n, len(table))
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    longest = max(len(shorten(names[feature])) for feature in largest)
    figure = sheet(
        look,
        max(1.9 * columns + 0.075 * longest + 0.4, 4.2),
        (0.19 * len(largest) + 0.5) * rows + 0.7,
        constrained=True,
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    marks: dict[str, Artist] = {}
    for example, axes in enumerate(panels.flat):
        style(axes, look, grid=True)
        if example >= n:
            axes.set_axis_off()
            continue
        values = [part[example, largest] for part in (table, rebuilt, *inputs)]
        marks = _dumbbells(axes, values, look)
        axes.set_title(f"example {example + 1}", fontsize=SMALL, color=look.muted, loc="left", pad=2)
    first = panels[0][0]
    first.set_yticks(range(len(largest)))
    first.set_ylim(len(largest) - 0.4, -0.6)
    for axes in panels[:, 0]:
        axes.set_yticklabels([shorten(names[feature]) for feature in largest], parse_math=False)
    _finish_table(figure, scaled, (len(largest), len(names)), look)
    _legend(figure, marks, look)
    return figure


def _scaled(part: Array, table: Array | None) -> Array:
    """A table in units of the standard deviations of another one's features; unchanged where there is no other."""
    if table is None:
        return part
    deviation = table.std(axis=0)
    scaled: Array = (part - table.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def _dumbbells(axes: Axes, parts: list[Array], look: Look) -> dict[str, Artist]:
    original, rebuilt, *noisy = parts
    marks: dict[str, Artist] = {}
    y = np.arange(len(original))
    axes.hlines(y, original, rebuilt, color=look.lines[0], linewidth=1.2, alpha=0.6)
    if noisy:
        (marks["noisy"],) = axes.plot(noisy[0], y, "x", color=look.lines[1], markersize=4, markeredgewidth=0.9)
    (marks["original"],) = axes.plot(original, y, "o", color=look.text, markersize=3.6, markeredgewidth=0)
    (marks["reconstruction"],) = axes.plot(
        rebuilt, y, "o", color=look.lines[0], markersize=5.2, markerfacecolor="none", markeredgewidth=1.1
    )
    return marks


def _finish_table(figure: Figure, scaled: bool, counts: tuple[int, int], look: Look) -> None:
    count, total = counts
    unit = "standard deviations of the examples" if scaled else "value"
    if count < total:
        unit += f"\n(the {count} of {total:,} features with the largest errors)"
    figure.supxlabel(unit, fontsize=NORMAL, color=look.text)


def _names(features: Sequence[str], count: int) -> list[str]:
    if len(features) not in (0, count):
        raise ShapeError(f"There are {len(features)} feature names for {count} features: give one for each, or none.")
    return [str(name) for name in features] or [f"x{number + 1}" for number in range(count)]


def _legend(figure: Figure, handles: dict[str, Artist], look: Look) -> None:
    names = [name for name in ("noisy", "original", "reconstruction") if name in handles]
    legend = figure.legend([handles[name] for name in names], names, loc="outside upper right", ncols=3, borderpad=0.1)
    style_legend(legend, look)
