"""Errors of means, and how far images are from their originals, against scikit-image and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.metrics import Estimate, bootstrap, paired_difference, psnr, squared_error, ssim

rng = np.random.default_rng(0)


def noisy(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(shape)
    x = drawn.random(shape)
    return x, np.clip(x + 0.2 * drawn.standard_normal(shape), 0, 1)


# Means and their errors.


def test_the_bootstrap_gives_the_mean_its_deviation_and_its_interval() -> None:
    values = np.random.default_rng(1).standard_normal(4000) * 3 + 7
    found = bootstrap(values)
    error = values.std(ddof=1) / math.sqrt(4000)
    assert found.value == pytest.approx(values.mean(), abs=1e-12)
    assert found.standard_error == pytest.approx(error, rel=1e-12)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert found.count == 4000


def test_the_interval_covers_the_mean_as_often_as_its_level_says() -> None:
    drawn = np.random.default_rng(2)
    covered = 0
    for seed in range(300):
        found = bootstrap(drawn.exponential(size=100), resamples=400, level=0.8, seed=seed)
        covered += found.low <= 1 <= found.high
    assert 0.72 < covered / 300 < 0.86


def test_many_examples_are_drawn_in_groups_with_the_same_error() -> None:
    values = np.random.default_rng(3).exponential(size=50_001)
    found = bootstrap(np.sort(values), resamples=300)
    assert found.value == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(50_001))
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(found.standard_error, rel=0.15)


def test_the_bootstrap_is_skewed_where_the_values_are() -> None:
    found = bootstrap(np.r_[np.zeros(29), 1.0], resamples=5000)
    assert found.low == 0
    assert found.high - found.value > 1.3 * (found.value - found.low)


def test_the_same_seed_gives_the_same_interval_and_leaves_numpys_own_state() -> None:
    values = rng.random(50)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 (that is the state that must stay)
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4)
    assert bootstrap(values, seed=4) != bootstrap(values, seed=5)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_one_example_has_an_infinite_error() -> None:
    assert bootstrap([2.5]) == Estimate(2.5, -math.inf, math.inf, math.inf, 1)


def test_a_paired_difference_sees_what_the_means_do_not() -> None:
    hard = 10 * rng.standard_normal(500)
    a, b = hard + 0.1 * rng.standard_normal(500) + 0.05, hard + 0.1 * rng.standard_normal(500)
    found = paired_difference(a, b)
    assert found.low > 0
    assert found.value == pytest.approx((a - b).mean())
    assert bootstrap(a).low < bootstrap(b).high
    assert bootstrap(a).standard_error > 30 * found.standard_error


def test_numbers_without_a_mean_are_refused() -> None:
    with pytest.raises(DataError, match="numbers of 1 of 3 examples are NaN or infinite"):
        bootstrap([1.0, np.nan, 2.0])
    with pytest.raises(ShapeError, match=r"at least one example, and have the shape \(0,\)"):
        bootstrap([])
    with pytest.raises(ShapeError, match=r"shape \(n,\), one for each example, and have \(2, 2\)"):
        bootstrap(np.ones((2, 2)))
    with pytest.raises(ShapeError, match=r"the same shape, one entry for each example, and have \(3,\) and \(2,\)"):
        paired_difference(np.ones(3), np.ones(2))
    with pytest.raises(ConfigError, match="level should be a number between 0 and 1, and was given 95"):
        bootstrap([1.0, 2.0], level=95)


# Squared error and PSNR.


def test_the_squared_error_is_per_value() -> None:
    x, y = noisy(7, 6, 5, 3)
    assert squared_error(x, y) == pytest.approx([((a - b) ** 2).mean() for a, b in zip(x, y, strict=True)])
    assert squared_error(np.zeros((2, 4)), np.full((2, 4), 3.0)).tolist() == [9, 9]


def test_the_squared_error_of_bytes_does_not_wrap() -> None:
    assert squared_error(np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 255, np.uint8)).tolist() == [255.0**2]


def test_more_examples_than_fit_a_chunk_come_out_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = noisy(23, 12, 12)
    whole = squared_error(x, y), ssim(x, y, "HW")
    monkeypatch.setattr("diabolo.metrics._pixels.CHUNK", 5 * 144)
    np.testing.assert_array_equal(squared_error(x, y), whole[0])
    np.testing.assert_allclose(ssim(x, y, "HW"), whole[1], rtol=1e-12)


def test_psnr_equals_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = noisy(5, 16, 16)
    expected = [metrics.peak_signal_noise_ratio(a, b, data_range=2.0) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(psnr(x, y, peak=2.0), expected, rtol=1e-12)


def test_psnr_of_images_that_are_the_same_is_capped_without_a_warning() -> None:
    x = rng.random((3, 8, 8))
    assert psnr(x, x).tolist() == [100, 100, 100]
    assert psnr(x, x, cap=60).tolist() == [60, 60, 60]
    assert psnr(x, x, cap=math.inf).tolist() == [math.inf] * 3


# SSIM.


def reference(x: np.ndarray, y: np.ndarray, axis: int | None, sigma: float = 1.5, peak: float = 1.0) -> list[float]:
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    options = {"gaussian_weights": True, "sigma": sigma, "use_sample_covariance": False, "data_range": peak}
    return [similarity(a, b, channel_axis=axis, **options) for a, b in zip(x, y, strict=True)]


@pytest.mark.parametrize(
    ("layout", "shape", "axis"),
    [
        ("HW", (4, 28, 28), None),
        ("HW", (4, 11, 37), None),
        ("HWC", (4, 20, 15, 3), -1),
        ("HWC", (4, 20, 15, 1), -1),
        ("CHW", (4, 3, 12, 20), 0),
    ],
)
def test_ssim_equals_scikit_images(layout: str, shape: tuple[int, ...], axis: int | None) -> None:
    x, y = noisy(*shape)
    np.testing.assert_allclose(ssim(x, y, layout), reference(x, y, axis), atol=1e-9)
    np.testing.assert_allclose(ssim(9 * x, 9 * y, layout, peak=9), reference(9 * x, 9 * y, axis, peak=9), atol=1e-9)


@pytest.mark.parametrize(("side", "sigma"), [(10, 1.2), (9, 1.2), (8, 0.9), (5, 0.6), (3, 0.3)])
def test_ssim_of_small_images_takes_a_smaller_window(side: int, sigma: float) -> None:
    x, y = noisy(6, side, side + 2)
    np.testing.assert_allclose(ssim(x, y, "HW"), reference(x, y, None, sigma=sigma), atol=1e-9)


def test_ssim_of_real_digits_is_that_of_scikit_image() -> None:
    from sklearn.datasets import load_digits

    x = load_digits().images[:50] / 16
    blurred = (x + np.roll(x, 1, 1)) / 2
    found = ssim(x, blurred, "HW")
    np.testing.assert_allclose(found, reference(x, blurred, None, sigma=0.9), atol=1e-9)
    assert 0.2 < found.mean() < 0.95


def test_ssim_is_one_for_the_same_image_even_a_flat_one() -> None:
    x = np.concatenate([rng.random((2, 16, 16)), np.zeros((1, 16, 16)), np.ones((1, 16, 16))])
    np.testing.assert_allclose(ssim(x.astype(np.float32), x.astype(np.float32), "HW"), 1, rtol=1e-12)


def test_images_that_ssim_cannot_compare_are_refused() -> None:
    x = rng.random((3, 8, 8))
    with pytest.raises(ShapeError, match="layout F and the shape"):
        ssim(x, x, "F")
    with pytest.raises(ShapeError, match="layout HWC and the shape"):
        ssim(x, x, "HWC")
    with pytest.raises(ShapeError, match="at least 3 x 3 pixels, and these have 8 x 2"):
        ssim(x[:, :, :2], x[:, :, :2], "HW")
    with pytest.raises(ShapeError, match=r"have \(3, 8, 8\) and \(2, 8, 8\)"):
        ssim(x, x[:2], "HW")
    with pytest.raises(DataError, match="images of 1 of 3 examples are NaN or infinite"):
        ssim(x, np.where(np.arange(3)[:, None, None] == 1, np.nan, x), "HW")
    with pytest.raises(ConfigError, match="peak should be a positive number, and was given 0"):
        psnr(x, x, peak=0)
    with pytest.raises(DataError, match="array of numbers"):
        squared_error(np.array([["a"]]), np.array([["b"]]))
