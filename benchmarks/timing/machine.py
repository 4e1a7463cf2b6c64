"""What the machine is, as a page can say it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["describe", "gpu"]

VECTORS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, the time, and how busy it was before."""
    processor, flags = _processor()
    return {
        "processor": processor,
        "vectors": [flag for flag in VECTORS if flag in flags],
        "virtual": "hypervisor" in flags,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("diabolo", "torch", "numpy")},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": round(os.getloadavg()[0], 2),
    }


def gpu() -> str:
    """The name of the GPU.

    Raises:
        SystemExit: there is none, or torch cannot use it.
    """
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(
            f"--device cuda needs a GPU that torch can use; torch {torch.__version__} finds none here. "
            "Leave --device out to measure the processor."
        )
    name: str = torch.cuda.get_device_name()
    return f"{name}, CUDA {torch.version.cuda}"


def _processor() -> tuple[str, set[str]]:
    """Its name and what it can do."""
    path = Path("/proc/cpuinfo")
    said = path.read_text() if path.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", said, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", said, re.MULTILINE)
    speed = _maximum()
    label = name.group(1) if name else platform.processor() or platform.machine()
    return f"{label}{speed}", set(flags.group(1).split()) if flags else set()


def _maximum() -> str:
    """Family and caches, where lscpu says them: a name alone is often none."""
    try:
        said = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    rows = dict(re.findall(r"^\s*([^:]+):\s*(.+)$", said, re.MULTILINE))
    facts = [f"{key} {rows[key]}" for key in ("CPU family", "Model", "L2 cache", "L3 cache") if key in rows]
    return f" ({', '.join(facts)})" if facts else ""


def _memory() -> str:
    path = Path("/proc/meminfo")
    found = re.search(r"MemTotal:\s*(\d+)", path.read_text()) if path.exists() else None
    return f"{int(found.group(1)) / 2**20:.0f} GiB" if found else "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
