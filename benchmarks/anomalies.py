"""Anomaly detection: areas under the ROC curve, beside an isolation forest, PCA and PyOD's autoencoder.

    DIABOLO_DATA_DIR=... python benchmarks/anomalies.py [--quick] [--json FILE]

Four tasks, each with a normal kind that is trained on, and a test set of which the abnormal part was never seen:

- one digit of MNIST (its training images) against the other nine, on all 10,000 test images, for all ten digits;
- all digits but the 1 (20,000 training images) against the 1, on all test images;
- faces against digits: 5,000 SMILEs faces, scaled from 64 x 64 to 28 x 28; tested on the other 1,527 and 1,527 digits;
- digits against faces: the first 10,000 training digits; tested on the same.

Everything is at its defaults, and nothing is tuned for a task: scikit-learn's IsolationForest and PyOD's AutoEncoder
(random_state 0); the squared error of PCA with the components that keep 90% or 95% of the variance; diabolo's default
network (mlp, 16 numbers, 20 epochs, seed 0) as a plain autoencoder and as a VAE; `likelihood` with 32 codes for each;
`surprise` is the sum of the heat map, which leaves out what a grey value costs at its best (its own entropy).

An interval is 95% over the choice of test images: DeLong et al. 1988 (https://doi.org/10.2307/2531595) for a single
area, a bootstrap within each digit for the mean over the ten. One training seed: how areas vary from training to
training is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pinned import MLP
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

import diabolo

DRAWS = 32
RESAMPLES = 200


class Task(NamedTuple):
    """What is normal, and a test set with what is not."""

    name: str
    train: np.ndarray  # (n, 28, 28), uint8
    test: np.ndarray
    abnormal: np.ndarray  # (m,), bool


def main() -> None:
    """Prints the tables as Markdown, and writes all the numbers as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two digits, two epochs: to see that it runs")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    found = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    epochs = 2 if found.quick else 20
    begun = time.monotonic()
    digits = range(2) if found.quick else range(10)
    mnist = diabolo.open_dataset("mnist")
    test, train = mnist.official_test, np.setdiff1d(np.arange(len(mnist)), mnist.official_test)
    labels = mnist.y[test]
    scores: dict[str, list[np.ndarray]] = {}
    rows = []
    for digit in digits:
        own = train[mnist.y[train] == digit]
        task = Task(f"{digit} against the rest", mnist.x[own], mnist.x[test], labels != digit)
        found_scores = score_all(task, epochs)
        for name, values in found_scores.items():
            scores.setdefault(name, []).append(values)
        rows.append(row_of(task, found_scores))
    means = mean_row(scores, [labels != digit for digit in digits], labels)
    show([means, *rows])
    others = [row_of(task, score_all(task, epochs)) for task in other_tasks(mnist, train, test)]
    show(others)
    print(f"{time.monotonic() - begun:.0f} seconds on {torch.get_num_threads()} thread(s).")
    if found.json:
        found.json.write_text(json.dumps({"mean": means, "digits": rows, "others": others}, indent=2) + "\n")


def other_tasks(mnist: diabolo.Dataset, train: np.ndarray, test: np.ndarray) -> list[Task]:
    """All but one digit; faces against digits; digits against faces."""
    kept = train[mnist.y[train] != 1][:20_000]
    faces = diabolo.open_dataset(f"{os.environ['DIABOLO_DATA_DIR']}/smiles", size=28, colour=False).x
    order = np.random.default_rng(0).permutation(len(faces))
    seen, unseen = faces[order[:5000]], faces[order[5000:]]
    drawn = mnist.x[test[: len(unseen)]]
    both = np.concatenate([unseen, drawn])
    is_digit = np.arange(len(both)) >= len(unseen)
    return [
        Task("all but 1, against 1", mnist.x[kept], mnist.x[test], mnist.y[test] == 1),
        Task("faces against digits", seen, both, is_digit),
        Task("digits against faces", mnist.x[train[:10_000]], both, ~is_digit),
    ]


