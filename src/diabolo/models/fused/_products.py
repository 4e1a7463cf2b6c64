"""Products of matrices, by the library that is fastest at them.

On processors, torch multiplies float32 matrices by MKL, which leaves AMD's widest instructions unused: oneDNN, which
torch brings along for convolutions, is twice as fast there, adds a bias and cuts off negative values on the way, and
rounds a row in the same way however many rows and threads there are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["affine", "product"]


def _kernel(dtype: torch.dtype) -> object:
    """OneDNN's product, where this build of torch and this processor have it for the type."""
    try:
        available = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        fits = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.ops.mkldnn._linear_pointwise if available and fits else None
    except (AttributeError, RuntimeError):
        return None


_KERNELS = {dtype: _kernel(dtype) for dtype in (torch.float32, torch.bfloat16)}


def affine(x: Tensor, weight: Tensor, bias: Tensor | None, *, cut: bool = False) -> Tensor:
    """The product of x, (n, k), and the transpose of weight, (m, k), plus a bias, (m,); `cut`: negative values zero."""
    kernel = _KERNELS.get(x.dtype) if x.device.type == "cpu" else None
    if kernel is not None and x.shape[0] > 1:  # for a single row its call costs more than the arithmetic
        made: Tensor = kernel(x, weight, bias, "relu" if cut else "none", [], "")  # type: ignore[operator]
        return made
    made = F.linear(x, weight, bias)
    return made.relu_() if cut else made


def product(a: Tensor, b: Tensor) -> Tensor:
    """The product of a, (n, k), and b, (k, m)."""
    return affine(a, b.t(), None) if a.dtype == torch.float32 else a.mm(b)  # bfloat16 goes to oneDNN anyway
