"""Concept vectors: what they find in codes whose concept is known, how they are judged, saved and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import diabolo
from diabolo import ConceptVector
from diabolo.errors import ConfigError, DataError, DiaboloError, RunError, ShapeError
from diabolo.latent.concepts import METHODS, _auc

TRUE = np.array([3.0, 0.0, 4.0, 0.0, 0.0]) / 5


def groups(count: int = 400, gap: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes of N(0, I) in five dimensions; those labelled 1 lie `gap` further along TRUE."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    return rng.standard_normal((count, 5)) + gap * y[:, None] * TRUE, y


@pytest.mark.parametrize("method", METHODS)
def test_the_direction_its_unit_and_its_gap_are_found(method: str) -> None:
    made = ConceptVector.fit(*groups(4000), method=method)
    assert made.direction @ TRUE > 0.99
    assert np.linalg.norm(made.direction) == pytest.approx(1, abs=1e-6)
    assert made.unit == pytest.approx(1, abs=0.05)
    assert made.gap == pytest.approx(2, abs=0.1)
    assert made.middle == pytest.approx(1, abs=0.1)
    # two normal distributions 2 deviations apart: Phi(2 / sqrt(2))
    assert made.auc == pytest.approx(0.921, abs=0.03)
    assert made.auc_low < 0.921 < made.auc_high
    assert made.counts == (2000, 2000)


@pytest.mark.parametrize("method", ["logistic", "svm"])
def test_a_plane_separates_better_than_the_means_where_codes_are_correlated(method: str) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    common = 3 * rng.standard_normal(2000)  # in both dimensions; what is left of it in the first is noise to the means
    codes = np.stack([common + y, common], 1) + 0.2 * rng.standard_normal((2000, 2))
    assert ConceptVector.fit(codes, y).auc < 0.65
    made = ConceptVector.fit(codes, y, method=method)
    assert made.auc > 0.95
    np.testing.assert_allclose(made.direction, [np.sqrt(0.5), -np.sqrt(0.5)], atol=0.1)


def test_no_concept_is_no_better_than_chance() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(40):
        made = ConceptVector.fit(rng.standard_normal((200, 8)), rng.permutation(np.arange(200) % 2), seed=seed)
        inside += made.auc_low <= 0.5 <= made.auc_high
    assert inside >= 33  # 38 expected of a 95% interval; fewer than 33 with a probability of 0.3%


def test_the_area_is_scikit_learn_s_and_its_error_that_of_repeats() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 9, 60) + 2.0, rng.integers(0, 9, 80) + 0.0  # with ties
    area, _ = _auc(positive, negative)
    assert area == pytest.approx(roc_auc_score(np.repeat([1, 0], [60, 80]), np.concatenate([positive, negative])))
    repeats = [_auc(rng.standard_normal(60) + 1, rng.standard_normal(80)) for _ in range(600)]
    areas, deviations = np.array(repeats).T
    assert deviations.mean() == pytest.approx(areas.std(), rel=0.1)


def test_apply_moves_by_units_and_project_counts_them() -> None:
    x, y = groups()
    made = ConceptVector.fit(x, y)
    moved = made.apply(x, 1.5)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(made.project(moved) - made.project(x), 1.5, atol=1e-5)
    np.testing.assert_allclose(moved - x, np.tile(1.5 * made.unit * made.direction, (400, 1)), atol=1e-5)
    assert made.project(x[y == 1]).mean() == pytest.approx(made.gap / 2, abs=1e-6)
    assert made.project(x[y == 0]).mean() == pytest.approx(-made.gap / 2, abs=1e-6)
    strengths = np.linspace(-2, 2, 400)
    np.testing.assert_allclose(made.project(made.apply(x, strengths)) - made.project(x), strengths, atol=1e-5)


def test_a_concept_orthogonal_to_others_leaves_them_alone() -> None:
    x, y = groups()
    other = x[:, 0] > 0
    first = ConceptVector.fit(x, other, name="first")
    second = ConceptVector.fit(x, x[:, 1] > 0, name="second")
    made = ConceptVector.fit(x, y, name="smile", orthogonal_to=[first, second])
    np.testing.assert_allclose([made.direction @ first.direction, made.direction @ second.direction], 0, atol=1e-6)
    np.testing.assert_allclose(first.project(made.apply(x, 3)), first.project(x), atol=1e-5)
    assert made.orthogonal_to == ("first", "second")
    with pytest.raises(DataError, match="Nothing is left"):
        ConceptVector.fit(x, other, orthogonal_to=[first])


def test_two_arrays_are_the_two_groups() -> None:
    x, y = groups()
    by_labels = ConceptVector.fit(x, y)
    by_arrays = ConceptVector.fit(x[y == 1], x[y == 0])
    np.testing.assert_array_equal(by_labels.direction, by_arrays.direction)
    assert (by_arrays.positive, by_arrays.negative) == ("positive", "negative")


@pytest.mark.parametrize(
    ("labels", "positive", "negative", "called"),
    [
        (["no", "yes"], None, None, ("yes", "no")),
        (["no", "yes"], "no", None, ("no", "yes")),
        (["no", "yes"], None, "yes", ("no", "yes")),
        ([0, 1], 1, None, ("1", "0")),
        ([0.0, 1.0], 1, 0, ("1", "0")),
        ([False, True], True, None, ("True", "False")),
        (["a", "b", "c"], "a", "c", ("a", "c")),
        (["a", "b", "c"], "a", None, ("a", "not a")),
        (["a", "b", "c"], None, "b", ("not b", "b")),
    ],
)
def test_groups_are_named_by_their_labels(
    labels: list[Any], positive: Any, negative: Any, called: tuple[str, str]
) -> None:
    x, _ = groups(90)
    y = np.array(labels)[np.arange(90) % len(labels)]
    made = ConceptVector.fit(x, y, positive=positive, negative=negative)
    assert (made.positive, made.negative) == called
    assert made.counts == tuple(
        int((y != type(y[0])(name[4:])).sum()) if name.startswith("not ") else 90 // len(labels) for name in called
    )


def test_the_same_seed_gives_the_same_vector() -> None:
    x, y = groups()
    for method in METHODS:
        a, b = (ConceptVector.fit(x, y, method=method, seed=3) for _ in range(2))
        np.testing.assert_array_equal(a.direction, b.direction)
        assert (a.auc, a.gap) == (b.auc, b.gap)


def test_saved_and_loaded(tmp_path: Path) -> None:
    made = ConceptVector.fit(*groups(), name="smile")
    made.save(tmp_path / "smile.safetensors")
    found = ConceptVector.load(tmp_path / "smile.safetensors")
    np.testing.assert_array_equal(found.direction, made.direction)
    assert repr(found) == repr(made)
    assert all(getattr(found, name) == getattr(made, name) for name in ("unit", "gap", "counts", "orthogonal_to"))


def test_a_broken_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "smile.safetensors"
    ConceptVector.fit(*groups(), name="smile").save(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunError):
        ConceptVector.load(path)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"labels": np.zeros(400)}, DataError, "All labels are '0'"),
        ({"labels": np.arange(400) % 3}, ConfigError, "3 labels (0, 1, 2)"),
        ({"labels": np.arange(400) % 2, "positive": "2"}, ConfigError, "no label named '2'"),
        ({"positive": 1, "negative": 1}, ConfigError, "should be two groups"),
        ({"labels": np.arange(400) > 397}, DataError, "has 2 examples; at least 4"),
        ({"labels": np.zeros(7)}, ShapeError, "(400,)"),
        ({"labels": np.where(np.arange(400) < 3, np.nan, np.arange(400) % 2)}, DataError, "3 labels are missing"),
        ({"labels": np.array([None, 1, 0, 1] * 100, object)}, DataError, "100 labels are missing"),
        ({"labels": groups()[0]}, DataError, "400 codes are in both"),
        ({"labels": np.zeros((0, 5))}, ShapeError, "something in it"),
        ({"labels": np.zeros((9, 4))}, ShapeError, "5 and 4 numbers"),
        ({"codes": np.full((400, 5), np.inf)}, DataError, "infinite"),
        ({"codes": np.zeros(400)}, ShapeError, "(n, d)"),
        ({"codes": np.zeros((400, 5))}, DataError, "in both"),
        ({"method": "means"}, ConfigError, "Did you mean 'mean'"),
        ({"name": "../smile"}, ConfigError, "file's name"),
        ({"seed": -1}, ConfigError, "at least 0"),
    ],
)
def test_what_cannot_be_learned_is_said(change: dict[str, Any], error: type[DiaboloError], says: str) -> None:
    codes, labels = groups()
    with pytest.raises(error) as raised:
        ConceptVector.fit(**({"codes": codes, "labels": labels} | change))
    assert says in str(raised.value)


def test_a_few_codes_in_both_groups_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    x, y = groups()
    made = ConceptVector.fit(np.concatenate([x, x[:3]]), np.concatenate([y, 1 - y[:3]]))
    assert "3 examples in both '1' and '0': left out of both." in caplog.text
    np.testing.assert_array_equal(made.direction, ConceptVector.fit(x[3:], y[3:]).direction)
    assert made.counts == (199, 198)


def test_what_cannot_be_applied_is_said() -> None:
    x, y = groups()
    made = ConceptVector.fit(x, y, name="smile")
    with pytest.raises(ShapeError, match="learned from another model"):
        made.apply(x[:, :3])
    with pytest.raises(ShapeError, match="one for each of the 400"):
        made.apply(x, [1, 2])
    with pytest.raises(DataError, match="NaN"):
        made.apply(x, np.nan)


# --- on a model -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(pictures: np.ndarray) -> diabolo.Autoencoder:
    return diabolo.train(
        pictures,
        layout="HW",
        model="vae",
        widths=(32,),
        latent_dim=3,
        epochs=80,
        batch_size=15,
        lr=0.005,
        seed=0,
        test=0.0,
    )


@pytest.fixture(scope="module")
def right(pictures: np.ndarray) -> np.ndarray:
    """Whether a picture's spot lies in the right half."""
    return pictures[:, :, 4:].sum((1, 2), dtype=int) > pictures[:, :, :4].sum((1, 2), dtype=int)


