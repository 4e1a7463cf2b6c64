"""`open_dataset`: finds out what a source is and calls the one reader for it."""

from __future__ import annotations

import dataclasses
import difflib
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._arrays import Found, as_numpy, encode_labels, finish
from diabolo.datasets._catalogue import known_datasets
from diabolo.datasets._dataset import Dataset, check_layout
from diabolo.datasets._idx import find_idx
from diabolo.datasets._images import SUFFIXES, ImageOptions, open_image, open_images
from diabolo.datasets._named import open_idx_folder, open_named
from diabolo.datasets._tables import read_csv, read_frame, read_parquet
from diabolo.errors import ConfigError, DataError, SourceNotFound

__all__ = ["open_dataset"]

_X_NAMES, _Y_NAMES = ("x", "data", "images"), ("y", "labels", "label", "target", "targets")


def open_dataset(  # noqa: PLR0913
    source: Any,
    *,
    layout: str | None = None,
    labels: Any = None,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    workers: int | None = None,
    binarize: str = "none",
    progress: bool = False,
) -> Dataset:
    """Opens any source of examples.

    uint8 stays as it is; everything else becomes float32. Arrays are not copied where their type can stay.

    Args:
        source: the name of a known set; a folder of images or of IDX files; an image; a .npy, .npz, .csv, .tsv or
            .parquet file; a NumPy array, lists, a torch tensor, a data frame, a scikit-learn Bunch, a `Dataset`.
        layout: what the axes are ("F", "HW", "HWC", "CHW", "LC", "CL", "any"), where their lengths do not tell.
        labels: N labels, or the name of a column of a table or of an array in a .npz file.
        size: for folders of images, the pixels of a side, or (height, width); scaled and cropped, never distorted.
        colour: for folders of images, True for RGB and False for grey; left out, grey where all images are.
        data_dir: where to look for the files of a known set before the cache and the network are asked.
        strict: for folders of images, refuse one that is broken instead of leaving it out.
        workers: for folders of images, how many threads decode.
        binarize: `static` draws every value to be 0 or 1 once (seed 0), with its grey as the probability of a one;
            `dynamic` has the model draw anew each time it trains on the example; `none` leaves them grey.
        progress: for folders of images, show a progress bar on stderr.

    Raises:
        SourceNotFound: no such path, and no known set of that name.
        DataError: what is there cannot be used; the message says what to do.
        ShapeError: the layout cannot be told, or does not fit.
        ChecksumError: a cached or downloaded file is not the published one.
        DownloadError: a known set is not on this machine, and cannot be downloaded.
        MissingExtraError: the format needs a package that is not installed.
        ConfigError: an unknown layout; `size` or `colour` for a source that is no folder of images.
    """
    if isinstance(source, Dataset):
        return _changed(source, layout, labels).binarized(binarize)
    label = labels if isinstance(labels, str) else None
    options = ImageOptions.checked(size, workers, colour=colour, strict=strict, progress=progress)
    found = _find(source, label, options, data_dir)
    if labels is not None and label is None:
        found = dataclasses.replace(found, labels=labels, classes=())
    return finish(found, layout).binarized(binarize)


def _find(source: Any, label: str | None, options: ImageOptions, data_dir: str | os.PathLike[str] | None) -> Found:
    """Calls the reader of a source; each takes the name of the labels where it can have one."""
    if isinstance(source, str) and source in {known.name for known in known_datasets()}:
        _refuse(source, label, options)
        return open_named(source, data_dir)
    if not isinstance(source, (str, os.PathLike)):
        _refuse("an array", None, options)
        return _read_object(source, label)
    return _find_path(_existing(source), label, options)


def _existing(source: str | os.PathLike[str]) -> Path:
    try:
        path = Path(source).expanduser()
        if str(source).strip() and path.exists():
            return path
    except (OSError, RuntimeError):  # a name that no file could have, the home of nobody
        pass
    raise _not_found(str(source))


