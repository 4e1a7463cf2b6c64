"""Layers whose weights have a spectral norm of 1."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Spectral"]

FIRST = 15  # iterations before training: the estimate starts near the norm
TINY = 1e-12  # in the place of a norm of 0


class Spectral(nn.Module):
    """A layer divided by its largest singular value: W x / s(W) + b (Miyato et al. 2018, https://arxiv.org/abs/1802.05957).

    The value is u' W v, with vectors that one power iteration brings nearer to the singular ones at each call in
    training; otherwise they stay as they are. (A batch in parts is a call for each part, and brings them further.) Of a
    convolution it is that of the matrix with one row for each channel of its output.

    Args:
        layer: affine, a convolution or a transposed one; its bias becomes this module's own.

    >>> _ = torch.manual_seed(0)
    >>> layer = Spectral(nn.Linear(5, 3)).eval()
    >>> slope = torch.func.jacrev(layer)(torch.zeros(5))
    >>> round(torch.linalg.matrix_norm(slope, 2).item(), 3)
    1.0
    """

    left: Tensor
    right: Tensor

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.bias = cast(Any, layer).bias
        layer.register_parameter("bias", None)
        self.across = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
        matrix = self._matrix().detach()
        self.register_buffer("left", F.normalize(torch.randn(matrix.shape[0]), dim=0, eps=TINY))
        self.register_buffer("right", F.normalize(torch.randn(matrix.shape[1]), dim=0, eps=TINY))
        for _ in range(FIRST):
            self._iterate(matrix)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's, (B, ...)."""
        with torch.autocast(x.device.type, enabled=False):
            matrix = self._matrix()
            if self.training:
                self._iterate(matrix.detach())
            left, right = self.left.clone(), self.right.clone()  # the next call writes over them, before the way back
            norm = torch.mv(matrix, right).mul(left).sum()
        y: Tensor = self.layer(x) / norm
        if self.bias is None:
            return y
        spatial = 0 if isinstance(self.layer, nn.Linear) else y.dim() - 2
        bias: Tensor = self.bias.to(y.dtype).view(-1, *[1] * spatial)
        return y + bias

    def _matrix(self) -> Tensor:
        """The weights with one row for each output."""
        weight = cast(Tensor, self.layer.weight)  # in a compiled step it is no parameter
        return (weight.transpose(0, 1) if self.across else weight).flatten(1)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.left.copy_(F.normalize(torch.mv(matrix, self.right), dim=0, eps=TINY))
        self.right.copy_(F.normalize(torch.mv(matrix.t(), self.left), dim=0, eps=TINY))
