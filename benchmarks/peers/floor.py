"""The products of a step alone: forward, for the weights' gradient and for the input's, an epoch of them in each turn.

Each is written in whichever way was the fastest before the first turn: either order of a product's factors; a
convolution with channels first or last, or as one product, without what it takes to gather its patches or to add up
what it scatters. A product is repeated with the same operands for as many steps as there are, so that it finds them
in the caches, as one in a step may not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from _turns import Turns

ROUND = 0.02  # seconds
ROUNDS = 5
KINDS = {"float32": torch.float32, "bf16": torch.bfloat16}
Call = Callable[[], Any]


def fastest(ways: Sequence[Call]) -> Call:
    """The way whose fastest round is the shortest, of those that this processor has.

    Raises:
        RuntimeError: it has none of them.
    """
    seconds_of: dict[Call, float] = {}
    refusal: RuntimeError | None = None
    for way in ways:
        try:
            seconds_of[way] = fastest_round(way)
        except RuntimeError as error:  # "could not create a primitive descriptor": oneDNN without the instructions
            refusal = error
    if not seconds_of:
        raise refusal or RuntimeError("There is no way.")
    return min(seconds_of, key=seconds_of.__getitem__)


def fastest_round(way: Call) -> float:
    """Seconds of one call, in the fastest of some rounds of many calls."""
    way()
    began = time.perf_counter()
    way()
    calls = max(1, round(ROUND / max(time.perf_counter() - began, 1e-7)))
    return min(seconds(way, calls) for _ in range(ROUNDS)) / calls


def seconds(way: Call, calls: int) -> float:
    """Seconds of some calls."""
    began = time.perf_counter()
    for _ in range(calls):
        way()
    return time.perf_counter() - began


def affine(layer: dict[str, Any], batch: int, kind: torch.dtype) -> tuple[list[Call], ...]:
    """The ways to compute forward, the weights' gradient, and the input's."""
    x, g = torch.randn(batch, layer["inner"]).to(kind), torch.randn(batch, layer["outer"]).to(kind)
    w, bias = torch.randn(layer["outer"], layer["inner"]).to(kind), torch.randn(layer["outer"]).to(kind)
    across = w.t().contiguous()
    return (
        [lambda: torch.addmm(bias, x, w.t()), lambda: torch.addmm(bias, x, across), onednn(x, across, bias)],
        [lambda: g.t() @ x, lambda: x.t() @ g, onednn(g.t(), x), onednn(x.t(), g)],
        [lambda: g @ w, lambda: g @ across.t(), onednn(g, w)],
    )


def onednn(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> Call:
    """The product by oneDNN, which torch asks for bf16 alone unless it is told to."""
    kernel, across = torch.ops.mkldnn._linear_pointwise, b.t()
    return lambda: kernel(a, across, bias, "none", [], "")


def convolution(layer: dict[str, Any], batch: int, kind: torch.dtype) -> tuple[list[Call], ...]:
    """The ways to compute forward, the weights' gradient, and the input's."""
    ways: tuple[list[Call], list[Call], list[Call]] = ([], [], [])
    for order in (torch.contiguous_format, torch.channels_last):
        inner, outer, stride = layer["inner"], layer["outer"], layer["stride"]
        transposed = layer["kind"] == "transposed"
        x = torch.randn(batch, inner, layer["side"], layer["side"]).to(kind, memory_format=order)
        w = torch.randn((inner, outer, 3, 3) if transposed else (outer, inner, 3, 3)).to(kind, memory_format=order)
        bias = torch.randn(outer).to(kind)
        extra = [stride - 1] * 2 if transposed else [0, 0]
        options = ([stride] * 2, [1, 1], [1, 1], transposed, extra, 1)
        forward = forward_of(x, w, bias, stride, transposed)
        g = torch.randn_like(forward())
        ways[0].append(forward)
        for place, mask in ((1, [False, True, True]), (2, [True, False, False])):
            ways[place].append(backward_of(g, x, w, (outer, options, mask)))
    for rows, inner, outer in as_products(layer):
        for known, more in zip(ways, affine({"inner": inner, "outer": outer}, batch * rows, kind), strict=True):
            known.extend(more)
    return ways


def as_products(layer: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Rows for an example, inputs and outputs of the products that a convolution can be."""
    inner, outer, side, stride = (layer[name] for name in ("inner", "outer", "side", "stride"))
    if layer["kind"] == "conv":  # of patches
        yield (side // stride) ** 2, 9 * inner, outer
    if layer["kind"] == "transposed" or stride == 1:  # of places, each of which is scattered to nine
        yield side**2, inner, 9 * outer


def forward_of(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor, stride: int, transposed: bool) -> Call:
    """The call forward."""
    if transposed:
        return lambda: F.conv_transpose2d(x, w, bias, stride, 1, stride - 1)
    return lambda: F.conv2d(x, w, bias, stride, 1)


def backward_of(g: torch.Tensor, x: torch.Tensor, w: torch.Tensor, plan: tuple[int, Any, Any]) -> Call:
    """The call backward, for the parts that the mask names: input, weights, bias."""
    outer, options, mask = plan
    return lambda: torch.ops.aten.convolution_backward(g, x, w, [outer], *options, mask)


def products(job: dict[str, Any], kind: torch.dtype) -> Iterator[Call]:
    """Each product of a step, in its fastest way."""
    for index, layer in enumerate(job["layers"]):
        ways = (affine if layer["kind"] == "dense" else convolution)(layer, job["batch"], kind)
        for place in ways if index else ways[:2]:  # nothing needs the gradient of the first layer's input
            yield fastest(place)


@torch.no_grad()
def main() -> None:
    """Answers turn by turn: kind of number -> seconds of an epoch's products."""
    turns = Turns()
    torch.manual_seed(0)
    steps = turns.job["images"] // turns.job["batch"]
    ways_of: dict[str, list[Call]] = {}
    for name, kind in KINDS.items():
        with contextlib.suppress(RuntimeError):  # a processor that does not multiply such numbers has no floor of them
            ways_of[name] = list(products(turns.job, kind))
    while True:
        times = {name: sum(seconds(way, steps) for way in ways) for name, ways in ways_of.items()}
        turns.answer({**times, "threads": torch.get_num_threads(), "torch": torch.__version__})


if __name__ == "__main__":
    main()
