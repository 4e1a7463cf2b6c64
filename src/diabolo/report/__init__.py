"""A run as one page: what was trained on what, how good it is, how its code fares, how it looks, how to have it again.

The page is a single file without scripts; it loads nothing, and holds each figure twice, for light and for dark.
"""

from __future__ import annotations

from diabolo.report._page import write_report

__all__ = ["write_report"]
