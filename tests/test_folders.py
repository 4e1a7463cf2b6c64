"""Folders of images as the world lays them out: parts, wrapping folders, strays, and what is passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diabolo import open_dataset
from diabolo.cli import main

PIXELS = np.random.default_rng(0).integers(0, 255, (24, 8, 8), dtype=np.uint8)
pytestmark = pytest.mark.usefixtures("environment", "here")


def _save(*names: str) -> None:
    for i, name in enumerate(names):
        path = Path("x", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i % 24]).save(path)


def _tree(*folders: str, count: int = 3) -> None:
    _save(*(f"{folder}/{i}.png" for folder in folders for i in range(count)))


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val", "test"), ("train", "test"), ("Train", "Valid", "TEST"), ("training", "validation", "testing"),
        ("train", "dev"), ("train", "validation"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", ["", "images/", "data/v2/"])
def test_folders_of_parts_are_no_classes(parts: tuple[str, ...], wrap: str) -> None:
    _tree(*(f"{wrap}{part}/{label}" for part in parts for label in ("cat", "dog")))
    opened = open_dataset("x")
    assert opened.classes == ("cat", "dog")
    assert [opened.classes[y] for y in opened.y] == [name.split("/")[-2] for name in opened.ids]
    tested = [i for i, name in enumerate(opened.ids) if "/test" in f"/{name}".lower()]
    assert (opened.official_test is None) == (not tested)
    if tested:
        assert opened.official_test.tolist() == tested
        assert opened.split().test.tolist() == tested
    assert any(note.startswith("parts by folder") for note in opened.notes)
    assert any("labels are the names of the" in note for note in opened.notes)


def test_parts_without_classes_and_folders_beside_them() -> None:
    _tree("train", "test", "ground_truth")
    opened = open_dataset("x")
    assert (len(opened), opened.y) == (6, None)
    assert opened.official_test.tolist() == [0, 1, 2]
    assert any("3 images beside the parts' folders left out: ground_truth/" in note for note in opened.notes)


def test_two_of_the_names_are_needed_and_classes_may_be_called_so() -> None:
    _tree("test", "cat", "dog")
    assert open_dataset("x").classes == ("cat", "dog", "test")


@pytest.mark.parametrize("wrap", ["", "images/", "a/b/c/"])
def test_wrapping_folders_are_passed_through(wrap: str) -> None:
    _tree(f"{wrap}cat", f"{wrap}dog/puppy", f"{wrap}dog/old")
    assert open_dataset("x").classes == ("cat", "dog")


def test_labels_that_are_given_up_are_said() -> None:
    _tree("cat", "dog")
    _save("stray.png")
    opened = open_dataset("x")
    assert opened.y is None
    assert any("no labels: 1 image beside the folders cat, dog (stray.png)" in note for note in opened.notes)


@pytest.mark.parametrize(
    "suffix", ["jfif", "jpe", "pgm", "ppm", "pbm", "pnm", "tga", "dib", "pcx", "jp2", "ico", "avif"]
)
def test_suffixes_are_those_of_pillow(suffix: str) -> None:
    Path("x").mkdir()
    image = Image.fromarray(PIXELS[0])
    image = image.convert("1") if suffix == "pbm" else image.convert("RGB") if suffix in ("ppm", "avif") else image
    if suffix == "ico":
        image = image.resize((16, 16))
    try:
        image.save(f"x/1.{suffix}", **({"format": "JPEG"} if suffix in ("jfif", "jpe") else {}))
    except (OSError, KeyError, ValueError):
        pytest.skip("this Pillow does not write it")
    assert len(open_dataset("x")) == 1


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_frames_that_are_passed_over_are_said(suffix: str) -> None:
    Path("x").mkdir()
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 100, 200)]
    frames[0].save(f"x/a.{suffix}", save_all=True, append_images=frames[1:])
    assert any("1 image with more than one frame or page" in note for note in open_dataset("x").notes)


def test_files_that_are_passed_over_are_counted_with_their_reasons() -> None:
    _save("a.png", "b.png")
    Path("x/readme.txt").write_text("no image")
    Path("x/broken.png").write_bytes(b"no image")
    Image.fromarray(PIXELS[0].astype(np.float32)).save("x/float.tif")
    notes = " ".join(open_dataset("x").notes)
    assert "1 with .txt" in notes
    assert "broken.png (cannot identify" in notes
    assert "float.tif (its pixels are 32-bit floats" in notes


@pytest.mark.parametrize("out", ["c.csv", "c.npz", "c.parquet", "codes/"])
def test_names_that_are_not_utf_8_are_escaped(out: str) -> None:
    _tree("caf\udce9", "dog")
    assert open_dataset("x").classes == ("caf\\xe9", "dog")
    assert open_dataset("x").ids[0] == "caf\\xe9/0.png"
    words = ["--epochs", "1", "--latent-dim", "2", "--widths", "8", "--quiet", "-o", "run"]
    assert main(["train", "x", "--model", "vae", *words]) == 0
    assert main(["encode", "run", "x", "-o", out]) == 0
    assert main(["encode", "run", "-o", f"own-{out}"]) == 0
