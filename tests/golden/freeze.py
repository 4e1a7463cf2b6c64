"""Numbers of every variant that a change of structure must not move: `python tests/golden/freeze.py` writes them anew.

Each case trains a small model for 20 steps on one thread. Of everything that comes out, `golden.json` keeps a digest,
to be met bit for bit by the same processor and the same torch, and a few values, to be met nearly by any other.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import diabolo
from diabolo.models.engine import FusedEngine

PATH = Path(__file__).with_name("golden.json")
STEPS = {"epochs": 4, "batch_size": 20, "validation": 0.1, "test": 0.1, "keep": "last", "log_every": 1}
STEPS |= {"lr": 1e-3, "schedule": "constant", "lr_warmup": 0.0, "ema": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "autoencoder": {},
    "denoising": {"noise": "salt-and-pepper=0.2"},
    "sparse": {"k": 3},
    "vae": {"beta": 0.7, "warmup": 2.0, "free_bits": 0.05, "draws": 2},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"widths": (40, 70), "start": "random"},
    "conv": {"channels": (8, 12), "hidden": (24,), "start": "random", "enlarge": "transposed"},
    "resnet": {"channels": (6, 8), "start": "random"},
}
DATA = {"image": ("mlp", "conv", "resnet"), "signal": ("mlp", "conv", "resnet"), "table": ("mlp",)}


def examples(kind: str) -> tuple[np.ndarray, str]:
    """125 examples and their layout: 100 to train on, 20 steps of four epochs."""
    rng = np.random.default_rng(7)
    row, column = rng.uniform(2, 10, (2, 125, 1, 1))
    grid = np.arange(12.0)
    if kind == "image":
        spots = np.exp(-0.1 * ((grid[:, None] - row) ** 2 + (grid - column) ** 2))
        return (255 * spots[..., None] * [1.0, 0.6, 0.3]).astype(np.uint8), "HWC"
    if kind == "signal":
        time = np.arange(32.0)
        waves = np.sin(time / row[:, :, 0] + column[:, :, 0])
        return np.stack([waves, np.cos(time / column[:, :, 0])], 1).astype(np.float32), "CL"
    return (rng.standard_normal((125, 3)) @ rng.standard_normal((3, 9)) * 4 + 1).astype(np.float32), "F"


def cases(*, compiled: bool) -> Iterator[tuple[str, str, str, str, str]]:
    """(variant, network, data, precision, engine) of each case; compiled steps are for affine layers."""
    if compiled:
        yield from ((variant, "mlp", "image", precision, "fused") for variant in VARIANTS for precision in PRECISIONS)
        return
    for variant, (kind, networks), engine in itertools.product(VARIANTS, DATA.items(), ENGINES):
        yield from ((variant, network, kind, precision, engine) for network in networks for precision in PRECISIONS)


PRECISIONS = ("float32", "bf16")
ENGINES = ("fused", "torch")


def measure(variant: str, network: str, kind: str, precision: str, engine: str, *, compiled: bool = False) -> Any:
    """Name -> (digest, a few values) of what a case gives."""
    torch.set_num_threads(1)
    x, layout = examples(kind)
    options = {**STEPS, **VARIANTS[variant], **NETWORKS[network], "latent_dim": 6, "layout": layout, "engine": engine}
    model = diabolo.train(
        x,
        model=variant,
        network=network,
        likelihood="bernoulli" if kind == "image" else "gaussian",
        precision=precision,
        compile="on" if compiled else "off",
        threads=1,
        **options,
    )
    few = x[:24]
    codes = model.encode(few)
    losses = [line["train"]["loss"] for line in model.history if line["kind"] == "step"]
    found = {
        "losses": np.array(losses),
        "weights": np.concatenate([value.numpy().ravel() for value in model.model.state_dict().values()]),
        "codes": codes,
        "decoded": model.decode(codes),
        "one": model.reconstruct(few[:1]),
        "terms": np.array(list(model.loss_terms(few, seed=3).values())),
        "reconstruction": model.score(few, kind="reconstruction"),
        "surprise": model.score(few, kind="surprise"),
    }
    if variant == "vae":
        found["elbo"] = model.score(few, kind="elbo", draws=4, seed=1)
        found["likelihood"] = model.score(few, kind="likelihood", draws=8, seed=1)
        found["samples"] = model.sample(10, seed=5)
        found["drawn"] = model.encode(few, sample=True, seed=2)
    found["gradients"] = gradients(model.model, few, precision, engine)
    return {name: summary(value) for name, value in found.items()}


def gradients(model: Any, x: np.ndarray, precision: str, engine: str) -> np.ndarray:
    """Those of the loss, on the training side of the engine."""
    model.train()
    model.start_training(
        torch.bfloat16 if precision == "bf16" else torch.float32, FusedEngine() if engine == "fused" else None
    )
    model.epoch, model.generator = 1.5, torch.Generator().manual_seed(11)
    total = model(torch.from_numpy(x)).total
    return np.concatenate([grad.numpy().ravel() for grad in torch.autograd.grad(total, list(model.parameters()))])


def summary(value: np.ndarray) -> list[Any]:
    """A digest of every bit, and the norm, the mean and the first value."""
    flat = np.ascontiguousarray(value).ravel()
    digest = hashlib.sha256(flat.tobytes()).hexdigest()[:16]
    wide = flat.astype(np.float64)
    return [digest, *(float(f"{number:.9g}") for number in (np.sqrt(np.square(wide).sum()), wide.mean(), wide[0]))]


def machine() -> str:
    """What decides the bits: the processor's instructions as torch and oneDNN use them, torch and NumPy."""
    isa = torch.backends.cpu.get_cpu_capability()
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("flags")), "")
    flags = hashlib.sha256(" ".join(sorted(set(model.split()))).encode()).hexdigest()[:12]
    return f"{isa} {flags} torch {torch.__version__} numpy {np.__version__}"


def name_of(case: tuple[str, ...], *, compiled: bool = False) -> str:
    """A case in one word."""
    return "-".join([*case, *(["compiled"] if compiled else [])])


def main() -> None:
    """Writes the numbers of all cases; those of compiled steps take minutes."""
    numbers: dict[str, Any] = {}
    for compiled in (False, True):
        for case in cases(compiled=compiled):
            numbers[name_of(case, compiled=compiled)] = measure(*case, compiled=compiled)
            sys.stderr.write(f"{name_of(case, compiled=compiled)}\n")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(json.dumps({"machine": machine(), "numbers": numbers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
