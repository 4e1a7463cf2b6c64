"""The arguments of `open_dataset` that a reader may use, and which of them it does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diabolo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from diabolo.datasets._column_code import ColumnCode

__all__ = ["Option", "ReadOptions", "refuse_options"]

TEXT = ("encoding", "separator", "decimal", "header", "comments")
Option = Literal[
    "labels", "columns", "examples", "size", "colour", "folders", "encoding", "separator", "decimal", "header",
    "comments", "mixed",
]  # fmt: skip


@dataclass(frozen=True)
class ReadOptions:
    """The arguments of `open_dataset` that a reader may use.

    Attributes:
        label: the name of the column, array or member that holds the labels, or None.
        columns: the names of a table's columns that are the features, in their order; None where all are.
        examples: the name of the array of a .npz archive, or the suffix of the members of .tar shards, that holds the
            examples; or None.
        encoding: of a text table, or None where its bytes tell.
        separator: what parts the cells of a text table: a character, `tab` or `blanks`; None where its lines tell.
        decimal: the decimal mark of a text table, or None where its numbers tell.
        header: how many rows of names and units a text table has; None where it tells.
        comments: what the comments of a text table begin with, or `none`; None where it tells.
        mixed: whether a table of mixed kinds is turned into numbers, or how a trained model turns its columns.
        size: (height, width) of images, or None.
        colour: whether images are read in colour; None where the images decide.
        ground: white or black, what transparent images are laid on.
        frame: which one is read of image files with several, from 0; None for the first.
        folders: what the folders of images are named for: `labels`, `none` (nor parts, nor a known set), or `auto`.
        white: the whole number that stands for 1; `auto`, found from the data; `full`, the largest of its type, and 255
            for images from files.
        strict: whether a broken image ends reading.
        workers: threads that decode or read ahead; None where the reader decides.
        progress: whether to show a progress bar on stderr.
        data_dir: a folder of known sets, or None.
        memory: bytes; what is larger should be returned as a `Store`.

    >>> ReadOptions(size=(32, 32)).label is None
    True
    """

    label: str | None = None
    columns: tuple[str, ...] | None = None
    examples: str | None = None
    encoding: str | None = None
    separator: str | None = None
    decimal: str | None = None
    header: int | None = None
    comments: str | None = None
    mixed: bool | tuple[ColumnCode, ...] = False
    size: tuple[int, int] | None = None
    colour: bool | None = None
    ground: str = "white"
    frame: int | None = None
    folders: str = "auto"
    white: int | str = "auto"
    strict: bool = False
    workers: int | None = None
    progress: bool = False
    data_dir: Path | None = None
    memory: float = 2e9

    @classmethod
    def checked(cls, size: int | tuple[int, int] | None, workers: int | None, **others: Any) -> ReadOptions:
        """The options of a user; ConfigError where a size or a number of workers is not 1 or more."""
        pair: tuple[Any, ...] | None = size if size is None or isinstance(size, (tuple, list)) else (size, size)
        if pair is not None and (len(pair) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in pair)):
            raise ConfigError(f"size must be pixels of a side or (height, width), 1 or more each; received {size!r}.")
        if workers is not None and workers < 1:
            raise ConfigError(f"workers must be 1 or more; received {workers}. Leave it out to have it chosen.")
        return cls(size=(int(pair[0]), int(pair[1])) if pair else None, workers=workers, **others)

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that are asked for by name."""
        return (*(self.columns or ()), *([self.label] if self.label else ()))

    @property
    def deep(self) -> bool:
        """Whether images of 16 bits are read as such, rather than reduced to 8."""
        return self.white == "auto" or (isinstance(self.white, int) and self.white > 255)


def refuse_options(what: str, options: ReadOptions, takes: tuple[Option, ...] = ()) -> None:
    """Refuses options that a source has no use for, rather than drop them.

    Raises:
        DataError: the name of labels, where the source has no names.
        ConfigError: a size or a colour, where there are no images.
    """
    if options.label is not None and "labels" not in takes:
        raise DataError(
            f"labels={options.label!r} names a column of a table or an array of a .npz file, and {what} has neither. "
            "Give the labels themselves, one for each example."
        )
    if options.columns is not None and "columns" not in takes:
        raise ConfigError(f"columns= names columns of a table, and {what} has no names of columns. Leave it out.")
    if options.examples is not None and "examples" not in takes:
        words = "examples= names an array of a .npz archive, or the images of .tar shards"
        raise ConfigError(f"{words}, and {what} is neither. Leave it out.")
    for name in TEXT:
        if name not in takes and getattr(options, name) is not None:
            raise ConfigError(f"{name}= is for text tables such as .csv, and {what} is none. Leave it out.")
    if options.mixed and "mixed" not in takes:
        raise ConfigError(f"mixed= is for tables with names of columns that fit into memory, and {what} is none.")
    if options.folders != "auto" and "folders" not in takes:
        raise ConfigError(f"folders= is for folders of images, and {what} is none. Leave it out.")
    for name, needs in (("size", "size"), ("colour", "colour"), ("frame", "colour")):
        if needs not in takes and getattr(options, name) is not None:
            raise ConfigError(f"{name}= is for images that are read from files, and {what} is not. Leave it out.")
