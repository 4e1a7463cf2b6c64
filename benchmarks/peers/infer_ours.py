"""The methods of a diabolo `Autoencoder` on many examples, and on one code."""

from __future__ import annotations

import numpy as np
import torch
from _asked import answers
from _turns import Turns

import diabolo


def main() -> None:
    """Answers turn by turn; the first is the warm-up."""
    turns = Turns()
    x = turns.images().astype(np.float32) / 255
    model = diabolo.load(f"{turns.job['folder']}/run")
    calls = {
        "encode": model.encode,
        "decode": model.decode,
        "reconstruct": model.reconstruct,
        "score": lambda x: model.score(x, kind="reconstruction"),
    }
    while True:
        turns.answer({**answers(calls, x), "threads": torch.get_num_threads()})


if __name__ == "__main__":
    main()
