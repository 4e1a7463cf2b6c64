"""WebDataset's shards: .tar files in which the members of an example follow each other and share a name.

Their headers are read once, so that any example can be read from its place; where each lies is kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diabolo.datasets._columns import broken_image, common_target
from diabolo.datasets._decode import Target, decode_bytes, header_of
from diabolo.datasets._match import listed
from diabolo.datasets._npy import AGAIN
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._store import BLOCK, DECODERS, Array, Indices, Store
from diabolo.errors import DataError, StorageError
from diabolo.storage.files import writing
from diabolo.storage.foreign import parse_json, reason
from diabolo.storage.images import SUFFIXES
from diabolo.storage.machine import cache_dir
from diabolo.storage.npy import Npz

__all__ = ["TarStore", "open_shards"]

_VERSION = 2  # of the cached index: raise it when the same shards would be indexed in another way
_SPAN = 1 << 23  # bytes: the most that is read at once
_GAP = 1 << 16  # bytes: over a smaller gap it is cheaper to read on than to seek
_HEADERS = 64  # images whose headers tell size and colour

log = logging.getLogger("diabolo")


@dataclass
class _Index:
    """The place of each image: the number of its shard, its first byte, its size in bytes; and its label.

    `others` are the suffixes of images beside those.
    """

    shards: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    def arrays(self) -> dict[str, Array]:
        """The index as arrays, ready for a .npz file."""
        return {
            "shards": np.array(self.shards, np.int32),
            "offsets": np.array(self.offsets, np.int64),
            "sizes": np.array(self.sizes, np.int64),
            "labels": np.array(self.labels, np.str_),
            "others": np.array(sorted(self.others), np.str_),
        }


class TarStore(Store):
    """A store of the images in .tar files, decoded when they are read."""

    def __init__(self, paths: Sequence[Path], index: dict[str, Array], target: Target, name: str) -> None:
        self.paths, self.target = tuple(paths), target
        self.shards, self.offsets, self.sizes = index["shards"], index["offsets"], index["sizes"]
        count = len(self.shards)
        super().__init__((count, *target.shape), target.dtype, _blocks(self.shards, self.sizes), name)
        self.parts = np.append(np.searchsorted(self.shards, np.unique(self.shards)), count).astype(np.int64)
        self.lengths = [path.stat().st_size for path in paths]

    def where(self, index: int) -> str:
        path, offset = self.paths[self.shards[index]], int(self.offsets[index])
        return f"Example {index} ({path}, member {_member_name(path, offset)})"

    def probe(self, digest: hashlib.blake2b) -> None:
        """The sizes of all images and the encoded bytes of some: decoded pixels may change with Pillow's version."""
        digest.update(f"{self.target}{self.target.frame or ''}".encode())
        digest.update(self.sizes.astype("<i8").data)
        for index in self.probes().tolist():
            digest.update(self.encoded(index))

    def _take(self, indices: Indices, out: Array) -> None:
        for a, b in self._spans(indices):
            first, last = int(indices[a]), int(indices[b - 1])
            start = int(self.offsets[first])
            data = self._read(int(self.shards[first]), start, int(self.offsets[last] + self.sizes[last]) - start)
            for i in range(a, b):
                index = int(indices[i])
                low = int(self.offsets[index]) - start
                try:
                    out[i] = decode_bytes(data[low : low + int(self.sizes[index])], self.target)
                except Exception as error:
                    raise broken_image(self.where(index), error) from error

    def encoded(self, index: int) -> bytes:
        """The encoded bytes of one image."""
        return self._read(int(self.shards[index]), int(self.offsets[index]), int(self.sizes[index]))

    def _spans(self, indices: Indices) -> Iterator[tuple[int, int]]:
        """The bounds of runs of `indices` that are read at once: images close together in one shard."""
        a = 0
        for b in range(1, len(indices) + 1):
            if b < len(indices):
                before, index = indices[b - 1], indices[b]
                close = self.offsets[index] - self.offsets[before] - self.sizes[before] <= _GAP
                short = self.offsets[index] + self.sizes[index] - self.offsets[indices[a]] <= _SPAN
                if close and short and self.shards[index] == self.shards[before]:
                    continue
            yield a, b
            a = b

    def _read(self, shard: int, start: int, length: int) -> bytes:
        path = self.paths[shard]
        try:
            with path.open("rb", buffering=0) as stream:
                size = stream.seek(0, 2)
                stream.seek(start)
                data = stream.read(length)
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing, and was there before. {AGAIN}") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}. {AGAIN}") from error
        if size != self.lengths[shard] or len(data) < length:
            raise DataError(
                f"{path} has {size:,} bytes, and had {self.lengths[shard]:,} when it was opened: it was cut off or "
                f"written anew. {AGAIN}"
            )
        return data


@register_reader("tar", suffixes=(".tar",), takes=("labels", "examples", "size", "colour"), rank=50)
def _read_tar(path: Path, options: ReadOptions) -> RawData:
    return open_shards([path], path.stem, options)


