"""Thresholds that are learned: slopes against finite differences, ReLU at zero, few units and rows alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diabolo
from diabolo.errors import ConfigError
from diabolo.models import Model, Preprocess, Units, build_model
from diabolo.models.objectives import jumprelu
from diabolo.models.objectives._active_units import Active, jumped

VALUES, WIDTH = 8, 24


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.randn(400, VALUES, generator=seeded(0))


def made(**options: Any) -> Model:
    """A model whose reconstruction is |x - y|^2 + D / 2 log pi."""
    preprocess = Preprocess(event_shape=(VALUES,), layout="F", scale="none")
    settings = {"model": options, "likelihood": {"variance": 0.5}}
    return build_model(
        preprocess, model="jumprelu", network="dictionary", likelihood="gaussian", latent_dim=WIDTH, options=settings
    )


def smoothed(features: Tensor, thresholds: Tensor, bandwidth: float) -> Tensor:
    """H(x - t), with a ramp of the bandwidth's length in the place of the step: the rectangle's integral."""
    return ((features - thresholds) / bandwidth + 0.5).clamp(0, 1)


@pytest.mark.parametrize("bandwidth", [0.05, 0.5])
def test_the_slope_of_l0_is_that_of_the_smoothed_l0(bandwidth: float) -> None:
    features = torch.randn(5_000, 3, generator=seeded(1), dtype=torch.float64)
    thresholds = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(jumped(features, thresholds.expand_as(features), bandwidth)[1].sum(), thresholds)
    step = 1e-7
    for unit in range(3):
        move = torch.zeros(3, dtype=torch.float64)
        move[unit] = step
        up, down = (smoothed(features, thresholds.detach() + sign * move, bandwidth).sum() for sign in (1, -1))
        assert slope[unit].item() == pytest.approx((up - down).item() / (2 * step), rel=1e-3)
    density = torch.exp(-thresholds[1].detach().square() / 2) / np.sqrt(2 * np.pi)
    if bandwidth > 0.1:
        assert slope[1].item() == pytest.approx(-5_000 * density.item(), rel=0.1), "the expectation's own slope"


def test_the_slope_of_the_value_is_the_threshold_times_the_step_s() -> None:
    features = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    thresholds = torch.full((2001,), 0.3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2001, generator=seeded(2), dtype=torch.float64)
    both = jumped(features, thresholds, 0.2)
    values, steps = (torch.autograd.grad((weights * one).sum(), thresholds, retain_graph=True)[0] for one in both)
    torch.testing.assert_close(values, 0.3 * steps)
    assert torch.equal(steps != 0, (features - 0.3).abs() < 0.1)


def test_the_pseudo_slope_is_for_thresholds_alone() -> None:
    features = torch.randn(50, 3, generator=seeded(1), requires_grad=True)
    values, steps = jumped(features, torch.full((50, 3), 0.1), 5.0)
    (slope,) = torch.autograd.grad(values.sum() + 100 * steps.sum(), features)
    assert torch.equal(slope, (features > 0.1).float())


def test_thresholds_of_zero_are_a_relu_autoencoder() -> None:
    model = made(threshold=0.0, l0=0.0)
    loss = model(X)
    output = model.decode(model.encoder(X).relu())
    torch.testing.assert_close(loss.output, output)
    parameters = [*model.encoder.parameters(), *model.decoder.parameters()]
    ours = torch.autograd.grad(loss.total, parameters)
    theirs = torch.autograd.grad((output - X).square().sum(1).mean(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_l0_is_the_number_of_active_units() -> None:
    for threshold in (0.0, 1.0, 2.2):
        model = made(threshold=threshold)
        loss = model(X)
        assert torch.equal(loss.terms["l0"], loss.posterior.mean.count_nonzero(1).float())
        assert torch.equal(loss.terms["l0"], model.eval()(X).terms["l0"])


def test_few_units_have_the_gradients_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units that are not active, and near enough to their threshold to teach it, are among the few."""
    gradients = []
    for few in (8, 10**9):
        monkeypatch.setattr(jumprelu, "FEW", few)
        model = made(threshold=1.8, bandwidth=0.3, l0=0.7)
        loss = model(X)
        code = loss.posterior
        assert isinstance(code, Active)
        assert isinstance(code.code, Units) == (few == 8)
        gradients.append(torch.autograd.grad(loss.total, list(model.parameters())))
        assert gradients[-1][-1].count_nonzero(), "thresholds learn"
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_l0_is_paid_for_after_a_warm_up_and_thresholds_stay_above_zero() -> None:
    model = made(l0=2.0, warmup=4.0)
    model.epoch = 1.0
    assert model(X).weights == {"l0": 0.5}
    model.objective.thresholds.data -= 1  # type: ignore[union-attr, operator]
    model.update(model(X).statistics, seeded(0))
    assert not model.objective.thresholds.count_nonzero()  # type: ignore[union-attr, operator]


def test_a_dearer_unit_is_used_by_fewer() -> None:
    rows = np.random.default_rng(0).normal(size=(600, VALUES)).astype(np.float32)
    options: dict[str, Any] = {"model": "jumprelu", "network": "dictionary", "latent_dim": WIDTH, "threads": 1}
    options |= {"likelihood": "gaussian", "variance": 0.5, "epochs": 20, "lr": 0.01, "precision": "float32"}
    counts = [np.count_nonzero(diabolo.train(rows, l0=l0, **options).encode(rows)) for l0 in (0.02, 0.5)]
    assert counts[1] < counts[0] / 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"l0": -1.0}, "l0 should be a number of at least 0, and was given -1"),
        ({"threshold": -1.0}, "threshold should be a number of at least 0, and was given -1"),
        ({"bandwidth": 0.0}, "bandwidth should be a number above 0, and was given 0"),
        ({"warmup": -1.0}, "warmup should be a number of epochs of at least 0, and was given -1"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        made(**options)
