"""Findings on the loss, the latent code and the training, in words with the numbers behind them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diabolo.config import parameters
from diabolo.diagnostics._facts import NOT_TERMS, Facts, Scale
from diabolo.diagnostics._number_format import number, plural
from diabolo.evaluation.terms import ACTIVE

__all__ = [
    "DEAD",
    "Finding",
    "diagnose",
    "diagnose_baseline",
    "diagnose_code",
    "diagnose_loss",
    "diagnose_training",
    "diagnose_units",
]

LEVEL = 0.02  # of PCA's error, within which a model is as good as PCA
TINY = 1e-4  # of the average example's error, below which errors are as good as none
COLLAPSED = 0.05  # nats of KL in all, below which the posterior has collapsed
DEAD = 1e-3  # of the widest dimension's deviation; below it, a dimension of a code of points is constant
NO_UNITS = 0.05  # active units of an example
DEAD_UNITS = 0.1  # of all: more dead ones are said to be
GAP = 0.15  # of the fall of the training loss, by which the validation loss may lie above it
GAIN = 0.05  # of the fall in all; a fall in the last quarter above it means that training has not settled
FULLER = {
    "beta": "a lower `--beta`",
    "capacity": "a larger `--capacity`",
    "warmup": "more epochs of `--warmup`",
    "free_bits": "more `--free-bits`",
}  # options by which more of a code is used
LOSS = 0.02  # of the fall in all, which the loss may rise again after the best epoch


@dataclass(frozen=True)
class Finding:
    """One sentence of the diagnosis.

    Attributes:
        level: good, note or problem.
        title: the finding.
        text: the numbers behind it and what to do; `backticks` enclose commands.

    >>> diagnose_code(2, np.array([1.0, 1.2]), kl=[1.5, 2.0]).title
    'Both dimensions are in use'
    """

    level: Literal["good", "note", "problem"]
    title: str
    text: str

    @property
    def sentences(self) -> str:
        """Title and text for a terminal."""
        return f"{self.title}. {self.text}".replace("`", "")


def diagnose(facts: Facts) -> Iterator[Finding]:
    """All findings: on the loss, on the latent code, what the variant says of itself, on the training.

    Args:
        facts: of the run.

    >>> import diabolo
    >>> from diabolo.diagnostics import facts_of
    >>> from diabolo.runs import open_data
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> findings = list(diagnose(facts_of(model, "runs/digits", *open_data(model))))
    >>> {finding.level for finding in findings} <= {"good", "note", "problem"}
    True
    """
    numbers = facts.numbers
    yield from diagnose_loss(numbers["loss"], facts.scale)
    baseline = facts.config.get("result", {}).get("baseline")
    if facts.own and facts.part == "test" and baseline is not None and numbers.get("mse") is not None:
        yield diagnose_baseline(numbers["mse"], baseline)
    objective = facts.model.model.objective
    if facts.units is not None:
        yield diagnose_units(facts.model.latent_dim, *facts.units)
    else:
        yield diagnose_code(
            facts.model.latent_dim,
            facts.spreads,
            numbers.get("kl_per_dimension"),
            numbers["active_units"],
            {name: getattr(objective, name, None) for name in (one.name for one in parameters(type(objective)))},
            facts.model.has_density,
        )
    for remark in objective.remarks(facts.terms):
        yield Finding(*remark)
    keep = facts.config["run_config"]["settings"]["keep"]
    counted = {**facts.weights, **dict.fromkeys(objective.training_only, 0.0)}
    yield from diagnose_training(facts.epochs, facts.weights_epoch, keep, counted, facts.run)


def diagnose_loss(loss: float, scale: Scale | None) -> Iterator[Finding]:
    """A finding where the model is no better than no model.

    Args:
        loss: nats per example.
        scale: its ends, where they are known.

    >>> [finding.level for finding in diagnose_loss(250.0, Scale(80.0, 206.0, 0.067))]
    ['problem']
    """
    if scale is not None and loss >= scale.average:
        yield Finding(
            "problem",
            "It is no better than the average example",
            f"Its loss is {number(loss)} nats per example. To answer always with the average of the examples, "
            f"without any code, costs {number(scale.average)}. Train it for longer, or with another `--lr`.",
        )


def diagnose_baseline(mse: float, baseline: Mapping[str, Any]) -> Finding:
    """The finding on the error beside that of PCA with as many components as the latent code is worth.

    Args:
        mse: per value, of the test split.
        baseline: `components`, the errors `pca` and `average`, the code's `bits` where it has a rate, and how many
            numbers of a large code an example has `used`, as a run's result has them.

    >>> diagnose_baseline(0.0143, {"components": 64, "pca": 0.0082, "average": 0.0639}).title
    'PCA of 64 components is better'
    """
    components, pca = int(baseline["components"]), float(baseline["pca"])
    name = f"PCA of {plural(components, 'component')}" if components else "The average example"
    worth = f", as many as the {baseline['bits']:.0f} bits of its code are worth," if "bits" in baseline else ""
    if "used" in baseline:
        worth = f", as many as units are active in an example ({baseline['used']:.1f}),"
    text = (
        f"Its mean squared error on examples that it was not trained on is {number(mse)} per value; {name}{worth} has "
        f"{number(pca)}, and to answer always with the average example {number(float(baseline['average']))}."
    )
    other = "more units (`--latent-dim`)" if "used" in baseline else "`--network resnet` for pictures and signals"
    cure = (
        f" Try {other}, more `--epochs` or a lower `--lr`; where examples are few, a smaller network, "
        "`--weight-decay` or more data."
    )
    slack = LEVEL * pca + TINY * float(baseline["average"])
    if mse > pca + slack:
        return Finding("problem", f"{name} is better", text + cure)
    if mse > pca - slack:
        return Finding("note", f"{name} is as good", text + cure)
    return Finding("good", f"It is better than {name}", text)


def diagnose_code(
    latent_dim: int,
    spreads: np.ndarray,
    kl: Sequence[float] | None = None,
    active: int | None = None,
    options: Mapping[str, Any] = {},
    has_density: bool = False,
) -> Finding:
    """The finding on the latent code: collapsed, partly in use, or in use.

    Args:
        latent_dim: its dimensions, d.
        spreads: (d,), the standard deviation of each dimension over examples.
        kl: (d,), the nats that each dimension carries; None where codes are points, or there is no closed form.
        active: how many dimensions are in use; counted from the spreads when left out.
        options: of the variant, by name: those that it has are advised, with their values.
        has_density: whether codes are distributions.

    >>> diagnose_code(2, np.array([0.0, 0.001]), kl=[0.0, 0.01], options={"beta": 4.0}).level
    'problem'
    """
    if kl is None:
        return _of_spreads(latent_dim, spreads, has_density=has_density)
    total = math.fsum(kl)
    active = int((np.square(spreads) > ACTIVE).sum()) if active is None else active
    if total < COLLAPSED:
        return Finding(
            "problem",
            "The code has collapsed: it says nothing",
            f"Its KL is {number(total, 2)} nats in all, so every example gets the same code, and the decoder answers "
            f"with the average example for every one. Try {_cures(options, FULLER)}.",
        )
    size = f"{number(total)} nats per example, or {number(total / math.log(2))} bits"
    if active < latent_dim:
        idle = [int(dim) for dim in np.argsort(spreads, kind="stable")[: latent_dim - active]]
        one = len(idle) == 1
        return Finding(
            "note",
            f"{active} of {plural(latent_dim, 'dimension')} {'is' if active == 1 else 'are'} in use",
            f"Posterior collapse of {len(idle)}: {_dimensions(idle)} {'does' if one else 'do'} not vary between "
            f"examples, and {'has' if one else 'have'} {number(math.fsum(kl[dim] for dim in idle))} of the code's KL, "
            f"{size}. For a code that is used in full take fewer dimensions (`--latent-dim`), "
            f"{_cures(options, FULLER)}.",
        )
    each = f", {number(min(kl))} to {number(max(kl))} in each dimension" if latent_dim > 1 else ""
    return Finding("good", _all_in_use(latent_dim), f"The code carries {size}{each}.")


def diagnose_units(latent_dim: int, active: float, dead: int, examples: int) -> Finding:
    """The finding on a code of few active units: how many, and how many are dead.

    Args:
        latent_dim: its units, d.
        active: how many are active in an example, on average.
        dead: how many are active in none.
        examples: that were looked at.

    >>> diagnose_units(256, 4.0, 100, 2000).title
    '100 of 256 units are dead'
    """
    one = f"On average {active:.1f} of {latent_dim} units are active in an example"
    if active < NO_UNITS:
        return Finding(
            "problem",
            "No unit is active",
            f"{one}, so the decoder gives the same answer for nearly every one. Take a lower weight of what units cost "
            "(`--l0`, `--l1`), a larger `--k`, or a lower `--lr`.",
        )
    none = f"{dead} {'is' if dead == 1 else 'are'} active in none of {plural(examples, 'example')}"
    if dead > DEAD_UNITS * latent_dim:
        return Finding(
            "note",
            f"{dead} of {latent_dim} units {'is' if dead == 1 else 'are'} dead",
            f"{one}, and {none}. Units that are rare need more examples to be seen; others come back with a larger "
            "`--auxiliary` or a smaller `--dead` (topk, matryoshka) or a lower `--lr`, or are not needed: take fewer "
            "(`--latent-dim`).",
        )
    return Finding("good", f"{active:.1f} of {latent_dim} units are active in an example", f"{one}; {none}.")


def _cures(options: Mapping[str, Any], cures: Mapping[str, str]) -> str:
    """What to try, of what a variant has.

    >>> _cures({"gamma": 100.0, "capacity": 0.5}, FULLER)
    'a larger `--capacity` (it is 0.5), or more `--epochs`'
    """
    found = [f"{cures[name]} (it is {options[name]:g})" for name in cures if options.get(name) is not None]
    return ", ".join([*found, "or more `--epochs`" if found else "more `--epochs`"])


def _of_spreads(latent_dim: int, spreads: np.ndarray, *, has_density: bool) -> Finding:
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
    why = "They are points without a density, so their size alone means nothing."
    if has_density:
        why = "What each dimension costs is not known: the prior has no KL of each in closed form."
    spread = f"a standard deviation of {number(widest)}"
    if latent_dim > 1:
        spread = f"standard deviations from {number(float(spreads.min()))} to {number(widest)}"
    return Finding(
        "good",
        _all_in_use(latent_dim),
        f"The codes have {spread}. {why}",
    )


def diagnose_training(
    lines: Sequence[Mapping[str, Any]],
    weights_epoch: int,
    keep: str = "best",
    weights: Mapping[str, float] | None = None,
    run: str = "RUN",
) -> list[Finding]:
    """The findings on the training: overfitting, past its best epoch, still improving, or settled.

    Args:
        lines: the epochs of the history.
        weights_epoch: the epoch whose weights the model has.
        keep: the rule for that: best or last.
        weights: the final weights of the loss's terms, so that the epochs of a warm-up are compared by one measure.
        run: the run's folder, for the command that resumes it.

    >>> losses = [100.0, 60.0, 50.0, 49.9, 49.8, 49.8]
    >>> lines = [
    ...     {"epoch": i + 1, "train": {"reconstruction": loss}, "weights": {}} for i, loss in enumerate(losses)
    ... ]
    >>> [finding.title for finding in diagnose_training(lines, weights_epoch=6)]
    ['Training has settled']
    """
    if len(lines) < 2:
        many = plural(len(lines), "epoch")
        return [Finding("note", "Too short to judge", f"It was trained for {many}: too few to see where it goes.")]
    part = next((name for name in ("validation", "test") if name in lines[-1]), "train")
    losses = [_loss(line[part], weights or line["weights"]) for line in lines]
    trains = [_loss(line["train"], weights or line["weights"]) for line in lines]
    epochs = [int(line["epoch"]) for line in lines]
    name = "training" if part == "train" else part
    row = epochs.index(weights_epoch) if weights_epoch in epochs else len(epochs) - 1
    findings = [
        *_overfitting(losses[row], trains[row], trains[0], epochs[row], name),
        *(_best_past(losses, epochs, weights_epoch, keep, name) or _improving(losses, epochs, name, run)),
    ]
    if findings:
        return findings
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


def _best_past(
    losses: Sequence[float], epochs: Sequence[int], weights_epoch: int, keep: str, name: str
) -> list[Finding]:
    best = int(np.argmin(losses))
    lost = losses[-1] - losses[best]
    if best + 1 > 0.8 * len(losses) or lost <= LOSS * (losses[0] - losses[best]):
        return []
    cure = (
        f"The weights of epoch {weights_epoch} are kept; `--patience {max(3, len(losses) // 10)}` would have stopped "
        "sooner."
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
    fall, in_all = losses[-1 - quarter] - losses[-1], losses[0] - losses[best]
    if best >= len(losses) - max(1, len(losses) // 10) and fall > GAIN * in_all > 0:
        yield Finding(
            "note",
            "It was still improving when training ended",
            f"{_lately(quarter, len(losses))} the {name} loss fell by {number(fall)} nats, "
            f"{fall / in_all:.0%} of what it fell since epoch {epochs[0]}. Train it for longer: "
            f"`diabolo resume {shlex.quote(run)} --epochs {2 * epochs[-1]}`",
        )


def _loss(terms: Mapping[str, Any], weights: Mapping[str, float]) -> float:
    """The loss of a line with final weights: losses of a warm-up, where beta still rises, would not compare."""
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
