"""Tables of latent codes, scores and examples on disk: .npz, .npy, .csv and .parquet, written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from diabolo.datasets import Dataset
from diabolo.errors import ConfigError, DataError, SourceNotFound
from diabolo.storage.files import write_bytes
from diabolo.storage.foreign import reading, require_file
from diabolo.storage.foreign import reason as words
from diabolo.storage.npy import load_numpy
from diabolo.storage.parquet import read_parquet_columns, write_parquet

__all__ = ["read_codes", "read_numbers", "read_tokens", "to_npy", "write_array", "write_columns", "write_table"]


def write_table(
    path: Path, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], dataset: Dataset
) -> Path:
    """Writes one row per example: `columns`, with the example's name and label where the data set has them.

    Args:
        path: .csv and .parquet hold the columns; .npz holds `arrays`, `labels`, `classes` and `ids`.
        columns: name -> (n,).
        arrays: name -> (n, ...).
        dataset: whose rows they are.

    Raises:
        ConfigError: another suffix.
        MissingExtraError: .parquet without pyarrow.

    >>> import tempfile
    >>> from diabolo.datasets import open_dataset
    >>> dataset, scores = open_dataset(np.zeros((2, 3)), labels=["a", "b"]), np.array([0.5, 1.5])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_table(Path(folder) / "scores.csv", {"score": scores}, {}, dataset)
    ...     path.read_text().split()
    ['label,score', 'a,0.5', 'b,1.5']
    """
    suffix = path.suffix.lower()
    labels = None
    if dataset.y is not None:
        labels = np.array(dataset.classes)[dataset.y] if dataset.classes else dataset.y
    ids = {"id": np.array(dataset.ids)} if dataset.ids else {}
    extra = ids | ({"label": labels} if labels is not None else {})
    if suffix == ".npz":
        more = {"ids": ids["id"]} if ids else {}
        more |= {} if dataset.y is None else {"labels": dataset.y, "classes": np.array(dataset.classes)}
        _write_npz(path, {**arrays, **more})
    elif suffix in (".csv", ".parquet"):
        write_columns(path, {**extra, **columns})
    else:
        raise ConfigError(f"{path} should end in .npz, .csv or .parquet.")
    return path


def write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Writes columns, name -> (n,), as a table.

    Args:
        path: a .csv, or a .parquet for any other suffix.
        columns: of numbers, texts, booleans or dates.

    Raises:
        MissingExtraError: .parquet without pyarrow.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_columns(Path(folder) / "x.csv", {"a": np.array([1.5]), "b": np.array(["red"])})
    ...     (Path(folder) / "x.csv").read_text().split()
    ['a,b', '1.5,red']
    """
    if path.suffix.lower() != ".csv":
        write_parquet(path, columns)
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    write_bytes(path, text.getvalue().encode())


def to_npy(x: np.ndarray) -> bytes:
    r"""An array as the bytes of a .npy file.

    >>> to_npy(np.zeros(2))[:6]
    b'\x93NUMPY'
    """
    buffer = io.BytesIO()
    np.save(buffer, x, allow_pickle=False)
    return buffer.getvalue()


def write_array(path: Path, x: np.ndarray) -> None:
    """Writes examples, (n, *event), as .npy, or as .npz under the name x.

    Raises:
        ConfigError: another suffix.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_array(Path(folder) / "x.npy", np.zeros((2, 3)))
    ...     read_numbers(Path(folder) / "x.npy", "x").shape
    (2, 3)
    """
    if path.suffix.lower() == ".npz":
        _write_npz(path, {"x": x})
    elif path.suffix.lower() == ".npy":
        write_bytes(path, to_npy(x))
    else:
        raise ConfigError(f"{path} should end in .png, .npz or .npy.")


def read_codes(path: str | os.PathLike[str]) -> np.ndarray:
    r"""Latent codes as `encode` writes them, (n, d): the array `codes` of a .npz, a .npy, or the columns z1, z2, ...

    Args:
        path: of a file, or of a folder of Parquet pieces, which are read as one table.

    Raises:
        DataError: the file holds no codes.
        SourceNotFound: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "codes.csv").write_text("z1,z2\n0.5,1\n-1,0\n")
    ...     read_codes(Path(folder) / "codes.csv").tolist()
    [[0.5, 1.0], [-1.0, 0.0]]
    """
    path = Path(path)
    pieces = sorted(path.glob("piece-*.parquet"), key=lambda one: (len(one.name), one.name)) if path.is_dir() else []
    if not path.is_file() and not pieces:
        raise SourceNotFound(
            f"{path} is not there. Codes come from a .npz, .npy, .csv or .parquet file that encode wrote."
        )
    if pieces:
        codes = np.concatenate([_read_columns(piece) for piece in pieces])
    else:
        codes = _read_array(path) if path.suffix.lower() in (".npz", ".npy") else _read_columns(path)
    if not codes.size:
        raise DataError(f"{path} holds no codes: its shape is {codes.shape}. It should be a file that encode wrote.")
    return codes


