"""Sparse dictionaries where the true one is known: every variant whose codes may be larger than its examples.

    python benchmarks/sparse.py --out DIR [--world small] [--names topk,jumprelu] [--seeds 0,1,2] [--update]

The world has features in trees, as SynthSAEBench (Chanin, Garriga-Alonso 2026, https://arxiv.org/abs/2602.14687): a
feature may be active where its parent is, and of the children of one parent one at most is; a child grows with its
parent; roots are active by Zipf's law. An example is the sum of the directions of its active features.
`small`: 256 features in 64 dimensions, 32 trees of depth 1, 4.2 features active on average; 200,000 examples.
`large`, for a GPU: 16,384 features in 768 dimensions, 4,096 units, k = 25, lr 3e-4, batches of 1,024, 200 M examples in
all (2 M, drawn by this file, 100 times over), in the manner of SynthSAEBench. It has 25 features active on average, 22
of them among the 4,096 most frequent (there: 34 and 25), and neither low-rank correlations nor steps that make
directions more orthogonal: the published numbers stand beside, and are of another world.

All have --network dictionary, the same units, rate and examples. The weights of l1 and l0 are chosen by halving, so
that as many units are active as topk has (within 5%), on other examples than those that are measured.
F1 and MCC: see `diabolo.metrics.compare_dictionaries`. --update writes the table of the small world into
docs/results.md.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kept import numbers, options, trained, written

import diabolo
from diabolo.config import parameters
from diabolo.metrics import compare_dictionaries, explained_variance
from diabolo.models.objectives import objectives

HELD_OUT = 20_000  # examples to measure on
RUNGS = 5  # halvings, at most
CLOSE = 0.05


class World(NamedTuple):
    """A world of known features, and how dictionaries of it are trained."""

    features: int
    values: int
    roots: int
    branches: int
    depth: int
    most: float  # the chance that the most frequent root is active
    child: float  # that one of the children is, where their parent is
    examples: int
    units: int
    k: int
    epochs: int
    lr: float
    batch: int
    device: str


WORLDS = {
    "small": World(256, 64, 32, 7, 1, 0.25, 0.7, 200_000, 256, 4, 12, 2e-3, 256, "cpu"),
    "large": World(16_384, 768, 128, 4, 3, 0.4, 0.7, 2_000_000, 4_096, 25, 100, 3e-4, 1_024, "cuda"),
}
PUBLISHED = {  # SynthSAEBench, L0 = 25: F1, MCC, variance explained
    "topk, batch": ".7316 / .7574 / .7923", "jumprelu": ".7317 / .7527 / .7951",
    "matryoshka": ".8793 / .7927 / .7792", "sparse": ".5562 / .6039 / .7654",
}  # fmt: skip
REVIVED: dict[str, Any] = {"auxiliary": 1.0, "dead": 200}  # as in sae-lens; and steps, of 9,000
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {  # variant -> row -> options; others are taken as they come
    "topk": {"topk, example": REVIVED, "topk, batch": {"scope": "batch", **REVIVED}},
    "matryoshka": {"matryoshka": REVIVED},
    "jumprelu": {"jumprelu": {"warmup": 2.0}},
    "sparse": {"sparse": {"code_activation": "relu"}},
}
TUNED = {"jumprelu": ("l0", 0.12), "sparse": ("l1", 0.8)}  # the weight that decides how many units are active


def main() -> None:
    """Trains what is not there yet, measures, and prints the table."""
    parser = options(__doc__)
    parser.add_argument("--world", choices=list(WORLDS), default="small")
    parser.add_argument("--names", default=",".join(name for name in objectives if is_suited(name)))
    parser.add_argument("--seeds", default="0")
    found = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in map(int, found.seeds.split(",")):
        made = None
        for name in found.names.split(","):
            for row, settings in SETTINGS.get(name, {name: {}}).items():
                file = found.out / f"{found.world}-{row.replace(', ', '-')}-{seed}.json"
                if not file.exists() and made is None:
                    made = drawn(WORLDS[found.world], seed, found.out / f"{found.world}-{seed}")
                measured = numbers(file, lambda: measure(name, row, settings, made, found, seed))  # noqa: B023 (called now)
                rows.setdefault(row, []).append(measured)
    table = "\n".join(page(rows, found.world))
    print(table)
    if found.update:
        written("sparse", table)


def is_suited(name: str) -> bool:
    """Whether codes of a variant may be larger than examples, and are numbers."""
    variant = objectives[name]
    return variant.overcomplete and variant.posterior_family.kind != "index"


# --- the world --------------------------------------------------------------------------------------------------------


def drawn(world: World, seed: int, folder: Path) -> dict[str, Any]:
    """The directions, the examples, which lie on the disk, and those to measure on with their features."""
    rng = np.random.default_rng([seed, 7])
    truth = rng.standard_normal((world.features, world.values)).astype(np.float32)
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "examples.npy"
    if not file.exists():
        x = np.lib.format.open_memmap(folder / "unfinished.npy", "w+", np.float32, (world.examples, world.values))
        for start in range(0, len(x), 10_000):
            part = x[start : start + 10_000]
            part[:] = active(world, len(part), rng) @ truth
        del x
        (folder / "unfinished.npy").rename(file)
    held_out = active(world, HELD_OUT, np.random.default_rng([seed, 8]))
    return {"world": world, "truth": truth, "file": file, "x": held_out @ truth, "factors": held_out}


def active(world: World, count: int, rng: np.random.Generator) -> np.ndarray:
    """The activations of features, (count, features) float32: roots first, then their children, and theirs."""
    factors = np.zeros((count, world.features), np.float32)
    chances = np.maximum(world.most / np.sqrt(np.arange(1, world.roots + 1)), 5e-4)
    rows, parents = np.nonzero(rng.random((count, world.roots)) < chances)
    strengths = np.maximum(rng.normal(1, 0.15, len(rows)), 0.1)
    factors[rows, parents] = strengths
    start, size = world.roots, world.roots
    for _ in range(world.depth):
        goes_on = rng.random(len(rows)) < world.child
        rows, parents, strengths = rows[goes_on], parents[goes_on], strengths[goes_on]
        children = parents * world.branches + rng.integers(0, world.branches, len(rows))  # one of them, if any
        strengths = strengths * np.maximum(rng.normal(1, 0.15, len(rows)), 0.1)
        factors[rows, start + children] = strengths
        start, size, parents = start + size * world.branches, size * world.branches, children
    if start < world.features:  # those that are in no tree
        chances = np.maximum(0.02 / np.sqrt(np.arange(1, world.features - start + 1)), 5e-4)
        others = rng.random((count, world.features - start), dtype=np.float32) < chances
        factors[:, start:] = others * np.maximum(rng.normal(1, 0.15, others.shape), 0.1)
    return factors


# --- models -----------------------------------------------------------------------------------------------------------


def measure(
    name: str, row: str, settings: dict[str, Any], made: Any, found: argparse.Namespace, seed: int
) -> dict[str, Any]:
    """Trains a model, with the weight that leaves as many units active as are asked for, and measures it."""
    world: World = made["world"]
    if name not in TUNED and "k" in {item.name for item in parameters(objectives[name])}:
        return scores(of(name, {**settings, "k": world.k}, found, seed, made, row), made)
    if name not in TUNED:
        return scores(of(name, settings, found, seed, made, row), made)
    option, weight = TUNED[name]
    low, high, best = 0.0, 0.0, None
    for _ in range(RUNGS):
        model = of(name, {**settings, option: weight}, found, seed, made, f"{row}-{weight:.4g}")
        used = float(np.count_nonzero(model.encode(np.load(made["file"], mmap_mode="r")[:HELD_OUT])) / HELD_OUT)
        print(f"{row}: {option} {weight:.4g}, {used:.2f} units", flush=True)
        if best is None or abs(used - world.k) < best[0]:
            best = abs(used - world.k), weight, scores(model, made)
        if best[0] <= CLOSE * world.k:
            break
        low, high = (weight, high) if used > world.k else (low, weight)
        weight = 2 * weight if not high else high / 2 if not low else (low * high) ** 0.5
    assert best is not None
    return {**best[2], "weight": best[1]}


def of(
    name: str, settings: dict[str, Any], found: argparse.Namespace, seed: int, made: Any, label: str
) -> diabolo.Autoencoder:
    """A trained model, from its folder where it is there."""
    world: World = made["world"]
    folder = found.out / f"{found.world}-{seed}" / label.replace(", ", "-")
    return trained(
        folder, str(made["file"]), model=name, network="dictionary", latent_dim=world.units, likelihood="gaussian",
        variance=0.5, scaling="none", batch_size=world.batch, epochs=world.epochs, lr=world.lr, validation=0.01,
        test=0.0, keep="last", ema=0.0, seed=seed, device=world.device, threads=found.threads, precision="float32",
        compile="off", pictures=(), **settings,
    )  # fmt: skip


def scores(model: diabolo.Autoencoder, made: Any) -> dict[str, Any]:
    """What is known of a model, on examples that it was not trained on."""
    codes = model.encode(made["x"])
    directions: Any = model.model.decoder.directions.detach().cpu().numpy()  # type: ignore[union-attr]
    found = compare_dictionaries(codes, made["factors"], directions, made["truth"])
    return {
        "f1": found.f1,
        "mcc": found.mcc,
        "l0": float(np.count_nonzero(codes) / len(codes)),
        "explained": explained_variance(made["x"], model.decode(codes)),
        "dead": int((codes == 0).all(0).sum()),
        "seconds": model.info["result"]["seconds"],
        "true": float((made["factors"] > 0).sum(1).mean()),
    }


def page(rows: dict[str, list[dict[str, Any]]], world: str) -> list[str]:
    """The table's lines, best F1 first."""
    lines = [
        "| variant | F1 | MCC | active units | variance explained | dead units | s | published (SynthSAEBench) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]

    def text(found: list[dict[str, Any]], name: str, digits: int) -> str:
        values = [one[name] for one in found]
        error = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{error}"

    for row, found in sorted(rows.items(), key=lambda pair: -statistics.mean(one["f1"] for one in pair[1])):
        weight = f" ({TUNED[row][0]} {found[0]['weight']:.3g})" if "weight" in found[0] else ""
        columns = {"f1": 3, "mcc": 3, "l0": 2, "explained": 3, "dead": 0, "seconds": 0}
        parts = (text(found, name, digits) for name, digits in columns.items())
        name, comma, how = row.partition(",")
        lines.append(f"| `{name}`{comma}{how}{weight} | {' | '.join(parts)} | {PUBLISHED.get(row, '')} |")
    first = next(iter(rows.values()))
    lines += ["", f"World: {world}, {text(first, 'true', 2)} features active; {len(first)} seed(s)."]
    return lines


if __name__ == "__main__":
    main()
