"""A folder of images as one uint8 array: decoded once into a .npy file of the cache, which is mapped from then on."""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._dataset import Array, chunks
from diabolo.datasets._decode import Broken, Header, Target, decode_all, decoding_notes, read_headers, target_of
from diabolo.datasets._image_names import TEST, counted, few, labelled, labels_of, parts_of
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.errors import DataError, StorageError
from diabolo.storage.files import write_text, writing
from diabolo.storage.images import SUFFIXES
from diabolo.storage.machine import cache_dir
from diabolo.storage.npy import load_numpy

__all__ = ["holds_images"]

_VERSION = 1  # of a cache entry: raise it when the same files would be decoded to other pixels
_SAMPLE, _SAMPLES = 1 << 16, 64  # bytes and number of the blocks of a cached array that are checked when it is opened

log = logging.getLogger("diabolo")


@dataclass(frozen=True, eq=False)
class _Decoded:
    """Decoded images, their paths relative to the folder, the files that cannot be read, and notes for the user."""

    x: Array
    ids: tuple[str, ...]
    broken: tuple[Broken, ...]
    notes: tuple[str, ...]


@register_reader("images", kind="folder", accepts=Path.is_dir, takes=("size", "colour", "folders"), rank=90)
def _read_images(folder: Path, options: ReadOptions) -> RawData:
    """All images below `folder`, sorted by path, as uint8 (N, H, W) or (N, H, W, 3).

    The first folder in which paths differ is the label, where at least two folders hold images and no image lies beside
    them. Folders called train, val, test and the like are parts: what lies below them has the labels, and `test` is the
    published test part. `folders` says otherwise.

    Raises:
        DataError: no image, none that can be read, several sizes and no `size`; a broken one where `strict`.
    """
    files, notes = _find_images(folder)
    parts = parts_of(files) if options.folders == "auto" else {}
    within = {*parts} or labelled(files, options.folders)
    if beside := [name for name in files if name not in within]:
        kind = "parts" if parts else "labels"
        notes += (f"{counted(len(beside))} beside the {kind}' folders left out: {few(beside)} (folders='none': taken)",)
        files = {name: stat for name, stat in files.items() if name in within}
    entry = cache_dir() / "images" / _key(folder, files, options)
    decoded = _read_entry(entry)
    if decoded is None:
        decoded = _decode(folder, files, entry, options)
    if decoded.broken and options.strict:
        first = decoded.broken[0]
        raise DataError(
            f"{folder / first.path} cannot be read as an image: {first.reason} ({len(decoded.broken):,} such in all). "
            "Repair or remove it, or leave strict out to skip such files."
        )
    grounded = next((note for note in decoded.notes if "ground=" in note), None)
    flat = 255 if options.ground == "white" else 0
    if grounded and not any((chunk != flat).any() for _, chunk in chunks(decoded.x)):
        other = "black" if options.ground == "white" else "white"
        raise DataError(
            f"The images of {folder} are {options.ground} all over: {grounded}. What is drawn on them has its "
            f"colour; lay them on another: ground={other} (--ground {other})."
        )
    labels, words = labels_of(decoded.ids, parts, options.folders)
    test = [i for i, name in enumerate(decoded.ids) if parts.get(name) in TEST]
    if parts:
        counts = collections.Counter(parts[name] for name in decoded.ids)
        names = ", ".join(f"{part} ({count:,})" for part, count in counts.items())
        words += (f"parts by folder: {names} (folders='labels': labels)",)
    return RawData(
        x=decoded.x,
        name=folder.resolve().name,
        labels=labels,
        ids=decoded.ids,
        official_test=np.array(test, np.int64) if 0 < len(test) < len(decoded.ids) else None,
        notes=decoded.notes + _broken_note(decoded.broken) + notes + words,
        layout="HW" if decoded.x.ndim == 3 else "HWC",
    )


