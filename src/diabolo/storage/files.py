"""Atomic writing: a file is written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diabolo.errors import RunError, StorageError

__all__ = ["read_json", "write_bytes", "write_json", "write_text", "writing"]


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A context that yields a temporary path beside `path`, and renames it to `path` when the block ends without error.

    After an error or an interrupt the temporary file is removed, and `path` stays as it was.

    Raises:
        StorageError: the file could not be written; the message says where and why.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with writing(f"{folder}/x.txt") as temporary:
    ...         _ = temporary.write_text("hello")
    ...     Path(folder, "x.txt").read_text()
    'hello'
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part" + path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        temporary.replace(path)
        temporary = None
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path} could not be written: {reason}. Nothing that was there before was touched. "
            "Free some space or choose another folder, and try again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes bytes to a file, as a whole or not at all.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(f"{folder}/x.bin", b"12")
    ...     Path(folder, "x.bin").read_bytes()
    b'12'
    """
    with writing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes text as UTF-8 to a file, as a whole or not at all.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(f"{folder}/new/x.txt", "hello")
    ...     Path(folder, "new", "x.txt").read_text()
    'hello'
    """
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON to a file, as a whole or not at all.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(f"{folder}/x.json", {"epochs": 3})
    ...     read_json(f"{folder}/x.json")
    {'epochs': 3}
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: the file does not exist, is not JSON, or holds another type than an object.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(f"{folder}/x.json", "{")
    ...     read_json(f"{folder}/x.json")
    Traceback (most recent call last):
    diabolo.errors.RunError: ...x.json cannot be read as JSON: ... It was truncated or edited; restore it.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is not there. Is {path.parent} the folder of a run?") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}. It was truncated or edited; restore it.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} should hold a JSON object, and holds a {type(value).__name__}.")
    return value


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
