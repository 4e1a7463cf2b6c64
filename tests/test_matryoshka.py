"""Nested dictionaries: the prefixes of a code, one width, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from diabolo.errors import ConfigError
from diabolo.models import Model, Preprocess, build_model
from diabolo.models.objectives.matryoshka import Matryoshka

VALUES, WIDTH = 8, 24
X = torch.randn(50, VALUES, generator=torch.Generator().manual_seed(0))


def made(network: str = "dictionary", name: str = "matryoshka", **options: Any) -> Model:
    """A model whose reconstruction is |x - y|^2 + D / 2 log pi."""
    preprocess = Preprocess(event_shape=(VALUES,), layout="F", scale="none")
    settings = {"model": options, "likelihood": {"variance": 0.5}}
    return build_model(
        preprocess, model=name, network=network, likelihood="gaussian", latent_dim=WIDTH, options=settings
    )


@pytest.mark.parametrize("network", ["dictionary", "mlp"])
def test_each_prefix_reconstructs_alone(network: str) -> None:
    model = made(network, nested=(3, 0.5, 1.0), k=4)
    loss = model(X)
    expected = torch.zeros(50)
    for width in (3, 12):
        code = loss.posterior.mean.clone()
        code[:, width:] = 0
        expected = expected - model.log_likelihood(model.decode(code), X)
    torch.testing.assert_close(loss.terms["prefixes"], expected)
    whole = -model.log_likelihood(model.decode(loss.posterior.mean), X)
    torch.testing.assert_close(loss.terms["reconstruction"], whole)
    assert loss.posterior.mean.count_nonzero() == 50 * 4, "the units are chosen once, of all widths together"


def test_gradients_are_those_of_the_sum() -> None:
    model = made(nested=(3, 0.5, 1.0), k=4, auxiliary=0.0)
    loss = model(X)
    ours = torch.autograd.grad(loss.total, list(model.parameters()))
    code = model(X).posterior.mean  # with a gradient, as rows
    prefixes = [code * (torch.arange(WIDTH) < width) for width in (3, 12, WIDTH)]
    outputs = [prefix @ model.decoder.directions + model.decoder.bias for prefix in prefixes]  # type: ignore[union-attr, operator]
    total = torch.stack([(output - X).square().sum(1) for output in outputs]).sum(0).mean()
    theirs = torch.autograd.grad(total, list(model.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_one_width_is_topk_of_a_batch_bit_for_bit() -> None:
    one, other = made(nested=(1.0,), k=3), made(name="topk", scope="batch", k=3)
    losses = [model(X) for model in (one, other)]
    assert losses[0].terms.keys() == losses[1].terms.keys()
    assert torch.equal(losses[0].total, losses[1].total)
    gradients = [
        torch.autograd.grad(loss.total, list(model.parameters()))
        for loss, model in zip(losses, (one, other), strict=True)
    ]
    assert all(torch.equal(mine, its) for mine, its in zip(*gradients, strict=True))


def test_an_evaluation_has_the_prefixes_and_no_batch() -> None:
    model = made(nested=(6, WIDTH), k=3).eval()
    loss = model(X)
    assert set(loss.terms) == {"reconstruction", "auxiliary", "prefixes"}
    torch.testing.assert_close(loss.terms["prefixes"][:5], model(X[:5]).terms["prefixes"])


def test_widths_are_shares_or_numbers_and_never_empty() -> None:
    widths = {}
    for d in (1, 3, 4096):
        preprocess = Preprocess(event_shape=(VALUES,), layout="F", scale="none")
        model = build_model(preprocess, model="matryoshka", network="dictionary", latent_dim=d)
        assert isinstance(model.objective, Matryoshka)
        widths[d] = model.objective.prefixes
    assert widths == {1: [], 3: [1, 2], 4096: [256, 512, 1024, 2048]}


@pytest.mark.parametrize(
    ("widths", "sentence"),
    [
        ((), "nested should be numbers above 0, at least one"),
        ((-0.5, 1.0), "nested should be numbers above 0, at least one"),
        ((0.5, 0.25), "nested should be rising, up to the code's 24 units"),
        ((8, 25), "nested should be rising, up to the code's 24 units"),
        ((0.5, math.nan), "nested should be finite numbers"),
        ((0.5, math.inf), "nested should be finite numbers"),
    ],
)
def test_widths_out_of_range_are_refused(widths: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        made(nested=widths)
