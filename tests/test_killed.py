"""Work that writes a run is killed at every file event: what is left is whole, and the same work goes on from it.

Of each kind, `make test` kills at some events, and `make slow` at all of them, and again while it recovers.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.autoencoder.files import weights_in
from diabolo.bulk._piece_files import read_note
from diabolo.cli import main
from diabolo.errors import DiaboloError, StorageError
from diabolo.storage.checkpoint import digest_of, load_tensors
from diabolo.storage.files import write_bytes
from diabolo.storage.generation import FolderLock
from diabolo.storage.images import png
from diabolo.training import Callback
from killing import Campaign, bytes_of, forked

QUICK = [
    *("--latent-dim", 2, "--batch-size", 30, "--precision", "float32", "--compile", "off", "--engine", "torch"),
    *("--validation", 0.2, "--checkpoint-seconds", 0, "--quiet"),
]
FINISHED = "trained for all of its"
LEARNED = ("concepts/odd.safetensors", "prior.safetensors", "threshold.json")


OTHERS: dict[int, diabolo.Autoencoder] = {}  # width of its network -> a model to save over a run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column of classes, so that all that needs labels has them."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 4)).astype(np.float32)
    source = folder / "x.npz"
    np.savez(source, x=x, y=(x[:, 0] > 0).astype(np.int64))
    trained_with_all(source, folder / "run")  # here, so that the children find all imported
    learn(source, folder / "run")
    fit(source, folder / "run")
    contents(folder / "run")
    seen(folder / "run")
    options: dict[str, Any] = {"precision": "float32", "engine": "torch", "compile": "off"}
    for width in (8, 5):
        OTHERS[width] = diabolo.train(x, latent_dim=2, widths=(width,), epochs=1, seed=5, **options)
    return source


def told(*words: Any) -> tuple[int, str]:
    """The exit status of a command, and what it said."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main([str(word) for word in words])
    return status, errors.getvalue()


def done(*words: Any) -> None:
    status, errors = told(*words)
    assert status == 0, f"{' '.join(map(str, words))}: {errors}"


def done_or_finished(*words: Any) -> None:
    status, errors = told(*words)
    assert status == 0 or FINISHED in errors, f"{' '.join(map(str, words))}: {errors}"


def train_words(source: Path, folder: Path, *more: Any) -> list[Any]:
    return ["train", source, "--labels", "y", *QUICK, "--widths", "8", "--epochs", "3", "-o", folder, *more]


def go_on_training(source: Path, folder: Path, *more: Any) -> None:
    """The same command; where that finds a run, resume."""
    status, errors = told(*train_words(source, folder, *more))
    if status:
        assert "no run is written over another" in errors, errors
        done_or_finished("resume", folder, "--quiet", *more)


def contents(folder: Path) -> dict[str, Any]:
    """All of a run, but for how long it took: its tensors by digest, its configuration, history and names."""
    config = json.loads((folder / "config.json").read_text())
    config.get("result", {}).pop("seconds", None)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    tensors = {path.relative_to(folder): digest_of(load_tensors(path)[0]) for path in folder.rglob("*.safetensors")}
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {
        "config": config,
        "history": [{name: value for name, value in line.items() if name != "seconds"} for line in history],
        "tensors": tensors,
        "names": [name for name in names if not name.startswith(".")],
        "threshold": bytes_of(folder, ["threshold.json"]),
    }


def seen(folder: Path) -> dict[str, Any]:
    """What a program sees that loads a run: every part of it."""
    model = diabolo.load(folder, engine="torch")
    return {
        "weights": digest_of(model.model.state_dict()),
        "config": model.model.config(),
        "result": {name: value for name, value in model.info.get("result", {}).items() if name != "seconds"},
        "history": len(model.history),
        "examples": None if model.examples is None else model.examples.tobytes(),
        "concepts": {name: concept.direction.tobytes() for name, concept in model.concepts.items()},
        "prior": None if model.prior is None else str(model.prior),
        "statistics": None if model.statistics is None else model.statistics.mean.tobytes(),
        "threshold": None if model.threshold is None else model.threshold.config(),
    }


