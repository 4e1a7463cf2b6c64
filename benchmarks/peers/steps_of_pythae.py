"""How long a training step of pythae's models takes, as its trainer takes it: loss, backward, Adam.

    python steps_of_pythae.py '{"threads": 1, "batch": 128, "warm": 20, "timed": 60, "models": {"VAE": {}}}'

Prints a line of JSON: seconds of a step of each, the median, on images of 28 x 28 and codes of 16 numbers.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import pythae.models as models
import torch


def main() -> None:
    """One model after the other."""
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    print(json.dumps({title: seconds(title, settings, job) for title, settings in job["models"].items()}))


def seconds(title: str, settings: dict[str, Any], job: dict[str, Any]) -> float:
    """Of a step of one, after some."""
    torch.manual_seed(0)
    name = title.partition(" ")[0]
    config = getattr(models, f"{name}Config", None) or getattr(models, f"{name}_Config")
    model = getattr(models, name)(config(input_dim=(1, 28, 28), latent_dim=16, **settings)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, times = torch.rand(job["batch"], 1, 28, 28), []
    for _ in range(job["warm"] + job["timed"]):
        begun = time.perf_counter()
        optimizer.zero_grad()
        model({"data": x}, epoch=1, dataset_size=10_000).loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[job["warm"] :])


if __name__ == "__main__":
    main()
