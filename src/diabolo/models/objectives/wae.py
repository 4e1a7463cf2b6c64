"""The Wasserstein autoencoder: points for codes, whose distribution is held near the prior's."""

from __future__ import annotations

from typing import Literal

from diabolo.config import check_choices, require
from diabolo.models.distributions import Dirac
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Reduction
from diabolo.models.objectives._distances import cramer_wold, mmd, sliced
from diabolo.models.priors.own import CodePrior, StandardNormal


class WAE(Objective):
    """An autoencoder whose codes, all together, are distributed as N(0, I), by a penalty on their distance from it.

    Args:
        distance: `mmd`, the maximum mean discrepancy, by the unbiased estimate, which may be below zero; `sliced`, the
            squared Wasserstein distance along random directions; `cramer-wold`, the logarithm of the distance of
            smoothed densities along all directions.
        weight: of the distance.
        slices: directions that `sliced` draws for each batch.
    """

    posterior_family = Dirac
    couples = "distance, of the batch's codes from N(0, I)"
    pairs = True
    reduces = (Reduction({"weight": 0.0}, "autoencoder"),)
    equation = "-log p(x | z) + weight * D(q(z), N(0, I)), z = f(x)"
    formula = r"-\log p(x \mid f(x)) + \lambda \, D(q(z), \mathcal{N}(0, I))"
    when = (
        "Take it for sharp reconstructions from codes that can still be drawn from N(0, I). "
        "Not for a bound of the likelihood: its codes have no density. Nor with batches of a few examples."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "distance": "encoder"}
    source = (
        "Tolstikhin et al. 2018, Wasserstein auto-encoders, https://arxiv.org/abs/1711.01558; "
        "Kolouri et al. 2018, Sliced Wasserstein auto-encoders, https://arxiv.org/abs/1804.01947; "
        "Knop et al. 2020, Cramer-Wold auto-encoder, https://arxiv.org/abs/1805.09235"
    )

    def __init__(
        self,
        *,
        distance: Literal["mmd", "sliced", "cramer-wold"] = "mmd",
        weight: float = 100.0,
        slices: int = 50,
    ) -> None:
        super().__init__()
        require(weight >= 0, "weight", "a number of at least 0", weight)
        require(slices >= 1, "slices", "a number of at least 1", slices)
        self.distance, self.weight, self.slices = distance, weight, slices
        check_choices(self)

    def prior(self) -> CodePrior:
        return StandardNormal(self.space.latent_dim)

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = net.encode(batch.x, batch.y)
        z = code.mean
        output = net.decode(z, batch.y)
        if self.distance == "cramer-wold":
            distance = cramer_wold(z).log()
        else:
            drawn = self.prior().draw(len(z), net.generator)
            distance = mmd(z, drawn) if self.distance == "mmd" else sliced(z, drawn, self.slices, net.generator)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "distance": distance.expand(len(z))}
        return Loss(terms, code, output, {"distance": self.weight})