def score_all(task: Task, epochs: int) -> dict[str, np.ndarray]:
    """Every method's scores of a task's test set; the higher, the stranger."""
    train, test = flat(task.train), flat(task.test)
    forest = IsolationForest(random_state=0).fit(train)
    scores = {"isolation forest": -forest.score_samples(test)}
    for share in (0.90, 0.95):
        pca = PCA(share, svd_solver="full").fit(train)
        error = np.square(pca.inverse_transform(pca.transform(test)) - test).sum(1)
        scores[f"PCA, {share:.0%}"] = error
    scores["PyOD AutoEncoder"] = pyod_scores(train, test)
    plain = diabolo.train(task.train, model="autoencoder", epochs=epochs, test=0.0, seed=0, **MLP)
    scores["autoencoder, reconstruction"] = plain.score(task.test)
    scores["autoencoder, surprise"] = plain.surprise(task.test).sum((1, 2))
    vae = diabolo.train(task.train, model="vae", epochs=epochs, test=0.0, seed=0, **MLP)
    scores["VAE, elbo"] = vae.score(task.test, kind="elbo")
    scores["VAE, likelihood"] = vae.score(task.test, kind="likelihood", draws=DRAWS)
    scores["VAE, surprise"] = vae.surprise(task.test).sum((1, 2))
    scores["VAE, latent"] = vae.score(task.test, kind="latent")
    return scores


def pyod_scores(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """PyOD's autoencoder at its defaults."""
    from pyod.models.auto_encoder import AutoEncoder

    return np.asarray(AutoEncoder(random_state=0, verbose=0).fit(train).decision_function(test))


def flat(x: np.ndarray) -> np.ndarray:
    """Images as rows of floats in [0, 1]."""
    return x.reshape(len(x), -1).astype(np.float32) / 255


def area(scores: np.ndarray, abnormal: np.ndarray) -> float:
    """The area under the ROC curve: the chance that an anomaly scores above a normal example (a tie is half)."""
    ranks = rankdata(scores)[abnormal]
    return float((ranks.sum() - len(ranks) * (len(ranks) + 1) / 2) / (len(ranks) * (~abnormal).sum()))


def delong(scores: np.ndarray, abnormal: np.ndarray) -> float:
    """Half of the area's 95% interval by DeLong et al. 1988, from the placements of each kind among the other."""
    high, low, ranks = scores[abnormal], scores[~abnormal], rankdata(scores)
    above = (ranks[abnormal] - rankdata(high)) / len(low)
    below = 1 - (ranks[~abnormal] - rankdata(low)) / len(high)
    return float(1.96 * np.sqrt(above.var(ddof=1) / len(high) + below.var(ddof=1) / len(low)))


def row_of(task: Task, scores: dict[str, np.ndarray]) -> dict[str, object]:
    """A task's areas, with half of their intervals, and the mean score of each kind."""
    return {
        "task": task.name,
        "areas": {name: area(values, task.abnormal) for name, values in scores.items()},
        "halves": {name: delong(values, task.abnormal) for name, values in scores.items()},
        "normal": {name: float(values[~task.abnormal].mean()) for name, values in scores.items()},
        "abnormal": {name: float(values[task.abnormal].mean()) for name, values in scores.items()},
    }


def mean_row(scores: dict[str, list[np.ndarray]], abnormal: list[np.ndarray], labels: np.ndarray) -> dict[str, object]:
    """The mean over the digits, and half of its interval from test images that are drawn again within each digit."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(labels == digit) for digit in range(10)]
    drawn = [np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(RESAMPLES)]
    areas, halves = {}, {}
    for name, tasks in scores.items():
        areas[name] = float(np.mean([area(values, mask) for values, mask in zip(tasks, abnormal, strict=True)]))
        again = [
            np.mean([area(values[chosen], mask[chosen]) for values, mask in zip(tasks, abnormal, strict=True)])
            for chosen in drawn
        ]
        halves[name] = float((np.quantile(again, 0.975) - np.quantile(again, 0.025)) / 2)
    return {"task": f"mean of {len(abnormal)} digits", "areas": areas, "halves": halves}


def show(rows: list[dict[str, object]]) -> None:
    """Rows as a Markdown table, one column for each task's method."""
    names = list(rows[0]["areas"])
    print("| task | " + " | ".join(names) + " |")
    print("| --- |" + " --- |" * len(names))
    for row in rows:
        best = max(row["areas"].values())
        cells = []
        for name in names:
            value = f"{100 * row['areas'][name]:.1f}"
            cells.append(f"{f'**{value}**' if row['areas'][name] == best else value} ± {100 * row['halves'][name]:.1f}")
        print(f"| {row['task']} | " + " | ".join(cells) + " |")
    print(flush=True)


if __name__ == "__main__":
    main()
