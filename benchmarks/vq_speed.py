"""How fast codes are looked up in a codebook that learns, beside vector-quantize-pytorch.

    python benchmarks/vq_speed.py [--threads 1] [--turns 30] [--update]

A step of either quantiser alone: the nearest entries, the gradient straight through, the commitment's gradient, and the
running averages of entries, in float32; no network. Both take turns in one process, and the ratio is the median over
turns. The peer lives in benchmarks/.envs, with the versions of benchmarks/peers/vector-quantize.txt. --update writes
the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

from kept import written
from timing.environments import PEERS, interpreter

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
SIZES = [(128, 8, 2, 512), (128, 8, 8, 512), (32, 64, 64, 512), (64, 64, 16, 1024)]


def main() -> None:
    """Times both, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--update", action="store_true", help=f"write the table into docs/{PAGE.name}")
    found = parser.parse_args()
    job = json.dumps({"threads": found.threads, "turns": found.turns, "sizes": SIZES})
    done = subprocess.run(  # noqa: S603 (our own words)
        [str(interpreter("vector-quantize")), str(PEERS / "vector_quantize.py"), job],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    table = [
        f"| examples | positions | numbers | entries | diabolo, ms | vector-quantize-pytorch {answer['version']}, ms | "
        "ratio |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in answer["rows"]:
        ours, theirs = (1e3 * statistics.median(row[name]) for name in ("ours", "theirs"))
        ratio = statistics.median(other / own for own, other in zip(row["ours"], row["theirs"], strict=True))
        table.append(f"| {' | '.join(map(str, row['size']))} | {ours:.2f} | {theirs:.2f} | {ratio:.1f} |")
    print("\n".join(table))
    if found.update:
        written("vq-speed", "\n".join(table), PAGE)


if __name__ == "__main__":
    main()
