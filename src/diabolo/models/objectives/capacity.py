"""The beta-VAE with a capacity: the KL is held at a number of nats that rises."""

from __future__ import annotations

from diabolo.config import require
from diabolo.models.objectives._aggregate import Aggregate, Codes, Penalties
from diabolo.models.objectives._base import Reduction


class Capacity(Aggregate):
    """A VAE whose KL, averaged over the batch, is held at C nats, with C rising from 0 as it trains.

    Args:
        gamma: the weight of the distance of the KL from C.
        capacity: C at the end, in nats.
        warmup: epochs over which C rises from 0 (published: 100,000 steps).
    """

    couples = "capacity, the distance of the average KL from C"
    reduces = (Reduction({"gamma": 4.0, "capacity": 0.0}, "vae", {"beta": 4.0}),)
    equation = "E_q(z|x)[-log p(x | z)] + gamma * |KL(q(z | x) || N(0, I)) - C|, the KL averaged over x"
    formula = (
        r"\mathbb{E}_{q(z \mid x)}[-\log p(x \mid z)]"
        r" + \gamma \, \big|\mathbb{E}_x \mathrm{KL}(q(z \mid x) \| \mathcal{N}(0, I)) - C\big|"
    )
    when = (
        "Take it to say how many nats a code may hold, and to see factors appear one by one as C rises. "
        "Not for a bound of the likelihood: with a large gamma the KL stays at C, whatever the data want."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "kl": "encoder", "capacity": "encoder"}
    source = (
        "Burgess et al. 2018, Understanding disentangling in beta-VAE, https://arxiv.org/abs/1804.03599; "
        "the distance of the batch's average, as in https://github.com/google-research/disentanglement_lib"
    )

    def __init__(self, *, gamma: float = 100.0, capacity: float = 25.0, warmup: float = 0.0) -> None:
        super().__init__(warmup=warmup)
        require(gamma >= 0, "gamma", "a number of at least 0", gamma)
        require(capacity >= 0, "capacity", "a number of nats of at least 0", capacity)
        self.gamma, self.capacity = gamma, capacity

    def regularised(self, codes: Codes) -> Penalties:
        beyond = codes.kl - self.capacity * codes.share
        side = beyond.detach().mean().sign()  # |mean| is the mean of the examples' shares, each with the mean's sign
        return Penalties({"capacity": side * beyond}, {"kl": 0.0, "capacity": self.gamma})
