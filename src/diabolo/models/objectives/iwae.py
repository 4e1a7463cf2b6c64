"""The importance-weighted autoencoder: a bound that several codes of an example make tighter together."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor

from diabolo.config import check_choices, require
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives._base import Batch, Loss, Net
from diabolo.models.objectives._importance import shares_of
from diabolo.models.objectives._parts import Reduction
from diabolo.models.objectives._variational import Variational


class IWAE(Variational):
    """A VAE whose bound averages importance weights of several codes: tighter, with a freer posterior.

    The terms are those of the average under these weights: `reconstruction` is -log p(x | z) of the codes that count,
    `kl` the rest of the bound. With one draw the KL is the closed form, whatever the estimator: that is `vae`.

    Args:
        draws: K, the codes whose weights are averaged within the logarithm.
        repeats: M, the number of such bounds that are averaged in training (MIWAE).
        estimator: of the gradient: `iwae`; `dreg`, whose part for the encoder does not drown in noise as K grows;
            `piwae`, which averages all M K weights for the decoder and K for the encoder; `ciwae`, of a mixture of the
            bound with the plain one.
        share: of the plain bound in the mixture of ciwae.
        log_variance: the least and the largest logarithm of a variance of the posterior, as -6,2.
    """

    equation = "-E log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x), with z_1, ..., z_K drawn from q(z | x)"
    formula = (
        r"-\mathbb{E}_{z_1, \dots, z_K \sim q(z \mid x)}"
        r" \Big[\log \frac{1}{K} \sum_{k=1}^K \frac{p(x \mid z_k) \, p(z_k)}{q(z_k \mid x)}\Big]"
    )
    when = (
        "Take it for a better likelihood, where the posterior is no Gaussian: with dreg from about 5 draws on. "
        "Not where single codes matter: q(z | x) fits worse as K grows; each draw costs a pass of the decoder."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "kl": "encoder"}
    source = (
        "Burda, Grosse, Salakhutdinov 2016, Importance weighted autoencoders, https://arxiv.org/abs/1509.00519; "
        "Rainforth et al. 2018, Tighter bounds, https://arxiv.org/abs/1802.04537; "
        "Tucker et al. 2019, Doubly reparameterized gradients, https://arxiv.org/abs/1810.04152"
    )
    reduces = (
        Reduction({"draws": 1}, "vae"),
        Reduction({"draws": 1, "repeats": 3, "estimator": "dreg"}, "vae", {"draws": 3}),
    )

    def __init__(
        self,
        *,
        draws: int = 5,
        repeats: int = 1,
        estimator: Literal["iwae", "dreg", "piwae", "ciwae"] = "iwae",
        share: float = 0.5,
        log_variance: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(draws=draws, log_variance=log_variance)
        require(repeats >= 1, "repeats", "a number of bounds of at least 1", repeats)
        require(0 <= share <= 1, "share", "a number from 0 to 1", share)
        self.repeats, self.estimator, self.share = repeats, estimator, share
        check_choices(self)

    def loss(self, batch: Batch, net: Net) -> Loss:
        repeats = self.repeats if self.training else 1
        if self.draws == 1:
            return self.bound(batch, net, repeats)
        posterior, prior = cast(DiagonalGaussian, net.encode(batch.x, batch.y)), self.prior_of(batch, net)
        codes = torch.stack([self.drawn(posterior, net.generator) for _ in range(repeats * self.draws)])
        passed: list[Tensor] = []
        if codes.requires_grad:  # what the decoder and the prior say of a code, on its way to the encoder
            codes.register_hook(lambda gradient: gradient * passed[0] if passed else gradient)  # type: ignore[no-untyped-call]
        output, likelihoods = self.decoded(codes.unbind(), batch, net)
        held = posterior.detached()  # the density has two ways to the encoder: through the code, and directly
        densities = torch.stack([held.log_prob(z) for z in codes])
        priors = prior.log_prob(codes)
        logs = (likelihoods + priors - densities).view(repeats, self.draws, -1)
        shares = shares_of(logs, self.estimator, self.share)
        counts = shares.decoder.flatten(0, 1)
        if shares.passed is not None:
            passed.append(shares.passed.flatten(0, 1)[..., None])
        reconstruction, kl = -(counts * likelihoods).sum(0), (counts * (densities - priors)).sum(0)
        if shares.direct is not None:
            direct = torch.stack([posterior.log_prob(z) for z in codes.detach()])
            kl = kl + (shares.direct.flatten(0, 1) * direct).sum(0)
        kl = kl - kl.detach() + shares.bound - reconstruction.detach()  # the gradient of kl, the value of the rest
        return Loss({"reconstruction": reconstruction, "kl": kl}, posterior, output)
