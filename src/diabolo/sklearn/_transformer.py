"""Codes as features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from diabolo.sklearn._base import Base

__all__ = ["AutoencoderTransformer"]


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Base):  # type: ignore[misc]
    """Codes of an autoencoder as features: any variant, any network, as a scikit-learn transformer.

    Each row of X is one example: a row of a table, or a signal or an image, flattened, whose shape `event_shape` says.
    uint8 stays as it is, and counts as pixels; everything else is read as float32. Codes and what is decoded are
    float32. All rows are trained on, unless `validation` holds some out.

    What only some variants, networks and likelihoods have is given in a dictionary, model_options={"beta": 4.0}, and
    each entry is a parameter of its own for `set_params` and for a grid: {"model_options__beta": [1.0, 4.0]}.

    Args:
        latent_dim: numbers of a code: how many features come out.
        model: the variant, by name (autoencoder, denoising, sparse, vae, ...) or made.
        network: mlp, linear, conv, resnet, bottleneck, a network that is made, or a pair (encoder, decoder) of modules.
        likelihood: bernoulli, gaussian, laplace, one that is made, or auto: bernoulli for values in [0, 1].
        event_shape: the shape of one example, such as (28, 28); a row of a table when left out.
        layout: what its axes are (HW, HWC, CHW, LC, CL), where their lengths do not tell.
        scaling: auto, standard, range, unit, none or bytes, learned from the rows that are trained on. `auto` takes
            pixels to [0, 1], and each column of a table to mean 0 and deviation 1.
        epochs: passes over the examples.
        batch_size: examples in a step.
        lr: the learning rate.
        validation: the fraction of examples held out to choose the best epoch by; 0 keeps the last.
        patience: epochs without a better loss on those after which training stops.
        device: where it computes: auto, cpu, cuda, ...; `auto` takes a GPU where there is one.
        precision: float32, bf16, or auto: bf16 where the processor has it.
        random_state: an integer repeats fit exactly, and is diabolo's seed; None draws one from NumPy's global state.
        model_options: the variant's own settings, such as {"beta": 4.0}; `diabolo models` lists them.
        network_options: the network's, such as {"widths": (256,)}.
        likelihood_options: the likelihood's, such as {"variance": "learned"}.
        training_options: all else that `diabolo.Settings` has, such as {"weight_decay": 1e-4, "clip": 1.0}.

    Attributes:
        autoencoder_: the trained model, `diabolo.Autoencoder`: decode, sample, interpolate, score, save, ...
        history_: one dictionary for each epoch: its losses in nats per example, its seconds.
        n_iter_: epochs that were trained.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X was a data frame.
    """

    def __init__(  # noqa: PLR0913
        self,
        latent_dim: int = 2,
        *,
        model: Any = "autoencoder",
        network: Any = "mlp",
        likelihood: Any = "auto",
        event_shape: Sequence[int] | None = None,
        layout: str | None = None,
        scaling: str = "auto",
        epochs: int = 20,
        batch_size: int = 128,
        lr: float = 1e-3,
        validation: float = 0.0,
        patience: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        random_state: Any = None,
        model_options: Mapping[str, Any] | None = None,
        network_options: Mapping[str, Any] | None = None,
        likelihood_options: Mapping[str, Any] | None = None,
        training_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.model = model
        self.network = network
        self.likelihood = likelihood
        self.event_shape = event_shape
        self.layout = layout
        self.scaling = scaling
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.validation = validation
        self.patience = patience
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.model_options = model_options
        self.network_options = network_options
        self.likelihood_options = likelihood_options
        self.training_options = training_options

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on X.

        Args:
            X: (n, columns), n at least 2.
            y: nothing; pipelines give it.

        Raises:
            ValueError: X cannot be used (sparse, NaN, another shape than event_shape), or a parameter cannot be.
            TrainingError: training diverged.
        """
        self._train(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The codes of examples, (n, latent_dim), float32: the mean of the posterior, the same at every call.

        Args:
            X: (n, columns).
        """
        x = self._checked(X)
        return self.autoencoder_.encode(x)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The examples that codes stand for, (n, columns), float32, in the units of what was fitted on.

        Args:
            X: codes, (n, latent_dim).
        """
        check_is_fitted(self)
        made = self.autoencoder_.decode(check_array(X, dtype=[np.float64, np.float32]))
        if self.autoencoder_.model.preprocess.scale == "bytes":
            made *= 255
        return made.reshape(len(made), -1)

    def score_samples(self, X: Any) -> np.ndarray:
        """How well the model explains each example, (n,), in nats: the higher, the more normal.

        The evidence lower bound (16 codes, noise of a fixed seed); where codes are points, log p(x | z) of its code.

        Args:
            X: (n, columns).
        """
        x = self._checked(X)
        return -self.autoencoder_.score(x).astype(np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`: what cross-validation makes as large as it can.

        Nats of the values as the model sees them: numbers compare between models with the same `scaling` and
        `likelihood`, and between variants only as far as they are the same bound.

        Args:
            X: (n, columns).
            y: nothing.
        """
        return float(self.score_samples(X).mean())

    @property
    def _n_features_out(self) -> int:
        return self.autoencoder_.latent_dim

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
