"""What is kept of how one column of a table of mixed kinds becomes columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ColumnCode", "codes_from"]


@dataclass(frozen=True)
class ColumnCode:
    """How a column becomes numbers.

    Attributes:
        name: of the column.
        kind: number, boolean (1 and 0), date (days since 1970), or category (a column of 0 and 1 for each).
        fill: what missing numbers, booleans and dates become: the median of the training's table.
        names: of the categories.

    >>> ColumnCode("colour", "category", names=("blue", "red")).features
    ('colour=blue', 'colour=red')
    """

    name: str
    kind: str
    fill: float = 0.0
    names: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its columns of numbers."""
        return tuple(f"{self.name}={name}" for name in self.names) if self.kind == "category" else (self.name,)

    def config(self) -> dict[str, Any]:
        """A JSON object of the attributes."""
        return {**asdict(self), "names": list(self.names)}


def codes_from(config: Sequence[Mapping[str, Any]]) -> tuple[ColumnCode, ...]:
    """The codes whose `config` these are.

    >>> codes_from([ColumnCode("age", "number", 37.0).config()])
    (ColumnCode(name='age', kind='number', fill=37.0, names=()),)
    """
    return tuple(ColumnCode(**{**one, "names": tuple(one["names"])}) for one in config)
