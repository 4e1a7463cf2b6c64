"""A run from start to end: open the data, build the model, train, evaluate on the test split, save."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diabolo._version import __version__
from diabolo.storage import checkpoint
from diabolo.latent.artifacts import learned_names
from diabolo.autoencoder.files import CONFIG, EXAMPLES, FORMAT, read_config
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split, as_store
from diabolo.errors import ConfigError, DataError, DivergedError, RunError, StorageError
from diabolo.storage.files import write_json
from diabolo.models.model import Model, Modules, build_model, rebuild_model
from diabolo.callbacks.pictures import picture_callbacks
from diabolo.runs.data import open_data
from diabolo.runs.config import RunConfig, make_run_config
from diabolo.models.preprocess import Preprocess
from diabolo.training.distributed import ProcessGroup, join
from diabolo.training import CHECKPOINT, Callback, Interrupted, Training

__all__ = ["Run", "resume", "start", "train"]

log = logging.getLogger("diabolo")

STATISTICS_OF = 10_000  # training examples whose codes give the statistics of the code
RUNS = 64  # places from which these are read where the examples lie on the disk
SHOWN = 100  # examples of the test split that are kept with a run, to show what it does


@dataclass
class Run:
    """A run in progress: its configuration, its data, its model and its training.

    Attributes:
        run_config: what is to be done.
        dataset: the examples.
        training: the loop, with the model and the split.
        info: what config.json says beside the model.
        folder: where it is kept, if anywhere.
    """

    run_config: RunConfig
    dataset: Dataset
    training: Training
    info: dict[str, Any]
    folder: Path | None

    def go(self) -> Autoencoder:
        """Trains to the end, evaluates on the test split and saves.

        Raises:
            Interrupted: somebody asked to stop; what was done is saved.
            DivergedError: a number is no longer finite; the last good checkpoint stands.
        """
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
            "kept_epoch": training.best_epoch
            if training.settings.keep == "best" and training.best_epoch
            else training.epochs,
            "seconds": round(sum(line["seconds"] for line in training.history.epochs), 2),
            "precision": training.precision,
            "compiled": training.compilation.is_used,
        }
        if evaluation is not None:
            result["test"] = evaluation.line()
            result["weights"] = evaluation.weights
        self.info["result"] = result
        shown = examples_of(self.dataset, training.split)
        made = Autoencoder(training.model, self.info, shown, history, device=training.kept_on)
        made.folder, made.trained_on = self.folder, (self.dataset.x, training.split.train)
        made.fit_statistics(self.dataset.x[_spread(self.dataset.x, training.split.train, STATISTICS_OF)])
        if self.folder is not None and processes.is_first:
            if outdated := learned_names(self.folder):
                log.warning(
                    "%s: training went on, and the codes changed. Removed: %s. Learn them again.",
                    self.folder, ", ".join(outdated),
                )  # fmt: skip
            made.artifacts.save(self.folder)
            write_json(self.folder / CONFIG, {"format": FORMAT, **self.info, **training.model.config()})
        return made


def train(
    source: Any = None,
    *,
    model: Any = None,
    network: Any = None,
    likelihood: Any = None,
    latent_dim: int | None = None,
    recipe: str | None = None,
    out: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Autoencoder:
    """Trains an autoencoder: `train("mnist", model="vae", network="conv", latent_dim=2, epochs=10)`.

    Args:
        source: the name of a known data set, a path, or an array of shape (n, *event): see `open_dataset`.
        model: the variant: autoencoder, denoising, sparse, vae, ..., or an `Objective`.
        network: mlp, linear, conv, resnet, bottleneck, a `Network`, or a pair (encoder, decoder) of your own modules.
        likelihood: bernoulli, gaussian, laplace, a `Likelihood`, or auto.
        latent_dim: the dimensions of the code.
        recipe: a tutorial's system by name; everything else that is given wins over it.
        out: the folder in which to keep the run, so that it can be resumed; nothing is written when left out.
        callbacks: what looks on while it trains.
        **options: any setting of the parts (beta=4, widths=(512, 64), ...), of training (`Settings`: epochs, lr, seed,
            ...), of the data (`open_dataset`: layout, labels, size, ...), `scaling`, `pictures`, `preset`.

    Returns:
        The trained model, with the weights of the best epoch by validation loss (of the last with keep="last").

    Raises:
        ConfigError, DataError, TrainingError, StorageError: see diabolo.errors.
    """
    run_config = make_run_config(
        source, recipe=recipe, model=model, network=network, likelihood=likelihood, latent_dim=latent_dim, **options
    )
    return start(run_config, out, callbacks).go()


def start(run_config: RunConfig, out: str | os.PathLike[str] | None = None, callbacks: Sequence[Callback] = ()) -> Run:
    """Opens the data, builds the model and writes the run's folder; nothing is trained yet.

    Raises:
        ConfigError: the folder holds something already, or the run config cannot be followed.
        DataError: the data cannot be used.
    """
    folder = None if out is None else Path(out)
    processes = join(run_config.settings.device)
    with processes.barrier():
        if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                f"{folder} is not empty, and no run is written over another. Choose another folder, remove it, "
                f"or go on with the run in it: diabolo resume {folder}"
            )
    with processes.local_first():
        dataset, split = open_data(run_config)
        preprocess = _preprocess(run_config, dataset, split)
        model = build_model(
            preprocess, latent_dim=run_config.latent_dim, options=run_config.options, seed=run_config.settings.seed, **run_config.parts
        )
    run = _run(run_config, dataset, split, model, _info(run_config, dataset, split, model), folder, callbacks, processes)
    with processes.barrier():
        _begin(run)
    return run


def _begin(run: Run) -> None:
    """Writes the folder of a run of which nothing is trained yet, if this process is the one that writes."""
    folder, model, dataset, split = run.folder, run.training.model, run.dataset, run.training.split
    if folder is not None and run.training.processes.is_first:
        try:
            write_json(folder / CONFIG, {"format": FORMAT, **run.info, **model.config()})
            checkpoint.save_tensors(folder / EXAMPLES, {"x": torch.from_numpy(examples_of(dataset, split))}, {})
        except StorageError:  # the folder must stay free for the same command
            with contextlib.suppress(OSError):
                (folder / CONFIG).unlink()
            raise


def resume(
    folder: str | os.PathLike[str],
    *,
    source: Any = None,
    epochs: int | None = None,
    modules: Modules | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """A run taken up where its last checkpoint was written; `.go()` then ends as if it had never been stopped.

    Args:
        folder: the run's folder.
        source: its data, where that was an array or has moved.
        epochs: train to this many in all, instead of as many as were planned.
        modules: (encoder, decoder), where they were the user's own.
        callbacks: what looks on.

    Raises:
        RunError: the folder cannot be read.
        DataError: the data is not what the run was trained on.
        ConfigError: the run is at its end already.
    """
    folder = Path(folder)
    config = read_config(folder)
    missing = [name for name in ("versions", "run_config", "data", "parameters") if name not in config]
    if missing:
        raise RunError(f"{folder / CONFIG} lacks {', '.join(missing)}: it was edited; restore it.")
    run_config = RunConfig.of(config)
    if epochs is not None:
        run_config = run_config.with_settings(epochs=epochs)
    processes = join(run_config.settings.device)
    with processes.local_first():
        dataset, split = open_data(run_config, source)
        expected = config.get("data", {}).get("fingerprint")
        if dataset.fingerprint != expected:
            raise DataError(
                f"{dataset.name} is not the data that {folder} was trained on: its fingerprint is "
                f"{dataset.fingerprint}, and {expected} was expected. Name the right source "
                "(an array with its labels: open_dataset(x, labels=y))."
            )
    info = {name: config[name] for name in ("versions", "run_config", "data", "parameters")}
    info["run_config"] = {**info["run_config"], "settings": run_config.settings.config()}
    model = rebuild_model(config, modules)
    begun = (folder / CHECKPOINT).exists()
    if not begun:
        model = _begin_again(run_config, dataset, split, config, modules)
    run = _run(run_config, dataset, split, model, info, folder, callbacks, processes)
    if begun:
        run.training.resume()
    else:
        run.training.history.cut(0, 0)
    if run.training.epochs >= run_config.settings.epochs:
        raise ConfigError(
            f"{folder} has been trained for all of its {run.training.epochs} epochs. "
            f"To go on, say for how many in all: --epochs {2 * run.training.epochs}"
        )
    if epochs is not None and processes.is_first:  # so that what is cut short again knows how far it was to go
        write_json(folder / CONFIG, {**config, **info})
    return run


def _begin_again(
    run_config: RunConfig, dataset: Dataset, split: Split, config: Mapping[str, Any], modules: Modules | None
) -> Model:
    """The model of a run that was killed before its first checkpoint, as it was at the start."""
    parts = {kind: config[kind]["name"] for kind in ("model", "network", "likelihood")}
    options = {kind: config[kind]["options"] for kind in parts}
    preprocess = _preprocess(run_config, dataset, split)
    if modules is not None:
        parts["network"] = modules
    return build_model(preprocess, latent_dim=run_config.latent_dim, options=options, seed=run_config.settings.seed, **parts)


def examples_of(dataset: Dataset, split: Split) -> np.ndarray:
    """The first examples that are not trained on, (n, *event), at most about a megabyte's worth of values."""
    chosen = next(part for part in (split.test, split.validation, split.train) if len(part))
    most = max(1, min(SHOWN, 1_000_000 // int(np.prod(dataset.event_shape))))
    return np.ascontiguousarray(dataset.x[chosen[:most]])


def _preprocess(run_config: RunConfig, dataset: Dataset, split: Split) -> Preprocess:
    binarize = dataset.binarize == "dynamic"
    return Preprocess.fit(dataset.x, dataset.layout, split.train, run_config.scaling, binarize)  # type: ignore[arg-type]


def _spread(x: np.ndarray, indices: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the indices, spread evenly over them; runs of them where they are read from the disk."""
    if len(indices) <= most:
        return indices
    if as_store(x) is None:
        return indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]
    length = max(1, most // RUNS)
    starts = np.unique(np.linspace(0, len(indices) - length, RUNS).astype(np.int64) // length * length)
    chosen: np.ndarray = indices[(starts[:, None] + np.arange(length)).ravel()]
    return chosen


def _run(
    run_config: RunConfig,
    dataset: Dataset,
    split: Split,
    model: Model,
    info: dict[str, Any],
    folder: Path | None,
    callbacks: Sequence[Callback],
    processes: ProcessGroup,
) -> Run:
    held = {"data": dataset.fingerprint, "folder": folder, "begun": folder and (folder / CHECKPOINT).exists()}
    processes.require_same({**held, **run_config.settings.config(), **model.config(), "torch": torch.__version__})
    drawn = picture_callbacks(run_config.pictures, folder, model)
    training = Training(model, dataset.x, split, run_config.settings, folder, [*drawn, *callbacks], processes)
    return Run(run_config, dataset, training, info, folder)


def _info(run_config: RunConfig, dataset: Dataset, split: Split, model: Model) -> dict[str, Any]:
    """What config.json says beside the model."""
    return {
        "versions": {
            "diabolo": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "run_config": run_config.config(),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "examples": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
            "classes": list(dataset.classes),
            "features": list(dataset.features),
            "notes": list(dataset.notes),
            "binarize": dataset.binarize,
        },
        "parameters": model.parameter_count,
    }
