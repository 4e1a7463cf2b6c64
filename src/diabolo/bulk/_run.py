"""A whole job: planned, begun or taken up, made by an engine, finished."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk._bar import Bar
from diabolo.bulk._job import begin, digest_of, finish
from diabolo.bulk._operations import Encode, Operation
from diabolo.bulk._piece_files import require_arrow
from diabolo.bulk._pieces import PIECE_ROWS, Piece, Source
from diabolo.bulk._work import Order, Work, fingerprint
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.errors import DataError, ShapeError

__all__ = ["Engine", "Process", "Result", "run"]

Advance = Callable[[int], None]
_ELSEWHERE = ("buffer", "data_dir", "memory", "progress", "workers")  # options that do not change the examples


class Engine(Protocol):
    """What makes pieces, somewhere."""

    def check(self, model: Autoencoder, source: Any) -> None:
        """Refuses what it cannot do, before anything is read."""

    def make(self, work: Work, pieces: Sequence[Piece], advance: Advance) -> Iterator[DataError | None]:
        """Makes each piece, in any order; yields None or why its rows could not be read, and raises all else."""


@dataclass(frozen=True)
class Process:
    """This process, one piece after the other, part by part: memory does not grow with the source.

    Of a source in Parquet files, the next file is read while one is computed.
    """

    def check(self, model: Autoencoder, source: Any) -> None:
        del model, source

    def make(self, work: Work, pieces: Sequence[Piece], advance: Advance) -> Iterator[DataError | None]:
        with ThreadPoolExecutor(max_workers=1) as pool:
            for piece, following in itertools.zip_longest(pieces, pieces[1:]):
                try:
                    work.make(piece, advance, functools.partial(work.source.open_ahead, following, pool))
                except DataError as error:
                    yield error
                else:
                    yield None


@dataclass(frozen=True)
class Result:
    """What a job made.

    Attributes:
        folder: of the pieces.
        rows: in all of them.
        pieces: how many there are.
        skipped: how many of these were there before.
        summary: sums over all rows and the largest value, where the operation takes such.
    """

    folder: Path
    rows: int
    pieces: int
    skipped: int
    summary: dict[str, float]


def run(
    model: Autoencoder,
    source: Any = None,
    out: str | os.PathLike[str] = "codes",
    operation: Operation | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    piece_rows: int = PIECE_ROWS,
    bar: Bar | None = None,
) -> Result:
    """Encodes, scores or reconstructs a source into a folder of Parquet pieces; taken up where it was left.

    Piece k holds the rows of the k-th Parquet file of the source, or `piece_rows` rows of any other source, in order:
    `row` (its number in the whole), `id` and `label` where the source has them, then what the operation makes. Pieces
    are whole or not there. A file that turns out to be broken in the middle costs its own piece alone: the others are
    made, and an error at the end says which are missing.

    Args:
        model: the trained model.
        source: a folder of Parquet files or a pattern such as `shards/*.parquet`, or whatever `open_dataset` opens; the
            run's own data when left out.
        out: the folder; new, empty, or left by the same job.
        operation: `Encode()`, `Score(...)` or `Reconstruct()`; the first when left out.
        data: options of `open_dataset`.
        engine: `Process()` or `Ray(...)`; the first when left out.
        piece_rows: the rows of a piece, where the source does not come in Parquet files.
        bar: a progress bar to move.

    Raises:
        ConfigError: the folder holds another job's pieces or something else; the model cannot do this.
        DataError: a file cannot be read; the message names it. Pieces that are done stay.
        ShapeError: the examples are not of the model's shape.
        RunError: the run's folder vanished or changed while Ray's workers needed it.
        StorageError: the output cannot be written.
        MissingExtraError: pyarrow, or Ray where it is asked for, is not installed.
    """
    require(piece_rows >= 1, "piece_rows", "a number of rows of at least 1", piece_rows)
    operation, engine, folder = operation or Encode(), engine or Process(), Path(out).absolute()
    require_arrow()
    engine.check(model, source)
    operation.config(model)  # refuses what the model cannot do, before anything is read
    opened = Source(model, source, data)
    pieces = opened.pieces(piece_rows)
    order = _order(opened, pieces, operation, folder)
    config = _config(order, opened)
    order = dataclasses.replace(order, job=digest_of(config))
    left = begin(folder, config, pieces)
    _make(engine, Work(model, order, opened), pieces, left, bar)
    summary = finish(folder, pieces)
    return Result(Path(out), pieces[-1].stop, len(pieces), len(pieces) - len(left), summary)


def _order(opened: Source, pieces: Sequence[Piece], operation: Operation, folder: Path) -> Order:
    """What is to be made, with what the first examples say about labels and names."""
    first = _first(opened, pieces)
    labels = "" if first.y is None else ("name" if first.classes else "number")
    model = opened.model
    source = opened.source
    if isinstance(source, (str, os.PathLike)) and Path(source).expanduser().exists():
        source = str(Path(source).expanduser().absolute())
    return Order(
        operation=operation,
        source=source,
        given=opened.given,
        folder=folder,
        job="",
        weights=fingerprint(model),
        asked=operation.config(model),
        labels=labels,
        ids=bool(first.ids),
        run=None if model.folder is None else model.folder.absolute(),
    )


def _first(opened: Source, pieces: Sequence[Piece]) -> Dataset:
    """The first data that can be opened: one broken file shall not keep the others from being made."""
    broken = None
    for file in dict.fromkeys(piece.file for piece in pieces if piece.rows):
        try:
            return opened.open(file)
        except ShapeError:
            raise
        except DataError as error:
            broken = broken or error
    assert broken is not None  # noqa: S101 (there is a piece with rows)
    raise broken


def _config(order: Order, opened: Source) -> dict[str, Any]:
    """What job.json says: what makes a job the same, and where its parts came from."""
    given = {name: str(value) for name, value in opened.given.items() if name not in _ELSEWHERE}
    fingerprint = "each file's own" if opened.files else opened.open("").fingerprint
    return {
        "operation": order.asked,
        "weights": order.weights,
        "source": {"options": given, "fingerprint": fingerprint},
        "run": None if order.run is None else str(order.run),
        "from": str(order.source) if isinstance(order.source, (str, os.PathLike)) else None,
    }


def _make(engine: Engine, work: Work, pieces: Sequence[Piece], left: Sequence[Piece], bar: Bar | None) -> None:
    """Has the engine make what is left, and raises at the end what went wrong with single pieces."""
    if not left:
        return
    broken: list[DataError] = []
    if bar is not None:
        total = pieces[-1].stop
        bar.start(work.order.operation.name, total, total - sum(piece.rows for piece in left))
    try:
        made = engine.make(work, left, bar.advance if bar is not None else lambda rows: None)
        broken.extend(error for error in made if error is not None)
    finally:
        if bar is not None:
            bar.stop()
    if broken:
        more = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
        raise DataError(
            f"{len(broken)} of {len(pieces):,} pieces could not be made. {broken[0]}{more} The others are in "
            f"{work.order.folder}: repair the source, start the same again, and only what is missing is made."
        )
