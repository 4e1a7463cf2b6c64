"""The geometry of latent codes: interpolation, traversals, the plane of a grid, neighbours, class means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from diabolo._border import checked
from diabolo.config import require
from diabolo.errors import DataError, ShapeError, unknown_name
from diabolo.storage.foreign import as_array

if TYPE_CHECKING:
    from diabolo.models.priors.own import CodePrior

__all__ = ["checked_codes", "class_means", "interpolate", "manifold_grid", "nearest", "traverse"]

Codes = npt.NDArray[np.float32]
WAYS = ("linear", "spherical")
PARALLEL = 1e-6  # radians: at smaller angles (from 0 or from pi) there is no single arc, and the path is a line
CHUNK = 1 << 22  # distances in memory at a time
LARGEST = float(np.finfo(np.float32).max)


@checked
def interpolate(a: Any, b: Any, n: int, how: Literal["linear", "spherical"] = "linear") -> Codes:
    """Latent codes on the path from `a` to `b`, both ends included, in equal steps.

    `spherical` follows the arc about the origin (Shoemake 1985, "Animating rotation with quaternion curves"), along
    which codes keep the length that is typical of a normal prior (White 2016, https://arxiv.org/abs/1609.04468); the
    length changes linearly from that of `a` to that of `b`. Parallel, opposite or zero codes have no single arc between
    them, and are joined by a line.

    Args:
        a: (d,) or (m, d), the starts.
        b: the ends, in the same shape.
        n: codes on each path, at least 2.
        how: linear or spherical.

    Returns:
        float32 (n, d) or (m, n, d).

    Raises:
        ShapeError: the ends do not have the same shape.
        ConfigError: an unknown `how`, or n below 2.
        DataError: NaN or infinite codes.

    >>> interpolate([0.0, 0.0], [1.0, 2.0], 3)
    array([[0. , 0. ],
           [0.5, 1. ],
           [1. , 2. ]], dtype=float32)
    """
    start, end = checked_codes(a, "a", ranks=(1, 2)), checked_codes(b, "b", ranks=(1, 2))
    if start.shape != end.shape:
        raise ShapeError(f"Both ends of a way should have the same shape, and have {start.shape} and {end.shape}.")
    require(n >= 2, "n", "a number of codes of at least 2, the ends included", n)
    if how not in WAYS:
        raise unknown_name("way to interpolate", how, WAYS)
    steps = np.linspace(0.0, 1.0, n)[:, None]
    path = start[..., None, :] * (1 - steps) + end[..., None, :] * steps
    if how == "spherical":
        path = np.where(*_arc(start, end, steps), path)
    path[..., 0, :], path[..., -1, :] = start, end
    return path.astype(np.float32)


def _arc(start: Any, end: Any, steps: Any) -> tuple[Any, Any]:
    """Whether there is a single arc, and the codes on it."""
    lengths = [np.linalg.norm(end_point, axis=-1, keepdims=True)[..., None, :] for end_point in (start, end)]
    units = [
        end_point[..., None, :] / np.where(length == 0, 1, length)
        for end_point, length in zip((start, end), lengths, strict=True)
    ]
    angle = np.arccos(np.clip((units[0] * units[1]).sum(-1, keepdims=True), -1, 1))
    is_arc = (lengths[0] > 0) & (lengths[1] > 0) & (angle > PARALLEL) & (angle < np.pi - PARALLEL)
    sine = np.where(is_arc, np.sin(angle), 1)
    direction = (np.sin((1 - steps) * angle) * units[0] + np.sin(steps * angle) * units[1]) / sine
    return is_arc, direction * (lengths[0] * (1 - steps) + lengths[1] * steps)


@checked
def traverse(z: Any, dim: int, values: Any) -> Codes:
    """A latent code repeated with one dimension set to each of some values, float32 (m, d).

    Args:
        z: (d,), the latent code.
        dim: the dimension, from 0.
        values: (m,).

    Raises:
        ShapeError: z is not one code, or values not one row.
        ConfigError: a dimension out of range.
        DataError: NaN or infinite numbers.

    >>> traverse([1.0, 2.0], 0, [-1, 0]).tolist()
    [[-1.0, 2.0], [0.0, 2.0]]
    """
    code, row = checked_codes(z, "z", ranks=(1,)), checked_codes(values, "values", ranks=(1,))
    require(0 <= dim < len(code), "dim", f"a dimension of the code, 0 to {len(code) - 1}", dim)
    walk = np.repeat(code[None], len(row), 0)
    walk[:, dim] = row
    return walk.astype(np.float32)


@checked
def manifold_grid(
    n: int,
    low: float = 0.05,
    high: float = 0.95,
    *,
    order: Literal["up", "down"] = "up",
    prior: CodePrior | None = None,
) -> Codes:
    """A grid of latent codes in the plane, at equal steps of probability under a prior.

    Both z1 and z2 take n values: their quantiles, for N(0, I) the inverse of the normal distribution function, at n
    equal steps from `low` to `high` (at their middle where n is 1). The codes come in the order in which a picture is
    drawn, row by row: z1 grows from left to right in each row.

    Args:
        n: codes along each axis, at least 1.
        low: the smallest probability, above 0.
        high: the largest, below 1.
        order: where z2 grows to: `up`, as on any diagram, so that code 0 has the largest z2; or `down`, from row to row
            of the picture, as in Chollet 2017, "Deep Learning with Python", section 8.4.
        prior: of codes of two numbers; N(0, I) when left out.

    Returns:
        float32 (n * n, 2): z1, z2.

    Raises:
        ConfigError: n below 1, probabilities that are not 0 < low < high < 1, an unknown order.

    >>> manifold_grid(2).round(2).tolist()
    [[-1.6..., 1.6...], [1.6..., 1.6...], [-1.6..., -1.6...], [1.6..., -1.6...]]
    """
    if order not in ("up", "down"):
        raise unknown_name("order of the rows", order, ("up", "down"))
    require(n >= 1, "n", "a number of codes of at least 1", n)
    require(0 < low < high < 1, "low, high", "probabilities, 0 < low < high < 1", (low, high))
    steps = np.linspace(low, high, n) if n > 1 else np.array([(low + high) / 2])
    if prior is None:
        from diabolo.models.priors.own import StandardNormal

        prior = StandardNormal(2)
    require(hasattr(prior, "quantiles"), "prior", "one of a model, with quantiles, or None", prior)
    first, second = prior.quantiles(steps)
    z1, z2 = np.meshgrid(first, second[::-1] if order == "up" else second)
    return np.stack([z1.ravel(), z2.ravel()], axis=1).astype(np.float32)


@checked
def nearest(codes: Any, query: Any, k: int = 10) -> tuple[npt.NDArray[np.int64], Codes]:
    """The k nearest latent codes to each query by Euclidean distance, in ascending order; ties by index.

    Args:
        codes: (n, d).
        query: (m, d), or (d,) for one.
        k: the number of neighbours, at most n.

    Returns:
        Indices, int64 (m, k), and distances, float32 (m, k); (k,) each for one query.

    Raises:
        ShapeError: codes and queries of different widths.
        ConfigError: a k that is not between 1 and n.
        DataError: NaN or infinite codes.

    >>> indices, distances = nearest([[0.0], [1.0], [5.0]], [0.9], k=2)
    >>> indices, distances.round(1)
    (array([1, 0]), array([0.1, 0.9], dtype=float32))
    """
    points, queries = checked_codes(codes, "codes", ranks=(2,)), checked_codes(query, "query", ranks=(1, 2))
    rows = np.atleast_2d(queries)
    if rows.shape[1] != points.shape[1]:
        raise ShapeError(
            f"The codes have {points.shape[1]} numbers and the query {rows.shape[1]}: they cannot be near."
        )
    require(1 <= k <= len(points), "k", f"between 1 and the {len(points):,} codes there are", k)
    indices, distances = np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32)
    squares, step = np.square(points).sum(1), max(1, CHUNK // len(points))
    for first in range(0, len(rows), step):
        part = rows[first : first + step]
        # Rough distances by a matrix product pick a few more candidates than k, exact ones sort them: the product
        # loses digits where codes are near each other. The query's own square is the same for all.
        rough = squares - 2 * part @ points.T
        candidates = np.argpartition(rough, min(k + 8, len(points)) - 1, axis=1)[:, : min(k + 8, len(points))]
        candidates.sort(axis=1)
        exact = np.sqrt(np.square(points[candidates] - part[:, None]).sum(2))
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        indices[first : first + step] = np.take_along_axis(candidates, order, 1)
        distances[first : first + step] = np.take_along_axis(exact, order, 1)
    return (indices, distances) if queries.ndim == 2 else (indices[0], distances[0])


@checked
def class_means(codes: Any, labels: Any) -> tuple[npt.NDArray[Any], Codes]:
    """The mean latent code of each class: the classes in order, (K,), and the means, float32 (K, d).

    Args:
        codes: (n, d).
        labels: (n,).

    Raises:
        ShapeError: not one label for each code.
        DataError: NaN or infinite codes.

    >>> class_means([[0.0], [2.0], [5.0]], ["a", "a", "b"])[1].tolist()
    [[1.0], [5.0]]
    """
    points, names = checked_codes(codes, "codes", ranks=(2,)), as_array("labels", labels)
    if names.shape != (len(points),):
        raise ShapeError(f"Labels should have the shape ({len(points)},), one for each code, and have {names.shape}.")
    classes, which = np.unique(names, return_inverse=True)
    sums = np.zeros((len(classes), points.shape[1]))
    np.add.at(sums, which, points)
    return classes, (sums / np.bincount(which)[:, None]).astype(np.float32)


def checked_codes(values: Any, what: str, *, ranks: tuple[int, ...] = (2,)) -> npt.NDArray[np.float64]:
    """Latent codes as float64, checked; `what` names them in messages.

    Raises:
        ShapeError: a rank that is not among `ranks`, or an empty array.
        DataError: other than numbers, or numbers that are NaN, infinite, or beyond float32.

    >>> checked_codes([[1, 2]], "codes").dtype
    dtype('float64')
    """
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} should be numbers: {error}.") from error
    if array.ndim not in ranks or not array.size:
        expected = " or ".join({1: "(d,)", 2: "(n, d)"}[rank] for rank in ranks)
        raise ShapeError(f"{what} should have the shape {expected}, with something in it, and has {array.shape}.")
    if not np.isfinite(array).all():
        raise DataError(f"{what} holds NaN or infinite numbers; codes are finite.")
    if np.abs(array).max() > LARGEST:
        most = array.flat[np.abs(array).argmax()]
        raise DataError(f"{what} holds {most:g}, and codes are float32, up to {LARGEST:.1e}.")
    return array
