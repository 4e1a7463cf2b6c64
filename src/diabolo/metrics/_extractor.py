"""Extractors: features of examples, on which sets of examples are compared."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from diabolo.errors import DataError, ShapeError
from diabolo.models.preprocess import Preprocess

__all__ = ["Extractor", "Features", "NetworkFeatures", "check_numbers"]

Features = npt.NDArray[np.float32]

CHUNK = 200_000  # values of examples at a time


class Extractor(ABC):
    """From examples to features: `extractor(x, layout)` is (n, f), float32.

    Attributes:
        name: of the features, as tables show it; distances on features of different names do not compare.

    >>> class Means(Extractor):
    ...     name = "mean and deviation of pixels"
    ...     def __call__(self, x, layout):
    ...         return np.stack([x.mean((1, 2)), x.std((1, 2))], axis=1).astype(np.float32)
    >>> Means()(np.zeros((5, 4, 4)), "HW").shape
    (5, 2)
    """

    name: str

    @abstractmethod
    def __call__(self, x: Any, layout: str) -> Features:
        """The features of examples, (n, f), float32.

        Args:
            x: (n, *event); images as uint8 or as floats in [0, 1], anything else in the units of the data.
            layout: what the axes of an event are.

        Raises:
            ShapeError: examples of another shape or layout than the extractor is for.
            DataError: NaN or infinite values.
        """


class NetworkFeatures(Extractor):
    """The output of a network, on the CPU; the features of an example depend on no other example.

    Args:
        name: what the network is.
        preprocess: from arrays to tensors with channels first.
        network: from (B, C, ...) to (B, f).
    """

    def __init__(self, name: str, preprocess: Preprocess, network: nn.Module) -> None:
        self.name = name
        self.preprocess = preprocess.eval()
        self.network = network.eval()

    @torch.no_grad()
    def __call__(self, x: Any, layout: str) -> Features:
        values, expected = np.asarray(x), self.preprocess.event_shape
        if layout != self.preprocess.layout or values.shape[1:] != expected:
            raise ShapeError(
                f"These features are of examples of layout {self.preprocess.layout} and shape "
                f"({', '.join(map(str, ['n', *expected]))}), and were asked of layout {layout} and shape "
                f"{values.shape}. Make an extractor for these examples."
            )
        step = max(1, CHUNK // math.prod(expected))
        chunks = []
        for start in range(0, len(values), step):
            part = check_numbers(values[start : start + step])
            chunks.append(self.network(self.preprocess(torch.from_numpy(part))).numpy())
        return np.concatenate(chunks) if chunks else np.empty((0, 0), np.float32)


def check_numbers(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of examples, uint8 as it is and other numbers as float32.

    Raises:
        DataError: no numbers, NaN or infinite values.
    """
    if x.dtype.kind not in "fiub":
        raise DataError(f"Features are made of numbers, and the examples are an array of {x.dtype}.")
    values = np.array(x) if x.dtype == np.uint8 else np.array(x, np.float32)
    wrong = 0 if values.dtype == np.uint8 else int((~np.isfinite(values)).sum())
    if wrong:
        raise DataError(f"{wrong:,} values of the examples are NaN or infinite (in float32): no features can be made.")
    return values
