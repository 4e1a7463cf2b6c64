"""Examples for a trained model: any source, read at the model's size, colours, layout and columns."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from diabolo._imported import is_path, require_trust
from diabolo.config import require
from diabolo.datasets import Dataset, Store, open_dataset
from diabolo.datasets._column_code import ColumnCode, codes_from
from diabolo.datasets._match import matched
from diabolo.datasets._open import choose_reader
from diabolo.errors import ConfigError, DataError, RunError, ShapeError, unknown_name
from diabolo.models.model import Model

__all__ = ["DATA_OPTIONS", "as_dataset", "check_options", "codes_of", "open_examples", "scaled"]

DATA_OPTIONS = tuple(name for name in inspect.signature(open_dataset).parameters if name not in ("source", "progress"))
# Options that make other examples of a source.
CHANGING = {"layout", "labels", "columns", "size", "colour", "frame", "folders", "binarize", "reader", "examples"}

log = logging.getLogger("diabolo")


class Trained(Protocol):
    """What examples are read for: a trained model, as `Inference` has it.

    Attributes:
        model: with its preprocessing.
        info: what its run says of itself.
        said: notes that were given before.
    """

    model: Model
    info: dict[str, Any]
    said: set[str]

    @property
    def layout(self) -> str: ...
    @property
    def labels(self) -> str: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def event_shape(self) -> tuple[int, ...]: ...


def open_examples(model: Trained, source: Any = None, options: Mapping[str, Any] | None = None) -> Dataset:
    """Examples for a trained model: a source, or the run's own data, read at the model's size, colours and layout.

    The columns of a table are found by the names that they had in training, in any order.

    Args:
        model: the trained model.
        source: the data, as `open_dataset` takes it; the run's own data when left out.
        options: settings of `open_dataset`, which win over those of the run.

    Raises:
        ConfigError: the run was trained on an array, and no source is named.
        DataError: a column is missing.
        ShapeError: the examples do not have the shape of the model's.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> open_examples(model, model.examples[:5]).event_shape
    (8, 8)
    """
    check_options(options)
    options, own = dict(options or {}), source is None
    run = {name: tuple(value) if isinstance(value, list) else value for name, value in _of_run(model, "data").items()}
    if own:
        source, reader = _of_run(model).get("source"), run.get("reader")
        if source is None:
            raise ConfigError("This run was trained on an array: name the source of the examples.")
        if is_path(reader):
            require_trust(str(reader), "reader")
        settings = run | _named_columns(model, source, options.get("reader", reader))
    else:
        settings = {name: value for name, value in run.items() if name == "data_dir"}
        settings |= _reading_options(model, run, source, options.get("reader"))
    settings = {"white": _white(model), **settings, **options}
    codes = codes_of(model)
    if codes and "columns" in settings:
        settings |= {"mixed": codes, "columns": tuple(code.name for code in codes)}
    try:
        dataset = _opened(model, source, settings)
    except DataError as error:
        # What is scored has often no labels: those that the run had are not asked for.
        is_missing = "labels" in settings and str(error).startswith("labels=")
        if own or "labels" in options or not is_missing or model.labels == "required":
            raise
        dataset = _opened(model, source, {name: value for name, value in settings.items() if name != "labels"})
    dataset = matched(dataset, model.features)
    if dataset.event_shape != model.event_shape:
        name = model.info.get("data", {}).get("name", "unknown")
        raise ShapeError(
            f"The model expects examples of shape {model.event_shape}, and those of {dataset.name} have the shape "
            f"{dataset.event_shape}. Choose data like that of its training ({name})."
        )
    if own:
        _require_unchanged(model, dataset, options)
    _say(model, dataset)
    return dataset


def check_options(options: Any) -> None:
    """Raises a ConfigError where these are no options of `open_dataset`, by name."""
    require(options is None or isinstance(options, Mapping), "data", "options of open_dataset, by name", options)
    for name in options or ():
        if name not in DATA_OPTIONS:
            raise unknown_name("option of open_dataset", name, DATA_OPTIONS)


def as_dataset(model: Trained, x: Any) -> Any:
    """Examples as a `Dataset` whose columns are the model's, where they are more than numbers; arrays unchanged.

    Args:
        model: the trained model.
        x: an array, a list, a tensor, a `Store`, a `Dataset`, or any other source that `open_dataset` reads.
    """
    if isinstance(x, Dataset):
        dataset = matched(x, model.features)
        _say(model, dataset)
        return dataset
    is_plain = isinstance(x, (np.ndarray, Store, list, tuple)) or hasattr(x, "detach") or hasattr(x, "toarray")
    if is_plain and getattr(getattr(x, "dtype", None), "names", None) is None:  # no structured array
        return x
    is_known = isinstance(x, (str, os.PathLike, Mapping)) or choose_reader(x)[0].name not in ("array", "bunch")
    return open_examples(model, x) if is_known else x


def _require_unchanged(model: Trained, dataset: Dataset, options: Mapping[str, Any]) -> None:
    """Raises a DataError where a run's own source no longer holds what the run was trained on."""
    trained_on = model.info.get("data", {})
    count = sum(trained_on["examples"].values())
    expected, whole = trained_on["fingerprint"], trained_on.get("examples_fingerprint")
    is_same = len(dataset) == count
    if is_same and dataset.fingerprint.partition(":")[0] == expected.partition(":")[0]:  # of a store it is another kind
        if dataset.y is None or "labels" in options:  # labels that were an array are not kept with a run
            is_same = whole in (None, dataset.examples_fingerprint)
        else:
            is_same = dataset.fingerprint == expected or bool({*options} & CHANGING)
    if not is_same:
        what = (
            f"has {len(dataset):,} examples now, and the run was trained on a split of {count:,}"
            if len(dataset) != count
            else f"has {count:,} examples as then, and some of them (or their labels) have changed since"
        )
        raise DataError(
            f"{dataset.name} {what}: it is other data now, and which of it the run has seen cannot be told. Put it "
            "back as it was; or name it as the source, if the data of today is meant."
        )


