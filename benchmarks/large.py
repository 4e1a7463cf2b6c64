"""Training on data larger than memory, beside training on an array in memory, in turn.

    python benchmarks/large.py                    20 GB in pieces under runs/large, three repeats
    python benchmarks/large.py --gb 4             quicker; exit status 1 where a target is missed

The pieces hold random bytes as images of 28 x 28, and are written first and deleted at the end. Each measurement is a
process of its own: it opens the folder as a user would, shares it out, takes the fingerprint, and trains the network of
the recipe fashion-ae (784-256-128-20) at batch 512 for so many steps; or it does so with an array of two gigabytes in
memory. The system is asked to forget the pieces before each run, so that they are read from the disk. The peak of
memory is that of the whole process (VmHWM), in which torch alone takes some 300 MB. Then the order itself is looked at,
of class-sorted data of that size, without reading any. Last, small sets of each kind of source are read, for the rate.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from diabolo.datasets import Shuffled, Split, Store, as_store, check_trainable, open_dataset
from diabolo.models.model import build_model
from diabolo.models.preprocess import Preprocess
from diabolo.runs.config import make_run_config
from diabolo.training import Callback, Settings, Trainer, Training

RATE, MEMORY = 0.9, 3e9  # the targets: of the rate in memory, and bytes of the process
BATCH, SIDE = 512, 28
PIECE = 1_000_000_000  # bytes of a piece
HELD = 2_000_000_000  # bytes of the array in memory
WARM = 100  # steps before the clock starts


def main() -> int:
    """Makes the data, measures, prints, deletes the data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=20, help="gigabytes of examples")
    parser.add_argument("--folder", type=Path, default=Path("runs/large"), help="where the pieces are written")
    parser.add_argument("--keep", action="store_true", help="do not delete the pieces; those that are there are used")
    parser.add_argument("--steps", type=int, default=4000, help="steps of a measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the numbers there")
    arguments = parser.parse_args()
    try:
        make_pieces(arguments.folder, arguments.gb)
        result = measured(arguments)
    finally:
        if not arguments.keep:
            shutil.rmtree(arguments.folder, ignore_errors=True)
    result["order"] = [order_of(int(arguments.gb * 1e9) // SIDE**2, buffer) for buffer in (64e6, 256e6, 1024e6)]
    for line in result["order"]:
        print(
            f"order, buffer {line['buffer_mb']:>5.0f} MB: correlation of place and position "
            f"{line['correlation']:+.4f}; spread of a class's share in a batch {line['spread']:.3f} x that of a full "
            f"shuffle; neighbours in one batch {line['neighbours']:.2f} x as often"
        )
    result["kinds"] = kinds_of(arguments.folder.with_name(f"{arguments.folder.name}-kinds"), arguments.threads)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["ratio"] >= RATE and result["peak_bytes"] < MEMORY else 1


def make_pieces(folder: Path, gigabytes: float) -> None:
    """Pieces of a gigabyte, pieces/000.npy and so on, where they are not there yet."""
    count = max(1, round(gigabytes * 1e9 / PIECE))
    rows = int(gigabytes * 1e9 / count) // SIDE**2
    folder.mkdir(parents=True, exist_ok=True)
    missing = [path for i in range(count) if not (path := folder / f"{i:03}.npy").exists()]
    free, needed = shutil.disk_usage(folder).free, len(missing) * rows * SIDE**2
    if needed > 0.9 * free:
        sys.exit(f"{folder} has {free / 1e9:.0f} GB free, and {needed / 1e9:.0f} GB are needed: name another --folder.")
    for path in missing:
        rng = np.random.default_rng(int(path.stem))
        with path.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (rows, SIDE, SIDE)}
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, rows, 100_000):
                stream.write(rng.bytes((min(rows, start + 100_000) - start) * SIDE**2))
            os.fsync(stream.fileno())


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The rates of both, in turn, and the peak of memory."""
    rates: dict[str, list[float]] = {"disk": [], "memory": []}
    peaks: dict[str, list[int]] = {"disk": [], "memory": []}
    opened = 0.0
    for repeat in range(arguments.repeats):
        for who in ("disk", "memory")[:: 1 if repeat % 2 == 0 else -1]:
            forget(arguments.folder)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                task = (who, arguments.folder, arguments.steps, arguments.threads)
                rate, peak, seconds, shape = pool.apply(timed, task)
            rates[who].append(rate)
            peaks[who].append(peak)
            opened = max(opened, seconds if who == "disk" else 0)
            print(f"{who:<8}{shape!s:<22}{rate:>12,.0f} images/s{peak / 1e9:>8.2f} GB at its peak", flush=True)
    ratio = statistics.median(a / b for a, b in zip(rates["disk"], rates["memory"], strict=True))
    print(f"ratio {ratio:.3f} (target {RATE}); peak {max(peaks['disk']) / 1e9:.2f} GB (target {MEMORY / 1e9:.0f})")
    print(f"before the first step: {opened:.1f} s to open, share out and fingerprint")
    return {
        "gb": arguments.gb,
        "threads": arguments.threads,
        "steps": arguments.steps,
        "rates": rates,
        "ratio": ratio,
        "peak_bytes": max(peaks["disk"]),
        "peak_bytes_in_memory": max(peaks["memory"]),
        "seconds_to_open": opened,
    }


def forget(folder: Path) -> None:
    """Asks the system to drop what it holds of the pieces."""
    for path in folder.glob("*.npy"):
        with path.open("rb") as stream:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class _Enough(Exception):  # noqa: N818
    """So many steps were taken."""


class _Clock(Callback):
    """Starts when the warm steps are done, and ends training after so many more."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def step(self, training: Training, loss: float) -> None:
        if training.steps == WARM:
            self.started = time.perf_counter()
        if training.steps == WARM + self.steps:
            self.seconds = time.perf_counter() - self.started
            raise _Enough


