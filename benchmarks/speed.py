"""How fast diabolo trains, answers and starts, beside its peers and beside what the machine can do at most.

    python benchmarks/speed.py --json speed.json --update     all of it, about an hour on two cores
    python benchmarks/speed.py --quick                        in some minutes, to see that it runs
    python benchmarks/speed.py --before CHECKOUT --peers plain --parts training     beside another commit of diabolo
    python benchmarks/speed.py --device cuda --json speed.json --update

Four parts: `training` (see timing/workloads.py and timing/contestants.py; the products that a step cannot do without
take their turn, too), `losses` (what bf16 costs, over seeds), `inference` (beside ONNX Runtime) and `start` (beside
importing torch). Each peer lives
in an environment of its own, which is made in benchmarks/.envs from the versions pinned in benchmarks/peers. The page
is printed; --update writes it to docs/benchmarks.md, and nothing else does. --json keeps every turn; parts that are in
the file and not measured now stay, so that the work can be divided over several calls on one machine, and a GPU's part
can come from another.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from timing import page
from timing.contestants import BEFORE, CONTESTANTS, FLOOR, LOSSES, OURS, OURS_BF16, Contestant, chosen
from timing.environments import interpreter
from timing.machine import describe, gpu
from timing.race import Stopped, Worker, cores_of, race
from timing.starting import starts
from timing.workloads import CONFIGURATIONS, IMAGES, WORKLOADS, Configuration, data

OTHERS = "\n## Dictionaries\n"  # what other benchmarks write begins here
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
PARTS = ("training", "losses", "inference", "start")
SEED = 0
SEEDS = (0, 1, 2)  # over which losses are compared


def main() -> None:
    """Measures what was asked for and writes it down."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the peers end, too
    results: dict[str, Any] = json.loads(asked.json.read_text()) if asked.json and asked.json.exists() else {}
    here = describe()
    place = results.setdefault("gpu", {}) if asked.device == "cuda" else results
    if asked.device == "cuda":
        here["gpu"] = gpu()
    if place.get("machine", here)["processor"] != here["processor"]:
        raise SystemExit(
            f"{asked.json} comes from another processor: {place['machine']['processor']}. Name another file."
        )
    place["machine"] = {**here, "load": max(here["load"], place.get("machine", here)["load"])}
    place["quick"] = asked.quick or place.get("quick", False)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        images, place["data"] = data()
        work = Work(asked, images, Path(folder), results)
        for part in asked.parts if asked.device == "cpu" else ("training",):
            getattr(work, part)(place.setdefault(part, {}))
    place["minutes"] = round(place.get("minutes", 0) + (time.monotonic() - begun) / 60, 1)
    work.keep()
    written = page.written(results)
    print(written)
    if asked.update:
        _, mark, others = PAGE.read_text().partition(OTHERS)
        PAGE.write_text(written + mark + others)
        print(f"Written to {PAGE}", file=sys.stderr)


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller epochs, fewer turns, all cores, an idle machine")
    parser.add_argument("--parts", type=names, default=PARTS, help=f"of {','.join(PARTS)}")
    parser.add_argument("--workloads", type=names, default=tuple(WORKLOADS), help="of W1,W2,W3")
    parser.add_argument("--batches", type=numbers, help="only these batch sizes")
    parser.add_argument("--peers", type=names, help="of " + ",".join(one.name for one in CONTESTANTS[2:]))
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout of diabolo, which trains too")
    parser.add_argument("--cores", type=numbers, help="how many to use, each in turn; 1,2 when left out")
    parser.add_argument("--conditions", type=names, default=("idle", "busy"), help="of idle,busy")
    parser.add_argument("--turns", type=int, default=5, help="epochs timed when idle; beside a busy process two fewer")
    parser.add_argument("--everything", action="store_true", help="every batch size under every condition, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--python", type=pair, action="append", default=[], metavar="PEER=PYTHON",
                        help="an environment that is there already, in the place of one to be made")  # fmt: skip
    parser.add_argument("--json", type=Path, help="where every turn is kept")
    parser.add_argument("--update", action="store_true", help="write docs/benchmarks.md")
    asked = parser.parse_args()
    for kind, known in (("parts", PARTS), ("workloads", WORKLOADS), ("conditions", ("idle", "busy"))):
        if unknown := sorted(set(getattr(asked, kind)) - set(known)):
            parser.error(f"--{kind}: there is no {unknown[0]!r}, only {', '.join(known)}")
    if (asked.quick or asked.before) and asked.update:
        parser.error("--update is for full measurements of this checkout: leave --quick and --before out")
    if asked.before and not (asked.before / "src" / "diabolo").is_dir():
        parser.error(f"--before: {asked.before} is no checkout of diabolo; it needs to have a folder src/diabolo")
    if asked.quick:
        asked.turns, asked.conditions = min(asked.turns, 3), ("idle",)
    asked.cores = asked.cores or ([2] if asked.quick else [1, 2])
    chosen(asked.peers, "W1", asked.device)
    return asked


