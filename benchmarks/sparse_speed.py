"""How fast a sparse dictionary is trained, beside sae-lens: the same rows, width, batch, k and optimizer, in float32.

    python benchmarks/sparse_speed.py [--cores 1] [--turns 5] [--width 4096,16384] [--batch 1024] [--update]

A turn is a few steps of the whole loop of each library, as a user calls it: data, forward, backward, dead units, Adam.
They take turns on the same cores, and the ratio is the median of the turns' ratios. Rows are drawn from a dictionary of
their own. sae-lens lives in benchmarks/.envs, with the versions of benchmarks/peers/saelens.txt; its `sparse` is
use_sparse_activations=True with rescale_acts_by_decoder_norm=False, without which it fails here. --update writes the
table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from kept import written
from timing.environments import interpreter
from timing.race import cores_of, race

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
VALUES, K, RATE = 512, 32, 3e-4
STEPS = 4  # of a turn
ENTRIES: dict[str, list[tuple[str, str, str]]] = {  # scope -> (name, script, variant)
    "example": [
        ("diabolo", "sparse_ours.py", ""),
        ("diabolo, from disk", "sparse_ours.py", "disk"),
        ("sae-lens", "saelens_train.py", ""),
        ("sae-lens, sparse", "saelens_train.py", "sparse"),
    ],
    "batch": [("diabolo", "sparse_ours.py", ""), ("sae-lens", "saelens_train.py", "")],
}


def main() -> None:
    """Races, and prints the table, a race at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--width", default="4096,16384")
    parser.add_argument("--batch", default="1024")
    parser.add_argument("--scope", default="example,batch")
    parser.add_argument("--update", action="store_true", help=f"write the table into docs/{PAGE.name}")
    found = parser.parse_args()
    table = ["| width | batch | k of | library | ms a step | examples a second | times sae-lens' | squared error |"]
    table.append("| ---: | ---: | --- | --- | ---: | ---: | ---: | ---: |")
    for width in map(int, found.width.split(",")):
        for batch in map(int, found.batch.split(",")):
            for scope in found.scope.split(","):
                rows = rows_of(width, batch, scope, raced(width, batch, scope, found))
                print("\n".join(rows), flush=True)
                table += rows
    if found.update:
        written("sparse-speed", "\n".join(table), PAGE)


def raced(width: int, batch: int, scope: str, found: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The turns of everybody at one size."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "activations.npy"
        np.save(data, activations(STEPS * batch))
        job = {
            "data": str(data), "width": width, "k": K, "batch": batch, "lr": RATE, "seed": 0, "scope": scope,
            "epochs": found.turns + 1, "source": str(ROOT / "src"),
        }  # fmt: skip
        entries = []
        for name, script, variant in ENTRIES[scope]:
            python = interpreter("saelens") if "saelens" in script else Path(sys.executable)
            entries.append((name, python, script, {**job, "variant": variant}))
        return race(entries, cores_of(found.cores), {"idle": found.turns})


def activations(count: int) -> np.ndarray:
    """Sparse sums of directions that are drawn, and some noise, (count, VALUES) float32."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((2048, VALUES)).astype(np.float32) / np.sqrt(VALUES)
    rows = 0.1 * rng.standard_normal((count, VALUES)).astype(np.float32) / np.sqrt(VALUES)
    for row in rows:
        active = rng.integers(0, len(directions), 24)
        row += rng.exponential(1, 24).astype(np.float32) @ directions[active]
    return rows * np.float32(4)


def rows_of(width: int, batch: int, scope: str, turns: dict[str, dict[str, Any]]) -> list[str]:
    """The table's lines of one race."""
    lines, theirs = [], [line["seconds"] for line in turns.get("sae-lens", {}).get("idle", [])]
    for name, answers in turns.items():
        if "error" in answers:
            lines.append(f"| {width:,} | {batch:,} | {scope} | {name} | {answers['error']} | | | |")
            continue
        seconds = [line["seconds"] for line in answers["idle"]]
        typical = statistics.median(seconds) / STEPS
        ratio = statistics.median(other / own for own, other in zip(seconds, theirs, strict=False)) if theirs else 0.0
        error = answers["idle"][-1]["loss"]
        lines.append(
            f"| {width:,} | {batch:,} | {scope} | {name} | {1e3 * typical:.0f} | {batch / typical:,.0f} | {ratio:.2f} "
            f"| {error:.1f} |"
        )
    return lines


if __name__ == "__main__":
    main()
