"""A run from start to end: open the data, build the model, train, evaluate on the test split, save."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from diabolo.autoencoder.files import EXAMPLES, weights_in, write_config, write_examples
from diabolo.autoencoder.model import Autoencoder
from diabolo.callbacks._registry import make_loggers
from diabolo.config import as_path
from diabolo.datasets import Dataset, Split
from diabolo.errors import ConfigError, DivergedError, RunError, check_current_folder
from diabolo.latent.artifacts import STATISTICS, outdated, words_for
from diabolo.models.model import Model, build_model
from diabolo.models.preprocess import Preprocess
from diabolo.models.principal import PrincipalComponents
from diabolo.runs._before_training import about_the_model
from diabolo.runs._from_data import (
    baseline,
    initialise,
    labels_of,
    space_of,
    start_from_data,
    with_augmentation,
    with_likelihood,
)
from diabolo.runs._recipe_fit import about_other_data, pictures_of
from diabolo.runs._run_contents import examples_of, run_info, spread_indices
from diabolo.runs.config import RunConfig, make_run_config
from diabolo.runs.data import open_data
from diabolo.storage.checkpoint import WEIGHTS, digest_of, save_tensors
from diabolo.storage.generation import FolderLock, generation, has_contents
from diabolo.storage.history import HISTORY, write_history
from diabolo.training import CHECKPOINT, Callback, Interrupted, Trainer
from diabolo.training.callbacks import check_callbacks
from diabolo.training.distributed import ProcessGroup, join

__all__ = ["Run", "preprocess_of", "run_of", "start", "train"]

log = logging.getLogger("diabolo")

STATISTICS_EXAMPLES = 10_000  # training examples whose latent codes give the statistics that scores need


@dataclass
class Run:
    """A run in progress: its run config, its data, its model and its training.

    Attributes:
        run_config: the choices.
        dataset: the examples.
        training: the loop, with the model and the split.
        info: the entries of config.json beside the model's.
        folder: of the run, if it has one.
        components: PCA of the training split, of the code's size, where it is known already.
        lock: of the folder, in the process that writes there; `go` gives it back.

    >>> from diabolo.runs import make_run_config, start
    >>> run = start(make_run_config("digits", latent_dim=2, epochs=1))
    >>> run.training.steps, run.training.model.latent_dim
    (0, 2)
    """

    run_config: RunConfig
    dataset: Dataset
    training: Trainer
    info: dict[str, Any]
    folder: Path | None
    components: PrincipalComponents | None = None
    lock: FolderLock | None = None

    def go(self) -> Autoencoder:
        """Trains to the end, measures the loss on the test split, and saves.

        Returns:
            The trained model.

        Raises:
            Interrupted: training was asked to stop; its state is saved.
            DivergedError: a number is no longer finite; the last good checkpoint stays.
            RunError: the run was opened again since, and this object is of the past.
        """
        if self.lock is None:
            return self._go()
        if not self.lock.is_held:
            raise RunError(f"{self.folder} was opened for writing again since: go on with that run, or resume it anew.")
        with self.lock:
            return self._go()

    def _go(self) -> Autoencoder:
        training = self.training
        processes = training.processes
        try:
            training.run()
            evaluation = training.evaluate(training.split.test) if len(training.split.test) else None
        except (Interrupted, DivergedError):
            processes.close()
            raise
        processes.close()
        history = training.history.lines
        result: dict[str, Any] = {
            "epochs": training.epochs,
            "kept_epoch": training.best_epoch if training.keeper.keeps_best and training.has_best else training.epochs,
            "seconds": round(sum(line["seconds"] for line in training.history.epochs), 2),
            "precision": training.precision,
            "engine": training.choice.engine,
            "compiled": training.compilation.is_used,
        }
        if evaluation is not None:
            result["test"] = evaluation.line()
            result["weights"] = evaluation.weights
            if not training.model.objective.entries:  # of PCA, whose numbers no token can hold
                result["baseline"] = baseline(
                    training.model, self.dataset, training.split, self.run_config, evaluation, self.components
                )
        self.info["result"] = result
        examples = examples_of(self.dataset, training.split)
        model = Autoencoder(training.model, self.info, examples, history, device=training.kept_on)
        model.folder, model.trained_on = self.folder, (self.dataset, training.split.train)
        some = spread_indices(self.dataset.x, training.split.train, STATISTICS_EXAMPLES)
        model.fit_statistics(self.dataset.subset(some))
        if self.folder is not None and processes.is_first:
            self._finish(self.folder, model)
        return model

    def _finish(self, folder: Path, model: Autoencoder) -> None:
        """Writes what belongs to the weights of the end, all at one moment."""
        tensors = model.model.state_dict()
        known = weights_in(folder)
        weights = known or digest_of(tensors)
        others = outdated(folder, weights)
        if learned := [name for name in others if name != STATISTICS]:
            log.warning(
                "%s: training went on, and the codes changed. Removed: %s. Learn them again.",
                folder, words_for(learned),
            )  # fmt: skip
        self.info["weights"] = model.info["weights"] = weights
        with generation(folder, others) as files:
            if not known:  # the folder went away meanwhile, and is made anew
                save_tensors(files / WEIGHTS, tensors, {}, weights)
                write_history(files / HISTORY, model.history)
            if not (folder / EXAMPLES).exists():
                write_examples(files, model.examples)
            model.artifacts.save(files, weights)
            write_config(files, model.model, self.info)


def train(  # noqa: PLR0913 (the parts of a model, each with its own word)
    source: Any = None,
    *,
    model: Any = None,
    network: Any = None,
    likelihood: Any = None,
    latent_dim: int | None = None,
    recipe: str | None = None,
    out: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    log: str | Sequence[str] = (),
    **options: Any,
) -> Autoencoder:
    """Trains an autoencoder: `train("mnist", model="vae", network="conv", latent_dim=2, epochs=10)`.

    Args:
        source: the name of a known data set, a path, or an array of shape (n, *event): see `open_dataset`.
        model: the variant: autoencoder, denoising, sparse, vae, ..., or an `Objective`.
        network: mlp, linear, conv, resnet, bottleneck, a `Network`, or a pair (encoder, decoder) of your own modules.
        likelihood: bernoulli, gaussian, laplace, student, a `Likelihood`, or auto.
        latent_dim: the dimensions of the latent code.
        recipe: the name of a tutorial's system; every other argument wins over it.
        out: the run's folder, from which it can be resumed; nothing is written when left out.
        callbacks: called after each step and epoch.
        log: loggers by name, such as "tensorboard"; each writes into a folder of its own below `out`.
        **options: any setting of the parts (beta=4, widths=(512, 64), ...), of training (`Settings`: epochs, lr, seed,
            ...), of the data (`open_dataset`: layout, labels, size, ...), `scaling`, `pictures`, `preset`.

    Returns:
        The trained model, with the weights of the best epoch by validation loss (of the last with keep="last").

    Raises:
        ConfigError, DataError, TrainingError, StorageError: see diabolo.errors.

    >>> import diabolo
    >>> model = diabolo.train("digits", model="vae", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> model.encode(model.examples[:3]).shape
    (3, 2)
    """
    run_config = make_run_config(
        source, recipe=recipe, model=model, network=network, likelihood=likelihood, latent_dim=latent_dim, **options
    )
    return start(run_config, out, callbacks, log).go()


def start(
    run_config: RunConfig,
    out: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    log: str | Sequence[str] = (),
) -> Run:
    """Opens the data, builds the model and writes the run's folder; nothing is trained yet.

    Args:
        run_config: the choices.
        out: the run's folder; nothing is written when left out.
        callbacks: called after each step and epoch.
        log: loggers by name.

    Raises:
        ConfigError: the folder is not empty, a logger is unknown, or the run config contradicts the data.
        DataError: the data cannot be used.
        MissingExtraError: a logger's package is not installed.

    >>> from diabolo.runs import make_run_config
    >>> run = start(make_run_config("digits", widths=(8,), epochs=2))
    >>> run.training.epochs, len(run.training.split.train) > 1000
    (0, True)
    """
    check_current_folder()
    folder = None if out is None else as_path("out", out)
    callbacks = [*check_callbacks(callbacks), *make_loggers(log, folder)]
    processes = join(run_config.settings.device)
    with processes.barrier():
        _require_free(folder)
    with processes.local_first():
        dataset, split = open_data(run_config)
        run_config = replace(run_config, settings=run_config.settings.for_examples(len(split.train)))
        preprocess = preprocess_of(run_config, dataset, split)
        run_config, reasons = with_likelihood(run_config, preprocess, dataset, split)
        run_config, more = with_augmentation(run_config, preprocess, dataset, split, processes.count)
        model = build_model(
            preprocess,
            latent_dim=run_config.latent_dim,
            options=run_config.options,
            seed=run_config.settings.seed,
            space=space_of(dataset, split, preprocess),
            **run_config.parts,
        )
    components = start_from_data(model, dataset, split, run_config)
    initialise(model, dataset, split, run_config.settings.seed)
    info = run_info(run_config, dataset, split, model) | {"reasons": {**reasons, **more}}
    run = run_of(run_config, dataset, split, model, info, folder, callbacks, processes)
    run.components, run.training.start_counts = components, components is not None
    with processes.barrier():
        _begin(run)
    return run


def _require_free(folder: Path | None) -> None:
    if folder is not None and has_contents(folder):
        raise ConfigError(
            f"{folder} is not empty, and no run is written over another. Choose another folder, remove it, "
            f"or go on with the run in it: diabolo resume {folder}"
        )


def _begin(run: Run) -> None:
    """Writes the folder of a new run, in the first process alone."""
    folder, model, dataset, split = run.folder, run.training.model, run.dataset, run.training.split
    said = [*run.run_config.differences, *about_other_data(run.run_config, run.training.model)]
    config = run.run_config
    is_named = isinstance(config.parts.get("network"), str)
    is_chosen = not is_named or bool({"widths", "channels"} & set(config.options.get("network", {})))
    said += about_the_model(model, dataset, split, run.components, is_chosen=is_chosen)
    for sentence in said if run.training.processes.is_first else ():
        log.warning("%s", sentence)
    if folder is not None and run.training.processes.is_first:
        run.lock = FolderLock(folder)
        _require_free(folder)  # still: the data may have taken a while
        with generation(folder) as files:
            write_config(files, model, run.info)
            write_examples(files, examples_of(dataset, split))


def preprocess_of(run_config: RunConfig, dataset: Dataset, split: Split) -> Preprocess:
    """How the examples of a split are scaled."""
    binarize = dataset.binarize == "dynamic"
    return Preprocess.fit(dataset.x, dataset.layout, split.train, run_config.scaling, binarize)  # type: ignore[arg-type]


def run_of(
    run_config: RunConfig,
    dataset: Dataset,
    split: Split,
    model: Model,
    info: dict[str, Any],
    folder: Path | None,
    callbacks: Sequence[Callback],
    processes: ProcessGroup,
) -> Run:
    """A run before its first step."""
    has_checkpoint = folder is not None and (folder / CHECKPOINT).exists()
    state = {"data": dataset.fingerprint, "folder": folder, "checkpoint": has_checkpoint}
    processes.require_same({**state, **run_config.settings.config(), **model.config(), "torch": torch.__version__})
    pictures = pictures_of(run_config, folder, model, speaks=processes.is_first)
    training = Trainer(
        model,
        dataset.x,
        split,
        run_config.settings,
        folder,
        [*pictures, *callbacks],
        processes,
        labels_of(model, dataset),
    )
    return Run(run_config, dataset, training, info, folder)
