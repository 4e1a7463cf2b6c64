"""A whole job: `run` starts or resumes it, an executor writes its pieces, `Result` sums it up."""

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
from diabolo.bulk._piece_writer import JobSpec, PieceWriter
from diabolo.bulk._pieces import PIECE_ROWS, Piece, Source
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.errors import DataError, ShapeError
from diabolo.runs._run_contents import model_fingerprint

__all__ = ["Executor", "Process", "Result", "run"]

Advance = Callable[[int], None]
_NEUTRAL = ("buffer", "data_dir", "memory", "progress", "workers")  # options that do not change the examples


class Executor(Protocol):
    """The executor of a job: this process, or workers."""

    def check(self, model: Autoencoder, source: Any) -> None:
        """Refuses a model or a source that the executor cannot use, before anything is read."""

    def make(self, writer: PieceWriter, pieces: Sequence[Piece], advance: Advance) -> Iterator[DataError | None]:
        """Writes each piece, in any order; yields None or the error of reading its rows, raises any other error."""


@dataclass(frozen=True)
class Process:
    """This process, one piece after the other, part by part: memory does not grow with the source.

    Of a source in Parquet files, a thread reads the next file during the computation.

    >>> Process()
    Process()
    """

    def check(self, model: Autoencoder, source: Any) -> None:
        del model, source

    def make(self, writer: PieceWriter, pieces: Sequence[Piece], advance: Advance) -> Iterator[DataError | None]:
        with ThreadPoolExecutor(max_workers=1) as pool:
            for piece, following in itertools.zip_longest(pieces, pieces[1:]):
                try:
                    writer.write(piece, advance, functools.partial(writer.source.open_ahead, following, pool))
                except DataError as error:
                    yield error
                else:
                    yield None


@dataclass(frozen=True)
class Result:
    """The result of a job.

    Attributes:
        folder: of the pieces.
        rows: the rows of all pieces.
        pieces: their number.
        skipped: the number of pieces that existed before.
        summary: sums over all rows and the largest value, where the operation has them.

    >>> Result(Path("codes"), rows=70_000, pieces=2, skipped=0, summary={}).rows
    70000
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
    executor: Executor | None = None,
    piece_rows: int = PIECE_ROWS,
    bar: Bar | None = None,
) -> Result:
    """Encodes, scores or reconstructs a source into a folder of Parquet pieces; a second call resumes the job.

    Piece k holds the rows of the k-th Parquet file of the source, or `piece_rows` rows of any other source, in order:
    `row` (its number in the whole), `id` and `label` where the source has them, then the columns of the operation.
    Pieces are whole or absent. A broken file costs its own piece alone: the others are written, and an error at the end
    names the missing ones.

    Args:
        model: the trained model.
        source: a folder of Parquet files or a pattern such as `shards/*.parquet`, or whatever `open_dataset` opens; the
            run's own data when left out.
        out: the folder; new, empty, or left by the same job.
        operation: `Encode()`, `Score(...)` or `Reconstruct()`; the first when left out.
        data: options of `open_dataset`.
        executor: `Process()` or `Ray(...)`; the first when left out.
        piece_rows: the rows of a piece, where the source does not come in Parquet files.
        bar: a progress bar.

    Raises:
        ConfigError: the folder holds another job's pieces or something else; the model lacks what the operation needs.
        DataError: a file cannot be read; the message names it. Finished pieces stay.
        ShapeError: the examples are not of the model's shape.
        RunError: the run's folder vanished or changed under Ray's workers.
        StorageError: the output cannot be written.
        MissingExtraError: pyarrow, or Ray for the executor `Ray`, is not installed.

    >>> import tempfile, diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run(model, "digits", folder, Encode(), piece_rows=1000)
    >>> result.rows, result.pieces
    (1797, 2)
    """
    require(piece_rows >= 1, "piece_rows", "a number of rows of at least 1", piece_rows)
    operation, executor, folder = operation or Encode(), executor or Process(), Path(out).absolute()
    require_arrow()
    executor.check(model, source)
    operation.config(model)  # raises before anything is read where the model lacks something
    opened = Source(model, source, data)
    pieces = opened.pieces(piece_rows)
    spec = _spec(opened, pieces, operation, folder)
    config = _config(spec, opened)
    spec = dataclasses.replace(spec, job=digest_of(config))
    missing = begin(folder, config, pieces)
    _write(executor, PieceWriter(model, spec, opened), pieces, missing, bar)
    summary = finish(folder, pieces)
    return Result(Path(out), pieces[-1].stop, len(pieces), len(pieces) - len(missing), summary)


def _spec(opened: Source, pieces: Sequence[Piece], operation: Operation, folder: Path) -> JobSpec:
    """The job; the first examples decide whether its pieces have labels and names."""
    first = _first(opened, pieces)
    labels = "" if first.y is None else ("name" if first.classes else "number")
    model = opened.model
    source = opened.source
    if isinstance(source, (str, os.PathLike)) and Path(source).expanduser().exists():
        source = str(Path(source).expanduser().absolute())
    return JobSpec(
        operation=operation,
        source=source,
        data=opened.data,
        folder=folder,
        job="",
        weights=model_fingerprint(model.model),
        operation_config=operation.config(model),
        labels=labels,
        ids=bool(first.ids),
        run=None if model.folder is None else model.folder.absolute(),
    )


def _first(opened: Source, pieces: Sequence[Piece]) -> Dataset:
    """The first data that opens: a broken file must not stop the others."""
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


def _config(spec: JobSpec, opened: Source) -> dict[str, Any]:
    """The contents of job.json: what identifies the job, and notes on its origin."""
    options = {name: str(value) for name, value in opened.data.items() if name not in _NEUTRAL}
    fingerprint = "each file's own" if opened.files else opened.open("").fingerprint
    return {
        "operation": spec.operation_config,
        "weights": spec.weights,
        "source": {"options": options, "fingerprint": fingerprint},
        "run": None if spec.run is None else str(spec.run),
        "from": str(spec.source) if isinstance(spec.source, (str, os.PathLike)) else None,
    }


def _write(
    executor: Executor, writer: PieceWriter, pieces: Sequence[Piece], missing: Sequence[Piece], bar: Bar | None
) -> None:
    """Runs the executor on the missing pieces; raises at the end the errors of single pieces."""
    if not missing:
        return
    broken: list[DataError] = []
    if bar is not None:
        total = pieces[-1].stop
        bar.start(writer.spec.operation.name, total, total - sum(piece.rows for piece in missing))
    try:
        errors = executor.make(writer, missing, bar.advance if bar is not None else lambda rows: None)
        broken.extend(error for error in errors if error is not None)
    finally:
        if bar is not None:
            bar.stop()
    if broken:
        more = f" (and {len(broken) - 1} more like it)" if len(broken) > 1 else ""
        raise DataError(
            f"{len(broken)} of {len(pieces):,} pieces could not be made. {broken[0]}{more} The others are in "
            f"{writer.spec.folder}: repair the source, start the same again, and only what is missing is made."
        )
