"""Two levels of codes: their densities, the KL of each level, the ladder's product, what is told of an idle level."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diabolo
from diabolo.errors import ConfigError, ShapeError
from diabolo.evaluation.terms import evaluate
from diabolo.models import DiagonalGaussian, Model, Preprocess, Space, build_model
from diabolo.models.objectives._levels import Levels, TwoLevelPrior, TwoLevels, product
from diabolo.models.objectives.hierarchical import Hierarchical
from diabolo.models.principal import PrincipalComponents, start_at_components
from diabolo.models.priors.own import StandardNormal

LADDER = pytest.mark.parametrize("ladder", [False, True], ids=["upwards", "ladder"])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(lower: int = 2, upper: int = 1) -> Levels:
    torch.manual_seed(0)
    return Levels(Space(lower + upper), lower, (8,), held=lambda gaussian: gaussian).requires_grad_(False)


def posterior(ladder: bool, rows: int = 3, lower: int = 2, upper: int = 1) -> TwoLevels:
    noise = torch.randn(2, rows, lower, generator=seeded(1))
    return TwoLevels(DiagonalGaussian(noise[0], noise[1] - 1), levels(lower, upper), ladder)


def made(latent_dim: int = 6, **options: Any) -> Model:
    preprocess = Preprocess(event_shape=(4, 4), layout="HW", scale="unit")
    parts = {"model": options, "network": {"widths": (16,)}}
    return build_model(preprocess, model="hierarchical", latent_dim=latent_dim, options=parts)


def test_the_product_weighs_means_by_precision() -> None:
    a, b = (DiagonalGaussian(*torch.randn(2, 5, 2, generator=seeded(seed))) for seed in (0, 1))
    both = product(a, b)
    precision = (-a.log_variance).exp() + (-b.log_variance).exp()
    mean = (a.mean * (-a.log_variance).exp() + b.mean * (-b.log_variance).exp()) / precision
    torch.testing.assert_close(both.mean, mean)
    torch.testing.assert_close(both.log_variance, -precision.log())
    far = product(DiagonalGaussian(a.mean, a.log_variance - 200), b)
    torch.testing.assert_close(far.mean, a.mean)


@LADDER
def test_densities_integrate_to_one(ladder: bool) -> None:
    side = torch.linspace(-12, 12, 601)
    grid = torch.cartesian_prod(side, side)
    volume = float(side[1] - side[0]) ** 2
    of_prior = TwoLevelPrior(levels(1, 1)).log_prob(grid)
    assert (of_prior.exp().sum() * volume).item() == pytest.approx(1, abs=1e-3)
    code = posterior(ladder, rows=1, lower=1)
    wide = TwoLevels(
        DiagonalGaussian(*(part.expand(len(grid), 1) for part in (code.lower.mean, code.lower.log_variance))),
        code.levels,
        ladder,
    )
    assert (wide.log_prob(grid).exp().sum() * volume).item() == pytest.approx(1, abs=1e-3)


@LADDER
def test_draws_have_the_density_that_it_says(ladder: bool) -> None:
    """The mean of 1 / q over draws that lie in a box is the box's volume."""
    rows = 400_000
    code = posterior(ladder, rows=1, lower=1)
    many = TwoLevels(
        DiagonalGaussian(*(part.expand(rows, 1) for part in (code.lower.mean, code.lower.log_variance))),
        code.levels,
        ladder,
    )
    z = many.sample(seeded())
    inside = (z - code.mean).abs().amax(1) < 0.4
    volume = (inside * (-many.log_prob(z)).exp()).mean().item()
    assert volume == pytest.approx(0.8**2, rel=0.02)
    prior = TwoLevelPrior(code.levels)
    drawn = prior.draw(rows, seeded())
    inside = drawn.abs().amax(1) < 0.4
    assert (inside * (-prior.log_prob(drawn)).exp()).mean().item() == pytest.approx(0.8**2, rel=0.02)


