"""`diabolo denoise`: pictures, arrays, and folders of cleaned images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli.denoise import file_names
from diabolo.datasets import Dataset, open_dataset
from diabolo.runs.run import train

SMALL = {"epochs": 1, "widths": (16,), "latent_dim": 4}


Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on digits: one that was trained to denoise, and one that was not."""
    folder = tmp_path_factory.mktemp("runs")
    train("digits", model="denoising", out=folder / "denoising", **SMALL)
    train("digits", model="vae", out=folder / "vae", **SMALL)
    return folder


@pytest.fixture
def run(runs: Path) -> Path:
    return runs / "denoising"


def test_noise_is_put_on_and_taken_off(command: Command, run: Path) -> None:
    said = command("denoise", run, "--add-noise", "--seed", 3, "-o", "all.npz", "--json")
    assert json.loads(said.out) == {"out": "all.npz", "count": 1797}
    x, model = open_dataset("digits").x, Autoencoder.load(run)
    with np.load("all.npz") as found:
        np.testing.assert_array_equal(found["noisy"], model.corrupt(x, seed=3))
        np.testing.assert_array_equal(found["x"], model.denoise(found["noisy"]))
        np.testing.assert_array_equal(found["clean"], x)
        assert len(found["labels"]) == 1797


def test_noisy_arrays_are_cleaned(command: Command, run: Path) -> None:
    noisy = np.random.default_rng(0).normal(0.5, 0.6, (7, 8, 8)).astype(np.float32)
    np.save("noisy.npy", noisy)
    said = command("denoise", run, "noisy.npy", "-o", "clean.npy")
    assert (said.status, said.err) == (0, "")
    assert "7 examples of shape (8, 8), denoised -> clean.npy" in said.out
    np.testing.assert_array_equal(np.load("clean.npy"), Autoencoder.load(run).denoise(noisy))


def test_a_picture_shows_the_clean_ones_where_they_are_known(command: Command, run: Path) -> None:
    assert command("denoise", run, "--add-noise", "-n", 5).status == 0
    with Image.open("denoised.png") as three:
        three.load()
        high = three.height
    assert command("denoise", run, "digits", "-n", 5, "-o", "two.png").status == 0
    with Image.open("two.png") as two:
        assert two.height < high


def test_the_same_seed_draws_the_same_picture(command: Command, run: Path) -> None:
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        command("denoise", run, "--add-noise", "--seed", seed, "-o", name)
    a, b, c = (Path(name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


def test_a_folder_of_images_becomes_a_folder_of_images(command: Command, run: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("b/two.png", "a/one.jpg", "a/three.png"):
        path = Path("noisy") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path)
    said = command("denoise", run, "noisy", "-o", "clean")
    assert (said.status, said.err) == (0, "")
    written = sorted(path.relative_to("clean").as_posix() for path in Path("clean").rglob("*.png"))
    assert written == ["a/one.png", "a/three.png", "b/two.png"]
    dataset, model = open_dataset("noisy"), Autoencoder.load(run)
    pixels = model.pixels(model.denoise(dataset.x))
    for name, expected in zip(dataset.ids, pixels, strict=True):
        with Image.open(Path("clean") / Path(name).with_suffix(".png")) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
    before = Path("noisy/b/two.png").read_bytes()
    said = command("denoise", run, "noisy", "-o", "./noisy/")
    assert said.status == 2
    assert "would be overwritten" in said.err
    assert Path("noisy/b/two.png").read_bytes() == before


def test_examples_without_names_get_numbers(command: Command, run: Path) -> None:
    Path("here").mkdir()
    np.save("noisy.npy", np.zeros((11, 8, 8), np.float32))
    command("denoise", run, "noisy.npy", "-o", "here")
    assert sorted(path.name for path in Path("here").iterdir()) == [f"{row:02}.png" for row in range(11)]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (("a/x.jpg", "b/x.png"), ["a/x.png", "b/x.png"]),
        (("x.jpg", "x.png"), ["x.jpg.png", "x.png.png"]),
        (("../x.png", "y.png"), ["0.png", "1.png"]),
        (("/x.png", "y.png"), ["0.png", "1.png"]),
        (("x", "y.2"), ["x.png", "y.png"]),
    ],
)
def test_no_file_is_written_over_another_or_outside(ids: tuple[str, ...], names: list[str]) -> None:
    assert file_names(Dataset(np.zeros((2, 4, 4), np.uint8), "HW", "two", ids=ids)) == names


def test_a_model_that_was_not_trained_to_denoise_says_so(command: Command, runs: Path) -> None:
    said = command("denoise", runs / "vae", "-o", "x.npz")
    assert said.status == 0
    assert "this vae was not trained to denoise" in said.out
    assert "not trained to denoise" in json.loads(command("denoise", runs / "vae", "--json").out)["notes"][0]
    said = command("denoise", runs / "vae", "--add-noise")
    assert said.status == 2
    assert "it has no noise to put on" in said.err


def test_clean_examples_are_pointed_out(command: Command, run: Path) -> None:
    assert "which are clean: --add-noise puts its noise on first" in command("denoise", run).out
    assert "clean" not in command("denoise", run, "digits").out


def test_a_table_is_denoised(command: Command, table: np.ndarray) -> None:
    train(table, model="denoising", out="tabular", **SMALL)
    np.save("table.npy", table)
    for extra in ((), ("--add-noise",)):
        assert command("denoise", "tabular", "table.npy", *extra, "-o", "t.png").status == 0
        with Image.open("t.png") as drawn:
            assert min(drawn.size) > 100
    said = command("denoise", "tabular", "table.npy", "-o", "folder")
    assert said.status == 2
    assert "no images: folder should end in" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-n 0", "n should be a number of examples of at least 1"),
        ("--seed -1", "seed should be a number of at least 0"),
        ("-o x.jpg", "out should be a .png, .npz, .npy, .csv, .parquet or a folder, and was given 'x.jpg'"),
        ("--add-nois", "no option --add-nois. Did you mean --add-noise?"),
    ],
)
def test_what_cannot_be_is_refused(command: Command, run: Path, words: str, says: str) -> None:
    said = command("denoise", run, *words.split())
    assert (said.status, said.out) == (2, "")
    assert says in said.err
    assert list(Path().iterdir()) == []