def read_tokens(path: str | os.PathLike[str]) -> np.ndarray:
    """Tokens as `encode` writes them, (n, positions, levels): the array `tokens` of a .npz, or a .npy.

    Args:
        path: of the file.

    Raises:
        DataError: the file holds no tokens.
        SourceNotFound: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "codes.npz", tokens=np.zeros((5, 4, 1), int))
    ...     read_tokens(Path(folder) / "codes.npz").shape
    (5, 4, 1)
    """
    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in (".npz", ".npy"):
        raise SourceNotFound(f"{path} is no .npz or .npy file with the tokens that encode wrote.")
    return _read_array(path, "tokens")


def read_numbers(path: str | os.PathLike[str], name: str) -> np.ndarray:
    """A table of numbers, (n, columns): a .npy, the array `name` of a .npz, or every column of a .csv.

    Args:
        path: of the file.
        name: of what the numbers are, a plural; in a .npz the name of the array.

    Raises:
        DataError: the file holds something else.
        SourceNotFound: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "truth.npz", factors=np.ones((5, 2)))
    ...     read_numbers(Path(folder) / "truth.npz", "factors").shape
    (5, 2)
    """
    path = Path(path)
    if not path.is_file():
        raise SourceNotFound(f"{path} is not there. The {name} come from a .npz, .npy or .csv file.")
    try:
        if path.suffix.lower() in (".npz", ".npy"):
            values = load_numpy(path)
            if not isinstance(values, np.ndarray):
                with values:
                    values = values[name]
        else:
            columns = _read_csv(path)
            values = np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1)
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path} holds no table of {name}: {words(error)}. It should hold numbers alone.") from error
    if values.dtype.kind not in "fiub":
        raise DataError(f"{path} should hold numbers, and holds {values.dtype}.")
    rows: np.ndarray = values[:, None] if values.ndim == 1 else values
    return rows


def _read_columns(path: Path) -> np.ndarray:
    columns = read_parquet_columns(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    ordered = sorted((name for name in columns if re.fullmatch(r"z[0-9]{1,9}", name)), key=lambda name: int(name[1:]))
    if not ordered:
        raise DataError(f"{path} has no columns z1, z2, ... to read codes from. It should be a file that encode wrote.")
    try:
        with np.errstate(over="ignore"):
            return np.stack([np.asarray(columns[name], np.float32) for name in ordered], axis=1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, columns {ordered[0]} to {ordered[-1]}, should hold numbers: {error}.") from error


def _read_array(path: Path, name: str = "codes") -> np.ndarray:
    try:
        values = load_numpy(path)
        if not isinstance(values, np.ndarray):
            with values:
                values = values[name]
        if values.dtype.kind not in "fiu":
            raise ValueError(f"an array of {values.dtype} is not one of numbers")
        if name == "tokens":
            return np.asarray(values)
        with np.errstate(over="ignore"):
            return np.asarray(values, np.float32)
    except KeyError as error:
        raise DataError(f"{path} holds no array named {name}. It should be a file that encode wrote.") from error
    except MemoryError:
        raise
    except Exception as error:
        reason = "it is damaged, of another format, or holds Python objects, which are never loaded"
        reason = reason if "pickle" in str(error) else words(error)
        raise DataError(f"{path} holds no array of {name}: {reason}. It should be a file that encode wrote.") from error


def _read_csv(path: Path) -> dict[str, list[str]]:
    with reading(path, DataError, form="a table of codes", remedy="It should be a file that encode wrote."):
        require_file(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = [row for row in csv.reader(file) if row] or [[]]
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise DataError(
                f"Row {number} of {path} has {len(row)} cells, and its header {len(names)}. Repair that row."
            )
    return {name: [row[column] for row in rows] for column, name in enumerate(names)}


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
