"""Anomalies: the scores of examples, and the threshold above which an example counts as an anomaly."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from diabolo._border import checked_methods
from diabolo.config import require
from diabolo.errors import DataError, ShapeError, unknown_name
from diabolo.latent.code_statistics import check_format
from diabolo.storage.files import read_json, write_json
from diabolo.storage.foreign import as_array, check_form, reading

__all__ = ["SCORES", "UNITS", "Threshold"]

Array = npt.NDArray[np.float64]

UNITS = {
    "reconstruction": "nats",
    "surprise": "nats",
    "elbo": "nats",
    "likelihood": "nats",
    "latent": "deviations",
}
SCORES = tuple(UNITS)

FORMAT = 1  # of the file; raised when an older diabolo could not read it
_FORM = {
    "kind": str, "value": float, "false_alarms": float, "count": int, "draws": int, "seed": int, "source": str,
    "scores": str,
}  # fmt: skip


@checked_methods
@dataclass(frozen=True)
class Threshold:
    """The score above which an example counts as an anomaly, calibrated on normal examples outside the training set.

    Attributes:
        kind: which score, one of `SCORES`.
        value: the threshold.
        false_alarms: an upper bound of the probability that a new normal example exceeds it.
        count: n, the number of calibration examples.
        draws: latent codes that the score draws for each example.
        seed: of those draws.
        source: the name of the calibration examples.
        scores: (n,), float64, their scores in ascending order.

    >>> threshold = Threshold.calibrate(range(1, 100), 0.05, kind="reconstruction")
    >>> threshold.value, threshold.exceeded([95.0, 96.0]).tolist()
    (95.0, [False, True])
    """

    kind: str
    value: float
    false_alarms: float
    count: int
    draws: int
    seed: int
    source: str
    scores: Array = field(repr=False, compare=False)

    @classmethod
    def calibrate(
        cls, scores: Any, false_alarms: float, *, kind: str, draws: int = 0, seed: int = 0, source: str = "an array"
    ) -> Self:
        """The threshold at the split-conformal quantile, the ceil((n + 1) (1 - rate))-th smallest of n normal scores.

        A new example of the same kind exceeds it with a probability of at most the rate, whatever the scores'
        distribution, on average over calibration sets (Vovk, Gammerman, Shafer 2005, Algorithmic learning in a random
        world; Bates et al. 2023, Testing for outliers with conformal p-values, https://arxiv.org/abs/2104.08279).

        Args:
            scores: (n,), of normal examples outside the training set.
            false_alarms: the rate, above 0 and at most 0.5.
            kind: which score, one of `SCORES`.
            draws: latent codes that the score draws for each example.
            seed: of those draws.
            source: the name of the examples.

        Raises:
            ConfigError: a rate out of range, an unknown kind.
            DataError: NaN or infinite scores, or too few of them for the rate.
        """
        if kind not in SCORES:
            raise unknown_name("score", str(kind), SCORES)
        require(0 < false_alarms <= 0.5, "false_alarms", "a rate above 0 and at most 0.5", false_alarms)
        values = _scores(scores)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise DataError(
                f"{bad:,} of {len(values):,} calibration scores are NaN or infinite: a threshold needs finite ones. "
                "Look at the examples that they belong to, or choose another kind of score."
            )
        ordered = np.sort(values)
        value = _quantile(ordered, false_alarms)
        return cls(kind, value, float(false_alarms), len(ordered), int(draws), int(seed), str(source), ordered)

    def exceeded(self, scores: Any) -> npt.NDArray[np.bool_]:
        """Whether each score, (n,), is above the threshold; NaN counts as above."""
        above: npt.NDArray[np.bool_] = ~(_scores(scores) <= self.value)
        return above

    def p_values(self, scores: Any) -> Array:
        """The conformal p-value of each score, (n,): (1 + the calibration scores at least as large) / (n + 1).

        For a new normal example it is at most u with a probability of at most u; those at most `false_alarms` are the
        scores that exceed the threshold.
        """
        values = _scores(scores)
        below = np.searchsorted(self.scores, np.where(np.isnan(values), np.inf, values), side="left")
        p: Array = (1 + self.count - below) / (self.count + 1)
        return p

    def config(self) -> dict[str, Any]:
        """All fields but the calibration scores, ready for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "scores"}

    def save(self, path: str | os.PathLike[str], weights: str = "") -> None:
        """Writes the threshold as JSON, as a whole or not at all; `weights` is the digest of the model's.

        Raises:
            StorageError: the file could not be written.
        """
        scores = " ".join(map(repr, self.scores.tolist()))
        belongs = {"weights": weights} if weights else {}
        write_json(path, {"format": FORMAT, **belongs, **self.config(), "scores": scores})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The threshold in a file of `save`.

        Raises:
            RunError: the file does not exist, is truncated, was edited, or is of a newer version.
        """
        values = read_json(path)
        check_format(path, values)
        values.pop("weights", None)
        with reading(path, form="a threshold", remedy="It was edited; restore it, or remove it and calibrate again."):
            check_form(values, _FORM, "it")
            scores = [float(word) for word in values["scores"].split()]
            names = ("kind", "draws", "seed", "source")
            threshold = cls.calibrate(scores, values["false_alarms"], **{name: values[name] for name in names})
            if {"format": FORMAT, **threshold.config(), "scores": values["scores"]} != values or list(
                threshold.scores
            ) != scores:
                raise ValueError("its value is not the quantile of its scores")
        return threshold


def _scores(scores: Any) -> Array:
    values = as_array("scores", scores, np.float64)
    if values.ndim != 1:
        raise ShapeError(f"Scores should have the shape (n,), one number for each example, and have {values.shape}.")
    return values


def _quantile(ordered: Array, rate: float) -> float:
    """The smallest of ascending scores that a new score exceeds with a probability of at most `rate`."""
    count = len(ordered)
    # Of n + 1 scores, the new one among them, so many may lie above it; 1e-9 makes up for the product's rounding.
    above = math.floor(rate * (count + 1) + 1e-9)
    if above < 1:
        least = math.ceil(1 / rate - 1e-9) - 1
        raise DataError(
            f"A false-alarm rate of {rate:g} needs at least {least:,} normal examples that were not trained on, and "
            f"{count:,} were given. Give more, or allow a higher rate."
        )
    return float(ordered[count - above])
