"""The plain autoencoder."""

from __future__ import annotations

from diabolo.models.distributions import Dirac
from diabolo.models.objectives._base import Batch, Loss, Net, Objective


class Autoencoder(Objective):
    """Learns a latent code from which the input can be reconstructed."""

    posterior_family = Dirac
    equation = "-log p(x | z = f(x))"
    formula = r"-\log p(x \mid z), \quad z = f(x)"
    when = (
        "Take it for codes that keep as much of an example as they can: compression, features, anomalies. "
        "Not for new examples: nothing says where its codes lie, but a prior that is fitted afterwards."
    )
    teaches = {"reconstruction": "encoder decoder likelihood"}
    source = (
        "Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors; "
        "Hinton, Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, "
        "https://doi.org/10.1126/science.1127647"
    )

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(batch.x)
        output = net.decode(posterior.mean)
        return Loss({"reconstruction": -net.log_likelihood(output, batch.x)}, posterior, output)
