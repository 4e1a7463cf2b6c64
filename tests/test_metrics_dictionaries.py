"""The words of codes of few active units: counts, dead units, what they explain, and the true ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.diagnostics import diagnose_units
from diabolo.metrics import compare_dictionaries, explained_variance, measure_model
from diabolo.metrics._units import measure_units

RNG = np.random.default_rng(0)
TRUTH = np.linalg.qr(RNG.normal(size=(12, 12)))[0][:8].astype(np.float32)
FACTORS = ((RNG.random((2000, 8)) < 0.2) * RNG.uniform(1, 2, (2000, 8))).astype(np.float32)
OPTIONS: dict[str, Any] = {"network": "dictionary", "latent_dim": 16, "threads": 1, "precision": "float32"}


@pytest.fixture(scope="module")
def model() -> diabolo.Autoencoder:
    return diabolo.train(FACTORS @ TRUTH, model="topk", k=2, epochs=8, lr=0.01, scaling="none", **OPTIONS)


def test_the_true_dictionary_has_full_scores_in_any_order_and_sign() -> None:
    order = RNG.permutation(8)
    scores = compare_dictionaries(FACTORS[:, order], FACTORS, TRUTH[order], TRUTH)
    assert scores == pytest.approx((1, 1))
    assert compare_dictionaries(FACTORS[:, order], FACTORS) == pytest.approx((1, 1))
    assert compare_dictionaries(FACTORS, FACTORS, -TRUTH, TRUTH).mcc == pytest.approx(1)


def test_f1_is_that_of_each_unit_s_own_feature() -> None:
    codes = FACTORS.copy()
    codes[:1000, 0] = 0  # which misses its feature in half of the examples
    codes[:, 1] = 1  # which is always active
    recall = (codes[:, 0] > 0).sum() / (FACTORS[:, 0] > 0).sum()
    precision = (FACTORS[:, 1] > 0).mean()
    expected = (6 + 2 * recall / (1 + recall) + 2 * precision / (1 + precision)) / 8
    assert compare_dictionaries(codes, FACTORS, TRUTH, TRUTH).f1 == pytest.approx(expected)
    assert compare_dictionaries(codes * 0, FACTORS, TRUTH, TRUTH).f1 == 0


def test_fewer_units_than_features_are_matched_among_themselves() -> None:
    scores = compare_dictionaries(FACTORS[:, :3], FACTORS, TRUTH[:3], TRUTH)
    assert scores == pytest.approx((1, 1))
    extra = np.concatenate([TRUTH, TRUTH[:1]])
    codes = np.concatenate([FACTORS, 0 * FACTORS[:, :1]], 1)
    assert compare_dictionaries(codes, FACTORS, extra, TRUTH) == pytest.approx((1, 8 / 9)), "a dead unit has F1 0"


def test_explained_variance() -> None:
    x = FACTORS @ TRUTH
    assert explained_variance(x, x) == 1
    assert explained_variance(x, np.broadcast_to(x.mean(0), x.shape)) == pytest.approx(0, abs=1e-6)


def test_an_evaluation_counts_units(model: diabolo.Autoencoder) -> None:
    x = FACTORS @ TRUTH
    card = measure_model(model, x, factors=FACTORS, metrics=["units"])
    codes = model.encode(x)
    values = {one.name: one.estimate.value for one in card.measurements}
    assert values["l0"] == pytest.approx(np.count_nonzero(codes) / len(x))
    assert values["dead_units"] == (codes == 0).all(0).sum()
    active = (codes != 0).mean(0)
    assert values["density"] == pytest.approx(np.median(active[active > 0]))
    assert values["explained_variance"] == pytest.approx(explained_variance(x, model.decode(codes)), abs=1e-5)
    assert values["explained_variance"] > 0.5
    assert 0 < values["unit_f1"] <= 1
    assert 0 < values["unit_mcc"] <= 1


def test_errors_of_counts_of_units_lie_about_them() -> None:
    codes = (RNG.random((300, 400)) < 0.004).astype(np.float32)  # units that are active once or twice, or never
    context = SimpleNamespace(
        model=SimpleNamespace(model=SimpleNamespace(objective=SimpleNamespace(overcomplete=True, entries=0))),
        codes=codes, x=codes, reconstructions=0.5 * codes, seed=0, factors=None,
    )  # fmt: skip
    found = {one.name: one.estimate for one in measure_units(context)}  # type: ignore[arg-type]
    assert found["dead_units"].value == (codes == 0).all(0).sum() > 50
    for estimate in found.values():
        assert 0 <= estimate.low <= estimate.value <= estimate.high
    assert found["dead_units"].standard_error > 1


def test_codes_that_are_not_sparse_have_no_units(model: diabolo.Autoencoder) -> None:
    dense = diabolo.train(FACTORS @ TRUTH, model="denoising", epochs=1, **OPTIONS)
    assert not measure_model(dense, FACTORS @ TRUTH, metrics=["units"]).measurements
    names = {one.name for one in measure_model(model, FACTORS @ TRUTH, metrics=["units"]).measurements}
    assert names == {"l0", "dead_units", "density", "explained_variance"}, "nothing is known of the true ones"


def test_a_run_is_held_against_components_of_the_number_that_it_uses(tmp_path: Path) -> None:
    run = diabolo.train(FACTORS @ TRUTH, model="topk", k=2, epochs=8, lr=0.01, out=tmp_path, **OPTIONS)
    baseline = run.info["result"]["baseline"]
    assert baseline["components"] == 2
    assert baseline["pca"] > 0.01


def test_health_speaks_of_units() -> None:
    assert diagnose_units(256, 4.0, 3, 2000).level == "good"
    note = diagnose_units(256, 4.0, 100, 2000)
    assert note.level == "note"
    assert "4.0 of 256 units are active" in note.text
    assert diagnose_units(256, 0.0, 256, 2000).level == "problem"
