"""The threads that compute during training: their number, and the numbers that they take for zero.

Their number is that of the idle processors, checked while training goes on.

Between two operations the threads of a team wait for each other, and those that wait keep their processors busy. Where
another process needs one of these, the team waits for the thread that was put aside, over and over: beside one busy
process, two threads on two processors train ten times slower than one. One thread less loses nothing of the kind.

Numbers below 1e-38 are zero to them. What an optimizer remembers of a weight without gradients fades away, and after
some hundred steps a tenth of it may be such numbers, which processors take a hundred times as long to multiply.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from diabolo.errors import ConfigError

__all__ = ["Threads", "busy_seconds", "flush", "processors"]

EVERY = 0.5  # seconds between two looks
TAKEN = 0.35  # a processor counts as taken when others use more of it than this
CALM = 2  # looks in a row that have to find a processor free before a thread goes back to it

TINY = 1e-40  # a number that is too small for all of its digits

_STAT = Path("/proc/stat")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def processors() -> int:
    """The processors that this process may use: those it is bound to, and no more than a container's quota pays for."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(bound, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, no quota, or not Linux
        return bound


def busy_seconds(stat: str, bound: set[int]) -> float:
    """Seconds that processors have been busy since the system started, from the text of /proc/stat.

    Args:
        stat: the text.
        bound: the numbers of the processors that count.
    """
    busy = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name[3:].isdecimal() and name.startswith("cpu") and int(name[3:]) in bound:
            user, nice, system, _idle, _waiting, *rest = map(int, fields[:8])
            busy += user + nice + system + sum(rest)  # interrupts, and what the host takes for other machines
    return busy / os.sysconf("SC_CLK_TCK")


def flush(on: bool, count: int) -> None:
    """Whether numbers below 1e-38 are zero to this thread and, where OpenMP is GNU's, to those that compute with it.

    Args:
        on: whether they are.
        count: how many threads there are or will be, this one included.
    """

    def each(_: object) -> None:
        torch.set_flush_denormal(on)

    each(None)
    with contextlib.suppress(OSError, AttributeError):  # torch has no way to ask its threads
        parallel = ctypes.CDLL(None).GOMP_parallel
        parallel(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(each), None, ctypes.c_uint(count), 0)


def require_threads(count: int) -> None:
    """Raises a ConfigError where the system cannot start so many threads, for which torch would end the process."""
    done, started = threading.Event(), []
    try:
        for _ in range(count):
            one = threading.Thread(target=done.wait)
            one.start()
            started.append(one)
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(
            f"threads should be as many as the system can start, {len(started):,} now, and was given {count:,}. "
            f"There are {processors()} processors, and more threads than these are slower."
        ) from error
    finally:
        done.set()
        for one in started:
            one.join()


class Threads:
    """The number of threads that torch computes with, on the processor, for as long as something trains.

    Args:
        count: so many; None: as many as there are free processors, never more than torch would take by itself.
        busy: gives the seconds that all processors were busy; None where the system does not say.

    Attributes:
        next_look: the time, by the monotonic clock, from which on `look` has something to do.
    """

    def __init__(self, count: int | None = None, busy: Callable[[], float] | None = None) -> None:
        self.before = torch.get_num_threads()
        self.most = count or max(1, min(self.before, processors()))
        self.now = self.most
        if self.most > processors():
            require_threads(self.most)
        if busy is None and _STAT.exists() and hasattr(os, "sched_getaffinity"):
            bound = os.sched_getaffinity(0)
            busy = lambda: busy_seconds(_STAT.read_text(), bound)  # noqa: E731
        self._busy = busy if count is None and self.most > 1 else None
        self._calm = 0
        self._seen = self._look()
        self.next_look = self._seen[0] + EVERY if self._busy is not None else math.inf

    def __enter__(self) -> Threads:
        torch.set_num_threads(self.now)
        self._flushed = bool(torch.tensor(TINY) * 1 == 0)
        flush(True, self.most)
        return self

    def __exit__(self, *_: object) -> None:
        flush(self._flushed, max(self.before, self.most))  # those that have had nothing to do of late, too
        torch.set_num_threads(self.before)

    def look(self) -> bool:
        """To be called often: looks around twice a second, and says whether the number has changed."""
        if self._busy is None or time.monotonic() - self._seen[0] < EVERY:
            return False
        wall, own, busy = (now - before for now, before in zip(self._look(), self._seen, strict=True))
        self._seen = self._look()
        self.next_look = self._seen[0] + EVERY
        return self._choose(max(0.0, busy - own) / wall)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What happens meanwhile, a callback that waits for somebody, says nothing about who needs the processors."""
        before = self._look()
        yield
        wall, own, busy = (seen + now - then for seen, now, then in zip(self._seen, self._look(), before, strict=True))
        self._seen = wall, own, busy

    def _look(self) -> tuple[float, float, float]:
        """Seconds by the clock, of this process on all processors, and of all processes."""
        return time.monotonic(), time.process_time(), self._busy() if self._busy is not None else 0.0

    def _choose(self, others: float) -> bool:
        """Goes by the processors that others used: down at once, up only when it stays calm."""
        free = max(1, self.most - int(others + 1 - TAKEN))
        self._calm = self._calm + 1 if free > self.now else 0
        if free < self.now or self._calm >= CALM:
            self.now, self._calm = free, 0
            torch.set_num_threads(free)
            return True
        return False
