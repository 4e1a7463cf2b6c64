"""What benchmarks/speed.py counts and writes, on made-up numbers; nothing is timed here."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("contestants", "environments", "machine", "numbers", "page", "race", "tables", "workloads")

# The first answers each word with a line; the second says its last words instead.
ANSWERING = """
import sys
number = 0
while True:
    print('{"seconds": %d}' % number, flush=True)
    number += 1
    if not sys.stdin.readline():
        break
"""
DYING = 'import sys\nprint(\'{"seconds": 0}\', flush=True)\nsys.stdin.readline()\nsys.exit("out of paper")\n'


@pytest.fixture(scope="module")
def timing() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield SimpleNamespace(**{name: importlib.import_module(f"timing.{name}") for name in MODULES})


@pytest.fixture(scope="module")
def networks() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS / "peers")
        yield importlib.import_module("_torch")


# Arithmetic


@pytest.mark.parametrize("name", ["W1", "W2", "W3"])
def test_the_operations_are_those_that_torch_counts(timing: Any, networks: Any, name: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    workload = timing.workloads.WORKLOADS[name]
    encoder, decoder = networks.encoder(workload.job()), networks.decoder(workload.job())
    x = torch.rand(2, 1, 28, 28)
    with FlopCounterMode(display=False) as counter:
        out = encoder(x)
        decoder(out[:, : workload.latent_dim]).sum().backward()
    assert counter.get_total_flops() == 2 * timing.workloads.flops(workload.layers)


@pytest.mark.parametrize("name", ["W1", "W2", "W3"])
def test_the_peers_have_the_network_and_the_start_of_the_recipe(timing: Any, networks: Any, name: str) -> None:
    from diabolo.models.model import build_model
    from diabolo.models.preprocess import Preprocess
    from diabolo.runs.config import make_run_config

    workload = timing.workloads.WORKLOADS[name]
    run_config = make_run_config(recipe=workload.recipe)
    x = np.zeros((4, 28, 28), np.uint8)
    preprocess = Preprocess.fit(x, "HW", np.arange(4))
    ours = build_model(preprocess, latent_dim=run_config.latent_dim, options=run_config.options, **run_config.parts)
    theirs = (networks.encoder(workload.job()), networks.decoder(workload.job()))
    mine, other = ([value.detach() for part in parts for value in part.parameters()]
                   for parts in ((ours.encoder, ours.decoder), theirs))  # fmt: skip
    assert [each.shape for each in mine] == [each.shape for each in other]
    # They start from the same distribution, whose bound the largest value is near.
    assert [float(each.abs().max()) for each in other] == pytest.approx([float(each.abs().max()) for each in mine], 0.1)
    assert ours.parameter_count == workload.parameters
    assert run_config.settings.optimizer == workload.optimizer
    assert run_config.settings.lr == 1e-3
    assert getattr(ours.objective, "beta", 0.0) == workload.beta


def test_the_epochs_are_whole_batches(timing: Any) -> None:
    for one in timing.workloads.CONFIGURATIONS:
        assert one.images % one.batch == 0


def test_middle_is_the_median_between_the_extremes(timing: Any) -> None:
    assert timing.numbers.middle([5.0, 1.0, 2.0]) == (2.0, 1.0, 5.0)
    with pytest.raises(ValueError, match="at least one value"):
        timing.numbers.middle([])


def test_ratio_pairs_the_turns(timing: Any) -> None:
    # The medians' own ratio would be 4 / 2 = 2; side by side they are 2, 1 and 3.
    assert timing.numbers.ratio([2.0, 4.0, 6.0], [1.0, 4.0, 2.0]) == (2.0, 1.0, 3.0)
    assert timing.numbers.ratio([30.0, 2.0, 3.0], [10.0, 1.0, 1.0]).median == 3.0
    with pytest.raises(ValueError, match="argument"):
        timing.numbers.ratio([1.0, 2.0], [1.0])


def test_departing_names_whoever_trains_something_else(timing: Any) -> None:
    losses = {"a": 100.0, "b": 102.0, "c": 99.0, "d": 104.1, "e": math.nan}
    assert timing.numbers.departing({name: losses[name] for name in "abcd"}, 0.03) == ["d"]
    assert "e" in timing.numbers.departing(losses, 0.03)
    assert timing.numbers.departing({}, 0.03) == []


# Who races, and in which order


def test_every_contestant_has_its_script_and_pinned_versions(timing: Any) -> None:
    for one in timing.contestants.CONTESTANTS:
        assert (timing.environments.PEERS / one.script).exists()
        if one.environment:
            pins = (timing.environments.PEERS / f"{one.environment}.txt").read_text().split()
            assert pins
            assert all("==" in pin for pin in pins)


def test_chosen_takes_names_and_families_and_always_ourselves(timing: Any) -> None:
    def names(*given: Any) -> list[str]:
        return [one.name for one in timing.contestants.chosen(*given)]

    assert names(["plain"], "W1", "cpu") == ["diabolo", "diabolo/compiled", "diabolo/float32", "plain"]
    assert names(["jax"], "W3", "cpu")[2:] == ["jax/step", "jax/patches"]
    assert names(None, "W2", "cuda") == ["diabolo", "diabolo/captured", "diabolo/float32", "plain", "pythae"]
    assert names(["plain"], "W1", "cpu", True)[:2] == ["diabolo", "before"]
    assert names(None, "W1", "cpu", True) == ["diabolo", "before", *names(None, "W1", "cpu")[1:]]
    with pytest.raises(SystemExit, match=r"no peer named 'kers'.*keras/jax"):
        names(["kers"], "W1", "cpu")


def test_nobody_is_always_first_or_behind_the_same_neighbour(timing: Any) -> None:
    turns = [timing.race.order(["a", "b", "c"], turn) for turn in range(6)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert {turn[0] for turn in turns} == {"a", "b", "c"}
    assert {"".join(turn) for turn in turns} >= {"abc", "acb"}


@pytest.mark.skipif(not hasattr(__import__("os"), "sched_setaffinity"), reason="processes are pinned on Linux alone")
def test_a_race_goes_on_without_whoever_stopped(
    timing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answering.py").write_text(ANSWERING)
    (tmp_path / "dying.py").write_text(DYING)
    entries = [
        (name, Path(sys.executable), str(tmp_path / f"{name}.py"), {"seed": 0}) for name in ("answering", "dying")
    ]
    found = timing.race.race(entries, timing.race.cores_of(1), {"idle": 2, "busy": 1})
    lines = [{"seconds": 1}, {"seconds": 2}], [{"seconds": 3}]
    assert found["answering"] == {"first": {"seconds": 0}, "idle": lines[0], "busy": lines[1]}
    assert found["dying"] == {"error": "out of paper"}
    assert "dying stopped: out of paper" in capsys.readouterr().err


def test_without_a_gpu_the_reason_is_said(timing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"--device cuda needs a GPU.*finds none here"):
        timing.machine.gpu()


# The page


def run(*seconds: float, loss: float, **facts: Any) -> dict[str, Any]:
    """A peer's turns, made up."""
    return {
        "first": {"seconds": 9.0, "loss": 300.0, **facts},
        "idle": [{"seconds": each, "loss": loss} for each in seconds],
    }


