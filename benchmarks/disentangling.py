"""Disentangling: variants with a Gaussian code and a prior, under one network, beside published numbers.

    python benchmarks/disentangling.py --out DIR [--rows vae,beta] [--epochs 30] [--seeds 0,1] [--threads 1] [--update]
    python benchmarks/disentangling.py --out DIR --shapes [--rows vae,tc] [--epochs 20] [--seeds 0,1,2] [--update]

The first table repeats the five losses of https://github.com/YannDubs/disentangling-vae (results/*_mnist): MNIST,
60,000 images scaled to 32 x 32 bilinearly, the cross-entropy of grey values; three convolutions of 32 filters of 4 x 4
and stride 2, two layers of 256, a code of 10 and back; He's initial weights; Adam at 5e-4, batches of 64, penalties
that rise over 10,000 steps. The two numbers are averages over the steps of the last epoch, as the model trains
(theirs: over every 50th step, of one seed: their logs scatter by some 1.5 nats from epoch to epoch). Where it differs:
`factor` trains the VAE on all 128 examples of a batch, and theirs on one half of it.

Mutual information is that of Hoffman & Johnson 2016 over 5,000 test images, at most log 5,000 = 8.52 nats. Total
correlation is that of the Gaussian with the covariance of the drawn codes, as in Locatello et al. 2019
(https://arxiv.org/abs/1811.12359): it sees linear dependence alone, and is not the estimate that `tc` trains on.

The second table is of `shapes`: 30,000 sprites at 32 x 32 pixels, 20 epochs by default, the same network, rate and
batches for all, penalties that rise over the first half, and a critic of 3 layers of 256. The measures are of the
posterior's means of 10,000 sprites that were not trained on.

Rows are those with published settings, and every other variant of the registry whose code is Gaussian and has a prior,
as it is by default. DIR keeps the runs: the same command goes on where it was stopped. --update writes the rows into
the table of docs/results.md, with all that DIR has, at any number of epochs; others stay. A run of more epochs goes on
from one of fewer.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kept import numbers, options, trained, written

import diabolo
from diabolo.config import parameters
from diabolo.metrics import measure_model
from diabolo.models.objectives import objectives
from diabolo.runs import open_data, resume

TRAINING = 60_000
RAMP = 10_000  # steps
SPRITES = "shapes-40000"
ON_MNIST = ("lr", "batch_size", "critic_widths", "critic_pace")  # settings of rows that are for the first table alone
FACTORS = {
    "mig": "MIG",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "completeness",
    "dci_informativeness": "informativeness",
    "sap": "SAP",
    "factor_vae": "FactorVAE score",
}


class Row(NamedTuple):
    """A row with published numbers.

    Attributes:
        title: what it is called.
        variant: its name.
        settings: of the variant and of training.
        published: epoch -> -log p(x | z) and KL.
        ramp: the steps over which its penalty rises.
    """

    title: str
    variant: str
    settings: dict[str, Any]
    published: dict[int, tuple[float, float]]
    ramp: int = RAMP


ROWS = {
    "vae": Row("`vae`", "vae", {}, {10: (128.20, 20.00), 30: (122.65, 19.11)}),
    "beta": Row("`vae`, beta 4", "vae", {"beta": 4.0}, {10: (145.97, 11.30), 30: (143.51, 10.32)}),
    "capacity": Row(
        "`capacity`, 25 nats, gamma 100",
        "capacity",
        {"gamma": 100.0, "capacity": 25.0, "lr": 1e-3},
        {10: (225.94, 2.23), 30: (203.28, 6.94)},
        100_000,
    ),
    "tc-published": Row(
        "`tc`, beta 6, with their weights",
        "published_tc:PublishedTC",
        {"beta": 6.0},
        {10: (159.50, 8.27), 30: (152.00, 8.43)},
    ),
    "tc": Row("`tc`, beta 6", "tc", {"beta": 6.0}, {}),
    "factor": Row(
        "`factor`, gamma 6",
        "factor",
        {"gamma": 6.0, "critic_widths": (1000,) * 6, "critic_pace": 0.5, "lr": 1e-4, "batch_size": 128},
        {5: (150.36, 16.57), 10: (145.40, 17.05), 30: (140.74, 17.50)},
    ),
}


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--rows", default="all", help="names of the rows, or all")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--shapes", action="store_true", help="on sprites, against their known factors")
    parser.add_argument("--only-there", action="store_true", help="train nothing: the table of what DIR has")
    found = parser.parse_args()
    found.epochs = found.epochs or (20 if found.shapes else 30)
    names = every_row() if found.rows == "all" else found.rows.split(",")
    if not found.only_there:
        for name in names:
            for seed in map(int, found.seeds.split(",")):
                measured(name, seed, found)
    rows = there(names, found)
    table = "\n".join(page_of_factors(rows) if found.shapes else page(rows))
    print(table)
    if found.update:
        written("disentangling-shapes" if found.shapes else "disentangling", table, keys=[0, 9 if found.shapes else 7])


def there(names: list[str], found: argparse.Namespace) -> list[tuple[str, list[dict[str, Any]]]]:
    """What DIR has of rows, at any number of epochs: their names, and the numbers of each seed."""
    rows: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for name in names:
        folder = re.compile(rf"{r'shapes-[0-9]+-' if found.shapes else ''}{name}-[0-9]+")
        for file in sorted(found.out.glob("*/numbers-*.json")):
            if folder.fullmatch(file.parent.name):
                one = json.loads(file.read_text(encoding="utf-8"))
                rows.setdefault((name, one["epochs"]), []).append(one)
    return [(name, rows[name, epochs]) for name, epochs in rows]


def every_row() -> list[str]:
    """Those with published settings, and the registry's other variants of the kind."""
    others = [name for name in objectives if is_gaussian(name) and name not in {row.variant for row in ROWS.values()}]
    return [*ROWS, *others]


