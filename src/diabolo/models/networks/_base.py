"""What every network shares: the plan of an encoder and its decoder, activations, and layers for any number of axes."""

from __future__ import annotations

import functools
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, Self

from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import ConfigError, ShapeError
from diabolo.models.networks._spectral import Spectral

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Enlarge",
    "HiddenActivation",
    "Init",
    "Network",
    "Normed",
    "Shape",
    "Start",
    "activated",
    "activation_of",
    "check_modules",
    "check_start",
    "convolution",
    "dense",
    "enlargement",
    "finished",
    "initialized",
    "require_even_strides",
    "require_spatial",
    "sizes_after",
]

Shape = tuple[int, ...]
Activation = Literal["relu", "tanh", "sigmoid", "elu", "gelu", "silu", "leaky-relu", "softplus", "linear"]
HiddenActivation = Literal[Activation, "gated"]
Init = Literal["torch", "glorot", "he", "he-uniform", "normal"]
Start = Literal["pca", "random", "mean"]
Normed = Literal["none", "decoder", "both"]
Enlarge = Literal["resize", "transposed"]
CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip
LAYERS_WITH_WEIGHTS = (nn.Linear, *CONVOLUTIONS)
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
        start: whether the two start as the data's principal components, with random weights, or with random weights
            about the data's mean: the bias behind the decoder's last weights is then the output for it. Likewise
            about its geometric median.
    """

    start: Start | Literal["median"] = "random"

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


def check_start(start: Start, bias: bool, spectral: Normed = "none") -> None:
    """Raises ConfigError where a start needs what the layers do not have.

    Args:
        start: where the two start.
        bias: whether layers have one.
        spectral: whose layers have a spectral norm of 1.
    """
    if start != "random" and not bias:
        raise ConfigError(
            f"start={start!r} puts the mean of the data into a bias, and with bias=False there is none: take "
            "start='random'."
        )
    if start == "pca" and spectral != "none":
        raise ConfigError(
            f"start='pca' puts an affine map of any size beside the layers, which spectral={spectral!r} should bound: "
            "take start='random', or 'mean'."
        )


def require_even_strides(kernel: int, strides: Shape) -> None:
    """Raises ConfigError where an even kernel cannot be undone: it takes even strides of no more than its side."""
    fits = kernel % 2 == 1 or all(stride % 2 == 0 and stride <= kernel for stride in strides)
    require(fits, "strides", f"even numbers up to {kernel}, as kernel is even", strides)


def _padding(kernel: int, stride: int) -> int:
    """Zeros at each side: those of an even kernel leave floor(size / stride) places, of an odd one ceil."""
    return kernel // 2 if kernel % 2 else (kernel - stride) // 2


def convolution(spatial: int, inner: int, outer: int, kernel: int, stride: int, *, bias: bool = True) -> nn.Module:
    """A convolution that keeps the size at stride 1 and gives ceil(size / stride), or floor if its kernel is even."""
    layer: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]
    made: nn.Module = layer(inner, outer, kernel, stride=stride, padding=_padding(kernel, stride), bias=bias)
    return made


def enlargement(
    inner: int,
    outer: int,
    kernel: int,
    stride: int,
    small: Shape,
    large: Shape,
    how: Enlarge = "transposed",
    *,
    bias: bool = True,
) -> list[nn.Module]:
    """The layers that take maps of size `small` to exactly `large`.

    A transposed convolution whose kernel the stride does not divide reaches some values more often than others, and
    draws a grid (Odena et al. 2016, https://doi.org/10.23915/distill.00003); a convolution of repeated values does not.
    """
    if how == "resize":
        return [nn.Upsample(size=large), convolution(len(small), inner, outer, kernel, 1, bias=bias)]
    layer: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(small) - 1]
    padding = _padding(kernel, stride)
    missing = tuple(to - ((size - 1) * stride - 2 * padding + kernel) for size, to in zip(small, large, strict=True))
    return [layer(inner, outer, kernel, stride=stride, padding=padding, output_padding=missing, bias=bias)]


def activation_of(name: str) -> nn.Module:
    """The nonlinearity behind an affine layer: no module works in place, so that hooks of every kind may be added.

    `gated` multiplies one half of the features, or channels, by the sigmoid of the other: see `activated`.
    """
    return nn.GLU(dim=1) if name == "gated" else ACTIVATIONS[name]()


def activated(outer: int, activation: str) -> int:
    """How many outputs a layer needs for `outer` behind its activation.

    Of a gated one twice as many: A(x) sigmoid(B(x)), with A and B in one layer (Dauphin et al. 2017,
    https://arxiv.org/abs/1612.08083).
    """
    return 2 * outer if activation == "gated" else outer


def dense(widths: Shape, activation: str, *, bias: bool = True, ends_active: bool = False) -> list[nn.Module]:
    """Affine layers through `widths`, with the activation between them and, where it `ends_active`, behind the last."""
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(itertools.pairwise(widths), 2):
        is_active = ends_active or number < len(widths)
        layers.append(nn.Linear(inner, activated(outer, activation) if is_active else outer, bias=bias))
        layers += [activation_of(activation)] if is_active else []
    return layers


def finished(pair: tuple[nn.Sequential, nn.Sequential], init: Init, spectral: Normed) -> tuple[nn.Module, nn.Module]:
    """The two modules with the weights that training starts from, and with spectral norms of 1 where these are wanted.

    Args:
        pair: the encoder and the decoder, as torch makes them.
        init: see `initialized`.
        spectral: whose layers.
    """
    encoder, decoder = initialized(pair, init)
    if spectral == "both":
        encoder = _normed(pair[0])
    return encoder, decoder if spectral == "none" else _normed(pair[1])


def _normed(layers: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(*(Spectral(layer) if isinstance(layer, LAYERS_WITH_WEIGHTS) else layer for layer in layers))


def initialized(pair: tuple[nn.Module, nn.Module], init: Init) -> tuple[nn.Module, nn.Module]:
    """The two modules with the weights that training starts from, drawn from torch's global generator.

    Args:
        pair: the encoder and the decoder, as torch makes them.
        init: `torch` leaves them; `glorot` is uniform by fan-in and fan-out (Glorot, Bengio 2010,
            https://proceedings.mlr.press/v9/glorot10a.html), `he` N(0, 2 / fan-in) (He et al. 2015,
            https://arxiv.org/abs/1502.01852), `he-uniform` uniform with that variance, `normal` N(0, 1); all with zero
            biases.
    """
    if init != "torch":
        draw = DRAWS[init]
        for layer in (layer for module in pair for layer in module.modules()):
            if isinstance(layer, LAYERS_WITH_WEIGHTS):
                draw(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return pair


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "glorot": nn.init.xavier_uniform_,
    "he": functools.partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "he-uniform": functools.partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "normal": nn.init.normal_,
}


def sizes_after(size: Shape, strides: Shape, kernel: int = 3) -> list[Shape]:
    """The size before the first layer and after each, odd ones rounded up, and down where the kernel is even.

    Raises:
        ShapeError: nothing would be left.
    """
    sizes = [size]
    for stride in strides:
        sizes.append(tuple(math.ceil(side / stride) if kernel % 2 else side // stride for side in sizes[-1]))
    if 0 in sizes[-1]:
        raise ShapeError(
            f"Of maps of {' x '.join(map(str, size))} nothing is left after {len(strides)} convolutions with strides "
            f"{strides} and the even kernel {kernel}: take fewer (channels), or an odd kernel, which rounds up."
        )
    return sizes


def check_modules(modules: tuple[Any, ...]) -> None:
    """Raises a ConfigError unless these are an encoder and a decoder, two modules that are made.

    >>> check_modules((nn.Flatten(), nn.Linear))
    Traceback (most recent call last):
    diabolo.errors.ConfigError: The network should be a pair of torch.nn.Module, (encoder, decoder), and is ...
    """
    if len(modules) != 2 or not all(isinstance(module, nn.Module) for module in modules):
        given = ", ".join(
            f"the class {one.__qualname__}" if isinstance(one, type) else f"an object of {type(one).__qualname__}"
            for one in modules
        )
        raise ConfigError(f"The network should be a pair of torch.nn.Module, (encoder, decoder), and is ({given}).")
