"""A prior of a variant's own, written outside the package: all who need a prior take that one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MixtureSameFamily, Normal

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError
from diabolo.evaluation import evaluate
from diabolo.evaluation.scores import importance_weights
from diabolo.latent import manifold_grid
from diabolo.metrics import evaluate as measure
from diabolo.metrics import mutual_information
from diabolo.models.distributions import DiagonalGaussian, Posterior
from diabolo.models.objectives import Batch, Loss, Net, Objective, Space
from diabolo.models.objectives.vae import VAE
from diabolo.models.priors.own import CodePrior, StandardNormal, divergence


class Moved(CodePrior):
    """N(mean, I); its KL in closed form, or left to draws."""

    name = "N(3, I)"

    def __init__(self, mean: Tensor, closed: bool) -> None:
        self.mean, self.closed = mean, closed

    def log_prob(self, z: Tensor) -> Tensor:
        return Normal(self.mean, 1.0).log_prob(z).sum(-1)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.mean + torch.randn(n, len(self.mean), generator=generator)

    def kl(self, posterior: Posterior) -> Tensor | None:
        if not self.closed or posterior.log_variance is None:
            return None
        moved = DiagonalGaussian(posterior.mean - self.mean, posterior.log_variance)
        return StandardNormal(len(self.mean)).kl(moved)


class MovedVAE(VAE):
    """A VAE whose prior is N(3, I)."""

    closed = True

    def prior(self) -> CodePrior:
        return Moved(torch.full((self.space.latent_dim,), 3.0), self.closed)


class DrawnVAE(MovedVAE):
    """The same, whose KL is estimated by one draw."""

    closed = False


OPTIONS: dict[str, Any] = {"layout": "HW", "latent_dim": 2, "widths": (16,), "epochs": 30, "precision": "float32"}


@pytest.fixture(scope="module", params=[MovedVAE, DrawnVAE])
def made(request: pytest.FixtureRequest, pictures: np.ndarray) -> Autoencoder:
    return diabolo.train(pictures, model=request.param(), **OPTIONS)


def test_all_terms_and_scores_are_of_that_prior(made: Autoencoder, pictures: np.ndarray) -> None:
    codes = made.encode(pictures)
    assert np.abs(codes.mean(0) - 3).max() < 1.5, "training holds the codes near 3"
    score, terms = made.score(pictures, kind="elbo", draws=400, seed=0), made.loss_terms(pictures)
    with torch.no_grad():
        posterior = made.model.encode(made.model.prepare(torch.from_numpy(pictures)))
        moved = DiagonalGaussian(posterior.mean - 3, posterior.log_variance)  # type: ignore[operator, arg-type]
        kl = StandardNormal(2).kl(moved)
    assert kl is not None
    assert terms["kl"] == pytest.approx(kl.sum(1).mean().item(), abs=0.3)
    assert score.mean() == pytest.approx(sum(terms[name] for name in ("reconstruction", "kl")), rel=0.03)
    likelihood = made.score(pictures, kind="likelihood", draws=400, seed=0)
    assert likelihood.mean() <= score.mean() + 0.05, "the bound is a bound"
    assert likelihood.mean() > score.mean() - 3
    held_out = pictures[diabolo.open_dataset(pictures, layout="HW").split(0).test]
    card = measure(made, pictures, metrics=["bounds", "codes", "samples"], samples=400)
    for name, kind in (("elbo", "elbo"), ("nll", "likelihood")):
        own = made.score(held_out, kind=kind, draws=400).mean()
        assert card[name].estimate.value == pytest.approx(own, abs=1.0)
    assert "N(3, I)" in card["kl"].how
    assert "N(3, I)" in card["marginal_kl"].how
    assert card["marginal_kl"].estimate.value < 3, "from N(0, I) it would be some 9 nats"
    assert "N(3, I)" in card["fid"].how


def test_an_importance_weight_by_hand(made: Autoencoder, pictures: np.ndarray) -> None:
    """log p(x | z) + log N(z; 3, I) - log q(z | x) at given noise."""
    model, noise = made.model, torch.tensor([[0.5, -1.0]])
    with torch.no_grad():
        x = torch.from_numpy(pictures)
        weights = importance_weights(model, Batch(x), noise)[0]
        values = model.prepare(x)
        posterior = model.encode(values)
        z = posterior.shifted(noise[0])
        q = Normal(posterior.mean, (posterior.log_variance / 2).exp()).log_prob(z).sum(1)  # type: ignore[operator]
        p = Normal(3.0, 1.0).log_prob(z).sum(1)
        expected = model.likelihood.log_prob(model.decode(z), values) + p - q
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-3)


def test_samples_and_the_plane_are_of_that_prior(made: Autoencoder) -> None:
    codes = made.sample_codes(2000, seed=0)
    np.testing.assert_allclose(codes.mean(0), 3, atol=0.1)
    assert np.array_equal(codes, made.sample_codes(2000, seed=0))
    assert np.array_equal(made.sample(3, seed=1), made.decode(made.sample_codes(3, seed=1)))
    grid = manifold_grid(5, prior=made.own_prior)
    np.testing.assert_allclose(grid, 3 + manifold_grid(5), atol=0.1)
    assert np.array_equal(made.manifold(5), made.decode(grid))


def test_a_kl_by_draws_needs_draws(pictures: np.ndarray) -> None:
    model = diabolo.train(pictures, model=DrawnVAE(), **{**OPTIONS, "epochs": 1})
    with pytest.raises(ConfigError, match=r"The KL from N\(3, I\) has no closed form, and takes draws"):
        model.score(pictures, kind="elbo", draws=0)
    assert model.model.objective.prior() is not None
    assert evaluate(model.model, pictures).kl_per_dimension is None
    with pytest.raises(ConfigError, match=r"free_bits are nats of each dimension, and N\(3, I\) has no KL of each"):
        diabolo.train(pictures, model=DrawnVAE(free_bits=0.1), **{**OPTIONS, "epochs": 1})


class Learned(Objective):
    """A VAE whose prior is a mixture with means that are learned, made by `build`."""

    posterior_family = DiagonalGaussian
    equation = "E_q[-log p(x | z)] + KL(q(z | x) || p(z))"
    source = "this test"

    def build(self, space: Space) -> None:
        super().build(space)
        self.means = nn.Parameter(torch.randn(3, space.latent_dim))

    def prior(self) -> CodePrior:
        return Mixture(self.means)

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(batch.x)
        z = posterior.sample(net.generator)
        output = net.decode(z)
        kl = divergence(posterior, self.prior(), [z])
        return Loss({"reconstruction": -net.log_likelihood(output, batch.x), "kl": kl}, posterior, output)


class Mixture(CodePrior):
    """Three normal distributions of one weight."""

    name = "a mixture of 3"

    def __init__(self, means: Tensor) -> None:
        self.means = means

    def log_prob(self, z: Tensor) -> Tensor:
        squares = (z.unsqueeze(-2) - self.means).square().sum(-1)
        normal = -0.5 * squares - 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        return normal.logsumexp(-1) - math.log(len(self.means))

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        which = torch.randint(len(self.means), (n,), generator=generator)
        return self.means[which] + torch.randn(n, self.means.shape[1], generator=generator)


def test_a_learned_prior_is_built_trained_and_saved_with_the_model(pictures: np.ndarray) -> None:
    first = diabolo.train(pictures, model=Learned(), **{**OPTIONS, "epochs": 1, "lr": 1e-9})
    model = diabolo.train(pictures, model=Learned(), **OPTIONS)
    before, after = (made.model.state_dict()["objective.means"] for made in (first, model))
    assert before.shape == (3, 2)
    assert (after - before).abs().max() > 1e-3, "it is trained"
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    normal = Independent(Normal(after, torch.ones(3, 2)), 1)
    mixture = MixtureSameFamily(torch.distributions.Categorical(torch.ones(3)), normal)
    prior = model.own_prior
    assert prior is not None
    torch.testing.assert_close(prior.log_prob(z), mixture.log_prob(z))
    assert model.sample(4, seed=0).shape == (4, 8, 8)
    bound, likelihood = (model.score(pictures, kind=kind, draws=300).mean() for kind in ("elbo", "likelihood"))
    assert bound - 3 < likelihood <= bound + 0.05


def test_without_a_prior_nothing_is_scored_against_one(pictures: np.ndarray) -> None:
    class Free(Learned):
        def prior(self) -> CodePrior | None:  # type: ignore[override]
            return None

        def loss(self, batch: Batch, net: Net) -> Loss:
            posterior = net.encode(batch.x)
            output = net.decode(posterior.sample(net.generator))
            return Loss({"reconstruction": -net.log_likelihood(output, batch.x)}, posterior, output)

    model = diabolo.train(pictures, model=Free(), **{**OPTIONS, "epochs": 1})
    for kind in ("elbo", "likelihood"):
        with pytest.raises(ConfigError, match="needs the density that codes are held near, and this model's variant"):
            model.score(pictures, kind=kind)
    assert model.score(pictures).shape == (90,), "the reconstruction"
    with pytest.raises(ConfigError, match="follow no prior"):
        model.sample(1)
    card = measure(model, pictures)
    assert "kl" not in card
    assert "marginal_kl" not in card
    assert any("variant has no prior" in line for line in card.left_out)


def test_a_flag_is_no_prior() -> None:
    with pytest.raises(ConfigError, match="prior should be a method that returns a `CodePrior`"):

        class Old(VAE):
            prior = True  # type: ignore[assignment]


def test_information_is_against_the_prior_that_is_given() -> None:
    rng = np.random.default_rng(0)
    means, log_variances = rng.normal(size=(400, 2)) + 3, np.full((400, 2), -2.0)
    near = mutual_information(means, log_variances, prior=Moved(torch.full((2,), 3.0), closed=True), draws=4)
    far = mutual_information(means, log_variances, draws=4)
    assert far.marginal_kl.value - near.marginal_kl.value == pytest.approx(9, rel=0.05), "half of 3 squared, twice"
    assert near.estimate.value == far.estimate.value
