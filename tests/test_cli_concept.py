"""`concept`, `edit`, `interpolate`, `traverse`, `neighbours`: what they write, say and refuse."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import diabolo
from diabolo.datasets import open_dataset

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE on digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    diabolo.train("digits", model="vae", epochs=3, widths=(32,), latent_dim=4, out=folder)
    return folder


@pytest.fixture
def run(trained: Path, here: Path) -> str:
    """A copy, which a test may change."""
    shutil.copytree(trained, here / "run")
    return "run"


@pytest.fixture
def faces(here: Path) -> Path:
    """Digits as PNG files: 20 ones and 20 zeros, in a folder for each."""
    digits = open_dataset("digits")
    assert digits.y is not None
    for label, name in ((1, "one"), (0, "zero")):
        (here / "pictures" / name).mkdir(parents=True)
        for number, image in enumerate(digits.x[digits.y == label][:20]):
            Image.fromarray((255 * image).astype(np.uint8)).save(here / "pictures" / name / f"{number:02}.png")
    return here / "pictures"


def array_of(path: str) -> np.ndarray:
    return np.asarray(np.load(path))


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# --- concepts ---------------------------------------------------------------------------------------------------------


def test_learn_list_edit_remove(command: Command, run: str, faces: Path) -> None:
    said = command("concept", "learn", run, faces, "--name", "round", "--positive", "zero", "--negative", "one")
    assert said.status == 0, said.err
    assert "round: from one (20) to zero (20), by mean" in said.out
    assert "Learned -> run/concepts/round.safetensors" in said.out
    model = diabolo.load(run)
    vector = model.concepts["round"]
    assert f"AUC {vector.auc:.3f} [{vector.auc_low:.3f}, {vector.auc_high:.3f}]" in said.out

    assert vector.strength == vector.gap + 1.645
    assert f"group means are {vector.gap:.2f} standard deviations apart" in said.out
    assert f"To use it: diabolo edit run SOURCE --concept round={vector.strength:.1f}" in said.out
    assert "--method mean" not in said.out

    said = command("concept", "list", run)
    assert said.out.splitlines()[1].split() == [
        "round", f"{vector.auc:.3f}", f"{vector.gap:.2f}", "mean", "one", "->", "zero",
    ]  # fmt: skip
    assert "round" in command("info", run).out

    said = command("edit", run, faces / "one" / "00.png", "--concept", "round=1.5", "-o", "x.npy")
    assert said.status == 0, said.err
    with Image.open(faces / "one" / "00.png") as image:
        x = np.asarray(image)[None]
    np.testing.assert_array_equal(array_of("x.npy"), model.edit(x, "round", 1.5))
    assert command("edit", run, faces / "one" / "00.png", "--concept", "round=1", "-o", "x.png").status == 0
    assert size_of("x.png")[0] == size_of("x.png")[1]

    assert command("concept", "remove", run, "round").out == "Removed run/concepts/round.safetensors\n"
    assert "has no concepts: diabolo concept learn run" in command("concept", "list", run).out


def test_the_run_s_own_data_and_several_concepts(command: Command, run: str) -> None:
    assert command("concept", "learn", run, "--name", "seven", "--positive", 7).status == 0
    words = ("--name", "one", "--positive", 1, "--negative", 0, "--method", "logistic", "--orthogonal-to", "seven")
    said = command("concept", "learn", run, *words, "--json")
    assert json.loads(said.out)["orthogonal_to"] == ["seven"]
    again = command("concept", "learn", run, *words).out
    assert "Replaced" in again
    assert "--method mean edits best" in again
    model = diabolo.load(run)
    assert model.concepts["seven"].negative == "not 7"
    assert abs(float(model.concepts["seven"].direction @ model.concepts["one"].direction)) < 1e-5
    assert len(json.loads(command("concept", "list", run, "--json").out)) == 2
    assert command("edit", run, "--concept", "seven=1", "--concept", "one=-0.5", "-o", "x.npy").status == 0
    both = model.edit(open_dataset("digits").x, {"seven": 1.0, "one": -0.5})
    np.testing.assert_array_equal(array_of("x.npy"), both)


def test_a_strip_over_strengths(command: Command, run: str) -> None:
    assert command("concept", "learn", run, "--name", "seven", "--positive", 7).status == 0
    strength = diabolo.load(run).concepts["seven"].strength
    said = command("edit", run, "--concept", "seven", "--strip", "-n", 3, "-o", "strip.png", "--json")
    assert json.loads(said.out)["strengths"] == [round(step * strength, 2) for step in (-1, -0.5, 0, 0.5, 1, 1.5)]
    said = command("edit", run, "digits", "--concept", "seven", "--strip", "-1,0,2", "-o", "strip.npy", "--json")
    assert json.loads(said.out)["strengths"] == [-1, 0, 2]
    made, x = array_of("strip.npy").reshape(-1, 3, 8, 8), open_dataset("digits").x
    np.testing.assert_array_equal(made[:, 2], diabolo.load(run).edit(x, "seven", 2.0))


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("concept", 2, "required: learn|list|remove, run"),
        ("concept lern run", 2, "no action named 'lern'. Did you mean 'learn'"),
        ("concept learn run", 2, "required: --name"),
        ("concept learn run --name a/b", 2, "file's name"),
        ("concept learn run --name one --positive 11", 2, "no label named '11'"),
        ("concept learn run --name one", 2, "10 labels (0, 1, 2, 3, 4, 5, 6, 7, 8, 9): name the positive one"),
        ("concept learn run --name one --positive 1 --negative 1", 2, "should be two groups"),
        ("concept learn run --name one --positive 1 --method men", 2, "invalid choice: 'men'"),
        ("concept learn run --name one --positive 1 --orthogonal-to smile", 2, "no concept 'smile', nor any other"),
        ("concept learn run plain.npy --name one", 1, "has no labels to make two groups by"),
        ("concept learn run wide.npy --name one --positive 1", 1, "shape (8, 8), and those of wide"),
        ("concept remove run smile", 2, "There is no concept named 'smile'"),
        ("concept list nowhere", 1, "nowhere is not a folder"),
        ("edit run", 2, "required: --concept"),
        ("edit run --concept smile=1", 2, "no concept 'smile', nor any other"),
        ("edit run --concept smile", 2, "such as smile=2, and was given 'smile'"),
        ("edit run --concept smile=much", 2, "such as smile=2, and was given 'smile=much'"),
        ("edit run --concept smile --strip 1,x", 2, "no concept 'smile'"),
        ("interpolate run 3", 2, "two or more examples"),
        ("interpolate run 3 9999", 2, "digits has 1,797 examples, 0 to 1796: not 9999"),
        ("interpolate run 3 face.png", 1, "There is no file or folder face.png"),
        ("interpolate run 3 plain.npy", 2, "plain.npy holds 5 examples: name one"),
        ("interpolate run 3 4 -n 1", 2, "at least 2"),
        ("interpolate run 3 4 --how spheric", 2, "invalid choice: 'spheric'"),
        ("traverse run 3 --dim z5", 2, "z1 to z4, and --dim was given 'z5'"),
        ("traverse run 3 --dim x", 2, "z1 to z4"),
        ("traverse run 3 --values a", 2, "--values takes numbers"),
        ("neighbours run 3 -k 0", 2, "between 1 and 1,796"),
        ("neighbours run 3 -o near.txt", 2, "near.txt should end in"),
    ],
)
def test_what_cannot_be_is_said(command: Command, run: str, words: str, status: int, says: str) -> None:
    np.save("plain.npy", np.zeros((5, 8, 8), np.float32) + np.linspace(0, 1, 5)[:, None, None].astype(np.float32))
    np.save("wide.npy", np.zeros((5, 4, 4), np.float32))
    said = command(*words.split())
    assert (said.status, said.out) == (status, "")
    assert says in said.err
    assert "Traceback" not in said.err


# --- ways -------------------------------------------------------------------------------------------------------------


def test_interpolate(command: Command, run: str, faces: Path) -> None:
    model, x = diabolo.load(run), open_dataset("digits").x
    assert command("interpolate", run, 3, 8, 1, "-n", 6, "-o", "path.npy").status == 0
    made = array_of("path.npy")
    np.testing.assert_allclose(made[:6], model.interpolate(x[3], x[8], 6), atol=1e-6)
    np.testing.assert_allclose(made[6:], model.interpolate(x[8], x[1], 6), atol=1e-6)
    assert command("interpolate", run, 3, faces / "one" / "01.png", "--how", "spherical").status == 0
    assert size_of("path.png")[0] > 8 * size_of("path.png")[1]
    assert command("interpolate", run, 3, 8, "--source", faces, "-o", "other.npy").status == 0
    assert not np.allclose(array_of("other.npy")[0], made[0])


def test_traverse(command: Command, run: str) -> None:
    model, x = diabolo.load(run), open_dataset("digits").x
    assert command("traverse", run, 3, "--dim", "z2", "--dim", 1, "--values", "-1,0,2.5", "-o", "walk.npy").status == 0
    made = array_of("walk.npy")
    np.testing.assert_allclose(made[:3], model.traverse(x[3], 1, [-1, 0, 2.5]), atol=1e-6)
    np.testing.assert_allclose(made[3:], model.traverse(x[3], 0, [-1, 0, 2.5]), atol=1e-6)
    said = command("traverse", run, 3)
    assert said.status == 0
    assert model.statistics is not None
    widest = np.argsort(-model.statistics.deviation) + 1
    assert "28 examples along " + ", ".join(f"z{dim}" for dim in widest) in said.out
    assert Path("traversal.png").exists()


def test_neighbours(command: Command, run: str, faces: Path) -> None:
    model, digits = diabolo.load(run), open_dataset("digits")
    said = command("neighbours", run, 3, 12, "-k", 4, "--json")
    found = json.loads(said.out)["neighbours"]
    indices, distances = model.neighbours(digits.x, digits.x[[3, 12]], 5)
    assert [entry["index"] for entry in found] == [*indices[0, 1:].tolist(), *indices[1, 1:].tolist()]
    assert [entry["distance"] for entry in found[:4]] == pytest.approx(distances[0, 1:].tolist())
    assert digits.y is not None
    assert found[0]["label"] == digits.classes[digits.y[indices[0, 1]]]

    picture = faces / "zero" / "03.png"
    said = command("neighbours", run, picture, "--source", faces, "-k", 3, "-o", "near.csv")
    assert said.status == 0, said.err
    rows = rows_of("near.csv")
    assert rows[0]["id"] == "zero/03.png"
    assert float(rows[0]["distance"]) == pytest.approx(0, abs=1e-3)
    assert rows[0]["query"] == str(picture)
    assert "zero/03.png" in said.out
    assert command("neighbours", run, picture, 4, "-k", 3, "-o", "near.png").status == 0
    assert size_of("near.png")[0] > size_of("near.png")[1]


def test_examples_that_are_no_images(command: Command, here: Path, table: np.ndarray) -> None:
    np.save("table.npy", table)
    diabolo.train("table.npy", epochs=2, widths=(8,), latent_dim=2, out="run")
    for words in ("interpolate run 1 2", "traverse run 1", "neighbours run 1 -o near.png"):
        assert command(*words.split()).status == 0
    for name in ("path.png", "traversal.png", "near.png"):
        assert Path(name).exists()
    labels = np.arange(90) % 2
    np.savez("labelled.npz", x=table, y=labels)
    assert command("concept", "learn", "run", "labelled.npz", "--name", "odd").status == 0
    assert command("edit", "run", "--concept", "odd", "--strip").status == 0
    assert command("edit", "run", "--concept", "odd=1").status == 2  # a table is no picture
    assert command("edit", "run", "--concept", "odd=1", "-o", "x.npy").status == 0
