"""Each known layer: what it computes, what it keeps for the way back, and the way back."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.models.fused._products import affine, product

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Affine",
    "Convolution",
    "Flatten",
    "Layer",
    "Unflatten",
    "Weights",
    "arranged_once",
    "parameters_of",
    "rows",
]

aten = torch.ops.aten

Gradients = list[Tensor | None]


class Layer(ABC):
    """One layer without a graph of its own.

    Attributes:
        parameters: what it learns, in the order in which `backward` gives their gradients.
        frees: whether its output is held by nobody else; None where it is a view of its input.
    """

    parameters: tuple[Tensor, ...] = ()
    frees: bool | None = True

    @property
    def saves_output(self) -> bool:
        """Whether its output is needed on the way back, and so must not be written over."""
        return self.frees is False

    @abstractmethod
    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        """The output, and what `backward` needs; x may be written over where it is free."""

    def answer(self, x: Tensor, free: bool) -> Tensor:
        """The output alone, where there is no way back."""
        return self.forward(x, free)[0]

    @abstractmethod
    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        """The gradient of the input (anything where it is not wanted), and those of the parameters in float32."""


class _Cache(threading.local):
    """What this thread has arranged so far in the call under way; None where nothing is to be remembered."""

    arranged: dict[int, Tensor] | None = None


_CACHE = _Cache()


@contextlib.contextmanager
def arranged_once() -> Iterator[None]:
    """While it lasts, this thread arranges each weight once: for one answer over many chunks.

    No longer than that, since whoever writes into a weight (through `.data`, or NumPy, or a fused optimizer) need not
    leave a trace of it.
    """
    before, _CACHE.arranged = _CACHE.arranged, {}
    try:
        yield
    finally:
        _CACHE.arranged = before


class Weights:
    """A parameter in the type and the order of the arithmetic.

    Args:
        parameter: the parameter.
        dtype: of the arithmetic.
        arrange: its order in the arithmetic.
    """

    def __init__(self, parameter: Tensor, dtype: torch.dtype, arrange: Callable[[Tensor], Tensor]) -> None:
        self.parameter = parameter
        self.dtype = dtype
        self.arrange = arrange

    def __call__(self) -> Tensor:
        cache = _CACHE.arranged
        if cache is not None and id(self) in cache:
            return cache[id(self)]
        weight = self.arrange(self.parameter.detach().to(self.dtype))  # in this order: half as much to move
        if cache is not None:
            cache[id(self)] = weight
        return weight


def parameters_of(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> tuple[Tensor, ...]:
    """The weights and, where there is one, the bias."""
    return (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)


def rows(x: Tensor) -> Tensor:
    """Maps (B, C, H, W) as a matrix (B H W, C), a view where they are channels last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _matrix(x: Tensor) -> Tensor:
    """(..., n) as (rows, n)."""
    return x if x.dim() == 2 else x.reshape(-1, x.shape[-1])


def _swapped(x: Tensor, axis: int, first: int) -> Tensor:
    """An axis that holds (first, rest) in the order (rest, first)."""
    if first == 1:
        return x
    apart = (*x.shape[:axis], first, -1, *x.shape[axis + 1 :])
    return x.reshape(apart).transpose(axis, axis + 1).reshape(x.shape)


