"""Photographs as 8 x 8 tokens: a quantised autoencoder beside k-means of patches at the same rate.

    DIABOLO_DATA_DIR=... python benchmarks/vq.py --out DIR [--epochs N] [--picture FILE] [--update]

4,000 photographs of 32 x 32 (`cifar10-part/train`), split as `train` splits them; `vq` with the networks conv and
resnet, `--spatial --latent-dim 16`: a vector of 16 numbers at each of 8 x 8 places, 512 entries, 576 bits at most. All
else is at its default. K-means has 512 entries, too, of patches of 4 x 4 pixels in colour, fitted to those of the same
training photographs. Mean squared errors are of the test split, pixels in [0, 1]; usage, perplexity and bits by the
frequencies of its tokens. The last columns are nats an example of tokens held out, under each token by itself and under
the autoregressive prior that is fitted to those of the training split.

DIR keeps the runs. --picture draws photographs, reconstructions, samples of the prior, and how often entries are used.
--update writes the table into docs/results.md.
"""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from kept import numbers, options, trained, written

import diabolo
from diabolo.metrics import measure_model
from diabolo.runs import open_data

mpl.use("agg")

NETWORKS: dict[str, dict[str, Any]] = {"conv": {}, "resnet": {"patch": 1}}  # the latter's patches would be of 2 x 2
ENTRIES, PATCH, DRAWN = 512, 4, 10


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--epochs", type=int, default=0, help="0 leaves them to the data, as the default is")
    parser.add_argument("--picture", type=Path, default=None)
    found = parser.parse_args()
    names = found.networks.split(",")
    models = {name: of_network(name, found) for name in names}
    rows = [kmeans(models[names[0]])]
    for name, model in models.items():
        rows.append(numbers(found.out / name / "tokens.json", functools.partial(measured, name, model)))
    table = "\n".join(page(rows))
    print(table)
    if found.picture:
        draw(models[names[-1]], found.picture)
    if found.update:
        written("vq", table)


def of_network(name: str, found: argparse.Namespace) -> diabolo.Autoencoder:
    """The model of a network with its prior."""
    folder = found.out / name
    source = str(Path(os.environ["DIABOLO_DATA_DIR"]) / "cifar10-part" / "train")
    model = trained(
        folder, source, model="vq", network=name, spatial=True, latent_dim=16, codes=ENTRIES, threads=found.threads,
        **NETWORKS[name], **({"epochs": found.epochs} if found.epochs else {}),
    )  # fmt: skip
    if model.prior is None:
        dataset, split = open_data(model)
        model.fit_prior("autoregressive", dataset.subset(split.train))
        model.save(folder)
    return model


def measured(name: str, model: diabolo.Autoencoder) -> dict[str, Any]:
    """The row of a model."""
    dataset, split = open_data(model)
    card = measure_model(model, dataset.x[split.test], metrics=["mse", "usage", "perplexity", "token_bits"])
    prior = model.prior
    assert prior is not None
    tokens = model.tokens(dataset.subset(split.test))
    alone = diabolo.models.fit_prior("categorical", model.tokens(dataset.subset(split.train)), entries=ENTRIES)
    row: dict[str, Any] = {one.name: one.estimate.value for one in card.measurements}
    row |= {"title": f"`vq`, {name}", "parameters": model.model.parameter_count}
    row |= {"seconds": model.info["result"]["seconds"], "alone": -float(alone.log_prob(tokens).mean())}
    row |= {"given": -float(prior.log_prob(tokens).mean())}
    return row


def kmeans(model: diabolo.Autoencoder) -> dict[str, Any]:
    """The row of k-means of patches, fitted to the same training photographs."""
    from sklearn.cluster import MiniBatchKMeans

    dataset, split = open_data(model)
    train, test = (patches(np.asarray(dataset.x[part]) / 255) for part in (split.train, split.test))
    means = MiniBatchKMeans(ENTRIES, n_init=3, batch_size=4096, random_state=0).fit(train)
    index = means.predict(test)
    shares = np.bincount(index, minlength=ENTRIES) / len(index)
    entropy = -float((shares * np.log2(np.where(shares > 0, shares, 1))).sum())
    error = float(np.square(test - means.cluster_centers_[index]).mean())
    return {
        "title": "k-means of 4 x 4 patches", "mse": error, "usage": int((shares > 0).sum()), "perplexity": 2**entropy,
        "token_bits": 64 * entropy,
    }  # fmt: skip


def patches(x: np.ndarray) -> np.ndarray:
    """(n, 32, 32, 3) as patches, (n * 64, 48)."""
    n, side = len(x), x.shape[1] // PATCH
    return x.reshape(n, side, PATCH, side, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n * side * side, -1)


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The table's lines."""
    lines = [
        "| | mse | entries in use | perplexity | bits | each by itself, nats | autoregressive | parameters | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        given = [f"{row['alone']:.1f} | {row['given']:.1f}" if "alone" in row else " | "]
        given += [f"{row['parameters']:,} | {row['seconds']:.0f}" if "parameters" in row else " | "]
        lines.append(
            f"| {row['title']} | {row['mse']:.5f} | {row['usage']:.0f} of {ENTRIES} | {row['perplexity']:.0f} | "
            f"{row['token_bits']:.0f} | {' | '.join(given)} |"
        )
    return lines


def draw(model: diabolo.Autoencoder, path: Path) -> None:
    """Ten photographs, their reconstructions, samples of the prior, and how often each entry is used."""
    dataset, split = open_data(model)
    x = np.asarray(dataset.x[split.test[:DRAWN]])
    rows = {"photographs": x / 255, "8 x 8 tokens": model.reconstruct(x), "samples": model.sample(DRAWN, seed=0)}
    figure = plt.figure(figsize=(DRAWN, 5.4), layout="constrained")
    pictures, usage = figure.subfigures(2, 1, height_ratios=(3, 1.6))
    axes = pictures.subplots(len(rows), DRAWN)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.clip(0, 1), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    counts = np.sort(np.bincount(model.tokens(dataset.x[split.test]).ravel(), minlength=ENTRIES))[::-1]
    axis = usage.subplots()
    axis.bar(np.arange(ENTRIES), counts, width=1.0, color="#4c72b0")
    axis.set(xlabel="entries of the codebook, by usage", ylabel="tokens of the test split", xlim=(0, ENTRIES))
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
