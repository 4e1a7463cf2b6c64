"""A run from a source to a folder: its run config, its run data, the recipes, training from start to end, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.runs.config import DATA_OPTIONS, RunConfig, make_run_config, options_of, run_config_of
    from diabolo.runs.data import open_data, open_examples
    from diabolo.runs.pythae import import_pythae
    from diabolo.runs.recipes import RECIPES, Recipe, find_recipe
    from diabolo.runs.resuming import resume
    from diabolo.runs.run import Run, start, train
    from diabolo.runs.tables import read_codes, read_numbers, to_npy, write_array, write_table

__all__ = [
    "DATA_OPTIONS",
    "RECIPES",
    "Recipe",
    "Run",
    "RunConfig",
    "find_recipe",
    "import_pythae",
    "make_run_config",
    "open_data",
    "open_examples",
    "options_of",
    "read_codes",
    "read_numbers",
    "resume",
    "run_config_of",
    "start",
    "to_npy",
    "train",
    "write_array",
    "write_table",
]

if not TYPE_CHECKING:  # to a type checker, a name that is not above does not exist
    __getattr__ = lazy(
        __name__,
        {
            "diabolo.runs.config": ["DATA_OPTIONS", "RunConfig", "make_run_config", "options_of", "run_config_of"],
            "diabolo.runs.data": ["open_data", "open_examples"],
            "diabolo.runs.pythae": ["import_pythae"],
            "diabolo.runs.recipes": ["RECIPES", "Recipe", "find_recipe"],
            "diabolo.runs.resuming": ["resume"],
            "diabolo.runs.run": ["Run", "start", "train"],
            "diabolo.runs.tables": ["read_codes", "read_numbers", "to_npy", "write_array", "write_table"],
        },
    )
