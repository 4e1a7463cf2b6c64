"""One layer each way, for codes of few units of many: the dictionaries that are learned of a network's activations."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.config import check_choices
from diabolo.models.networks._base import Network, Shape
from diabolo.models.units import Units, is_recorded, sums_of

__all__ = ["Dictionary"]

FEW = 8  # a gradient is computed by its entries that are not zero where these are fewer than one in so many


class Dictionary(Network):
    """One affine layer each way: the decoder's weights of each unit are a direction of length 1.

    The encoder sees an example less the centre of the data, and starts as the decoder's transpose. Where few units are
    active, only their directions are read, and only their gradients computed.

    Args:
        start: `median` puts the geometric median of training examples into the centre and the decoder's bias, `mean`
            their mean, `random` zero.
        code_activation: `relu` cuts the encoder's outputs at zero, for variants that do not (`sparse`).

    >>> encoder, decoder = Dictionary().build((8,), features=32, latent_dim=32, channels=8)
    >>> bool(torch.allclose(decoder.directions.norm(dim=1), torch.ones(32)))
    True
    >>> torch.equal(encoder.weight, decoder.weight)
    True
    """

    def __init__(
        self,
        *,
        start: Literal["median", "mean", "random"] = "median",
        code_activation: Literal["linear", "relu"] = "linear",
    ) -> None:
        self.start: Literal["median", "mean", "random"] = start
        self.code_activation = code_activation
        check_choices(self)

    def build(self, shape: Shape, features: int, latent_dim: int, channels: int) -> tuple[nn.Module, nn.Module]:
        output = (channels, *shape[1:])
        decoder = Directions(latent_dim, output)
        encoder = Rows(math.prod(shape), features, is_cut=self.code_activation == "relu")
        if encoder.weight.shape[1] == decoder.weight.shape[1]:
            both = min(features, latent_dim)
            with torch.no_grad():
                encoder.weight[:both] = decoder.weight[:both]
        return encoder, decoder


class Rows(nn.Module):
    """W (x - c) + b, with a gradient of W that costs what its entries do that are not zero.

    Args:
        values: of an example.
        features: rows of W.
        is_cut: whether outputs below zero become zero.
    """

    centre: Tensor

    def __init__(self, values: int, features: int, *, is_cut: bool = False) -> None:
        super().__init__()
        self.is_cut = is_cut
        self.weight = nn.Parameter(F.normalize(torch.randn(features, values), dim=1))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("centre", torch.zeros(values))

    @torch.no_grad()
    def fit_scale(self, share: float) -> None:
        """Multiplies W by a share: where half of many directions are active at first, their sum goes far beyond x."""
        self.weight.mul_(share)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, features)."""
        x = x.flatten(1) - self.centre
        if torch.is_grad_enabled() and not is_recorded():
            y: Tensor = _Affine.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        else:
            y = F.linear(x, self.weight, self.bias)
        return y.relu() if self.is_cut else y


class Directions(nn.Module):
    """The weighted sum of directions of length 1, and a bias.

    Args:
        units: how many directions.
        outer: the shape of an output.
    """

    takes_units = True

    def __init__(self, units: int, outer: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(units, math.prod(outer)), dim=1))
        self.bias = nn.Parameter(torch.zeros(math.prod(outer)))
        self.outer = outer

    @property
    def directions(self) -> Tensor:
        """(units, D), each of length 1."""
        return F.normalize(self.weight, dim=1)

    def forward(self, z: Tensor | Units) -> Tensor:
        """(B, units), or the active ones of them, to (B, *outer)."""
        if isinstance(z, Units):
            y: Tensor = _Gather.apply(z.values.float(), self.weight, z)  # type: ignore[no-untyped-call]
        else:
            y = (z / self.weight.norm(dim=1).clamp(min=1e-12)) @ self.weight  # of directions, which are longer to write
        return (y + self.bias).view(-1, *self.outer)


class _Affine(torch.autograd.Function):
    """An affine layer whose gradient is mostly zeros, as behind a choice of few of its outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        x = x.to(gradient.dtype)
        own = gradient @ weight.to(gradient.dtype) if ctx.needs_input_grad[0] else None
        is_few = not torch.is_grad_enabled() and int(gradient.count_nonzero()) * FEW < gradient.numel()
        if not is_few:
            return own, gradient.T @ x, gradient.sum(0)
        rows, index = gradient.nonzero(as_tuple=True)
        values = gradient[rows, index].float()
        bias = torch.bincount(index, values, minlength=len(weight)).float()
        return own, sums_of(index, rows, values, x.float(), len(weight)), bias


class _Gather(torch.autograd.Function):
    """The sums of the directions of active units, of which nothing is computed for the others."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, units: Units) -> Tensor:
        norms = weight.norm(dim=1).clamp(min=1e-12)
        shares = values / norms[units.numbers]
        ctx.save_for_backward(values, shares, weight, norms)
        ctx.units = units._replace(values=values.detach())
        return _bags(units, weight, shares)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, shares, weight, norms = ctx.saved_tensors
        units, gradient = ctx.units, gradient.float()
        with torch.enable_grad():  # whose gradient is the product of an output's and a direction, nowhere written down
            variable = shares.detach().requires_grad_()
            (products,) = torch.autograd.grad(_bags(units, weight.detach(), variable), variable, gradient)
        slopes = products / norms[units.numbers]
        sums = sums_of(units.numbers, units.rows, shares, gradient, units.width)
        along = torch.bincount(units.numbers, values * slopes, minlength=units.width).to(sums.dtype) / norms.square()
        return slopes, sums.addcmul_(weight, along[:, None], value=-1), None  # a length of 1 has no slope along itself


def _bags(units: Units, weight: Tensor, shares: Tensor) -> Tensor:
    return F.embedding_bag(
        units.numbers, weight, units.offsets, mode="sum", per_sample_weights=shares, include_last_offset=True
    )
