"""NumPy's .npy and .npz files, read without pickle and from any number of threads.

`numpy.load` parses a header with `ast.literal_eval`. Python 3.11 counts the depth of that parser in one place for all
threads, and now and then ends one of many parallel calls with "AST constructor recursion depth mismatch". Headers of
plain numbers, which are nearly all, are therefore read by a regular expression here. Only the others (records, other
spellings) go to NumPy's parser, one thread at a time.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import threading
import zipfile
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from diabolo.storage.foreign import MOST_DEFLATED, read_into

__all__ = ["Npz", "load_numpy", "read_npy_header"]

Array = np.ndarray[Any, Any]
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]

_MAGIC, _ZIP = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
# A comma in `descr` would send `np.dtype` to the parser that is avoided here; such a header goes to NumPy below.
_PLAIN = re.compile(
    rb"\{'descr': '([^',\\]+)', 'fortran_order': (True|False), 'shape': (\(\)|\(\d+,\)|\(\d+(?:, \d+)+\)),? *\}\s*"
)
_parsing = threading.Lock()


def read_npy_header(stream: IO[bytes]) -> Header:
    """The shape, whether the order is Fortran's, and the type of a .npy file; leaves the stream at its first value.

    Args:
        stream: a binary file at the beginning of the .npy data.

    Raises:
        ValueError: no .npy header, or a damaged one.

    >>> import io, numpy as np
    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.zeros((2, 3), np.float32))
    >>> _ = buffer.seek(0)
    >>> read_npy_header(buffer)
    ((2, 3), False, dtype('float32'))
    """
    start = stream.read(8)
    if start[:6] != _MAGIC or len(start) < 8:
        raise ValueError("it does not begin as .npy does: it may be a pickle, and pickles are never loaded")
    size = "<H" if start[6] == 1 else "<I"
    prefix = stream.read(struct.calcsize(size))
    length = struct.unpack(size, prefix)[0] if len(prefix) == struct.calcsize(size) else 1
    header = stream.read(length)
    if len(header) < length:
        raise ValueError("it ends within its header")
    match = _PLAIN.fullmatch(header)
    if match is None:
        reader = np.lib.format.read_array_header_1_0 if start[6] == 1 else np.lib.format.read_array_header_2_0
        with _parsing:
            shape, fortran, dtype = reader(io.BytesIO(prefix + header))
        return tuple(shape), bool(fortran), dtype
    try:
        dtype = np.dtype(match[1].decode("latin-1"))
    except TypeError as error:
        raise ValueError(f"its header names no type of numbers: {error}") from error
    return tuple(map(int, re.findall(rb"\d+", match[3]))), match[2] == b"True", dtype


def load_numpy(file: str | os.PathLike[str] | IO[bytes], *, mapped: bool = False) -> Array | Npz:
    """The array of a .npy file, or the archive of a .npz one: `numpy.load` for many threads, and never a pickle.

    Args:
        file: a path, or a binary file that can be sought.
        mapped: whether the array of a path is mapped read-only instead of being read; an empty one is always read.

    Raises:
        ValueError, EOFError, zipfile.BadZipFile: damaged, truncated, of another format, or Python objects.
        OSError: the file cannot be read.

    >>> import io, numpy as np
    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.arange(3))
    >>> _ = buffer.seek(0)
    >>> load_numpy(buffer)
    array([0, 1, 2])
    """
    if not isinstance(file, (str, os.PathLike)):
        start = file.read(4)
        file.seek(-len(start), os.SEEK_CUR)
        if start in _ZIP:
            return Npz(file)
        place = file.tell()
        size = file.seek(0, os.SEEK_END) - place
        file.seek(place)
        return _read(file, size)
    with Path(file).open("rb") as stream:
        if stream.read(4) in _ZIP:
            return Npz(file)
        stream.seek(0)
        if not mapped:
            return _read(stream, os.fstat(stream.fileno()).st_size)
        shape, fortran, dtype = read_npy_header(stream)
        offset = stream.tell()
    if dtype.hasobject:
        raise ValueError("Python objects cannot be mapped")
    if 0 in shape:  # which the system does not map
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape, "F" if fortran else "C")


class Npz:
    """The arrays of a .npz file by name, each read when it is asked for; a context manager that closes the file.

    Attributes:
        files: the names of the arrays.

    >>> import io, numpy as np
    >>> buffer = io.BytesIO()
    >>> np.savez(buffer, codes=np.ones((4, 2)))
    >>> with Npz(buffer) as archive:
    ...     archive.files, archive["codes"].shape
    (['codes'], (4, 2))
    """

    def __init__(self, file: str | os.PathLike[str] | IO[bytes]) -> None:
        try:
            self._archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise ValueError(f"it begins as .npz does, and is no archive: {error}") from error
        self._members = {name.removesuffix(".npy"): name for name in self._archive.namelist()}
        self.files = list(self._members)

    def __getitem__(self, name: str) -> Array:
        with self._archive.open(self._members[name]) as stream:
            member = self._archive.getinfo(self._members[name])
            return _read(stream, min(member.file_size, MOST_DEFLATED * member.compress_size + 1024))

    def close(self) -> None:
        """Closes the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(stream: IO[bytes], size: int) -> Array:
    """The array of .npy data of so many bytes, read into memory of its own, so that it can be written to."""
    shape, fortran, dtype = read_npy_header(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays hold Python objects, which are never loaded")
    promised = math.prod(shape) * dtype.itemsize
    if promised > size:
        raise ValueError(f"it is truncated: its header promises {promised:,} bytes of values, and {size:,} follow")
    try:
        values = np.empty(promised, np.uint8)
    except MemoryError as error:
        raise ValueError(f"its header promises an array of shape {shape}, which does not fit into memory") from error
    follow = read_into(stream, values)
    if follow < promised:
        raise ValueError(f"it is truncated: its header promises {promised:,} bytes of values, and {follow:,} follow")
    array: Array = values.view(dtype) if dtype.itemsize and promised else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if fortran else "C")
