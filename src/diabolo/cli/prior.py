"""`fit-prior`: a density over the latent codes of a run, from which `sample` draws."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo._imported import is_path, trust
from diabolo.autoencoder.files import read_config, remove_artifact, write_artifact
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._parser import (
    Parser,
    add_data_options,
    add_part_options,
    chosen_parts,
    data_options,
    emit,
    names_in_help,
    table,
)
from diabolo.config import configuration, parameters
from diabolo.datasets import Dataset
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError
from diabolo.latent.artifacts import PRIOR
from diabolo.models.priors import Prior, priors
from diabolo.runs.config import trust_words
from diabolo.runs.data import open_data, open_examples

__all__ = ["fit_prior"]

NONE = "none"  # the kind that removes a fitted prior
DEFAULT = "gmm"


def fit_prior(parser: Parser, words: Sequence[str]) -> int:
    """Fits a density to the latent codes of examples and saves it with the run."""
    parser.epilog = "Afterwards, diabolo sample RUN draws from it, unless told --prior own."
    parser.add_argument("run", help="the run's folder")
    parser.add_argument(
        "source", nargs="?", help="the examples: any source; those that the run was trained on if left out"
    )
    kinds = f"{names_in_help(priors, words)}, module:Class, or {NONE} to remove the one there is (default: {DEFAULT})"
    parser.add_argument("--kind", metavar="NAME", default=DEFAULT, help=kinds)
    parser.add_argument("--seed", type=int, default=0, help="of the codes' noise and of the fit")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    names = _add_options_of_kind(parser, words)
    add_data_options(parser)
    arguments = parser.parse(words)
    if arguments.kind == NONE:
        return _remove(arguments)
    options = {name: value for name, value in vars(arguments).items() if name in names}
    priors.create(arguments.kind, options)  # before anything is read
    model = Autoencoder.load(arguments.run)
    x = _examples(arguments, model)
    if priors[arguments.kind].of_tokens and not model.model.objective.entries:
        raise ConfigError(
            f"The prior {arguments.kind!r} is one of tokens, and the codes of this model have none: take gaussian, gmm "
            "or flow, or train a model with a codebook (--model vq)."
        )
    if not arguments.json:
        print(f"Fitting a {arguments.kind} to the codes of {plural(len(x), 'example')} ...", file=sys.stderr)
    prior = model.fit_prior(arguments.kind, x, seed=arguments.seed, **options)
    path = write_artifact(Path(arguments.run), model.model, prior)
    result = {"out": str(path), "kind": prior.kind, "options": configuration(prior), **prior.info}
    trusted = trust_words({**model.info, **model.model.config()}, priors.name_of(prior))
    emit(result, arguments.json, _report(prior, path, f"{arguments.run}{trusted}"))
    return 0


def _add_options_of_kind(parser: Parser, words: Sequence[str]) -> list[str]:
    """Adds the options of the chosen kind; returns their names."""
    kind = chosen_parts(parser, words, ["kind"]).kind or DEFAULT
    trust([kind] if is_path(kind) else [])  # whoever types it wants it run
    items = {} if kind == NONE else {item.name: item for item in parameters(priors[kind])}
    add_part_options(
        parser, f"prior {kind}", items, {f"the prior {other!r}": parameters(priors[other]) for other in priors}
    )
    return list(items)


def _examples(arguments: Any, model: Autoencoder) -> Dataset:
    """The training split of the run's own data, or all of the source."""
    data = data_options(vars(arguments))
    if arguments.source is not None:
        return open_examples(model, arguments.source, data)
    dataset, split = open_data(model, None, data)
    return dataset.subset(split.train)


def _remove(arguments: Any) -> int:
    """Removes the prior of a run, also a damaged one."""
    folder = Path(arguments.run)
    read_config(folder)
    existed = remove_artifact(folder, PRIOR)
    text = f"Removed {folder / PRIOR}" if existed else f"{folder} had no prior"
    emit({"out": None, "kind": NONE, "removed": existed}, arguments.json, text)
    return 0


def _report(prior: Prior, path: Path, run: str) -> str:
    info = prior.info
    held_out = info["count"] // 10
    options = ", ".join(f"{name}={value}" for name, value in configuration(prior).items())
    what = plural(info["dim"], "token" if prior.of_tokens else "number")
    lines = [f"{prior.kind} ({options}), fitted to {plural(info['count'] - held_out, 'code')} of {what}"]
    if held_out:
        others = {name: words for name, words in prior.baselines.items() if not name.endswith(f"_{prior.kind}")}
        rows = [[words, f"{info[name]:.3f}"] for name, words in others.items()]
        rows.append([prior.kind, f"{info['held_out']:.3f}   (of those it was fitted to: {info['fitted']:.3f})"])
        lines += [f"Log-likelihood of {plural(held_out, 'code')} held out, nats per code:", table(rows, indent="  ")]
    else:
        lines.append(
            f"Log-likelihood of those codes: {info['fitted']:.3f} nats per code; there were too few to hold out"
        )
    lines += [f"Note: {note}." for note in info["notes"]]
    return "\n".join([*lines, f"-> {path}", f"To draw from it: diabolo sample {run}"])
