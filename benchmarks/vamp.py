"""A prior that is learned: the likelihood of MNIST under a VAE with the prior N(0, I) and with a VampPrior.

    python benchmarks/vamp.py --out DIR [--priors gaussian,vamp,exemplars] [--epochs 300] [--examples 2000] [--update]

The network and the protocol are those of the exemplar VAE's published comparison (Norouzi, Fleet, Norouzi 2020,
https://arxiv.org/abs/2004.04795, table of priors; Tomczak & Welling 2018, https://arxiv.org/abs/1705.07120), shortened:
MNIST, 50,000 images to train on, binarised anew each time, 10,000 to watch, the published test part binarised once;
784 - gated 300 - gated 300 - 40 and back, He's initial weights, log-variances held in [-6, 2]; Adam, beta from 0 to 1
over the first tenth of the epochs, the epoch of the best validation loss. Where it differs: batches of 200 and a rate
that falls from 1e-3 along a cosine over `--epochs` (300; published: batches of 100 and 5e-4, constant, for up to 2,000
epochs with early stopping), a running average of the weights, pseudo-inputs that start as training images, gradients as
they are (published: normalised).
-log p(x) is importance-sampled with 5,000 codes an image, on the first `--examples` test images.

DIR keeps the runs: the same command goes on where it was stopped. --update writes the table into docs/results.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from kept import numbers, options, trained, written

import diabolo
from diabolo.metrics import measure_model

PRIORS: dict[str, tuple[str, dict[str, Any]]] = {
    "gaussian": ("N(0, I)", {"model": "vae"}),
    "vamp": ("VampPrior, 500 pseudo-inputs", {"model": "vamp", "components": 500}),
    "exemplars": ("500 exemplars", {"model": "vamp", "components": 500, "exemplars": True}),
}
PUBLISHED = {"gaussian": "84.45 ± 0.12", "vamp": "82.43 ± 0.06", "exemplars": "82.09 ± 0.18 (of all 50,000)"}
SAMPLES = 5_000


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--priors", default="gaussian,vamp")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    found = parser.parse_args()
    rows = [measured(name, found) for name in found.priors.split(",")]
    table = "\n".join(page(rows))
    print(table)
    if found.update:
        written("vamp", table)


def measured(name: str, found: argparse.Namespace) -> dict[str, Any]:
    """The numbers of a prior's model, from its folder where they are there."""
    folder = found.out / f"{name}-{found.epochs}-{found.seed}"
    return numbers(folder / f"likelihood-{found.examples}.json", lambda: measure(name, folder, found))


def measure(name: str, folder: Path, found: argparse.Namespace) -> dict[str, Any]:
    """Trains what is not there yet, and measures it."""
    model = of_prior(name, folder, found)
    data = diabolo.open_dataset("mnist", binarize="static")
    assert data.official_test is not None
    test = np.asarray(data.x[data.official_test])
    metrics = ["reconstruction", "kl", "elbo", "nll"]
    card = measure_model(
        model, test[: found.examples], metrics=metrics, samples=SAMPLES, likelihood_examples=found.examples
    )
    row: dict[str, Any] = {one.name: [one.estimate.value, one.estimate.standard_error] for one in card.measurements}
    row |= {"name": name, "examples": found.examples, "epochs": model.info["result"]["epochs"]}
    row |= {"seconds": model.info["result"]["seconds"], "parameters": model.model.parameter_count}
    return row


def of_prior(name: str, folder: Path, found: argparse.Namespace) -> diabolo.Autoencoder:
    """The model of a prior."""
    return trained(
        folder,
        "mnist",
        **PRIORS[name][1],
        binarize="dynamic",
        likelihood="bernoulli",
        network="mlp",
        widths=(300, 300),
        activation="gated",
        init="he",
        start="random",
        latent_dim=40,
        log_variance=(-6.0, 2.0),
        epochs=found.epochs,
        warmup=found.epochs / 10,
        batch_size=200,
        lr=1e-3,
        lr_warmup=0.0,
        schedule="cosine",
        validation=1 / 6,
        seed=found.seed,
        threads=found.threads,
    )


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The table's lines."""
    lines = [
        "| prior | -log p(x) | published | negative ELBO | KL | parameters | epochs | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        nll, elbo, kl = (f"{row[name][0]:.2f} ± {row[name][1]:.2f}" for name in ("nll", "elbo", "kl"))
        title = PRIORS[row["name"]][0]
        lines.append(
            f"| {title} | {nll} | {PUBLISHED[row['name']]} | {elbo} | {kl} | {row['parameters']:,} | {row['epochs']} | "
            f"{row['seconds']:.0f} |"
        )
    return lines


if __name__ == "__main__":
    main()
