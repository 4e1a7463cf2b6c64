"""What codes hold, against closed forms and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.metrics import active_units, knn_correct, marginal_kl, mutual_information, probe_correct

rng = np.random.default_rng(0)


def test_active_units_are_those_whose_mean_varies() -> None:
    means = rng.standard_normal((5000, 4)) * [1, 0.11, 0.09, 0] + [0, 5, 5, 5]
    assert active_units(means).tolist() == [True, True, False, False]
    assert active_units(means, threshold=0.02).tolist() == [True, False, False, False]
    assert active_units(means).dtype == bool


# Mutual information.


def test_two_clusters_tell_one_bit() -> None:
    means = np.repeat([[-20.0, 0.0], [20.0, 0.0]], 50, axis=0)
    found = mutual_information(means, np.zeros_like(means))
    assert found.values == pytest.approx(np.full(100, math.log(2)), abs=1e-12)
    assert found.estimate.value == pytest.approx(math.log(2), abs=1e-12)
    assert found.bound == pytest.approx(math.log(100))


def test_codes_that_are_all_apart_reach_the_bound() -> None:
    means = 100.0 * np.arange(64)[:, None]
    assert mutual_information(means, np.zeros((64, 1))).values == pytest.approx(np.full(64, math.log(64)))


def test_codes_that_tell_nothing_have_no_information_and_no_distance_from_the_prior() -> None:
    zeros = np.zeros((200, 3))
    found = mutual_information(zeros, zeros)
    assert found.values == pytest.approx(np.zeros(200), abs=1e-12)
    assert found.marginal_values == pytest.approx(np.zeros(200), abs=1e-12)


def test_a_linear_gaussian_code_has_the_information_of_its_closed_form() -> None:
    drawn, slope, deviation = np.random.default_rng(1), 0.8, np.array([0.6, 0.9])
    means = slope * drawn.standard_normal((4000, 2))
    found = mutual_information(means, np.tile(2 * np.log(deviation), (4000, 1)), draws=4)
    total = slope**2 + deviation**2
    information = 0.5 * np.log(total / deviation**2).sum()
    marginal = 0.5 * (total - 1 - np.log(total)).sum()
    assert abs(found.estimate.value - information) < 4 * found.estimate.standard_error
    assert found.marginal_kl.value == pytest.approx(marginal, abs=0.01)
    assert found.estimate.standard_error < 0.02


def test_information_and_marginal_add_up_to_the_average_kl() -> None:
    means, logs = 2 * rng.standard_normal((800, 3)), rng.standard_normal((800, 3)) - 1
    found = mutual_information(means, logs, draws=60)
    kl = 0.5 * (means**2 + np.exp(logs) - 1 - logs).sum(1).mean()
    assert found.estimate.value + found.marginal_kl.value == pytest.approx(kl, abs=0.03)
    assert marginal_kl(means, logs, draws=60) == found.marginal_kl


def test_chunks_give_the_same_as_one_matrix_and_as_scipy() -> None:
    from scipy.special import logsumexp
    from scipy.stats import norm

    means, logs = 3 * rng.standard_normal((40, 2)) + 50, rng.standard_normal((40, 2))
    whole = mutual_information(means, logs, seed=3)
    chunked = mutual_information(means, logs, seed=3, chunk=90)
    np.testing.assert_allclose(chunked.values, whole.values, rtol=1e-10, atol=1e-12)
    z = means + np.exp(0.5 * logs) * np.random.default_rng(3).standard_normal((40, 2))
    each = norm.logpdf(z[:, None], means, np.exp(0.5 * logs)).sum(2)
    expected = np.diag(each) - logsumexp(each, axis=1) + math.log(40)
    np.testing.assert_allclose(whole.values, expected, atol=1e-9)
    np.testing.assert_allclose(whole.values + whole.marginal_values, np.diag(each) - norm.logpdf(z).sum(1), atol=1e-9)


def test_narrow_codes_far_from_zero_keep_their_digits() -> None:
    means = 1e3 + 1e-3 * np.repeat(np.arange(2.0), 30)[:, None]
    found = mutual_information(means, np.full((60, 1), 2 * math.log(1e-5)))
    assert found.values == pytest.approx(np.full(60, math.log(2)), abs=1e-6)


def test_of_many_examples_some_are_picked_and_the_bound_says_how_many() -> None:
    found = mutual_information(rng.standard_normal((500, 2)), np.zeros((500, 2)), limit=100)
    assert found.bound == pytest.approx(math.log(100))
    assert found.estimate.count == len(found.values) == 100


def test_what_has_no_information_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a log-variance for each mean, and the means have the shape \(3, 2\)"):
        mutual_information(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ShapeError, match="At least 2 rows of means are needed, and 1 were given"):
        mutual_information(np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(DataError, match="means of 3 of 3 examples are NaN"):
        mutual_information(np.full((3, 2), np.nan), np.zeros((3, 2)))
    with pytest.raises(ConfigError, match="draws should be a number of at least 1"):
        mutual_information(np.zeros((3, 2)), np.zeros((3, 2)), draws=0)


# k nearest neighbours and the linear probe.


def clusters(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    labels = drawn.integers(0, 3, count)
    return drawn.standard_normal((count, 2)) + np.array([[0, 0], [8, 0], [0, 8]])[labels], labels


@pytest.mark.parametrize("judge", [knn_correct, probe_correct])
def test_classes_that_lie_apart_are_told_apart(judge: Any) -> None:
    (x, y), (u, v) = clusters(300, 1), clusters(200, 2)
    right = judge(x, y, u, v)
    assert right.shape == (200,)
    assert set(right.tolist()) <= {0.0, 1.0}
    assert right.mean() > 0.99
    assert judge(x, y, u, (v + 1) % 3).mean() < 0.01


@pytest.mark.parametrize("judge", [knn_correct, probe_correct])
def test_names_work_as_well_as_numbers(judge: Any) -> None:
    (x, y), (u, v) = clusters(300, 1), clusters(200, 2)
    names = np.array(["cat", "dog", "eel"])
    expected = judge(x, y, u, v)
    assert judge(x, names[y], u, names[v]).tolist() == expected.tolist()
    assert judge(x, names[y].astype(object), u, names[v].tolist()).tolist() == expected.tolist()
    assert judge(x, y.astype(float), u, v.astype(object)).tolist() == expected.tolist()


@pytest.mark.parametrize("judge", [knn_correct, probe_correct])
def test_a_class_that_was_not_learned_is_never_right(judge: Any) -> None:
    (x, y), (u, v) = clusters(300, 1), clusters(200, 2)
    known = y < 2
    right = judge(x[known], y[known], u, v)
    assert right[v == 2].sum() == 0
    assert right[v < 2].mean() > 0.95


def test_the_neighbours_vote() -> None:
    train, labels = np.array([[0.0], [1.0], [1.1], [5.0]]), np.array([0, 1, 1, 0])
    assert knn_correct(train, labels, [[0.1]], [0], k=1).tolist() == [1]
    assert knn_correct(train, labels, [[0.1]], [0], k=3).tolist() == [0]


def test_the_probe_is_that_of_scikit_learn_on_standardised_codes() -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    found = probe_correct(x[:1000] * 1e-3, y[:1000], x[1000:] * 1e-3, y[1000:])
    mean, deviation = x[:1000].mean(0), x[:1000].std(0)
    deviation[deviation == 0] = 1
    model = LogisticRegression(max_iter=10_000).fit((x[:1000] - mean) / deviation, y[:1000])
    expected = model.predict((x[1000:] - mean) / deviation) == y[1000:]
    assert (found == expected).mean() > 0.995
    assert 0.88 < found.mean() < 0.97


@pytest.mark.parametrize("judge", [knn_correct, probe_correct])
def test_labels_and_codes_that_cannot_be_used_are_refused(judge: Any) -> None:
    x, y = clusters(40, 1)
    with pytest.raises(DataError, match="All 40 training labels are 7: there is nothing to tell apart"):
        judge(x, np.full(40, 7), x, y)
    with pytest.raises(DataError, match=r"2 of 40 training labels are missing \(NaN.* first that of example 3"):
        judge(x, np.where(np.isin(np.arange(40), [3, 5]), np.nan, y), x, y)
    with pytest.raises(DataError, match="1 of 40 test labels are missing"):
        judge(x, y, x, [None, *y[1:].tolist()])
    with pytest.raises(DataError, match="continuous"):
        judge(x, y + 0.5, x, y)
    with pytest.raises(ShapeError, match=r"training labels should have the shape \(40,\)"):
        judge(x, y[:-1], x, y)
    with pytest.raises(ShapeError, match="as many columns, and have 2 and 1"):
        judge(x, y, x[:, :1], y)
    with pytest.raises(DataError, match="test codes of 40 of 40 examples are NaN"):
        judge(x, y, x * np.nan, y)
    with pytest.raises(DataError, match="None of the test labels"):
        judge(x, y, x, np.array(["a", "b", "c"])[y])


def test_more_neighbours_than_examples_are_refused() -> None:
    x, y = clusters(9, 1)
    with pytest.raises(DataError, match="10 nearest neighbours need at least 10 training examples, and 9 were given"):
        knn_correct(x, y, x, y)
    with pytest.raises(ConfigError, match="k should be a number of at least 1"):
        knn_correct(x, y, x, y, k=0)
