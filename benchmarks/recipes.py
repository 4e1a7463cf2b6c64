"""The table of recipes in the README: what each reaches on its test set over several seeds, beside PCA.

    python benchmarks/recipes.py --train runs/recipes --seeds 3            trains what is missing, prints the table
    python benchmarks/recipes.py --train runs/recipes --seeds 3 --update   and writes it into README.md
    python benchmarks/recipes.py --train runs/recipes --only mnist-ae-128  one row

A run that is finished is taken as it is, one that was stopped goes on, so that the same command can be given again.
Rows of README.md that are not measured this time stay as they are.
Everything is computed in float32 without compiled steps, as the texts do, so that a row repeats to its last digit.

A number is the average over seeds, and what follows ± is how far the farthest seed lies from it, where that is more
than the last digit. The error is the mean squared error per pixel of the test images, in [0, 1], rebuilt from the
code's mean. PCA is fitted on the training images. For codes of two or three numbers: the accuracy of a
10-nearest-neighbour classifier on the test codes, fitted on the training codes, and the same on PCA's.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.runs.config import RunConfig, make_run_config
from diabolo.runs.data import open_data
from diabolo.runs.recipes import RECIPES
from diabolo.runs.resuming import resume
from diabolo.storage.files import read_json
from diabolo.training import Settings

README = Path(__file__).parents[1] / "README.md"
MARKS = "<!-- recipes: benchmarks/recipes.py writes what follows -->\n", "<!-- /recipes -->\n"
HEAD = (
    "run", "seeds", "train + test", "test loss, nats", "in the source's units", "mse", "mse of PCA", "k-NN",
    "k-NN on PCA",
)  # fmt: skip
NEIGHBOURS = 10
COMPUTED = {"precision": "float32", "compile": "off"}

# Each row: its name, the recipe, the preset, other options; the quick ones first.
ROWS: list[tuple[str, str, str | None, dict[str, Any]]] = [
    ("fashion-ae", "fashion-ae", None, {}),
    ("fashion-vae", "fashion-vae", None, {}),
    ("mnist-ae-3d", "mnist-ae-3d", None, {}),
    ("mnist-ae-128", "mnist-ae-128", None, {}),
    ("mnist-ae-128-thorough", "mnist-ae-128", "thorough", {}),
    ("mnist-bottleneck", "mnist-bottleneck", None, {}),
    ("mnist-vae-mlp", "mnist-vae-mlp", None, {}),
    ("mnist-ae-3d-thorough", "mnist-ae-3d", "thorough", {}),
    ("mnist-vae-conv-fast", "mnist-vae-conv", "fast", {}),
    ("mnist-vae-conv-fast-listing", "mnist-vae-conv", "fast", {"noise_scale": "variance"}),
    ("mnist-vae-conv", "mnist-vae-conv", None, {}),
    ("mnist-vae-conv-thorough", "mnist-vae-conv", "thorough", {}),
]


def main() -> None:
    """Trains what is missing, prints the table, writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, metavar="DIR", help="where the runs are, or are to be")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row, with the seeds 0, 1, ...")
    parser.add_argument("--only", action="append", metavar="ROW", help="this row; again for more")
    parser.add_argument("--data-dir", default=os.environ.get("DIABOLO_DATA_DIR"), help="where mnist and its kin lie")
    parser.add_argument("--fashion", metavar="SOURCE", help="another source of Fashion-MNIST, such as a part of it")
    parser.add_argument("--threads", type=int, help="of the processor")
    parser.add_argument("--update", action="store_true", help="write the table into README.md")
    parser.add_argument("--no-train", action="store_true", help="leave out what is not trained yet")
    found = parser.parse_args()
    rows = [row for row in ROWS if not found.only or row[0] in found.only]
    lines: dict[str, str] = {}
    for name, recipe, preset, options in rows:
        options = {**COMPUTED, **options, "threads": found.threads, "data_dir": found.data_dir}
        if found.fashion and recipe.startswith("fashion"):
            options["source"] = found.fashion
        runs = []
        for seed in range(found.seeds):
            folder = found.train / f"{name}-seed{seed}"
            if is_finished(folder) or not found.no_train:
                runs.append(finished(folder, recipe=recipe, preset=preset, seed=seed, **options))
        if runs:
            lines[name] = f"| {name} | " + " | ".join(row(runs)) + " |"
            print(lines[name], file=sys.stderr, flush=True)
            if found.update:
                update(lines)
    print(table(lines))


def table(lines: dict[str, str]) -> str:
    """The rows by name as Markdown, in the order of the recipes."""
    ordered = sorted(lines, key=order)
    return "\n".join([f"| {' | '.join(HEAD)} |", "| --- " * len(HEAD) + "|", *(lines[name] for name in ordered)])


def order(name: str) -> tuple[int, str]:
    """Rows in the order of the recipes."""
    recipe = next(recipe for row, recipe, _, _ in ROWS if row == name)
    return list(RECIPES).index(recipe), name


def is_finished(folder: Path) -> bool:
    """Whether a run lies there that came to its end."""
    return (folder / "config.json").exists() and "result" in read_json(folder / "config.json")


