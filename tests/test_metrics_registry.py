"""Families of metrics by name: one's own beside those that diabolo brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.errors import ConfigError
from diabolo.metrics import EvaluationContext, Measurement, bootstrap, metric_family, metric_names
from diabolo.metrics._registry import families

NAMES = ("norm", "largest")


@pytest.fixture(scope="module")
def model() -> diabolo.Autoencoder:
    return diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`metric_family`, whose families are gone after the test."""
    monkeypatch.setattr(families, "_items", dict(families._items))
    return metric_family


def measure_sizes(context: EvaluationContext) -> Iterator[Measurement]:
    size = np.linalg.norm(context.codes, axis=1)
    yield Measurement("norm", "norm of the code", "", bootstrap(size), "", "mean", values=size)
    yield Measurement("largest", "largest number", "", bootstrap(abs(context.codes).max(1)), "", "mean")


def test_a_family_of_ones_own_is_measured(register: Callable[..., Any], model: diabolo.Autoencoder) -> None:
    register("sizes", *NAMES)(measure_sizes)
    card = diabolo.evaluate(model, "digits", metrics=["sizes", "mse"])
    assert [item.name for item in card.measurements] == ["mse", *NAMES]
    x = diabolo.open_dataset("digits").x
    values = card["norm"].values
    assert values is not None
    assert set(np.round(values, 4)) <= set(np.round(np.linalg.norm(model.encode(x), axis=1), 4))


def test_one_metric_of_a_family(register: Callable[..., Any], model: diabolo.Autoencoder) -> None:
    register("sizes", *NAMES)(measure_sizes)
    card = diabolo.evaluate(model, "digits", metrics=["largest"])
    assert [item.name for item in card.measurements] == ["largest"]


def test_the_names_follow(register: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    from diabolo.cli import main

    register("sizes", *NAMES)(measure_sizes)
    assert {"sizes", *NAMES, "bounds", "nll", "fid"} <= set(metric_names())
    assert main(["evaluate", "--help"]) == 0
    assert "sizes" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"There is no metric named 'size'\. Did you mean 'sizes'\?"):
        diabolo.metrics.measure_model(None, np.zeros((2, 2)), metrics=["size"])  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [("bounds",), ("own", "fid"), ("fid",)])
def test_a_name_is_given_once(register: Callable[..., Any], names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="There is a metric, or a family of metrics, named"):
        register(*names)(measure_sizes)
    assert "own" not in families


def test_a_metric_that_is_not_listed_is_refused(register: Callable[..., Any], model: diabolo.Autoencoder) -> None:
    register("sizes", "norm")(measure_sizes)
    with pytest.raises(ConfigError, match="lists the metrics norm, and gave 'largest'"):
        diabolo.evaluate(model, "digits", metrics=["sizes"])


def test_compare_ranks_it(register: Callable[..., Any], model: diabolo.Autoencoder) -> None:
    register("sizes", *NAMES)(measure_sizes)
    board = diabolo.compare([model, model], "digits", metrics=["norm"])
    assert board.names == ("norm",)
