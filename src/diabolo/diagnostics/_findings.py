"""How a code and its training fare, in words with the numbers behind them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diabolo.diagnostics._facts import NOT_TERMS, Facts, Scale
from diabolo.diagnostics._number_format import counted, number
from diabolo.evaluation.terms import ACTIVE

__all__ = ["DEAD", "Finding", "diagnose", "diagnose_code", "diagnose_loss", "diagnose_training"]

COLLAPSED = 0.05  # nats in all, below which a code says nothing
DEAD = 1e-3  # of the widest dimension's deviation; below it, a dimension of a plain code is constant
GAP = 0.15  # of what training gained, by which the validation loss may lie above the training loss
GAIN = 0.05  # of what was gained in all, which is still too much for the last quarter of a training that has settled
LOSS = 0.02  # of what was gained in all, which may be lost again after the best epoch


@dataclass(frozen=True)
class Finding:
    """A part of the verdict: how grave, what, and the numbers behind it; `backticks` enclose commands."""

    level: Literal["good", "note", "problem"]
    title: str
    text: str


def diagnose(facts: Facts) -> Iterator[Finding]:
    """All findings: on the loss, on the code, on the training."""
    numbers, beta = facts.numbers, facts.weights.get("kl", 1.0)
    yield from diagnose_loss(numbers["loss"], facts.scale)
    yield diagnose_code(
        facts.model.latent_dim, facts.spreads, numbers.get("kl_per_dimension"), numbers["active_units"], beta
    )
    keep = facts.config["run_config"]["settings"]["keep"]
    yield from diagnose_training(facts.epochs, facts.kept, keep, facts.weights, facts.run)


def diagnose_loss(loss: float, scale: Scale | None) -> Iterator[Finding]:
    """A finding where the model is no better than no model.

    Args:
        loss: nats per example.
        scale: its ends, where they are known.
    """
    if scale is not None and loss >= scale.average:
        yield Finding(
            "problem",
            "It is no better than the average example",
            f"Its loss is {number(loss)} nats per example. To answer always with the average of the examples, "
            f"without any code, costs {number(scale.average)}. Train it for longer, or with another `--lr`.",
        )


def diagnose_code(
    latent_dim: int,
    spreads: np.ndarray,
    kl: Sequence[float] | None = None,
    active: int | None = None,
    beta: float = 1.0,
) -> Finding:
    """How the code fares.

    Args:
        latent_dim: its dimensions, d.
        spreads: (d,), the standard deviation of the codes of examples.
        kl: (d,), the nats that each dimension carries; None where codes are points.
        active: how many dimensions are in use; counted from the spreads when left out.
        beta: the weight of the KL.
    """
    if kl is None:
        return _of_points(latent_dim, spreads)
    total = math.fsum(kl)
    active = int((np.square(spreads) > ACTIVE).sum()) if active is None else active
    if total < COLLAPSED:
        return Finding(
            "problem",
            "The code has collapsed: it says nothing",
            f"Its KL is {number(total, 2)} nats in all, so every example gets the same code, and the decoder answers "
            f"with the average example for every one. Try a lower `--beta` (it is {beta:g}), a `--warmup` of some "
            "epochs in which beta rises from 0, `--free-bits 0.5`, which lets each dimension carry half a nat for "
            "nothing, or more `--epochs`.",
        )
    size = f"{number(total)} nats per example, or {number(total / math.log(2))} bits"
    if active < latent_dim:
        idle = [int(dim) for dim in np.argsort(spreads, kind="stable")[: latent_dim - active]]
        one = len(idle) == 1
        return Finding(
            "note",
            f"{active} of {counted(latent_dim, 'dimension')} {'is' if active == 1 else 'are'} in use",
            f"Posterior collapse of {len(idle)}: {_dimensions(idle)} {'does' if one else 'do'} not vary between "
            f"examples, and {'has' if one else 'have'} {number(math.fsum(kl[dim] for dim in idle))} of the code's KL, "
            f"{size}. For a code that is used in full take fewer dimensions (`--latent-dim`), a lower `--beta` "
            f"(it is {beta:g}), `--free-bits`, or more `--epochs`.",
        )
    each = f", {number(min(kl))} to {number(max(kl))} in each dimension" if latent_dim > 1 else ""
    return Finding("good", _all_in_use(latent_dim), f"The code carries {size}{each}.")


def _of_points(latent_dim: int, spreads: np.ndarray) -> Finding:
    widest = float(spreads.max())
    if widest < 1e-6:
        return Finding(
            "problem",
            "The code is constant",
            f"No dimension differs between examples (the widest deviation is {number(widest)}), so the decoder gives "
            "the same answer for every one. Try a lower `--lr`, another `--activation`, or more `--epochs`.",
        )
    dead = [int(dim) for dim in np.flatnonzero(spreads < DEAD * widest)]
    if dead:
        one = len(dead) == 1
        return Finding(
            "note",
            f"{len(dead)} of {latent_dim} dimensions {'is' if one else 'are'} dead",
            f"{_dimensions(dead).capitalize()} {'has' if one else 'have'} the same value for every example, to within "
            f"a thousandth of the widest dimension's deviation of {number(widest)}. They carry nothing: take fewer "
            "dimensions (`--latent-dim`), or keep more of them alive with a lower `--lr` or another activation.",
        )
    spread = f"a standard deviation of {number(widest)}"
    if latent_dim > 1:
        spread = f"standard deviations from {number(float(spreads.min()))} to {number(widest)}"
    return Finding(
        "good",
        _all_in_use(latent_dim),
        f"The codes have {spread}. They are points without a prior, so their size alone means nothing.",
    )


def diagnose_training(
    lines: Sequence[Mapping[str, Any]],
    kept: int,
    keep: str = "best",
    weights: Mapping[str, float] | None = None,
    run: str = "RUN",
) -> list[Finding]:
    """How training went: overfitting, the best epoch long past, still improving, or settled.

    Args:
        lines: the epochs of the history.
        kept: the epoch whose weights are kept.
        keep: by which rule: best or last.
        weights: the final weights of the loss's terms, so that the epochs of a warm-up are compared by one measure.
        run: the run's folder, for the command that goes on with it.
    """
    if len(lines) < 2:
        many = counted(len(lines), "epoch")
        return [Finding("note", "Too short to judge", f"It was trained for {many}: too few to see where it goes.")]
    part = next((name for name in ("validation", "test") if name in lines[-1]), "train")
    losses = [_loss(line[part], weights or line["weights"]) for line in lines]
    trains = [_loss(line["train"], weights or line["weights"]) for line in lines]
    epochs = [int(line["epoch"]) for line in lines]
    name = "training" if part == "train" else part
    at = epochs.index(kept) if kept in epochs else len(epochs) - 1
    found = [
        *_overfitting(losses[at], trains[at], trains[0], epochs[at], name),
        *(_best_past(losses, epochs, kept, keep, name) or _improving(losses, epochs, name, run)),
    ]
    if found:
        return found
    quarter = max(1, len(losses) // 4)
    other = f", and the training loss {number(trains[-1])}" if part != "train" else "; nothing was held out"
    return [
        Finding(
            "good",
            "Training has settled",
            f"{_lately(quarter, len(losses))} the {name} loss changed by "
            f"{number(abs(losses[-1 - quarter] - losses[-1]))} nats. It is {number(losses[-1])}{other}.",
        )
    ]


def _overfitting(loss: float, train: float, first: float, epoch: int, name: str) -> Iterator[Finding]:
    gap = loss - train
    if gap > GAP * (first - train) and gap > 0.02 * abs(train):
        yield Finding(
            "note",
            "It fits its training examples better than others: overfitting",
            f"At epoch {epoch} the {name} loss is {number(loss)} and the training loss {number(train)}: {number(gap)} "
            f"nats ({gap / abs(train):.0%}) higher. More data, a smaller network, a smaller `--latent-dim`, "
            "`--weight-decay` or fewer `--epochs` narrow the gap.",
        )


def _best_past(losses: Sequence[float], epochs: Sequence[int], kept: int, keep: str, name: str) -> list[Finding]:
    best = int(np.argmin(losses))
    lost = losses[-1] - losses[best]
    if best + 1 > 0.8 * len(losses) or lost <= LOSS * (losses[0] - losses[best]):
        return []
    cure = (
        f"The weights of epoch {kept} are kept; `--patience {max(3, len(losses) // 10)}` would have stopped sooner."
        if keep == "best" and name == "validation"
        else "The last weights are kept; `--keep best` with a `--validation` part keeps the best ones."
    )
    return [
        Finding(
            "note",
            f"The best epoch was {epochs[best]} of {epochs[-1]}",
            f"The {name} loss was {number(losses[best])} then and is {number(losses[-1])} at the end, {number(lost)} "
            f"nats higher. {cure}",
        )
    ]


def _improving(losses: Sequence[float], epochs: Sequence[int], name: str, run: str) -> Iterator[Finding]:
    quarter = max(1, len(losses) // 4)
    best = int(np.argmin(losses))
    gained, in_all = losses[-1 - quarter] - losses[-1], losses[0] - losses[best]
    if best >= len(losses) - max(1, len(losses) // 10) and gained > GAIN * in_all > 0:
        yield Finding(
            "note",
            "It was still improving when training ended",
            f"{_lately(quarter, len(losses))} the {name} loss fell by {number(gained)} nats, "
            f"{gained / in_all:.0%} of what it fell since epoch {epochs[0]}. Train it for longer: "
            f"`diabolo resume {shlex.quote(run)} --epochs {2 * epochs[-1]}`",
        )


def _loss(terms: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    """The loss of a line, all terms at their final weights."""
    known = {name: value for name, value in terms.items() if name not in NOT_TERMS and value is not None}
    return math.fsum(weights.get(name, 1.0) * value for name, value in known.items())


def _lately(quarter: int, count: int) -> str:
    return f"Over the last {quarter} of {count} epochs" if quarter > 1 else f"In the last of {count} epochs"


def _all_in_use(count: int) -> str:
    return {1: "Its one dimension is in use", 2: "Both dimensions are in use"}.get(
        count, f"All {count} dimensions are in use"
    )


def _dimensions(indices: Iterable[int]) -> str:
    """`dimension z3`, `dimensions z1, z4 and z6`: as the figures name them."""
    names = [f"z{index + 1}" for index in sorted(indices)]
    if len(names) > 12:
        names = [*names[:11], f"{len(names) - 11} more"]
    return f"dimension {names[0]}" if len(names) == 1 else f"dimensions {', '.join(names[:-1])} and {names[-1]}"
