"""The InfoVAE: less KL, and a distance between the aggregate of codes and the prior."""

from __future__ import annotations

from diabolo.config import require
from diabolo.models.objectives._aggregate import Aggregate, Codes, Penalties
from diabolo.models.objectives._base import Reduction
from diabolo.models.objectives._distances import mmd


class InfoVAE(Aggregate):
    """A VAE whose codes keep information on the example: part of the KL is replaced by the distance of q(z) from p(z).

    The distance is the maximum mean discrepancy of the batch's codes from codes of the prior, by the unbiased estimate,
    which may be below zero.

    Args:
        alpha: the part of the KL that is left out; 1 leaves all of it out.
        strength: lambda: the weight of the distance is alpha + lambda - 1.
        warmup: epochs over which the weights of the KL and of the distance rise from 0.
    """

    couples = "mmd, the distance of the batch's codes from the prior"
    pairs = True
    reduces = (Reduction({"alpha": 0.0, "strength": 1.0}, "vae"),)
    equation = "E_q(z|x)[-log p(x | z)] + (1 - alpha) * KL(q(z | x) || p(z)) + (alpha + lambda - 1) * MMD(q(z), p(z))"
    formula = (
        r"\mathbb{E}_{q(z \mid x)}[-\log p(x \mid z)] + (1 - \alpha) \, \mathrm{KL}(q(z \mid x) \| p(z))"
        r" + (\alpha + \lambda - 1) \, \mathrm{MMD}(q(z), p(z))"
    )
    when = (
        "Take it where a decoder is so strong that a VAE's code would stay unused. "
        "Not for a bound of the likelihood, unless alpha is 0 and lambda is 1."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "kl": "encoder", "mmd": "encoder"}
    source = "Zhao, Song, Ermon 2017, InfoVAE, https://arxiv.org/abs/1706.02262"

    def __init__(self, *, alpha: float = 0.5, strength: float = 100.0, warmup: float = 0.0) -> None:
        super().__init__(warmup=warmup)
        require(alpha <= 1, "alpha", "a number of at most 1", alpha)
        require(strength >= 1 - alpha, "strength", f"a number of at least 1 - alpha, {1 - alpha:g}", strength)
        self.alpha, self.strength = alpha, strength

    def regularised(self, codes: Codes) -> Penalties:
        drawn = codes.prior.draw(len(codes.z), codes.generator)
        terms = {"mmd": mmd(codes.z, drawn).expand_as(codes.kl)}
        share = codes.share
        return Penalties(terms, {"kl": (1 - self.alpha) * share, "mmd": (self.alpha + self.strength - 1) * share})
