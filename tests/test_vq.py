"""Codebooks: k-means in closed form, tokens there and back, dead entries, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

import diabolo
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.metrics import measure_model
from diabolo.metrics._tokens import measure_tokens
from diabolo.models import Model, Preprocess, Space, build_model
from diabolo.models.objectives import Batch
from diabolo.models.objectives._quantise import Codebooks, Nearest, quantised, split_entries
from diabolo.models.objectives._tokens import positions_of, rows_of

OPTIONS: dict[str, Any] = {"model": "vq", "latent_dim": 8, "positions": 8, "widths": (24,), "epochs": 2, "codes": 16}
PLACES = {"network": "conv", "widths": None, "positions": None, "spatial": True, "latent_dim": 3}
GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(400, 3, generator=GENERATOR)


class Same(torch.nn.Module):
    """Flat numbers as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def identity(**options: Any) -> Model:
    """Tables of four numbers, which are their own codes."""
    preprocess = Preprocess(event_shape=(4,), layout="F", scale="none")
    settings = {"model": {"codes": 8, "positions": 2, **options}, "likelihood": {"variance": 0.5}}
    return build_model(
        preprocess, model="vq", network=(Same(), Same()), likelihood="gaussian", latent_dim=4, options=settings,
        space=Space(examples=400),
    )  # fmt: skip


def step(model: Model, x: Tensor) -> dict[str, Tensor]:
    """One step of identity networks, which have nothing to learn but their entries; its statistics."""
    loss = model.train().objective.loss(Batch(x), model)
    model.update(loss.statistics, GENERATOR)
    return loss.statistics


# --- quantisation -----------------------------------------------------------------------------------------------------


def test_codes_are_cut_into_vectors_and_put_together() -> None:
    z = torch.arange(24.0).view(2, 12)
    rows = rows_of(z, 4)
    assert rows.shape == (2, 4, 3)
    assert rows[0, 1].tolist() == [1, 5, 9], "channels first, as in a map of 3 channels and 4 places"
    assert torch.equal(positions_of(rows), z)


def test_the_nearest_entry_is_the_nearest() -> None:
    book = torch.randn(1, 9, 3, generator=GENERATOR)
    index, sums = quantised(ROWS, book)
    assert torch.equal(index[:, 0], torch.cdist(ROWS, book[0]).argmin(1))
    assert torch.equal(sums[0], book[0][index[:, 0]])


def test_to_quantise_twice_is_to_quantise_once() -> None:
    model = identity()
    x = torch.randn(50, 4, generator=GENERATOR)
    once = model.encode(x).mean
    assert torch.equal(model.encode(once).mean, once)
    assert torch.equal(model.objective.nearest(x), once)


def test_a_second_level_of_zeros_changes_nothing() -> None:
    books = torch.randn(1, 9, 3, generator=GENERATOR)
    index, sums = quantised(ROWS, books)
    index2, sums2 = quantised(ROWS, torch.cat([books, torch.zeros_like(books)]))
    assert torch.equal(index2[:, :1], index)
    assert torch.equal(sums2[-1], sums[-1])


def test_each_level_takes_what_is_left() -> None:
    books = torch.randn(3, 9, 3, generator=GENERATOR)
    books[1:] /= 4
    _, sums = quantised(ROWS, books)
    errors = (ROWS - sums).square().mean((1, 2))
    assert errors[2] < errors[1] < errors[0]


def test_the_gradient_passes_straight_through() -> None:
    model = identity()
    features = torch.randn(5, 4, generator=GENERATOR, requires_grad=True)
    code = model.objective.posterior(features, Batch(features))
    weights = torch.randn(5, 4, generator=GENERATOR)
    (slope,) = torch.autograd.grad((code.mean * weights).sum(), features)
    assert torch.equal(slope, weights)
    assert torch.equal(code.mean, model.objective.nearest(features)), "and the forward value is the entry, exactly"


# --- codebooks --------------------------------------------------------------------------------------------------------


def test_a_step_is_the_running_mean_of_the_members() -> None:
    model = identity(decay=0.9, restart=0.0)
    books: Any = model.objective.codebooks
    old, usage = books.books[0].clone().double(), books.usage[0].clone().double()
    x = torch.randn(64, 4, generator=GENERATOR)
    rows = rows_of(x, 2).flatten(0, 1).double()
    nearest = torch.cdist(rows, old).argmin(1)
    step(model, x)
    for entry in range(8):
        own = rows[nearest == entry]
        count = 0.9 * usage[entry] + 0.1 * len(own)
        mean = (0.9 * usage[entry] * old[entry] + 0.1 * own.sum(0)) / count if len(own) else old[entry]
        assert torch.allclose(books.books[0, entry].double(), mean, atol=1e-6)
        assert torch.isclose(books.usage[0, entry].double(), count)


