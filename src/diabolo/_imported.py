"""Parts from outside the package by import path, `module:Class`, from modules that the user trusts and no others.

To import a module is to run it. A name that a person types is trusted; a name in a run's config.json is not, until the
person says so: `--trust my_module`, `diabolo.load(path, trust="my_module")`, or the environment's DIABOLO_TRUST, which
processes that are started from this one inherit.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from diabolo.errors import ConfigError, PartError, UntrustedError

__all__ = [
    "import_class",
    "import_object",
    "is_path",
    "is_trusted",
    "path_of",
    "require_class",
    "require_trust",
    "trust",
]

T = TypeVar("T")

TRUST = "DIABOLO_TRUST"


def is_path(name: object) -> TypeGuard[str]:
    """Whether a name is an import path.

    >>> is_path("my_module:MyVAE"), is_path("vae")
    (True, False)
    """
    return isinstance(name, str) and ":" in name


def trust(modules: Any) -> None:
    """Lets parts be imported from these modules and from what is below them, in this process and those it starts.

    Args:
        modules: names, or names with commas between them; of an import path its module.

    >>> trust(())
    """
    names = modules.split(",") if isinstance(modules, str) else modules
    names = list(names) if isinstance(names, Iterable) else [names]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"trust should be names of modules, such as 'my_module', and was given {modules!r}.")
    known = _trusted()
    added = [name.partition(":")[0].strip() for name in names]
    os.environ[TRUST] = ",".join([*known, *(name for name in added if name and name not in known)])


def import_class(path: str, base: type[T], kind: str) -> type[T]:
    """The class at an import path.

    Args:
        path: `module:Class`.
        base: what it derives from.
        kind: what it is, for messages.

    Raises:
        UntrustedError: its module is not trusted.
        PartError: it is not there, fails as it is imported, or is no such class.

    >>> import_class("collections:OrderedDict", dict, "part")
    Traceback (most recent call last):
    diabolo.errors.UntrustedError: The part 'collections:OrderedDict' is code of the module collections, ...
    """
    return require_class(import_object(path, kind), base, f"The {kind} {path!r}")


def import_object(path: str, kind: str) -> Any:
    """What stands at an import path, a class or a function; None where the module holds nothing of that name.

    Args:
        path: `module:name`.
        kind: what it is, for messages.

    Raises:
        UntrustedError: its module is not trusted.
        PartError: its module is not there, or fails as it is imported.
    """
    module, _, name = path.partition(":")
    if not (module and name):
        raise PartError(f"The {kind} {path!r} should be an import path, module:Class, such as my_module:MyClass.")
    require_trust(path, kind)
    return _inside(_module(module, f"The {kind} {path!r}"), name)


def require_trust(path: str, kind: str) -> None:
    """Raises an UntrustedError where the module of an import path is not trusted.

    >>> require_trust("collections:OrderedDict", "part")
    Traceback (most recent call last):
    diabolo.errors.UntrustedError: The part 'collections:OrderedDict' is code of the module collections, ...
    """
    module = path.partition(":")[0]
    if not is_trusted(module):
        raise UntrustedError(
            f"The {kind} {path!r} is code of the module {module}, which loading would run. If you trust it, say so: "
            f"--trust {module}, or trust={module!r} in Python."
        )


def is_trusted(module: str) -> bool:
    """Whether somebody said to trust a module, or a package that it is in.

    >>> is_trusted("collections")
    False
    """
    return any(module == one or module.startswith(f"{one}.") for one in _trusted())


def require_class(item: Any, base: type[T], what: str) -> type[T]:
    """The item as it is; a PartError where it is no class that derives from `base`."""
    if not (isinstance(item, type) and issubclass(item, base)):
        holds = "nothing of that name" if item is None else f"{item!r}"
        raise PartError(
            f"{what} should be a class that derives from {base.__module__}.{base.__qualname__}, and the module holds "
            f"{holds}."
        )
    return item


def path_of(cls: Any) -> str | None:
    """The import path of a class or a function; None where another process could not import it.

    >>> from collections import OrderedDict
    >>> path_of(OrderedDict), path_of(type("Local", (), {}))
    ('collections:OrderedDict', None)
    """
    if not hasattr(cls, "__qualname__"):
        return None
    item = _inside(sys.modules.get(cls.__module__), cls.__qualname__)
    return f"{cls.__module__}:{cls.__qualname__}" if item is cls and cls.__module__ != "__main__" else None


def _inside(module: Any, name: str) -> Any:
    """What a dotted name stands for in a module; None where that is nothing."""
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def _module(name: str, what: str) -> Any:
    """The module, also one that lies in the working folder, where a console script does not look."""
    here = str(Path.cwd())
    try:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0] or here in sys.path:
                raise
            sys.path.append(here)
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PartError(
            f"{what} cannot be imported: {type(error).__name__}: {error}. Call it from the folder in which "
            f"{name} lies, or name that folder in PYTHONPATH."
        ) from error


def _trusted() -> list[str]:
    return [name for name in os.environ.get(TRUST, "").split(",") if name]
