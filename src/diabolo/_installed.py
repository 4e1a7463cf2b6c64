"""Parts of installed packages, by entry points: with one, a package gives a name to a class or a function of its own.

    [project.entry-points."diabolo.models"]
    my-vae = "my_package:MyVAE"

Whoever installed the package trusts it. Nothing is read before a name is looked up that diabolo does not have, or a
list of names is printed; nothing is imported before a part is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diabolo.errors import PartError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Installed", "installed", "modules_of_packages"]


@dataclass(frozen=True)
class Installed:
    """A name that one installed package, or more of them, give to a part.

    Attributes:
        name: of the part.
        entries: the entry points of that name.

    >>> installed("diabolo.models").get("no such name") is None
    True
    """

    name: str
    entries: tuple[EntryPoint, ...]

    @property
    def path(self) -> str:
        """Where the part lies, `module:name`."""
        return self.entries[0].value

    @property
    def package(self) -> str:
        """The name and the version of the package; of several, joined by `and`."""
        return " and ".join(_package(entry) for entry in self.entries)

    def load(self, kind: str) -> Any:
        """The part, imported.

        Args:
            kind: what it is, for messages.

        Raises:
            PartError: two packages give the name, or its package cannot be imported.
        """
        if len(self.entries) > 1:
            paths = " or ".join(entry.value for entry in self.entries)
            raise PartError(
                f"Two packages have a {kind} named {self.name!r}: {self.package}. Name it by its import path "
                f"({paths}), or uninstall one of them."
            )
        try:
            return self.entries[0].load()
        except (Exception, SystemExit) as error:
            raise PartError(
                f"The {kind} {self.name!r} of the package {self.package} cannot be imported: {type(error).__name__}: "
                f"{error}. Install that package again, or uninstall it."
            ) from error


def installed(group: str) -> dict[str, Installed]:
    """The parts of a group of entry points, by name; their packages are not imported.

    Args:
        group: such as `diabolo.models`.
    """
    from importlib.metadata import entry_points

    entries: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        entries.setdefault(entry.name, []).append(entry)
    return {name: Installed(name, tuple(entries[name])) for name in sorted(entries)}


def modules_of_packages() -> set[str]:
    """The modules that entry points of any group of diabolo's name."""
    from importlib.metadata import entry_points

    groups = [group for group in entry_points().groups if group.startswith("diabolo.")]
    return {entry.module for group in groups for entry in entry_points(group=group)}


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
