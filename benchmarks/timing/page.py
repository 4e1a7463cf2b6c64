"""The page docs/benchmarks.md, from the numbers alone."""

from __future__ import annotations

from typing import Any

from timing.contestants import CONTESTANTS, Contestant
from timing.environments import PEERS
from timing.numbers import middle
from timing.tables import floors, inference, losses, race_tables, starting, training

__all__ = ["written"]

NAMED = ("torch", "pythae", "keras", "jax", "tensorflow-cpu")  # of what is pinned, those that the page names
Record = dict[str, Any]

PROTOCOL = """
**Work.** The images are {data}: 28 x 28 bytes. W1 and W2 train on 59,904 of them and W3 on 1,280: whole batches, so
that nobody meets a batch of another size. An epoch goes over all of them in a new order. Everybody has the same
layers (each counts its parameters, and stops where they are not as many), the same optimizer, rate and batch size,
and initial weights from the same distribution, and is at its own defaults otherwise. Nothing is held out, evaluated
or saved while the clock runs, but for what a library does of its own accord.

**Turns.** Each peer is a process with an environment of its own, pinned to the cores of that column; the number of
threads is its own default there. After a first epoch, which is not counted (it compiles and allocates, and is
reported apart), all of them wait. Then they take turns, an epoch each, in an order that changes from turn to turn:
what else the machine does in that moment slows all of them. The clock runs from the word to go to the end of the
epoch. *Busy* means that one other process computes without rest on one of the cores.

**Numbers.** Images per second are the median of the turns. A ratio is the median of the turns' ratios, the peer's
seconds over diabolo's in the same turn, with the lowest and the highest in brackets: above 1 diabolo is faster. The
loss is the mean over the last epoch, after as many epochs for everybody, in nats per image: summed over the pixels,
with the KL at the recipe's weight. A † marks one that is further than 3% from the median of all (W3, batch 16: 10%):
whoever has it does not train the same. W3 at batch 128 has taken too few steps by then to be marked: its first ones
are so large that the loss says more of the seed than of the peer.
"""


def written(results: Record) -> str:
    """The whole page.

    Args:
        results: what `speed.py` keeps.
    """
    parts = [
        "# How fast it is",
        "<!-- Written by benchmarks/speed.py; edit that, not this. -->",
        "Training, beside its peers and beside what this machine can do at most; inference, beside ONNX Runtime; and "
        "the time until the first word. Every number on this page was written by the script that measured it.",
    ]
    if results.get("quick") or results.get("gpu", {}).get("quick"):
        parts.append("**A quick run: too short to quote.**")
    if "machine" in results:
        parts += ["## Machine", machine(results["machine"])]
    parts += ["## Protocol", PROTOCOL.format(data=results.get("data", "MNIST")).strip(), "## Peers", peers(results)]
    made = [
        ("training", training),
        ("training", floors),
        ("losses", losses),
        ("inference", inference),
        ("start", starting),
        ("gpu", graphics),
    ]
    parts += [text for name, make in made if results.get(name) and (text := make(results[name]))]
    parts += ["## Again", again(results)]
    return "\n\n".join(parts) + "\n"


def machine(found: Record) -> str:
    """The machine in a paragraph."""
    virtual = ", a virtual machine" if found["virtual"] else ""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [
        *([f"- GPU: {found['gpu']}"] if "gpu" in found else []),
        f"- processor: {found['processor']}; {found['cores']} cores{virtual}; {', '.join(found['vectors'])}",
        f"- memory: {found['memory']}; {found['system']}",
        f"- Python {found['python']}; {versions}",
        f"- measured on {found['date']}; load average before: {found['load']:.2f}"
        + (" (**not idle**)" if found["load"] > 0.5 else ""),
    ]
    return "\n".join(lines)


def peers(results: Record) -> str:
    """Who they are, and in which version: those that raced."""
    races = [*results.get("training", {}).values(), *results.get("gpu", {}).get("training", {}).values()]
    raced = {name for race in races for name in race["runs"]}
    return "\n".join(f"- **{one.name}**{versions(one)}: {one.what}" for one in CONTESTANTS if one.name in raced)


def versions(one: Contestant) -> str:
    """What stands in its environment that is named for it, in parentheses."""
    if one.environment is None:
        return ""
    pins = [line.split("==") for line in (PEERS / f"{one.environment}.txt").read_text().split()]
    return f" ({', '.join(f'{name} {number}' for name, number in pins if name in NAMED)})"


def graphics(found: Record) -> str:
    """On a GPU: seconds for an epoch."""
    parts = ["## GPU", machine(found["machine"])]
    parts.append(
        "Seconds for an epoch of 59,904 images, the median of the turns; a clock is read when the GPU is done. The "
        "first epoch, which makes everything ready, is apart."
    )
    for record in found.get("training", {}).values():
        title = f"{record['workload']}, batch {record['batch']}"
        parts.append(race_tables([record], title, "seconds", lambda _, each: f"{middle(each).median:.3f}"))
    return "\n\n".join(parts)


def again(results: Record) -> str:
    """How to measure it again."""
    minutes = f" This took {results['minutes']:.0f} minutes." if "minutes" in results else ""
    return (
        '```sh\nmake bench ARGS="--json speed.json --update"\n```\n\non Linux; '
        "`python benchmarks/speed.py --help` says what else there is to choose, and `DIABOLO_DATA_DIR` names the "
        "folder with `mnist`. The peers' environments are made in `benchmarks/.envs` from the versions pinned in "
        f"`benchmarks/peers/*.txt`.{minutes}"
    )