def test_with_identity_networks_it_is_k_means() -> None:
    """Within 2% of the distortion of scikit-learn's, on the same vectors."""
    own = torch.Generator().manual_seed(0)  # the same, whichever tests were before
    centres = 4 * torch.randn(8, 2, generator=own)
    rows = centres[torch.randint(8, (4_000,), generator=own)] + torch.randn(4_000, 2, generator=own)
    x = positions_of(rows.view(2_000, 2, 2))
    model = identity(decay=0.9)
    model.generator = own
    with torch.no_grad():
        model.objective.initialise(Batch(x[:500]), model)
    for _ in range(20):
        for part in torch.split(x[torch.randperm(2_000, generator=own)], 100):
            step(model, part)
    unit: Any = model.objective.get_buffer("unit")  # codes have a variance of 1
    found = (x - model.eval().encode(x).mean / unit).square().mean()
    best = KMeans(8, n_init=5, random_state=0).fit(rows.numpy()).inertia_ / rows.numel()
    assert found < 1.02 * best


def test_with_gradients_entries_learn_from_their_own_term_alone() -> None:
    model = identity(decay=0.0)
    x = torch.randn(9, 4, generator=GENERATOR, requires_grad=True)
    loss = model.train().objective.loss(Batch(x), model)
    books: Any = model.objective.codebooks.books
    for name, term in loss.terms.items():
        (slope,) = torch.autograd.grad(term.sum(), books, retain_graph=True, allow_unused=True, materialize_grads=True)
        assert bool(slope.abs().max() > 0) == (name == "codebook"), name


def test_dead_entries_move_beside_the_most_used() -> None:
    book, usage = torch.arange(4.0)[:, None], torch.tensor([9.0, 0.0, 4.0, 0.01])
    moved, counts = split_entries(book, usage, 0.1, torch.full((4, 1), 0.25))
    assert moved[:, 0].tolist() == [0.0, 0.25, 2.0, 2.25]
    assert counts.tolist() == [4.5, 4.5, 2.0, 2.0]
    assert book[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0], "new tensors"


def test_a_codebook_far_away_comes_back_into_use() -> None:
    books = Codebooks(1, 16, 3, ema=0.9, restart=0.01)
    with torch.no_grad():
        books.books += 100  # all but one entry are dead
        for _ in range(150):
            books.update(books.statistics(Nearest(ROWS, books.books, 1)), GENERATOR)
    assert len(quantised(ROWS, books.books)[0].unique()) >= 14


def test_without_restarts_it_stays_away() -> None:
    books = Codebooks(1, 16, 3, ema=0.9, restart=0.0)
    with torch.no_grad():
        books.books += 100
        for _ in range(150):
            books.update(books.statistics(Nearest(ROWS, books.books, 1)), GENERATOR)
    assert len(quantised(ROWS, books.books)[0].unique()) <= 4


def test_the_commitment_is_the_distance_from_every_level() -> None:
    model = identity(levels=2)
    x = torch.randn(6, 4, generator=GENERATOR)
    loss = model.eval().objective.loss(Batch(x), model)
    _, sums = quantised(rows_of(x, 2).flatten(0, 1), model.objective.codebooks.books)  # type: ignore[union-attr]
    expected = sum(((rows_of(x, 2).flatten(0, 1) - one).square().view(6, -1).sum(1) for one in sums), torch.zeros(6))
    assert torch.allclose(loss.terms["commitment"], expected)
    assert not loss.statistics, "an evaluation moves nothing"


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return np.asarray(diabolo.open_dataset("digits").x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"levels": 2},
        {"decay": 0.0},
        {"network": "conv", "widths": None, "positions": None, "spatial": True, "latent_dim": 3},
    ],
    ids=["flat", "levels", "gradient", "places"],
)
def test_tokens_say_all_of_a_code(tmp_path: Path, digits: np.ndarray, options: dict[str, Any]) -> None:
    chosen = {name: value for name, value in {**OPTIONS, **options}.items() if value is not None}
    model = diabolo.train("digits", out=tmp_path, **chosen)
    x = digits[:40]
    tokens = model.tokens(x)
    assert tokens.dtype == np.int64
    assert tokens.shape == (40, 4 if "spatial" in options else 8, options.get("levels", 1))
    assert 0 <= tokens.min() <= tokens.max() < 16
    assert np.array_equal(model.codes_of(tokens), model.encode(x, flat=True))
    copies = model.reconstruct(x)
    assert np.array_equal(model.decode(tokens=tokens), copies)
    assert np.array_equal(model.decode(model.encode(x)), copies)
    again = diabolo.load(tmp_path)
    assert np.array_equal(again.tokens(x), tokens)
    assert np.array_equal(again.reconstruct(x), copies)


