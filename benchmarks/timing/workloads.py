"""The three networks, the batches and conditions at which they race, and the arithmetic that they cost."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["CONFIGURATIONS", "WORKLOADS", "Configuration", "Layer", "Workload", "data", "flops", "multiplications"]

IMAGES = 59_904  # 117 batches of 512, 468 of 128: no peer meets a batch of another size
FEW = 1_280  # for convolutions: 10 batches of 128, 80 of 16


@dataclass(frozen=True)
class Layer:
    """An affine layer (`dense`), a convolution (`conv`) or a transposed one (`transposed`), all convolutions 3 x 3.

    Args:
        kind: dense, conv or transposed.
        inner: inputs or input channels.
        outer: outputs or output channels.
        side: of the square map that goes in; 0 for dense.
        stride: of the convolution.
    """

    kind: str
    inner: int
    outer: int
    side: int = 0
    stride: int = 1

    @property
    def multiplications(self) -> int:
        """Multiplications of one example on its way forward, those with padding included."""
        if self.kind == "dense":
            return self.inner * self.outer
        # A convolution does 9 for each output value, a transposed one 9 for each input value.
        places = self.side if self.kind == "transposed" else self.side // self.stride
        return 9 * self.inner * self.outer * places**2


def dense(*widths: int) -> tuple[Layer, ...]:
    """Affine layers through `widths`."""
    return tuple(Layer("dense", inner, outer) for inner, outer in itertools.pairwise(widths))


@dataclass(frozen=True)
class Workload:
    """A network, as one of diabolo's recipes has it.

    Args:
        name: W1, W2 or W3.
        title: what it is.
        recipe: of diabolo.
        kind: autoencoder or vae.
        network: mlp or conv.
        widths: of the hidden layers of an mlp's encoder.
        latent_dim: of the code.
        beta: weight of the KL; 0 for an autoencoder.
        optimizer: adam or rmsprop (beta2 0.9), at a rate of 1e-3.
        parameters: numbers that are learned, which each peer checks.
        layers: in order.
    """

    name: str
    title: str
    recipe: str
    kind: str
    network: str
    widths: tuple[int, ...]
    latent_dim: int
    beta: float
    optimizer: str
    parameters: int
    layers: tuple[Layer, ...]

    def job(self) -> dict[str, Any]:
        """What a peer is told."""
        return {key: value for key, value in asdict(self).items() if key != "layers"}


WORKLOADS = {
    "W1": Workload(
        "W1", "autoencoder 784-256-128-20, Bernoulli, Adam", "fashion-ae", "autoencoder", "mlp",
        (256, 128), 20, 0.0, "adam", 473_636, dense(784, 256, 128, 20, 128, 256, 784),
    ),
    "W2": Workload(
        "W2", "VAE 784-128-20, Bernoulli, Adam", "fashion-vae", "vae", "mlp",
        (128,), 20, 1.0, "adam", 209_464, dense(784, 128, 40) + dense(20, 128, 784),
    ),
    "W3": Workload(
        "W3", "convolutional VAE with a code of 2 numbers, 550,629 parameters, RMSprop", "mnist-vae-conv", "vae",
        "conv", (), 2, 784 * 5e-4, "rmsprop", 550_629,
        (
            Layer("conv", 1, 32, 28),
            Layer("conv", 32, 64, 28, 2),
            Layer("conv", 64, 64, 14),
            Layer("conv", 64, 64, 14),
            *dense(12_544, 32, 4),
            *dense(2, 12_544),
            Layer("transposed", 64, 32, 14, 2),
            Layer("conv", 32, 1, 28),
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Configuration:
    """A workload at one batch size; `main` ones race under every condition, others with all cores on an idle machine.

    Args:
        workload: its name.
        batch: examples in a step.
        images: examples in an epoch.
        main: whether it races under every condition.
    """

    workload: str
    batch: int
    images: int
    main: bool

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.workload}, batch {self.batch}"


CONFIGURATIONS = (
    Configuration("W1", 512, IMAGES, True),
    Configuration("W1", 128, IMAGES, False),
    Configuration("W2", 512, IMAGES, True),
    Configuration("W2", 128, IMAGES, False),
    Configuration("W3", 128, FEW, True),
    Configuration("W3", 16, FEW, False),
)


def multiplications(layers: tuple[Layer, ...]) -> int:
    """Multiplications of one example, forward and backward: each layer thrice, the first twice.

    Backward a layer costs as much for its input's gradient as for its weights', and the first one's input needs none.
    """
    return 3 * sum(layer.multiplications for layer in layers) - layers[0].multiplications


def flops(layers: tuple[Layer, ...]) -> int:
    """Floating-point operations of one example, forward and backward: a multiplication and an addition each."""
    return 2 * multiplications(layers)


def data() -> tuple[np.ndarray, str]:
    """At least 59,904 images of 28 x 28, uint8, and what they are."""
    from diabolo.datasets import open_dataset
    from diabolo.errors import DiaboloError

    try:
        return open_dataset("mnist").x[:60_000], "MNIST, the training images"
    except DiaboloError:
        digits = (open_dataset("digits").x * 255).astype(np.uint8)
        large = np.pad(digits.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        return np.tile(large, (34, 1, 1))[:60_000], "embedded digits, enlarged and tiled (MNIST was not there)"
