"""How many files a reader meets who follows a step of training, or `encode`, with torch's own layers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.training import Callback

X = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
PLAIN = {"start": "random", "ema": 0.0, "engine": "torch", "epochs": 1, "latent_dim": 2}


class Watch:
    """The files of the package in which functions run while it is on."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and "/diabolo/" in path:
            self.files.add(path.rpartition("/diabolo/")[2])

    def during(self, call: Callable[[], object]) -> set[str]:
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)
        return self.files


class OneStep(Callback):
    """Watches from the end of the third step to the end of the fourth."""

    def __init__(self) -> None:
        self.watch = Watch()

    def step(self, training, loss):
        sys.setprofile(self.watch if training.steps == 3 else None)


@pytest.mark.parametrize("model", ["autoencoder", "denoising", "sparse", "vae"])
def test_a_step_runs_through_nine_files_and_a_prior(model):
    one = OneStep()
    diabolo.train(X, model=model, compile="off", batch_size=20, callbacks=[one], **PLAIN)
    files = {f"models/objectives/{model}.py", "models/objectives/_base.py", "models/objectives/_parts.py"}
    files |= {"models/distributions.py"}
    files |= {"models/model.py", "models/preprocess.py"}
    files |= {"training/loop.py", "training/batches.py", "training/optimizers.py"}
    files |= {"models/priors/own.py", "models/objectives/_variational.py"} if model == "vae" else set()
    assert one.watch.files == files


@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_encode_runs_through_eight_files_and_that_of_a_variant_with_a_posterior_of_its_own(model):
    made = diabolo.train(X, model=model, **PLAIN)
    files = Watch().during(lambda: made.encode(X))
    assert files == {
        "_border.py",
        "autoencoder/inference.py", "autoencoder/examples.py", "models/engine.py", "models/model.py",
        "models/preprocess.py", "models/objectives/_base.py", "models/distributions.py",
    } | ({"models/objectives/_variational.py"} if model == "vae" else set())  # fmt: skip
