"""One sentence of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One sentence of the diagnosis.

    Attributes:
        level: good, note or problem.
        title: the finding.
        text: the numbers behind it and what to do; `backticks` enclose commands.

    >>> Finding("good", "Training has settled", "See `diabolo info`.").sentences
    'Training has settled. See diabolo info.'
    """

    level: Literal["good", "note", "problem"]
    title: str
    text: str

    @property
    def sentences(self) -> str:
        """Title and text for a terminal."""
        return f"{self.title}. {self.text}".replace("`", "")
