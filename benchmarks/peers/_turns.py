"""How a peer and the driver take turns: one epoch, one line of JSON, then wait to be told to go on.

A peer is started with its job, a JSON object, as its only argument.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

__all__ = ["Turns"]


class Turns:
    """The clock of a peer: it runs from the driver's word to the end of the epoch.

    What a library does between two epochs is in the second one's time. Whatever it prints goes to standard error.

    Attributes:
        job: what to train.
    """

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(sys.argv[1])
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._begun = time.perf_counter()

    def images(self) -> np.ndarray:
        """The images, (n, 28, 28), uint8."""
        array: np.ndarray = np.load(self.job["data"])
        return array

    def require(self, parameters: int) -> None:
        """Ends the process unless the network has as many parameters as everybody's."""
        if parameters != self.job["parameters"]:
            sys.exit(f"The network has {parameters:,} parameters, and should have {self.job['parameters']:,}.")

    def start(self) -> None:
        """The first epoch begins, with all that it needs to be made ready."""
        self._begun = time.perf_counter()

    def done(self, loss: float, **facts: Any) -> None:
        """An epoch is over: answers with its seconds and its loss, and returns when the next one shall begin.

        Args:
            loss: its mean training loss, nats per example.
            facts: what else to tell.
        """
        self.answer({"seconds": time.perf_counter() - self._begun, "loss": float(loss), **facts})
        self._begun = time.perf_counter()

    def answer(self, line: dict[str, Any]) -> None:
        """Writes a line and waits; the process ends when nobody asks for more."""
        self._answers.write(json.dumps(line) + "\n")
        self._answers.flush()
        if not sys.stdin.readline():
            os._exit(0)
