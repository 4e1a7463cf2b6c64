"""A source in pieces: their row ranges, and how their rows are read."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk._piece_files import count_rows, digest_file
from diabolo.datasets import Dataset
from diabolo.errors import DataError
from diabolo.evaluation.terms import CHUNK
from diabolo.runs.data import open_examples

__all__ = ["PIECE_ROWS", "Piece", "Source"]

PIECE_ROWS = 50_000  # of a source that does not come in pieces
_PART_BYTES = 1 << 26  # of examples in one part, which the model computes at a time
_BLOCK_BYTES = 1 << 20  # of a block that no two pieces share; a smaller one costs little to read twice


@dataclass(frozen=True)
class Piece:
    """A range of rows that is read and written together.

    Attributes:
        number: of the piece, from 0.
        start: the number of its first row among the rows of all pieces.
        stop: the number after its last row.
        file: the Parquet file of these rows and no others; empty for a range of one source.
        size: of that file, in bytes.
        digest: of that file, from its size, its end and samples of the rest.

    >>> piece = Piece(3, 150_000, 200_000)
    >>> piece.name, piece.rows
    ('piece-00003.parquet', 50000)
    """

    number: int
    start: int
    stop: int
    file: str = ""
    size: int = 0
    digest: str = ""

    @property
    def name(self) -> str:
        """The name of its file in the output folder."""
        return f"piece-{self.number:05}.parquet"

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    def config(self) -> dict[str, Any]:
        """A JSON object of the attributes."""
        return asdict(self)


class Source:
    """A source as its pieces: one for each file of a folder of Parquet files, row ranges of anything else.

    Args:
        model: whose shape and layout the examples have.
        source: a folder of Parquet files or a pattern of their names, or whatever `open_dataset` opens; the run's own
            data when left out.
        data: options of `open_dataset`.
    """

    def __init__(self, model: Autoencoder, source: Any = None, data: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.source = source
        self.data = dict(data or {})
        self.files = _parquet_files(source)
        self._opened: tuple[str, Dataset] | None = None
        self._coming: tuple[str, Future[Dataset]] | None = None

    def pieces(self, rows: int) -> list[Piece]:
        """All pieces, in order.

        Args:
            rows: of a piece, where the source does not come in files of Parquet.

        Raises:
            DataError: a file cannot be read as Parquet, or there are no rows.
            ShapeError: the examples are not of the model's shape.
        """
        if not self.files:
            dataset = self.open("")
            edges = _edges(dataset.x, rows)
            return [Piece(number, *pair) for number, pair in enumerate(itertools.pairwise(edges))]
        pieces, start = [], 0
        for number, (name, path) in enumerate(self.files.items()):
            stop = start + count_rows(path)
            pieces.append(Piece(number, start, stop, name, path.stat().st_size, digest_file(path)))
            start = stop
        if not start:
            raise DataError(f"The {len(pieces)} Parquet files of {self.source} hold no rows. At least one is needed.")
        return pieces

    def open(self, file: str) -> Dataset:
        """The data of a Parquet file of the source, or the whole source where it is not in pieces.

        The last one stays open: the parts of a piece come from the same file.

        Raises:
            DataError: it cannot be read.
        """
        if self._opened is None or self._opened[0] != file:
            self._opened = None  # first, so that memory holds no more than this file and the next one
            coming, self._coming = self._coming, None
            dataset = coming[1].result() if coming is not None and coming[0] == file else self._read(file)
            self._opened = (file, dataset)
        return self._opened[1]

    def open_ahead(self, piece: Piece | None, pool: Executor) -> None:
        """Opens the data of the next piece, if there is one, in a thread, while this one is computed."""
        if piece is not None and piece.file and piece.rows:
            self._coming = (piece.file, pool.submit(self._read, piece.file))

    def _read(self, file: str) -> Dataset:
        return open_examples(self.model, str(self.files[file]) if file else self.source, self.data)

    def parts(self, piece: Piece) -> Iterator[tuple[int, np.ndarray | Dataset]]:
        """Yields (first row in the data of `open`, examples) of a piece, part by part.

        Parts end after a multiple of 1,000 rows of their piece, so that the model computes the same chunks, and the
        same bits, for any size of part.

        Raises:
            DataError: the rows cannot be read, or are fewer or more than the file's footer says.
        """
        dataset = self.open(piece.file)
        first = 0 if piece.file else piece.start
        if piece.file and len(dataset) != piece.rows:
            raise DataError(
                f"{piece.file} held {piece.rows:,} rows when the job began, and holds {len(dataset):,} now: it was "
                "changed in the meantime. Start again when it rests."
            )
        values = 4 * int(np.prod(dataset.event_shape, dtype=np.int64))
        step = max(1, _PART_BYTES // values // CHUNK) * CHUNK
        for start in range(first, first + piece.rows, step):
            try:
                stop = min(start + step, first + piece.rows)
                if self.model.labels != "none":
                    yield start, dataset.subset(np.arange(start, stop))
                else:
                    yield start, np.asarray(dataset.x[start:stop])
            except OSError as error:
                raise DataError(f"Rows of {dataset.name} from {start:,} on cannot be read: {error}.") from error


def _edges(x: Any, rows: int) -> list[int]:
    """The edges of pieces of about `rows` rows: at the edges of blocks, where blocks are large.

    Blocks are rows that are read together, such as the row groups of a Parquet file; a block above `rows` is a piece.
    """
    blocks = np.ravel(np.asarray(getattr(x, "blocks", ()), np.int64))
    if len(blocks) < 2 or x.nbytes / (len(blocks) - 1) < _BLOCK_BYTES:
        return [*range(0, len(x), rows), len(x)]
    edges = [0]
    while edges[-1] < len(x):
        later = blocks[blocks > edges[-1]]
        near = later[later <= edges[-1] + rows]
        edges.append(int(near[-1] if len(near) else later[0]))
    return edges


def _parquet_files(source: Any) -> dict[str, Path]:
    """Name -> path of the Parquet files of a folder or of a pattern, in order; empty for any other source.

    Names are relative to the folder above all files.
    """
    if not isinstance(source, (str, os.PathLike)):
        return {}
    path = Path(source).expanduser()
    if path.is_dir():
        paths = list(path.glob("*.parquet"))
    elif path.suffix.lower() == ".parquet" and glob.has_magic(str(path)) and not path.exists():
        paths = [Path(name) for name in glob.glob(str(path))]  # noqa: PTH207 (a pattern may be absolute)
    else:
        return {}
    paths = [one.absolute() for one in paths if not one.name.startswith((".", "_"))]
    above = os.path.commonpath([one.parent for one in paths]) if paths else ""
    return {str(one.relative_to(above)): one for one in sorted(paths)}
