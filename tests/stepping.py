"""Short trainings whose every step is known: what the tests of a variant's contract in training share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diabolo.runs.config import make_run_config
from diabolo.runs.run import Run, start
from diabolo.training import Callback, Trainer

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("c++") is None, reason="there is no compiler of C++ (g++) here"
)
# 72 examples to train on, five steps an epoch, the last of which has 8 examples; each step is as long as `lr` says.
OPTIONS: dict[str, Any] = {"latent_dim": 2, "widths": (16,), "start": "random", "epochs": 2, "batch_size": 16}
OPTIONS |= {"schedule": "constant", "lr_warmup": 0.0, "ema": 0.0, "keep": "last", "augment": "none", "lr": 0.01}
OPTIONS |= {"precision": "float32", "engine": "torch", "compile": "off", "likelihood": "gaussian", "seed": 3}


def started(x: Any, model: Any, folder: Path | None = None, callbacks: Any = (), **changes: Any) -> Run:
    return start(make_run_config(x, model=model, **{**OPTIONS, **changes}), folder, callbacks)


def gone(x: Any, model: Any, **changes: Any) -> Trainer:
    run = started(x, model, **changes)
    run.go()
    return run.training


def state(training: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in training.model.state_dict().items()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], **tolerance: float) -> None:
    """Bit for bit the same tensors, or within a tolerance."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, **{"rtol": 0.0, "atol": 0.0, **tolerance}, msg=name)


CLOSE = {"rtol": 1e-4, "atol": 1e-5}


class PulledPlugError(BaseException):
    """As sudden as a kill: nothing is saved on the way out."""


class Pull(Callback):
    """Pulls the plug after a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, training: Trainer, loss: float) -> None:
        if training.steps == self.at:
            raise PulledPlugError
