"""Codes and likelihoods against torch.distributions, and what they draw against its moments."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import Normal, kl_divergence

from diabolo.errors import ConfigError
from diabolo.models.distributions import Bernoulli, DiagonalGaussian, Dirac, Gaussian, Laplace, Likelihood, likelihoods
from diabolo.models.priors.own import StandardNormal

SHAPES = [(5,), (2, 7), (1, 4, 4), (3, 3, 5)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


# --- codes ------------------------------------------------------------------------------------------------------------


@given(st.floats(-8, 8), st.floats(-8, 8))
def test_the_kl_is_that_of_two_normals(mean: float, log_variance: float) -> None:
    code = DiagonalGaussian(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    expected = kl_divergence(Normal(mean, math.exp(log_variance / 2)), Normal(0.0, 1.0))
    torch.testing.assert_close(StandardNormal(1).kl(code)[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_kl_is_per_example_and_dimension_and_zero_at_the_prior() -> None:
    mean, log_variance = normal(6, 3), normal(6, 3, seed=1)
    kl = StandardNormal(mean.shape[1]).kl(DiagonalGaussian(mean, log_variance))
    torch.testing.assert_close(kl, kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)))
    assert StandardNormal(3).kl(DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))).eq(0).all()


def test_features_are_means_and_then_log_variances() -> None:
    features = torch.arange(12.0).reshape(2, 6).half()
    code = DiagonalGaussian.from_features(features)
    assert code.mean.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert code.log_variance.tolist() == [[3, 4, 5], [9, 10, 11]]
    assert code.mean.dtype == torch.float32
    assert DiagonalGaussian.width == 2


def test_draws_have_the_posterior_s_moments_and_carry_gradients() -> None:
    mean = torch.tensor([[1.0, -2.0]]).repeat(40_000, 1).requires_grad_()
    log_variance = torch.tensor([[0.0, math.log(9.0)]]).repeat(40_000, 1).requires_grad_()
    code = DiagonalGaussian(mean, log_variance)
    z = code.sample(seeded())
    torch.testing.assert_close(z.mean(0), torch.tensor([1.0, -2.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([1.0, 3.0]), rtol=0.02, atol=0)
    z.sum().backward()
    assert mean.grad is not None
    assert mean.grad.eq(1).all()
    assert log_variance.grad is not None
    torch.testing.assert_close(log_variance.grad, 0.5 * (z - mean).detach())
    assert torch.equal(z, code.sample(seeded()))
    assert not torch.equal(z, code.sample(seeded(1)))


def test_given_noise_picks_a_code() -> None:
    code = DiagonalGaussian(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [math.log(4.0)]]))
    torch.testing.assert_close(code.shifted(torch.tensor([3.0])), torch.tensor([[4.0], [8.0]]))
    torch.testing.assert_close(code.shifted(torch.zeros(1)), code.mean)


def test_a_point_is_its_own_mean_sample_and_has_no_kl() -> None:
    z = normal(4, 3)
    code = Dirac.from_features(z)
    assert Dirac.width == 1
    for got in (code.mean, code.sample(seeded()), code.shifted(torch.ones(3))):
        assert torch.equal(got, z)
    assert StandardNormal(2).kl(code) is None


# --- likelihoods ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bernoulli(shape: tuple[int, ...]) -> None:
    logits = 3 * normal(4, *shape)
    x = torch.bernoulli(torch.full((4, *shape), 0.5), generator=seeded(1))
    expected = TorchBernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(Bernoulli().log_prob(logits, x), expected)
    chances = torch.sigmoid(logits)
    probable = Bernoulli(inputs="probabilities")
    torch.testing.assert_close(probable.log_prob(chances, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(Bernoulli().mean(logits), chances)
    assert torch.equal(probable.mean(chances), chances)


def test_bernoulli_is_finite_far_out_and_smallest_at_the_data_s_entropy() -> None:
    ones = torch.ones(1, 1)
    assert Bernoulli().log_prob(torch.tensor([[200.0]]), ones).item() == 0
    assert Bernoulli().log_prob(torch.tensor([[-200.0]]), ones).item() == -200
    grey = torch.tensor([[0.3]])
    least = -Bernoulli().log_prob(torch.logit(grey), grey).item()
    assert least == pytest.approx(-(0.3 * math.log(0.3) + 0.7 * math.log(0.7)), abs=1e-6)


@pytest.mark.parametrize("name", list(likelihoods))
@pytest.mark.parametrize("shape", [(1,), (7,), (113,), (3, 28, 28)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_a_compiler_is_given_is_the_same_likelihood(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    made = likelihoods.create(name)
    far = torch.tensor([0.0, -0.0, 1e-9, 17.0, -17.0, 100.0, -100.0, 3e4]).repeat(math.ceil(math.prod(shape) / 8))
    output = torch.stack([4 * normal(*shape), far[: math.prod(shape)].view(shape)]).to(dtype).requires_grad_()
    x = torch.rand(2, *shape, generator=seeded(1))
    weights = torch.tensor([1.0, -2.0])
    expected, fused = made.log_prob(output, x), made.log_prob_fused(output, x)
    torch.testing.assert_close(fused, expected, rtol=1e-6, atol=2e-4)
    (wanted,) = torch.autograd.grad(expected @ weights, output, create_graph=True)
    (got,) = torch.autograd.grad(fused @ weights, output, create_graph=True)
    torch.testing.assert_close(got, wanted)
    again = [torch.autograd.grad(slope.square().sum(), output)[0] for slope in (got, wanted)]
    torch.testing.assert_close(*again, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-5)


def likelihood_and_parts(kind: str, spread: Any, shape: tuple[int, ...]) -> tuple[Likelihood, Any, torch.Tensor]:
    """A likelihood, torch's distribution with the same parameters, and the output they are read from."""
    location, log_spread = normal(4, *shape), normal(4, *shape, seed=2)
    made = Gaussian(variance=spread) if kind == "gaussian" else Laplace(scale=spread)
    if spread == "decoded":
        output = torch.cat([location, log_spread], 1)
        wide = log_spread.exp()
    else:
        output = location
        wide = torch.tensor(0.7 if spread == "learned" else float(spread))
        if spread == "learned":
            made.log_spread.data.fill_(math.log(0.7))
    torch_made = Normal(location, wide.sqrt()) if kind == "gaussian" else TorchLaplace(location, wide)
    return made, torch_made, output


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spread", [1.0, 0.5, 40.0, "learned", "decoded"])
@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_gaussian_and_laplace(kind: str, spread: Any, shape: tuple[int, ...]) -> None:
    made, expected, output = likelihood_and_parts(kind, spread, shape)
    assert made.width == (2 if spread == "decoded" else 1)
    x = normal(4, *shape, seed=3)
    torch.testing.assert_close(made.log_prob(output, x), expected.log_prob(x).flatten(1).sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.mean(output), expected.mean)
    assert sum(p.numel() for p in made.parameters()) == (1 if spread == "learned" else 0)


