"""Preprocessing: the user's arrays to the model's tensors and back, by layout and scale.

A model sees float32 with channels first: (F,), (C, L), (C, H, W), (C, D, H, W). Layout and scale come from the training
data, are saved with the model, and are undone on the way out.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.datasets._layouts import LAYOUTS, channel_axis
from diabolo.errors import DataError, ShapeError

__all__ = ["Preprocess", "Scale"]

Scale = Literal["bytes", "unit", "none", "standard", "range"]
NOISE = 1e-15  # a deviation about zero below which values are what arithmetic left


class Preprocess(nn.Module):
    """The layout and scale of a data set; its statistics are tensors of the saved model.

    Scales: `bytes` (uint8, 0 to 255, or floats in [0, 1]), `unit` (floats in [0, 1] already; images may
    come as uint8, 0 to 255, too), `none`, `standard` (each feature or channel to mean 0 and deviation 1), `range` (all
    values to [0, 1]).

    Args:
        event_shape: the shape of one example as the user holds it.
        layout: its axes: F, LC, CL, HW, HWC, CHW, DHW, CDHW, THWC, TCHW or any.
        scale: the conversion of values, see above.
        display: the values that are drawn black and white: the extremes of the training data, in its own units.
        binarize: whether the loss draws every value as 0 or 1, with its grey as the probability of a one.
        exact: whether values are shifted and scaled in float64, of which the user's are.

    >>> x = np.array([[0.0, 10.0], [2.0, 10.0]], np.float32)
    >>> preprocess = Preprocess.fit(x, "F", train=np.array([0, 1]))
    >>> preprocess(torch.from_numpy(x))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        layout: str,
        scale: Scale,
        display: tuple[float, float] = (0.0, 1.0),
        binarize: bool = False,
        exact: bool = False,
    ) -> None:
        super().__init__()
        require(layout in LAYOUTS, "layout", f"one of {', '.join(LAYOUTS)}", layout)
        require(scale in get_args(Scale), "scale", f"one of {', '.join(get_args(Scale))}", scale)
        rank = LAYOUTS[layout]
        if rank not in (None, len(event_shape) + 1):
            raise ShapeError(
                f"The layout {layout} has {len(layout)} axes, and an example has the shape {tuple(event_shape)}."
            )
        self.event_shape = tuple(event_shape)
        self.layout = layout
        self.channels = channel_axis(layout)
        self.scale: Scale = scale
        self.display = (float(display[0]), float(display[1]))
        require(not binarize or self.in_unit_range, "binarize", "left out where values are not in [0, 1]", binarize)
        self.binarize = binarize
        self.exact = exact
        statistics = self._statistics_shape() if scale == "standard" else ()
        self.register_buffer("shift", torch.zeros(statistics, dtype=self.dtype))
        self.register_buffer("spread", torch.ones(statistics, dtype=self.dtype))
        self.shift: Tensor
        self.spread: Tensor

    @property
    def model_shape(self) -> tuple[int, ...]:
        """The shape of one example as the model sees it: channels first."""
        shape, axis = self.event_shape, self.channels
        return (1, *shape) if axis is None else (shape[axis], *shape[:axis], *shape[axis + 1 :])

    @property
    def dtype(self) -> torch.dtype:
        """Of the values that go in and come out."""
        return torch.float64 if self.exact else torch.float32

    @property
    def values(self) -> int:
        """The number of values of an example, D."""
        return int(np.prod(self.event_shape))

    @property
    def in_unit_range(self) -> bool:
        """Whether the model's values lie in [0, 1]."""
        return self.scale in ("bytes", "unit", "range")

    @classmethod
    def fit(
        cls,
        x: np.ndarray,
        layout: str,
        train: np.ndarray,
        scale: Scale | Literal["auto"] = "auto",
        binarize: bool = False,
    ) -> Preprocess:
        """The preprocessing of a data set, with statistics from the training split alone.

        Args:
            x: (N, *event), every example.
            layout: what the axes of an event are.
            train: indices of the training split.
            scale: a scale, or `auto`: bytes for uint8, unit for floats in [0, 1] that are no table, else standard.
            binarize: whether the loss draws values to be 0 or 1.
        """
        known = ("auto", *get_args(Scale))
        require(scale in known, "scaling", f"one of {', '.join(known)}", scale)
        floats = x.dtype != np.uint8
        if scale == "auto":
            low, high = _extremes(x, train) if floats and (layout != "F" or binarize) else (0.0, 2.0)
            scale = "bytes" if not floats else "unit" if low >= 0 and high <= 1 else "standard"
        if scale == "bytes" and floats:
            raise DataError(
                f"The scale 'bytes' is for uint8 data, and this is {x.dtype}: choose unit, standard or range."
            )
        drawn_as_is = layout not in ("HW", "HWC", "CHW") or scale in ("bytes", "unit")
        display = (0.0, 1.0) if drawn_as_is else _extremes(x, train)
        preprocess = cls(
            event_shape=x.shape[1:],
            layout=layout,
            scale=scale,
            display=display,
            binarize=binarize,
            exact=x.dtype == np.float64,
        )
        if scale == "unit" and (not floats or min(_extremes(x, train)) < 0 or max(_extremes(x, train)) > 1):
            raise DataError(
                "The scale 'unit' is for floats in [0, 1], and these are not: choose bytes, standard or range."
            )
        if scale == "range":
            low, high = _extremes(x, train)
            preprocess.shift.fill_(low)
            preprocess.spread.fill_(high - low or 1.0)
        if scale == "standard":
            preprocess._fit_standard(x, train)
        return preprocess

    def _statistics_shape(self) -> tuple[int, ...]:
        """The shape of the statistics: one mean per feature of a table, per channel of anything else."""
        if self.layout == "any":
            return ()
        return (self.model_shape[0], *[1] * (len(self.model_shape) - 1))

    def _fit_standard(self, x: np.ndarray, train: np.ndarray) -> None:
        kept = None if self.layout == "any" else self.channels
        axis = tuple(each for each in range(x.ndim) if kept is None or each != 1 + kept)
        # Sums of differences from the first example: far from zero, squares of the values would lose their digits.
        center = np.asarray(x[train[:1]], np.float64).mean(axis, keepdims=True)
        sums, squares = np.zeros_like(center), np.zeros_like(center)
        for start in range(0, len(train), 4096):
            part = np.asarray(x[train[start : start + 4096]], np.float64) - center
            sums += part.sum(axis, keepdims=True)
            squares += np.square(part).sum(axis, keepdims=True)
        count = len(train) * self.values / sums.size
        mean = sums / count + center
        deviation = np.sqrt(np.maximum(squares / count - np.square(sums / count), 0))
        # A constant feature has no deviation to divide by: it becomes zero.
        least = 1e-12 if self.exact else 1e-7
        deviation[deviation <= least * np.maximum(np.abs(mean), 1e-30)] = 1.0
        # So does rounding noise about zero.
        deviation[(deviation < NOISE) & (np.abs(mean) <= deviation)] = 1.0
        self.shift.copy_(torch.from_numpy(mean).reshape(self.shift.shape))
        self.spread.copy_(torch.from_numpy(deviation).reshape(self.spread.shape))

    def forward(self, x: Tensor) -> Tensor:
        """A batch of the user's, (B, *event), as the model sees it: float32 (B, C, ...)."""
        from_bytes = x.dtype == torch.uint8 and (self.scale == "bytes" or (self.scale == "unit" and self._is_image))
        x = x.to(self.dtype)
        if from_bytes:
            x.mul_(1 / 255)  # in place after the conversion: torch's one operation for both is ten times slower
        x = self._channels_first(x)
        return ((x - self.shift) / self.spread).float() if self.scale in ("standard", "range") else x.float()

    def undo(self, x: Tensor) -> Tensor:
        """The inverse: (B, C, ...) to (B, *event), in the units of the data ([0, 1] where the scale is bytes)."""
        if self.scale in ("standard", "range"):
            x = x * self.spread + self.shift
        return self.to_layout(x)

    def to_layout(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, *event), with the values unchanged."""
        axis = self.channels
        return x.squeeze(1) if axis is None else x.movedim(1, 1 + axis) if axis else x

    def drawn(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """A batch, (B, C, ...), with each value drawn as 0 or 1 if `binarize` is set, otherwise unchanged."""
        return torch.bernoulli(x, generator=generator) if self.binarize else x

    def displayed(self, x: np.ndarray) -> np.ndarray:
        """Examples of the user's for figures: uint8 unchanged, floats scaled so that 0 is black and 1 is white."""
        low, high = self.display
        return x if x.dtype == np.uint8 or self.display == (0.0, 1.0) else (x - low) / ((high - low) or 1.0)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises a ShapeError for examples, (n, *event), of another event shape than the model's."""
        if tuple(shape[1:]) != self.event_shape:
            hint = " One example? Put it in a batch: x[None]." if tuple(shape) == self.event_shape else ""
            expected = ", ".join(["n", *map(str, self.event_shape)])
            raise ShapeError(f"The model expects examples of shape ({expected}), and was given {tuple(shape)}.{hint}")

    def check(self, x: np.ndarray, *, noisy: bool = False) -> None:
        """Checks a batch for this model.

        Args:
            x: (n, *event).
            noisy: whether pixels may lie some way outside [0, 1], because noise was added.

        Raises:
            ShapeError: the examples do not have the model's event shape.
            DataError: NaN or infinite values; floats outside [0, 1] where the model was trained on pixels.
        """
        self.check_shape(x.shape)
        if x.dtype.kind not in "fiub":
            raise DataError(f"The model expects numbers, and was given an array of {x.dtype}.")
        if x.dtype == np.uint8 or not x.size or self.accepts(float(x.min()), float(x.max()), noisy=noisy):
            return
        if not np.isfinite(x).all():
            raise DataError(f"{int((~np.isfinite(x)).sum())} values are NaN or infinite: remove or fill them.")
        raise DataError(
            f"The model was trained on pixels: it takes {'uint8, or ' if self.scale == 'bytes' else ''}floats in "
            f"[0, 1], and was given {x.dtype} from {x.min():g} to {x.max():g}. Scale it as the training data was."
        )

    def accepts(self, least: float, largest: float, *, noisy: bool = False) -> bool:
        """Whether floats between two bounds (NaN where a value is) are in the range of the training data."""
        room = 10.0 if noisy else 1e-3
        is_pixels = self.scale in ("bytes", "unit")
        return math.isfinite(least) and math.isfinite(largest) and not (
            is_pixels and (least < -room or largest > 1 + room)
        )  # fmt: skip

    @property
    def _is_image(self) -> bool:
        return self.layout in ("HW", "HWC", "CHW")

    def _channels_first(self, x: Tensor) -> Tensor:
        axis = self.channels
        return x.unsqueeze(1) if axis is None else x.movedim(1 + axis, 1) if axis else x

    def config(self) -> dict[str, Any]:
        """The arguments that rebuild it, ready for JSON; the statistics are among the model's tensors."""
        return {
            "event_shape": list(self.event_shape),
            "layout": self.layout,
            "scale": self.scale,
            "display": list(self.display),
            "binarize": self.binarize,
            **({"exact": True} if self.exact else {}),
        }


def _extremes(x: np.ndarray, indices: np.ndarray) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for start in range(0, len(indices), 4096):
        part = x[indices[start : start + 4096]]
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return low, high
