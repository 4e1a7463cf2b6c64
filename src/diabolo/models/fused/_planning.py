"""From the layers of a module to fused ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from diabolo.models.fused._layers import ACTIVATIONS, Activation, Affine, Convolution, Flatten, Layer, Unflatten
from diabolo.models.fused._thin_convolutions import ThinOutput, is_thin_output

__all__ = ["geometry", "has_known_kind", "is_known", "is_replaced", "plan"]

NARROW, SMALL = 64, 2**14  # an affine layer is small: one side below the first, fewer weights than the second
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_CONVOLVES = ("stride", "padding", "dilation", "output_padding", "groups", "padding_mode")
_TAKEN_OVER: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: _CONVOLVES,
    nn.ConvTranspose2d: _CONVOLVES,
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Unflatten: ("dim", "unflattened_size"),
    nn.GELU: ("approximate",),
}
_KINDS = (*_CONVOLUTIONS, nn.Flatten, nn.Unflatten, nn.Linear, nn.Identity, *ACTIVATIONS)
_FORWARD: dict[type[nn.Module], Any] = {
    kind: cast(Any, kind).forward for kind in (*_KINDS, nn.Sequential)
}  # before anybody patched a class


def is_replaced(module: nn.Module) -> bool:
    """Whether calling a module does more or other than its class once said: hooks, or another `forward`."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(hooks) or "forward" in vars(module) or type(module).forward is not _FORWARD.get(type(module))


def has_known_kind(module: nn.Module) -> bool:
    """Whether a module is of exactly one of the classes that fused layers can compute; a subclass may do anything."""
    return type(module) in _KINDS


def geometry(layer: nn.Module) -> tuple[Any, ...]:
    """The attributes of a layer that are taken over when it is planned."""
    return tuple(getattr(layer, name) for name in _TAKEN_OVER.get(type(layer), ()))


def is_known(layer: nn.Module) -> bool:
    """Whether fused layers can compute it."""
    kind = type(layer)
    if kind not in _KINDS or is_replaced(layer):
        return False
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and layer.weight.dtype != torch.float32:
        return False  # torch says what does not go together
    if kind in _CONVOLUTIONS:
        convolution = cast(nn.Conv2d, layer)
        return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    if isinstance(layer, nn.Flatten):
        return layer.start_dim == 1 and layer.end_dim == -1
    if isinstance(layer, nn.Unflatten):
        return layer.dim == 1 and -1 not in tuple(layer.unflattened_size)
    return not isinstance(layer, nn.GELU) or layer.approximate == "none"


def plan(layers: Sequence[nn.Module], dtype: torch.dtype) -> list[Layer]:
    """The same layers, to be fused, wide ones in `dtype`; between convolutions and affine layers channels are last."""
    layers = [layer for layer in layers if type(layer) is not nn.Identity]
    fused: list[Layer] = []
    channels = flattened = 1  # of the map that the last convolution gave, and of the one just flattened
    unflattened = False  # whether the affine layer before leaves with the channels last
    for number, layer in enumerate(layers):
        after = [type(next_) for next_ in layers[number + 1 :] if type(next_) not in ACTIVATIONS]
        if isinstance(layer, nn.Linear):
            shape = _map_behind(layers[number + 1 :])
            unflattened = shape is not None and math.prod(shape) == layer.out_features
            outer = shape[0] if shape is not None and unflattened else 1
            fused.append(Affine(layer, _dtype_of(layer, dtype), flattened, outer))
            flattened = channels = 1
        elif isinstance(layer, nn.Flatten):
            last = channels > 1 and after[:1] == [nn.Linear]
            flattened = channels if last else 1
            fused.append(Flatten(last=last))
        elif isinstance(layer, nn.Unflatten):
            fused.append(Unflatten(tuple(layer.unflattened_size), last=unflattened))
            unflattened = False
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fused.append(_convolution(layer, dtype))
            channels = layer.out_channels
        elif isinstance(layer, nn.ReLU) and fused and isinstance(fused[-1], Affine) and not fused[-1].cut:
            fused[-1].cut = True
        else:
            fused.append(Activation(layer))
    return fused


def _dtype_of(layer: nn.Linear, dtype: torch.dtype) -> torch.dtype:
    sides = (layer.in_features, layer.out_features)
    return torch.float32 if min(sides) < NARROW and math.prod(sides) < SMALL else dtype


def _map_behind(layers: Sequence[nn.Module]) -> tuple[int, ...] | None:
    """The shape (C, H, W), C > 1, into which an output is folded for a convolution, nonlinearities aside."""
    rest = [layer for layer in layers if type(layer) not in ACTIVATIONS]
    if len(rest) < 2 or not isinstance(rest[0], nn.Unflatten) or type(rest[1]) not in _CONVOLUTIONS:
        return None
    shape = tuple(rest[0].unflattened_size)
    return cast(tuple[int, ...], shape) if len(shape) == 3 and shape[0] != 1 else None


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype) -> Layer:
    return ThinOutput(layer, dtype) if is_thin_output(layer) else Convolution(layer, dtype)
