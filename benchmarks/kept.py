"""What benchmarks that train share: runs that are kept and gone on with, numbers beside them, tables in the docs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
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


def written(name: str, table: str, page: Path = RESULTS) -> None:
    """Puts a table between its marks, `<!-- name: ... -->` and `<!-- /name -->`."""
    text = page.read_text(encoding="utf-8")
    start, end = text.find(f"<!-- {name}: "), text.find(f"<!-- /{name} -->")
    if not 0 <= start < end:
        raise SystemExit(f"{page} has no place for the table: <!-- {name}: ... --> and <!-- /{name} --> around it.")
    after = text.index("-->", start) + len("-->")
    page.write_text(f"{text[:after]}\n{table}\n{text[end:]}", encoding="utf-8")
