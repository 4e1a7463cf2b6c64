"""A run that was stopped, and goes on at its last checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diabolo._border import checked
from diabolo._imported import trust as add_trust
from diabolo.autoencoder.files import CONFIG, EXAMPLES, read_config, weights_in, write_examples
from diabolo.callbacks._registry import make_loggers
from diabolo.config import as_path, require
from diabolo.datasets import Dataset, Split
from diabolo.errors import ConfigError, DataError, FinishedError
from diabolo.latent.artifacts import stamp
from diabolo.models.distributions import Likelihood
from diabolo.models.model import Model, Modules, OwnParts, build_model, rebuild_model
from diabolo.models.objectives import Objective
from diabolo.runs._from_data import initialise, space_of, start_from_data
from diabolo.runs._run_contents import examples_of
from diabolo.runs.config import RunConfig, require_run
from diabolo.runs.data import open_data
from diabolo.runs.run import Run, preprocess_of, run_of
from diabolo.storage.files import write_json
from diabolo.storage.generation import FolderLock
from diabolo.training import CHECKPOINT, Callback
from diabolo.training.callbacks import check_callbacks
from diabolo.training.distributed import ProcessGroup, join

__all__ = ["resume"]


@checked
def resume(  # noqa: PLR0913 (what its author made, each with its own word)
    folder: str | os.PathLike[str],
    *,
    source: Any = None,
    epochs: int | None = None,
    modules: Modules | None = None,
    objective: Objective | None = None,
    likelihood: Likelihood | None = None,
    trust: str | Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    log: str | Sequence[str] = (),
) -> Run:
    """A run at its last checkpoint; `.go()` then gives the same bits as a run that was never stopped.

    Args:
        folder: the run's folder.
        source: its data, where that was an array or has moved.
        epochs: the epochs in all, instead of those of the run config.
        modules: (encoder, decoder), where they were the user's own.
        objective: the variant, where it was the user's own and has no name.
        likelihood: the likelihood, likewise.
        trust: modules of which parts may be imported: to resume a part is to run its code.
        callbacks: called after each step and epoch.
        log: loggers by name, such as "tensorboard".

    Raises:
        RunError: the folder cannot be read.
        DataError: the data is not what the run was trained on.
        FinishedError: the run is at its end already.

    Where only the last things are missing (evaluation, statistics), `.go()` makes these, and trains no further.

    >>> import tempfile
    >>> from diabolo.runs import make_run_config, start
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = start(make_run_config("digits", widths=(8,), epochs=1, precision="float32"), folder).go()
    ...     run = resume(folder, epochs=3)
    >>> run.training.epochs, run.run_config.settings.epochs
    (1, 3)
    """
    folder = as_path("The folder of a run", folder)
    callbacks = [*check_callbacks(callbacks), *make_loggers(log, folder)]
    require(epochs is None or epochs >= 1, "epochs", "a number of epochs in all, of at least 1", epochs)
    add_trust(trust)
    config = read_config(folder)
    require_run(config, folder / CONFIG)
    processes = join(RunConfig.of(config).settings.device)
    lock = None
    with processes.barrier():
        lock = FolderLock(folder) if processes.is_first else None
    try:
        run = _reopened(folder, source, epochs, OwnParts(modules, objective, likelihood), callbacks, processes)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    run.lock = lock
    return run


def _reopened(
    folder: Path,
    source: Any,
    epochs: int | None,
    own: OwnParts,
    callbacks: Sequence[Callback],
    processes: ProcessGroup,
) -> Run:
    """The run of a locked folder, at its last checkpoint."""
    config = read_config(folder)
    run_config = RunConfig.of(config)
    if epochs is not None:
        run_config = run_config.with_settings(epochs=epochs)
    with processes.local_first():
        dataset, split = open_data(run_config, source)
        expected = config.get("data", {}).get("fingerprint")
        if dataset.fingerprint != expected:
            raise DataError(
                f"{dataset.name} is not the data that {folder} was trained on: its fingerprint is "
                f"{dataset.fingerprint}, and {expected} was expected. Name the right source "
                "(an array with its labels: open_dataset(x, labels=y))."
            )
    has_checkpoint, is_finished = (folder / CHECKPOINT).exists(), "result" in config
    if is_finished and not has_checkpoint:
        raise ConfigError(
            f"{folder} holds a trained model without {CHECKPOINT}, the state of its training, which therefore cannot "
            "go on. Train a new run."
        )
    entries = ("versions", "run_config", "data", "parameters", "reasons")
    info = {name: config[name] for name in entries if name in config}
    info["run_config"] = {**info["run_config"], "settings": run_config.settings.config()}
    model = rebuild_model(config, own)
    components = None
    if not has_checkpoint:
        model = _initial_model(run_config, dataset, split, config, own)
        components = start_from_data(model, dataset, split, run_config)
        initialise(model, dataset, split, run_config.settings.seed)
    run = run_of(run_config, dataset, split, model, info, folder, callbacks, processes)
    run.components, run.training.start_counts = components, components is not None
    if has_checkpoint:
        run.training.resume()
    else:
        run.training.history.cut(0, 0)
    if is_finished and run_config.settings.epochs <= run.training.epochs == config["result"].get("epochs"):
        raise FinishedError(
            f"{folder} has been trained for all of its {run.training.epochs} epochs. "
            f"To go on, say for how many in all: --epochs {2 * run.training.epochs}"
        )
    if processes.is_first:
        _begin_again(run, {**config, **info}, is_finished=is_finished, is_longer=epochs is not None)
    return run


def _begin_again(run: Run, config: dict[str, Any], *, is_finished: bool, is_longer: bool) -> None:
    """Writes into the folder of a resumed run what has to be there before its weights change."""
    folder = run.folder
    assert folder is not None  # noqa: S101
    if is_finished:  # what belongs to the weights of now says so
        stamp(folder, weights_in(folder))
        config["weights"] = weights_in(folder)
    if is_longer:  # a second `resume` after an interruption reads the new goal here
        write_json(folder / CONFIG, config)
    if not (folder / EXAMPLES).exists():  # a process was killed before it wrote them
        write_examples(folder, examples_of(run.dataset, run.training.split))


def _initial_model(
    run_config: RunConfig, dataset: Dataset, split: Split, config: Mapping[str, Any], own: OwnParts
) -> Model:
    """The untrained model of a run that was killed before its first checkpoint, with the same initial weights."""
    parts = {kind: config[kind]["name"] for kind in ("model", "network", "likelihood")}
    options = {kind: config[kind]["options"] for kind in parts}
    preprocess = preprocess_of(run_config, dataset, split)
    parts |= {
        kind: part for kind, part in zip(("network", "model", "likelihood"), own, strict=True) if part is not None
    }
    space = space_of(dataset, split, preprocess)
    seed = run_config.settings.seed
    return build_model(preprocess, latent_dim=run_config.latent_dim, options=options, seed=seed, space=space, **parts)
