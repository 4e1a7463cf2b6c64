"""A detector of outliers: rows that a model of the others explains badly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import OutlierMixin

from diabolo.config import require
from diabolo.errors import ConfigError, unknown_name
from diabolo.evaluation.scores import resolve_draws
from diabolo.latent.anomalies import SCORES
from diabolo.latent.neighbours import Neighbours
from diabolo.models.model import Model
from diabolo.sklearn._base import Base
from diabolo.training.settings import Settings

__all__ = ["AutoencoderOutlierDetector"]

KINDS = ("neighbours", *SCORES)
PATIENCE = 20  # epochs, where both these and the epochs are left out: neighbours need no more training than that


@dataclass(kw_only=True, eq=False, repr=False)
class AutoencoderOutlierDetector(OutlierMixin, Base):  # type: ignore[misc]
    """Outliers by an autoencoder: rows that a model of the others explains badly, as a scikit-learn detector.

    Trained on X as it is, outliers included: they should be few. `predict` calls -1 what scores below `offset_`, the
    quantile of the scores of X at `contamination`; for a threshold with a rate of false alarms that holds for new
    examples, see `diabolo.Autoencoder.calibrate`.

    Args:
        latent_dim: dimensions of the latent code; 16 when left out, and at most half of the columns: with as many as
            there are columns the model would learn to copy outliers too.
        contamination: the share of outliers in X, above 0 and at most 0.5.
        kind: the score: `neighbours`, how far a row is from what the model draws, beside how far these draws are from
            each other (`diabolo.latent.neighbours` has the formula); or `surprise`, `reconstruction`, `elbo`,
            `likelihood` or `latent`, see `diabolo.Autoencoder.score`. `neighbours` is the best on the tables of
            benchmarks/detector.py. On those of benchmarks/anomalies.py, which are images of which the model saw
            normal ones alone, `surprise` is.
        draws: latent codes drawn for each example by the scores elbo (16 when left out) and likelihood (128).
        model: the variant; AutoencoderTransformer documents this parameter and those below.
        network: of encoder and decoder.
        likelihood: of values given a latent code.
        event_shape: the shape of one example.
        layout: what its axes are.
        scaling: of the values.
        epochs: passes over the examples; 0 for as many as fit their number.
        batch_size: examples in a step.
        lr: the learning rate.
        validation: the fraction of examples held out to choose the best epoch by.
        patience: epochs without a better loss on those after which training stops; 20 where both this and epochs are
            left out.
        device: of the computation.
        precision: float32, bf16 or auto.
        random_state: an integer repeats fit exactly.
        model_options: the variant's own settings.
        network_options: the network's; its `start` is random here, since an outlier can be a principal component.
        likelihood_options: the likelihood's.
        training_options: the other settings of `diabolo.Settings`.

    Attributes:
        offset_: the score below which a row is an outlier.
        autoencoder_: the trained model, `diabolo.Autoencoder`.
        neighbours_: what the model draws, where kind="neighbours".
        history_: one dictionary for each epoch: its losses in nats per example, its seconds.
        n_iter_: the number of epochs of training.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X was a data frame.

    >>> X = np.vstack([np.random.default_rng(0).normal(size=(99, 4)), np.full((1, 4), 50.0)])
    >>> detector = AutoencoderOutlierDetector(latent_dim=1, contamination=0.01, epochs=2, random_state=0)
    >>> detector.fit_predict(X)[-3:].tolist()
    [1, 1, -1]
    """

    START = "random"

    latent_dim: int | None = field(default=None, kw_only=False)
    epochs: int = 0
    validation: float = 0.1
    contamination: float = 0.1
    kind: str = "neighbours"
    draws: int | None = None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on X and sets the threshold from its scores.

        Args:
            X: (n, columns), n at least 2.
            y: ignored; pipelines pass it.

        Raises:
            ValueError: X cannot be used (sparse, NaN, another shape than event_shape), or a parameter is invalid.
            TrainingError: training diverged.
        """
        share: Any = self.contamination
        is_share = isinstance(share, Real) and 0 < float(share) <= 0.5
        require(is_share, "contamination", "a share of outliers above 0, at most 0.5", share)
        x = self._train(X)
        if self.kind == "neighbours":
            copies, codes = self.autoencoder_.reconstruct(x), self.autoencoder_.encode(x, flat=True)
            self.neighbours_ = Neighbours.fit(self._values(x), self._values(copies), codes)
        self.offset_ = float(np.percentile(self._scores(x), 100.0 * share))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """The normality of each example, (n,): the higher, the more normal.

        In nats; deviations where kind="latent"; the logarithm of a ratio of distances where kind="neighbours".

        Args:
            X: (n, columns).
        """
        return self._scores(self._checked(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less `offset_`, (n,): negative for outliers.

        Args:
            X: (n, columns).
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for each example that is normal and -1 for each that is an outlier, (n,).

        Args:
            X: (n, columns).
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        if self.kind == "neighbours":
            return -self.neighbours_.scores(self._values(x)).astype(np.float32).astype(np.float64)
        scores = self.autoencoder_.score(x, kind=self.kind, draws=self.draws)
        return -scores.astype(np.float64)

    def _settings(self) -> Settings:
        settings = super()._settings()
        is_left_out = self.patience is None and settings.epochs == 0 and settings.validation > 0
        return replace(settings, patience=PATIENCE) if is_left_out else settings

    def _values(self, x: np.ndarray) -> np.ndarray:
        """Examples as the model sees them, (n, D)."""
        preprocess = self.autoencoder_.model.preprocess
        with torch.no_grad():
            values = preprocess(torch.from_numpy(np.array(x)).to(preprocess.shift.device))
        flat: np.ndarray = values.flatten(1).cpu().numpy()
        return flat

    def _check_model(self, model: Model) -> None:
        """Refuses a score that the model will not have."""
        if self.kind not in KINDS:
            raise unknown_name("score", str(self.kind), KINDS)
        density = model.objective.posterior_family.density
        if self.kind in ("elbo", "likelihood") and not density:
            raise ConfigError(
                f"kind={self.kind!r} needs codes with a density, and those of model={self.model!r} are points: choose "
                "'surprise' or 'latent', or a model whose code is a distribution, such as 'vae'."
            )
        resolve_draws(self.kind, self.draws)
