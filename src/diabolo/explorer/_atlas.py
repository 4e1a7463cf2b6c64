"""The atlas: the examples of one run, their latent codes, and the columns to colour and sort them by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diabolo._words import whole_number
from diabolo.autoencoder.model import Autoencoder
from diabolo.config import as_whole_number, require
from diabolo.datasets import Dataset, Split
from diabolo.errors import ConfigError, DataError, DownloadError, ShapeError, unknown_name
from diabolo.evaluation.terms import CHUNK, evaluating, labels_at, to_device
from diabolo.explorer._cache import Cache
from diabolo.explorer._layouts import PLANES, Placement, named_layouts, place
from diabolo.explorer._layouts import layouts as registered
from diabolo.models.objectives import Batch, checked_labels
from diabolo.runs.config import run_config_of
from diabolo.runs.data import open_data

__all__ = ["MOST_EXAMPLES", "Atlas", "Column", "Progress", "open_atlas"]

PARTS = ("training", "validation", "test")
MOST_EXAMPLES = 1_000  # in one request

Array = np.ndarray
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Column:
    """A value for each example: its class, its part of the data, its error, a feature.

    Attributes:
        name: of the column, unique in its atlas.
        kind: whether the values are indices into `categories`, or numbers.
        values: (n,), uint8, or int32 where some are missing (-1); float32 for numbers.
        unit: of the numbers.
        categories: their names.

    >>> Column("class", "category", np.array([0, 1, 0], np.uint8), categories=("cat", "dog")).entry()["kind"]
    'category'
    """

    name: str
    kind: Literal["category", "number"]
    values: Array
    unit: str = ""
    categories: tuple[str, ...] = ()

    def entry(self) -> dict[str, Any]:
        """A JSON object of all but the values."""
        extra = {"categories": list(self.categories)} if self.kind == "category" else {}
        return {"name": self.name, "kind": self.kind, "unit": self.unit, **extra}


@dataclass(frozen=True, eq=False)
class Atlas:
    """A trained model with n examples and their latent codes.

    Attributes:
        model: the trained model.
        run: its folder, as the user wrote it; empty where it has none.
        dataset: the data.
        split: of all of the data.
        indices: (n,), int64, the rows of the data, in order.
        codes: (n, d), float32: the posterior means.
        columns: values for each example.
        placements: of the codes, by the layouts that are no plane of the page's own.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> atlas = open_atlas(model, points=100)
    >>> len(atlas), atlas.codes.shape, [column.name for column in atlas.columns]
    (100, (100, 2), ['class', 'part', 'error', 'score'])
    """

    model: Autoencoder
    run: str
    dataset: Dataset
    split: Split
    indices: Array
    codes: Array
    columns: tuple[Column, ...]
    placements: dict[str, Placement] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def name(self) -> str:
        """The name of the run."""
        return Path(self.run).resolve().name if self.run else "model"

    @property
    def own(self) -> bool:
        """Whether the data is that of the training."""
        return bool(self.dataset.fingerprint == self.model.info["data"]["fingerprint"])

    @property
    def layouts(self) -> tuple[str, ...]:
        """The names of the layouts that its codes can be placed by."""
        return (*PLANES, *self.placements)

    def placement(self, name: str) -> Placement:
        """The placement of its codes by a layout.

        Raises:
            ConfigError: there is no such layout here.
        """
        if name not in self.layouts:
            raise unknown_name("layout", name[:100], self.layouts)
        return self.placements[name] if name in self.placements else place(name, self.codes)

    @functools.cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    def column(self, name: str) -> Column:
        """A column by its name, or by its number.

        Raises:
            ConfigError: there is none.
        """
        if name in self.by_name:
            return self.by_name[name]
        place = whole_number(name)
        if place is not None and place < len(self.columns):
            return self.columns[place]
        known = ", ".join(self.by_name)
        raise ConfigError(f"There is no column {name[:100]!r}. Known: {known[:500]}.")

    def checked_ids(self, ids: Any, most: int | None = MOST_EXAMPLES) -> Array:
        """Numbers of examples of the atlas, (k,), int64, checked.

        Raises:
            DataError: none, too many, no whole numbers, or a number that no example has.
        """
        numbers = np.asarray(ids) if len(ids) else np.empty(0, np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise DataError(f"Examples are named by a list of whole numbers, such as [0, 5], not by {str(ids)[:60]}.")
        if most is not None and not 1 <= len(numbers) <= most:
            raise DataError(f"1 to {most:,} examples can be asked for at a time, not {len(numbers):,}.")
        wrong = numbers[(numbers < 0) | (numbers >= len(self))]
        if len(wrong):
            raise DataError(
                f"There are {len(self):,} examples here, 0 to {len(self) - 1}: none has the number {wrong[0]}."
            )
        return numbers.astype(np.int64)

    def examples(self, ids: Any) -> Array:
        """Examples by their numbers in the atlas, (k, *event), uint8 or float32.

        Raises:
            DataError: see `checked_ids`.
        """
        return np.ascontiguousarray(self.dataset.x[self.indices[self.checked_ids(ids)]])

    def names(self, ids: Any) -> list[str]:
        """The names of examples in the data; "" where they have none.

        Raises:
            DataError: see `checked_ids`.
        """
        rows = self.indices[self.checked_ids(ids)]
        return [self.dataset.ids[row] if self.dataset.ids else "" for row in rows]


def open_atlas(
    model: Autoencoder,
    source: Any = None,
    data: Mapping[str, Any] | None = None,
    *,
    points: int = 100_000,
    seed: int = 0,
    run: str | None = None,
    progress: Progress | None = None,
    layouts: str | Sequence[str] = (),
) -> Atlas:
    """Opens the data and computes the latent codes, the errors and the scores of its examples.

    The run's folder `explorer` caches the results until the weights or the data change.

    Args:
        model: the trained model.
        source: the data, as `open_dataset` takes it; the model's own data when left out.
        data: options of `open_dataset`.
        points: the most examples; of more, a random subset is taken.
        seed: of the subset.
        run: the name of the model's folder; its path when left out.
        progress: called with the number of examples done and their total, where the cache has no results.
        layouts: of the map, beside those that it has: names of installed packages' or `module:function`, with commas.

    Raises:
        ConfigError: a number of points below 1; a layout that does not exist or fails.
        DataError: the model was trained on an array, or its data is not there any more: name a source.
        ShapeError: the examples do not have the shape of the model's.
        RunError: the run does not say what it was trained on.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> open_atlas(model, points=10).column("error").unit
    'squared error per value'
    """
    require(isinstance(model, Autoencoder), "model", "a trained model, such as diabolo.load(path) gives", model)
    require(as_whole_number("points", points) >= 1, "points", "a number of examples of at least 1", points)
    require(as_whole_number("seed", seed) >= 0, "seed", "a number of at least 0", seed)
    names = tuple(name for name in dict.fromkeys((*registered, *named_layouts(layouts))) if name not in PLANES)
    dataset, split = _data(model, source, data)
    indices = np.arange(len(dataset), dtype=np.int64)
    if len(dataset) > points:
        indices = np.sort(np.random.default_rng(seed).choice(len(dataset), points, replace=False)).astype(np.int64)
    cache = Cache.of(model, dataset.fingerprint, points, seed)
    shapes = {"codes": (len(indices), model.latent_dim), "error": (len(indices),), "score": (len(indices),)}
    arrays = cache.read(shapes) if cache else None
    if arrays is None:
        arrays = measure(model, dataset, indices, progress)
        if cache:
            cache.write(arrays)
    columns = _columns(model, dataset, split, indices, arrays)
    name = str(model.folder or "") if run is None else run
    placements = {layout: place(layout, arrays["codes"]) for layout in names}
    return Atlas(model, name, dataset, split, indices, arrays["codes"], columns, placements)


def _data(model: Autoencoder, source: Any, data: Mapping[str, Any] | None) -> tuple[Dataset, Split]:
    """The data of the atlas and its split."""
    if source is None and "run_config" in model.info and run_config_of(model).source is None:
        if model.trained_on is None:
            raise DataError(
                "This run was trained on an array, which has no name to be found by: name the examples to show as "
                "SOURCE (a file, a folder, a data set's name; in Python, the array)."
            )
        source = model.trained_on[0].x
    try:
        dataset, split = open_data(model, source, data)
    except (FileNotFoundError, DownloadError) as error:
        if source is not None:
            raise
        raise DataError(
            f"{error} This run's own data is not there any more: name the examples to show as SOURCE."
        ) from error
    if dataset.event_shape != model.event_shape:
        raise ShapeError(
            f"The model expects examples of shape {model.event_shape}, and those of {dataset.name} have the shape "
            f"{dataset.event_shape} now. Name other examples to show as SOURCE."
        )
    return dataset, split


@torch.no_grad()
def measure(model: Autoencoder, dataset: Dataset, indices: Array, progress: Progress | None = None) -> dict[str, Array]:
    """Arrays over examples: latent codes, (n, d), mean squared errors per value and -log p(x | z), (n,) each.

    One pass instead of three; the same bits as `encode` and `score(kind="reconstruction")`.

    Args:
        model: the trained model.
        dataset: the data.
        indices: (n,), which examples.
        progress: called with the number of examples done and their total.
    """
    count, net = len(indices), model.model
    arrays: dict[str, Array] = {"codes": np.empty((count, model.latent_dim), np.float32)}
    arrays |= {name: np.empty(count, np.float32) for name in ("error", "score")}
    labels = _labels(model, dataset)
    with evaluating(net, 0):
        for start in range(0, count, CHUNK):
            rows = indices[start : start + CHUNK]
            examples = dataset.x[rows]
            net.preprocess.check(examples, noisy=net.objective.corrupts)
            end = start + len(examples)
            batch = Batch(to_device(examples, model.device), labels_at(labels, rows, model.device))
            for name, part in zip(arrays, _measured(model, batch), strict=True):
                arrays[name][start:end] = part[: len(examples)].cpu().numpy()
            if progress is not None:
                progress(end, count)
    return arrays


def _labels(model: Autoencoder, dataset: Dataset) -> Array | None:
    """The classes of a data set, where the model takes some: its own class for one without."""
    if dataset.y is None and model.label is not None:
        return checked_labels(model.model.objective, np.repeat(model.label, len(dataset)), len(dataset))
    return model.labels_of(dataset)


def _measured(model: Autoencoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Latent codes (B, d), errors (B,) and scores (B,) of a chunk."""
    net = model.model
    if len(batch) < 16:  # as `encode` does: products of small matrices round in another way
        batch = batch[torch.arange(16, device=model.device) % len(batch)]
    x, y = batch.x, batch.y
    values = net.prepare(x)
    codes = net.encode(values, y).mean
    output = net.decode(codes, y)
    copies = net.preprocess.undo(net.likelihood.mean(output))
    originals = x * (1 / 255) if x.dtype == torch.uint8 and _in_unit_range(model) else x.float()
    return codes, (copies - originals).square().flatten(1).mean(1), -net.log_likelihood(output, values)


