"""Modules as plain values: what `copy`, `pickle` and all that sends a model to another process make of them.

Files that diabolo reads are no pickles. These are for the processes and the caches of the user's own program.
"""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from diabolo.errors import ExportError, short

__all__ = ["check_portable", "deep_copied", "structure_of"]

T = TypeVar("T")


def deep_copied(instance: T, memo: dict[int, Any]) -> T:
    """A deep copy of all attributes: for `__deepcopy__` where pickles are made of something else.

    >>> deep_copied(nn.Linear(2, 3), {}).weight.shape
    torch.Size([3, 2])
    """
    copied = memo[id(instance)] = type(instance).__new__(type(instance))
    vars(copied).update({name: copy.deepcopy(value, memo) for name, value in vars(instance).items()})
    return copied


def check_portable(parts: Mapping[str, nn.Module]) -> None:
    """Raises an ExportError where a part is of a class, or holds something, that another process could not get.

    A pickler that takes classes and functions by value, such as cloudpickle's in joblib, Dask and Spark, decides alone.

    >>> layer = nn.Linear(2, 3)
    >>> _ = layer.register_forward_hook(lambda *_: None)
    >>> check_portable({"encoder": layer})
    Traceback (most recent call last):
    diabolo.errors.ExportError: The encoder, Linear(in_features=2, out_features=3, bias=True), cannot be pickled: ...
    """
    if _takes_by_value():
        return
    for name, part in parts.items():
        try:
            torch.save(part, io.BytesIO())
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise ExportError(
                f"The {name}, {short(part)}, cannot be pickled: {why}. Another process imports classes and functions "
                "from their modules: define them at the top level of one, and leave locks, open files and lambdas out. "
                "Or save the model, and in the other process build the parts and hand them to diabolo.load, as "
                "modules=, objective= or likelihood=."
            ) from error


def structure_of(model: nn.Module) -> str:
    """What a configuration does not say of a model: its modules one by one, their hooks, and what is not learned.

    >>> layer = nn.Linear(2, 3)
    >>> structure_of(layer) == structure_of(nn.Linear(2, 3)), structure_of(layer) == structure_of(nn.ReLU())
    (True, False)
    """
    hooks = [name for name, one in model.named_modules() if one._forward_hooks or one._forward_pre_hooks]
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    return f"{model} {hooks} {frozen}"


def _takes_by_value() -> bool:
    """Whether a pickler is at work that takes classes and functions by value; it is written in Python."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if hasattr(type(frame.f_locals.get("self")), "reducer_override"):
            return True
    return False
