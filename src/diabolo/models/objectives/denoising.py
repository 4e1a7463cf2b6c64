"""The denoising autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.models.distributions import Dirac
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Reduction

_LIMITS = {"gaussian": 1e6, "masking": 1.0, "salt-and-pepper": 1.0}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Denoising(Objective):
    """Learns to reconstruct the clean input from a corrupted one.

    `gaussian=0.3` adds noise of deviation 0.3; `masking=0.3` sets that fraction of the values to zero;
    `salt-and-pepper=0.3` sets it to 0 or 1 with equal chance. Where the data is standardised, zero is its mean.

    Args:
        noise: the corruption and its strength: gaussian=S, masking=P or salt-and-pepper=P.
    """

    posterior_family = Dirac
    corrupts = True
    overcomplete = True
    reduces = (Reduction({"noise": "gaussian=0"}, "autoencoder"), Reduction({"noise": "masking=0"}, "autoencoder"))
    equation = "-log p(x | z = f(c)), c ~ C(c | x)"
    formula = r"-\log p(x \mid z), \quad z = f(\tilde x), \quad \tilde x \sim q(\tilde x \mid x)"
    when = (
        "Take it to clean examples, and for features that small noise does not move. "
        "Not where noise is what tells examples apart."
    )
    teaches = {"reconstruction": "encoder decoder likelihood"}
    source = (
        "Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, Stacked denoising autoencoders, "
        "https://jmlr.org/papers/v11/vincent10a.html"
    )

    def __init__(self, *, noise: str = "gaussian=0.3") -> None:
        super().__init__()
        self.noise = noise
        self.kind, _, amount = noise.partition("=")
        require(self.kind in _LIMITS and _is_number(amount), "noise", f"KIND=AMOUNT, KIND {' | '.join(_LIMITS)}", noise)
        self.amount = float(amount)
        limit = _LIMITS[self.kind]
        require(0 <= self.amount <= limit, "noise", f"of an amount between 0 and {limit:g}", noise)

    def corrupt(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A batch x, (B, ...), with noise added or masked; pass a generator to repeat the noise."""
        if self.kind == "gaussian":
            return x + self.amount * torch.randn(x.shape, generator=generator, device=x.device)
        uniform = torch.rand(x.shape, generator=generator, device=x.device)
        if self.kind == "masking":
            return x * (uniform >= self.amount)
        salted = torch.where(uniform < self.amount, torch.ones_like(x), x)
        return torch.where(uniform < self.amount / 2, torch.zeros_like(x), salted)

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(self.corrupt(batch.x, net.generator))
        output = net.decode(posterior.mean)
        return Loss({"reconstruction": -net.log_likelihood(output, batch.x)}, posterior, output)