def open_shards(paths: Sequence[Path], name: str, options: ReadOptions) -> RawData:
    """The images in .tar files, one for each name, in the order of the files.

    Args:
        paths: the shards, in order.
        name: what to call the set.
        options: size and colour of the images; `label` is the suffix of the members that hold the labels ("cls"), or a
            key of the examples' .json members; `examples` is that of the images, where an example has several.

    Raises:
        DataError: no image, a shard that cannot be read, an example without a label, several sizes and no `size`.
    """
    index = _index(paths, name, options)
    raw = TarStore(paths, index, Target((1, 1), False, False), name)
    headers = []
    for i in np.unique(np.linspace(0, len(raw) - 1, _HEADERS).astype(np.int64)).tolist():
        try:
            headers.append(header_of(raw.encoded(i), name, options.frame))
        except DataError:
            raise
        except Exception as error:
            raise broken_image(raw.where(i), error) from error
    target, notes = common_target(name, headers, options)
    if options.examples is None and (others := index["others"].tolist()):
        words = f"the first image of an example is taken, and not {listed(others)}"
        notes += (f"{words} (examples={others[0]!r}: these)",)
    store = TarStore(paths, index, target, name)
    store.workers = options.workers or DECODERS
    labels = None if options.label is None else _plain(index["labels"])
    return RawData(x=store, name=name, labels=labels, notes=notes, layout="HWC" if target.colour else "HW")


def _index(paths: Sequence[Path], name: str, options: ReadOptions) -> dict[str, Array]:
    """The places of the images: from the cache, or from the headers of the shards."""
    listing = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    choices = [options.label, options.examples]
    key = hashlib.blake2b(json.dumps([_VERSION, listing, *choices]).encode(), digest_size=16).hexdigest()
    entry = cache_dir() / "shards" / f"{key}.npz"
    if entry.is_file():
        try:
            with Npz(entry) as archive:
                return {part: archive[part] for part in ("shards", "offsets", "sizes", "labels", "others")}
        except Exception as error:  # noqa: BLE001 (whatever a damaged file makes NumPy and zipfile raise)
            log.warning("the index of shards in %s is damaged (%s) and is made again", entry, error)
    index = _Index()
    for number, path in enumerate(paths):
        _read_headers(path, number, options, index)
    if not index.shards:
        kinds = options.examples or ", ".join(SUFFIXES)
        raise DataError(f"{name}: the shards hold no image. Expected members that end in {kinds}.")
    arrays = index.arrays()
    try:
        with writing(entry) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
    except StorageError as error:
        log.warning("where the images of %s lie is not kept for the next time: %s", name, error)
    return arrays


def _read_headers(path: Path, number: int, options: ReadOptions, index: _Index) -> None:
    """Appends the images of one shard to the index."""
    label, suffix = options.label, (options.examples or "").lower().lstrip(".")
    try:
        with tarfile.open(path, "r:") as archive:
            for members in _examples(archive):
                images = [name for name in members if f".{name.split('.')[-1]}" in SUFFIXES and suffix in ("", name)]
                if not images:
                    continue
                image = members[images[0]]
                index.others.update(images[1:])
                index.shards.append(number)
                index.offsets.append(image.offset_data)
                index.sizes.append(image.size)
                if label is not None:
                    index.labels.append(_label(archive, members, label, path, image.name))
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header to the end: memory would grow with the shard
            end = archive.offset
        with path.open("rb") as stream:  # tarfile takes a damaged header for the end of the archive, silently
            stream.seek(end)
            if any(stream.read(tarfile.BLOCKSIZE)):
                raise tarfile.ReadError(f"what follows byte {end:,} is damaged")
    except (DataError, MemoryError):
        raise
    except Exception as error:
        gzipped = ". It is compressed: decompress it, since nothing can be read from the middle of it"
        with path.open("rb") as stream:
            hint = gzipped if stream.read(2) == b"\x1f\x8b" else ""
        raise DataError(f"{path} cannot be read as .tar: {error}{hint}. Get the shard again.") from error


def _examples(archive: tarfile.TarFile) -> Iterator[dict[str, tarfile.TarInfo]]:
    """The members of each example by suffix: members in a row whose names agree up to the first dot."""
    name, members = "", dict[str, tarfile.TarInfo]()
    for one in archive:
        if not one.isfile():
            continue
        folder, _, file = one.name.rpartition("/")
        stem, _, suffix = file.partition(".")
        if not stem:
            continue
        if f"{folder}/{stem}" != name and members:
            yield members
            members = {}
        name = f"{folder}/{stem}"
        members[suffix.lower()] = one
    if members:
        yield members


def _label(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], label: str, path: Path, image: str) -> str:
    """The label of one example, as text."""
    member = members.get(label.lower().lstrip("."), members.get("json"))
    stream = None if member is None else archive.extractfile(member)
    if member is None or stream is None:
        names = ", ".join(members)
        raise DataError(f"labels={label!r}: {path}, {image} has no member .{label} and no .json; it has {names}.")
    text = stream.read()
    try:
        if member is members.get(label.lower().lstrip(".")):
            return text.decode().strip()
        return str(parse_json(text)[label])
    except Exception as error:
        raise DataError(f"labels={label!r}: {path}, {member.name} does not hold one: {reason(error)}.") from error


def _plain(labels: Array) -> Array:
    """Labels as whole numbers where all of them are, otherwise as text."""
    try:
        return labels.astype(np.int64)
    except ValueError:
        return labels


def _blocks(shards: npt.NDArray[np.int32], sizes: Indices) -> Indices:
    """The bounds of blocks of about a quarter of a megabyte of encoded bytes; no block crosses the end of a shard."""
    total = np.cumsum(sizes) - sizes
    begins = np.searchsorted(shards, shards)  # the first example of each one's shard
    number = (total - total[begins]) // BLOCK
    new = (np.diff(shards) != 0) | (np.diff(number) != 0)
    return np.concatenate([[0], np.flatnonzero(new) + 1, [len(shards)]]).astype(np.int64)


def _member_name(path: Path, offset: int) -> str:
    """The name in the header before a member's bytes."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset - tarfile.BLOCKSIZE)
            return tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape").name
    except (OSError, tarfile.TarError, ValueError):
        return f"at byte {offset}"
