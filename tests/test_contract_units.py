"""What the contract says of codes of few active units: decoded by what belongs to them, or as rows, with one result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diabolo.evaluation import terms
from diabolo.models import Preprocess, Units, build_model
from diabolo.models.networks import Dictionary
from diabolo.models.networks.dictionary import Directions, Rows
from diabolo.models.units import sums_of
from diabolo.runs import make_run_config, start

WIDTH, VALUES = 40, 6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_units(rows: int = 7) -> Units:
    """Units of which an example has none to five, the last one none."""
    dense = torch.rand(rows, WIDTH, generator=seeded(0)) - 0.95
    dense[-1] = -1
    return Units.at(dense, (dense > 0).flatten().nonzero()[:, 0])


def test_units_and_rows_are_the_same_code() -> None:
    units = some_units()
    dense = units.dense()
    assert len(units.numbers) == int((dense > 0).sum()) > 7
    assert torch.equal(dense[units.rows, units.numbers], units.values)
    again = Units.at(dense, (dense > 0).flatten().nonzero()[:, 0])
    assert all(torch.equal(one, other) for one, other in zip(units[:3], again[:3], strict=True))


def test_as_many_units_of_each_example() -> None:
    numbers = torch.tensor([[3, 1], [0, 2]])
    dense = Units.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), numbers, 4).dense()
    assert dense.tolist() == [[0, 2, 0, 1], [3, 0, 4, 0]]


def test_sums_are_those_of_a_product() -> None:
    units, table = some_units(), torch.randn(7, 3, generator=seeded(1))
    torch.testing.assert_close(sums_of(units.numbers, units.rows, units.values, table, WIDTH), units.dense().T @ table)


@pytest.mark.parametrize("network", ["linear", "mlp", "dictionary"])
def test_every_decoder_takes_units(network: str) -> None:
    preprocess = Preprocess(event_shape=(VALUES,), layout="F", scale="none")
    model = build_model(preprocess, network=network, likelihood="gaussian", latent_dim=WIDTH)
    units = some_units()
    torch.testing.assert_close(model.decode(units), model.decode(units.dense()))


@pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
def test_a_dictionary_computes_the_gradients_of_its_formula(*, double: bool) -> None:
    """Few entries of the encoder's gradient, the active directions alone, and nothing along a direction."""
    encoder, decoder = Dictionary().build((VALUES,), WIDTH, WIDTH, VALUES)
    assert isinstance(encoder, Rows)
    assert isinstance(decoder, Directions)
    with torch.no_grad():
        decoder.weight *= 1 + torch.rand(WIDTH, 1, generator=seeded(2))  # of any length
        encoder.centre += 0.5
    parameters: list[Any] = [*encoder.parameters(), *decoder.parameters()]
    x = torch.randn(9, VALUES, generator=seeded(3), requires_grad=double)

    def ours() -> Tensor:
        features = encoder(x)
        values, numbers = features.topk(2, dim=1)
        output: Tensor = decoder(Units.of(values.relu(), numbers, WIDTH))
        return output

    def formula() -> Tensor:
        features = (x - encoder.centre) @ encoder.weight.T + encoder.bias
        values, numbers = features.topk(2, dim=1)
        code = torch.zeros_like(features).scatter(1, numbers, values.relu())
        return code @ F.normalize(decoder.weight, dim=1) + decoder.bias

    torch.testing.assert_close(ours(), formula())
    inputs = [x, *parameters] if double else parameters
    pairs = [torch.autograd.grad((output - x).square().sum(), inputs) for output in (ours(), formula())]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    slope = pairs[0][3 if double else 2]
    assert (slope * decoder.weight).sum(1).abs().max() < 1e-4, "the length of a direction learns nothing"


def test_a_gradient_of_many_entries_is_the_product() -> None:
    encoder = Rows(VALUES, WIDTH)
    x = torch.randn(9, VALUES, generator=seeded(3))
    (gradient,) = torch.autograd.grad(encoder(x).square().sum(), encoder.weight)
    torch.testing.assert_close(gradient, 2 * (x @ encoder.weight.T + encoder.bias).T @ x)


def test_outputs_may_be_cut_at_zero() -> None:
    encoder, _ = Dictionary(code_activation="relu").build((VALUES,), WIDTH, WIDTH, VALUES)
    plain, _ = Dictionary().build((VALUES,), WIDTH, WIDTH, VALUES)
    plain.load_state_dict(encoder.state_dict())
    x = torch.randn(9, VALUES, generator=seeded(3))
    assert torch.equal(encoder(x), plain(x).relu())


def test_a_gradient_of_a_gradient_is_there() -> None:
    encoder = Rows(VALUES, WIDTH)
    x = torch.randn(9, VALUES, generator=seeded(3), requires_grad=True)
    (slope,) = torch.autograd.grad(encoder(x).square().sum(), x, create_graph=True)
    (gradient,) = torch.autograd.grad(slope.square().sum(), encoder.weight)
    assert gradient.count_nonzero()


def test_the_variance_of_many_codes_is_that_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes of thousands of units are not kept until the end of an evaluation."""
    x = np.random.default_rng(0).normal(3, 1, (3500, VALUES)).astype(np.float32)
    preprocess = Preprocess(event_shape=(VALUES,), layout="F", scale="none")
    model = build_model(preprocess, network="linear", likelihood="gaussian", latent_dim=3)
    whole = terms._Variance()
    parts = terms._Variance()
    monkeypatch.setattr(terms, "CODES_AT_ONCE", 5000)
    for part in np.split(x, 7):
        parts.add(model.encode(torch.from_numpy(part)).mean.detach())
    assert parts.count > 0
    monkeypatch.setattr(terms, "CODES_AT_ONCE", 10**9)
    whole.add(model.encode(torch.from_numpy(x)).mean.detach())
    torch.testing.assert_close(parts.value(), whole.value())


def test_a_dictionary_starts_no_further_from_examples_than_their_mean(tmp_path: Path) -> None:
    """Of many units half are active where nothing chooses, and their sum is many times an example."""
    x = np.random.default_rng(0).normal(2, 1, (500, VALUES)).astype(np.float32)
    options: dict[str, Any] = {"network": "dictionary", "latent_dim": 200, "scaling": "none", "precision": "float32"}
    np.save(tmp_path / "x.npy", x)
    for model in ("jumprelu", "matryoshka", "topk"):
        run_config = make_run_config(str(tmp_path / "x.npy"), model=model, epochs=1, threads=1, **options)
        started = start(run_config).training.model.eval()
        error = (started.passed(torch.from_numpy(x))[1].detach() - torch.from_numpy(x)).square().mean()
        assert error < x.var(), model
