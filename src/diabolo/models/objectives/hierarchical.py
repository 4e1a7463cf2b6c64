"""The VAE with two levels of codes: the upper one says where the lower one is to be expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor

from diabolo.config import require
from diabolo.models.distributions import DiagonalGaussian, Posterior
from diabolo.models.objectives._base import Batch, Loss, Net, Space, ramp
from diabolo.models.objectives._levels import Levels, TwoLevelPrior, TwoLevels
from diabolo.models.objectives._parts import Reduction, Remark
from diabolo.models.objectives._variational import Variational
from diabolo.models.priors.own import CodePrior


class Hierarchical(Variational):
    """A VAE with a code z1 of what an example is, and a code z2 of where z1 lies; the latent code is both, z1 first.

    Each level has a term of its own: `kl` of z1 and `kl_upper` of z2.

    Args:
        upper: how many numbers of the latent code are z2; half when left out; with 0 it is `vae`.
        ladder: q(z2 | x) q(z1 | x, z2), which weighs x and z2 by their precision, in the place of q(z1 | x) q(z2 | z1).
        upper_widths: hidden units between z1 and z2, from z1 upwards.
        beta: the weight of both KLs; 1 is the evidence lower bound.
        warmup: epochs over which beta rises from 0, so that the upper level is of use before it costs.
        log_variance: the least and the largest logarithm of any variance of the codes, as -6,2.
    """

    posterior_family = TwoLevels
    equation = "E_q[-log p(x | z1) + beta * (log q(z1, z2 | x) - log p(z1 | z2) - log p(z2))]"
    formula = r"\mathbb{E}_q[-\log p(x \mid z_1) + \beta \log \frac{q(z_1, z_2 \mid x)}{p(z_1 \mid z_2) \, p(z_2)}]"
    when = (
        "Take it for a better likelihood and samples than one level gives, and for a coarse code above a fine one. "
        "Not without a look at kl_upper: an upper level may stay idle; a warm-up and the ladder help."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood (objective)", "kl": "encoder objective",
        "kl_upper": "encoder objective",
    }  # fmt: skip
    source = (
        "Burda, Grosse, Salakhutdinov 2016 (two layers), https://arxiv.org/abs/1509.00519; "
        "Sonderby et al. 2016, Ladder variational autoencoders, https://arxiv.org/abs/1602.02282"
    )
    reduces = (Reduction({"upper": 0, "beta": 2.0}, "vae", {"beta": 2.0}),)

    def __init__(
        self, *, upper: int | None = None, ladder: bool = False, upper_widths: tuple[int, ...] = (100, 100),
        beta: float = 1.0, warmup: float = 0.0, log_variance: tuple[float, ...] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(beta=beta, warmup=warmup, log_variance=log_variance)
        require(upper is None or upper >= 0, "upper", "a number of at least 0", upper)
        self.upper, self.ladder, self.upper_widths = upper, ladder, tuple(upper_widths)
        self.levels: Levels | None = None

    def build(self, space: Space) -> None:
        super().build(space)
        lower = self.fed(space.latent_dim)
        if lower != space.latent_dim:
            self.levels = Levels(space, lower, self.upper_widths, self.held)
            self.sections = (("z1", lower), ("z2", space.latent_dim - lower))

    def features(self, latent_dim: int) -> int:
        return 2 * self.fed(latent_dim)

    def fed(self, latent_dim: int) -> int:
        return latent_dim - (latent_dim // 2 if self.upper is None else self.upper)

    def embed(self, z: Tensor, y: Tensor | None) -> Tensor:
        return z if self.levels is None else z[:, : self.levels.lower]

    def completed(self, z: Tensor) -> Tensor:
        return super().completed(z) if self.levels is None else self.levels.completed(z)

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        lower = self.held(DiagonalGaussian.from_features(features))
        return lower if self.levels is None else TwoLevels(lower, self.levels, self.ladder)

    def prior(self) -> CodePrior:
        return super().prior() if self.levels is None else TwoLevelPrior(self.levels)

    def loss(self, batch: Batch, net: Net) -> Loss:
        if self.levels is None:
            return super().loss(batch, net)
        posterior = cast(TwoLevels, net.encode(batch.x, batch.y))
        drawn = posterior.drawn(posterior.noise(net.generator))
        output = net.decode(drawn.code, batch.y)
        lower, upper = drawn.kl(self.ladder)
        beta = self.beta * ramp(net.epoch, self.warmup)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "kl": lower, "kl_upper": upper}
        return Loss(terms, posterior, output, {"kl": beta, "kl_upper": beta})

    def remarks(self, terms: Mapping[str, float]) -> list[Remark]:
        return [] if self.levels is None else self.levels.remarks(terms["kl"], terms["kl_upper"])