@register_reader("image", suffixes=SUFFIXES, takes=("size", "colour"), rank=60)
def _read_image(path: Path, options: ReadOptions) -> RawData:
    """One image as a data set of one example: (1, H, W) or (1, H, W, 3), uint8.

    Raises:
        DataError: it cannot be read.
    """
    headers, broken = read_headers(path.parent, [path.name], 1, options.frame)
    notes: tuple[str, ...] = ()
    images: list[Array | Broken] = list(broken)
    if headers:
        target = target_of(headers[0].size, headers, options)
        notes = decoding_notes(headers, target)
        images = list(decode_all(path.parent, headers, target, 1, False))
    image = images[0]
    if isinstance(image, Broken):
        raise DataError(f"{path} cannot be read as an image: {image.reason}. Repair it or choose another.")
    layout = "HW" if image.ndim == 2 else "HWC"
    return RawData(x=image[None], name=path.stem, ids=(path.name,), notes=notes, layout=layout)


def holds_images(folder: Path) -> bool:
    """Whether a folder holds an image at any depth, hidden files and folders left out."""
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(Path(name).suffix.lower() in SUFFIXES and not name.startswith(".") for name in names):
            return True
    return False


def _find_images(folder: Path) -> tuple[dict[str, os.stat_result], tuple[str, ...]]:
    """Relative path -> size and time of each image, sorted, and what else is there; follows links, skips hidden files.

    A folder that links to one of its parents is entered once: real paths are compared.
    """
    images, others, seen = {}, collections.Counter[str](), set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(place, name)
            if name.startswith(".") or not path.is_file():
                continue
            if path.suffix.lower() in SUFFIXES:
                images[path.relative_to(folder).as_posix()] = path.stat()
            else:
                others[path.suffix.lower() or "no suffix"] += 1
    rest = ", ".join(f"{count:,} with {suffix}" for suffix, count in others.most_common(4))
    if not images:
        content = f"it holds other files: {rest}" if rest else "it is empty"
        raise DataError(
            f"{folder} holds no image; {content}. Expected {', '.join(SUFFIXES)} or the IDX files of a set like MNIST. "
            "Name another folder, or one file in it."
        )
    return dict(sorted(images.items())), (f"files that are no images passed over: {rest}",) if rest else ()


def _key(folder: Path, files: dict[str, os.stat_result], options: ReadOptions) -> str:
    listing = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files.items()]
    parts = [
        _VERSION,
        str(folder.resolve()),
        listing,
        options.size,
        options.colour,
        *([] if options.ground == "white" else [options.ground]),
        *([f"frame {options.frame}"] if options.frame else []),
    ]
    if options.deep:
        parts.append("deep")
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _decode(folder: Path, files: dict[str, os.stat_result], entry: Path, options: ReadOptions) -> _Decoded:
    headers, broken = read_headers(folder, list(files), options.workers, options.frame)
    if not headers:
        raise _none_readable(folder, broken)
    target = target_of(options.size or _common_size(folder, headers), headers, options)
    notes = decoding_notes(headers, target)
    try:
        return _decode_to_cache(folder, headers, target, broken, (entry, notes, options))
    except StorageError as error:
        log.warning("the decoded images of %s are not kept for the next time: %s", folder, error)
    images = list(decode_all(folder, headers, target, options.workers, options.progress))
    good = [(header, image) for header, image in zip(headers, images, strict=True) if not isinstance(image, Broken)]
    broken = (*broken, *(image for image in images if isinstance(image, Broken)))
    if not good:
        raise _none_readable(folder, broken)
    return _Decoded(np.stack([i for _, i in good]), tuple(h.path for h, _ in good), broken, notes)


