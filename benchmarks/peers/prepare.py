"""Trains a workload for one short epoch and writes it twice: as diabolo's folder and as ONNX files."""

from __future__ import annotations

from pathlib import Path

from _turns import Turns

import diabolo
from diabolo.export import export_onnx


def main() -> None:
    """Answers once, when the files are there."""
    turns = Turns()
    job = turns.job
    folder = Path(job["folder"])
    model = diabolo.train(
        turns.images()[:2560], recipe=job["recipe"], batch_size=128, epochs=1, test=0.05, pictures=(), device="cpu"
    )
    model.save(folder / "run")
    export_onnx(model, folder)
    turns.answer({})


if __name__ == "__main__":
    main()
