"""Scores against closed forms: a linear-Gaussian model, whose likelihood is that of probabilistic PCA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import xlogy
from scipy.stats import multivariate_normal

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError
from diabolo.latent.anomalies import SCORES
from diabolo.metrics import measure_model
from diabolo.models.distributions import Bernoulli, Gaussian, Laplace
from diabolo.models.model import build_model
from diabolo.models.preprocess import Preprocess

D, LATENT, VARIANCE = 5, 2, 0.3


def linear_gaussian(posterior_scale: float = 1.0) -> tuple[Autoencoder, np.ndarray, np.ndarray]:
    """x = W z + b + noise, with its exact posterior (times a factor in its deviation); (model, x, exact -log p(x))."""
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((D, LATENT)), rng.standard_normal(D)
    z = rng.standard_normal((400, LATENT))
    x = (z @ w.T + b + np.sqrt(VARIANCE) * rng.standard_normal((400, D))).astype(np.float32)
    preprocess = Preprocess.fit(x, "F", np.arange(len(x)), "none")
    options = {"likelihood": {"variance": VARIANCE}}
    model = build_model(
        preprocess, model="vae", network="linear", likelihood="gaussian", latent_dim=LATENT, options=options
    )
    # Tipping & Bishop 1999: q(z | x) = N(M^-1 W'(x - b), v M^-1), M = W'W + v I; W is turned so that M is diagonal.
    values, turn = np.linalg.eigh(w.T @ w)
    w = w @ turn
    m = values + VARIANCE
    gain = (w / m).T
    encoder, decoder = (
        [part for part in half.modules() if isinstance(part, torch.nn.Linear)]
        for half in (model.encoder, model.decoder)
    )
    assert len(encoder) == len(decoder) == 1
    with torch.no_grad():
        encoder[0].weight.copy_(torch.from_numpy(np.concatenate([gain, np.zeros_like(gain)])))
        spread = np.log(VARIANCE / m) + 2 * np.log(posterior_scale)
        encoder[0].bias.copy_(torch.from_numpy(np.concatenate([-gain @ b, spread])))
        decoder[0].weight.copy_(torch.from_numpy(w))
        decoder[0].bias.copy_(torch.from_numpy(b))
    exact = -multivariate_normal(b, w @ w.T + VARIANCE * np.eye(D)).logpdf(x)
    return Autoencoder(model), x, exact


def test_with_the_exact_posterior_the_bound_and_the_likelihood_are_exact() -> None:
    model, x, exact = linear_gaussian()
    np.testing.assert_allclose(model.score(x, kind="likelihood", draws=3), exact, atol=2e-4)
    # Each code's log weight is log p(x) itself; the bound has the KL in closed form and only the error is drawn.
    np.testing.assert_allclose(model.score(x, kind="elbo", draws=4000).mean(), exact.mean(), atol=0.05)


def test_the_likelihood_converges_from_above() -> None:
    model, x, exact = linear_gaussian(posterior_scale=1.6)
    found = [
        np.mean([model.score(x, kind="likelihood", draws=draws, seed=seed).mean() for seed in range(40)])
        for draws in (1, 5, 50)
    ]
    assert found[0] > found[1] > found[2] > exact.mean() - 0.01
    assert found[0] > exact.mean() + 0.1
    one = model.score(x, kind="likelihood", draws=3000).mean()
    assert one == pytest.approx(exact.mean(), abs=0.02)


def test_evaluate_reports_the_exact_likelihood_within_its_error() -> None:
    model, x, exact = linear_gaussian(posterior_scale=1.6)
    card = measure_model(model, x, metrics=["bounds"], samples=1000)
    nll = card["nll"].estimate
    assert nll.value == pytest.approx(exact.mean(), abs=4 * card.details["nll_sampling_error"])
    steps = list(card.details["nll_by_samples"].values())
    assert steps[0] > steps[1] > steps[-1]
    assert card["elbo"].estimate.value > nll.value
    assert nll.standard_error == pytest.approx(exact.std() / np.sqrt(len(x)), rel=0.2)
    bits = exact.mean() / (D * np.log(2))
    assert card["bits_per_dim"].estimate.value == pytest.approx(bits, rel=0.01)


def test_the_kl_is_torch_s_own() -> None:
    model, x, _ = linear_gaussian(posterior_scale=1.6)
    code = model.model.encode(model.model.prepare(torch.from_numpy(x)))
    q = torch.distributions.Normal(code.mean, torch.exp(0.5 * code.log_variance))  # type: ignore[attr-defined]
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean().item()
    card = measure_model(model, x, metrics=["kl"])
    assert card["kl"].estimate.value == pytest.approx(expected, rel=1e-5)
    assert sum(card.details["kl_per_dimension"]) == pytest.approx(expected, rel=1e-5)
    z = torch.randn(len(x), LATENT)
    torch.testing.assert_close(code.log_prob(z), q.log_prob(z).sum(1))


@pytest.mark.parametrize("kind", ["reconstruction", "elbo", "likelihood", "latent"])
def test_an_example_s_score_depends_on_nothing_else(kind: str) -> None:
    model, x, _ = linear_gaussian(1.3)
    model.fit_statistics(x)
    together = model.score(x, kind=kind)
    np.testing.assert_allclose(together[7:8], model.score(x[7:8], kind=kind), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(together, model.score(x, kind=kind))


def test_surprise_is_the_score_above_the_best_that_could_be() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(0, 1, (2, 3, 4))).float()
    output = torch.from_numpy(rng.standard_normal((2, 3, 4))).float()
    logit = torch.logit(x)
    for likelihood, best in (
        (Bernoulli(), logit),
        (Bernoulli(inputs="probabilities"), x),
        (Gaussian(variance=0.2), x),
        (Gaussian(variance=0.2, output="sigmoid"), logit),
        (Laplace(scale=0.7), x),
    ):
        given = torch.sigmoid(output) if getattr(likelihood, "inputs", "") == "probabilities" else output
        found = likelihood.surprise(given, x)
        assert found.shape == x.shape
        assert found.min() >= -1e-6
        expected = likelihood.log_prob(best, x) - likelihood.log_prob(given, x)
        torch.testing.assert_close(found.flatten(1).sum(1).float(), expected.float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(likelihood.surprise(best, x), torch.zeros_like(x), rtol=0, atol=1e-5)


def test_a_score_that_cannot_be_is_refused(pictures: np.ndarray) -> None:
    model, x, _ = linear_gaussian()
    with pytest.raises(ConfigError, match="Did you mean 'likelihood'"):
        model.score(x, kind="likelyhood")
    with pytest.raises(ConfigError, match="statistics of the training codes"):
        model.score(x, kind="latent")
    with pytest.raises(ConfigError, match="draws should be 0 or left out"):
        model.score(x, kind="reconstruction", draws=4)
    with pytest.raises(ConfigError, match="at least 1 for the score 'likelihood'"):
        model.score(x, kind="likelihood", draws=0)
    plain = diabolo.train(pictures, layout="HW", epochs=1, latent_dim=2)
    for kind in ("elbo", "likelihood"):
        with pytest.raises(ConfigError, match="are points"):
            plain.score(pictures, kind=kind)
    np.testing.assert_array_equal(plain.score(pictures), plain.score(pictures, kind="reconstruction"))
    assert plain.statistics is not None
    assert plain.score(pictures, kind="latent").shape == (len(pictures),)


@pytest.mark.parametrize("likelihood", ["auto", "bernoulli"])
def test_the_score_surprise_is_the_sum_of_the_heat_map(pictures: np.ndarray, likelihood: str) -> None:
    model = diabolo.train(pictures, layout="HW", latent_dim=3, epochs=1, seed=0, likelihood=likelihood)
    heat = model.surprise(pictures).sum((1, 2), dtype=np.float64)
    np.testing.assert_allclose(model.score(pictures, kind="surprise"), heat, rtol=1e-6)
    if likelihood == "bernoulli":
        grey = pictures / 255
        least = -(xlogy(grey, grey) + xlogy(1 - grey, 1 - grey)).sum((1, 2))
    else:
        assert isinstance(model.model.likelihood, Gaussian)
        least = 32 * (np.log(2 * np.pi) + model.model.likelihood.log_spread.item())
    np.testing.assert_allclose(model.score(pictures) - least, heat, rtol=1e-4)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("kind", SCORES)
def test_an_example_s_score_is_the_same_beside_any_others(pictures: np.ndarray, network: str, kind: str) -> None:
    model = diabolo.train(
        pictures, layout="HW", model="vae", network=network, latent_dim=3, epochs=1, seed=0, validation=0.0, test=0.0
    )
    together = model.score(pictures, kind=kind)
    codes = model.encode(pictures)
    for count in (1, 2, 7, 16, 33):
        np.testing.assert_array_equal(model.score(pictures[5 : 5 + count], kind=kind), together[5 : 5 + count])
        np.testing.assert_array_equal(model.encode(pictures[5 : 5 + count]), codes[5 : 5 + count])
