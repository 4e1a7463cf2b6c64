"""`ProcessGroup`: the processes of distributed training, their collective operations, and errors that reach all.

`torchrun` starts the same command several times and passes each process its rank in the environment. The processes
communicate through torch.distributed; a single process never imports it.
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
from diabolo._words import whole_number
from diabolo.errors import ConfigError, DataError, DiaboloError, MissingExtraError, TrainingError

__all__ = ["ProcessGroup", "join", "share"]

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)  # for a process that hangs; one that ends is noticed at once
SETTLING = 0.1  # seconds that gloo's threads need to come to rest
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # of the environment, set by torchrun
LOST = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "timed out", "socket")


def share(count: int, part: int, parts: int) -> tuple[int, int]:
    """The bounds of a part's contiguous share of `count` items; the sizes of shares differ by at most one.

    >>> [share(10, part, 3) for part in range(3)]
    [(0, 3), (3, 6), (6, 10)]
    """
    return part * count // parts, (part + 1) * count // parts


class ProcessGroup:
    """The group of a single process: every collective operation returns at once. `join` returns the group of several.

    Attributes:
        rank: the number of this process, from 0.
        count: the number of processes.
        here: the number of processes on this machine.

    >>> group = ProcessGroup()
    >>> group.all_reduce([1.0, 2.0]), group.all_gather("a"), group.is_first
    ([1.0, 2.0], ['a'], True)
    """

    rank = 0
    count = 1
    here = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints: rank 0."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process, given the user's device for all: on GPUs each process takes its own."""
        return name

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """The sums of values over the processes, in each of them."""
        return list(values)

    def all_reduce_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums of named tensors over the processes, in each of them."""
        return tensors

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in any process."""
        return self.all_reduce([flag])[0] > 0

    def broadcast(self, value: T) -> T:
        """The value of the first process, in every process."""
        return value

    def all_gather(self, value: T) -> list[T]:
        """The values of all processes, by rank, in every process."""
        return [value]

    def broadcast_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites tensors with those of the first process."""

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites tensors with their averages over the processes."""

    @contextlib.contextmanager
    def barrier(self) -> Iterator[None]:
        """A barrier: if one process fails inside the block, every process raises the same error."""
        yield

    @contextlib.contextmanager
    def local_first(self) -> Iterator[None]:
        """The first process of each machine runs the block before the others do, which find what it cached."""
        yield

    @contextlib.contextmanager
    def guarded(self, further: str) -> Iterator[None]:
        """A context in which a lost connection to another process raises a TrainingError that ends with `further`."""
        yield

    def require_same(self, values: Mapping[str, object]) -> None:
        """Checks that all processes have the same values.

        Args:
            values: name -> the value of this process.

        Raises:
            DataError: in every process; the message says what differs, and the values.
        """
        own = {name: str(value) for name, value in values.items()}
        for rank, other in enumerate(self.all_gather(own)):
            differing = [name for name in own if other.get(name) != own[name]]
            if differing:
                name = differing[0]
                raise DataError(
                    f"All {self.count} processes should have the same {name}: process {self.rank} has {own[name]}, and "
                    f"process {rank} has {other.get(name)}. Start the same command with the same files on each machine."
                )

    def close(self) -> None:
        """Ends the group; all processes call it at the same time. `join` makes a new one."""


