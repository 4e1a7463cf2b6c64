"""Tables whose values lie far from zero, beside their spread: shift and scale are taken before anything is rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import diabolo
from diabolo import open_dataset
from diabolo.export import export_onnx
from diabolo.runs import open_examples

pytestmark = pytest.mark.usefixtures("environment", "here")
RNG = np.random.default_rng(0)
WAVE = np.sin(np.arange(400) / 20)
OFFSETS = {
    "unix times": 1.7e9 + np.arange(400.0),
    "years with fractions": 2020 + np.arange(400) / 1e6,
    "order numbers": (10**12 + np.arange(400)).astype(np.int64),
    "metres": 5_500_000 + RNG.normal(size=400) / 10,
    "cents": 1e8 + RNG.normal(size=400),
}
TINY: dict[str, Any] = {"latent_dim": 2, "widths": (16,), "epochs": 3}


def _csv(frame: pd.DataFrame) -> Any:
    frame.to_csv("t.csv", index=False)
    return "t.csv"


def _parquet(frame: pd.DataFrame) -> Any:
    frame.to_parquet("t.parquet")
    return "t.parquet"


def _npy(frame: pd.DataFrame) -> Any:
    np.save("t.npy", frame.to_numpy())
    return "t.npy"


@pytest.mark.parametrize("what", OFFSETS)
@pytest.mark.parametrize("source", [lambda frame: frame, lambda frame: frame.to_numpy(), _csv, _parquet, _npy])
def test_values_far_from_zero_keep_what_tells_them_apart(what: str, source: Any) -> None:
    frame = pd.DataFrame({"far": OFFSETS[what], "wave": WAVE})
    opened = open_dataset(source(frame))
    assert opened.x.dtype == np.float64
    np.testing.assert_allclose(opened.x[:, 0], OFFSETS[what], rtol=1e-15)
    assert any("float64" in note for note in opened.notes)


@pytest.mark.parametrize("what", OFFSETS)
def test_a_model_answers_as_one_of_the_centred_values(what: str) -> None:
    far = np.c_[OFFSETS[what].astype(float), WAVE]
    near = far - [OFFSETS[what][0], 0]
    models = [diabolo.train(_npy(pd.DataFrame(x)), out=f"run{i}", **TINY) for i, x in enumerate((far, near))]
    np.testing.assert_allclose(models[0].score(far), models[1].score(near), atol=0.1)
    assert len(np.unique(models[0].encode(far)[:, 0])) > 390
    back = models[0].reconstruct(far)
    assert back.dtype == np.float64
    np.testing.assert_allclose(
        back[:, 0] - OFFSETS[what][0], models[1].reconstruct(near)[:, 0], atol=0.1 * near.std(0)[0]
    )
    np.testing.assert_array_equal(diabolo.load("run0").encode(far), models[0].encode(far))
    assert models[0].encode(back).shape == (400, 2)
    np.save("t.npy", far)
    assert open_examples(diabolo.load("run0")).x.dtype == np.float64


def test_ordinary_tables_stay_float32() -> None:
    for x in (RNG.normal(size=(50, 3)), np.arange(150).reshape(50, 3), 1000 + RNG.normal(size=(50, 3))):
        assert open_dataset(x).x.dtype == np.float32


def test_scikit_learn_and_onnx() -> None:
    from diabolo.sklearn import AutoencoderTransformer

    far = np.c_[OFFSETS["unix times"], WAVE]
    fitted = AutoencoderTransformer(epochs=2, random_state=0).fit(far)
    assert len(np.unique(fitted.transform(far)[:, 0])) > 390
    np.testing.assert_array_equal(fitted.transform(far), fitted.autoencoder_.encode(far))
    assert np.abs(fitted.inverse_transform(fitted.transform(far))[:, 0] - far[:, 0]).max() < 400
    pytest.importorskip("onnx")
    model = diabolo.train(far, **TINY)
    export_onnx(model, Path("onnx"))


def test_rounding_noise_is_no_scale() -> None:
    for noise in (1e-30, 1e-17):
        x = np.c_[RNG.normal(size=(400, 3)), noise * RNG.normal(size=400)]
        model = diabolo.train(x, **TINY)
        x[0, 3] = 1.0
        assert np.isfinite(model.score(x[:1])).all()
        assert model.score(x[:1])[0] < 1e3
    tiny = 1e-12 * (5 + RNG.normal(size=(400, 2)))  # farads
    assert diabolo.train(tiny, **TINY).model.preprocess.spread.max() < 1e-11
