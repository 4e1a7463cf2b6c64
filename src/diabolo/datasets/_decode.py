"""Decoding of image files to uint8 arrays of one shape, by Pillow.

Threads decode, where there is something to gain: Pillow lets them run side by side while it decompresses. On two cores
1600 x 1200 JPEG files took 0.34 s with two threads and 0.82 s with one, and 1.29 s with two processes; 64 x 64 ones
took twice as long with two threads as with one, so small images are decoded by one.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._dataset import Array
from diabolo.datasets._read_options import ReadOptions

__all__ = [
    "Broken",
    "Header",
    "Target",
    "decode_all",
    "decode_bytes",
    "decoding_notes",
    "header_of",
    "read_headers",
    "resized",
    "target_of",
]

_ORIENTATION = 274  # the EXIF tag; 5 to 8 are turned by a quarter
_BATCH = 256
_WORTH_A_THREAD = 200 * 200  # pixels
_GREY, _DEEP = ("1", "L", "LA", "La", "I", "F"), ("I", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Broken:
    """A file that cannot be read as an image, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Header:
    """The header of an image; `size` is (height, width) after the EXIF rotation."""

    path: str
    size: tuple[int, int]
    colour: bool
    alpha: bool
    deep: bool
    frames: bool = False


@dataclass(frozen=True)
class Target:
    """The form that every image is decoded to: (height, width), RGB or grey; `resize` scales and crops to it.

    `frame` is the place of the one that is read, in files of several.
    """

    size: tuple[int, int]
    colour: bool
    resize: bool
    deep: bool = False
    ground: str = "white"
    frame: int = field(default=0, repr=False)  # as before there were others, a digest of the first says nothing

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 where all images have more than 8 bits, else uint8."""
        return np.dtype(np.uint16 if self.deep else np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one decoded image."""
        return (*self.size, 3) if self.colour else self.size


def target_of(size: tuple[int, int], headers: Sequence[Header], options: ReadOptions) -> Target:
    """The form that images are decoded to.

    They keep more than 8 bits where all of them have more and nothing says otherwise, and are in colour where one is.

    Args:
        size: (height, width) where the user asks for none.
        headers: of the images, or of some.
        options: size, colour, ground, frame and depth, where the user says them.
    """
    colour = any(header.colour for header in headers) if options.colour is None else options.colour
    deep = options.deep and not options.colour and all(header.deep for header in headers)
    return Target(options.size or size, colour, options.size is not None, deep, options.ground, options.frame or 0)


def decoding_notes(headers: Sequence[Header], target: Target, among: str = "") -> tuple[str, ...]:
    """What is lost when images are decoded: frames, transparency, depth.

    Args:
        headers: of the images, or of some.
        target: what they are decoded to.
        among: words for which images these are, where they are not all.
    """
    notes, other = [], "black" if target.ground == "white" else "white"
    for count, what in (
        (
            sum(header.frames for header in headers),
            f"with more than one frame or page, of which number {target.frame} is read (frame= names another, from 0)",
        ),
        (
            sum(header.alpha for header in headers),
            f"with transparency, laid on {target.ground} (ground={other!r}: on {other})",
        ),
        (0 if target.deep else sum(header.deep for header in headers), "with 16 bits a pixel, reduced to 8"),
    ):
        if count:
            notes.append(f"{count:,} image{'' if count == 1 else 's'}{among} {what}")
    return tuple(notes)


def read_headers(
    folder: Path, names: list[str], workers: int | None, frame: int | None = None
) -> tuple[list[Header], tuple[Broken, ...]]:
    """The headers of files, and the files whose header cannot be read."""
    results = list(_each(lambda name: _guarded(_read_header, folder, name, frame), names, workers or 1))
    headers = [result for result in results if isinstance(result, Header)]
    return headers, tuple(result for result in results if isinstance(result, Broken))


def decode_all(
    folder: Path, headers: list[Header], target: Target, workers: int | None, progress: bool
) -> Iterator[Array | Broken]:
    """Yields each image in order: a contiguous uint8 array of `target.shape`, or `Broken`."""
    if workers is None:
        large = max(header.size[0] * header.size[1] for header in headers) >= _WORTH_A_THREAD
        workers = min(os.cpu_count() or 1, 8) if large else 1
    names = [header.path for header in headers]
    with _progress(len(names), progress) as advance:
        for image in _each(lambda name: _guarded(_decode, folder, name, target), names, workers):
            advance()
            yield image


def _each(work: Callable[[str], Any], names: list[str], workers: int) -> Iterator[Any]:
    if workers == 1:
        yield from map(work, names)
        return
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), _BATCH):
            yield from pool.map(work, names[start : start + _BATCH])


