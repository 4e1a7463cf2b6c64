"""`Dataset`, the one type that every source becomes, and its split into training, validation and test examples."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.config import readable_bytes
from diabolo.datasets._column_code import ColumnCode
from diabolo.datasets._layouts import check_layout
from diabolo.datasets._split import Split, split_rows, split_runs
from diabolo.datasets._store import Array, Indices, Store, StoreView, as_store
from diabolo.errors import ConfigError, DataError, ShapeError

__all__ = ["BINARIZED", "Array", "Dataset", "Split", "check_trainable", "chunks"]

KINDS = {
    **dict.fromkeys(("HW", "HWC", "CHW"), "images of"), **dict.fromkeys(("LC", "CL"), "signals of"), "F": "rows of",
    "DHW": "volumes of", "CDHW": "volumes of", "THWC": "videos of", "TCHW": "videos of",
}  # fmt: skip

BINARIZED = {
    "none": "values as they are",
    "static": "binarised once (static, seed 0)",
    "dynamic": "binarised anew each time (dynamic)",
}
"""Each way of binarisation in words, for the protocol of a result."""

_CHUNK_BYTES = 1 << 24
_SUBSET_BYTES = 1 << 30  # of examples of a store that are read into memory


def chunks(x: Array) -> Iterator[tuple[int, Array]]:
    """Yields (first example, part of `x`) in parts of about 16 MiB: a memory map is never read as a whole."""
    step = max(1, _CHUNK_BYTES // max(1, x.itemsize * int(np.prod(x.shape[1:], dtype=np.int64))))
    for start in range(0, len(x), step):
        yield start, x[start : start + step]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples in their own layout, with labels where there are some.

    Attributes:
        x: (N, *event), uint8 in 0..255, float32, or float64 where float32 would lose much; may be a read-only memory
            map, or a `Store`, which is indexed like an array and reads from the disk what it is asked for.
        layout: what the axes after the first are. "F" a table; "HW", "HWC", "CHW" images; "LC", "CL" signals
            (L time steps, C channels); "any" for other ranks.
        name: what to call it in titles and reports.
        y: (N,) int64 indices into `classes`, or (N,) float32 where the labels are continuous, or None.
        classes: the names of the classes, or ().
        features: the names of a table's columns, or ().
        ids: the names of the examples (paths relative to the folder), or ().
        official_test: the indices of the published test part, or None.
        notes: what a user should know about how the data was read.
        binarize: "none"; "static" where every value was drawn to be 0 or 1 once and for all, with its grey as the
            probability of a one; "dynamic" where a model shall draw them anew each time it sees the example.
        factors: (N, F), the known factors that made the examples, as whole numbers, or None; measures of
            disentanglement take them.
        white: the whole number of the source that stands for 1, where its values were whole numbers.
        codes: how the columns of a table of mixed kinds became these numbers; `decoded(codes, x)` undoes it.
        decimal: the decimal mark of a text table, where a cell tells it.

    >>> data = Dataset(np.zeros((10, 4, 4), np.uint8), "HW", "zeros", y=np.arange(10) % 2, classes=("even", "odd"))
    >>> len(data), data.event_shape, len(data.split(seed=0).train)
    (10, (4, 4), 8)
    >>> print(data.subset([1, 3]).describe())
    zeros: 2 images of 4 x 4 (layout HW), uint8, 32 B
    2 classes: even, odd
    """

    x: Array
    layout: str
    name: str
    y: Array | None = None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    official_test: Indices | None = None
    notes: tuple[str, ...] = ()
    binarize: str = "none"
    factors: Array | None = None
    white: int | None = None
    codes: tuple[ColumnCode, ...] = ()
    decimal: str | None = None

    def __post_init__(self) -> None:
        """Checks that the fields fit each other.

        Raises:
            ShapeError: lengths or the layout do not fit `x`.
            DataError: `x` is neither uint8 nor float32.
        """
        if self.x.dtype not in (np.uint8, np.float32, np.float64):
            raise DataError(f"A Dataset holds uint8 or float32, and got {self.x.dtype}. Use open_dataset to convert.")
        check_layout(self.layout, self.x.shape)
        for what, part in (("labels", self.y), ("ids", self.ids or None), ("factors", self.factors)):
            if part is not None and len(part) != len(self.x):
                raise ShapeError(f"There are {len(part):,} {what} for {len(self.x):,} examples: give one for each.")
        if self.features and len(self.features) != self.x.shape[1]:
            raise ShapeError(f"There are {len(self.features)} feature names for {self.x.shape[1]} columns.")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.x.shape[1:])

    @property
    def fingerprint(self) -> str:
        """`blake2b:<hex>` over dtype, shape and bytes of `x` and `y`: the same data read from any format agree.

        Of a `Store` it is `sampled:<hex>`: type, shape, the sizes of its pieces and some hundred examples from all over
        it stand for `x`. Data of another size, other shards and shards in another order are told apart; one value that
        was changed in the middle is not.
        """
        return self._fingerprints[1]

    @property
    def examples_fingerprint(self) -> str:
        """The fingerprint of `x` alone, whatever the labels."""
        return self._fingerprints[0]

    @functools.cached_property
    def _fingerprints(self) -> tuple[str, str]:
        digest = hashlib.blake2b(digest_size=20)
        store = as_store(self.x)
        kind, first = "blake2b" if store is None else "sampled", ""
        if store is not None:
            digest.update(store.digest())
        for part in (self.x if store is None else None, self.y):
            if part is not None:
                little = part.dtype.newbyteorder("<")
                digest.update(f"{little.str}{tuple(part.shape)}".encode())
                for _, chunk in chunks(part):
                    digest.update(np.ascontiguousarray(chunk, dtype=little).data)
            first = first or f"{kind}:{digest.hexdigest()}"
        return first, f"{kind}:{digest.hexdigest()}"

    def split(self, seed: int = 0, validation: float = 0.1, test: float = 0.1) -> Split:
        """A random split into training, validation and test examples; the same seed gives the same split.

        A published test part is the test part, whatever `test` says, and is never trained on. `validation` and
        `test` are fractions of the other examples, rounded to whole ones; at least one is left to train on.

        The parts of a `Store` are made of runs of examples that follow each other, at random places: at most a quarter
        of a megabyte each, and at least a thousand runs in all where there are so many examples. Reading a part costs
        about its own size then, and not all the data.

        Raises:
            ConfigError: a fraction below 0, or both together 1 or more; a negative seed.
        """
        if not (validation >= 0 and test >= 0 and validation + test < 1):
            raise ConfigError(
                "The validation and test fractions must be 0 or more and together less than 1; "
                f"received validation={validation} and test={test}. Lower one of them."
            )
        if seed < 0:
            raise ConfigError(f"The seed of a split must be 0 or more; received {seed}.")
        store = as_store(self.x)
        if store is not None and self.official_test is None:
            return split_runs(store, seed, validation, test)
        return split_rows(len(self), self.official_test, seed, validation, test)

    def subset(self, indices: npt.ArrayLike) -> Dataset:
        """The examples at `indices` (M integers, negative ones count from the end, or N booleans), in that order.

        Of a `Store` more than a gigabyte stays on the disk. Class names stay. The published test part stays where both
        it and other examples are among them.

        Raises:
            DataError: no index, an index out of range, or a mask of another length.
        """
        rows = self._rows(indices)
        official = None
        if self.official_test is not None:
            in_test = np.isin(rows, self.official_test)
            official = np.flatnonzero(in_test).astype(np.int64) if 0 < in_test.sum() < len(rows) else None
        store = as_store(self.x)
        x: Any = np.asarray(self.x[rows]) if store is None else _part_of(store, rows)
        return dataclasses.replace(
            self,
            x=x,
            y=None if self.y is None else self.y[rows],
            ids=tuple(self.ids[i] for i in rows) if self.ids else (),
            official_test=official,
            factors=None if self.factors is None else self.factors[rows],
        )

    def binarized(self, how: str) -> Dataset:
        """The data set with every value 0 or 1, drawn with the grey value as the probability of a one.

        Fixed and dynamic binarisation give likelihoods that differ by about 2 nats on MNIST: results name which it was.

        Args:
            how: `none` leaves them grey; `static` draws them here, always with seed 0; `dynamic` leaves it to the model
                to draw anew each time (Burda et al. 2016, https://arxiv.org/abs/1509.00519).

        Raises:
            ConfigError: an unknown word.
            DataError: the values are not in [0, 1] (or 0 to 255), or were drawn already.
        """
        if how not in ("none", "static", "dynamic"):
            raise ConfigError(f"binarize should be none, static or dynamic, and was given {how!r}.")
        if how == "none":
            return self
        if self.binarize == "static":
            raise DataError(f"{self.name} was binarised already: open it again with another binarize=.")
        if self.x.dtype != np.uint8 and any(part.min() < 0 or part.max() > 1 for _, part in chunks(self.x)):
            raise DataError(f"Only values in [0, 1] (or uint8) can be probabilities, and {self.name} has others.")
        if how == "static" and as_store(self.x) is not None:
            raise ConfigError(
                f"{self.name} is read from the disk while it trains, and cannot be drawn once and for all. Take "
                "binarize='dynamic', or write it down drawn."
            )
        if how == "dynamic":
            return dataclasses.replace(self, binarize="dynamic")
        rng, binary = np.random.default_rng(0), np.empty(self.x.shape, np.uint8)
        for start, part in chunks(self.x):
            grey = part / np.float32(255) if part.dtype == np.uint8 else part
            binary[start : start + len(part)] = 255 * (rng.random(part.shape, np.float32) < grey)
        return dataclasses.replace(self, x=binary, binarize="static")

    def describe(self) -> str:
        """A summary in two or three lines, with one more line for each note."""
        shape = " x ".join(map(str, self.event_shape))
        kind = KINDS.get(self.layout, "examples of")
        unit = " columns" if self.layout == "F" else f" (layout {self.layout})"
        lines = [f"{self.name}: {len(self):,} {kind} {shape}{unit}, {self.x.dtype}, {readable_bytes(self.x.nbytes)}"]
        if self.y is None:
            lines.append("no labels")
        elif self.classes:
            lines.append(f"{_counted(len(self.classes), 'class', 'classes')}: {_few(self.classes)}")
        else:
            lines.append(f"continuous labels from {self.y.min():g} to {self.y.max():g} (labels of text are classes)")
        if self.binarize != "none":
            lines[0] += f", {BINARIZED[self.binarize]}"
        if self.official_test is not None:
            lines[-1] += f"; {len(self.official_test):,} examples are the published test part"
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _rows(self, indices: npt.ArrayLike) -> Indices:
        rows = np.atleast_1d(np.asarray(indices))
        if rows.dtype == np.bool_:
            if rows.shape != (len(self),):
                raise DataError(f"A mask for {len(self):,} examples has {len(self):,} entries, not {rows.size:,}.")
            rows = np.flatnonzero(rows)
        if rows.size == 0:
            raise DataError("A subset needs at least one example, and no index was given.")
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise DataError(f"Indices must be whole numbers in one row; received {rows.dtype} {rows.shape}.")
        low, high = int(rows.min()), int(rows.max())
        if low < -len(self) or high >= len(self):
            worst = high if high >= len(self) else low
            raise DataError(f"Index {worst} is out of range: {self.name} has {len(self):,} examples.")
        return np.where(rows < 0, rows + len(self), rows).astype(np.int64)


def check_trainable(dataset: Dataset) -> None:
    """Raises an error for data from which nothing can be learned.

    Raises:
        DataError: fewer than two examples, or every example the same.

    >>> check_trainable(Dataset(np.zeros((5, 2), np.float32), "F", "zeros"))
    Traceback (most recent call last):
    diabolo.errors.DataError: All 5 examples of zeros are identical, so there is nothing to learn. ...
    """
    if len(dataset) < 2:
        raise DataError(f"Training needs at least 2 examples, and {dataset.name} has {len(dataset)}. Add some.")
    first = dataset.x[0]
    if not any((chunk != first).any() for _, chunk in chunks(dataset.x)):
        raise DataError(
            f"All {len(dataset):,} examples of {dataset.name} are identical, so there is nothing to learn. "
            "Training needs examples that differ; look at how the data was made."
        )


def _part_of(store: Store, rows: Indices) -> Array | Store:
    return store[rows] if len(rows) * store.example_bytes <= _SUBSET_BYTES else StoreView(store, rows)


def _few(names: tuple[str, ...], most: int = 10) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
