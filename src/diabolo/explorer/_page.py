"""The explorer's page as one HTML text, with style and script inside."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

__all__ = ["as_json", "page", "static"]


def page(boot: Mapping[str, Any], *, nonce: str = "", data: str = "") -> str:
    """The HTML of the page, which loads nothing from other sites.

    Args:
        boot: where its runs are: {"mode": "server", "runs": ["/api"]}.
        nonce: of its scripts, for a content security policy.
        data: further elements, which hold the runs of a page without a server.
    """
    parts = {
        "/*STYLE*/": _text("explorer.css"),
        "/*BOOT*/": as_json(boot),
        "<!--DATA-->": data,
        "/*NONCE*/": f' nonce="{nonce}"' if nonce else "",
        "/*SCRIPT*/": _text("explorer.js"),
    }
    rest = _text("page.html")
    pieces = []
    for mark, part in parts.items():  # in the order of the page, so that no insertion is searched for the next mark
        before, match, rest = rest.partition(mark)
        if not match:
            raise AssertionError(f"page.html lacks {mark}")
        pieces += [before, part]
    return "".join([*pieces, rest])


def as_json(value: Any) -> str:
    """JSON for the inside of a script element, which `</script>` in a text would end."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def static(name: str) -> bytes:
    """A file of the package's static folder."""
    return resources.files("diabolo.explorer").joinpath("static", name).read_bytes()


@functools.cache
def _text(name: str) -> str:
    return static(name).decode("utf-8")
