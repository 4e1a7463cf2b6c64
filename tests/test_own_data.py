"""A run's own data may have changed since: whatever reads them compares, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diabolo
from diabolo.cli import main
from diabolo.errors import DataError
from diabolo.runs import open_data, open_examples

PIXELS = np.random.default_rng(0).integers(0, 255, (25, 8, 8), dtype=np.uint8)
pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "faces").mkdir()
    for i in range(24):
        Image.fromarray(PIXELS[i]).save(folder / "faces" / f"{i:02}.png")
    diabolo.train(folder / "faces", model="vae", latent_dim=2, widths=(8,), epochs=1, test=0.3, out=folder / "run")
    return folder


def _removed(faces: Path) -> None:
    (faces / "05.png").unlink()


def _added_in_front(faces: Path) -> None:
    Image.fromarray(PIXELS[24]).save(faces / "00-before.png")


def _added_at_the_end(faces: Path) -> None:
    Image.fromarray(PIXELS[24]).save(faces / "99.png")


def _changed(faces: Path) -> None:
    Image.fromarray(255 - PIXELS[3]).save(faces / "03.png")


def _renamed(faces: Path) -> None:
    (faces / "03.png").rename(faces / "30.png")


FAULTS = (_removed, _added_in_front, _added_at_the_end, _changed, _renamed)
COMMANDS = (
    ("evaluate", "RUN"), ("encode", "RUN", "-o", "c.npz"), ("score", "RUN", "-o", "s.npz"),
    ("reconstruct", "RUN", "-o", "r.npz"), ("encode", "RUN", "-o", "codes/"), ("report", "RUN"),
    ("fit-prior", "RUN", "--kind", "gaussian"),
)  # fmt: skip


def _copy(folder: Path) -> Path:
    """The run and its data, where the run looks for them."""
    for name in ("faces", "run"):
        shutil.rmtree(Path(name), ignore_errors=True)
        shutil.copytree(folder / name, name)
    config = Path("run/config.json")
    config.write_text(config.read_text().replace(str(folder / "faces"), str(Path("faces").resolve())))
    return Path("faces")


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_reads_a_runs_own_data_compares(folder: Path, fault, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    faces = _copy(folder)
    model = diabolo.load("run")
    assert len(open_examples(model)) == 24
    fault(faces)
    for door in (open_examples, open_data):
        with pytest.raises(DataError, match="it is other data now"):
            door(diabolo.load("run"))
    for command, *words in COMMANDS:
        assert main([command, *(word.replace("RUN", "run") for word in words)]) != 0, command
        assert "other data now" in capsys.readouterr().err, command


def test_other_data_may_be_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    faces = _copy(folder)
    _added_in_front(faces)
    dataset, split = open_data(diabolo.load("run"), str(faces.resolve()))
    assert (len(dataset), len(split.train)) == (25, 13)
    assert "may hold examples of the training" in caplog.text


def test_labels_that_were_an_array_are_not_missed() -> None:
    np.save("x.npy", PIXELS)
    diabolo.train("x.npy", labels=np.arange(25) % 2, latent_dim=2, widths=(8,), epochs=1, out="run")
    assert len(open_examples(diabolo.load("run"))) == 25
    np.save("x.npy", 255 - PIXELS)
    with pytest.raises(DataError, match="other data now"):
        open_examples(diabolo.load("run"))
