"""benchmarks/recipes.py: runs are trained once, rows are averages over seeds, the table of the README is theirs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def recipes() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("recipes")


def test_the_spread_is_told_where_it_is_more_than_the_last_digit(recipes: Any) -> None:
    assert recipes.spread([1.0, 1.004, 1.002], 2) == "1.00"
    assert recipes.spread([1.00, 1.01, 1.02], 2) == "1.01"
    assert recipes.spread([1.0, 1.1, 1.2], 2) == "1.10 ± 0.10"
    assert recipes.spread([63.89, 65.44, 70.0], 2) == "66.44 ± 3.56"
    assert recipes.spread([80.0, 81.0], 1, "%") == "80.5% ± 0.5"
    assert recipes.spread([5.0], 2) == "5.00"


def test_every_recipe_with_a_source_has_its_rows(recipes: Any) -> None:
    from diabolo.runs.recipes import RECIPES

    rows = {(recipe, preset) for _, recipe, preset, _ in recipes.ROWS}
    followed = {name: recipe for name, recipe in RECIPES.items() if "source" in recipe.settings}
    assert rows == {(name, preset) for name, recipe in followed.items() for preset in (None, *recipe.presets)}


def test_a_table_keeps_the_rows_that_are_not_measured(recipes: Any, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{recipes.MARKS[0]}{recipes.MARKS[1]}after\n")
    recipes.update({"mnist-ae-128": "| mnist-ae-128 | 3 |", "fashion-ae": "| fashion-ae | 1 |"}, page)
    recipes.update({"fashion-ae": "| fashion-ae | 3 |", "fashion-vae": "| fashion-vae | 3 |"}, page)
    lines = page.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[2:] == ["| fashion-ae | 3 |", "| fashion-vae | 3 |", "| mnist-ae-128 | 3 |"]
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="no place for the table"):
        recipes.update({}, page)


def test_a_finished_run_is_taken_and_one_of_other_settings_refused(
    recipes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (80, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    options = {"source": str(tmp_path / "x.npy"), "recipe": "fashion-ae", "preset": None, "epochs": 2, "threads": 1}
    runs = [recipes.finished(tmp_path / f"run-seed{seed}", seed=seed, **options) for seed in (0, 1)]
    assert capsys.readouterr().err.count("training") == 2
    when = os.stat(tmp_path / "run-seed0" / "model.safetensors").st_mtime_ns  # noqa: PTH116
    again = recipes.finished(tmp_path / "run-seed0", seed=0, **{**options, "threads": None})
    assert os.stat(tmp_path / "run-seed0" / "model.safetensors").st_mtime_ns == when  # noqa: PTH116
    assert "training" not in capsys.readouterr().err
    np.testing.assert_array_equal(again.encode(x), runs[0].encode(x))
    for other in ({"lr": 0.1}, {"widths": (3,)}, {"model": "sparse"}):
        with pytest.raises(SystemExit, match="other settings"):
            recipes.finished(tmp_path / "run-seed0", seed=0, **{**options, **other})
    row = recipes.row(runs)
    assert row[:2] == ["2", "72 + 8"], "a tenth is the test part"
    losses = [run.info["result"]["test"]["loss"] for run in runs]
    assert row[2].startswith(f"{np.mean(losses):.2f}")
    assert row[3].startswith(f"{np.mean(losses) / 784:.4f}")


def test_the_readme_has_a_row_for_every_run(recipes: Any) -> None:
    text = recipes.README.read_text()
    table = text.partition(recipes.MARKS[0])[2].partition(recipes.MARKS[1])[0]
    names = [line.split(" | ")[0][2:] for line in table.splitlines() if line.startswith("| ")][2:]
    assert set(names) == {name for name, *_ in recipes.ROWS}
