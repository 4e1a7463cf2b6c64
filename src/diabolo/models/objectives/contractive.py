"""The contractive autoencoder."""

from __future__ import annotations

from diabolo.config import require
from diabolo.models.distributions import Dirac
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Reduction
from diabolo.models.objectives._jacobian import jacobian_norm


class Contractive(Objective):
    """Learns a code that small changes of an example hardly move: the encoder's Jacobian is held small.

    The penalty is of the whole encoder, however deep. For one sigmoid layer it is the sum over its units of
    (h (1 - h))^2 |w|^2, which is often taken for other encoders, too, of which it is not true. A part of the penalty is
    met by smaller codes, which the decoder undoes: compare directions of codes, and not their sizes.

    Args:
        weight: of the squared Frobenius norm of the Jacobian.
        probes: random directions by which the norm is estimated, for each example; 0 computes it exactly, with as many
            passes as the code has numbers.
    """

    posterior_family = Dirac
    overcomplete = True
    second_order = True
    reduces = (Reduction({"weight": 0.0}, "autoencoder"),)
    equation = "-log p(x | z) + weight * |dz/dx|^2, z = f(x)"
    formula = r"-\log p(x \mid z) + \lambda \left\| \frac{\partial z}{\partial x} \right\|_F^2, \quad z = f(x)"
    when = (
        "Take it for features that do not follow small changes of an example, and for directions in which data vary. "
        "Not where training has to be fast: a gradient is differentiated again, about twice the time."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "contraction": "encoder"}
    source = (
        "Rifai, Vincent, Muller, Glorot, Bengio 2011, Contractive auto-encoders, "
        "https://icml.cc/2011/papers/455_icmlpaper.pdf"
    )

    def __init__(self, *, weight: float = 1.0, probes: int = 1) -> None:
        super().__init__()
        require(weight >= 0, "weight", "a number of at least 0", weight)
        require(probes >= 0, "probes", "a number of directions of at least 1, or 0 for all", probes)
        self.weight, self.probes = weight, probes

    def loss(self, batch: Batch, net: Net) -> Loss:
        if not self.weight:
            posterior = net.encode(batch.x)
            output = net.decode(posterior.mean)
            return Loss({"reconstruction": -net.log_likelihood(output, batch.x)}, posterior, output)
        x = batch.x.detach().requires_grad_()
        posterior = net.encode(x)
        output = net.decode(posterior.mean)
        terms = {
            "reconstruction": -net.log_likelihood(output, batch.x),
            "contraction": jacobian_norm(posterior.mean, x, self.probes, net.generator),
        }
        return Loss(terms, posterior, output, {"contraction": self.weight})
