"""Importance-weighted bounds: their values and gradients where both are known, and what each estimator reaches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from diabolo.errors import ConfigError
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives import Batch
from diabolo.models.objectives._importance import FARTHEST, log_mean_weight, shares_of
from diabolo.models.objectives.iwae import IWAE
from diabolo.models.objectives.vae import VAE
from diabolo.models.priors.own import StandardNormal

X = 1.3
BOUNDS = {1: -2.3033, 5: -1.7441, 50: -1.6909, 500: -1.6854}  # of `Linear`; log p(x) is -1.68544


class Linear:
    """z ~ N(0, 1), x | z ~ N(0.7 z, 1), and q(z | x) = N(-0.1, 1.25^2), in as many rows as wanted."""

    epoch = math.inf

    def __init__(self, rows: int, seed: int = 0) -> None:
        self.mean = torch.full((rows, 1), -0.1, requires_grad=True)
        self.log_variance = torch.full((rows, 1), 2 * math.log(1.25), requires_grad=True)
        self.slope = torch.full((rows, 1), 0.7, requires_grad=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.encodings = 0
        self.batch = Batch(torch.full((rows, 1), X))

    def encode(self, x: Tensor, y: Tensor | None = None) -> DiagonalGaussian:
        self.encodings += 1
        return DiagonalGaussian(self.mean, self.log_variance)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z * self.slope.repeat(len(z) // len(self.slope), 1)

    def prior(self, y: Tensor | None = None) -> StandardNormal:
        return StandardNormal(1)

    def log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        return -0.5 * ((x - output).square() + math.log(2 * math.pi)).sum(1)

    def gradients(self, total: Tensor) -> Tensor:
        """Of each row by the mean and the log-variance of q, and by the decoder's slope: (rows, 3)."""
        return torch.cat(torch.autograd.grad(total.sum(), [self.mean, self.log_variance, self.slope]), 1)

    def logs(self, draws: int, repeats: int = 1) -> Tensor:
        """Log w of the codes that a variant draws, (repeats, draws, rows), with all of their gradients."""
        posterior = self.encode(self.batch.x)
        rows = []
        for _ in range(repeats * draws):
            z = posterior.sample(self.generator)
            joint = self.log_likelihood(self.decode(z), self.batch.x) + StandardNormal(1).log_prob(z)
            rows.append(joint - posterior.log_prob(z))
        return torch.stack(rows).view(repeats, draws, -1)


def total(variant: VAE | IWAE, net: Linear) -> Tensor:
    terms: Any = variant.loss(net.batch, net).terms
    return terms["reconstruction"] + terms["kl"]


# --- values -----------------------------------------------------------------------------------------------------------


def test_the_bounds_of_a_linear_gaussian_rise_to_its_likelihood() -> None:
    for k, bound in BOUNDS.items():
        net = Linear({1: 1_000_000, 5: 400_000, 50: 60_000, 500: 5_000}[k], seed=k)
        with torch.no_grad():
            values = -total(IWAE(draws=k).eval(), net)
        assert values.mean().item() == pytest.approx(bound, abs=0.003)


def test_terms_are_averages_under_the_weights_and_sum_to_the_bound() -> None:
    net, again = Linear(64), Linear(64)
    loss = IWAE(draws=4).loss(net.batch, net)
    logs = again.logs(4)[0]
    torch.testing.assert_close(loss.terms["reconstruction"] + loss.terms["kl"], -log_mean_weight(logs))
    generator = torch.Generator().manual_seed(0)
    codes = [DiagonalGaussian(net.mean, net.log_variance).sample(generator) for _ in range(4)]
    errors = torch.stack([-net.log_likelihood(net.decode(z), net.batch.x) for z in codes])
    torch.testing.assert_close(loss.terms["reconstruction"], (torch.softmax(logs, 0) * errors).sum(0))
    assert net.encodings == 1, "the encoder runs once"


def test_repeats_average_bounds_and_not_weights() -> None:
    net, again = Linear(64), Linear(64)
    found, logs = total(IWAE(draws=5, repeats=3), net), again.logs(5, 3)
    expected = -torch.stack([log_mean_weight(one) for one in logs]).mean(0)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, -log_mean_weight(logs.flatten(0, 1))), "15 draws are another bound"
    swapped = -torch.stack([log_mean_weight(one) for one in logs.view(5, 3, -1)]).mean(0)
    assert not torch.allclose(found, swapped), "and so are 5 of 3"


def test_it_is_evaluated_by_one_bound_of_its_draws() -> None:
    net, again = Linear(64), Linear(64)
    torch.testing.assert_close(total(IWAE(draws=5, repeats=3).eval(), net), -log_mean_weight(again.logs(5)[0]))


def test_far_fewer_nats_are_no_problem() -> None:
    logs = torch.tensor([[[0.0], [-1.0]], [[-3000.0], [-3001.0]]])
    for estimator in ("iwae", "dreg", "piwae", "ciwae"):
        shares = shares_of(logs, estimator, 0.5)
        assert all(part is None or part.isfinite().all() for part in shares), estimator
    passed = shares_of(logs, "piwae", 0.5).passed
    assert passed is not None
    assert passed.max().item() == pytest.approx(math.exp(FARTHEST))


