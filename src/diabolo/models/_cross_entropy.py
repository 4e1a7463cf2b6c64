"""The cross-entropy of logits by few operations, for compiled steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["CrossEntropy"]


class CrossEntropy(torch.autograd.Function):
    """The cross-entropy, (B,), of logits, (B, n), and values in [0, 1], (B, n), with one logarithm for many values.

    log(1 + exp(l)) = max(l, 0) - log m, where m is the larger of sigmoid(l) and 1 - sigmoid(l). The logarithms of
    a group of values are taken as the logarithm of their product: m is at least 1/2, so a product of 112 stays above
    the smallest normal float32, 2^-126.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        wide = logits.float()
        probability = torch.sigmoid(wide)
        ctx.save_for_backward(logits, x)
        values = logits.shape[1]
        group = next(size for size in range(min(112, values), 0, -1) if values % size == 0)
        larger = ((probability - 0.5).abs() + 0.5).view(-1, values // group, group)
        return (wide.clamp(min=0) - x * wide).sum(1) - larger.prod(2).log().sum(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, x = ctx.saved_tensors  # saved as inputs, so that the gradient can be differentiated again
        return (gradient.unsqueeze(1) * (torch.sigmoid(logits.float()) - x)).to(logits.dtype), None
