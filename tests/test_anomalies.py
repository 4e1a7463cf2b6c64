"""Distances of codes, thresholds with a promised rate of false alarms, and the figures of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage

from diabolo.errors import ConfigError, DataError, RunError, ShapeError
from diabolo.figures import svg_or_png
from diabolo.figures._denoising import denoised
from diabolo.figures._heat_maps import heat_maps
from diabolo.latent.anomalies import SCORES, UNITS, Threshold
from diabolo.latent.code_statistics import LEVELS, CodeStatistics
from diabolo.runs.run import train
from diabolo.storage.checkpoint import load_tensors, save_tensors
from diabolo.storage.files import read_json, write_json


def statistics_of(covariance: list[list[float]], mean: list[float], shrinkage: float = 0.0) -> CodeStatistics:
    center = np.array(mean)
    return CodeStatistics(
        center, np.array(covariance), center, center, np.tile(center, (len(LEVELS), 1)), 100, shrinkage
    )


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    """(400, 4) float32: correlated, of very different scales."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((400, 4)) @ rng.standard_normal((4, 4))
    return (mixed * [1, 10, 0.5, 3] + [0, 5, -2, 100]).astype(np.float32)


# --- statistics -------------------------------------------------------------------------------------------------------


def test_the_statistics_are_those_of_numpy(codes: np.ndarray) -> None:
    found = CodeStatistics.fit(codes)
    points = codes.astype(np.float64)
    np.testing.assert_allclose(found.mean, points.mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(points.T, bias=True))
    np.testing.assert_allclose(found.deviation, points.std(0))
    np.testing.assert_array_equal(found.minimum, points.min(0))
    np.testing.assert_array_equal(found.maximum, points.max(0))
    np.testing.assert_allclose(found.quantiles, np.quantile(points, LEVELS, axis=0))
    assert found.count == 400
    scaled = (points - points.mean(0)) / points.std(0)
    assert found.shrinkage == pytest.approx(ledoit_wolf_shrinkage(scaled, assume_centered=True))


def test_mahalanobis_by_hand() -> None:
    found = statistics_of([[4.0, 1.0], [1.0, 1.0]], [1.0, 2.0])
    # The inverse of [[4, 1], [1, 1]] is [[1, -1], [-1, 4]] / 3.
    points = np.array([[1.0, 2.0], [3.0, 2.0], [1.0, 3.0], [2.0, 1.0]])
    np.testing.assert_allclose(found.mahalanobis(points), np.sqrt([0, 4 / 3, 4 / 3, (1 + 4 + 2) / 3]))


def test_shrinkage_weakens_correlations_alone() -> None:
    half = statistics_of([[4.0, 1.0], [1.0, 1.0]], [0.0, 0.0], shrinkage=0.5)
    by_hand = np.linalg.inv([[4.0, 0.5], [0.5, 1.0]])
    point = np.array([[1.0, -2.0]])
    np.testing.assert_allclose(half.mahalanobis(point), np.sqrt(point[0] @ by_hand @ point[0]))
    none = statistics_of([[4.0, 1.0], [1.0, 1.0]], [0.0, 0.0], shrinkage=1.0)
    np.testing.assert_allclose(none.mahalanobis(point), np.sqrt(1 / 4 + 4))


def test_the_scale_of_a_dimension_does_not_matter(codes: np.ndarray) -> None:
    scale = np.array([10.0, 0.1, 5, 2])
    np.testing.assert_allclose(
        CodeStatistics.fit(codes * scale).mahalanobis(codes * scale), CodeStatistics.fit(codes).mahalanobis(codes)
    )


def test_the_mean_square_distance_is_the_number_of_dimensions() -> None:
    points = np.random.default_rng(0).standard_normal((20_000, 6)) @ np.diag([1, 2, 3, 4, 5, 6.0])
    assert np.square(CodeStatistics.fit(points).mahalanobis(points)).mean() == pytest.approx(6, rel=1e-3)


