"""Scatter plots of latent codes, in the plane and in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import ConfigError, ShapeError
from diabolo.figures._labels import MARKERS, Labels, read_codes, read_labels
from diabolo.figures._theme import (
    DPI,
    LARGE,
    NORMAL,
    SMALL,
    Look,
    Theme,
    look_of,
    place,
    plain,
    renderer_of,
    sheet,
    shorten,
    style,
    style_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

__all__ = ["scatter", "scatter_3d"]

Points = npt.NDArray[np.float64]
SIDE = 5.6  # inches of the longer side of a scatter
LEFT, BOTTOM, TOP, GAP = 0.85, 0.6, 0.4, 0.2
MANY = 2000  # points: from so many on they are one bitmap in an SVG or PDF
ENOUGH = 5  # points: a class of fewer has no name amid them
LABELLED = 20  # classes: up to so many, each is named amid its points


def scatter(
    codes: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    classes: Sequence[str] = (),
    *,
    dims: Sequence[int] | None = None,
    title: str = "",
    theme: Theme = "light",
) -> Figure:
    """Latent codes as points of a plane, on equal scales, coloured by class or by value.

    Points are drawn in a random order, so that no class hides another. Up to 20 classes are named at the
    median of their points, too; the eleventh class and further ones have the first ones' colours with other markers.
    Labels are classes where `classes` names them, where they are strings, or where they are at most 20 different whole
    numbers; else they are continuous and get a colour bar. Codes that are not finite are left out, and the title says
    how many.

    Args:
        codes: (n, 2), or (n, d) with `dims`.
        labels: (n,), or None. A negative label, and NaN, means none: such points are grey.
        classes: the names of the labels 0, 1, ...
        dims: the two dimensions to draw, from 0; dimension 0 is labelled z1.
        title: above the figure.
        theme: light or dark.

    Raises:
        ShapeError: codes or labels of another shape; more than 2 columns and no `dims`.
        ConfigError: dims that the codes do not have, an unknown theme.
        DataError: a label that is no class; no finite code.

    >>> codes = np.random.default_rng(0).standard_normal((20, 3))
    >>> figure = scatter(codes, [0, 1] * 10, classes=["even", "odd"], dims=[0, 2])
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('z1', 'z3')
    """
    look = look_of(theme)
    points = read_codes(codes, "A scatter")
    groups = read_labels(labels, classes, len(points))
    first, second = _columns(points.shape[1], dims)
    points = points[:, [first, second]]
    fine = np.isfinite(points).all(axis=1)
    if not fine.all():
        title = ", ".join(filter(None, (title, f"{int((~fine).sum()):,} codes that are not finite left out")))
        points, groups = points[fine], groups[fine]
    figure, axes, size = _plane(points, look)
    axes.set_xlabel(f"z{first + 1}")
    axes.set_ylabel(f"z{second + 1}", rotation=0, ha="right", va="center")
    mappable = _draw(axes, points, groups, look)
    plain(axes.set_title(title, loc="left", fontsize=LARGE, color=look.text), title)
    if mappable is not None:
        _color_bar(figure, axes, mappable, size, look)
    elif groups.index is not None:
        _class_legend(figure, axes, groups, size, look)
        if len(groups.present) <= LABELLED:
            _name_classes(figure, axes, points, groups, look)
    return figure


def _columns(count: int, dims: Sequence[int] | None) -> tuple[int, int]:
    if dims is None:
        if count != 2:
            raise ShapeError(
                f"A scatter shows 2 columns, and the codes have {count}: choose two, dims=(0, 1), or project them "
                "first, for example with sklearn.decomposition.PCA(2).fit_transform(codes)."
            )
        return 0, 1
    if len(dims) != 2 or not all(0 <= dim < count for dim in dims):
        raise ConfigError(f"dims should be two columns of the code, 0 to {count - 1}, and was given {dims!r}.")
    return int(dims[0]), int(dims[1])


def _plane(points: Points, look: Look) -> tuple[Figure, Axes, tuple[float, float]]:
    """Axes with equal scales, as wide as the points need, within a ratio of 2:1."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = high - low
    least = 1e-6 * max(np.abs(points).max(), 1e-9)
    span = span if span.max() > least else np.ones(2)  # all points in one place
    ratio = float(np.clip(span[0] / max(span[1], 1e-9 * span[0]), 0.5, 2))
    size = (SIDE, SIDE / ratio) if ratio >= 1 else (SIDE * ratio, SIDE)
    length = 1.06 * max(span[0] / size[0], span[1] / size[1])  # units of the latent code per inch
    half = length * np.array(size) / 2
    middle = (low + high) / 2
    figure = sheet(look, LEFT + size[0] + GAP, BOTTOM + size[1] + TOP)
    axes = style(figure.add_axes((0, 0, 1, 1)), look, grid=True)
    axes.set_aspect("equal", adjustable="box")
    axes.set(xlim=(middle[0] - half[0], middle[0] + half[0]), ylim=(middle[1] - half[1], middle[1] + half[1]))
    place(figure, axes, (LEFT, BOTTOM, *size))
    return figure, axes, size


