"""Processes that take turns: each peer lives in one of its own, pinned to the cores, and waits while another works."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from timing.environments import PEERS

__all__ = ["LONGEST", "Stopped", "Worker", "busy", "cores_of", "environment", "race"]

LONGEST = 900  # seconds that a turn may take
# Thread counts are each library's own default for the cores that the process may use.
UNSET = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "XLA_FLAGS", "KERAS_BACKEND")


class Stopped(Exception):  # noqa: N818 (says it already)
    """A peer ended or fell silent; the message is its last words."""


def environment() -> dict[str, str]:
    """The variables of this process without those that set threads or backends."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}


def cores_of(count: int) -> set[int]:
    """The first of the cores that this process may use.

    Raises:
        SystemExit: there are fewer.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("Pinning processes to cores needs Linux (os.sched_setaffinity).")
    known = sorted(os.sched_getaffinity(0))
    if count > len(known):
        raise SystemExit(f"{count} cores were asked for, and this process may use {len(known)}: say --cores.")
    return set(known[:count])


@contextlib.contextmanager
def busy(cores: set[int]) -> Iterator[None]:
    """While it lasts, another process computes without rest on the last of the cores."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        os.sched_setaffinity(other.pid, {max(cores)})
        try:
            yield
        finally:
            other.kill()


class Worker:
    """A peer's process.

    Args:
        python: of its environment.
        script: in the folder of the peers.
        job: what it is told.
        cores: those that it may use.
    """

    def __init__(self, python: Path, script: str, job: dict[str, Any], cores: set[int]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(  # noqa: S603 (our own words)
            [str(python), str(PEERS / script), json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment(),
        )  # fmt: skip
        # Before it has imported anything: the threads that it starts inherit the cores.
        os.sched_setaffinity(self._process.pid, cores)

    def read(self) -> dict[str, Any]:
        """Its next line.

        Raises:
            Stopped: there is none.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], LONGEST)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            words = [line.strip() for line in self._errors if line.strip()]
            raise Stopped((words or ["it ended without a word"])[-1] if ready else f"no answer within {LONGEST} s")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def turn(self) -> dict[str, Any]:
        """Asks for another turn and waits for its line.

        Raises:
            Stopped: it ended.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return self.read()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def race(
    entries: Sequence[tuple[str, Path, str, dict[str, Any]]], cores: set[int], conditions: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Lets peers take turns; the order is rotated by one from turn to turn, and reversed every other turn.

    Args:
        entries: (name, python, script, job) of each.
        cores: those that they share.
        conditions: `idle` and `busy` -> how many turns.

    Returns:
        name -> {"first": its first line, "idle": [lines], "busy": [lines]}, or {"error": its last words}.
    """
    workers: dict[str, Worker] = {}
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, python, script, job in entries:
            workers[name] = Worker(python, script, job, cores)
            found[name] = {}
            _answer(name, workers, found, "first")
        for condition, turns in conditions.items():
            with busy(cores) if condition == "busy" else contextlib.nullcontext():
                for turn in range(turns):
                    for name in order(list(workers), turn):
                        _answer(name, workers, found, condition)
    finally:
        for worker in workers.values():
            worker.close()
    return found


def order(names: list[str], turn: int) -> list[str]:
    """Who comes when in a turn."""
    start = turn % max(len(names), 1)
    return (names[start:] + names[:start])[:: -1 if turn % 2 else 1]


def _answer(name: str, workers: dict[str, Worker], found: dict[str, dict[str, Any]], condition: str) -> None:
    """Puts a peer's next line where it belongs; one that ended is out of the race."""
    try:
        if condition == "first":
            found[name]["first"] = workers[name].read()
        else:
            found[name].setdefault(condition, []).append(workers[name].turn())
    except Stopped as error:
        found[name] = {"error": str(error)}
        workers.pop(name).close()
        print(f"  {name} stopped: {error}", file=sys.stderr, flush=True)
