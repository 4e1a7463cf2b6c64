"""The sparse autoencoder whose units have thresholds that are learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.models.distributions import Dirac, Posterior
from diabolo.models.objectives._active_units import Active, jumped
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Space, ramp
from diabolo.models.units import Units, is_recorded

FEW = 8  # units are written one by one where at most one in so many is within reach of its threshold


class JumpReLU(Objective):
    """Learns a dictionary whose units are active above a threshold of their own, and pays for each that is.

    A step has no slope; thresholds learn from activations within half a bandwidth of them (kernel: a rectangle), and
    nothing else does.

    Args:
        l0: the weight of the number of active units: the nats that one should save.
        threshold: where thresholds start.
        bandwidth: of the kernel that estimates the slope of a threshold.
        warmup: epochs over which l0 rises from 0.
    """

    posterior_family = Dirac
    overcomplete = True
    equation = "-log p(x | z) + l0 * #(f(x) > t), z = f(x) where f(x) > t, else 0"
    formula = r"-\log p(x \mid z) + \lambda \, \| z \|_0, \quad z = f(x) \odot H(f(x) - \theta)"
    when = (
        "Take it with --network dictionary where examples differ in how many features they have: each unit that is "
        "active has to pay. Not where you want to say how many are active: see topk."
    )
    teaches = {"reconstruction": "encoder decoder likelihood objective", "l0": "objective"}
    source = (
        "Rajamanoharan et al. 2024, Jumping ahead: improving reconstruction fidelity with JumpReLU sparse "
        "autoencoders, https://arxiv.org/abs/2407.14435"
    )

    def __init__(
        self, *, l0: float = 1.0, threshold: float = 0.01, bandwidth: float = 0.1, warmup: float = 0.0
    ) -> None:
        super().__init__()
        require(l0 >= 0, "l0", "a number of at least 0", l0)
        require(threshold >= 0, "threshold", "a number of at least 0", threshold)
        require(bandwidth > 0, "bandwidth", "a number above 0", bandwidth)
        require(warmup >= 0, "warmup", "a number of epochs of at least 0", warmup)
        self.l0, self.threshold, self.bandwidth, self.warmup = l0, threshold, bandwidth, warmup

    def build(self, space: Space) -> None:
        super().build(space)
        # As they are, and no logarithms: Adam's steps are of one length, and small numbers would hardly move.
        self.thresholds = nn.Parameter(torch.full((space.latent_dim,), self.threshold))

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        features = features.float()
        if not (self.training and torch.is_grad_enabled()):
            return Dirac(torch.where(features > self.thresholds, features, 0.0))
        if not is_recorded():  # those that are active, or within reach
            reach = features.detach() > self.thresholds.detach() - self.bandwidth / 2
            if int(reach.count_nonzero()) * FEW <= features.numel():
                units = Units.at(features, reach.flatten().nonzero()[:, 0])
                values, steps = jumped(units.values, self.thresholds[units.numbers], self.bandwidth)
                counts = steps.new_zeros(len(features)).index_add(0, units.rows, steps)
                return Active(units._replace(values=values), counts)
        rows, steps = jumped(features, self.thresholds.expand_as(features), self.bandwidth)
        return Active(rows, steps.sum(1))

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = net.encode(batch.x)
        output = net.decode(code.code if isinstance(code, Active) else code.mean)
        active = code.source if isinstance(code, Active) else code.mean.count_nonzero(1).float()
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "l0": active}
        return Loss(terms, code, output, {"l0": self.l0 * ramp(net.epoch, self.warmup)}, {"step": output.new_ones(())})

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.thresholds.clamp_(min=0.0)
