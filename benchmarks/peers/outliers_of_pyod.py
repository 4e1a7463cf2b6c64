"""PyOD's detectors at their defaults.

    python outliers_of_pyod.py TASKS.npz NAME...

Fitted to `train0`, with the first of `seeds`, they score `test0`, and so on: [{name: [score, ...]}, ...] as the last
line, or the error in the place of the scores.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings

import numpy as np
import torch

MODULES = {"PCA": "pca", "VAE": "vae", "AutoEncoder": "auto_encoder"}


def main() -> None:
    """Prints the scores."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    path, *names = sys.argv[1:]
    with np.load(path) as tasks:
        found = [
            {name: scores(name, tasks[f"train{number}"], tasks[f"test{number}"], int(seed)) for name in names}
            for number, seed in enumerate(tasks["seeds"])
        ]
    print(json.dumps(found))


def scores(name: str, train: np.ndarray, test: np.ndarray, seed: int) -> list[float] | str:
    """The scores of a detector, or its error."""
    quiet = {} if name == "PCA" else {"verbose": 0}
    detector = getattr(importlib.import_module(f"pyod.models.{MODULES[name]}"), name)
    try:
        found = detector(random_state=seed, **quiet).fit(train).decision_function(test)
    except Exception as error:  # noqa: BLE001 (whatever a peer raises is its result)
        return f"{type(error).__name__}: {error}"
    numbers: list[float] = found.tolist()
    return numbers if np.isfinite(found).all() else "scores that are no numbers"


if __name__ == "__main__":
    main()
