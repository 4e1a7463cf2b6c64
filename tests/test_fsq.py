"""Finite scalar quantisation, and its lookup-free form: grids in numbers, and models that use them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.diagnostics import diagnose, facts_of
from diabolo.errors import ConfigError, DataError
from diabolo.models.objectives._grid import Grid, laid
from diabolo.runs import open_data

OPTIONS: dict[str, Any] = {"model": "fsq", "widths": (32,), "precision": "float32", "epochs": 8}


@pytest.fixture(scope="module")
def model() -> diabolo.Autoencoder:
    return diabolo.train("digits", latent_dim=6, levels=(5, 4, 3), **OPTIONS)


# --- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(2, 10))
def test_a_number_has_as_many_values_as_levels(level: int) -> None:
    grid = Grid((level,), signs=False)
    z = torch.linspace(-20, 20, 4_001)[:, None]
    _, points = grid.rounded(z)
    assert len(points.unique()) == level
    assert points.abs().max() <= 1
    assert (points.diff(dim=0) >= 0).all()


def test_without_half_a_step_an_even_number_of_levels_would_be_one_more() -> None:
    z, size = torch.linspace(-20, 20, 4_001), (8 - 1) * 1.001 / 2
    assert len((torch.tanh(z) * size).round().unique()) == 9


@pytest.mark.parametrize(("levels", "signs"), [((8, 5, 3), False), ((2, 2), False), ((2, 2, 2), True)])
def test_every_point_can_be_reached_and_has_a_number_of_its_own(levels: tuple[int, ...], signs: bool) -> None:
    grid = Grid(levels, signs)
    axis = torch.linspace(-3, 3, 41)
    z = torch.cartesian_prod(*[axis] * len(levels))
    numbers = grid.numbers(grid.rounded(z)[1])
    assert numbers.unique().tolist() == list(range(math.prod(levels)))
    points = grid.points(torch.arange(grid.entries))
    assert grid.numbers(points).tolist() == list(range(grid.entries))
    assert torch.equal(grid.nearest(points), points)
    assert torch.equal(grid.nearest(points + 0.01), points)


def test_the_gradient_is_that_of_the_bound() -> None:
    model = diabolo.train("digits", latent_dim=2, levels=(8,), **{**OPTIONS, "epochs": 1}).model
    features = torch.randn(4, 2, requires_grad=True)
    z = model.objective.posterior(features, None).mean
    z.sum().backward()
    objective = model.objective
    again = features.detach().clone().requires_grad_()
    rows = (again.view(4, 1, 2) - objective.centre) / (2 * objective.spread)
    (objective.grid.bounded(rows) / 4 * objective.unit).sum().backward()
    torch.testing.assert_close(features.grad, again.grad)


def test_many_levels_are_a_tanh() -> None:
    grid = Grid((50_001,), signs=False)
    z = torch.linspace(-3, 3, 101)[:, None]
    bounded, points = grid.rounded(z)
    torch.testing.assert_close(points, bounded, atol=3e-5, rtol=0.0)
    torch.testing.assert_close(points, torch.tanh(z), atol=2e-3, rtol=0.0)


def test_positions_follow_the_levels_or_the_size() -> None:
    assert laid((8, 5, 5, 5), (12,), 0, signs=False)[1] == 3
    assert laid((8,), (16,), 0, signs=False)[1] == 8
    assert laid((8,), (7,), 0, signs=False)[1] == 7, "one token of seven numbers would be one of two million"
    assert laid((4,), (3, 5, 5), 0, signs=False)[1] == 25
    assert laid((2,), (8,), 2, signs=True)[0].entries == 16


# --- without a lookup -------------------------------------------------------------------------------------------------


def test_entropies_in_closed_form() -> None:
    grid = Grid((2, 2), signs=True)
    corners = grid.points(torch.arange(4))[:, None]  # (4, 1, 2), each token once, and certain
    uncertainty, imbalance = grid.entropies(corners)
    torch.testing.assert_close(uncertainty, torch.zeros(4), atol=2e-3, rtol=0.0)
    torch.testing.assert_close(imbalance, torch.zeros(4), atol=1e-6, rtol=0.0)
    uncertainty, imbalance = grid.entropies(torch.zeros(4, 1, 2))
    torch.testing.assert_close(uncertainty, torch.full((4,), 2 * math.log(2)))
    torch.testing.assert_close(imbalance, torch.zeros(4), atol=1e-6, rtol=0.0)
    _, imbalance = grid.entropies(corners[:1].expand(4, 1, 2))
    torch.testing.assert_close(imbalance, torch.full((4,), math.log(4)), atol=2e-3, rtol=0.0)
    uneven = 0.1 * corners + 0.2
    once = grid.entropies(uneven)
    assert all(value.min() > 0.1 for value in once)
    torch.testing.assert_close(grid.entropies(uneven.expand(4, 5, 2)), tuple(5 * value for value in once))


def test_entropies_spread_the_use_of_tokens() -> None:
    used = []
    for entropy in (0.0, 1.0):
        model = diabolo.train("digits", latent_dim=8, positions=1, lfq=True, entropy=entropy, **OPTIONS)
        used.append(len(np.unique(model.tokens(diabolo.open_dataset("digits").x))))
        assert set(np.unique(np.sign(model.encode(diabolo.open_dataset("digits").x[:20], flat=True)))) == {-1, 1}
    assert used[1] > used[0] > 10


# --- at work ----------------------------------------------------------------------------------------------------------


def test_tokens_are_codes(model: diabolo.Autoencoder) -> None:
    x = diabolo.open_dataset("digits").x[:50]
    tokens, codes = model.tokens(x), model.encode(x, flat=True)
    assert tokens.shape == (50, 2, 1)
    assert tokens.max() < 60
    np.testing.assert_allclose(model.decode(tokens=tokens), model.decode(codes), atol=1e-6)
    np.testing.assert_allclose(model.decode(codes + 1e-3), model.decode(codes), atol=1e-6)
    for number, count in enumerate((5, 4, 3, 5, 4, 3)):
        at = codes.reshape(50, 3, 2)[:, number % 3, number // 3]
        assert len(np.unique(at.round(4))) <= count
    with pytest.raises(DataError, match="numbers from 0 to 59"):
        model.decode(tokens=np.full((1, 2, 1), 60))


def test_tokens_have_a_density_that_is_fitted(model: diabolo.Autoencoder) -> None:
    model.fit_prior("categorical", diabolo.open_dataset("digits"))
    assert model.sample(3, seed=0).shape == (3, 8, 8)


def test_it_says_how_much_of_the_grid_is_in_use(model: diabolo.Autoencoder) -> None:
    said = [one for one in diagnose(facts_of(model, "RUN", *open_data(model))) if "points of the grid" in one.title]
    assert len(said) == 1
    assert said[0].title.endswith("of 60 points of the grid are in use")
    model.model.objective.grid.usage.zero_()[3] = 1.0
    assert model.model.objective.remarks({})[0].level == "note"


def test_points_that_no_example_came_to_are_not_in_use() -> None:
    model = diabolo.train("digits", latent_dim=4, positions=1, **{**OPTIONS, "epochs": 1})  # a grid of 4,096 points
    counts = np.bincount(model.tokens(diabolo.open_dataset("digits").x).ravel(), minlength=4096)
    said = model.model.objective.remarks({})[0]
    assert said.level == "note"
    assert 10 < int(said.title.split()[0].replace(",", "")) < 2 * (counts > 0).sum() < 2000


def test_codes_of_random_weights_do_not_leave_the_grid() -> None:
    data = diabolo.open_dataset("digits")
    options = {**OPTIONS, "latent_dim": 8, "start": "random", "epochs": 25, "lr": 3e-3, "likelihood": "bernoulli"}
    for more in ({}, {"levels": (5,)}):
        model = diabolo.train(data, **options, **more)
        assert torch.equal(model.model.objective.unit, torch.ones_like(model.model.objective.unit))
        assert len(np.unique(model.tokens(data.x)[:, 0])) > 3
        assert model.info["result"]["test"]["mse"] < 0.05


def test_places(tmp_path: Any) -> None:
    model = diabolo.train(
        "digits", model="fsq", network="conv", channels=(8,), spatial=True, latent_dim=3, epochs=2, out=tmp_path / "run"
    )
    x = diabolo.open_dataset("digits").x[:5]
    assert model.tokens(x).shape == (5, 16, 1)
    again = diabolo.load(tmp_path / "run")
    assert np.array_equal(again.tokens(x), model.tokens(x))
    units = model.model.objective.unit
    assert torch.equal(units, units[:1].expand_as(units)), "one unit for all places"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"levels": (1,)}, "levels should be numbers of at least 2"),
        ({"levels": ()}, "levels should be numbers of at least 2"),
        ({"levels": (8, 5, 5)}, "levels should be a number of levels that divides the code's 4 numbers"),
        ({"levels": (8, 5), "positions": 4}, "levels should be one number, or one for each of a vector's 1"),
        ({"levels": (300,), "positions": 2}, "one of at most 65,536, and a vector of 2 levels is one of 90,000"),
        ({"lfq": True, "latent_dim": 14, "positions": 1}, "at most 4,096, and a vector of 14 signs"),
        ({"positions": 3}, "positions should be a divisor"),
        ({"lfq": True, "entropy": -1.0}, "entropy should be a number of at least 0"),
        ({"lfq": True, "commitment": -1.0}, "commitment should be a number of at least 0"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        diabolo.train("digits", **{"latent_dim": 4, **OPTIONS, **options})
