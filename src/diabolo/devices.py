"""The device and the precision of the arithmetic."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import sys
from pathlib import Path
from typing import Literal

import torch

from diabolo.errors import ConfigError

__all__ = [
    "DTYPES",
    "Precision",
    "choose_device",
    "compute_alone_after_fork",
    "free_memory",
    "has_native_bf16",
    "keep_freed_memory",
]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt, in bytes

_GROUPS = Path("/sys/fs/cgroup")
CONTAINERS = [  # the folder of a container's memory, and the names of its limit, its use, and its cached files
    (_GROUPS, "memory.max", "memory.current", "inactive_file"),
    (_GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
]
Precision = Literal["auto", "float32", "bf16"]
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next tensors. Does nothing on other systems.

    By default glibc returns the memory of each large tensor to the system and asks for it again, page by page: for the
    convolutional recipe at batch 128 half a million page faults an epoch, a fifth of its time; for reconstructions by
    `fashion-ae` half of it.

    >>> keep_freed_memory()
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        if sys.platform == "linux" and hasattr(library, "gnu_get_libc_version"):
            for option, value in ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_THRESHOLD, 2**30), (_TOP_PAD, 2**26)):
                library.mallopt(option, value)


@functools.cache
def compute_alone_after_fork() -> None:
    """Has each process that is forked from this one compute with one thread.

    A fork copies no threads, and GNU's OpenMP waits forever for those that it had: a pool of processes would hang as
    soon as one of them multiplies large matrices. It asks for none where there is one.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name: `auto` is the GPU where there is one, otherwise the CPU; other names are torch's own.

    Raises:
        ConfigError: the device is unknown, or this machine has none.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if not isinstance(name, str):
        raise ConfigError(f"device should be a name, such as 'auto', 'cpu' or 'cuda:0', and was given {name!r}.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"The device {name!r} cannot be used: {reason}. Use 'auto' or 'cpu'.") from error
    return device


def has_native_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 numbers in hardware; elsewhere bf16 is emulated and slow.

    >>> has_native_bf16(torch.device("meta"))
    False
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    # Private parts of torch, which has no public way to ask; a version without them counts as a processor without.
    probes = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    if None in probes:  # they are private, and may go
        return any(flag in _processor_flags() for flag in ("avx512_bf16", "amx_bf16", "bf16"))
    return any(bool(probe()) for probe in probes if probe is not None)


def free_memory() -> float:
    """The bytes of main memory that a process may still take; infinite where the system does not say.

    >>> free_memory() > 0
    True
    """
    free = math.inf
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = min(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    for folder, limit, used, cached in CONTAINERS:
        with contextlib.suppress(OSError, ValueError, KeyError):
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            occupied = float((folder / used).read_text()) - float(stat[cached])  # the system gives up cached files
            free = min(free, float((folder / limit).read_text()) - occupied)
    return free


def _processor_flags() -> set[str]:
    """The instructions of the processor, as Linux names them; nothing elsewhere."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return set()