def _in_unit_range(model: Autoencoder) -> bool:
    """Whether the model decodes to numbers from 0 to 1 where it encodes bytes."""
    preprocess = model.model.preprocess
    return preprocess.scale == "bytes" or (preprocess.scale == "unit" and preprocess.layout in ("HW", "HWC", "CHW"))


def _columns(
    model: Autoencoder, dataset: Dataset, split: Split, indices: Array, arrays: Mapping[str, Array]
) -> tuple[Column, ...]:
    columns = []
    if dataset.y is not None and dataset.classes:
        columns.append(Column("class", "category", _places(dataset.y[indices], dataset.classes), "", dataset.classes))
    elif dataset.y is not None:
        columns.append(Column("label", "number", dataset.y[indices].astype(np.float32)))
    part = np.zeros(len(dataset), np.uint8)
    for number, rows in enumerate((split.train, split.validation, split.test)):
        part[rows] = number
    columns.append(Column("part", "category", part[indices], "", PARTS))
    columns.append(Column("error", "number", arrays["error"], "squared error per value"))
    columns.append(Column("score", "number", arrays["score"], "nats"))
    if model.layout == "F":
        names = dataset.features or tuple(f"feature {place + 1}" for place in range(dataset.event_shape[0]))
        names_so_far = {column.name for column in columns}
        for place, name in enumerate(names):
            unique = _unique(name, place, names_so_far)
            names_so_far.add(unique)
            columns.append(Column(unique, "number", np.asarray(dataset.x[indices, place], np.float32)))
    return tuple(columns)


def _places(y: Array, classes: tuple[str, ...]) -> Array:
    missing = bool(len(y)) and (y.min() < 0 or y.max() >= len(classes))
    if missing:
        y = np.where((y < 0) | (y >= len(classes)), -1, y)
    return y.astype(np.int32 if missing or len(classes) > 255 else np.uint8)


def _unique(name: str, place: int, others: set[str]) -> str:
    """A feature's name that no other column has; . and .. would be steps in an address."""
    if not name.strip() or name in (".", ".."):
        name = f"feature {place + 1}"
    return f"{name} (feature {place + 1})" if name in others else name
