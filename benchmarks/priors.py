"""Sample quality of a plain autoencoder and of a VAE: without a prior, with the VAE's own, with each fitted afterwards.

    DIABOLO_DATA_DIR=... python benchmarks/priors.py [--quick] [--epochs N] [--out DIR]

MNIST. A plain autoencoder and a VAE (beta 1) of the same convolutional network, a code of 16 numbers and a Bernoulli
likelihood of the grey values, are each trained on the 60,000 training images, less 1,200 by which the best epoch is
kept. Each prior is fitted, with its defaults, to the codes of the images trained on (the VAE's are drawn from q(z | x),
one for each image). 10,000 codes are drawn, and the means of p(x | z) stand against the 10,000 test images.

FID and KID (Heusel et al. 2017, Binkowski et al. 2018) are taken on the penultimate layer of a small classifier of
MNIST's digits, which is trained on the training images: they compare with one another, and with no number on
Inception's features. Standard errors are those of the choice of images and draws (a jackknife over groups), for one
training of each network: how far another training would be off is not in them. The floor is what 10,000 training images
reach, and reconstructions (of the test images themselves) are what the decoder could reach at best. A code's
log-likelihood, in nats, is that of the tenth of the codes that was held out, which is comparable within one network.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pinned import CONV

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import open_dataset
from diabolo.figures import save
from diabolo.figures._grids import draw_grid, finish, label_rows
from diabolo.figures._theme import look_of
from diabolo.metrics import classifier_features, frechet_distance, kernel_distance

DRAWN = 10_000
LATENT = 16
COLUMNS = 20  # of the picture
NETWORKS = {"AE": "autoencoder", "VAE": "vae"}
FITTED = ("gaussian", "gmm", "flow")


class Row(NamedTuple):
    """Images to judge: of which network, with codes from where, the codes' log-likelihood where it is known."""

    network: str
    codes: str
    images: np.ndarray  # (n, 28, 28)
    nats: float | None = None


def main() -> None:
    """Prints the table as Markdown, and writes the numbers as JSON and a row of samples for each prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one epoch on 6,000 images, 2,000 draws: to see it run")
    parser.add_argument("--epochs", type=int, default=8, help="of each network")
    parser.add_argument("--out", type=Path, default=Path("runs/priors"), help="where priors.json and priors.png go")
    found = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    epochs, count, drawn = (1, 6_000, 2_000) if found.quick else (found.epochs, 60_000, DRAWN)
    begun = time.monotonic()
    mnist = open_dataset("mnist")
    train, test = mnist.x[:60_000][:count], mnist.x[60_000:][:drawn]
    extract = classifier_features(train, mnist.y[:60_000][:count], "HW", seed=0)
    print(f"{len(train):,} training images, {epochs} epochs, {drawn:,} draws against {len(test):,} test images.")
    print(f"Features: {extract.name}. Values with their standard errors; lower is better but for the last column.\n")
    print(f"| network | codes | FID | KID x 1000 | log-likelihood of codes, nats |\n|{' --- |' * 5}", flush=True)
    target = extract(test, "HW")
    lines, shown = [], []
    for row in rows(train, test, epochs, drawn):
        features = extract(row.images, "HW")
        fid, kid = frechet_distance(features, target), kernel_distance(features, target)
        nats = "" if row.nats is None else f"{row.nats:.2f}"
        numbers = [f"{1000 * part:.2f}" for part in (kid.value, kid.standard_error)]
        print(f"| {row.network} | {row.codes} | {fid.value:.2f} ± {fid.standard_error:.2f} | {' ± '.join(numbers)} "
              f"| {nats} |", flush=True)  # fmt: skip
        lines.append({"network": row.network, "codes": row.codes, "nats": row.nats,
                      "fid": [fid.value, fid.standard_error], "kid": [kid.value, kid.standard_error]})  # fmt: skip
        shown.append((f"{row.network}: {row.codes}".removeprefix(": "), bytes_of(row.images[:COLUMNS])))
    seconds = time.monotonic() - begun
    protocol = {"epochs": epochs, "train": len(train), "drawn": drawn, "features": extract.name, "seconds": seconds}
    found.out.mkdir(parents=True, exist_ok=True)
    (found.out / "priors.json").write_text(json.dumps({"protocol": protocol, "rows": lines}, indent=2) + "\n")
    draw(shown, found.out / "priors.png")
    print(f"\n{seconds:.0f} s, {torch.get_num_threads()} thread(s), torch {torch.__version__} -> {found.out}")


def rows(train: np.ndarray, test: np.ndarray, epochs: int, drawn: int) -> Iterator[Row]:
    """The rows of the table, from the floor on."""
    yield Row("", "training images (the floor)", train[np.random.default_rng(0).permutation(len(train))[:drawn]])
    for name, variant in NETWORKS.items():
        model = diabolo.train(
            train,
            model=variant,
            latent_dim=LATENT,
            **{**CONV, "epochs": epochs, "batch_size": 256, "validation": 0.02, "test": 0.0, "seed": 0},
        )
        yield Row(name, "of the test images (reconstructions)", model.reconstruct(test))
        noise = np.random.default_rng(1).standard_normal((drawn, LATENT))
        own = "N(0, I), its own prior" if model.has_prior else "N(0, I)"
        priors = {kind: model.fit_prior(kind, seed=0) for kind in FITTED}
        yield Row(name, own, model.decode(noise), priors["gaussian"].info["held_out_standard_normal"])
        if not model.has_prior:
            codes = training_codes(model)
            yield Row(name, "N(m, s^2) in each dimension", model.decode(codes.mean(0) + codes.std(0) * noise))
        for kind, prior in priors.items():
            yield Row(name, kind, model.decode(prior.sample(drawn, seed=1)), prior.info["held_out"])


def training_codes(model: Autoencoder) -> np.ndarray:
    """The codes of the images that were trained on, (n, d)."""
    array, indices = model.trained_on or (np.empty(0), np.empty(0, np.int64))
    return model.encode(array[indices])


def bytes_of(images: np.ndarray) -> np.ndarray:
    """Images as uint8."""
    return images if images.dtype == np.uint8 else np.round(255 * images).astype(np.uint8)


def draw(shown: list[tuple[str, Any]], path: Path) -> None:
    """One row of images for each, its name beside it."""
    look = look_of("light")
    grid = draw_grid(np.concatenate([images for _, images in shown]), "HW", COLUMNS, look, inches=0.5)
    label_rows(grid, [name for name, _ in shown])
    save(finish(grid, look), path)


if __name__ == "__main__":
    main()