class Affine(Layer):
    """W x + b.

    Attributes:
        cut: whether negative values become zero, as behind a ReLU.

    Args:
        layer: the weights.
        dtype: of the products.
        channels_in: where the input is a flattened map, its channels: it comes with them last.
        channels_out: where the output becomes a map, its channels: it leaves with them last.
    """

    def __init__(self, layer: nn.Linear, dtype: torch.dtype, channels_in: int = 1, channels_out: int = 1) -> None:
        self.dtype = dtype
        self.cut = False
        self.channels_in = channels_in
        self.channels_out = channels_out
        self.weight = Weights(layer.weight, dtype, self._arranged)
        self.bias = None
        if layer.bias is not None:
            self.bias = Weights(layer.bias, dtype, lambda bias: _swapped(bias, 0, channels_out))
        self.parameters = parameters_of(layer)

    @property
    def saves_output(self) -> bool:
        return self.cut

    def _arranged(self, weight: Tensor) -> Tensor:
        return _swapped(_swapped(weight, 1, self.channels_in), 0, self.channels_out)

    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        flat = _matrix(x.to(self.dtype))
        weight = self.weight()
        y = affine(flat, weight, None if self.bias is None else self.bias(), cut=self.cut)
        answer = y if x.dim() == 2 else y.view(*x.shape[:-1], weight.shape[0])
        return answer, (flat, weight, y.detach() if self.cut else None)

    def answer(self, x: Tensor, free: bool) -> Tensor:
        if x.dim() != 2 or x.dtype != self.dtype:
            return self.forward(x, free)[0]
        return affine(
            x, self.weight(), None if self.bias is None else self.bias(), cut=self.cut
        )  # for one code, at once

    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        shape = g.shape[:-1]
        flat, used, y = saved
        g = _matrix(g.to(self.dtype))
        if y is not None:
            g = aten.threshold_backward(g, y, 0)
        weight = product(g.t(), flat)
        weight = _swapped(weight, 1, weight.shape[1] // self.channels_in if self.channels_in > 1 else 1)
        weight = _swapped(weight, 0, len(weight) // self.channels_out if self.channels_out > 1 else 1)
        gradients: Gradients = [weight.float()]
        if self.bias is not None:
            bias = g.sum(0, dtype=torch.float32)  # a sum in bf16 would be half of what is rounded off a gradient
            gradients.append(_swapped(bias, 0, len(bias) // self.channels_out if self.channels_out > 1 else 1))
        if needs_input_gradient:
            g = product(g, used)
        return g if len(shape) == 1 or not needs_input_gradient else g.view(*shape, -1), gradients


class Convolution(Layer):
    """A convolution of images or a transposed one, channels last.

    Args:
        layer: the weights and the geometry.
        dtype: of the products.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        self.dtype = dtype
        transposed = isinstance(layer, nn.ConvTranspose2d)
        self.geometry = (
            layer.stride, layer.padding, layer.dilation, transposed, layer.output_padding, layer.groups
        )  # fmt: skip
        self.weight = Weights(layer.weight, dtype, lambda weight: weight.contiguous(memory_format=torch.channels_last))
        self.bias = None if layer.bias is None else Weights(layer.bias, dtype, lambda bias: bias)
        self.parameters = parameters_of(layer)

    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        x = x.to(self.dtype, memory_format=torch.channels_last)
        weight = self.weight()
        return aten.convolution(x, weight, None if self.bias is None else self.bias(), *self.geometry), (x, weight)

    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        g = g.to(self.dtype, memory_format=torch.channels_last)
        before, weight, _ = aten.convolution_backward(
            g, *saved, None, *self.geometry, [needs_input_gradient, True, False]
        )
        bias = [] if self.bias is None else [g.sum((0, 2, 3), dtype=torch.float32)]
        return before if needs_input_gradient else g, [weight.float(), *bias]


class Flatten(Layer):
    """(B, C, H, W) to (B, C H W) or, channels last, to (B, H W C)."""

    frees = None

    def __init__(self, *, last: bool) -> None:
        self.last = last

    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        return (x.permute(0, 2, 3, 1) if self.last else x).flatten(1), x.shape

    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        if not self.last:
            return g.view(saved), []
        batch, channels, height, width = saved
        return g.view(batch, height, width, channels).permute(0, 3, 1, 2), []


class Unflatten(Layer):
    """(B, C H W) to (B, C, ...) or, where they come channels last, (B, H W C) to (B, C, H, W)."""

    frees = None

    def __init__(self, shape: tuple[int, ...], *, last: bool) -> None:
        self.shape = shape
        self.last = last

    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        if not self.last:
            return x.view(-1, *self.shape), x.shape
        channels, height, width = self.shape
        return x.view(-1, height, width, channels).permute(0, 3, 1, 2), x.shape

    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        return (g.permute(0, 2, 3, 1) if self.last else g).reshape(saved), []


class Activation(Layer):
    """A nonlinearity, written over its input where that is free and its output is enough for the way back."""

    frees = False  # it is kept

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.value, self.slope, self.in_place = ACTIVATIONS[type(layer)]

    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        if not self.in_place:
            return self.value(self.layer, x), x
        y = self.value(self.layer, x if free else x.clone())
        return y, y.detach()

    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        return self.slope(self.layer, g.to(saved.dtype), saved), []


Value = Callable[[Any, Tensor], Tensor]
Slope = Callable[[Any, Tensor, Tensor], Tensor]

ACTIVATIONS: dict[type[nn.Module], tuple[Value, Slope, bool]] = {
    # the value; its slope times g, from the output where the value was written in place and else from the input
    nn.ReLU: (lambda _, x: x.relu_(), lambda _, g, y: aten.threshold_backward(g, y, 0), True),
    nn.Tanh: (lambda _, x: x.tanh_(), lambda _, g, y: aten.tanh_backward(g, y), True),
    nn.Sigmoid: (lambda _, x: x.sigmoid_(), lambda _, g, y: aten.sigmoid_backward(g, y), True),
    nn.ELU: (
        lambda layer, x: F.elu_(x, layer.alpha),
        lambda layer, g, y: aten.elu_backward(g, layer.alpha, 1, 1, True, y),
        True,
    ),
    nn.LeakyReLU: (
        lambda layer, x: F.leaky_relu(x, layer.negative_slope),
        lambda layer, g, x: aten.leaky_relu_backward(g, x, layer.negative_slope, False),
        False,
    ),
    nn.GELU: (lambda _, x: F.gelu(x), lambda _, g, x: aten.gelu_backward(g, x), False),
    nn.SiLU: (lambda _, x: F.silu(x), lambda _, g, x: aten.silu_backward(g, x), False),
    nn.Softplus: (
        lambda layer, x: F.softplus(x, layer.beta, layer.threshold),
        lambda layer, g, x: aten.softplus_backward(g, x, layer.beta, layer.threshold),
        False,
    ),
}
