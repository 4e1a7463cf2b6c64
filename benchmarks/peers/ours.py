"""diabolo, as a user calls it: `diabolo.train` with a recipe; the one that is installed, or another checkout's."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from _torch import place, synchronize
from _turns import Turns

if source := json.loads(sys.argv[1])["source"]:
    sys.path.insert(0, source)

import diabolo
from diabolo.training import Callback, Training


class Report(Callback):
    """Says each epoch's loss; nothing is held out, so nothing is evaluated between epochs."""

    def __init__(self, turns: Turns, device: torch.device) -> None:
        self.turns, self.device = turns, device

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        synchronize(self.device)
        self.turns.require(training.model.parameter_count)
        self.turns.done(
            line["train"]["loss"],
            precision=training.precision,
            threads=torch.get_num_threads(),
            diabolo=diabolo.__version__,
            torch=torch.__version__,
        )


def main() -> None:
    """Trains for as many epochs as there are turns."""
    turns = Turns()
    job = turns.job
    if source and not str(diabolo.__file__).startswith(source):
        sys.exit(f"diabolo was imported from {diabolo.__file__}, and should be from {source}.")
    device = place(job)
    x = turns.images()
    turns.start()
    options = {"compiled": {"compile": "on"}, "": {}}.get(job["variant"], {"precision": job["variant"]})
    diabolo.train(
        x, recipe=job["recipe"], batch_size=job["batch"], epochs=job["epochs"], seed=job["seed"], device=job["device"],
        test=0.0, pictures=(), callbacks=[Report(turns, device)], **options,
    )  # fmt: skip


if __name__ == "__main__":
    main()
