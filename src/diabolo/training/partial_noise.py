"""Noise for part of a batch that is the same as if the whole batch had been there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Part", "PartOfNoise"]


@dataclass(frozen=True)
class Part:
    """The examples of a batch that are computed here and now.

    Attributes:
        start: the first of them.
        stop: behind the last of them.
        of: how many examples the batch has, those of the other processes included.
    """

    start: int
    stop: int
    of: int

    @property
    def count(self) -> int:
        """How many there are."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """What is computed: the part, or, where it is empty, one example that then counts for nothing."""
        start = min(self.start, self.of - 1)
        return slice(start, max(self.stop, start + 1))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the batch."""
        return self.count == self.of


class PartOfNoise(TorchFunctionMode):
    """While it lasts, what is drawn from a generator for part of a batch is drawn for all of it, and cut out.

    So every process moves its generator on as one process alone would, and numbers do not depend on how many there are.
    That holds for noise with one row per example, which `torch.randn`, `torch.rand` and `torch.bernoulli` draw. Other
    draws are independent ones of this part, from a generator of its own; so are those from torch's own generators, such
    as a dropout's, whose states are put back at the end.

    Args:
        shared: the generator that stands at the same place in every process.
        part: which rows are wanted.
        seed: numbers that set the part's own generator.
    """

    def __init__(self, shared: torch.Generator, part: Part, seed: Sequence[int]) -> None:
        super().__init__()
        self.shared = shared
        self.part = part
        self.seed = int(np.random.SeedSequence([*seed, part.start]).generate_state(1, np.uint64)[0]) >> 1
        self.own: torch.Generator | None = None
        self._around = contextlib.ExitStack()

    def __enter__(self) -> Self:
        device = self.shared.device
        generators = [torch.default_generator]
        if device.type == "cuda":
            generators.append(torch.cuda.default_generators[device.index or 0])
        self._around.enter_context(torch.random.fork_rng([each.device for each in generators[1:]]))
        for generator in generators:
            generator.manual_seed(self.seed)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._around.close()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        options = options or {}
        if options.get("generator") is not self.shared:
            return function(*arguments, **options)
        rows, whole = self.part.rows, self.part.of
        shape = _shape(function, arguments)
        if not shape or shape[0] != rows.stop - rows.start:
            return function(*arguments, **{**options, "generator": self._own_generator()})
        if function is torch.bernoulli:
            return function(_among(arguments[0], rows, whole), **options)[rows]
        return function((whole, *shape[1:]), **options)[rows]

    def _own_generator(self) -> torch.Generator:
        if self.own is None:
            self.own = torch.Generator(device=self.shared.device).manual_seed(self.seed + 1)
        return self.own


def _shape(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[int, ...]:
    """The shape of what is to be drawn; () where it is not known to have a row for each example."""
    if function is torch.bernoulli:
        return tuple(arguments[0].shape)
    if function in (torch.randn, torch.rand):
        return tuple(arguments[0]) if arguments and not isinstance(arguments[0], int) else tuple(arguments)
    return ()


def _among(chances: Tensor, rows: slice, whole: int) -> Tensor:
    """The part's chances at their place in the batch; every value costs one draw, whatever its chance."""
    ordered = chances.is_contiguous() or chances.dim() != 4
    layout = torch.contiguous_format if ordered else torch.channels_last
    made = torch.full((whole, *chances.shape[1:]), 0.5, dtype=chances.dtype, device=chances.device)
    made = made.contiguous(memory_format=layout)
    made[rows] = chances
    return made