def learn_all(source: Path, folder: Path) -> None:
    done("concept", "learn", folder, source, "--labels", "y", "--name", "odd", "--positive", "1", "--negative", "0")
    done("fit-prior", folder, "--kind", "gaussian")
    done("score", folder, source, "--threshold", "0.2", "-o", folder.parent / "scores.npz")


def trained(source: Path, folder: Path) -> None:
    done(*train_words(source, folder, "--no-report"))


def of_last_epoch(source: Path, folder: Path) -> None:
    """A run whose weights change with every epoch: those of the best one do not here."""
    done(*train_words(source, folder, "--no-report", "--keep", "last"))
    learn_all(source, folder)


def trained_with_all(source: Path, folder: Path) -> None:
    trained(source, folder)
    learn_all(source, folder)


def only_of_its_weights(folder: Path) -> str:
    """A run that trains for longer shows nothing that was fitted to weights of before."""
    model = diabolo.load(folder, engine="torch")
    weights = digest_of(model.model.state_dict())
    assert weights == weights_in(folder)
    parts = (bool(model.concepts), model.prior is not None, model.threshold is not None)
    assert len(set(parts)) == 1, parts
    result = model.info.get("result")
    assert not parts[0] or (result is not None and model.statistics is not None and model.info["weights"] == weights)
    assert result is None or model.info["weights"] == weights
    return "consistent"


Work = Callable[[Path, Path], Any]


def nothing(source: Path, folder: Path) -> None:
    folder.mkdir()


def interrupted(source: Path, folder: Path) -> None:
    """A run that was killed in its second epoch."""
    forked(lambda: done(*train_words(source, folder, "--no-report")), 45, folder)


def longer(source: Path, folder: Path) -> None:
    done("resume", folder, "--epochs", "5", "--no-report", "--quiet")


def go_on_longer(source: Path, folder: Path) -> None:
    done_or_finished("resume", folder, "--epochs", "5", "--no-report", "--quiet")


def learn(source: Path, folder: Path) -> None:
    words = ("--labels", "y", "--name", "odd", "--positive", "1", "--negative", "0", "--method", "logistic")
    done("concept", "learn", folder, source, *words)


def fit(source: Path, folder: Path) -> None:
    done("fit-prior", folder, "--kind", "gmm", "--components", "2")


def calibrate(source: Path, folder: Path) -> None:
    done("score", folder, source, "--calibrate", source, "--threshold", "0.3", "-o", folder.parent / "scores.npz")


def trained_inside(source: Path, folder: Path) -> None:
    trained(source, folder / "run")


def exported(source: Path, folder: Path) -> None:
    done("export", folder / "run", "-o", folder / "onnx")


def encoded(source: Path, folder: Path) -> None:
    done("encode", folder / "run", source, "-o", f"{folder}/codes/")


def reported(source: Path, folder: Path) -> None:
    done("report", folder)


def pictures_in(source: Path, folder: Path) -> None:
    for number in range(3):
        image = np.full((6, 6), 80 * number, np.uint8)
        write_bytes(folder / "images" / f"{number}.png", png(image))


