"""What stands for 1: whole numbers are scaled by what they hold, and ground and depth of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import diabolo
from diabolo import open_dataset
from diabolo.errors import DataError
from diabolo.runs import open_examples

pytestmark = pytest.mark.usefixtures("environment", "here")
RNG = np.random.default_rng(0)
TINY: dict[str, Any] = {"latent_dim": 2, "widths": (8,), "epochs": 1}


def _digits(top: int, dtype: Any = np.uint8) -> np.ndarray:
    x = RNG.integers(0, top + 1, (24, 8, 8)).astype(dtype)
    x[:, 0, 0] = top
    return x


def _as_array(x: np.ndarray) -> Any:
    return x


def _as_npy(x: np.ndarray) -> Any:
    np.save("x.npy", x)
    return "x.npy"


def _as_npz(x: np.ndarray) -> Any:
    np.savez("x.npz", x=x)
    return "x.npz"


def _as_folder(x: np.ndarray) -> Any:
    Path("pictures").mkdir(exist_ok=True)
    for i, one in enumerate(x):
        Image.fromarray(one).save(f"pictures/{i:02}.png")
    return "pictures"


def _as_lists(x: np.ndarray) -> Any:
    frame = pd.DataFrame({"image": [list(map(list, one)) for one in x]})
    return (
        pytest.importorskip("datasets")
        .Dataset.from_pandas(frame)
        .cast_column("image", pytest.importorskip("datasets").Array2D((8, 8), x.dtype.name))
    )


@pytest.mark.parametrize("source", [_as_array, _as_npy, _as_npz, _as_folder, _as_lists])
@pytest.mark.parametrize(("top", "dtype"), [(1, np.uint8), (15, np.uint8), (16, np.uint8), (4095, np.uint16)])
def test_whole_numbers_are_scaled_by_what_they_hold(source: Any, top: int, dtype: Any) -> None:
    x = _digits(top, dtype)
    if source is _as_lists and dtype == np.uint16:
        pytest.skip("Arrow's columns of 16 bits are read as numbers")
    opened = open_dataset(source(x), layout="HW")
    assert opened.x.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(opened.x), x.astype(np.float32) / np.float32(top))
    assert opened.white == top
    assert any("white=" in note for note in opened.notes)
    model = diabolo.train(opened, **TINY)
    assert model.model.preprocess.scale == "unit"


@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (200, np.uint8), (65535, np.uint16)])
def test_the_full_range_stays(top: int, dtype: Any) -> None:
    x = _digits(top, dtype)
    opened = open_dataset(x)
    expected = x if dtype == np.uint8 else x.astype(np.float32) / np.float32(65535)
    assert opened.x.dtype == expected.dtype
    np.testing.assert_array_equal(opened.x, expected)


def test_the_option_overrules() -> None:
    x = _digits(16)
    assert open_dataset(x, white=255).x.dtype == np.uint8
    assert open_dataset(x, white="full").x.dtype == np.uint8
    assert open_dataset(x, white=20).x.max() == np.float32(16 / 20)
    with pytest.raises(DataError, match="go up to 16, above white=8"):
        open_dataset(x, white=8)


@pytest.mark.parametrize(("top", "dtype"), [(1, np.uint8), (16, np.uint8), (255, np.uint8), (4095, np.uint16)])
def test_a_model_takes_what_it_was_trained_on_and_what_it_returns(top: int, dtype: Any) -> None:
    x = _digits(top, dtype)
    model = diabolo.train(_as_npy(x), out="run", **TINY)
    expected = model.encode(open_dataset(x).x)
    for source in (x, "x.npy", open_dataset(x)):
        np.testing.assert_array_equal(model.encode(source), expected)
    np.testing.assert_array_equal(diabolo.load("run").encode(x), expected)
    np.testing.assert_array_equal(diabolo.load("run").encode(open_examples(diabolo.load("run"))), expected)
    # Some of it alone, whose range is another, means the same.
    np.save("some.npy", np.minimum(x[:12], max(1, top // 2)))
    np.testing.assert_array_equal(model.encode("some.npy"), model.encode(np.minimum(x[:12], max(1, top // 2))))
    assert model.encode(model.reconstruct(x)).shape == (24, 2)
    assert model.encode(model.sample(2, seed=0) if model.has_prior else model.decode([[0.0, 0.0]])).shape[1] == 2


def test_bytes_of_0_and_1_for_a_model_of_floats(caplog: pytest.LogCaptureFixture) -> None:
    x = _digits(1)
    model = diabolo.train(x.astype(np.float32), **TINY)
    np.testing.assert_array_equal(model.encode(x), model.encode(x.astype(np.float32)))
    assert "1 is taken for white" in caplog.text
    np.testing.assert_array_equal(model.encode(x * 255), model.encode(x.astype(np.float32)))


def test_values_beyond_those_of_training_are_refused() -> None:
    model = diabolo.train(_digits(16), **TINY)
    with pytest.raises(DataError, match="uint8 up to 255, and in training 16"):
        model.encode(_digits(255))


def test_tables_of_small_bytes_are_numbers() -> None:
    x = _digits(16).reshape(24, 64)
    opened = open_dataset(x)
    np.testing.assert_array_equal(opened.x, x.astype(np.float32))
    model = diabolo.train(x, **TINY)
    np.testing.assert_array_equal(model.encode(x), model.encode(x.astype(np.float64)))


def test_scikit_learn_keeps_units() -> None:
    from diabolo.sklearn import AutoencoderTransformer

    x = _digits(16).reshape(24, 64)
    fitted = {
        dtype: AutoencoderTransformer(epochs=1, event_shape=(8, 8), random_state=0).fit(x.astype(dtype))
        for dtype in (np.uint8, np.float64)
    }
    np.testing.assert_array_equal(fitted[np.uint8].transform(x), fitted[np.float64].transform(x.astype(float)))


@pytest.mark.parametrize(("mode", "high", "white"), [("I;16", 4095, 4095), ("I;16", 60000, 65535), ("I", 255, 255)])
def test_images_of_more_bits_keep_their_levels(mode: str, high: int, white: int) -> None:
    values = np.tile(np.linspace(0, high, 32).astype(np.uint16 if mode == "I;16" else np.int32), (32, 1))
    Path("deep").mkdir()
    for i in range(3):
        Image.fromarray(np.roll(values, i, 1)).save(f"deep/{i}.tif")
    opened = open_dataset("deep")
    assert opened.x.dtype == np.float32
    np.testing.assert_array_equal(opened.x[0], values.astype(np.float32) / np.float32(white))
    if mode == "I;16":
        np.testing.assert_array_equal(open_dataset(values[None], layout="HW").x[0], opened.x[0])
    assert open_dataset("deep", size=16).x.shape == (3, 16, 16)
    assert 0.9 < open_dataset("deep", size=16).x.max() <= 1


def test_the_ground_of_transparent_images() -> None:
    Path("sprites").mkdir()
    for i in range(2):
        a = np.zeros((16, 16, 4), np.uint8)
        a[3 + i : 10, 3:8] = 255
        Image.fromarray(a).save(f"sprites/{i}.png")
    with pytest.raises(DataError, match="ground=black"):
        open_dataset("sprites")
    black = open_dataset("sprites", ground="black")
    assert black.x[0, 5, 5].tolist() == [255] * 3
    assert black.x[0, 0, 0].tolist() == [0] * 3
