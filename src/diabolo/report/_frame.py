"""A figure inside a page: light and dark, with its title, its caption and its text for screen readers."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from diabolo import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["framed"]


def framed(light: Figure, dark: Figure, title: str, caption: str, alt: str) -> str:
    """HTML of a figure in two versions, of which the browser shows the one for a light or for a dark page.

    Args:
        light: the figure for a light page.
        dark: the same for a dark page.
        title: its heading.
        caption: below it.
        alt: its text for screen readers.
    """
    width, height = (round(96 * float(side)) for side in light.get_size_inches())
    return (
        f'<figure class="card"><h3>{escape(title)}</h3><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data_uri(figures.svg_or_png(dark))}">'
        f'<img src="{_data_uri(figures.svg_or_png(light))}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}"></picture>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
