"""What the defaults reach: the error of held-out examples beside that of PCA with as many components as the code.

    DIABOLO_DATA_DIR=... python benchmarks/defaults.py --out DIR [--only SET,...] [--seeds N] [--update]

No option is given but the source, the model, the network and the dimensions of the code. Each set is split as `train`
splits it (a tenth to watch, a tenth or the published test part to report); the seed is that of the split, of the
initial weights and of the order. PCA is fitted to the same training split, and both errors are of the same test
examples: mean squared error per value, pixels in [0, 1], tables and signals standardised by the training split. For a
VAE the error is that of the posterior's mean, and PCA has as many components as its rate is worth
(`diabolo.evaluation.Evaluation.components`); `samples` is the precision and recall of what it draws (3 nearest
neighbours, among 64 principal components), and in brackets those of a Gaussian fitted to PCA codes: as many as test
examples, at most 2,000.

DIR keeps a run for each row, so that a call that was stopped goes on where it was. --update writes the rows into the
table of docs/results.md, where others stay. CIFAR-10's and SMILEs' folders are those of `DIABOLO_DATA_DIR`, italy-power
needs the package sktime, and pieces (of 64 x 64, of the photographs that scikit-image and scikit-learn ship)
scikit-image; what is not there is left out and said. --pictures FILE draws ten held-out photographs beside PCA, the
defaults of 2026-11-22, and the rows'.
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

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pinned
import torch
from kept import written

import diabolo
from diabolo.metrics import precision_and_recall
from diabolo.models import Preprocess
from diabolo.models.principal import PrincipalComponents

mpl.use("agg")

SETS = ("digits", "breast-cancer", "italy-power", "fashion-part", "cifar-part", "pieces", "smiles", "mnist")
NETWORKS = {"F": ("linear", "mlp"), "": ("linear", "mlp", "conv", "resnet")}
DIMENSIONS = (2, 16, 64)
FEATURES = 64  # principal components, in which samples are compared with examples


def main() -> None:
    """Trains what is not there yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--only", default="", help=f"some of {', '.join(SETS)}")
    parser.add_argument("--models", default="autoencoder,vae")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--dimensions", default="2,16,64")
    parser.add_argument("--networks", default="linear,mlp,conv,resnet")
    parser.add_argument("--kept", action="store_true", help="train nothing: the rows of what is there")
    parser.add_argument("--pictures", type=Path, default=None, help="where ten photographs are drawn")
    parser.add_argument("--update", action="store_true", help="write the table into docs/results.md")
    found = parser.parse_args()
    names = found.only.split(",") if found.only else SETS
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for seed, model in itertools.product(range(found.seeds), found.models.split(",")):
        for name, network, d in jobs(names):
            if str(d) not in found.dimensions.split(",") or network not in found.networks.split(","):
                continue
            folder = found.out / f"{name}-{model}-{network}-{d}-{seed}"
            if found.kept and not (folder / "config.json").exists():
                continue
            result = finished(
                folder, name, model=model, network=network, latent_dim=d, seed=seed, threads=found.threads
            )
            if result is not None:
                rows.setdefault((name, model, network, str(d)), []).append(result)
                sys.stderr.write(f"{folder.name}  {line(result)}\n")
    table = "\n".join(page(rows))
    print(table)
    if found.pictures:
        draw(found.out, found.pictures)
    if found.update:
        written("defaults", table, keys=range(4), order=place)


def place(cells: list[str]) -> tuple[int, ...]:
    """Where a row stands in the table, by its set, model, network and code."""
    name, model, network, code = cells[:4]
    return ["autoencoder", "vae"].index(model), SETS.index(name), NETWORKS[""].index(network), int(code)


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
    if name == "pieces":
        x = pieces()
        return None if x is None else (x, {"layout": "HWC"})
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


def pieces(side: int = 64) -> np.ndarray | None:
    """(n, 64, 64, 3): photographs cut into squares that do not overlap, the packages' own."""
    if importlib.util.find_spec("skimage") is None:
        return None
    from skimage import data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
    whole = [*load_sample_images().images, *(getattr(data, name)() for name in names), *data.stereo_motorcycle()[:1]]
    cut = [
        picture[row : row + side, column : column + side]
        for picture in whole
        for row in range(0, picture.shape[0] - side + 1, side)
        for column in range(0, picture.shape[1] - side + 1, side)
    ]
    return np.stack([piece for piece in cut if piece.std() > 1])  # the retina's black surroundings are no picture


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
    samples = {} if options["model"] != "vae" else coverage(folder, source)
    return {**found["result"], "parameters": found["parameters"], **samples}


