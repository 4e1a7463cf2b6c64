"""The sparse autoencoder of nested dictionaries."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diabolo.config import check_choices, require
from diabolo.models.objectives._active_units import TopUnits
from diabolo.models.objectives._base import Net, Reduction, Space
from diabolo.models.units import Units, is_recorded


class Matryoshka(TopUnits):
    """Learns nested dictionaries: the first units of a code reconstruct alone, and so do the first more.

    So the first units stay general, and are not split into the special cases that later ones hold. The units are chosen
    once, of all widths together, as in topk.

    Args:
        nested: the widths of the dictionaries, rising: shares of the units, or numbers of them where above 1.
        k: the units of an example; when left out, 32, and at most a quarter of the code.
        scope: whether a batch keeps the k largest for each of its examples together, or each example its own.
        auxiliary: the weight of what dead units make of the error that the others leave, which brings them back.
        auxiliary_k: the dead units of an example that make it; when left out, k.
        dead: the steps without any activation after which a unit is taken for dead.
    """

    equation = "sum over m of -log p(x | z[:m]) + auxiliary * |r - r'|^2, z the k largest of f(x), as in topk"
    formula = r"\sum_m -\log p(x \mid z_{1:m}) + \alpha \, \| r - r' \|^2, \quad z = \mathrm{TopK}(\mathrm{ReLU}(f(x)))"
    when = (
        "Take it with --network dictionary where features are parts of others, and wide dictionaries split or absorb "
        "the general ones. Not for the least error at a number of active units: see topk."
    )
    teaches = {
        "reconstruction": "encoder decoder likelihood",
        "auxiliary": "encoder decoder likelihood",
        "prefixes": "encoder decoder likelihood",
    }
    source = (
        "Bussmann, Nabeshima, Karvonen, Nanda 2025, Learning multi-level features with Matryoshka sparse autoencoders, "
        "https://arxiv.org/abs/2503.17547"
    )
    reduces = (
        Reduction({"nested": (1.0,)}, "topk", {"scope": "batch"}),
        Reduction({"nested": (1.0,), "scope": "example", "k": 2}, "topk", {"k": 2}),
    )

    def __init__(
        self,
        *,
        nested: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0),
        k: int = 0,
        scope: Literal["batch", "example"] = "batch",
        auxiliary: float = 0.03125,
        auxiliary_k: int = 0,
        dead: int = 1000,
    ) -> None:
        super().__init__(k=k, scope=scope, auxiliary=auxiliary, auxiliary_k=auxiliary_k, dead=dead)
        require(bool(nested) and min(nested) > 0, "nested", "numbers above 0, at least one", nested)
        self.nested = tuple(nested)
        check_choices(self)

    def build(self, space: Space) -> None:
        super().build(space)
        d = space.latent_dim
        units = [math.ceil(width * d) if width <= 1 else round(width) for width in self.nested]
        require(units == sorted(units) and units[-1] <= d, "nested", f"rising, up to the code's {d} units", self.nested)
        self.prefixes = sorted({width for width in units if width < d})

    def decoded(self, code: Units | Tensor, x: Tensor, net: Net) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.prefixes:
            return super().decoded(code, x, net)
        output, *outputs = net.decode(_nested(code, self.prefixes)).chunk(1 + len(self.prefixes))
        each = [-net.log_likelihood(one, x) for one in outputs]
        return output, {"prefixes": torch.stack(each).sum(0)}


def _nested(units: Units | Tensor, widths: list[int]) -> Units | Tensor:
    """The codes, and behind them what the first units leave of them, once for each width: (1 + widths) B codes."""
    if is_recorded() and isinstance(units, Units):
        units = units.dense()
    if isinstance(units, Tensor):
        numbers = torch.arange(units.shape[1], device=units.device)
        return torch.cat([units, *(units * (numbers < width) for width in widths)])
    rows, count = units.rows, len(units.offsets) - 1
    parts = [(units.values, units.numbers, rows)]
    for width in widths:
        kept = (units.numbers < width).nonzero()[:, 0]
        parts.append((units.values[kept], units.numbers[kept], rows[kept]))
    counts = torch.cat([torch.bincount(part[2], minlength=count) for part in parts])
    values, numbers = (torch.cat([part[place] for part in parts]) for place in (0, 1))
    return Units(values, numbers, F.pad(counts.cumsum(0), (1, 0)), units.width)
