"""The sparse autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.models.distributions import Dirac, Posterior
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Reduction


class Sparse(Objective):
    """Learns a latent code of which each input uses few dimensions: an L1 penalty, the k largest entries, or both.

    The penalty is the negative logarithm of a Laplace prior of scale 1 / l1, without its constant.

    Args:
        l1: the weight of the sum of the absolute values of the latent code.
        k: the number of dimensions each input may use, the largest in absolute value; 0 allows all.
    """

    posterior_family = Dirac
    overcomplete = True
    reduces = (Reduction({"l1": 0.0, "k": 0}, "autoencoder"),)
    equation = "-log p(x | z) + l1 * sum |z|, z = f(x), or its k largest entries"
    formula = r"-\log p(x \mid z) + \lambda \sum_i |z_i|"
    when = (
        "Take it for codes of few numbers each on small data. "
        "Not for dictionaries of thousands of units: an L1 penalty shrinks what it keeps; topk does not."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "l1": "encoder"}
    source = (
        "Ng 2011, CS294A lecture notes: sparse autoencoder; "
        "Makhzani, Frey 2014, k-sparse autoencoders, https://arxiv.org/abs/1312.5663"
    )

    def __init__(self, *, l1: float = 0.1, k: int = 0) -> None:
        super().__init__()
        require(l1 >= 0, "l1", "a number of at least 0", l1)
        require(k >= 0, "k", "a number of dimensions of at least 0", k)
        self.l1 = l1
        self.k = k

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        z = super().posterior(features, batch).mean
        if self.k == 0:
            return Dirac(z)
        if self.k > z.shape[1]:
            require(False, "k", f"at most the code's {z.shape[1]} dimensions", self.k)
        mask = torch.zeros_like(z).scatter(1, z.abs().topk(self.k, dim=1).indices, 1.0)
        return Dirac(z * mask)

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(batch.x)
        output = net.decode(posterior.mean)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "l1": posterior.mean.abs().sum(1)}
        return Loss(terms, posterior, output, {"l1": self.l1})
