"""Codes of tokens: rate against distortion, of every variant that has tokens, beside k-means and PCA.

    python benchmarks/quantisers.py --out DIR [--sets mnist,cifar-part] [--epochs N] [--update]

MNIST (60,000 images to train on, 10,000 to test) and 4,000 photographs of 32 x 32 (`cifar10-part/train` of
DIABOLO_DATA_DIR, split as `train` splits them). An mlp of 400 units, eight tokens of 256 entries at most, 64 bits; what
is not said is at its default. A variant of the registry whose codes are tokens shows up by itself, at its defaults.

Distortion is the mean squared error of test images, pixels in [0, 1]. Rate is the entropy of the tokens of test images,
each position by itself, in bits: what an ideal code of them would take. Usage is how many entries they use, of those of
all codebooks.

- product k-means: the first 64 principal components (fewer where they are all) in eight groups, each with 256 means.
- scalar PCA: principal components rounded to multiples of one step, each coded by its own entropy on test images; the
  step is searched for until the rate is that of the line.

DIR keeps the runs. --update writes the table into docs/results.md.
"""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
from kept import numbers, options, trained, written

import diabolo
from diabolo.metrics import measure_model
from diabolo.models.objectives import objectives
from diabolo.runs import open_data

POSITIONS, ENTRIES, COMPONENTS = 8, 256, 64
# Settings under which a variant has eight tokens of 256 entries; others are at their defaults.
ROWS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "vq": [
        ("", {"latent_dim": 64, "positions": POSITIONS, "codes": ENTRIES}),
        (", 2 levels of 16", {"latent_dim": 64, "positions": POSITIONS, "codes": 16, "levels": 2}),
    ],
    "fsq": [
        (", levels 8,8,4", {"latent_dim": 24, "levels": (8, 8, 4)}),
        (", signs (lfq)", {"latent_dim": 64, "positions": POSITIONS, "lfq": True}),
    ],
}
SETS = {"mnist": ("MNIST", "mnist"), "cifar-part": ("photographs", "cifar10-part/train")}


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--epochs", type=int, default=0, help="0 leaves them to the data, as the default is")
    parser.add_argument("--seed", type=int, default=0)
    found = parser.parse_args()
    lines = [
        "| data | code | rate, bits | mse | mse of scalar PCA at that rate | usage | parameters | s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in found.sets.split(","):
        rows = [row(name, variant, number, found) for variant, number in runs()]
        model = diabolo.load(found.out / f"{name}-vq-0-{found.seed}")
        file = found.out / f"{name}-without-{found.seed}.json"
        others = numbers(file, functools.partial(baselines, model, rows))
        lines += [line(SETS[name][0], one) for one in zip([*rows, others["means"]], others["scalar"], strict=True)]
    table = "\n".join(lines)
    print(table)
    if found.update:
        written("quantisers", table)


def runs() -> list[tuple[str, int]]:
    """(variant, number of its settings) of all variants whose codes are tokens."""
    found = []
    for name in objectives:
        try:
            model = diabolo.models.build_model(
                diabolo.models.Preprocess(event_shape=(64,), layout="F", scale="none"), model=name, latent_dim=8
            )
        except diabolo.DiaboloError:  # one that wants labels
            continue
        if model.objective.entries:
            found += [(name, number) for number in range(len(ROWS.get(name, [()])))]
    return found


def row(name: str, variant: str, number: int, found: argparse.Namespace) -> dict[str, Any]:
    """The numbers of a variant under some settings."""
    title, settings = ROWS.get(variant, [("", {"latent_dim": 64})])[number]
    folder = found.out / f"{name}-{variant}-{number}-{found.seed}"
    source = SETS[name][1] if name == "mnist" else str(Path(os.environ["DIABOLO_DATA_DIR"]) / SETS[name][1])
    more = {"epochs": found.epochs} if found.epochs else {}
    model = trained(
        folder, source, model=variant, network="mlp", widths=(400,), threads=found.threads, seed=found.seed,
        **settings, **more,
    )  # fmt: skip
    return numbers(folder / "rate.json", functools.partial(measured, model, f"`{variant}`{title}"))


def measured(model: diabolo.Autoencoder, title: str) -> dict[str, Any]:
    """Rate, distortion and usage of a model's tokens on its test images."""
    dataset, split = open_data(model)
    held = dataset.subset(split.test)
    tokens = model.tokens(held)
    error = measure_model(model, held.x, metrics=["mse"])["mse"].estimate.value
    return {
        "title": title, "rate": entropy(tokens.reshape(len(tokens), -1)), "mse": error,
        "used": used(tokens), "of": model.model.objective.entries * tokens.shape[2],
        "parameters": model.model.parameter_count, "seconds": model.info["result"]["seconds"],
    }  # fmt: skip


def entropy(tokens: np.ndarray) -> float:
    """The entropies of the columns of whole numbers, (n, k), added up, in bits."""
    total = 0.0
    for column in tokens.T:
        shares = np.unique(column, return_counts=True)[1] / len(column)
        total -= float((shares * np.log2(shares)).sum())
    return total


def used(tokens: np.ndarray) -> int:
    """How many entries of each level are in use, added up; tokens are (n, positions, levels)."""
    return sum(len(np.unique(tokens[:, :, level])) for level in range(tokens.shape[2]))


def baselines(model: diabolo.Autoencoder, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Product k-means, and the error of PCA with a scalar quantiser at the rate of each row, on the same images."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA

    dataset, split = open_data(model)
    train, test = (
        np.asarray(dataset.x[part], np.float32).reshape(len(part), -1) / 255 for part in (split.train, split.test)
    )
    size = min(train.shape[1], 256)
    pca = PCA(size, random_state=0).fit(train)
    codes, held = pca.transform(train), pca.transform(test)
    rounded, tokens = np.zeros((len(held), COMPONENTS), np.float32), []
    for columns in np.array_split(np.arange(COMPONENTS), POSITIONS):
        group = MiniBatchKMeans(ENTRIES, n_init=1, batch_size=4096, random_state=0).fit(codes[:, columns])
        tokens.append(group.predict(held[:, columns]))
        rounded[:, columns] = group.cluster_centers_[tokens[-1]]
    index = np.stack(tokens, 1)
    means = {
        "title": "product k-means of principal components", "rate": entropy(index),
        "mse": error_of(pca, rounded, test), "used": used(index[:, None]), "of": ENTRIES * POSITIONS,
    }  # fmt: skip
    return {"means": means, "scalar": [scalar(pca, held, test, one["rate"]) for one in [*rows, means]]}


def scalar(pca: Any, held: np.ndarray, test: np.ndarray, rate: float) -> float:
    """The error of PCA whose components are rounded to multiples of a step, with that rate."""
    least, most = 1e-2, 1e3
    for _ in range(40):
        step = (least * most) ** 0.5
        index = np.rint(held / step).astype(np.int64)
        least, most = (step, most) if entropy(index) > rate else (least, step)
    return error_of(pca, np.rint(held / most) * most, test)


def error_of(pca: Any, codes: np.ndarray, test: np.ndarray) -> float:
    """The mean squared error of images whose first components are given, pixels cut to [0, 1]."""
    full = np.zeros((len(codes), pca.n_components_), np.float32)
    full[:, : codes.shape[1]] = codes
    return float(np.square(np.clip(pca.inverse_transform(full), 0, 1) - test).mean())


def line(data: str, pair: tuple[dict[str, Any], float]) -> str:
    """A line of the table."""
    one, error = pair
    usage = f"{one['used']} of {one['of']}" if "used" in one else ""
    cost = f"{one['parameters']:,} | {one['seconds']:.0f}" if "parameters" in one else " | "
    return f"| {data} | {one['title']} | {one['rate']:.1f} | {one['mse']:.5f} | {error:.5f} | {usage} | {cost} |"


if __name__ == "__main__":
    main()
