"""The residual encoder and decoder of codes that have places: maps of numbers and no rows."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F

from diabolo.models.networks._base import ACTIVATIONS, Shape, convolution, sizes_after
from diabolo.models.networks._residual import Residual, convolution_of_two, patches, whole

__all__ = ["PlacedDecoder", "PlacedEncoder", "places"]


def places(shape: Shape, scales: int, patch: int) -> Shape:
    """The size of the smallest maps: how many places a code has along each axis.

    >>> places((3, 32, 32), scales=3, patch=1)
    (8, 8)
    """
    return sizes_after(shape[1:], (patch, *[2] * (scales - 1)))[-1]


class PlacedEncoder(nn.Module):
    """Residual blocks at each scale, and at the smallest `features` numbers for each place, as one row.

    Args:
        shape: of an example, (C, ...).
        features: numbers for each place.
        channels: at each scale.
        blocks: residual blocks at each scale.
        patch: the side of a patch, whose values are channels of the largest scale.
        activation: the nonlinearity.
    """

    def __init__(self, shape: Shape, features: int, channels: Shape, blocks: int, patch: int, activation: str) -> None:
        super().__init__()
        spatial, act = len(shape) - 1, ACTIVATIONS[activation]
        self.patch = patch
        unit = patch * 2 ** (len(channels) - 1)
        self.padding = [side for size in reversed(shape[1:]) for side in (0, -size % unit)]
        layers: list[nn.Module] = [convolution(spatial, shape[0] * patch**spatial, channels[0], 3, 1)]
        layers += [Residual(spatial, channels[0], act) for _ in range(blocks)]
        for inner, outer in itertools.pairwise(channels):
            layers += [convolution_of_two(spatial, inner, outer)]
            layers += [Residual(spatial, outer, act) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, act(), convolution(spatial, channels[-1], features, 1, 1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, features * places)."""
        if any(self.padding):
            x = F.pad(x, self.padding, mode="replicate")
        y: Tensor = self.layers(patches(x, self.patch))
        return y


class PlacedDecoder(nn.Module):
    """The way back: from numbers at each place to an example.

    Args:
        output: the shape of what it gives, (C, ...).
        latent_dim: numbers at each place.
        channels: at each scale.
        blocks: residual blocks at each scale.
        patch: the side of a patch.
        activation: the nonlinearity.
    """

    def __init__(
        self, output: Shape, latent_dim: int, channels: Shape, blocks: int, patch: int, activation: str
    ) -> None:
        super().__init__()
        spatial, act = len(output) - 1, ACTIVATIONS[activation]
        self.patch, self.size = patch, output[1:]
        small = places(output, len(channels), patch)
        layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, *small))]
        layers += [convolution(spatial, latent_dim, channels[-1], 3, 1)]
        for outer, inner in itertools.pairwise(channels[::-1]):
            layers += [Residual(spatial, outer, act) for _ in range(blocks)]
            layers += [act(), convolution(spatial, outer, inner, 1, 1), nn.Upsample(scale_factor=2)]
        layers += [Residual(spatial, channels[0], act) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, act(), convolution(spatial, channels[0], output[0] * patch**spatial, 3, 1))

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim * places) to (B, C, ...)."""
        y = whole(self.layers(z), self.patch)
        for axis, side in enumerate(self.size, 2):
            y = y.narrow(axis, 0, side)
        return y
