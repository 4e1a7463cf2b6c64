"""Residual networks."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from diabolo.config import check_choices, require
from diabolo.models.networks._base import (
    ACTIVATIONS,
    Activation,
    Network,
    Shape,
    convolution,
    dense,
    enlargement,
    require_spatial,
    sizes_after,
)

__all__ = ["ResNet", "Residual"]


class ResNet(Network):
    """Residual blocks at each of several scales, halved by strided convolutions, and their mirror.

    Args:
        channels: the channels at each scale; each one after the first halves the size.
        blocks: residual blocks at each scale.
        hidden: units of the fully connected layers between the last map and the latent code.
        activation: the nonlinearity.

    >>> import torch
    >>> encoder, decoder = ResNet(channels=(4, 8)).build((3, 9, 9), features=2, latent_dim=2, channels=3)
    >>> decoder(encoder(torch.zeros(5, 3, 9, 9))).shape
    torch.Size([5, 3, 9, 9])
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (32, 64, 128),
        blocks: int = 1,
        hidden: tuple[int, ...] = (),
        activation: Activation = "silu",
    ) -> None:
        require(len(channels) >= 1 and min(channels) >= 1, "channels", "one or more numbers of at least 1", channels)
        require(blocks >= 1, "blocks", "a number of at least 1", blocks)
        self.channels = tuple(channels)
        self.blocks = blocks
        self.hidden = tuple(hidden)
        self.activation = activation
        check_choices(self)

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        require_spatial(shape, "resnet")
        spatial, widths, act = len(shape) - 1, self.channels, ACTIVATIONS[self.activation]
        sizes = sizes_after(shape[1:], (1, *[2] * (len(widths) - 1)))
        maps = (widths[-1], *sizes[-1])
        down: list[nn.Module] = [convolution(spatial, shape[0], widths[0], 3, 1), *self._blocks(spatial, widths[0])]
        up: list[nn.Module] = [nn.Unflatten(1, maps), *self._blocks(spatial, widths[-1])]
        for inner, outer in itertools.pairwise(widths):
            down += [convolution(spatial, inner, outer, 3, 2), *self._blocks(spatial, outer)]
        for level in range(len(widths) - 1, 0, -1):
            inner, outer = widths[level], widths[level - 1]
            up += [enlargement(inner, outer, 3, 2, sizes[level + 1], sizes[level]), *self._blocks(spatial, outer)]
        flat = math.prod(maps)
        down += [act(), nn.Flatten(), *dense((flat, *self.hidden, features), self.activation)]
        up = [*dense((latent_dim, *self.hidden[::-1], flat), self.activation), *up]
        up += [act(), convolution(spatial, widths[0], channels, 3, 1)]
        return nn.Sequential(*down), nn.Sequential(*up)

    def _blocks(self, spatial: int, channels: int) -> list[nn.Module]:
        return [Residual(spatial, channels, ACTIVATIONS[self.activation]) for _ in range(self.blocks)]


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
