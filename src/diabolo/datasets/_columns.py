"""Examples in Arrow's columns, of Parquet files or of Hugging Face's `datasets`: numbers, lists, or encoded images."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._arrow_sources import ParquetSource, Source, listed
from diabolo.datasets._decode import Header, Target, decode_bytes, decoding_notes, header_of, target_of
from diabolo.datasets._match import leaves_out, without
from diabolo.datasets._read_options import ReadOptions, refuse_options
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._store import DECODERS, Array, Indices, Store
from diabolo.datasets._table_files import feature_columns, mixed_data, read_parquet_table
from diabolo.errors import ConfigError, DataError, DiaboloError
from diabolo.storage.parquet import Column, arrow_values, encoded_image

__all__ = ["TableStore", "broken_image", "common_target", "open_columns"]

_CACHE = 1 << 28  # bytes of a decoded row group that stay in memory, for reads of a few rows at a time
_LABELS = ("label", "labels", "y", "target", "targets")


@dataclass(frozen=True)
class _Plan:
    """The columns that the examples are built from, and how."""

    kind: str
    columns: list[Column]
    shape: tuple[int, ...]
    target: Target | None = None
    notes: tuple[str, ...] = ()


class TableStore(Store):
    """A store of examples in Arrow columns, converted when they are read."""

    def __init__(self, source: Source, plan: _Plan, workers: int | None) -> None:
        dtypes = {column.dtype for column in plan.columns}
        numbers = np.dtype(np.uint8 if dtypes == {np.dtype(np.uint8)} else np.float32)
        count = int(source.blocks[-1])
        dtype = numbers if plan.target is None else plan.target.dtype
        super().__init__((count, *plan.shape), dtype, source.blocks, source.name)
        self.parts, self.source, self.plan = source.parts, source, plan
        self.workers = workers or (self.workers if plan.target is None else DECODERS)
        self._names = [column.name for column in plan.columns]
        self._cache: tuple[int, list[Any]] = (-1, [])
        self._lock = threading.Lock()

    def where(self, index: int) -> str:
        return self.source.where(index)

    def probe(self, digest: hashlib.blake2b) -> None:
        digest.update(str((self._names, self.plan.target)).encode())
        if self.plan.target is not None and self.plan.target.frame:
            digest.update(str(self.plan.target.frame).encode())
        if not self.source.probe(digest):
            super().probe(digest)

    def _take(self, indices: Indices, out: Array) -> None:
        first = int(np.searchsorted(self.blocks, indices[0], "right")) - 1 if len(indices) else len(self.blocks)
        for block in range(first, len(self.blocks) - 1):
            start, stop = self.blocks[block : block + 2]
            a, b = np.searchsorted(indices, (start, stop))
            if a < b:
                self._take_block(block, indices[a:b] - start, out[a:b])
            if b == len(indices):
                return

    def _take_block(self, block: int, rows: Indices, out: Array) -> None:
        start, size = int(self.blocks[block]), int(self.blocks[block + 1] - self.blocks[block])
        offset = filled = 0
        for batch in self._batches(block, keep=2 * len(rows) < size):
            end = int(np.searchsorted(rows, offset + batch.num_rows))
            if end > filled:
                self._convert(batch, rows[filled:end] - offset, out[filled:end], start + offset)
            offset, filled = offset + batch.num_rows, end
            if filled == len(rows):
                return
        raise DataError(f"{self.where(start + offset)} is not there: the file ends before it. It is damaged.")

    def _batches(self, block: int, keep: bool) -> Iterable[Any]:
        """The record batches of a block; where `keep` is set they stay in memory for the next read.

        Parquet decodes a block as a whole, so reads of a few rows each would decode it again and again. The lock bounds
        memory: one thread at a time decodes a block to keep. The cache is one tuple, which threads see whole.
        """
        number, cached = self._cache
        if number == block:
            return cached
        batches = self.source.batches(block, self._names)
        if not keep:
            return batches
        with self._lock:
            read, size = [], 0
            for batch in batches:
                read.append(batch)
                size += batch.nbytes
                if size > _CACHE:
                    return itertools.chain(read, batches)
            self._cache = (block, read)
        return read

    def _convert(self, batch: Any, rows: Indices, out: Array, start: int) -> None:
        """Writes rows of a record batch into `out`; the batch begins with example `start`."""
        plan, low, high = self.plan, int(rows[0]), int(rows[-1]) + 1
        if plan.target is not None:
            for i, row in enumerate(rows.tolist()):
                out[i] = self._decoded(batch.column(0), row, start + row, plan.target)
            return
        part, within = batch.slice(low, high - low), rows - low
        try:
            with np.errstate(over="ignore"):
                if plan.kind == "list":
                    out[...] = arrow_values(part.column(0), plan.columns[0], plan.shape)[within]
                    return
                for i, column in enumerate(plan.columns):
                    out[:, i] = arrow_values(part.column(i), column, ())[within]
        except ValueError as error:
            raise DataError(f"{self.where(start + low)} or one after it is broken: {error}.") from error

    def _decoded(self, column: Any, row: int, index: int, target: Target) -> Array:
        try:
            return decode_bytes(encoded_image(column, row), target)
        except Exception as error:
            raise broken_image(self.where(index), error) from error


def broken_image(where: str, error: Exception) -> DiaboloError:
    """The DataError for an encoded image that cannot be decoded; `error` is what Pillow raised."""
    return DataError(
        f"{where} cannot be read as an image: {error}. Repair or leave it out; where the sizes differ, give --size "
        "(size= in Python) to scale and crop all to one."
    )


def open_columns(source: Source, options: ReadOptions) -> RawData:
    """The examples of a source as a store, and its labels.

    The examples are the one column of encoded images, or the one of lists, or else all columns of numbers. A column
    called `label` (labels, y, target, targets) beside images or lists holds the labels where none is named.

    Raises:
        DataError: no such column, several, or one that is neither numeric nor the labels.
        ConfigError: `size` or `colour` where there are no images.
    """
    label = options.label
    if not source.blocks[-1]:
        raise DataError(f"{source.name} holds {len(source.columns)} columns and no rows. At least one row is needed.")
    names = [column.name for column in source.columns]
    places, _, notes = feature_columns(source.name, names, options)
    if options.mixed:
        refuse_options(source.name, options, ("labels", "columns", "mixed"))
        chosen, labels = [names[place] for place in places], None if label is None else source.values(label)
        raw = mixed_data(source.name, chosen, [source.values(name) for name in chosen], labels, notes, options)
        return dataclasses.replace(raw, classes=() if label is None else source.class_names(label))
    columns = [source.columns[place] for place in places]
    plan = _plan(source, columns, options)
    if plan.kind != "number":
        spare = [column for column in columns if column.name != plan.columns[0].name]
        if label is None:
            plain = [column.name for column in spare if column.kind in ("number", "other")]
            label = next((name for name in _LABELS if name in plain), None)
            notes += (f"the labels are the column {label!r} ({leaves_out(label)})",) if label else ()
        rest = [column.name for column in spare if column.name != label]
        notes += (
            (f"the examples are the column {plan.columns[0].name!r}, and not {listed(rest)} (columns= chooses)",)
            if rest
            else ()
        )
    return RawData(
        x=TableStore(source, plan, options.workers),
        name=source.name,
        labels=None if label is None else source.values(label),
        classes=() if label is None else source.class_names(label),
        features=tuple(column.name for column in plan.columns) if plan.kind == "number" else (),
        notes=notes + plan.notes,
        layout={"number": "F", "image": "HWC" if len(plan.shape) == 3 else "HW"}.get(plan.kind),
    )


@register_reader("parquet", suffixes=(".parquet",), takes=("labels", "columns", "mixed", "size", "colour"), rank=40)
def _read_parquet(path: Path, options: ReadOptions) -> RawData:
    """A Parquet file: a table of numbers where it is small enough for memory, otherwise a store of its columns."""
    source = ParquetSource([path], path.stem, options.named)
    names = [column.name for column in source.columns]
    features = names if options.columns is None else without(names, options.columns)
    read = [column for column in source.columns if column.name in features]
    table = all(column.kind in ("number", "other") or column.name == options.label for column in read)
    if options.mixed:
        refuse_options(str(path), options, ("labels", "columns", "mixed"))
        return read_parquet_table(path, options)
    if not table or 4 * int(source.blocks[-1]) * len(source.columns) > options.memory:
        return open_columns(source, options)
    refuse_options(str(path), options, ("labels", "columns"))
    return read_parquet_table(path, options)


def common_target(name: str, headers: Sequence[Header], options: ReadOptions) -> tuple[Target, tuple[str, ...]]:
    """The form that every image is decoded to, from the headers of some images, and what is lost by it.

    Raises:
        DataError: they have several sizes, and no `size` was given.
    """
    sizes = sorted({header.size for header in headers})
    if options.size is None and len(sizes) > 1:
        shown = ", ".join(f"{height} x {width}" for height, width in sizes[:4])
        raise DataError(
            f"The images of {name} have different sizes (height x width): {shown}{', ...' if len(sizes) > 4 else ''}. "
            "All must have one: give --size (size= in Python), for example --size 64, to scale and crop them to it."
        )
    target = target_of(sizes[0], headers, options)
    return target, decoding_notes(headers, target, f" of {len(headers):,} that were looked at")


def _plan(source: Source, columns: list[Column], options: ReadOptions) -> _Plan:
    """The columns that the examples are built from: images before lists before numbers."""
    structs = [column for column in columns if column.kind == "image" and column.text.startswith(("struct", "ext"))]
    images = [column for column in columns if column.kind == "image"]
    lists = [column for column in columns if column.kind == "list"]
    candidates = structs or lists or images
    if len(candidates) > 1:
        raise DataError(
            f"{source.name} has {len(candidates)} columns that may hold the examples: {listed(candidates)}. Leave one: "
            "write the files without the others, or hand over a datasets.Dataset after select_columns."
        )
    if candidates and candidates[0].kind == "image":
        target, notes = common_target(source.name, _headers(source, candidates[0], options), options)
        return _Plan("image", candidates, target.shape, target, notes)
    for name in ("size", "colour", "frame"):
        if getattr(options, name) is not None:
            raise ConfigError(f"{name}= is for images, and {source.name} has none. Leave it out.")
    if candidates:
        return _Plan("list", candidates, _list_shape(source, candidates[0]))
    wrong = [column for column in columns if column.kind != "number"]
    if wrong or not columns:
        what = f"the column {wrong[0].name!r} holds {wrong[0].text}" if wrong else "there is none beside the labels"
        raise DataError(
            f"{source.name} has no examples of numbers: {what}. Every feature must be a number; if it is the label, "
            "take it out with labels=, otherwise leave it out of the files."
        )
    return _Plan("number", columns, (len(columns),))


def _list_shape(source: Source, column: Column) -> tuple[int, ...]:
    """The lengths of a column's lists; where the type does not say, those of the first row."""
    if -1 not in column.shape:
        return column.shape
    value = next(iter(source.batches(0, [column.name]))).column(0)[0].as_py()
    shape = []
    for _ in column.shape:
        if not value:
            raise DataError(f"{source.name}: the first list of the column {column.name!r} is empty or missing.")
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _headers(source: Source, column: Column, options: ReadOptions) -> list[Header]:
    """The headers of some images: the first few of up to eight blocks."""
    count = len(source.blocks) - 1
    headers = []
    for block in sorted({round(i) for i in np.linspace(0, count - 1, 8)}):
        batch = next(iter(source.batches(block, [column.name])))
        for row in range(min(8, batch.num_rows)):
            where = source.where(int(source.blocks[block]) + row)
            try:
                headers.append(header_of(encoded_image(batch.column(0), row), where, options.frame))
            except Exception as error:
                raise broken_image(where, error) from error
    return headers
