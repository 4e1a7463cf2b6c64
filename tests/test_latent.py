"""Functions on codes: ways between them, walks along them, their neighbours."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

from diabolo.errors import ConfigError, DataError, DiaboloError, ShapeError
from diabolo.latent import geometry

PAIR = arrays(np.float64, (2, 5), elements=st.floats(-100, 100))


@given(PAIR, st.integers(2, 20), st.sampled_from(geometry.WAYS))
def test_a_way_begins_and_ends_where_it_should(ends: np.ndarray, n: int, how: Any) -> None:
    way = geometry.interpolate(*ends, n, how=how)
    assert way.shape == (n, 5)
    assert way.dtype == np.float32
    assert np.isfinite(way).all()
    np.testing.assert_array_equal(way[[0, -1]], ends.astype(np.float32))


def test_a_line_has_equal_steps() -> None:
    way = geometry.interpolate([0, 10], [4, 2], 5)
    np.testing.assert_allclose(way, [[0, 10], [1, 8], [2, 6], [3, 4], [4, 2]])


def test_an_arc_keeps_the_length_and_turns_evenly() -> None:
    way = geometry.interpolate([2, 0], [0, 2], 4, how="spherical")
    angles = np.deg2rad([0, 30, 60, 90])
    np.testing.assert_allclose(way, 2 * np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-6)


def test_the_length_on_an_arc_goes_evenly_from_one_to_the_other() -> None:
    way = geometry.interpolate([1, 0, 0], [0, 0, 4], 4, how="spherical")
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), [1, 2, 3, 4], rtol=1e-6)


@pytest.mark.parametrize("end", [[-1.0, -2.0], [2.0, 4.0], [0.0, 0.0]])
def test_codes_with_no_arc_between_them_are_joined_by_the_line(end: list[float]) -> None:
    np.testing.assert_allclose(
        geometry.interpolate([1, 2], end, 5, how="spherical"), geometry.interpolate([1, 2], end, 5), atol=1e-6
    )


def test_many_ways_at_once_are_the_same_ways() -> None:
    rng = np.random.default_rng(0)
    starts, ends = rng.standard_normal((2, 7, 3))
    together = geometry.interpolate(starts, ends, 6, how="spherical")
    assert together.shape == (7, 6, 3)
    for one, start, end in zip(together, starts, ends, strict=True):
        np.testing.assert_array_equal(one, geometry.interpolate(start, end, 6, how="spherical"))


def test_traverse_changes_one_number_alone() -> None:
    walk = geometry.traverse([1, 2, 3], 1, [-1, 0, 9])
    np.testing.assert_array_equal(walk, [[1, -1, 3], [1, 0, 3], [1, 9, 3]])


def test_the_manifold_s_codes_are_quantiles_in_the_order_of_a_picture() -> None:
    grid = geometry.manifold_grid(15).reshape(15, 15, 2)
    np.testing.assert_allclose(norm.cdf(grid[0, :, 0]), np.linspace(0.05, 0.95, 15), atol=1e-6)
    np.testing.assert_array_equal(grid[0, :, 0], grid[14, :, 0])
    np.testing.assert_array_equal(grid[:, 3, 1], grid[0, ::-1, 0])
    np.testing.assert_allclose(geometry.manifold_grid(1), [[0, 0]], atol=1e-7)
    down = geometry.manifold_grid(15, order="down").reshape(15, 15, 2)
    np.testing.assert_array_equal(down, grid[::-1])
    with pytest.raises(ConfigError, match="order of the rows"):
        geometry.manifold_grid(3, order="left")  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_neighbours_are_those_of_scikit_learn(dim: int) -> None:
    rng = np.random.default_rng(dim)
    codes, query = rng.standard_normal((500, dim)), rng.standard_normal((40, dim))
    found, distances = geometry.nearest(codes, query, 7)
    theirs, indices = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(codes).kneighbors(query)
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_allclose(distances, theirs, rtol=1e-6)
    one, far = geometry.nearest(codes, query[3], 7)
    np.testing.assert_array_equal(one, found[3])
    np.testing.assert_array_equal(far, distances[3])


def test_neighbours_far_from_the_origin_are_exact() -> None:
    """|a|^2 - 2ab + |b|^2 alone loses all digits of distances that are small beside the codes."""
    codes = 1e6 + np.array([[0.0], [3e-3], [1e-3], [9e-3]])
    found, distances = geometry.nearest(codes, codes[:1], 3)
    np.testing.assert_array_equal(found, [[0, 2, 1]])
    np.testing.assert_allclose(distances, [[0, 1e-3, 3e-3]], rtol=1e-4)


def test_equally_near_ones_come_in_order() -> None:
    found, _ = geometry.nearest(np.ones((50, 2)), [1, 1], 4)
    np.testing.assert_array_equal(found, [0, 1, 2, 3])


def test_class_means() -> None:
    classes, means = geometry.class_means([[0, 2], [2, 4], [7, 7]], ["b", "b", "a"])
    assert classes.tolist() == ["a", "b"]
    np.testing.assert_array_equal(means, [[7, 7], [1, 3]])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: geometry.interpolate([1], [1, 2], 3), ShapeError, "(1,) and (2,)"),
        (lambda: geometry.interpolate([1, 2], [1, 2], 1), ConfigError, "at least 2"),
        (lambda: geometry.interpolate([1, 2], [1, 2], 3, how="sperical"), ConfigError, "Did you mean 'spherical'"),  # type: ignore[arg-type]
        (lambda: geometry.interpolate([1, np.nan], [1, 2], 3), DataError, "NaN"),
        (lambda: geometry.traverse([1, 2], 2, [0]), ConfigError, "0 to 1"),
        (lambda: geometry.traverse([[1, 2]], 0, [0]), ShapeError, "(d,)"),
        (lambda: geometry.manifold_grid(0), ConfigError, "at least 1"),
        (lambda: geometry.manifold_grid(3, 0.0), ConfigError, "0 < low"),
        (lambda: geometry.nearest(np.ones((5, 2)), [1, 1], 6), ConfigError, "1 and the 5"),
        (lambda: geometry.nearest(np.ones((5, 2)), [1, 1, 1], 2), ShapeError, "2 numbers and the query 3"),
        (lambda: geometry.nearest([["a"]], [1], 1), DataError, "numbers"),
        (lambda: geometry.class_means(np.ones((5, 2)), [1]), ShapeError, "(5,)"),
        (lambda: geometry.class_means(np.ones((0, 2)), []), ShapeError, "something in it"),
    ],
)
def test_what_cannot_be_is_said(call: Any, error: type[DiaboloError], says: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert says in str(raised.value)


@pytest.mark.parametrize("value", [1e308, -1e39])
def test_codes_beyond_float32_are_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"holds -?1e\+(308|39), and codes are float32"):
        geometry.traverse([0.0, 1.0], 0, [value])
    with pytest.raises(DataError, match="and codes are float32"):
        geometry.interpolate([0.0, value], [1.0, 1.0], 3)
