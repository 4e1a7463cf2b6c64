"""diabolo on the same activations, in memory or read from the disk, as a user calls it."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from _turns import Turns


def main() -> None:
    """Trains for as many epochs as there are turns."""
    turns = Turns()
    job = turns.job
    sys.path.insert(0, job["source"])

    import diabolo
    from diabolo.training import Callback, Training

    class Report(Callback):
        """Says each epoch's squared error of an example."""

        def epoch(self, training: Training, line: dict[str, Any]) -> None:
            values = training.model.preprocess.values
            error = line["train"]["reconstruction"] - values / 2 * math.log(math.pi)
            turns.done(
                error, precision=training.precision, threads=torch.get_num_threads(), version=diabolo.__version__
            )

    source = job["data"] if job["variant"] == "disk" else turns.images()
    turns.start()
    diabolo.train(
        source, model="topk", network="dictionary", latent_dim=job["width"], k=job["k"], scope=job["scope"],
        start="random", scaling="none", likelihood="gaussian", variance=0.5, batch_size=job["batch"], lr=job["lr"],
        lr_warmup=0.0, schedule="constant", ema=0.0, epochs=job["epochs"], seed=job["seed"], device="cpu",
        validation=0.0, test=0.0, precision="float32", pictures=(), callbacks=[Report()],
    )  # fmt: skip


if __name__ == "__main__":
    main()
