"""The optimal variance of a Gaussian, in training and after, and Student's t with its degrees of freedom."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import StudentT as TorchStudentT

import diabolo
from diabolo.errors import ConfigError
from diabolo.models import Gaussian, Preprocess, StudentT, build_model
from diabolo.models.distributions import KEPT


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


# --- the optimal variance ---------------------------------------------------------------------------------------------


def test_in_training_a_batch_costs_the_logarithm_of_its_error() -> None:
    output, x = normal(6, 2, 5).double().float().requires_grad_(), normal(6, 2, 5, seed=1)
    nats = -Gaussian(variance="optimal").log_prob(output, x)
    error = (output - x).square().mean()
    expected = 10 / 2 * (math.log(2 * math.pi) + 1 + error.log())
    assert nats.shape == (6,)
    torch.testing.assert_close(nats.mean(), expected)
    found = torch.autograd.grad(nats.mean(), output)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected, output)[0])
    torch.testing.assert_close(-Gaussian(variance="optimal").log_prob_each(output, x).flatten(1).sum(1), nats)


def test_no_other_variance_is_better_for_the_batch() -> None:
    output, x = normal(6, 5), normal(6, 5, seed=1)
    error = (output - x).square().mean().item()
    best = Gaussian(variance="optimal").log_prob(output, x).mean()
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert best > Gaussian(variance=factor * error).log_prob(output, x).mean()


def test_out_of_training_an_example_does_not_depend_on_its_neighbours() -> None:
    made = Gaussian(variance="optimal")
    made.start_at(0.25)
    made.eval()
    output, x = normal(6, 5), normal(6, 5, seed=1)
    torch.testing.assert_close(made.log_prob(output, x), Gaussian(variance=0.25).log_prob(output, x))


def test_the_variance_of_evaluations_is_an_average_over_steps() -> None:
    made, x = Gaussian(variance="optimal"), torch.zeros(8, 3)
    made.start_at(7.0)
    made.update(made.statistics(torch.full((8, 3), 1.0), x))
    assert made.log_spread.item() == 0, "that of the first step is all there is"
    made.update(made.statistics(torch.full((8, 3), 0.5), x))
    assert made.log_spread.item() == pytest.approx(math.log(0.25) / 2)
    made.get_buffer("steps").fill_(1000)
    made.log_spread.zero_()
    made.update(made.statistics(torch.full((8, 3), 0.5), x))
    assert made.log_spread.item() == pytest.approx((1 - KEPT) * math.log(0.25))
    for _ in range(400):
        made.update(made.statistics(torch.full((8, 3), 0.5), x))
    assert made.log_spread.exp().item() == pytest.approx(0.25, rel=1e-4)
    assert "log_spread" in made.state_dict()


def test_an_error_of_zero_is_no_infinite_density() -> None:
    x = normal(4, 3)
    assert Gaussian(variance="optimal").log_prob(x, x).isfinite().all()


def test_a_model_hands_the_statistics_to_its_likelihood(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "vq", "codes": 8, "positions": 2, "latent_dim": 4, "widths": (16,)}
    x = np.random.default_rng(0).random((64, 6)).astype(np.float32)
    trained = diabolo.train(
        x, likelihood="gaussian", variance="optimal", epochs=30, out=tmp_path / "run", scaling="none", **options
    )
    error = float(np.square(trained.reconstruct(x) - x).mean())
    spread = trained.model.likelihood.log_spread.exp().item()  # type: ignore[union-attr, operator]
    assert spread == pytest.approx(error, rel=0.3)
    again = diabolo.load(tmp_path / "run")
    assert again.model.likelihood.log_spread.exp().item() == spread  # type: ignore[union-attr, operator]
    assert again.loss_terms(x) == trained.loss_terms(x)


def test_it_is_one_that_learns_its_variance_without_a_rate() -> None:
    x = diabolo.open_dataset("digits").x[:600]
    found = {}
    for variance in ("learned", "optimal"):
        model = diabolo.train(
            x, model="vae", likelihood="gaussian", variance=variance, latent_dim=4, widths=(64,), epochs=15, seed=0
        )
        found[variance] = model.info["result"]["test"]["loss"]
    assert found["optimal"] == pytest.approx(found["learned"], abs=1.5)


def test_a_batch_with_an_optimal_variance_is_whole() -> None:
    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    with pytest.raises(ConfigError, match="variance=optimal, the mean squared error, is of a whole batch"):
        diabolo.train(x, likelihood="gaussian", variance="optimal", accumulate=2, epochs=1)


# --- Student's t ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [1.0, 2.5, 30.0])
@pytest.mark.parametrize("scale", [0.3, "decoded"])
def test_student(degrees: float, scale: Any) -> None:
    location, log_scale, x = normal(4, 2, 5), normal(4, 2, 5, seed=2), 3 * normal(4, 2, 5, seed=1)
    made = StudentT(degrees=degrees, scale=scale)
    output = torch.cat([location, log_scale], 1) if scale == "decoded" else location
    expected = TorchStudentT(degrees, location, log_scale.exp() if scale == "decoded" else scale)
    torch.testing.assert_close(made.log_prob(output, x), expected.log_prob(x).flatten(1).sum(1))
    torch.testing.assert_close(made.log_prob_each(output, x), expected.log_prob(x))
    least = -made.log_prob_each(output, made.mean(output))
    torch.testing.assert_close(made.surprise(output, x), -made.log_prob_each(output, x) - least)


def test_many_degrees_are_a_gaussian() -> None:
    output, x = normal(4, 5), normal(4, 5, seed=1)
    expected = Gaussian(variance=0.25).log_prob(output, x)
    torch.testing.assert_close(StudentT(degrees=1000, scale=0.5).log_prob(output, x), expected, rtol=1e-2, atol=1e-2)


def test_what_it_draws_has_its_quantiles() -> None:
    from scipy.stats import t

    made = StudentT(degrees=3.0, scale=0.5)
    draws = made.sample(torch.full((1, 400_000), 2.0), seeded()).numpy().ravel()
    chances = [0.01, 0.1, 0.5, 0.9, 0.99]
    assert np.allclose(np.quantile(draws, chances), t(3, 2.0, 0.5).ppf(chances), atol=0.03)


def test_it_starts_at_the_variance_that_the_components_leave() -> None:
    made = StudentT(degrees=5.0)
    made.start_at(0.3)
    draws = made.sample(torch.zeros(1, 400_000), seeded())
    assert draws.var().item() == pytest.approx(0.3, rel=0.05)
    heavy = StudentT(degrees=1.0)  # which has no variance
    heavy.start_at(0.3)
    assert heavy.log_spread.exp().item() == pytest.approx(math.sqrt(0.3))


def test_learned_degrees_find_the_tails() -> None:
    from scipy.stats import t

    found = {}
    for tails in (2.0, 50.0):
        x = torch.from_numpy(t(tails).rvs((2000, 10), random_state=0).astype(np.float32))
        made = StudentT()
        optimizer = torch.optim.Adam(made.parameters(), 0.05)
        for _ in range(150):
            optimizer.zero_grad()
            (-made.log_prob(torch.zeros(2000, 10), x).mean()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found[tails] = made.freedom().item()
    assert found[2.0] == pytest.approx(2.0, rel=0.15)
    assert found[50.0] > 10


def test_an_outlier_costs_a_logarithm() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((300, 2)) @ rng.standard_normal((2, 8))).astype(np.float32)
    spoiled = x.copy()
    spoiled[rng.random(x.shape) < 0.03] += 30
    errors = {}
    for likelihood in ("gaussian", "student"):
        option = {"variance": "learned"} if likelihood == "gaussian" else {"degrees": "learned"}
        model = diabolo.train(
            spoiled, likelihood=likelihood, network="linear", latent_dim=2, epochs=60, lr=0.01, scaling="none", **option
        )
        errors[likelihood] = np.median(np.abs(model.reconstruct(x) - x))
    assert errors["student"] < 0.5 * errors["gaussian"]


def test_its_option_names_it_and_it_comes_back(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    model = diabolo.train(x, degrees="learned", epochs=1, out=tmp_path / "run")
    assert model.model.config()["likelihood"]["name"] == "student"
    assert diabolo.load(tmp_path / "run").loss_terms(x) == model.loss_terms(x)


# --- what they do not take --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "best"])
def test_spreads_are_numbers_above_0_or_words(value: Any) -> None:
    with pytest.raises(ConfigError, match="variance should be a number above 0, 'learned' or 'decoded' or 'optimal'"):
        Gaussian(variance=value)
    with pytest.raises(ConfigError, match="scale should be a number above 0, 'learned' or 'decoded', and was given"):
        StudentT(scale=value)
    with pytest.raises(ConfigError, match="degrees should be a number above 0 and up to 1000, or 'learned'"):
        StudentT(degrees=value)


def test_a_variance_that_is_not_a_number_ends_the_training_in_a_sentence() -> None:
    from diabolo.errors import DivergedError

    preprocess = Preprocess(event_shape=(6,), layout="F", scale="none")
    parts = {"likelihood": {"variance": "decoded"}}
    model = build_model(preprocess, likelihood="gaussian", latent_dim=2, options=parts)
    assert model.likelihood.width == 2
    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    with pytest.raises(DivergedError, match=r"Training diverged: .* became nan. Try a lower lr"):
        diabolo.train(x, likelihood="gaussian", variance="decoded", lr=1e30, optimizer="sgd", epochs=3)
