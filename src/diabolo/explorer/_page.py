"""The explorer's page as one HTML text: its style and script inside, from the package's own files."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

__all__ = ["as_json", "page", "static"]


def page(boot: Mapping[str, Any], *, nonce: str = "", data: str = "") -> str:
    """The page, which needs nothing from elsewhere.

    Args:
        boot: where its runs are: {"mode": "server", "runs": ["/api"]}.
        nonce: by which a content security policy knows its scripts.
        data: further elements, which hold the runs of a page without a server.
    """
    parts = {
        "/*STYLE*/": _text("explorer.css"),
        "/*BOOT*/": as_json(boot),
        "<!--DATA-->": data,
        "/*NONCE*/": f' nonce="{nonce}"' if nonce else "",
        "/*SCRIPT*/": _text("explorer.js"),
    }
    made = _text("page.html")
    pieces = []
    for mark, part in parts.items():  # in the order of the page; what is put in is never searched
        before, found, made = made.partition(mark)
        if not found:
            raise AssertionError(f"page.html lacks {mark}")
        pieces += [before, part]
    return "".join([*pieces, made])


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def static(name: str) -> bytes:
    """A file of the package's static folder."""
    return resources.files("diabolo.explorer").joinpath("static", name).read_bytes()


@functools.cache
def _text(name: str) -> str:
    return static(name).decode("utf-8")
