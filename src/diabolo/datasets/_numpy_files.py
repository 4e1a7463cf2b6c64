"""NumPy's own files: .npy and .npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diabolo.datasets._readers import RawData, ReadOptions, register_reader
from diabolo.errors import DataError
from diabolo.storage.foreign import reason as words
from diabolo.storage.npy import load_numpy

__all__: list[str] = []

_X_NAMES, _Y_NAMES = ("x", "data", "images"), ("y", "labels", "label", "target", "targets")


@register_reader("npy", suffixes=(".npy",), rank=10)
def _read_npy(path: Path, _: ReadOptions) -> RawData:
    """A .npy file, mapped.

    Raises:
        DataError: it is damaged, of another format, or holds Python objects.
    """
    try:
        x = load_numpy(path, mapped=True)
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    if not isinstance(x, np.ndarray):
        x.close()
        raise DataError(f"{path} is a .npz archive with another suffix. Rename it to {path.stem}.npz.")
    return RawData(x=x, name=path.stem)


@register_reader("npz", suffixes=(".npz",), takes=("labels",), rank=20)
def _read_npz(path: Path, options: ReadOptions) -> RawData:
    """The examples and the labels of a .npz archive.

    Raises:
        DataError: it is damaged, or which array is which cannot be told.
    """
    try:
        archive = load_numpy(path, mapped=True)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path} is one array, not an archive of them. Rename it to {path.stem}.npy.")
        with archive:
            x_name, y_name = _choose(path, archive.files, options.label)
            x = archive[x_name]
            y = archive[y_name] if y_name else None
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    return RawData(x=x, name=path.stem, labels=y)


def _choose(path: Path, names: list[str], label: str | None) -> tuple[str, str | None]:
    """The names of the arrays of the examples and of the labels."""
    if label is not None and label not in names:
        raise DataError(f"labels={label!r}: {path} holds no such array. It holds: {', '.join(names) or 'nothing'}.")
    y = label or next((name for usual in _Y_NAMES for name in names if name.lower() == usual), None)
    candidates = [name for usual in _X_NAMES for name in names if name.lower() == usual and name != label]
    others = [name for name in names if name != y]
    if not others and label is None and len(names) == 1:
        return names[0], None
    if not candidates and len(others) != 1:
        raise DataError(
            f"{path} holds {len(names)} arrays ({', '.join(names) or 'none'}), and which one has the examples is not "
            f"clear. Name it one of {', '.join(_X_NAMES)}, or save it alone as .npy."
        )
    return (candidates or others)[0], y


def _unreadable(path: Path, error: Exception) -> DataError:
    if "Object arrays" in str(error) or "Python objects" in str(error):
        reason = "it holds Python objects, which are never loaded because they can run code. Save it as numbers"
    elif "pickle" in str(error):  # what NumPy takes every unknown beginning for
        reason = "it is of another format, perhaps a pickle, and pickles are never loaded. Save it with numpy"
    else:
        reason = f"{words(error)}. It is damaged, truncated or of another format; save it again"
    return DataError(f"{path} cannot be read as {path.suffix}: {reason}.")
