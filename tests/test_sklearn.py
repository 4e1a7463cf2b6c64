"""The scikit-learn estimators: among others' estimators, with images, every variant, saved, and with bad input."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import diabolo
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.networks import networks
from diabolo.models.objectives import objectives
from diabolo.models.objectives.vae import VAE
from diabolo.sklearn import AutoencoderOutlierDetector, AutoencoderTransformer
from diabolo.sklearn._detector import KINDS

BOTH = (AutoencoderTransformer, AutoencoderOutlierDetector)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(600, 64) floats from 0 to 16, and the digits."""
    x, y = load_digits(return_X_y=True)
    return x[:600], y[:600]


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """(400, 8): points near a plane, and 20 off it; whether each is one of those."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 8)) + 0.05 * rng.standard_normal((400, 8))
    odd = np.arange(400) % 20 == 0
    x[odd] = 1.5 * rng.standard_normal((20, 8))
    return x, odd


# Among scikit-learn's own


def test_codes_in_a_pipeline(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits

    def pipeline(features: Any) -> Pipeline:
        return make_pipeline(StandardScaler(), features, StandardScaler(), LogisticRegression(max_iter=1000))

    steps = pipeline(AutoencoderTransformer(10, epochs=30, batch_size=32, random_state=0))
    of_pca = pipeline(PCA(10)).fit(x[:400], y[:400]).score(x[400:], y[400:])
    assert of_pca > 0.7
    assert steps.fit(x[:400], y[:400]).score(x[400:], y[400:]) > of_pca - 0.03  # six of 200 digits
    names = steps[:2].get_feature_names_out()
    assert list(names) == [f"autoencodertransformer{number}" for number in range(10)]


def test_a_grid_over_the_dimensions_and_an_option_of_the_variant(table: np.ndarray) -> None:
    search = GridSearchCV(
        AutoencoderTransformer(model="vae", likelihood_options={"variance": 0.1}, epochs=30, random_state=0),
        {"latent_dim": [1, 2], "model_options__beta": [1.0, 300.0]},
        cv=2,
        error_score="raise",
    )
    search.fit(table)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_params_["model_options__beta"] == 1.0  # 300 leaves nothing in the code
    assert search.best_estimator_.autoencoder_.model.objective.beta == 1.0
    assert search.best_estimator_.transform(table).shape == (90, search.best_params_["latent_dim"])


def test_options_in_a_pipelines_grid_and_of_every_part(table: np.ndarray) -> None:
    steps = make_pipeline(StandardScaler(), AutoencoderTransformer(model="vae", epochs=1))
    steps.set_params(
        autoencodertransformer__model_options={"beta": 2.0},
        autoencodertransformer__model_options__draws=3,
        autoencodertransformer__network_options__widths=(7,),
        autoencodertransformer__likelihood="gaussian",
        autoencodertransformer__likelihood_options={"variance": 0.5},
        autoencodertransformer__training_options__weight_decay=0.25,
    )
    found = steps.fit(table)[-1]
    config = found.autoencoder_.model.config()
    assert config["model"]["options"] | {"beta": 2.0, "draws": 3} == config["model"]["options"]
    assert config["network"]["options"]["widths"] == [7]
    assert config["likelihood"]["options"]["variance"] == 0.5
    assert found.autoencoder_.info["run_config"]["settings"]["weight_decay"] == 0.25


def test_cross_validation_makes_the_bound_as_large_as_it_can(table: np.ndarray) -> None:
    found = [
        cross_val_score(
            AutoencoderTransformer(
                2, epochs=epochs, batch_size=16, network_options={"start": "random"}, random_state=0
            ),
            table,
            cv=3,
        ).mean()
        for epochs in (1, 60)
    ]
    assert found[1] > found[0] + 0.5
    fitted = AutoencoderTransformer(epochs=2, random_state=0).fit(table)
    each = fitted.score_samples(table)
    assert each.shape == (90,)
    np.testing.assert_array_equal(each, -fitted.autoencoder_.score(table).astype(np.float64))
    assert fitted.score(table) == pytest.approx(each.mean())


@pytest.mark.parametrize("estimator", BOTH)
def test_clone_and_params(estimator: Any) -> None:
    made = estimator(3, model="vae", model_options={"beta": 4.0}, event_shape=(8, 8), random_state=1)
    other = clone(made)
    assert other.get_params() == made.get_params()
    assert made.get_params()["model_options__beta"] == 4.0
    assert "model_options__beta" not in made.get_params(deep=False)
    other.set_params(model_options__beta=1.0, model_options__warmup=2.0)
    assert other.model_options == {"beta": 1.0, "warmup": 2.0}
    assert made.model_options == {"beta": 4.0}
    assert "model_options={'beta': 4.0}" in repr(made)
    assert "beta" in made._repr_html_()


def test_a_frame_in_a_frame_out() -> None:
    frame = load_iris(as_frame=True).data
    made = AutoencoderTransformer(2, epochs=2, random_state=0).set_output(transform="pandas")
    codes = made.fit_transform(frame)
    assert isinstance(codes, pd.DataFrame)
    assert list(codes.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert (codes.index == frame.index).all()
    assert list(made.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        made.transform(frame[frame.columns[::-1]])


# The same as diabolo's own


def test_it_is_diabolos_own_training(table: np.ndarray) -> None:
    made = AutoencoderTransformer(2, model="vae", random_state=3, epochs=2, validation=0.1).fit(table)
    own = diabolo.train(table, model="vae", latent_dim=2, seed=3, epochs=2, batch_size=128, lr=1e-3, test=0.0)
    np.testing.assert_array_equal(made.transform(table), own.encode(table))
    assert made.n_iter_ == 2
    assert [line["train"]["loss"] for line in made.history_] == [line["train"]["loss"] for line in own.history]
    assert "validation" in made.history_[0]
    np.testing.assert_array_equal(made.inverse_transform(own.encode(table)), own.reconstruct(table))


def test_features_start_at_principal_components_and_detectors_do_not(table: np.ndarray) -> None:
    def start_of(estimator: Any, **options: Any) -> str:
        made = estimator(2, epochs=1, random_state=0, **options).fit(table)
        start: str = made.autoencoder_.model.config()["network"]["options"]["start"]
        return start

    assert start_of(AutoencoderTransformer) == "pca"
    assert start_of(AutoencoderTransformer, network_options={"start": "random"}) == "random"
    assert start_of(AutoencoderOutlierDetector) == "random"
    assert start_of(AutoencoderOutlierDetector, network_options={"start": "pca"}) == "pca"


def test_patience_stops_early(table: np.ndarray) -> None:
    network_options = {"start": "random"}  # whose first epoch is always better than none
    made = AutoencoderTransformer(
        2, epochs=50, lr=1.0, validation=0.2, patience=1, network_options=network_options, random_state=0
    ).fit(table)
    assert 1 < made.n_iter_ < 50


def test_random_state_means_what_scikit_learn_means(table: np.ndarray) -> None:
    def codes(state: Any) -> np.ndarray:
        return AutoencoderTransformer(2, model="vae", epochs=1, random_state=state).fit_transform(table)

    np.testing.assert_array_equal(codes(5), codes(5))
    np.testing.assert_array_equal(codes(np.int64(5)), codes(5))
    assert (codes(5) != codes(6)).any()
    state = np.random.RandomState(0)
    first, second = codes(state), codes(state)
    assert (first != second).any()
    np.testing.assert_array_equal(first, codes(np.random.RandomState(0)))
    np.random.seed(1)  # noqa: NPY002
    first = codes(None)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(first, codes(None))
    with pytest.raises(ValueError, match="seed"):
        codes("seed")


def test_fits_in_threads_repeat_exactly(table: np.ndarray) -> None:
    made = AutoencoderTransformer(2, model="vae", epochs=1, random_state=0)
    alone = made.fit_transform(table)
    fits = (joblib.delayed(clone(made).fit_transform)(table) for _ in range(40))
    for codes in joblib.Parallel(n_jobs=4, backend="threading")(fits):
        np.testing.assert_array_equal(codes, alone)


@pytest.mark.parametrize("estimator", BOTH)
def test_it_leaves_global_state_alone_and_says_nothing(
    estimator: Any, table: np.ndarray, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, drawn = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    x = table.copy()
    made = estimator(2, model="vae", epochs=2, random_state=0).fit(x)
    made.score_samples(x)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (drawn == np.random.get_state()[1]).all()  # noqa: NPY002
    assert capfd.readouterr() == ("", "")
    assert not list(here.iterdir())
    np.testing.assert_array_equal(x, table)
    assert made.autoencoder_.trained_on is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_gets_the_same_answer_alone_as_among_others(kind: str, table: np.ndarray) -> None:
    made = AutoencoderOutlierDetector(2, model="vae", kind=kind, epochs=3, random_state=0).fit(table)
    alone = [made.decision_function(row[None])[0] for row in table[:30]]
    np.testing.assert_allclose(alone, made.decision_function(table)[:30], rtol=0, atol=1e-5)
    coder = AutoencoderTransformer(2, epochs=3, random_state=0).fit(table)
    np.testing.assert_array_equal(np.concatenate([coder.transform(row[None]) for row in table]), coder.transform(table))


# Any event shape, any variant, any network


def test_images_with_a_convolutional_network(digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = digits
    made = AutoencoderTransformer(
        10, network="conv", event_shape=(8, 8), epochs=20, batch_size=32, lr=3e-3, random_state=0
    )
    made.fit(x)
    assert made.autoencoder_.event_shape == (8, 8)
    assert made.autoencoder_.layout == "HW"
    codes = made.transform(x)
    assert codes.shape == (600, 10)
    assert codes.dtype == np.float32
    back = made.inverse_transform(codes)
    assert back.shape == (600, 64)
    assert np.square(back - x).mean() < 0.35 * x.var(axis=0).mean()  # in the units of x
    assert LogisticRegression(max_iter=2000).fit(codes[:400], y[:400]).score(codes[400:], y[400:]) > 0.7


def test_bytes_stay_bytes(pictures: np.ndarray) -> None:
    x = pictures.reshape(90, -1)
    made = AutoencoderTransformer(8, event_shape=(8, 8), epochs=80, batch_size=16, lr=3e-3, random_state=0).fit(x)
    assert made.autoencoder_.model.preprocess.scale == "bytes"
    np.testing.assert_array_equal(made.transform(x), made.autoencoder_.encode(pictures))
    back = made.inverse_transform(made.transform(x))
    assert back.dtype == np.float32
    assert np.abs(back - x).mean() < 0.5 * np.abs(x - x.mean(0)).mean()  # 0 to 255, as x is
    with pytest.raises(DataError, match=r"X is float64, and AutoencoderTransformer was fitted on uint8"):
        made.transform(x / 255)
    floats = AutoencoderTransformer(2, event_shape=(8, 8), epochs=1, random_state=0).fit(x / 255)
    with pytest.raises(DataError, match=r"floats in \[0, 1\]"):
        floats.transform(x)


def test_signals_in_a_named_layout() -> None:
    x = np.random.default_rng(0).standard_normal((20, 24))
    made = AutoencoderTransformer(2, network="conv", event_shape=(8, 3), layout="LC", epochs=1).fit(x)
    assert made.autoencoder_.model.preprocess.model_shape == (3, 8)
    assert made.inverse_transform(made.transform(x)).shape == (20, 24)


@pytest.mark.parametrize("network", list(networks))
@pytest.mark.parametrize("model", list(objectives))
def test_every_variant_with_every_network(model: str, network: str, pictures: np.ndarray) -> None:
    x = pictures[:40].reshape(40, -1)
    given = {"model": model, "network": network, "event_shape": (8, 8), "epochs": 1, "random_state": 0}
    if objectives[model].labels == "required":
        with pytest.raises(
            ConfigError, match="in transform too, where scikit-learn gives none: take a variant that needs none"
        ):
            AutoencoderTransformer(3, **given).fit(x)
        return
    if network == "bottleneck" and objectives[model].posterior_family.width > 1:
        with pytest.raises(ConfigError, match="bottleneck"):
            AutoencoderTransformer(3, **given).fit(x)
        return
    codes = AutoencoderTransformer(3, **given).fit_transform(x)
    assert codes.shape == (40, 3)
    assert np.isfinite(codes).all()
    found = AutoencoderOutlierDetector(3, **given).fit_predict(x)
    assert set(found) == {-1, 1}


def test_parts_that_are_made_are_left_as_they_are(table: np.ndarray) -> None:
    encoder, decoder = nn.Linear(5, 4), nn.Linear(2, 5)
    before = encoder.weight.detach().clone()
    made = AutoencoderTransformer(2, model=VAE(beta=0.5), network=(encoder, decoder), epochs=2, random_state=0)
    codes = clone(made).fit_transform(table)
    assert torch.equal(encoder.weight, before)
    np.testing.assert_array_equal(made.fit_transform(table), codes)
    assert made.autoencoder_.model.objective.beta == 0.5
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).transform(table), codes)


# Outliers


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("autoencoder", "neighbours"),
        ("autoencoder", "surprise"),
        ("vae", "elbo"),
        ("vae", "likelihood"),
        ("denoising", "reconstruction"),
    ],
)
def test_planted_outliers_are_found(model: str, kind: str, planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, odd = planted
    made = AutoencoderOutlierDetector(
        2,
        model=model,
        kind=kind,
        draws=16 if kind == "likelihood" else None,
        contamination=0.05,
        epochs=100,
        random_state=0,
    )
    found = made.fit_predict(x)
    assert roc_auc_score(odd, -made.score_samples(x)) > 0.95
    assert (found == -1).sum() == 20  # the share that was asked for
    assert (found[odd] == -1).mean() > 0.7
    assert set(found) == {-1, 1}


def test_codes_far_from_the_others_are_found(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, odd = planted
    made = AutoencoderOutlierDetector(2, kind="latent", epochs=20, random_state=0).fit(x[~odd])
    far = x[~odd][:100] * 6
    assert roc_auc_score(np.repeat([0, 1], 100), -made.score_samples(np.vstack([x[~odd][:100], far]))) > 0.95


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
def test_the_share_of_outliers_is_the_contamination(share: float, planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = planted
    made = AutoencoderOutlierDetector(2, epochs=2, contamination=share, random_state=0)
    found = made.fit_predict(x)
    assert (found == -1).mean() == share
    scores = made.score_samples(x)
    np.testing.assert_array_equal(found == -1, scores < made.offset_)
    np.testing.assert_array_equal(made.decision_function(x), scores - made.offset_)
    other = AutoencoderOutlierDetector(2, kind="surprise", epochs=2, random_state=0).fit(x)
    expected = -other.autoencoder_.score(x, kind="surprise").astype(np.float64)
    np.testing.assert_array_equal(other.score_samples(x), expected)


# Saved


@pytest.mark.parametrize("model", ["autoencoder", "vae", "sparse"])
def test_dump_and_load_give_the_same_answers(model: str, pictures: np.ndarray, tmp_path: Path) -> None:
    x = pictures.reshape(90, -1)
    made = AutoencoderTransformer(2, model=model, network="conv", event_shape=(8, 8), epochs=2, random_state=0).fit(x)
    made.autoencoder_.fit_prior("gaussian", pictures)
    joblib.dump(made, tmp_path / "model.joblib", compress=3)
    for other in (joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        codes = other.transform(x)
        np.testing.assert_array_equal(codes, made.transform(x))
        np.testing.assert_array_equal(other.inverse_transform(codes), made.inverse_transform(codes))
        np.testing.assert_array_equal(other.score_samples(x), made.score_samples(x))
        np.testing.assert_array_equal(other.autoencoder_.sample(3, seed=0), made.autoencoder_.sample(3, seed=0))
        assert other.history_ == made.history_
        assert other.autoencoder_ is not made.autoencoder_
        other.autoencoder_.save(tmp_path / f"run-{id(other)}")


def test_a_detector_is_saved_with_its_threshold(planted: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = planted
    made = AutoencoderOutlierDetector(2, kind="latent", epochs=2, random_state=0).fit(x)
    other = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(other.decision_function(x), made.decision_function(x))
    assert len(pickle.dumps(clone(made))) < 5000  # what is not fitted is only its parameters


def test_a_model_of_a_device_that_is_not_there_is_loaded_on_another(table: np.ndarray) -> None:
    made = AutoencoderTransformer(2, epochs=1, device="cpu", random_state=0).fit(table)
    other = copy.copy(made)
    other.autoencoder_ = copy.copy(made.autoencoder_)
    other.autoencoder_.__setstate__(made.autoencoder_.__getstate__() | {"device": "cuda:7"})
    np.testing.assert_allclose(other.transform(table), made.transform(table), rtol=1e-4, atol=1e-5)


# Bad input


@pytest.mark.parametrize("share", [0, 0.0, -0.1, 0.51, 1, "auto", None, np.nan, True])
def test_contamination_must_be_a_share(share: Any, table: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"contamination should be a share of outliers above 0, at most 0\.5, and was"):
        AutoencoderOutlierDetector(contamination=share, epochs=1).fit(table)


@pytest.mark.parametrize("estimator", BOTH)
def test_data_that_cannot_be_used(estimator: Any, table: np.ndarray) -> None:
    made = estimator(epochs=1)
    with pytest.raises(NotFittedError):
        made.score_samples(table)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        made.fit(scipy.sparse.csr_matrix(table))
    holes = table.copy()
    holes[3, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        made.fit(holes)
    with pytest.raises(ValueError, match="1 sample"):
        made.fit(table[:1])
    with pytest.raises(ValueError, match="Expected 2D array"):
        made.fit(table[:, 0])
    with pytest.raises(DataError, match="identical"):
        made.fit(np.ones((20, 3)))
    with pytest.raises(DataError, match="too large for float32"):
        made.fit(table.astype(np.float64) * 1e300)
    made.fit(table)
    with pytest.raises(ValueError, match=r"X has 4 features, but .* is expecting 5 features"):
        made.score_samples(table[:, :4])
    with pytest.raises(DataError, match=r"beyond 3\.4e38"):
        made.score_samples(table.astype(np.float64) * 1e300)


def test_codes_that_cannot_be_decoded(table: np.ndarray) -> None:
    with pytest.raises(NotFittedError):
        AutoencoderTransformer().inverse_transform(np.zeros((1, 2)))
    with pytest.raises(NotFittedError):
        AutoencoderTransformer().get_feature_names_out()
    made = AutoencoderTransformer(2, epochs=1).fit(table)
    with pytest.raises(ShapeError, match=r"expects the shape \(n, 2\), and was given \(4, 3\)"):
        made.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="contains NaN"):
        made.inverse_transform(np.full((1, 2), np.nan))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "vea"}, "There is no model named 'vea'. Did you mean 'vae'?"),
        ({"network": "cov"}, "There is no network named 'cov'. Did you mean 'conv'?"),
        ({"likelihood": "gausian"}, "There is no likelihood named 'gausian'. Did you mean 'gaussian'?"),
        ({"model": 3}, "model should be one of aae, autoencoder, .*, or a part that is made, and was given 3"),
        ({"model": "vae", "model_options": {"betta": 1}}, "no option of the model 'vae' named 'betta'.*'beta'"),
        ({"model": "vae", "model_options": [1]}, "model_options should be a dictionary of options"),
        ({"model": VAE(), "model_options": {"beta": 1}}, "model_options should be left out where the model is made"),
        ({"network_options": {"width": (3,)}}, "no option of the network 'mlp' named 'width'.*'widths'"),
        ({"training_options": {"weightdecay": 1}}, "named 'weightdecay'.*'weight_decay'"),
        ({"training_options": {"lr": 1}}, "training_options holds 'lr'. Set the parameter lr."),
        ({"training_options": {"seed": 1}}, "Set random_state"),
        ({"training_options": {"test": 0.5}}, "Split test examples off before fit"),
        ({"epochs": -1}, "epochs should be a number of at least 1, or 0 .*, and was given -1"),
        ({"lr": "fast"}, "lr should be float, and was given 'fast'"),
        ({"latent_dim": 0}, "latent_dim should be a number of dimensions of at least 1"),
        ({"latent_dim": 1.5}, "latent_dim should be int, and was given 1.5"),
        ({"patience": 3, "validation": 0.0}, "patience should be left out where validation is 0"),
        ({"device": "gpu"}, "The device 'gpu' cannot be used"),
        ({"scaling": "minmax"}, "scaling should be one of auto, bytes"),
        ({"event_shape": (2, 3)}, r"event_shape=\(2, 3\) has 6 values, and X has 5 columns"),
        ({"event_shape": (-1, -5)}, "event_shape should be numbers of at least 1"),
        ({"event_shape": "x"}, "event_shape should be int,..., and was given 'x'"),
        ({"layout": "HW"}, "The layout 'HW' asks for 3 axes"),
        ({"random_state": -1}, "Seed must be between 0 and"),
    ],
)
@pytest.mark.parametrize("estimator", BOTH)
def test_parameters_that_cannot_be(estimator: Any, given: dict[str, Any], message: str, table: np.ndarray) -> None:
    made = estimator(**given)
    with pytest.raises(ValueError, match=message):
        made.fit(table)
    assert not hasattr(made, "autoencoder_")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "elbow"}, "There is no score named 'elbow'. Did you mean 'elbo'?"),
        ({"kind": "elbo"}, "kind='elbo' needs codes with a density, and those of model='autoencoder' are points"),
        ({"kind": "likelihood", "model": "vae", "draws": 0}, "draws should be a number of codes of at least 1"),
        ({"draws": 5}, "draws should be 0 or left out for the score 'neighbours'"),
    ],
)
def test_scores_that_cannot_be(given: dict[str, Any], message: str, table: np.ndarray) -> None:
    made = AutoencoderOutlierDetector(**given)
    with pytest.raises(ConfigError, match=message):
        made.fit(table)
    assert not hasattr(made, "autoencoder_")


def test_parameters_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="latent_dims"):
        AutoencoderTransformer(latent_dims=3)
    made = AutoencoderTransformer()
    with pytest.raises(ConfigError, match=r"has no parameter 'model__beta'. Do you mean model_options__beta\?"):
        made.set_params(model__beta=1)
    with pytest.raises(ConfigError, match=r"has no parameter 'epochs__x'"):
        made.set_params(epochs__x=1)
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        made.set_params(epoch=1)
