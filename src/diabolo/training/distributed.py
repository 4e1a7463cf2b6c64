"""Several processes that train one model: how they find each other, agree, and end together.

`torchrun` starts the same command several times and tells each process who it is, in the environment. What they say to
each other goes through torch.distributed, which is asked for nothing where a process is alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from diabolo import errors
from diabolo.config import require
from diabolo.errors import ConfigError, DataError, DiaboloError, MissingExtraError, TrainingError

__all__ = ["ProcessGroup", "join", "share"]

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)  # a process that ended is noticed at once; this is for one that hangs
SETTLING = 0.1  # seconds in which the threads of a group come to rest
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
LOST = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "timed out", "socket")


def share(count: int, part: int, parts: int) -> tuple[int, int]:
    """Where a part's even, contiguous share of `count` things begins and ends; sizes differ by one at most."""
    return part * count // parts, (part + 1) * count // parts


class ProcessGroup:
    """This process alone, with which all is agreed at once; among several there is one of these in each.

    Attributes:
        rank: the number of this process, from 0.
        count: how many processes there are.
        here: how many of them run on this machine.
    """

    rank = 0
    count = 1
    here = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process, where the user named one for all."""
        return name

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """The sums over the processes."""
        return list(values)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.all_reduce([flag])[0] > 0

    def broadcast(self, value: T) -> T:
        """What the first process has; a path, a number, a word."""
        return value

    def all_gather(self, value: T) -> list[T]:
        """What each process has, in their order."""
        return [value]

    def broadcast_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by those of the first process."""

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their averages over the processes."""

    @contextlib.contextmanager
    def barrier(self) -> Iterator[None]:
        """What all processes do or none: an error of one ends the block with that error in each."""
        yield

    @contextlib.contextmanager
    def local_first(self) -> Iterator[None]:
        """The first process of each machine runs the block before its others do, which find what it cached."""
        yield

    @contextlib.contextmanager
    def guarded(self, further: str) -> Iterator[None]:
        """While it lasts, a process that is lost is a TrainingError that says so, and `further` what to do."""
        yield

    def require_same(self, held: Mapping[str, object]) -> None:
        """Refuses to go on where the processes do not hold the same.

        Args:
            held: name -> what this process has.

        Raises:
            DataError: in every process; says what differs, and who has what.
        """
        own = {name: str(value) for name, value in held.items()}
        for rank, other in enumerate(self.all_gather(own)):
            differing = [name for name in own if other.get(name) != own[name]]
            if differing:
                name = differing[0]
                raise DataError(
                    f"All {self.count} processes should have the same {name}: process {self.rank} has {own[name]}, and "
                    f"process {rank} has {other.get(name)}. Start the same command with the same files on each machine."
                )

    def close(self) -> None:
        """Takes leave of the others, all of which do so now; `join` meets them again."""


class _Several(ProcessGroup):
    """One of several processes."""

    _owns_group = False  # whether the group was made here, and is to be ended here

    def __init__(self) -> None:
        import torch.distributed

        self._dist = torch.distributed
        self.rank = self._dist.get_rank()
        self.count = self._dist.get_world_size()
        self.here = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        self._local_rank = int(os.environ.get("LOCAL_RANK", self.rank))

    def device(self, name: str) -> str:
        kind, _, index = name.partition(":")
        if kind not in ("auto", "cuda") or not torch.cuda.is_available():
            return name
        gpus = torch.cuda.device_count()
        if index:
            raise ConfigError(
                f"device={name!r} would put {self.here} processes on one GPU: say 'cuda', and each takes its own."
            )
        if self.here > gpus:
            raise ConfigError(
                f"Each process needs a GPU of its own, and this machine has {gpus} for {self.here} processes: "
                f"torchrun --nproc-per-node {gpus}, or --device cpu."
            )
        torch.cuda.set_device(self._local_rank)
        return f"cuda:{self._local_rank}"

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        with self.guarded(""):
            sums = torch.tensor(values, dtype=torch.float64)
            self._dist.all_reduce(sums)
        return [float(value) for value in sums]

    def broadcast(self, value: T) -> T:
        return self.all_gather(value)[0]

    def all_gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.count
        with self.guarded(""):
            self._dist.all_gather_object(values, value)
        return values

    def broadcast_tensors(self, tensors: Sequence[Tensor]) -> None:
        with self.guarded(""):
            for tensor in tensors:
                whole = tensor.contiguous()
                self._dist.broadcast(whole, 0)
                tensor.copy_(whole)

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        with self.guarded(""):
            for tensor in tensors:
                whole = tensor.contiguous()
                self._dist.all_reduce(whole)
                tensor.copy_(whole / self.count)

    @contextlib.contextmanager
    def barrier(self) -> Iterator[None]:
        own: Exception | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 (raised again when the others know of it)
            own = error
        failed = [(rank, said) for rank, said in enumerate(self.all_gather(_said(own))) if said is not None]
        if own is not None:
            raise own
        if failed:
            rank, (kind, message) = failed[0]
            raise getattr(errors, kind, TrainingError)(f"Process {rank} of {self.count} cannot go on: {message}")

    @contextlib.contextmanager
    def local_first(self) -> Iterator[None]:
        if self._local_rank != 0:
            with self.barrier():
                pass
        with self.barrier():
            yield
        if self._local_rank == 0:
            with self.barrier():
                pass

    @contextlib.contextmanager
    def guarded(self, further: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not self._is_lost(error):
                raise
            raise _LostError(
                f"Process {self.rank} of {self.count} lost the connection to another one, which ended, was killed or "
                f"hangs; what it said, if anything, stands above. {further}".rstrip()
            ) from error

    def _is_lost(self, error: RuntimeError) -> bool:
        """Whether an error says that another process is gone."""
        if isinstance(error, DiaboloError):
            return isinstance(error, _LostError)
        return isinstance(error, self._dist.DistError) or any(word in str(error).lower() for word in LOST)

    def close(self) -> None:
        if self._owns_group and self._dist.is_initialized():
            with self.guarded(""):
                self._dist.barrier()  # without it gloo's teardown aborts now and then
            # gloo's threads may be about to free a tensor, for which they need the lock of Python that the end of the
            # group, waiting for them, would hold.
            time.sleep(SETTLING)
            self._dist.destroy_process_group()


class _LostError(TrainingError):
    """Another process is gone."""


def join(device: str = "auto") -> ProcessGroup:
    """The processes that torchrun started, of which this is one; or this one alone.

    Args:
        device: where training is to take place; it decides whether gradients go through NCCL or gloo.

    Raises:
        ConfigError: the environment names several processes and not how they find each other.
        TrainingError: the others could not be met.
    """
    size = os.environ.get("WORLD_SIZE") or "1"
    require(size.isdecimal(), "The environment's WORLD_SIZE", "a number of processes", size)
    if int(size) <= 1:
        return ProcessGroup()
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {size}, and {', '.join(missing)} should be set with it: start the "
            "processes with torchrun --nproc-per-node N -m diabolo train ..., or unset WORLD_SIZE."
        )
    import torch.distributed as dist

    if not dist.is_initialized():
        on_gpu = device.partition(":")[0] in ("auto", "cuda") and torch.cuda.is_available()
        try:
            _meet("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        except (RuntimeError, ValueError) as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            reason = str(error).splitlines()[0]
            raise TrainingError(f"The other processes could not be met at {where}: {reason}") from error
    return _Several()


def _meet(backend: str) -> None:
    """Makes the group of all processes, under a name of its own, since there may have been one before."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if not _MET:
        _MET.extend(next(rendezvous("env://", timeout=PATIENCE)))
        atexit.register(time.sleep, SETTLING)  # where an error ends the process, and with it the group
    store, rank, count = _MET[:3]
    _MET.append(None)
    named = dist.PrefixStore(f"diabolo-{len(_MET)}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=named, rank=rank, world_size=count, timeout=PATIENCE)
    _Several._owns_group = True


_MET: list[Any] = []  # the store through which the processes meet, this one's rank, their count; one more per meeting


def _said(error: Exception | None) -> tuple[str, str] | None:
    """An error as it is told to the other processes: its class in diabolo.errors, and its message."""
    if error is None:
        return None
    kind = type(error).__name__
    if isinstance(error, DiaboloError) and not isinstance(error, MissingExtraError) and hasattr(errors, kind):
        return kind, str(error)
    return "TrainingError", f"{kind}: {error}"