@pytest.fixture
def results() -> dict[str, Any]:
    runs = {
        "diabolo": run(1.0, 2.0, 1.0, loss=100.0, precision="bf16"),
        "plain": run(2.0, 6.0, 2.0, loss=101.0),
        "pythae": run(4.0, 8.0, 4.0, loss=150.0),
        "keras/jax": {"error": "no paper"},
    }
    products = {"first": {}, "idle": [{"float32": each, "bf16": each / 2} for each in (1.0, 2.0, 3.0)]}
    place = {"workload": "W1", "batch": 512, "images": 59_904, "cores": 2}
    asked = dict.fromkeys(("encode", "decode", "reconstruct", "score"), 2.0)
    means = {f"{name} mean": 1.0 for name in asked}
    line = {**asked, **means, "single": 1e-3}
    slow = {**line, "encode": 3.0, "score mean": 2.0}
    return {
        "machine": {
            "processor": "Abacus",
            "vectors": ["avx2"],
            "virtual": True,
            "cores": 2,
            "memory": "24 GiB",
            "system": "Linux 6",
            "python": "3.11.7",
            "versions": {"torch": "2"},
            "date": "2026-01-01",
            "load": 0.7,
        },
        "data": "made-up pictures",
        "training": {"W1, batch 512, 2 cores": {**place, "floor": products, "runs": runs}},
        "inference": {
            "W1": {
                "images": 100,
                "cores": 2,
                "runs": {"diabolo": {"first": line, "idle": [line]}, "onnxruntime": {"first": slow, "idle": [slow]}},
            }
        },
        "start": {'python -c "import torch"': [2.0, 4.0], "diabolo --help": [1.0, 1.0]},
    }


