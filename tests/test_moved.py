"""A path or a name of yesterday's house is an error that names today's."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import diabolo
from diabolo import _moved


@pytest.mark.parametrize("old", _moved.MODULES)
def test_a_module_that_moved_says_where(old):
    new = f"diabolo.{_moved.MODULES[old]}"
    with pytest.raises(ModuleNotFoundError, match=rf"^diabolo\.{old} has moved: import it from {new}"):
        importlib.import_module(f"diabolo.{old}")
    with pytest.raises(ImportError, match=new):
        exec(f"from diabolo import {old}")
    assert importlib.import_module(new)


def test_names_that_changed_are_told_with_their_module():
    with pytest.raises(
        ModuleNotFoundError, match=r"diabolo\.plans has moved.*\(Plan is now RunConfig, make_plan is now"
    ):
        importlib.import_module("diabolo.plans")


@pytest.mark.parametrize("old", [name for name in _moved.NAMES if name.count(".") == 1])
def test_a_name_that_changed_says_how(old):
    room, _, name = old.partition(".")
    with pytest.raises(ImportError, match=rf"diabolo\.{_moved.NAMES[old]}\."):
        exec(f"from diabolo.{room} import {name}")


@pytest.mark.parametrize("new", _moved.NAMES.values())
def test_what_is_named_is_there(new):
    module, _, name = f"diabolo.{new}".rpartition(".")
    assert hasattr(importlib.import_module(module), name)


def test_other_names_are_missing_as_usual():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'diabolo\.nothing'"):
        importlib.import_module("diabolo.nothing")
    assert not hasattr(importlib.import_module("diabolo.runs"), "nothing")
    assert not hasattr(importlib.import_module("diabolo.autoencoder"), "nothing")


def test_a_run_that_was_saved_before_names_were_settled_is_read_and_goes_on(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 5))
    first = diabolo.train(x, latent_dim=2, epochs=1, out=tmp_path / "run", beta2=0.9)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["plan"] = config.pop("run_config")
    config["plan"]["settings"]["averaging"] = config["plan"]["settings"].pop("beta2")
    path.write_text(json.dumps(config))
    assert np.array_equal(diabolo.load(tmp_path / "run").encode(x), first.encode(x))
    run = diabolo.resume(tmp_path / "run", source=x, epochs=2)
    assert run.run_config.settings.beta2 == 0.9
    run.go()
    again = json.loads(path.read_text())
    assert "plan" not in again
    assert again["run_config"]["settings"]["beta2"] == 0.9
