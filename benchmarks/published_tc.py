"""The beta-TC-VAE as the published logs were made with it, to repeat them; `tc` has the right weights."""

from __future__ import annotations

import torch
from torch import Tensor

from diabolo.models.objectives._aggregate import Codes, Penalties
from diabolo.models.objectives.tc import TC

__all__ = ["PublishedTC", "published_weights"]


class PublishedTC(TC):
    """The weights that three repositories share, which are not on the diagonal, and count once for each dimension.

    So does https://github.com/YannDubs/disentangling-vae, whose logs the table of `disentangling.py` repeats: inside
    log q(z) a weight stands to the power of the code's dimensions. Their warm-up is that of gamma alone.

    Args:
        alpha: as in `tc`.
        beta: as in `tc`.
        gamma: as in `tc`.
        warmup: epochs over which gamma rises from 0.
    """

    def __init__(self, *, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0, warmup: float = 0.0) -> None:
        super().__init__(alpha=alpha, beta=beta, gamma=gamma, warmup=warmup)

    def regularised(self, codes: Codes) -> Penalties:
        penalties = super().regularised(codes)
        others = {"mutual_information": self.alpha, "total_correlation": self.beta}
        return penalties._replace(weights=penalties.weights | others)

    def mixed(self, densities: Tensor) -> tuple[Tensor, Tensor]:
        weighed = densities + self.log_weights(len(densities)).to(densities)[..., None]
        return torch.logsumexp(weighed.sum(2), 1), torch.logsumexp(weighed, 1).sum(1)

    def log_weights(self, count: int) -> Tensor:
        return published_weights(count, max(self.space.examples, count)).log()


def published_weights(count: int, examples: int) -> Tensor:
    """Their matrix, (B, B): 1 / N in the first column, where the diagonal is right."""
    others = count - 1
    weights = torch.full((count, count), 1 / others)
    weights.view(-1)[:: others + 1] = 1 / examples
    weights.view(-1)[1 :: others + 1] = (examples - others) / (examples * others)
    weights[others - 1, 0] = (examples - others) / (examples * others)
    return weights
