"""Variants that hold a map smooth: the contractive autoencoder the encoder, the regularised one the decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diabolo
from diabolo.errors import ConfigError, DiaboloError
from diabolo.evaluation.terms import evaluate
from diabolo.models.model import Model, build_model
from diabolo.models.objectives import Batch
from diabolo.models.objectives._jacobian import jacobian_norm
from diabolo.models.preprocess import Preprocess


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, network: str = "linear", **options: Any) -> Model:
    preprocess = Preprocess(event_shape=(6,), layout="F", scale="none")
    layers: dict[str, Any] = {"start": "random"}
    if network == "mlp":
        layers |= {"widths": (8,), "activation": "tanh"}
    parts = {"model": options, "network": layers}
    model = build_model(preprocess, model=name, network=network, latent_dim=3, options=parts, seed=1)
    model.generator = seeded()
    return model


def weights_of(module: nn.Module) -> Tensor:
    return next(value for value in module.parameters() if value.dim() == 2)


# --- the Jacobian -----------------------------------------------------------------------------------------------------


def test_of_one_sigmoid_layer_it_is_the_formula() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.randn(4, 5, requires_grad=True)
    h = torch.sigmoid(layer(x))
    formula = ((h * (1 - h)).square() * layer.weight.square().sum(1)).sum(1)
    torch.testing.assert_close(jacobian_norm(h, x, 0, None), formula)


def test_of_two_layers_the_formula_of_one_is_wrong() -> None:
    torch.manual_seed(0)
    first, last, x = nn.Linear(5, 8), nn.Linear(8, 3), torch.randn(4, 5, requires_grad=True)
    h = torch.sigmoid(last(torch.relu(first(x))))
    often = ((h * (1 - h)).square() * last.weight.square().sum(1)).sum(1)
    exact = torch.func.vmap(torch.func.jacrev(lambda one: torch.sigmoid(last(torch.relu(first(one))))))(x)
    norms = exact.square().sum((1, 2))
    torch.testing.assert_close(jacobian_norm(h, x, 0, None), norms)
    assert not torch.allclose(often, norms, rtol=0.1)


def test_probes_are_right_on_average() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.randn(2, 5, requires_grad=True)
    h = torch.tanh(layer(x))
    exact = jacobian_norm(h, x, 0, None)
    draws = torch.stack([jacobian_norm(h, x, 1, seeded(k)).detach() for k in range(2_000)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    few, many = (torch.stack([jacobian_norm(h, x, n, seeded(k)).detach() for k in range(50)]).std(0) for n in (1, 64))
    assert (many < few / 3).all(), "more of them differ less"


def test_its_gradient_is_that_of_the_squared_weights() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.randn(2, 5, requires_grad=True)
    jacobian_norm(layer(x), x, 0, None).mean().backward()
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight)


# --- contractive ------------------------------------------------------------------------------------------------------


def test_the_contraction_of_a_linear_encoder_is_its_squared_weights() -> None:
    model = made("contractive", probes=0)
    terms = model(torch.randn(4, 6)).terms
    torch.testing.assert_close(terms["contraction"], weights_of(model.encoder).square().sum().expand(4))


def test_an_evaluation_takes_it_too_and_keeps_no_graph() -> None:
    model = made("contractive", "mlp", probes=0).eval()
    x = torch.randn(8, 6)
    with torch.no_grad():
        loss = model(x)
    assert not any(part.requires_grad for part in (*loss.terms.values(), loss.output, loss.posterior.mean))
    torch.testing.assert_close(loss.terms["contraction"], model(x).terms["contraction"].detach())
    assert evaluate(model, x.numpy()).averages["contraction"] == pytest.approx(loss.terms["contraction"].mean().item())


def test_codes_move_less_the_more_it_weighs() -> None:
    x = np.asarray(diabolo.open_dataset("digits").x[:600], np.float32)
    near = np.clip(x + 0.2 * np.random.default_rng(0).standard_normal(x.shape), 0, 1).astype(np.float32)
    moved = []
    for weight in (0.0, 1.0, 30.0):
        model = diabolo.train(
            x, model="contractive", weight=weight, latent_dim=8, widths=(32,), epochs=15, start="random", seed=0
        )
        moved.append(float(np.square(model.encode(near) - model.encode(x)).sum(1).mean()))
    assert moved[0] > 1.1 * moved[1]
    assert moved[1] > 2 * moved[2]


# --- regularised ------------------------------------------------------------------------------------------------------


def test_l2_is_weight_decay_of_the_decoder_alone() -> None:
    x, steps = torch.randn(16, 6), []
    for weight, decay in ((0.3, 0.0), (0.0, 0.3)):
        model = made("rae", "mlp", beta=0.0, weight=weight)
        groups = [
            {"params": [*model.encoder.parameters(), *model.likelihood.parameters()]},
            {"params": [*model.decoder.parameters()], "weight_decay": decay},
        ]
        optimizer = torch.optim.SGD(groups, 0.1)
        model(x).total.backward()
        optimizer.step()
        steps.append([value.detach() for value in model.parameters()])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other)


def test_gp_of_a_linear_decoder_is_its_squared_weights() -> None:
    model = made("rae", penalty="gp", probes=4_000)
    found = model(torch.randn(3, 6)).terms["smoothness"]
    torch.testing.assert_close(found, weights_of(model.decoder).square().sum().expand(3), rtol=0.05, atol=0.0)


def test_gp_is_not_the_gradient_of_the_summed_output() -> None:
    """Nor of the summed squares: what goes by the same name elsewhere."""
    model = made("rae", "mlp", penalty="gp", probes=500)
    x = torch.randn(3, 6)
    found = model(x).terms["smoothness"].detach()
    z = model.encode(x).mean.detach().requires_grad_()
    output = model.decode(z)
    for summed in (output.sum(), output.square().sum()):
        (slope,) = torch.autograd.grad(summed, z, retain_graph=True)
        assert not torch.allclose(slope.square().sum(1), found, rtol=0.2)


def test_the_length_is_half_the_squared_code() -> None:
    model, x = made("rae"), torch.randn(4, 6)
    loss = model(x)
    torch.testing.assert_close(loss.terms["length"], loss.posterior.mean.square().sum(1) / 2)
    assert loss.weights == {"length": 0.01, "weights": 1e-3}


def test_a_spectral_norm_is_the_network_s() -> None:
    with pytest.raises(ConfigError, match="--spectral decoder --start random"):
        diabolo.train("digits", model="rae", penalty="sn", latent_dim=2, epochs=1)
    model = diabolo.train(
        "digits", model="rae", penalty="sn", latent_dim=2, epochs=1, spectral="decoder", start="random", widths=(8,)
    )
    assert set(model.info["result"]["test"]) >= {"reconstruction", "length"}
    assert "weights" not in model.info["result"]["test"]


def test_samples_come_from_a_density_that_is_fitted_to_its_codes() -> None:
    data = diabolo.open_dataset("digits")
    model = diabolo.train(data, model="rae", latent_dim=4, epochs=10, widths=(32,))
    with pytest.raises(DiaboloError, match="fit"):
        model.sample(3, seed=0)
    model.fit_prior("gmm", data, components=5)
    assert model.sample(3, seed=0).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("contractive", {"weight": -1.0}, "weight should be a number of at least 0"),
        ("contractive", {"probes": -1}, "probes should be a number of directions"),
        ("rae", {"beta": -1.0}, "beta should be a number of at least 0"),
        ("rae", {"weight": -1.0}, "weight should be a number of at least 0"),
        ("rae", {"probes": 0}, "probes should be a number of directions of at least 1"),
        ("rae", {"penalty": "l1"}, "penalty should be .*l2.*l1"),
    ],
)
def test_settings_that_cannot_be(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made(name, **options)


def test_a_variant_sees_a_batch_of_labels_and_places_no_differently() -> None:
    model = made("contractive", probes=0)
    x = torch.randn(4, 6)
    with_labels = model.objective.loss(Batch(x, torch.zeros(4, dtype=torch.int64), torch.arange(4)), model)
    torch.testing.assert_close(with_labels.terms["contraction"], model(x).terms["contraction"])
