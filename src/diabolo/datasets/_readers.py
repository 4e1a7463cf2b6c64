"""The registry of readers: which function turns which source into examples.

`open_dataset` asks the readers of five kinds of source, in this order, and takes the first one that accepts:

    name      a string: the name of a known set
    object    anything that is neither a string nor a path: an array, a data frame
    pattern   a string that names several files: `parts/*.npy`
    folder    a folder that exists
    file      a file that exists; most readers of this kind go by its suffix

Within a kind the lowest `rank` goes first. The readers of this package have ranks of 10 and more, and a reader that is
registered without a rank has 0: it is asked before them. A source that none of them accepts, and a folder whose name
has a suffix, is offered to the readers of installed packages. `open_dataset(source, reader=...)` names one reader.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from diabolo._imported import path_of
from diabolo.config import Names
from diabolo.datasets._read_options import Option, ReadOptions, refuse_options
from diabolo.errors import ConfigError, DataError, DiaboloError, PartError
from diabolo.storage.foreign import reading, require_file

if TYPE_CHECKING:
    import numpy.typing as npt

    from diabolo.datasets._column_code import ColumnCode
    from diabolo.datasets._store import Store

__all__ = [
    "RawData",
    "Reader",
    "file_suffixes",
    "find_reader",
    "find_reader_of_packages",
    "named_reader",
    "readers",
    "register_reader",
]

Kind = Literal["name", "object", "pattern", "folder", "file"]
Function = Callable[[Any, ReadOptions], "RawData"]
F = TypeVar("F", bound=Callable[..., "RawData"])


@dataclass(frozen=True, eq=False)
class RawData:
    """The data of a source as a reader returns it, before checks and conversion; labels may be of any type.

    Attributes:
        x: (N, *event), numbers of any type, or a `Store`.
        name: what to call the data in titles and messages.
        labels: N labels of any type, or None.
        classes: the names of the classes, where the labels are 0, 1, ...
        features: the names of a table's columns.
        ids: the names of the examples.
        official_test: the indices of the published test part.
        notes: what a user should know about how the data was read.
        layout: what the axes are, where the reader knows it.
        factors: (N, F), the known factors that made the examples, as whole numbers, or None.
        codes: how the columns of a table of mixed kinds became numbers.
        decimal: the decimal mark of a text table, where a cell tells it.

    >>> import numpy as np
    >>> RawData(x=np.zeros((3, 2)), name="zeros").labels is None
    True
    """

    x: npt.NDArray[Any] | Store
    name: str
    labels: Any = None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    official_test: npt.NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    layout: str | None = None
    factors: npt.NDArray[Any] | None = None
    codes: tuple[ColumnCode, ...] = ()
    decimal: str | None = None


@dataclass(frozen=True)
class Reader:
    """One entry of the registry; see `register_reader`."""

    name: str
    kind: Kind
    function: Function
    suffixes: tuple[str, ...]
    accepts: Callable[[Any], bool] | None
    takes: tuple[Option, ...]
    rank: int

    @property
    def is_own(self) -> bool:
        """Whether it is one of diabolo's."""
        return self.function.__module__.partition(".")[0] == "diabolo"

    def fits(self, source: Any) -> bool:
        """Whether the reader accepts a source of its kind."""
        if self.suffixes and Path(source).suffix.lower() not in self.suffixes:
            return False
        return self.accepts is None or self.accepts(source)

    def __call__(self, source: Any, options: ReadOptions) -> RawData:
        """Refuses the options that the reader cannot use, then reads.

        Raises:
            DataError: a reader of another package fails, or returns what is no `RawData`.
        """
        what = f"An object of {type(source).__name__}" if self.kind == "object" else str(source)
        refuse_options("an array" if self.kind == "object" else what, options, self.takes)
        if self.is_own:
            with reading(what, DataError, remedy="Is it whole, and what its name says?"):
                if self.kind == "file":
                    require_file(Path(source))
                return self.function(source, options)
        try:
            raw: Any = self.function(source, options)
        except (DiaboloError, OSError):
            raise
        except MemoryError:
            raise
        except Exception as error:
            raise DataError(
                f"The reader {self.name!r} cannot read {source}: {type(error).__name__}: {error}. It is code of "
                f"{self.function.__module__}, not of diabolo."
            ) from error
        if not isinstance(raw, RawData):
            raise DataError(
                f"The reader {self.name!r} should return a diabolo.datasets.RawData, and returned an object of "
                f"{type(raw).__qualname__}."
            )
        return raw


