"""The largest units: closed forms, the threshold of an evaluation, dead units, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diabolo
from diabolo.errors import ConfigError
from diabolo.evaluation.terms import evaluate
from diabolo.models import Batch, Model, Preprocess, build_model
from diabolo.models.objectives._active_units import TopUnits, largest
from diabolo.models.principal import geometric_median, start_at_mean
from diabolo.runs import resume
from stepping import Pull, PulledPlugError, needs_compiler

VALUES, WIDTH = 8, 24


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.randn(50, VALUES, generator=seeded(0))


def made(network: str = "dictionary", name: str = "topk", seed: int = 0, **options: Any) -> Model:
    """A model whose reconstruction is |x - y|^2 + D / 2 log pi."""
    preprocess = Preprocess(event_shape=(VALUES,), layout="F", scale="none")
    settings = {"model": options, "likelihood": {"variance": 0.5}}
    return build_model(
        preprocess, model=name, network=network, likelihood="gaussian", latent_dim=WIDTH, options=settings, seed=seed
    )


def objective_of(model: Model) -> TopUnits:
    assert isinstance(model.objective, TopUnits)
    return model.objective


def started(**options: Any) -> Model:
    model = made(**options)
    with torch.no_grad():
        model.objective.initialise(Batch(X), model.eval())
    return model.train()


def gradients(model: Model, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


# --- the choice -------------------------------------------------------------------------------------------------------


def test_all_units_are_a_relu_autoencoder() -> None:
    model = made(k=WIDTH)
    loss = model(X)
    (relu,) = [model.decode(model.encoder(X).relu())]
    torch.testing.assert_close(loss.output, relu)
    ours = gradients(model, loss.total)
    theirs = gradients(model, (relu - X).square().sum(1).mean())
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_an_example_keeps_its_k_largest_and_a_batch_those_of_all(k: int) -> None:
    features = torch.randn(50, WIDTH, generator=seeded(1))
    each, batch = (objective_of(made(k=k, scope=scope)).chosen(features).dense() for scope in ("example", "batch"))
    assert (each > 0).sum(1).eq(k).all()
    assert torch.equal(each[each > 0], features[each > 0])
    assert int((batch > 0).sum()) == 50 * k
    assert len((batch > 0).sum(1).unique()) > 1, "some examples get more than others"
    assert features[batch > 0].min() >= features[batch == 0].max()


def test_the_batch_of_one_is_its_example() -> None:
    features = torch.randn(1, WIDTH, generator=seeded(1))
    each, batch = (objective_of(made(k=5, scope=scope)).chosen(features).dense() for scope in ("example", "batch"))
    assert torch.equal(each, batch)


@pytest.mark.parametrize("kind", ["normal", "zeros", "few", "equal"])
def test_the_largest_of_many_are_found_by_a_guess(kind: str) -> None:
    numbers = torch.randn(200_000, generator=seeded(0))
    if kind != "normal":
        numbers = {"zeros": numbers * 0, "few": numbers.clamp(min=3), "equal": numbers.round()}[kind]
    found = largest(numbers, 2_000)
    assert len(found.unique()) == 2_000
    assert torch.equal(found, found.sort().values)
    assert torch.equal(numbers[found].sort().values, numbers.topk(2_000).values.sort().values)


def test_negative_outputs_are_cut() -> None:
    features = -torch.rand(4, WIDTH, generator=seeded(1))
    for scope in ("example", "batch"):
        assert not objective_of(made(k=5, scope=scope)).chosen(features).dense().count_nonzero()


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_an_evaluation_has_a_threshold_in_the_place_of_a_batch() -> None:
    model = started(k=3, scope="batch")
    threshold = objective_of(model).threshold
    assert threshold > 0
    model.eval()
    codes = model.encode(X).mean.detach()
    assert codes.count_nonzero() / 50 == pytest.approx(3, rel=0.1), "as many as in training"
    torch.testing.assert_close(codes[7:8], model.encode(X[7:8]).mean.detach())  # whatever its neighbours are
    assert codes[codes > 0].min() > threshold
    with torch.no_grad():
        assert torch.equal(model.train().encode(X).mean, codes), "also while it trains"


def test_the_threshold_follows_the_least_that_is_kept() -> None:
    model = started(k=3, scope="batch")
    objective = objective_of(model)
    before = objective.threshold.item()
    statistics = model(2 * X).statistics
    model.update(statistics, seeded(0))
    assert statistics["least"] > 1.5 * before
    assert objective.threshold.item() == pytest.approx(0.99 * before + 0.01 * statistics["least"].item())
    model.eval()
    held = objective.threshold.clone()
    assert model(X).statistics == {}, "nothing moves in an evaluation"
    assert torch.equal(objective.threshold, held)


def test_training_and_evaluation_of_examples_choose_alike() -> None:
    model = made(k=3)
    trained = model(X).posterior.mean
    assert torch.equal(trained, model.eval()(X).posterior.mean)


def test_an_evaluation_takes_chunks_of_examples() -> None:
    model, seen = started(k=2, scope="batch"), []
    encode = model.encode

    def counted(x: Tensor, y: Tensor | None = None) -> Any:
        seen.append(len(x))
        return encode(x, y)

    model.encode = counted  # type: ignore[method-assign]
    evaluate(model, np.zeros((2500, VALUES), np.float32))
    assert seen == [1000, 1000, 500]


# --- dead units -------------------------------------------------------------------------------------------------------


def test_dead_units_are_counted_in_steps() -> None:
    model = made(k=2)
    for _ in range(3):
        loss = model(X[:3])
        model.update(loss.statistics, seeded(0))
    fired = loss.posterior.mean.gt(0).any(0)
    assert 0 < fired.sum() < WIDTH
    assert torch.equal(objective_of(model).silent, torch.where(fired, 0.0, 3.0))
    assert torch.equal(loss.statistics["fired"], loss.posterior.mean.gt(0).sum(0).float())


@pytest.mark.parametrize(("auxiliary_k", "count"), [(0, 2), (4, 4)])
def test_the_auxiliary_loss_is_that_of_the_paper(auxiliary_k: int, count: int) -> None:
    """AuxK: |e - e'|^2 with the error e detached, e' of the dead units that are nearest to being active."""
    model = made(k=2, dead=5, auxiliary=0.5, auxiliary_k=auxiliary_k)
    objective = objective_of(model)
    objective.silent[:10] = 5
    loss = model(X)
    features = model.encoder(X)
    error = (X - loss.output).detach()
    dead = torch.where(objective.silent >= 5, features, -torch.inf).topk(count, dim=1)
    code = torch.zeros_like(features).scatter(1, dead.indices, dead.values)
    expected = (error - code @ model.decoder.directions).square().sum(1)  # type: ignore[operator, union-attr]
    term = loss.terms["auxiliary"]
    torch.testing.assert_close(term, expected - error.square().sum(1), rtol=1e-4, atol=1e-4)
    ours, theirs = gradients(model, term.mean()), gradients(model, expected.mean())
    for name in ("encoder.weight", "encoder.bias", "decoder.weight"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
        assert ours[name][:10].count_nonzero()
        assert not ours[name][10:].count_nonzero(), "what is alive does not learn from it"
    assert ours["decoder.bias"].abs().max() < 1e-4, "the bias is the others'"
    assert loss.weights == {"auxiliary": 0.5}


def test_few_dead_units_weigh_less_and_none_nothing() -> None:
    model = made(k=2, dead=5)
    objective = objective_of(model)
    assert not model(X).terms["auxiliary"].count_nonzero()
    objective.silent[3] = 5
    one = model(X).terms["auxiliary"]
    full = one * 2  # of k dead ones, which have full weight
    error, features = X - model(X).output, model.encoder(X)
    alone = error - features[:, 3:4] * model.decoder.directions[3]  # type: ignore[operator, union-attr, index]
    torch.testing.assert_close(full, alone.square().sum(1) - error.square().sum(1), rtol=1e-3, atol=1e-3)
    assert "auxiliary" not in made(k=2, auxiliary=0.0)(X).terms


# --- training ---------------------------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {"model": "topk", "network": "dictionary", "latent_dim": WIDTH, "k": 3, "threads": 1}
ROWS = np.random.default_rng(0).normal(2, 1, (400, VALUES)).astype(np.float32)


@pytest.mark.parametrize("scope", ["example", "batch"])
def test_a_run_goes_on_after_a_kill(scope: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "scope": scope, "dead": 3, "epochs": 3}
    whole = diabolo.train(ROWS, **options)
    with pytest.raises(PulledPlugError):
        diabolo.train(ROWS, out=tmp_path, callbacks=[Pull(9)], checkpoint_seconds=1e-9, **options)
    again = resume(tmp_path, source=ROWS)
    assert 0 < again.training.steps <= 9
    parts = again.go()
    ours, theirs = whole.model.state_dict(), parts.model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    loaded = diabolo.load(tmp_path)
    assert np.array_equal(loaded.encode(ROWS), parts.encode(ROWS))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("options", [{"scope": "batch"}, {"scope": "example"}, {"model": "matryoshka"}])
def test_a_compiled_step_is_the_same_step(options: dict[str, Any]) -> None:
    settings = {**OPTIONS, **options, "epochs": 2, "dead": 3, "batch_size": 64, "precision": "float32"}
    one, two = (diabolo.train(ROWS, compile=how, **settings).model.state_dict() for how in ("off", "on"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


def test_parts_of_a_batch_are_counted_together() -> None:
    options = {**OPTIONS, "epochs": 2, "dead": 3, "batch_size": 64}
    one, two = (diabolo.train(ROWS, accumulate=parts, **options).model for parts in (1, 2))
    assert torch.equal(objective_of(one).silent, objective_of(two).silent)


def test_a_known_dictionary_is_found() -> None:
    rng = np.random.default_rng(1)
    atoms = np.linalg.qr(rng.normal(size=(16, 16)))[0][:12]  # orthogonal
    active = np.argsort(rng.random((4000, 12)), 1)[:, :2]
    codes = np.zeros((4000, 12))
    np.put_along_axis(codes, active, rng.uniform(1, 2, active.shape), 1)
    x = (codes @ atoms).astype(np.float32)
    model = diabolo.train(
        x, model="topk", network="dictionary", latent_dim=16, k=2, epochs=15, lr=0.01, scaling="none", dead=100,
        threads=1, precision="float32",
    )  # fmt: skip
    directions: Any = model.model.decoder.directions.detach()  # type: ignore[union-attr]
    assert np.abs(directions.numpy() @ atoms.T).max(0).min() > 0.95


def test_the_start_is_the_geometric_median() -> None:
    x = ROWS.copy()
    x[:20] += 1000
    point = geometric_median(x)
    assert np.abs(point - 2).max() < 0.3, "outliers move a mean"
    model = made()
    start_at_mean(model, model.preprocess, x, "median")
    assert torch.equal(model.encoder.centre, torch.from_numpy(point))
    assert torch.equal(model.decoder.bias, torch.from_numpy(point))
    assert torch.equal(model.encoder.weight, model.decoder.weight)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"k": 25}, "k should be at most the code's 24 units, and was given 25"),
        ({"k": -1}, "k should be a number of units of at least 1, or 0 for the code's size, and was given -1"),
        ({"scope": "row"}, r"scope should be example \| batch, and was given 'row'"),
        ({"auxiliary": -0.1}, "auxiliary should be a number of at least 0, and was given -0.1"),
        ({"auxiliary_k": -1}, "auxiliary_k should be a number of units of at least 1, or 0 for k"),
        ({"dead": -1}, "dead should be a number of steps of at least 0, and was given -1"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        made(**options)


def test_a_batch_that_chooses_together_is_not_cut_into_parts() -> None:
    with pytest.raises(ConfigError, match="The choice of the largest units of a batch, scope='batch', is of a whole"):
        diabolo.train(ROWS, **OPTIONS, scope="batch", accumulate=2)
