"""`concept` and `edit`: concept vectors of a run, and examples moved along them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.files import remove_artifact, write_artifact
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import (
    examples_to_write,
    load_with_source,
    numbers,
    parse_with_source,
    write_examples,
    write_strip,
)
from diabolo.cli._parser import Parser, add_data_options, emit, table
from diabolo.config import require
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError, DataError, unknown_name
from diabolo.latent.artifacts import concept_path, name_of
from diabolo.latent.concepts import METHODS, ConceptVector, check_name

__all__ = ["concept", "edit"]

STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5)  # of a strip, in times the advised strength
AUTO = "auto"


def concept(parser: Parser, words: Sequence[str]) -> int:
    """Learns, lists and removes concept vectors of a run."""
    actions: dict[str, tuple[Callable[[Parser, Sequence[str]], int], str]] = {
        "learn": (_learn, "learn a direction in the latent code from two groups of examples"),
        "list": (_list, "list the concepts of a run"),
        "remove": (_remove, "remove a concept from a run"),
    }
    if words and words[0] in actions:
        action, text = actions[words[0]]
        return action(Parser(prog=f"{parser.prog} {words[0]}", description=text.capitalize() + "."), words[1:])
    summaries = "; ".join(f"{name}: {text}" for name, (_, text) in actions.items())
    parser.add_argument("action", metavar="|".join(actions), help=summaries)
    parser.add_argument("run", help="the run's folder")
    parser.epilog = f"{parser.prog} learn --help says more."
    raise unknown_name("action", parser.parse(words).action, actions)


def _learn(parser: Parser, words: Sequence[str]) -> int:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("source", nargs="?", help="labelled examples: any source; the run's own data if left out")
    parser.add_argument("--name", required=True, help="what to call it: letters, digits, - and _")
    parser.add_argument("--positive", metavar="LABEL", help="those that show it")
    parser.add_argument("--negative", metavar="LABEL", help="those that do not; all others if left out")
    parser.add_argument("--method", choices=METHODS, default="mean", help="how it is learned (default: mean)")
    parser.add_argument(
        "--orthogonal-to", action="append", default=[], metavar="NAME", help="a concept to leave alone; again for more"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of the examples that it is judged on")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_data_options(parser)
    arguments = parser.parse(words)
    check_name(arguments.name)
    model, dataset = load_with_source(arguments)
    if dataset.y is None:
        raise DataError(
            f"{dataset.name} has no labels to make two groups by. Put the images into a folder for each group, or name "
            "the column or the array of the labels: --labels NAME"
        )
    labels = np.array(dataset.classes)[dataset.y] if dataset.classes else dataset.y
    is_known = arguments.name in model.concepts
    vector = model.learn_concept(
        arguments.name,
        dataset,
        labels,
        positive=arguments.positive,
        negative=arguments.negative,
        method=arguments.method,
        orthogonal_to=arguments.orthogonal_to,
        seed=arguments.seed,
    )
    path = write_artifact(Path(arguments.run), model.model, vector)
    emit(
        {"out": str(path), **_facts(vector)},
        arguments.json,
        "\n".join(_report(vector, path, arguments.run, replaced=is_known)),
    )
    return 0


def _report(vector: ConceptVector, path: Path, run: str, *, replaced: bool) -> list[str]:
    positive, negative = vector.counts
    return [
        f"{vector.name}: from {vector.negative} ({negative:,}) to {vector.positive} ({positive:,}), by {vector.method}",
        f"AUC {vector.auc:.3f} [{vector.auc_low:.3f}, {vector.auc_high:.3f}] on codes that it was not learned from"
        + (": it hardly tells the groups apart" if vector.auc_low < 0.55 else ""),
        f"The group means are {vector.gap:.2f} standard deviations apart along it. "
        f"A strength of {vector.strength:.1f} carries 95% of {vector.negative} past the mean of {vector.positive}"
        + ("" if vector.method == "mean" else "; what separates best may hardly show: --method mean edits best"),
        f"{'Replaced' if replaced else 'Learned'} -> {path}",
        f"To use it: diabolo edit {run} SOURCE --concept {vector.name}={vector.strength:.1f}",
    ]


def _list(parser: Parser, words: Sequence[str]) -> int:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse(words)
    known = Autoencoder.load(arguments.run).concepts
    rows = [["name", "AUC", "gap", "method", "groups"]]
    rows += [
        [one.name, f"{one.auc:.3f}", f"{one.gap:.2f}", one.method, f"{one.negative} -> {one.positive}"]
        for one in known.values()
    ]
    none = f"{arguments.run} has no concepts: diabolo concept learn {arguments.run} SOURCE --name NAME learns one"
    emit([_facts(one) for one in known.values()], arguments.json, table(rows) if known else none)
    return 0


def _remove(parser: Parser, words: Sequence[str]) -> int:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("name", help="the concept's name")
    arguments = parser.parse(words)
    known = Autoencoder.load(arguments.run).concepts
    if arguments.name not in known:
        raise unknown_name("concept", arguments.name, known)
    remove_artifact(Path(arguments.run), name_of(known[arguments.name]))
    print(f"Removed {concept_path(Path(arguments.run), arguments.name)}")
    return 0


def _facts(one: ConceptVector) -> dict[str, Any]:
    names = (
        "name",
        "method",
        "positive",
        "negative",
        "counts",
        "auc",
        "auc_low",
        "auc_high",
        "gap",
        "unit",
        "strength",
    )
    return {name: getattr(one, name) for name in (*names, "strength", "orthogonal_to", "seed")}


def edit(parser: Parser, words: Sequence[str]) -> int:
    """Moves examples along concepts."""
    parser.add_argument(
        "--concept",
        action="append",
        required=True,
        metavar="NAME=STRENGTH",
        help="which, and how far, in standard deviations along it; again for more at once",
    )
    parser.add_argument(
        "--strip",
        nargs="?",
        const=AUTO,
        metavar="S1,S2,...",
        help="a row for each example: the first concept at each of these strengths",
    )
    parser.add_argument("-n", type=int, default=10, help="how many examples are drawn, where the result is a picture")
    arguments = parse_with_source(
        parser, words, "edited.png", "where to: .png draws; .npz, .npy, of tables .csv hold all"
    )
    require(arguments.n >= 1, "n", "a number of examples of at least 1", arguments.n)
    strengths = dict(_strength(word, strip=arguments.strip is not None) for word in arguments.concept)
    model, dataset = load_with_source(arguments)
    x, y = examples_to_write(arguments, model, dataset)
    if arguments.strip is None:
        return write_examples(arguments, model, model.edit(x, strengths, y=y))
    return _write_strengths(arguments, model, x, y, strengths)


def _strength(word: str, *, strip: bool) -> tuple[str, float]:
    name, equals, number = word.partition("=")
    try:
        strength = float(number) if equals else 0.0
    except ValueError:
        strength = np.nan
    if not np.isfinite(strength) or not (equals or strip):
        raise ConfigError(f"--concept takes a name and a strength, such as smile=2, and was given {word!r}.")
    return name, strength


def _write_strengths(
    arguments: Any, model: Autoencoder, x: np.ndarray, y: np.ndarray | None, edits: dict[str, float]
) -> int:
    name = next(iter(edits))
    model.edit(
        x[:1], edits, y=None if y is None else y[:1]
    )  # raises for an unknown concept before a strip of pictures is computed
    vector = model.concepts[name]
    strengths = [round(step * vector.strength, 2) for step in STEPS]
    if arguments.strip != AUTO:
        strengths = numbers(arguments.strip, "--strip")
    edited = np.stack([model.edit(x, edits | {name: strength}, y=y) for strength in strengths], axis=1)
    edited = edited.reshape(-1, *model.event_shape)
    text = f"{plural(len(x), 'example')} at {plural(len(strengths), 'strength')} of {name}"
    pictures = {
        "originals": model.model.preprocess.displayed(x),
        "label": f"strength of {name}, in standard deviations along it",
    }
    return write_strip(arguments, model, edited, strengths, text, {"strengths": strengths}, **pictures)
