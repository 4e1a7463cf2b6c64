"""A bound on what a saved configuration may allocate: the file of its weights says how large the model is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from diabolo.errors import RunError

__all__ = ["ALLOWANCE", "Allocating"]

ALLOWANCE = 2**27  # numbers that a model may make beside its weights, as it is built and tried
LEAST = 2**11  # what a tensor counts for, however small: millions of small ones would take minutes


class Allocating(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which torch makes tensors of at most so many numbers, all together; asked before memory is taken.

    Args:
        most: the numbers.

    Raises:
        RunError: there would be more.

    >>> import torch
    >>> with Allocating(10_000):
    ...     layer = torch.nn.Linear(1_000_000, 1_000_000)
    Traceback (most recent call last):
    diabolo.errors.RunError: The configuration asks for a model that is larger than its weights by far. ...
    """

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts what an operation makes from a shape alone."""
        if args and isinstance(args[0], Sequence) and all(isinstance(length, int) for length in args[0]):
            self.left -= max(LEAST, math.prod(args[0]))
            if self.left < 0:
                raise RunError(
                    "The configuration asks for a model that is larger than its weights by far. It was edited; restore "
                    "it."
                )
        return func(*args, **(kwargs or {}))
