"""Run data: the examples that a run is trained on, or that a trained model is shown; opened here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diabolo._imported import is_path, require_trust
from diabolo.autoencoder.files import CONFIG
from diabolo.autoencoder.model import Autoencoder
from diabolo.config import require
from diabolo.datasets import Dataset, Split, check_trainable, open_dataset
from diabolo.datasets._open import choose_reader
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.runs.config import RunConfig, require_run, run_config_of
from diabolo.storage import images

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
        DataError: the data cannot be used, has another number of examples now, or was an array and has no name.
        UntrustedError: the run's reader is code of a module that nobody said to trust.
        ShapeError: the examples do not have the shape of the model's.

    >>> from diabolo.runs import make_run_config
    >>> dataset, split = open_data(make_run_config("digits", validation=0.1, test=0.2))
    >>> len(dataset), len(split.train), len(split.validation), len(split.test)
    (1797, 1258, 180, 359)
    """
    require(options is None or isinstance(options, Mapping), "data", "options of open_dataset, by name", options)
    if isinstance(run, Autoencoder):
        return _open_for_model(run, source, options)
    source = run.source if source is None else source
    if source is None:
        raise DataError("This run was trained on an array, which has no name to be found by: give it as the source.")
    dataset = open_dataset(source, **{**_options_of(run), **(options or {})})
    check_trainable(dataset)
    return dataset, _training_split(run, dataset)


def open_examples(model: Autoencoder, source: Any = None, options: Mapping[str, Any] | None = None) -> Dataset:
    """Examples for a trained model: a source, or the run's own data, read at the model's size, colours and layout.

    Args:
        model: the trained model.
        source: the data, as `open_dataset` takes it; the run's own data when left out.
        options: settings of `open_dataset`, which win over those of the run.

    Raises:
        ConfigError: the run was trained on an array, and no source is named.
        ShapeError: the examples do not have the shape of the model's.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> open_examples(model, model.examples[:5]).event_shape
    (8, 8)
    """
    run_config = run_config_of(model)
    if source is None:
        source, settings = run_config.source, _options_of(run_config)
    else:
        settings = {name: value for name, value in run_config.data.items() if name == "data_dir"}
    if source is None:
        raise ConfigError("This run was trained on an array: name the source of the examples.")
    reader = (options or {}).get("reader", settings.get("reader"))
    settings |= _reading_options(model, run_config, source, reader) | dict(options or {})
    try:
        dataset = open_dataset(source, **settings)
    except ShapeError:
        if "layout" in settings:
            raise
        dataset = open_dataset(source, layout=model.layout, **settings)  # the shape is ambiguous, the model is not
    if dataset.event_shape != model.event_shape:
        raise ShapeError(
            f"The model expects examples of shape {model.event_shape}, and those of {dataset.name} have the shape "
            f"{dataset.event_shape}. Choose data like that of its training ({model.info['data']['name']})."
        )
    return dataset


def _open_for_model(model: Autoencoder, source: Any, options: Mapping[str, Any] | None) -> tuple[Dataset, Split]:
    require_run(model.info, (model.folder or Path()) / CONFIG)
    run_config = run_config_of(model)
    if source is None and not options:
        return open_data(run_config)
    dataset = open_examples(model, source, options)
    training_data = model.info["data"]
    count = sum(training_data["examples"].values())
    if source is None and len(dataset) != count:
        raise DataError(
            f"{dataset.name} has {len(dataset):,} examples, and the run was trained on a split of "
            f"{count:,}: it is other data now. Name it as the source, if that is meant."
        )
    if source is None or dataset.fingerprint == training_data["fingerprint"]:
        return dataset, _training_split(run_config, dataset)
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


def _reading_options(model: Autoencoder, run_config: RunConfig, source: Any, reader: Any) -> dict[str, Any]:
    """The settings that make `open_dataset` read a source as the run's was: at the model's size, in its colours."""
    options = {name: value for name, value in run_config.data.items() if name in ("memory", "buffer")}
    path = Path(source) if isinstance(source, str) else None
    if path is None:
        return options
    chosen = choose_reader(source, reader)[0]
    if chosen.kind == "name" and "size" in run_config.data and model.layout in ("HW", "HWC"):
        return {"size": tuple(model.event_shape[:2])}
    is_folder = os.path.isdir(path) and not any(path.glob("*-ubyte*"))  # noqa: PTH112
    is_image = path.suffix.lower() in images.SUFFIXES
    if chosen.is_own and (is_folder or is_image) and model.layout in ("HW", "HWC"):
        return options | {"size": tuple(model.event_shape[:2]), "colour": model.layout == "HWC"}
    if not chosen.is_own or path.suffix in (".csv", ".parquet", ".tar"):
        options |= {name: value for name, value in run_config.data.items() if name in chosen.takes}
    return options
