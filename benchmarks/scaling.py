"""How training gets faster with more processes, one thread each.

    python benchmarks/scaling.py             one and two processes, five repeats
    python benchmarks/scaling.py --quick     in about two minutes
    python benchmarks/scaling.py --processes 1,2,4 --json scaling.json

Each run is a `torchrun` of this file: it trains a recipe's network from the same weights in the same global batches.
The runs of a repeat follow each other, so that what else the machine does in that moment slows all of them. The clock
starts after the first steps. The median over the repeats is what counts; the efficiency is the rate over that of one
process, divided by the number of processes. MNIST is read from DIABOLO_DATA_DIR or the cache; without it, the embedded
digits are enlarged and tiled up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diabolo.datasets import Split, open_dataset
from diabolo.errors import DiaboloError
from diabolo.models.model import build_model
from diabolo.models.preprocess import Preprocess
from diabolo.runs.config import make_run_config
from diabolo.training import Callback, Settings, Trainer, Training
from diabolo.training.distributed import join


@dataclass(frozen=True)
class Workload:
    """A recipe's network at one global batch size, and the images of a timed run."""

    name: str
    recipe: str
    batch_size: int
    images: int


WORKLOADS = [Workload("W1", "fashion-ae", 512, 60_000), Workload("W3", "mnist-vae-conv", 128, 6_400)]
WARM = 10  # steps before the clock starts


def main() -> int:
    """Runs the workloads and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three repeats and fewer images")
    parser.add_argument("--processes", default="1,2", help="how many processes to compare, the first with the others")
    parser.add_argument("--sharding", choices=["none", "full"], default="none")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        train(**json.loads(arguments.job))
        return 0
    counts = [int(word) for word in arguments.processes.split(",")]
    results = [measured(load, counts, arguments) for load in WORKLOADS]
    print(table(results, counts))
    if arguments.json:
        machine = {"cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}
        options = {"sharding": arguments.sharding, "precision": arguments.precision, "images": images()[1]}
        arguments.json.write_text(json.dumps({"machine": machine, **options, "workloads": results}, indent=2) + "\n")
    return 0


def images() -> tuple[np.ndarray, str]:
    """60,000 images of 28 x 28, uint8, and what they are."""
    try:
        return open_dataset("mnist").x[:60_000], "MNIST, the training part"
    except DiaboloError:
        digits = (open_dataset("digits").x * 255).astype(np.uint8)
        large = np.pad(digits.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        return np.tile(large, (34, 1, 1))[:60_000], "embedded digits, enlarged and tiled (MNIST is not here)"


def measured(load: Workload, counts: list[int], arguments: argparse.Namespace) -> dict[str, Any]:
    """One workload with each number of processes, in turn."""
    size = max(load.images // (2 if arguments.quick else 1), 30 * load.batch_size)
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for repeat in range(3 if arguments.quick else 5):
        for count in counts[:: 1 if repeat % 2 == 0 else -1]:
            options = {"sharding": arguments.sharding, "precision": arguments.precision}
            job = {"recipe": load.recipe, "batch_size": load.batch_size, "images_used": size, "seed": repeat, **options}
            runs[count].append(torchrun(count, job))
            print(f"{load.name} repeat {repeat} processes {count}: {runs[count][-1]}", file=sys.stderr, flush=True)
    rows = {}
    for count in counts:
        # Each repeat's runs stand side by side; their ratio is what the machine's other work disturbs least.
        ratios = [run["rate"] / base["rate"] for run, base in zip(runs[count], runs[counts[0]], strict=True)]
        rows[count] = {
            "rate": statistics.median(run["rate"] for run in runs[count]),
            "ratio": statistics.median(ratios),
            "efficiency": statistics.median(ratios) * counts[0] / count,
            "loss": runs[count][0]["loss"],
            "runs": runs[count],
        }
    return {**asdict(load), "images": size, "processes": rows}


def torchrun(count: int, job: dict[str, Any]) -> dict[str, float]:
    """One run by so many processes of one thread each: examples per second and the loss reached."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [*command, __file__, "--job", json.dumps(job)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.exit(f"{count} processes failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


class Clock(Callback):
    """Starts when the warm steps are done, and stops with the last step."""

    def step(self, training: Training, loss: float) -> None:
        """Notes the time."""
        if training.steps == WARM:
            self.started = time.perf_counter()
        self.stopped = time.perf_counter()


def train(recipe: str, batch_size: int, images_used: int, seed: int, sharding: str, precision: str) -> None:
    """In each process of a run: one epoch; the first prints what came of it."""
    torch.set_num_threads(1)
    processes = join("cpu")
    x = images()[0][:images_used]
    run_config = make_run_config(recipe=recipe)
    preprocess = Preprocess.fit(x, "HW", np.arange(1000))
    model = build_model(preprocess, latent_dim=run_config.latent_dim, options=run_config.options, **run_config.parts)
    nothing = np.empty(0, np.int64)
    options: dict[str, Any] = {"sharding": sharding, "precision": precision, "device": "cpu"}
    settings = Settings(epochs=1, batch_size=batch_size, seed=seed, **options)
    clock = Clock()
    split = Split(np.arange(len(x)), nothing, nothing)
    training = Trainer(model, x, split, settings, callbacks=[clock], processes=processes)
    training.run()
    processes.close()
    if processes.is_first:
        rate = (len(x) - WARM * batch_size) / (clock.stopped - clock.started)
        print(json.dumps({"rate": rate, "loss": training.history.epochs[-1]["train"]["loss"]}))


def table(results: list[dict[str, Any]], counts: list[int]) -> str:
    """The results in Markdown."""
    lines = [
        "| network | global batch | processes | examples/s | ratio | efficiency | loss of the epoch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        for count in counts:
            row = result["processes"][count]
            lines.append(
                f"| {result['name']} `{result['recipe']}` | {result['batch_size']} | {count} | {row['rate']:,.0f} "
                f"| {row['ratio']:.2f} | {row['efficiency']:.0%} | {row['loss']:.5f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
