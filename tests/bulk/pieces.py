"""Where the shards of the tests begin and end, and what is in the pieces that are made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diabolo.storage.parquet import read_parquet_columns

CUTS = [0, 1300, 1301, 1301, 1550, 2600]  # where the shards begin and end; the third is empty
KIND = {"labels": "kind"}


def rows_of(folder: Path) -> dict[str, np.ndarray]:
    """All pieces of a folder, in their order, as one table."""
    pieces = [read_parquet_columns(path) for path in sorted(folder.glob("piece-*.parquet"))]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def break_inside(path: Path) -> bytes:
    """Overwrites the first page of a Parquet file, whose footer stays; returns what it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    return whole