def _draw(axes: Axes, points: Points, groups: Labels, look: Look) -> Any:
    """Draws the points; returns the mappable of a colour bar where labels are continuous."""
    count = len(points)
    order = np.random.default_rng(0).permutation(count)
    points, groups = points[order], groups[order]
    dots: dict[str, Any] = {
        "s": float(np.clip(400 / np.sqrt(count), 2, 40)),
        "alpha": float(np.clip(1.5 - 0.22 * np.log10(count), 0.35, 0.9)),
        "linewidths": 0,
        "rasterized": count > MANY,
    }
    if groups.values is not None:
        bare = ~np.isfinite(groups.values)
        axes.scatter(*points[bare].T, color=look.muted, **dots)
        return axes.scatter(points[~bare, 0], points[~bare, 1], c=groups.values[~bare], cmap=_ramp(look), **dots)
    if groups.index is None:
        axes.scatter(*points.T, color=look.lines[0], **dots)
        return None
    colors = np.array([*look.classes, look.muted])
    palette = np.where(groups.index < 0, len(look.classes), groups.index % len(look.classes))
    marker = np.where(groups.index < 0, 0, groups.index // len(look.classes) % len(MARKERS))
    for number in np.unique(marker):
        part = marker == number
        axes.scatter(points[part, 0], points[part, 1], c=colors[palette[part]], marker=MARKERS[number], **dots)
    return None


def _ramp(look: Look) -> Any:
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["viridis"](np.linspace(*look.ramp, 256)), name="diabolo")


def _color_bar(figure: Figure, axes: Axes, mappable: Any, size: tuple[float, float], look: Look) -> None:
    width, height = size
    whole = figure.get_size_inches()[1]
    figure.set_size_inches(LEFT + width + 1.1, whole)
    place(figure, axes, (LEFT, BOTTOM, width, height))
    bar = figure.add_axes((0, 0, 1, 1))
    scale: Any = figure.colorbar(mappable, cax=bar)
    scale.solids.set(alpha=1)
    scale.outline.set_visible(False)
    style(bar, look)
    bar.set_title("label", fontsize=SMALL, color=look.muted, loc="left")
    place(figure, bar, (LEFT + width + GAP, BOTTOM, 0.18, height))


