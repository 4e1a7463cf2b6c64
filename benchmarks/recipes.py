"""The table of recipes in the README: each run's numbers on its test set, beside PCA with as many components.

    diabolo train --recipe NAME ...             first, for each recipe: runs/NAME
    python benchmarks/recipes.py RUN [RUN ...]  then this

The error is the mean squared error per pixel of the test images, in [0, 1], rebuilt from the code's mean. PCA is fitted
on the training images. For codes of two or three dimensions: the accuracy of a 10-nearest-neighbour classifier on the
test codes, fitted on the training codes, and the same on PCA's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from diabolo.autoencoder.model import Autoencoder
from diabolo.runs.config import RunConfig
from diabolo.runs.data import open_data
from diabolo.runs.recipes import RECIPES

NEIGHBOURS = 10


def main() -> None:
    """Prints one row of Markdown for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    print("| run | test loss, nats | in the source's units | mse | mse of PCA | k-NN | k-NN on PCA |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for run in parser.parse_args().runs:
        print("| " + " | ".join(row(run)) + " |", flush=True)


def row(run: Path) -> list[str]:
    """A run's numbers as words."""
    model = Autoencoder.load(run)
    run_config = RunConfig.of(model.info)
    dataset, split = open_data(run_config)
    test = model.info["result"]["test"]
    flat = dataset.x.reshape(len(dataset), -1).astype(np.float32) / (255 if dataset.x.dtype == np.uint8 else 1)
    train, held_out = flat[split.train], flat[split.test]
    pca = PCA(model.latent_dim, svd_solver="randomized", random_state=0).fit(train)
    theirs = float(np.square(pca.inverse_transform(pca.transform(held_out)) - held_out).mean())
    rebuilt = model.reconstruct(dataset.x[split.test]).reshape(len(split.test), -1)
    ours = float(np.square(rebuilt - held_out).mean())
    return [run.name, terms(test, model), units(run_config, test["loss"]), f"{ours:.4f}", f"{theirs:.4f}"] + (
        [
            accuracy(model.encode(dataset.x[split.train]), model.encode(dataset.x[split.test]), dataset.y, split),
            accuracy(pca.transform(train), pca.transform(held_out), dataset.y, split),
        ]
        if model.latent_dim <= 3
        else ["", ""]
    )


def terms(test: dict[str, float], model: Autoencoder) -> str:
    """The loss, and what it is the sum of."""
    if "kl" not in test:
        return f"{test['loss']:.2f}"
    beta = model.info["result"]["weights"]["kl"]
    return f"{test['loss']:.2f} = {test['reconstruction']:.2f} + {beta:g} x {test['kl']:.2f}"


def units(run_config: RunConfig, loss: float) -> str:
    """The loss in the source's own units, where it has some."""
    recipe = RECIPES[run_config.recipe[0]] if run_config.recipe else None
    if recipe is None or recipe.units is None or recipe.units[1] != recipe.units[1]:
        return ""
    return f"{loss * recipe.units[1]:.4f}"


def accuracy(train: np.ndarray, test: np.ndarray, labels: np.ndarray, split: object) -> str:
    """How many of the test examples their nearest training codes name rightly."""
    judge = KNeighborsClassifier(NEIGHBOURS).fit(train, labels[split.train])  # type: ignore[attr-defined]
    return f"{judge.score(test, labels[split.test]):.1%}"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