def read_with_cache(source: Path, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIABOLO_CACHE_DIR", str(folder / "cache"))
        assert len(diabolo.open_dataset(folder / "images")) == 3


def files_in(folder: Path) -> dict[str, Any]:
    """The files below a folder, with their bytes; those of its run by what they hold."""
    files = [path for path in folder.rglob("*") if path.is_file() and "run" not in path.relative_to(folder).parts]
    return {
        "names": sorted(path.name if path.suffix in (".onnx", ".parquet") else path.suffix for path in files),
        "bytes": sorted(path.read_bytes() for path in files if path.suffix in (".npy", ".onnx", ".parquet")),
    }


def files_readable(folder: Path) -> str:
    """Files under their own names are whole."""
    for path in folder.rglob("*.npy"):
        if not path.name.startswith("."):
            np.load(path)
    for path in folder.rglob("*.parquet"):
        if not path.name.startswith("."):
            assert read_note(path) is not None, path
    return "whole"


# Kind of work -> what is there before, the work, what goes on with it, what a reader sees.
KINDS: dict[str, tuple[Work, Work, Work, Callable[[Path], Any]]] = {
    "train": (nothing, trained, lambda source, folder: go_on_training(source, folder, "--no-report"), contents),
    "resume": (
        interrupted,
        lambda source, folder: done_or_finished("resume", folder, "--no-report", "--quiet"),
        lambda source, folder: done_or_finished("resume", folder, "--no-report", "--quiet"),
        only_of_its_weights,
    ),
    "resume for longer": (trained_with_all, longer, go_on_longer, only_of_its_weights),
    "resume for longer, other weights": (of_last_epoch, longer, go_on_longer, only_of_its_weights),
    "save, same shape": (
        trained_with_all,
        lambda _, folder: OTHERS[8].save(folder),
        lambda _, folder: OTHERS[8].save(folder),
        seen,
    ),
    "save, other shape": (
        trained_with_all,
        lambda _, folder: OTHERS[5].save(folder),
        lambda _, folder: OTHERS[5].save(folder),
        seen,
    ),
    "concept learn": (trained_with_all, learn, learn, seen),
    "fit-prior": (trained_with_all, fit, fit, seen),
    "calibrate": (trained_with_all, calibrate, calibrate, seen),
    "report": (trained, reported, reported, seen),
    "export": (trained_inside, exported, exported, files_readable),
    "encode into pieces": (trained_inside, encoded, encoded, files_readable),
    "cache of images": (pictures_in, read_with_cache, read_with_cache, files_readable),
}
OF_FILES = ("export", "encode into pieces", "cache of images")  # which change no run: their files are compared
SLOW = ("report", "export")  # also at some events


def campaign(kind: str, source: Path, place: Path) -> Campaign:
    before, work, go_on, reader = KINDS[kind]
    return Campaign(
        place,
        lambda folder: before(source, folder),
        lambda folder: work(source, folder),
        lambda folder: go_on(source, folder),
        files_in if kind in OF_FILES else contents,
        is_new=kind == "train",
        readers=reader,
    )


def _few(faults: list[str]) -> str:
    return "\n".join(fault[:1000] for fault in faults[:5])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOW])
def test_killed_at_some_events(kind: str, source: Path, tmp_path: Path) -> None:
    is_short = KINDS[kind][1] in (learn, fit, calibrate, encoded, read_with_cache)
    every = 5 if is_short else 29 if "save" in kind else 53
    ended = campaign(kind, source, tmp_path).run(every)
    assert ended.faults == [], _few(ended.faults)
    assert ended.kills > 1, f"{ended.events} events"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_event(kind: str, source: Path, tmp_path: Path) -> None:
    ended = campaign(kind, source, tmp_path).run(twice=13)
    print(f"{kind}: {ended.events} events, {ended.kills} kills, {len(ended.faults)} faults")  # noqa: T201
    assert ended.faults == [], _few(ended.faults)


@pytest.mark.parametrize("kind", ["train", "save, other shape", "fit-prior", "encode into pieces"])
def test_refused_at_some_events(kind: str, source: Path, tmp_path: Path) -> None:
    ended = campaign(kind, source, tmp_path).refused({"train": 17, "save, other shape": 13}.get(kind, 3))
    assert ended.faults == [], _few(ended.faults)
    assert ended.kills > 1, f"{ended.events} events"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_refused_at_every_event(kind: str, source: Path, tmp_path: Path) -> None:
    ended = campaign(kind, source, tmp_path).refused()
    print(f"{kind}: {ended.events} events, {ended.kills} refused, {len(ended.faults)} faults")  # noqa: T201
    assert ended.faults == [], _few(ended.faults)


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def emptied(folder: Path) -> None:
    gone(folder)
    folder.mkdir()


