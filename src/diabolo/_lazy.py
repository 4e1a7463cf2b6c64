"""Packages whose names are imported when they are first used, so that `import diabolo` costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diabolo._moved import unknown

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562) that imports a public name from the submodule where it is defined.

    The same names stand in the package under `if TYPE_CHECKING`, where type checkers and the import contract read them.

    Args:
        package: the name of the package.
        homes: submodule -> the public names that it defines.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def getattribute(name: str) -> Any:
        if name not in home_of:
            raise unknown(package, name)
        return getattr(importlib.import_module(home_of[name]), name)

    return getattribute
