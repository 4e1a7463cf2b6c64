"""Loggers by name: what `diabolo train --log NAME` and `train(log=NAME)` write beside the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diabolo.config import Names, require
from diabolo.errors import ConfigError
from diabolo.training import Callback

__all__ = ["loggers", "make_loggers"]

loggers: Names[Callable[[Path], Callback]] = Names("logger")
"""Classes of callbacks, called with one argument: the folder that the log goes to, `RUN/NAME`.

`@loggers.register("lines")` above a class adds one that `--log` and `log=` take.
"""


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
    classes = {name: loggers[name] for name in choices}
    if choices and folder is None:
        raise ConfigError("A log needs a folder to go to: give out='runs/name', or log=().")
    return [make(folder / name) for name, make in classes.items() if folder is not None]
