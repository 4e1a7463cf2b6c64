"""Priors of tokens: shares by hand, what comes before, files, what is refused; and the face that all priors wear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.errors import ConfigError, DataError, RunError, ShapeError
from diabolo.models import CodePrior
from diabolo.models.priors import AutoregressivePrior, CategoricalPrior, fit_prior, load_prior

SMALL: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "epochs": 25, "dropout": 0.0, "lr": 0.01}


def chain(n: int = 600, length: int = 5, entries: int = 4, seed: int = 0) -> np.ndarray:
    """Tokens that mostly follow the one before by one: what each is by itself says nothing."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, entries, n)]
    for _ in range(length - 1):
        jump = np.where(rng.random(n) < 0.9, 1, rng.integers(0, entries, n))
        rows.append((rows[-1] + jump) % entries)
    return np.stack(rows, 1)[..., None]


def test_each_token_by_itself_is_its_share() -> None:
    tokens = np.array([[[0], [1]]] * 30 + [[[1], [1]]] * 10)
    prior = CategoricalPrior().fit(tokens, seed=3, entries=3)
    fitted = tokens[np.random.default_rng(3).permutation(40)[4:]][:, :, 0]
    for value in (0, 1, 2):
        shares = [((fitted[:, place] == value).sum() + 1 / 3) / 37 for place in (0, 1)]
        found = prior.log_prob(np.array([[[value], [value]]]))
        assert np.isclose(found[0], np.log(shares).sum())
    drawn = prior.sample(4_000, seed=0)
    assert abs((drawn[:, 0] == 0).mean() - 0.75) < 0.03


def test_probabilities_sum_to_one() -> None:
    tokens = chain(length=2, entries=3)
    every = np.array([[[a], [b]] for a in range(3) for b in range(3)])
    for prior in (CategoricalPrior(), AutoregressivePrior(**{**SMALL, "epochs": 2})):
        assert np.isclose(np.exp(prior.fit(tokens, entries=3).log_prob(every)).sum(), 1, atol=1e-6)


def test_what_comes_before_is_learned() -> None:
    prior = AutoregressivePrior(**SMALL).fit(chain(), entries=4)
    info = prior.info
    follows = 0.9 + 0.1 / 4
    best = -(np.log(4) + 4 * -(follows * np.log(follows) + (1 - follows) * np.log((1 - follows) / 3)))
    assert info["held_out_uniform"] == pytest.approx(-5 * np.log(4))
    assert info["held_out_categorical"] == pytest.approx(-5 * np.log(4), abs=0.1)
    assert info["held_out"] > best - 0.4
    drawn = prior.sample(1_000, seed=0)[..., 0]
    assert ((drawn[:, 1:] - drawn[:, :-1]) % 4 == 1).mean() == pytest.approx(follows, abs=0.05)


def test_a_token_depends_on_those_before_it_alone() -> None:
    prior = AutoregressivePrior(**{**SMALL, "epochs": 1}).fit(chain(), entries=4)
    network = prior._built()
    tokens = torch.from_numpy(chain(8)[..., 0])
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 4
    with torch.no_grad():
        one, other = network(tokens), network(changed)
    assert torch.allclose(one[:, :4], other[:, :4], atol=1e-6)
    assert not torch.allclose(one[:, 4], other[:, 4])


@pytest.mark.parametrize("kind", ["categorical", "autoregressive"])
def test_same_seed_same_file_same_draws(tmp_path: Path, kind: str) -> None:
    options = {**SMALL, "epochs": 2} if kind == "autoregressive" else {}
    one, two = (fit_prior(kind, chain(), entries=6, seed=5, **options) for _ in range(2))
    assert np.array_equal(one.sample(20, seed=1), two.sample(20, seed=1))
    one.save(tmp_path / "prior.safetensors")
    again = load_prior(tmp_path / "prior.safetensors")
    assert again.info == one.info
    assert np.array_equal(again.sample(20, seed=1), one.sample(20, seed=1))
    assert np.array_equal(again.log_prob(chain(30)), one.log_prob(chain(30)))
    assert again.of_tokens


def test_a_file_of_other_sizes_is_refused(tmp_path: Path) -> None:
    prior = CategoricalPrior().fit(chain(), entries=4)
    arrays = {**prior._fitted(), "shape": np.array([7, 1, 4])}
    with pytest.raises(RunError, match="shares"):
        CategoricalPrior().restore(arrays, prior.info)
    with pytest.raises(RunError, match="which tokens"):
        CategoricalPrior().restore({"shares": arrays["shares"]}, prior.info)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        (np.zeros((9, 4)), ShapeError, r"\(n, positions, levels\)"),
        (np.zeros((9, 4, 1)), DataError, "whole numbers"),
        (np.full((9, 4, 1), -1), DataError, "whole numbers from 0"),
        (np.full((9, 4, 1), 4), DataError, "from 0 to 3"),
    ],
)
def test_bad_tokens_are_said(tokens: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CategoricalPrior().fit(tokens, entries=4)


def test_few_tokens_are_said() -> None:
    with pytest.raises(DataError, match="at least"):
        AutoregressivePrior().fit(chain(40), entries=4)
    with pytest.raises(ShapeError, match="prior is one of tokens of shape"):
        CategoricalPrior().fit(chain(), entries=4).log_prob(chain(length=4))
    with pytest.raises(ConfigError, match="heads should be a divisor of the width"):
        AutoregressivePrior(width=10, heads=4)


def test_a_model_samples_by_its_tokens(tmp_path: Path) -> None:
    model = diabolo.train(
        "digits", model="vq", latent_dim=8, positions=8, codes=16, widths=(16,), epochs=1, out=tmp_path
    )
    with pytest.raises(ConfigError, match="fit_prior\\('autoregressive'\\)"):
        model.sample(2)
    prior = model.fit_prior("categorical")
    assert prior.info["held_out_uniform"] == pytest.approx(-8 * np.log(16))
    drawn = model.sample(5, seed=0)
    assert np.array_equal(drawn, model.decode(tokens=prior.sample(5, seed=0)))
    model.save(tmp_path)
    assert np.array_equal(diabolo.load(tmp_path).sample(5, seed=0), drawn)
    assert model.fit_prior("gmm", components=2).sample(3, seed=0).shape == (3, 8), "one of codes fits, too"
    other = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1)
    with pytest.raises(ConfigError, match="no tokens"):
        other.fit_prior("categorical")


def test_fitted_priors_wear_the_face_of_a_variant_s_own() -> None:
    codes = np.random.default_rng(0).normal(3, 2, (4_000, 2)).astype(np.float32)
    prior = fit_prior("gaussian", codes)
    assert isinstance(prior, CodePrior)
    assert prior.name == "a fitted gaussian"
    z = torch.from_numpy(codes[:7])
    assert torch.allclose(prior.log_prob(z).double(), torch.from_numpy(prior.log_prob(codes[:7])), atol=1e-5)
    mean, deviation = prior.moments()
    assert torch.allclose(mean, torch.full((2,), 3.0), atol=0.15)
    assert torch.allclose(deviation, torch.full((2,), 2.0), atol=0.15)
    assert np.allclose(prior.quantiles(np.array([0.5])), 3, atol=0.15)
    one, two = (prior.draw(5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
