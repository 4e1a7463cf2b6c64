"""The outlier detector at its defaults, beside scikit-learn's and PyOD's at theirs: areas under the ROC curve.

    python benchmarks/detector.py --out DIR [--only SET,...] [--seeds N] [--kept] [--update]

A set has normal rows and outliers: the class that is named and all others (of breast cancer the benign and the
malignant; `digits-3` are all 3s, and every other digit is an outlier), or 500 points of a toy of scikit-learn's and
points that are uniform in its box, a tenth wider on each side. The normal rows are permuted by the seed and halved:
one half to fit, one to score. To both come outliers, other ones, as a tenth of the rows (in one run of two: to fit come
none, which is novelty detection). Nothing is told which rows are outliers, nothing is scaled beforehand, and no
parameter is given but the seed. An area is in percent; 50 is chance. The table has the mean over seeds, contaminated /
clean, and the means over sets; a method that ends with an error counts as chance there, and its cell says so.

- diabolo: `AutoencoderOutlierDetector(random_state=seed)`; `100 epochs` are all of
  these, with no row held out to stop by.
- scikit-learn: IsolationForest, the mean area of five forests, as one differs from the next by a point or two;
  LocalOutlierFactor(novelty=True).
- PyOD: PCA, VAE and AutoEncoder, in an environment of its own (benchmarks/peers/pyod.txt); left out, with the reason,
  where that cannot be made.

The defaults were chosen on the sets that are marked with a star, and on no others. The signals are those that the
package sktime ships; they are left out where it is not installed. DIR keeps the areas, so that a call that was stopped
goes on where it was. --update writes the table into docs/results.md.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from kept import options, written
from sklearn import datasets
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from timing.environments import PEERS, interpreter

from diabolo.sklearn import AutoencoderOutlierDetector

SHARES = (0.1, 0.0)  # of outliers among the rows that are fitted
SHARE = 0.1  # among those that are scored
POINTS = 500
FORESTS = 5
SIGNALS = {"italy-power": "ItalyPowerDemand", "gun-point": "GunPoint", "arrow-head": "ArrowHead", "osu-leaf": "OSULeaf"}
CHOSEN_ON = (
    *(f"{name}-{label}" for name in ("wine", "iris") for label in range(3)),
    *(f"digits-{digit}" for digit in (0, 1, 2, 3, 8)),
    *("moons", "blob", "blobs-varied", "swiss-roll", "italy-power-1", "arrow-head-0"),
)  # fmt: skip
NAMED = ("breast", "wine", "digits", "moons", "circles", "blob")
OWN: dict[str, Callable[[int], Any]] = {
    "diabolo": lambda seed: AutoencoderOutlierDetector(random_state=seed),
    "100 epochs": lambda seed: AutoencoderOutlierDetector(random_state=seed, epochs=100, validation=0),
    "LOF": lambda _: LocalOutlierFactor(novelty=True),
}
THEIRS = ("PCA", "VAE", "AutoEncoder")


class Task(NamedTuple):
    """Rows to fit, rows to score, and which of these are outliers."""

    train: np.ndarray
    test: np.ndarray
    odd: np.ndarray


def main() -> None:
    """Measures what is not there yet, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--only", default="", help="some sets")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kept", action="store_true", help="measure nothing: the table of what is there")
    found = parser.parse_args()
    torch.set_num_threads(found.threads or int(os.environ.get("OMP_NUM_THREADS", "2")))
    warnings.filterwarnings("ignore")
    logging.getLogger("diabolo").setLevel(logging.ERROR)
    found.out.mkdir(parents=True, exist_ok=True)
    areas: dict[str, dict[float, list[dict[str, Any]]]] = {}
    for name, (normal, odd) in sets().items():
        if found.only and name not in found.only.split(","):
            continue
        results = {
            share: [found.out / f"{name}-{share}-{seed}.json" for seed in range(found.seeds)] for share in SHARES
        }
        missing = {
            file: (task_of(normal, odd, share, seed), seed)
            for share, files in results.items()
            for seed, file in enumerate(files)
            if not file.exists()
        }
        if found.kept and missing:
            continue
        for (file, (task, seed)), theirs in zip(missing.items(), of_pyod([*missing.values()]), strict=True):
            file.write_text(json.dumps(measured(task, seed, theirs)), encoding="utf-8")
        areas[name] = {
            share: [json.loads(file.read_text(encoding="utf-8")) for file in files] for share, files in results.items()
        }
        sys.stderr.write(f"{row(name, areas[name], list(areas[name][SHARE][0]['areas']))}\n")
    table = "\n".join(page(areas))
    print(table)
    if found.update:
        written("detector", table)


def sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> normal rows, outliers."""
    cancer = datasets.load_breast_cancer()
    found = {"breast-cancer": (cancer.data[cancer.target == 1], cancer.data[cancer.target == 0])}
    for name in ("wine", "iris", "digits"):
        bunch = getattr(datasets, f"load_{name}")()
        found |= one_class_each(name, bunch.data, bunch.target)
    for name, points in toys():
        low, high = points.min(0), points.max(0)
        room = 0.1 * (high - low)
        found[name] = (points, np.random.default_rng(0).uniform(low - room, high + room, points.shape))
    for name, folder in SIGNALS.items():
        signals = shipped(folder)
        found |= one_class_each(name, *signals) if signals else {}
    return found


def one_class_each(name: str, x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each class against the others."""
    return {f"{name}-{label}": (x[y == label], x[y != label]) for label in np.unique(y)}


def toys() -> Iterator[tuple[str, np.ndarray]]:
    """Points in two and three dimensions."""
    yield "moons", datasets.make_moons(POINTS, noise=0.05, random_state=0)[0]
    yield "circles", datasets.make_circles(POINTS, noise=0.05, factor=0.5, random_state=0)[0]
    yield "blob", datasets.make_blobs(POINTS, centers=1, cluster_std=0.5, random_state=0)[0]
    yield "blobs", datasets.make_blobs(POINTS, centers=3, random_state=0)[0]
    centers = [[-2, -2], [2, 2]]
    yield "blobs-varied", datasets.make_blobs(POINTS, centers=centers, cluster_std=[1.5, 0.3], random_state=0)[0]
    yield "swiss-roll", datasets.make_swiss_roll(POINTS, noise=0.3, random_state=0)[0]
    yield "s-curve", datasets.make_s_curve(POINTS, noise=0.05, random_state=0)[0]


