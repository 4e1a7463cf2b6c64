"""The writer of pieces, the same for every executor: reads part by part, computes, writes aside, moves into place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk._operations import Columns, Operation
from diabolo.bulk._piece_files import writing_piece
from diabolo.bulk._pieces import Piece, Source
from diabolo.datasets import Dataset
from diabolo.errors import DataError

__all__ = ["JobSpec", "PieceWriter", "merge_summary"]


@dataclass(frozen=True)
class JobSpec:
    """A job, ready to be sent to another process.

    Attributes:
        operation: from examples to columns.
        source: of the examples, as `open_dataset` takes it.
        data: options of `open_dataset`.
        folder: of the output.
        job: the digest of the job, which each piece notes.
        weights: the fingerprint of the model.
        operation_config: of the operation with this model.
        labels: `name` for a column of class names, `number` for continuous labels, empty for none.
        ids: whether there is a column of the examples' names.
        run: the folder of the model.
    """

    operation: Operation
    source: Any
    data: Mapping[str, Any]
    folder: Path
    job: str
    weights: str
    operation_config: Mapping[str, Any]
    labels: str = ""
    ids: bool = False
    run: Path | None = None


class PieceWriter:
    """Writes the pieces of a job.

    Args:
        model: the trained model.
        spec: of the job.
        source: the opened source, if this process has it.
    """

    def __init__(self, model: Autoencoder, spec: JobSpec, source: Source | None = None) -> None:
        self.model = model
        self.spec = spec
        self.source = source or Source(model, spec.source, spec.data)

    def write(
        self,
        piece: Piece,
        advance: Callable[[int], None] | None = None,
        opened: Callable[[], object] | None = None,
    ) -> None:
        """Writes a piece, whole or not at all.

        Args:
            piece: which.
            advance: called with the number of rows of each part.
            opened: called when the piece's data is open, before anything is computed.

        Raises:
            DataError: its rows cannot be read; the message names the piece.
            StorageError: it cannot be written.
        """
        try:
            if piece.rows:
                self.source.open(piece.file)  # here, so that a missing file is an error of reading, not of writing
            if opened is not None:
                opened()
            self._write(piece, advance or (lambda rows: None))
        except DataError as error:
            where = f"{piece.file}, " if piece.file else ""
            raise DataError(f"{piece.name} ({where}rows {piece.start:,} to {piece.stop - 1:,}): {error}") from error

    def _write(self, piece: Piece, advance: Callable[[int], None]) -> None:
        note: dict[str, Any] = {"job": self.spec.job, "piece": piece.config(), "event": list(self.model.event_shape)}
        with writing_piece(self.spec.folder / piece.name, note) as append:
            if not piece.rows:
                append(self._empty_columns())
            for start, x in self.source.parts(piece) if piece.rows else ():
                columns = self.spec.operation.columns(self.model, x)
                merge_summary(note.setdefault("summary", {}), self.spec.operation.summary(columns))
                row = start + (piece.start if piece.file else 0)
                append({**self._row_columns(self.source.open(piece.file), start, len(x), row), **columns})
                advance(len(x))

    def _row_columns(self, dataset: Dataset, start: int, count: int, row: int) -> Columns:
        """The columns that identify rows: their numbers, and their names and labels where the data has them."""
        rows = slice(start, start + count)
        columns: Columns = {"row": np.arange(row, row + count, dtype=np.int64)}
        if self.spec.ids:
            columns["id"] = np.array(dataset.ids[rows])
        if self.spec.labels:
            columns["label"] = _labels(dataset, rows, self.spec.labels)
        return columns

    def _empty_columns(self) -> Columns:
        """The columns of a piece without rows."""
        example = np.zeros((1, *self.model.event_shape), np.float32)
        columns: Columns = {"row": np.empty(0, np.int64)}
        if self.spec.ids:
            columns["id"] = np.empty(0, np.str_)
        if self.spec.labels:
            columns["label"] = np.empty(0, np.str_ if self.spec.labels == "name" else np.float32)
        return columns | {name: column[:0] for name, column in self.spec.operation.columns(self.model, example).items()}


def merge_summary(whole: dict[str, float], part: Mapping[str, float]) -> None:
    """Adds the summary of some rows to the summary of others: sums add up, `largest` is the larger.

    Args:
        whole: of the rows so far; it changes.
        part: of further rows.
    """
    for name, value in part.items():
        if name not in whole:
            whole[name] = value
        else:
            whole[name] = max(whole[name], value) if name == "largest" else whole[name] + value


def _labels(dataset: Dataset, rows: slice, kind: str) -> np.ndarray:
    """The labels of some rows, as names or as numbers, like those of the first piece."""
    if dataset.y is None:
        raise DataError(f"{dataset.name} has no labels, and the pieces before it have some.")
    y = dataset.y[rows]
    if kind == "name":
        return np.array(dataset.classes)[y] if dataset.classes else np.array([f"{value:g}" for value in y])
    try:
        return np.array(dataset.classes).astype(np.float32)[y] if dataset.classes else y.astype(np.float32)
    except ValueError as error:
        raise DataError(
            f"The labels of {dataset.name} are names, and those of the pieces before it are numbers."
        ) from error
