"""What every network shares: the plan of an encoder and its decoder, activations, and layers for any number of axes."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from typing import Any, Literal, Self

from torch import nn

from diabolo.errors import ShapeError

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Enlarge",
    "Init",
    "Network",
    "Shape",
    "Start",
    "activation_of",
    "convolution",
    "dense",
    "enlargement",
    "initialized",
    "require_spatial",
    "sizes_after",
]

Shape = tuple[int, ...]
Activation = Literal["relu", "tanh", "sigmoid", "elu", "gelu", "silu", "leaky-relu", "softplus", "linear"]
Init = Literal["torch", "glorot", "normal"]
Start = Literal["pca", "random"]
Enlarge = Literal["resize", "transposed"]
LAYERS_WITH_WEIGHTS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky-relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "linear": nn.Identity,
}


class Network(ABC):
    """The plan of an encoder and its decoder.

    Attributes:
        start: whether the two start as the data's principal components, or with random weights.
    """

    start: Start = "random"

    def settled(self, shape: Shape) -> Self:
        """The plan with sizes in the place of those that were left to the size of the data.

        Args:
            shape: one example as the model sees it.
        """
        return self

    def code_shape(self, shape: Shape, latent_dim: int) -> Shape:
        """The shape of a latent code: (d,), or (d, h, w) where it has places.

        Args:
            shape: one example as the model sees it; the plan is settled for it.
            latent_dim: d.
        """
        return (latent_dim,)

    @abstractmethod
    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        """Makes the two modules.

        Args:
            shape: what the encoder is given: (F,), (C, L) or (C, H, W).
            features: how many numbers the encoder gives: the code's dimensions times the width of its distribution; at
                each place, where the code has places. It gives them as one row.
            latent_dim: how many numbers the decoder takes, likewise: d, and what is added to a code.
            channels: how many channels (or features) the decoder gives.
        """


def require_spatial(shape: Shape, name: str) -> None:
    """Raises ShapeError unless the shape is (C, L), (C, H, W) or (C, D, H, W)."""
    if len(shape) not in (2, 3, 4):
        raise ShapeError(
            f"The network {name!r} needs signals or images, (C, L) or (C, H, W), and an example has the shape {shape}. "
            "Use the network 'mlp', or give the layout of the data."
        )


def convolution(spatial: int, inner: int, outer: int, kernel: int, stride: int) -> nn.Module:
    """A convolution that keeps the size at stride 1 and gives ceil(size / stride) otherwise."""
    layer: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]
    made: nn.Module = layer(inner, outer, kernel, stride=stride, padding=kernel // 2)
    return made


def enlargement(
    inner: int, outer: int, kernel: int, stride: int, small: Shape, large: Shape, how: Enlarge = "transposed"
) -> list[nn.Module]:
    """The layers that take maps of size `small` to exactly `large`.

    A transposed convolution whose kernel the stride does not divide reaches some values more often than others, and
    draws a grid (Odena et al. 2016, https://doi.org/10.23915/distill.00003); a convolution of repeated values does not.
    """
    if how == "resize":
        return [nn.Upsample(size=large), convolution(len(small), inner, outer, kernel, 1)]
    layer: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(small) - 1]
    padding = kernel // 2
    missing = tuple(to - ((size - 1) * stride - 2 * padding + kernel) for size, to in zip(small, large, strict=True))
    return [layer(inner, outer, kernel, stride=stride, padding=padding, output_padding=missing)]


def activation_of(name: str) -> nn.Module:
    """The nonlinearity behind an affine layer: no module works in place, so that hooks of every kind may be added."""
    return ACTIVATIONS[name]()


def dense(widths: Shape, activation: str) -> list[nn.Module]:
    """Affine layers through `widths`, with the activation between them and not behind the last."""
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [nn.Linear(inner, outer), activation_of(activation)]
    return layers[:-1]


def initialized(pair: tuple[nn.Module, nn.Module], init: Init) -> tuple[nn.Module, nn.Module]:
    """The two modules with the weights that training starts from, drawn from torch's global generator.

    Args:
        pair: the encoder and the decoder, as torch makes them.
        init: `torch` leaves them; `glorot` is uniform by fan-in and fan-out (Glorot, Bengio 2010,
            https://proceedings.mlr.press/v9/glorot10a.html) and `normal` is N(0, 1), both with zero biases.
    """
    if init != "torch":
        draw = nn.init.xavier_uniform_ if init == "glorot" else nn.init.normal_
        for layer in (layer for module in pair for layer in module.modules()):
            if isinstance(layer, LAYERS_WITH_WEIGHTS):
                draw(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return pair


def sizes_after(size: Shape, strides: Shape) -> list[Shape]:
    """The size before the first layer and after each, odd ones rounded up."""
    sizes = [size]
    for stride in strides:
        sizes.append(tuple(math.ceil(side / stride) for side in sizes[-1]))
    return sizes
