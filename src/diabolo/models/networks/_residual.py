"""Residual blocks, and patches of pixels as channels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from diabolo.models.networks._base import convolution

__all__ = ["Residual", "convolution_of_two", "patch_rows", "patches", "whole"]


class Residual(nn.Module):
    """x + f(x), pre-activation (He et al. 2016, https://arxiv.org/abs/1603.05027).

    The weights of the last convolution start at zero: at first a block adds no more than a bias.

    >>> import torch
    >>> block = Residual(2, 3, nn.SiLU)
    >>> block(torch.ones(1, 3, 4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(self, spatial: int, channels: int, activation: type[nn.Module]) -> None:
        super().__init__()
        first, last = (convolution(spatial, channels, channels, 3, 1) for _ in range(2))
        nn.init.zeros_(last.get_parameter("weight"))
        self.body = nn.Sequential(activation(), first, activation(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        out: Tensor = x + self.body(x)
        return out


def convolution_of_two(spatial: int, inner: int, outer: int) -> nn.Module:
    """A convolution whose kernel is its stride: it halves maps, and treats all values alike."""
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]
    layer: nn.Module = kind(inner, outer, 2, stride=2)
    return layer


def patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, ...) with the values of each patch as channels, (B, C patch^n, ...)."""
    if patch == 1:
        return x
    if x.dim() == 4:
        return F.pixel_unshuffle(x, patch)
    sides = [part for side in x.shape[2:] for part in (side // patch, patch)]
    spatial = x.dim() - 2
    order = [0, 1, *(3 + 2 * axis for axis in range(spatial)), *(2 + 2 * axis for axis in range(spatial))]
    apart = x.reshape(*x.shape[:2], *sides).permute(order)
    return apart.reshape(x.shape[0], -1, *(side // patch for side in x.shape[2:]))


def whole(x: Tensor, patch: int) -> Tensor:
    """The inverse of `patches`."""
    if patch == 1:
        return x
    if x.dim() == 4:
        return F.pixel_shuffle(x, patch)
    spatial = x.dim() - 2
    apart = x.reshape(x.shape[0], -1, *[patch] * spatial, *x.shape[2:])
    order = [0, 1, *(part for axis in range(spatial) for part in (2 + spatial + axis, 2 + axis))]
    return apart.permute(order).reshape(x.shape[0], -1, *(side * patch for side in x.shape[2:]))


def patch_rows(x: Tensor, patch: int) -> Tensor:
    """(B, C, ...) as rows of the values of each patch, (B, places..., C patch^n); what is missing repeats the edge."""
    padding = [side for size in reversed(x.shape[2:]) for side in (0, -size % patch)]
    if any(padding):
        x = F.pad(x, padding, mode="replicate")
    return patches(x, patch).movedim(1, -1)
