"""One affine map from end to end beside the layers of an encoder or a decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from diabolo.models.networks._base import LAYERS_WITH_WEIGHTS, Shape

__all__ = ["AffinePath", "affine_path", "zero_last"]


class AffinePath(nn.Module):
    """f(x) + W x + b: layers, and one affine map beside them.

    The last weights of f start at zero, so that at first there is the affine map alone: see `models.principal`.

    Args:
        layers: f.
        inner: the shape of one input.
        outer: the shape of one output.

    >>> import torch
    >>> path = AffinePath(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), (2, 3), (2,))
    >>> path(torch.ones(4, 2, 3)).shape, path.layers(torch.ones(1, 2, 3)).tolist()
    (torch.Size([4, 2]), [[0.0, 0.0]])
    """

    def __init__(self, layers: nn.Sequential, inner: Shape, outer: Shape) -> None:
        super().__init__()
        self.layers = layers
        self.affine = nn.Linear(math.prod(inner), math.prod(outer))
        self.outer = outer
        zero_last(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *inner) to (B, *outer)."""
        affine = self.affine(x.flatten(1)).view(-1, *self.outer)
        y: Tensor = self.layers(x).float() + affine.float()  # what training adds is small beside the affine map
        return y


def zero_last(layers: nn.Module) -> None:
    """Sets the weights of the last layer that has some to zero, and its bias."""
    for parameter in list(_weighted(layers))[-1].parameters(recurse=False):
        nn.init.zeros_(parameter)


def affine_path(module: nn.Module) -> nn.Linear | None:
    """The affine map from one end of an encoder or a decoder to the other, if it has one; of each patch, for places.

    >>> affine_path(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    Linear(in_features=4, out_features=2, bias=True)
    >>> affine_path(nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2)))
    """
    own = getattr(module, "affine", None)
    if isinstance(own, nn.Linear):
        return own
    layers = list(_weighted(module))
    others = [layer for layer in module.modules() if not list(layer.children())]
    is_affine = all(isinstance(layer, nn.Linear | nn.Flatten | nn.Unflatten) for layer in others)
    return layers[0] if is_affine and len(layers) == 1 and isinstance(layers[0], nn.Linear) else None


def _weighted(module: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in module.modules() if isinstance(layer, LAYERS_WITH_WEIGHTS))
