"""The methods of a diabolo `Autoencoder` on many examples, and on one code."""

from __future__ import annotations

import numpy as np
import torch
from _asked import answers
from _turns import Turns

import diabolo

FEW = 2000  # whose reconstructions are compared with those in float32


def main() -> None:
    """Answers turn by turn; the first is the warm-up."""
    turns = Turns()
    x = turns.images().astype(np.float32) / 255
    run = f"{turns.job['folder']}/run"
    model = diabolo.load(run, precision=turns.job["precision"])
    few = diabolo.load(run).reconstruct(x[:FEW])
    facts = {"threads": torch.get_num_threads(), "difference": float(np.abs(model.reconstruct(x[:FEW]) - few).max())}
    calls = {
        "encode": model.encode,
        "decode": model.decode,
        "reconstruct": model.reconstruct,
        "score": lambda x: model.score(x, kind="reconstruction"),
    }
    while True:
        turns.answer({**answers(calls, x), **facts})


if __name__ == "__main__":
    main()
