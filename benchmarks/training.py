"""How fast diabolo trains, beside the plain tutorial loop, in turn.

    python benchmarks/training.py            both networks, seven repeats
    python benchmarks/training.py --quick    in under a minute; exit status 1 where a target is missed

Each repeat trains the same network from the same weights on the same images with both loops, one right after the other,
each in a process of its own that waits while the other works. The median of the repeats' ratios is what counts:
absolute rates mean nothing on a machine that is shared. The plain loop is what the tutorials write: a TensorDataset of
float32 images, a DataLoader in random order, eager steps of torch's Adam; it gets the same order and the same noise, so
that the losses can be compared. MNIST is read from DIABOLO_DATA_DIR or the cache; without it, the embedded digits are
enlarged and tiled up.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from diabolo.datasets import Split, open_dataset
from diabolo.errors import DiaboloError
from diabolo.model import Model, build_model
from diabolo.plans import make_plan
from diabolo.preprocess import Preprocess
from diabolo.training import Callback, Settings, Training


@dataclass(frozen=True)
class Workload:
    """One network at one batch size, the images of a timed part, and the ratio that is to be reached."""

    recipe: str
    batch_size: int
    images: int
    target: float


WORKLOADS = [Workload("fashion-ae", 512, 60_000, 1.6), Workload("mnist-vae-conv", 128, 6_400, 2.0)]
WARM = 10  # steps before the clock starts


def main() -> int:
    """Runs the workloads, prints a table, and says whether every target was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and images, in under a minute")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["auto", "float32", "bf16"], default="auto")
    arguments = parser.parse_args()
    print(f"{images()[1]}; {arguments.threads} threads; torch {torch.__version__}; precision {arguments.precision}")
    print(f"{'network':<16}{'batch':>6}{'plain':>10}{'diabolo':>10}{'ratio':>7}{'target':>8}{'loss, relative':>16}")
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as plain_pool, context.Pool(1) as our_pool:
        pools = {"plain": plain_pool, "diabolo": our_pool}
        missed = [load for load in WORKLOADS if not passes(load, pools, arguments)]
    return 1 if missed else 0


@functools.cache
def images() -> tuple[np.ndarray, str]:
    """60,000 images of 28 x 28, uint8, and what they are."""
    try:
        return open_dataset("mnist").x[:60_000], "MNIST, the training part"
    except DiaboloError:
        digits = (open_dataset("digits").x * 255).astype(np.uint8)
        large = np.pad(digits.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        return np.tile(large, (34, 1, 1))[:60_000], "embedded digits, enlarged and tiled (MNIST is not here)"


def passes(load: Workload, pools: dict[str, Any], arguments: argparse.Namespace) -> bool:
    """Times one workload with both loops and prints its row."""
    # No fewer than 50 steps, so that the losses have left their first plunge.
    count = load.images // (2 if arguments.quick and load.images > 10_000 else 1)
    rates: dict[str, list[float]] = {"plain": [], "diabolo": []}
    losses: dict[str, list[float]] = {"plain": [], "diabolo": []}
    for repeat in range(4 if arguments.quick else 7):
        for who in ("plain", "diabolo")[:: 1 if repeat % 2 == 0 else -1]:
            task = (who, load, count, repeat, arguments.threads, arguments.precision)
            seconds, loss = pools[who].apply(timed, task)
            rates[who].append((count - WARM * load.batch_size) / seconds)
            losses[who].append(loss)
    plain_rate, our_rate = (statistics.median(rates[who]) for who in ("plain", "diabolo"))
    relative = statistics.mean(losses["diabolo"]) / statistics.mean(losses["plain"]) - 1
    # Each repeat's two runs stand side by side: what else the machine does in that moment slows both.
    ratio = statistics.median(mine / theirs for mine, theirs in zip(rates["diabolo"], rates["plain"], strict=True))
    good = ratio >= load.target and relative <= 0.01
    row = f"{load.recipe:<16}{load.batch_size:>6}{plain_rate:>10,.0f}{our_rate:>10,.0f}{ratio:>7.2f}{load.target:>8.1f}"
    print(f"{row}{relative:>+15.2%} {'' if good else '  missed'}", flush=True)
    return good


def timed(who: str, load: Workload, count: int, seed: int, threads: int, precision: str) -> tuple[float, float]:
    """In a process of its own: trains one workload with one loop; the seconds and the loss reached."""
    torch.set_num_threads(threads)
    x = images()[0][:count]
    plan = make_plan(recipe=load.recipe)
    preprocess = Preprocess.fit(x, "HW", np.arange(1000))
    model = build_model(preprocess, latent_dim=plan.latent_dim, options=plan.options, **plan.parts)
    return (plain if who == "plain" else ours)(model, x, load.batch_size, seed, precision)


def plain(model: Model, x: np.ndarray, batch_size: int, seed: int, _: str) -> tuple[float, float]:
    """The tutorials' loop: seconds from the step after the warm ones to the end, and the loss reached."""
    noise = torch.Generator().manual_seed(seed)
    data = TensorDataset(torch.from_numpy(x).float().div(255).unsqueeze(1))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed * 1_000_003))
    loader = DataLoader(data, batch_size=batch_size, sampler=order.tolist())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    beta = getattr(model.objective, "beta", 0.0)
    encoder, decoder = model.encoder, model.decoder
    model.train()
    started = time.perf_counter()
    for step, (images,) in enumerate(loader):
        if step == WARM:
            started = time.perf_counter()
        features = encoder(images)
        kl: Any = 0.0
        z = features
        if model.objective.code.width == 2:
            mean, log_variance = features.chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=noise)
            kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp()) / len(images)
        error = F.binary_cross_entropy_with_logits(decoder(z), images, reduction="sum") / len(images)
        loss = error + beta * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - started
    return seconds, reached(model, x)


class _Clock(Callback):
    """Starts when the warm steps are done, and stops when the last step is."""

    def step(self, training: Training, loss: float) -> None:
        if training.steps == WARM:
            self.started = time.perf_counter()
        self.stopped = time.perf_counter()


def ours(model: Model, x: np.ndarray, batch_size: int, seed: int, precision: str) -> tuple[float, float]:
    """The loop of diabolo on the same images, for one epoch."""
    clock = _Clock()
    nothing = np.empty(0, np.int64)
    settings = Settings(epochs=1, batch_size=batch_size, seed=seed, precision=precision)  # type: ignore[arg-type]
    training = Training(model, x, Split(np.arange(len(x)), nothing, nothing), settings, callbacks=[clock])
    training.run()
    return clock.stopped - clock.started, reached(model, x)


def reached(model: Model, x: np.ndarray) -> float:
    """The loss on 2,000 of the images, in float32, nats per example."""
    from diabolo.evaluation import evaluate

    return evaluate(model, x[:2000]).averages["loss"]


if __name__ == "__main__":
    sys.exit(main())
