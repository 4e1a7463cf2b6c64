"""Findings on the loss and the latent code, in words with the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diabolo.config import parameters
from diabolo.diagnostics._facts import Facts, Scale
from diabolo.diagnostics._finding import Finding
from diabolo.diagnostics._number_format import number, plural
from diabolo.diagnostics._training_findings import diagnose_training
from diabolo.evaluation.terms import ACTIVE

__all__ = [
    "DEAD",
    "diagnose",
    "diagnose_baseline",
    "diagnose_code",
    "diagnose_loss",
    "diagnose_units",
]

LEVEL = 0.02  # of PCA's error, within which a model is as good as PCA
TINY = 1e-4  # of the average example's error, below which errors are as good as none
ENOUGH = 0.25  # of the way from the average example to a perfect copy; a model that has gone less is not called good
LITTLE = math.log(2)  # nats of KL in each dimension, one bit: a code of less is not called good
COLLAPSED = 0.05  # nats of KL in all, below which the posterior has collapsed
DEAD = 1e-3  # of the widest dimension's deviation; below it, a dimension of a code of points is constant
NO_UNITS = 0.05  # active units of an example
DEAD_UNITS = 0.1  # of all: more dead ones are said to be
FULLER = {
    "beta": "a lower `--beta`",
    "capacity": "a larger `--capacity`",
    "warmup": "more epochs of `--warmup`",
    "free_bits": "more `--free-bits`",
}  # options by which more of a code is used


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
    baseline, mse = facts.config.get("result", {}).get("baseline"), numbers.get("mse")
    baseline = baseline if facts.own and facts.part == "test" and mse is not None else None
    yield from diagnose_loss(numbers["loss"], facts.scale, mse if baseline is None else None)
    if baseline is not None and mse is not None:
        yield diagnose_baseline(mse, baseline)
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


def diagnose_loss(loss: float, scale: Scale | None, mse: float | None = None) -> Iterator[Finding]:
    """The finding on how much of the way from the average example to a perfect copy the model has gone.

    Args:
        loss: nats per example.
        scale: its ends, where they are known.
        mse: the mean squared error per value, on the same examples, where no other finding has it.

    >>> [finding.level for finding in diagnose_loss(250.0, Scale(80.0, 206.0, 0.067))]
    ['problem']
    >>> [finding.title for finding in diagnose_loss(143.0, Scale(80.0, 206.0, 0.067))]
    ['It has gone 50% of the way to a perfect copy']
    """
    if scale is None or not scale.perfect < scale.average:
        return
    if loss >= scale.average:
        yield Finding(
            "problem",
            "It is no better than the average example",
            f"Its loss is {number(loss)} nats per example. To answer always with the average of the examples, "
            f"without any code, costs {number(scale.average)}. Train it for longer, or with another `--lr`.",
        )
        return
    way = (scale.average - loss) / (scale.average - scale.perfect)
    text = (
        f"Its loss is {number(loss)} nats per example. To answer always with the average of the examples costs "
        f"{number(scale.average)}, and a perfect copy with a code that costs nothing {number(scale.perfect)}."
    )
    if mse is not None and scale.variance > 0:
        text += f" Its copies explain {_percent(1 - mse / scale.variance)} of the variance of the values."
    if way < ENOUGH:
        text += " To go further, take more dimensions (`--latent-dim`), more `--epochs` or another `--network`."
    yield Finding(
        "good" if way >= ENOUGH else "note", f"It has gone {_percent(way)} of the way to a perfect copy", text
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
    components, pca, average = int(baseline["components"]), float(baseline["pca"]), float(baseline["average"])
    name = f"PCA of {plural(components, 'component')}" if components else "The average example"
    worth = f", as many as the {baseline['bits']:.0f} bits of its code are worth," if "bits" in baseline else ""
    if "used" in baseline:
        worth = f", as many as units are active in an example ({baseline['used']:.1f}),"
    text = (
        f"Its mean squared error on examples that it was not trained on is {number(mse)} per value; {name}{worth} has "
        f"{number(pca)}, and to answer always with the average example {number(average)}."
    )
    if average > 0:
        text += f" So its copies explain {_percent(1 - mse / average)} of the variance of the values."
    other = "more units (`--latent-dim`)" if "used" in baseline else "`--network resnet` for pictures and signals"
    cure = (
        f" Try {other}, more `--epochs` or a lower `--lr`; where examples are few, a smaller network, "
        "`--weight-decay` or more data."
    )
    slack = LEVEL * pca + TINY * average
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
    if total < LITTLE * latent_dim:
        return Finding(
            "note",
            f"{_all_in_use(latent_dim)}, and {'carries' if latent_dim == 1 else 'carry'} little",
            f"The code carries {size}{each}: less than one bit a dimension. For a code that carries more take "
            f"{_cures(options, FULLER)}.",
        )
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
    advice = [f"{cures[name]} (it is {options[name]:g})" for name in cures if options.get(name) is not None]
    return ", ".join([*advice, "or more `--epochs`" if advice else "more `--epochs`"])


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


def _percent(share: float) -> str:
    """A share in words: `4%`, `less than 1%`, `0%` of nothing or less."""
    return "less than 1%" if 0 < share < 0.01 else f"{max(share, 0.0):.0%}"


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