def finished(folder: Path, **options: Any) -> Autoencoder:
    """The run in a folder: trained, gone on with, or loaded.

    Raises:
        SystemExit: it was trained with other settings than the recipe has now.
    """
    if is_finished(folder):
        model = diabolo.load(folder)
        planned, config = make_run_config(**options), model.model.config()
        settings = {**Settings().config(), **model.info["run_config"]["settings"], "threads": planned.settings.threads}
        chosen = [(kind, name, value) for kind, part in planned.options.items() for name, value in part.items()]
        same = (
            settings == planned.settings.config()
            and all(config[kind]["name"] == part for kind, part in planned.parts.items())
            and all(config[kind]["options"][name] == as_json(value) for kind, name, value in chosen)
        )
        if not same:
            raise SystemExit(f"{folder} was trained with other settings than its recipe has now: remove it.")
        return model
    print(f"training {folder}", file=sys.stderr, flush=True)
    if (folder / "config.json").exists():
        return resume(folder).go()
    return diabolo.train(out=folder, **{"pictures": (), **options})


def as_json(value: Any) -> Any:
    """An option as config.json has it."""
    return list(value) if isinstance(value, tuple) else value


def row(runs: Sequence[Autoencoder]) -> list[str]:
    """The numbers of one row, over its runs."""
    facts = [measured(model) for model in runs]
    first = runs[0]
    examples = first.info["data"]["examples"]
    loss = spread([fact["loss"] for fact in facts], 2)
    if "kl" in first.info["result"]["test"]:
        beta = first.info["result"]["weights"]["kl"]
        terms = [spread([fact[name] for fact in facts], 2) for name in ("reconstruction", "kl")]
        loss += f" = {terms[0]} + {beta:g} x {terms[1]}"
    recipe = RECIPES[first.info["run_config"]["recipe"][0]]
    unit = recipe.units[1] if recipe.units else float("nan")
    return [
        str(len(runs)),
        f"{examples['train']:,} + {examples['test']:,}",
        loss,
        spread([fact["loss"] * unit for fact in facts], 4) if unit == unit else "",
        spread([fact["mse"] for fact in facts], 4),
        spread([fact["pca"] for fact in facts], 4),
        spread([fact["knn"] for fact in facts], 1, "%") if "knn" in facts[0] else "",
        spread([fact["knn_pca"] for fact in facts], 1, "%") if "knn" in facts[0] else "",
    ]


def spread(values: Sequence[float], digits: int, unit: str = "") -> str:
    """The average, and how far the farthest value lies from it where that is more than the last digit."""
    mean = float(np.mean(values))
    farthest = max(abs(value - mean) for value in values)
    text = f"{mean:.{digits}f}{unit}"
    return text if round(farthest, digits) <= 10**-digits else f"{text} ± {farthest:.{digits}f}"


def measured(model: Autoencoder) -> dict[str, float]:
    """What one run reached, and PCA on the same split."""
    run_config = RunConfig.of({**model.info, **model.model.config()})
    dataset, split = open_data(run_config)
    flat = dataset.x.reshape(len(dataset), -1).astype(np.float32) / (255 if dataset.x.dtype == np.uint8 else 1)
    train, held_out = flat[split.train], flat[split.test]
    pca = PCA(model.latent_dim, svd_solver="randomized", random_state=0).fit(train)
    rebuilt = model.reconstruct(dataset.x[split.test]).reshape(len(split.test), -1)
    facts = {
        **{name: value for name, value in model.info["result"]["test"].items() if isinstance(value, float)},
        "mse": float(np.square(rebuilt - held_out).mean()),
        "pca": float(np.square(pca.inverse_transform(pca.transform(held_out)) - held_out).mean()),
    }
    if model.latent_dim <= 3:
        codes = [model.encode(dataset.x[part]) for part in (split.train, split.test)]
        facts["knn"] = accuracy(*codes, dataset.y, split)
        facts["knn_pca"] = accuracy(pca.transform(train), pca.transform(held_out), dataset.y, split)
    return facts


def accuracy(train: np.ndarray, test: np.ndarray, labels: np.ndarray, split: Any) -> float:
    """Which per cent of the test examples their nearest training codes name rightly."""
    judge = KNeighborsClassifier(NEIGHBOURS).fit(train, labels[split.train])
    return 100 * float(judge.score(test, labels[split.test]))


def update(lines: dict[str, str], path: Path = README) -> None:
    """Writes rows into the table between the two marks of a file.

    Raises:
        SystemExit: the marks are not there.
    """
    text = path.read_text()
    if not all(mark in text for mark in MARKS):
        raise SystemExit(f"{path} has no place for the table: {' ... '.join(mark.strip() for mark in MARKS)}")
    before, _, rest = text.partition(MARKS[0])
    old, _, after = rest.partition(MARKS[1])
    known = {name for name, *_ in ROWS}
    kept = {line.split(" | ")[0][2:]: line for line in old.splitlines() if line.split(" | ")[0][2:] in known}
    path.write_text(f"{before}{MARKS[0]}\n{table(kept | lines)}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
