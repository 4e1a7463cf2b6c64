"""The progress bar of a large job: rows, their rate, the time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Bar"]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:,.0f} rows/s")


class Bar:
    """One progress bar for every executor, on terminals alone; it vanishes at the end.

    Args:
        console: where it is drawn; stderr when left out.

    >>> import io
    >>> bar = Bar(Console(file=io.StringIO()))
    >>> bar.start("encode", total=100, done=0)
    >>> bar.advance(100)
    >>> bar.stop()
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            refresh_per_second=8,
        )

    def start(self, text: str, total: int, done: int) -> None:
        """Shows the bar.

        Args:
            text: the name of the operation.
            total: rows of the whole job.
            done: rows of the pieces that exist.
        """
        self._task = self._progress.add_task(text, total=total, completed=done)
        if self._console.is_terminal:
            self._progress.start()

    def advance(self, rows: int) -> None:
        """Moves the bar by a number of rows."""
        self._progress.advance(self._task, rows)

    def stop(self) -> None:
        """Removes the bar."""
        if self._console.is_terminal:
            self._progress.stop()
