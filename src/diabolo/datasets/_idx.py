"""The IDX format, in which MNIST and its relatives are published, and folders of such files.

A file holds two zero bytes, a byte for the element type, a byte for the number of axes, the length of each axis as a
big-endian uint32, then the elements in C order. It may be gzipped.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from diabolo.datasets._dataset import Array
from diabolo.datasets._readers import RawData
from diabolo.errors import DataError
from diabolo.storage.foreign import MOST_DEFLATED, read_into

__all__ = ["find_idx", "read_idx", "read_idx_folder"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", re.IGNORECASE)


def find_idx(folder: Path) -> dict[str, Path]:
    """The IDX files of a folder by part: "train-images", "train-labels", "t10k-images", "t10k-labels".

    Of a gzipped and a plain file of one part the gzipped one counts: its checksum is published.
    """
    files: dict[str, Path] = {}
    if not folder.is_dir():
        return files
    for path in sorted(folder.iterdir(), key=lambda path: path.suffix == ".gz"):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            files[f"{match[1]}-{match[2]}".lower()] = path
    return files


def read_idx(path: Path) -> Array:
    """The array of one IDX file, in the machine's byte order; the header says its shape.

    Raises:
        DataError: not an IDX file, damaged, or shorter than its header promises.
    """
    try:
        is_packed = path.suffix.lower() == ".gz"
        most = path.stat().st_size * (MOST_DEFLATED if is_packed else 1)
        with cast(IO[bytes], gzip.open(path) if is_packed else path.open("rb")) as stream:
            return _read_stream(path, stream, most)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged or truncated gzip file: {error}. Get the file again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_stream(path: Path, stream: IO[bytes], most: int) -> Array:
    """The array of IDX data of at most so many bytes; memory is taken for a promise that they can keep."""
    data = stream.read(4)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or data[3] == 0:
        raise DataError(
            f"{path} is not an IDX file: it should begin with two zero bytes, an element type and a number of axes, "
            f"and begins with {data[:4].hex(' ') or 'nothing'}. Get the file again, or name another source."
        )
    dtype, lengths = np.dtype(_TYPES[data[2]]), stream.read(4 * data[3])
    if len(lengths) < 4 * data[3]:
        raise DataError(f"{path} ends within its header, after {4 + len(lengths)} bytes. Get the file again.")
    shape = struct.unpack(f">{data[3]}I", lengths)
    promised = math.prod(shape) * dtype.itemsize
    follow = most
    if promised <= most:
        values = np.empty(promised, np.uint8)
        follow = read_into(stream, values)
        stream.read(1)  # at its end gzip compares its checksum
    if follow < promised:
        raise DataError(
            f"{path} is truncated: its header promises {' x '.join(map(str, shape))} elements, {promised:,} bytes, "
            f"and {'at most ' if follow == most else ''}{follow:,} follow. Get the file again."
        )
    return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_idx_folder(files: dict[str, Path], name: str, classes: tuple[str, ...] = ()) -> RawData:
    """The training part, then the test part, among the files that `find_idx` returns.

    Raises:
        DataError: a broken file, no images, as many labels as images in no part, parts of different shapes.
    """
    parts = [part for part in ("train", "t10k") if f"{part}-images" in files]
    if not parts:
        folder = next(iter(files.values())).parent
        raise DataError(f"{folder} holds IDX files of labels, but none of images (train-images-idx3-ubyte[.gz]).")
    images = [read_idx(files[f"{part}-images"]) for part in parts]
    if len({(array.shape[1:], array.dtype) for array in images}) > 1:
        raise DataError(f"The training and test images of {name} differ: {images[0].shape} and {images[1].shape}.")
    labels, notes = _read_labels(files, parts, [len(array) for array in images])
    official = None
    if len(parts) == 2 and len(images[0]) and len(images[1]):
        official = np.arange(len(images[0]), len(images[0]) + len(images[1]), dtype=np.int64)
    x = images[0] if len(images) == 1 else np.concatenate(images)
    return RawData(x=x, name=name, labels=labels, classes=classes, official_test=official, notes=notes)


def _read_labels(files: dict[str, Path], parts: list[str], counts: list[int]) -> tuple[Array | None, tuple[str, ...]]:
    labelled = [part for part in parts if f"{part}-labels" in files]
    if labelled != parts:
        lacking = ", ".join(f"{part}-labels" for part in parts if part not in labelled)
        return None, (f"read without labels: the file of {lacking} is not there",)
    labels = []
    for part, count in zip(parts, counts, strict=True):
        values = read_idx(files[f"{part}-labels"])
        if values.shape != (count,):
            raise DataError(
                f"{files[f'{part}-labels']} holds labels of shape {values.shape}, and {files[f'{part}-images']} holds "
                f"{count:,} images: there must be one label for each. One of the two files is from another set."
            )
        labels.append(values)
    return np.concatenate(labels), ()