@LADDER
def test_the_kl_of_the_levels_is_the_whole(ladder: bool) -> None:
    code, total, levels_apart = posterior(ladder), torch.zeros(3), torch.zeros(3)
    prior, generator, draws = TwoLevelPrior(code.levels), seeded(), 20_000
    for _ in range(draws // 100):
        many = TwoLevels(
            DiagonalGaussian(*(part.repeat(100, 1) for part in (code.lower.mean, code.lower.log_variance))),
            code.levels,
            ladder,
        )
        drawn = many.drawn(many.noise(generator))
        total += (many.log_prob(drawn.code) - prior.log_prob(drawn.code)).view(100, 3).sum(0)
        levels_apart += sum(drawn.kl(ladder), torch.zeros(300)).view(100, 3).sum(0)
    torch.testing.assert_close(levels_apart / draws, total / draws, rtol=0.02, atol=0.02)


@LADDER
def test_codes_are_placed_with_their_density(ladder: bool) -> None:
    code = posterior(ladder)
    z, logs = code.placed(code.noise(seeded()))
    torch.testing.assert_close(logs, code.log_prob(z))
    assert torch.equal(z, code.sample(seeded()))


def test_a_ladder_s_kl_is_in_closed_form_for_both_levels() -> None:
    code = posterior(ladder=True)
    drawn = code.drawn(code.noise(seeded()))
    for found, again in zip(drawn.kl(ladder=True), drawn._replace(z1=drawn.z1 + 1).kl(ladder=True), strict=True):
        assert torch.equal(found, again), "z1 has no say"


@LADDER
def test_the_terms_are_the_bound_of_the_scores(ladder: bool) -> None:
    model = made(ladder=ladder)
    x = torch.rand(64, 4, 4, generator=seeded(5))
    terms = []
    for seed in range(200):
        averages = evaluate(model, x.numpy(), seed=seed).averages
        terms.append([averages["loss"], 16 * math.log(2) * averages["bits_per_dim"]])
    loss, bound = np.mean(terms, 0)
    assert loss == pytest.approx(bound), "bits per value count both levels"
    exact = diabolo.Autoencoder(model).score(x.numpy(), kind="elbo", draws=2000).mean()
    assert loss == pytest.approx(exact, rel=0.01)


def test_the_decoder_sees_the_lower_level_alone_and_the_upper_one_makes_it() -> None:
    model = made(upper=2)
    assert model.objective.fed(6) == 4
    z = torch.randn(5, 6, generator=seeded())
    moved = z.clone()
    moved[:, 4:] += 3
    assert torch.equal(model.decode(z), model.decode(moved))
    prior = model.prior()
    assert isinstance(prior, TwoLevelPrior)
    with torch.no_grad():
        model.objective.levels.downwards[-1].weight.mul_(5)  # type: ignore[union-attr, operator, index]
        z1, z2 = prior.levels.down(moved[:, 4:]).mean, prior.levels.down(z[:, 4:]).mean
    assert (z1 - z2).abs().max() > 0.5
    assert torch.equal(prior.draw(4, seeded()), prior.draw(4, seeded()))


def test_a_code_has_both_means_and_deviations_side_by_side() -> None:
    code = posterior(ladder=False)
    assert torch.equal(code.mean[:, :2], code.lower.mean)
    assert torch.equal(code.mean[:, 2:], code.levels.up(code.lower.mean).mean)
    assert code.deviation.shape == code.mean.shape
    assert torch.equal(code.shifted(torch.zeros(3)), code.mean)
    assert code.log_variance is None, "it is no diagonal Gaussian"
    ladder = posterior(ladder=True)
    assert torch.equal(ladder.shifted(torch.zeros(3)), ladder.mean)


def test_half_of_a_code_is_the_upper_level_where_nothing_is_said() -> None:
    assert made().objective.fed(6) == 3
    assert isinstance(made(upper=0).prior(), StandardNormal)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upper": 6}, "upper should be less than the code's 6 numbers, and was given 6"),
        ({"upper": -1}, "upper should be a number of at least 0"),
        ({"upper_widths": (0,)}, "upper_widths should be numbers of at least 1"),
    ],
)
def test_what_it_does_not_take(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**options)


def test_codes_with_places_have_one_level() -> None:
    preprocess = Preprocess(event_shape=(8, 8), layout="HW", scale="unit")
    options = {"network": {"channels": (4,), "spatial": True}}
    with pytest.raises(
        ConfigError, match=r"Two levels need codes without places, and these have the shape \(4, 4, 4\)"
    ):
        build_model(preprocess, model="hierarchical", network="conv", latent_dim=4, options=options)


def test_it_says_whether_the_upper_level_is_in_use() -> None:
    objective = made().objective
    (good,) = objective.remarks({"kl": 3.0, "kl_upper": 2.0})
    (idle,) = objective.remarks({"kl": 3.0, "kl_upper": 0.01})
    assert (good.level, idle.level) == ("good", "note")
    assert "--warmup" in idle.text
    assert Hierarchical(upper=0).remarks({"kl": 3.0}) == []


def test_a_warm_up_weighs_both_levels() -> None:
    model = made(beta=2.0, warmup=4.0)
    model.epoch, model.generator = 1.0, seeded()
    loss = model(torch.rand(5, 4, 4, generator=seeded()))
    assert loss.weights == {"kl": 0.5, "kl_upper": 0.5}


def test_variances_of_all_levels_are_held() -> None:
    held = made(log_variance=(-2.0, -1.0))
    code: Any = held.encode(torch.rand(5, 1, 4, 4, generator=seeded()))
    z = code.sample(seeded())
    found: list[Tensor] = [level.log_variance for level in (*code.at(z[:, :3]), code.levels.down(z[:, 3:]))]
    for values in found:
        assert values.min() >= -2
        assert values.max() <= -1


def test_the_lower_level_starts_at_principal_components() -> None:
    x = np.random.default_rng(0).standard_normal((200, 3)) @ np.random.default_rng(1).standard_normal((3, 16))
    x = x.reshape(-1, 4, 4).astype(np.float32)
    preprocess = Preprocess(event_shape=(4, 4), layout="HW", scale="none")
    parts = {"network": {"widths": (16,)}, "likelihood": {"variance": "learned"}, "model": {"upper": 2}}
    model = build_model(preprocess, model="hierarchical", latent_dim=5, likelihood="gaussian", options=parts)
    components = PrincipalComponents.fit(preprocess, x, 5, 0)
    assert start_at_components(model, components)
    error = np.square(diabolo.Autoencoder(model).reconstruct(x) - x).mean()
    assert error < 0.01 * np.square(x).mean()


def test_the_upper_level_alone_is_decoded_through_what_it_expects() -> None:
    model = diabolo.train("digits", model="hierarchical", latent_dim=5, upper=2, widths=(16,), epochs=2)
    upper = model.encode(diabolo.open_dataset("digits").x[:4])[:, 3:]
    whole = model.completed(upper)
    assert whole.shape == (4, 5)
    np.testing.assert_array_equal(whole[:, 3:], upper)
    below = model.model.objective.levels.down(torch.from_numpy(upper))
    np.testing.assert_allclose(whole[:, :3], below.mean.detach(), atol=1e-6)
    np.testing.assert_array_equal(model.decode(upper), model.decode(whole))
    with pytest.raises(ShapeError, match=r"has the shape \(n, 2\), and was \(4, 3\)"):
        model.completed(whole[:, :3])
    plain = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1)
    with pytest.raises(ShapeError, match="its codes have one level"):
        plain.completed(upper)
