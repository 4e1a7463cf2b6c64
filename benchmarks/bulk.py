"""How fast a large job runs in one process and by Ray's workers: a million images in Parquet shards, encoded.

    python benchmarks/bulk.py [--json FILE]       a million rows of 784 bytes, three repeats
    python benchmarks/bulk.py --quick             100,000 rows, once

The network is that of the recipe fashion-ae (784-256-128-20), untrained but for a few steps. Shards and codes go into a
temporary folder. The ways take turns, each time in a process of its own, and the medians over the repeats count:

    memory       model.encode of the same rows as one array in memory: the network alone, all cores
    process      diabolo encode RUN shards/ -o codes/, all cores; process, 1 thread: one core
    ray, K       the same with --executor ray --workers K, each worker on one core

`rows/s` is over the whole job, from its plan to its last piece; for Ray that includes the seconds in which it starts
and its workers import torch, so that `later` is given too: the rate from the first to the last report of progress.
The memory is the largest sum over all processes of the job (PSS: what is shared counts once), Ray's own included, of
which one look in a fifth of a second is taken. Every way must give the same codes, bit for bit, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

SHARD = 50_000  # rows
MIN_FREE = 4e9  # bytes of disk that a million rows and their codes need, and more


@dataclass(frozen=True)
class Way:
    """One way to encode: its name, its executor, and how many cores it may use."""

    name: str
    executor: str
    cores: int


CORES = os.cpu_count() or 1
WAYS = [
    Way("memory", "memory", CORES),
    Way("process", "process", CORES),
    Way("process, 1 thread", "process", 1),
    Way("ray, 1", "ray", 1),
    Way("ray, 2", "ray", 2),
]


def main() -> int:
    """Makes the data, runs every way in turn, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="100,000 rows, once")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.child:
        return child(*found.child)
    if found.quick:
        found.rows, found.repeats = 100_000, 1
    with tempfile.TemporaryDirectory(prefix="diabolo-bulk-", dir=found.folder) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < MIN_FREE * max(1, found.rows / 1e6):
            print(f"{folder} has too little room: name another place with --folder", file=sys.stderr)
            return 1
        prepare(folder, found.rows)
        runs: dict[str, list[dict[str, Any]]] = {way.name: [] for way in WAYS}
        for repeat in range(found.repeats):
            for way in WAYS if repeat % 2 == 0 else reversed(WAYS):
                runs[way.name].append(measured(folder, way))
                print(f"{repeat + 1}/{found.repeats} {way.name}: {runs[way.name][-1]}", file=sys.stderr)
    rows = [summary(way, runs) for way in WAYS]
    print(table(rows))
    if found.json:
        found.json.write_text(json.dumps({"rows": found.rows, "cores": CORES, "ways": rows, "runs": runs}, indent=2))
    return 0


