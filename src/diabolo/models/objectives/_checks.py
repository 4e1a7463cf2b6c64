"""What a variant gives, looked at once, so that a mistake in one is a sentence and no wrong number."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.objectives._base import Objective
from diabolo.models.objectives._parts import Group, Loss

__all__ = ["check_loss", "check_made", "checked_groups"]

RESERVED = {"loss", "mse", "bits_per_dim"}  # what is said beside the terms


def check_made(*parts: nn.Module) -> None:
    """Raises a ConfigError for a part whose constructor did not call that of its base."""
    for part in parts:
        if "_modules" not in vars(part):
            raise ConfigError(f"{type(part).__name__}.__init__ should begin with super().__init__(), and does not.")


def check_loss(loss: Any, objective: Objective, count: int, *, learns: bool) -> None:
    """Looks at the loss of a batch.

    Args:
        loss: what `Objective.loss` gave.
        objective: the variant.
        count: the examples of the batch, B.
        learns: whether gradients are wanted.

    Raises:
        ConfigError: it is no `Loss`; its terms are not (B,) each, nats per example; or names are wrong.
    """
    name = type(objective).__name__
    if not isinstance(loss, Loss):
        raise ConfigError(f"{name}.loss should return a Loss, and gave an object of {type(loss).__name__}.")
    terms: Any = loss.terms
    if not isinstance(terms, dict) or not terms:
        raise ConfigError(f"{name}.loss should have terms, name -> (B,), and has none.")
    for term, value in terms.items():
        if term in RESERVED:
            raise ConfigError(f"{name}.loss has a term called {term!r}, which is what the sum is told by: rename it.")
        if not isinstance(value, Tensor) or tuple(value.shape) != (count,):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(
                f"The term {term!r} of {name}.loss should be nats of each example, a tensor of shape ({count},) for "
                f"{count} examples, and is {shape}: sum over an example's values, and not over the batch."
            )
    unknown = sorted(set(loss.weights) - set(terms))
    if unknown:
        raise ConfigError(f"{name}.loss weighs {unknown[0]!r}, and its terms are {', '.join(terms)}.")
    statistics: dict[str, Any] = loss.statistics
    for statistic, total in statistics.items():
        if not isinstance(total, Tensor):
            raise ConfigError(
                f"The statistic {statistic!r} of {name}.loss should be a tensor, a sum over the batch, and is "
                f"{type(total).__name__}."
            )
    if learns and not any(value.requires_grad for value in terms.values()):
        raise ConfigError(f"No term of {name}.loss depends on a weight: there is nothing to learn.")


def checked_groups(objective: Objective) -> list[Group]:
    """The groups of a variant, each with a list of parameters.

    Raises:
        ConfigError: one of them is no `Group`.
    """
    groups = []
    for group in objective.groups():
        if not isinstance(group, Group):
            raise ConfigError(
                f"{type(objective).__name__}.groups should give Group(parameters, pace, ...), and gave an object of "
                f"{type(group).__name__}."
            )
        groups.append(group._replace(parameters=list(group.parameters)))
    return groups
