"""Killed without warning and taken up again: the end is bit for bit that of a run which was never stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diabolo
from diabolo.autoencoder.files import write_artifact
from diabolo.errors import ConfigError, DataError, FinishedError, RunError, StorageError
from diabolo.runs.config import make_run_config
from diabolo.runs.run import start
from diabolo.storage import checkpoint
from diabolo.storage.history import read_history
from diabolo.training import Callback, Interrupted, Training

# A run that takes its time, so that it can be killed anywhere.
RUN = """
import json, sys, time
import torch
torch.set_num_threads(1)
import diabolo
from diabolo.training import Callback

class Slow(Callback):
    def start(self, training):
        time.sleep(float(sys.argv[3]))

    def step(self, training, loss):
        time.sleep(0.02)
        while training.epochs >= 9:  # of 12: however late the signal comes, it comes in mid-run
            time.sleep(1)

diabolo.train("digits", out=sys.argv[1], callbacks=[Slow()], **json.loads(sys.argv[2]))
"""

KILLED: dict[str, dict[str, Any]] = {
    "every-epoch": {"model": "vae", "widths": [32], "beta": 2.0, "checkpoint_seconds": 0},
    "mid-epoch": {
        "model": "denoising",
        "network": "conv",
        "channels": [4, 6],
        "hidden": [16],
        "start": "random",
        "schedule": "cosine",
        "ema": 0.9,
        "log_every": 3,
        "checkpoint_seconds": 1e-6,
    },
}
KILLED["plateau"] = {
    "model": "vae",
    "widths": [32],
    "optimizer": "adamax",
    "schedule": "plateau",
    "lr_patience": 1,
    "lr": 0.05,
    "ema": 0.0,
    "activation": "gated",
    "spectral": "decoder",
    "start": "mean",
    "checkpoint_seconds": 1e-6,
}
KILLED["vamp"] = {"model": "vamp", "components": 20, "exemplars": True, "widths": [32], "checkpoint_seconds": 1e-6}
KILLED["vq"] = {"model": "vq", "positions": 3, "codes": 16, "levels": 2, "widths": [32], "checkpoint_seconds": 1e-6}
COMMON: dict[str, Any] = {"latent_dim": 3, "epochs": 12, "batch_size": 300, "precision": "float32", "seed": 1}


class PulledPlugError(BaseException):
    """As sudden as a kill: nothing is saved on the way out."""


class Plug(Callback):
    """Pulled after a given step, or before the first one."""

    def __init__(self, at: int) -> None:
        self.at = at

    def start(self, training: Training) -> None:
        if self.at == 0:
            raise PulledPlugError

    def step(self, training: Training, loss: float) -> None:
        if training.steps == self.at:
            raise PulledPlugError


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in read_history(folder / "history.jsonl")
    ]


def tensors(path: Path) -> dict[str, Tensor]:
    return checkpoint.load_tensors(path)[0]


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "last.safetensors", "examples.safetensors"):
        held, expected = tensors(one / name), tensors(other / name)
        assert held.keys() == expected.keys()
        assert [key for key in held if not torch.equal(held[key], expected[key])] == [], name
    assert lines(one) == lines(other)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (one, other)]
    for config in configs:
        config["result"].pop("seconds")
    assert configs[0] == configs[1]


def start_and_kill(folder: Path, options: dict[str, Any], wait: float, ready: Any) -> None:
    """A run in a process of its own, which gets SIGKILL some moments after `ready()`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", RUN, str(folder), json.dumps(options), str(wait)]
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        assert process.stderr is not None
        told = process.stderr.read()
        assert process.wait() == -signal.SIGKILL, told


