"""The vector-quantised autoencoder, with one codebook or several for what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.models.objectives._base import Batch, Loss, Net, Objective, Remark, Space
from diabolo.models.objectives._quantise import Codebooks, Nearest, entries_of
from diabolo.models.objectives._tokens import in_use, outputs_of, positions_of, rows_of, vectors_of


class VQ(Objective):
    """Learns codes that are written with tokens: at each position the number of the nearest vector of a codebook.

    A code of d numbers is cut into `positions` vectors; one with places, (c, h, w), has one at each place. The codebook
    starts at the k-means of the training codes; entries that are no longer used are set beside the most used ones.

    Args:
        codes: the entries of a codebook, K; when left out, 512, and fewer where there are not eight vectors to each.
        positions: vectors in a code without places; when left out, at most 8, of two numbers or more.
        levels: codebooks in a row, each for what the ones before leave (residual quantisation).
        decay: the part of the running average of its members that an entry keeps in a step; 0 learns by gradient.
        commitment: the weight of the squared distance of the encoder's output from its entries, beside nats (papers
            have 0.25 beside a squared error): where it is small, codes run away from their entries.
        restart: the share of the average usage below which an entry is taken for dead; 0 leaves dead ones.
    """

    posterior_family = Nearest
    overcomplete = True
    training_only = ("commitment", "codebook")
    averaged = ("codebooks.books",)
    equation = "-log p(x | e) + |sg(f(x)) - e|^2 + commitment * |f(x) - sg(e)|^2, e the nearest entries to f(x)"
    formula = r"-\log p(x \mid z_q) + \beta \, \|z_e - \mathrm{sg}(e)\|^2"
    when = (
        "Take it for codes of tokens: for compression by entries of a codebook, or for a model of sequences over them. "
        "Not for interpolation: nothing lies between two entries."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "commitment": "encoder", "codebook": "objective"}
    source = (
        "van den Oord, Vinyals, Kavukcuoglu 2017, Neural discrete representation learning, "
        "https://arxiv.org/abs/1711.00937; Zeghidour et al. 2021, SoundStream, https://arxiv.org/abs/2107.03312"
    )

    def __init__(
        self, *, codes: int = 0, positions: int = 0, levels: int = 1, decay: float = 0.99, commitment: float = 16.0,
        restart: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        require(positions >= 0, "positions", "a number of vectors of at least 1, or 0 for the code's size", positions)
        require(commitment >= 0, "commitment", "a number of at least 0", commitment)
        self.codes, self.positions, self.levels = codes, positions, levels
        self.decay, self.commitment, self.restart = decay, commitment, restart

    def build(self, space: Space) -> None:
        super().build(space)
        self.count = vectors_of(space.code_shape, self.positions)
        self.entries = entries_of(self.codes, space.examples * self.count)
        self.register_buffer("unit", torch.ones(()))
        self.codebooks = Codebooks(self.levels, self.entries, space.latent_dim // self.count, self.decay, self.restart)

    def initialise(self, batch: Batch, net: Net) -> None:
        # Codes of a variance of 1: smaller ones run away from their entries, which follow in a hundred steps.
        output = outputs_of(batch, net)
        spread = output.std().clamp(min=1e-6)
        if not 0.5 < spread < 2:  # as it is where they start as principal components, in one unit for all
            self.get_buffer("unit").copy_(1 / spread)
            output = output / spread
        self.codebooks.start(rows_of(output, self.count).flatten(0, 1), net.generator)

    def posterior(self, features: Tensor, batch: Batch) -> Nearest:
        return Nearest(features.float() * self.get_buffer("unit"), self.codebooks.books, self.count)

    def nearest(self, z: Tensor) -> Tensor:
        """The code of the nearest entries; of several levels, whose sums lie close together, the code as it is."""
        return Nearest(z, self.codebooks.books, self.count).entries if self.levels == 1 else z

    def from_tokens(self, tokens: Tensor) -> Tensor:
        return positions_of(self.codebooks.lookup(tokens, self.count))

    def vectors(self, tokens: Tensor) -> Tensor:
        return positions_of(self.codebooks.of(tokens))

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = cast(Nearest, net.encode(batch.x))
        output = net.decode(code.mean)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x)} | self.codebooks.terms(code)
        statistics = self.codebooks.statistics(code) if self.training else {}
        return Loss(terms, code, output, {"commitment": self.commitment}, statistics)

    def remarks(self, terms: Mapping[str, float]) -> list[Remark]:
        names = ["entries of the codebook", *(f"entries of codebook {level}" for level in range(2, self.levels + 1))]
        return [in_use(usage, name, "fewer `--codes`") for usage, name in zip(self.codebooks.usage, names, strict=True)]

    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.codebooks.update(statistics, generator)
