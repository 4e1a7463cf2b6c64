"""Operations: from examples to columns of latent codes, scores or reconstructions."""

from __future__ import annotations

import abc
import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diabolo.autoencoder.examples import codes_of
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError, unknown_name
from diabolo.evaluation.scores import resolve_draws
from diabolo.latent.anomalies import SCORES

__all__ = ["Columns", "Encode", "Operation", "Reconstruct", "Score"]

Columns = dict[str, np.ndarray]


class Operation(abc.ABC):
    """From examples to columns of numbers; the row of an example depends on that example alone.

    >>> class Brightness(Operation):
    ...     name = "brightness"
    ...     def columns(self, model, x):
    ...         return {"brightness": x.reshape(len(x), -1).mean(1)}
    >>> Brightness().columns(None, np.ones((2, 4)))["brightness"].tolist()
    [1.0, 1.0]
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def columns(self, model: Autoencoder, x: Any) -> Columns:
        """Name -> column, (n,) or (n, k), float32 or int64.

        Args:
            model: the trained model.
            x: (n, *event).
        """

    def config(self, model: Autoencoder) -> dict[str, Any]:
        """A JSON object of everything that the columns depend on, beside the weights and the examples.

        Raises:
            ConfigError: the model lacks what the operation needs.
        """
        del model
        return {"name": self.name}

    def summary(self, columns: Columns) -> dict[str, float]:
        """Numbers on some rows that merge with those of other rows: sums, and the largest value."""
        del columns
        return {}


@dataclass(frozen=True)
class Encode(Operation):
    """The posterior means, as columns z1 to zd; the tokens, where there are some, as t1, t2, ...

    >>> Encode().name
    'encode'
    """

    name: ClassVar[str] = "encode"

    def columns(self, model: Autoencoder, x: Any) -> Columns:
        codes = model.encode(x, flat=True)
        columns = {f"z{number + 1}": codes[:, number] for number in range(codes.shape[1])}
        if not model.model.objective.entries:
            return columns
        tokens = model.tokens(x).reshape(len(codes), -1)
        return columns | {f"t{number + 1}": tokens[:, number] for number in range(tokens.shape[1])}


@dataclass(frozen=True)
class Reconstruct(Operation):
    """The reconstructions, as one column `x` of lists: the values of each example in C order.

    Of a model of mixed kinds (`mixed=True`) they are the columns of its source, where none is called row, id or label.

    >>> Reconstruct().name
    'reconstruct'
    """

    name: ClassVar[str] = "reconstruct"

    def columns(self, model: Autoencoder, x: Any) -> Columns:
        copies = model.reconstruct(x)
        columns = model.table(copies) if codes_of(model) else {}
        return columns if columns and not columns.keys() & {"row", "id", "label"} else {"x": copies.reshape(len(x), -1)}


@dataclass(frozen=True)
class Score(Operation):
    """The score of each example, as a column named after its kind: the higher, the stranger.

    With a threshold, a column `anomaly` (0 or 1) and a column `p_value` as well.

    Args:
        kind: which score; `elbo` when left out, or `reconstruction` where codes are points.
        draws: latent codes drawn for each example; the kind's own number when left out.
        seed: of the draws.
        threshold: call anomalies by the model's threshold.

    >>> Score("likelihood", draws=64).draws
    64
    """

    name: ClassVar[str] = "score"
    kind: str | None = None
    draws: int | None = None
    seed: int = 0
    threshold: bool = False

    def columns(self, model: Autoencoder, x: Any) -> Columns:
        kind = self._kind(model)
        scores = model.score(x, kind=kind, draws=self.draws, seed=self.seed)
        if not self.threshold:
            return {kind: scores}
        limit = model.threshold
        assert limit is not None  # noqa: S101 (config asked for one)
        return {kind: scores, "anomaly": limit.exceeded(scores).astype(np.int64), "p_value": limit.p_values(scores)}

    def config(self, model: Autoencoder) -> dict[str, Any]:
        kind = self._kind(model)
        draws = resolve_draws(kind, self.draws)
        config: dict[str, Any] = {"name": self.name, "kind": kind, "draws": draws, "seed": self.seed}
        if kind == "latent":
            config["statistics"] = self._statistics(model)
        if not self.threshold:
            return config
        limit = model.threshold
        if limit is None or (limit.kind, limit.draws, limit.seed) != (kind, draws, self.seed):
            raise ConfigError(
                f"The model keeps no threshold for these scores (kind {kind!r}, draws {draws}, seed {self.seed}): "
                "model.calibrate with the same finds one, and model.save keeps it."
            )
        return {**config, "threshold": limit.config()}

    def summary(self, columns: Columns) -> dict[str, float]:
        scores = next(iter(columns.values()))
        sums = {"sum": float(scores.sum(dtype=np.float64)), "largest": float(scores.max(initial=-np.inf))}
        return sums | ({"anomalies": float(columns["anomaly"].sum())} if self.threshold else {})

    def _statistics(self, model: Autoencoder) -> str:
        """A digest of the statistics of the score `latent`."""
        if model.statistics is None:
            raise ConfigError(
                "The score 'latent' needs the statistics of the training codes, which this model does not hold: "
                "model.fit_statistics(x) with its training examples takes them, and model.save keeps them."
            )
        parts = (model.statistics.mean, model.statistics.covariance)
        return hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).hexdigest()

    def _kind(self, model: Autoencoder) -> str:
        kind = self.kind or ("elbo" if model.has_bound else "reconstruction")
        if kind not in SCORES:
            raise unknown_name("score", kind, SCORES)
        if kind in ("elbo", "likelihood") and not model.has_bound:
            raise ConfigError(
                f"The score {kind!r} needs codes with a density, and those of this model are points: choose "
                "'reconstruction', 'surprise' or 'latent'."
            )
        return kind
