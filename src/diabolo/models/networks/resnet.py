"""Residual networks that correct an affine map where the data lie: in the picture, not behind a bottleneck."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.config import check_choices, require
from diabolo.models.networks._base import (
    ACTIVATIONS,
    Activation,
    Network,
    Shape,
    Start,
    convolution,
    require_spatial,
)
from diabolo.models.networks._patch_path import PatchDecoder, PatchEncoder
from diabolo.models.networks._places import PlacedDecoder, PlacedEncoder, places
from diabolo.models.networks._residual import Residual, convolution_of_two, patches, whole

__all__ = ["ResNet", "Residual"]

LEAST_SIDE = 4  # of the smallest maps
MOST_SIDE = 24  # of the largest maps, about: what larger data cost is bounded by it


class ResNet(Network):
    """An affine map each way, and a residual network that corrects it: z = A(x + f(x)), then y = B z and y + g(y, z).

    f and g take the data to the data: residual blocks at several scales, halved and doubled, with what was halved added
    again where it has its size back (Ronneberger et al. 2015, U-Net, https://arxiv.org/abs/1505.04597; He et al. 2016,
    https://arxiv.org/abs/1603.05027). Both give zero at first, so that the model starts as its affine maps.
    Data with more than some 24 values a side are cut into patches, each of which is one place of the largest maps.

    Args:
        channels: the channels at each scale, from the largest maps to the smallest; scales that would be smaller than 4
            values a side are left out. When left out, 24, 48, 96, and 32, 64, 128 for more than 48 pixels or steps a
            side, whose places stand for larger patches.
        blocks: residual blocks at each scale, on the way down and on the way up.
        patch: the side of a patch, a power of 2; by the size of the data when left out.
        activation: the nonlinearity.
        start: `pca` starts as the principal components of the training examples, `random` with torch's own weights,
            `mean` likewise, but with the output for the mean of the training examples as the decoder's bias.
        spatial: codes that have places, (d, h, w), as many as the smallest maps have, d numbers at each; then residual
            blocks take the data to the codes and back, and `pca` puts an affine map of each place's patch beside them,
            which starts as the principal components of patches.

    >>> import torch
    >>> encoder, decoder = ResNet(channels=(4, 8)).build((3, 9, 9), features=2, latent_dim=2, channels=3)
    >>> decoder(encoder(torch.zeros(5, 3, 9, 9))).shape
    torch.Size([5, 3, 9, 9])
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (),
        blocks: int = 1,
        patch: int = 0,
        activation: Activation = "silu",
        start: Start = "pca",
        spatial: bool = False,
    ) -> None:
        require(not channels or min(channels) >= 1, "channels", "numbers of at least 1", channels)
        require(blocks >= 1, "blocks", "a number of at least 1", blocks)
        is_power = patch == 0 or (patch > 0 and patch & (patch - 1) == 0)
        require(is_power, "patch", "a power of 2, or 0 for the size of the data", patch)
        self.channels = tuple(channels)
        self.blocks = blocks
        self.patch = patch
        self.activation = activation
        self.start: Start = start
        self.spatial = spatial
        check_choices(self)

    def settled(self, shape: Shape) -> Self:
        require_spatial(shape, "resnet")
        plan = copy.copy(self)
        plan.patch = self.patch or _patch_for(max(shape[1:]))
        side = math.ceil(min(shape[1:]) / plan.patch)
        usual = (24, 48, 96) if max(shape[1:]) <= 2 * MOST_SIDE else (32, 64, 128)
        plan.channels = (self.channels or usual)[: max(1, (side // LEAST_SIDE).bit_length())]
        return plan

    def code_shape(self, shape: Shape, latent_dim: int) -> Shape:
        if not self.spatial:
            return (latent_dim,)
        settled = self.settled(shape)
        return (latent_dim, *places(shape, len(settled.channels), settled.patch))

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        settled = self.settled(shape)
        output = (channels, *shape[1:])
        plan = (settled.channels, self.blocks, settled.patch, self.activation)
        if self.spatial:
            pair = PlacedEncoder(shape, features, *plan), PlacedDecoder(output, latent_dim, *plan)
            if settled.start != "pca":
                return pair
            side = settled.patch * 2 ** (len(settled.channels) - 1)
            return (
                PatchEncoder(pair[0], inner=shape, features=features, patch=side),
                PatchDecoder(pair[1], output=output, latent_dim=latent_dim, patch=side),
            )
        encoder = Corrected(nn.Linear(math.prod(shape), features), Correction(shape, shape, 0, *plan), before=True)
        decoder = Corrected(
            nn.Linear(latent_dim, math.prod(output)), Correction(output, output, latent_dim, *plan), before=False
        )
        return encoder, decoder


class Corrected(nn.Module):
    """An affine map of data that were corrected before it, or whose output is corrected behind it.

    Args:
        affine: the map.
        correction: what is added to the data.
        before: whether the data are its input.
    """

    def __init__(self, affine: nn.Linear, correction: Correction, *, before: bool) -> None:
        super().__init__()
        self.affine = affine
        self.correction = correction
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) to (B, features), or (B, d) to (B, *shape)."""
        y: Tensor
        if self.before:
            y = self.affine((x + self.correction(x)).flatten(1))
            return y
        y = self.affine(x).view(-1, *self.correction.shape)
        y = y + self.correction(y, x)
        return y


class Correction(nn.Module):
    """A residual network from data to data of the same size that gives zero at first.

    Args:
        shape: of the data that come in, (C, ...).
        output: of the data that go out.
        latent_dim: of the latent code that is added to its smallest maps; 0 for none.
        channels: at each scale.
        blocks: residual blocks at each scale.
        patch: the side of a patch.
        activation: the nonlinearity.
    """

    def __init__(
        self, shape: Shape, output: Shape, latent_dim: int, channels: Shape, blocks: int, patch: int, activation: str
    ) -> None:
        super().__init__()
        size, spatial, act = shape[1:], len(shape) - 1, ACTIVATIONS[activation]
        self.shape = output
        self.patch = patch
        unit = patch * 2 ** (len(channels) - 1)
        self.padding = tuple(-side % unit for side in size)
        padded = tuple((side + more) // unit for side, more in zip(size, self.padding, strict=True))

        def block(width: int) -> list[nn.Module]:
            return [Residual(spatial, width, act) for _ in range(blocks)]

        area = patch**spatial
        self.enter = nn.Sequential(convolution(spatial, shape[0] * area, channels[0], 3, 1), *block(channels[0]))
        self.down = nn.ModuleList(
            nn.Sequential(convolution_of_two(spatial, inner, outer), *block(outer))
            for inner, outer in itertools.pairwise(channels)
        )
        self.up = nn.ModuleList(
            nn.Sequential(*block(outer), act(), convolution(spatial, outer, inner, 1, 1), nn.Upsample(scale_factor=2))
            for inner, outer in itertools.pairwise(channels)
        )
        self.code = nn.Linear(latent_dim, channels[-1] * math.prod(padded)) if latent_dim else None
        leave = convolution(spatial, channels[0], output[0] * area, 3, 1)
        for parameter in leave.parameters():
            nn.init.zeros_(parameter)
        self.leave = nn.Sequential(*block(channels[0]), act(), leave)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, C, ...), and the latent code (B, d) where there is one, to (B, C', ...)."""
        if any(self.padding):
            x = F.pad(x, [side for more in reversed(self.padding) for side in (0, more)], mode="replicate")
        maps = [self.enter(patches(x, self.patch))]
        for layers in self.down:
            maps.append(layers(maps[-1]))
        y = maps.pop()
        if self.code is not None and z is not None:
            y = y + self.code(z).view_as(y)
        for layers in list(self.up)[::-1]:
            y = maps.pop() + layers(y)
        y = whole(self.leave(y), self.patch)
        for axis, side in enumerate(self.shape[1:], 2):
            y = y.narrow(axis, 0, side)
        return y


def _patch_for(side: int) -> int:
    """The smallest power of 2 that leaves at most about 24 patches a side."""
    return 1 << max(0, math.ceil(math.log2(side / MOST_SIDE)))
