"""Distances between codes and a prior, and the variants that hold them small: wae and infovae."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

import diabolo
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives._distances import SCALES, _directions, cramer_wold, mmd, sliced
from diabolo.models.objectives.infovae import InfoVAE
from diabolo.models.objectives.wae import WAE
from test_variants import BATCH, Frozen, posterior, seeded


def sample(count: int, dims: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dims, generator=seeded(seed))


# --- maximum mean discrepancy -----------------------------------------------------------------------------------------


def test_the_discrepancy_is_its_definition_over_pairs() -> None:
    x, y = sample(5, 3), sample(5, 3, 1) + 1

    def kernel(a: Tensor, b: Tensor) -> float:
        return sum(6 * scale / (6 * scale + (a - b).square().sum().item()) for scale in SCALES)

    pairs = [(i, j) for i in range(5) for j in range(5)]
    own = sum((kernel(x[i], x[j]) + kernel(y[i], y[j])) / 20 for i, j in pairs if i != j)
    assert mmd(x, y).item() == pytest.approx(own - 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / 25, abs=1e-5)


def test_the_discrepancy_of_a_set_with_itself_is_what_the_diagonal_takes_away() -> None:
    x = sample(50, 4)
    pairs = torch.cdist(x, x).square()
    mean = sum((8 * scale / (8 * scale + pairs)).mean().item() for scale in SCALES)
    biased = mmd(x, x) + 2 * (len(SCALES) - mean) / 49  # the diagonal counted: k(x, x) = 7
    assert biased.item() == pytest.approx(0, abs=1e-5)


def test_the_discrepancy_is_unbiased_and_is_not_cut_at_zero() -> None:
    same = torch.stack([mmd(sample(20, 2, seed), sample(20, 2, seed + 1000)) for seed in range(300)])
    assert same.mean().item() == pytest.approx(0, abs=4 * same.std().item() / math.sqrt(300))
    assert 0.3 < (same < 0).float().mean().item() < 0.9
    assert mmd(sample(200, 2), sample(200, 2, 1) + 1) > 0.3


def test_the_order_of_codes_does_not_matter() -> None:
    x, y, order = sample(30, 3), sample(30, 3, 1) * 2, torch.randperm(30, generator=seeded(2))
    assert mmd(x[order], y).item() == pytest.approx(mmd(x, y).item(), abs=1e-5)
    assert cramer_wold(x[order]).item() == pytest.approx(cramer_wold(x).item(), rel=1e-5)
    assert sliced(x[order], y, 9, seeded()).item() == pytest.approx(sliced(x, y, 9, seeded()).item(), rel=1e-5)


def test_equal_codes_have_gradients() -> None:
    x = torch.zeros(6, 3, requires_grad=True)
    for distance in (mmd(x, sample(6, 3)), sliced(x, sample(6, 3), 5, seeded()), cramer_wold(x)):
        (gradient,) = torch.autograd.grad(distance, x)
        assert gradient.isfinite().all()


# --- sliced -----------------------------------------------------------------------------------------------------------


def test_in_one_dimension_it_is_the_distance_of_the_sorted() -> None:
    x, y = sample(40, 1), 3 * sample(40, 1, 1) + 2
    exact = np.square(np.sort(x[:, 0].numpy()) - np.sort(y[:, 0].numpy())).mean()
    assert sliced(x, y, 7, seeded()).item() == pytest.approx(float(exact), rel=1e-5)


def test_of_two_points_it_is_their_distance_over_the_dimensions() -> None:
    x, y = torch.zeros(4, 5), torch.full((4, 5), 2.0)
    assert sliced(x, y, 20_000, seeded()).item() == pytest.approx(20 / 5, rel=0.05)


# --- Cramer-Wold ------------------------------------------------------------------------------------------------------


def along(projected: np.ndarray) -> float:
    """The integral of the squared difference of the smoothed densities on a line."""
    width = (4 / (3 * len(projected))) ** 0.4

    def difference(at: float) -> float:
        smooth = stats.norm.pdf(at, projected, math.sqrt(width)).mean()
        return float((smooth - stats.norm.pdf(at, 0, math.sqrt(1 + width))) ** 2)

    return integrate.quad(difference, -12, 12, limit=60)[0]


def test_on_a_line_it_is_the_integral() -> None:
    x = 1.5 * sample(12, 1) - 0.5
    assert cramer_wold(x).item() == pytest.approx(along(x[:, 0].double().numpy()), rel=1e-4)


@pytest.mark.parametrize("dims", [2, 3, 8])
def test_it_is_the_average_over_directions(dims: int) -> None:
    x = (1.5 * sample(12, dims) + 0.5).double().numpy()
    directions = np.random.default_rng(0).standard_normal((30, dims))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    each = np.array([along(x @ direction) for direction in directions])
    assert cramer_wold(torch.from_numpy(x)).item() == pytest.approx(each.mean(), abs=4 * each.std() / math.sqrt(30))


def test_in_a_plane_it_has_a_bessel_function() -> None:
    x = sample(30, 2).double()
    width = (4 / 90) ** 0.4

    def smoothed(squares: Tensor, variance: float) -> Tensor:
        half = squares / (4 * variance)
        return torch.special.i0e(half).mean() / math.sqrt(2 * math.pi * variance)

    exact = smoothed(torch.cdist(x, x).square(), 2 * width) + 1 / math.sqrt(4 * math.pi * (1 + width))
    exact = exact - 2 * smoothed(x.square().sum(1), 1 + 2 * width)
    assert cramer_wold(x).item() == pytest.approx(exact.item(), rel=1e-4)


@pytest.mark.parametrize("dims", [2, 3, 8, 64, 512])
def test_the_average_over_directions_is_kummer_s_function(dims: int) -> None:
    for rate in (0.0, 0.1, 3.0, 100.0, 1e4):
        average = sum(weight * math.exp(-rate * squared) for squared, weight in _directions(dims))
        assert average == pytest.approx(special.hyp1f1(0.5, dims / 2, -rate), rel=1e-3)


@pytest.mark.parametrize("dims", [1, 2, 16, 256])
def test_codes_of_a_normal_distribution_are_nearer_than_others(dims: int) -> None:
    x = sample(300, dims)
    assert 0 < cramer_wold(x) < cramer_wold(1.3 * x)
    assert cramer_wold(x) < cramer_wold(x + 0.5)


# --- the variants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["mmd", "sliced", "cramer-wold"])
def test_a_trained_code_comes_near_the_prior(distance: Any) -> None:
    options = {"latent_dim": 2, "widths": (32,), "epochs": 10, "lr": 5e-3, "seed": 1, "variance": 0.05}
    far = diabolo.train("digits", model="autoencoder", **options)
    near = diabolo.train("digits", model="wae", distance=distance, weight=200.0, **options)
    codes = [torch.from_numpy(model.encode(diabolo.open_dataset("digits"), flat=True)) for model in (far, near)]
    drawn = sample(len(codes[0]), 2)
    assert mmd(codes[1], drawn) < 0.2 * mmd(codes[0], drawn)
    assert near.has_prior
    assert near.sample(3, seed=0).shape == (3, 8, 8)


def test_wae_s_terms() -> None:
    code = posterior()
    loss = WAE(weight=7.0, distance="cramer-wold").loss(BATCH, Frozen(code))
    torch.testing.assert_close(loss.total, loss.terms["reconstruction"].mean() + 7 * cramer_wold(code.mean).log())


def test_infovae_without_kl_is_a_stochastic_wae() -> None:
    code = posterior()
    loss = InfoVAE(alpha=1.0, strength=5.0).loss(BATCH, Frozen(code))
    generator = seeded(0)
    z = code.sample(generator)
    expected = mmd(z, torch.randn(6, 2, generator=generator))
    torch.testing.assert_close(loss.terms["mmd"], expected.expand(6))
    torch.testing.assert_close(loss.total, loss.terms["reconstruction"].mean() + 5 * expected)


def test_infovae_weighs_both() -> None:
    code: DiagonalGaussian = posterior()
    loss = InfoVAE(alpha=0.25, strength=3.0).loss(BATCH, Frozen(code))
    assert loss.weights == {"kl": 0.75, "mmd": 2.25}