def test_a_dead_dimension_neither_explodes_nor_hides(codes: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    alive = rng.standard_normal((400, 3))
    for noise in (0.0, 1e-9, 1e-4):
        dead = np.column_stack([alive, 7 + noise * rng.standard_normal(400)])
        found = CodeStatistics.fit(dead)
        trembling, moved = dead[:1].copy(), dead[:1].copy()
        trembling[0, 3] += 1e-3
        moved[0, 3] += 1
        without = found.mahalanobis(dead[:1])[0]
        assert found.mahalanobis(trembling)[0] == pytest.approx(without, rel=0.05)
        assert 30 < found.mahalanobis(moved)[0] < 300
        others = np.add(dead[:1], [[2.0, 0, 0, 0]])
        assert found.mahalanobis(others)[0] == pytest.approx(
            CodeStatistics.fit(alive).mahalanobis(others[:, :3])[0], rel=0.1
        )


def test_dimensions_that_depend_on_each_other_can_be_inverted() -> None:
    plane = np.random.default_rng(0).standard_normal((5000, 2))
    points = np.column_stack([plane, plane.sum(1)])
    found = CodeStatistics.fit(points)
    assert np.isfinite(found.mahalanobis(points)).all()
    assert np.square(found.mahalanobis(points)).mean() == pytest.approx(2, rel=0.01)
    off = found.mahalanobis(np.array([[0.0, 0, 1]]))
    assert 10 < off[0] < 200


def test_codes_that_never_moved_are_measured_in_their_own_units() -> None:
    found = CodeStatistics.fit(np.full((5, 3), 2.0))
    np.testing.assert_allclose(found.mahalanobis(np.array([[2.0, 5, 6]])), [5.0])


def test_one_dimension_is_a_z_score() -> None:
    np.testing.assert_allclose(CodeStatistics.fit([[0.0], [2.0]]).mahalanobis([[3.0], [1.0]]), [2.0, 0.0])


def test_a_distance_depends_on_no_other_code(codes: np.ndarray) -> None:
    found = CodeStatistics.fit(codes)
    many = np.tile(codes, (60, 1))
    np.testing.assert_allclose(found.mahalanobis(many)[23_999], found.mahalanobis(codes[-1:])[0], rtol=1e-12)


def test_statistics_are_saved_and_loaded(codes: np.ndarray, tmp_path: Path) -> None:
    found = CodeStatistics.fit(codes)
    found.save(tmp_path / "statistics.safetensors")
    again = CodeStatistics.load(tmp_path / "statistics.safetensors")
    np.testing.assert_array_equal(again.mahalanobis(codes), found.mahalanobis(codes))
    np.testing.assert_array_equal(again.quantiles, found.quantiles)
    assert (again.count, again.shrinkage) == (found.count, found.shrinkage)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros(3), r"shape \(n, d\), and were given as \(3,\)"),
        (np.zeros((5, 0)), r"\(5, 0\)"),
        (np.zeros((1, 2)), "at least 2 of them, and 1 was given"),
    ],
)
def test_codes_of_another_shape_are_refused(given: np.ndarray, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        CodeStatistics.fit(given)


def test_codes_that_do_not_fit_are_refused(codes: np.ndarray) -> None:
    found = CodeStatistics.fit(codes)
    with pytest.raises(ShapeError, match=r"\(n, 4\), and were given as \(400, 3\)"):
        found.mahalanobis(codes[:, :3])
    with pytest.raises(DataError, match="1 of 2 codes hold NaN"):
        found.mahalanobis([[0, 0, 0, 0], [np.nan, 0, 0, 0]])
    assert found.mahalanobis(np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    "part", ["mean", "covariance", "quantiles", "format", "newer", "count", "shrinkage", "nan", "more"]
)
def test_edited_statistics_are_refused(codes: np.ndarray, tmp_path: Path, part: str) -> None:
    path = tmp_path / "statistics.safetensors"
    CodeStatistics.fit(codes).save(path)
    tensors, numbers = load_tensors(path)
    if part in tensors:
        tensors[part] = tensors[part][..., :-1].contiguous()
    elif part == "nan":
        tensors["mean"][0] = float("nan")
    elif part == "more":
        tensors["other"] = tensors["mean"]
    elif part == "newer":
        numbers["format"] = 2
    else:
        del numbers[part]
    save_tensors(path, tensors, numbers)
    with pytest.raises(RunError, match=r"statistics.safetensors .*(edited|Upgrade)"):
        CodeStatistics.load(path)


# --- thresholds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "rate", "rank"), [(99, 0.01, 99), (999, 0.01, 990), (100, 0.01, 100), (19, 0.05, 19), (10, 0.5, 6)]
)
def test_the_threshold_is_the_conformal_quantile(count: int, rate: float, rank: int) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert rank == int(np.ceil((count + 1) * (1 - rate) - 1e-9))
    found = Threshold.calibrate(values, rate, kind="elbo")
    assert found.value == rank
    assert (found.count, found.false_alarms, found.kind) == (count, rate, "elbo")


@pytest.mark.parametrize(("count", "rate"), [(49, 0.05), (200, 0.01), (30, 0.3)])
def test_false_alarms_come_at_most_as_often_as_promised(count: int, rate: float) -> None:
    rng = np.random.default_rng(0)
    trials, fresh = 2000, 50
    alarms = [
        Threshold.calibrate(rng.exponential(size=count), rate, kind="elbo").exceeded(rng.exponential(size=fresh)).mean()
        for _ in range(trials)
    ]
    exact = np.floor(rate * (count + 1)) / (count + 1)
    error = np.std(alarms) / np.sqrt(trials)
    assert np.mean(alarms) == pytest.approx(exact, abs=4 * error)
    assert np.mean(alarms) <= rate + 3 * error


