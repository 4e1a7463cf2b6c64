"""The tables of the page, each from one part of the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from timing.contestants import CAPTURED, COMPILED, CONTESTANTS, OURS, OURS_BF16
from timing.numbers import Middle, departing, middle, ratio
from timing.workloads import WORKLOADS, flops

__all__ = ["TOLERANCE", "floors", "inference", "losses", "race_tables", "starting", "table", "training"]

# How far from the median of all a loss may be, by workload and batch; the steps of W3 at batch 128 are too few to say.
TOLERANCE = {("W1", 512): 0.03, ("W1", 128): 0.03, ("W2", 512): 0.03, ("W2", 128): 0.03, ("W3", 16): 0.10}
CONDITIONS = {"idle": "", "busy": ", busy"}
PEER = "onnxruntime"
KINDS = ("float32", "bf16")  # of numbers in the floor's products
CALLS = ("encode", "decode", "reconstruct", "score", "single")
Record = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right.

    Raises:
        ValueError: a row is not as long as the head.
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(f"A row has {len(line)} cells, and the head has {len(head)}: {line}")
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def training(found: Record) -> str:
    """Every configuration's tables."""
    parts = ["## Training"]
    for name in dict.fromkeys(record["workload"] for record in found.values()):
        workload = WORKLOADS[name]
        cost = f"{flops(workload.layers) / 1e6:.2f} million floating-point operations an image, forward and backward"
        parts.append(f"### {name}: {workload.title}\n\n`{workload.recipe}`; {cost}.")
        batches = dict.fromkeys(record["batch"] for record in found.values() if record["workload"] == name)
        for batch in batches:
            records = [each for each in found.values() if (each["workload"], each["batch"]) == (name, batch)]
            parts.append(race_tables(records, f"Batch {batch}", "images per second", speed))
    return "\n\n".join(parts)


def speed(record: Record, seconds: Sequence[float]) -> str:
    """Images per second."""
    return f"{record['images'] / middle(seconds).median:,.0f}"


def race_tables(records: list[Record], title: str, unit: str, cell: Callable[[Record, Sequence[float]], str]) -> str:
    """One configuration, a row for each peer and a column for each condition: what each reached, and the ratios.

    Args:
        records: of one configuration, one for each number of cores.
        title: of the configuration.
        unit: of the cells.
        cell: what a peer's seconds are shown as.
    """
    columns = [
        (record, condition)
        for record in sorted(records, key=lambda each: -int(each["cores"]))
        for condition in CONDITIONS
        if any(condition in run for run in record["runs"].values())
    ]
    head = [f"{each['cores']} core{'s' * (each['cores'] > 1)}{CONDITIONS[name]}" for each, name in columns]
    departed = {name for record in records for name in flagged(record)}
    reached: list[list[str]] = []
    ratios: dict[str, list[list[str]]] = {OURS: [], COMPILED: [], CAPTURED: []}
    for name in dict.fromkeys(name for record in records for name in record["runs"]):
        run = columns[0][0]["runs"].get(name, {}) if columns else {}
        cells = [shown(record["runs"].get(name, {}), condition, record, cell) for record, condition in columns]
        reached.append([called(name, run), *cells, *ending(run, name in departed)])
        for base, rows in ratios.items():
            cells = [against(record, condition, name, base) for record, condition in columns]
            if name.partition("/")[0] != OURS and any(cells):
                rows.append([called(name, run), *cells])
    tables = [table([f"{title}: {unit}", *head, "loss", "first epoch, s"], reached)]
    for base, rows in ratios.items():
        if rows:
            tables.append(table([f"{title}: its seconds over {base}'s", *head], rows))
    return "\n\n".join(tables)


def called(name: str, run: Record) -> str:
    """A row's name, with the precision where it is not float32."""
    return f"{name} (bf16)" if run.get("first", {}).get("precision") == "bf16" else name


def shown(run: Record, condition: str, record: Record, cell: Callable[[Record, Sequence[float]], str]) -> str:
    """What a peer reached under one condition."""
    if "error" in run:
        return f"stopped: {run['error'][:80]}"
    return cell(record, seconds_of(run, condition)) if condition in run else ""


