"""Reports as single HTML pages: of a run, `report.html`, and of a comparison of several.

Style, figures for light and dark screens and numbers are inside the page. It loads nothing and runs no script.
"""

from diabolo.report._comparison_page import write_comparison
from diabolo.report._page import has_report, write_report

__all__ = ["has_report", "write_comparison", "write_report"]
