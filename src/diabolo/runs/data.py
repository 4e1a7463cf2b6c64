"""Run data: the examples that a run is trained on, or that a trained model is shown; opened here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diabolo._imported import is_path, require_trust
from diabolo.autoencoder.examples import check_options, open_examples
from diabolo.autoencoder.files import CONFIG
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split, check_trainable, open_dataset
from diabolo.errors import DataError
from diabolo.runs.config import RunConfig, require_run, run_config_of

log = logging.getLogger("diabolo")

__all__ = ["open_data", "open_examples"]


def open_data(
    run: RunConfig | Autoencoder, source: Any = None, options: Mapping[str, Any] | None = None
) -> tuple[Dataset, Split]:
    """The data of a run with its split, or another source with a split of its own.

    Another source keeps its published test part; without one, half of it is its test part. A source that holds the
    examples of the training, by whatever name, gets the training's split: what was trained on is never its test part.

    Args:
        run: a run config, or a trained model.
        source: the data, as `open_dataset` takes it; the run's own data when left out. For a run config it is the
            run's own data under another name, and gets the run's split.
        options: settings of `open_dataset`, which win over those of the run.

    Raises:
        RunError: the model does not say what it was trained on.
        DataError: the data cannot be used, is not what it was when the run was trained, or was an array without a name.
        UntrustedError: the run's reader is code of a module that nobody said to trust.
        ShapeError: the examples do not have the shape of the model's.

    >>> from diabolo.runs import make_run_config
    >>> dataset, split = open_data(make_run_config("digits", validation=0.1, test=0.2))
    >>> len(dataset), len(split.train), len(split.validation), len(split.test)
    (1797, 1258, 180, 359)
    """
    check_options(options)
    if isinstance(run, Autoencoder):
        return _open_for_model(run, source, options)
    source = run.source if source is None else source
    if source is None:
        raise DataError("This run was trained on an array, which has no name to be found by: give it as the source.")
    dataset = open_dataset(source, **{**_options_of(run), **(options or {})})
    check_trainable(dataset)
    return dataset, _training_split(run, dataset)


def _open_for_model(model: Autoencoder, source: Any, options: Mapping[str, Any] | None) -> tuple[Dataset, Split]:
    require_run(model.info, (model.folder or Path()) / CONFIG)
    run_config = run_config_of(model)
    dataset = open_examples(model, source, options)
    if source is None or dataset.fingerprint == model.info["data"]["fingerprint"]:
        return dataset, _training_split(run_config, dataset)
    if run_config.source is not None and str(source) == run_config.source:
        log.warning(
            "%s is not what it was when the run was trained on it: its test part may hold examples of the training.",
            dataset.name,
        )
    return dataset, dataset.split(run_config.settings.seed, 0.0, 0.5 if dataset.official_test is None else 0.0)


def _training_split(run_config: RunConfig, dataset: Dataset) -> Split:
    settings = run_config.settings
    return dataset.split(settings.seed, settings.validation, settings.test)


def _options_of(run_config: RunConfig) -> dict[str, Any]:
    """The settings of `open_dataset` that a run says; its reader is code, which somebody has to trust."""
    reader = run_config.data.get("reader")
    if is_path(reader):
        require_trust(reader, "reader")
    return dict(run_config.data)
