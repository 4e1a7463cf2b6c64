"""The tutorials' systems by name: what wins over what, what is said. Their texts: see test_tutorials.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diabolo
from diabolo.cli import main
from diabolo.errors import ConfigError
from diabolo.models.networks import MLP, Conv
from diabolo.runs.config import RunConfig, make_run_config
from diabolo.runs.recipes import RECIPES, find_recipe
from diabolo.runs.run import start

NAMES = list(RECIPES)
ALL = [(name, preset) for name in NAMES for preset in (None, *RECIPES[name].presets)]


@pytest.mark.parametrize(("name", "preset"), ALL, ids=str)
def test_every_recipe_and_preset_trains(name: str, preset: str | None, bars: np.ndarray, tmp_path: Path) -> None:
    made = diabolo.train(bars, recipe=name, preset=preset, epochs=1, out=tmp_path / "run")
    assert made.event_shape == (28, 28)
    assert np.isfinite(made.history[0]["train"]["loss"])
    assert made.reconstruct(bars[:3]).shape == (3, 28, 28)
    assert made.info["run_config"]["recipe"] == [name, preset]
    if name == "smiles":
        assert made.info["data"]["examples"] == {"train": 59, "validation": 1, "test": 0}
    else:
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
    assert recipe.settings.get("source") in ("mnist", "fashion-mnist", None)


@pytest.mark.parametrize(("name", "preset"), ALL, ids=str)
def test_no_setting_of_a_recipe_is_lost_on_the_way(name: str, preset: str | None, tmp_path: Path) -> None:
    source = str(tmp_path) if name == "smiles" else None  # a folder, for which it says a size
    run_config = make_run_config(source, recipe=name, preset=preset)
    asked = find_recipe(name).with_preset(preset)
    settings = run_config.settings.config()
    for key, value in asked.items():
        got: Any = {
            "source": run_config.source,
            "latent_dim": run_config.latent_dim,
            "pictures": run_config.pictures,
            **run_config.parts,
            **run_config.data,
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
    assert make_run_config().settings.epochs == 0, "left to the size of the data"


@pytest.mark.parametrize(
    ("recipe", "given", "gone"),
    [
        ("mnist-vae-conv", {"network": "mlp"}, ("channels", "strides", "decoder_channels", "hidden", "enlarge")),
        ("mnist-vae-conv", {"network": Conv(channels=(4,))}, ("channels", "strides", "init", "start", "enlarge")),
        ("mnist-vae-conv", {"model": "autoencoder"}, ("beta", "draws")),
        ("mnist-ae-3d", {"network": "linear"}, ("widths", "activation")),
        ("mnist-ae-3d", {"network": MLP(widths=(9,))}, ("widths", "activation", "start")),
        ("mnist-ae-3d", {"likelihood": "bernoulli"}, ("variance", "output")),
        ("mnist-ae-3d", {"likelihood": "laplace"}, ("variance",)),
        ("mnist-ae-3d", {"likelihood": "auto"}, ("variance", "output")),
        ("mnist-ae-128", {"network": "conv"}, ("widths", "code_activation")),
        ("mnist-vae-mlp", {"likelihood": "bernoulli"}, ("variance", "output")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_another_part_drops_what_no_longer_fits(
    recipe: str, given: dict[str, Any], gone: tuple[str, ...], bars: np.ndarray
) -> None:
    run_config = make_run_config(bars, recipe=recipe, pictures=(), **given)
    kept = {option for part in run_config.options.values() for option in part}
    assert not kept & set(gone)
    start(run_config)
    for option, value in RECIPES[recipe].settings.items():
        if option in run_config.settings.config():
            assert run_config.settings.config()[option] == value


def test_what_still_fits_stays() -> None:
    run_config = make_run_config(recipe="mnist-ae-3d", likelihood="laplace")
    assert run_config.options["likelihood"] == {"output": "sigmoid"}
    assert run_config.options["network"] == {"start": "random", "widths": (128, 64, 12), "activation": "tanh"}


def model_of(run_config: RunConfig) -> torch.nn.Module:
    return start(run_config).training.model


# What differs from the text


@pytest.mark.parametrize(
    ("recipe", "preset", "given", "says"),
    [
        ("mnist-vae-conv", None, {"lr": 1e-4}, ["lr=0.0001 differs from the recipe's text (0.001)."]),
        ("mnist-vae-conv", None, {"lr": "1e-4"}, ["lr=0.0001 differs from the recipe's text (0.001)."]),
        ("mnist-vae-conv", None, {"lr": 1e-3, "batch_size": 16, "model": "vae", "beta": "0.392"}, []),
        ("fashion-ae", None, {"activation": "tanh"}, ["activation=tanh differs from the recipe's text (relu)."]),
        ("fashion-ae", None, {"widths": (5,)}, ["widths=5 differs from the recipe's text (256,128)."]),
        ("fashion-ae", None, {"weight_decay": 0.1}, ["weight_decay=0.1 differs from the recipe's text (0.0)."]),
        ("fashion-ae", None, {"latent_dim": 3}, ["latent_dim=3 differs from the recipe's text (20)."]),
        (
            "fashion-ae", None, {"network": "conv", "channels": (4,)},
            ["network=conv differs from the recipe's text (mlp)."],
        ),
        ("fashion-ae", None, {"network": MLP(widths=())}, ["network=MLP differs from the recipe's text (mlp)."]),
        ("mnist-ae-128", None, {"drop_last": False}, ["drop_last=False differs from the recipe's text (True)."]),
        (
            "fashion-ae", None,
            {"precision": "float32", "seed": 3, "compile": "off", "threads": 1, "data_dir": "a", "pictures": ()}, [],
        ),
        (
            "mnist-ae-3d", "thorough", {"epochs": 7},
            [
                f"The preset 'thorough' differs from the recipe's text: {RECIPES['mnist-ae-3d'].reasons['thorough']}.",
                "epochs=7 differs from the preset 'thorough' (60).",
            ],
        ),
        (None, None, {"lr": 1.0}, []),
        ("smiles", None, {"source": "digits", "epochs": 3}, ["epochs=3 differs from the recipe (60)."]),
    ],
)  # fmt: skip
def test_in_what_a_choice_contradicts_the_text(
    recipe: str | None, preset: str | None, given: dict[str, Any], says: list[str]
) -> None:
    assert list(make_run_config(recipe=recipe, preset=preset, **given).differences) == says


def test_a_contradiction_is_said_once(
    bars: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    diabolo.train(bars, recipe="mnist-ae-128", epochs=1, lr=1e-3)
    said = ["epochs=1 differs from the recipe's text (10).", "lr=0.001 differs from the recipe's text (0.005)."]
    assert [record.getMessage() for record in caplog.records if record.name == "diabolo"][:2] == said
    np.save(tmp_path / "x.npy", bars)
    words = [
        "train",
        str(tmp_path / "x.npy"),
        "--recipe",
        "mnist-ae-128",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    capsys.readouterr()
    caplog.clear()
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert [record.getMessage() for record in caplog.records][:1] == said[:1], "the command line's too"
    shown = subprocess.run(
        [sys.executable, "-m", "diabolo", *words, "--out", str(tmp_path / "b")],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert shown.stderr.count(said[0]) == 1, "and a person sees it"


# A recipe for data of one's own


@pytest.mark.parametrize("words", [{}, {"epochs": 3}])
def test_a_recipe_for_ones_own_data_needs_a_source(words: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"'smiles' is for data of your own, and no source is named: diabolo train FOLDER"
    ):
        diabolo.train(recipe="smiles", **words)


def test_faces_in_a_folder_are_read_small_and_grey(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("neutral", "smile"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (80, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / label / f"{number}.png")
    source, out = str(tmp_path / "faces"), tmp_path / "run"
    assert main(["train", source, "--recipe", "smiles", "--epochs", "1", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "--recipe smiles" in page
    made = diabolo.load(out)
    assert (made.event_shape, made.latent_dim, made.layout) == ((64, 64), 128, "HW")
    assert main(["concept", "learn", str(out), source, "--name", "smile", "--positive", "smile", "--json"]) == 0
    other = make_run_config(source, recipe="smiles", size=32)
    assert other.data["size"] == 32
    assert make_run_config(np.zeros((9, 64, 64), np.uint8), recipe="smiles").data == {}, "an array has its size"


def test_the_command_line_says_every_note(capsys: pytest.CaptureFixture[str]) -> None:
    for name, recipe in RECIPES.items():
        assert main(["recipes", name]) == 0
        said = " ".join(capsys.readouterr().out.split())
        for note in recipe.notes:
            assert " ".join(note.split()) in said
        assert f"--recipe {name}" in said
        assert ("diabolo train FOLDER" in said) == (name == "smiles")


def test_effective_beta_and_units() -> None:
    run_config = make_run_config(recipe="mnist-vae-conv")
    assert run_config.options["model"]["beta"] == pytest.approx(0.392)
    units = RECIPES["mnist-vae-conv"].units
    assert units is not None
    assert units[1] == pytest.approx(1 / 784)


def test_the_tanh_autoencoder_is_as_its_source_draws_it(bars: np.ndarray) -> None:
    model = model_of(make_run_config(bars, recipe="mnist-ae-3d", pictures=()))
    kinds = [type(m).__name__ for m in model.encoder]  # type: ignore[union-attr, arg-type]
    assert kinds == ["Flatten", "Linear", "Tanh", "Linear", "Tanh", "Linear", "Tanh", "Linear"]
    z = torch.randn(3, 3)
    assert model.likelihood.mean(model.decode(z)).min() > 0  # type: ignore[union-attr, operator]


def test_codes_of_the_one_layer_autoencoder_are_not_negative(bars: np.ndarray) -> None:
    made = diabolo.train(bars, recipe="mnist-ae-128", epochs=1)
    codes = made.encode(bars)
    assert codes.shape == (60, 128)
    assert codes.min() == 0
    assert codes.max() > 0


def test_real_data_trains_a_recipe(data_dir: Path, tmp_path: Path) -> None:
    """One pass over real images: the error falls far below that of the mean image, which is 0.067."""
    made = diabolo.train(
        recipe="mnist-bottleneck", data_dir=str(data_dir), epochs=1, batch_size=250, out=tmp_path / "run"
    )
    assert made.info["result"]["test"]["mse"] < 0.04


def test_a_recipe_s_pictures_that_cannot_be_drawn_are_left_out_and_said(caplog, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    small = {"epochs": 1, "batch_size": 30, "network": "mlp", "widths": (8,)}
    with caplog.at_level("WARNING", "diabolo"):
        diabolo.train(x, recipe="fashion-ae", **small)
    assert "The recipe's picture 'tutorial-rec' is left out. Pictures while training need a folder" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING", "diabolo"):
        diabolo.train(x, recipe="mnist-vae-conv", model="autoencoder", out=tmp_path / "run", **small)
    assert "The recipe's picture 'tutorial-manifold' is left out." in caplog.text
    with pytest.raises(ConfigError, match="Pictures while training need a folder"):
        diabolo.train(x, recipe="fashion-ae", pictures=("rows",), **small)


def test_data_of_another_size_than_the_text_s_is_said(caplog):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    with caplog.at_level("INFO", "diabolo"):
        diabolo.train(x, recipe="mnist-vae-conv", epochs=1, batch_size=30, network="mlp", widths=(8,), pictures=())
    said = "The recipe mnist-vae-conv is for examples of 784 values, and these have 64: its unit and beta=0.392 are for"
    assert said in caplog.text
