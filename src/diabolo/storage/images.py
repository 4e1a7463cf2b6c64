"""Arrays as pixels: grids of exact size, PNG bytes; needs NumPy and Pillow only."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from diabolo.errors import ConfigError, DataError, ShapeError, unknown_name
from diabolo.storage.files import write_bytes

__all__ = ["NOT_A_NUMBER", "SUFFIXES", "as_pixels", "enlarge", "is_image", "pairs", "png", "save_png", "tile"]

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".avif",
    ".avifs", ".jp2", ".j2k", ".jpx", ".j2c", ".jpc", ".jpf", ".pgm", ".ppm", ".pbm", ".pnm", ".pfm", ".tga", ".icb",
    ".vda", ".vst", ".pcx", ".dcx", ".dds", ".ico", ".icns", ".cur", ".im", ".msp", ".psd", ".qoi", ".ras", ".sgi",
    ".rgb", ".rgba", ".bw", ".xbm", ".xpm", ".blp", ".ftc", ".ftu", ".mpo", ".fli", ".flc",
)  # fmt: skip
NOT_A_NUMBER = (255, 0, 255)
"""The colour of a pixel that is NaN: magenta, which no grey image has."""

Pixels = npt.NDArray[np.uint8]
Color = int | tuple[int, int, int]


def is_image(layout: str) -> bool:
    """Whether examples of a layout are images.

    >>> is_image("HWC"), is_image("F")
    (True, False)
    """
    return layout in ("HW", "HWC", "CHW")


def as_pixels(x: npt.NDArray[Any], layout: str, *, cut: bool = False) -> Pixels:
    """Examples as pixels.

    uint8 passes as it is; floats are taken as [0, 1], clipped, times 255 and rounded; booleans are black and white. One
    channel is shown in grey, and so is the first of two; three are red, green and blue; of more than three the first
    three are shown (a fourth is not taken as transparency). A pixel that is NaN in any channel shown is magenta,
    `NOT_A_NUMBER`: grey examples become coloured ones when there is such a pixel.

    Args:
        x: (n, *event), uint8, floats or booleans.
        layout: HW, HWC or CHW.
        cut: floats times 255 are cut to whole numbers, as `astype(uint8)` does, in place of being rounded.

    Returns:
        uint8 (n, H, W), or (n, H, W, 3) in colour.

    Raises:
        ShapeError: the examples are no images, or not of this layout, or have no pixels.
        DataError: neither uint8 nor floats nor booleans.

    >>> as_pixels(np.array([[[0.0, 0.5, 1.0]]]), "HW").tolist()
    [[[0, 128, 255]]]
    """
    x = np.asarray(x)
    if not is_image(layout):
        raise ShapeError(
            f"Only images can be drawn as pixels: the layout should be HW, HWC or CHW, and is {layout} (shape "
            f"{x.shape}). Tables and signals are drawn by `diabolo.figures`."
        )
    if x.ndim != len(layout) + 1 or 0 in x.shape[1:]:
        raise ShapeError(
            f"Images of layout {layout} come as an array (n, {', '.join(layout)}) with at least one pixel, and this "
            f"has the shape {x.shape}. Give several examples, x[None] for a single one, or another layout."
        )
    if layout == "CHW":
        x = np.moveaxis(x, 1, -1)
    if x.ndim == 4:
        x = x[..., :3] if x.shape[-1] >= 3 else x[..., 0]
    return np.ascontiguousarray(_bytes(x, np.floor if cut else np.round))


def _bytes(x: npt.NDArray[Any], whole: Callable[[Any], Any]) -> Pixels:
    """Pixels of uint8, booleans or floats in [0, 1], (n, H, W[, 3]); NaN becomes magenta."""
    if x.dtype == np.uint8:
        return x
    if x.dtype == np.bool_:
        return x.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(
            f"Pixels should be uint8 (0 to 255) or floats (0 to 1), and these are {x.dtype}: convert them, "
            "for example with x.astype(np.uint8)."
        )
    missing = np.isnan(x)
    pixels: Pixels = whole(np.clip(np.where(missing, 0, x), 0, 1).astype(np.float32) * 255).astype(np.uint8)
    if missing.any():
        pixels = _in_color(pixels, x.ndim == 3)
        pixels[missing if x.ndim == 3 else missing.any(axis=-1)] = NOT_A_NUMBER
    return pixels


def tile(
    pixels: Pixels,
    columns: int,
    pad: int = 0,
    background: Color = 0,
    *,
    order: Literal["rows", "columns"] = "rows",
) -> Pixels:
    """Images side by side.

    Args:
        pixels: uint8 (n, H, W) or (n, H, W, 3), n at least 1.
        columns: images in a row; cells that are left over are background.
        pad: pixels of background between neighbours (not around the whole).
        background: a grey level, or (red, green, blue), which makes the whole coloured.
        order: `rows` fills the grid row by row, `columns` fills the left column first, from top to bottom.

    Returns:
        uint8 (rows * (H + pad) - pad, columns * (W + pad) - pad[, 3]).

    Raises:
        ShapeError: no images, or another shape or type.
        ConfigError: fewer than one column, a negative pad, a background out of range, an unknown order.

    >>> tile(np.zeros((6, 28, 28), np.uint8), columns=3, pad=2).shape
    (58, 88)
    """
    if order not in ("rows", "columns"):
        raise unknown_name("order of a grid", order, ("rows", "columns"))
    pixels = _checked(pixels, "Images to tile", one=False)
    _check_grid(columns, pad, background)
    pixels = _in_color(pixels, np.ndim(background) == 1 and pixels.ndim == 3)
    count, height, width = pixels.shape[:3]
    rows = -(-count // columns)
    whole = np.empty((rows * columns, height + pad, width + pad, *pixels.shape[3:]), np.uint8)
    whole[...] = np.asarray(background, np.uint8)
    whole[:count, :height, :width] = pixels
    cells = (rows, columns) if order == "rows" else (columns, rows)
    grid = whole.reshape(*cells, *whole.shape[1:])
    grid = (grid if order == "rows" else grid.swapaxes(0, 1)).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + pad), columns * (width + pad), *pixels.shape[3:])
    return np.ascontiguousarray(grid[: grid.shape[0] - pad, : grid.shape[1] - pad])


def pairs(originals: Pixels, reconstructions: Pixels, columns: int, pad: int = 0, background: Color = 0) -> Pixels:
    """Each row of originals above the row of its reconstructions, as one grid.

    50 originals and 50 reconstructions of 28 x 28 in 10 columns are a grid of 10 x 10 images, 280 x 280 pixels: rows
    0, 2, 4, 6, 8 hold originals, rows 1, 3, 5, 7, 9 their reconstructions.

    Args:
        originals: uint8 (n, H, W) or (n, H, W, 3).
        reconstructions: as many, of the same height and width; where one is grey and one coloured, both are coloured.
        columns: images in a row.
        pad: as in `tile`.
        background: as in `tile`.

    Raises:
        ShapeError: the two do not fit each other, or are no images.
        ConfigError: as in `tile`.

    >>> images = np.zeros((50, 28, 28), np.uint8)
    >>> pairs(images, images, columns=10).shape
    (280, 280)
    """
    above, below = _checked(originals, "Originals", one=False), _checked(reconstructions, "Reconstructions", one=False)
    if above.shape[:3] != below.shape[:3]:
        raise ShapeError(
            f"Originals and reconstructions should be as many and of the same size, and have the shapes {above.shape} "
            f"and {below.shape}."
        )
    _check_grid(columns, pad, background)
    if above.ndim != below.ndim or np.ndim(background) == 1:
        above, below = _in_color(above, above.ndim == 3), _in_color(below, below.ndim == 3)
    rows: list[Pixels] = []
    for start in range(0, len(above), columns):
        for images in (above, below):
            part = images[start : start + columns]
            filler = np.empty((columns - len(part), *part.shape[1:]), np.uint8)
            filler[...] = np.asarray(background, np.uint8)
            rows.append(np.concatenate([part, filler]))
    return tile(np.concatenate(rows), columns, pad, background)


def enlarge(pixels: Pixels, factor: int) -> Pixels:
    """An image, (H, W[, 3]), with each pixel as a square of `factor` x `factor`.

    Raises:
        ConfigError: a factor below 1.

    >>> enlarge(np.array([[0, 255]], np.uint8), 2).tolist()
    [[0, 0, 255, 255], [0, 0, 255, 255]]
    """
    if factor < 1:
        raise ConfigError(f"The factor to enlarge by should be a whole number of at least 1, and was given {factor}.")
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def png(pixels: Pixels) -> bytes:
    """An image, uint8 (H, W) or (H, W, 3), as PNG; the same pixels give the same bytes.

    Raises:
        ShapeError: another shape or type, or no pixels.

    >>> png(np.zeros((2, 2), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_checked(pixels, "An image", one=True))).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: str | os.PathLike[str], pixels: Pixels) -> None:
    """Writes an image, uint8 (H, W) or (H, W, 3), as PNG, as a whole or not at all.

    Raises:
        ShapeError: another shape or type, or no pixels.
        StorageError: the file could not be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_png(f"{folder}/black.png", np.zeros((2, 2), np.uint8))
    ...     os.listdir(folder)
    ['black.png']
    """
    write_bytes(path, png(pixels))


