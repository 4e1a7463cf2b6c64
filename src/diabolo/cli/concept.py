"""`concept` and `edit`: directions in the code that mean something, learned from two groups and put to work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import counted, done, is_picture, load_with_source, numbers, parse_with_source, write_examples
from diabolo.cli._parser import Parser, add_data_options, emit, table
from diabolo.config import require
from diabolo.errors import ConfigError, DataError, unknown_name
from diabolo.figures import save, strip
from diabolo.latent.artifacts import concept_path
from diabolo.latent.concepts import METHODS, ConceptVector, check_name
from diabolo.runs.tables import write_array

__all__ = ["concept", "edit"]

STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5)  # of a strip, in times the advised strength
AUTO = "auto"


def concept(parser: Parser, words: Sequence[str]) -> int:
    """Concept vectors of a run: learned, listed, removed."""
    actions: dict[str, tuple[Callable[[Parser, Sequence[str]], int], str]] = {
        "learn": (_learn, "learn a direction in the code from two groups of examples"),
        "list": (_list, "list the concepts of a run"),
        "remove": (_remove, "remove a concept from a run"),
    }
    if words and words[0] in actions:
        action, text = actions[words[0]]
        return action(Parser(prog=f"{parser.prog} {words[0]}", description=text.capitalize() + "."), words[1:])
    explained = "; ".join(f"{name}: {text}" for name, (_, text) in actions.items())
    parser.add_argument("action", metavar="|".join(actions), help=explained)
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
    found = parser.parse(words)
    check_name(found.name)
    model, dataset = load_with_source(found)
    if dataset.y is None:
        raise DataError(
            f"{dataset.name} has no labels to make two groups by. Put the images into a folder for each group, or name "
            "the column or the array of the labels: --labels NAME"
        )
    labels = np.array(dataset.classes)[dataset.y] if dataset.classes else dataset.y
    there = found.name in model.concepts
    made = model.learn_concept(
        found.name,
        dataset.x,
        labels,
        positive=found.positive,
        negative=found.negative,
        method=found.method,
        orthogonal_to=found.orthogonal_to,
        seed=found.seed,
    )
    path = concept_path(Path(found.run), found.name)
    made.save(path)
    emit({"out": str(path), **_facts(made)}, found.json, "\n".join(_said(made, path, found.run, replaced=there)))
    return 0


def _said(made: ConceptVector, path: Path, run: str, *, replaced: bool) -> list[str]:
    positive, negative = made.counts
    return [
        f"{made.name}: from {made.negative} ({negative:,}) to {made.positive} ({positive:,}), by {made.method}",
        f"AUC {made.auc:.3f} [{made.auc_low:.3f}, {made.auc_high:.3f}] on codes that it was not learned from"
        + (": it hardly tells the groups apart" if made.auc_low < 0.55 else ""),
        f"The group means are {made.gap:.2f} standard deviations apart along it. "
        f"A strength of {made.strength:.1f} carries nearly every example past the mean of {made.positive}"
        + ("" if made.method == "mean" else "; what separates best may hardly show: --method mean edits best"),
        f"{'Replaced' if replaced else 'Learned'} -> {path}",
        f"To use it: diabolo edit {run} SOURCE --concept {made.name}={made.strength:.1f}",
    ]


def _list(parser: Parser, words: Sequence[str]) -> int:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    found = parser.parse(words)
    known = Autoencoder.load(found.run).concepts
    rows = [["name", "AUC", "gap", "method", "groups"]]
    rows += [
        [one.name, f"{one.auc:.3f}", f"{one.gap:.2f}", one.method, f"{one.negative} -> {one.positive}"]
        for one in known.values()
    ]
    none = f"{found.run} has no concepts: diabolo concept learn {found.run} SOURCE --name NAME learns one"
    emit([_facts(one) for one in known.values()], found.json, table(rows) if known else none)
    return 0


def _remove(parser: Parser, words: Sequence[str]) -> int:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("name", help="the concept's name")
    found = parser.parse(words)
    known = Autoencoder.load(found.run).concepts
    if found.name not in known:
        raise unknown_name("concept", found.name, known)
    path = concept_path(Path(found.run), found.name)
    path.unlink()
    print(f"Removed {path}")
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
    """Examples moved along concepts."""
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
    found = parse_with_source(parser, words, "edited.png", "where to: .png draws, .npz and .npy hold all")
    require(found.n >= 1, "n", "a number of examples of at least 1", found.n)
    wanted = dict(_wanted(word, strip=found.strip is not None) for word in found.concept)
    model, dataset = load_with_source(found)
    x = np.asarray(dataset.x[: found.n]) if is_picture(found.out) else dataset.x
    if found.source is None and is_picture(found.out) and model.examples is not None:
        x = model.examples[: found.n]  # of the test split, rather than what it was trained on
    if found.strip is None:
        return write_examples(found, model, model.edit(x, wanted))
    return _write_strip(found, model, x, wanted)


def _wanted(word: str, *, strip: bool) -> tuple[str, float]:
    name, equals, number = word.partition("=")
    try:
        strength = float(number) if equals else 0.0
    except ValueError:
        strength = np.nan
    if not np.isfinite(strength) or not (equals or strip):
        raise ConfigError(f"--concept takes a name and a strength, such as smile=2, and was given {word!r}.")
    return name, strength


def _write_strip(found: Any, model: Autoencoder, x: np.ndarray, wanted: dict[str, float]) -> int:
    name = next(iter(wanted))
    model.edit(x[:1], wanted)  # refuses a concept that is not there
    vector = model.concepts[name]
    strengths = [round(step * vector.strength, 2) for step in STEPS]
    if found.strip != AUTO:
        strengths = numbers(found.strip, "--strip")
    made = np.stack([model.edit(x, wanted | {name: strength}) for strength in strengths], axis=1)
    made = made.reshape(-1, *model.event_shape)
    if is_picture(found.out):
        shown = model.model.preprocess.displayed
        label = f"strength of {name}, in standard deviations along it"
        save(strip(shown(made), model.layout, strengths, originals=shown(x), label=label), found.out)
    else:
        write_array(found.out, made)
    text = f"{counted(len(x), 'example')} at {counted(len(strengths), 'strength')} of {name}"
    return done(found, found.out, text, {"count": len(made), "strengths": strengths})
