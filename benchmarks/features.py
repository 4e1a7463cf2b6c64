"""Codes as features: how well 10,000 labelled digits are told apart by them, beside pixels and PCA.

    DIABOLO_DATA_DIR=... python benchmarks/features.py [--quick] [--json FILE]

Autoencoder, VAE (beta = 1) and PCA learn from all 60,000 training images of MNIST without labels, as
`diabolo.sklearn.AutoencoderTransformer` (mlp of 512 and 256 units, Bernoulli likelihood, 10 epochs of batches of 256,
Adam at 1e-3, bf16 where the processor has it, seed 0; the same for every number of dimensions, nothing tuned) and
scikit-learn's PCA (pixels centred).
Two classifiers learn from the first 10,000 training images with their labels:

- logistic regression on standardised features, C = 1, run until it converges;
- k nearest neighbours on the features as they are, k among 1, 3, 5, 10 and 20 by 5-fold cross-validation on the 10,000.

Accuracy is that on the 10,000 test images, with a 95% interval over the choice of test images (Wilson 1927). One
training seed: how codes vary from training to training is not in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pinned import TRAINING
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import diabolo
from diabolo.sklearn import AutoencoderTransformer

DIMENSIONS = (2, 3, 10, 20)
LABELLED = 10_000
NEIGHBOURS = (1, 3, 5, 10, 20)
SETTINGS = {"epochs": 10, "batch_size": 256, "lr": 1e-3, "network_options": {"widths": (512, 256), "start": "random"}}
SETTINGS |= {"likelihood": "bernoulli", "training_options": TRAINING, "random_state": 0}


def main() -> None:
    """Prints the table as Markdown, a row as soon as it is known, and writes the numbers as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3,000 images, 1 epoch, 2 dimensions: to see that it runs")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    found = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    begun = time.monotonic()
    mnist = diabolo.open_dataset("mnist")
    part = np.setdiff1d(np.arange(len(mnist)), mnist.official_test)
    part, labelled = (part[:3000], 1000) if found.quick else (part, LABELLED)
    train, y_train = mnist.x[part].reshape(len(part), -1), mnist.y[part][:labelled]
    test, y_test = mnist.x[mnist.official_test].reshape(-1, train.shape[1]), mnist.y[mnist.official_test]

    print("| features | dimensions | logistic regression | k nearest neighbours | k | seconds to fit |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for name, transformer in methods(quick=found.quick):
        started = time.monotonic()
        transformer.fit(train)
        seconds = time.monotonic() - started
        codes, codes_test = (transformer.transform(part).astype(np.float64) for part in (train[:labelled], test))
        row = {"features": name, "dimensions": codes.shape[1], "seconds": round(seconds, 1)}
        row |= classified(codes, y_train, codes_test, y_test)
        rows.append(row)
        shown = [f"{100 * row[kind]:.1f}% ({spread(row[kind], len(y_test))})" for kind in ("logistic", "neighbours")]
        print(f"| {name} | {row['dimensions']} | {' | '.join(shown)} | {row['k']} | {seconds:.0f} |", flush=True)
    print(f"\n{time.monotonic() - begun:.0f} seconds on {torch.get_num_threads()} thread(s).")
    if found.json:
        result = {"settings": SETTINGS, "labelled": labelled, "tested": len(y_test), "rows": rows}
        found.json.write_text(json.dumps(result, indent=2) + "\n")


def methods(*, quick: bool) -> list[tuple[str, Any]]:
    """What makes features of pixels, by name."""
    made: list[tuple[str, Any]] = [("pixels", Pixels())]
    settings = {**SETTINGS, "epochs": 1} if quick else SETTINGS
    for dimensions in DIMENSIONS[:1] if quick else DIMENSIONS:
        made += [
            ("PCA", PCA(dimensions, svd_solver="randomized", random_state=0)),
            ("autoencoder", AutoencoderTransformer(dimensions, **settings)),
            ("VAE", AutoencoderTransformer(dimensions, model="vae", **settings)),
        ]
    return made


class Pixels:
    """Pixels in [0, 1], as they are."""

    def fit(self, x: np.ndarray) -> Pixels:
        """Does nothing."""
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        """(n, 784) in [0, 1]."""
        return x / np.float32(255)


def classified(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> dict[str, float | int]:
    """The accuracy of both classifiers, and the number of neighbours that was chosen."""
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        linear.fit(x, y)
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": list(NEIGHBOURS)}, cv=5).fit(x, y)
    return {
        "logistic": float(linear.score(x_test, y_test)),
        "neighbours": float(search.score(x_test, y_test)),
        "k": int(search.best_params_["n_neighbors"]),
    }


def spread(share: float, count: int, z: float = 1.959964) -> str:
    """The 95% interval of a share (Wilson 1927), as words."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return f"{100 * (centre - half):.1f} to {100 * (centre + half):.1f}"


if __name__ == "__main__":
    main()
