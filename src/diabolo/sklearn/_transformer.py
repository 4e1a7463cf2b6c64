"""A transformer: latent codes as features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from diabolo.sklearn._base import Base

__all__ = ["AutoencoderTransformer"]


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Base):  # type: ignore[misc]
    """The latent codes of an autoencoder as features: any variant, any network, as a scikit-learn transformer.

    Each row of X is one example: a row of a table, or a flattened signal or image of the shape `event_shape`. uint8
    stays as it is, and counts as pixels; everything else is read as float32. Latent codes and decoded examples are
    float32. Training uses all rows, unless `validation` holds some out.

    Settings of single variants, networks and likelihoods go into a dictionary, model_options={"beta": 4.0}; each entry
    is a parameter of its own for `set_params` and for a grid: {"model_options__beta": [1.0, 4.0]}.

    Args:
        latent_dim: dimensions of the latent code, which are the features; None for 16, and at most half of the columns.
        model: the variant: a name (autoencoder, denoising, sparse, vae, ...) or an instance.
        network: mlp, linear, conv, resnet, bottleneck, an instance, or a pair (encoder, decoder) of modules.
        likelihood: bernoulli, gaussian, laplace, student, an instance, or auto: a Gaussian that learns its
            variance, or Bernoulli where all values are 0 or 1.
        event_shape: the shape of one example, such as (28, 28); a row of a table when left out.
        layout: what its axes are (HW, HWC, CHW, LC, CL), where their lengths leave it open.
        scaling: auto, standard, range, unit, none or bytes, fitted to the training rows. `auto` takes
            pixels to [0, 1], and each column of a table to mean 0 and deviation 1.
        epochs: passes over the examples; 0 for as many as fit their number.
        batch_size: examples in a step.
        lr: the learning rate.
        validation: the fraction of examples held out to choose the best epoch by; 0 keeps the last.
        patience: epochs without a better loss on those after which training stops.
        device: of the computation: auto, cpu, cuda, ...; `auto` takes a GPU where there is one.
        precision: float32, bf16, or auto: bf16 where the processor has it.
        random_state: an integer repeats fit exactly, and is diabolo's seed; None draws one from NumPy's global state.
        model_options: the variant's own settings, such as {"beta": 4.0}; `diabolo models` lists them.
        network_options: the network's, such as {"widths": (256,)}.
        likelihood_options: the likelihood's, such as {"variance": "learned"}.
        training_options: the other settings of `diabolo.Settings`, such as {"weight_decay": 1e-4, "clip": 1.0}.

    Attributes:
        autoencoder_: the trained model, `diabolo.Autoencoder`: decode, sample, interpolate, score, save, ...
        history_: one dictionary for each epoch: its losses in nats per example, its seconds.
        n_iter_: the number of epochs of training.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X was a data frame.

    >>> X = np.random.default_rng(0).normal(size=(60, 6))
    >>> AutoencoderTransformer(latent_dim=2, epochs=1, random_state=0).fit_transform(X).shape
    (60, 2)
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on X.

        Args:
            X: (n, columns), n at least 2.
            y: ignored; pipelines pass it.

        Raises:
            ValueError: X cannot be used (sparse, NaN, another shape than event_shape), or a parameter is invalid.
            TrainingError: training diverged.
        """
        self._train(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The latent codes of examples, (n, latent_dim), float32: the mean of the posterior, the same at every call.

        Args:
            X: (n, columns).
        """
        x = self._checked(X)
        return self.autoencoder_.encode(x, flat=True)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The decoded examples, (n, columns), float32, in the units of the X of `fit`.

        Args:
            X: latent codes, (n, latent_dim).
        """
        check_is_fitted(self)
        x = self.autoencoder_.decode(check_array(X, dtype=[np.float64, np.float32]))
        if self.autoencoder_.model.preprocess.scale == "bytes":
            x *= 255
        return x.reshape(len(x), -1)

    def score_samples(self, X: Any) -> np.ndarray:
        """The log-likelihood bound of each example, (n,), in nats: the higher, the more normal.

        The evidence lower bound (16 draws with a fixed seed); where latent codes are points, log p(x | z) of its code.

        Args:
            X: (n, columns).
        """
        x = self._checked(X)
        return -self.autoencoder_.score(x).astype(np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, which cross-validation maximises.

        Nats of the values as the model sees them: numbers compare between models with the same `scaling` and
        `likelihood`, and between variants only as far as they are the same bound.

        Args:
            X: (n, columns).
            y: ignored.
        """
        return float(self.score_samples(X).mean())

    @property
    def _n_features_out(self) -> int:
        return self.autoencoder_.latent_dim

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
