"""One generation of a folder's files at a time: what belongs together is written aside, and switched by one rename.

A new generation is written into `.next`. To rename that to `.switch` is the switch: from then on the files in `.switch`
are the folder's, and those that it lists as removed are not. They are moved to their places at once; where the process
is killed before that, readers find them in `.switch`, and the next writer moves them.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import socket
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diabolo.errors import RunError, StorageError
from diabolo.storage.files import lock_file, sweep, unwritable, write_json

__all__ = ["FolderLock", "file_of", "generation", "has_contents", "names_in"]

LOCK, NEXT, SWITCH, REMOVED = ".lock", ".next", ".switch", "removed.json"
_held: weakref.WeakValueDictionary[str, FolderLock] = weakref.WeakValueDictionary()  # by this process


class FolderLock:
    """The right to write into a folder, which one process has at a time; it ends with the process, however that ends.

    Whoever gets it first clears away what killed writers left.

    Args:
        folder: is made where it is not there.

    Attributes:
        is_busy: whether this process is writing, so that it does not give the lock to itself a second time.

    Raises:
        RunError: another process has it, or a thread of this one; says which.
        StorageError: the folder cannot be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, FolderLock(Path(folder)) as lock:
    ...     lock.is_held
    True
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.is_busy = folder, False
        key = os.path.realpath(folder)
        if (own := _held.get(key)) is not None and not own.is_busy:
            own.release()  # of a run that was opened and not trained
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = _locked(folder / LOCK)
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(_holder()).encode())
        except OSError as error:
            raise unwritable(folder, error, what="written to") from error
        self._end = weakref.finalize(self, _unlock, handle, folder / LOCK, os.getpid())
        _held[key] = self
        try:
            settle(folder)
            shutil.rmtree(folder / NEXT, ignore_errors=True)
            for place in (folder, *(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")):
                sweep(place)
        except BaseException:
            self.release()
            raise

    @property
    def is_held(self) -> bool:
        """Whether this is still the holder."""
        return self._end.alive

    def release(self) -> None:
        """Gives the right back."""
        self.is_busy = False
        self._end()

    def __enter__(self) -> FolderLock:
        self.is_busy = True
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextlib.contextmanager
def generation(folder: Path, removed: Iterable[str] = ()) -> Iterator[Path]:
    """A context that yields a folder for files, all of which take their places at once when it ends without error.

    Args:
        folder: of which the caller holds the lock.
        removed: names of files, relative to the folder, that are not in the new generation unless they are written.

    Raises:
        StorageError: a file could not be written; nothing that was there before was touched.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with generation(Path(folder)) as files:
    ...         write_json(files / "x.json", {})
    ...     os.listdir(folder)
    ['x.json']
    """
    settle(folder)
    aside = folder / NEXT
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        write_json(aside / REMOVED, {"removed": sorted(name for name in removed if not (aside / name).exists())})
        aside.rename(folder / SWITCH)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, StorageError):  # of a file that will lie in the folder itself
            raise StorageError(str(error).replace(f"{aside}{os.sep}", f"{folder}{os.sep}")) from error
        if isinstance(error, OSError):
            raise unwritable(folder, error, "Nothing that was there before was touched.", "written to") from error
        raise
    settle(folder)


def settle(folder: Path) -> None:
    """Moves the files of a generation that was switched to their places; the caller holds the folder's lock.

    Raises:
        StorageError: a file could not be moved; readers find it where it is.
    """
    aside = folder / SWITCH
    if not aside.is_dir():
        return
    try:
        for name in _removed(folder):
            (folder / name).unlink(missing_ok=True)
        for path in sorted(path for path in aside.rglob("*") if path.is_file() and path != aside / REMOVED):
            place = folder / path.relative_to(aside)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
        (aside / REMOVED).unlink(missing_ok=True)
        shutil.rmtree(aside)
    except OSError as error:
        raise unwritable(Path(error.filename or folder), error, what="moved") from error


def file_of(folder: Path, name: str) -> Path:
    """The path of a file of a folder's present generation, which may not exist.

    >>> file_of(Path("run"), "config.json").as_posix()
    'run/config.json'
    """
    aside = folder / SWITCH / name
    return aside if aside.exists() or name in _removed(folder) else folder / name


def names_in(folder: Path, pattern: str) -> list[str]:
    """The sorted names of the files of a folder's present generation that match a pattern, relative to the folder.

    >>> names_in(Path("nowhere"), "concepts/*.safetensors")
    []
    """
    names = {path.relative_to(root).as_posix() for root in (folder, folder / SWITCH) for path in root.glob(pattern)}
    return sorted(name for name in names - set(_removed(folder)) if not Path(name).name.startswith("."))


def has_contents(folder: Path) -> bool:
    """Whether a folder holds more than what a writer left that was killed before its first file; true of a file."""
    if not folder.is_dir():
        return folder.exists()
    names = [path.name for path in folder.iterdir()]
    return any(name not in (LOCK, NEXT) and not (name[0] == "." and ".part" in name) for name in names)


def _removed(folder: Path) -> list[str]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        names = json.loads((folder / SWITCH / REMOVED).read_text(encoding="utf-8"))["removed"]
        return [name for name in names if isinstance(name, str) and not Path(name).is_absolute() and ".." not in name]
    return []


def _holder() -> dict[str, Any]:
    now = datetime.datetime.now().astimezone()
    return {"process": os.getpid(), "host": socket.gethostname(), "since": now.isoformat(" ", "seconds")}


def _locked(path: Path) -> int:
    """An open and locked file."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            is_free = lock_file(handle)
        except OSError:  # a file system without locks
            return handle
        if is_free and path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
        text = os.read(handle, 1000).decode(errors="replace")
        os.close(handle)
        if not is_free:
            try:
                holder = json.loads(text)
                who = f"process {holder['process']} on {holder['host']}, since {holder['since']}"
            except (ValueError, KeyError, TypeError):
                who = "another process"
            raise RunError(
                f"{path.parent} is being written to by {who}, and takes one writer at a time. Wait for its end or stop "
                "it, or choose another folder."
            )


def _unlock(handle: int, path: Path, process: int) -> None:
    if process == os.getpid():  # and not a copy of it, which would take the lock from the original
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.close(handle)
