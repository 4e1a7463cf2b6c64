"""What the defaults of other packages reach, on the same pictures and the same split as benchmarks/defaults.py.

    DIABOLO_DATA_DIR=... python benchmarks/defaults_peers.py --out DIR [--only SET,...] [--peers NAME,...]
        [--models MODEL,...] [--networks NETWORK,...] [--dimensions N,...] [--seeds N] [--only-kept] [--update]

Each peer is trained by its own trainer with what it does when it is told nothing but the model, the network and the
dimensions of the code; benchmarks/peers/defaults_of_*.py say what that is. The one exception is pythae's 100 epochs,
which would take hours with its `conv` network: it gets 20, or what --epochs says. A peer gets the training part, and
the validation part where it takes one, as float32 in [0, 1].

Errors are mean squared errors per value on the test part, rebuilt from the mean of the posterior, and PCA is what
`diabolo.train` computes: fitted to the training part, with as many components as the code has dimensions (for a VAE:
as its code is worth at its KL). A ratio above 1 is worse than PCA. KL is in bits for an example of the test part.

DIR keeps a result for each row, so that a call that was stopped goes on where it was; a row that failed is tried again
when its file is removed, and one that took longer than --minutes at the next call. --update writes the table into
docs/results.md. Peers run in environments of their own (see benchmarks/timing/environments.py).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from defaults import examples
from kept import written
from timing.environments import PEERS as FOLDER
from timing.environments import interpreter

from diabolo.datasets import Dataset, Split
from diabolo.evaluation import Evaluation
from diabolo.models import Preprocess
from diabolo.models.principal import PrincipalComponents
from diabolo.runs import make_run_config
from diabolo.runs._run_contents import spread_indices
from diabolo.runs.data import open_data

SETS = ("digits", "fashion-part", "cifar-part", "pieces", "smiles", "mnist")
# Peer -> its environment, and its networks: the quick ones first.
PEERS = {
    "autoencoders": ("autoencoders", ("mlp",)),
    "keras": ("keras-jax", ("tutorial", "no-16")),
    "pythae": ("pythae", ("mlp", "resnet", "conv")),
}
NETWORKS = tuple(dict.fromkeys(network for _, networks in PEERS.values() for network in networks))
LONGEST = 90  # letters of a reason


@dataclass(frozen=True)
class Row:
    """What is trained: one row of the table for one seed.

    Attributes:
        name: of the set.
        model: autoencoder or vae.
        peer: a name of `PEERS`.
        network: one of the peer's.
        latent_dim: the dimensions of the code.
        epochs: those that the peer is told; None where its own are kept.
    """

    name: str
    model: str
    peer: str
    network: str
    latent_dim: int
    epochs: int | None

    def file(self, folder: Path, seed: int) -> Path:
        """Where the result of a seed is kept."""
        words = [str(value) for value in asdict(self).values() if value is not None]
        return folder / f"{'-'.join([*words, str(seed)])}.json"


@dataclass(frozen=True, eq=False)
class Pictures:
    """A set of pictures, split as `diabolo.train` splits it for one seed."""

    dataset: Dataset
    split: Split
    preprocess: Preprocess
    seed: int

    @classmethod
    def open(cls, name: str, seed: int) -> Pictures | None:
        """The pictures of a set; None where they are not on this machine."""
        source = examples(name)
        if source is None:
            return None
        dataset, split = open_data(make_run_config(source[0], seed=seed, **source[1]))
        return cls(dataset, split, Preprocess.fit(dataset.x, dataset.layout, split.train), seed)

    def save(self, path: Path) -> None:
        """Writes the three parts as a peer gets them: (n, C, H, W), float32 in [0, 1]."""
        parts = {
            name: self.preprocess(torch.from_numpy(np.array(self.dataset.x[getattr(self.split, name)]))).numpy()
            for name in ("train", "validation", "test")
        }
        np.savez(path, **parts)

    @functools.cache  # noqa: B019 (there are as many as sets and seeds)
    def components(self, count: int) -> PrincipalComponents:
        """The principal components of the training part."""
        most = PrincipalComponents.most_examples(self.preprocess.values)
        some = self.dataset.x[spread_indices(self.dataset.x, self.split.train, most)]
        return PrincipalComponents.fit(self.preprocess, some, count, self.seed)

    def pca(self, latent_dim: int, kl: list[float] | None) -> dict[str, Any]:
        """The error of PCA on the test part, with as many components as a code is worth.

        Args:
            latent_dim: the dimensions of the code.
            kl: in nats, of each dimension; None where the code is a point.
        """
        nats = None if kl is None else np.array(kl)
        count = Evaluation({}, {}, np.ones(latent_dim, bool), nats).components
        most = PrincipalComponents.most_examples(self.preprocess.values)
        some = self.dataset.x[spread_indices(self.dataset.x, self.split.test, most)]
        error = self.components(latent_dim).errors(self.preprocess, some, count).mean()
        return {"components": count, "pca": float(error)}


def main() -> None:
    """Trains what is not there yet, and prints the table."""
    found = parsed()
    results: dict[Row, list[dict[str, Any]]] = {}
    for seed, name in itertools.product(range(found.seeds), found.only.split(",")):
        pictures = Pictures.open(name, seed)
        if pictures is None:
            sys.stderr.write(f"{name} is left out: it is not here\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            for row in rows(name, pictures, found):
                file = row.file(found.out, seed)
                if found.only_kept and not file.exists():
                    continue
                if not file.exists():
                    sys.stderr.write(f"{file.stem}  {line(finished(row, pictures, file, Path(folder), found))}\n")
                results.setdefault(row, []).append(json.loads(file.read_text(encoding="utf-8")))
                if results[row][-1].get("stopped"):
                    file.unlink()
    table = "\n".join(page(results))
    print(table)
    if found.update:
        written("defaults-peers", table, keys=range(4))


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the results are kept")
    parser.add_argument("--only", default=",".join(SETS), help=f"some of {', '.join(SETS)}")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"some of {', '.join(PEERS)}")
    parser.add_argument("--models", default="autoencoder,vae")
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"some of {', '.join(NETWORKS)}")
    parser.add_argument("--dimensions", default="2,16,64")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20, help="of pythae, whose own are 100")
    parser.add_argument("--minutes", type=float, default=60, help="for one training at most")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    parser.add_argument("--only-kept", action="store_true", help="train nothing: the rows that are there already")
    parser.add_argument("--update", action="store_true", help="write the table into docs/results.md")
    found = parser.parse_args()
    for option, known in (("only", SETS), ("peers", tuple(PEERS)), ("networks", NETWORKS)):
        if strange := set(getattr(found, option).split(",")) - set(known):
            parser.error(f"--{option} {','.join(sorted(strange))}: known are {', '.join(known)}")
    found.out.mkdir(parents=True, exist_ok=True)
    return found


def rows(name: str, pictures: Pictures, found: argparse.Namespace) -> Iterator[Row]:
    """The rows of a set: those of the large networks last."""
    chosen = [
        (peer, network)
        for peer in found.peers.split(",")
        for network in PEERS[peer][1]
        if network in found.networks.split(",")
    ]
    dimensions = sorted((int(d) for d in found.dimensions.split(",")), reverse=True)
    chosen.sort(key=lambda pair: ("conv", "resnet").index(pair[1]) if pair[1] in ("conv", "resnet") else -1)
    for (peer, network), model, d in itertools.product(chosen, found.models.split(","), dimensions):
        if d < pictures.preprocess.values:
            yield Row(name, model, peer, network, d, found.epochs if peer == "pythae" else None)


def finished(row: Row, pictures: Pictures, file: Path, folder: Path, found: argparse.Namespace) -> dict[str, Any]:
    """The result of a row that is trained now; it is written to its file.

    Args:
        row: what is trained.
        pictures: on which.
        file: of the result.
        folder: for what the peer is told, and its working directory.
        found: the options.
    """
    data = folder / "pictures.npz"
    if not data.exists():
        pictures.save(data)
    job = {name: value for name, value in asdict(row).items() if name not in ("name", "peer") and value is not None}
    job |= {"data": str(data), "seed": pictures.seed, "threads": found.threads}
    result = answer(row.peer, job, folder, found.minutes * 60)
    if "failed" not in result:
        result |= pictures.pca(row.latent_dim, result["kl_per_dimension"])
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def answer(peer: str, job: dict[str, Any], folder: Path, seconds: float) -> dict[str, Any]:
    """What a peer prints at its end, or the reason why it printed nothing: {"failed": ...}."""
    python = interpreter(PEERS[peer][0])
    told = folder / "job.json"
    told.write_text(json.dumps(job), encoding="utf-8")
    command = [str(python), str(FOLDER / f"defaults_of_{peer}.py"), str(told)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(job["threads"])}
    try:
        done = subprocess.run(  # noqa: S603 (our own words)
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not at its end after {seconds / 60:g} minutes", "stopped": True}
    if done.returncode:
        said = [text.strip() for text in done.stderr.splitlines() if text.strip()]
        return {"failed": (said or [f"ended with {done.returncode}, without a word"])[-1][:LONGEST]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result if math.isfinite(result["mse"]) else {"failed": "its error is not a number"}


def line(result: dict[str, Any]) -> str:
    """A result in a few words."""
    if "failed" in result:
        return str(result["failed"])
    mse, pca = result["mse"], result["pca"]
    return f"mse {mse:.5f}, PCA {pca:.5f}, ratio {mse / pca:.3f}, {result['seconds']:.0f} s"


def page(results: dict[Row, list[dict[str, Any]]]) -> Iterator[str]:
    """The lines of the table: medians over seeds, with the smallest and the largest ratio."""
    yield "\n| set | model | peer and network | code | mse | PCA (components) | mse / PCA | bits | parameters | s |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row, all_of_it in sorted(results.items(), key=lambda item: SETS.index(item[0].name)):
        told = f", {row.epochs} epochs" if row.epochs else ""
        start = f"| {row.name} | {row.model} | {row.peer}, {row.network}{told} | {row.latent_dim} |"
        good = [one for one in all_of_it if "failed" not in one]
        bad = [one["failed"] for one in all_of_it if "failed" in one]
        if not good:
            yield f"{start} {bad[0]} | | | | | |"
            continue
        ratios = [one["mse"] / one["pca"] for one in good]
        spread = f" [{min(ratios):.3f}, {max(ratios):.3f}]" if len(ratios) > 1 else ""
        bits = [one["kl"] / math.log(2) for one in good if one["kl"] is not None]
        medians = (statistics.median(one[key] for one in good) for key in ("mse", "pca", "components", "seconds"))
        mse, pca, count, seconds = medians
        failures = f" ({len(bad)} of {len(all_of_it)} failed: {bad[0]})" if bad else ""
        yield (
            f"{start} {mse:.5f}{failures} | {pca:.5f} ({count:.0f}) | {statistics.median(ratios):.3f}{spread} | "
            f"{f'{statistics.median(bits):.1f}' if bits else ''} | {good[0]['parameters']:,} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
