"""What the defaults reach: the error of held-out examples beside that of PCA with as many components as the code.

    DIABOLO_DATA_DIR=... python benchmarks/defaults.py --out DIR [--only SET,...] [--seeds N] [--update]

No option is given but the source, the model, the network and the dimensions of the code. Each set is split as `train`
splits it (a tenth to watch, a tenth or the published test part to report); the seed is that of the split, of the
initial weights and of the order. PCA is fitted to the same training split, and both errors are of the same test
examples: mean squared error per value, pixels in [0, 1], tables and signals standardised by the training split. For a
VAE the error is that of the posterior's mean, and PCA has as many components as dimensions are active.

DIR keeps a run for each row, so that a call that was stopped goes on where it was. --update writes the table into
docs/results.md. CIFAR-10's and SMILEs' folders are those of `DIABOLO_DATA_DIR`, and italy-power needs the package
sktime; what is not there is left out and said.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import diabolo

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
MARKS = ("<!-- defaults: written by benchmarks/defaults.py -->", "<!-- /defaults -->")
SETS = ("digits", "breast-cancer", "italy-power", "fashion-part", "cifar-part", "smiles", "mnist")
NETWORKS = {"F": ("linear", "mlp"), "": ("linear", "mlp", "conv", "resnet")}
DIMENSIONS = (2, 16, 64)


def main() -> None:
    """Trains what is not there yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--only", default="", help=f"some of {', '.join(SETS)}")
    parser.add_argument("--models", default="autoencoder,vae")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--update", action="store_true", help="write the table into docs/results.md")
    found = parser.parse_args()
    names = found.only.split(",") if found.only else SETS
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for seed, model in itertools.product(range(found.seeds), found.models.split(",")):
        for name, network, d in jobs(names):
            folder = found.out / f"{name}-{model}-{network}-{d}-{seed}"
            result = finished(
                folder, name, model=model, network=network, latent_dim=d, seed=seed, threads=found.threads
            )
            if result is not None:
                rows.setdefault((name, model, network, str(d)), []).append(result)
                sys.stderr.write(f"{folder.name}  {line(result)}\n")
    table = "\n".join(page(rows))
    print(table)
    if found.update:
        before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
        PAGE.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8")


def jobs(names: tuple[str, ...] | list[str]) -> Iterator[tuple[str, str, int]]:
    """(set, network, dimensions) of each row."""
    for name in names:
        source = examples(name)
        if source is None:
            sys.stderr.write(f"{name} is left out: it is not here\n")
            continue
        dataset = diabolo.open_dataset(source[0], **source[1])
        values = int(np.prod(dataset.event_shape))
        for network, d in itertools.product(NETWORKS.get(dataset.layout, NETWORKS[""]), DIMENSIONS):
            if d < values:
                yield name, network, d


def examples(name: str) -> tuple[Any, dict[str, Any]] | None:
    """The source of a set, and how it is opened; None where it is not on this machine."""
    folders = {"cifar-part": "cifar10-part/train", "smiles": "smiles", "fashion-part": "fashion-mnist-part"}
    if name == "breast-cancer":
        from sklearn.datasets import load_breast_cancer

        return load_breast_cancer().data.astype(np.float32), {}
    if name == "italy-power":
        x = italy_power()
        return None if x is None else (x, {"layout": "LC"})
    if name in folders:
        folder = Path(os.environ.get("DIABOLO_DATA_DIR", "")) / folders[name]
        return (str(folder), {}) if folder.is_dir() else None
    return name, {}


def italy_power() -> np.ndarray | None:
    """(1096, 24, 1): the power that Italy took on each hour of a day, as the package sktime ships it."""
    package = importlib.util.find_spec("sktime")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0], "datasets", "data", "ItalyPowerDemand")
    lines = [
        row.rpartition(":")[0]
        for part in ("TRAIN", "TEST")
        for row in (folder / f"ItalyPowerDemand_{part}.ts").read_text().split("@data")[1].split()
    ]
    return np.array([[float(value) for value in row.split(",")] for row in lines], np.float32)[..., None]


def finished(folder: Path, name: str, **options: Any) -> dict[str, Any] | None:
    """The result of a run that is trained now, or was."""
    source = examples(name)
    if source is None:
        return None
    config = folder / "config.json"
    if not config.exists() or "result" not in json.loads(config.read_text()):
        if folder.exists():
            diabolo.resume(folder, source=source[0]).go()
        else:
            diabolo.train(source[0], out=folder, **source[1], **options)
    found: dict[str, Any] = json.loads(config.read_text())
    return {**found["result"], "parameters": found["parameters"], "likelihood": found["likelihood"]["name"]}


def line(result: dict[str, Any]) -> str:
    """A result in a few words."""
    mse, pca = result["test"]["mse"], result["baseline"]["pca"]
    epochs = f"epoch {result['kept_epoch']} of {result['epochs']}"
    return f"mse {mse:.5f}, PCA {pca:.5f}, ratio {mse / pca:.3f}, {epochs}, {result['seconds']:.0f} s"


def page(rows: dict[tuple[str, ...], list[dict[str, Any]]]) -> Iterator[str]:
    """The lines of the table."""
    yield "\n| set | model | network | code | mse | PCA | mse / PCA | active | bits | parameters | seconds |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for (name, model, network, d), results in rows.items():
        middle = {key: statistics.median(one["test"][key] for one in results) for key in ("mse", "active_units")}
        ratios = [one["test"]["mse"] / one["baseline"]["pca"] for one in results]
        pca = statistics.median(one["baseline"]["pca"] for one in results)
        kl = [one["test"]["kl"] / np.log(2) for one in results if "kl" in one["test"]]
        spread = f" [{min(ratios):.3f}, {max(ratios):.3f}]" if len(ratios) > 1 else ""
        yield (
            f"| {name} | {model} | {network} | {d} | {middle['mse']:.5f} | {pca:.5f} | "
            f"{statistics.median(ratios):.3f}{spread} | {middle['active_units']:.0f} | "
            f"{f'{statistics.median(kl):.1f}' if kl else ''} | {results[0]['parameters']:,} | "
            f"{statistics.median(one['seconds'] for one in results):.0f} |"
        )


if __name__ == "__main__":
    main()
