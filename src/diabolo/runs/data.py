"""The data that a trained model is shown: its own, or another source, opened as the model reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diabolo.storage import images
from diabolo.autoencoder.files import CONFIG
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split, check_trainable, open_dataset
from diabolo.errors import ConfigError, DataError, RunError, ShapeError
from diabolo.runs.config import RunConfig

__all__ = ["data_for", "open_data", "open_for"]


def open_data(run_config: RunConfig, source: Any = None) -> tuple[Dataset, Split]:
    """The data of a run, checked, and its split.

    Raises:
        DataError: it cannot be used, or is not named and was an array.
    """
    source = run_config.source if source is None else source
    if source is None:
        raise DataError("This run was trained on an array, which has no name to be found by: give it as the source.")
    dataset = open_dataset(source, **run_config.data)
    check_trainable(dataset)
    settings = run_config.settings
    return dataset, dataset.split(settings.seed, settings.validation, settings.test)


def data_for(model: Autoencoder, source: Any = None, given: Mapping[str, Any] | None = None) -> tuple[Dataset, Split]:
    """The data that a model was trained on, in its own split, or another source in one.

    Another source keeps its published test part; without one, half of it is its test part. A source that holds the
    examples of the training, by whatever name, has the training's split: what was trained on is never its test part.

    Args:
        model: the trained model.
        source: what `open_dataset` opens; the run's own data when left out.
        given: options of `open_dataset`.

    Raises:
        RunError: the run does not say what it was trained on.
        DataError: its own data has another number of examples now.
    """
    missing = [name for name in ("versions", "run_config", "data", "parameters") if name not in model.info]
    if missing:
        raise RunError(f"{(model.folder or Path()) / CONFIG} lacks {', '.join(missing)}: it was edited; restore it.")
    run_config = RunConfig.of({**model.info, **model.model.config()})
    if source is None and not given:
        return open_data(run_config)
    dataset = open_for(model, source, given)
    settings, trained = run_config.settings, model.info["data"]
    if source is None and len(dataset) != sum(trained["examples"].values()):
        raise DataError(
            f"{dataset.name} has {len(dataset):,} examples, and the run was trained on a split of "
            f"{sum(trained['examples'].values()):,}: it is other data now. Name it as the source, if that is meant."
        )
    if source is None or dataset.fingerprint == trained["fingerprint"]:
        return dataset, dataset.split(settings.seed, settings.validation, settings.test)
    return dataset, dataset.split(settings.seed, 0.0, 0.5 if dataset.official_test is None else 0.0)


def open_for(model: Autoencoder, source: Any = None, given: Mapping[str, Any] | None = None) -> Dataset:
    """A source, or the run's own data where none is named, opened so that the model can read it.

    Args:
        model: the trained model.
        source: what `open_dataset` opens.
        given: options of `open_dataset`, which win over those of the run.

    Raises:
        ShapeError: its examples do not have the shape of the model's.
    """
    run_config = RunConfig.of({**model.info, **model.model.config()})
    options = dict(run_config.data) if source is None else {k: v for k, v in run_config.data.items() if k == "data_dir"}
    source = run_config.source if source is None else source
    if source is None:
        raise ConfigError("This run was trained on an array: name the source of the examples.")
    options |= _image_options(model, run_config, source) | dict(given or {})
    try:
        dataset = open_dataset(source, **options)
    except ShapeError:
        if "layout" in options:
            raise
        dataset = open_dataset(source, layout=model.layout, **options)  # the shape does not tell, and the model does
    if dataset.event_shape != model.event_shape:
        raise ShapeError(
            f"The model expects examples of shape {model.event_shape}, and those of {dataset.name} have the shape "
            f"{dataset.event_shape}. Choose data like that of its training ({model.info['data']['name']})."
        )
    return dataset


def _image_options(model: Autoencoder, run_config: RunConfig, source: Any) -> dict[str, Any]:
    """A folder of images, or one image, is read at the model's own size and in its own colours."""
    path = Path(source) if isinstance(source, str) else None
    is_folder = path is not None and os.path.isdir(path) and not any(path.glob("*-ubyte*"))  # noqa: PTH112
    is_image = path is not None and path.suffix.lower() in images.SUFFIXES
    kept = {name: value for name, value in run_config.data.items() if name in ("memory", "buffer")}
    if (is_folder or is_image) and model.layout in ("HW", "HWC"):
        return kept | {"size": tuple(model.event_shape[:2]), "colour": model.layout == "HWC"}
    if path is not None and path.suffix in (".csv", ".parquet", ".tar"):
        kept |= {name: value for name, value in run_config.data.items() if name in ("labels", "size", "colour")}
    return kept
