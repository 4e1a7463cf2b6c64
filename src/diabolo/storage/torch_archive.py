"""The tensors of a file of `torch.save`, read without unpickling: nothing in it is imported or called.

Such a file is a zip archive: raw numbers, and a pickle that names them. Its opcodes are read here one by one, as data;
those that a dictionary of tensors needs have a meaning, and any other is refused.
"""

from __future__ import annotations

import math
import os
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diabolo.storage.foreign import reading, require_file

__all__ = ["read_tensors"]

DTYPES = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(NamedTuple):
    """What would be imported; here a name."""

    text: str


class _Stored(NamedTuple):
    """Numbers in the archive: which file, and of which kind."""

    file: str
    kind: str


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a file of `torch.save`, by their names, with dots between those of nested dictionaries.

    Raises:
        RunError: the file cannot be read, is of the format before torch 1.6, or holds more than tensors.
    """
    with reading(path, form="tensors that torch.save wrote (since 1.6, a zip)"):
        require_file(Path(path))
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, which torch.save does not")
            (listing,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            root = listing.removesuffix("data.pkl")
            found = _Reader(lambda name: archive.read(f"{root}data/{name}")).read(archive.read(listing))
        return {name: array for name, array in _flat("", found) if isinstance(array, np.ndarray)}


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key, part in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else str(key), part)]


class _Reader:
    """A stack of values, as the opcodes make it.

    Args:
        stored: the bytes of a file of the archive.
    """

    def __init__(self, stored: Callable[[str], bytes]) -> None:
        self.stored = stored
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self, listing: bytes) -> Any:
        """What the opcodes describe."""
        for opcode, argument, _ in pickletools.genops(listing):
            self._take(opcode.name, argument)
        return self.stack.pop()

    def _take(self, name: str, argument: Any) -> None:  # noqa: C901 (a line for each opcode)
        if name in ("PROTO", "FRAME", "STOP"):
            return
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in TUPLES:
            count = TUPLES[name]
            taken = self.stack[len(self.stack) - count :]
            self.stack[len(self.stack) - count :] = [tuple(taken)]
        elif name in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"):
            self.stack.append(argument)
        elif name == "EMPTY_DICT":
            self.stack.append({})
        elif name == "GLOBAL":
            self.stack.append(_Name(argument.replace(" ", ".")))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "TUPLE":
            self.stack.append(tuple(self._marked()))
        elif name in ("SETITEM", "SETITEMS"):
            items = self._marked() if name == "SETITEMS" else [self.stack.pop(-2), self.stack.pop()]
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "BINPERSID":
            _, kind, file, *_ = self.stack.pop()
            self.stack.append(_Stored(file, kind.text.rpartition(".")[2]))
        elif name == "REDUCE":
            arguments, called = self.stack.pop(), self.stack.pop()
            self.stack.append(self._made(called.text, arguments))
        elif name == "BUILD":
            self.stack.pop()  # attributes of a dictionary, such as its version
        else:
            raise ValueError(f"it holds more than tensors (the opcode {name}), which is not read")

    def _marked(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _made(self, called: str, arguments: tuple[Any, ...]) -> Any:
        if called == "collections.OrderedDict":
            return {}
        if called != "torch._utils._rebuild_tensor_v2":
            raise ValueError(f"it holds more than tensors ({called}), which is not read")
        source, offset, shape, strides, *_ = arguments
        numbers = np.frombuffer(self.stored(source.file), np.dtype(DTYPES[source.kind]).newbyteorder("<"))
        if 0 in shape:
            return np.zeros(shape, numbers.dtype)
        size = numbers.itemsize
        reach = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) + 1
        if math.prod(shape) > len(numbers):
            raise ValueError(f"a tensor of shape {shape} is larger than its {len(numbers)} numbers")
        if not 0 <= offset < reach <= len(numbers) or min(strides, default=0) < 0:
            raise ValueError(f"a tensor of shape {shape} lies outside of its {len(numbers)} numbers")
        view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, [stride * size for stride in strides])
        return np.array(view)
