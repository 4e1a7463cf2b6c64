"""Numbers, counts and texts as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from diabolo.diagnostics import number, plural

__all__ = ["code", "duration", "few", "label", "marked", "number", "plural"]


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{number(seconds, 2)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def label(term: str) -> str:
    """The label of a term of the loss."""
    return {"l1": "L1"}.get(term, re.sub("^kl(?=_|$)", "KL", term).replace("_", " "))


def few(names: Sequence[str], most: int = 20) -> str:
    """The first names, and dots for the rest."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def marked(text: str) -> str:
    """HTML of a text in which `backticks` enclose commands, with its addresses as links."""
    pieces = text.split("`")
    return "".join(code(piece) if place % 2 else _linked(piece) for place, piece in enumerate(pieces))


def _linked(text: str) -> str:
    pieces = re.split(r"(https?://[^\s,;)]+)", text)
    return "".join(
        f'<a href="{escape(piece)}">{escape(piece)}</a>' if place % 2 else escape(piece)
        for place, piece in enumerate(pieces)
    )


def code(text: str) -> str:
    """HTML of commands or source code; a browser may break a line before an option, not inside it."""
    lines = []
    for line in text.splitlines():
        groups = re.split(r" (?=-{1,2}\w)", line)
        lines.append(" ".join(f"<span>{escape(group)}</span>" for group in groups))
    return "<code>" + "\n".join(lines) + "</code>"
