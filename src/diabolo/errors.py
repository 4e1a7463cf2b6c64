"""Every error that diabolo raises on purpose, in one place.

    DiaboloError
    ├── ConfigError          a setting that cannot be: an unknown name, a value out of range   (also a ValueError)
    ├── DataError            data that cannot be used: NaN, mixed sizes, an empty folder       (also a ValueError)
    │   ├── ShapeError       an array whose shape is not the one that was expected
    │   ├── ChecksumError    a file whose checksum is not the published one
    │   └── SourceNotFound   a path or a name that is not there                               (also a FileNotFoundError)
    ├── DownloadError        a download that could not be made                                 (also an OSError)
    ├── RunError             a run folder that cannot be read: truncated, edited, too new      (also a ValueError)
    ├── StorageError         a file that could not be written: a full disk, no permission      (also an OSError)
    ├── TrainingError        training cannot go on                                             (also a RuntimeError)
    │   └── DivergedError    a loss term or the weights are no longer finite
    ├── ExportError          a model that cannot be written in another format                  (also a RuntimeError)
    └── MissingExtraError    an optional package is not installed                              (also an ImportError)

Each message says what is wrong, what was expected, what was received and what to do. The command line prints it
without a traceback and exits with status 1 (2 for a ConfigError: the command was asked for something that cannot be).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ChecksumError",
    "ConfigError",
    "DataError",
    "DiaboloError",
    "DivergedError",
    "DownloadError",
    "ExportError",
    "MissingExtraError",
    "RunError",
    "ShapeError",
    "SourceNotFound",
    "StorageError",
    "TrainingError",
    "unknown_name",
]


class DiaboloError(Exception):
    """The root of every error that diabolo raises on purpose."""


class ConfigError(DiaboloError, ValueError):
    """A setting that cannot be."""


class DataError(DiaboloError, ValueError):
    """Data that cannot be used."""


class ShapeError(DataError):
    """An array whose shape is not the one that was expected."""


class ChecksumError(DataError):
    """A file whose checksum is not the published one."""


class SourceNotFound(DataError, FileNotFoundError):
    """A data source that is not there."""


class DownloadError(DiaboloError, OSError):
    """A download that could not be made."""


class RunError(DiaboloError, ValueError):
    """A run folder that cannot be read."""


class StorageError(DiaboloError, OSError):
    """A file that could not be written."""


class TrainingError(DiaboloError, RuntimeError):
    """Training cannot go on."""


class DivergedError(TrainingError):
    """A loss term or the weights are no longer finite."""


class ExportError(DiaboloError, RuntimeError):
    """A model that cannot be written in another format."""


class MissingExtraError(DiaboloError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: pip install 'diabolo[{extra}]'"
        )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not among `known`: it offers the nearest one and lists the rest."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"There is no {kind} named {name!r}.{hint} Known: {', '.join(known)}.")