def test_ties_are_no_false_alarms() -> None:
    found = Threshold.calibrate(np.ones(50), 0.1, kind="latent")
    assert not found.exceeded(np.ones(3)).any()
    np.testing.assert_array_equal(found.exceeded([0.5, 1, 1.0001, np.inf, np.nan]), [False, False, True, True, True])


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_p_values_agree_with_the_threshold(rate: float) -> None:
    rng = np.random.default_rng(0)
    calibration = np.round(rng.standard_normal(99), 1)  # with ties
    found = Threshold.calibrate(calibration, rate, kind="elbo")
    scores = np.concatenate([np.round(rng.standard_normal(300), 1), [np.inf, -np.inf, np.nan]])
    p = found.p_values(scores)
    np.testing.assert_array_equal(p <= rate + 1e-12, found.exceeded(scores))
    at_least = [(calibration >= score).sum() for score in scores[:-1]]
    np.testing.assert_allclose(p[:-1], (1 + np.array(at_least)) / 100)
    assert p[-1] == 0.01


def test_too_few_examples_say_how_many_are_needed() -> None:
    with pytest.raises(DataError, match=r"0.01 needs at least 99 normal examples .* and 98 were given"):
        Threshold.calibrate(np.arange(98.0), 0.01, kind="elbo")
    Threshold.calibrate(np.arange(99.0), 0.01, kind="elbo")


@pytest.mark.parametrize("rate", [0, -0.1, 0.51, 1, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"false_alarms should be a rate above 0 and at most 0.5, and was given"):
        Threshold.calibrate(np.arange(99.0), rate, kind="elbo")


def test_scores_that_make_no_threshold_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no score named 'elbow'. Did you mean 'elbo'"):
        Threshold.calibrate(np.arange(99.0), 0.1, kind="elbow")
    with pytest.raises(DataError, match="2 of 20 calibration scores are NaN or infinite"):
        Threshold.calibrate(np.array([np.nan, np.inf, *range(18)]), 0.1, kind="elbo")
    with pytest.raises(ShapeError, match=r"shape \(n,\).*\(4, 5\)"):
        Threshold.calibrate(np.zeros((4, 5)), 0.1, kind="elbo")


def test_a_threshold_is_saved_and_loaded(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).standard_normal(300).astype(np.float32) * 100
    made = Threshold.calibrate(scores, 0.05, kind="likelihood", draws=64, seed=3, source="mnist, test examples")
    made.save(tmp_path / "threshold.json")
    again = Threshold.load(tmp_path / "threshold.json")
    assert again == made
    np.testing.assert_array_equal(again.scores, made.scores)
    assert len((tmp_path / "threshold.json").read_text().splitlines()) < 15, "readable: scores stand in one line"
    assert json.loads(json.dumps(made.config())) == {
        "kind": "likelihood", "value": made.value, "false_alarms": 0.05, "count": 300, "draws": 64, "seed": 3,
        "source": "mnist, test examples",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"value": 3.0}, {"false_alarms": 0.1}, {"kind": "elbow"}, {"count": 7}, {"scores": "3 2 1"}, {"scores": "a b"},
        {"scores": None}, {"draws": None}, {"false_alarms": "many"}, {"format": None}, {"format": 99}, {"seed": "x"},
        {"scores": "nan " * 300},
    ],
)  # fmt: skip
def test_an_edited_threshold_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "threshold.json"
    Threshold.calibrate(np.arange(300.0), 0.05, kind="elbo", draws=16).save(path)
    write_json(path, {**read_json(path), **change})
    with pytest.raises(RunError, match=r"threshold.json .*(edited|Upgrade)"):
        Threshold.load(path)


def test_every_score_has_a_unit() -> None:
    assert set(UNITS) == set(SCORES)


# --- with a model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCORES)
def test_an_example_alone_scores_as_in_a_batch(pictures: np.ndarray, kind: str) -> None:
    model = train(pictures, model="vae", epochs=2, widths=(16,), latent_dim=3, test=0.0)
    many = np.tile(pictures, (34, 1, 1))[:3000]
    scores = model.score(many, kind=kind)
    for row in (0, 89, 2999):
        np.testing.assert_allclose(model.score(many[row : row + 1], kind=kind)[0], scores[row], rtol=1e-5)
    np.testing.assert_array_equal(model.score(many, kind=kind), scores)


