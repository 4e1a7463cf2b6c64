"""Convolutions to very few channels, as products of matrices.

Of a 3 x 3 convolution from 32 channels to one a processor's convolution kernels reach 2 to 5% of their speed. One
product gives what each of the nine taps adds to each place, and the nine shifted maps are summed; on the way back of a
plain convolution it is the other way round (im2col and col2im: Chellapilla, Puri, Simard 2006, High performance
convolutional neural networks for document processing).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from diabolo.models.fused._layers import Convolution, Gradients, Layer, Weights, parameters_of, rows
from diabolo.models.fused._products import product

__all__ = ["ThinOutput", "is_thin_output"]

THIN = 4  # channels: below, a convolution is a matter of memory rather than of arithmetic

Pair = tuple[int, int]


def is_thin_output(layer: nn.Module) -> bool:
    """Whether it is a convolution, plain with stride 1 or transposed, from many channels to few."""
    if type(layer) is nn.Conv2d:
        narrow = all(padding < side for padding, side in zip(_pair(layer.padding), layer.kernel_size, strict=True))
        fits = layer.stride == (1, 1) and narrow
        return fits and _is_plain(layer) and layer.out_channels <= THIN < layer.in_channels
    return type(layer) is nn.ConvTranspose2d and _is_plain(layer) and layer.out_channels <= THIN < layer.in_channels


def _is_plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return layer.groups == 1 and layer.dilation == (1, 1)


class _Geometry:
    """Where the taps of a kernel fall: along each side, tap i of place h at i + h stride - padding."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Pair) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def gather(self, x: Tensor, size: Pair) -> Tensor:
        """Images (B, c, H, W) as seen by each tap from each place of a map of `size`: (c k k, B h w)."""
        batch, channels, *sides = x.shape
        high, wide = self._padded((sides[0], sides[1]), size)
        top, left = self.padding
        padded = x.new_zeros(channels, batch, high, wide)
        padded[:, :, top : top + sides[0], left : left + sides[1]] = x.transpose(0, 1)
        strides = (
            padded.stride(0), wide, 1, padded.stride(1), wide * self.stride[0], self.stride[1]
        )  # fmt: skip
        taps_at_places = padded.as_strided((channels, *self.kernel, batch, *size), strides)
        return taps_at_places.reshape(channels * self.kernel[0] * self.kernel[1], -1)

    def scatter(self, taps_at_places: Tensor, batch: int, size: Pair, sides: Pair) -> Tensor:
        """The other way: what each tap gives to each place, (c k k, B h w), summed to images (B, c, H, W), float32."""
        planes = taps_at_places.view(-1, *self.kernel, batch, *size)
        high, wide = self._padded(sides, size)
        sums = torch.zeros(len(planes), batch, high, wide, device=taps_at_places.device)
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                down = slice(i, i + (size[0] - 1) * self.stride[0] + 1, self.stride[0])
                along = slice(j, j + (size[1] - 1) * self.stride[1] + 1, self.stride[1])
                sums[:, :, down, along].add_(planes[:, i, j])  # += would copy the sums onto themselves
        top, left = self.padding
        return sums[:, :, top : top + sides[0], left : left + sides[1]].transpose(0, 1)

    def _padded(self, sides: Pair, size: Pair) -> Pair:
        """The sides of an image with its padding, large enough for every tap."""
        both = zip(sides, size, self.kernel, self.stride, self.padding, strict=True)
        high, wide = (
            max(padding + side, (places - 1) * stride + kernel) for side, places, kernel, stride, padding in both
        )
        return high, wide


def _pair(value: Any) -> Pair:
    return int(value[0]), int(value[1])


class ThinOutput(Layer):
    """A convolution to few channels, plain (as a transposed one with the kernel turned round) or transposed.

    The way back of a transposed one is a convolution from few channels, of which the kernels are no slower.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.layer = layer
        kernel, padding = _pair(layer.kernel_size), _pair(layer.padding)
        self.turned = isinstance(layer, nn.Conv2d)
        if self.turned:
            padding = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
        self.geometry = _Geometry(kernel, _pair(layer.stride), padding)
        self.weight = Weights(layer.weight, dtype, self._arranged)
        self.back = Convolution(layer, dtype)
        self.parameters = parameters_of(layer)

    def _arranged(self, weight: Tensor) -> Tensor:
        """(c k k, C)."""
        taps = weight.flip(2, 3).permute(0, 2, 3, 1) if self.turned else weight.permute(1, 2, 3, 0)
        return taps.reshape(-1, taps.shape[-1])

    def _sides(self, size: Pair) -> Pair:
        """The sides of the output: what is given, the padding taken off and the output's own padding put on."""
        extra = (0, 0) if self.turned else _pair(self.layer.output_padding)
        parts = zip(size, self.geometry.kernel, self.geometry.stride, self.geometry.padding, extra, strict=True)
        high, wide = (
            (side - 1) * stride - 2 * padding + kernel + more for side, kernel, stride, padding, more in parts
        )
        return high, wide

    def forward(self, x: Tensor, free: bool) -> tuple[Tensor, Any]:
        size = _pair(x.shape[2:])
        x = x.to(self.dtype, memory_format=torch.channels_last)
        maps, weight = rows(x), self.weight()
        y = self.geometry.scatter(product(weight, maps.t()), len(x), size, self._sides(size))
        if self.layer.bias is not None:
            y = y + self.layer.bias.detach()[:, None, None]
        return y, (maps, weight, size) if self.turned else (x, self.back.weight())

    def answer(self, x: Tensor, free: bool) -> Tensor:
        if x.shape[0] > 1:
            return super().answer(x, free)
        return self.layer(x.to(self.layer.weight.dtype))  # type: ignore[no-any-return]  # too small to be slow

    def backward(self, g: Tensor, saved: Any, needs_input_gradient: bool) -> tuple[Tensor, Gradients]:
        if not self.turned:
            return self.back.backward(g, saved, needs_input_gradient)
        maps, used, size = saved
        taps_at_places = self.geometry.gather(g.to(self.dtype), size)
        taps = product(taps_at_places, maps).float().view(g.shape[1], *self.geometry.kernel, -1)
        weight = taps.permute(0, 3, 1, 2).flip(2, 3)
        bias = [] if self.layer.bias is None else [g.sum((0, 2, 3), dtype=torch.float32)]
        before = g
        if needs_input_gradient:
            before = product(taps_at_places.t(), used).view(len(g), *size, -1).permute(0, 3, 1, 2)
        return before, [weight, *bias]
