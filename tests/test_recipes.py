"""The tutorials' systems by name: their networks to the last parameter, and what wins over what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.models.networks import MLP, Conv
from diabolo.runs.config import RunConfig, make_run_config
from diabolo.runs.recipes import RECIPES, find_recipe
from diabolo.runs.run import start

# Each network by hand: what goes in, what comes out, and a bias for every output.
COUNTS = {
    "fashion-ae": [(784, 256), (256, 128), (128, 20), (20, 128), (128, 256), (256, 784)],
    "fashion-vae": [(784, 128), (128, 2 * 20), (20, 128), (128, 784)],
    "mnist-ae-3d": [(784, 128), (128, 64), (64, 12), (12, 3), (3, 12), (12, 64), (64, 128), (128, 784)],
    "mnist-vae-conv": [
        *((9, 32), (9 * 32, 64), (9 * 64, 64), (9 * 64, 64), (14 * 14 * 64, 32), (32, 2 * 2)),
        *((2, 14 * 14 * 64), (9 * 64, 32), (9 * 32, 1)),
    ],
    "mnist-vae-mlp": [(784, 256), (256, 2 * 2), (2, 256), (256, 784)],
    "mnist-ae-128": [(784, 128), (128, 784)],
    "mnist-bottleneck": [(784, 256), (256, 128), (128, 784)],
}
TOTALS = {
    "fashion-ae": 473_636,
    "fashion-vae": 209_464,
    "mnist-ae-3d": 219_891,
    "mnist-vae-conv": 550_629,
    "mnist-vae-mlp": 404_244,
    "mnist-ae-128": 201_616,
    "mnist-bottleneck": 334_992,
}
NAMES = list(RECIPES)
ALL = [(name, preset) for name in NAMES for preset in (None, *RECIPES[name].presets)]


@pytest.fixture(scope="module")
def stand_in() -> np.ndarray:
    """(60, 28, 28) uint8: bars of random thickness."""
    rng = np.random.default_rng(0)
    x = np.zeros((60, 28, 28), np.uint8)
    for image in x:
        at, thick = rng.integers(2, 20), rng.integers(2, 6)
        image[at : at + thick, 4:24] = rng.integers(100, 256)
    return x


def test_every_recipe_is_counted_here() -> None:
    assert sorted(COUNTS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_by_hand(name: str, stand_in: np.ndarray) -> None:
    by_hand = sum(inner * outer + outer for inner, outer in COUNTS[name])
    assert by_hand == TOTALS[name]
    run = start(make_run_config(stand_in, recipe=name, pictures=()))
    assert run.training.model.parameter_count == by_hand
    assert run.training.model.latent_dim == RECIPES[name].settings["latent_dim"]


@pytest.mark.parametrize(("name", "preset"), ALL, ids=str)
def test_every_recipe_and_preset_trains(name: str, preset: str | None, stand_in: np.ndarray, tmp_path: Path) -> None:
    made = diabolo.train(stand_in, recipe=name, preset=preset, epochs=1, out=tmp_path / "run")
    assert made.event_shape == (28, 28)
    assert np.isfinite(made.history[0]["train"]["loss"])
    assert made.reconstruct(stand_in[:3]).shape == (3, 28, 28)
    assert made.info["run_config"]["recipe"] == [name, preset]
    assert made.info["result"]["test"]["loss"] > 0
    assert made.info["data"]["examples"] == {"train": 54, "validation": 0, "test": 6}, "as the sources train on all"


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_where_it_comes_from(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.title
    assert recipe.source
    assert recipe.notes
    assert set(recipe.presets) == set(recipe.reasons)
    assert recipe.settings["source"] in ("mnist", "fashion-mnist")


@pytest.mark.parametrize(("name", "preset"), ALL, ids=str)
def test_no_setting_of_a_recipe_is_lost_on_the_way(name: str, preset: str | None) -> None:
    run_config = make_run_config(recipe=name, preset=preset)
    asked = find_recipe(name).with_preset(preset)
    settings = run_config.settings.config()
    for key, value in asked.items():
        got: Any = {
            "source": run_config.source,
            "latent_dim": run_config.latent_dim,
            "pictures": run_config.pictures,
            **run_config.parts,
            **{option: known for part in run_config.options.values() for option, known in part.items()},
        }.get(key, settings.get(key))
        assert got == value, key


def test_what_is_given_wins_over_the_preset_and_that_over_the_recipe() -> None:
    plain = make_run_config(recipe="mnist-vae-conv").settings
    assert (plain.optimizer, plain.batch_size, plain.epochs, plain.beta2) == ("rmsprop", 16, 10, 0.9)
    thorough = make_run_config(recipe="mnist-vae-conv", preset="thorough").settings
    assert (thorough.optimizer, thorough.batch_size, thorough.epochs) == ("adam", 64, 40)
    assert thorough.validation == plain.validation == 0, "what the preset does not say stays"
    given = make_run_config("digits", recipe="mnist-vae-conv", preset="thorough", epochs=3, beta=1, latent_dim=5)
    assert (given.settings.epochs, given.settings.batch_size, given.source) == (3, 64, "digits")
    assert (given.options["model"]["beta"], given.latent_dim) == (1.0, 5)
    assert make_run_config().settings.epochs == 20


@pytest.mark.parametrize(
    ("recipe", "given", "gone"),
    [
        ("mnist-vae-conv", {"network": "mlp"}, ("channels", "strides", "decoder_channels", "init", "hidden")),
        ("mnist-vae-conv", {"network": Conv(channels=(4,))}, ("channels", "strides", "decoder_channels", "init")),
        ("mnist-vae-conv", {"model": "autoencoder"}, ("beta", "draws")),
        ("mnist-ae-3d", {"network": "linear"}, ("widths", "activation")),
        ("mnist-ae-3d", {"network": MLP(widths=(9,))}, ("widths", "activation")),
        ("mnist-ae-3d", {"likelihood": "bernoulli"}, ("variance", "output")),
        ("mnist-ae-3d", {"likelihood": "laplace"}, ("variance",)),
        ("mnist-ae-3d", {"likelihood": "auto"}, ("variance", "output")),
        ("mnist-ae-128", {"network": "conv"}, ("widths", "code_activation")),
        ("mnist-vae-mlp", {"likelihood": "bernoulli"}, ("variance", "output")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_another_part_drops_what_no_longer_fits(
    recipe: str, given: dict[str, Any], gone: tuple[str, ...], stand_in: np.ndarray
) -> None:
    run_config = make_run_config(stand_in, recipe=recipe, pictures=(), **given)
    kept = {option for part in run_config.options.values() for option in part}
    assert not kept & set(gone)
    start(run_config)
    for option, value in RECIPES[recipe].settings.items():
        if option in run_config.settings.config():
            assert run_config.settings.config()[option] == value


def test_what_still_fits_stays() -> None:
    run_config = make_run_config(recipe="mnist-ae-3d", likelihood="laplace")
    assert run_config.options["likelihood"] == {"output": "sigmoid"}
    assert run_config.options["network"] == {"widths": (128, 64, 12), "activation": "tanh"}


def model_of(run_config: RunConfig) -> torch.nn.Module:
    return start(run_config).training.model


def test_effective_beta_and_units() -> None:
    run_config = make_run_config(recipe="mnist-vae-conv")
    assert run_config.options["model"]["beta"] == pytest.approx(0.392)
    units = RECIPES["mnist-vae-conv"].units
    assert units is not None
    assert units[1] == pytest.approx(1 / 784)


def test_the_tanh_autoencoder_is_as_its_source_draws_it(stand_in: np.ndarray) -> None:
    model = model_of(make_run_config(stand_in, recipe="mnist-ae-3d", pictures=()))
    kinds = [type(m).__name__ for m in model.encoder]  # type: ignore[union-attr, arg-type]
    assert kinds == ["Flatten", "Linear", "Tanh", "Linear", "Tanh", "Linear", "Tanh", "Linear"]
    z = torch.randn(3, 3)
    assert model.likelihood.mean(model.decode(z)).min() > 0  # type: ignore[union-attr, operator]


def test_codes_of_the_one_layer_autoencoder_are_not_negative(stand_in: np.ndarray) -> None:
    made = diabolo.train(stand_in, recipe="mnist-ae-128", epochs=1)
    codes = made.encode(stand_in)
    assert codes.shape == (60, 128)
    assert codes.min() == 0
    assert codes.max() > 0


def test_real_data_trains_a_recipe(data_dir: Path, tmp_path: Path) -> None:
    """One pass over real images: the error falls far below that of the mean image, which is 0.067."""
    made = diabolo.train(recipe="mnist-ae-128", data_dir=str(data_dir), epochs=1, batch_size=1000, out=tmp_path / "run")
    assert made.info["result"]["test"]["mse"] < 0.04
