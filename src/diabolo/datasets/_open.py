"""`open_dataset`: asks the registry for the reader of a source, and checks and converts what it returns."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diabolo._border import checked
from diabolo.config import as_path, require
from diabolo.datasets import (  # noqa: F401  (each of these files registers its readers when it is imported)
    _columns,
    _csv_files,
    _huggingface,
    _image_folder,
    _named,
    _numpy_files,
    _shapes,
    _shards,
    _table_files,
    _webdataset,
)
from diabolo.datasets._arrays import encode_labels, to_dataset
from diabolo.datasets._catalogue import known_datasets
from diabolo.datasets._column_code import ColumnCode
from diabolo.datasets._dataset import Dataset
from diabolo.datasets._layouts import check_layout
from diabolo.datasets._match import matched
from diabolo.datasets._npy import store_of_map
from diabolo.datasets._read_options import ReadOptions, refuse_options
from diabolo.datasets._readers import (
    RawData,
    Reader,
    file_suffixes,
    find_reader,
    find_reader_of_packages,
    named_reader,
    readers,
)
from diabolo.datasets._store import BUFFER, as_store
from diabolo.errors import ConfigError, DataError, SourceNotFound, short
from diabolo.storage.files import path_of

__all__ = ["choose_reader", "open_dataset", "readers"]

LAST = 90  # the rank of the readers that take what is left: any folder, as one of images


@checked
def open_dataset(  # noqa: PLR0913
    source: Any,
    *,
    layout: str | None = None,
    labels: Any = None,
    columns: str | int | Sequence[str | int] | None = None,
    examples: str | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    decimal: Literal[".", ","] | None = None,
    header: bool | int | None = None,
    comments: str | None = None,
    mixed: Any = False,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    ground: Literal["white", "black"] = "white",
    frame: int | None = None,
    folders: Literal["auto", "labels", "none"] = "auto",
    white: int | Literal["auto", "full"] = "auto",
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    workers: int | None = None,
    binarize: str = "none",
    progress: bool = False,
    memory: float = 2.0,
    buffer: float = BUFFER / 1e6,
    reader: Any = None,
) -> Dataset:
    """Opens any source of examples.

    uint8 stays as it is; everything else becomes float32. Arrays are not copied where their type can stay.

    Args:
        source: the name of a known set; a folder of images, of IDX files or of pieces (.npy, .parquet, .tar); an image;
            a .npy, .npz, .csv (.tsv, .txt, .dat, .data), .parquet or .tar file; a pattern (`parts/*.npy`); a folder
            that Hugging Face's `save_to_disk` wrote; a NumPy array, lists, a torch tensor, a data frame, a
            scikit-learn Bunch, a `datasets.Dataset`, a `Dataset`.
        layout: what the axes are ("F", "HW", "HWC", "CHW", "LC", "CL", "DHW", "CDHW", "THWC", "TCHW", "any"), where
            their lengths do not tell.
        labels: N labels, or the name (text, or a whole number) of a column of a table, of an array in a .npz file, or
            of the members of .tar shards (their suffix, `cls`, or a key in their .json).
        columns: the names of the columns of a table that are the features, in this order; others are left out. With a
            dash before each (-name) they are those that are left out.
        examples: the name of the array of a .npz archive, or the suffix of the members of .tar shards, that holds the
            examples, where there are several.
        encoding: of the characters of a text table, such as cp1252 or gbk; left out, its bytes tell.
        separator: what parts the cells of a text table: a character, tab, or blanks for any number of them.
        decimal: the decimal mark of a text table; the other one then parts thousands.
        header: whether the first row of a text table holds names; 2 for a row of names and one of units.
        comments: what the comments of a text table begin with, such as # or %; `none` where each line is a row.
        mixed: for tables, whether missing values are filled (by medians, or a category of their own), categories become
            columns of 0 and 1, booleans 0 and 1, and dates days since 1970. A trained model keeps how, reads other
            tables so, and `model.table` undoes it.
        size: for images that are read from files, and for a known set of images, the pixels of a side, or (height,
            width); scaled and cropped, never distorted.
        colour: for images, True for RGB and False for grey; left out, grey where all images are.
        ground: what transparent images are laid on, white or black.
        frame: which one is read of image files with several frames or pages, from 0; left out, the first.
        folders: what the folders of images are named for: `labels`; `none`, neither labels nor parts nor a known set;
            `auto`, which takes train, val and test for parts.
        white: the whole number that stands for 1 in bytes and in images of 16 bits. `auto` looks at the data: the
            largest value where that is below 64, as in masks; 255 for other bytes; what 10, 12, 14 or 16 bits hold.
            `full` is the largest of the type, and reduces image files of 16 bits to 8.
        data_dir: where to look for the files of a known set before the cache and the network are asked.
        strict: for folders of images, refuse one that is broken instead of leaving it out.
        workers: how many threads decode images, and read ahead what does not fit into memory.
        binarize: `static` draws every value to be 0 or 1 once (seed 0), with its grey as the probability of a one;
            `dynamic` has the model draw anew each time it trains on the example; `none` leaves them grey.
        progress: for folders of images, show a progress bar on stderr.
        memory: gigabytes; what is larger stays on the disk, as a `Store`, and is read while it is used.
        buffer: megabytes of examples of such a source among which the order of training is mixed.
        reader: what reads the source: a name, `module:function` from a module that is trusted, or a function below
            `register_reader`; left out, the first one that accepts the source.

    Raises:
        SourceNotFound: no such path, and no known set of that name.
        DataError: what is there cannot be used; the message says what to do.
        ShapeError: the layout cannot be told, or does not fit.
        ChecksumError: a cached or downloaded file is not the published one.
        DownloadError: a known set is not on this machine, and cannot be downloaded.
        MissingExtraError: the format needs a package that is not installed.
        ConfigError: an unknown layout or reader; `size` or `colour` for a source without images; a limit below 0.
        UntrustedError: the reader is code of a module that nobody said to trust.

    >>> data = open_dataset(np.zeros((6, 8, 8), np.uint8), labels=["a", "b"] * 3)
    >>> data.layout, data.classes, data.y.tolist()
    ('HW', ('a', 'b'), [0, 1, 0, 1, 0, 1])
    """
    require(memory >= 0, "memory", "a number of gigabytes of at least 0", memory)
    require(buffer > 0, "buffer", "a number of megabytes above 0", buffer)
    labels = str(labels) if _is_whole(labels) else labels  # the name of a column, such as those of a frame of an array
    chosen: Any = [columns] if _is_whole(columns) else columns.split(",") if isinstance(columns, str) else columns
    names = None if chosen is None else tuple(map(str, chosen))
    require(names is None or len(names) > 0, "columns", "names of columns", columns)
    is_white = white in ("auto", "full") or (isinstance(white, int) and 1 <= white <= 65535)
    require(is_white, "white", "auto, full, or a whole number from 1 to 65535", white)
    require(ground in ("white", "black"), "ground", "white or black", ground)
    require(frame is None or frame >= 0, "frame", "a whole number from 0 on", frame)
    require(folders in ("auto", "labels", "none"), "folders", "auto, labels or none", folders)
    is_code = isinstance(mixed, tuple) and all(isinstance(one, ColumnCode) for one in mixed)
    require(isinstance(mixed, bool) or is_code, "mixed", "True or False", mixed)
    text = _text_options(encoding, separator, decimal, header, comments)
    if isinstance(source, Dataset):
        require(reader is None, "reader", "left out: a Dataset has been read", reader)
        refuse_options("a Dataset", ReadOptions(mixed=mixed, frame=frame, folders=folders, **text))
        return matched(_changed(source, layout, labels), names or ()).binarized(binarize)
    options = ReadOptions.checked(
        size,
        workers,
        label=labels if isinstance(labels, str) else None,
        columns=names,
        examples=examples,
        **text,
        mixed=mixed,
        colour=colour,
        ground=ground,
        frame=frame,
        folders=folders,
        white=white,
        strict=strict,
        progress=progress,
        data_dir=None if data_dir is None else as_path("data_dir", data_dir),
        memory=memory * 1e9,
    )
    found, source = choose_reader(source, reader)
    raw = _in_memory_or_store(found(source, options), options, buffer * 1e6)
    if labels is not None and options.label is None:
        raw = dataclasses.replace(raw, labels=labels, classes=())
    return to_dataset(raw, layout, white).binarized(binarize)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _text_options(encoding: Any, separator: Any, decimal: Any, header: Any, comments: Any) -> dict[str, Any]:
    """The options of text tables by name; ConfigError where one cannot be."""
    if encoding is not None:
        try:
            with contextlib.suppress(UnicodeError):
                b"a".decode(encoding)
        except (LookupError, ValueError):
            raise ConfigError(
                f"There is no encoding of text named {short(encoding)}. Known are utf-8, utf-16, cp1252, gbk, "
                "shift_jis and others of Python's."
            ) from None
    words = "a character that is no letter, digit, quote or #, or tab, or blanks"
    is_mark = separator in ("tab", "blanks", "\t", None) or (
        len(separator) == 1 and separator.isprintable() and not separator.isalnum() and separator not in "\"'#.-+"
    )
    require(is_mark, "separator", words, separator)
    require(decimal in (".", ",", None), "decimal", "'.' or ','", decimal)
    require(decimal is None or decimal != separator, "decimal", "another mark than the separator", decimal)
    require(
        header in (0, 1, 2, None), "header", "true, false, or the number of rows of names and units, 0 to 2", header
    )
    signs = comments or " "
    is_sign = len(signs) <= 3 and signs.isprintable() and not any(one.isalnum() or one in " \"'" for one in signs)
    is_sign = is_sign and signs not in ("+", "-", ".", ",", separator)
    words = "none, or one to three characters such as # or //, no letters, digits, quotes or blanks"
    require(comments in ("none", None) or is_sign, "comments", words, comments)
    header = None if header is None else int(header)
    return {
        "encoding": encoding, "separator": separator, "decimal": decimal, "header": header, "comments": comments,
    }  # fmt: skip


def _in_memory_or_store(raw: RawData, options: ReadOptions, buffer: float) -> RawData:
    """Reads what is small into memory, and makes a store of what is large."""
    if isinstance(raw.x, np.memmap):
        mapped = store_of_map(raw.x, raw.name) if raw.x.nbytes > options.memory else None
        if mapped is None:
            return raw
        raw = dataclasses.replace(raw, x=mapped)
    store = as_store(raw.x)
    if store is None:
        return raw
    if store.nbytes <= options.memory:
        return dataclasses.replace(raw, x=np.asarray(store))
    store.buffer, store.workers = int(buffer), options.workers or store.workers
    return raw


def choose_reader(source: Any, reader: Any = None) -> tuple[Reader, Any]:
    """The reader of a source, and the source as the reader takes it: an object, a string or a `Path`.

    Args:
        source: see `open_dataset`.
        reader: the one that was asked for; None asks the readers in the order that `_readers` documents.

    Raises:
        SourceNotFound: no such path, and no known set of that name.
        DataError: no reader accepts the source, or not the one that was asked for.
        ConfigError: an unknown reader.

    >>> choose_reader("digits")[0].name, choose_reader(np.zeros((2, 3)))[0].name
    ('known', 'array')
    """
    if reader is not None:
        return _asked(named_reader(reader), source)
    if not isinstance(source, (str, os.PathLike)):
        found = find_reader("object", source)
        if found is None:
            raise DataError("No source was given. Name a known set, a path, or pass an array of examples, (N, ...).")
        return found, source
    found = find_reader("name", source) if isinstance(source, str) else None
    found = found or find_reader("pattern", str(source))
    if found is not None:
        return found, str(source)
    path = _path(source)
    if path is None:
        found, broken = find_reader_of_packages(("name", "pattern"), str(source))
        if found is None:
            raise _not_found(str(source), broken)
        return found, str(source)
    kind: Literal["folder", "file"] = "folder" if path.is_dir() else "file"
    found = find_reader(kind, path)
    broken = ""
    if found is None or (kind == "folder" and path.suffix and found.rank >= LAST):
        of_package, broken = find_reader_of_packages((kind,), path)
        found = of_package or found
    if found is None:
        suffix = repr(path.suffix) if path.suffix else "no suffix"
        known = ", ".join(file_suffixes())
        raise DataError(f"{path} has {suffix}; files that can be read: {known}. Convert it.{broken}")
    return found, path


def _asked(reader: Reader, source: Any) -> tuple[Reader, Any]:
    """The reader that was asked for, if it accepts the source."""
    taken: Any = source
    if reader.kind in ("folder", "file"):
        taken = _path(source) if isinstance(source, (str, os.PathLike)) else None
        if isinstance(source, (str, os.PathLike)) and taken is None:
            raise _not_found(str(source))
        is_of_kind = taken is not None and taken.is_dir() == (reader.kind == "folder")
    else:
        is_of_kind = isinstance(source, str) or reader.kind == "object"
    if not is_of_kind or not reader.fits(taken):
        what = source if isinstance(source, (str, os.PathLike)) else f"an object of {type(source).__qualname__}"
        expected = f"a {reader.kind}" + (f" that ends in {' or '.join(reader.suffixes)}" if reader.suffixes else "")
        raise DataError(f"The reader {reader.name!r} takes {expected} of its own form, and not {what}.")
    return reader, taken


def _path(source: str | os.PathLike[str]) -> Path | None:
    """The path of a file or a folder that is there, or None."""
    try:
        path = path_of(os.fspath(source))
        if str(source).strip() and path.exists():
            return path
    except (OSError, RuntimeError):  # a name that no file can have, or the home of an unknown user
        pass
    return None


def _changed(dataset: Dataset, layout: str | None, labels: Any) -> Dataset:
    """A Dataset with another layout or other labels, where these are not None."""
    if layout is not None:
        check_layout(layout, dataset.x.shape)
        dataset = dataclasses.replace(dataset, layout=layout, features=dataset.features if layout == "F" else ())
    if labels is not None:
        refuse_options("a Dataset", ReadOptions(label=labels if isinstance(labels, str) else None))
        y, classes = encode_labels(labels, len(dataset))
        dataset = dataclasses.replace(dataset, y=y, classes=classes)
    return dataset


def _not_found(source: str, broken: str = "") -> SourceNotFound:
    names = [entry.name for entry in known_datasets()]
    if not source.strip():
        return SourceNotFound(f"The source is an empty name. Known sets: {', '.join(names)}; or name a path.")
    if Path(source).name != source or Path(source).suffix:
        return SourceNotFound(f"There is no file or folder {source} (looked in {Path.cwd()}). Check the path.{broken}")
    near = difflib.get_close_matches(source.lower().replace("_", "-"), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return SourceNotFound(
        f"There is no known set named {source!r}, and no file or folder of that name in {Path.cwd()}.{hint} "
        f"Known sets: {', '.join(names)}.{broken}"
    )