def shipped(name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The signals of sktime and their classes; None where it is not installed."""
    package = importlib.util.find_spec("sktime")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0], "datasets", "data", name)
    lines = [
        line.rpartition(":")
        for part in ("TRAIN", "TEST")
        for line in (folder / f"{name}_{part}.ts").read_text().split("@data")[1].split()
    ]
    x = np.array([[float(value) for value in values.split(",")] for values, _, _ in lines])
    return x, np.array([label for _, _, label in lines])


def task_of(normal: np.ndarray, odd: np.ndarray, share: float, seed: int) -> Task:
    """Half of the normal rows to fit and half to score, with outliers in both; `share` is that of the rows to fit."""
    rng = np.random.default_rng(seed)
    normal, odd = normal[rng.permutation(len(normal))], odd[rng.permutation(len(odd))]
    half = len(normal) // 2
    count = min(max(1, round(half * SHARE / (1 - SHARE))), len(odd) // 2)
    fitted = count if share else 0
    tested = min(max(1, round((len(normal) - half) * SHARE / (1 - SHARE))), len(odd) // 2)
    train, test = normal[:half], normal[half:]
    return Task(
        np.concatenate([train, odd[:fitted]]),
        np.concatenate([test, odd[fitted : fitted + tested]]),
        np.arange(len(test) + tested) >= len(test),
    )


def measured(task: Task, seed: int, theirs: dict[str, Any]) -> dict[str, Any]:
    """The area of each method, or the reason why it has none, and the seconds of the default's fit.

    Args:
        task: what is fitted and scored.
        seed: of the detectors.
        theirs: the scores of PyOD's.
    """
    found: dict[str, Any] = {"areas": {}, "rows": len(task.train), "columns": task.train.shape[1]}
    for name, make in OWN.items():
        began = time.perf_counter()
        found["areas"][name] = area(task, -make(seed).fit(task.train).score_samples(task.test))
        if name == "diabolo":
            found["seconds"] = time.perf_counter() - began
    forests = [IsolationForest(random_state=FORESTS * seed + one).fit(task.train) for one in range(FORESTS)]
    areas = [area(task, -forest.score_samples(task.test)) for forest in forests]
    found["areas"]["IsolationForest"] = float(np.mean(areas))
    for name, answer in theirs.items():
        found["areas"][f"PyOD {name}"] = area(task, np.array(answer)) if isinstance(answer, list) else answer
    return found


def area(task: Task, scores: np.ndarray) -> float:
    """The area in percent."""
    return 100 * float(roc_auc_score(task.odd, scores))


def of_pyod(tasks: list[tuple[Task, int]]) -> list[dict[str, Any]]:
    """For each task and seed the scores of PyOD's detectors, or why there are none; nothing without its environment."""
    python = pyod()
    if python is None or not tasks:
        return [{} for _ in tasks]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "tasks.npz"
        parts = {f"{part}{n}": getattr(task, part) for n, (task, _) in enumerate(tasks) for part in ("train", "test")}
        np.savez(data, seeds=[seed for _, seed in tasks], **parts)
        command = [str(python), str(PEERS / "outliers_of_pyod.py"), str(data), *THEIRS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own words)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return [dict.fromkeys(THEIRS, last) for _ in tasks]
    answer: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def pyod(state: dict[str, Path | None] = {}) -> Path | None:  # noqa: B006 (asked once)
    """The Python of PyOD's environment; None, said once, where it cannot be made."""
    if "python" not in state:
        try:
            state["python"] = interpreter("pyod")
        except SystemExit as error:
            state["python"] = None
            sys.stderr.write(f"PyOD is left out: {error}\n")
    return state["python"]


def page(areas: dict[str, dict[float, list[dict[str, Any]]]]) -> Iterator[str]:
    """The lines of the table."""
    methods = list(dict.fromkeys(name for one in areas.values() for name in one[SHARE][0]["areas"]))
    yield f"| set | rows x columns | {' | '.join(methods)} | s |"
    yield f"| --- | --- | {' | '.join(['---:'] * len(methods))} | ---: |"
    complete = [name for name in areas if all(fits(areas[name], method) for method in methods)]
    for words, names in (
        ("**all sets**", list(areas)),
        ("**breast cancer, wine, digits, toys in 2-D**", [name for name in areas if name.startswith(NAMED)]),
        ("**not chosen on**", [name for name in areas if name not in CHOSEN_ON]),
        ("**all that every method can fit**", complete),
    ):
        cells = [
            " / ".join(f"{np.mean([mean(areas[name][share], method) for name in names]):.1f}" for share in SHARES)
            for method in methods
        ]
        yield f"| {words} | {len(names)} sets | {' | '.join(cells)} | |"
    for name, results in areas.items():
        yield row(name, results, methods)


def row(name: str, results: dict[float, list[dict[str, Any]]], methods: list[str]) -> str:
    """A set's line."""
    cells = []
    for method in methods:
        value = " / ".join(f"{mean(results[share], method):.1f}" for share in SHARES)
        cells.append(value if fits(results, method) else f"{value}, fails")
    one = results[SHARE][0]
    star = "*" if name in CHOSEN_ON else ""
    seconds = np.median([each["seconds"] for share in SHARES for each in results[share]])
    return f"| {name}{star} | {one['rows']} x {one['columns']} | {' | '.join(cells)} | {seconds:.1f} |"


def mean(results: list[dict[str, Any]], method: str) -> float:
    """The mean area over seeds; chance for each error."""
    values = [one["areas"].get(method) for one in results]
    return float(np.mean([value if isinstance(value, float) else 50.0 for value in values]))


def fits(results: dict[float, list[dict[str, Any]]], method: str) -> bool:
    """Whether a method has an area each time."""
    return all(isinstance(one["areas"].get(method), float) for share in SHARES for one in results[share])


if __name__ == "__main__":
    main()
