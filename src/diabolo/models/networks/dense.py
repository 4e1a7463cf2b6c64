"""Fully connected networks, and a plain `Sequential` cut in two."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from typing import Self

from torch import nn

from diabolo._border import checked
from diabolo.config import check_choices, require
from diabolo.errors import ConfigError
from diabolo.models.networks._affine_path import AffinePath
from diabolo.models.networks._base import (
    ACTIVATIONS,
    Activation,
    HiddenActivation,
    Init,
    Network,
    Normed,
    Shape,
    Start,
    check_start,
    dense,
    finished,
    initialized,
)

__all__ = ["MLP", "Bottleneck", "Linear", "split"]

MOST_WEIGHTS = 2**25  # of the first layer, where its width is left to the data


class Linear(Network):
    """One affine layer each way: with squared error, its codes span the principal components' plane.

    Args:
        bias: whether layers have one.
        start: `pca` starts as the principal components of the training examples, `random` with torch's own weights,
            `mean` likewise, but with the output for the mean of the training examples as the decoder's bias.

    >>> encoder, decoder = Linear().build((1, 8, 8), features=2, latent_dim=2, channels=1)
    >>> [type(layer).__name__ for layer in encoder]
    ['Flatten', 'Linear']
    """

    def __init__(self, *, bias: bool = True, start: Start = "pca") -> None:
        self.bias = bias
        self.start: Start = start
        check_choices(self)
        check_start(start, bias)

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        return MLP(widths=(), bias=self.bias, start="random").build(shape, features, latent_dim, channels)


class MLP(Network):
    """Fully connected layers; the decoder mirrors the encoder.

    Args:
        widths: hidden units of each layer of the encoder, from the data to the latent code; when left out, 16 for each
            value of an example, rounded up to a power of 2, from 64 to 512, and half as many; fewer where an example
            has more than 65,536 values.
        activation: the nonlinearity of the hidden layers; `gated` is A(x) sigmoid(B(x)), of two layers in one.
        code_activation: a nonlinearity on the code itself.
        bias: whether layers have one.
        spectral: whose layers are divided by their spectral norm, so that none stretches its input: those of none, of
            the decoder, or of both.
        init: how weights start: torch's own default, `glorot` uniform as in Keras, `he` normal or `he-uniform`, for
            ReLU, or `normal`, N(0, 1); all but the first with zero biases.
        start: `pca` puts an affine map beside the layers of each side, and starts as the principal components of the
            training examples; `random` has the layers alone, as always with a code_activation; `mean` likewise, but
            with the output for the mean of the training examples as the decoder's last bias.

    >>> encoder, decoder = MLP(widths=(16,), start="random").build((1, 8, 8), features=4, latent_dim=2, channels=1)
    >>> [type(layer).__name__ for layer in encoder]
    ['Flatten', 'Linear', 'ReLU', 'Linear']
    """

    def __init__(
        self,
        *,
        widths: tuple[int, ...] | None = None,
        activation: HiddenActivation = "relu",
        code_activation: Activation = "linear",
        bias: bool = True,
        spectral: Normed = "none",
        init: Init = "torch",
        start: Start = "pca",
    ) -> None:
        fits = widths is None or all(width >= 1 for width in widths)
        require(fits, "widths", "numbers of units of at least 1", widths)
        self.widths = None if widths is None else tuple(widths)
        self.activation = activation
        self.code_activation = code_activation
        self.bias = bias
        self.spectral = spectral
        self.init = init
        self.start: Start = start
        check_choices(self)
        check_start(start, bias, spectral)

    def settled(self, shape: Shape) -> Self:
        if self.widths is not None:
            return self
        plan = copy.copy(self)
        values = math.prod(shape)
        most = 1 << max((MOST_WEIGHTS // values).bit_length() - 1, 5)
        first = min(512, most, max(64, 1 << (16 * values - 1).bit_length()))
        plan.widths = (first, max(32, first // 2))
        return plan

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        widths = self.settled(shape).widths or ()
        if self.code_activation != "linear" and features != latent_dim:
            raise ConfigError(
                f"code_activation={self.code_activation!r} is for codes that are points; this model's code is a "
                "distribution, whose mean and variance must be free. Leave code_activation at 'linear'."
            )
        output = (channels, *shape[1:])
        encoder = [nn.Flatten(), *dense((math.prod(shape), *widths, features), self.activation, bias=self.bias)]
        if self.code_activation != "linear":
            encoder.append(ACTIVATIONS[self.code_activation]())
        decoder = dense((latent_dim, *reversed(widths), math.prod(output)), self.activation, bias=self.bias)
        pair = nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Unflatten(1, output))
        if self.start != "pca" or self.code_activation != "linear" or not widths:
            return finished(pair, self.init, self.spectral)
        initialized(pair, self.init)
        return AffinePath(pair[0], shape, (features,)), AffinePath(pair[1], (latent_dim,), output)


class Bottleneck(Network):
    """One plain `Sequential` through a layer named `bottleneck`, cut there: nothing but the data's size is mirrored.

    Args:
        widths: hidden units before the bottleneck.
        decoder_widths: hidden units behind it.
        activation: the nonlinearity of every layer but the last, the bottleneck included; `linear` for none.
        init: how weights start, as for `mlp`.

    >>> encoder, decoder = Bottleneck(widths=(16,)).build((1, 8, 8), features=2, latent_dim=2, channels=1)
    >>> sum(weight.numel() for weight in encoder.parameters())  # 64 * 16 + 16 + 16 * 2 + 2
    1074
    """

    def __init__(
        self,
        *,
        widths: tuple[int, ...] = (256,),
        decoder_widths: tuple[int, ...] = (),
        activation: Activation = "relu",
        init: Init = "torch",
    ) -> None:
        require(all(width >= 1 for width in widths), "widths", "numbers of units of at least 1", widths)
        require(
            all(width >= 1 for width in decoder_widths),
            "decoder_widths",
            "numbers of units of at least 1",
            decoder_widths,
        )
        self.widths = tuple(widths)
        self.decoder_widths = tuple(decoder_widths)
        self.activation = activation
        self.init = init
        check_choices(self)

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        if features != latent_dim:
            raise ConfigError(
                "The network 'bottleneck' passes its code straight on: it is for codes that are points; this model's "
                "code is a distribution. Use the network 'mlp'."
            )
        output = (channels, *shape[1:])
        act = ACTIVATIONS[self.activation]
        before = dense((math.prod(shape), *self.widths, latent_dim), self.activation)
        after = dense((latent_dim, *self.decoder_widths, math.prod(output)), self.activation)
        layers = {"flatten": nn.Flatten(), "hidden": nn.Sequential(*before[:-1])}
        layers |= {"bottleneck": nn.Sequential(before[-1], act()), "output": nn.Sequential(*after)}
        whole = nn.Sequential(OrderedDict(layers | {"unflatten": nn.Unflatten(1, output)}))
        return initialized(split(whole, at="bottleneck"), self.init)


@checked
def split(sequential: nn.Sequential, at: str) -> tuple[nn.Module, nn.Module]:
    """Cuts a `Sequential` behind the layer named `at`: an encoder and a decoder that share its weights.

    Training the halves trains the whole, and the other way round. The activation that belongs to the named layer
    should carry its name: `("bottleneck", nn.Sequential(nn.Linear(256, 128), nn.ReLU()))`.

    Raises:
        ConfigError: there is no layer of that name, or nothing would be left behind it.

    >>> from collections import OrderedDict
    >>> layers = OrderedDict(wide=nn.Linear(9, 4), bottleneck=nn.Linear(4, 2), out=nn.Linear(2, 9))
    >>> encoder, decoder = split(nn.Sequential(layers), at="bottleneck")
    >>> len(encoder), len(decoder)
    (2, 1)
    """
    names = [name for name, _ in sequential.named_children()]
    if at not in names:
        raise ConfigError(f"There is no layer named {at!r} to split at. The layers are: {', '.join(names)}.")
    cut = names.index(at) + 1
    if cut == len(names):
        raise ConfigError(f"The layer {at!r} is the last one: nothing would be left to decode with.")
    return sequential[:cut], sequential[cut:]
