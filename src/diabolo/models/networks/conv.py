"""Convolutional networks."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Self

from torch import nn

from diabolo.config import check_choices, require
from diabolo.errors import ConfigError
from diabolo.models.networks._affine_path import AffinePath
from diabolo.models.networks._base import (
    Enlarge,
    HiddenActivation,
    Init,
    Network,
    Normed,
    Shape,
    Start,
    activated,
    activation_of,
    check_start,
    convolution,
    dense,
    enlargement,
    finished,
    initialized,
    require_even_strides,
    require_spatial,
    sizes_after,
)
from diabolo.models.networks._patch_path import PatchDecoder, PatchEncoder

__all__ = ["Conv"]

SMALLEST = 8  # the side of the smallest maps, about, where the number of layers is left to the data


class Conv(Network):
    """Convolutions for signals and images of any size; by default the decoder mirrors the encoder exactly.

    Args:
        channels: the channels of each convolution of the encoder; when left out, 32, 64 and then 128 as often as it
            takes to come down to some 8 pixels or steps a side.
        strides: the stride of each; 2 everywhere when left out.
        kernel: the side of every kernel; an even one halves 7 to 3, an odd one to 4, and needs even strides and
            `enlarge=transposed`.
        hidden: units of the fully connected layers between the last convolution and the latent code.
        activation: the nonlinearity of the hidden layers; `gated` is A(x) sigmoid(B(x)), of two layers in one.
        decoder_channels: channels of the decoder's layers before its last, where it is not a mirror.
        decoder_strides: strides of all of the decoder's layers, its last one included.
        decoder_hidden: units of the fully connected layers between the latent code and the decoder's first map.
        bias: whether layers have one.
        spectral: whose layers are divided by their spectral norm: those of none, of the decoder, or of both.
        init: the initial weights: torch's own default, `glorot` uniform as in Keras, `he` normal or `he-uniform`, for
            ReLU, or `normal`, N(0, 1); all but the first with zero biases.
        enlarge: how the decoder's maps grow: `resize` repeats values before a convolution, which draws no grid;
            `transposed` convolutions are the ones of older listings.
        start: `pca` puts an affine map beside the layers of each side, and starts as the principal components of the
            training examples; `random` has the layers alone; `mean` likewise, but with the output for the mean of the
            training examples as the decoder's last bias, one for each channel.
        spatial: codes that have places, (d, h, w), as many as the last convolution's maps have, d numbers at each; then
            no layer is fully connected, and `start=pca` is an affine map of each place's patch, a square of the total
            stride. An even kernel whose maps would be rounded down has no such patches: `pca` is then `random`.

    >>> import torch
    >>> encoder, decoder = Conv(channels=(4, 8)).build((1, 28, 28), features=2, latent_dim=2, channels=1)
    >>> decoder(encoder(torch.zeros(5, 1, 28, 28))).shape
    torch.Size([5, 1, 28, 28])
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        channels: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
        kernel: int = 3,
        hidden: tuple[int, ...] = (256,),
        activation: HiddenActivation = "relu",
        decoder_channels: tuple[int, ...] | None = None,
        decoder_strides: tuple[int, ...] | None = None,
        decoder_hidden: tuple[int, ...] | None = None,
        bias: bool = True,
        spectral: Normed = "none",
        init: Init = "glorot",
        enlarge: Enlarge = "resize",
        start: Start = "pca",
        spatial: bool = False,
    ) -> None:
        require(not channels or min(channels) >= 1, "channels", "numbers of at least 1", channels)
        require(len(strides) in (0, len(channels)), "strides", f"{len(channels)} numbers, as channels is", strides)
        require(not strides or min(strides) >= 1, "strides", "numbers of at least 1", strides)
        require(kernel >= 1, "kernel", "a number of at least 1", kernel)
        require(
            (decoder_channels is None) == (decoder_strides is None)
            and (decoder_channels is None or len(decoder_strides or ()) == len(decoder_channels) + 1),
            "decoder_strides",
            "given with decoder_channels, one longer than it: the last is the output layer's",
            decoder_strides,
        )
        require_even_strides(kernel, strides)
        require_even_strides(kernel, decoder_strides or ())
        require(
            kernel % 2 == 1 or enlarge == "transposed",
            "kernel",
            "odd with enlarge='resize', whose convolutions of stride 1 keep the size of maps (or take "
            "enlarge='transposed')",
            kernel,
        )
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.kernel = kernel
        self.hidden = tuple(hidden)
        self.activation = activation
        self.decoder_channels = decoder_channels
        self.decoder_strides = decoder_strides
        self.decoder_hidden = decoder_hidden
        self.bias = bias
        self.spectral = spectral
        self.init = init
        self.enlarge = enlarge
        self.start: Start = start
        self.spatial = spatial
        check_choices(self)
        check_start(start, bias, spectral)

    def settled(self, shape: Shape) -> Self:
        plan = copy.copy(self)
        layers = max(2, math.ceil(math.log2(max(shape[1:], default=1) / SMALLEST)))
        plan.channels = self.channels or (32, 64, *[128] * (layers - 2))
        plan.strides = self.strides or (2,) * len(plan.channels)
        has_patches = self.kernel % 2 == 1 or all(side % math.prod(plan.strides) == 0 for side in shape[1:])
        plan.start = "random" if self.spatial and self.start == "pca" and not has_patches else self.start
        return plan

    def code_shape(self, shape: Shape, latent_dim: int) -> Shape:
        if not self.spatial:
            return (latent_dim,)
        require_spatial(shape, "conv")
        return (latent_dim, *sizes_after(shape[1:], self.settled(shape).strides, self.kernel)[-1])

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        require_spatial(shape, "conv")
        plan = self.settled(shape)
        inner, strides = plan.channels, plan.strides
        sizes = sizes_after(shape[1:], strides, self.kernel)
        maps = (inner[-1], *sizes[-1])
        encoder = self._encoder(shape, inner, strides)
        decoder: list[nn.Module]
        if self.spatial:
            encoder += [convolution(len(maps) - 1, inner[-1], features, 1, 1, bias=self.bias), nn.Flatten()]
            wide = activated(inner[-1], self.activation)
            decoder = [nn.Unflatten(1, (latent_dim, *maps[1:]))]
            decoder += [convolution(len(maps) - 1, latent_dim, wide, 1, 1, bias=self.bias)]
            decoder += [activation_of(self.activation)]
        else:
            encoder += [
                nn.Flatten(),
                *dense((math.prod(maps), *self.hidden, features), self.activation, bias=self.bias),
            ]
            hidden = self.hidden[::-1] if self.decoder_hidden is None else self.decoder_hidden
            widths = (latent_dim, *hidden, math.prod(maps))
            decoder = dense(widths, self.activation, bias=self.bias, ends_active=True)
            decoder += [nn.Unflatten(1, maps)]
        decoder += self._decoder(inner, channels, strides, sizes)
        pair = nn.Sequential(*encoder), nn.Sequential(*decoder)
        if plan.start != "pca":
            return finished(pair, self.init, self.spectral)
        initialized(pair, self.init)
        if self.spatial:
            side = math.prod(strides)
            return (
                PatchEncoder(pair[0], inner=shape, features=features, patch=side),
                PatchDecoder(pair[1], output=(channels, *shape[1:]), latent_dim=latent_dim, patch=side),
            )
        return AffinePath(pair[0], shape, (features,)), AffinePath(pair[1], (latent_dim,), (channels, *shape[1:]))

    def _encoder(self, shape: Shape, channels: Shape, strides: Shape) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for inner, outer, stride in zip((shape[0], *channels), channels, strides, strict=False):
            wide = activated(outer, self.activation)
            layers.append(convolution(len(shape) - 1, inner, wide, self.kernel, stride, bias=self.bias))
            layers.append(activation_of(self.activation))
        return layers

    def _decoder(self, inside: Shape, channels: int, strides: Shape, sizes: list[Shape]) -> list[nn.Module]:
        """The layers from the encoder's last size back to its first, each enlarging layer to the exact size on the way.

        A stride of 2 maps the sizes 27 and 28 to 14: the way back needs the sizes themselves, not the strides.
        """
        if self.decoder_channels is None or self.decoder_strides is None:
            widths, back = (*inside[-2::-1], channels), strides[::-1]
        else:
            widths, back = (*self.decoder_channels, channels), self.decoder_strides
        steps = [step for step, stride in zip(itertools.pairwise(sizes), strides, strict=True) if stride > 1]
        enlarging = [stride for stride in back if stride > 1]
        if enlarging != [stride for stride in strides if stride > 1][::-1]:
            raise ConfigError(
                f"decoder_strides should undo the encoder's strides {strides} in reverse, and was given {back}."
            )
        layers: list[nn.Module] = []
        for number, (inner, outer, stride) in enumerate(zip((inside[-1], *widths), widths, back, strict=False), 1):
            wide = activated(outer, self.activation) if number < len(widths) else outer
            if stride == 1:
                layers.append(convolution(len(sizes[0]), inner, wide, self.kernel, 1, bias=self.bias))
            else:
                large, small = steps.pop()
                layers += enlargement(inner, wide, self.kernel, stride, small, large, self.enlarge, bias=self.bias)
            layers.append(activation_of(self.activation))
        return layers[:-1]
