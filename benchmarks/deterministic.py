"""Codes without noise, and codes held near a prior as a whole: error, where the codes lie, and what samples are worth.

    python benchmarks/deterministic.py --out DIR [--epochs 30] [--examples 10000] [--weights FILE] [--update]

MNIST, 60,000 images to train on and 10,000 to test; 784 - 200 - 200 - 200 - 8 and back, ReLU, Adam 1e-3, batches of
128: the network of the Cramer-Wold autoencoder's comparison (Knop et al. 2020, https://arxiv.org/abs/1805.09235), which
trained for 500 epochs, and whose published numbers are Frechet distances by Inception on 10,000 images: SWAE 30.94,
WAE-MMD 28.71, CWAE 24.22 (its repository's README). They cannot be computed without Inception's weights: --weights FILE
adds that column. Every variant of the registry whose codes are points and no tokens shows up by itself, at its defaults
or under the settings here, and two that draw beside them.

The distance of codes from N(0, I) is one number for all: the sliced Wasserstein-2 distance (1,000 directions, seed 0),
between the codes of the test images, drawn where a posterior has noise, and as many draws of N(0, I). Samples come from
the variant's own prior, or else from a mixture of 10 Gaussians fitted to the codes of 10,000 training images. FID,
precision and recall (Kynkaanniemi et al. 2019) of as many samples as test images are by the features of a classifier of
real digits that `evaluate` trains: the same for all rows, and not comparable with a published number.

DIR keeps the runs: the same command goes on where it was stopped. --update writes the table into docs/results.md.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import numbers, options, trained, written

import diabolo
from diabolo.metrics import measure_model
from diabolo.models import Preprocess, build_model
from diabolo.models.objectives import objectives
from diabolo.runs import open_data

# Settings of a variant that has several ways; others are at their defaults. Two that draw are named beside them.
ROWS: dict[str, tuple[dict[str, Any], ...]] = {
    "rae": ({}, {"penalty": "gp"}, {"penalty": "sn", "spectral": "decoder"}),
    "wae": ({}, {"distance": "sliced"}, {"distance": "cramer-wold"}),
}
BESIDE = ("vae", "infovae")
DIRECTIONS, COMPONENTS, FITTED = 1_000, 10, 10_000


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=None, help="Inception's weights, for its Frechet distance")
    found = parser.parse_args()
    rows = [row(name, number, found) for name in variants() for number in range(len(ROWS.get(name, ({},))))]
    with_inception = any("inception" in one for one in rows)
    lines = [
        "| variant | mse | distance of codes from N(0, I) | samples from | precision | recall | FID, own features |"
        + (" FID, Inception |" if with_inception else "")
        + " parameters | epochs | s |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |"
        + (" ---: |" if with_inception else "")
        + " ---: | ---: | ---: |",
    ]
    for one in rows:
        extra = f" {one['inception']:.1f} |" if with_inception else ""
        lines.append(
            f"| {one['title']} | {one['mse']:.5f} | {one['distance']:.3f} | {one['prior']} | {one['precision']:.3f} | "
            f"{one['recall']:.3f} | {one['fid']:.1f} |{extra} {one['parameters']:,} | {one['epochs']} | "
            f"{one['seconds']:.0f} |"
        )
    table = "\n".join(lines)
    print(table)
    if found.update:
        written("deterministic", table, keys=[0])


def variants() -> list[str]:
    """Those whose codes are points and no tokens, and that need no more than eight numbers; and two beside them."""
    names = []
    for name in objectives:
        try:
            model = build_model(Preprocess(event_shape=(64,), layout="F", scale="none"), model=name, latent_dim=8)
        except diabolo.DiaboloError:
            continue
        code, _ = model.eval().passed(torch.zeros(2, 64))
        if code.kind == "point" or name in BESIDE:
            names.append(name)
    return names


def row(name: str, number: int, found: argparse.Namespace) -> dict[str, Any]:
    """The numbers of a variant under some settings."""
    settings = ROWS.get(name, ({},))[number]
    folder = found.out / f"{name}-{number}-{found.epochs}-{found.seed}"
    model = trained(
        folder, "mnist", model=name, network="mlp", widths=(200, 200, 200), start="random", latent_dim=8,
        epochs=found.epochs, batch_size=128, lr=1e-3, seed=found.seed, threads=found.threads, **settings,
    )  # fmt: skip
    title = f"`{name}`" + "".join(f", {value}" for key, value in settings.items() if key != "spectral")
    kept = numbers(folder / f"measured-{found.examples}.json", functools.partial(measured, model, title, found))
    if found.weights is not None:
        file = folder / f"inception-{found.examples}.json"
        kept |= numbers(file, functools.partial(by_inception, model, found))
    return kept


def measured(model: diabolo.Autoencoder, title: str, found: argparse.Namespace) -> dict[str, Any]:
    """Error, distance of codes and worth of samples."""
    dataset, split = open_data(model)
    test, train = split.test[: found.examples], split.train[:FITTED]
    if model.model.prior() is None and model.prior is None:
        model.fit_prior("gmm", dataset.subset(train), components=COMPONENTS)
    card = measure_model(
        model, dataset.x[test], labels=dataset.y[test], reference=dataset.x[train],
        reference_labels=dataset.y[train], metrics=["mse", "fid", "precision", "recall"], samples=0,
    )  # fmt: skip
    codes = model.encode(dataset.x[test], sample=True, seed=0) if model.has_density else model.encode(dataset.x[test])
    return {one.name: one.estimate.value for one in card.measurements} | {
        "title": title, "distance": sliced(np.asarray(codes)), "prior": "its own" if model.prior is None else "mixture",
        "parameters": model.model.parameter_count, "epochs": model.info["result"]["epochs"],
        "seconds": model.info["result"]["seconds"],
    }  # fmt: skip


def by_inception(model: diabolo.Autoencoder, found: argparse.Namespace) -> dict[str, Any]:
    """The Frechet distance by Inception's features."""
    dataset, split = open_data(model)
    x = dataset.x[split.test[: found.examples]]
    card = measure_model(model, x, metrics=["fid"], samples=0, extractor="inception", weights=str(found.weights))
    return {"inception": card["fid"].estimate.value}


def sliced(codes: np.ndarray) -> float:
    """The sliced Wasserstein-2 distance of codes, (n, d), from as many draws of N(0, I)."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(codes.shape)
    directions = rng.standard_normal((codes.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    a, b = (np.sort(one.astype(np.float64) @ directions, axis=0) for one in (codes, drawn))
    return float(np.square(a - b).mean() ** 0.5)


if __name__ == "__main__":
    main()
