"""Options of parts, read from their constructors, and registries of parts by name.

Variants, networks and likelihoods declare their settings once, as typed keyword-only arguments with one documented line
each. The options of the command line, their help, the JSON of a saved run and all checks come from that one place.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast, overload

from diabolo._annotations import converted, documented_arguments, type_name
from diabolo._imported import import_object, is_path, path_of, require_class
from diabolo._installed import Installed, installed
from diabolo.errors import LARGEST, ConfigError, DiaboloError, PartError, short, unknown_name

__all__ = [
    "Names",
    "Parameter",
    "Registry",
    "as_path",
    "as_typed",
    "as_whole_number",
    "build",
    "check_choices",
    "coerce",
    "configuration",
    "parameters",
    "readable_bytes",
    "require",
    "summary",
]

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Parameter:
    """One setting: its name, its type, its default and the line that documents it.

    >>> def train(*, epochs: int = 3): ...
    >>> parameters(train)[0].type_name
    'int'
    """

    name: str
    annotation: Any
    default: Any
    doc: str

    @property
    def type_name(self) -> str:
        """The type in the notation of the command line: `float`, `relu | tanh`, `int,int,...`."""
        return type_name(self.annotation)


def parameters(target: Any) -> tuple[Parameter, ...]:
    """The settings of a class or a function, from its signature and the `Args:` section of its docstring.

    >>> def train(*, epochs: int = 3): ...
    >>> [(setting.name, setting.default) for setting in parameters(train)]
    [('epochs', 3)]
    """
    return _parameters(target)


@functools.cache
def _parameters(target: Any) -> tuple[Parameter, ...]:
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function)
    docs = documented_arguments(inspect.getdoc(target) or "")
    return tuple(
        Parameter(item.name, hints.get(item.name, Any), item.default, docs.get(item.name, ""))
        for item in inspect.signature(function).parameters.values()
        if item.kind is inspect.Parameter.KEYWORD_ONLY
    )


def configuration(instance: Any) -> dict[str, Any]:
    """The settings of an instance as its constructor received them, ready for JSON.

    >>> class Model:
    ...     def __init__(self, *, hidden: tuple[int, ...] = (8,)):
    ...         self.hidden = hidden
    >>> configuration(Model(hidden=(4, 2)))
    {'hidden': [4, 2]}
    """
    values = {item.name: getattr(instance, item.name) for item in parameters(type(instance))}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def build(cls: type[T], options: Mapping[str, Any], kind: str) -> T:
    """An instance `cls(**options)`, each option checked by name and converted to the type in the signature.

    Raises:
        ConfigError: an option that `cls` does not have (with the nearest name), or a value of the wrong type.

    >>> class Model:
    ...     def __init__(self, *, beta: float = 1.0):
    ...         self.beta = beta
    >>> build(Model, {"beta": "4"}, "the model").beta
    4.0
    """
    settings = {item.name: item for item in parameters(cls)}
    for name in options:
        if name not in settings:
            raise unknown_name(f"option of {kind}", name, settings)
    arguments = {name: coerce(settings[name], value) for name, value in options.items()}
    try:
        return cls(**arguments)
    except DiaboloError:
        raise
    except Exception as error:
        if cls.__module__.partition(".")[0] == "diabolo":
            raise
        raise PartError(
            f"{kind[0].upper()}{kind[1:]} cannot be made: {type(error).__name__}: {error}. Its constructor should take "
            "keyword-only arguments, each with a default."
        ) from error


def coerce(parameter: Parameter, value: Any) -> Any:
    """A value, such as a string from the command line or a list from JSON, converted to the type of a setting.

    >>> coerce(Parameter("hidden", tuple[int, ...], (), ""), "64,32")
    (64, 32)
    """
    try:
        result = converted(parameter.annotation, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{parameter.name} should be {parameter.type_name}, and was given {short(value)}.") from error
    if isinstance(result, tuple) and not all(math.isfinite(one) for one in result if isinstance(one, float)):
        raise ConfigError(f"{parameter.name} should be finite numbers, and was given {short(value)}.")
    if isinstance(result, float) and math.isinf(result):
        raise ConfigError(f"{parameter.name} should be a finite number, and was given {short(value)}.")
    numbers = [one for one in (result if isinstance(result, tuple) else [result]) if isinstance(one, int)]
    if any(abs(one) >= LARGEST for one in numbers) and parameter.name != "seed":  # any seed will do
        raise ConfigError(f"{parameter.name} should be a number of at most 64 bits, and was given {short(value)}.")
    return result


def require(holds: bool, name: str, expected: str, received: Any) -> None:
    """Raises a ConfigError unless `holds`: "`name` should be `expected`, and was given `received`".

    >>> require(False, "beta", "a number of at least 0", -1)
    Traceback (most recent call last):
    diabolo.errors.ConfigError: beta should be a number of at least 0, and was given -1.
    """
    if not holds:
        raise ConfigError(f"{name} should be {expected}, and was given {short(received)}.")


def as_path(name: str, value: Any) -> Path:
    """A value as a path.

    Raises:
        ConfigError: it is neither text nor a path.

    >>> as_path("out", 3)
    Traceback (most recent call last):
    diabolo.errors.ConfigError: out should be a path, and was given 3.
    """
    require(isinstance(value, str | os.PathLike), name, "a path", value)
    return Path(value)


def as_whole_number(name: str, value: Any) -> int:
    """A value as a whole number.

    Raises:
        ConfigError: it is none.

    >>> as_whole_number("samples", 2.0)
    2
    """
    number: int = coerce(Parameter(name, int, None, ""), value)
    return number


def check_choices(instance: Any) -> None:
    """Checks the settings whose type is a `Literal`; for the end of a constructor.

    Raises:
        ConfigError: a value that is not among those of the `Literal`.

    >>> class Model:
    ...     def __init__(self, *, init: Literal["torch", "glorot"] = "torch"):
    ...         self.init = init
    ...         check_choices(self)
    >>> Model(init="keras")
    Traceback (most recent call last):
    diabolo.errors.ConfigError: init should be torch | glorot, and was given 'keras'.
    """
    for item in parameters(type(instance)):
        if typing.get_origin(item.annotation) is Literal:
            coerce(item, getattr(instance, item.name))


def summary(target: Any) -> str:
    """The first paragraph of a docstring, without its full stop.

    >>> summary(summary)
    'The first paragraph of a docstring, without its full stop'
    """
    text = (inspect.getdoc(target) or "").split("\n\n")[0]
    return " ".join(text.split()).rstrip(".")


def as_typed(value: Any) -> str:
    """A value as the command line takes it.

    >>> as_typed((256, 128)), as_typed(True), as_typed(None)
    ('256,128', 'true', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


class Names(Generic[T]):
    """Items by name, in the order in which they were registered.

    Args:
        kind: what an item is, for messages.
        group: of entry points, by which installed packages add items; then an import path, `module:name`, is a name.

    >>> colours = Names("colour")
    >>> @colours.register("red")
    ... def paint(): ...
    >>> list(colours), "blue" in colours
    (['red'], False)
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._items: dict[str, T] = {}
        self._of_packages: dict[str, T] = {}

    @overload
    def register(self, name: str) -> Callable[[U], U]: ...

    @overload
    def register(self, name: str, item: T) -> T: ...

    def register(self, name: str, item: Any = None) -> Any:
        """Adds an item under `name`; without one, returns a decorator that adds what stands below it.

        Raises:
            ConfigError: another item has the name.
        """
        if item is None:
            return functools.partial(self.register, name)
        other = self._items.get(name, item)
        if other is not item:
            named = getattr(other, "__qualname__", other)
            raise ConfigError(f"There is a {self.kind} named {name!r} already: {named}. Choose another name.")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        if name in self._items:
            return self._items[name]
        if self.group is None:
            raise unknown_name(self.kind, str(name), self)
        if is_path(name):
            return self.part(import_object(name, self.kind), f"The {self.kind} {name!r}")
        if name not in self._of_packages:
            parts = installed(self.group)
            if name not in parts:
                raise unknown_name(self.kind, str(name), [*self, *parts])
            what = f"The {self.kind} {name!r} of the package {parts[name].package}"
            self._of_packages[name] = self.part(parts[name].load(self.kind), what)
        return self._of_packages[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        if name in self._items or name in self._of_packages:
            return True
        return self.group is not None and (is_path(name) or name in installed(self.group))

    def part(self, item: Any, what: str) -> T:
        """What a module outside holds under a name, as an item.

        Raises:
            PartError: it cannot be one.
        """
        if not callable(item) or isinstance(item, type):
            holds = "nothing of that name" if item is None else f"{item!r}"
            raise PartError(f"{what} should be a function, and the module holds {holds}.")
        return cast(T, item)

    def of_packages(self) -> dict[str, Installed]:
        """The items that installed packages add, by name; none of them is imported."""
        parts = {} if self.group is None else installed(self.group)
        return {name: part for name, part in parts.items() if name not in self._items}

    def refused(self) -> list[str]:
        """A sentence on each item of an installed package that has the name of another, and is not used."""
        parts = {} if self.group is None else installed(self.group)
        return [
            f"The {self.kind} {name!r} of the package {part.package} is not used: there is one of that name already. "
            f"Its import path, {part.path}, names it."
            for name, part in parts.items()
            if name in self._items and part.path != path_of(self.definition(self._items[name]))
        ]

    def definition(self, item: T) -> Any:
        """The class or the function that an item was made from."""
        return item

    def names(self) -> list[str]:
        """All names, those of installed packages included: for lists that are printed."""
        return [*self, *self.of_packages()]

    def values(self) -> list[T]:
        """The items."""
        return list(self._items.values())


class Registry(Names[type[T]]):
    """Classes by name: the command line lists them, and a saved run is rebuilt from them.

    >>> colours = Registry("colour")
    >>> _ = colours.register("red", type("Red", (), {}))
    >>> list(colours), "blue" in colours
    (['red'], False)

    Args:
        kind: what a class is, for messages.
        base: what they derive from.
        group: of entry points; with a base and a group, an import path, `module:Class`, is a name too.
    """

    def __init__(self, kind: str, base: type[T] | None = None, group: str | None = None) -> None:
        super().__init__(kind, group)
        self.base = base

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def part(self, item: Any, what: str) -> type[T]:
        """What a module outside holds under a name, if it is a class that derives from the base."""
        return require_class(item, cast(type[T], self.base), what)

    def name_of(self, instance: T) -> str | None:
        """The name of the class of an instance, or its import path; None where nothing could make it again.

        That is where the class is found in no module, or does not keep the arguments of its constructor.
        """
        cls = type(instance)
        own = next((name for name, other in self._items.items() if other is cls), None)
        if own is None and self.base is not None and _keeps_its_arguments(instance):
            of_package = (name for name, other in self._of_packages.items() if other is cls)
            return next(of_package, path_of(cls))
        return own

    def create(self, name: str, options: Mapping[str, Any] | None = None) -> T:
        """An instance of the class `name`, from options that are checked against its signature."""
        return build(self[name], options or {}, f"the {self.kind} {name!r}")

    def made(self, part: str | T | type[T], options: Mapping[str, Any] | None = None) -> T:
        """An instance from a name or a class and options; an instance as it is.

        Raises:
            ConfigError: it is neither.
        """
        if isinstance(part, str):
            return self.create(part, options)
        if self.base is not None and isinstance(part, type) and issubclass(part, self.base):
            return build(part, options or {}, f"the {self.kind} {part.__qualname__}")
        if self.base is None or isinstance(part, self.base):
            return cast(T, part)
        base = f"{self.base.__module__}.{self.base.__qualname__}"
        what = f"the class {part.__qualname__}" if isinstance(part, type) else f"an object of {type(part).__qualname__}"
        raise ConfigError(f"The {self.kind} should be a name, or a class or an object of {base}, and is {what}.")


def _keeps_its_arguments(instance: Any) -> bool:
    """Whether an instance is made again from its `configuration`."""
    names = inspect.signature(type(instance).__init__).parameters.values()
    plain = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    positional = [item for item in names if item.name != "self" and item.kind not in plain]
    if any(item.default is inspect.Parameter.empty for item in positional):
        return False
    try:
        json.dumps(configuration(instance))
    except (AttributeError, TypeError, NameError):
        return False
    return True


def readable_bytes(count: float) -> str:
    """A number of bytes for a person.

    >>> readable_bytes(552), readable_bytes(2.5e9)
    ('552 B', '2.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            break
        count, unit = count / 1000, {"B": "kB", "kB": "MB", "MB": "GB", "GB": "TB"}[unit]
    return f"{count:.3g} {unit}"
