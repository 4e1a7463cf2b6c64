"""The results of an evaluation: every number comes with its error, its unit and its protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diabolo.errors import unknown_name
from diabolo.metrics._estimates import Estimate

__all__ = ["Measurement", "Scorecard", "plain"]


@dataclass(frozen=True, eq=False)
class Measurement:
    """One number with its error, its unit and its protocol.

    Attributes:
        name: its short name, such as `nll`.
        title: its name in words.
        unit: of the number, such as nats.
        estimate: the number, with its standard error and its 95% interval.
        better: `lower`, `higher`, or empty where neither is better.
        how: the protocol, in a sentence.
        like: what two such numbers must share to compare, such as the likelihood.
        values: (n,), the numbers of single examples, whose mean is the estimate; None where there are none.

    >>> from diabolo.metrics import bootstrap
    >>> Measurement("mse", "mean squared error", "", bootstrap([0.1, 0.3, 0.2]), "lower", "test examples").text()
    '0.200 ± 0.058'
    """

    name: str
    title: str
    unit: str
    estimate: Estimate
    better: str
    how: str
    like: str = ""
    values: np.ndarray | None = None

    def text(self) -> str:
        """The number with its standard error, to the error's second digit."""
        value, error = self.estimate.value, self.estimate.standard_error
        if not math.isfinite(value):
            return str(value)
        if not (math.isfinite(error) and error > 0):
            return plain(value)
        digits = max(0, min(6, 1 - math.floor(math.log10(error))))
        return f"{value:,.{digits}f} \u00b1 {error:,.{digits}f}"

    def json(self) -> dict[str, Any]:
        """A JSON object."""
        names = ("value", "standard_error", "low", "high")
        numbers = {name: getattr(self.estimate, name) for name in names}
        return {
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "count": self.estimate.count,
            "unit": self.unit,
            "better": self.better,
            "how": self.how,
            "like": self.like,
        }


@dataclass(frozen=True, eq=False)
class Scorecard:
    """The measurements of one model on one set of examples.

    Attributes:
        model: the run's name.
        data: the name of the data.
        examples: their number.
        fingerprint: of the examples.
        protocol: sentences about the data and the errors.
        measurements: the numbers.
        left_out: sentences on what was not measured, and why.
        details: results that are no single number: `kl_per_dimension`, `nll_by_samples`.

    >>> from diabolo.metrics import bootstrap
    >>> measurement = Measurement("mse", "squared error", "", bootstrap([0.1, 0.3, 0.2]), "lower", "test examples")
    >>> card = Scorecard("mnist-vae", "mnist", 3, "", (), (measurement,))
    >>> "mse" in card, round(card["mse"].estimate.value, 6)
    (True, 0.2)
    """

    model: str
    data: str
    examples: int
    fingerprint: str
    protocol: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    left_out: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Measurement:
        known = {item.name: item for item in self.measurements}
        if name not in known:
            raise unknown_name("measurement", name, known)
        return known[name]

    def get(self, name: str) -> Measurement | None:
        """A measurement by name, or None."""
        return next((item for item in self.measurements if item.name == name), None)

    def __contains__(self, name: str) -> bool:
        return any(item.name == name for item in self.measurements)

    def json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "model": self.model,
            "data": self.data,
            "examples": self.examples,
            "fingerprint": self.fingerprint,
            "protocol": list(self.protocol),
            "measurements": {item.name: item.json() for item in self.measurements},
            "left_out": list(self.left_out),
            "details": dict(self.details),
        }

    def __repr__(self) -> str:
        return self.table()

    def table(self) -> str:
        """The numbers as aligned text, with the protocol beneath."""
        rows = [(item.title, item.text(), item.unit, item.how) for item in self.measurements]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [f"{self.model} on {self.data}, {self.examples:,} examples", ""]
        lines += [
            f"  {title:<{widths[0]}}  {text:>{widths[1]}} {unit:<{widths[2]}}  {how}".rstrip()
            for title, text, unit, how in rows
        ]
        by_samples = self.details.get("nll_by_samples", {})
        if len(by_samples) > 1:
            steps = ", ".join(f"{number:.2f} with {count}" for count, number in by_samples.items())
            lines += ["", f"  Negative log-likelihood by samples: {steps}."]
        kl = self.details.get("kl_per_dimension")
        if kl and len(kl) <= 64:
            lines += ["", f"  KL of each dimension, nats: {', '.join(f'{value:.2f}' for value in kl)}."]
        lines += ["", *(f"  {sentence}" for sentence in self.protocol)]
        lines += [f"  Left out: {sentence}" for sentence in self.left_out]
        return "\n".join(lines)


def plain(value: float) -> str:
    """A number that has no error, to four digits."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:,.4g}"
