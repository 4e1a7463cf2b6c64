"""Noise for a part of a batch, equal to that part of the noise for the whole batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Part", "PartialNoise"]


@dataclass(frozen=True)
class Part:
    """The part of a batch that this process computes.

    Attributes:
        start: the first example.
        stop: behind the last example.
        of: the size of the whole batch, over all processes.
    """

    start: int
    stop: int
    of: int

    @property
    def count(self) -> int:
        """The number of examples."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """The rows to compute: the part, or one example where it is empty, which then counts for nothing.

        A process without an example would not take part in the collective calls of a step.
        """
        start = min(self.start, self.of - 1)
        return slice(start, max(self.stop, start + 1))

    @property
    def is_whole(self) -> bool:
        """Whether the part is the whole batch."""
        return self.count == self.of


class PartialNoise(TorchFunctionMode):
    """A context in which noise for a part of a batch is drawn for the whole batch, and cut.

    Every process advances its generator as a single process would, so the numbers do not depend on how many there are.
    This holds for `torch.randn`, `torch.rand` and `torch.bernoulli` with one row per example. Other draws come from a
    generator of this part alone; so do those from torch's default generators, such as dropout, whose states are
    restored at the end.

    Args:
        shared: the generator, in the same state in every process.
        part: the rows of this process.
        seed: numbers that seed the part's own generator.
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
    """The shape of a draw; () where it may not have one row per example."""
    if function is torch.bernoulli:
        return tuple(arguments[0].shape)
    if function in (torch.randn, torch.rand):
        return tuple(arguments[0]) if arguments and not isinstance(arguments[0], int) else tuple(arguments)
    return ()


def _among(chances: Tensor, rows: slice, whole: int) -> Tensor:
    """The probabilities of the part at its place in the batch, and 1/2 elsewhere: every value costs one draw.

    The memory format matters: `torch.bernoulli` draws in the order of memory.
    """
    ordered = chances.is_contiguous() or chances.dim() != 4
    layout = torch.contiguous_format if ordered else torch.channels_last
    probabilities = torch.full((whole, *chances.shape[1:]), 0.5, dtype=chances.dtype, device=chances.device)
    probabilities = probabilities.contiguous(memory_format=layout)
    probabilities[rows] = chances
    return probabilities
