"""A picture of every variant on MNIST, for the page of models: `python docs/zoo.py [NAME ...]`.

Each variant at its own defaults, with an mlp of 400 units that starts at random, a code of 16 numbers and a Bernoulli
likelihood, for 12 epochs of 20,000 images at a rate of 1e-3 (seed 0). The rows of a picture: ten test images, their
reconstructions, and ten new images, from the variant's own prior or from a density fitted to its codes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import diabolo
from diabolo.models.objectives import objectives

FOLDER = Path(__file__).parent / "images" / "zoo"
TRAIN, COUNT, ZOOM = 20_000, 10, 2
SETTINGS: dict[str, Any] = {
    "latent_dim": 16, "widths": (400,), "start": "random", "likelihood": "bernoulli", "epochs": 12, "lr": 1e-3,
    "seed": 0,
}  # fmt: skip


def main() -> None:
    """Draws the variants that are named, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = diabolo.open_dataset("mnist")
    test = data.subset(data.official_test)
    held = test.subset([int(np.flatnonzero(test.y == digit)[0]) for digit in range(COUNT)])
    train = data.subset(np.random.default_rng(0).permutation(60_000)[:TRAIN])
    for name in sys.argv[1:] or list(objectives):
        model = diabolo.train(train, model=name, **SETTINGS)
        rows = [model.pixels(np.asarray(held.x) / 255), model.pixels(model.reconstruct(held))]
        if model.model.prior() is None:
            model.fit_prior("categorical" if model.model.objective.entries else "gmm", train)
        rows.append(model.pixels(model.sample(COUNT, seed=0)))
        sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows])
        Image.fromarray(np.kron(sheet, np.ones((ZOOM, ZOOM), np.uint8))).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