@given(st.floats(1e-8, 1e4), st.floats(-3, 3))
def test_a_fixed_variance_is_taken_at_its_word(variance: float, x: float) -> None:
    value = Gaussian(variance=variance).log_prob(torch.zeros(1, 1), torch.tensor([[x]])).item()
    assert value == pytest.approx(Normal(0.0, variance**0.5).log_prob(torch.tensor(x)).item(), rel=1e-4, abs=1e-4)


def test_variance_one_half_is_squared_error_and_a_constant() -> None:
    output, x = normal(3, 784), normal(3, 784, seed=1)
    nats = -Gaussian(variance=0.5).log_prob(output, x)
    torch.testing.assert_close(nats, (output - x).square().sum(1) + 784 * math.log(math.pi) / 2)


@pytest.mark.parametrize("cls", [Gaussian, Laplace])
@pytest.mark.parametrize("spread", [1.0, "decoded"])
def test_a_sigmoid_squashes_the_location_alone(cls: type[Likelihood], spread: Any) -> None:
    name = "variance" if cls is Gaussian else "scale"
    squashed, plain = cls(**{name: spread}, output="sigmoid"), cls(**{name: spread})
    location, rest = normal(2, 3, 4), normal(2, 3, 4, seed=5)
    output = torch.cat([location, rest], 1) if spread == "decoded" else location
    moved = torch.cat([location.sigmoid(), rest], 1) if spread == "decoded" else location.sigmoid()
    torch.testing.assert_close(squashed.mean(output), location.sigmoid())
    x = torch.rand(2, 3, 4, generator=seeded(1))
    torch.testing.assert_close(squashed.log_prob(output, x), plain.log_prob(moved, x))


