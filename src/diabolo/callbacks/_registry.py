"""Loggers by name: what `diabolo train --log NAME` and `train(log=NAME)` write beside the history."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from diabolo.config import require
from diabolo.errors import ConfigError, unknown_name
from diabolo.training import Callback

__all__ = ["LOGGERS", "logger", "logger_names", "make_loggers"]

L = TypeVar("L", bound=type[Callback])

LOGGERS: dict[str, Callable[[Path], Callback]] = {}
_BUILT_IN = ("diabolo.callbacks.tensorboard",)


def logger(name: str) -> Callable[[L], L]:
    """A class decorator: registers a callback under a name that `--log` and `log=` take.

    The class is called with one argument, the folder that its log goes to: `RUN/NAME`.

    Args:
        name: of the logger.

    Raises:
        ConfigError: another class has the name.

    >>> from diabolo.training import Callback
    >>> @logger("lines")
    ... class Lines(Callback):
    ...     def __init__(self, folder):
    ...         self.folder = folder
    >>> LOGGERS.pop("lines") is Lines
    True
    """

    def register(cls: L) -> L:
        if name in LOGGERS:
            raise ConfigError(f"There is a logger named {name!r} already: {LOGGERS[name]}.")
        LOGGERS[name] = cls
        return cls

    return register


def logger_names() -> tuple[str, ...]:
    """The names of all loggers, in order.

    >>> "tensorboard" in logger_names()
    True
    """
    for module in _BUILT_IN:  # each registers its loggers when it is imported
        importlib.import_module(module)
    return tuple(sorted(LOGGERS))


def make_loggers(names: str | Sequence[str], folder: Path | None) -> list[Callback]:
    """The loggers of a run.

    Args:
        names: one name, several with commas between them, or a sequence of names.
        folder: of the run; each logger gets a folder of its own in it.

    Raises:
        ConfigError: an unknown name, or no folder.
        MissingExtraError: a logger's package is not installed.

    >>> make_loggers((), None)
    []
    """
    many: Any = names
    is_valid = isinstance(many, Sequence) and all(isinstance(name, str) for name in many)  # a string is of strings, too
    require(is_valid, "log", "the name of a logger, or a sequence of names", names)
    choices = [name for name in (names.split(",") if isinstance(names, str) else names) if name]
    known = logger_names()
    for name in choices:
        if name not in known:
            raise unknown_name("logger", name, known)
    if choices and folder is None:
        raise ConfigError("A log needs a folder to go to: give out='runs/name', or log=().")
    return [LOGGERS[name](folder / name) for name in choices if folder is not None]