def _say(model: Trained, dataset: Dataset) -> None:
    """Warns of what was guessed about the examples, once, where training did not say the same."""
    for note in dataset.notes:
        _say_once(model, note, dataset.name)


def _white(model: Trained) -> int | str:
    """What stands for 1 in whole numbers, as the training found it; runs of earlier code took the full range."""
    trained_on = model.info.get("data", {})
    if "white" not in trained_on:
        return "full"
    usual: dict[str, int | str] = {"unit": "auto", "bytes": 255}
    white: int | str | None = trained_on["white"]
    return white or usual.get(model.model.preprocess.scale, 1)


def scaled(model: Trained, x: np.ndarray) -> np.ndarray:
    """Whole numbers as the bytes or floats that the model reads: 1 is what stood for it in training.

    Raises:
        DataError: they go beyond what stood for 1 in training.
    """
    white, has_white = _white(model), model.model.preprocess.scale in ("bytes", "unit")
    x = _narrowed(x, white) if has_white else x
    if x.dtype not in (np.uint8, np.uint16) or not x.size or not has_white:
        is_other = x.dtype == np.uint8 and white not in ("auto", "full", 255)
        return x.astype(np.float32) / np.float32(white) if is_other else x
    high = int(x.max())
    if x.dtype == np.uint8 and (white in ("full", 255) or (white == "auto" and high > 1)):
        return x
    if white in ("auto", "full"):
        white = 1 if high <= 1 else 65535
        if high and white == 1:
            _say_once(model, f"{x.dtype} of 0 and 1: 1 is taken for white")
    elif x.dtype == np.uint8 and int(white) > 255:
        _say_once(model, f"uint8, where training had numbers up to {white}: 255 is taken for white")
        white = 255
    if high > int(white) > 1:
        raise DataError(
            f"The examples hold {x.dtype} up to {high}, and in training {white} was the largest: it stands for 1. Give "
            "whole numbers up to that, or floats in [0, 1]."
        )
    return x.astype(np.float32) / np.float32(white)


