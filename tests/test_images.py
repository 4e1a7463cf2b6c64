"""Pixels: where each one goes, and what is refused."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diabolo.errors import ConfigError, DataError, ShapeError, StorageError
from diabolo.storage import images


def test_uint8_passes_and_floats_are_clipped_and_rounded() -> None:
    bytes_ = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    assert np.array_equal(images.as_pixels(bytes_, "HW"), bytes_)
    floats = np.array([[[-1, 0, 0.5], [1, 7, np.inf]]], np.float32)
    assert images.as_pixels(floats, "HW").tolist() == [[[0, 0, 128], [255, 255, 255]]]
    assert images.as_pixels(np.array([[[True, False]]]), "HW").tolist() == [[[255, 0]]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_channels_are_the_same_from_either_layout(channels: int) -> None:
    last = np.random.default_rng(0).integers(0, 256, (5, 13, 37, channels), np.uint8)
    first = np.moveaxis(last, -1, 1)
    pixels = images.as_pixels(last, "HWC")
    assert np.array_equal(pixels, images.as_pixels(first, "CHW"))
    assert pixels.shape == ((5, 13, 37, 3) if channels >= 3 else (5, 13, 37))
    assert np.array_equal(pixels, last[..., :3] if channels >= 3 else last[..., 0])


def test_nan_is_magenta_also_among_grey_pixels() -> None:
    grey = np.full((2, 4, 4), 0.5)
    grey[1, 2, 3] = np.nan
    pixels = images.as_pixels(grey, "HW")
    assert pixels.shape == (2, 4, 4, 3)
    assert tuple(pixels[1, 2, 3]) == images.NOT_A_NUMBER
    assert (np.delete(pixels.reshape(-1, 3), 16 + 2 * 4 + 3, axis=0) == 128).all()
    color = np.zeros((1, 3, 2, 2))
    color[0, 1, 0, 0] = np.nan
    assert tuple(images.as_pixels(color, "CHW")[0, 0, 0]) == images.NOT_A_NUMBER


@pytest.mark.parametrize("layout", ["F", "LC", "CL", "any"])
def test_what_is_no_image_has_no_pixels(layout: str) -> None:
    with pytest.raises(ShapeError, match=f"HW, HWC or CHW, and is {layout}.*diabolo.figures"):
        images.as_pixels(np.zeros((2, 3, 4)), layout)


def test_as_pixels_says_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"\(n, H, W\).*\(28, 28\).*x\[None\]"):
        images.as_pixels(np.zeros((28, 28)), "HW")
    with pytest.raises(ShapeError, match="at least one pixel"):
        images.as_pixels(np.zeros((2, 0, 4, 4)), "CHW")
    with pytest.raises(DataError, match=r"int64.*astype"):
        images.as_pixels(np.zeros((1, 2, 2), np.int64), "HW")


def test_the_tutorial_grid_is_280_by_280_with_each_row_above_its_reconstructions() -> None:
    rng = np.random.default_rng(0)
    x, rebuilt = rng.integers(0, 256, (2, 50, 28, 28), np.uint8)
    grid = images.pairs(x, rebuilt, columns=10)
    assert grid.shape == (280, 280)
    assert grid.dtype == np.uint8
    for i in range(50):
        row, column = divmod(i, 10)
        top, left = 2 * row * 28, column * 28
        assert np.array_equal(grid[top : top + 28, left : left + 28], x[i])
        assert np.array_equal(grid[top + 28 : top + 56, left : left + 28], rebuilt[i])


def test_an_incomplete_row_of_pairs_is_filled_with_background() -> None:
    ones = np.ones((3, 2, 2), np.uint8)
    grid = images.pairs(ones, 2 * ones, columns=2, background=9)
    assert grid[::2, ::2].tolist() == [[1, 1], [2, 2], [1, 9], [2, 9]]
    mixed = images.pairs(ones, np.full((3, 2, 2, 3), 2, np.uint8), columns=3, pad=1, background=(7, 8, 9))
    assert mixed.shape == (5, 8, 3)
    assert mixed[2, 0].tolist() == [7, 8, 9]
    assert mixed[0, 0].tolist() == [1, 1, 1]


def test_tile_pads_between_images_only() -> None:
    grid = images.tile(np.full((5, 13, 37), 200, np.uint8), columns=3, pad=2, background=7)
    assert grid.shape == (2 * 13 + 2, 3 * 37 + 2 * 2)
    assert (grid[13:15] == 7).all()
    assert (grid[:13, 37:39] == 7).all()
    assert grid[0, 0] == grid[0, -1] == grid[-1, 0] == 200
    assert grid[-1, -1] == 7


def test_grids_say_what_cannot_be() -> None:
    one = np.zeros((1, 2, 2), np.uint8)
    for call in (lambda: images.tile(one, 0), lambda: images.pairs(one, one, 0), lambda: images.tile(one, 1, pad=-1)):
        with pytest.raises(ConfigError, match="columns of at least 1"):
            call()
    with pytest.raises(ConfigError, match="0 to 255"):
        images.tile(one, 1, background=256)
    with pytest.raises(ShapeError, match="n at least 1"):
        images.tile(one[:0], 1)
    with pytest.raises(ShapeError, match="float64"):
        images.tile(one.astype(float), 1)
    with pytest.raises(ShapeError, match=r"\(1, 2, 2\).*\(2, 2, 2\)"):
        images.pairs(one, one.repeat(2, 0), 1)
    with pytest.raises(ConfigError, match="factor"):
        images.enlarge(one[0], 0)


def test_png_holds_the_pixels_and_is_the_same_each_time(tmp_path: Path) -> None:
    for shape in ((13, 37), (13, 37, 3)):
        pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        data = images.png(pixels)
        assert data == images.png(np.asfortranarray(pixels))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
        images.save_png(tmp_path / "new" / "a.png", pixels)
        assert (tmp_path / "new" / "a.png").read_bytes() == data
    with pytest.raises(ShapeError, match=r"\(H, W\)"):
        images.png(np.zeros((2, 2, 2), np.uint8))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        images.save_png(tmp_path / "file" / "a.png", pixels)


def test_enlarged_pixels_are_squares() -> None:
    large = images.enlarge(np.array([[1, 2]], np.uint8), 3)
    assert large.tolist() == [[1, 1, 1, 2, 2, 2]] * 3
    assert images.enlarge(np.zeros((2, 3, 3), np.uint8), 2).shape == (4, 6, 3)


@pytest.mark.parametrize("module", ["diabolo.storage.images", "diabolo.figures"])
def test_importing_is_cheap(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'matplotlib', 'scipy', 'PIL'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_grid_is_filled_by_rows_or_by_columns() -> None:
    x = np.arange(7, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(3, 2)
    assert images.tile(x, 3)[::2, ::3].tolist() == [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
    assert images.tile(x, 3, order="columns")[::2, ::3].tolist() == [[0, 3, 6], [1, 4, 0], [2, 5, 0]]
    assert images.tile(x, 3, pad=1, background=9, order="columns").shape == (8, 11)
    with pytest.raises(ConfigError, match="order of a grid"):
        images.tile(x, 3, order="down")  # type: ignore[arg-type]


def test_floats_are_rounded_or_cut() -> None:
    x = np.array([[[0.0, 0.999, 100.6 / 255, 1.0]]])
    assert images.as_pixels(x, "HW").tolist() == [[[0, 255, 101, 255]]]
    assert images.as_pixels(x, "HW", cut=True).tolist() == [[[0, 254, 100, 255]]]
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(images.as_pixels(every.astype(np.float32) / 255, "HW", cut=True), every)
