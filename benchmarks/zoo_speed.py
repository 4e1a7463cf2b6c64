"""How long a training step of each variant takes, beside `vae` on the same network, and what its arithmetic asks for.

    python benchmarks/zoo_speed.py [--rounds 3] [--threads 1] [--compiled] [--only NAMES] [--update]

Made-up images of 28 x 28 with ten classes, an mlp of 400 units, a code of 16 numbers (64 units and `--network
dictionary` for dictionaries), batches of 128, float32; each variant of the registry at its defaults. A step is timed
from callback to callback; the median of 60 after 20 is taken. Variants take turns, `vae` in each round; the table has
the median over rounds of the ratio to its `vae`. The arithmetic is that of the matrix products of one step forward and
back, counted as torch dispatches them (engine=torch), over that of `vae`; a variant is as fast as it may be where the
last column is near 1.
--compiled adds compiled steps; --update writes the table into docs/benchmarks.md.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import written
from torch.utils._python_dispatch import TorchDispatchMode

import diabolo
from diabolo.datasets import Dataset, open_dataset
from diabolo.models.objectives import objectives
from diabolo.runs import make_run_config, start
from diabolo.training import Callback

SIDE, BATCH, WARM, TIMED = 28, 128, 20, 60
SETTINGS: dict[str, dict[str, Any]] = {
    **{
        name: {"network": "dictionary", "latent_dim": 64, "widths": None} for name in ("topk", "jumprelu", "matryoshka")
    },
    "vq": {"codes": 512},
    "vamp": {"components": 128},
}
COMMON: dict[str, Any] = {
    "latent_dim": 16, "network": "mlp", "widths": (400,), "batch_size": BATCH, "epochs": 1, "validation": 0.0,
    "test": 0.0, "precision": "float32", "keep": "last", "start": "random", "likelihood": "bernoulli",
    "augment": "none",
}  # fmt: skip


class Clock(Callback):
    """The moments at which steps end."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def step(self, training: Any, loss: float) -> None:
        self.moments.append(time.perf_counter())


class Products(TorchDispatchMode):
    """Counts the operations of matrix products, forward and back; torch's own counter takes no gradient in a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm):
            inner = args[1 if func.overloadpacket is torch.ops.aten.addmm else 0].shape[-1]
            self.total += 2 * inner * out.numel()
        return out


def main() -> None:
    """Times the variants in turns, counts, and prints the table."""
    parser = parsed()
    found = parser.parse_args()
    data = pictures()
    names = found.only.split(",") if found.only else list(objectives)
    ways = ["off", *(["on"] if found.compiled else [])]
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(found.rounds):
        for how in ways:
            for name in ["vae", *(one for one in names if one != "vae")]:
                times.setdefault((name, how), []).append(step_of(name, data, how, found.threads))
    counts = {name: products(name, data) for name in {"vae", *names}}
    head = [
        "variant",
        "ms a step",
        "times vae",
        "its arithmetic",
        "ratio",
        *(["compiled, ms", "times vae"] if found.compiled else []),
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name in names:
        ratio, share = ratio_of(times, name, "off"), counts[name] / counts["vae"]
        cells = [
            f"`{name}`",
            f"{statistics.median(times[name, 'off']):.2f}",
            f"{ratio:.2f}",
            f"{share:.2f}",
            f"{ratio / share:.2f}",
        ]
        if found.compiled:
            cells += [f"{statistics.median(times[name, 'on']):.2f}", f"{ratio_of(times, name, 'on'):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    print(table)
    if found.update:
        written("zoo-speed", table, Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md")


def parsed() -> Any:
    """What may be asked for."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--only", default="", help="some variants, with commas between")
    parser.add_argument("--update", action="store_true", help="write the table into docs/benchmarks.md")
    return parser


def pictures() -> Dataset:
    """As many as a timing takes, with classes."""
    rng = np.random.default_rng(0)
    count = BATCH * (WARM + TIMED + 1)
    return open_dataset(rng.integers(0, 256, (count, SIDE, SIDE), np.uint8), labels=np.arange(count) % 10)


def step_of(name: str, data: Dataset, how: str, threads: int, **more: Any) -> float:
    """Milliseconds of a step."""
    clock = Clock()
    options = {**COMMON, **SETTINGS.get(name, {}), **more}
    start(make_run_config(data, model=name, compile=how, threads=threads, **options), callbacks=[clock]).go()
    return 1e3 * statistics.median(np.diff(clock.moments)[WARM:].tolist())


def products(name: str, data: Dataset) -> int:
    """The floating-point operations of the matrix products of a step."""
    options = {**COMMON, **SETTINGS.get(name, {}), "engine": "torch"}
    model = diabolo.train(data.subset(np.arange(BATCH * 8)), model=name, compile="off", **options).model.train()
    needs = model.objective.labels != "none"
    x, y = torch.from_numpy(data.x[:BATCH]), torch.from_numpy(data.y[:BATCH]) if needs else None
    with Products() as counter:
        model(x, y).total.backward()
    return counter.total


def ratio_of(times: dict[tuple[str, str], list[float]], name: str, how: str) -> float:
    """The median over rounds of a step's time over that of vae."""
    return statistics.median(one / other for one, other in zip(times[name, how], times["vae", how], strict=True))


if __name__ == "__main__":
    main()
