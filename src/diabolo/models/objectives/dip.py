"""The DIP-VAE: the covariance of the codes is held at the identity."""

from __future__ import annotations

from typing import Literal

from diabolo.config import check_choices, require
from diabolo.models.objectives._aggregate import Aggregate, Codes, Penalties, require_batch
from diabolo.models.objectives._base import Reduction


class DIP(Aggregate):
    """A VAE whose codes are uncorrelated and of variance 1, by a penalty on their covariance in the batch.

    Args:
        kind: `i` is the covariance of the posteriors' means, `ii` that of the codes, which adds their mean variance.
        off_diagonal: the weight of the squared covariances of two dimensions.
        diagonal: the weight of the squared distances of the variances from 1; published 10 times the other for `i`, as
            much as it for `ii`.
        warmup: epochs over which the weights of the KL and of the penalties rise from 0.
    """

    couples = "off_diagonal and diagonal, of the covariance over the batch"
    reduces = (Reduction({"off_diagonal": 0.0, "diagonal": 0.0}, "vae"),)
    equation = "-ELBO(x) + off_diagonal * sum_{i != j} Cov_ij^2 + diagonal * sum_i (Cov_ii - 1)^2"
    formula = (
        r"\mathbb{E}_{q(z \mid x)}[-\log p(x \mid z)] + \mathrm{KL}(q(z \mid x) \| \mathcal{N}(0, I))"
        r" + \lambda_{od} \sum_{i \ne j} \mathrm{Cov}_{ij}^2 + \lambda_d \sum_i (\mathrm{Cov}_{ii} - 1)^2"
    )
    when = (
        "Take it for uncorrelated dimensions at little cost: it needs no critic and no estimate of a density. "
        "Not for independence beyond the covariance: codes on a circle are uncorrelated."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood",
        "kl": "encoder",
        "off_diagonal": "encoder",
        "diagonal": "encoder",
    }
    source = "Kumar, Sattigeri, Balakrishnan 2018, Variational inference of disentangled latent concepts, https://arxiv.org/abs/1711.00848"

    def __init__(
        self,
        *,
        kind: Literal["i", "ii"] = "i",
        off_diagonal: float = 10.0,
        diagonal: float = 100.0,
        warmup: float = 0.0,
    ) -> None:
        super().__init__(warmup=warmup)
        require(off_diagonal >= 0, "off_diagonal", "a number of at least 0", off_diagonal)
        require(diagonal >= 0, "diagonal", "a number of at least 0", diagonal)
        self.kind, self.off_diagonal, self.diagonal = kind, off_diagonal, diagonal
        check_choices(self)

    def regularised(self, codes: Codes) -> Penalties:
        if self.training:
            require_batch(len(codes.z), 2, "A covariance")
        away = codes.posterior.mean - codes.posterior.mean.mean(0)
        covariance = away.T @ away / len(away)
        variance = covariance.diagonal()
        between = covariance.square().sum() - variance.square().sum()
        if self.kind == "ii":
            variance = variance + codes.posterior.log_variance.exp().mean(0)
        terms = {
            "off_diagonal": between.expand_as(codes.kl),
            "diagonal": (variance - 1).square().sum().expand_as(codes.kl),
        }
        share = codes.share
        return Penalties(
            terms, {"kl": share, "off_diagonal": self.off_diagonal * share, "diagonal": self.diagonal * share}
        )
