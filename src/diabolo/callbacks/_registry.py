"""Loggers by name: what `diabolo train --log NAME` and `train(log=NAME)` write beside the history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo._imported import is_path, trust
from diabolo.config import Registry, require
from diabolo.errors import ConfigError
from diabolo.training import Callback

__all__ = ["loggers", "make_loggers"]

loggers: Registry[Callback] = Registry("logger", Callback, "diabolo.loggers")
"""Classes of callbacks, called with one argument: the folder that the log goes to, `RUN/NAME`.

`@loggers.register("lines")` above a class adds one that `--log` and `log=` take; the import path of a class,
`my_module:Lines`, is a name, too.
"""


def make_loggers(names: str | Sequence[str], folder: Path | None) -> list[Callback]:
    """The loggers of a run.

    Args:
        names: one name, several with commas between them, or a sequence of names.
        folder: of the run; each logger gets a folder of its own in it.

    Raises:
        ConfigError: an unknown name, no folder, or a class that cannot be made.
        MissingExtraError: a logger's package is not installed.

    >>> make_loggers((), None)
    []
    """
    many: Any = names
    is_valid = isinstance(many, Sequence) and all(isinstance(name, str) for name in many)  # a string is of strings, too
    require(is_valid, "log", "the name of a logger, or a sequence of names", names)
    choices = [name for name in (names.split(",") if isinstance(names, str) else names) if name]
    trust(name for name in choices if is_path(name))  # whoever names code wants it run
    classes = {name: loggers[name] for name in choices}
    if choices and folder is None:
        raise ConfigError("A log needs a folder to go to: give out='runs/name', or log=().")
    return [_made(name, cls, folder / name.replace(":", ".")) for name, cls in classes.items() if folder is not None]


def _made(name: str, cls: Any, folder: Path) -> Callback:
    try:
        logger: Callback = cls(folder)
    except TypeError as error:
        raise ConfigError(f"The logger {name!r} cannot be made with the folder that it writes to: {error}.") from error
    return logger