def _narrowed(x: np.ndarray, white: int | str) -> np.ndarray:
    """Whole numbers of any type, such as a list of them, as bytes where training had these, else as 16 bits."""
    if x.dtype.kind not in "iu" or x.dtype == np.uint8 or not x.size or x.min() < 0 or x.max() > 65535:
        return x
    is_byte = x.max() <= 255 and (white == 255 or (white in ("auto", "full") and x.dtype != np.uint16))
    return x.astype(np.uint8 if is_byte else np.uint16)


def _say_once(model: Trained, note: str, name: str = "array") -> None:
    if note not in model.said:
        model.said.add(note)
        log.warning("%s: %s", name, note)


def _opened(model: Trained, source: Any, settings: Mapping[str, Any]) -> Dataset:
    decimal = model.info.get("data", {}).get("decimal")
    if decimal and not {"decimal", "reader"} & settings.keys() and _takes_decimal(source):
        with contextlib.suppress(DataError):  # the mark of the training's table decides where this one's cells do not
            return _opened(model, source, {**settings, "decimal": decimal})
    try:
        return open_dataset(source, **settings)
    except ShapeError:
        if "layout" in settings:
            raise
        return open_dataset(source, layout=model.layout, **settings)  # the shape is ambiguous, the model is not


def _takes_decimal(source: Any) -> bool:
    return not isinstance(source, Dataset) and "decimal" in choose_reader(source)[0].takes


def _of_run(model: Trained, name: str | None = None) -> dict[str, Any]:
    """The run config of a model, or an entry of it; empty where it was not trained here."""
    run_config = model.info.get("run_config")
    entry = run_config.get(name) if name and isinstance(run_config, Mapping) else run_config
    return dict(entry) if isinstance(entry, Mapping) else {}


def _reading_options(model: Trained, run: Mapping[str, Any], source: Any, reader: Any) -> dict[str, Any]:
    """The settings that make `open_dataset` read a source as the run's was: columns, size and colours."""
    if isinstance(source, Dataset):
        return {}
    chosen = choose_reader(source, reader)[0]
    images, takes = model.layout in ("HW", "HWC"), set(chosen.takes)
    carried = {"memory", "buffer", *(("ground", "frame") if "colour" in takes else ()), *({"folders"} & takes)}
    options = {name: value for name, value in run.items() if name in carried}
    if chosen.name in ("images", "image") and images:
        options |= {"size": tuple(model.event_shape[:2]), "colour": model.layout == "HWC"}
    elif chosen.kind == "name" and "size" in takes:
        return {"size": tuple(model.event_shape[:2])} if images and "size" in run else {}
    elif chosen.name != "idx":
        named = {name: value for name, value in run.items() if name in takes}
        options |= {name: value for name, value in named.items() if name != "labels" or isinstance(value, str | int)}
    return options | _named_columns(model, source, reader)


def codes_of(model: Trained) -> tuple[ColumnCode, ...]:
    """How the columns of the training became numbers, where they were of mixed kinds; otherwise ().

    Raises:
        RunError: they do not fit the model.
    """
    codes = codes_from(model.info.get("data", {}).get("codes", ()))
    if codes and (sum(len(code.features) for code in codes),) != model.event_shape:
        raise RunError(
            f"config.json codes {len(codes)} columns as {sum(len(code.features) for code in codes)}, and the model has "
            f"{model.event_shape[0]}. It was edited; restore it."
        )
    return codes


def _named_columns(model: Trained, source: Any, reader: Any) -> dict[str, Any]:
    is_table = model.layout == "F" and model.features and not isinstance(source, Dataset)
    names = tuple(code.name for code in codes_of(model)) or model.features
    return {"columns": names} if is_table and "columns" in choose_reader(source, reader)[0].takes else {}
