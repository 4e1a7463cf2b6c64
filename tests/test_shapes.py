"""`shapes`: sprites made by code, with their factors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.datasets import Dataset, open_dataset
from diabolo.datasets._shapes import FACTORS, MARGIN, drawn
from diabolo.datasets._store import Store
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.metrics import mig
from diabolo.metrics.comparison import evaluate

HALF = 0.12  # of the largest square, in sides


def one(side: int = 64, **values: int) -> np.ndarray:
    factors = {"shape": 0, "scale": 5, "angle": 0, "x": 16, "y": 16} | values
    return drawn(np.array([list(factors.values())], np.uint8), (side, side))[0]


@pytest.mark.parametrize(("shape", "area"), [(0, 4.0), (1, np.pi * 1.4 * 0.8)])
@pytest.mark.parametrize("scale", [0, 3, 5])
@pytest.mark.parametrize("place", [(0, 31), (7, 12)])
def test_the_area_is_that_of_the_shape_wherever_it_is(
    shape: int, area: float, scale: int, place: tuple[int, int]
) -> None:
    picture = one(256, shape=shape, scale=scale, angle=3, x=place[0], y=place[1])
    assert set(np.unique(picture)) == {0, 255}, "no grey at the edges"
    exact = area * (HALF * (0.5 + scale / 10)) ** 2
    assert (picture > 0).mean() == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_a_step_along_an_axis_is_a_step_of_the_picture_along_that_axis_alone(shape: int) -> None:
    def centre(**values: int) -> np.ndarray:
        return np.argwhere(one(256, shape=shape, **values)).mean(0) / 256

    step = (1 - 2 * MARGIN) / 31
    for name, axis in (("x", 1), ("y", 0)):
        moved = centre(**{name: 28}) - centre(**{name: 4})
        assert moved[axis] == pytest.approx(24 * step, abs=0.002)
        assert moved[1 - axis] == pytest.approx(0, abs=0.002)
    assert abs(centre(x=16, y=16) - 0.5).max() < 0.03


def test_angles_are_those_of_a_whole_turn() -> None:
    sprites = {shape: [one(shape=shape, angle=angle, x=15, y=15) for angle in range(40)] for shape in range(3)}
    assert (sprites[0][0] != sprites[0][10]).mean() < 0.002, "a square is the same after a quarter"
    assert (sprites[1][0] != sprites[1][10]).mean() > 0.01
    assert (sprites[1][0] != sprites[1][20]).mean() < 0.002, "an ellipse after a half"
    assert (sprites[2][0] != sprites[2][20]).mean() > 0.005
    assert len(np.unique(np.stack(sprites[2]).reshape(40, -1), axis=0)) == 40, "a heart after a whole turn"


def test_no_sprite_is_cut() -> None:
    factors = np.array([[2, 5, angle, x, y] for angle in range(40) for x in (0, 31) for y in (0, 31)], np.uint8)
    whole, small = drawn(factors, (128, 128)), drawn(factors[:1] * [1, 1, 0, 0, 0] + [0, 0, 0, 16, 16], (128, 128))
    areas = (whole > 0).sum((1, 2))
    assert areas.min() > 0.98 * (small > 0).sum()


def test_all_combinations_are_there_and_are_drawn_when_they_are_asked_for() -> None:
    data = open_dataset("shapes")
    assert len(data) == 737_280 == np.prod(list(FACTORS.values()))
    assert isinstance(data.x, Store)
    assert data.classes == ("square", "ellipse", "heart")
    assert data.factors is not None
    assert data.y is not None
    assert data.factors[[0, 1, 32, 737_279]].tolist() == [
        [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [2, 5, 39, 31, 31]
    ]  # fmt: skip
    rows = np.array([5, 400_000, 737_000])
    assert np.array_equal(data.x[rows], drawn(data.factors[rows], (64, 64)))
    assert data.y[rows].tolist() == data.factors[rows, 0].tolist()


def test_some_are_drawn_once_and_for_all_and_keep_their_factors() -> None:
    data, again = (open_dataset("shapes-500", size=(16, 24)) for _ in range(2))
    assert data.fingerprint == again.fingerprint
    assert data.x.shape == (500, 16, 24)
    assert data.factors is not None
    assert len(np.unique(data.factors, axis=0)) == 500
    part = data.subset([7, 3])
    assert part.factors is not None
    assert part.factors.tolist() == data.factors[[7, 3]].tolist()
    assert "5 known factors: shape, scale, angle, x, y" in data.describe()


@pytest.mark.parametrize("count", ["0", "737281", "99999999999"])
def test_a_number_of_sprites_that_there_are_not_is_refused(count: str) -> None:
    with pytest.raises(ConfigError, match="a number of sprites from 1 to 737,280 after the dash, and was given"):
        open_dataset(f"shapes-{count}")


def test_factors_are_one_row_for_each_example() -> None:
    with pytest.raises(ShapeError, match="There are 4 factors for 5 examples"):
        Dataset(np.zeros((5, 2), np.float32), "F", "zeros", factors=np.zeros((4, 2), int))
    with pytest.raises(DataError, match=r"Did you mean 'shapes'"):
        open_dataset("shapess")


def test_the_factors_are_their_own_disentangled_code() -> None:
    factors = open_dataset("shapes-20000", size=8).factors
    assert factors is not None
    assert mig(factors.astype(float), factors, bins=40) > 0.98
    assert mig(factors @ np.random.default_rng(0).standard_normal((5, 5)), factors) < 0.15


def test_an_evaluation_measures_disentanglement_by_the_data_s_own_factors(tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "vae", "latent_dim": 4, "widths": (16,), "epochs": 1, "size": 16, "test": 0.5}
    model = diabolo.train("shapes-2000", out=tmp_path / "run", **options)
    card = evaluate(tmp_path / "run", metrics=["factors"])
    assert {"mig", "sap", "factor_vae"} <= {item.name for item in card.measurements}
    few = evaluate(tmp_path / "run", "shapes-300", metrics=["factors", "mse"])
    assert [item.name for item in few.measurements] == ["mse"]
    assert "Disentanglement is not measured: of factors, 1,000 examples say enough." in few.protocol
    assert model.encode(open_dataset("shapes-3", size=16)).shape == (3, 4)
