"""Known data sets by name: from a data folder, from the cache, or downloaded with their checksums verified."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._catalogue import PARTS, PUBLISHED, KnownDataset, Published, known_datasets
from diabolo.datasets._decode import resized
from diabolo.datasets._idx import find_idx, read_idx_folder
from diabolo.datasets._match import are_numbers
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.errors import ChecksumError, ConfigError, DownloadError, SourceNotFound
from diabolo.storage.files import unwritable
from diabolo.storage.machine import cache_dir

__all__: list[str] = []

_TORCHVISION = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw", "kmnist": "KMNIST/raw"}
_TIMEOUT = 30.0  # seconds without a byte from the server

log = logging.getLogger("diabolo")


def _is_known(source: str) -> bool:
    return source == "digits" or source in PUBLISHED


@register_reader("known", kind="name", accepts=_is_known, takes=("size",), rank=10)
def _read_named(name: str, options: ReadOptions) -> RawData:
    """A known data set by its name in `known_datasets`.

    Raises:
        SourceNotFound: `data_dir` is not a folder.
        DataError: a file in a data folder is broken.
        ChecksumError: a cached or downloaded file is not the published one.
        DownloadError: the files are nowhere on this machine, and the server cannot be reached.
        ConfigError: a size for examples that are no images.
    """
    return _of_size(_published(name, options), options)


def _published(name: str, options: ReadOptions) -> RawData:
    if name == "digits":
        return _open_digits()
    entry = PUBLISHED[name]
    files = _find(name, options.data_dir)
    if files is not None:
        return _with_differences(read_idx_folder(files, name, entry.classes), files, entry)
    return read_idx_folder(_fetch(entry), name, entry.classes)


@register_reader(
    "idx", kind="folder", accepts=lambda folder: bool(find_idx(folder)), takes=("size", "folders"), rank=10
)
def _read_idx(folder: Path, options: ReadOptions) -> RawData:
    """A folder of IDX files. Class names come from the known set whose name is in the folder's, if there is one."""
    files, words = find_idx(folder), folder.name.lower().replace("_", "-")
    within = [name for name in PUBLISHED if name in words and options.folders != "none"]
    entry = PUBLISHED[max(within, key=len)] if within else None
    raw = read_idx_folder(files, folder.name, entry.classes if entry else ())
    if entry is not None:
        raw = _with_differences(raw, files, entry)
        if raw.notes and raw.labels is not None and not are_numbers(raw.classes):
            about = f"the classes are named as those of {entry.name}, as the folder's name has it in it"
            raw = dataclasses.replace(raw, notes=(*raw.notes, f"{about} (folders='none': numbers)"))
    return _of_size(raw, options)


def _of_size(raw: RawData, options: ReadOptions) -> RawData:
    """The images at the size that the options ask for, if any."""
    if options.size is None:
        return raw
    x = np.asarray(raw.x)
    if x.ndim != 3:
        raise ConfigError(
            f"size= is for images, and an example of {raw.name} is an array of shape {x.shape[1:]}. Leave it out."
        )
    if x.shape[1:] == options.size:
        return raw
    sizes = [f"{height} x {width}" for height, width in (x.shape[1:], options.size)]
    note = f"scaled from {sizes[0]} to {sizes[1]} pixels, bilinearly"
    return dataclasses.replace(raw, x=resized(x, options.size), notes=(*raw.notes, note))


def _with_differences(raw: RawData, files: dict[str, Path], entry: Published) -> RawData:
    return dataclasses.replace(raw, notes=raw.notes + _differences(files, entry, len(raw.x)))


def _open_digits() -> RawData:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    x = digits.images.astype(np.float32) / np.float32(16)
    entry: KnownDataset = known_datasets()[0]
    return RawData(x=x, name="digits", labels=digits.target, classes=entry.classes, layout="HW")


def _find(name: str, data_dir: str | os.PathLike[str] | None) -> dict[str, Path] | None:
    """The IDX files of a data set in the data folders, by part, or None."""
    roots = []
    if data_dir is not None:
        root = Path(data_dir).expanduser()
        if not root.is_dir():
            raise SourceNotFound(f"The data folder {root} is not there. Name a folder that holds {name}/ or its files.")
        roots.append(root)
    if os.environ.get("DIABOLO_DATA_DIR"):
        roots.append(Path(os.environ["DIABOLO_DATA_DIR"]).expanduser())
    for root in roots:
        for folder in (root / name, root, root / _TORCHVISION[name]):
            files = find_idx(folder)
            if any(part.endswith("images") for part in files):
                log.info("%s: read from %s", name, folder)
                return files
    return None


def _differences(files: dict[str, Path], entry: Published, count: int) -> tuple[str, ...]:
    """Notes on how files differ from the published ones; only gzipped files have a published checksum."""
    gzipped = [part for part in PARTS if part in files and files[part].suffix == ".gz"]
    others = [files[part].name for part in gzipped if _md5(files[part]) != entry.md5[PARTS.index(part)]]
    missing = [part for part in PARTS if part not in files]
    notes = []
    if others:
        which = "file" if len(others) == 1 else "files"
        notes.append(f"not the published {which} of {entry.name}: {count:,} images, from {', '.join(others)}")
    elif count != entry.train + entry.test:
        notes.append(f"not the whole of {entry.name}: {count:,} of {entry.train + entry.test:,} images")
    if missing:
        notes.append(f"a part of {entry.name}: no {', '.join(missing)}")
    return tuple(notes)


def _fetch(entry: Published) -> dict[str, Path]:
    """The published files in the cache, downloaded where they are missing."""
    folder = cache_dir() / entry.name
    files = {}
    for part, md5 in zip(PARTS, entry.md5, strict=True):
        path = folder / entry.file(part)
        if path.exists():
            _check_md5(path, path, md5, f"Delete {path} and run the same command again to download it anew.")
        else:
            _download(entry.base + entry.file(part), path, md5)
        files[part] = path
    return files


def _download(url: str, path: Path, md5: str) -> None:
    """Downloads into a temporary file beside `path`, which takes its place once the checksum holds."""
    import pooch
    import requests

    def fetch(url: str, output_file: Any, _: Any) -> None:
        pooch.HTTPDownloader(timeout=_TIMEOUT)(url, output_file, None)
        advice = "Nothing was kept. Try again later, or get the files elsewhere and name their folder with --data-dir."
        _check_md5(Path(output_file), url, md5, advice)

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    log.info("downloading %s to %s", url, path)
    try:
        pooch.retrieve(url, f"md5:{md5}", fname=path.name, path=path.parent, downloader=fetch)
    except requests.exceptions.RequestException as error:
        raise DownloadError(
            f"{url} could not be downloaded: {_reason(error)}. Without a network, put the file into a folder of your "
            f"own and name that folder with --data-dir (data_dir= in Python) or DIABOLO_DATA_DIR."
        ) from error
    except OSError as error:
        raise unwritable(path, error, "DIABOLO_CACHE_DIR names another cache folder.") from error
    finally:
        logger.setLevel(level)


def _check_md5(path: Path, source: Path | str, expected: str, advice: str) -> None:
    received = _md5(path)
    if received != expected:
        raise ChecksumError(
            f"{source} is not the published file: its md5 should be {expected} and is {received} "
            f"({path.stat().st_size:,} bytes). {advice}"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    """The last cause of a failed request: the one that tells the user something."""
    cause: BaseException = error
    while isinstance(cause.__cause__ or cause.__context__, BaseException):
        cause = cause.__cause__ or cause.__context__ or cause
    return str(getattr(cause, "strerror", None) or cause) or type(error).__name__
