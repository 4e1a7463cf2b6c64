"""The style of figures: two themes with their colours, empty figures, axes, legends and texts.

A figure has its own background, so that its text keeps its contrast on any page; a page with a dark mode embeds both
themes and shows one. Nothing here changes matplotlib's global state, and figures do not belong to pyplot: they need no
screen, can be drawn in threads, and are freed with their last reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from diabolo.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

__all__ = [
    "DPI",
    "THEMES",
    "Look",
    "Theme",
    "look_of",
    "number",
    "place",
    "plain",
    "renderer_of",
    "sheet",
    "shorten",
    "style",
    "style_legend",
]

Theme = Literal["light", "dark"]
DPI = 150
SMALL, NORMAL, LARGE = 8, 9, 10  # points


@dataclass(frozen=True)
class Look:
    """The colours of a theme.

    The ten class colours come from a search: any two are at least 25 apart in CIELAB (CIE 1976) for normal sight,
    protanopia and deuteranopia, and 20 for tritanopia; each has a contrast of at least 3:1 with the background. Text
    has at least 4.5:1. A test checks this.

    Attributes:
        background: of the figure and its axes.
        text: titles and names.
        muted: numbers at the ticks, notes.
        faint: grid lines and frames.
        classes: ten colours.
        lines: three colours for thin lines and bars, each with a contrast of at least 4.5:1.
        ramp: the part of the colour map `viridis` that stands out from the background.
    """

    background: str
    text: str
    muted: str
    faint: str
    classes: tuple[str, ...]
    lines: tuple[str, str, str]
    ramp: tuple[float, float]


THEMES = {
    "light": Look(
        background="#ffffff",
        text="#1b1f24",
        muted="#57606a",
        faint="#d8dee4",
        classes=(
            *("#2953f5", "#f06763", "#5e0f5c", "#116602", "#a09306"),
            *("#c47491", "#7c67ab", "#570092", "#1e94fa", "#69142b"),
        ),
        lines=("#2953f5", "#c2410c", "#116602"),
        ramp=(0.0, 0.8),
    ),
    "dark": Look(
        background="#15181e",
        text="#e6edf3",
        muted="#9aa4af",
        faint="#353b44",
        classes=(
            *("#3857f5", "#f2290b", "#a737af", "#5cecc0", "#dbd47b"),
            *("#c64883", "#bed4ff", "#ffbe16", "#09a1ff", "#c5313d"),
        ),
        lines=("#4cb0ff", "#ffbe16", "#5cecc0"),
        ramp=(0.3, 1.0),
    ),
}


def look_of(theme: str) -> Look:
    """The colours of a theme.

    Raises:
        ConfigError: neither light nor dark.
    """
    if theme not in THEMES:
        raise unknown_name("theme", theme, THEMES)
    return THEMES[theme]


def sheet(look: Look, width: float, height: float, *, constrained: bool = False) -> Figure:
    """An empty figure of `width` x `height` inches on an Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=look.background, edgecolor="none")
    if constrained:
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    else:
        figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes, look: Look, *, grid: bool = False) -> Axes:
    """Sets the colours and sizes of axes to those of a theme, whatever the user's matplotlib settings are."""
    axes.set_facecolor(look.background)
    for side, spine in axes.spines.items():
        spine.set(color=look.faint, linewidth=0.8, visible=side in ("left", "bottom"))
    axes.tick_params(
        which="both", color=look.faint, labelcolor=look.muted, labelsize=SMALL, length=3, width=0.8, direction="out"
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=look.text, fontsize=NORMAL)
        axis.get_offset_text().set(color=look.muted, fontsize=SMALL)
    axes.grid(False)
    if grid:
        axes.grid(True, color=look.faint, linewidth=0.6, linestyle="-")
    axes.set_axisbelow(True)
    return axes


def style_legend(legend: Legend, look: Look, names: list[str] | None = None) -> Legend:
    """Sets the colours of a legend to those of a theme, and its names, which are not read as mathematics."""
    for text, name in zip(legend.get_texts(), names or [t.get_text() for t in legend.get_texts()], strict=True):
        plain(text, name).set(color=look.text, fontsize=SMALL)
    legend.get_frame().set(facecolor=look.background, edgecolor="none", alpha=0.9)
    return legend


def plain(text: Text, string: str) -> Text:
    """Sets the string of a text without reading it as mathematics: a name may hold a dollar sign."""
    text.set_parse_math(False)
    text.set_text(string)
    return text


def place(figure: Figure, axes: Axes, box: tuple[float, float, float, float]) -> None:
    """Places axes at (left, bottom, width, height) in inches."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = box
    axes.set_position((left / width, bottom / height, wide / width, high / height))


def renderer_of(figure: Figure) -> Any:
    """The renderer of a figure, which measures its texts."""
    return figure.canvas.get_renderer()  # type: ignore[attr-defined]


def number(value: float, spec: str) -> str:
    """A number as text, with a true minus sign, and none before zero."""
    text = format(float(value), spec)
    return (text if text.strip("-0.") else text.lstrip("-")).replace("-", "−")


def shorten(name: str, most: int = 24) -> str:
    """A name of at most `most` characters, shortened in the middle."""
    name = " ".join(str(name).split())
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - half]}…{name[-half:]}"