def test_a_model_learns_edits_and_keeps(
    model: diabolo.Autoencoder, pictures: np.ndarray, right: np.ndarray, tmp_path: Path
) -> None:
    made = model.learn_concept("right", pictures, right)
    model.learn_concept(
        "up",
        pictures,
        pictures[:, :4].sum((1, 2), dtype=int) > pictures[:, 4:].sum((1, 2), dtype=int),
        orthogonal_to=["right"],
    )
    assert made.auc > 0.8
    plain, edited = model.reconstruct(pictures), model.edit(pictures, "right", 2.0)
    side = lambda x: (x[:, :, 4:].sum((1, 2)) - x[:, :, :4].sum((1, 2))).mean()  # noqa: E731
    assert side(edited) > side(plain) > side(model.edit(pictures, "right", -2.0))
    np.testing.assert_allclose(model.edit(pictures, made, 0.0), plain, atol=1e-6)
    both = model.decode(model.concepts["up"].apply(made.apply(model.encode(pictures), 1), -1))
    np.testing.assert_allclose(model.edit(pictures, {"right": 1, "up": -1}), both, atol=1e-6)
    model.save(tmp_path / "run")
    found = diabolo.load(tmp_path / "run")
    assert list(found.concepts) == ["right", "up"]
    np.testing.assert_array_equal(found.edit(pictures, "right", 2.0), edited)
    del found.concepts["up"]
    found.save(tmp_path / "run")
    assert list(diabolo.load(tmp_path / "run").concepts) == ["right"]


