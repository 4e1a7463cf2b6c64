"""`evaluate` measures a run, `compare` ranks several on the same examples."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.config import as_whole_number
from diabolo.datasets import BINARIZED, Dataset
from diabolo.errors import ConfigError, ShapeError, unknown_name
from diabolo.metrics._estimates import paired_difference
from diabolo.metrics._measure import measure_model
from diabolo.metrics._scorecard import Measurement, Scorecard
from diabolo.runs.data import open_data

__all__ = ["Comparison", "Standing", "compare", "evaluate"]

Run = Autoencoder | str | os.PathLike[str]
OF_RUN = ("model", "x", "labels", "reference", "reference_labels", "name", "data", "protocol")  # what the run says
SHOWN = 10  # examples of the comparison page, reconstructed by every model
EPSILON = 1e-12  # two equal numbers tie, also where the error of their difference is 0
ENOUGH = 1000  # examples from which the measures of disentanglement are taken, where the data say their factors


@dataclass(frozen=True, eq=False)
class Standing:
    """The place of a run by one measurement.

    Attributes:
        measurement: the number.
        best: whether it is the best of the comparable ones.
        behind: its difference from the best, in the measurement's unit; 0 for the best.
        error: the standard error of that difference; NaN where it is unknown.

    >>> from diabolo.metrics import bootstrap
    >>> measurement = Measurement("mse", "squared error", "", bootstrap([0.1, 0.3, 0.2]), "lower", "test examples")
    >>> Standing(measurement, best=False, behind=0.01, error=0.02).tied
    True
    """

    measurement: Measurement
    best: bool
    behind: float
    error: float

    @property
    def tied(self) -> bool:
        """Whether the difference from the best is no larger than its 95% error."""
        return not self.best and math.isfinite(self.error) and self.behind <= 1.96 * self.error + EPSILON


@dataclass(frozen=True, eq=False)
class Comparison:
    """The scorecards of several runs on the same examples.

    Attributes:
        scorecards: one for each run, in the runs' order.
        models: the runs.
        examples: the first of them, with their labels, for pictures.

    >>> import diabolo
    >>> x = np.random.default_rng(0).random((60, 6))
    >>> models = [diabolo.train(x, latent_dim=d, widths=(4,), epochs=1, precision="float32") for d in (1, 2)]
    >>> board = compare(models, x, metrics=["mse"])
    >>> board.names, [standing.best for standing in board.standings("mse")].count(True)
    (('mse',), 1)
    """

    scorecards: tuple[Scorecard, ...]
    models: tuple[Autoencoder, ...]
    examples: Dataset

    @property
    def names(self) -> tuple[str, ...]:
        """The measurements that any of the runs has, in order."""
        return tuple(dict.fromkeys(item.name for card in self.scorecards for item in card.measurements))

    def standings(self, name: str) -> list[Standing | None]:
        """Each run's standing by a measurement; None for a run that does not have it."""
        items = [card.get(name) for card in self.scorecards]
        return [None if item is None else _standing(item, [other for other in items if other]) for item in items]

    def unit(self, name: str) -> str:
        """The unit that all runs share; empty where it differs, as in 2 of 3 and 2 of 10 active units."""
        units = {item.unit for card in self.scorecards if (item := card.get(name)) is not None}
        return units.pop() if len(units) == 1 else ""

    def text(self, standing: Standing) -> str:
        """The number with its error, and with its unit where the runs' units differ."""
        item = standing.measurement
        return item.text() if self.unit(item.name) else f"{item.text()} {item.unit}".strip()

    def table(self) -> str:
        """The leaderboard as aligned text: the best is starred, what is not worse beyond its error is marked ~."""
        rows = [["", *(card.model for card in self.scorecards)]]
        for name in self.names:
            standings = self.standings(name)
            first = next(one.measurement for one in standings if one is not None)
            arrow = {"lower": " (lower is better)", "higher": " (higher is better)"}.get(first.better, "")
            title = f"{first.title}{f', {unit}' if (unit := self.unit(name)) else ''}{arrow}"
            rows.append([title, *("-" if one is None else f"{self.text(one)} {mark(one)}" for one in standings)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                [f"{row[0]:<{widths[0]}}", *(f"{cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]
        first_card = self.scorecards[0]
        notes = [
            f"{first_card.data}, {first_card.examples:,} examples.",
            *first_card.protocol,
            "* the best; ~ no worse than the best beyond the 95% error of their difference (paired by example where it "
            "can be). Only numbers of the same likelihood, features and counts are ranked together.",
        ]
        return "\n".join([*(line.rstrip() for line in lines), "", *notes])

    def __repr__(self) -> str:
        return self.table()

    def json(self) -> dict[str, Any]:
        """A JSON object of the scorecards and the standings."""
        standings = {
            name: [
                None
                if one is None
                else {"best": one.best, "tied": one.tied, "behind": one.behind, "error": _finite(one.error)}
                for one in self.standings(name)
            ]
            for name in self.names
        }
        return {"runs": [card.json() for card in self.scorecards], "standings": standings}


def evaluate(run: Run, source: Any = None, *, data: Mapping[str, Any] | None = None, **options: Any) -> Scorecard:
    """The metrics of a run: `evaluate("runs/mnist-vae")`, `evaluate(model, "faces/", metrics=["bounds", "fid"])`.

    The examples are the test part of its data, on which it was not trained; of another source, the published test part
    or half of it. Probes and features learn from the rest.

    Args:
        run: a trained model, or its folder.
        source: the data, as `open_dataset` takes it; the run's own data when left out.
        data: options of `open_dataset`, such as {"binarize": "static"}.
        **options: those of `measure_model`: metrics, samples, extractor, factors, limit, seed, ...

    Raises:
        ConfigError: an unknown metric or option.
        ShapeError: examples of another shape than the model's.

    >>> import diabolo
    >>> x = np.random.default_rng(0).random((60, 6))
    >>> model = diabolo.train(x, latent_dim=2, widths=(4,), epochs=1, precision="float32")
    >>> card = evaluate(model, x, metrics=["mse", "active_units"])
    >>> [measurement.name for measurement in card.measurements]
    ['mse', 'active_units']
    """
    model = _loaded(run)
    dataset, train, test = _parts(model, source, data)
    return _measure(model, _name(run, model), dataset, train, test, options)


def compare(
    runs: Sequence[Run], source: Any = None, *, data: Mapping[str, Any] | None = None, **options: Any
) -> Comparison:
    """The metrics of several runs on the same examples, on which none of them was trained.

    Args:
        runs: trained models or their folders.
        source: the data, as `open_dataset` takes it; the first run's own data when left out.
        data: options of `open_dataset`.
        **options: those of `measure_model`.

    Raises:
        ConfigError: fewer than two runs, or no example that none of them was trained on.
        ShapeError: models of different shapes.

    >>> import diabolo
    >>> x = np.random.default_rng(0).random((60, 6))
    >>> models = [diabolo.train(x, latent_dim=d, widths=(4,), epochs=1, precision="float32") for d in (1, 2)]
    >>> [len(card.measurements) for card in compare(models, x, metrics=["mse"]).scorecards]
    [1, 1]
    """
    if isinstance(runs, str | bytes) or not isinstance(runs, Sequence):
        raise ConfigError(f"runs should be a sequence of trained models or their folders, and was given {runs!r}.")
    if len(runs) < 2:
        raise ConfigError(f"A comparison needs at least two runs, and was given {len(runs)}.")
    models = [_loaded(run) for run in runs]
    for run, model in zip(runs, models, strict=True):
        if model.event_shape != models[0].event_shape:
            raise ShapeError(
                f"{_name(run, model)} is a model of examples of shape {model.event_shape}, and "
                f"{_name(runs[0], models[0])} of shape {models[0].event_shape}: they cannot be shown the same examples."
            )
    dataset, train, test = _parts(models[0], source, data)
    for model in models[1:] if source is None else ():
        other, other_train, other_test = _parts(model, None, data)
        if other.fingerprint != dataset.fingerprint:
            raise ConfigError(
                f"The runs were trained on different data ({dataset.name}, {other.name}): name a source to compare on."
            )
        train, test = np.intersect1d(train, other_train), np.intersect1d(test, other_test)
    if len(test) < 2:
        raise ConfigError(
            "There are no examples that none of the runs was trained on: their splits differ. Name another source."
        )
    names = _distinct([_name(run, model) for run, model in zip(runs, models, strict=True)])
    cards = [_measure(model, name, dataset, train, test, options) for model, name in zip(models, names, strict=True)]
    return Comparison(tuple(cards), tuple(models), dataset.subset(test[:SHOWN]))


def mark(standing: Standing) -> str:
    """`*` for the best, `~` for a difference within its error, a space otherwise."""
    return "*" if standing.best else "~" if standing.tied else " "


def _loaded(run: Run) -> Autoencoder:
    return run if isinstance(run, Autoencoder) else Autoencoder.load(run)


def _name(run: Run, model: Autoencoder) -> str:
    folder = model.folder if isinstance(run, Autoencoder) else Path(run)
    return (
        folder.resolve().name
        if folder
        else model.model.config()["model"]["name"] or type(model.model.objective).__name__
    )


def _distinct(names: Sequence[str]) -> list[str]:
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _parts(model: Autoencoder, source: Any, data: Mapping[str, Any] | None) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """The data, with the indices of the training part, for probes, and of the examples to measure."""
    dataset, split = open_data(model, source, data)
    if dataset.binarize == "dynamic":  # one fixed draw instead of one each epoch, so that the numbers repeat
        dataset = replace(dataset, binarize="none").binarized("static")
    test = next(part for part in (split.test, split.validation, split.train) if len(part))
    return dataset, split.train, test


def _measure(
    model: Autoencoder, name: str, dataset: Dataset, train: np.ndarray, test: np.ndarray, options: Mapping[str, Any]
) -> Scorecard:
    rest = dict(options)
    limit = rest.pop("limit", None)
    known = {one for one in inspect.signature(measure_model).parameters if one not in OF_RUN}
    for option in rest:
        if option not in known:
            raise unknown_name("option of an evaluation", option, {*known, "limit"})
    if limit is not None:
        if as_whole_number("limit", limit) < 2:
            raise ConfigError(f"limit should be a number of examples of at least 2, and was given {limit}.")
        test = test[:limit]
    factors = rest.pop("factors", dataset.factors if len(test) >= ENOUGH else None)
    if factors is not None:
        factors = np.asarray(factors)
        if factors.ndim == 0:
            raise ShapeError(f"factors should be an array (n, F), one row for each example, and is {factors!r}.")
        if len(factors) != len(dataset):
            raise ShapeError(
                f"There are {len(factors):,} rows of factors for the {len(dataset):,} examples of {dataset.name}: "
                "give one for each."
            )
        factors = factors[test]
    labels = dataset.y if dataset.classes else None  # continuous labels are no classes
    reference = train[:10_000] if len(train) else None
    protocol = [f"Data: {dataset.name}, {len(test):,} of {len(dataset):,} examples; {BINARIZED[dataset.binarize]}."]
    if np.intersect1d(test, train).size:
        protocol.append("These examples were trained on: there is no test part.")
    if dataset.factors is not None and factors is None:
        protocol.append(f"Disentanglement is not measured: of factors, {ENOUGH:,} examples say enough.")
    return measure_model(
        model,
        dataset.x[test],
        labels=None if labels is None else labels[test],
        reference=None if reference is None else dataset.x[reference],
        reference_labels=None if labels is None or reference is None else labels[reference],
        factors=factors,
        name=name,
        data=dataset.name,
        protocol=protocol,
        **rest,
    )


def _standing(item: Measurement, others: Sequence[Measurement]) -> Standing:
    """The place of a measurement among those of the other runs."""
    if not item.better:
        return Standing(item, False, 0.0, math.nan)
    sign = 1.0 if item.better == "lower" else -1.0
    rivals = [other for other in others if other.like == item.like and math.isfinite(other.estimate.value)]
    if len(rivals) < 2 or not math.isfinite(item.estimate.value):
        return Standing(item, False, math.nan, math.nan)
    best = min(rivals, key=lambda other: sign * other.estimate.value)
    if item is best:
        return Standing(item, True, 0.0, 0.0)
    behind = sign * (item.estimate.value - best.estimate.value)
    if item.values is not None and best.values is not None and len(item.values) == len(best.values):
        error = paired_difference(item.values, best.values).standard_error
    else:
        error = math.hypot(item.estimate.standard_error, best.estimate.standard_error)
    return Standing(item, False, behind, error)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
