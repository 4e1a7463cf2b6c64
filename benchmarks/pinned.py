"""The defaults of 2026-11-22, with which the older tables of docs/results.md were measured: a benchmark names them."""

from __future__ import annotations

from typing import Any

TRAINING: dict[str, Any] = {"schedule": "constant", "lr_warmup": 0.0, "ema": 0.0, "augment": "none"}
MLP: dict[str, Any] = {
    **TRAINING,
    "network": "mlp",
    "start": "random",
    "likelihood": "bernoulli",
    "lr": 1e-3,
    "batch_size": 128,
}
CONV: dict[str, Any] = {**MLP, "network": "conv", "enlarge": "transposed", "channels": (32, 64)}
