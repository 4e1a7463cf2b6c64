"""Disentanglement, on codes whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.metrics import dci, factor_vae_score, mig, sap

MEASURES: list[Callable[..., Any]] = [mig, dci, sap, factor_vae_score]

_rng = np.random.default_rng(0)
FACTORS = _rng.integers(0, 8, (2000, 4))
PERFECT = FACTORS * [1.0, -3.0, 0.1, 20.0] + 0.01 * _rng.standard_normal((2000, 4)) * [1, 3, 0.1, 20]
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
MIXED = (FACTORS + 0.01 * _rng.standard_normal((2000, 4))) @ HADAMARD
RANDOM = _rng.standard_normal((2000, 4))


def test_perfect_codes_score_as_high_as_there_is() -> None:
    assert mig(PERFECT, FACTORS) > 0.97
    assert sap(PERFECT, FACTORS) == pytest.approx(1 - 1 / 8, abs=0.03)
    assert factor_vae_score(PERFECT, FACTORS) == 1
    found = dci(PERFECT, FACTORS)
    assert found.disentanglement > 0.98
    assert found.completeness > 0.98
    assert found.informativeness > 0.99
    np.testing.assert_allclose(found.importance, np.eye(4), atol=0.02)


def test_mixed_codes_score_low_though_they_tell_much() -> None:
    assert mig(MIXED, FACTORS) < 0.1
    assert sap(MIXED, FACTORS) < 0.1
    assert factor_vae_score(MIXED, FACTORS) < 0.5
    found = dci(MIXED, FACTORS)
    assert found.disentanglement < 0.2
    assert found.completeness < 0.2
    assert found.informativeness > 0.3  # chance is 0.125


def test_random_codes_score_nothing() -> None:
    assert abs(mig(RANDOM, FACTORS)) < 0.02
    assert abs(sap(RANDOM, FACTORS)) < 0.03
    assert factor_vae_score(RANDOM, FACTORS) == pytest.approx(0.25, abs=0.05)
    found = dci(RANDOM, FACTORS)
    assert found.disentanglement < 0.02
    assert found.completeness < 0.02
    assert found.informativeness == pytest.approx(0.125, abs=0.04)


def test_the_mutual_information_gap_of_a_case_done_by_hand() -> None:
    """Four equal cells. z0 tells a wholly: log 2. z1 tells a with one error in four: 3 cells right."""
    a = np.tile([0, 0, 1, 1], 10)
    z0, z1 = a.copy(), np.tile([0, 1, 1, 1], 10)
    # H(z1) = H(1/4), H(z1 | a) = 1/2 log 2.
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    second = entropy - 0.5 * math.log(2)
    expected = (math.log(2) - second) / math.log(2)
    assert mig(np.stack([z0, z1], 1), a[:, None]) == pytest.approx(expected, abs=1e-12)
    assert mig(np.stack([z1, z0, np.zeros(40)], 1), a[:, None]) == pytest.approx(expected, abs=1e-12)
    assert mig(z1[:, None], a[:, None]) == pytest.approx(second / math.log(2), abs=1e-12)
    b = np.tile([0, 1], 20)
    # z0 is independent of b, z1 shares 1/4 of cases more: I(z1; b) = H(z1) - 1/2 log 2 as well.
    both = mig(np.stack([z0, z1], 1), np.stack([a, b], 1))
    assert both == pytest.approx((expected + second / math.log(2)) / 2, abs=1e-12)


def test_the_purities_of_dci_are_those_of_its_importances() -> None:
    from scipy.stats import entropy

    codes = np.stack([FACTORS[:, 0] + 0.3 * FACTORS[:, 1], FACTORS[:, 1], RANDOM[:, 0]], 1)
    found = dci(codes, FACTORS[:, :2])
    rows = 1 - entropy(found.importance, base=2, axis=1)
    columns = 1 - entropy(found.importance, base=3, axis=0)
    share = found.importance.sum(1) / found.importance.sum()
    assert found.disentanglement == pytest.approx(rows @ share)
    assert found.completeness == pytest.approx(columns.mean())
    np.testing.assert_allclose(found.importance.sum(0), 1)


def test_a_factor_in_two_dimensions_is_disentangled_and_incomplete() -> None:
    codes = np.stack([FACTORS[:, 0] // 4, FACTORS[:, 0] % 4, FACTORS[:, 1] // 4, FACTORS[:, 1] % 4], 1)
    found = dci(codes, FACTORS[:, :2])
    assert found.disentanglement > 0.95
    assert 0.4 < found.completeness < 0.7
    assert sap(codes, FACTORS[:, :2]) < 0.35


def test_two_factors_in_one_dimension_are_complete_and_entangled() -> None:
    found = dci(np.stack([8 * FACTORS[:, 0] + FACTORS[:, 1], RANDOM[:, 0]], 1), FACTORS[:, :2])
    assert found.completeness > 0.9
    assert found.disentanglement < 0.1


@pytest.mark.parametrize("measure", MEASURES)
def test_names_are_factors_too(measure: Callable[..., Any]) -> None:
    names = np.array(list("abcdefgh"))[FACTORS]
    expected, found = measure(PERFECT, FACTORS), measure(PERFECT, names)
    if measure is dci:
        expected, found = expected.disentanglement, found.disentanglement
    assert found == expected


@pytest.mark.parametrize("measure", [dci, sap, factor_vae_score])
def test_the_same_seed_gives_the_same_score(measure: Callable[..., Any]) -> None:
    def score(seed: int) -> float:
        found = measure(MIXED[:300], FACTORS[:300], seed=seed)
        return found.informativeness if measure is dci else found

    assert score(1) == score(1)
    assert len({score(seed) for seed in range(4)}) > 1


def test_dimensions_that_collapsed_have_no_vote() -> None:
    dead = np.concatenate([np.zeros((2000, 2)), 1e-9 * RANDOM[:, :1], PERFECT], 1)
    assert factor_vae_score(dead, FACTORS) == 1


def test_dimensions_of_little_variance_can_be_left_out_of_the_vote() -> None:
    weak = 0.1 * FACTORS + 1e-3 * RANDOM
    assert factor_vae_score(weak, FACTORS, threshold=0.04) == 1
    with pytest.raises(DataError, match=r"All codes are the same, up to a variance of 0\.05"):
        factor_vae_score(weak, FACTORS, threshold=0.1)


def test_a_value_that_stands_alone_casts_no_vote() -> None:
    factors = FACTORS.copy()
    factors[:50, 3] = np.arange(100, 150)
    codes = PERFECT.copy()
    codes[:, 3] = factors[:, 3]
    assert factor_vae_score(codes, factors) == 1


def test_one_dimension_and_one_factor_can_be_measured() -> None:
    codes, factors = PERFECT[:, :1], FACTORS[:, :1]
    assert mig(codes, factors) > 0.97
    assert sap(codes, factors) > 0.97
    assert factor_vae_score(codes, factors) == 1
    found = dci(codes, factors)
    assert (found.disentanglement, found.completeness) == (1, 1)


def test_codes_that_are_constant_score_nothing() -> None:
    codes = np.zeros((2000, 3))
    assert mig(codes, FACTORS) == 0
    assert sap(codes, FACTORS) == 0
    found = dci(codes, FACTORS)
    assert (found.disentanglement, found.completeness) == (0, 0)
    with pytest.raises(DataError, match="All codes are the same"):
        factor_vae_score(codes, FACTORS)


@pytest.mark.parametrize("measure", MEASURES)
def test_factors_that_cannot_be_used_are_refused(measure: Callable[..., Any]) -> None:
    codes, factors = PERFECT[:40], FACTORS[:40]
    with pytest.raises(DataError, match=r"1 of 40 values of factor 2 are missing .* first that of example 5"):
        measure(codes, np.where((np.arange(40)[:, None] == 5) & (np.arange(4) == 2), np.nan, factors))
    with pytest.raises(DataError, match="Factor 1 has the same value, 3, in all 40 examples: leave it out"):
        measure(codes, np.where(np.arange(4) == 1, 3, factors))
    with pytest.raises(DataError, match="values of factor 0 should be classes, and are continuous"):
        measure(codes, factors + 0.5)
    with pytest.raises(DataError, match="Factor 0 has 40 different values in 40 examples"):
        measure(codes, np.arange(40)[:, None])
    with pytest.raises(ShapeError, match=r"factors should have the shape \(40, F\).* and have \(39, 4\)"):
        measure(codes, factors[:-1])
    with pytest.raises(ShapeError, match=r"have \(40,\)"):
        measure(codes, factors[:, 0])
    with pytest.raises(DataError, match="at least 10 examples, and 9 were given"):
        measure(codes[:9], factors[:9])
    with pytest.raises(DataError, match="codes of 40 of 40 examples are NaN"):
        measure(codes * np.inf, factors)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="bins should be a number of at least 2, and was given 1"):
        mig(PERFECT, FACTORS, bins=1)
    with pytest.raises(ConfigError, match="batch should be a number of at least 2"):
        factor_vae_score(PERFECT, FACTORS, batch=1)
    with pytest.raises(ConfigError, match="seed should be"):
        dci(PERFECT, FACTORS, seed=-1)