# --- gradients --------------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_logarithm_of_the_average() -> None:
    for repeats in (1, 3):
        net, again = Linear(64), Linear(64)
        found = net.gradients(total(IWAE(draws=4, repeats=repeats), net))
        logs = again.logs(4, repeats)
        expected = again.gradients(-torch.stack([log_mean_weight(one) for one in logs]).mean(0))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_dreg_has_the_same_gradient_on_average_and_less_noise_for_the_encoder() -> None:
    found = {}
    for estimator in ("iwae", "dreg"):
        net = Linear(400_000, seed=1)
        found[estimator] = net.gradients(total(IWAE(draws=5, estimator=estimator), net))
    plain, double = found["iwae"], found["dreg"]
    error = ((plain.var(0) + double.var(0)) / len(plain)).sqrt()
    assert ((plain.mean(0) - double.mean(0)).abs() < 4 * error).all()
    assert (plain[:, :2].mean(0).abs() > 10 * error[:2]).all(), "there is something to compare"
    assert (double[:, :2].var(0) < 0.7 * plain[:, :2].var(0)).all()
    torch.testing.assert_close(plain[:, 2], double[:, 2], rtol=1e-4, atol=1e-5)


def test_dreg_keeps_its_signal_where_iwae_drowns() -> None:
    """Rainforth et al. 2018: signal to noise of the encoder's gradient falls as 1 / sqrt(K), and rises with dreg."""
    ratios: dict[str, list[float]] = {"iwae": [], "dreg": []}
    for estimator, found in ratios.items():
        for k in (2, 64):
            net = Linear(20_000, seed=2)
            gradient = net.gradients(total(IWAE(draws=k, estimator=estimator), net))[:, 0]
            found.append((gradient.mean().abs() / gradient.std()).item())
    assert ratios["iwae"][1] < ratios["iwae"][0] < ratios["dreg"][1]
    assert ratios["dreg"][1] > ratios["dreg"][0]


def test_dreg_squares_the_weights_where_they_are_known() -> None:
    net, again = Linear(64), Linear(64)
    found = net.gradients(total(IWAE(draws=3, estimator="dreg"), net))
    posterior, rows = again.encode(again.batch.x), []
    for _ in range(3):
        z = posterior.sample(again.generator)
        joint = again.log_likelihood(z * 0.7, again.batch.x) + StandardNormal(1).log_prob(z)
        rows.append(joint - posterior.detached().log_prob(z))  # type: ignore[attr-defined]
    logs = torch.stack(rows)
    squares = torch.softmax(logs.detach(), 0).square()
    expected = torch.autograd.grad(-(squares * logs).sum(), [again.mean, again.log_variance])
    torch.testing.assert_close(found[:, :2], torch.cat(expected, 1), rtol=1e-4, atol=1e-5)


def test_piwae_teaches_the_decoder_all_weights_and_the_encoder_those_of_each_repeat() -> None:
    net, several, together = Linear(64), Linear(64), Linear(64)
    variant = IWAE(draws=4, repeats=3, estimator="piwae")
    values = total(variant, net)
    found = net.gradients(values)
    logs = together.logs(12)[0]
    torch.testing.assert_close(values, -log_mean_weight(logs))
    torch.testing.assert_close(found[:, 2], together.gradients(-log_mean_weight(logs))[:, 2], rtol=1e-4, atol=1e-5)
    miwae = several.gradients(total(IWAE(draws=4, repeats=3), several))
    torch.testing.assert_close(found[:, :2], miwae[:, :2], rtol=1e-4, atol=1e-5)


def test_ciwae_is_a_mixture_with_the_plain_bound() -> None:
    for share in (0.0, 0.05, 1.0):
        net, again = Linear(64), Linear(64)
        values = total(IWAE(draws=4, estimator="ciwae", share=share), net)
        logs = again.logs(4)[0]
        expected = -share * logs.mean(0) - (1 - share) * log_mean_weight(logs)
        torch.testing.assert_close(values, expected)
        torch.testing.assert_close(net.gradients(values), again.gradients(expected), rtol=1e-4, atol=1e-5)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws should be a number of at least 1"),
        ({"repeats": 0}, "repeats should be a number of bounds of at least 1"),
        ({"share": 1.5}, "share should be a number from 0 to 1"),
        ({"estimator": "vimco"}, "estimator should be iwae . dreg . piwae . ciwae"),
    ],
)
def test_what_it_does_not_take(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IWAE(**options)


def test_a_weighted_sum_that_has_the_bound_s_gradient_is_no_bound() -> None:
    """What pythae prints for the loss: sum of v log w, v = w / sum w."""
    net = Linear(20_000)
    logs = net.logs(5)[0].detach()
    shares = torch.softmax(logs, 0)
    printed, bound = (shares * logs).sum(0), log_mean_weight(logs)
    entropy = -torch.xlogy(shares, shares).sum(0)
    torch.testing.assert_close(printed - bound, math.log(5) - entropy, rtol=1e-4, atol=1e-5)
    assert bound.mean() < -1.68544 < printed.mean(), "log p(x) lies between"
