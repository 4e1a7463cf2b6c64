"""Figures of denoising: noisy and denoised examples, with their peak signal-to-noise ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import ConfigError
from diabolo.figures._examples import reconstructions
from diabolo.figures._grids import draw_grid, examples, finish, kind_of, label_rows
from diabolo.figures._theme import Theme, look_of, number
from diabolo.storage.images import as_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["denoised"]

Array = npt.NDArray[Any]


def denoised(
    noisy: Array,
    denoised: Array,
    clean: Array | None = None,
    layout: str = "HW",
    n: int = 10,
    *,
    features: Sequence[str] = (),
    theme: Theme = "light",
) -> Figure:
    """Noisy examples above denoised ones, above the clean ones where these are known.

    Each row of images is labelled with its peak signal-to-noise ratio against the clean ones, 10 log10(1 / mean squared
    error), averaged over the images of the figure, clipped to [0, 1] as they are drawn. Signals and tables are
    drawn as `reconstructions` draws them.

    Args:
        noisy: (m, *event), as drawn: uint8, or floats of which those outside [0, 1] are clipped.
        denoised: (m, *event), as drawn.
        clean: (m, *event), as drawn, where known.
        layout: F, LC, CL, HW, HWC, CHW or any.
        n: the number of examples, the first ones; all m if there are fewer.
        features: the names of a table's columns.
        theme: light or dark.

    Raises:
        ShapeError: an array that does not fit the layout or the others.
        ConfigError: n below 1, an unknown layout or theme.

    >>> clean = np.zeros((4, 8, 8))
    >>> figure = denoised(clean + 0.1, clean + 0.01, clean)
    >>> [label.get_text().split() for label in figure.axes[0].get_yticklabels()]
    [['noisy', '19.8', 'dB'], ['denoised', '38.6', 'dB'], ['clean']]
    """
    look = look_of(theme)
    noisy = examples(noisy, layout, "The noisy examples")
    denoised = examples(denoised, layout, "The denoised examples", like=noisy)
    clean = None if clean is None else examples(clean, layout, "The clean examples", like=noisy)
    if n < 1:
        raise ConfigError(f"n, how many examples are shown, should be at least 1, and was given {n}.")
    if kind_of(layout) != "image":
        original, inputs = (noisy, None) if clean is None else (clean, noisy)
        return reconstructions(original, denoised, layout, n, inputs, features=features, theme=theme)
    n = min(n, len(noisy))
    parts = {"noisy": as_pixels(noisy[:n], layout), "denoised": as_pixels(denoised[:n], layout)}
    names = list(parts)
    if clean is not None:
        truth = as_pixels(clean[:n], layout)
        names = [f"{name}\n{number(_psnr(part, truth), '.1f')} dB" for name, part in parts.items()] + ["clean"]
        parts["clean"] = truth
    pixels = np.concatenate(list(parts.values()))
    grid = draw_grid(pixels, "HWC" if pixels.ndim == 4 else "HW", n, look, inches=0.8 if n > 4 else 1.2)
    label_rows(grid, names)
    return finish(grid, look)


def _psnr(pixels: Array, truth: Array) -> float:
    """The mean over images of their peak signal-to-noise ratio, dB; both are uint8."""
    error = np.square((pixels.astype(np.float64) - truth) / 255).reshape(len(pixels), -1).mean(1)
    with np.errstate(divide="ignore"):
        return float(np.mean(-10 * np.log10(error)))
