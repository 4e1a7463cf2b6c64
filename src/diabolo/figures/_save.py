"""Figures as files and bytes; the same figure gives the same bytes."""

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

# The metadata of time and program that each format would write; None leaves it out, so that bytes can be compared.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}
_salt_lock = threading.Lock()


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, SVG or PDF, by the suffix of `path`, as a whole or not at all.

    The file has no time and no program's name in it, so that the same figure gives the same bytes.

    Raises:
        ConfigError: another suffix.
        StorageError: the file could not be written.

    >>> import tempfile
    >>> from diabolo.figures import kl_per_dimension
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(kl_per_dimension([2.0, 0.5]), f"{folder}/kl.png")
    ...     os.listdir(folder)
    ['kl.png']
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

    >>> from diabolo.figures import kl_per_dimension
    >>> svg_or_png(kl_per_dimension([2.0, 0.5]))[1:4]
    b'PNG'
    """
    if kind not in ("png", "svg"):
        raise ConfigError(f"A figure can be embedded as png or svg, and was asked for as {kind!r}.")
    buffer = io.BytesIO()
    _write(figure, buffer, kind)
    return buffer.getvalue()


def _write(figure: Figure, stream: IO[bytes], kind: str) -> None:
    """Writes a figure with a fixed salt for the ids of an SVG, which matplotlib otherwise salts at random.

    The salt is a global setting: the lock keeps threads that save at the same time from restoring each other's value.
    """
    import matplotlib

    with _salt_lock:
        salt = matplotlib.rcParams["svg.hashsalt"]
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
            matplotlib.rcParams["svg.hashsalt"] = salt