def names(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(text.split(","))


def numbers(text: str) -> list[int]:
    """Whole numbers between commas."""
    return [int(word) for word in text.split(",")]


def pair(text: str) -> tuple[str, Path]:
    """A name and a path."""
    name, _, path = text.partition("=")
    return name, Path(path)


class Work:
    """The parts of the benchmark, each of which fills a table of the results.

    Args:
        asked: what was asked for.
        images: at least 59,904 of 28 x 28, uint8.
        folder: for what passes between processes.
        results: everything, to be kept after each step.
    """

    def __init__(self, asked: argparse.Namespace, images: np.ndarray, folder: Path, results: dict[str, Any]) -> None:
        self.asked, self.images, self.folder, self.results = asked, images, folder, results

    def keep(self) -> None:
        """Writes what is known so far."""
        if self.asked.json:
            self.asked.json.write_text(json.dumps(self.results, indent=1) + "\n")

    def say(self, what: str) -> None:
        """A word on standard error about what begins."""
        print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)

    def python_of(self, environment: str | None) -> Path:
        """The interpreter of an environment; None is this one."""
        given = dict(self.asked.python)
        if environment is None:
            return Path(sys.executable)
        return given[environment] if environment in given else interpreter(environment)

    def saved(self, count: int) -> str:
        """The path of as many images."""
        path = self.folder / f"{count}.npy"
        if not path.exists():
            np.save(path, self.images[:count])
        return str(path)

    def configurations(self) -> list[Configuration]:
        """Those that were asked for, at the size of their epochs."""
        asked, found = self.asked, []
        for one in CONFIGURATIONS:
            if one.workload not in asked.workloads or (asked.batches and one.batch not in asked.batches):
                continue
            if asked.device == "cuda":
                if (one.workload, one.batch) in (("W2", 512), ("W3", 128)):
                    found.append(replace(one, images=IMAGES))
            elif not asked.quick:
                found.append(one)
            elif one.main:
                found.append(replace(one, images=20_480 if one.images == IMAGES else one.images // 2))
        return found

    def conditions(self, configuration: Configuration, cores: int) -> dict[str, int]:
        """Condition -> turns; empty where the configuration is not measured."""
        asked = self.asked
        if asked.device == "cuda":
            return {"idle": asked.turns}
        everything = configuration.main or asked.everything
        if not everything and cores != max(asked.cores):
            return {}
        turns = {"idle": asked.turns, "busy": max(1, asked.turns - 2)}
        return {name: turns[name] for name in asked.conditions if everything or name == "idle"}

    def training(self, found: dict[str, Any]) -> None:
        """Races of every configuration on one core and on two."""
        asked = self.asked
        for configuration in self.configurations():
            for cores in asked.cores if asked.device == "cpu" else [os.cpu_count() or 1]:
                if conditions := self.conditions(configuration, cores):
                    self.say(f"{configuration.name}, {cores} core(s)")
                    entries = [
                        self.entry(one, configuration, sum(conditions.values()))
                        for one in chosen(asked.peers, configuration.workload, asked.device, asked.before is not None)
                    ]
                    if asked.device == "cpu":
                        entries.append(self.floor(configuration))
                    pinned = cores_of(cores) if asked.device == "cpu" else os.sched_getaffinity(0)
                    runs = race(entries, pinned, conditions)
                    record = {**asdict(configuration), "cores": cores, "floor": runs.pop(FLOOR, {}), "runs": runs}
                    found[f"{configuration.name}, {cores} cores"] = record
                    self.keep()

    def entry(self, one: Contestant, configuration: Configuration, turns: int) -> tuple[str, Path, str, dict[str, Any]]:
        """A peer with its job."""
        job = {
            **WORKLOADS[configuration.workload].job(),
            "batch": configuration.batch,
            "data": self.saved(configuration.images),
            "seed": SEED,
            "device": self.asked.device,
            "epochs": turns + 1,
            "variant": one.variant,
            "source": str(self.asked.before.resolve() / "src") if one.name == BEFORE else None,
        }
        return one.name, self.python_of(one.environment), one.script, job

    def floor(self, configuration: Configuration) -> tuple[str, Path, str, dict[str, Any]]:
        """The products of a configuration, to take their turn."""
        layers = [asdict(layer) for layer in WORKLOADS[configuration.workload].layers]
        job = {"layers": layers, "batch": configuration.batch, "images": configuration.images}
        return FLOOR, self.python_of("plain"), "floor.py", job

    def losses(self, found: dict[str, Any]) -> None:
        """The loss after equal epochs in float32, in bf16 and in compiled steps, from several seeds."""
        asked, cores = self.asked, max(self.asked.cores)
        for one in self.configurations():
            if not one.main:
                continue
            images, epochs = (12_800, 8) if one.images < IMAGES else (IMAGES, 10)
            longer = replace(one, images=images // (4 if asked.quick else 1) // one.batch * one.batch)
            runs: dict[str, list[float]] = {}
            for contestant in (each for each in LOSSES if one.workload in each.workloads):
                self.say(f"losses of {one.name}, {contestant.name}")
                entry = self.entry(contestant, longer, epochs - 1)
                runs[contestant.name] = [self.trained({**entry[3], "seed": seed}, cores) for seed in SEEDS]
            found[one.name] = {**asdict(longer), "epochs": epochs, "runs": runs}
            self.keep()

    def trained(self, job: dict[str, Any], cores: int) -> float:
        """The loss of the last epoch of a training by diabolo."""
        return float(self.answers("ours.py", None, job, cores, job["epochs"])[-1]["loss"])

    def inference(self, found: dict[str, Any]) -> None:
        """Trained models beside ONNX Runtime, on all the cores that were asked for, idle."""
        cores, asked = max(self.asked.cores), self.asked
        for name in asked.workloads:
            self.say(f"inference of {name}")
            workload, folder = WORKLOADS[name], self.folder / name
            folder.mkdir(exist_ok=True)
            count = (60_000 if workload.network == "mlp" else 6_000) // (4 if asked.quick else 1)
            job = {"recipe": workload.recipe, "folder": str(folder), "data": self.saved(count)}
            self.once("prepare.py", None, {**job, "data": self.saved(2560)}, cores)
            entries = [
                (OURS, self.python_of(None), "infer_ours.py", {**job, "precision": "float32"}),
                (OURS_BF16, self.python_of(None), "infer_ours.py", {**job, "precision": "bf16"}),
                ("onnxruntime", self.python_of("onnxruntime"), "infer_onnx.py", job),
            ]
            runs = race(entries, cores_of(cores), {"idle": asked.turns})
            found[name] = {"images": count, "cores": cores, "runs": runs}
            self.keep()

    def start(self, found: dict[str, Any]) -> None:
        """How long the first word takes, beside importing torch."""
        self.say("starting")
        found.update(starts(cores_of(max(self.asked.cores)), 2 * self.asked.turns + 1))
        self.keep()

    def once(self, script: str, environment: str | None, job: dict[str, Any], cores: int) -> dict[str, Any]:
        """The one answer of a script.

        Raises:
            SystemExit: it had none.
        """
        return self.answers(script, environment, job, cores, 1)[0]

    def answers(
        self, script: str, environment: str | None, job: dict[str, Any], cores: int, count: int
    ) -> list[dict[str, Any]]:
        """The first answers of a script.

        Raises:
            SystemExit: there were fewer.
        """
        worker = Worker(self.python_of(environment), script, job, cores_of(cores))
        try:
            return [worker.turn() if number else worker.read() for number in range(count)]
        except Stopped as error:
            raise SystemExit(f"{script} stopped: {error}") from error
        finally:
            worker.close()


if __name__ == "__main__":
    main()
