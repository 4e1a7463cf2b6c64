"""Atomic writing: a file is written under a temporary name, flushed to the disk, then renamed.

A writer holds a lock of the system on its temporary file. The lock ends with the writer, however that ends, so that
a file whose lock is free is what a killed writer left, and is swept away.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diabolo.errors import RunError, StorageError
from diabolo.storage.foreign import parse_json, reading, require_file

try:
    from fcntl import LOCK_EX, LOCK_NB, flock

    HAS_LOCKS = True
except ImportError:  # Windows: nothing is swept
    HAS_LOCKS = False

__all__ = [
    "lock_file",
    "named",
    "path_of",
    "read_json",
    "sweep",
    "text_of",
    "unwritable",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
]

MOST_JSON = 2**28  # bytes that are read as JSON
PART = ".diabolo.part"  # the end of the name of a file that is being written; it begins with a dot
_swept: set[Path] = set()  # folders in which this process has written


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
    handle, temporary = -1, None
    if path.exists() and not path.is_file() and not path.is_dir():  # renaming would put a file in its place
        raise StorageError(f"{path} is a device or a pipe, and no file: choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent not in _swept:
            _swept.add(path.parent)
            sweep(path.parent)
        handle, temporary = _temporary(path)
        yield temporary
        os.fsync(handle)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        if not HAS_LOCKS:  # Windows renames no open file
            os.close(handle)
            handle = -1
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise unwritable(path, error, "Nothing that was there before was touched.") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
        if handle >= 0:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Removes the temporary files in a folder whose writers are gone.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, ".x.txt.abc.diabolo.part").write_text("hel")
    ...     sweep(Path(folder))
    ...     os.listdir(folder)
    []
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(f".*{PART}"):
            with contextlib.suppress(OSError), path.open("rb+") as stream:
                if HAS_LOCKS and lock_file(stream.fileno()):
                    path.unlink()


def lock_file(handle: int) -> bool:
    """Locks an open file for this process until it is closed; whether that was possible: false, another one holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        if HAS_LOCKS:
            flock(handle, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, open and locked."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        try:
            is_locked = lock_file(handle)
        except OSError:
            return handle, Path(name)
        if is_locked and os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # somebody swept it before it was locked


def unwritable(path: Path, error: OSError, beside: str = "", what: str = "written") -> StorageError:
    """The error for a file that could not be written: the system's reason, and one advice for it.

    Args:
        path: of the file, or of its folder.
        error: what the system says; a StorageError stays as it is.
        beside: a sentence that comes before the advice.
        what: could not be done to it.

    >>> unwritable(Path("x"), OSError(errno.EROFS, "Read-only file system"))
    StorageError('x could not be written: Read-only file system. Choose another folder, and try again.')
    """
    if isinstance(error, StorageError):
        return error
    advice = {
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free some space or choose another folder"),
        **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Close some files (ulimit -n says how many may be open)"),
        errno.ENOENT: "Put its folder back or choose another folder",
        **dict.fromkeys((errno.EIO, errno.ESTALE), "Look whether the disk is still there and in order"),
    }.get(error.errno or 0, "Choose another folder")
    words = [f"{path} could not be {what}: {error.strerror or error}.", beside, f"{advice}, and try again."]
    return StorageError(" ".join(word for word in words if word))


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
    write_bytes(path, text_of(text).encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON to a file, as a whole or not at all.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(f"{folder}/x.json", {"epochs": 3})
    ...     read_json(f"{folder}/x.json")
    {'epochs': 3}
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    write_text(path, (json.dumps(_escaped(value), indent=2) if "\\ud" in text else text) + "\n")


def _escaped(value: Any) -> Any:
    """A JSON value with texts that any file can hold."""
    if isinstance(value, Mapping):
        return {_escaped(name): _escaped(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return text_of(value) if isinstance(value, str) else value


def text_of(name: str) -> str:
    r"""A name as text that any file can hold: bytes of a path that are not UTF-8, and lone surrogates, are escaped.

    >>> text_of("é"), text_of("\udcff"), text_of("\ud800")
    ('é', '\\xff', '\\ud800')
    """
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()


def path_of(text: str) -> Path:
    r"""The path that a text of `text_of` stands for: as it is, or with the bytes that it escapes where that exists.

    >>> path_of(r"nowhere/\xff")
    PosixPath('nowhere/\\xff')
    """
    path = Path(text).expanduser()
    if "\\x" in text and not path.exists():
        escapes = re.sub(rb"\\x([89a-f][0-9a-f])", lambda match: bytes([int(match[1], 16)]), os.fsencode(path))
        path = Path(os.fsdecode(escapes)) if Path(os.fsdecode(escapes)).exists() else path
    return path


@contextlib.contextmanager
def named(path: Path) -> Iterator[str]:
    """A name in UTF-8 of a file that is there, for libraries that take no other: its own, or that of its descriptor."""
    name = os.fspath(path)
    if text_of(name) == name:
        yield name
    else:
        with path.open("rb") as stream:
            yield f"/dev/fd/{stream.fileno()}"


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
    if not path.exists():
        raise RunError(f"{path} is not there. Is {path.parent} the folder of a run?")
    with reading(path, form="JSON"):
        require_file(path, MOST_JSON)
        value = parse_json(path.read_bytes())
    if not isinstance(value, dict):
        raise RunError(f"{path} should hold a JSON object, and holds a {type(value).__name__}.")
    return value


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
