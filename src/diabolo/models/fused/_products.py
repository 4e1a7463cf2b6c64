"""Products of matrices, by the library that is fastest at them.

On processors, torch multiplies float32 matrices by MKL, which leaves AMD's widest instructions unused: oneDNN, which
torch brings along for convolutions, is twice as fast there, adds a bias and cuts off negative values on the way, and
rounds a row in the same way however many rows and threads there are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["affine", "operation", "product"]


def operation() -> Any:
    """OneDNN's product in this build of torch, a private operation; None where there is none."""
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None  # type: ignore[no-untyped-call]


def _kernel(dtype: torch.dtype) -> Any:
    """OneDNN's product, where it can be called here as it is called below, and gives what torch's gives."""
    try:
        fits = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        kernel = operation() if fits else None
        if kernel is None:
            return None
        x, weight, bias = torch.eye(2, 3).to(dtype), torch.ones(2, 3).to(dtype), torch.tensor([1, -2]).to(dtype)
        same = torch.equal(kernel(x, weight, bias, "relu", [], ""), F.linear(x, weight, bias).relu())
        return kernel if same else None
    except (AttributeError, RuntimeError, TypeError):  # gone, or with another signature
        return None


_KERNELS = {dtype: _kernel(dtype) for dtype in (torch.float32, torch.bfloat16)}


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, *, cut: bool = False) -> Tensor:
    """The product of x, (n, k), and the transpose of weight, (m, k), plus a bias, (m,); `cut`: negative values zero."""
    kernel = _KERNELS.get(x.dtype) if x.device.type == "cpu" else None
    if kernel is not None and x.shape[0] > 1:  # for a single row its call costs more than the arithmetic
        try:
            output: Tensor = kernel(_dense(x), _dense(weight), bias, "relu" if cut else "none", [], "")
            return output
        except RuntimeError:  # torch says what does not go together
            pass
    output = F.linear(x, weight, bias)
    return output.relu_() if cut else output


def _dense(matrix: Tensor) -> Tensor:
    """The matrix without gaps between its rows or columns: oneDNN takes up to 200 times as long with them."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def product(a: Tensor, b: Tensor) -> Tensor:
    """The product of a, (n, k), and b, (k, m)."""
    return affine(a, b.t(), None) if a.dtype == torch.float32 else a.mm(b)  # bfloat16 goes to oneDNN anyway