def timed(who: str, folder: Path, steps: int, threads: int) -> tuple[float, int, float, tuple[int, ...]]:
    """In a process of its own: images a second, bytes at the peak, seconds before training, the shape of the data."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    if who == "disk":
        dataset = open_dataset(str(folder), memory=0)
        assert as_store(dataset.x) is not None
        split = dataset.split(0)
    else:
        pieces = sorted(folder.glob("*.npy"))
        dataset = open_dataset(np.concatenate([np.load(path) for path in pieces[: max(1, HELD // PIECE)]]))
        nothing = np.empty(0, np.int64)
        split = Split(np.arange(len(dataset)), nothing, nothing)
    check_trainable(dataset)
    if who == "disk":
        assert dataset.fingerprint.startswith("sampled:")
    run_config = make_run_config(recipe="fashion-ae")
    preprocess = Preprocess.fit(dataset.x, dataset.layout, split.train)
    model = build_model(preprocess, latent_dim=run_config.latent_dim, options=run_config.options, **run_config.parts)
    split = Split(split.train, split.test[:0], split.test[:0])  # nothing is evaluated: the clock runs on steps alone
    clock = _Clock(steps)
    training = Trainer(model, dataset.x, split, Settings(epochs=1000, batch_size=BATCH), callbacks=[clock])
    before = time.perf_counter() - started
    with contextlib.suppress(_Enough):
        training.run()
    return steps * BATCH / clock.seconds, peak(), before, dataset.x.shape


def peak() -> int:
    """The most bytes that this process has had in memory."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("This system does not say how much memory a process has had.")


class _Nowhere(Store):
    """A store of so many images, of which nothing can be read: for its order alone."""

    def __init__(self, count: int, blocks: np.ndarray) -> None:
        super().__init__((count, SIDE, SIDE), np.uint8, blocks, "nowhere")

    def _take(self, indices: np.ndarray, out: np.ndarray) -> None:
        raise NotImplementedError

    def where(self, index: int) -> str:
        return str(index)


def order_of(count: int, buffer: float) -> dict[str, float]:
    """How well an epoch is mixed, of `count` images that lie sorted by ten classes.

    `correlation` is that of the place on the disk and the position in the epoch (0 in a full shuffle). `spread` is the
    standard deviation of a class's share in a batch over that of a full shuffle, sqrt(0.1 * 0.9 / 512).
    `neighbours` is how often two images that lie beside each other come in one batch, over how often by chance.
    """
    from diabolo.datasets._store import even_blocks

    store = _Nowhere(count, even_blocks((count, SIDE, SIDE), 1))
    store.buffer = int(buffer)
    order = np.concatenate(list(Shuffled(store, np.arange(count), batch_size=BATCH).order(0)))
    whole = order[: len(order) // BATCH * BATCH]
    correlation = float(np.corrcoef(np.arange(len(whole))[::16], whole[::16])[0, 1])
    shares = (whole.reshape(-1, BATCH) * 10 // count == 0).mean(1)
    batch_of = np.empty(count, np.int32)
    batch_of[order] = np.arange(count, dtype=np.int64) // BATCH
    together = float((batch_of[1:] == batch_of[:-1]).mean()) / (BATCH / count)
    spread = float(np.sqrt(((shares - 0.1) ** 2).mean()) / np.sqrt(0.1 * 0.9 / BATCH))
    return {"buffer_mb": buffer / 1e6, "correlation": correlation, "spread": spread, "neighbours": together}


def kinds_of(folder: Path, workers: int) -> dict[str, float]:
    """How many JPEG images of 64 x 64 in colour, or arrays of that size, an epoch reads a second, by kind of source."""
    folder.mkdir(parents=True, exist_ok=True)
    rates = {}
    try:
        for kind, source in write_kinds(folder):
            dataset = open_dataset(source, memory=0, workers=workers)
            shuffled = Shuffled(dataset.x, np.arange(len(dataset)), batch_size=128)
            started = time.perf_counter()
            count = sum(len(batch) for batch in shuffled.batches(0))
            rates[kind] = count / (time.perf_counter() - started)
            print(f"{kind:<40}{rates[kind]:>10,.0f} images/s with {workers} threads", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rates


def write_kinds(folder: Path) -> Iterator[tuple[str, Any]]:
    """The same 10,000 images as each kind of source; those whose packages are missing are left out."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (10_000, 8, 8, 3), dtype=np.uint8)
    x = small.repeat(8, 1).repeat(8, 2)
    np.save(folder / "a.npy", x)
    yield ".npy", folder / "a.npy"
    encoded = [as_jpeg(image) for image in x]
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number, data in enumerate(encoded):
            member = tarfile.TarInfo(f"{number:06}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    yield "WebDataset, JPEG", folder / "a.tar"
    with contextlib.suppress(ImportError):
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table({"image": [{"bytes": data, "path": None} for data in encoded]})
        pyarrow.parquet.write_table(table, folder / "a.parquet", row_group_size=500)
        yield "Parquet, JPEG, 500 in a row group", folder / "a.parquet"
        lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), x[0].size)
        pyarrow.parquet.write_table(pyarrow.table({"x": lists}), folder / "b.parquet", row_group_size=500)
        yield "Parquet, lists, 500 in a row group", folder / "b.parquet"
        import datasets

        yield "Hugging Face datasets, JPEG", datasets.Dataset(table)


def as_jpeg(image: np.ndarray) -> bytes:
    """An image as the bytes of a JPEG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG")
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
