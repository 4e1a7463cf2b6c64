"""Figures of a run: its loss terms by epoch, and the KL of each dimension of the latent code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import DataError, ShapeError, unknown_name
from diabolo.figures._theme import NORMAL, SMALL, Look, Theme, look_of, plain, sheet, style, style_legend

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "kl_per_dimension", "unit"]

PARTS = ("train", "validation", "test")
OF_THE_RUN = ("beta", "lr")
UNITS = {"mse": "per value", "bits_per_dim": "bits per dimension", "seconds": "seconds"}
WITHOUT = ("beta", "lr", "active_units", "accuracy", "grad_norm")
ACTIVE = 0.01  # nats: the KL up to which a dimension counts as inactive, where `active` is not given
NAMED = 64  # dimensions: up to so many, each bar has its name


def unit(term: str) -> str:
    """The unit of a term of the history: by default nats per example; empty where it has none.

    >>> unit("kl"), unit("mse"), unit("beta")
    ('nats per example', 'per value', '')
    """
    return "" if term in WITHOUT else UNITS.get(term, "nats per example")


def curves(
    history: Sequence[Mapping[str, Any]],
    terms: Sequence[str] | None = None,
    *,
    best_epoch: int | None = None,
    theme: Theme = "light",
) -> Figure:
    """The terms of the loss by epoch: a panel for each, titled with its name and unit.

    Args:
        history: a mapping for each epoch, with `epoch` and any of `train`, `validation` and `test`: name -> number
            (None or NaN leaves a gap). Lines without `epoch` are left out. `beta` and `lr` are drawn if they change.
        terms: the terms, in this order; all when left out.
        best_epoch: an epoch to mark by a line.
        theme: light or dark.

    Raises:
        DataError: no epochs, or no numbers in them.
        ConfigError: a term that the history does not have, an unknown theme.

    >>> history = [{"epoch": epoch, "train": {"loss": 1 / epoch}} for epoch in (1, 2, 3)]
    >>> [axes.get_title(loc="left") for axes in curves(history).axes]
    ['loss, nats per example']
    """
    look = look_of(theme)
    epochs, series = _read(history, terms)
    names = list(series)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = sheet(look, 3.4 * columns + 0.2, 2.2 * rows + 0.6, constrained=True)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    handles: dict[str, Artist] = {}
    for axes, name in zip(panels, names, strict=False):
        handles |= _panel(axes, name, epochs, series[name], look)
        if best_epoch is not None:
            mark = axes.axvline(best_epoch, color=look.muted, linewidth=1, linestyle=":")
            handles[f"best epoch: {best_epoch}"] = mark
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(names) - columns) : len(names)]:
        axes.set_xlabel("epoch")
    order = [*(part for part in PARTS if part in handles), *(name for name in handles if name.startswith("best"))]
    if order:
        legend = figure.legend([handles[name] for name in order], order, loc="outside upper right", ncols=4)
        style_legend(legend, look)
    return figure


def _read(
    history: Sequence[Mapping[str, Any]], terms: Sequence[str] | None
) -> tuple[list[int], dict[str, dict[str, list[float]]]]:
    """The epochs, and the series of the requested terms."""
    lines = [line for line in history if isinstance(line.get("epoch"), int)]
    if not lines:
        raise DataError("The history has no epochs, lines with the key 'epoch': there is nothing to draw yet.")
    series = _series(lines)
    if not series:
        raise DataError("The history has no numbers under 'train', 'validation' or 'test': there is nothing to draw.")
    for term in terms or ():
        if term not in series:
            raise unknown_name("term in the history", term, series)
    return [int(line["epoch"]) for line in lines], {term: series[term] for term in terms or series}


def _series(lines: list[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """A number for each epoch, NaN where there is none, by term and part; the part of beta and lr is empty."""
    series: dict[str, dict[str, list[float]]] = {}
    for place, line in enumerate(lines):
        for part in PARTS:
            for term, value in (line.get(part) or {}).items():
                if _is_number(value):
                    series.setdefault(term, {}).setdefault(part, [math.nan] * len(lines))[place] = float(value)
    for term in OF_THE_RUN:
        values = [float(line[term]) if _is_number(line.get(term)) else math.nan for line in lines]
        if term not in series and len({value for value in values if not math.isnan(value)}) > 1:
            series[term] = {"": values}
    return series


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _panel(axes: Axes, name: str, epochs: list[int], parts: dict[str, list[float]], look: Look) -> dict[str, Artist]:
    from matplotlib.ticker import MaxNLocator

    style(axes, look, grid=True)
    looks = {
        "train": (look.lines[0], 1.2, "--"),
        "validation": (look.lines[1], 1.6, "-"),
        "test": (look.lines[2], 1.6, "-"),
        "": (look.text, 1.2, "-"),
    }
    handles: dict[str, Artist] = {}
    for part, values in parts.items():
        color, width, dashes = looks[part]
        marker = "o" if len(epochs) <= 30 else ""
        size = 5.0 if len(epochs) == 1 else 2.5
        (handles[part],) = axes.plot(
            epochs, values, color=color, linewidth=width, linestyle=dashes, marker=marker, markersize=size
        )
    title = ", ".join(filter(None, (name, unit(name))))
    plain(axes.set_title(title, loc="left", fontsize=NORMAL, color=look.text), title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.ticklabel_format(axis="y", useOffset=False)
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
    return handles


def kl_per_dimension(kl: npt.ArrayLike, active: npt.ArrayLike | None = None, *, theme: Theme = "light") -> Figure:
    """The KL of each dimension of the latent code, in nats: bars, the largest first.

    Inactive dimensions are grey and hatched and end in a cross. Dimensions are named z1, z2, ...; z1 is column 0 of
    the codes.

    Args:
        kl: (d,), nats.
        active: (d,), whether each dimension is in use; when left out, those above 0.01 nats are.
        theme: light or dark.

    Raises:
        ShapeError: no dimensions, or not one `active` for each.
        DataError: a KL that is not finite.
        ConfigError: an unknown theme.

    >>> kl_per_dimension([2.0, 0.0, 3.5]).axes[0].get_title(loc="left")
    '5.50 nats in all, 2 of 3 dimensions active'
    """
    look = look_of(theme)
    nats = np.asarray(kl, np.float64)
    used = nats > ACTIVE if active is None else np.asarray(active, bool)
    if nats.ndim != 1 or nats.size == 0 or used.shape != nats.shape:
        raise ShapeError(
            f"The KL should be one number for each dimension, (d,), and `active` as many; they have the shapes "
            f"{nats.shape} and {used.shape}."
        )
    if not np.isfinite(nats).all():
        raise DataError(f"The KL of {int((~np.isfinite(nats)).sum())} dimensions is not finite: did training diverge?")
    order = np.argsort(-nats, kind="stable")
    count = len(nats)
    figure = sheet(look, float(np.clip(0.16 * count + 1.5, 4.5, 12)), 3.0, constrained=True)
    axes = style(figure.subplots(), look)
    axes.grid(True, axis="y", color=look.faint, linewidth=0.6)
    _draw_kl(axes, nats[order], used[order], look, ACTIVE if active is None else None)
    _name_dimensions(axes, order)
    title = f"{nats.sum():.2f} nats in all, {int(used.sum()):,} of {count:,} dimensions active"
    plain(axes.set_title(title, loc="left", fontsize=NORMAL, color=look.text), title)
    axes.set_ylabel("KL, nats per example")
    return figure


def _draw_kl(axes: Axes, nats: npt.NDArray[Any], used: npt.NDArray[Any], look: Look, limit: float | None) -> None:
    places = np.arange(len(nats))
    width = 0.8 if len(nats) <= NAMED else 1.0
    handles: dict[str, Any] = {}
    if used.any():
        handles["active"] = axes.bar(places[used], nats[used], width, color=look.lines[0], linewidth=0)
    if not used.all():
        rest = places[~used]
        axes.bar(
            rest, nats[~used], width, color=look.faint, edgecolor=look.muted, linewidth=0.4, hatch="////",
        )  # fmt: skip
        size = 4.0 if len(nats) <= 200 else 2.0
        name = "inactive" if limit is None else f"inactive (at most {limit:g} nats)"
        (handles[name],) = axes.plot(rest, nats[~used], "x", color=look.muted, markersize=size, markeredgewidth=0.8)
        style_legend(axes.legend(list(handles.values()), list(handles), loc="upper right"), look)
    low, high = min(nats.min(), 0.0), max(nats.max(), ACTIVE)
    axes.set(xlim=(-0.6, max(len(nats), 4) - 0.4), ylim=(low - 0.02 * (high - low), high * 1.12))


def _name_dimensions(axes: Axes, order: npt.NDArray[np.int64]) -> None:
    """Labels the bars with the names of their dimensions; some of them where there are many."""
    count = len(order)
    step = 1 if count <= NAMED else -(-count // 48)
    places = np.arange(0, count, step)
    axes.set_xticks(places, [f"z{order[place] + 1}" for place in places])
    axes.tick_params(axis="x", rotation=0 if count <= 24 else 90, labelsize=SMALL if count <= 24 else 6.5, length=2)
    axes.set_xlabel("dimension" if step == 1 else f"dimension (every {step}th is named)")