def coverage(folder: Path, source: tuple[Any, dict[str, Any]]) -> dict[str, float]:
    """Precision and recall of a VAE's samples, and of those of a Gaussian that is fitted to PCA codes."""
    kept = folder / "samples.json"
    if kept.exists():
        found: dict[str, float] = json.loads(kept.read_text())
        return found
    model = diabolo.load(folder)
    dataset = diabolo.open_dataset(source[0], **source[1])
    split, preprocess = dataset.split(model.info["run_config"]["settings"]["seed"]), model.model.preprocess
    train, test = (np.asarray(dataset.x[part]) for part in (split.train[:20_000], split.test[:2_000]))
    own = PrincipalComponents.fit(preprocess, train, model.latent_dim)
    drawn = np.random.default_rng(0).normal(size=(len(test), own.count)) * np.sqrt(own.variances) @ own.axes + own.mean
    axes = PrincipalComponents.fit(preprocess, train, FEATURES).axes
    real, ours = (flat(preprocess, x) @ axes.T for x in (test, model.sample(len(test), seed=0)))
    found = {}
    for kind, samples in (("", ours), ("pca_", (drawn.clip(0, 1) if preprocess.in_unit_range else drawn) @ axes.T)):
        result = precision_and_recall(samples, real)
        found |= {f"{kind}precision": float(result.precise.mean()), f"{kind}recall": float(result.recalled.mean())}
    kept.write_text(json.dumps(found))
    return found


def flat(preprocess: Preprocess, x: np.ndarray) -> np.ndarray:
    """(n, D), examples as the model sees them."""
    with torch.no_grad():
        return preprocess(torch.from_numpy(np.array(x))).flatten(1).numpy()


def draw(out: Path, page: Path) -> None:
    """Ten held-out photographs, and what PCA, the old defaults and the new ones make of them with a code of 64."""
    source = examples("cifar-part")
    runs = {network: out / f"cifar-part-autoencoder-{network}-64-0" for network in ("mlp", "conv", "resnet")}
    if source is None or not all((folder / "config.json").exists() for folder in runs.values()):
        raise SystemExit("--pictures draws the runs of cifar-part at 64 dimensions: train them first.")
    dataset = diabolo.open_dataset(source[0])
    split = dataset.split(0)
    x = np.asarray(dataset.x[split.test[:: len(split.test) // 10][:10]])
    models = {network: diabolo.load(folder) for network, folder in runs.items()}
    preprocess = models["mlp"].model.preprocess
    own = PrincipalComponents.fit(preprocess, np.asarray(dataset.x[split.train]), 64)
    pca = own.mean + (flat(preprocess, x) - own.mean) @ own.axes.T @ own.axes
    old = diabolo.train(source[0], model="autoencoder", latent_dim=64, epochs=20, seed=0, **pinned.CONV)
    rows = {"original": x / 255, "PCA": pca.reshape(10, 3, 32, 32).transpose(0, 2, 3, 1)}
    rows["conv, 2026-11-22"] = old.reconstruct(x)
    rows |= {network: model.reconstruct(x) for network, model in models.items()}
    close = {"wspace": 0.03, "hspace": 0.03}
    figure, axes = plt.subplots(len(rows), 10, figsize=(11, 1.1 * len(rows)), gridspec_kw=close)
    for line, (title, pictures) in zip(axes, rows.items(), strict=True):
        for place, picture in zip(line, pictures, strict=True):
            place.imshow(np.asarray(picture, float).clip(0, 1))
            place.set(xticks=[], yticks=[])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(page, dpi=110, bbox_inches="tight")


def line(result: dict[str, Any]) -> str:
    """A result in a few words."""
    mse, pca = result["test"]["mse"], result["baseline"]["pca"]
    epochs = f"epoch {result['kept_epoch']} of {result['epochs']}"
    return f"mse {mse:.5f}, PCA {pca:.5f}, ratio {mse / pca:.3f}, {epochs}, {result['seconds']:.0f} s"


def page(rows: dict[tuple[str, ...], list[dict[str, Any]]]) -> Iterator[str]:
    """The lines of the table."""
    yield ""
    yield "| set | model | network | code | mse | PCA (components) | mse / PCA | bits | samples | parameters | s |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for (name, model, network, d), results in rows.items():
        mse = statistics.median(one["test"]["mse"] for one in results)
        ratios = [one["test"]["mse"] / one["baseline"]["pca"] for one in results]
        pca = statistics.median(one["baseline"]["pca"] for one in results)
        components = statistics.median(one["baseline"]["components"] for one in results)
        bits = [one["baseline"]["bits"] for one in results if "bits" in one["baseline"]]
        spread = f" [{min(ratios):.3f}, {max(ratios):.3f}]" if len(ratios) > 1 else ""
        yield (
            f"| {name} | {model} | {network} | {d} | {mse:.5f} | {pca:.5f} ({components:.0f}) | "
            f"{statistics.median(ratios):.3f}{spread} | {f'{statistics.median(bits):.0f}' if bits else ''} | "
            f"{samples_of(results)} | {results[0]['parameters']:,} | "
            f"{statistics.median(one['seconds'] for one in results):.0f} |"
        )


def samples_of(results: list[dict[str, Any]]) -> str:
    """Precision and recall, and in brackets those of the Gaussian on PCA codes; medians."""
    if "recall" not in results[0]:
        return ""
    names = ("precision", "recall", "pca_precision", "pca_recall")
    p, r, p0, r0 = (statistics.median(one[name] for one in results) for name in names)
    return f"{p:.2f}, {r:.2f} ({p0:.2f}, {r0:.2f})"


if __name__ == "__main__":
    main()
