"""Figures as files and bytes: the same figure gives the same bytes."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from diabolo.errors import ConfigError
from diabolo.storage.files import writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save", "svg_or_png"]

# What each format would write about the moment and the program; None leaves it out.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}
_salting = threading.Lock()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, SVG or PDF, by the suffix of `path`; whole or not at all.

    The file says neither when nor by what it was written, so that the same figure gives the same bytes.

    Raises:
        ConfigError: another suffix.
        StorageError: the file could not be written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise ConfigError(
            f"A figure can be saved as .png, .svg or .pdf, and was to go to {os.fspath(path)}: choose another ending."
        )
    with writing(path) as temporary, temporary.open("wb") as stream:
        _write(figure, stream, kind)


def svg_or_png(figure: Figure, kind: Literal["png", "svg"] = "png") -> bytes:
    """A figure as the bytes of a PNG or an SVG, to embed in a page.

    Raises:
        ConfigError: another kind.
    """
    if kind not in ("png", "svg"):
        raise ConfigError(f"A figure can be embedded as png or svg, and was asked for as {kind!r}.")
    buffer = io.BytesIO()
    _write(figure, buffer, kind)
    return buffer.getvalue()


def _write(figure: Figure, stream: IO[bytes], kind: str) -> None:
    """An SVG's ids are hashes, salted at random unless a setting says with what; it is set for this file alone."""
    import matplotlib

    with _salting:
        before = matplotlib.rcParams["svg.hashsalt"]
        matplotlib.rcParams["svg.hashsalt"] = "diabolo"
        try:
            figure.savefig(
                stream,
                format=kind,
                dpi="figure",
                metadata=METADATA[kind],
                facecolor=figure.get_facecolor(),
                edgecolor="none",
            )
        finally:
            matplotlib.rcParams["svg.hashsalt"] = before
