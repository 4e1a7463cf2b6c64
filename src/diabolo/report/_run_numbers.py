"""The numbers of a run with their meaning: the loss, its terms and its scale, and the cards beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

from diabolo.config import summary
from diabolo.diagnostics import Facts
from diabolo.evaluation.terms import ACTIVE
from diabolo.models.distributions import Bernoulli
from diabolo.report._markup import duration, label, number, plural
from diabolo.runs.recipes import RECIPES

__all__ = ["RANGES", "numbers_of"]

# The values of the model, by the scaling of the data.
RANGES: Mapping[str, str] = {
    "bytes": "values from 0 to 1 (bytes / 255)",
    "unit": "values from 0 to 1, as they are",
    "range": "values scaled to 0 to 1",
    "standard": "standardised values: mean 0, deviation 1",
    "none": "values as they are, in the data's own units",
}


def numbers_of(facts: Facts) -> str:
    """HTML of the loss and of the cards beside it.

    Args:
        facts: of the run.
    """
    loss, terms = facts.numbers["loss"], facts.terms
    sums = ""
    if len(terms) > 1:
        pieces = [f"<span>{_factor(facts, name)}{label(name)} {number(value)}</span>" for name, value in terms.items()]
        sums = f'<p class="sum">{" + ".join(pieces)} = <b>{number(loss)}</b></p>'
    cards = list(_cards(facts))
    beside = "".join(
        f'<div class="card"><h3>{title}</h3><p class="value">{value}</p><p>{text}</p></div>'
        for title, value, text in cards
    )
    return (
        f'<div class="card hero"><h3>{facts.part.capitalize()} loss</h3>'
        f'<p class="value">{number(loss)} <small>nats per example</small></p>{sums}'
        f"<p>Nats per example: summed over the {facts.values:,} values of an example, averaged over the "
        f"{facts.count:,} {facts.part} examples. Lower is better.</p>"
        f"{_ruler(facts)}{_terms(facts)}</div>"
        f'<div class="cards" style="--least:{"12rem" if len(cards) == 4 else "16rem"}">{beside}</div>'
    )


def _factor(facts: Facts, name: str) -> str:
    weight = facts.weights.get(name, 1.0)
    return "" if weight == 1 else f"{'beta ' if name == 'kl' else ''}{weight:.4g} × "


def _ruler(facts: Facts) -> str:
    """A ruler with the loss between a perfect copy and the average example."""
    scale, loss = facts.scale, facts.numbers["loss"]
    if scale is None or not scale.average > scale.perfect:
        return ""
    place = min(max((loss - scale.perfect) / (scale.average - scale.perfect), 0.0), 1.0)
    ends = {"a perfect copy": scale.perfect, "this model": loss, "always the average": scale.average}
    rows = "".join(f"<div><dt>{name}</dt><dd>{number(value)}</dd></div>" for name, value in ends.items())
    why = "because a density has a constant for each value"
    if isinstance(facts.model.model.likelihood, Bernoulli):
        why = "because a value between 0 and 1 counts as a chance: 0.5 costs log 2 even where it is met"
    floor = f" A perfect copy is not at 0, {why}." if abs(scale.perfect) > 0.01 else ""
    return (
        f'<div class="ruler"><div class="track" aria-hidden="true"><i style="left:{100 * place:.1f}%"></i></div>'
        f'<dl>{rows}</dl></div><p class="soft">At the left end lies a code that keeps everything and costs nothing; at '
        f"the right end a model without a code, which answers with the average example for every one.{floor}</p>"
    )


def _terms(facts: Facts) -> str:
    """The meaning of each term, in a list."""
    items = [f"<b>Reconstruction</b> is −log p(x | z). {escape(summary(type(facts.model.model.likelihood)))}."]
    if "kl" in facts.terms:
        beta = facts.weights.get("kl", 1.0)
        meaning = "the loss is the negative evidence lower bound (ELBO)"
        if beta != 1:
            meaning = f"each nat of KL costs {beta:.4g} nats of loss; at 1 the loss would be the evidence lower bound"
        items.append(
            f"<b>KL</b> is what the code tells about an example beyond the prior {escape(str(facts.model.own_prior))}."
        )
        items.append(
            f"<b>Beta</b> is {beta:.4g}: {meaning}. Where a loss averages over the {facts.values:,} values instead of "
            f"summing them, the same weight reads {beta:.4g} / {facts.values} = {number(beta / facts.values, 3)}."
        )
    others = [name for name in facts.terms if name not in ("reconstruction", "kl")]
    items += [
        f"<b>{label(name).capitalize()}</b> has the weight {facts.weights.get(name, 1.0):.4g}." for name in others
    ]
    return "<ul>" + "".join(f"<li>{text}</li>" for text in items) + "</ul>"


def _cards(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """(title, value, explanation) of the numbers beside the loss."""
    config, numbers = facts.config, facts.numbers
    recipe = (config["run_config"]["recipe"] or [None])[0]
    units = RECIPES[recipe].units if recipe in RECIPES else None
    if units and RECIPES[recipe].values == facts.values:
        is_mse = math.isnan(units[1])
        value = numbers["mse"] if is_mse else numbers["loss"] * units[1]
        how = "the mean over values and examples" if is_mse else f"the loss times {number(units[1])}"
        yield "In the source's own units", number(value), f"{escape(units[0])}: {how}."
    if numbers.get("mse") is not None:
        yield "Mean squared error", f"{number(numbers['mse'])} <small>per value</small>", _mse(facts)
    if numbers.get("bits_per_dim") is not None:
        text = f"Reconstruction / ({facts.values:,} × ln 2)."
        if "kl" in numbers:
            text = f"(reconstruction + KL) / ({facts.values:,} × ln 2); beta plays no part."
        if config["likelihood"]["name"] == "bernoulli":
            text += " Cross-entropy of values between 0 and 1 is no density: compare it with its like alone."
        yield "Bits per dimension", number(numbers["bits_per_dim"]), text
    text = f"Dimensions whose code varies between examples: its variance is above {ACTIVE:g}."
    yield "Active dimensions", f"{numbers['active_units']} <small>of {facts.model.latent_dim}</small>", text
    result = config.get("result", {})
    seconds = result.get("seconds", sum(line["seconds"] for line in facts.epochs))
    precision = escape(str(result.get("precision", config["run_config"]["settings"]["precision"])))
    precision += ", steps compiled" if result.get("compiled") else ""
    epochs = plural(facts.epoch_count, "epoch").replace(" ", " <small>") + "</small>"
    yield (
        "Training",
        epochs,
        f"{duration(seconds)} in {precision}; the weights are those of epoch {facts.weights_epoch}.",
    )


def _mse(facts: Facts) -> str:
    mse, scale = facts.numbers["mse"], facts.scale
    text = f"Of {RANGES.get(facts.config['preprocess']['scale'], 'the data')}. A typical miss is its root, "
    text += f"{number(math.sqrt(mse), 2)}."
    if scale is not None and scale.variance > 0:
        text += f" The average example alone would have {number(scale.variance)}"
        explained = 1 - mse / scale.variance
        text += f": {explained:.0%} of the variance is explained." if explained > 0 else "."
    baseline = facts.config.get("result", {}).get("baseline")
    if facts.own and facts.part == "test" and baseline is not None and baseline["components"]:
        text += f" PCA of {plural(baseline['components'], 'component')} has {number(baseline['pca'])}."
    return text