def ending(run: Record, departs: bool) -> tuple[str, str]:
    """The loss that was reached, and the seconds of the first epoch."""
    if "first" not in run:
        return "", ""
    return f"{last_loss(run):.1f}{'†' * departs}", f"{run['first']['seconds']:.1f}"


def against(record: Record, condition: str, name: str, base: str) -> str:
    """How many times as long as another a peer takes."""
    runs = (record["runs"].get(name, {}), record["runs"].get(base, {}))
    if not all(condition in run for run in runs):
        return ""
    return times(ratio(*(seconds_of(run, condition) for run in runs)))


def times(found: Middle) -> str:
    """A ratio with its range."""
    return f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"


def seconds_of(run: Record, condition: str, what: str = "seconds") -> list[float]:
    """The seconds of each turn."""
    return [line[what] for line in run[condition]]


def last_loss(run: Record) -> float:
    """The loss of the last epoch."""
    lines = [run["first"], *(line for condition in CONDITIONS for line in run.get(condition, ()))]
    return float(lines[-1]["loss"])


def flagged(record: Record) -> list[str]:
    """The peers of a race whose losses depart."""
    losses = {name: last_loss(run) for name, run in record["runs"].items() if "first" in run}
    return departing(losses, TOLERANCE.get((record["workload"], record["batch"]), math.inf))


def floors(trained: Record) -> str:
    """What the products alone would reach, and the share of it that each peer reaches."""
    text = (
        "A step cannot be faster than its products: for each layer the one forward, the one for the weights' gradient, "
        "and, but for the first layer, the one for the input's gradient. An epoch of them alone takes its turn beside "
        "the peers, each at its very shape and in the fastest of its layouts, with its operands warm in the caches; "
        "that is the floor. It leaves out everything else (activations, losses, noise, the optimizer, reading data). A "
        "share is the median of the turns' ratios, the floor's seconds in the peer's precision over the peer's, idle; "
        "XLA has products of its own, which may be faster than those that torch calls."
    )
    rows, places = [], {}
    for record in trained.values():
        if "idle" not in record.get("floor", {}):
            continue
        cost = flops(WORKLOADS[record["workload"]].layers)
        place = f"{record['workload']}, batch {record['batch']}, {record['cores']} core{'s' * (record['cores'] > 1)}"
        rows.append([place, f"{cost / 1e6:.2f}", *(_rate(record, kind, cost) for kind in KINDS)])
        places[place] = {name: share(record["floor"], run) for name, run in record["runs"].items()}
    if not rows:
        return ""
    head = ["", "MFLOP an image", *(f"{kind}: images/s (GFLOP/s)" for kind in KINDS)]
    names = [one.name for one in CONTESTANTS if any(shares.get(one.name) for shares in places.values())]
    reached = [[name, *(shares.get(name, "") for shares in places.values())] for name in names]
    return "\n\n".join(["## The floor", text, table(head, rows), table(["share of its floor", *places], reached)])


def _rate(record: Record, kind: str, cost: float) -> str:
    """Images per second of the products alone, and their arithmetic; - where the processor has no such numbers."""
    if not all(kind in turn for turn in record["floor"]["idle"]):
        return "-"
    rate = record["images"] / middle(seconds_of(record["floor"], "idle", kind)).median
    return f"{rate:,.0f} ({rate * cost / 1e9:,.0f})"


def share(floor: Record, run: Record) -> str:
    """The floor's seconds, in a peer's precision, over the peer's."""
    if "idle" not in run:
        return ""
    kind = run["first"].get("precision", KINDS[0])
    if not all(kind in turn for turn in floor["idle"]):
        return ""
    found = ratio(seconds_of(floor, "idle", kind), seconds_of(run, "idle")).median
    return f"{found:.0%}" + (f" of {kind}" if kind != KINDS[0] else "")