@pytest.mark.parametrize("cls", [Gaussian, Laplace])
def test_a_decoded_spread_cannot_run_away(cls: type[Likelihood]) -> None:
    """A value that is constant in the data would otherwise be worth infinitely many nats."""
    made = cls(**{"variance" if cls is Gaussian else "scale": "decoded"})
    output = torch.tensor([[0.5, -1e6]])
    value = made.log_prob(output, torch.tensor([[0.5]]))
    assert value.isfinite().all()
    assert value.item() < 15


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 1.5), ("laplace", 1.5 * math.sqrt(2))])
def test_draws_have_the_right_moments(kind: str, deviation: float) -> None:
    made = Gaussian(variance=2.25) if kind == "gaussian" else Laplace(scale=1.5)
    output = torch.full((200, 400), 3.0)
    drawn = made.sample(output, seeded())
    assert drawn.shape == output.shape
    assert drawn.mean().item() == pytest.approx(3, abs=0.04)
    assert drawn.std().item() == pytest.approx(deviation, rel=0.02)
    kurtosis = ((drawn - 3) / deviation).pow(4).mean().item()
    assert kurtosis == pytest.approx(3 if kind == "gaussian" else 6, rel=0.1)
    assert torch.equal(drawn, made.sample(output, seeded()))
    assert not torch.equal(drawn, made.sample(output, seeded(1)))


def test_a_decoded_spread_is_drawn_with() -> None:
    output = torch.cat([torch.zeros(1000, 100), torch.full((1000, 100), math.log(0.04))], 1)
    assert Gaussian(variance="decoded").sample(output, seeded()).std().item() == pytest.approx(0.2, rel=0.02)


def test_bernoulli_draws_zeros_and_ones_in_proportion() -> None:
    drawn = Bernoulli().sample(torch.full((300, 300), math.log(0.25 / 0.75)), seeded())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("cls", [Bernoulli, Gaussian, Laplace])
def test_a_likelihood_of_one_s_own_is_what_its_class_says(cls: type[Likelihood]) -> None:
    class Weighted(cls):  # type: ignore[misc, valid-type]
        def log_prob_each(self, output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return 3 * super().log_prob_each(output, x)

    class Shifted(cls):  # type: ignore[misc, valid-type]
        def log_prob(self, output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return super().log_prob(output, x) - 7

    class Narrow(Weighted):
        pass

    output, x = torch.randn(4, 1, 5), torch.rand(4, 1, 5)
    plain = cls().log_prob(output, x)
    for way in ("log_prob", "log_prob_fused"):
        for made, expected in ((Weighted(), 3 * plain), (Shifted(), plain - 7), (Narrow(), 3 * plain)):
            torch.testing.assert_close(getattr(made, way)(output, x), expected)


@pytest.mark.parametrize("name", list(likelihoods))
def test_every_likelihood_gives_one_number_per_example_and_a_gradient(name: str) -> None:
    made = likelihoods.create(name)
    output = normal(5, 2 * made.width, 3).requires_grad_()
    x = torch.rand(5, 2, 3, generator=seeded())
    nats = made.log_prob(output, x)
    assert nats.shape == (5,)
    alone = torch.stack([made.log_prob(output[i : i + 1], x[i : i + 1])[0] for i in range(5)])
    torch.testing.assert_close(nats, alone)
    nats.sum().backward()
    assert output.grad is not None
    assert output.grad.ne(0).all()
    assert made.mean(output).shape == x.shape
    assert made.sample(output, seeded()).shape == x.shape
    assert made.log_prob(output.bfloat16(), x).dtype == torch.float32, "nats are summed in float32"


def test_a_spread_must_be_above_zero() -> None:
    for spread in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="variance should be a number above 0"):
            Gaussian(variance=spread)
