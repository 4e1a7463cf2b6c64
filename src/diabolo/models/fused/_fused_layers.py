"""Layers in one node of the graph of differentiation."""

from __future__ import annotations

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
        self._planned = list(_snapshot(module))
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
        for module, planned in self._planned:
            for now, before in zip(_state(module), planned, strict=True):
                if now is not before and (isinstance(before, Tensor | nn.Module) or now != before):
                    return False
        return True

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
        self._copies = is_followed and last.saves_output

    def __call__(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            free = False
            for layer in self.layers:
                x = layer.answer(x, free)
                free = free if layer.frees is None else layer.frees
            return x
        y = cast(Tensor, _Node.apply(self.layers, x, *self.parameters))  # type: ignore[no-untyped-call]
        return y.clone() if self._copies else y


class _Node(torch.autograd.Function):
    """The layers of a segment, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[Layer], x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.layers, ctx.saved = layers, []
        free = False  # whether nobody else holds x, so that it may be written over
        for layer in layers:
            x, saved = layer.forward(x, free)
            free = free if layer.frees is None else layer.frees
            ctx.saved.append(saved)
        ctx.versions = [(tensor, tensor._version) for tensor in (*parameters, *_tensors(ctx.saved))]
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # somebody wants a gradient with a graph of its own, and would get none
            raise ConfigError(
                "The loss differentiates the encoder or the decoder itself, and training was not told so: "
                "say second_order = True in the class of the objective, or engine='torch'."
            )
        if any(tensor._version != version for tensor, version in ctx.versions):  # as torch does
            raise RuntimeError(
                "One of the variables needed for gradient computation has been modified by an inplace operation: an "
                "output, an input or a weight of the encoder or the decoder. Work on a copy of it (.clone())."
            )
        layers: Sequence[Layer] = ctx.layers
        needs_input_gradient: bool = ctx.needs_input_grad[1]
        first = next(number for number, layer in enumerate(layers) if layer.parameters)
        gradients: list[Tensor | None] = []
        for number in reversed(range(0 if needs_input_gradient else first, len(layers))):
            gradient, own = layers[number].backward(gradient, ctx.saved[number], needs_input_gradient or number > first)
            gradients = [*own, *gradients]
        return (None, gradient if needs_input_gradient else None, *gradients)


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in what layers save."""
    if isinstance(values, Tensor):
        yield values
    elif type(values) in (list, tuple):
        for value in values:
            yield from _tensors(value)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a `Sequential` in the order of their calls, those of the `Sequential`s inside it among them."""
    if _is_plain_sequential(module):
        for child in module._modules.values():  # `children()` leaves out one that comes a second time
            yield from _leaves(cast(nn.Module, child))
    else:
        yield module


def _is_plain_sequential(module: nn.Module) -> bool:
    return type(module) is nn.Sequential and not is_replaced(module)


def _snapshot(module: nn.Module) -> Iterator[tuple[nn.Module, list[Any]]]:
    """What a plan of the module rests on, for each of its `Sequential`s and of the layers in them."""
    yield module, _state(module)
    if _is_plain_sequential(module):
        for child in module._modules.values():
            yield from _snapshot(cast(nn.Module, child))


def _state(module: nn.Module) -> list[Any]:
    """The parts of a module that a plan holds on to; its other attributes are read when it is called."""
    kind = type(module)
    if kind is nn.Sequential:
        children = tuple(map(id, module._modules.values()))  # which stay alive, and so keep their identity, in the plan
        return [kind, children, is_replaced(module)]
    if not has_known_kind(module):
        return [kind]  # called as it is
    weight, bias = (module._parameters.get(name, vars(module).get(name)) for name in ("weight", "bias"))
    return [kind, weight, bias, getattr(weight, "dtype", None), is_replaced(module), geometry(module)]
