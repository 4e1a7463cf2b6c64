"""The beta-TC-VAE: the KL in three parts, of which the total correlation weighs most."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from diabolo.config import check_choices, require
from diabolo.models.objectives._aggregate import Aggregate, Codes, Penalties, require_batch
from diabolo.models.objectives._pairs import aggregate


class TC(Aggregate):
    """A VAE whose KL is split into information, total correlation and the KL of each dimension, with a weight each.

    q(z), the average of the posteriors of all N training examples, is estimated from those of the batch, so that the
    terms are estimates, noisy and biased by the batch's size: the total correlation may be below zero.

    Args:
        alpha: the weight of the mutual information of x and z.
        beta: the weight of the total correlation, KL(q(z) || prod_j q(z_j)).
        gamma: the weight of the KL of each dimension, sum_j KL(q(z_j) || p(z_j)).
        estimate: of q(z): `mss`, stratified sampling, whose average over all batches is q(z), or `mws`, weighted
            sampling, which stays below it.
        warmup: epochs over which the three weights rise from 0.
    """

    couples = "total_correlation, with q(z) estimated from the batch"
    pairs = True
    equation = "-log p(x | z) + alpha * I(x; z) + beta * KL(q(z) || prod q(z_j)) + gamma * sum KL(q(z_j) || p(z_j))"
    formula = (
        r"\mathbb{E}_{q(z \mid x)}[-\log p(x \mid z)] + \alpha \, I(x; z)"
        r" + \beta \, \mathrm{KL}\big(q(z) \| \prod_j q(z_j)\big) + \gamma \sum_j \mathrm{KL}(q(z_j) \| p(z_j))"
    )
    when = (
        "Take it for codes whose dimensions are independent, at less cost in reconstruction than a large beta. "
        "Not with batches of a few: q(z) is estimated from the batch."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood",
        "kl": "encoder",
        "mutual_information": "encoder",
        "total_correlation": "encoder",
        "dimension_kl": "encoder",
    }
    source = "Chen, Li, Grosse, Duvenaud 2018, Isolating sources of disentanglement in VAEs, https://arxiv.org/abs/1802.04942"

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 6.0,
        gamma: float = 1.0,
        estimate: Literal["mss", "mws"] = "mss",
        warmup: float = 0.0,
    ) -> None:
        super().__init__(warmup=warmup)
        for name, weight in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            require(weight >= 0, name, "a number of at least 0", weight)
        self.alpha, self.beta, self.gamma, self.estimate = alpha, beta, gamma, estimate
        check_choices(self)

    def regularised(self, codes: Codes) -> Penalties:
        posterior, z = codes.posterior, codes.z
        if self.training:
            require_batch(len(z), 2, "An estimate of q(z)")
        average, marginals = aggregate(z, posterior, self.log_weights(len(z)).to(z))
        terms = {
            "mutual_information": posterior.log_prob(z) - average,
            "total_correlation": average - marginals,
            "dimension_kl": marginals - codes.prior.log_prob(z),
        }
        weights = dict(zip(terms, (self.alpha, self.beta, self.gamma), strict=True))
        return Penalties(terms, {"kl": 0.0} | {name: weight * codes.share for name, weight in weights.items()})

    def log_weights(self, count: int) -> Tensor:
        """The logarithm of the weight of q(z_i | x_k) in q(z_i), (B, B).

        Of N examples a code's own is certainly in its batch: it gets 1 / N, and the others share the rest in equal
        parts. (The published matrix gives one of the others less: the same average, with no smaller spread.)
        """
        examples = max(self.space.examples, count)
        if self.estimate == "mws":
            return torch.full((count, count), -math.log(examples * count))
        others = (examples - 1) / (examples * max(count - 1, 1))
        return torch.full((count, count), others).fill_diagonal_(1 / examples).log()