def losses(found: Record) -> str:
    """What bf16 and compiled steps cost in the loss."""
    rows = []
    for record in found.values():
        base, runs = next(iter(record["runs"])), record["runs"]
        for name, reached in runs.items():
            further = middle([100 * (mine / theirs - 1) for mine, theirs in zip(reached, runs[base], strict=True)])
            more = "" if name == base else f"{further.median:+.1f}% [{further.low:+.1f}, {further.high:+.1f}]"
            loss = middle(reached)
            what = f"{record['workload']}, batch {record['batch']}, {record['epochs']} epochs of {record['images']:,}"
            rows.append([f"{what}: {name}", f"{loss.median:.2f} [{loss.low:.2f}, {loss.high:.2f}]", more])
    seeds = len(next(iter(next(iter(found.values()))["runs"].values())))
    text = (
        f"The loss of the last epoch, nats per image: the median of {seeds} seeds, the lowest and the highest; then "
        "how far it lies above float32's from the same seed, again the median, the lowest and the highest. "
        "`diabolo/bf16` is `precision='bf16'`, where nothing is measured first."
    )
    return "\n\n".join(["## What bf16 costs", text, table(["", "loss", "more than float32's"], rows)])


def inference(found: Record) -> str:
    """Beside ONNX Runtime."""
    parts = [
        "## Inference",
        "The methods of a trained `Autoencoder` on floats in [0, 1], in float32 and in bf16 "
        "(`diabolo.load(run, precision='bf16')`), beside its own ONNX files in "
        "ONNX Runtime with as many threads, fed with chunks of the size (32, 100 or 1,000) that suits it best, its "
        "score computed in NumPy. `score` is the cross-entropy of the reconstruction. Turns as above; the last column "
        "is the median time of decoding a single code. Above 1 diabolo is faster.",
    ]
    rows, notes = [], []
    for name, record in found.items():
        runs = record["runs"]
        stopped = [f"{who} stopped: {run['error'][:80]}" for who, run in runs.items() if "error" in run]
        if stopped:
            rows.append([f"{name}: {'; '.join(stopped)}", *[""] * len(CALLS)])
            continue
        title = f"{name}, {record['images']:,} images, {record['cores']} cores"
        rows += [[f"{title}: {who}", *(answered(record, run, call) for call in CALLS)] for who, run in runs.items()]
        for base in (OURS, OURS_BF16):
            if base in runs:
                pairs = [[[line[call] for line in runs[who]["idle"]] for who in (PEER, base)] for call in CALLS]
                rows.append([f"{name}: its seconds over {base}'s", *(times(ratio(*pair)) for pair in pairs)])
        if OURS_BF16 in runs:
            largest = runs[OURS_BF16]["first"]["difference"]
            notes.append(
                f"{name}: a pixel of a reconstruction in bf16 differs by at most {largest:.4f} from float32's."
            )
        notes += [warning] if (warning := differing(name, {who: runs[who] for who in (OURS, PEER)})) else []
    return "\n\n".join([*parts, table(["", *CALLS[:-1], "one code"], rows), *notes])


def answered(record: Record, run: Record, call: str) -> str:
    """Examples per second, or the time of a single code."""
    value = middle([line[call] for line in run["idle"]]).median
    return f"{1e3 * value:.3f} ms" if call == "single" else f"{record['images'] / value:,.0f}/s"


def differing(name: str, runs: Record) -> str:
    """What to say where the two do not compute the same."""
    if any("error" in run for run in runs.values()):
        return ""
    ours, theirs = (run["first"] for run in runs.values())
    apart = [
        key for key in ours if key.endswith("mean") and abs(ours[key] - theirs[key]) > 1e-3 * abs(ours[key]) + 1e-5
    ]
    return f"**{name}: the two do not compute the same: {', '.join(apart)}.**" if apart else ""


def starting(found: Record) -> str:
    """The time until the first word."""
    torch = next(name for name in found if "import torch" in name)
    rows = [
        [f"`{name}`", f"{middle(seconds).median:.3f}", f"{ratio(seconds, found[torch]).median:.3f}"]
        for name, seconds in found.items()
    ]
    text = f"Wall time of fresh processes, in turns; medians of {len(found[torch])}, and of their ratios."
    return "\n\n".join(["## Start", text, table(["", "seconds", "over importing torch"], rows)])