def test_a_model_calls_out_what_it_never_saw(pictures: np.ndarray, tmp_path: Path) -> None:
    model = train(pictures[:60], model="vae", epochs=30, widths=(32,), latent_dim=3, test=0.0, validation=0.1)
    found = model.calibrate(pictures[60:], false_alarms=0.1, source="the rest")
    assert (found.kind, found.draws, found.count, found.source) == ("elbo", 16, 30, "the rest")
    assert model.detect(pictures[60:]).sum() <= 3
    assert model.detect(255 - pictures[60:]).all()
    model.save(tmp_path / "run")
    again = type(model).load(tmp_path / "run")
    assert again.threshold == found
    np.testing.assert_array_equal(again.detect(pictures), model.detect(pictures))


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("HW", (6, 8)),
        ("HWC", (6, 8, 3)),
        ("CHW", (3, 6, 8)),
        ("F", (5,)),
        ("F", (30,)),
        ("LC", (20, 2)),
        ("CL", (1, 20)),
        ("any", (2, 2, 2, 2)),
    ],
)
@pytest.mark.parametrize("count", [1, 7])
def test_every_layout_has_a_heat_map(layout: str, shape: tuple[int, ...], count: int, theme: str) -> None:
    x = np.random.default_rng(0).random((count, *shape)).astype(np.float32)
    figure = heat_maps(x, 1 - x, x**2, layout, [str(n) for n in range(count)], label="elbo (nats)", theme=theme)
    drawn = svg_or_png(figure)
    assert len(drawn) > 2000
    assert any("nats" in (axes.get_ylabel() or "") for axes in figure.axes)


def test_the_same_heat_maps_are_the_same_bytes() -> None:
    x = np.random.default_rng(0).random((2, 4, 4))
    assert svg_or_png(heat_maps(x, x, x, "HW")) == svg_or_png(heat_maps(x, x, x, "HW"))


def test_a_heat_map_shows_the_most_surprising_pixel_brightest() -> None:
    heat = np.zeros((2, 4, 4), np.float32)
    heat[0, 1, 2], heat[1, 3, 3] = 9, 2.25
    figure = heat_maps(np.zeros_like(heat), np.zeros_like(heat), heat, "HW")
    pixels = figure.axes[0].images[0].get_array()
    brightness = pixels.astype(int).sum(-1)[-4:]
    first, second = brightness[:, :4], brightness[:, 5:9]
    assert np.unravel_index(first.argmax(), (4, 4)) == (1, 2)
    assert np.unravel_index(second.argmax(), (4, 4)) == (3, 3)
    assert first.max() > second.max() > 0


def test_the_columns_of_a_table_are_ordered_by_surprise() -> None:
    heat = np.array([[1.0, 5, 3], [1, 5, 3]])
    figure = heat_maps(heat, heat, heat, "F", features=["a", "b", "c"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "c", "a"]


def test_heat_maps_refuse_what_does_not_fit() -> None:
    x = np.zeros((2, 4, 4), np.float32)
    with pytest.raises(ShapeError, match="The surprise should have the shape of the originals"):
        heat_maps(x, x, x[:1], "HW")
    with pytest.raises(ShapeError, match="3 notes for 2 examples"):
        heat_maps(x, x, x, "HW", ["a", "b", "c"])
    with pytest.raises(ShapeError, match="2 feature names for 3 features"):
        heat_maps(x[:, 0, :3], x[:, 0, :3], x[:, 0, :3], "F", features=["a", "b"])
    with pytest.raises(DataError, match="NaN or infinite"):
        heat_maps(x, x, x + np.nan, "HW")
    with pytest.raises(ConfigError, match="theme"):
        heat_maps(x, x, x, "HW", theme="neon")  # type: ignore[arg-type]


def test_rows_of_a_denoising_say_their_ratio() -> None:
    clean = np.full((3, 5, 5), 0.4, np.float32)
    figure = denoised(clean + 0.2, clean + 0.02, clean)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    # 10 log10(1 / 0.2^2) = 13.98; the clean 0.4 is byte 102, 0.42 is byte 107.
    assert names == ["noisy\n14.0 dB", f"denoised\n{20 * np.log10(255 / 5):.1f} dB", "clean"]
    without = denoised(clean + 0.2, clean + 0.02)
    assert [label.get_text() for label in without.axes[0].get_yticklabels()] == ["noisy", "denoised"]


@pytest.mark.parametrize(("layout", "shape"), [("HWC", (6, 8, 3)), ("F", (5,)), ("LC", (20, 2))])
def test_every_layout_can_be_shown_denoised(layout: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((4, *shape)).astype(np.float32)
    for clean in (None, x):
        assert len(svg_or_png(denoised(x + 0.1, x - 0.05, clean, layout, n=3, theme="dark"))) > 2000
    with pytest.raises(ShapeError, match="The denoised examples"):
        denoised(x, x[:2], None, layout)
    with pytest.raises(ConfigError, match="n, how many examples are shown"):
        denoised(x, x, None, layout, n=0)
