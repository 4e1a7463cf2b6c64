"""What the axes of an example are: the layouts, and which one fits the shape of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diabolo.errors import ConfigError, ShapeError

__all__ = ["LAYOUTS", "channel_axis", "check_layout", "layout_of"]

LAYOUTS: dict[str, int | None] = {
    "F": 2, "HW": 3, "HWC": 4, "CHW": 4, "LC": 3, "CL": 3, "DHW": 4, "CDHW": 5, "THWC": 5, "TCHW": 5, "any": None
}  # fmt: skip
"""Each layout and the rank it asks of the whole array, the examples' axis included."""

COLOURS = (1, 3, 4)  # channels of a picture
SLICES = 16  # the fewest values along a side of what is taken for a volume
WORDS = {
    "DHW": "volumes (depth, height, width)",
    "CDHW": "volumes or video with the channels first (channels, depth or time, height, width)",
    "THWC": "video (time, height, width, colours)",
    "TCHW": "video (time, colours, height, width)",
}


def channel_axis(layout: str) -> int | None:
    """Which axis of an example holds its channels, features or colours; None where it has no such axis.

    >>> channel_axis("HWC"), channel_axis("F"), channel_axis("HW")
    (2, 0, None)
    """
    if layout in ("F", "any"):  # networks that convolve take the first axis of `any` for channels
        return 0
    return layout.index("C") if "C" in layout else None


def check_layout(layout: str, shape: tuple[int, ...]) -> None:
    """Raises ConfigError for an unknown layout and ShapeError for one that does not fit the rank of `shape`."""
    if layout not in LAYOUTS:
        raise ConfigError(f"There is no layout {layout!r}. Known: {', '.join(LAYOUTS)}.")
    rank = LAYOUTS[layout]
    if len(shape) < 2 or (rank is not None and rank != len(shape)):
        expected = f"{rank} axes, (N, {', '.join(layout)})" if rank else "two axes or more"
        raise ShapeError(
            f"The layout {layout!r} asks for {expected}; received {len(shape)}, {shape}. "
            "Reshape the array or name another layout."
        )


def layout_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[str, tuple[str, ...]]:
    """The layout of an array, where its shape leaves no doubt, and what to say about it.

    Raises:
        ShapeError: it could have several layouts; the message lists them.

    >>> layout_of((9, 28, 28, 3), np.dtype(np.float32)), layout_of((9, 16, 64, 64, 3), np.dtype(np.uint8))[0]
    (('HWC', ()), 'THWC')
    """
    if len(shape) == 1:
        raise ShapeError(
            f"Examples need at least one axis of their own; received a one-dimensional array, {shape}. "
            f"For {shape[0]:,} examples of one number each, reshape it to ({shape[0]}, 1)."
        )
    event = shape[1:]
    rules: tuple[Callable[[tuple[int, ...]], str | None], ...] = (
        lambda _: "F", lambda event: _of_two(event, dtype), _of_three, _of_four
    )  # fmt: skip
    layout = rules[len(event) - 1](event) if len(event) <= len(rules) else "any"
    fitting = [repr(name) for name, rank in LAYOUTS.items() if rank in (len(shape), None)]
    if layout is None:
        raise ShapeError(
            f"An array of shape {shape} could be read in more than one way. "
            f"Say which with layout=, one of {', '.join(fitting)}."
        )
    if layout == "any":
        words = f"examples of {len(event)} axes, which are taken as they are (any): no layout names them"
        return layout, (f"{words}; reshape them to one that does",)
    others = ", ".join(name for name in fitting if name != repr(layout))
    is_said = layout in WORDS
    return layout, (f"{shape}, taken for {WORDS[layout]} (layout= overrules it: {others})",) if is_said else ()


def _of_two(event: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    small, large = min(event), max(event)
    if dtype == np.uint8 or small == large or (small >= 16 and large < 4 * small):
        return "HW"
    if large >= 8 * small and small <= 16:
        return "LC" if event[1] == small else "CL"
    return None


def _of_three(event: tuple[int, ...]) -> str | None:
    first, last = event[0] in COLOURS, event[-1] in COLOURS
    if not first and not last:  # a volume of about equal sides, or maps of many channels
        return "DHW" if min(event) >= SLICES and max(event) <= 2 * min(event) else None
    return None if first and last else ("HWC" if last else "CHW")


def _of_four(event: tuple[int, ...]) -> str | None:
    colours = [axis for axis, side in enumerate(event) if side in COLOURS]
    return {0: "CDHW", 1: "TCHW", 3: "THWC"}.get(colours[0]) if len(colours) == 1 else None
