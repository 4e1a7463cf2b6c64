"""Readers of several files as one data set: a folder of pieces, or a pattern (`*.parquet`, `part-{000..099}.tar`)."""

from __future__ import annotations

import collections
import glob
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from diabolo.datasets._arrow_sources import ParquetSource
from diabolo.datasets._columns import open_columns
from diabolo.datasets._image_folder import holds_images
from diabolo.datasets._npy import npy_store
from diabolo.datasets._read_options import ReadOptions, refuse_options
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._webdataset import open_shards
from diabolo.errors import ConfigError, DataError, SourceNotFound

__all__: list[str] = []

_SHARDS = (".npy", ".parquet", ".tar")
_RANGE = re.compile(r"\{([0-9]{1,18})\.\.([0-9]{1,18})\}")


def _is_pattern(source: str) -> bool:
    """Whether a source names several files: it has *, ? or [ in it, or a range in braces, and is no file itself."""
    return bool(glob.has_magic(source) or _RANGE.search(source)) and not Path(source).exists()


@register_reader(
    "pattern",
    kind="pattern",
    accepts=_is_pattern,
    takes=("labels", "columns", "examples", "mixed", "size", "colour"),
    rank=10,
)
def _read_pattern(pattern: str, options: ReadOptions) -> RawData:
    """The files that match a pattern, sorted by name, as one data set.

    Raises:
        SourceNotFound: there is none.
        DataError: one that a range in braces names is missing; or they are of no kind that comes in pieces.
    """
    return _read_pieces(_files_of(pattern), Path(pattern).absolute().parent.name, options)


def _read_pieces(paths: Sequence[Path], name: str, options: ReadOptions) -> RawData:
    """Files of one kind, in the order of `paths`, as one data set.

    Raises:
        DataError: they are of several kinds, or of one that does not come in pieces, or cannot be used.
    """
    suffixes = sorted({path.suffix.lower() for path in paths})
    if len(suffixes) > 1 or suffixes[0] not in _SHARDS:
        raise DataError(
            f"{name}: the pieces of a set are all {', all '.join(_SHARDS[:-1])} or all {_SHARDS[-1]}, and these end in "
            f"{', '.join(suffixes)} ({len(paths):,} files). Name those that belong together."
        )
    if suffixes[0] == ".tar":
        refuse_options(name, options, ("labels", "examples", "size", "colour"))
        return open_shards(paths, name, options)
    if suffixes[0] == ".parquet":
        refuse_options(name, options, ("labels", "columns", "mixed", "size", "colour"))
        return open_columns(ParquetSource(paths, name, options.named), options)
    refuse_options(name, options)
    return RawData(x=npy_store(paths, name), name=name)


def _pieces_of(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in _SHARDS)


def _holds_pieces(folder: Path) -> bool:
    return not holds_images(folder) and bool(_pieces_of(folder))


@register_reader(
    "pieces",
    kind="folder",
    accepts=_holds_pieces,
    takes=("labels", "columns", "examples", "mixed", "size", "colour"),
    rank=30,
)
def _read_folder(folder: Path, options: ReadOptions) -> RawData:
    """A folder of pieces or shards of one kind.

    Raises:
        DataError: it holds files of several kinds, or as the reader of the kind says.
    """
    paths = _pieces_of(folder)
    kinds = collections.Counter(path.suffix.lower() for path in paths)
    if len(kinds) > 1:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.items())
        raise DataError(
            f"{folder} holds files of several kinds ({counts}). Name those that are meant with a pattern: "
            f"'{folder}/*{next(iter(kinds))}'."
        )
    return _read_pieces(paths, folder.resolve().name, options)


def _files_of(pattern: str) -> list[Path]:
    """The files that match a pattern, sorted by name; a range in braces names each of its files.

    Raises:
        SourceNotFound: there is none.
        DataError: one that a range names is missing.
    """
    names = [str(Path(name).expanduser()) for name in _ranged(pattern)]
    matches = [sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else [name] for name in names]  # noqa: PTH207
    paths = [Path(name) for name in itertools.chain.from_iterable(matches)]
    missing = [path for path in paths if not path.exists()]
    if not paths or len(missing) == len(paths):
        raise SourceNotFound(f"No file fits {pattern} (looked in {Path.cwd()}). Check the path and the pattern.")
    if missing:
        listed = ", ".join(path.name for path in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"{len(missing):,} of the {len(paths):,} files that {pattern} names are missing: {listed}. Put them back, "
            "or name a shorter range."
        )
    return [path for path in paths if path.is_file()]


def _ranged(pattern: str) -> list[str]:
    """A pattern repeated for each number of its ranges, with as many digits as the first number has."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    numbers = range(int(match[1]), int(match[2]) + 1)
    if not 0 < len(numbers) <= 1_000_000:
        raise ConfigError(f"The range {match[0]} in {pattern} should count up, to a million files at most.")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [name for number in numbers for name in _ranged(f"{before}{number:0{len(match[1])}}{after}")]
