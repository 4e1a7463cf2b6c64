"""What is asked of a trained model, timed: the same for whoever computes it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["answers"]

SINGLE = 300  # decodes of one code


def answers(calls: dict[str, Callable[[np.ndarray], np.ndarray]], x: np.ndarray) -> dict[str, Any]:
    """Seconds of each call over all examples, and of decoding a single code (the median of many).

    Args:
        calls: encode, decode, reconstruct and score.
        x: (n, 28, 28), float32.
    """
    found: dict[str, Any] = {}
    codes = calls["encode"](x)
    for name, call in calls.items():
        given = codes if name == "decode" else x
        began = time.perf_counter()
        result = call(given)
        found[name] = time.perf_counter() - began
        found[f"{name} mean"] = float(result.mean(dtype=np.float64))
    single = []
    for index in range(SINGLE):
        code = codes[index : index + 1]
        began = time.perf_counter()
        calls["decode"](code)
        single.append(time.perf_counter() - began)
    found["single"] = statistics.median(single)
    return found