# One of them always; tests/test_killed.py stands for the others, which `make slow` has.
@pytest.mark.parametrize(
    "way", [name if name == "mid-epoch" else pytest.param(name, marks=pytest.mark.slow) for name in KILLED]
)
def test_killed_in_mid_run(tmp_path: Path, way: str) -> None:
    options = {**COMMON, **KILLED[way]}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    history = cut / "history.jsonl"
    start_and_kill(cut, options, 0, lambda: history.exists() and history.read_text().count('"kind": "epoch"') >= 2)
    assert len([line for line in lines(cut) if line["kind"] == "epoch"]) < 12, "killed too late to tell anything"
    diabolo.resume(cut).go()
    diabolo.train("digits", out=whole, **options)
    assert_same_run(cut, whole)
    assert len(lines(cut)) == (12 + 12 * 5 // 3 if way == "mid-epoch" else 12)
    if way == "plateau":
        assert lines(cut)[-1]["lr"] < 0.05, "there was something to resume"


def test_killed_before_the_first_step(tmp_path: Path) -> None:
    options = {**COMMON, "model": "vae", "widths": [32], "epochs": 2}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    start_and_kill(cut, options, 3600, (cut / "examples.safetensors").exists)
    assert not (cut / "last.safetensors").exists()
    diabolo.resume(cut).go()
    diabolo.train("digits", out=whole, **options)
    assert_same_run(cut, whole)


# --- the same, with the plug pulled inside this process ---------------------------------------------------------------

QUICK: dict[str, Any] = {"latent_dim": 2, "epochs": 3, "batch_size": 16, "precision": "float32"}


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0, 1e-6])
@pytest.mark.parametrize("at", [0, 1, 4, 5, 6, 7, 14])
@pytest.mark.parametrize("first", ["pca", "random"])
def test_the_plug_is_pulled_at_any_step(
    pictures: np.ndarray, tmp_path: Path, first: str, at: int, checkpoint_seconds: float
) -> None:
    """Also after the history has lines and before there is any checkpoint."""
    options = {**QUICK, "model": "vae", "widths": (8,), "start": first, "checkpoint_seconds": checkpoint_seconds}
    with pytest.raises(PulledPlugError):
        diabolo.train(pictures, out=tmp_path / "cut", callbacks=[Plug(at)], **options)
    diabolo.resume(tmp_path / "cut", source=pictures).go()
    diabolo.train(pictures, out=tmp_path / "whole", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("at", [0, 3, 6])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0])
def test_a_table_keeps_its_scaling(table: np.ndarray, tmp_path: Path, at: int, checkpoint_seconds: float) -> None:
    options = {**QUICK, "widths": (8,), "checkpoint_seconds": checkpoint_seconds}
    with pytest.raises(PulledPlugError):
        diabolo.train(table, out=tmp_path / "cut", callbacks=[Plug(at)], **options)
    diabolo.resume(tmp_path / "cut", source=table).go()
    diabolo.train(table, out=tmp_path / "whole", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def own_modules() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)))


