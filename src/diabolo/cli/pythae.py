"""`import-pythae`: a model of another library as a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diabolo import runs
from diabolo.cli._parser import Parser, emit

__all__ = ["import_pythae"]


def import_pythae(parser: Parser, words: Sequence[str]) -> int:
    """Writes a run from a model that pythae saved."""
    parser.add_argument("folder", help="the folder that pythae's model.save wrote: final_model")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="where to")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse(words)
    model = runs.import_pythae(arguments.folder)
    model.save(arguments.out)
    notes = model.info["notes"]
    text = "\n".join([f"{model}", *(f"{note}." for note in notes), f"  run   {arguments.out}"])
    emit({"run": str(arguments.out), "imported": model.info["imported"], "notes": notes}, arguments.json, text)
    return 0