def prepare(folder: Path, rows: int) -> None:
    """Shards of pictures (a dark ground with a bright spot of noise), and a model that reads them."""
    import pyarrow
    import pyarrow.parquet

    from diabolo.runs.run import train

    rng = np.random.default_rng(0)
    axis = np.arange(28.0)
    at, width = rng.uniform(6, 22, (2, SHARD, 1, 1)), rng.uniform(1, 5, (SHARD, 1, 1))
    far = ((axis[:, None] - at[0]) ** 2 + (axis - at[1]) ** 2) / width**2
    block = (np.exp(-far) * rng.uniform(150, 255, (SHARD, 28, 28))).astype(np.uint8).reshape(SHARD, 784)
    (folder / "shards").mkdir()
    for number in range(-(-rows // SHARD)):
        part = np.roll(block, 29 * number, axis=1)[: rows - number * SHARD]
        values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(part.reshape(-1)), 784)
        pyarrow.parquet.write_table(pyarrow.table({"x": values}), folder / "shards" / f"part-{number:03}.parquet")
    options = {
        "model": "autoencoder",
        "network": "mlp",
        "widths": (256, 128),
        "latent_dim": 20,
        "batch_size": 512,
        "start": "random",
    }
    train(block[:4096], likelihood="bernoulli", epochs=1, out=folder / "run", **options)


def measured(folder: Path, way: Way) -> dict[str, Any]:
    """One way, once, in a process of its own whose memory is watched."""
    out = folder / "codes"
    shutil.rmtree(out, ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(1 if way.executor == "ray" else way.cores)}
    words = [sys.executable, __file__, "--child", str(folder), str(out), way.executor, str(way.cores)]
    process = subprocess.Popen(  # noqa: S603 (this file, by itself)
        words, stdout=subprocess.PIPE, text=True, env=environment
    )
    peak = [0.0]
    watch = threading.Thread(target=watch_memory, args=(process, peak))
    watch.start()
    said, _ = process.communicate()
    watch.join()
    if process.returncode:
        raise SystemExit(f"{way.name} failed")
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    if way.executor != "memory":
        check(folder, out, result)
    return {**result, "peak_mb": round(peak[0] / 1e6)}


def check(folder: Path, out: Path, result: dict[str, Any]) -> None:
    """Compares the pieces with those of the first way, which are kept."""
    kept = folder / "first"
    if not kept.exists():
        out.rename(kept)
        return
    from diabolo.runs.tables import read_codes

    for piece in sorted(kept.glob("piece-*.parquet")):
        if not np.array_equal(read_codes(piece), read_codes(out / piece.name)):
            raise SystemExit(f"{piece.name} differs between two ways: {result}")


def child(folder: str, out: str, executor: str, cores: str) -> int:
    """One way in this process; prints its seconds and rates as JSON."""
    import torch

    from diabolo import bulk
    from diabolo.autoencoder.model import Autoencoder
    from diabolo.datasets import open_dataset

    torch.set_num_threads(1 if executor == "ray" else int(cores))
    model = Autoencoder.load(Path(folder) / "run")
    if executor == "memory":
        files = sorted((Path(folder) / "shards").glob("*.parquet"))
        x = np.concatenate([np.asarray(open_dataset(str(file)).x) for file in files])
        begun = time.perf_counter()
        model.encode(x)
        seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, "rows_per_s": len(x) / seconds, "later": len(x) / seconds}))
        return 0

    class Clock(bulk.Bar):
        def __init__(self) -> None:
            self.ticks: list[tuple[float, int]] = []

        def start(self, text: str, total: int, done: int) -> None:
            pass

        def advance(self, rows: int) -> None:
            self.ticks.append((time.perf_counter(), rows))

        def stop(self) -> None:
            pass

    clock = Clock()
    begun = time.perf_counter()
    kind = bulk.Ray(workers=int(cores)) if executor == "ray" else bulk.Process()
    done = bulk.run(model, str(Path(folder) / "shards"), out, executor=kind, bar=clock)
    seconds = time.perf_counter() - begun
    first, last = clock.ticks[0][0], clock.ticks[-1][0]
    later = sum(rows for _, rows in clock.ticks[1:]) / max(last - first, 1e-9)
    print(json.dumps({"seconds": seconds, "rows_per_s": done.rows / seconds, "later": later}))
    return 0


def watch_memory(process: subprocess.Popen[str], peak: list[float]) -> None:
    """Keeps the largest memory of a process and all below it."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(proportional, family(process.pid))))
        time.sleep(0.2)


def family(root: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def proportional(pid: int) -> float:
    """A process's memory in bytes, its share of what it shares."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(1024.0 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def summary(way: Way, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The medians of a way, and of its ratio to one process in the same turn."""
    mine, base = runs[way.name], runs["process"]
    middle = {name: statistics.median(run[name] for run in mine) for name in mine[0]}
    ratios = [one["rows_per_s"] / other["rows_per_s"] for one, other in zip(mine, base, strict=True)]
    return {"way": way.name, **middle, "ratio": statistics.median(ratios)}


def table(rows: list[dict[str, Any]]) -> str:
    """The summary in Markdown."""
    lines = ["| way | seconds | rows/s | later, rows/s | to `process` | memory, MB |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['way']} | {row['seconds']:.1f} | {row['rows_per_s']:,.0f} | {row['later']:,.0f} "
        f"| {row['ratio']:.2f} | {row['peak_mb']:,.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