class _TorchGroup(ProcessGroup):
    """The group of several processes, over torch.distributed."""

    _owns_group = False  # whether `join` made torch's group, so that `close` ends it

    def __init__(self) -> None:
        import torch.distributed

        self._dist = torch.distributed
        self.rank = self._dist.get_rank()
        self.count = self._dist.get_world_size()
        self.here = _number_of("LOCAL_WORLD_SIZE", self.count)
        self._local_rank = _number_of("LOCAL_RANK", self.rank)

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

    def all_reduce_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        with self.guarded(""):
            for tensor in tensors.values():
                self._dist.all_reduce(tensor)
        return tensors

    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        with self.guarded(""):
            for tensor in tensors:
                whole = tensor.contiguous()
                self._dist.all_reduce(whole)
                tensor.copy_(whole / self.count)

    @contextlib.contextmanager
    def barrier(self) -> Iterator[None]:
        failure: Exception | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 (raised again once the others know of it)
            failure = error
        failures = [
            (rank, description)
            for rank, description in enumerate(self.all_gather(_described(failure)))
            if description is not None
        ]
        if failure is not None:
            raise failure
        if failures:
            rank, (kind, message) = failures[0]
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
            raise _LostProcessError(
                f"Process {self.rank} of {self.count} lost the connection to another one, which ended, was killed or "
                f"hangs; what it said, if anything, stands above. {further}".rstrip()
            ) from error

    def _is_lost(self, error: RuntimeError) -> bool:
        """Whether an error means that another process is gone: torch has no type of its own for most of these."""
        if isinstance(error, DiaboloError):
            return isinstance(error, _LostProcessError)
        return isinstance(error, self._dist.DistError) or any(word in str(error).lower() for word in LOST)

    def close(self) -> None:
        if self._owns_group and self._dist.is_initialized():
            with self.guarded(""):
                self._dist.barrier()  # without it gloo's teardown aborts now and then
            # gloo's threads may be about to free a tensor, for which they need the GIL; `destroy_process_group` holds
            # the GIL while it waits for them, and would never return.
            time.sleep(SETTLING)
            self._dist.destroy_process_group()


class _LostProcessError(TrainingError):
    """A lost connection to another process."""


def join(device: str = "auto") -> ProcessGroup:
    """The group of the processes that torchrun started; without torchrun, that of this process alone.

    Args:
        device: of training; it decides whether gradients go through NCCL or gloo.

    Raises:
        ConfigError: the environment names several processes, and not where they meet.
        TrainingError: the other processes cannot be reached.

    >>> join("cpu").count
    1
    """
    count = _number_of("WORLD_SIZE", 1)
    if count <= 1:
        return ProcessGroup()
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {count}, and {', '.join(missing)} should be set with it: start the "
            "processes with torchrun --nproc-per-node N -m diabolo train ..., or unset WORLD_SIZE."
        )
    import torch.distributed as dist

    if not dist.is_initialized():
        on_gpu = device.partition(":")[0] in ("auto", "cuda") and torch.cuda.is_available()
        try:
            _rendezvous("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        except (RuntimeError, ValueError) as error:
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            reason = str(error).splitlines()[0]
            raise TrainingError(f"The other processes could not be met at {where}: {reason}") from error
    return _TorchGroup()


def _number_of(variable: str, default: int) -> int:
    """A number that torchrun left in the environment."""
    text = os.environ.get(variable) or str(default)
    number = whole_number(text)
    if number is None:
        raise ConfigError(f"The environment's {variable} should be a number, and was given {text[:20]!r}. Unset it.")
    return number


def _rendezvous(backend: str) -> None:
    """Makes torch's group of all processes.

    Each group has a prefix of its own in the store: keys of an earlier group would confuse the later one.
    """
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if not _MEETINGS:
        _MEETINGS.extend(next(rendezvous("env://", timeout=PATIENCE)))
        atexit.register(time.sleep, SETTLING)  # for a process that ends by an error, without `close`
    store, rank, count = _MEETINGS[:3]
    _MEETINGS.append(None)
    named = dist.PrefixStore(f"diabolo-{len(_MEETINGS)}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=named, rank=rank, world_size=count, timeout=PATIENCE)
    _TorchGroup._owns_group = True


_MEETINGS: list[Any] = []  # the store, this rank, the number of processes; one more entry per group


def _described(error: Exception | None) -> tuple[str, str] | None:
    """An error as it is sent to the other processes: the name of its class in diabolo.errors, and its message."""
    if error is None:
        return None
    kind = type(error).__name__
    if isinstance(error, DiaboloError) and not isinstance(error, MissingExtraError) and hasattr(errors, kind):
        return kind, str(error)
    return "TrainingError", f"{kind}: {error}"
