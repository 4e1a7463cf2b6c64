"""What a person sees while a large job runs: one bar over the rows, their rate, the time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Bar"]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:,.0f} rows/s")


class Bar:
    """One progress bar, whatever the engine; it vanishes at the end, and shows on terminals alone.

    Args:
        console: where to; stderr when left out.
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
        """Shows it.

        Args:
            text: what is done.
            total: rows of the whole job.
            done: those that were there already.
        """
        self._task = self._progress.add_task(text, total=total, completed=done)
        if self._console.is_terminal:
            self._progress.start()

    def advance(self, rows: int) -> None:
        """Counts rows that were made."""
        self._progress.advance(self._task, rows)

    def stop(self) -> None:
        """Takes it away."""
        if self._console.is_terminal:
            self._progress.stop()