class Readers(Names[Reader]):
    """Readers by name; an import path names the function below `register_reader`."""

    def part(self, item: Any, what: str) -> Reader:
        """The reader that a function of another module is.

        Raises:
            PartError: it is none of those that `register_reader` decorates.
        """
        reader = next((one for one in self.values() if one.function is item), None)
        if reader is None:
            holds = "nothing of that name" if item is None else f"{item!r}"
            raise PartError(
                f"{what} should be a function below @register_reader(...) of diabolo.datasets, and the module holds "
                f"{holds}."
            )
        return reader

    def definition(self, item: Reader) -> Any:
        """The function of a reader."""
        return item.function

    def replace(self, reader: Reader) -> None:
        """Adds a reader, in the place of one of the same name."""
        self._items[reader.name] = reader


readers = Readers("reader", "diabolo.readers")


def register_reader(
    name: str,
    *,
    kind: Kind = "file",
    suffixes: tuple[str, ...] = (),
    accepts: Callable[[Any], bool] | None = None,
    takes: tuple[Option, ...] = (),
    rank: int = 0,
) -> Callable[[F], F]:
    """Registers a function as a reader, so that `open_dataset` and `train` can read its sources.

    Args:
        name: of the reader; a second one of the same name takes the place of the first.
        kind: name, object, pattern, folder or file: see this module's docstring for the order.
        suffixes: the endings of the files that it reads, in lower case and with the dot.
        accepts: whether it reads a source; called with the string, the object or the `Path`.
        takes: which of labels (the name of them), columns, size and colour it uses; the others are refused before it is
            called.
        rank: its place among the readers of its kind, the lowest first.

    Returns:
        A decorator for a function of the source and its `ReadOptions` that returns `RawData`.

    Raises:
        ConfigError: an unknown kind, or neither suffixes nor `accepts`.

    >>> @register_reader("bits", suffixes=(".bits",))
    ... def read_bits(path, options):
    ...     return RawData(x=np.unpackbits(np.fromfile(path, np.uint8)).reshape(-1, 8), name=path.stem)
    >>> find_reader("file", Path("a.bits")).name
    'bits'
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"The kind of a reader should be one of {', '.join(get_args(Kind))}, and is {kind!r}.")
    if not suffixes and accepts is None:
        raise ConfigError(f"The reader {name!r} should say what it reads: give it suffixes=, accepts=, or both.")

    def register(function: F) -> F:
        readers.replace(Reader(name, kind, function, suffixes, accepts, takes, rank))
        return function

    return register


def find_reader(kind: Kind, source: Any) -> Reader | None:
    """The first reader of a kind that accepts a source, or None."""
    fitting = (reader for reader in _ranked() if reader.kind == kind and reader.fits(source))
    return next(fitting, None)


def find_reader_of_packages(kinds: tuple[Kind, ...], source: Any) -> tuple[Reader | None, str]:
    """The first reader of an installed package that accepts a source, or None; and words on those that are broken."""
    broken = ""
    for name in readers.of_packages():
        try:
            reader = readers[name]
        except PartError as error:
            broken += f" {error}"
            continue
        if reader.kind in kinds and reader.fits(source):
            return reader, ""
    return None, broken


def named_reader(reader: Any) -> Reader:
    """A reader by its name, by import path, or by the function below `register_reader`.

    Raises:
        ConfigError: there is no such reader.
        UntrustedError: its module is not trusted.

    >>> named_reader("npy").suffixes
    ('.npy',)
    """
    if isinstance(reader, str):
        return readers[reader]
    try:
        return readers.part(reader, "reader")
    except PartError:
        raise ConfigError(
            "reader should be a name, an import path, module:function, or a function below @register_reader(...), and "
            f"is {path_of(reader) or reader!r}."
        ) from None


def file_suffixes() -> list[str]:
    """The suffixes of all files that can be read, in the order in which the readers are asked."""
    return [suffix for reader in _ranked() if reader.kind == "file" for suffix in reader.suffixes]


def _ranked() -> list[Reader]:
    return sorted(readers.values(), key=lambda reader: reader.rank)
