"""Columns by name: those that a model knows are found among those that a source has, whatever their order."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from diabolo.datasets._dataset import Dataset
from diabolo.datasets._store import Array, Indices, Store, as_store
from diabolo.errors import DataError

__all__ = ["are_numbers", "did_you_mean", "leaves_out", "listed", "match_columns", "matched", "without"]


def without(names: Sequence[str], wanted: Sequence[str]) -> Sequence[str]:
    """The columns that are wanted, where all that is said is which are not: names with a dash before them.

    >>> without(["a", "b", "c"], ["-b"]), without(["a", "-b"], ["-b"])
    (['a', 'c'], ['-b'])
    """
    unwanted = {name.removeprefix("-") for name in wanted if name.startswith("-") and name not in names}
    if len(unwanted) < len(wanted) or not unwanted <= {*names}:
        return wanted
    return [name for name in names if name not in unwanted]


def match_columns(names: Sequence[str], wanted: Sequence[str], source: str) -> tuple[list[int], tuple[str, ...]]:
    """The places of some columns among those of a source, and what a user should know about them.

    Columns without names (0, 1, 2, ...) go by their places, where there are as many as are wanted.

    Args:
        names: of the source's columns.
        wanted: the names of the columns that are wanted, in their order; or of those that are not, as in -b.
        source: what to call it in messages.

    Raises:
        DataError: a column is missing, or there are two of its name.

    >>> match_columns(["c", "a", "b"], ["a", "b"], "the table")
    ([1, 2], ("columns left out: 'c'",))
    """
    names, wanted = list(names), list(without(names, wanted))
    if names == wanted:
        return list(range(len(names))), ()
    counts = collections.Counter(names)
    missing = [name for name in wanted if not counts[name]]
    if missing and (_are_places(names) or are_numbers(wanted)) and len(names) == len(wanted):
        words = "columns taken by their places: one side has no names"
        return list(range(len(names))), (f"{words} (columns={','.join(names[:12])!r}: in this order, or another)",)
    if missing:
        extra = [name for name in names if name not in wanted]
        instead = f" and has {listed(extra)}, which was not asked for" if extra else ""
        raise DataError(
            f"{source} lacks the column{'s' if len(missing) > 1 else ''} {listed(missing)} of the {len(wanted):,} that "
            f"are expected ({listed(wanted)}){instead}.{did_you_mean(missing[0], names)} Columns go by name: name and "
            "fill them as in the training."
        )
    double = [name for name in wanted if counts[name] > 1]
    if double:
        raise DataError(f"{source} has {counts[double[0]]} columns named {double[0]!r}. Leave one of them.")
    places = {name: place for place, name in enumerate(names)}
    spare = [name for name in names if name not in wanted]
    return [places[name] for name in wanted], (f"columns left out: {listed(spare)}",) if spare else ()


def matched(dataset: Dataset, wanted: Sequence[str]) -> Dataset:
    """A table with the columns that are wanted, in that order; anything without names of columns unchanged.

    Raises:
        DataError: see `match_columns`.

    >>> data = Dataset(np.array([[1, 2]], np.float32), "F", "pair", features=("b", "a"))
    >>> matched(data, ("a", "b")).x.tolist()
    [[2.0, 1.0]]
    """
    if not wanted or not dataset.features or dataset.features == tuple(wanted):
        return dataset
    places, notes = match_columns(dataset.features, wanted, dataset.name)
    x: Any = dataset.x
    if places != list(range(x.shape[1])):
        store = as_store(x)
        x = np.ascontiguousarray(x[:, places]) if store is None else _Columns(store, places)
    return dataclasses.replace(dataset, x=x, features=tuple(wanted), notes=dataset.notes + notes, codes=())


class _Columns(Store):
    """Some columns of a table on disk."""

    def __init__(self, base: Store, places: list[int]) -> None:
        super().__init__((len(base), len(places)), base.dtype, base.blocks, base.name)
        self.parts, self.buffer, self.workers = base.parts, base.buffer, base.workers
        self.base, self.places = base, places

    def _take(self, indices: Indices, out: Array) -> None:
        out[...] = self.base.take(indices)[:, self.places]

    def where(self, index: int) -> str:
        return self.base.where(index)

    def probe(self, digest: hashlib.blake2b) -> None:
        digest.update(str(self.places).encode())
        self.base.probe(digest)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are those that a table without names gets: 0, 1, 2, ..."""
    return list(names) == [str(place) for place in range(len(names))]


def _are_places(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, 2, ... in some order, as a user may choose columns without names."""
    return are_numbers(sorted(names, key=lambda name: (len(name), name)))


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A question for the name that is most like another one, whatever its case; empty where none is.

    >>> did_you_mean("kind", ["a", "Kind"])
    " Did you mean 'Kind'?"
    """
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in names], n=1, cutoff=0.6)
    meant = next((one for one in names if one.lower() in near), None)
    return f" Did you mean {meant!r}?" if meant is not None else ""


def leaves_out(name: str) -> str:
    """The words of a note on how a column is left out.

    >>> leaves_out("age")
    "columns='-age' leaves it out"
    """
    return f"columns={'-' + name!r} leaves it out"


def listed(names: Sequence[str]) -> str:
    """The first dozen names, quoted, for messages."""
    return ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
