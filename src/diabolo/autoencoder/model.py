"""The trained model in the user's hand: what it makes of examples, what is learned about its codes, its folder.

A long file of one class: each method hands its work on, and two thirds of the lines are docstrings with their examples.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from diabolo._border import checked_methods
from diabolo._imported import trust as add_trust
from diabolo.autoencoder import files, notebook
from diabolo.autoencoder.inference import Inference, Places
from diabolo.config import as_path, as_whole_number, require
from diabolo.datasets import Dataset, as_store
from diabolo.errors import ConfigError, ShapeError, unknown_name
from diabolo.evaluation import scores
from diabolo.latent import geometry
from diabolo.latent.anomalies import SCORES, Threshold
from diabolo.latent.artifacts import LatentArtifacts
from diabolo.latent.code_statistics import CodeStatistics
from diabolo.latent.concepts import ConceptVector
from diabolo.models.distributions import Likelihood
from diabolo.models.engine import ENGINES, Engine
from diabolo.models.model import Model, Modules, OwnParts
from diabolo.models.objectives import Batch, Objective
from diabolo.models.priors import Prior, make_prior
from diabolo.storage import images
from diabolo.storage.foreign import as_array

__all__ = ["Autoencoder", "load"]

HELD = 1e9  # bytes of training examples that are taken into memory at once, where they lie on the disk


@checked_methods
class Autoencoder(Inference):
    """A trained model, with what is learned about its codes afterwards.

    Arrays have the examples' shape, (n, *event), in the layout that the model was trained on. Pixels go in as uint8 or
    as floats in [0, 1] and come out as float32 in [0, 1]; tables and signals go in and come out in their own units.
    Everything is computed in chunks, in float32 unless told otherwise, and repeats exactly; what is drawn takes a seed.

    Args:
        model: the trained model.
        info: what config.json says beside the model: data, settings, versions.
        examples: (n, *event), a few examples that were not trained on, to show.
        history: the lines of its history.
        device: where it computes; `auto` takes a GPU where there is one.
        artifacts: concept vectors, a fitted prior, the statistics of its codes, a threshold.
        precision: float32, or bf16: where the processor has it, nearly twice as fast, and good to two or three digits.
        engine: computes the layers: torch, fused, or auto: what its training was told, else the faster one here.

    Attributes:
        folder: where it was trained into or loaded from, if anywhere.
        trained_on: the data that it was trained on and the indices of its training split, where they are at hand.

    The examples of the methods go on from here:

    >>> import numpy as np
    >>> import diabolo
    >>> x = np.random.default_rng(0).integers(0, 256, (80, 6, 6), dtype=np.uint8)
    >>> labels = np.arange(80) % 2
    >>> model = diabolo.train(x, model="vae", latent_dim=2, widths=(8,), epochs=1)
    >>> model.encode(x).shape, model.reconstruct(x[:3]).shape
    ((80, 2), (3, 6, 6))
    """

    def __init__(
        self,
        model: Model,
        info: Mapping[str, Any] | None = None,
        examples: np.ndarray | None = None,
        history: Sequence[dict[str, Any]] = (),
        device: str = "auto",
        artifacts: LatentArtifacts | None = None,
        precision: Literal["float32", "bf16"] = "float32",
        engine: Engine = "auto",
    ) -> None:
        self.info = dict(info or {})
        super().__init__(model, device, precision, self._named_engine(engine))
        self.examples = examples
        self.history = list(history)
        self.artifacts = artifacts or LatentArtifacts()
        self.folder: Path | None = None
        self.trained_on: tuple[Dataset, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but the data that it was trained on: what is pickled, and sent to other processes."""
        return super().__getstate__() | {"trained_on": None}

    # What it is

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes of the data that it was trained on, if it had any."""
        return tuple(self.info.get("data", {}).get("classes", ()))

    @property
    def concepts(self) -> dict[str, ConceptVector]:
        """The concept vectors that were learned, by name."""
        return self.artifacts.concepts

    @property
    def prior(self) -> Prior | None:
        """The density that was fitted to the training codes, if one was."""
        return self.artifacts.prior

    @property
    def statistics(self) -> CodeStatistics | None:
        """The mean and the covariance of the training codes."""
        return self.artifacts.statistics

    @property
    def threshold(self) -> Threshold | None:
        """The score above which an example counts as an anomaly, if it was calibrated."""
        return self.artifacts.threshold

    # New examples

    def sample(
        self, n: int, *, seed: int | None = None, prior: Literal["auto", "own", "fitted"] = "auto", y: Any = None
    ) -> np.ndarray:
        """New examples, (n, *event), float32: codes from a prior, decoded.

        Args:
            n: how many.
            seed: needed to repeat them.
            y: where the model takes labels: the classes that the examples shall have, (n,), by name or number, or one
                for all; when left out, all classes in turn.
            prior: `own` is the density that some variants hold their codes near; `fitted` is what `fit_prior` made;
                `auto` is the fitted one where there is one.

        Raises:
            ConfigError: there is no such prior.

        >>> model.sample(4, seed=0).shape
        (4, 6, 6)
        """
        y = self._classes_for(n, y)
        return self.decode(self.sample_codes(n, seed=seed, prior=prior, y=y), y)

    def sample_codes(
        self, n: int, *, seed: int | None = None, prior: Literal["auto", "own", "fitted"] = "auto", y: Any = None
    ) -> np.ndarray:
        """Codes from a prior, (n, d), float32: those that `sample` decodes.

        Args:
            n: how many.
            seed: needed to repeat them.
            prior: see `sample`.
            y: see `sample`.

        Raises:
            ConfigError: there is no such prior.

        >>> model.sample_codes(4, seed=0).shape
        (4, 2)
        """
        n = as_whole_number("n", n)
        require(n >= 1, "n", "a number of examples of at least 1", n)
        require(seed is None or seed >= 0, "seed", "a number of at least 0", seed)
        require(prior in ("auto", "own", "fitted"), "prior", "'auto', 'own' or 'fitted'", prior)
        if self.prior is not None and prior != "own":
            codes = self.prior.sample(n, seed)
            return self.codes_of(codes) if self.prior.of_tokens else codes.astype(np.float32)
        labels = self._classes_for(n, y)
        own = self.model.prior(None if labels is None else torch.from_numpy(labels).to(self.device))
        if prior == "fitted" or own is None:
            name = self.info.get("model", {}).get("name", "model")
            why = "No prior was fitted to the codes of" if prior == "fitted" else "The codes follow no prior in"
            kind = "autoregressive" if self.model.objective.entries else "gmm"
            simpler = (
                "'categorical' is simpler"
                if self.model.objective.entries
                else "'gaussian' is simpler, 'flow' more flexible"
            )
            raise ConfigError(
                f"{why} this {name}, so there is nothing to draw them from. Fit one with "
                f"model.fit_prior({kind!r}) ({simpler}) or diabolo fit-prior RUN --kind {kind}, or train a model with "
                "its own (model='vae')."
            )
        return self._finite(own.sample(n, seed))

    def _classes_for(self, n: int, y: Any) -> np.ndarray | None:
        """The labels of n new examples, where the model takes labels."""
        if self.labels == "none":
            return None
        y = self.label if y is None else y
        if y is None:
            return self.model.objective.in_turn(n).view(Places)
        return self._classes(np.repeat(y, n) if np.ndim(y) == 0 else y, n)

    def fit_prior(
        self, kind: str | type[Prior] | Prior, x: Any = None, *, seed: int = 0, y: Any = None, **options: Any
    ) -> Prior:
        """Fits a density to the codes of the training examples, for `sample` to draw from.

        Ghosh et al. 2020, From variational to deterministic autoencoders, https://arxiv.org/abs/1903.12436.
        Where codes have a density they are drawn from q(z | x), one for each example: those are what the decoder knows.

        Args:
            kind: `gaussian`, `gmm` or `flow`; where codes have tokens also `categorical` or `autoregressive`; the
                import path of a class of your own, `module:Class`, or the class.
            x: (n, *event), the training examples; those of its training where it still holds them.
            seed: of the draws and of the fit.
            y: (n,), the classes of the examples, where the model takes labels.
            **options: the settings of the kind, such as components=20.

        Returns:
            The prior, which the model keeps; `save` writes it.

        Raises:
            ConfigError: an unknown kind or option, or there are no examples at hand.
            DataError: too few examples.

        >>> model.fit_prior("gaussian", x).sample(3, seed=0).shape
        (3, 2)
        """
        prior = make_prior(kind, options)  # before anything is encoded
        examples = self._training_examples(x, "fit_prior")
        if prior.of_tokens:
            self.artifacts.prior = prior.fit(self.tokens(examples, y), seed, self.model.objective.entries)
        else:
            codes = self.encode(examples, y, sample=self.has_density, seed=seed, flat=True)
            self.artifacts.prior = prior.fit(codes, seed)
        return self.artifacts.prior

    def fit_statistics(self, x: Any = None, y: Any = None) -> CodeStatistics:
        """Takes the mean and the covariance of the training codes, for the `latent` score; training does it at its end.

        Args:
            x: (n, *event), the training examples; those of its training where it still holds them.
            y: (n,), their classes, where the model takes labels.

        Raises:
            ConfigError: there are no examples at hand.

        >>> model.fit_statistics(x).mean.shape
        (2,)
        """
        codes = self.encode(self._training_examples(x, "fit_statistics"), y, flat=True)
        self.artifacts.statistics = CodeStatistics.fit(codes)
        return self.artifacts.statistics

    # Scores

    def score(
        self, x: Any, y: Any = None, *, kind: str | None = None, draws: int | None = None, seed: int = 0
    ) -> np.ndarray:
        """How badly the model explains each example, (n,): the higher, the stranger.

        An example's score depends on itself, the model and the seed alone: all examples share the same noise.

        - `reconstruction`: -log p(x | z) at the mean of q(z | x), in nats.
        - `surprise`: the same, above the least that any reconstruction could reach: a grey value costs nats under the
          Bernoulli likelihood however well it is met, and an image with many would seem strange for that alone.
        - `elbo`: the negative evidence lower bound, E_q[-log p(x | z)] + KL(q(z | x) || p(z)), in nats.
        - `likelihood`: -log p(x), importance-sampled (Burda et al. 2016, https://arxiv.org/abs/1509.00519), in nats.
        - `latent`: the Mahalanobis distance of the latent code from those of the training examples.

        Args:
            x: (n, *event); or a `Dataset`, whose labels come with it.
            y: (n,), the classes of the examples, where the model takes labels.
            kind: which; `elbo` when left out, or `reconstruction` where codes are points.
            draws: codes drawn for each example, by `elbo` (16 when left out; 0 takes the mean) and `likelihood` (128).
            seed: of the draws.

        Raises:
            ConfigError: an unknown kind, or one that this model does not have.

        >>> model.score(x[:3]).shape
        (3,)
        >>> bool((model.score(x[:3]) == model.score(x)[:3]).all())  # of itself alone
        True
        """
        kind = kind or ("elbo" if self.has_bound else "reconstruction")
        if kind not in SCORES:
            raise unknown_name("score", kind, SCORES)
        count = scores.resolve_draws(kind, draws)
        noise = scores.noise(count, self.latent_dim, seed, self.device)
        x, labels = self._taken(x, y)
        values = self._checked(x)
        if kind == "latent":
            if self.statistics is None:
                raise ConfigError(
                    "The score 'latent' needs the statistics of the training codes, which this model does not hold: "
                    "model.fit_statistics(x) with its training examples takes them."
                )
            return self._finite(self.statistics.mahalanobis(self._codes(values, labels)).astype(np.float32))
        function: Callable[[Batch], torch.Tensor] = {
            "reconstruction": lambda batch: scores.reconstruction(self.model, batch),
            "surprise": lambda batch: scores.surprise(self.model, batch).flatten(1).double().sum(1).float(),
            "elbo": lambda batch: scores.elbo(self.model, batch, noise),
            "likelihood": lambda batch: scores.likelihood(self.model, batch, noise),
        }[kind]

        def scored(batch: torch.Tensor, known: torch.Tensor | None) -> torch.Tensor:
            return function(Batch(batch, known))

        return self._map(scored, values, (), y=labels)

    def calibrate(
        self,
        x: Any,
        y: Any = None,
        *,
        false_alarms: float = 0.01,
        kind: str | None = None,
        draws: int | None = None,
        seed: int = 0,
        source: str = "an array",
    ) -> Threshold:
        """Finds the score that a new normal example exceeds with at most a wanted probability; `detect` uses it.

        Args:
            x: (n, *event), normal examples that were not trained on.
            y: (n,), their classes, where the model takes labels.
            false_alarms: the probability, in (0, 0.5].
            kind: of score.
            draws: of the score.
            seed: of the score.
            source: the name of the examples, to be kept with the threshold.

        Returns:
            The threshold, which the model keeps; `save` writes it.

        Raises:
            ConfigError: a rate or a score that cannot be.
            DataError: too few examples for the rate.

        >>> threshold = model.calibrate(x, false_alarms=0.1)
        >>> threshold.kind
        'elbo'
        """
        kind = kind or ("elbo" if self.has_bound else "reconstruction")
        scores_of_normal = self.score(x, y, kind=kind, draws=draws, seed=seed)
        draws = scores.resolve_draws(kind, draws)
        threshold = Threshold.calibrate(
            scores_of_normal, false_alarms, kind=kind, draws=draws, seed=seed, source=source
        )
        self.artifacts.threshold = threshold
        return threshold

    def detect(self, x: Any, y: Any = None) -> np.ndarray:
        """Which examples are anomalies by the calibrated threshold, (n,), bool.

        Raises:
            ConfigError: no threshold was calibrated.

        >>> threshold = model.calibrate(x, false_alarms=0.1)
        >>> int(model.detect(x).sum()) <= 8
        True
        """
        limit = self.threshold
        if limit is None:
            raise ConfigError(
                "No threshold was calibrated: model.calibrate(x, false_alarms=0.01) with normal examples that were not "
                "trained on finds one."
            )
        return limit.exceeded(self.score(x, y, kind=limit.kind, draws=limit.draws, seed=limit.seed))

    # Directions and paths

    def learn_concept(  # noqa: PLR0913
        self,
        name: str,
        x: Any,
        labels: Any,
        *,
        positive: Any = None,
        negative: Any = None,
        method: str = "mean",
        orthogonal_to: Sequence[str | ConceptVector] = (),
        seed: int = 0,
        y: Any = None,
    ) -> ConceptVector:
        """Learns the direction in the latent code that leads from one group of examples to another.

        Args:
            name: of the concept, such as smile.
            x: (n, *event).
            labels: (n,), what each example is.
            positive: the label of those that show the concept.
            negative: the label of those that do not; all others when left out.
            method: `mean`, `logistic` or `svm`.
            orthogonal_to: concepts that it shall leave alone, by name or as they are.
            seed: of the split on which its separation is measured.
            y: (n,), the classes of the examples, where the model takes labels.

        Returns:
            The concept vector, which the model keeps under its name; `save` writes it.

        Raises:
            ConfigError: an unknown label, method or concept.
            DataError: groups that are empty, too small, or the same.

        >>> concept = model.learn_concept("odd", x, labels, positive=1, negative=0)
        >>> concept.direction.shape
        (2,)
        """
        concept = ConceptVector.fit(
            self._codes(x, y),
            labels,
            name=name,
            positive=positive,
            negative=negative,
            method=method,
            orthogonal_to=[self._concept(other) for other in orthogonal_to],
            seed=seed,
        )
        self.concepts[name] = concept
        return concept

    def edit(
        self,
        x: Any,
        concept: str | ConceptVector | Mapping[str, float],
        strength: float | np.ndarray = 1.0,
        y: Any = None,
    ) -> np.ndarray:
        """Examples with more or less of a concept, (n, *event), float32: moved along it in the code z, and decoded.

        Args:
            x: (n, *event).
            concept: by name or as it is; or several with their strengths, {"smile": 2, "glasses": -1}.
            strength: how far, in standard deviations of the groups along it; one number, or one for each example.
            y: (n,), the classes of the examples, where the model takes labels.

        Raises:
            ConfigError: there is no such concept.

        >>> concept = model.learn_concept("odd", x, labels, positive=1, negative=0)
        >>> model.edit(x[:3], {"odd": 2.0}).shape
        (3, 6, 6)
        """
        strengths = concept if isinstance(concept, Mapping) else {concept: strength}
        moves = [(self._concept(one), amount) for one, amount in strengths.items()]
        x, y = self._taken(x, y)
        codes = self._codes(x, y)
        for one, amount in moves:
            codes = one.apply(codes, amount)
        return self.decode(codes, y)

    def interpolate(
        self, a: Any, b: Any, n: int = 10, *, how: Literal["linear", "spherical"] = "linear", y: Any = None
    ) -> np.ndarray:
        """The way from one example to another, (n, *event), float32: through codes between theirs, decoded.

        Args:
            a: (*event), where it starts.
            b: (*event), where it ends.
            n: examples on the way, both ends included.
            how: along the straight line between the codes, or along the arc about the origin.
            y: the class of all of them, where the model takes labels.

        >>> model.interpolate(x[0], x[1], 5).shape
        (5, 6, 6)
        """
        ends = [_alone(name, one, self.event_shape) for name, one in (("a", a), ("b", b))]
        start, end = np.concatenate([self._codes(one, _each(y, 1)) for one in ends])
        codes = geometry.interpolate(start, end, n, how=how)
        return self.decode(codes, _each(y, len(codes)))

    def traverse(self, x: Any, dim: int, values: Any, y: Any = None) -> np.ndarray:
        """One example with one number of its code set to each of some values, (len(values), *event), float32.

        Args:
            x: (*event), the example.
            dim: which number of the latent code, from 0.
            values: (m,).
            y: the class of the example, where the model takes labels.

        >>> model.traverse(x[0], 1, [-2, 0, 2]).shape
        (3, 6, 6)
        """
        codes = geometry.traverse(self._codes(_alone("x", x, self.event_shape), _each(y, 1))[0], dim, values)
        return self.decode(codes, _each(y, len(codes)))

    def manifold(self, n: int = 15, *, order: Literal["up", "down"] = "up", y: Any = None) -> np.ndarray:
        """The plane of a 2-D code, (n * n, *event), float32: decoded at equal steps of probability under its prior.

        Kingma & Welling 2014, Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114, figure 4. The order is
        that of a picture's rows, in which z1 grows to the right.

        Args:
            n: examples along each side.
            order: whether z2 grows upwards or downwards in the picture.
            y: the class of all of them, where the model takes labels.

        Raises:
            ConfigError: the code does not have two dimensions, or an unknown order.

        >>> model.manifold(4).shape
        (16, 6, 6)
        """
        if self.latent_dim != 2:
            raise ConfigError(
                f"A manifold is drawn of codes of 2 numbers, and this model's have {self.latent_dim}. Train one with "
                "latent_dim=2, or walk along single numbers of the latent code: model.traverse(x, dim, values)."
            )
        labels = _each(y, n * n)
        known = self._classes(labels, n * n)
        prior = self.model.prior(None if known is None else torch.from_numpy(known).to(self.device))
        return self.decode(geometry.manifold_grid(n, order=order, prior=prior), labels)

    def neighbours(self, x: Any, query: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The examples whose codes are nearest to those of others, by Euclidean distance, the nearest first.

        Args:
            x: (n, *event), the examples to choose from.
            query: (m, *event); either may be a `Dataset`, where the model takes labels.
            k: how many for each.

        Returns:
            Indices into x, int64 (m, k), and distances, float32 (m, k).

        Raises:
            ConfigError: a k that is not between 1 and n.

        >>> indices, distances = model.neighbours(x, x[:2], k=3)
        >>> indices[:, 0], distances.shape
        (array([0, 1]), (2, 3))
        """
        return geometry.nearest(self._codes(x), self._codes(query), k)

    def class_means(self, x: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
        """The mean code of each class: the classes in order, (K,), and the means, float32 (K, latent_dim).

        Args:
            x: (n, *event).
            labels: (n,), what each example is.

        >>> classes, means = model.class_means(x, labels)
        >>> classes, means.shape
        (array([0, 1]), (2, 2))
        """
        return geometry.class_means(self._codes(x), labels)

    # On disk

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the model as a folder: tensors in safetensors, the rest in JSON; each file whole or not at all.

        Raises:
            StorageError: a file could not be written; what was there before is untouched.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = diabolo.load(model.save(folder))
        >>> bool((again.encode(x) == model.encode(x)).all())
        True
        """
        folder = Path(folder)
        files.write_model(folder, self.model, self.info, self.examples, self.history, self.artifacts)
        return folder

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        modules: Modules | None = None,
        objective: Objective | None = None,
        likelihood: Likelihood | None = None,
        trust: str | Sequence[str] = (),
        device: str = "auto",
        precision: Literal["float32", "bf16"] = "float32",
        engine: Engine = "auto",
    ) -> Autoencoder:
        """Reads a saved model; in float32 it answers bit for bit as it did when it was saved, on the same machine.

        Args:
            folder: what `save` or a training run wrote.
            modules: (encoder, decoder), where they were the user's own.
            objective: the variant, where it was the user's own and has no name.
            likelihood: the likelihood, likewise.
            trust: modules of which parts may be imported, for this process and those that it starts: to load a part is
                to run its code.
            device: where it computes.
            precision: of its layers.
            engine: computes its layers: torch, fused, or auto: what its training was told, else the faster one here.

        Raises:
            RunError: the folder is not a run, is truncated, was edited, or is of a newer version.
            UntrustedError: a part is code of a module that nobody said to trust.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = diabolo.load(model.save(folder), engine="torch")
        >>> again.latent_dim
        2
        """
        folder = as_path("The folder of a run", folder)
        add_trust(trust)
        saved = files.read_model(folder, OwnParts(modules, objective, likelihood))
        model = cls(
            saved.model, saved.config, saved.examples, saved.history, device, saved.artifacts, precision, engine
        )
        model.folder = folder
        return model

    # In a notebook

    def __repr__(self) -> str:
        config = self.model.config()
        names = [config[kind]["name"] or "custom" for kind in ("model", "network", "likelihood")]
        data = self.info.get("data", {}).get("name")
        return (
            f"Autoencoder({', '.join(names)}: {self.event_shape} <-> {self.latent_dim}, "
            f"{self.model.parameter_count:,} parameters{f', trained on {data}' if data else ''})"
        )

    def _repr_html_(self) -> str:
        pairs = None
        if self.examples is not None and images.is_image(self.layout):
            x = self.examples[:10]
            pairs = self.pixels(x), self.pixels(self.reconstruct(x))
        return notebook.as_html(repr(self), self.history, pairs)

    # Inside

    def _training_examples(self, x: Any, what: str) -> Any:
        """The examples that were given, else those of the training, with their labels."""
        if x is not None:
            return x
        if self.trained_on is None:
            raise ConfigError(
                f"This model does not hold the examples that it was trained on: give them to {what}, as x."
            )
        dataset, indices = self.trained_on
        if (store := as_store(dataset.x)) is not None:  # spread over all of it, and no more than memory holds
            indices = indices[:: math.ceil(len(indices) / len(store) * store.nbytes / HELD)]
        return dataset.subset(indices)

    def _named_engine(self, engine: Engine) -> Engine:
        """The engine that was asked for, else the one that its training was told to use."""
        run_config = self.info.get("run_config")
        settings = run_config.get("settings", {}) if isinstance(run_config, Mapping) else {}
        trained_with: Engine = settings.get("engine", "auto") if isinstance(settings, Mapping) else "auto"
        return trained_with if engine == "auto" and trained_with in ENGINES else engine

    def _concept(self, concept: str | ConceptVector) -> ConceptVector:
        if isinstance(concept, ConceptVector):
            return concept
        if concept not in self.concepts:
            if not self.concepts:
                raise ConfigError(
                    f"There is no concept {concept!r}, nor any other: model.learn_concept(name, x, labels, ...) or "
                    "diabolo concept learn learns one."
                )
            raise unknown_name("concept", concept, self.concepts)
        return self.concepts[concept]


def _alone(name: str, x: Any, shape: tuple[int, ...]) -> Any:
    """One example as a batch; a row of a data frame keeps its names."""
    if hasattr(x, "to_frame"):
        return x.to_frame().T
    array = as_array(name, x)
    if array.shape != shape:
        raise ShapeError(f"{name} should be one example, of shape {shape}, and has {array.shape}.")
    return array[None]


def _each(y: Any, n: int) -> np.ndarray | None:
    """One class, n times."""
    return None if y is None else np.repeat(as_array("y", y), n)


load = Autoencoder.load