def test_a_code_between_entries_is_decoded_as_the_nearest(digits: np.ndarray) -> None:
    model = diabolo.train("digits", **OPTIONS)
    codes = model.encode(digits[:5])
    assert np.array_equal(model.decode(codes + 1e-4), model.decode(codes))


def test_usage_and_perplexity_are_those_of_the_whole_set(digits: np.ndarray) -> None:
    model = diabolo.train("digits", **OPTIONS)
    card = measure_model(model, digits[:300], metrics=["tokens"])
    counts = np.bincount(model.tokens(digits[:300]).ravel(), minlength=16)
    shares = counts[counts > 0] / counts.sum()
    entropy = -(shares * np.log2(shares)).sum()
    assert card["usage"].estimate.value == (counts > 0).sum()
    assert np.isclose(card["perplexity"].estimate.value, 2**entropy)
    assert np.isclose(card["token_bits"].estimate.value, 8 * entropy)


def test_errors_of_usage_lie_about_it() -> None:
    tokens = (2**16 * np.random.default_rng(0).random((400, 8, 1)) ** 4).astype(np.int64)  # many entries once or twice
    model = SimpleNamespace(model=SimpleNamespace(objective=SimpleNamespace(entries=2**16)), tokens=lambda *_: tokens)
    context = SimpleNamespace(model=model, x=tokens, own_labels=None, seed=0)
    found = {one.name: one.estimate for one in measure_tokens(context)}  # type: ignore[arg-type]
    assert found["usage"].value == len(np.unique(tokens)) > 1000
    for estimate in found.values():
        assert 0 < estimate.low < estimate.value < estimate.high
        assert estimate.high - estimate.low < 0.1 * estimate.value


def test_other_models_have_none_of_it(digits: np.ndarray) -> None:
    model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1)
    with pytest.raises(ConfigError, match="no tokens"):
        model.tokens(digits[:2])
    with pytest.raises(ConfigError, match="no tokens"):
        model.decode(tokens=np.zeros((1, 2, 1), int))
    assert "usage" not in measure_model(model, digits[:50], metrics=["tokens"])


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (np.full((2, 8, 1), 16), DataError, "numbers from 0 to 15"),
        (np.full((2, 8, 1), -1), DataError, "numbers from 0 to 15"),
        (np.zeros((2, 8)), DataError, "whole numbers"),
        (np.zeros((2, 8), int), ShapeError, r"\(n, 8, 1\), positions and levels"),
        (np.zeros((2, 7, 1), int), ShapeError, r"\(n, 8, 1\)"),
        (np.zeros((2, 8, 2), int), ShapeError, r"\(n, 8, 1\)"),
    ],
)
def test_bad_tokens_are_said(tokens: np.ndarray, error: type[Exception], message: str, digits: np.ndarray) -> None:
    model = diabolo.train(digits[:200], **{**OPTIONS, "epochs": 1})
    with pytest.raises(error, match=message):
        model.decode(tokens=tokens)
    with pytest.raises(ConfigError, match="codes, or tokens"):
        model.decode()
    with pytest.raises(ConfigError, match="codes, or tokens"):
        model.decode(np.zeros((1, 8)), tokens=np.zeros((1, 8, 1), int))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codes": 1}, "codes should be a number of entries of at least 2"),
        ({"codes": 100_000}, "codes should be at most the"),
        ({"positions": 3}, "positions should be a divisor of the code's 8 dimensions"),
        ({"levels": 0}, "levels should be"),
        ({"decay": 1.0}, "decay should be"),
        ({"commitment": -1.0}, "commitment should be"),
        ({"restart": 1.0}, "restart should be"),
        ({"spatial": True}, "spatial"),
        ({"network": "conv", "widths": None, "spatial": True, "positions": 2}, "positions should be left out"),
    ],
)
def test_bad_options_are_said(options: dict[str, Any], message: str) -> None:
    chosen = {name: value for name, value in {**OPTIONS, **options}.items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        diabolo.train("digits", **chosen)


def test_entries_that_are_left_out_follow_the_data(digits: np.ndarray) -> None:
    options = {name: value for name, value in OPTIONS.items() if name != "codes"}
    few = diabolo.train(digits[:40], **options)
    assert few.model.objective.entries == 32, "32 examples of 8 vectors, 8 to each entry, and a power of 2"
    fewest = diabolo.train(digits[:5], **{**options, "positions": 1, "validation": 0, "test": 0})
    assert fewest.model.objective.entries == 2, "fewer vectors than eight"
    assert diabolo.train(digits, **options).model.objective.entries == 512
