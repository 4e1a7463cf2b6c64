"""The VampPrior and the exemplar prior: their density in closed form, what learns, what is left out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import diabolo
from diabolo.errors import ConfigError
from diabolo.models import DiagonalGaussian, Model, Preprocess, Space, build_model
from diabolo.models.objectives import Batch
from diabolo.models.priors.mixtures import PosteriorMixture

OPTIONS: dict[str, Any] = {"model": "vamp", "latent_dim": 3, "widths": (16,), "epochs": 2, "components": 12}
Z = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


def posterior(count: int = 5) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(1)
    return DiagonalGaussian(torch.randn(count, 3, generator=generator), torch.randn(count, 3, generator=generator))


def made(seed: int = 0, **options: Any) -> Model:
    """An untrained model of pictures of 4 x 4, whose pseudo-inputs were set from six examples."""
    preprocess = Preprocess(event_shape=(4, 4), layout="HW", scale="unit")
    model = build_model(
        preprocess, model="vamp", latent_dim=3, options={"model": options, "network": {"start": "random"}}, seed=seed,
        space=Space(examples=6, mean=torch.full((1, 4, 4), 0.5)),
    )  # fmt: skip
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        model.objective.initialise(Batch(x, index=torch.arange(10, 16)), model)
    return model


def test_the_density_is_that_of_torch_s_mixture() -> None:
    parts = posterior()
    expected = MixtureSameFamily(
        Categorical(torch.ones(5)), Independent(Normal(parts.mean, torch.exp(0.5 * parts.log_variance)), 1)
    )
    assert torch.allclose(PosteriorMixture("five", parts).log_prob(Z), expected.log_prob(Z), atol=1e-5)


def test_narrow_components_keep_their_digits() -> None:
    mean = torch.tensor([[30.0, -20.0, 10.0]])
    narrow = DiagonalGaussian(mean, torch.full((1, 3), -12.0))
    z = mean + 1e-3
    assert torch.allclose(PosteriorMixture("one", narrow).log_prob(z), narrow.log_prob(z), rtol=1e-5)


def test_identical_pseudo_inputs_have_the_density_of_one() -> None:
    one = posterior(1)
    same = DiagonalGaussian(one.mean.expand(8, 3), one.log_variance.expand(8, 3))
    prior = PosteriorMixture("eight", same)
    expected = one.log_prob(Z)
    assert torch.allclose(prior.log_prob(Z), expected, atol=1e-5)
    centre, deviation = prior.moments()
    assert torch.allclose(centre, one.mean[0], atol=1e-6)
    assert torch.allclose(deviation, torch.exp(0.5 * one.log_variance[0]), rtol=1e-5)


def test_what_is_left_out_counts_for_nothing() -> None:
    parts = posterior(3)
    without = torch.tensor([[False, True, False]])
    rest = DiagonalGaussian(parts.mean[[0, 2]], parts.log_variance[[0, 2]])
    found = PosteriorMixture("two of three", parts, without.expand(7, 3)).log_prob(Z)
    assert torch.allclose(found, PosteriorMixture("two", rest).log_prob(Z), atol=1e-5)


def test_draws_have_the_moments_that_it_says() -> None:
    prior = PosteriorMixture("five", posterior())
    codes = prior.draw(200_000, torch.Generator().manual_seed(0))
    mean, deviation = prior.moments()
    assert torch.allclose(codes.mean(0), mean, atol=0.02)
    assert torch.allclose(codes.std(0), deviation, atol=0.02)


def test_the_loss_is_minus_log_p_and_the_log_of_the_ratio_at_the_drawn_code() -> None:
    model = made(components=4).train()
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    model.generator = torch.Generator().manual_seed(4)
    loss = model.objective.loss(Batch(x), model)
    q = model.encode(x)
    z = q.sample(torch.Generator().manual_seed(4))
    prior = model.prior()
    assert prior is not None
    assert torch.allclose(loss.terms["kl"], q.log_prob(z) - prior.log_prob(z), atol=1e-5)
    assert torch.allclose(loss.terms["reconstruction"], -model.log_likelihood(model.decode(z), x), atol=1e-5)


@pytest.mark.parametrize("exemplars", [False, True])
def test_what_learns(exemplars: bool) -> None:
    model = made(components=4, exemplars=exemplars).train()
    learned = {name for name, _ in model.objective.named_parameters()}
    assert learned == ({"spread"} if exemplars else {"inputs"})
    model.objective.loss(Batch(torch.rand(5, 1, 4, 4)), model).terms["kl"].sum().backward()  # type: ignore[no-untyped-call]
    for parameter in model.objective.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.abs().max() > 0)


def test_an_example_is_left_out_of_its_own_prior() -> None:
    model = made(components=6, exemplars=True)
    objective: Any = model.objective
    assert objective.wants_index
    x = objective.inputs[2:3]
    own, other = (objective.prior_of(Batch(x, index=torch.tensor([place])), model) for place in (12, 99))
    z = model.encode(x).mean
    assert own.log_prob(z) < other.log_prob(z), "the component at its own place is the nearest"
    rest = [0, 1, 3, 4, 5]
    spread = objective.spread.expand(5, 3)
    means = model.encode(objective.inputs[rest]).mean
    assert torch.allclose(own.log_prob(z), PosteriorMixture("rest", DiagonalGaussian(means, spread)).log_prob(z))


def test_pseudo_inputs_start_as_examples_and_stay_in_their_range() -> None:
    model = made(components=4)
    objective: Any = model.objective
    least, most = objective.range.tolist()
    with torch.no_grad():
        before = model.prior().mean.clone()  # type: ignore[union-attr]
        objective.inputs += 100 * (objective.inputs > 0.5) - 100 * (objective.inputs <= 0.5)
        cut = model.encode(objective.inputs.clamp(least, most)).mean
        assert torch.equal(model.prior().mean, cut)  # type: ignore[union-attr]
    assert not torch.equal(before, cut)


def test_bound_and_likelihood_agree_with_the_terms(tmp_path: Path) -> None:
    model = diabolo.train("digits", out=tmp_path, **OPTIONS)
    x = diabolo.open_dataset("digits").x[:200]
    assert str(model.own_prior) == "a mixture of 12 pseudo-inputs"
    bound, likelihood = model.score(x, kind="elbo", draws=200), model.score(x, kind="likelihood", draws=500)
    assert likelihood.mean() < bound.mean(), "a tighter bound"
    assert math.isclose(model.loss_terms(x)["loss"], bound.mean(), abs_tol=0.5)
    again = diabolo.load(tmp_path)
    assert np.array_equal(again.score(x, kind="elbo"), model.score(x, kind="elbo"))
    assert np.array_equal(again.sample(5, seed=0), model.sample(5, seed=0))
    card = diabolo.evaluate(tmp_path, metrics=["elbo", "kl", "marginal_kl", "nll"], samples=50)
    assert "kl_per_dimension" not in card.details, "a mixture has none"
    assert card["elbo"].estimate.value > card["nll"].estimate.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components should be a number of pseudo-inputs of at least 1"),
        ({"components": 4_000, "exemplars": True}, "components should be at most the"),
        ({"beta": -1.0}, "beta should be"),
        ({"log_variance": (2.0, -6.0)}, "log_variance should be two numbers"),
    ],
)
def test_bad_options_are_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        diabolo.train("digits", **{**OPTIONS, **options})


def test_more_pseudo_inputs_than_examples_are_said_to_be_copies() -> None:
    x = np.random.default_rng(0).random((40, 6), np.float32)
    options = {"model": "vamp", "latent_dim": 2, "widths": (8,), "epochs": 8, "validation": 0.0, "test": 0.25}
    (said,) = diabolo.train(x, components=100, **options).model.objective.remarks({})
    assert said.title == "30 of 100 pseudo-inputs are different"
    assert not diabolo.train(x, components=20, **options).model.objective.remarks({})


def test_free_bits_are_no_option_of_a_mixture() -> None:
    with pytest.raises(ConfigError, match="free"):
        diabolo.train("digits", **OPTIONS, free_bits=0.1)


def test_the_prior_without_an_encoder_says_who_has_it() -> None:
    prior: Any = made(components=4).objective.prior()
    with pytest.raises(NotImplementedError, match=r"Model.prior\(\) has it"):
        prior.log_prob(Tensor())
