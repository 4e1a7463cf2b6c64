"""The likelihood of MNIST under every variant that has a bound, on one network: table T1.

    python benchmarks/likelihood.py --out DIR [--rows vae,iwae-5] [--epochs 300] [--examples 2000] [--update]

The network and the protocol are those of a public repetition of the published comparison (Burda, Grosse, Salakhutdinov
2016, https://arxiv.org/abs/1509.00519), shortened: MNIST, 59,000 images to train on, binarised anew each time, 1,000 to
watch, the published test part binarised once; 784 - tanh 200 - tanh 200 - 100 and back, Glorot's initial weights, the
output's bias at the mean of the data; Adam with eps 1e-4, the weights of the last epoch. Where it differs: batches of
100 and a rate that falls from 1e-3 along a cosine over `--epochs` (published: batches of 20 and 3,280 epochs in 8
stages). Every row has the same epochs: gaps between rows are what compares. One, `vae-full`, is for the record: the
published epochs, stages and rates, all training images but 60, all test images.
-log p(x) is importance-sampled with 5,000 codes an image, on the first `--examples` test images. Of a variant that
takes classes it is -log p(x | y), and 1,000 samples, of all digits in turn, are told apart by a support vector machine
that learned from 10,000 training images; the table's last column says how many have the digit that was asked for.

A variant of the registry that has a prior, and a density of its codes, is a row with its default settings, unless it
has rows of its own in ROWS. DIR keeps the runs: the same command goes on where it was stopped. --update writes the rows
into the table of docs/results.md, where others stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from kept import numbers, options, trained, written

import diabolo
from diabolo.metrics import measure_model
from diabolo.models import Preprocess, Space, build_model
from diabolo.models.objectives import objectives

ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "vae": ("vae", {"model": "vae"}, "86.35"),
    "iwae-5": ("iwae, 5 draws", {"model": "iwae", "draws": 5}, "85.18"),
    "dreg-5": ("iwae, 5 draws, dreg", {"model": "iwae", "draws": 5, "estimator": "dreg"}, "84.90"),
    "conditional": ("conditional: -log p(x given y)", {"model": "conditional", "class_priors": True}, "82.32"),
    "hierarchical": ("hierarchical, 100 + 50", {"model": "hierarchical", "upper": 50, "latent_dim": 150}, "84.83"),
}
STAGES = [3**i for i in range(8)]  # epochs; in each the rate is 10^(-1/7) of that before
FULL: dict[str, Any] = {
    "epochs": sum(STAGES),
    "schedule": "milestones",
    "milestones": tuple(int(end) for end in np.cumsum(STAGES)[:-1]),
    "lr_decay": 10 ** (-1 / 7),
    "validation": 0.001,
}
ROWS["vae-full"] = ("vae, the published schedule", {"model": "vae", **FULL}, "86.35")
SAMPLES = 5_000
DIGITS = tuple(map(str, range(10)))


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--rows", default="")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    found = parser.parse_args()
    rows = [measured(name, found) for name in (found.rows.split(",") if found.rows else all_rows())]
    table = "\n".join(page(rows))
    print(table)
    if found.update:
        written("likelihood", table, keys=[0])


def all_rows() -> list[str]:
    """The rows of ROWS, and a row for each further variant with a bound."""
    shown = {settings["model"] for _, settings, _ in ROWS.values()}
    return [*ROWS, *(name for name in objectives if name not in shown and has_bound(name))]


def has_bound(name: str) -> bool:
    """Whether a variant has, by its defaults, a prior and a density of its codes."""
    flat = Preprocess(event_shape=(28, 28), layout="HW", scale="unit")
    model = build_model(flat, model=name, latent_dim=100, space=Space(classes=DIGITS, examples=60_000))
    return model.objective.posterior_family.density and model.objective.prior() is not None


def measured(name: str, found: argparse.Namespace) -> dict[str, Any]:
    """The numbers of a row's model, from its folder where they are there."""
    settings = ROWS[name][1] if name in ROWS else {}
    if "epochs" in settings:
        found = argparse.Namespace(**{**vars(found), "epochs": settings["epochs"], "examples": 10_000})
    folder = found.out / f"{name}-{found.epochs}-{found.seed}"
    return numbers(folder / f"likelihood-{found.examples}.json", lambda: measure(name, folder, found))


def measure(name: str, folder: Path, found: argparse.Namespace) -> dict[str, Any]:
    """Trains what is not there yet, and measures it."""
    settings = ROWS[name][1] if name in ROWS else {"model": name}
    model = trained(
        folder,
        "mnist",
        binarize="dynamic",
        likelihood="bernoulli",
        network="mlp",
        widths=(200, 200),
        activation="tanh",
        init="glorot",
        start="mean",
        batch_size=100,
        lr=1e-3,
        lr_warmup=0.0,
        eps=1e-4,
        ema=0.0,
        keep="last",
        seed=found.seed,
        threads=found.threads,
        **{"latent_dim": 100, "schedule": "cosine", "validation": 1 / 60, **settings, "epochs": found.epochs},
    )
    data = diabolo.open_dataset("mnist", binarize="static")
    assert data.official_test is not None
    places = data.official_test[: found.examples]
    card = measure_model(
        model,
        np.asarray(data.x[places]),
        labels=None if data.y is None else np.asarray(data.y)[places],
        metrics=["reconstruction", "kl", "elbo", "nll", "active_units"],
        samples=SAMPLES,
        likelihood_examples=found.examples,
    )
    row: dict[str, Any] = {one.name: [one.estimate.value, one.estimate.standard_error] for one in card.measurements}
    row |= {"name": name, "examples": found.examples, "epochs": model.info["result"]["epochs"]}
    row |= {"seconds": model.info["result"]["seconds"], "dimensions": model.latent_dim}
    return row if model.labels == "none" else row | told_apart(model, diabolo.open_dataset("mnist"), places)


def told_apart(model: diabolo.Autoencoder, data: diabolo.datasets.Dataset, test: np.ndarray) -> dict[str, float]:
    """The shares of 1,000 samples that a classifier finds of the class asked for, and of test images that it knows."""
    from sklearn.svm import SVC

    images, y = (np.asarray(data.x).reshape(len(data), -1) / 255, np.asarray(data.y))
    training = np.setdiff1d(np.arange(len(data)), data.official_test)[:10_000]
    classifier = SVC(C=5.0).fit(images[training], y[training])
    asked = np.arange(1_000) % len(data.classes)
    samples = model.sample(1_000, seed=0, y=asked).reshape(1_000, -1)
    right = classifier.predict(images[test]) == y[test]
    return {"of_class": float((classifier.predict(samples) == asked).mean()), "classifier": float(right.mean())}


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The table's lines."""
    lines = [
        "| variant | -log p(x) | published | negative ELBO | KL | active | epochs | images | s | of their class |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        nll, elbo, kl = (f"{row[name][0]:.2f} ± {row[name][1]:.2f}" for name in ("nll", "elbo", "kl"))
        told = f"{row['of_class']:.1%} (of test images {row['classifier']:.1%})" if "of_class" in row else ""
        title, options, published = ROWS.get(row["name"], (row["name"], {"model": row["name"]}, ""))
        title = title.replace(options["model"], f"`{options['model']}`", 1)
        lines.append(
            f"| {title} | {nll} | {published} | {elbo} | {kl} | {row['active_units'][0]:.0f} of {row['dimensions']} | "
            f"{row['epochs']} | {row['examples']} | {row['seconds']:.0f} | {told} |"
        )
    return lines


if __name__ == "__main__":
    main()
