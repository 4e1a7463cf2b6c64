"""PyOD's detectors at their defaults.

    python outliers_of_pyod.py TASK.npz SEED NAME...

Fitted to `train`, they score `test`: {name: [score, ...]} as the last line, or the error in the place of the scores.
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
    path, seed, *names = sys.argv[1:]
    with np.load(path) as task:
        train, test = task["train"], task["test"]
    found: dict[str, object] = {}
    for name in names:
        quiet = {} if name == "PCA" else {"verbose": 0}
        detector = getattr(importlib.import_module(f"pyod.models.{MODULES[name]}"), name)
        try:
            scores = detector(random_state=int(seed), **quiet).fit(train).decision_function(test)
            found[name] = scores.tolist() if np.isfinite(scores).all() else "scores that are no numbers"
        except Exception as error:  # noqa: BLE001 (whatever a peer raises is its result)
            found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
