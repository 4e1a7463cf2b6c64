"""Loggers by name: registered, chosen, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import diabolo
from diabolo.callbacks import loggers, make_loggers
from diabolo.errors import ConfigError, MissingExtraError
from diabolo.training import Callback, Training

QUICK: dict[str, Any] = {"widths": (8,), "epochs": 1}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a logger of one's own, which writes a line for each epoch."""

    monkeypatch.setattr(loggers, "_items", dict(loggers._items))

    @loggers.register("lines")
    class Lines(Callback):
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def epoch(self, training: Training, line: dict[str, Any]) -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "log.txt").open("a") as file:
                file.write(f"epoch {line['epoch']}\n")

    return "lines"


def test_tensorboard_is_a_logger() -> None:
    assert "tensorboard" in loggers


def test_a_logger_of_ones_own(lines: str, tmp_path: Path) -> None:
    diabolo.train("digits", **QUICK, log=lines, out=tmp_path / "run")
    assert (tmp_path / "run" / "lines" / "log.txt").read_text() == "epoch 1\n"
    diabolo.resume(tmp_path / "run", epochs=2, log=(lines,)).go()
    assert (tmp_path / "run" / "lines" / "log.txt").read_text() == "epoch 1\nepoch 2\n"


def test_several_loggers_with_commas(lines: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    assert [type(one).__name__ for one in make_loggers(f"{lines},tensorboard", tmp_path)] == ["Lines", "TensorBoard"]


def test_an_unknown_logger_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no logger named 'tensorbord'\. Did you mean 'tensorboard'\?"):
        diabolo.train("nowhere", log="tensorbord", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_log_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="A log needs a folder to go to: give out="):
        diabolo.train("digits", log="tensorboard")


def test_a_name_is_registered_once(lines: str) -> None:
    with pytest.raises(ConfigError, match="There is a logger named 'lines' already"):
        loggers.register(lines)(Callback)


def test_a_missing_extra_is_said_before_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'diabolo\[tensorboard\]'"):
        diabolo.train("digits", log=("tensorboard",), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
