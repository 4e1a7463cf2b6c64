"""NumPy's own files: .npy and .npz."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._match import listed
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.errors import DataError
from diabolo.storage.foreign import reason as words
from diabolo.storage.npy import load_numpy

__all__: list[str] = []

_X_NAMES = ("x", "data", "images", "imgs", "features", "arr_0")
_Y_NAMES = ("y", "labels", "label", "target", "targets")
_CLASSES, _FEATURES = ("classes", "class_names", "label_names", "target_names"), ("feature_names", "columns")
_PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}


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


@register_reader("npz", suffixes=(".npz",), takes=("labels", "examples"), rank=20)
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
            parts = [] if options.label or options.examples else _parts(archive.files)
            raw = _joined(path, archive, parts) if parts else _whole(path, archive, options)
            return _named(archive, raw)
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _whole(path: Path, archive: Any, options: ReadOptions) -> tuple[RawData, set[str]]:
    """The examples and the labels of an archive without parts, and the arrays that they are."""
    x_name, y_name = _choose(path, archive.files, options)
    x = archive[x_name]
    notes: tuple[str, ...] = ()
    if x_name == "arr_0" and y_name is None and options.examples is None and "arr_1" in archive.files:
        second = archive["arr_1"]
        if second.ndim == 1 and len(second) == len(x):
            y_name, notes = "arr_1", ("the labels are the array 'arr_1' (examples='arr_0': no labels)",)
    raw = RawData(x=x, name=path.stem, labels=archive[y_name] if y_name else None, notes=notes)
    return raw, {x_name, *([y_name] if y_name else [])}


def _named(archive: Any, found: tuple[RawData, set[str]]) -> RawData:
    """The data with the names of its classes and columns, its known factors, and a note on the arrays left out."""
    raw, used = found
    for kind, usual in (("classes", _CLASSES), ("features", _FEATURES)):
        name = next((one for one in archive.files if one.lower() in usual), None)
        names: Any = None if name is None else _texts(archive, name)
        if name is None or names is None:
            continue
        count = raw.x.shape[1] if kind == "features" and raw.x.ndim == 2 else len(names)
        if len(names) == count and (kind == "classes" or raw.x.ndim == 2):
            changed: dict[str, Any] = {kind: names}
            raw, used = dataclasses.replace(raw, **changed), used | {name}
    if "latents_classes" in archive.files and raw.factors is None:  # of dSprites; the colour is always white
        factors = archive["latents_classes"]
        if factors.ndim == 2 and len(factors) == len(raw.x):
            varying = factors[:, (factors != factors[:1]).any(0)].astype(np.int64)
            raw, used = dataclasses.replace(raw, factors=varying), used | {"latents_classes"}
    rest = [name for name in archive.files if name not in used]
    note = f"arrays left out: {listed(rest)} (examples= and labels= name others)"
    return dataclasses.replace(raw, notes=(*raw.notes, note)) if rest else raw


def _texts(archive: Any, name: str) -> tuple[str, ...] | None:
    """The texts of an array of one axis, or None."""
    try:
        values = archive[name]
    except ValueError:  # Python objects, which are never loaded
        return None
    return tuple(map(str, values)) if values.ndim == 1 and values.dtype.kind == "U" else None


def _parts(names: list[str]) -> list[tuple[str, str | None, int]]:
    """(examples, labels or None, part) of an archive with parts: x_train, y_train; train_images, train_labels; ..."""
    members: dict[int, dict[str, str]] = {}
    for name in names:
        word = name.lower().replace("-", "_")
        for part in sorted(_PARTS, key=len, reverse=True):
            if word.startswith(part) or word.endswith(part):
                rest = (word.removeprefix(part) if word.startswith(part) else word.removesuffix(part)).strip("_")
                kind = "x" if rest in (*_X_NAMES, "") else "y" if rest in _Y_NAMES else ""
                if kind:
                    members.setdefault(_PARTS[part], {}).setdefault(kind, name)
                break
    return [(members[part]["x"], members[part].get("y"), part) for part in sorted(members) if "x" in members[part]]


def _joined(path: Path, archive: Any, parts: list[tuple[str, str | None, int]]) -> tuple[RawData, set[str]]:
    """The parts of an archive as one data set, of which the test part is the published one; and the arrays they are."""
    arrays = [archive[x] for x, _, _ in parts]
    if len({(array.shape[1:], array.dtype) for array in arrays}) > 1:
        shapes = ", ".join(f"{x} {array.shape} {array.dtype}" for (x, _, _), array in zip(parts, arrays, strict=True))
        raise DataError(f"The parts of {path} do not fit each other: {shapes}. Name one: examples={parts[0][0]!r}.")
    labels = [archive[y] for _, y, _ in parts if y is not None]
    edges = np.cumsum([0, *(len(array) for array in arrays)])
    test = [np.arange(a, b) for (_, _, part), a, b in zip(parts, edges, edges[1:], strict=False) if part == 2]
    counts = ", ".join(f"{x} ({len(array):,})" for (x, _, _), array in zip(parts, arrays, strict=True))
    used = {x for x, _, _ in parts} | ({str(y) for _, y, _ in parts} if len(labels) == len(arrays) else set())
    raw = RawData(
        x=np.concatenate(arrays),
        name=path.stem,
        labels=np.concatenate(labels) if len(labels) == len(arrays) else None,
        official_test=test[0] if test and len(parts) > 1 else None,
        notes=(f"parts: {counts} (examples= names one array)",),
    )
    return raw, used


def _choose(path: Path, names: list[str], options: ReadOptions) -> tuple[str, str | None]:
    """The names of the arrays of the examples and of the labels."""
    label, chosen = options.label, options.examples
    if chosen is not None and chosen not in names:
        raise DataError(f"examples={chosen!r}: {path} holds no such array. It holds: {', '.join(names) or 'nothing'}.")
    if label is not None and label not in names:
        raise DataError(f"labels={label!r}: {path} holds no such array. It holds: {', '.join(names) or 'nothing'}.")
    y = label or next((name for usual in _Y_NAMES for name in names if name.lower() == usual), None)
    if chosen is not None:
        return chosen, y if y != chosen else None
    candidates = [name for usual in _X_NAMES for name in names if name.lower() == usual and name != label]
    others = [name for name in names if name != y]
    if not others and label is None and len(names) == 1:
        return names[0], None
    if not candidates and len(others) != 1:
        raise DataError(
            f"{path} holds {len(names)} arrays ({', '.join(names) or 'none'}), and which one has the examples is not "
            f"clear. Name it: examples={others[0] if others else 'x'!r}."
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