def table_of(page: str, title: str) -> dict[str, list[str]]:
    """The rows of the table whose head begins with `title`: first cell -> the others."""
    lines = page[page.index(f"| {title} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


def test_peers_are_compared_with_compiled_steps_too(timing: Any, results: dict[str, Any]) -> None:
    race = results["training"]["W1, batch 512, 2 cores"]
    compiled = {key: race["runs"]["plain"][key] for key in race["runs"]["plain"]}
    runs = {**race["runs"], "diabolo/compiled": compiled}
    page = timing.page.written({**results, "training": {"W1, batch 512, 2 cores": {**race, "runs": runs}}})
    assert table_of(page, "Batch 512: its seconds over diabolo/compiled's")["plain"] == ["1.00 [1.00, 1.00]"]
    assert "diabolo/compiled" not in table_of(page, "Batch 512: its seconds over diabolo's")


def few_steps(results: dict[str, Any]) -> dict[str, Any]:
    """The same races, of a workload whose losses are not compared."""
    return {name: {**each, "workload": "W3", "batch": 128} for name, each in results["training"].items()}


def test_the_page_says_rates_ratios_losses_and_who_departs(timing: Any, results: dict[str, Any]) -> None:
    page = timing.page.written(results)
    assert table_of(page, "Batch 512: images per second") == {
        "diabolo (bf16)": ["59,904", "100.0", "9.0"],
        "plain": ["29,952", "101.0", "9.0"],
        "pythae": ["14,976", "150.0†", "9.0"],
        "keras/jax": ["stopped: no paper", "", ""],
    }
    assert table_of(page, "Batch 512: its seconds over diabolo's") == {
        "plain": ["2.00 [2.00, 3.00]"],
        "pythae": ["4.00 [4.00, 4.00]"],
    }
    assert "†" not in timing.page.written({**results, "training": few_steps(results)}).split("## Training")[1]
    assert "Abacus; 2 cores, a virtual machine; avx2" in page
    assert "load average before: 0.70 (**not idle**)" in page
    assert "made-up pictures" in page
    assert "- **keras/jax** (keras 3.15.1, jax 0.10.2): Keras" in page
    assert "quick run" not in page
    assert "quick run" in timing.page.written({**results, "quick": True})


def test_the_page_says_floors_and_shares(timing: Any, results: dict[str, Any]) -> None:
    page = timing.page.written(results)
    # 59,904 images in 2 s and in 1 s, 2.430976e6 operations each.
    assert "| W1, batch 512, 2 cores | 2.43 | 29,952 (73) | 59,904 (146) |" in page
    # Turn by turn: 0.5, 1 and 1.5 s over 1, 2 and 1 s; 1, 2 and 3 s over 2, 6 and 2, and over 4, 8 and 4.
    assert table_of(page, "share of its floor") == {"diabolo": ["50% of bf16"], "plain": ["50%"], "pythae": ["25%"]}


def test_a_processor_without_bf16_has_no_floor_of_it(timing: Any, results: dict[str, Any]) -> None:
    for race in results["training"].values():
        race["floor"]["idle"] = [{"float32": each} for each in (1.0, 2.0, 3.0)]
    page = timing.page.written(results)
    assert "| W1, batch 512, 2 cores | 2.43 | 29,952 (73) | - |" in page
    assert table_of(page, "share of its floor") == {"plain": ["50%"], "pythae": ["25%"]}


def test_a_race_without_its_floor_has_no_shares(timing: Any, results: dict[str, Any]) -> None:
    for race in results["training"].values():
        race["floor"] = {"error": "no paper"}
    assert "## The floor" not in timing.page.written(results)


def test_the_page_says_what_bf16_costs(timing: Any, results: dict[str, Any]) -> None:
    runs = {"diabolo/float32": [100.0, 110.0, 90.0], "diabolo/bf16": [101.0, 110.0, 89.1]}
    record = {"workload": "W1", "batch": 512, "images": 59_904, "epochs": 10, "runs": runs}
    page = timing.page.written({**results, "losses": {"W1, batch 512": record}})
    rows = table_of(page[page.index("## What bf16 costs") :], "")
    assert rows == {
        "W1, batch 512, 10 epochs of 59,904: diabolo/float32": ["100.00 [90.00, 110.00]", ""],
        "W1, batch 512, 10 epochs of 59,904: diabolo/bf16": ["101.00 [89.10, 110.00]", "+0.0% [-1.0, +1.0]"],
    }
    assert "the median of 3 seeds" in page


def test_the_page_says_inference_and_starts(timing: Any, results: dict[str, Any]) -> None:
    page = timing.page.written(results)
    rows = table_of(page[page.index("## Inference") :], "")
    assert rows["W1, 100 images, 2 cores: diabolo"] == ["50/s"] * 4 + ["1.000 ms"]
    assert rows["W1, 100 images, 2 cores: onnxruntime"] == ["33/s", "50/s", "50/s", "50/s", "1.000 ms"]
    assert rows["W1: its seconds over diabolo's"] == ["1.50 [1.50, 1.50]", *["1.00 [1.00, 1.00]"] * 4]
    assert "W1: the two do not compute the same: score mean" in page
    assert table_of(page[page.index("## Start") :], "")["`diabolo --help`"] == ["1.000", "0.375"]


def test_a_gpus_part_stands_beside_the_processors(timing: Any, results: dict[str, Any]) -> None:
    gpu = {"machine": {**results["machine"], "gpu": "Loom 3000"}, "training": results["training"]}
    page = timing.page.written({**results, "gpu": gpu})
    assert "- GPU: Loom 3000" in page
    assert table_of(page, "W1, batch 512: seconds")["plain"] == ["2.000", "101.0", "9.0"]


def test_a_page_of_nothing_is_a_page(timing: Any) -> None:
    assert timing.page.written({}).startswith("# How fast it is")


def test_a_table_lines_up(timing: Any) -> None:
    assert timing.tables.table(["", "a"], [["b", "1"]]) == "|  | a |\n| --- | ---: |\n| b | 1 |"
    with pytest.raises(ValueError, match="1 cells, and the head has 2"):
        timing.tables.table(["", "a"], [["b"]])


def test_rows_that_were_not_run_stay_in_their_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    kept = importlib.import_module("kept")
    head = "| set | code | mse |\n| --- | ---: | ---: |"
    page = tmp_path / "results.md"
    page.write_text(f"<!-- t: by x -->\n{head}\n| a | 2 | 1 |\n| a | 16 | 1 |\n<!-- /t -->\n", encoding="utf-8")
    new = f"{head}\n| a | 16 | 3 |\n| a | 8 | 3 |"
    kept.written("t", new, page, keys=[0, 1], order=lambda cells: int(cells[1]))
    assert page.read_text(encoding="utf-8").splitlines()[3:-1] == ["| a | 2 | 1 |", "| a | 8 | 3 |", "| a | 16 | 3 |"]
    kept.written("t", new, page)
    assert page.read_text(encoding="utf-8").splitlines()[1:-1] == new.splitlines()
