"""The base of both estimators: parameters, training, arrays in and out."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from diabolo.config import Parameter, build, coerce, require
from diabolo.datasets._arrays import LOW
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.distributions import Likelihood, likelihoods
from diabolo.models.model import Model
from diabolo.models.networks import Network, networks
from diabolo.models.objectives import Objective, objectives
from diabolo.runs.config import RunConfig, options_of
from diabolo.runs.run import start
from diabolo.sklearn._numbers import validated
from diabolo.training.settings import Settings

__all__ = ["Base"]

PARTS: dict[str, tuple[Any, Any]] = {
    "model": (objectives, Objective),
    "network": (networks, Network | tuple),
    "likelihood": (likelihoods, Likelihood),
}
OPTIONS = tuple(f"{name}_options" for name in (*PARTS, "training"))
OWN = ("epochs", "batch_size", "lr", "validation", "patience", "device", "precision")  # of Settings, in the signatures
DTYPES = (np.float64, np.float32, np.uint8)  # of X; anything else becomes the first


@dataclass(eq=False, repr=False)  # writes __init__ as scikit-learn wants it: every parameter named, and stored as it is
class Base(BaseEstimator):  # type: ignore[misc]
    """An estimator that trains a model on (n, columns); AutoencoderTransformer documents its parameters."""

    START: ClassVar[str | None] = None  # of networks that are named; None leaves it to their own default

    latent_dim: int | None = 2
    _: KW_ONLY
    model: Any = "autoencoder"
    network: Any = "mlp"
    likelihood: Any = "auto"
    event_shape: Sequence[int] | None = None
    layout: str | None = None
    scaling: str = "auto"
    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    validation: float = 0.0
    patience: int | None = None
    device: str = "auto"
    precision: str = "auto"
    random_state: Any = None
    model_options: Mapping[str, Any] | None = None
    network_options: Mapping[str, Any] | None = None
    likelihood_options: Mapping[str, Any] | None = None
    training_options: Mapping[str, Any] | None = None

    # Parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name.

        Args:
            deep: whether each entry of a dictionary of options is a parameter, too, as in `model_options__beta`.
        """
        params: dict[str, Any] = super().get_params(deep)
        for name in OPTIONS if deep else ():
            if isinstance(params[name], Mapping):
                params |= {f"{name}__{key}": value for key, value in params[name].items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Sets parameters; one entry of a dictionary of options is named as in `model_options__beta`.

        Raises:
            ValueError: there is no such parameter (whether a part has such an option is said by `fit`).
        """
        entries = {name: name.split("__", 1) for name in params if "__" in name}
        for name, (owner, key) in entries.items():
            if owner not in OPTIONS:
                hint = f" Do you mean {owner}_options__{key}?" if f"{owner}_options" in OPTIONS else ""
                raise ConfigError(f"{type(self).__name__} has no parameter {name!r}.{hint}")
        super().set_params(**{name: value for name, value in params.items() if name not in entries})
        for name, (owner, key) in entries.items():
            setattr(self, owner, {**(getattr(self, owner) or {}), key: params[name]})
        return self

    # Training

    @property
    def history_(self) -> list[dict[str, Any]]:
        """One dictionary for each epoch: its losses in nats per example, its seconds."""
        return [line for line in self.autoencoder_.history if line["kind"] == "epoch"]

    @property
    def n_iter_(self) -> int:
        """The number of epochs of training."""
        return len(self.history_)

    def _train(self, X: Any) -> np.ndarray:
        """Trains on X, (n, columns); returns the examples as the model reads them, (n, *event)."""
        x = self._shaped(validated(self, X, dtype=DTYPES, ensure_min_samples=2))
        run_config = self._run_config(x)
        run = start(run_config)
        self._check_model(run.training.model)
        model = run.go()
        model.trained_on = None  # a fitted estimator keeps no training data, as in scikit-learn
        self.autoencoder_ = model
        return run.dataset.x

    def _check_model(self, model: Model) -> None:
        """A hook for subclasses: refuses a model that they cannot use, before it is trained."""

    def _run_config(self, x: np.ndarray) -> RunConfig:
        parts, options = {}, {}
        for kind, (registry, types) in PARTS.items():
            part, options[kind] = getattr(self, kind), self._options(f"{kind}_options")
            if not isinstance(part, str):
                require(isinstance(part, types), kind, f"one of {', '.join(registry)}, or a part that is made", part)
                require(not options[kind], f"{kind}_options", f"left out where the {kind} is made", options[kind])
            parts[kind] = copy.deepcopy(part)  # training must not change the user's own instance
        if objectives.made(parts["model"], options["model"]).labels == "required":
            raise ConfigError(
                f"model={self.model!r} takes classes with examples, in transform too, where scikit-learn gives none: "
                "take a variant that needs none, or diabolo.train(X, labels=y, ...), whose methods take labels."
            )
        if self.START and "start" in options_of("network", self.network):
            options["network"].setdefault("start", self.START)
        latent_dim = self.latent_dim
        if latent_dim is not None:
            latent_dim = coerce(Parameter("latent_dim", int, None, ""), latent_dim)
        data: dict[str, Any] = {} if self.layout is None else {"layout": self.layout}
        if x.dtype == np.uint8 and x.max() < LOW:
            data["white"] = 1  # numbers in units of their own rather than bytes: they come back in the same
        return RunConfig(x, parts, latent_dim, options, data, self._settings(), self.scaling)

    def _settings(self) -> Settings:
        options = self._options("training_options")
        for name in (*OWN, "seed", "test"):
            if name in options:
                what = {"seed": "Set random_state", "test": "Split test examples off before fit"}
                raise ConfigError(f"training_options holds {name!r}. {what.get(name, f'Set the parameter {name}')}.")
        options |= {name: getattr(self, name) for name in OWN} | {"seed": self._seed(), "test": 0.0}
        return build(Settings, options, "training")

    def _options(self, name: str) -> dict[str, Any]:
        options = getattr(self, name)
        is_valid = options is None or isinstance(options, Mapping)
        require(is_valid, name, "a dictionary of options, by name", options)
        return dict(options or {})

    def _seed(self) -> int:
        """The seed of random_state: an integer is the seed itself, a generator draws one."""
        generator = check_random_state(self.random_state)
        return int(self.random_state if isinstance(self.random_state, int | np.integer) else generator.randint(2**31))

    # Arrays

    def _shaped(self, X: np.ndarray) -> np.ndarray:
        """(n, columns) as (n, *event)."""
        if self.event_shape is None:
            return X
        shape = coerce(Parameter("event_shape", tuple[int, ...], None, ""), self.event_shape)
        require(len(shape) >= 1 and min(shape) >= 1, "event_shape", "numbers of at least 1", self.event_shape)
        if math.prod(shape) != X.shape[1]:
            raise ShapeError(
                f"event_shape={shape} has {math.prod(shape)} values, and X has {X.shape[1]} columns. Each row of X "
                "should be one example, flattened, as X.reshape(len(X), -1) gives them."
            )
        return X.reshape(len(X), *shape)

    def _checked(self, X: Any) -> np.ndarray:
        """X, (n, columns), as the fitted model reads it, (n, *event), in the units of fit."""
        check_is_fitted(self)
        X = validated(self, X, reset=False, dtype=DTYPES)
        in_bytes = self.autoencoder_.model.preprocess.scale == "bytes"
        if in_bytes and X.dtype != np.uint8:
            raise DataError(
                f"X is {X.dtype}, and {type(self).__name__} was fitted on uint8, 0 to 255: give uint8 here too, or fit "
                "it on such numbers."
            )
        if not in_bytes:
            with np.errstate(over="ignore"):
                X = X.astype(np.float64 if self.autoencoder_.model.preprocess.exact else np.float32, copy=False)
            if not np.isfinite(X).all():
                raise DataError("X holds numbers beyond 3.4e38, the largest in float32. Scale them first.")
        return np.asarray(X).reshape(len(X), *self.autoencoder_.event_shape)
