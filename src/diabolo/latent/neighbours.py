"""How far an example is from what a model draws: a density by nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["Neighbours"]

Floats = npt.NDArray[np.floating]

COUNT, SHARE = 20, 1 / 3  # training examples that are neighbours of an example, at most, and as a share of all
TIMES = 5  # draws for each training example
MOST, MOST_VALUES = 2_000, 2**25  # training examples that are drawn from, and values of all draws
CHUNK = 10_000  # examples whose neighbours are looked for at once
FLOOR = 0.1  # of the median distance, below which all count as equal: rows that occur often are no dense cluster


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Draws of a model, and how near to each other they lie.

    With c_i the model's copy of the training example x_i, a draw is c_i + (x_j - c_j), where x_j is among the 5 whose
    codes are nearest to that of x_i: along the codes draws vary as the examples do, and off them by what the model
    leaves there. With d(x) the mean distance from x to the k draws that are nearest to it, the score of x is

        log d(x) - 1/2 (mean of log d over these k draws),

    half-way between the distance to neighbours (Ramaswamy et al. 2000, https://doi.org/10.1145/342009.335437) and its
    ratio to their own distances, as in the local outlier factor (Breunig et al. 2000,
    https://doi.org/10.1145/342009.335388): what is far from all others is an outlier, and what is a little off a dense
    group is one, too.

    Attributes:
        draws: (m, D).
        logs: (m,), log d of each, among the others.
        count: k, five times 20, or five times a third of the training examples where they are few.
        least: the smallest d.

    >>> rng = np.random.default_rng(0)
    >>> codes = rng.normal(size=(100, 1))
    >>> copies = codes * [1, 1]
    >>> neighbours = Neighbours.fit(copies + 0.1 * rng.normal(size=(100, 2)), copies, codes)
    >>> near, far = neighbours.scores(np.array([[1, 1], [1, -1]]))
    >>> bool(near < far)
    True
    """

    draws: Floats
    logs: Floats
    count: int
    least: float

    @classmethod
    def fit(cls, x: Floats, copies: Floats, codes: Floats) -> Self:
        """The draws of a model, the same each time.

        Args:
            x: (n, D), the training examples as the model sees them; at most 2,000 are used, in even steps.
            copies: (n, D), what the model makes of them.
            codes: (n, d), their latent codes.
        """
        most = max(2, min(len(x), MOST, MOST_VALUES // (TIMES * x.shape[1])))
        some = np.unique(np.linspace(0, len(x) - 1, most).astype(np.int64))
        copies, codes = np.asarray(copies[some]), np.asarray(codes[some])
        _, alike = _nearest(codes, codes, min(TIMES, len(some)))
        draws = (copies[:, None] + (x[some] - copies)[alike]).reshape(-1, x.shape[1])
        count = alike.shape[1] * max(1, min(COUNT, int(SHARE * len(some))))
        own = _nearest(draws, draws, count + 1)[0][:, 1:].mean(1)
        least = max(float(FLOOR * np.median(own)), 1e-6)
        return cls(draws, np.log(np.maximum(own, least)), count, least)

    def scores(self, x: Floats) -> npt.NDArray[np.float64]:
        """The score of each example, (n,), from its values as the model sees them, (n, D): the higher, the stranger."""
        scores = np.empty(len(x))
        for start in range(0, len(x), CHUNK):
            distances, places = _nearest(self.draws, x[start : start + CHUNK], self.count)
            logs = np.log(np.maximum(distances.mean(1), self.least))
            scores[start : start + CHUNK] = logs - self.logs[places].mean(1) / 2
        return scores


def _nearest(points: Floats, x: Floats, count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The distances from examples to the nearest points, (n, count), and which these are."""
    from sklearn.neighbors import NearestNeighbors

    distances, places = NearestNeighbors(n_neighbors=count).fit(points.astype(np.float64)).kneighbors(x)
    return distances, places