def _checked(pixels: npt.NDArray[Any], what: str, *, one: bool) -> Pixels:
    """Pixels, checked to be uint8 with the shape of one image or of several."""
    pixels = np.asarray(pixels)
    rank = 2 if one else 3
    fits = pixels.ndim == rank or (pixels.ndim == rank + 1 and pixels.shape[-1] == 3)
    if not fits or pixels.dtype != np.uint8 or pixels.size == 0:
        shape = "(H, W) or (H, W, 3)" if one else "(n, H, W) or (n, H, W, 3) with n at least 1"
        raise ShapeError(
            f"{what} should be uint8 of the shape {shape}, and was given {pixels.dtype} {pixels.shape}. "
            "`as_pixels(x, layout)` makes pixels of examples."
        )
    return pixels


def _check_grid(columns: int, pad: int, background: Color) -> None:
    if columns < 1 or pad < 0:
        raise ConfigError(
            f"A grid needs columns of at least 1 and a pad of at least 0, and was given {columns} and {pad}."
        )
    levels = np.ravel(background)
    if levels.size not in (1, 3) or not all(0 <= level <= 255 for level in levels):
        raise ConfigError(f"The background should be 0 to 255, or three such numbers, and was given {background!r}.")


def _in_color(pixels: Pixels, grey: bool) -> Pixels:
    """Pixels in colour, (..., H, W, 3), of grey ones, (..., H, W), where `grey` is set; otherwise unchanged."""
    return np.repeat(pixels[..., None], 3, axis=-1) if grey else pixels
