"""The exceptions of diabolo, in one tree.

    DiaboloError
    ├── ConfigError          a setting that is not valid: an unknown name, a value out of range  (also a ValueError)
    │   └── FinishedError    a run that is at its end already: no more epochs were asked for
    ├── DataError            data that cannot be used: NaN, mixed sizes, an empty folder       (also a ValueError)
    │   ├── ShapeError       an array whose shape is not the one that was expected
    │   ├── ChecksumError    a file whose checksum is not the published one
    │   ├── OutOfMemory      more than fits into memory                                    (also a MemoryError)
    │   └── SourceNotFound   a path or a name that does not exist                             (also a FileNotFoundError)
    ├── DownloadError        a download that failed                                            (also an OSError)
    ├── RunError             a run folder that cannot be read: truncated, edited, too new      (also a ValueError)
    ├── StorageError         a file that could not be written: a full disk, no permission      (also an OSError)
    ├── TrainingError        training that cannot continue                                     (also a RuntimeError)
    │   └── DivergedError    a loss term or a weight is no longer finite
    ├── ExportError          a model that cannot be written in another format                  (also a RuntimeError)
    └── MissingExtraError    an optional package that is missing                               (also an ImportError)

Each message says what is wrong, what was expected, what was received and what to do. The command line prints it
without a traceback and exits with status 1, or with 2 for a ConfigError.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "LARGEST",
    "ChecksumError",
    "ConfigError",
    "DataError",
    "DiaboloError",
    "DivergedError",
    "DownloadError",
    "ExportError",
    "FinishedError",
    "MissingExtraError",
    "OutOfMemory",
    "RunError",
    "ShapeError",
    "SourceNotFound",
    "StorageError",
    "TrainingError",
    "check_current_folder",
    "lacking",
    "memory_shortage",
    "short",
    "unknown_name",
]

LARGEST = 2**63  # a whole number below it fits into 64 bits


class DiaboloError(Exception):
    """The base class of all exceptions of diabolo."""


class ConfigError(DiaboloError, ValueError):
    """A setting that is not valid: an unknown name, a value out of range."""


class FinishedError(ConfigError):
    """A run that is at its end already: no more epochs were asked for."""


class DataError(DiaboloError, ValueError):
    """Data that cannot be used: NaN, mixed sizes, an empty folder."""


class ShapeError(DataError):
    """An array whose shape is not the one that was expected."""


class ChecksumError(DataError):
    """A file whose checksum is not the published one."""


class SourceNotFound(DataError, FileNotFoundError):
    """A data source that does not exist."""


class DownloadError(DiaboloError, OSError):
    """A download that failed."""


class OutOfMemory(DataError, MemoryError):
    """There is not enough memory for what was asked."""


class RunError(DiaboloError, ValueError):
    """A run folder that cannot be read: truncated, edited, of a newer version."""


class StorageError(DiaboloError, OSError):
    """A file that could not be written: a full disk, no permission."""


class PartError(ConfigError):
    """A part of a module outside, or a module of the user's own, that is not there or fails."""


class UntrustedError(RunError):
    """A part of a run is code of a module that nobody said to trust."""


class TrainingError(DiaboloError, RuntimeError):
    """Training that cannot continue."""


class DivergedError(TrainingError):
    """Training in which a loss term or a weight is no longer finite."""


class ExportError(DiaboloError, RuntimeError):
    """A model that cannot be written in another format."""


class MissingExtraError(DiaboloError, ImportError):
    """An optional package that is not installed; the message names the extra to install."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: pip install 'diabolo[{extra}]'"
        )


def memory_shortage(error: BaseException) -> OutOfMemory | None:
    """The OutOfMemory for what Python, NumPy or torch raises when memory is short; None for any other error.

    >>> memory_shortage(MemoryError())
    OutOfMemory('There is not enough memory for this. Take a smaller batch or model, or a memory-mapped .npy file.')
    """
    if isinstance(error, DiaboloError):
        return None
    known = (
        "out of memory",
        "can't allocate memory",
        "array is too big",
        "Storage size calculation",
        "Maximum allowed",
    )
    if not isinstance(error, MemoryError) and not any(words in str(error) for words in known):
        return None
    return OutOfMemory(
        "There is not enough memory for this. Take a smaller batch or model, or a memory-mapped .npy file."
    )


def check_current_folder() -> None:
    """Raises a StorageError where the folder that the process is in was removed: relative paths have no meaning then.

    >>> check_current_folder()
    """
    try:
        Path.cwd()
    except OSError as error:
        raise StorageError(
            "The folder that you are in is not there any more: change to another, and call again."
        ) from error


def lacking(error: BaseException) -> DiaboloError | None:
    """The error for what the surroundings lack, memory or the current folder; None for any other error.

    >>> lacking(ValueError("wrong")) is None
    True
    """
    if isinstance(error, FileNotFoundError) and not isinstance(error, DiaboloError):
        try:
            check_current_folder()
        except StorageError as gone:
            return gone
    return memory_shortage(error)


def short(value: Any) -> str:
    """A value for a message: its `repr` in one line, of at most 200 characters.

    >>> short("x" * 300)[-5:], short(10**30)
    ('xx...', 'a whole number of 31 digits')
    """
    if isinstance(value, int) and abs(value) >= LARGEST:
        return f"a whole number of {math.ceil(value.bit_length() * math.log10(2)):,} digits"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 (of somebody's object)
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 200 else text[:200] + "..."


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The ConfigError for a name that is not among `known`; its message suggests the nearest name and lists all.

    >>> raise unknown_name("model", "vea", ["autoencoder", "vae"])
    Traceback (most recent call last):
    diabolo.errors.ConfigError: There is no model named 'vea'. Did you mean 'vae'? Known: autoencoder, vae.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if isinstance(name, str) else []  # type: ignore[redundant-expr]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"There is no {kind} named {name!r}.{hint} Known: {', '.join(known)}.")
