"""The history of a run: one JSON object per line, one line per epoch and, by option, one per so many steps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo.errors import RunError
from diabolo.storage.files import MOST_JSON, unwritable, write_text
from diabolo.storage.foreign import check_form, parse_json, reading, require_file

__all__ = ["HISTORY", "History", "read_history", "write_history"]

HISTORY = "history.jsonl"  # in the folder of a run
TERMS = {str: (float, None, [(float, None)])}  # of a loss; null stands for what is not finite
LINE: dict[Any, Any] = {"kind": str, "step": int, "epoch?": int}
LINES: dict[Any, dict[Any, Any]] = {
    "epoch": LINE | {
        "epoch": int, "seconds": (float, None), "lr": (float, None), "train": {"loss": (float, None)} | TERMS,
        "weights?": TERMS, "validation?": {"loss?": (float, None)} | TERMS, "test?": {"loss?": (float, None)} | TERMS,
    },
}  # fmt: skip


class History:
    """The lines of a history, in memory and, with a path, appended to a file.

    Args:
        path: the file, or None.
        writes: whether this process writes the file; among several processes one does.

    >>> history = History()
    >>> history.add({"kind": "epoch", "step": 10, "loss": 1.5})
    >>> len(history.epochs)
    1
    """

    def __init__(self, path: Path | None = None, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.lines: list[dict[str, Any]] = []

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The lines of kind "epoch"."""
        return [line for line in self.lines if line["kind"] == "epoch"]

    def add(self, line: dict[str, Any]) -> None:
        """Appends a line.

        Raises:
            StorageError: the file could not be written.
        """
        self.lines.append(line)
        if self.path is None or not self.writes:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_dump(line))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def cut(self, step: int, epoch: int) -> None:
        """Reads the file up to a step and an epoch, and drops the lines after them: a resumed run writes them again."""
        if self.path is not None and self.path.exists():
            self.lines = [
                line for line in read_history(self.path) if line["step"] <= step and line.get("epoch", 0) <= epoch
            ]
            if self.writes:
                write_history(self.path, self.lines)


def write_history(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Writes the lines of a history to a file, as a whole or not at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_history(Path(folder, HISTORY), [{"kind": "step", "step": 10, "loss": math.nan}])
    ...     read_history(Path(folder, HISTORY))
    [{'kind': 'step', 'step': 10, 'loss': None}]
    """
    write_text(path, "".join(map(_dump, lines)))


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of a history; a last line that a kill cut short is left out.

    Raises:
        RunError: a line before the last is not JSON.

    >>> read_history(Path("nowhere/history.jsonl"))
    []
    """
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    with reading(path):
        require_file(path, MOST_JSON)
        texts = path.read_bytes().splitlines()
    for number, text in enumerate(texts, 1):
        try:
            with reading(f"{path}, line {number},"):
                line = parse_json(text)
                check_form(line, LINES.get(line.get("kind"), LINE) if isinstance(line, dict) else LINE, "it")
            lines.append(line)
        except RunError:
            if number < len(texts) or text.endswith(b"}"):
                raise
    return lines


def _dump(line: dict[str, Any]) -> str:
    return json.dumps(_finite(line)) + "\n"


def _finite(value: Any) -> Any:
    """A value with null for numbers that are not finite: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
