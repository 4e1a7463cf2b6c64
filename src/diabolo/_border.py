"""The library's border: arguments of public functions are compared with their annotations, before anything is done.

`Any` stands for what becomes an array or a data set, which is looked at where it is read. A whole number may be one of
NumPy's, or a float without a fraction; true and false are no numbers. Which names a `Literal` has is left to the
function, whose message suggests the nearest.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np

from diabolo._annotations import type_name
from diabolo.errors import LARGEST, ConfigError, lacking, short

__all__ = ["checked", "checked_methods"]

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)


def checked(function: F) -> F:
    """A function that compares its arguments with their annotations first.

    >>> @checked
    ... def repeat(text: str, times: int = 2) -> str:
    ...     return text * times
    >>> repeat("ab")
    'abab'
    >>> repeat("ab", 1.5)
    Traceback (most recent call last):
    diabolo.errors.ConfigError: times should be a whole number, and was given 1.5.
    """
    signature = inspect.signature(function)
    hints = functools.cache(functools.partial(_hints, function))
    fitting = functools.partial(_fitting, signature, hints)
    own, error_of = inspect.unwrap(function), lacking

    def call(*arguments: Any, **options: Any) -> Any:
        arguments, options = fitting(arguments, options)
        try:
            return function(*arguments, **options)
        except (MemoryError, RuntimeError, ValueError, FileNotFoundError) as error:
            lacks = error_of(error)
            if lacks is None:
                raise
            raise lacks from error

    # With the globals of the function, it counts as one of its module, for doctest too; what `call` needs, it encloses.
    replacement = types.FunctionType(call.__code__, own.__globals__, own.__name__, None, call.__closure__)
    return typing.cast(F, functools.update_wrapper(replacement, function))


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function; what is imported for type checkers alone may be anything."""
    names = dict(inspect.unwrap(function).__globals__)
    while True:
        try:
            return typing.get_type_hints(function, names)
        except NameError as error:
            names[error.name] = Any


def _fitting(
    signature: inspect.Signature, hints: Callable[[], dict[str, Any]], arguments: Any, options: Any
) -> tuple[Any, Any]:
    """The arguments of a call, looked at, with whole numbers of NumPy and floats as Python's own."""
    try:
        bound = signature.bind(*arguments, **options)
    except TypeError:
        return arguments, options  # the call itself says it better
    for name, value in bound.arguments.items():
        annotation = hints().get(name, Any)
        if name == "seed" and isinstance(value, int) and abs(value) >= LARGEST:  # any seed will do
            value = bound.arguments[name] = value % LARGEST
        if signature.parameters[name].kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            continue
        if not _fits(annotation, value):
            raise ConfigError(f"{name} should be {_words(annotation)}, and was given {short(value)}.")
        if _is_number(value, whole=True) and int in (annotation, *typing.get_args(annotation)):
            bound.arguments[name] = int(value)
    return bound.args, bound.kwargs


def checked_methods(cls: C) -> C:
    """A class whose constructor and public methods compare their arguments with their annotations first.

    >>> @checked_methods
    ... class Text:
    ...     def repeat(self, times: int) -> str:
    ...         return "ab" * times
    >>> Text().repeat(None)
    Traceback (most recent call last):
    diabolo.errors.ConfigError: times should be a whole number, and was given None.
    """
    for name, item in list(vars(cls).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if inspect.isfunction(item):
            setattr(cls, name, checked(item))
        elif isinstance(item, classmethod | staticmethod):
            setattr(cls, name, type(item)(checked(item.__func__)))
    return cls


def _fits(annotation: Any, value: Any) -> bool:
    """Whether a value is of an annotation, as far as that can be told."""
    kind, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(one, value) for one in arguments)
    if kind is Literal:
        return isinstance(value, tuple({type(one) for one in arguments}))
    if kind is None:
        return value is None
    if kind in (int, float):
        return _is_number(value, whole=kind is int)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is collections.abc.Callable:
        return callable(value)
    if kind is Any or not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True  # whatever it is: a type variable, a protocol
    return isinstance(value, kind) and _holds(kind, arguments, value)


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Integral):
        return -LARGEST <= int(value) < LARGEST
    return not whole or value == value // 1


def _holds(kind: type, arguments: tuple[Any, ...], value: Any) -> bool:
    """Whether what is in a value is as its annotation says: the items of a list, the characters of a path."""
    if kind in (str, os.PathLike):
        return _is_text(os.fspath(value))
    is_list = kind in (collections.abc.Sequence, list) or (kind is tuple and Ellipsis in arguments)
    return not is_list or all(_fits(arguments[0], item) for item in value)


def _is_text(text: Any) -> bool:
    """Whether a text can name a file: it has no zero byte and no lone surrogate, but for those of bytes in a path."""
    try:
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _words(annotation: Any) -> str:
    """An annotation in words."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        words = dict.fromkeys(_words(one) for one in arguments)
        return " or ".join(word for word in words if word != "text" or "a path" not in words)
    plain = {int: "a whole number", float: "a number", bool: "True or False", str: "text", type(None): "None"}
    if annotation in plain:
        return plain[annotation]
    if typing.get_origin(annotation) is Literal:
        return " or ".join(map(repr, arguments))
    kind = typing.get_origin(annotation) or annotation
    known: dict[Any, str] = {
        collections.abc.Sequence: "a list", collections.abc.Mapping: "a mapping", os.PathLike: "a path",
        collections.abc.Callable: "a function", type: "a class", tuple: "a tuple",
    }  # fmt: skip
    return known.get(kind, f"an object of {type_name(kind)}")