def _decode_to_cache(
    folder: Path,
    headers: list[Header],
    target: Target,
    broken: tuple[Broken, ...],
    rest: tuple[Path, tuple[str, ...], ReadOptions],
) -> _Decoded:
    """Decodes straight into the cache's file, so that the images need not fit into memory.

    The number of readable images is known at the end, so the header, of one length for all shapes, is written twice.
    """
    entry, notes, options = rest
    shape, ids = target.shape, []
    with writing(entry.with_suffix(".npy")) as temporary, temporary.open("rb+") as stream:
        stream.write(_npy_header((len(headers), *shape), target.dtype))
        images = decode_all(folder, headers, target, options.workers, options.progress)
        for header, image in zip(headers, images, strict=True):
            if isinstance(image, Broken):
                broken = (*broken, image)
            else:
                stream.write(image.astype(target.dtype.newbyteorder("<"), copy=False).data)
                ids.append(header.path)
        if not ids:
            raise _none_readable(folder, broken)
        stream.seek(0)
        stream.write(_npy_header((len(ids), *shape), target.dtype))
    log.info("%s: decoded images kept in %s", folder, entry.with_suffix(".npy"))
    x: Any = load_numpy(entry.with_suffix(".npy"), mapped=True)
    decoded = _Decoded(x, tuple(ids), broken, notes)
    _write_description(entry, decoded)
    return decoded


def _write_description(entry: Path, decoded: _Decoded) -> None:
    description = {
        "ids": decoded.ids,
        "broken": [(one.path, one.reason) for one in decoded.broken],
        "notes": decoded.notes,
        "check": _check_value(entry.with_suffix(".npy")),
    }
    write_text(entry.with_suffix(".json"), json.dumps(description))


def _read_entry(entry: Path) -> _Decoded | None:
    """The images of a cache entry, or None where there is no entry or it is damaged."""
    try:
        description = json.loads(entry.with_suffix(".json").read_text(encoding="utf-8"))
        if description["check"] != _check_value(entry.with_suffix(".npy")):
            raise ValueError("its bytes have changed")
        x: Any = load_numpy(entry.with_suffix(".npy"), mapped=True)
        ids = tuple(map(str, description["ids"]))
        if len(ids) != len(x) or x.dtype not in (np.uint8, np.uint16) or x.ndim not in (3, 4):
            raise ValueError("it does not fit its description")
        broken = tuple(Broken(str(path), str(reason)) for path, reason in description["broken"])
        return _Decoded(x, ids, broken, tuple(map(str, description["notes"])))
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 (whatever a damaged file makes json and NumPy raise)
        log.warning("the cached images in %s are damaged (%s) and are decoded again", entry, error)
        return None


def _check_value(path: Path) -> str:
    """A checksum of a file's length and of 64 kB blocks spread evenly over it: of all bytes up to 4 MiB."""
    length = path.stat().st_size
    digest = hashlib.blake2b(str(length).encode(), digest_size=16)
    step = max(_SAMPLE, (length - _SAMPLE) // (_SAMPLES - 1))
    with path.open("rb") as stream:
        for offset in range(0, length, step):
            stream.seek(offset)
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a .npy file, 128 bytes whatever the shape: it is written again once all are decoded."""
    text = f"{{'descr': '{dtype.newbyteorder('<').str}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return np.lib.format.magic(1, 0) + struct.pack("<H", len(text)) + text.encode("ascii")


def _common_size(folder: Path, headers: list[Header]) -> tuple[int, int]:
    sizes: collections.Counter[tuple[int, int]] = collections.Counter(header.size for header in headers)
    if len(sizes) == 1:
        return headers[0].size
    listed = ", ".join(f"{height} x {width} ({count:,})" for (height, width), count in sizes.most_common(4))
    raise DataError(
        f"The images in {folder} have {len(sizes):,} different sizes (height x width): {listed}"
        f"{', ...' if len(sizes) > 4 else ''}. All must have one: give --size (size= in Python), for example "
        "--size 64, to scale and crop them to it."
    )


def _broken_note(broken: tuple[Broken, ...]) -> tuple[str, ...]:
    if not broken:
        return ()
    return (f"{counted(len(broken))} skipped: {few([f'{one.path} ({one.reason})' for one in broken])}",)


def _none_readable(folder: Path, broken: tuple[Broken, ...]) -> DataError:
    return DataError(
        f"None of the {len(broken):,} images in {folder} can be read. The first is {broken[0].path}: "
        f"{broken[0].reason}. Check that the files are whole and are what their suffix says."
    )
