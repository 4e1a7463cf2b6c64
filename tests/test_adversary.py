"""The adversarial autoencoder and its critic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.diagnostics import diagnose, facts_of
from diabolo.errors import ConfigError
from diabolo.models.objectives._critic import Critic
from diabolo.runs import open_data

OPTIONS: dict[str, Any] = {"latent_dim": 2, "widths": (64,), "epochs": 60, "lr": 2e-3, "precision": "float32"}


@pytest.fixture(scope="module")
def model() -> diabolo.Autoencoder:
    return diabolo.train("digits", model="aae", weight=3.0, critic_widths=(64,), **OPTIONS)


def test_the_optimal_critic_of_two_normal_densities_is_a_line() -> None:
    torch.manual_seed(0)
    critic, shift = Critic(1, ()), 1.5
    optimizer = torch.optim.Adam(critic.parameters(), 0.05)
    for _ in range(300):
        first, second = torch.randn(2_000, 1), torch.randn(2_000, 1) + shift
        cost = sum(critic.told(first, second)[:2])
        optimizer.zero_grad()
        cost.mean().backward()
        optimizer.step()
    layer = critic.layers[0]
    assert layer.weight.item() == pytest.approx(-shift, abs=0.1)  # log N(z; 0, 1) - log N(z; m, 1) = -m z + m^2 / 2
    assert layer.bias.item() == pytest.approx(shift**2 / 2, abs=0.1)


def test_what_it_is_told_does_not_move_what_it_is_told_of() -> None:
    critic, codes = Critic(2, (4,)), torch.randn(5, 2, requires_grad=True)
    one, other, statistics = critic.told(torch.randn(7, 2), codes)
    assert (one.shape, other.shape) == ((7,), (5,))
    (one.sum() + other.sum()).backward()
    assert codes.grad is None
    assert statistics["told"] == 12
    assert 0 <= statistics["right"] <= 12


def test_a_critic_that_knows_nothing_costs_two_ln_two() -> None:
    critic = Critic(2, ())
    torch.nn.init.zeros_(critic.layers[0].weight)
    torch.nn.init.zeros_(critic.layers[0].bias)
    one, other, _ = critic.told(torch.randn(3, 2), torch.randn(3, 2))
    torch.testing.assert_close(one + other, torch.full((3,), 2 * math.log(2)))


def test_codes_lie_as_the_prior_does(model: diabolo.Autoencoder) -> None:
    plain = diabolo.train("digits", model="autoencoder", **OPTIONS)
    data = diabolo.open_dataset("digits")
    held, away = model.encode(data.x, flat=True), plain.encode(data.x, flat=True)
    assert np.abs(held.mean(0)).max() < 0.3
    assert np.abs(np.log(held.std(0))).max() < 0.3
    assert np.abs(np.log(away.std(0))).max() > 0.5, "which is not so without a critic"
    assert model.sample(4, seed=0).shape == (4, 8, 8)


def test_it_says_how_well_the_critic_does(model: diabolo.Autoencoder) -> None:
    accuracy = float(model.model.objective.critic.accuracy)
    assert 0.4 < accuracy < 0.9
    said = [one for one in diagnose(facts_of(model, "RUN", *open_data(model))) if "critic" in one.title]
    assert [one.level for one in said] == ["good"]
    assert f"{accuracy:.0%}" in said[0].text
    model.model.objective.critic.accuracy.fill_(0.97)
    assert model.model.objective.remarks({})[0].level == "note"


def test_the_critic_s_term_chooses_no_epoch(model: diabolo.Autoencoder) -> None:
    line = [one for one in model.history if one["kind"] == "epoch"][-1]["validation"]
    assert line["critic"] > 0
    assert line["loss"] == pytest.approx(line["reconstruction"] + 3.0 * line["adversary"], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weight": -1.0}, "weight should be a number of at least 0"),
        ({"critic_pace": 0.0}, "critic_pace should be a number above 0"),
        ({"critic_widths": (8, 0)}, "critic_widths should be numbers of units"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        diabolo.train("digits", model="aae", **{**OPTIONS, **options})
