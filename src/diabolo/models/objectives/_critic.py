"""The critic of adversarial variants: a network that tells two kinds of codes apart, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.config import require
from diabolo.models.objectives._base import Group, Remark

__all__ = ["Critic"]

LOST = 0.9  # the accuracy above which the other player has lost
KEPT = 0.98  # of the running accuracy, in a step


class Critic(nn.Module):
    """Layers from codes, (B, d), to log-odds, (B,), that a code is of the first kind; and a running accuracy.

    Args:
        latent_dim: d.
        widths: of the hidden layers.

    >>> critic = Critic(2, (8,))
    >>> critic(torch.zeros(3, 2)).shape, critic.accuracy
    (torch.Size([3]), tensor(0.5000))
    """

    accuracy: Tensor

    def __init__(self, latent_dim: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        fits = all(width >= 1 for width in widths)
        require(fits, "critic_widths", "numbers of units of at least 1, or none for a linear critic", widths)
        layers: list[nn.Module] = []
        for before, after in pairwise((latent_dim, *widths)):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear((latent_dim, *widths)[-1], 1))
        self.register_buffer("accuracy", torch.tensor(0.5))

    def forward(self, z: Tensor) -> Tensor:
        """Log-odds, (B,)."""
        odds: Tensor = self.layers(z)[:, 0]
        return odds

    def told(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What telling two kinds of codes apart costs the critic, nats of each, and statistics for `update`.

        Both are stopped, (n, d) and (m, d): no gradient passes to where they come from. Returns (n,), (m,).
        """
        odds = self(torch.cat([first.detach(), second.detach()]))
        of_first, of_second = odds[: len(first)], odds[len(first) :]
        right = ((of_first > 0).sum() + (of_second < 0).sum()).float()
        statistics = {"right": right, "told": torch.full_like(right, len(odds))}
        return F.softplus(-of_first), F.softplus(of_second), statistics

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Moves the running accuracy by the statistics of a step, where there are some."""
        if statistics:
            self.accuracy.lerp_(statistics["right"] / statistics["told"], 1 - KEPT)

    def remarks(self, first: str, second: str) -> list[Remark]:
        """How well it does, in words."""
        share = float(self.accuracy)
        text = f"It is right on {share:.0%} of {first} and {second} it was trained on last; chance is 50%."
        if share > LOST:
            cure = " The encoder does not follow: try a larger `--weight`, a lower `--critic-pace` or more `--epochs`."
            return [Remark("note", f"The critic tells {first} from {second}", text + cure)]
        return [Remark("good", f"The critic hardly tells {first} from {second}", text)]

    def group(self, pace: float, beta2: float | None = None) -> Group:
        """Its parameters, learned at a pace of their own, with little momentum, and clipped by themselves."""
        return Group(list(self.parameters()), pace, momentum=0.5, beta2=beta2, is_apart=True)
