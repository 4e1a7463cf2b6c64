"""The exported model in ONNX Runtime, in the chunks that suit it best, and its score in NumPy."""

from __future__ import annotations

import os
import time

import numpy as np
import onnxruntime
from _asked import answers
from _turns import Turns

CHUNKS = (32, 100, 1000)


class Exported:
    """Two sessions behind the four calls.

    Args:
        folder: where encoder.onnx and decoder.onnx are.
    """

    def __init__(self, folder: str) -> None:
        options = onnxruntime.SessionOptions()
        # Its default counts the machine's cores; here are those that the process may use.
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        given = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
        self.encoder = onnxruntime.InferenceSession(f"{folder}/encoder.onnx", **given)
        self.decoder = onnxruntime.InferenceSession(f"{folder}/decoder.onnx", **given)
        self.chunk = 1000

    def tune(self, x: np.ndarray) -> None:
        """Takes the number of examples at a time with which a reconstruction is fastest."""
        times = {}
        for chunk in CHUNKS * 2:
            self.chunk = chunk
            began = time.perf_counter()
            self.reconstruct(x)
            times[chunk] = min(times.get(chunk, np.inf), time.perf_counter() - began)
        self.chunk = min(times, key=lambda chunk: times[chunk])

    def parts(self, x: np.ndarray) -> list[np.ndarray]:
        return [x[start : start + self.chunk] for start in range(0, len(x), self.chunk)]

    def one(self, x: np.ndarray) -> np.ndarray:
        code = self.encoder.run(["code"], {"x": x})[0]
        made: np.ndarray = self.decoder.run(["x"], {"code": code})[0]
        return made

    def encode(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([self.encoder.run(["code"], {"x": part})[0] for part in self.parts(x)])

    def decode(self, z: np.ndarray) -> np.ndarray:
        return np.concatenate([self.decoder.run(["x"], {"code": part})[0] for part in self.parts(z)])

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([self.one(part) for part in self.parts(x)])

    def score(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([cross_entropy(part, self.one(part)) for part in self.parts(x)])


def cross_entropy(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    """-log p(x | z), (n,), from probabilities."""
    p = np.clip(p, 1e-7, 1 - 1e-7)
    nats: np.ndarray = -(x * np.log(p) + (1 - x) * np.log1p(-p)).sum((1, 2))
    return nats


def main() -> None:
    """Answers turn by turn; the first is the warm-up."""
    turns = Turns()
    x = turns.images().astype(np.float32) / 255
    model = Exported(turns.job["folder"])
    model.tune(x[:4000])
    calls = {name: getattr(model, name) for name in ("encode", "decode", "reconstruct", "score")}
    while True:
        turns.answer({**answers(calls, x), "chunk": model.chunk, "onnxruntime": onnxruntime.__version__})


if __name__ == "__main__":
    main()
