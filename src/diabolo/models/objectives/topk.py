"""The sparse autoencoder that keeps the largest units."""

from __future__ import annotations

from typing import Literal

from diabolo.config import check_choices
from diabolo.models.objectives._active_units import TopUnits


class TopK(TopUnits):
    """Learns a dictionary of which each example uses few entries: the k units with the largest activations.

    Activations are cut at zero. With scope=batch the batch keeps k for each of its examples, some of which so get more
    than others; an evaluation, where an example has no batch, keeps what lies above a threshold that training learned.

    Args:
        k: the units of an example; when left out, 32, and at most a quarter of the code.
        scope: whether each example keeps its k largest, or a batch those of all its examples together.
        auxiliary: the weight of what dead units make of the error that the others leave, which brings them back.
        auxiliary_k: the dead units of an example that make it; when left out, k.
        dead: the steps without any activation after which a unit is taken for dead.
    """

    equation = "-log p(x | z) + auxiliary * |r - r'|^2, z the k largest of f(x), r the error, r' of dead units"
    formula = r"-\log p(x \mid z) + \alpha \, \| r - r' \|^2, \quad z = \mathrm{TopK}(\mathrm{ReLU}(f(x)))"
    when = (
        "Take it with --network dictionary for features of a network's activations: so many of thousands of units as "
        "you say. Not where the number should follow from the example: see jumprelu."
    )
    teaches = {"reconstruction": "encoder decoder likelihood", "auxiliary": "encoder decoder likelihood"}
    source = (
        "Gao et al. 2024, Scaling and evaluating sparse autoencoders, https://arxiv.org/abs/2406.04093; "
        "Bussmann, Leask, Nanda 2024, BatchTopK sparse autoencoders, https://arxiv.org/abs/2412.06410"
    )

    def __init__(
        self,
        *,
        k: int = 0,
        scope: Literal["example", "batch"] = "example",
        auxiliary: float = 0.03125,
        auxiliary_k: int = 0,
        dead: int = 1000,
    ) -> None:
        super().__init__(k=k, scope=scope, auxiliary=auxiliary, auxiliary_k=auxiliary_k, dead=dead)
        check_choices(self)
