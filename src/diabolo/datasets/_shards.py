"""Sources of several files: a folder of pieces or shards, or a pattern: `parts/*.parquet`, `part-{000..099}.tar`."""

from __future__ import annotations

import collections
import glob
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from diabolo.datasets._arrays import Found
from diabolo.datasets._arrow_sources import ParquetSource
from diabolo.datasets._columns import open_columns
from diabolo.datasets._huggingface import is_saved, open_saved
from diabolo.datasets._image_folder import ImageOptions, refuse
from diabolo.datasets._npy import npy_store
from diabolo.datasets._webdataset import open_shards
from diabolo.errors import ConfigError, DataError, SourceNotFound

__all__ = ["SHARDS", "files_of", "is_pattern", "open_folder", "open_pattern", "open_pieces"]

SHARDS = (".npy", ".parquet", ".tar")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_pattern(source: str) -> bool:
    """Whether a source names several files: it has *, ? or [ in it, or a range in braces."""
    return bool(glob.has_magic(source) or _RANGE.search(source))


def open_pattern(pattern: str, label: str | None, options: ImageOptions) -> Found:
    """The files that a pattern stands for, in the order of their names, as one set.

    Raises:
        SourceNotFound: there is none.
        DataError: one that a range in braces names is missing; or they are of no kind that comes in pieces.
    """
    return open_pieces(files_of(pattern), Path(pattern).absolute().parent.name, label, options)


def open_pieces(paths: Sequence[Path], name: str, label: str | None, options: ImageOptions) -> Found:
    """Files of one kind, in this order, as one set.

    Raises:
        DataError: they are of several kinds, or of one that does not come in pieces, or cannot be used.
    """
    suffixes = sorted({path.suffix.lower() for path in paths})
    if len(suffixes) > 1 or suffixes[0] not in SHARDS:
        raise DataError(
            f"{name}: the pieces of a set are all {', all '.join(SHARDS[:-1])} or all {SHARDS[-1]}, and these end in "
            f"{', '.join(suffixes)} ({len(paths):,} files). Name those that belong together."
        )
    if suffixes[0] == ".tar":
        return open_shards(paths, name, label, options)
    if suffixes[0] == ".parquet":
        return open_columns(ParquetSource(paths, name), label, options)
    refuse(name, label, options)
    return Found(x=npy_store(paths, name), name=name)


def open_folder(folder: Path, label: str | None, options: ImageOptions) -> Found | None:
    """A folder of pieces or shards, or one that `save_to_disk` wrote; None where it is neither.

    Raises:
        DataError: it holds files of several such kinds, or as the reader of the kind says.
    """
    if is_saved(folder):
        return open_saved(folder, label, options)
    kinds: dict[str, list[Path]] = collections.defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SHARDS and path.is_file() and not path.name.startswith("."):
            kinds[path.suffix.lower()].append(path)
    if not kinds:
        return None
    if len(kinds) > 1:
        counts = ", ".join(f"{len(paths):,} {suffix}" for suffix, paths in kinds.items())
        raise DataError(
            f"{folder} holds files of several kinds ({counts}). Name those that are meant with a pattern: "
            f"'{folder}/*{next(iter(kinds))}'."
        )
    return open_pieces(next(iter(kinds.values())), folder.resolve().name, label, options)


def files_of(pattern: str) -> list[Path]:
    """The files that a pattern stands for, sorted by name; a range in braces names each of its files.

    Raises:
        SourceNotFound: there is none.
        DataError: one that a range names is missing.
    """
    names = [str(Path(name).expanduser()) for name in _ranged(pattern)]
    found = [sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else [name] for name in names]  # noqa: PTH207
    paths = [Path(name) for name in itertools.chain.from_iterable(found)]
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
    """A pattern once for each number of its ranges, written with as many digits as the range begins with."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    numbers = range(int(match[1]), int(match[2]) + 1)
    if not 0 < len(numbers) <= 1_000_000:
        raise ConfigError(f"The range {match[0]} in {pattern} should count up, to a million files at most.")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [name for number in numbers for name in _ranged(f"{before}{number:0{len(match[1])}}{after}")]
