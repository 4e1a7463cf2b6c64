"""Measurements of this machine, remembered in the user's cache: which engine is faster, the cost of compiling.

One JSON file, `machine.json`. It is a memory and no more: where it is torn, of another machine, or cannot be written,
what it would say is measured again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diabolo.errors import DiaboloError
from diabolo.storage.files import read_json, write_json

__all__ = ["MACHINE", "cache_dir", "machine_key", "recall", "remember"]

log = logging.getLogger("diabolo")

MACHINE = "machine.json"
_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")  # which cap the instructions


def cache_dir() -> Path:
    """The folder of downloads, decoded images and measurements: DIABOLO_CACHE_DIR, or the user's cache folder."""
    folder = os.environ.get("DIABOLO_CACHE_DIR")
    if folder:
        return Path(folder).expanduser()
    import pooch

    return Path(pooch.os_cache("diabolo"))


def machine_key() -> str:
    """A hash of what decides a speed: the processors, their number and instructions, and the version of torch."""
    from torch import __version__

    text = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        text = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    facts = (platform.machine(), platform.processor(), text, os.cpu_count(), __version__)
    capped = [os.environ.get(name, "") for name in _VARIABLES]
    return hashlib.sha256(repr((facts, capped)).encode()).hexdigest()[:16]


def recall(name: str, is_valid: Callable[[Any], bool]) -> Any:
    """What was remembered under a name on this machine; None where there is nothing, or nothing valid.

    Args:
        name: of the measurement.
        is_valid: whether a value is one that could have been remembered.

    >>> recall("the speed of light", lambda value: True) is None
    True
    """
    value = _read().get(machine_key(), {}).get(name)
    return value if value is not None and is_valid(value) else None


def remember(name: str, value: Any) -> None:
    """Keeps a measurement of this machine; where the cache cannot be written, nothing is kept and nothing is said.

    Args:
        name: of the measurement.
        value: as JSON has it.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     before, os.environ["DIABOLO_CACHE_DIR"] = os.environ.get("DIABOLO_CACHE_DIR", ""), folder
    ...     remember("answer", 42)
    ...     recall("answer", lambda value: isinstance(value, int))
    ...     os.environ["DIABOLO_CACHE_DIR"] = before
    42
    """
    facts = _read()
    facts.setdefault(machine_key(), {})[name] = value
    with contextlib.suppress(*_TROUBLE):
        write_json(cache_dir() / MACHINE, facts)


# Of a home that is not there, a folder that may not be entered, a file of another kind, text that is no JSON.
_TROUBLE = (DiaboloError, OSError, RuntimeError, ValueError)


def _read() -> dict[str, dict[str, Any]]:
    try:
        path = cache_dir() / MACHINE
        if not path.is_file():
            return {}
        facts = read_json(path)
        json.dumps(facts, allow_nan=False)  # could it be written again?
        if all(isinstance(value, dict) for value in facts.values()):
            return facts
    except PermissionError:
        return {}
    except _TROUBLE as error:
        if isinstance(error.__cause__, OSError):  # it may not be read, and is as it should be for somebody else
            return {}
    _say_once(f"{path} is damaged: what it remembered of this machine is measured again.")
    with contextlib.suppress(OSError):
        path.unlink()
    return {}


@functools.cache
def _say_once(text: str) -> None:
    log.warning(text)
