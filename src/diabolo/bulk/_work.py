"""One piece made: read part by part, computed, written aside and moved into its place. The same for every engine."""

from __future__ import annotations

import hashlib
import json
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

__all__ = ["Order", "Work", "fingerprint"]


@dataclass(frozen=True)
class Order:
    """What is to be made of every piece; it can be sent to another process.

    Attributes:
        operation: what is made of each example.
        source: where the examples are.
        given: options of `open_dataset`.
        folder: of the output.
        job: the digest of the job, which each piece notes.
        weights: the fingerprint of the model.
        asked: the operation's configuration.
        labels: `name` where each row has the name of its class, `number` where labels are continuous, empty without.
        ids: whether each row has the name of its example.
        run: the folder of the model.
    """

    operation: Operation
    source: Any
    given: Mapping[str, Any]
    folder: Path
    job: str
    weights: str
    asked: Mapping[str, Any]
    labels: str = ""
    ids: bool = False
    run: Path | None = None


class Work:
    """Makes pieces.

    Args:
        model: the trained model.
        order: what is to be made.
        source: the opened source, if it is at hand.
    """

    def __init__(self, model: Autoencoder, order: Order, source: Source | None = None) -> None:
        self.model = model
        self.order = order
        self.source = source or Source(model, order.source, order.given)

    def make(
        self,
        piece: Piece,
        advance: Callable[[int], None] | None = None,
        opened: Callable[[], object] | None = None,
    ) -> None:
        """Writes a piece, whole or not at all.

        Args:
            piece: which.
            advance: told the rows of each part that is done.
            opened: called when its data are at hand, before anything is computed.

        Raises:
            DataError: its rows cannot be read; the message names the piece.
            StorageError: it cannot be written.
        """
        try:
            if piece.rows:
                self.source.open(piece.file)  # what is not there is an error of reading, not of writing
            if opened is not None:
                opened()
            self._make(piece, advance or (lambda rows: None))
        except DataError as error:
            where = f"{piece.file}, " if piece.file else ""
            raise DataError(f"{piece.name} ({where}rows {piece.start:,} to {piece.stop - 1:,}): {error}") from error

    def _make(self, piece: Piece, advance: Callable[[int], None]) -> None:
        note: dict[str, Any] = {"job": self.order.job, "piece": piece.config(), "event": list(self.model.event_shape)}
        with writing_piece(self.order.folder / piece.name, note) as append:
            if not piece.rows:
                append(self._none())
            for start, x in self.source.parts(piece) if piece.rows else ():
                made = self.order.operation.columns(self.model, x)
                _merge(note.setdefault("summary", {}), self.order.operation.summary(made))
                row = start + (piece.start if piece.file else 0)
                append({**self._named(self.source.open(piece.file), start, len(x), row), **made})
                advance(len(x))

    def _named(self, dataset: Dataset, start: int, count: int, row: int) -> Columns:
        """What tells the rows apart: their numbers, and their names and labels where there are some."""
        rows = slice(start, start + count)
        made: Columns = {"row": np.arange(row, row + count, dtype=np.int64)}
        if self.order.ids:
            made["id"] = np.array(dataset.ids[rows])
        if self.order.labels:
            made["label"] = _labels(dataset, rows, self.order.labels)
        return made

    def _none(self) -> Columns:
        """The columns of a piece without rows."""
        one = np.zeros((1, *self.model.event_shape), np.float32)
        made: Columns = {"row": np.empty(0, np.int64)}
        if self.order.ids:
            made["id"] = np.empty(0, np.str_)
        if self.order.labels:
            made["label"] = np.empty(0, np.str_ if self.order.labels == "name" else np.float32)
        return made | {name: column[:0] for name, column in self.order.operation.columns(self.model, one).items()}


def fingerprint(model: Autoencoder) -> str:
    """`blake2b:<hex>` over a model's configuration and weights."""
    digest = hashlib.blake2b(json.dumps(model.model.config(), sort_keys=True, default=str).encode(), digest_size=20)
    for name, tensor in sorted(model.model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return f"blake2b:{digest.hexdigest()}"


def _merge(whole: dict[str, float], part: Mapping[str, float]) -> None:
    """Adds the summary of some rows to that of others."""
    for name, value in part.items():
        if name not in whole:
            whole[name] = value
        else:
            whole[name] = max(whole[name], value) if name == "largest" else whole[name] + value


def _labels(dataset: Dataset, rows: slice, kind: str) -> np.ndarray:
    """The labels of some rows, as names or as numbers, whichever the first piece's are."""
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