def _class_legend(figure: Figure, axes: Axes, groups: Labels, size: tuple[float, float], look: Look) -> None:
    """A legend of the classes that have points, right of the axes, for which the figure grows."""
    from matplotlib.lines import Line2D

    entries = [(number, shorten(groups.names[number])) for number in groups.present]
    if groups.index is not None and (groups.index < 0).any():
        entries.append((-1, "no label"))
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            markersize=6,
            markeredgewidth=0,
            marker=MARKERS[max(number, 0) // len(look.classes) % len(MARKERS)],
            color=look.muted if number < 0 else look.classes[number % len(look.classes)],
        )
        for number, _ in entries
    ]
    width, height = size
    fits = max(1, int(height / 0.205))
    legend = axes.legend(
        handles, [str(number) for number in range(len(handles))], loc="upper left", bbox_to_anchor=(1, 1),
        ncols=-(-len(handles) // fits), borderaxespad=0, borderpad=0, handletextpad=0.3, labelspacing=0.35,
        handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip
    style_legend(legend, look, [name for _, name in entries])
    wide = legend.get_window_extent(renderer_of(figure)).width / DPI
    figure.set_size_inches(LEFT + width + GAP + wide + GAP, BOTTOM + height + TOP)
    place(figure, axes, (LEFT, BOTTOM, width, height))
    legend.set_bbox_to_anchor((1 + GAP / width, 1))


def _name_classes(figure: Figure, axes: Axes, points: Points, groups: Labels, look: Look) -> None:
    """Writes the name of each class at the median of its points, or nearby where it would touch another name."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground=look.background)]
    boxes: list[Bbox] = []
    renderer = renderer_of(figure)
    for number in groups.present:
        own = points[groups.index == number]
        if len(own) < ENOUGH:
            continue
        middle = np.median(own, axis=0)
        text = axes.text(
            middle[0], middle[1], "", ha="center", va="center", fontsize=NORMAL, weight="bold", color=look.text,
            path_effects=halo, zorder=5,
        )  # fmt: skip
        plain(text, shorten(groups.names[number], 16))
        _move_apart(axes, text, boxes, renderer)


def _move_apart(axes: Axes, text: Text, boxes: list[Bbox], renderer: Any) -> None:
    """Moves a text along a spiral until it touches no other, or removes it."""
    start = axes.transData.transform(text.get_position())
    for turn in range(60):
        shift = 0.16 * turn * DPI / 6 * np.array([np.cos(turn * 2.4), np.sin(turn * 2.4)])
        x, y = axes.transData.inverted().transform(start + shift)
        text.set_position((x, y))
        box = text.get_window_extent(renderer).padded(0.06 * DPI, 0)
        if not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
            return
    text.remove()


def scatter_3d(
    codes: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: Sequence[str] = (),
    *,
    most: int = 500,
    theme: Theme = "light",
) -> Figure:
    """Latent codes in space: each point is the name of its class, in the colour of the class.

    Args:
        codes: (n, 3).
        labels: (n,) classes, as in `scatter`; a point without one is a grey dot.
        classes: the names of the labels 0, 1, ...
        most: the most points; of more, so many at equal distances are drawn, and the title says so.
        theme: light or dark.

    Raises:
        ShapeError: codes or labels of another shape.
        ConfigError: continuous labels, `most` below 1, an unknown theme.
        DataError: a label that is no class; no finite code.

    >>> codes = np.random.default_rng(0).standard_normal((20, 3))
    >>> scatter_3d(codes, [0, 1] * 10, most=5).axes[0].get_title()
    '5 of 20 codes'
    """
    look = look_of(theme)
    points = read_codes(codes, "A scatter in space")
    if points.shape[1] != 3:
        raise ShapeError(
            f"A scatter in space shows 3 columns, and the codes have {points.shape[1]}: choose three, "
            "codes[:, [0, 1, 2]], or project them first."
        )
    groups = read_labels(labels, classes, len(points))
    if groups.index is None:
        raise ConfigError("A scatter in space draws classes, and these labels are continuous: use `scatter` for them.")
    if most < 1:
        raise ConfigError(f"most, how many points are drawn, should be at least 1, and was given {most}.")
    fine = np.flatnonzero(np.isfinite(points).all(axis=1))
    rows = fine[np.linspace(0, len(fine) - 1, min(most, len(fine))).astype(int)]
    title = "" if len(rows) == len(points) else f"{len(rows):,} of {len(points):,} codes"
    figure = sheet(look, 6.4, 6.0)
    axes: Any = figure.add_axes((0.02, 0.04, 0.88, 0.92), projection="3d")
    _style_space(axes, points[rows], look)
    for point, number in zip(points[rows], groups.index[rows], strict=True):
        color = look.muted if number < 0 else look.classes[number % len(look.classes)]
        name = "·" if number < 0 else shorten(groups.names[number], 16)
        plain(axes.text(*point, "", ha="center", va="center", fontsize=NORMAL, weight="bold", color=color), name)
    plain(axes.set_title(title, fontsize=LARGE, color=look.text), title)
    return figure


def _style_space(axes: Any, points: Points, look: Look) -> None:
    """Sets the limits from the data, and the colours of the theme, which three-dimensional axes keep elsewhere."""
    axes.set_facecolor(look.background)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.04 * (high - low), 0.5)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    axes.set_zlim(low[2] - margin[2], high[2] + margin[2])
    for number, axis in enumerate((axes.xaxis, axes.yaxis, axes.zaxis), 1):
        axis.set_pane_color(look.background)
        axis.line.set_color(look.muted)
        axis.label.set(text=f"z{number}", color=look.text, fontsize=NORMAL)
        colors = getattr(axis, "_axinfo", {}).get("grid")  # no public way to colour the grid alone
        if colors is not None:
            colors.update(color=look.faint, linewidth=0.6)
    axes.tick_params(which="both", colors=look.muted, labelcolor=look.muted, labelsize=SMALL)
