"""Pages that stand alone: one for a run, `report.html`, and one for a comparison of several.

Everything is inside the page: style, pictures for a light and for a dark screen, numbers. It asks nothing of a network
and runs no script.
"""

from diabolo.report._comparison_page import write_comparison
from diabolo.report._page import write_report

__all__ = ["write_comparison", "write_report"]
