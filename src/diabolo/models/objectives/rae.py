"""The regularised autoencoder: a deterministic decoder that is held smooth, and small codes."""

from __future__ import annotations

from typing import Literal

import torch

from diabolo.config import check_choices, require
from diabolo.errors import ConfigError
from diabolo.models.distributions import Dirac
from diabolo.models.networks import Spectral
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Reduction
from diabolo.models.objectives._jacobian import jacobian_norm


class RAE(Objective):
    """Learns small codes and a smooth decoder without noise, so that a density fitted to the codes gives new examples.

    Three ways to hold the decoder smooth: `l2`, half the sum of its squared weights and biases, which is weight decay
    of the decoder alone; `gp`, the squared Frobenius norm of its Jacobian, d output / d z, estimated along random
    directions (the authors' code differentiates the sum of squared outputs, and pythae the sum of the outputs with
    respect to x: other quantities); `sn`, layers of a spectral norm of 1, which the network's option spectral=decoder
    gives. The code has no prior: fit one, `diabolo fit-prior RUN --kind gmm`.

    Args:
        beta: the weight of half the squared length of the code.
        penalty: l2, gp, or sn.
        weight: of l2 or gp.
        probes: random directions by which gp is estimated, for each example.
    """

    posterior_family = Dirac
    reduces = (
        Reduction({"beta": 0.0, "weight": 0.0}, "autoencoder"),
        Reduction({"beta": 0.0, "weight": 0.0, "penalty": "gp"}, "autoencoder"),
    )
    equation = "-log p(x | z) + beta/2 * |z|^2 + weight * R, R = |decoder's weights|^2 / 2 or |d output/dz|^2, z = f(x)"
    formula = (
        r"-\log p(x \mid z) + \frac{\beta}{2} \|z\|^2 + \lambda R, \quad"
        r" R = \tfrac{1}{2} \|\theta\|^2 \text{ or } \left\| \frac{\partial g}{\partial z} \right\|_F^2"
    )
    when = (
        "Take it for sharp reconstructions and new examples from one model, by a mixture that is fitted to its codes. "
        "Not for a likelihood: there is none."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood",
        "length": "encoder",
        "weights": "decoder",
        "smoothness": "decoder",  # and the encoder, where activations are smooth
    }
    source = (
        "Ghosh, Sajjadi, Vergari, Black, Scholkopf 2020, From variational to deterministic autoencoders, "
        "https://arxiv.org/abs/1903.12436"
    )

    def __init__(
        self,
        *,
        beta: float = 0.01,
        penalty: Literal["l2", "gp", "sn"] = "l2",
        weight: float = 1e-3,
        probes: int = 1,
    ) -> None:
        super().__init__()
        require(beta >= 0, "beta", "a number of at least 0", beta)
        require(weight >= 0, "weight", "a number of at least 0", weight)
        require(probes >= 1, "probes", "a number of directions of at least 1", probes)
        self.beta, self.penalty, self.weight, self.probes = beta, penalty, weight, probes
        check_choices(self)
        self.second_order = penalty == "gp" and weight > 0

    def initialise(self, batch: Batch, net: Net) -> None:
        if self.penalty == "sn" and not any(isinstance(layer, Spectral) for layer in net.decoder.modules()):
            raise ConfigError(
                "penalty='sn' should come with a decoder whose layers have a spectral norm of 1, and this one's have "
                "not: say spectral='decoder' and start='random' too (--spectral decoder --start random)."
            )

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(batch.x)
        z = posterior.mean
        output = net.decode(z)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x)}
        if self.beta:
            terms["length"] = z.square().sum(1) / 2
        if self.penalty == "l2" and self.weight:
            squares = torch.stack([parameter.square().sum() for parameter in net.decoder.parameters()])
            terms["weights"] = squares.sum().expand(len(z)) / 2
        elif self.penalty == "gp" and self.weight:
            terms["smoothness"] = jacobian_norm(output.flatten(1), z, self.probes, net.generator)
        weights = {"length": self.beta, "weights": self.weight, "smoothness": self.weight}
        return Loss(terms, posterior, output, {name: weights[name] for name in terms if name in weights})
