"""The size of a Jacobian, which some variants hold small."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["jacobian_norm"]


def jacobian_norm(output: Tensor, inputs: Tensor, probes: int, generator: torch.Generator | None) -> Tensor:
    """The squared Frobenius norm of d output / d inputs of each example, or an estimate of it; it has a gradient.

    For v of random signs E |J' v|^2 = |J|^2 (Hutchinson 1990, https://doi.org/10.1080/03610919008812866).

    Args:
        output: (B, m), which depends on the inputs.
        inputs: (B, ...), with gradients.
        probes: directions v that are drawn for each example; 0 takes all m axes instead, which is exact.
        generator: of the signs.

    Returns:
        (B,), the average over the probes.

    >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> jacobian_norm(torch.stack([x[:, 0] * x[:, 1], 3 * x[:, 0]], 1), x, 0, None)
    tensor([14.], grad_fn=<SumBackward1>)
    """
    size = output.shape[1]
    if probes:
        signs = torch.randint(2, (probes, *output.shape), generator=generator, device=output.device)
        directions = (2 * signs - 1).to(output.dtype) / probes**0.5
    else:
        directions = torch.eye(size, dtype=output.dtype, device=output.device)[:, None].expand(size, *output.shape)
    norms = []
    for direction in directions:
        (row,) = torch.autograd.grad(output, inputs, direction, create_graph=True)
        norms.append(row.square().flatten(1).sum(1))
    return torch.stack(norms).sum(0)
