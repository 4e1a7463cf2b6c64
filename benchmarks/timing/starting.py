"""How long it takes until a fresh process has done its first thing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from timing.race import environment, order

__all__ = ["COMMANDS", "starts"]

COMMANDS = {
    'python -c "import torch"': [sys.executable, "-c", "import torch"],
    'python -c "import diabolo"': [sys.executable, "-c", "import diabolo"],
    "diabolo --help": [str(Path(sys.executable).with_name("diabolo")), "--help"],
    'python -c "pass"': [sys.executable, "-c", "pass"],
}


def starts(cores: set[int], turns: int) -> dict[str, list[float]]:
    """Seconds of each command, turn by turn; one turn before them brings the files into memory.

    Args:
        cores: those that they may use.
        turns: how often.
    """
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(-1, turns):
        for name in order(list(COMMANDS), turn):
            began = time.perf_counter()
            process = subprocess.Popen(COMMANDS[name], stdout=subprocess.DEVNULL, env=environment())  # noqa: S603
            with process:
                os.sched_setaffinity(process.pid, cores)
                if process.wait():
                    raise SystemExit(f"{name} failed with status {process.returncode}.")
            if turn >= 0:
                found[name].append(time.perf_counter() - began)
    return found
