"""The FactorVAE: a critic estimates the total correlation of the codes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diabolo.config import require
from diabolo.models.objectives._aggregate import Aggregate, Codes, require_batch
from diabolo.models.objectives._base import Group, Reduction, Space
from diabolo.models.objectives._parts import frozen


class Factor(Aggregate):
    """A VAE whose codes have dimensions that are independent of each other, as far as a critic can tell.

    The critic tells codes of one half of the batch from codes of the other half in which each dimension was permuted
    by itself. Its logarithm of the odds is then the total correlation, KL(q(z) || prod_j q(z_j)).

    Args:
        gamma: the weight of the total correlation; 0 is the VAE.
        critic: the critic's hidden units (published: 1000 six times).
        critic_pace: the critic's learning rate over that of the run.
        warmup: epochs over which the weights of the KL and of the total correlation rise from 0.
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
        critic: tuple[int, ...] = (256, 256, 256),
        critic_pace: float = 1.0,
        warmup: float = 0.0,
    ) -> None:
        super().__init__(warmup=warmup)
        require(gamma >= 0, "gamma", "a number of at least 0", gamma)
        require(bool(critic) and min(critic) >= 1, "critic", "numbers of units of at least 1", critic)
        require(critic_pace > 0, "critic_pace", "a number above 0", critic_pace)
        self.gamma, self.critic, self.critic_pace = gamma, critic, critic_pace

    def build(self, space: Space) -> None:
        super().build(space)
        widths = (space.latent_dim, *self.critic)
        hidden = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.LeakyReLU(0.2))]
        self.judge = nn.Sequential(*hidden, nn.Linear(widths[-1], 1), nn.Flatten(0))

    def groups(self) -> list[Group]:
        return [Group(list(self.judge.parameters()), self.critic_pace, momentum=0.5, beta2=0.9, is_apart=True)]

    def regularised(self, codes: Codes) -> tuple[dict[str, Tensor], dict[str, float]]:
        if not self.gamma:
            return {}, {"kl": codes.share}
        terms = {"total_correlation": frozen(self.judge, codes.z), "critic": self.judged(codes)}
        return terms, {"kl": codes.share, "total_correlation": self.gamma * codes.share}

    def judged(self, codes: Codes) -> Tensor:
        """The critic's cross-entropy, (B,): codes of the first half as they are, those of the second one permuted."""
        require_batch(len(codes.z), 4, "A critic of codes and permuted codes")
        z = codes.z.detach()  # the encoder does not help the critic
        real, other = z[: len(z) // 2], z[len(z) // 2 :]
        order = torch.rand(other.shape, generator=codes.generator, device=z.device).argsort(0)
        odds = self.judge(torch.cat([real, other.gather(0, order)]))
        return torch.cat([F.softplus(-odds[: len(real)]), F.softplus(odds[len(real) :])])