class Away(Callback):
    """A folder that goes away while it is trained into."""

    def __init__(self, folder: Path, how: Callable[[Path], None], when: str) -> None:
        self.folder, self.how, self.when = folder, how, when

    def _act(self, when: str) -> None:
        if when and when == self.when:
            self.how(self.folder)
            self.when = ""

    def start(self, training: Any) -> None:
        self._act("start")

    def step(self, training: Any, loss: float) -> None:
        self._act("step" if training.steps == 3 else "")

    def epoch(self, training: Any, line: Any) -> None:
        self._act("epoch")

    def end(self, training: Any) -> None:
        self._act("end")


@pytest.mark.parametrize("how", [gone, moved, emptied])
@pytest.mark.parametrize("when", ["start", "step", "epoch", "end"])
def test_a_folder_that_goes_away_while_it_is_trained_into(
    how: Callable[[Path], None], when: str, tmp_path: Path
) -> None:
    """Either it is said, and nothing is there; or the run is whole."""
    folder = tmp_path / "run"
    x = np.random.default_rng(0).random((60, 3), np.float32)
    options = {"latent_dim": 2, "widths": (8,), "epochs": 3, "batch_size": 20, "checkpoint_seconds": 0}
    said = ""
    try:
        model = diabolo.train(x, out=folder, callbacks=[Away(folder, how, when)], **options)
    except StorageError as error:
        said = str(error)
    if said:
        assert how is not emptied
        assert re.search(r"could not be written.*: No such file.* Put its folder back or choose another folder", said)
        assert not folder.exists()
    else:
        assert how is emptied or when == "end"
        np.testing.assert_array_equal(diabolo.load(folder).encode(x), model.encode(x))
        assert diabolo.load(folder).info["result"]["epochs"] == 3


def test_a_clock_that_goes_backwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hours = itertools.count()
    monkeypatch.setattr("time.time", lambda: 1.7e9 - 3600 * next(hours))
    x = np.random.default_rng(0).random((60, 3), np.float32)
    model = diabolo.train(x, latent_dim=2, widths=(8,), epochs=3, out=tmp_path / "run")
    assert all(line["seconds"] >= 0 for line in model.history if "seconds" in line)
    assert diabolo.load(tmp_path / "run").info["result"]["seconds"] >= 0
    longer = diabolo.resume(tmp_path / "run", source=x, epochs=4).go()
    assert longer.info["result"]["epochs"] == 4


@pytest.mark.parametrize("text", ['{"removed": ["../x", "/etc/x", 3]}', "{", "[]", '{"removed": 3}'])
def test_a_switch_that_was_edited_breaks_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "run" / ".switch").mkdir(parents=True)
    (tmp_path / "run" / ".switch" / "removed.json").write_text(text)
    with pytest.raises(DiaboloError):
        diabolo.load(tmp_path / "run")
    with FolderLock(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("how", ["closed", "full", "unread"])
@pytest.mark.parametrize("stream", [1, 2])
def test_work_is_saved_without_anybody_to_tell(how: str, stream: int, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def work() -> None:
        if how == "closed":
            os.close(stream)
        elif how == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), stream)
        else:
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, stream)
        text = None if how == "closed" else open(stream, "w", closefd=False)  # noqa: SIM115
        setattr(sys, "stdout" if stream == 1 else "stderr", text)
        words = [str(word) for word in train_words(source, folder, "--no-report") if word != "--quiet"]
        status = main(words)
        assert status == 0 or stream == 1, status

    forked(work)
    assert "result" in json.loads((folder / "config.json").read_text())
    forked(lambda: seen(folder))
