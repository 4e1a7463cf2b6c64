"""Files, each written as a whole or not at all: JSON, tensors, histories, NumPy's files, Parquet, images as pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.storage.checkpoint import (
        WEIGHTS,
        fit_tensors,
        full_tensor,
        load_tensors,
        load_weights,
        optimizer_tensors,
        restore_optimizer,
        save_tensors,
        shard_like,
    )
    from diabolo.storage.files import read_json, write_bytes, write_json, write_text, writing
    from diabolo.storage.history import HISTORY, History, read_history, write_history
    from diabolo.storage.images import NOT_A_NUMBER, SUFFIXES, as_pixels, enlarge, is_image, pairs, png, save_png, tile
    from diabolo.storage.npy import Npz, load_numpy, read_npy_header
    from diabolo.storage.parquet import (
        Column,
        ParquetFile,
        arrow_values,
        class_names,
        columns_of,
        encoded_image,
        pyarrow_for,
        read_parquet_columns,
        write_parquet,
    )

__all__ = [
    "HISTORY",
    "NOT_A_NUMBER",
    "SUFFIXES",
    "WEIGHTS",
    "Column",
    "History",
    "Npz",
    "ParquetFile",
    "arrow_values",
    "as_pixels",
    "class_names",
    "columns_of",
    "encoded_image",
    "enlarge",
    "fit_tensors",
    "full_tensor",
    "is_image",
    "load_numpy",
    "load_tensors",
    "load_weights",
    "optimizer_tensors",
    "pairs",
    "png",
    "pyarrow_for",
    "read_history",
    "read_json",
    "read_npy_header",
    "read_parquet_columns",
    "restore_optimizer",
    "save_png",
    "save_tensors",
    "shard_like",
    "tile",
    "write_bytes",
    "write_history",
    "write_json",
    "write_parquet",
    "write_text",
    "writing",
]

if not TYPE_CHECKING:  # to a type checker, a name that is not above does not exist
    __getattr__ = lazy(
        __name__,
        {
            "diabolo.storage.checkpoint": [
                "WEIGHTS",
                "fit_tensors",
                "full_tensor",
                "load_tensors",
                "load_weights",
                "optimizer_tensors",
                "shard_like",
                "restore_optimizer",
                "save_tensors",
            ],
            "diabolo.storage.files": ["read_json", "write_bytes", "write_json", "write_text", "writing"],
            "diabolo.storage.history": ["HISTORY", "History", "read_history", "write_history"],
            "diabolo.storage.images": [
                "NOT_A_NUMBER",
                "SUFFIXES",
                "as_pixels",
                "enlarge",
                "is_image",
                "pairs",
                "png",
                "save_png",
                "tile",
            ],
            "diabolo.storage.npy": ["Npz", "load_numpy", "read_npy_header"],
            "diabolo.storage.parquet": [
                "Column",
                "ParquetFile",
                "arrow_values",
                "class_names",
                "columns_of",
                "encoded_image",
                "pyarrow_for",
                "read_parquet_columns",
                "write_parquet",
            ],
        },
    )
