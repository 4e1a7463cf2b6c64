"""The least time of each layer's products, measured: forward, for the weights' gradient and for the input's.

Each is the best over rounds and over the ways to write it: either order of a product's factors, channels first or last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from _turns import Turns

ROUND = 0.02  # seconds
ROUNDS = 7


def best(ways: list[Callable[[], Any]]) -> float:
    """Seconds of the fastest way in its fastest round."""
    return min(fastest_round(way) for way in ways)


def fastest_round(way: Callable[[], Any]) -> float:
    """Seconds of one call, in the fastest of some rounds of many calls."""
    way()
    began = time.perf_counter()
    way()
    calls = max(1, round(ROUND / max(time.perf_counter() - began, 1e-7)))
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            way()
        found.append((time.perf_counter() - began) / calls)
    return min(found)


def affine(layer: dict[str, Any], batch: int, kind: torch.dtype) -> tuple[float, float, float]:
    """Seconds forward, for the weights' gradient, and for the input's."""
    x, g = torch.randn(batch, layer["inner"]).to(kind), torch.randn(batch, layer["outer"]).to(kind)
    w, bias = torch.randn(layer["outer"], layer["inner"]).to(kind), torch.randn(layer["outer"]).to(kind)
    across = w.t().contiguous()
    return (
        best([lambda: torch.addmm(bias, x, w.t()), lambda: torch.addmm(bias, x, across)]),
        best([lambda: g.t() @ x, lambda: x.t() @ g]),
        best([lambda: g @ w, lambda: g @ across.t()]),
    )


def convolution(layer: dict[str, Any], batch: int, kind: torch.dtype) -> tuple[float, float, float]:
    """Seconds forward, for the weights' gradient, and for the input's."""
    ways: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
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
    return best(ways[0]), best(ways[1]), best(ways[2])


def forward_of(
    x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor, stride: int, transposed: bool
) -> Callable[[], Any]:
    """The call forward."""
    if transposed:
        return lambda: F.conv_transpose2d(x, w, bias, stride, 1, stride - 1)
    return lambda: F.conv2d(x, w, bias, stride, 1)


def backward_of(g: torch.Tensor, x: torch.Tensor, w: torch.Tensor, plan: tuple[int, Any, Any]) -> Callable[[], Any]:
    """The call backward, for the parts that the mask names: input, weights, bias."""
    outer, options, mask = plan
    return lambda: torch.ops.aten.convolution_backward(g, x, w, [outer], *options, mask)


@torch.no_grad()
def main() -> None:
    """Answers once: kind of number -> forward, weights and input -> seconds of each layer."""
    turns = Turns()
    job = turns.job
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    for name, kind in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        times = [
            (affine if layer["kind"] == "dense" else convolution)(layer, job["batch"], kind) for layer in job["layers"]
        ]
        # Nothing needs the gradient of the first layer's input.
        found[name] = {
            "forward": [each[0] for each in times],
            "weights": [each[1] for each in times],
            "input": [None, *[each[2] for each in times[1:]]],
        }
    turns.answer({**found, "threads": torch.get_num_threads(), "torch": torch.__version__})


if __name__ == "__main__":
    main()
