"""The score of the outlier detector: neighbours among what a model draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, make_moons
from sklearn.metrics import roc_auc_score

from diabolo.latent.neighbours import MOST, TIMES, Neighbours
from diabolo.sklearn import AutoencoderOutlierDetector


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    """All benign rows and 21 malignant ones, and which these are."""
    x, y = load_breast_cancer(return_X_y=True)
    return np.concatenate([x[y == 1], x[y == 0][:21]]), np.arange(378) >= 357


def test_training_longer_finds_the_same_outliers(cancer: tuple[np.ndarray, np.ndarray]) -> None:
    x, odd = cancer
    areas = [
        roc_auc_score(odd, -AutoencoderOutlierDetector(epochs=epochs, random_state=0).fit(x).score_samples(x))
        for epochs in (10, 100)
    ]  # 0.734 and 0.662 by the surprise
    assert min(areas) > 0.94
    assert abs(areas[1] - areas[0]) < 0.01


def test_two_columns_have_a_code_of_one_number_and_a_small_network() -> None:
    x = make_moons(200, noise=0.05, random_state=0)[0]
    odd = np.random.default_rng(0).uniform(-2, 3, (20, 2))
    made = AutoencoderOutlierDetector(epochs=5, random_state=0).fit(np.concatenate([x, odd]))
    assert made.autoencoder_.latent_dim == 1
    assert made.autoencoder_.model.parameter_count < 5_000
    assert roc_auc_score(np.arange(220) >= 200, -made.score_samples(np.concatenate([x, odd]))) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.03, 0.1])
def test_no_share_of_outliers_and_no_length_of_training_breaks_it(share: float) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    normal, malignant = x[y == 1], x[y == 0]
    train = np.concatenate([normal[:200], malignant[: int(share * 200)]])
    test, odd = np.concatenate([normal[200:], malignant[100:]]), np.arange(157 + 112) >= 157
    for options in ({}, {"epochs": 5}, {"epochs": 300, "validation": 0.0}, {"latent_dim": 2}, {"model": "vae"}):
        made = AutoencoderOutlierDetector(random_state=1, **options).fit(train)
        assert roc_auc_score(odd, -made.score_samples(test)) > 0.9, options


@pytest.mark.parametrize(("rows", "neighbours"), [(90, 20), (30, 10)])
def test_the_formula(rows: int, neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diabolo.latent.neighbours.CHUNK", 3)
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(rows, 1))
    copies = codes * [1.0, 2.0]
    x = copies + 0.1 * rng.normal(size=(rows, 2))
    alike = np.abs(codes - codes.T).argsort(1)[:, :TIMES]
    draws = np.concatenate([copies[i] + x[alike[i]] - copies[alike[i]] for i in range(rows)])
    count = TIMES * neighbours

    def log_distance(points: np.ndarray, skipped: int = 0) -> tuple[np.ndarray, np.ndarray]:
        distances = np.linalg.norm(points[:, None] - draws, axis=-1)
        places = distances.argsort(1)[:, skipped : count + skipped]
        return np.log(np.take_along_axis(distances, places, 1).mean(1)), places

    some = rng.normal(size=(7, 2)) * 3
    logs, places = log_distance(some)
    expected = logs - 0.5 * log_distance(draws, 1)[0][places].mean(1)
    np.testing.assert_allclose(Neighbours.fit(x, copies, codes).scores(some), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "x",
    [
        np.array([[0.0, 1.0], [2.0, 3.0]]),
        np.zeros((50, 3)),
        np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 40, axis=0),
        np.random.default_rng(0).normal(size=(MOST + 500, 2)),
    ],
    ids=["two rows", "equal rows", "rows that repeat", "more than are drawn from"],
)
def test_rows_of_every_kind_get_scores(x: np.ndarray) -> None:
    neighbours = Neighbours.fit(x, 0.9 * x, x[:, :1])
    assert len(neighbours.draws) <= TIMES * MOST
    scores = neighbours.scores(np.concatenate([x, x[:1] + 100]))
    assert np.isfinite(scores).all()
    assert scores[-1] > scores[:-1].max()
