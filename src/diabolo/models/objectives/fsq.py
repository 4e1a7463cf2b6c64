"""Finite scalar quantisation: each number of a code is rounded, and there is no codebook to learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from diabolo.config import require
from diabolo.models.objectives._base import Batch, Loss, Net, Remark, Space
from diabolo.models.objectives._grid import OnGrid
from diabolo.models.objectives._tokens import Outputs, in_use, rows_of


class FSQ(OnGrid):
    """Learns codes whose numbers are rounded to a few levels each; those of a vector are a token.

    The gradient passes straight through the rounding. Where codes start at random, the grid follows their running mean
    and deviation: they would leave a fixed one for where its slope is zero. With `lfq` (lookup-free quantisation) each
    number becomes its sign, and two entropies keep tokens certain and evenly used: two levels to each number.

    Args:
        levels: L of each number: one for all, or one for each number of a vector, such as 8,5,5,5.
        positions: vectors in a code without places; when left out, at most 8, of two numbers or more.
        lfq: take signs.
        entropy: with lfq, the weight of the entropies, nats per token.
        commitment: with lfq, the weight of the squared distance of the encoder's output from its signs.
    """

    training_only = ("commitment", "uncertainty", "imbalance")
    equation = "-log p(x | round(bound(f(x))))"
    formula = r"-\log p(x \mid z_q), \quad z_q = \mathrm{round}\big(\tfrac{L}{2} \tanh f(x)\big)"
    when = (
        "Take it for tokens without a codebook that could die: every one can be reached, and few settings matter. "
        "Not where few bits are to carry much: entries that are learned (vq) lie where codes do."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood", "commitment": "encoder", "uncertainty": "encoder",
        "imbalance": "encoder",
    }  # fmt: skip
    source = (
        "Mentzer, Minnen, Agustsson, Tschannen 2023, Finite scalar quantization, https://arxiv.org/abs/2309.15505; "
        "Yu et al. 2023, Language model beats diffusion (lookup-free quantization), https://arxiv.org/abs/2310.05737"
    )

    def __init__(
        self, *, levels: tuple[int, ...] = (8,), positions: int = 0, lfq: bool = False, entropy: float = 0.1,
        commitment: float = 16.0,
    ) -> None:  # fmt: skip
        super().__init__()
        require(entropy >= 0, "entropy", "a number of at least 0", entropy)
        require(commitment >= 0, "commitment", "a number of at least 0", commitment)
        self.levels, self.positions, self.lfq = levels, positions, lfq
        self.entropy, self.commitment = entropy, commitment
        self.couples = "the entropy of lfq's tokens" if lfq and entropy else ""

    def build(self, space: Space) -> None:
        super().build(space)
        self.lay((2,) if self.lfq else self.levels, self.positions, signs=self.lfq)

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = cast(Outputs, net.encode(batch.x))
        output = net.decode(code.mean)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x)}
        if self.lfq:
            rows, signs = (rows_of(z, self.count) / self.unit for z in (code.output, code.entries))
            terms["commitment"] = (rows - signs).square().sum((1, 2))
            if self.entropy:
                terms["uncertainty"], terms["imbalance"] = self.grid.entropies(rows)
        weights = {"commitment": self.commitment, "uncertainty": self.entropy, "imbalance": self.entropy}
        statistics = self.moments(code.rows) | self.grid.statistics(code.index) if self.training else {}
        return Loss(terms, code, output, {name: weights[name] for name in terms if name in weights}, statistics)

    def remarks(self, terms: Mapping[str, float]) -> list[Remark]:
        return [in_use(self.grid.usage, "points of the grid", "fewer levels (`--levels`)")]
