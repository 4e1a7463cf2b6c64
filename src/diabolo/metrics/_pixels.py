"""Metrics of reconstructions: squared error, PSNR, SSIM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.config import require
from diabolo.errors import ShapeError
from diabolo.metrics._check import Floats, pair

__all__ = ["psnr", "squared_error", "ssim"]

CHUNK = 500_000  # values at a time
RADIUS = 5  # of the Gaussian window of SSIM, in pixels
DEVIATION = 0.3  # of that window, in radii: 1.5 pixels where the radius is 5
LAYOUTS = ("HW", "HWC", "CHW")


def squared_error(x: Any, y: Any) -> Floats:
    """The mean over each example's values of (x - y)^2, (n,), in the squared units of the data.

    Args:
        x: (n, *event).
        y: (n, *event).

    Raises:
        ShapeError: two shapes, or no examples.
        DataError: NaN or infinite values.

    >>> squared_error(np.zeros((2, 4)), [[0, 0, 0, 2], [1, 1, 1, 1]]).tolist()
    [1.0, 1.0]
    """
    return np.concatenate([np.square(a - b).reshape(len(a), -1).mean(1) for a, b in _chunks(*pair(x, y, "values"))])


def psnr(x: Any, y: Any, peak: float = 1.0, cap: float = 100.0) -> Floats:
    """The peak signal-to-noise ratio of each example, 10 log10(peak^2 / squared error), (n,), in decibels.

    Images that are the same have an infinite ratio, and one of them would make the mean over a set infinite: no ratio
    is above `cap`.

    Args:
        x: (n, *event).
        y: (n, *event).
        peak: the largest value that there may be, less the smallest.
        cap: the largest ratio of an example; `math.inf` for none.

    Raises:
        ConfigError: a peak that is not positive.
        ShapeError: two shapes, or no examples.
        DataError: NaN or infinite values.

    >>> psnr(np.zeros((2, 8, 8)), np.full((2, 8, 8), 0.1)).round(6).tolist()
    [20.0, 20.0]
    """
    _check_peak(peak)
    error = squared_error(x, y)
    with np.errstate(divide="ignore"):
        ratio: Floats = np.minimum(10 * np.log10(peak**2 / error), cap)
    return ratio


def ssim(x: Any, y: Any, layout: str, peak: float = 1.0) -> Floats:
    """The structural similarity of each image with its original, (n,), at most 1.

    Wang, Bovik, Sheikh, Simoncelli 2004, "Image quality assessment: from error visibility to structural similarity",
    https://doi.org/10.1109/TIP.2003.819861, equation 13, averaged over every place where the window lies within the
    image, and over channels:

        (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2))

    with C1 = (0.01 peak)^2 and C2 = (0.03 peak)^2. The window is a Gaussian of 11 x 11 pixels with a deviation
    of 1.5. In a smaller image it is the largest one of odd width that lies within, and its deviation shrinks with its
    radius: 7 x 7 and 0.9 for images of 8 x 8. Numbers of different windows do not compare.

    Args:
        x: (n, *event).
        y: (n, *event).
        layout: HW, HWC or CHW.
        peak: the largest value that there may be, less the smallest.

    Raises:
        ConfigError: a peak that is not positive.
        ShapeError: two shapes, no images of this layout, or images of fewer than 3 x 3 pixels.
        DataError: NaN or infinite values.

    >>> x = np.random.default_rng(0).random((2, 16, 16))
    >>> ssim(x, x, "HW").round(6).tolist(), bool((ssim(x, 1 - x, "HW") < 0).all())
    ([1.0, 1.0], True)
    """
    _check_peak(peak)
    first, second = pair(x, y, "images")
    if layout not in LAYOUTS or first.ndim != len(layout) + 1:
        raise ShapeError(
            f"SSIM is for images, (n, *event) of the layout HW, HWC or CHW, and was given the layout {layout} and the "
            f"shape {first.shape}."
        )
    height, width = (first.shape[1 + layout.index(axis)] for axis in "HW")
    if min(height, width) < 3:
        raise ShapeError(f"SSIM needs images of at least 3 x 3 pixels, and these have {height} x {width}.")
    radius = min(RADIUS, (min(height, width) - 1) // 2)
    down, across = _window(height, radius), _window(width, radius).T
    similarity = []
    for a, b in _chunks(first, second):
        channels = [np.moveaxis(values, -1, 1) if layout == "HWC" else values for values in (a, b)]
        likeness = _similarity(channels[0], channels[1], down, across, peak)
        similarity.append(likeness.reshape(len(a), -1).mean(1))
    return np.concatenate(similarity)


def _similarity(x: Floats, y: Floats, down: Floats, across: Floats, peak: float) -> Floats:
    """The similarity at each place of the window, (n, ..., H', W'), of images (n, ..., H, W)."""
    mean_x, mean_y, xx, yy, xy = (down @ values @ across for values in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    return luminance * structure


def _window(size: int, radius: int) -> Floats:
    """The matrix that averages `size` values with a Gaussian window at each place within, (size - 2 radius, size)."""
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / (DEVIATION * radius)))
    weights /= weights.sum()
    places = size - 2 * radius
    matrix = np.zeros((places, size))
    for place in range(places):
        matrix[place, place : place + len(weights)] = weights
    return matrix


def _check_peak(peak: float) -> None:
    require(math.isfinite(peak) and peak > 0, "peak", "a positive number", peak)


def _chunks(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Iterator[tuple[Floats, Floats]]:
    """Chunks of both arrays as float64, so that their squares never fill the memory."""
    step = max(1, CHUNK // max(1, math.prod(x.shape[1:])))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        yield x[part].astype(np.float64), y[part].astype(np.float64)