@pytest.mark.parametrize("at", [0, 7])
def test_a_user_s_own_modules_are_asked_for(pictures: np.ndarray, tmp_path: Path, at: int) -> None:
    options = {"epochs": 3, "batch_size": 16, "precision": "float32", "checkpoint_seconds": 0}
    with pytest.raises(PulledPlugError):
        diabolo.train(pictures, network=own_modules(), out=tmp_path / "cut", callbacks=[Plug(at)], **options)
    with pytest.raises(RunError, match="modules=\\(encoder, decoder\\)"):
        diabolo.resume(tmp_path / "cut", source=pictures)
    diabolo.resume(tmp_path / "cut", source=pictures, modules=own_modules()).go()
    diabolo.train(pictures, network=own_modules(), out=tmp_path / "whole", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_killed_twice(pictures: np.ndarray, tmp_path: Path) -> None:
    options = {**QUICK, "network": "conv", "channels": (4, 6), "hidden": (8,), "checkpoint_seconds": 1e-6}
    folder = tmp_path / "cut"
    with pytest.raises(PulledPlugError):
        diabolo.train(pictures, out=folder, callbacks=[Plug(3)], **options)
    with pytest.raises(PulledPlugError):
        diabolo.resume(folder, source=pictures, callbacks=[Plug(11)]).go()
    diabolo.resume(folder, source=pictures).go()
    diabolo.train(pictures, out=tmp_path / "whole", **options)
    assert_same_run(folder, tmp_path / "whole")


def test_labels_are_no_hindrance(pictures: np.ndarray, tmp_path: Path) -> None:
    """The examples are the data that a model is trained on."""
    options = {**QUICK, "widths": (8,), "checkpoint_seconds": 0}
    y = np.arange(len(pictures)) % 3
    with pytest.raises(PulledPlugError):
        diabolo.train(pictures, labels=y, out=tmp_path / "cut", callbacks=[Plug(7)], **options)
    dataset = diabolo.open_dataset(pictures, labels=y)
    made = diabolo.resume(tmp_path / "cut", source=dataset).go()
    assert made.classes == ("0", "1", "2")


@pytest.mark.parametrize("kind", ["str", "path"])
def test_a_path_is_found_again(pictures: np.ndarray, tmp_path: Path, kind: str) -> None:
    path: Any = tmp_path / "x.npy"
    np.save(path, pictures)
    source = str(path) if kind == "str" else path
    options = {**QUICK, "widths": (8,), "checkpoint_seconds": 0}
    with pytest.raises(PulledPlugError):
        diabolo.train(source, out=tmp_path / "cut", callbacks=[Plug(7)], **options)
    assert len(diabolo.resume(tmp_path / "cut").go().history) == 3


def test_the_options_of_the_data_are_remembered(tmp_path: Path) -> None:
    """Those of a folder of images, given as Python gives them: a tuple, a Path."""
    from PIL import Image

    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(rng.integers(0, 255, (12, 10), dtype=np.uint8)).save(images / f"{number}.png")
    options = {**QUICK, "widths": (8,), "checkpoint_seconds": 0, "size": (6, 5), "data_dir": tmp_path}
    with pytest.raises(PulledPlugError):
        diabolo.train(images, out=tmp_path / "cut", callbacks=[Plug(3)], **options)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["run_config"]["data"]["data_dir"] == str(tmp_path)
    made = diabolo.resume(tmp_path / "cut").go()
    assert made.event_shape == (6, 5)


# --- refusals, and going on -------------------------------------------------------------------------------------------


@pytest.fixture
def finished(pictures: np.ndarray, tmp_path: Path) -> Path:
    folder = tmp_path / "finished"
    diabolo.train(pictures, out=folder, widths=(8,), **QUICK)
    return folder


def test_other_data_is_refused(pictures: np.ndarray, finished: Path) -> None:
    changed = pictures.copy()
    changed[0, 0, 0] ^= 1
    with pytest.raises(DataError, match=r"is not the data that .*finished was trained on: its fingerprint is blake2b:"):
        diabolo.resume(finished, source=changed, epochs=5)
    with pytest.raises(DataError):
        diabolo.resume(finished, source=pictures[:-1], epochs=5)
    with pytest.raises(DataError, match="trained on an array, which has no name to be found by"):
        diabolo.resume(finished, epochs=5)


def test_a_finished_run_says_so(pictures: np.ndarray, finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"trained for all of its 3 epochs.*--epochs 6"):
        diabolo.resume(finished, source=pictures)
    with pytest.raises(ConfigError, match="trained for all of its 3 epochs"):
        diabolo.resume(finished, source=pictures, epochs=2)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_more_epochs_go_on_as_if_they_had_been_planned(pictures: np.ndarray, tmp_path: Path, keep: str) -> None:
    """With a rate that does not fall towards the end that was planned first."""
    options = {**QUICK, "model": "vae", "widths": (8,), "keep": keep, "schedule": "constant", "lr_warmup": 0.0}
    diabolo.train(pictures, out=tmp_path / "cut", **{**options, "epochs": 2})
    made = diabolo.resume(tmp_path / "cut", source=pictures, epochs=5).go()
    assert [line["epoch"] for line in made.history] == [1, 2, 3, 4, 5]
    diabolo.train(pictures, out=tmp_path / "whole", **{**options, "epochs": 5})
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    with pytest.raises(ConfigError, match="all of its 5 epochs"):
        diabolo.resume(tmp_path / "cut", source=pictures)


def test_more_epochs_are_remembered_when_they_are_cut_short(pictures: np.ndarray, finished: Path) -> None:
    with pytest.raises(PulledPlugError):
        diabolo.resume(finished, source=pictures, epochs=6, callbacks=[Plug(22)]).go()
    assert len(diabolo.resume(finished, source=pictures).go().history) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on(pictures: np.ndarray, tmp_path: Path, number: signal.Signals) -> None:
    class CtrlC(Callback):
        def step(self, training: Training, loss: float) -> None:
            if training.steps == 7:
                os.kill(os.getpid(), number)

    options = {**QUICK, "model": "vae", "widths": (8,)}
    with pytest.raises(Interrupted):
        diabolo.train(pictures, out=tmp_path / "cut", callbacks=[CtrlC()], **options)
    run = diabolo.resume(tmp_path / "cut", source=pictures)
    assert run.training.steps == 7
    run.go()
    diabolo.train(pictures, out=tmp_path / "whole", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("lost", ["run_config", "data", "versions", "parameters", "latent_dim", "format"])
def test_an_edited_configuration_is_refused(pictures: np.ndarray, finished: Path, lost: str) -> None:
    path = finished / "config.json"
    config = json.loads(path.read_text())
    del config[lost]
    path.write_text(json.dumps(config))
    with pytest.raises((RunError, DataError)):
        diabolo.resume(finished, source=pictures, epochs=5)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a folder"):
        diabolo.resume(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"config\.json is not there"):
        diabolo.resume(tmp_path)


def test_a_disk_that_was_full_while_training_says_how_to_go_on(
    pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    options = {**QUICK, "widths": (8,), "checkpoint_seconds": 0}
    with monkeypatch.context() as patch:
        folder = tmp_path / "cut"
        run = start(make_run_config(pictures, **options), folder)
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=f"No space left on device.*diabolo resume {folder}"):
            run.go()
    assert len(diabolo.resume(folder, source=pictures).go().history) == 3


# --- one run at a time, whole or not there ----------------------------------------------------------------------------


def test_a_run_that_trains_has_no_second_writer(pictures: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    refused: list[str] = []

    class Second(Callback):
        def step(self, training: Training, loss: float) -> None:
            if training.steps == 7:
                for work in (
                    lambda: diabolo.resume(folder, source=pictures),
                    lambda: other.save(folder),
                    lambda: write_artifact(folder, other.model, other.statistics),
                ):
                    with pytest.raises(RunError, match=r"run is being written to by process \d+ on .* one writer at a"):
                        work()
                    refused.append("")

    options = {**QUICK, "model": "vae", "widths": (8,)}
    other = diabolo.train(pictures, **options)
    diabolo.train(pictures, out=folder, callbacks=[Second()], **options)
    assert len(refused) == 3
    diabolo.train(pictures, out=tmp_path / "whole", **options)
    assert_same_run(folder, tmp_path / "whole")
    assert not (folder / ".lock").exists()


def test_a_run_that_was_opened_twice_is_the_last_one_s(pictures: np.ndarray, tmp_path: Path) -> None:
    first = start(make_run_config(pictures, widths=(8,), **QUICK), tmp_path / "run")
    second = diabolo.resume(tmp_path / "run", source=pictures)
    with pytest.raises(RunError, match="was opened for writing again since"):
        first.go()
    assert len(second.go().history) == 3


class LastThings(Callback):
    """Pulls the plug when training has ended, and nothing is evaluated."""

    def end(self, training: Training) -> None:
        raise PulledPlugError


def test_the_last_things_are_made_without_more_training(pictures: np.ndarray, tmp_path: Path) -> None:
    """Killed after the last checkpoint: resume evaluates and measures, and the weights stay as they are."""
    options = {**QUICK, "model": "vae", "widths": (8,), "checkpoint_seconds": 0}
    with pytest.raises(PulledPlugError):
        diabolo.train(pictures, out=tmp_path / "cut", callbacks=[LastThings()], **options)
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "examples.safetensors").unlink()  # as of a version that was killed before it wrote them
    diabolo.resume(tmp_path / "cut", source=pictures).go()
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == weights
    diabolo.train(pictures, out=tmp_path / "whole", **options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert (tmp_path / "cut" / "statistics.safetensors").exists()
    with pytest.raises(FinishedError):
        diabolo.resume(tmp_path / "cut", source=pictures)


def with_all(pictures: np.ndarray, folder: Path) -> None:
    diabolo.train(pictures, out=folder, widths=(8,), keep="last", **QUICK)
    model = diabolo.load(folder)
    model.learn_concept("first", pictures, np.arange(90) % 2)
    model.fit_prior("gaussian", pictures)
    model.calibrate(pictures, false_alarms=0.2)
    model.save(folder)


@pytest.mark.parametrize("digests", ["with", "without"])
def test_what_belongs_to_other_weights_is_left_out(
    pictures: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture, digests: str
) -> None:
    """Also what an earlier version wrote, which says nothing of weights."""
    folder = tmp_path / "run"
    with_all(pictures, folder)
    model = diabolo.load(folder)
    assert (list(model.concepts), model.prior is None, model.threshold is None) == (["first"], False, False)
    assert "result" in model.info
    if digests == "without":
        for path in folder.rglob("*.safetensors"):
            checkpoint.save_tensors(path, *checkpoint.load_tensors(path))
        for name in ("config.json", "threshold.json"):
            value = json.loads((folder / name).read_text())
            value.pop("weights", None)
            (folder / name).write_text(json.dumps(value))
        assert list(diabolo.load(folder).concepts) == ["first"], "an old run loads as it did"
    with pytest.raises(PulledPlugError):
        diabolo.resume(folder, source=pictures, epochs=6, callbacks=[Plug(22)]).go()
    assert list(diabolo.load(folder).concepts) == ["first"], "its weights are those of before"
    settings = json.loads((folder / "config.json").read_text())
    settings["run_config"]["settings"]["checkpoint_seconds"] = 0
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(PulledPlugError):
        diabolo.resume(folder, source=pictures, callbacks=[Plug(22)]).go()
    caplog.clear()
    model = diabolo.load(folder)
    assert (model.concepts, model.prior, model.threshold, model.statistics) == ({}, None, None, None)
    assert "result" not in model.info
    words = "left out: the concept 'first', the fitted prior, the threshold. Learn them again."
    assert words in caplog.text
    diabolo.resume(folder, source=pictures).go()
    assert "Removed: the concept 'first', the fitted prior, the threshold." in caplog.text
    assert not list(folder.rglob("first*"))
    assert not (folder / "threshold.json").exists()


def test_what_was_fitted_to_weights_of_before_is_not_kept(pictures: np.ndarray, tmp_path: Path) -> None:
    with_all(pictures, tmp_path / "run")
    old = diabolo.load(tmp_path / "run")
    diabolo.resume(tmp_path / "run", source=pictures, epochs=5).go()
    with pytest.raises(RunError, match="has other weights now than those that were loaded"):
        write_artifact(tmp_path / "run", old.model, old.threshold)
    assert not (tmp_path / "run" / "threshold.json").exists()


def test_a_model_that_was_saved_elsewhere_is_not_trained_from_the_start(pictures: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(pictures, out=tmp_path / "run", widths=(8,), **QUICK)
    model.save(tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"holds a trained model without last\.safetensors"):
        diabolo.resume(tmp_path / "copy", source=pictures, epochs=6)
    model.save(tmp_path / "run")  # the same weights: their checkpoint stays
    assert diabolo.resume(tmp_path / "run", source=pictures, epochs=4).training.epochs == 3