def _find_path(path: Path, label: str | None, options: ImageOptions) -> Found:
    """What lies at a path: a folder of images or of IDX files, or one file."""
    if path.is_dir():
        files = find_idx(path)
        if not files:
            _refuse(str(path), label, ImageOptions())
            return open_images(path, options)
        _refuse(str(path), label, options)
        return open_idx_folder(path, files)
    if path.suffix.lower() in SUFFIXES:
        _refuse(str(path), label, ImageOptions())
        return open_image(path, options)
    _refuse(str(path), None, options)
    readers: dict[str, Callable[[Path, str | None], Found]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        suffix = repr(path.suffix) if path.suffix else "no suffix"
        raise DataError(f"{path} has {suffix}; files that can be read: {', '.join(readers)}. Convert it.")
    return reader(path, label)


def _refuse(what: str, label: str | None, options: ImageOptions) -> None:
    """Refuses options that a source has no use for, rather than drop them."""
    if label is not None:
        raise DataError(
            f"labels={label!r} names a column of a table or an array of a .npz file, and {what} has neither. "
            "Give the labels themselves, one for each example."
        )
    for name in ("size", "colour"):
        if getattr(options, name) is not None:
            raise ConfigError(f"{name}= is for images, and {what} is none. Leave it out.")


def _changed(dataset: Dataset, layout: str | None, labels: Any) -> Dataset:
    """A Dataset as it is, but for a layout and labels that were asked for."""
    if layout is not None:
        check_layout(layout, dataset.x.shape)
        dataset = dataclasses.replace(dataset, layout=layout, features=dataset.features if layout == "F" else ())
    if labels is not None:
        _refuse("a Dataset", labels if isinstance(labels, str) else None, ImageOptions())
        y, classes = encode_labels(labels, len(dataset))
        dataset = dataclasses.replace(dataset, y=y, classes=classes)
    return dataset


def _read_object(source: Any, label: str | None) -> Found:
    if source is None:
        raise DataError("No source was given. Name a known set, a path, or pass an array of examples, (N, ...).")
    if isinstance(source, dict) and ("data" in source or "images" in source):
        return _read_bunch(source, label)
    if hasattr(source, "columns") and hasattr(source, "dtypes"):
        return read_frame(source, label)
    _refuse("an array", label, ImageOptions())
    return Found(x=as_numpy(source), name="array")


def _read_bunch(bunch: dict[str, Any], label: str | None) -> Found:
    """A scikit-learn Bunch, or any dictionary like it; `images` rather than `data`, where both are there."""
    if label is not None and label not in bunch:
        raise DataError(f"labels={label!r} is not among the entries: {', '.join(map(str, bunch))}.")
    x = as_numpy(bunch["images"] if bunch.get("images") is not None else bunch["data"])
    names = bunch.get("target_names")
    features = bunch.get("feature_names")
    return Found(
        x=x,
        name="bunch",
        labels=bunch.get(label or "target"),
        classes=() if names is None or isinstance(names, str) else tuple(map(str, names)),
        features=tuple(map(str, features)) if features is not None and x.ndim == 2 else (),
    )


def _read_npy(path: Path, label: str | None) -> Found:
    _refuse(str(path), label, ImageOptions())
    try:
        try:
            x = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:  # an empty array cannot be mapped
            x = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(x, np.ndarray):
        x.close()
        raise DataError(f"{path} is a .npz archive with another suffix. Rename it to {path.stem}.npz.")
    return Found(x=x, name=path.stem)


def _read_npz(path: Path, label: str | None) -> Found:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not hasattr(archive, "files"):
                raise DataError(f"{path} is one array, not an archive of them. Rename it to {path.stem}.npy.")
            x_name, y_name = _choose(path, list(archive.files), label)
            x = archive[x_name]
            y = archive[y_name] if y_name else None
    except DataError:
        raise
    except (ValueError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    return Found(x=x, name=path.stem, labels=y)


def _choose(path: Path, names: list[str], label: str | None) -> tuple[str, str | None]:
    """The names of the examples' and of the labels' array."""
    if label is not None and label not in names:
        raise DataError(f"labels={label!r}: {path} holds no such array. It holds: {', '.join(names) or 'nothing'}.")
    y = label or next((name for known in _Y_NAMES for name in names if name.lower() == known), None)
    named = [name for known in _X_NAMES for name in names if name.lower() == known and name != label]
    others = [name for name in names if name != y]
    if not others and label is None and len(names) == 1:
        return names[0], None
    if not named and len(others) != 1:
        raise DataError(
            f"{path} holds {len(names)} arrays ({', '.join(names) or 'none'}), and which one has the examples is not "
            f"clear. Name it one of {', '.join(_X_NAMES)}, or save it alone as .npy."
        )
    return (named or others)[0], y


def _unreadable(path: Path, error: Exception) -> DataError:
    if "Object arrays" in str(error) or "Python objects" in str(error):
        reason = "it holds Python objects, which are never loaded because they can run code. Save it as numbers"
    elif "pickle" in str(error):  # what NumPy takes every unknown beginning for
        reason = "it is of another format, perhaps a pickle, and pickles are never loaded. Save it with numpy"
    else:
        reason = f"{error}. It is damaged, truncated or of another format; save it again"
    return DataError(f"{path} cannot be read as {path.suffix}: {reason}.")


def _not_found(source: str) -> SourceNotFound:
    names = [known.name for known in known_datasets()]
    if not source.strip():
        return SourceNotFound(f"The source is an empty name. Known sets: {', '.join(names)}; or name a path.")
    if Path(source).name != source or Path(source).suffix:
        return SourceNotFound(f"There is no file or folder {source} (looked in {Path.cwd()}). Check the path.")
    near = difflib.get_close_matches(source.lower().replace("_", "-"), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SourceNotFound(
        f"There is no known set named {source!r}, and no file or folder of that name in {Path.cwd()}.{hint} "
        f"Known sets: {', '.join(names)}."
    )
