"""Priors fitted afterwards: densities against closed forms, scikit-learn and integrals; draws, files, mistakes."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from scipy import stats
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.config import parameters
from diabolo.errors import ConfigError, DataError, DivergedError, MissingExtraError, RunError, ShapeError
from diabolo.models.priors import FlowPrior, GaussianPrior, MixturePrior, Prior, fit_prior, load_prior, priors

QUICK: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "gmm": {"components": 3},
    "flow": {"transforms": 2, "hidden": (16,), "epochs": 4},
    "two-stage": {"hidden": (16,), "epochs": 4, "draws": 20},
}
KINDS = list(QUICK)
LOG_2_PI = np.log(2 * np.pi)


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    """(500, 3) float32: correlated, skewed, of very different means and deviations."""
    return skewed(500)


def skewed(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((count, 3))
    z[:, 2] += z[:, 0] ** 2
    mix = np.array([[1.0, 0.7, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    return (z @ mix * [1, 10, 0.01] + [0, 100, -1]).astype(np.float32)


@pytest.fixture(scope="module")
def moons() -> np.ndarray:
    return make_moons(2000, noise=0.05, random_state=0)[0].astype(np.float32)


@pytest.fixture(scope="module", params=KINDS)
def prior(request: pytest.FixtureRequest, codes: np.ndarray) -> Prior:
    return fit_prior(request.param, codes, **QUICK[request.param])


def nine_tenths(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """The codes that are fitted, by the rule that `fit` documents."""
    return codes[np.random.default_rng(seed).permutation(len(codes))[len(codes) // 10 :]].astype(np.float64)


# --- densities --------------------------------------------------------------------------------------------------------


def test_a_gaussian_has_the_codes_mean_and_covariance(codes: np.ndarray) -> None:
    made = fit_prior("gaussian", codes, shrinkage=0)
    fitted = nine_tenths(codes)
    expected = stats.multivariate_normal(fitted.mean(0), np.cov(fitted.T, bias=True)).logpdf(codes)
    np.testing.assert_allclose(made.log_prob(codes), expected, rtol=1e-4)


def test_full_shrinkage_leaves_the_deviations_and_no_correlation(codes: np.ndarray) -> None:
    made = fit_prior("gaussian", codes, shrinkage=1)
    fitted = nine_tenths(codes)
    expected = stats.norm(fitted.mean(0), fitted.std(0)).logpdf(codes).sum(1)
    np.testing.assert_allclose(made.log_prob(codes), expected, rtol=1e-9)


def test_shrinkage_by_ledoit_and_wolf_is_better_where_codes_are_few() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((150, 128)), rng.standard_normal((1000, 128))
    truth = stats.norm.logpdf(many).sum(1).mean()
    chosen, none = (fit_prior("gaussian", few, shrinkage=how).log_prob(many).mean() for how in ("auto", 0.0))
    assert truth - 12 < chosen < truth
    assert none < chosen - 100


@pytest.mark.parametrize("covariance", ["full", "diag", "spherical", "tied"])
def test_a_mixture_has_the_density_that_scikit_learn_gives(codes: np.ndarray, covariance: str) -> None:
    made = fit_prior("gmm", codes, components=4, covariance=covariance, seed=3)
    fitted = nine_tenths(codes, seed=3)
    mean, deviation = fitted.mean(0), fitted.std(0)
    theirs = GaussianMixture(4, covariance_type=covariance, max_iter=200, random_state=3)
    theirs.fit((fitted - mean) / deviation)
    expected = theirs.score_samples((codes - mean) / deviation) - np.log(deviation).sum()
    np.testing.assert_allclose(made.log_prob(codes), expected, rtol=1e-8, atol=1e-8)


def test_a_mixture_of_one_is_the_gaussian(codes: np.ndarray) -> None:
    one, gaussian = fit_prior("gmm", codes, components=1), fit_prior("gaussian", codes, shrinkage=1e-6)
    np.testing.assert_allclose(one.log_prob(codes), gaussian.log_prob(codes), rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("gmm", {"components": 8}), ("flow", {"epochs": 8}), ("flow", {"univariate": "spline", "epochs": 5})],
)
def test_a_density_in_the_plane_integrates_to_one(moons: np.ndarray, kind: str, options: dict[str, Any]) -> None:
    made = fit_prior(kind, moons[:1000], **options)
    x, y = np.linspace(-5, 6, 300), np.linspace(-4, 4.5, 300)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    total = np.exp(made.log_prob(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert total == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("options", [{}, {"univariate": "spline"}])
def test_a_density_on_the_line_integrates_to_one(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 0.3, 600), rng.normal(3, 0.5, 600)])[:, None]
    made = fit_prior("flow", x, epochs=60, lr=1e-2, **options)
    grid = np.linspace(-60, 60, 60_001)
    assert np.trapezoid(np.exp(made.log_prob(grid[:, None])), grid) == pytest.approx(1, abs=1e-3)
    gain = made.info["held_out"] - made.info["held_out_gaussian"]
    assert abs(gain) < 0.05 if not options else gain > 0.5  # affine on the line is a Gaussian


def test_a_flow_fits_two_moons_better_than_a_gaussian(moons: np.ndarray) -> None:
    flow = fit_prior("flow", moons, epochs=25, lr=3e-3)
    gaussian = fit_prior("gaussian", moons)
    assert flow.info["held_out"] > gaussian.info["held_out"] + 0.8
    fresh = make_moons(1000, noise=0.05, random_state=1)[0]
    assert flow.log_prob(fresh).mean() > gaussian.log_prob(fresh).mean() + 0.8
    assert flow.info["held_out_gaussian"] == pytest.approx(gaussian.info["held_out"], abs=1e-9)
    # The true density is at most the noise's around a curve of length 2 pi: what is drawn must lie near the curve.
    drawn = flow.sample(2000, seed=0)
    upper = np.abs(np.hypot(*drawn.T) - 1)
    lower = np.abs(np.hypot(drawn[:, 0] - 1, drawn[:, 1] - 0.5) - 1)
    assert (np.minimum(upper, lower) < 0.2).mean() > 0.8
    other = gaussian.sample(2000, seed=0)
    upper = np.abs(np.hypot(*other.T) - 1)
    lower = np.abs(np.hypot(other[:, 0] - 1, other[:, 1] - 0.5) - 1)
    assert (np.minimum(upper, lower) < 0.2).mean() < 0.6


def test_a_second_vae_fits_two_moons_better_than_a_gaussian(moons: np.ndarray) -> None:
    second = fit_prior("two-stage", moons, epochs=60, lr=3e-3)
    assert second.info["held_out"] > second.info["held_out_gaussian"] + 0.4
    alone = second.log_prob(moons[5:6])
    np.testing.assert_allclose(alone, second.log_prob(moons[:9])[5:6], rtol=1e-5)  # whatever its neighbours are


def test_a_second_vae_s_density_is_its_integral() -> None:
    x = np.random.default_rng(0).gamma(2.0, size=(600, 1))
    prior = fit_prior("two-stage", x, epochs=30, draws=2_000)
    vae, (mean, scale, factor) = prior._built(), (prior._arrays[name] for name in ("mean", "scale", "factor"))
    u = torch.linspace(-8, 8, 4_001)[:, None]
    with torch.no_grad():
        centres, deviation = vae.decoded(u)[:, 0].double(), float((vae.log_variance / 2).exp())
    z = (torch.from_numpy(x[:50, 0]) - mean[0]) / scale[0] / factor[0, 0]
    each = torch.distributions.Normal(centres, deviation).log_prob(z[:, None]) - u[:, 0].square() / 2
    exact = torch.logsumexp(each, 1) + np.log(16 / 4_000 / np.sqrt(2 * np.pi)) - np.log(scale[0] * factor[0, 0])
    np.testing.assert_allclose(prior.log_prob(x[:50]), exact, atol=0.1)


def test_a_second_vae_that_diverges_says_what_to_do(codes: np.ndarray) -> None:
    with pytest.raises(DivergedError, match=r"epoch \d+\. Take a smaller lr"):
        fit_prior("two-stage", codes, **QUICK["two-stage"] | {"lr": 1e30})


# --- draws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "off"),
    [
        ("gaussian", {}, 0.03),
        ("gmm", {"components": 4}, 0.03),
        ("flow", {"transforms": 3, "epochs": 10}, 0.12),
        ("two-stage", {"epochs": 20}, 0.12),
    ],
)
def test_what_is_drawn_has_the_codes_moments(kind: str, options: dict[str, Any], off: float) -> None:
    codes = skewed(3000)
    drawn = fit_prior(kind, codes, **options).sample(20_000, seed=1)
    fitted = nine_tenths(codes)
    assert (drawn.shape, drawn.dtype) == ((20_000, 3), np.float32)
    np.testing.assert_allclose((drawn.mean(0) - fitted.mean(0)) / fitted.std(0), 0, atol=off)
    np.testing.assert_allclose(drawn.std(0) / fitted.std(0), 1, atol=off)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(fitted.T), atol=off)


def test_what_is_drawn_has_the_entropy_of_the_density(prior: Prior) -> None:
    """E log p over draws equals the integral of p log p: estimated by draws of another kind of proposal."""
    drawn = prior.sample(20_000, seed=2).astype(np.float64)
    wide = stats.multivariate_t(drawn.mean(0), 2.0 * np.cov(drawn.T), df=4)
    proposed = wide.rvs(40_000, random_state=3)
    log_p = prior.log_prob(proposed)
    weights = np.exp(log_p - wide.logpdf(proposed))
    assert weights.mean() == pytest.approx(1, abs=0.03)
    assert (weights * log_p).mean() == pytest.approx(prior.log_prob(drawn).mean(), abs=0.1)


def test_the_same_seed_draws_the_same(prior: Prior) -> None:
    np.testing.assert_array_equal(prior.sample(50, seed=4), prior.sample(50, seed=4))
    assert not (prior.sample(50, seed=4) == prior.sample(50, seed=5)).any()
    assert not (prior.sample(50) == prior.sample(50)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_fits_the_same_and_leaves_global_randomness_alone(kind: str, codes: np.ndarray) -> None:
    states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, again, other = (fit_prior(kind, codes, seed=seed, **QUICK[kind]) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.log_prob(codes), again.log_prob(codes))
    np.testing.assert_array_equal(first.sample(20, seed=0), again.sample(20, seed=0))
    assert not (first.log_prob(codes) == other.log_prob(codes)).any()
    np.testing.assert_array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[1])


@pytest.mark.parametrize("seed", [2**32 + 1, 2**70])
@pytest.mark.parametrize("kind", KINDS)
def test_any_seed_will_do(kind: str, seed: int, codes: np.ndarray) -> None:
    assert np.isfinite(fit_prior(kind, codes, seed=seed, **QUICK[kind]).sample(5, seed=seed)).all()


def test_a_density_does_not_depend_on_what_else_is_in_the_batch(prior: Prior, codes: np.ndarray) -> None:
    alone = np.concatenate([prior.log_prob(codes[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, prior.log_prob(codes)[:20], rtol=1e-5)
    assert prior.log_prob(codes[:0]).shape == (0,)


def test_a_large_array_goes_through_in_chunks(prior: Prior, codes: np.ndarray) -> None:
    many = np.tile(codes, (45, 1))
    found = prior.log_prob(many)
    assert (found.shape, found.dtype) == ((22_500,), np.float64)
    np.testing.assert_allclose(found[-500:], prior.log_prob(codes), rtol=1e-5)


# --- what it says of itself -------------------------------------------------------------------------------------------


def test_info_says_what_it_was_fitted_on(prior: Prior, codes: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(500)
    held_out, fitted = codes[order[:50]], codes[order[50:]]
    info = prior.info
    assert (info["count"], info["dim"], info["seed"]) == (500, 3, 0)
    assert info["held_out"] == pytest.approx(prior.log_prob(held_out).mean(), rel=1e-5)
    assert info["fitted"] == pytest.approx(prior.log_prob(fitted).mean(), rel=1e-5)
    normal = -0.5 * (np.square(held_out.astype(np.float64)).sum(1) + 3 * LOG_2_PI)
    assert info["held_out_standard_normal"] == pytest.approx(normal.mean(), rel=1e-9)
    gaussian = fit_prior("gaussian", codes).info
    assert info["held_out_gaussian"] == pytest.approx(gaussian["held_out"], abs=1e-9) == gaussian["held_out_gaussian"]
    assert json.loads(json.dumps(info, allow_nan=False)) == info


def test_fewer_than_ten_codes_leave_none_to_hold_out() -> None:
    info = fit_prior("gaussian", np.eye(3)).info
    assert (info["count"], info["held_out"], info["held_out_gaussian"]) == (3, None, None)
    assert np.isfinite(info["fitted"])


def test_a_mixture_that_did_not_converge_says_so_in_a_note(codes: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        early = fit_prior("gmm", codes, iterations=1)
        late = fit_prior("gmm", codes)
        same = fit_prior("gmm", np.repeat(np.arange(4.0)[:, None], 30, 0), components=8)  # of only four places
    assert early.info["notes"] == ["it had not converged after 1 iterations"]
    assert late.info["notes"] == []
    assert np.isfinite(same.sample(10, seed=0)).all()


def test_a_flow_says_how_long_it_trained(codes: np.ndarray) -> None:
    (note,) = fit_prior("flow", codes, **QUICK["flow"]).info["notes"]
    assert note == "trained for 4 epochs, of which number 4 was the best: it might gain from more epochs"
    (note,) = fit_prior("flow", codes, **QUICK["flow"] | {"epochs": 200, "patience": 2, "lr": 0.05}).info["notes"]
    epochs, best = (int(word.strip(",")) for word in note.split() if word.strip(",").isdigit())
    assert best == epochs - 2 < 198


def test_the_signature_is_the_configuration() -> None:
    assert list(priors) == ["autoregressive", "categorical", "flow", "gaussian", "gmm", "two-stage"]
    for name in priors:
        for item in parameters(priors[name]):
            assert item.doc, f"{name}: {item.name} is not documented"


# --- awkward codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_dimension_stays_next_to_its_mean(kind: str, codes: np.ndarray) -> None:
    flat = np.insert(codes, [1, 2], [0.1, 0.0], axis=1)  # 0.1 in float32, whose mean is not exactly itself
    made = fit_prior(kind, flat, **QUICK[kind])
    drawn = made.sample(300, seed=0)
    scale = 1e-5 * np.sqrt(np.square(nine_tenths(flat).std(0)).mean())
    np.testing.assert_allclose(drawn[:, [1, 3]], np.tile([0.1, 0.0], (300, 1)).astype(np.float32), atol=6 * scale)
    assert drawn[:, 3].std() == pytest.approx(scale, rel=0.2)
    assert any("2 of 5 dimensions are constant" in note for note in made.info["notes"])
    assert np.isfinite(made.info["held_out"])
    elsewhere = flat[:5] + np.array([0, 0.1, 0, 0, 0], np.float32)
    assert (made.log_prob(elsewhere) < made.log_prob(flat[:5]) - 1000).all()


@pytest.mark.parametrize("kind", KINDS)
def test_codes_on_a_plane_have_a_density(kind: str) -> None:
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 6))
    made = fit_prior(kind, plane.astype(np.float32), **QUICK[kind])
    assert np.isfinite(made.info["held_out"])
    drawn = made.sample(1000, seed=0)
    spread = np.linalg.svd(drawn - drawn.mean(0), compute_uv=False)
    assert spread[2] < 0.25 * spread[1]


@pytest.mark.parametrize(("kind", "options"), [*QUICK.items(), ("flow", {"univariate": "spline", "epochs": 2})])
def test_codes_of_one_number(kind: str, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(5, 2, (300, 1))
    made = fit_prior(kind, x, **options)
    drawn = made.sample(4000, seed=0)
    assert drawn.shape == (4000, 1)
    assert drawn.mean() == pytest.approx(5, abs=0.6)
    assert drawn.std() == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize(
    ("kind", "options"), [("gaussian", {}), ("gmm", {"components": 2, "covariance": "diag"}), ("flow", {"epochs": 2})]
)
def test_many_numbers_and_few_codes(kind: str, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).standard_normal((150, 128))
    made = fit_prior(kind, x, **options)
    assert made.sample(3, seed=0).shape == (3, 128)
    assert made.log_prob(x).shape == (150,)
    assert abs(made.info["held_out"] - made.info["held_out_standard_normal"]) < 15


def test_lists_and_integers_are_codes_too() -> None:
    made = fit_prior("gaussian", [[1, 2], [3, 5], [0, 1]])
    assert made.log_prob([[1, 2]]).shape == (1,)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_brings_back_the_same_prior(prior: Prior, codes: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "run" / "prior.safetensors"
    prior.save(path)
    again = load_prior(path)
    assert type(again) is type(prior)
    assert again.info == prior.info
    np.testing.assert_array_equal(again.log_prob(codes), prior.log_prob(codes))
    np.testing.assert_array_equal(again.sample(30, seed=1), prior.sample(30, seed=1))
    second = tmp_path / "second.safetensors"
    again.save(second)
    assert second.read_bytes() == path.read_bytes()


def test_options_come_back_as_they_were_given(codes: np.ndarray, tmp_path: Path) -> None:
    fit_prior("flow", codes, transforms="1", hidden="8,4", epochs=1, univariate="spline").save(tmp_path / "p")
    again = load_prior(tmp_path / "p")
    assert isinstance(again, FlowPrior)
    assert (again.transforms, again.hidden, again.univariate) == (1, (8, 4), "spline")
    fit_prior("gmm", codes, components=2, covariance="tied").save(tmp_path / "p")
    mixture = load_prior(tmp_path / "p")
    assert isinstance(mixture, MixturePrior)
    assert (mixture.components, mixture.covariance) == (2, "tied")


def edited(path: Path, change: Any) -> Path:
    """The file with its tensors and header changed by `change(tensors, header)`."""
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["diabolo"])
    change(tensors, header)
    safetensors.numpy.save_file(tensors, path, {"diabolo": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, h: h.update(format=2), "written in format 2, by a newer diabolo"),
        (lambda t, h: h.update(format="x", prior=3), "no prior named '3'"),
        (lambda t, h: h.update(prior="gm"), "no prior named 'gm'. Did you mean 'gmm'?"),
        (lambda t, h: h.pop("options"), "has no 'options'"),
        (lambda t, h: h.pop("info"), "has no 'info'"),
        (lambda t, h: h.update(options=3), "cannot be read as a prior"),
        (lambda t, h: h["options"].update(components=4), "'factors' the prior's options ask for (4, 3, 3)"),
        (lambda t, h: h["options"].update(covariance="diag"), "ask for (3, 3), and its file holds (3, 3, 3)"),
        (lambda t, h: t.pop("weights"), "'weights' the prior's options ask for (3,), and its file holds nothing"),
        (lambda t, h: t.update(more=np.ones(1)), "'more' the prior's options ask for nothing"),
        (lambda t, h: t.pop("mean"), "how the codes are moved and scaled"),
        (lambda t, h: t.update(scale=-t["scale"]), "how the codes are moved and scaled"),
    ],
)
def test_an_edited_file_is_refused(codes: np.ndarray, tmp_path: Path, change: Any, words: str) -> None:
    path = tmp_path / "prior.safetensors"
    fit_prior("gmm", codes, components=3).save(path)
    with pytest.raises(RunError) as error:
        load_prior(edited(path, change))
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_flow_s_weights_are_checked_when_it_is_first_used(codes: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    fit_prior("flow", codes, **QUICK["flow"]).save(path)
    loaded = load_prior(edited(path, lambda t, h: h["options"].update(hidden=[17])))
    with pytest.raises(RunError, match=r"For 'flow\.\S+' the prior's options ask for"):
        loaded.sample(3)


def test_a_truncated_or_foreign_file_is_refused(codes: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    with pytest.raises(RunError, match="is not there"):
        load_prior(path)
    fit_prior("gaussian", codes).save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match="truncated or edited"):
        load_prior(path)
    safetensors.numpy.save_file({"x": np.ones(3)}, path)
    with pytest.raises(RunError, match="cannot be read as a prior: it has no 'prior'"):
        load_prior(path)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (
            "gms",
            {},
            "'gms'. Did you mean 'gmm'? Known: autoregressive, categorical, flow, gaussian, gmm, two-stage.",
        ),
        ("gmm", {"component": 3}, "option of the prior 'gmm' named 'component'. Did you mean 'components'?"),
        ("gmm", {"components": 0}, "components should be a number of at least 1, and was given 0"),
        ("gmm", {"components": "many"}, "components should be int, and was given 'many'"),
        ("gmm", {"covariance": "round"}, "covariance should be full | diag | spherical | tied"),
        ("gmm", {"regularization": -1}, "regularization should be a number of at least 0"),
        ("gmm", {"restarts": 0}, "restarts should be a number of at least 1"),
        ("gmm", {"iterations": 0}, "iterations should be a number of at least 1"),
        ("gaussian", {"shrinkage": 1.5}, "shrinkage should be a number from 0 to 1, or 'auto', and was given 1.5"),
        ("gaussian", {"shrinkage": "some"}, "shrinkage should be float | auto"),
        ("flow", {"hidden": ()}, "hidden should be one or more widths"),
        ("flow", {"lr": 0}, "lr should be a number above 0"),
        ("flow", {"lr": "nan"}, "lr should be a number above 0"),
        ("flow", {"transforms": 0}, "transforms should be a number of at least 1"),
        ("two-stage", {"draws": 0}, "draws should be a number of at least 1"),
        ("two-stage", {"hidden": (0,)}, "hidden should be one or more widths"),
        ("flow", {"univariate": "cubic"}, "univariate should be affine | spline"),
    ],
)
def test_options_that_cannot_be(kind: str, options: dict[str, Any], words: str, codes: np.ndarray) -> None:
    with pytest.raises(ConfigError) as error:
        fit_prior(kind, codes, **options)
    assert words in str(error.value)


def test_a_gaussian_checks_a_word_by_itself() -> None:
    with pytest.raises(ConfigError, match="or 'auto', and was given 'some'"):
        GaussianPrior(shrinkage="some")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "kind", "words"),
    [
        (np.zeros(5), ShapeError, r"shape \(n, d\), one row for each, and these have \(5,\)"),
        (np.zeros((5, 0)), ShapeError, r"these have \(5, 0\)"),
        (np.array([["a", "b"]]), DataError, "array of numbers"),
        (np.ones((1, 3)), DataError, r"at least 2 codes, and was given 1\. Give more codes"),
        (np.ones((0, 3)), DataError, "at least 2 codes, and was given 0"),
        (np.full((20, 3), 0.1), DataError, "All 18 codes are the same, so there is no density to fit"),
        ([[0, 1], [np.nan, 1], [1, 2]], DataError, "1 of 3 codes hold NaN or infinite numbers; row 1 is the first"),
        ([[0, 1], [2, 1e39], [1, np.inf]], DataError, "2 of 3 codes hold NaN or infinite"),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_codes_that_cannot_be_fitted(x: Any, kind: type[Exception], words: str, name: str) -> None:
    if name != "gaussian" and "at least 2" in words:
        words = "needs at least"
    elif name != "gaussian" and "All" in words:
        x = np.full((200, 3), 0.1)
        words = "All 180 codes are the same"
    with pytest.raises(kind, match=words):
        fit_prior(name, x, **QUICK[name])


@pytest.mark.parametrize(
    ("count", "dim", "options", "needed"),
    [
        (81, 3, {"components": 200}, "888"),  # 4 codes for each covariance of 3 numbers, and a ninth more
        (1000, 128, {}, "1,433"),
        (300, 128, {"covariance": "tied"}, None),
        (100, 128, {"covariance": "tied"}, "143"),
        (300, 128, {"covariance": "diag"}, None),
        (21, 2, {"covariance": "diag"}, "22"),
    ],
)
def test_too_few_codes_for_a_mixture(count: int, dim: int, options: dict[str, Any], needed: str | None) -> None:
    x = np.random.default_rng(0).standard_normal((count, dim))
    if needed is None:
        assert np.isfinite(fit_prior("gmm", x, **options).info["held_out"])
        return
    with pytest.raises(DataError, match=rf"needs at least {needed} codes .*, and was given {count:,}\.") as error:
        fit_prior("gmm", x, **options)
    assert "fewer components" in str(error.value)
    enough = np.random.default_rng(0).standard_normal((int(needed.replace(",", "")), dim))
    assert fit_prior("gmm", enough, iterations=1, **options).info["count"] == len(enough)


def test_a_flow_needs_a_hundred_codes_to_fit() -> None:
    x = np.random.default_rng(0).standard_normal((111, 2))
    assert fit_prior("flow", x, **QUICK["flow"]).info["count"] == 111
    with pytest.raises(DataError, match=r"A flow needs at least 111 codes .* and was given 110"):
        fit_prior("flow", x[:110])


def test_what_is_asked_of_a_prior_is_checked(prior: Prior) -> None:
    with pytest.raises(ConfigError, match="n should be a number of codes of at least 1, and was given 0"):
        prior.sample(0)
    with pytest.raises(ConfigError, match="seed should be a number of at least 0, and was given -1"):
        prior.sample(3, seed=-1)
    with pytest.raises(ShapeError, match=r"codes of 3 numbers: log_prob expects the shape \(n, 3\), .* \(2, 4\)"):
        prior.log_prob(np.zeros((2, 4)))
    with pytest.raises(DataError, match="row 0 is the first"):
        prior.log_prob([[np.nan, 0, 0]])
    with pytest.raises(ConfigError, match="seed should be a number of at least 0"):
        type(prior)().fit(np.eye(3), seed=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_that_was_not_fitted_says_so(kind: str, tmp_path: Path) -> None:
    empty = priors[kind]()
    for use in (lambda: empty.sample(2), lambda: empty.log_prob(np.eye(2)), lambda: empty.save(tmp_path / "p")):
        with pytest.raises(ConfigError, match=r"has not been fitted: call fit\(codes\) first"):
            use()


def test_a_flow_that_diverges_says_what_to_do(codes: np.ndarray) -> None:
    with pytest.raises(DivergedError, match=r"smaller lr than 1e\+30"):
        fit_prior("flow", codes, **QUICK["flow"] | {"lr": 1e30})


def test_without_zuko_only_a_flow_s_use_fails(
    codes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prior.safetensors"
    fit_prior("flow", codes, **QUICK["flow"]).save(path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(
        MissingExtraError, match=r"prior of codes needs the package 'zuko'.* pip install 'diabolo\[flow\]'"
    ):
        fit_prior("flow", codes)
    loaded = load_prior(path)  # so that the rest of a run can be used
    assert loaded.info["count"] == 500
    with pytest.raises(MissingExtraError, match="zuko"):
        loaded.sample(3)
    assert fit_prior("gmm", codes).sample(3).shape == (3, 3)


# --- with a model -----------------------------------------------------------------------------------------------------


def test_a_plain_autoencoder_samples_from_what_was_fitted(pictures: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(pictures, epochs=3, latent_dim=2, widths=(16,))
    with pytest.raises(ConfigError, match="fit_prior"):
        model.sample(3)
    made = model.fit_prior("gaussian", pictures)
    np.testing.assert_array_equal(made.log_prob(model.encode(pictures)), model.prior.log_prob(model.encode(pictures)))
    expected = model.decode(made.sample(4, seed=1))
    np.testing.assert_array_equal(model.sample(4, seed=1), expected)
    again = Autoencoder.load(model.save(tmp_path / "run"))
    np.testing.assert_array_equal(again.sample(4, seed=1), expected)
