"""From the user's arrays to the model's tensors and back, for every layout and scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.preprocess import Preprocess

SHAPES = {
    "F": [(1,), (7,)],
    "LC": [(9, 1), (13, 3)],
    "CL": [(1, 9), (2, 11)],
    "HW": [(8, 8), (1, 5), (13, 37)],
    "HWC": [(5, 7, 3), (1, 1, 1), (4, 6, 2)],
    "CHW": [(3, 5, 7), (1, 13, 37)],
    "any": [(2, 3, 2, 3), (4,)],
}
CASES = [(layout, event) for layout, events in SHAPES.items() for event in events]
AXES = {"F": (0,), "LC": (0, 1), "CL": (0, 2), "HW": (0, 1, 2), "HWC": (0, 1, 2), "CHW": (0, 2, 3)}


def everything(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x))


def as_model_sees(made: Preprocess, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(made(torch.from_numpy(x)))


@pytest.mark.parametrize(("layout", "event"), CASES, ids=str)
@pytest.mark.parametrize("scale", ["bytes", "unit", "none", "standard", "range"])
def test_there_and_back(layout: str, event: tuple[int, ...], scale: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((12, *event)).astype(np.float32)
    if scale == "bytes":
        x = (255 * x).astype(np.uint8)
    elif scale != "unit":
        x = 40 * x - 7
    made = Preprocess.fit(x, layout, everything(x), scale)
    seen = made(torch.from_numpy(x))
    assert seen.dtype == torch.float32
    assert tuple(seen.shape) == (12, *made.model_shape)
    back = made.undo(seen).numpy()
    assert back.shape == x.shape
    np.testing.assert_allclose(back, x / np.float32(255) if scale == "bytes" else x, atol=2e-5)
    assert made.in_unit_range == (scale in ("bytes", "unit", "range"))
    assert made.values == np.prod(event)
    if made.in_unit_range:
        assert seen.min() >= 0
        assert seen.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("layout", "event", "expected"),
    [
        ("F", (7,), (7,)),
        ("LC", (9, 2), (2, 9)),
        ("CL", (2, 9), (2, 9)),
        ("HW", (5, 6), (1, 5, 6)),
        ("HWC", (5, 6, 3), (3, 5, 6)),
        ("CHW", (3, 5, 6), (3, 5, 6)),
        ("any", (2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_the_model_sees_channels_first(layout: str, event: tuple[int, ...], expected: tuple[int, ...]) -> None:
    made = Preprocess(event_shape=event, layout=layout, scale="none")
    assert made.model_shape == expected
    x = np.arange(2 * np.prod(event), dtype=np.float32).reshape(2, *event)
    seen = as_model_sees(made, x)
    if layout == "LC":
        assert seen[1, 1, 4] == x[1, 4, 1]
    elif layout == "HWC":
        assert seen[1, 2, 3, 4] == x[1, 3, 4, 2]
    else:
        np.testing.assert_array_equal(seen.ravel(), x.ravel())


def test_bytes_become_fractions_of_255() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    made = Preprocess.fit(x, "HW", everything(x))
    assert made.scale == "bytes"
    seen = as_model_sees(made, x)
    np.testing.assert_allclose(seen.ravel(), np.arange(256) / 255, atol=1e-7)
    assert (seen.min(), seen.max()) == (0, 1)
    half = np.full((1, 8, 8), 0.5, np.float32)
    np.testing.assert_array_equal(as_model_sees(made, half)[0], half)  # floats in [0, 1] pass as they are


@pytest.mark.parametrize(
    ("layout", "x", "scale"),
    [
        ("HW", np.zeros((4, 3, 3), np.uint8), "bytes"),
        ("F", np.zeros((4, 3), np.uint8), "bytes"),
        ("HW", np.linspace(0, 1, 36, dtype=np.float32).reshape(4, 3, 3), "unit"),
        ("HW", np.linspace(0, 1.1, 36, dtype=np.float32).reshape(4, 3, 3), "standard"),
        ("LC", np.linspace(-1, 1, 36, dtype=np.float32).reshape(4, 9, 1), "standard"),
        ("F", np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3), "standard"),
    ],
)
def test_the_scale_is_chosen_from_the_data(layout: str, x: np.ndarray, scale: str) -> None:
    assert Preprocess.fit(x, layout, everything(x)).scale == scale


@pytest.mark.parametrize("layout", list(AXES))
def test_standard_is_mean_0_and_deviation_1_of_each_channel(layout: str) -> None:
    event = SHAPES[layout][-1]
    channel = {"F": 0, "LC": 1, "CL": 0, "HWC": 2, "CHW": 0}.get(layout)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((300, *event))
    if channel is not None:
        count = event[channel]
        shape = [count if axis == channel else 1 for axis in range(len(event))]
        x = x * np.arange(1, count + 1).reshape(shape) + 10 * np.arange(count).reshape(shape)
    x = x.astype(np.float32)
    made = Preprocess.fit(x, layout, everything(x), "standard")
    seen = as_model_sees(made, x)
    axes = (0, *range(2, seen.ndim))
    np.testing.assert_allclose(seen.mean(axes), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axes), 1, atol=1e-4)
    np.testing.assert_allclose(made.shift.numpy().ravel(), x.mean(AXES[layout], dtype=np.float64).ravel(), rtol=1e-4)


def test_statistics_come_from_the_training_split_alone() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    train = np.arange(0, 40)
    clean = Preprocess.fit(x, "F", train, "standard")
    spoilt = x.copy()
    spoilt[40:] = 1e6
    again = Preprocess.fit(spoilt, "F", train, "standard")
    assert torch.equal(clean.shift, again.shift)
    assert torch.equal(clean.spread, again.spread)
    np.testing.assert_allclose(clean.shift.numpy(), x[:40].mean(0), atol=1e-6)
    np.testing.assert_allclose(clean.spread.numpy(), x[:40].std(0), rtol=1e-5)
    ranged = Preprocess.fit(spoilt, "F", train, "range")
    assert (ranged.shift.item(), (ranged.shift + ranged.spread).item()) == pytest.approx((x[:40].min(), x[:40].max()))


def test_statistics_over_many_parts_are_those_of_the_whole() -> None:
    x = np.random.default_rng(0).normal(3, 2, (9001, 4)).astype(np.float32)
    train = np.random.default_rng(1).permutation(9001)[:8500]
    made = Preprocess.fit(x, "F", train, "standard")
    np.testing.assert_allclose(made.shift.numpy(), x[train].mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(made.spread.numpy(), x[train].std(0, dtype=np.float64), rtol=1e-6)


def test_a_constant_feature_becomes_zero_and_comes_back() -> None:
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    x[:, 1], x[:, 2], x[:, 3] = 0, 1e6, 0.1
    made = Preprocess.fit(x, "F", everything(x), "standard")
    seen = as_model_sees(made, x)
    assert np.isfinite(seen).all()
    np.testing.assert_allclose(seen[:, 1:], 0, atol=1e-6)
    np.testing.assert_allclose(made.undo(torch.from_numpy(seen)).numpy(), x, rtol=1e-6, atol=1e-6)
    flat = np.full((4, 3, 3), 7, np.float32)
    assert np.isfinite(as_model_sees(Preprocess.fit(flat, "HW", everything(flat), "range"), flat)).all()


def test_large_offsets_keep_their_precision() -> None:
    x = (1e6 + np.random.default_rng(0).standard_normal((400, 3))).astype(np.float32)
    made = Preprocess.fit(x, "F", everything(x), "standard")
    seen = as_model_sees(made, x).astype(np.float64)
    np.testing.assert_allclose(seen.std(0), 1, rtol=1e-3)
    np.testing.assert_allclose(seen.mean(0), 0, atol=0.05)  # float32 near 1e6 has steps of 1/16
    np.testing.assert_allclose(made.spread.numpy(), x.astype(np.float64).std(0), rtol=1e-5)


def test_a_large_column_does_not_cost_a_small_one_its_precision() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([1e9 * (1 + rng.random(400)), rng.standard_normal(400), 1e-3 * rng.standard_normal(400)], 1)
    x = x.astype(np.float32)
    made = Preprocess.fit(x, "F", everything(x), "standard")
    np.testing.assert_allclose(made.spread.numpy(), x.astype(np.float64).std(0), rtol=1e-3)
    np.testing.assert_allclose(made.shift.numpy(), x.astype(np.float64).mean(0), rtol=1e-3, atol=1e-5)


@given(st.floats(-1e5, 1e5), st.floats(1e-2, 1e3), st.integers(2, 40), st.integers(0, 99))
def test_standard_for_any_offset_and_spread(offset: float, spread: float, count: int, seed: int) -> None:
    x = (offset + spread * np.random.default_rng(seed).standard_normal((count, 2))).astype(np.float32)
    made = Preprocess.fit(x, "F", everything(x), "standard")
    wanted = x.astype(np.float64).std(0)
    steps = np.spacing(np.abs(x).max())
    usable = wanted > 50 * steps
    np.testing.assert_allclose(made.spread.numpy()[usable], wanted[usable], rtol=1e-3)
    back = made.undo(made(torch.from_numpy(x))).numpy()
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5 * spread + 4 * steps)


def test_scales_that_do_not_fit_the_data() -> None:
    floats = np.linspace(-1, 2, 24, dtype=np.float32).reshape(4, 6)
    with pytest.raises(DataError, match="'bytes' is for uint8 data, and this is float32"):
        Preprocess.fit(floats, "F", everything(floats), "bytes")
    with pytest.raises(DataError, match=r"'unit' is for floats in \[0, 1\]"):
        Preprocess.fit(floats, "F", everything(floats), "unit")
    with pytest.raises(ConfigError, match="scal"):
        Preprocess.fit(floats, "F", everything(floats), "standart")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="scal"):
        Preprocess(event_shape=(6,), layout="F", scale="standart")  # type: ignore[arg-type]


def test_layouts_that_do_not_fit_the_shape() -> None:
    with pytest.raises(ConfigError, match=r"layout should be one of F, HW.*'WH'"):
        Preprocess(event_shape=(4, 4), layout="WH", scale="none")
    with pytest.raises(ShapeError, match=r"HWC has 3 axes, and an example has the shape \(4, 4\)"):
        Preprocess(event_shape=(4, 4), layout="HWC", scale="none")


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (
            np.zeros((2, 8, 7), np.uint8),
            ShapeError,
            r"expects examples of shape \(n, 8, 8\), and was given \(2, 8, 7\)",
        ),
        (np.zeros((8, 8), np.uint8), ShapeError, r"x\[None\]"),
        (np.zeros((2, 8, 8), np.complex64), DataError, "numbers, and was given an array of complex64"),
        (np.full((2, 8, 8), np.nan, np.float32), DataError, "128 values are NaN or infinite"),
        (np.full((2, 8, 8), np.inf, np.float32), DataError, "NaN or infinite"),
        (
            np.full((2, 8, 8), 200.0, np.float32),
            DataError,
            r"floats in \[0, 1\], and was given float32 from 200 to 200",
        ),
        (np.full((2, 8, 8), -0.5, np.float32), DataError, "Scale it as the training data was"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused(x: np.ndarray, error: type[Exception], words: str) -> None:
    made = Preprocess(event_shape=(8, 8), layout="HW", scale="bytes")
    with pytest.raises(error, match=words):
        made.check(x)


def test_batches_that_can_be_read_pass() -> None:
    pixels = Preprocess(event_shape=(8, 8), layout="HW", scale="bytes")
    for good in (np.zeros((2, 8, 8), np.uint8), np.ones((1, 8, 8), np.float32), np.zeros((0, 8, 8), np.float32)):
        pixels.check(good)
    Preprocess(event_shape=(3,), layout="F", scale="standard").check(np.full((2, 3), 1e6, np.float32))


def test_its_configuration_and_tensors_rebuild_it() -> None:
    x = np.random.default_rng(0).normal(5, 3, (20, 6, 4, 2)).astype(np.float32)
    made = Preprocess.fit(x, "HWC", everything(x), "standard")
    config = made.config()
    again = Preprocess(**{**config, "event_shape": tuple(config["event_shape"])})
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(torch.from_numpy(x)), made(torch.from_numpy(x)))


def test_images_of_bytes_are_read_where_floats_were_trained_on() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 6, 6), dtype=np.uint8)
    floats = (x / np.float32(255)).astype(np.float32)
    scale = Preprocess.fit(floats, "HW", np.arange(20))
    assert scale.scale == "unit"
    torch.testing.assert_close(scale(torch.from_numpy(x)), scale(torch.from_numpy(floats)))
