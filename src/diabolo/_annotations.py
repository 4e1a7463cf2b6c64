"""Annotations and docstrings of constructors: values in the types of a signature, and the lines of its `Args:`."""

from __future__ import annotations

import re
import types
import typing
from typing import Any, Literal

import numpy as np

__all__ = ["converted", "documented_arguments", "type_name"]


def documented_arguments(doc: str) -> dict[str, str]:
    """The entries of an `Args:` section, name -> text, with the lines of one text joined."""
    documents: dict[str, str] = {}
    inside, name = False, ""
    for line in doc.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and line and not line.startswith(" "):
            break
        elif inside and (match := re.match(r" {4}(\w+): (.*)", line)):
            name = match[1]
            documents[name] = match[2].strip()
        elif inside and name and line.strip():
            documents[name] += " " + line.strip()
    return documents


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def converted(annotation: Any, value: Any) -> Any:
    """A value in the type of an annotation; TypeError, ValueError or OverflowError where it cannot be."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if _is_union(annotation):
        return _converted_union(arguments, value)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(value)
        return value
    if origin is tuple:
        items = [part for part in value.split(",") if part] if isinstance(value, str) else value
        if isinstance(items, int):
            items = (items,)
        return tuple(converted(arguments[0], item) for item in items)
    return _converted_plain(annotation, value)


def _converted_union(arguments: tuple[Any, ...], value: Any) -> Any:
    if type(None) in arguments and (value is None or value == "none"):
        return None
    for argument in arguments:
        try:
            if argument is not type(None):
                return converted(argument, value)
        except (TypeError, ValueError):
            continue
    raise ValueError(value)


def _converted_plain(annotation: Any, value: Any) -> Any:
    if annotation is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        if not isinstance(value, bool):
            raise ValueError(value)
        return value
    if annotation in (int, float):
        if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
            raise TypeError(value)
        if annotation is int and not isinstance(value, str) and value != int(value):
            raise ValueError(value)
        return annotation(value)
    if not isinstance(value, annotation):
        raise TypeError(value)
    return value


def type_name(annotation: Any) -> str:
    """An annotation in the notation of the command line."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "none"
    if _is_union(annotation):
        return " | ".join(type_name(item) for item in arguments)
    if origin is Literal:
        return " | ".join(str(item) for item in arguments)
    if origin is tuple:
        return f"{type_name(arguments[0])},..."
    return str(getattr(annotation, "__name__", annotation))