def test_an_unknown_concept_names_the_nearest(model: diabolo.Autoencoder, pictures: np.ndarray) -> None:
    model.artifacts.concepts.clear()
    with pytest.raises(ConfigError, match="nor any other"):
        model.edit(pictures, "smile")
    model.learn_concept("smile", pictures, np.arange(90) % 2)
    with pytest.raises(ConfigError, match="Did you mean 'smile'"):
        model.edit(pictures, "smil")


def test_the_same_images_in_both_groups_are_refused(model: diabolo.Autoencoder, pictures: np.ndarray) -> None:
    twice = np.concatenate([pictures, pictures])
    with pytest.raises(DataError, match="the same examples are in both groups"):
        model.learn_concept("smile", twice, np.repeat([0, 1], 90))


def test_paths_of_a_model(model: diabolo.Autoencoder, pictures: np.ndarray, right: np.ndarray) -> None:
    codes = model.encode(pictures)
    way = model.interpolate(pictures[0], pictures[1], 5)
    np.testing.assert_allclose(way[[0, -1]], model.reconstruct(pictures[:2]), atol=1e-6)
    walk = model.traverse(pictures[0], 1, [codes[0, 1], 3.0])
    np.testing.assert_allclose(walk[0], model.reconstruct(pictures[:1])[0], atol=1e-6)
    indices, distances = model.neighbours(pictures, pictures[:4], 3)
    np.testing.assert_array_equal(indices[:, 0], range(4))
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-6)
    classes, means = model.class_means(pictures, right)
    assert classes.tolist() == [False, True]
    np.testing.assert_allclose(means[1], codes[right].mean(0), atol=1e-5)
    with pytest.raises(ConfigError, match="latent_dim=2"):
        model.manifold(3)


def test_the_advised_strength_carries_95_percent_of_the_negative_examples_past_the_positive_mean() -> None:
    x, y = groups(4000)
    vector = ConceptVector.fit(x, y)
    moved = vector.project(vector.apply(x[y == 0], vector.strength))
    assert (moved > vector.gap / 2).mean() == pytest.approx(0.95, abs=0.015)
    halfway = vector.project(vector.apply(x[y == 0], vector.gap))
    assert (halfway > vector.gap / 2).mean() == pytest.approx(0.5, abs=0.03)