def is_gaussian(name: str) -> bool:
    """Whether a variant's code is Gaussian and has a prior."""
    return objectives[name].posterior_family.kind == "gaussian" and objectives.create(name).prior() is not None


def measured(name: str, seed: int, found: argparse.Namespace) -> dict[str, Any]:
    """The numbers of a row, from its folder where they are there."""
    data = f"shapes-{found.epochs}-" if found.shapes else ""  # where warm-ups depend on the epochs
    folder = found.out / f"{data}{name}-{seed}"
    return numbers(folder / f"numbers-{found.epochs}.json", lambda: measure(name, seed, folder, found))


def measure(name: str, seed: int, folder: Path, found: argparse.Namespace) -> dict[str, Any]:
    """Trains what is not there yet, and measures it."""
    model = of_row(name, seed, folder, found)
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    last = next(line for line in lines if line["kind"] == "epoch" and line["epoch"] == found.epochs)
    row: dict[str, Any] = {key: last["train"].get(key) for key in ("reconstruction", "kl")}
    row |= {"epochs": last["epoch"], "seconds": sum(line["seconds"] for line in lines if line["epoch"] <= found.epochs)}
    if model.info["result"]["epochs"] > found.epochs:
        return row  # the weights are those of later epochs
    data, split = open_data(model)
    x = np.asarray(data.x[split.test])
    row["correlation"] = gaussian_correlation(model.encode(x, sample=True, seed=0))
    card = measure_model(model, x, metrics=["mutual_information"])
    row |= {item.name: item.estimate.value for item in card.measurements}
    if data.factors is not None:
        card = measure_model(model, x, factors=data.factors[split.test], metrics=["factors"])
        row |= {item.name: item.estimate.value for item in card.measurements}
    return row


def gaussian_correlation(codes: np.ndarray) -> float:
    """The total correlation of the Gaussian with the covariance of codes, (n, d), in nats."""
    return float(-0.5 * np.linalg.slogdet(np.corrcoef(codes.T))[1])


def of_row(name: str, seed: int, folder: Path, found: argparse.Namespace) -> diabolo.Autoencoder:
    """The model of a row."""
    row = ROWS.get(name, Row(name, name, {}, {}))
    own = {key: value for key, value in row.settings.items() if not (found.shapes and key in ON_MNIST)}
    settings: dict[str, Any] = {"lr": 5e-4, "batch_size": 64, **own}
    if name in ROWS or "warmup" in {option.name for option in parameters(objectives[name])}:
        settings["warmup"] = found.epochs / 2 if found.shapes else row.ramp / -(-TRAINING // settings["batch_size"])
    if found.shapes:
        settings |= {"test": 0.25, "binarize": "none"}
    model = trained(
        folder,
        SPRITES if found.shapes else "mnist",
        trust=("published_tc",),
        model=row.variant,
        size=(32, 32),
        likelihood="bernoulli",
        latent_dim=10,
        network="conv",
        channels=(32, 32, 32),
        kernel=4,
        enlarge="transposed",
        hidden=(256, 256),
        init="he-uniform",
        start="random",
        epochs=found.epochs,
        lr_warmup=0.0,
        schedule="constant",
        ema=0.0,
        augment="none",
        keep="last",
        validation=0.0,
        seed=seed,
        threads=found.threads,
        **settings,
    )
    if model.info["result"]["epochs"] < found.epochs:  # the rate is constant: a longer run is one that goes on
        model = resume(folder, epochs=found.epochs, trust=("published_tc",)).go()
    return model


def page(rows: list[tuple[str, list[dict[str, Any]]]]) -> list[str]:
    """The lines of the first table."""
    lines = [
        "| variant | -log p(x given z) | published | KL | published | information | total correlation | epochs | seeds "
        "| s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in rows:
        row = ROWS.get(name)
        published = row.published.get(found[0]["epochs"]) if row else None
        texts = [f"{value:.2f}" for value in published] if published else ["", ""]
        cells = [spread(found, "reconstruction"), texts[0], spread(found, "kl"), texts[1]]
        cells += [spread(found, "mutual_information"), spread(found, "correlation"), found[0]["epochs"], len(found)]
        seconds = np.mean([one["seconds"] for one in found])
        lines.append(f"| {title_of(name)} | {' | '.join(map(str, cells))} | {seconds:.0f} |")
    return lines


def title_of(name: str) -> str:
    """What a row is called; a variant stands between backticks, by which its own page finds it."""
    return ROWS[name].title if name in ROWS else f"`{name}`"


def page_of_factors(rows: list[tuple[str, list[dict[str, Any]]]]) -> list[str]:
    """The lines of the second table."""
    lines = [
        f"| variant | -log p(x given z) | KL | {' | '.join(FACTORS.values())} | epochs | seeds |",
        f"| --- | ---: | ---: |{' ---: |' * len(FACTORS)} ---: | ---: |",
    ]
    for name, found in rows:
        cells = [spread(found, key) for key in ("reconstruction", "kl", *FACTORS)]
        lines.append(f"| {title_of(name)} | {' | '.join(cells)} | {found[0]['epochs']} | {len(found)} |")
    return lines


def spread(found: list[dict[str, Any]], key: str) -> str:
    """The mean over seeds and its standard error; a single seed has none."""
    values = np.array([one[key] for one in found if one.get(key) is not None])
    if not len(values):
        return ""
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{error}"


if __name__ == "__main__":
    main()
