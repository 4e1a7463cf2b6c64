"""Readers of Hugging Face's `datasets`: its objects, and the folders that `save_to_disk` writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.datasets._columns import open_columns
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._store import Array, Indices
from diabolo.errors import DataError, MissingExtraError
from diabolo.storage.parquet import Column, class_names, columns_of, index_columns

__all__: list[str] = []

_ROWS = 64  # in a block; Arrow's memory map reads any rows


class _Rows:
    """The rows of a `datasets.Dataset` as Arrow tables."""

    def __init__(self, dataset: Any, name: str, keep: Sequence[str] = ()) -> None:
        self.name = name
        self.rows = dataset.with_format("arrow")
        self.schema = dataset.features.arrow_schema
        index = index_columns(self.schema, keep)
        self.columns: list[Column] = [one for one in columns_of(self.schema) if one.name not in index]
        count = len(dataset)
        self.blocks: Indices = np.append(np.arange(0, count, _ROWS, dtype=np.int64), count)
        self.parts: Indices = np.array([0, count], np.int64)

    def batches(self, block: int, names: Sequence[str]) -> Iterator[Any]:
        start, stop = self.blocks[block : block + 2].tolist()
        try:
            yield self.rows.select_columns(list(names))[start:stop]
        except (OSError, ValueError, KeyError) as error:  # Arrow's own errors are among them
            raise DataError(f"{self.where(start)} or one of those after it cannot be read: {error}.") from error

    def values(self, name: str) -> Array:
        return np.asarray(self.rows.select_columns([name])[:].column(0).to_numpy())

    def class_names(self, name: str) -> tuple[str, ...]:
        return class_names(self.schema, name)

    def where(self, index: int) -> str:
        return f"Example {index} of {self.name}"

    def probe(self, digest: hashlib.blake2b) -> bool:
        """Returns False: any row can be read, so the digest reads examples."""
        return False


def _is_of_the_package(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "datasets"


@register_reader(
    "huggingface",
    kind="object",
    accepts=_is_of_the_package,
    takes=("labels", "columns", "mixed", "size", "colour"),
    rank=10,
)
def _read_object(dataset: Any, options: ReadOptions, name: str = "dataset") -> RawData:
    """The examples of a `datasets.Dataset`.

    Raises:
        DataError: several splits, rows that can only be read one after the other, or as `open_columns` says.
    """
    if hasattr(dataset, "keys") and not hasattr(dataset, "features"):
        splits = ", ".join(map(repr, dataset.keys()))
        raise DataError(f"{name} holds several splits ({splits}): hand over one of them, dataset['train'].")
    if not hasattr(dataset, "select_columns") or not hasattr(dataset, "__len__"):
        raise DataError(
            "An IterableDataset can only be read from its beginning, and training reads in random order: open it "
            "without streaming, or save it as Parquet."
        )
    if dataset.features is None:
        raise DataError(f"{name} does not say which features it has. Load it again without streaming.")
    return open_columns(_Rows(dataset, name, options.named), options)


def _is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


@register_reader(
    "save-to-disk", kind="folder", accepts=_is_saved, takes=("labels", "columns", "mixed", "size", "colour"), rank=20
)
def _read_saved(folder: Path, options: ReadOptions) -> RawData:
    """The examples of a folder that `save_to_disk` wrote.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
        DataError: it holds several splits, or is damaged.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = ", ".join(str(path.name) for path in sorted(folder.iterdir()) if path.is_dir())
        raise DataError(f"{folder} holds several splits ({splits}): name the folder of one of them.")
    try:
        import datasets
    except ImportError as error:
        purpose = "Reading a folder that save_to_disk wrote"
        raise MissingExtraError("datasets", "huggingface", purpose) from error
    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise DataError(f"{folder} cannot be read by the package datasets: {error}. Save it again.") from error
    return _read_object(dataset, options, folder.resolve().name)
