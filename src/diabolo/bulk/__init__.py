"""Large jobs: a source is encoded, scored or reconstructed into a folder of Parquet pieces; jobs can be restarted.

    bulk.run(model, "shards/", "codes/")                                   in this process, in bounded memory
    bulk.run(model, "shards/", "codes/", executor=bulk.Ray(workers=4))       the same pieces, by Ray's workers
    bulk.run(model, "shards/", "scores/", bulk.Score(kind="elbo", draws=16))

Piece k of the output holds the rows of piece k of the input, in order. A job that starts again skips the pieces that
exist.
"""

from diabolo.bulk._bar import Bar
from diabolo.bulk._operations import Encode, Operation, Reconstruct, Score
from diabolo.bulk._pieces import PIECE_ROWS, Piece
from diabolo.bulk._ray import Ray
from diabolo.bulk._run import Process, Result, run

__all__ = [
    "PIECE_ROWS",
    "Bar",
    "Encode",
    "Operation",
    "Piece",
    "Process",
    "Ray",
    "Reconstruct",
    "Result",
    "Score",
    "run",
]
