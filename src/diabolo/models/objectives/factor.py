"""The FactorVAE: a critic estimates the total correlation of the codes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.models.objectives._aggregate import Aggregate, Codes, Penalties, require_batch
from diabolo.models.objectives._base import Group, Reduction, Remark, Space
from diabolo.models.objectives._critic import Critic
from diabolo.models.objectives._parts import frozen


class Factor(Aggregate):
    """A VAE whose codes have dimensions that are independent of each other, as far as a critic can tell.

    The critic tells codes of one half of the batch from codes of the other half in which each dimension was permuted
    by itself. Its logarithm of the odds is then the total correlation, KL(q(z) || prod_j q(z_j)).

    Args:
        gamma: the weight of the total correlation; 0 is the VAE.
        critic_widths: the critic's hidden units (published: 1000 six times).
        critic_pace: the critic's learning rate over that of the run.
        warmup: epochs over which gamma rises from 0.
    """

    couples = "critic, which is shown codes that are permuted over the batch"
    training_only = ("critic",)
    reduces = (Reduction({"gamma": 0.0}, "vae"),)
    equation = "-ELBO(x) + gamma * KL(q(z) || prod_j q(z_j)), by a critic"
    formula = (
        r"\mathbb{E}_{q(z \mid x)}[-\log p(x \mid z)] + \mathrm{KL}(q(z \mid x) \| \mathcal{N}(0, I))"
        r" + \gamma \, \mathbb{E}_{q(z)} \log \frac{D(z)}{1 - D(z)}"
    )
    when = (
        "Take it for codes whose dimensions are independent, where batches are too small to estimate q(z). "
        "Not where training must be steady: a critic that lags behind says nothing, and its estimate is no bound."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood",
        "kl": "encoder",
        "total_correlation": "encoder",
        "critic": "objective",
    }
    source = "Kim, Mnih 2018, Disentangling by factorising, https://arxiv.org/abs/1802.05983"

    def __init__(
        self,
        *,
        gamma: float = 6.0,
        critic_widths: tuple[int, ...] = (256, 256, 256),
        critic_pace: float = 1.0,
        warmup: float = 0.0,
    ) -> None:
        super().__init__(warmup=warmup)
        require(gamma >= 0, "gamma", "a number of at least 0", gamma)
        require(critic_pace > 0, "critic_pace", "a number above 0", critic_pace)
        self.gamma, self.critic_widths, self.critic_pace = gamma, critic_widths, critic_pace

    def build(self, space: Space) -> None:
        super().build(space)
        self.critic = Critic(space.latent_dim, self.critic_widths)

    def groups(self) -> list[Group]:
        return [self.critic.group(self.critic_pace, beta2=0.9)]

    def regularised(self, codes: Codes) -> Penalties:
        if not self.gamma:
            return Penalties({}, {})
        if self.training:
            require_batch(len(codes.z), 4, "A critic of codes and permuted codes")
        real, other = codes.z[: len(codes.z) // 2], codes.z[len(codes.z) // 2 :]
        order = torch.rand(other.shape, generator=codes.generator, device=other.device).argsort(0)
        of_real, of_permuted, statistics = self.critic.told(real, other.gather(0, order))
        terms = {"total_correlation": frozen(self.critic, codes.z), "critic": torch.cat([of_real, of_permuted])}
        return Penalties(terms, {"total_correlation": self.gamma * codes.share}, statistics)

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.critic.update(statistics)

    def remarks(self, terms: Mapping[str, float]) -> list[Remark]:
        return self.critic.remarks("codes", "codes with permuted dimensions") if self.gamma else []
