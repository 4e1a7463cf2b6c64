"""Layers in one node of the graph of differentiation."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.fused._layers import Layer
from diabolo.models.fused._planning import geometry, has_known_kind, is_known, is_replaced, plan

__all__ = ["FusedLayers"]


class FusedLayers:
    """The layers of a module, called as it is called; its values and gradients are those of the layers.

    Layers as small as those that touch the latent code are computed in float32 whatever the others are computed in:
    they cost nothing, and a latent code of few dimensions needs all of its digits. Layers that it does not know are
    called as they are, under autocast. Its gradients cannot be differentiated again, and it says so (ConfigError): see
    `Objective.second_order`.

    Args:
        module: the layers; what is no `Sequential` is one layer.
        dtype: what wide layers are computed in: float32 or bfloat16.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.parts: list[_Segment | nn.Module] = []
        self._watched = list(_watch(module))
        kinds = {watched.kind for watched in self._watched if watched.is_followed}
        self._classes = [(cast(Any, kind), cast(Any, kind).forward) for kind in kinds]  # which somebody may patch
        run: list[nn.Module] = []
        for layer in _leaves(module):
            if is_known(layer):
                run.append(layer)
            else:
                self._add(run)
                self.parts.append(layer)
                run = []
        self._add(run, is_followed=False)

    def _add(self, run: list[nn.Module], *, is_followed: bool = True) -> None:
        if any(True for layer in run for _ in layer.parameters()):
            self.parts.append(_Segment(plan(run, self.dtype), is_followed=is_followed))
        else:
            self.parts += run

    def is_current(self) -> bool:
        """Whether children, parameters, hooks and geometry still are those that it was planned for."""
        for kind, forward in self._classes:
            if kind.forward is not forward:
                return False
        return all([watched.is_unchanged() for watched in self._watched])  # noqa: C419 (no generator in each step)

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts:
            if self.dtype == torch.float32 or isinstance(part, _Segment):
                x = part(x)
            else:
                with torch.autocast(x.device.type, self.dtype):
                    x = part(x)
        return x


class _Segment:
    """Known layers that follow each other, one of them with parameters at least.

    Args:
        layers: the layers.
        is_followed: whether a layer of unknown kind comes behind them, which may write into what it is given.
    """

    def __init__(self, layers: Sequence[Layer], *, is_followed: bool) -> None:
        self.layers = layers
        self.parameters = [parameter for layer in layers for parameter in layer.parameters]
        last = next((layer for layer in reversed(layers) if layer.frees is not None), layers[-1])  # behind it, views
        self._saves_output = last.saves_output
        self._copies = is_followed and last.saves_output

    def __call__(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            free = False
            for layer in self.layers:
                x = layer.answer(x, free)
                free = free if layer.frees is None else layer.frees
            return x
        y = cast(Tensor, _Node.apply(self.layers, self._saves_output, x, *self.parameters))  # type: ignore[no-untyped-call]
        return y.clone() if self._copies else y


class _Node(torch.autograd.Function):
    """The layers of a segment, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[Layer], saves_output: bool, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.layers, ctx.saved, own_input = layers, [], x
        free = False  # whether nobody else holds x, so that it may be written over
        for layer in layers:
            x, saved = layer.forward(x, free)
            free = free if layer.frees is None else layer.frees
            ctx.saved.append(saved)
        # What others hold too, and may write over before the way back; the output itself would be a circle.
        ctx.shared = (*parameters, own_input, x.detach()) if saves_output else (*parameters, own_input)
        ctx.versions = [tensor._version for tensor in ctx.shared]
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # somebody wants a gradient with a graph of its own, and would get none
            raise ConfigError(
                "The loss differentiates the encoder or the decoder itself, and training was not told so: "
                "say second_order = True in the class of the objective, or engine='torch'."
            )
        if [tensor._version for tensor in ctx.shared] != ctx.versions:  # as torch does
            raise RuntimeError(
                "One of the variables needed for gradient computation has been modified by an inplace operation: an "
                "output, an input or a weight of the encoder or the decoder. Work on a copy of it (.clone())."
            )
        layers: Sequence[Layer] = ctx.layers
        needs_input_gradient: bool = ctx.needs_input_grad[2]
        first = next(number for number, layer in enumerate(layers) if layer.parameters)
        gradients: list[Tensor | None] = []
        for number in reversed(range(0 if needs_input_gradient else first, len(layers))):
            gradient, own = layers[number].backward(gradient, ctx.saved[number], needs_input_gradient or number > first)
            gradients = [*own, *gradients]
        return (None, None, gradient if needs_input_gradient else None, *gradients)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a `Sequential` in the order of their calls, those of the `Sequential`s inside it among them."""
    if _is_plain_sequential(module):
        for child in module._modules.values():  # `children()` leaves out one that comes a second time
            yield from _leaves(cast(nn.Module, child))
    else:
        yield module


def _is_plain_sequential(module: nn.Module) -> bool:
    return type(module) is nn.Sequential and not is_replaced(module)


def _watch(module: nn.Module) -> Iterator[_Watched]:
    """What a plan of the module rests on: each of its `Sequential`s and of the layers in them."""
    yield _Watched(module)
    if _is_plain_sequential(module):
        for child in module._modules.values():
            yield from _watch(cast(nn.Module, child))


class _Watched:
    """A module as it was when it was planned; what else it has is read when it is called.

    It is looked at in every step, so that nothing here is computed twice.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self.kind = module, type(module)
        self.vars = vars(module)
        self.is_container = self.kind is nn.Sequential
        self.is_followed = self.is_container or has_known_kind(module)  # any other one is called as it is
        if not self.is_followed:
            return
        self.is_replaced = is_replaced(module)
        self.children = tuple(module._modules.values())  # which keep their identity, since they stay alive here
        own = self.vars
        self.hooks = [own[f"_{name}_hooks"] for name in ("forward", "forward_pre", "backward", "backward_pre")]
        self.geometry = geometry(module)
        self.weight, self.bias = _weights_of(self.vars)
        self.dtype = getattr(self.weight, "dtype", None)

    def is_unchanged(self) -> bool:
        """Whether the module is as it was."""
        if self.module.__class__ is not self.kind:
            return False
        if not self.is_followed:
            return True
        own, hooks = self.vars, self.hooks
        if hooks[0] or hooks[1] or hooks[2] or hooks[3] or "forward" in own or self.is_replaced:
            return self.is_replaced and is_replaced(self.module)
        if self.is_container:
            now = own["_modules"]
            return len(now) == len(self.children) and all(map(operator.is_, now.values(), self.children))
        if self.weight is None:
            return not self.geometry or geometry(self.module) == self.geometry
        parameters = own["_parameters"]
        is_same = parameters.get("weight") is self.weight and parameters.get("bias") is self.bias
        if not is_same:
            weight, bias = _weights_of(own)
            is_same = weight is self.weight and bias is self.bias
        if not is_same or self.weight.dtype is not self.dtype:
            return False
        return not self.geometry or geometry(self.module) == self.geometry


def _weights_of(own: dict[str, Any]) -> tuple[Any, Any]:
    """The weight and the bias in a module's attributes: parameters, or plain tensors in their place."""
    parameters = own["_parameters"]
    if "weight" in parameters and "bias" in parameters:
        return parameters["weight"], parameters["bias"]
    return parameters.get("weight", own.get("weight")), parameters.get("bias", own.get("bias"))
