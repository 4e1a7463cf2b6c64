"""What benchmarks that train share: runs that are kept and gone on with, numbers beside them, tables in the docs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import diabolo
from diabolo.runs import resume

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.md"


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all of them have: --out, --threads, --update."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--update", action="store_true", help=f"write the table into docs/{RESULTS.name}")
    return parser


def trained(folder: Path, source: Any, *, trust: tuple[str, ...] = (), **settings: Any) -> diabolo.Autoencoder:
    """The model of a run: from its folder, from its last checkpoint, or from the start."""
    if (folder / "config.json").exists():
        model = diabolo.load(folder, trust=trust)
        return model if "result" in model.info else resume(folder, trust=trust).go()
    return diabolo.train(source, out=folder, **settings)


def numbers(file: Path, measured: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What was measured: from its file where that is there, or now."""
    if not file.exists():
        found = measured()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found), encoding="utf-8")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def written(
    name: str,
    table: str,
    page: Path = RESULTS,
    keys: Sequence[int] = (),
    order: Callable[[list[str]], Any] | None = None,
) -> None:
    """Puts a table between its marks, `<!-- name: ... -->` and `<!-- /name -->`.

    Args:
        name: of the marks.
        table: its lines.
        page: the file.
        keys: the columns that tell rows apart, where rows of the page that are not in the table stay.
        order: what the rows are sorted by, from their cells; where they were, and new ones behind, when left out.
    """
    text = page.read_text(encoding="utf-8")
    start, end = text.find(f"<!-- {name}: "), text.find(f"<!-- /{name} -->")
    if not 0 <= start < end:
        raise SystemExit(f"{page} has no place for the table: <!-- {name}: ... --> and <!-- /{name} --> around it.")
    after = text.index("-->", start) + len("-->")
    if keys:
        table = merged(text[after:end].strip(), table, keys, order)
    page.write_text(f"{text[:after]}\n{table}\n{text[end:]}", encoding="utf-8")


def merged(old: str, new: str, keys: Sequence[int], order: Callable[[list[str]], Any] | None = None) -> str:
    r"""A table with the rows of both, those of the new one where both have them.

    >>> print(merged("| a | b |\n| - | - |\n| x | 1 |\n| y | 2 |", "| a | b |\n| - | - |\n| y | 3 |", [0]))
    | a | b |
    | - | - |
    | x | 1 |
    | y | 3 |
    """
    lines = new.splitlines()
    if old.splitlines()[:1] != lines[:1]:
        return new  # its columns are others
    rows = {tuple(cells(line)[key] for key in keys): line for line in [*old.splitlines()[2:], *lines[2:]]}
    ordered = sorted(rows.values(), key=lambda line: order(cells(line))) if order else [*rows.values()]
    return "\n".join([*lines[:2], *ordered])


def cells(line: str) -> list[str]:
    """The texts of a table's row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