def _guarded(work: Callable[..., Any], folder: Path, name: str, *rest: Any) -> Any:
    """The result of `work`, or `Broken` for any exception: on damaged files Pillow raises almost every type."""
    try:
        return work(folder, name, *rest)
    except Exception as error:  # noqa: BLE001
        return Broken(name, str(error).replace(f"{folder / name}", name).strip() or type(error).__name__)


def header_of(data: bytes, name: str, frame: int | None) -> Header:
    """The header of an encoded image in memory; raises whatever Pillow raises."""
    return _header(io.BytesIO(data), name, frame)


def decode_bytes(data: bytes, target: Target) -> Array:
    """An encoded image in memory as a contiguous uint8 array of `target.shape`; raises whatever Pillow raises."""
    return _decode_file(io.BytesIO(data), target)


def resized(x: Array, size: tuple[int, int]) -> Array:
    """Images in memory, (N, H, W) or (N, H, W, 3), scaled bilinearly and cropped to (height, width), as Pillow does it.

    uint8 stays uint8; all else becomes float32, and is of one channel.
    """
    from PIL import Image, ImageOps

    x = x if x.dtype == np.uint8 else x.astype(np.float32)
    whole = np.empty((len(x), *size, *x.shape[3:]), x.dtype)
    for number, pixels in enumerate(x):
        image = Image.fromarray(np.ascontiguousarray(pixels))
        whole[number] = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    return whole


def _read_header(folder: Path, name: str, frame: int | None) -> Header:
    return _header(folder / name, name, frame)


def _header(file: Path | io.BytesIO, name: str, frame: int | None) -> Header:
    from PIL import Image

    with Image.open(file) as image:
        _turn_to(image, frame)
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return Header(
            path=name,
            size=(width, height) if turned else (height, width),
            colour=_has_colour(image),
            alpha=image.has_transparency_data,
            deep=image.mode in _DEEP,
            frames=bool(getattr(image, "is_animated", False)),
        )


def _turn_to(image: Any, frame: int | None) -> None:
    """Turns to a frame or page of an opened file; ValueError where it has none."""
    if frame:
        count = getattr(image, "n_frames", 1)
        if frame >= count:
            raise ValueError(f"its frames are {count}, and frame={frame} was asked for: the first is 0")
        image.seek(frame)


def _has_colour(image: Any) -> bool:
    if image.mode != "P":
        return image.mode not in _GREY + _DEEP
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())


def _decode(folder: Path, name: str, target: Target) -> Array:
    return _decode_file(folder / name, target)


def _decode_file(file: Path | io.BytesIO, target: Target) -> Array:
    from PIL import Image, ImageOps

    mode = "RGB" if target.colour else "L"
    height, width = target.size
    with Image.open(file) as opened:
        _turn_to(opened, target.frame)
        if target.resize and opened.mode in ("L", "RGB"):
            largest = 2 * max(height, width)  # a JPEG is decoded at a fraction of its size, yet twice as fine as needed
            opened.draft(mode if opened.mode == "RGB" else "L", (largest, largest))
        image = ImageOps.exif_transpose(opened)
        if target.deep:
            return _deep(image, target)
        image = _eight_bits(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, target.ground), image)
        image = image.convert(mode)
        if target.resize and image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        if image.size != (width, height):
            raise ValueError(f"its header says {width} x {height} pixels, and {image.size} were decoded")
        return np.ascontiguousarray(image, dtype=np.uint8)


def _deep(image: Any, target: Target) -> Array:
    """A grey image of 16 bits as uint16; one of 32 bits, where its values fit."""
    from PIL import Image, ImageOps

    if image.mode not in _DEEP:
        raise ValueError("it has 8 bits a pixel, and others have 16: white='full' (--white full) reads all with 8")
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"its values lie between {low} and {high}, and 16 bits hold 0 to 65535; save it as .npy")
    height, width = target.size
    if values.shape != (height, width):
        if not target.resize:
            raise ValueError(f"its header says {width} x {height} pixels, and {image.size} were decoded")
        fitted = ImageOps.fit(Image.fromarray(values.astype(np.float32)), (width, height), Image.Resampling.LANCZOS)
        values = np.clip(np.rint(np.asarray(fitted)), 0, 65535)
    return np.ascontiguousarray(values, dtype=np.uint16)


def _eight_bits(image: Any) -> Any:
    """A grey image of 16 bits (or of 32, of which the lower 16 are used) reduced to 8 bits; any other unchanged."""
    from PIL import Image

    if image.mode in _DEEP:
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit floats, whose range is unknown; save it as .npy or as 8 or 16 bits")
    return image


@contextlib.contextmanager
def _progress(total: int, shown: bool) -> Iterator[Callable[[], None]]:
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("decoding images", total=total)
        yield lambda: bar.advance(task)
