"""`open_dataset`: finds out what a source is and calls the one reader for it."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.config import require
from diabolo.datasets._arrays import Found, as_numpy, encode_labels, finish
from diabolo.datasets._arrow_sources import ParquetSource
from diabolo.datasets._catalogue import known_datasets
from diabolo.datasets._columns import open_columns
from diabolo.datasets._dataset import Dataset, check_layout
from diabolo.datasets._huggingface import open_object
from diabolo.datasets._idx import find_idx
from diabolo.datasets._image_folder import SUFFIXES, ImageOptions, holds_images, open_image, open_images, refuse
from diabolo.datasets._named import open_idx_folder, open_named
from diabolo.datasets._npy import store_of_map
from diabolo.datasets._numpy_files import read_npy, read_npz
from diabolo.datasets._shards import is_pattern, open_folder, open_pattern
from diabolo.datasets._store import BUFFER, Store, as_store
from diabolo.datasets._table_files import read_csv, read_frame, read_parquet
from diabolo.datasets._webdataset import open_shards
from diabolo.errors import DataError, SourceNotFound

__all__ = ["open_dataset"]


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
    memory: float = 2.0,
    buffer: float = BUFFER / 1e6,
) -> Dataset:
    """Opens any source of examples.

    uint8 stays as it is; everything else becomes float32. Arrays are not copied where their type can stay.

    Args:
        source: the name of a known set; a folder of images, of IDX files or of pieces (.npy, .parquet, .tar); an image;
            a .npy, .npz, .csv, .tsv, .parquet or .tar file; a pattern (`parts/*.npy`, `part-{000..099}.tar`); a folder
            that Hugging Face's `save_to_disk` wrote; a NumPy array, lists, a torch tensor, a data frame, a
            scikit-learn Bunch, a `datasets.Dataset`, a `Dataset`.
        layout: what the axes are ("F", "HW", "HWC", "CHW", "LC", "CL", "any"), where their lengths do not tell.
        labels: N labels, or the name of a column of a table, of an array in a .npz file, or of the members of .tar
            shards (their suffix, `cls`, or a key in their .json).
        size: for images, the pixels of a side, or (height, width); scaled and cropped, never distorted.
        colour: for images, True for RGB and False for grey; left out, grey where all images are.
        data_dir: where to look for the files of a known set before the cache and the network are asked.
        strict: for folders of images, refuse one that is broken instead of leaving it out.
        workers: how many threads decode images, and read ahead what does not fit into memory.
        binarize: `static` draws every value to be 0 or 1 once (seed 0), with its grey as the probability of a one;
            `dynamic` has the model draw anew each time it trains on the example; `none` leaves them grey.
        progress: for folders of images, show a progress bar on stderr.
        memory: gigabytes; what is larger stays on the disk, as a `Store`, and is read while it is used.
        buffer: megabytes of examples of such a source among which the order of training is mixed.

    Raises:
        SourceNotFound: no such path, and no known set of that name.
        DataError: what is there cannot be used; the message says what to do.
        ShapeError: the layout cannot be told, or does not fit.
        ChecksumError: a cached or downloaded file is not the published one.
        DownloadError: a known set is not on this machine, and cannot be downloaded.
        MissingExtraError: the format needs a package that is not installed.
        ConfigError: an unknown layout; `size` or `colour` for a source without images; a limit below 0.
    """
    require(memory >= 0, "memory", "a number of gigabytes of at least 0", memory)
    require(buffer > 0, "buffer", "a number of megabytes above 0", buffer)
    if isinstance(source, Dataset):
        return _changed(source, layout, labels).binarized(binarize)
    label = labels if isinstance(labels, str) else None
    options = ImageOptions.checked(size, workers, colour=colour, strict=strict, progress=progress)
    found = _settle(_find(source, label, options, data_dir, memory * 1e9), memory * 1e9, buffer * 1e6, workers)
    if labels is not None and label is None:
        found = dataclasses.replace(found, labels=labels, classes=())
    return finish(found, layout).binarized(binarize)


def _settle(found: Found, memory: float, buffer: float, workers: int | None) -> Found:
    """What is small is in memory from here on, and what is large is a store."""
    if isinstance(found.x, np.memmap):
        mapped = store_of_map(found.x, found.name) if found.x.nbytes > memory else None
        if mapped is None:
            return found
        found = dataclasses.replace(found, x=mapped)
    store = as_store(found.x)
    if store is None:
        return found
    if store.nbytes <= memory:
        return dataclasses.replace(found, x=np.asarray(store))
    store.buffer, store.workers = int(buffer), workers or store.workers
    return found


def _find(
    source: Any, label: str | None, options: ImageOptions, data_dir: str | os.PathLike[str] | None, memory: float
) -> Found:
    """Calls the reader of a source; each takes the name of the labels where it can have one."""
    if isinstance(source, str) and source in {known.name for known in known_datasets()}:
        refuse(source, label, options)
        return open_named(source, data_dir)
    if not isinstance(source, (str, os.PathLike)):
        if type(source).__module__.partition(".")[0] == "datasets":
            return open_object(source, label, options)
        refuse("an array", None, options)
        return _read_object(source, label)
    if is_pattern(str(source)) and not os.path.exists(source):  # noqa: PTH110
        return open_pattern(str(source), label, options)
    return _find_path(_existing(source), label, options, memory)


def _existing(source: str | os.PathLike[str]) -> Path:
    try:
        path = Path(source).expanduser()
        if str(source).strip() and path.exists():
            return path
    except (OSError, RuntimeError):  # a name that no file could have, the home of nobody
        pass
    raise _not_found(str(source))


def _find_folder(path: Path, label: str | None, options: ImageOptions) -> Found:
    """A folder of IDX files, of images, or of pieces of a set."""
    files = find_idx(path)
    if files:
        refuse(str(path), label, options)
        return open_idx_folder(path, files)
    pieces = None if holds_images(path) else open_folder(path, label, options)
    if pieces is not None:
        return pieces
    refuse(str(path), label, ImageOptions())
    return open_images(path, options)


def _find_path(path: Path, label: str | None, options: ImageOptions, memory: float) -> Found:
    """What lies at a path: a folder, or one file."""
    if path.is_dir():
        return _find_folder(path, label, options)
    if path.suffix.lower() == ".tar":
        return open_shards([path], path.stem, label, options)
    if path.suffix.lower() in SUFFIXES:
        refuse(str(path), label, ImageOptions())
        return open_image(path, options)
    if path.suffix.lower() == ".parquet":
        source = ParquetSource([path], path.stem)
        table = all(column.kind in ("number", "other") or column.name == label for column in source.columns)
        if not table or 4 * int(source.blocks[-1]) * len(source.columns) > memory:
            return open_columns(source, label, options)
    refuse(str(path), None, options)
    readers: dict[str, Callable[[Path, str | None], Found]] = {
        ".npy": _read_npy,
        ".npz": read_npz,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        suffix = repr(path.suffix) if path.suffix else "no suffix"
        raise DataError(f"{path} has {suffix}; files that can be read: {', '.join([*readers, '.tar'])}. Convert it.")
    return reader(path, label)


def _changed(dataset: Dataset, layout: str | None, labels: Any) -> Dataset:
    """A Dataset as it is, but for a layout and labels that were asked for."""
    if layout is not None:
        check_layout(layout, dataset.x.shape)
        dataset = dataclasses.replace(dataset, layout=layout, features=dataset.features if layout == "F" else ())
    if labels is not None:
        refuse("a Dataset", labels if isinstance(labels, str) else None, ImageOptions())
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
    refuse("an array", label, ImageOptions())
    return Found(x=source if isinstance(source, (np.memmap, Store)) else as_numpy(source), name="array")


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
    refuse(str(path), label, ImageOptions())
    return read_npy(path)


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
