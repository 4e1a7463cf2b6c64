"""The adversarial autoencoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from diabolo.config import require
from diabolo.models.distributions import Dirac
from diabolo.models.objectives._base import Batch, Group, Loss, Net, Objective, Reduction, Remark, Space
from diabolo.models.objectives._critic import Critic
from diabolo.models.objectives._parts import frozen
from diabolo.models.priors.own import StandardNormal


class AAE(Objective):
    """Learns codes without noise that a critic cannot tell from draws of a standard normal prior.

    Also known as the WAE-GAN. The critic learns beside the rest, under one optimizer: each step moves both. Its term,
    `critic`, is in no loss that chooses an epoch; at 2 ln 2 = 1.386 it cannot tell.

    Args:
        weight: of the encoder's part, -log D(z).
        critic_widths: the hidden layers of the critic; none for a linear one.
        critic_pace: the critic's learning rate over that of the run.
    """

    posterior_family = Dirac
    training_only = ("critic",)
    reduces = (Reduction({"weight": 0.0}, "autoencoder"),)
    equation = "-log p(x | z) - weight * log D(z), z = f(x), with D trained to tell N(0, I) from z"
    formula = (
        r"-\log p(x \mid z) - \lambda \log D(z), \quad"
        r" \min_D -\log D(\epsilon) - \log(1 - D(z)), \ \epsilon \sim \mathcal{N}(0, I)"
    )
    when = (
        "Take it for codes that fill a standard normal prior as a whole and carry no noise: sharp samples. "
        "Not for a likelihood, nor where training has to be steady: two players move."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "adversary": "encoder", "critic": "objective"}
    source = (
        "Makhzani, Shlens, Jaitly, Goodfellow, Frey 2015, Adversarial autoencoders, https://arxiv.org/abs/1511.05644; "
        "Tolstikhin, Bousquet, Gelly, Schoelkopf 2018, Wasserstein auto-encoders, https://arxiv.org/abs/1711.01558"
    )

    def __init__(
        self, *, weight: float = 1.0, critic_widths: tuple[int, ...] = (256, 256), critic_pace: float = 1.0
    ) -> None:
        super().__init__()
        require(weight >= 0, "weight", "a number of at least 0", weight)
        require(critic_pace > 0, "critic_pace", "a number above 0", critic_pace)
        self.weight, self.critic_widths, self.critic_pace = weight, critic_widths, critic_pace

    def build(self, space: Space) -> None:
        super().build(space)
        if self.weight:
            self.critic = Critic(space.latent_dim, self.critic_widths)

    def groups(self) -> list[Group]:
        return [self.critic.group(self.critic_pace)] if self.weight else []

    def prior(self) -> StandardNormal:
        return StandardNormal(self.space.latent_dim)

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(batch.x)
        z = posterior.mean
        output = net.decode(z)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x)}
        if not self.weight:
            return Loss(terms, posterior, output)
        drawn = torch.randn(z.shape, generator=net.generator, device=z.device, dtype=z.dtype)
        terms["adversary"] = F.softplus(-frozen(self.critic, z))
        of_drawn, of_codes, statistics = self.critic.told(drawn, z)
        terms["critic"] = of_drawn + of_codes
        return Loss(terms, posterior, output, {"adversary": self.weight}, statistics if self.training else {})

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.critic.update(statistics)

    def remarks(self, terms: Mapping[str, float]) -> list[Remark]:
        return self.critic.remarks("draws of the prior", "codes") if self.weight else []
