"""The VAE whose prior is a mixture of its own posteriors: VampPrior, and the exemplar prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives._base import Batch, Net, Remark, Space
from diabolo.models.objectives._variational import Variational
from diabolo.models.priors.mixtures import PosteriorMixture
from diabolo.models.priors.own import CodePrior, OfEncoder


class Vamp(Variational):
    """A VAE whose codes are held near a mixture of the codes of pseudo-inputs, which are learned with it.

    The KL is estimated from the code that is drawn, and may be below zero. Pseudo-inputs start as training examples,
    and stay within the range of the data.

    Args:
        components: K, the number of pseudo-inputs.
        exemplars: take K training examples for them, which stay as they are, with one variance for all, which is
            learned; an example is left out of its own prior.
        beta: the weight of the KL; 1 is the evidence lower bound.
        warmup: epochs over which beta rises from 0.
        draws: latent codes drawn for each input in training; their terms are averaged.
        log_variance: the least and the largest logarithm of a variance of the posterior: a pseudo-input can make one
            as small as the code of a single example wants it.
    """

    equation = "E_q(z|x)[-log p(x | z) + beta * (log q(z | x) - log (1/K) sum_k q(z | u_k))]"
    formula = (
        r"\mathbb{E}_{q(z \mid x)}\Big[-\log p(x \mid z)"
        r" + \beta \log \frac{q(z \mid x)}{\frac{1}{K} \sum_k q(z \mid u_k)}\Big]"
    )
    when = (
        "Take it where codes lie in clusters that one Gaussian cannot follow: a better likelihood, better samples. "
        "Not for large inputs: each step encodes all K pseudo-inputs."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "kl": "encoder objective"}
    source = (
        "Tomczak, Welling 2018, VAE with a VampPrior, https://arxiv.org/abs/1705.07120; "
        "Norouzi, Fleet, Norouzi 2020, Exemplar VAE, https://arxiv.org/abs/2004.04795"
    )

    def __init__(
        self, *, components: int = 500, exemplars: bool = False, beta: float = 1.0, warmup: float = 0.0,
        draws: int = 1, log_variance: tuple[float, ...] | None = (-6.0, 2.0),
    ) -> None:  # fmt: skip
        super().__init__(beta=beta, warmup=warmup, draws=draws, log_variance=log_variance)
        least = 2 if exemplars else 1  # of one exemplar nothing would be left for itself
        require(components >= least, "components", f"a number of pseudo-inputs of at least {least}", components)
        self.components, self.exemplars, self.wants_index = components, exemplars, exemplars
        self.kind = "exemplars" if exemplars else "pseudo-inputs"

    def build(self, space: Space) -> None:
        super().build(space)
        around = torch.zeros(space.event_shape) if space.mean is None else space.mean
        inputs = around + 0.01 * torch.randn(self.components, *space.event_shape)
        if self.exemplars:
            self.register_buffer("inputs", inputs)
            self.register_buffer("places", torch.full((self.components,), -1))
            self.spread = nn.Parameter(torch.zeros(()))
        else:
            self.inputs = nn.Parameter(inputs)
        self.register_buffer("range", torch.tensor([-math.inf, math.inf]))

    def initialise(self, batch: Batch, net: Net) -> None:
        which = torch.arange(self.components) % len(batch)
        self.inputs.copy_(batch.x[which])
        self.get_buffer("range").copy_(torch.stack([batch.x.min(), batch.x.max()]))
        if self.exemplars and batch.index is not None:
            require(len(batch) >= self.components, "components", f"at most the {len(batch)} examples", self.components)
            self.get_buffer("places").copy_(batch.index[which])

    def prior(self) -> CodePrior:
        return OfEncoder(f"a mixture of {self.components} {self.kind}", self.mixture)

    def prior_of(self, batch: Batch, net: Net) -> CodePrior:
        if not self.exemplars or batch.index is None:
            return super().prior_of(batch, net)
        return self.mixture(net, batch.index[:, None] == self.get_buffer("places"))

    def remarks(self, terms: object) -> list[Remark]:
        different = len(torch.unique(self.inputs, dim=0))
        title = f"{different} of {self.components} {self.kind} are different"
        cure = "The others are copies of them, and learn as copies, at the cost of each. Take fewer `--components`."
        return [Remark("note", title, cure)] if different < self.components else []

    def mixture(self, net: Net, without: Tensor | None = None) -> PosteriorMixture:
        """The mixture that the encoder makes of the pseudo-inputs now."""
        least, most = self.get_buffer("range")
        posterior = net.encode(self.inputs.clamp(least, most))
        if self.exemplars:
            posterior = DiagonalGaussian(posterior.mean, self.spread.expand_as(posterior.mean))
        return PosteriorMixture(self.prior().name, posterior, without)
