"""`fit-prior`: a density on the codes of a run, for `sample` to draw from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.files import read_config
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import counted
from diabolo.cli._parser import Parser, add_data_options, add_parameters, data_options, emit, table
from diabolo.config import configuration, parameters
from diabolo.latent.artifacts import PRIOR
from diabolo.models.priors import Prior, priors
from diabolo.runs.data import open_data, open_examples

__all__ = ["fit_prior"]

NONE = "none"  # the kind that removes what was fitted
DEFAULT = "gmm"


def fit_prior(parser: Parser, words: Sequence[str]) -> int:
    """Examples to codes to a density, kept with the run."""
    parser.epilog = "Afterwards, diabolo sample RUN draws from it, unless told --prior own."
    parser.add_argument("run", help="the run's folder")
    parser.add_argument(
        "source", nargs="?", help="the examples: any source; those that the run was trained on if left out"
    )
    kinds = f"{', '.join(priors)}, or {NONE} to remove the one there is (default: {DEFAULT})"
    parser.add_argument("--kind", metavar="NAME", default=DEFAULT, help=kinds)
    parser.add_argument("--seed", type=int, default=0, help="of the codes' noise and of the fit")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    names = _add_options_of_kind(parser, words)
    add_data_options(parser)
    found = parser.parse(words)
    if found.kind == NONE:
        return _remove(found)
    options = {name: value for name, value in vars(found).items() if name in names}
    priors.create(found.kind, options)  # before anything is read
    model = Autoencoder.load(found.run)
    x = _examples(found, model)
    if not found.json:
        print(f"Fitting a {found.kind} to the codes of {counted(len(x), 'example')} ...", file=sys.stderr)
    prior = model.fit_prior(found.kind, x, seed=found.seed, **options)
    path = Path(found.run) / PRIOR
    prior.save(path)
    result = {"out": str(path), "kind": prior.kind, "options": configuration(prior), **prior.info}
    emit(result, found.json, _said(prior, path, Path(found.run)))
    return 0


def _add_options_of_kind(parser: Parser, words: Sequence[str]) -> list[str]:
    """The options of the kind that the words choose, by name; those of the others are known, and refused by name."""
    peek = Parser(prog=parser.prog, add_help=False)
    peek.add_argument("--kind", default=DEFAULT)
    chosen = peek.parse_known_args([word for word in words if word not in ("-h", "--help")])[0].kind
    own = () if chosen == NONE else parameters(priors[chosen])
    if own:
        add_parameters(parser, f"prior {chosen}", own)
    names = [item.name for item in own]
    for other in priors:
        for item in parameters(priors[other]):
            if item.name not in names:
                parser.elsewhere.setdefault("--" + item.name.replace("_", "-"), f"the prior {other!r}")
    return names


def _examples(found: Any, model: Autoencoder) -> np.ndarray:
    """The training split of the run's own data, or all of the source."""
    given = data_options(vars(found))
    if found.source is not None:
        return open_examples(model, found.source, given).x
    dataset, split = open_data(model, None, given)
    return dataset.x[split.train]


def _remove(found: Any) -> int:
    """Removes the prior of a run, even one that cannot be read."""
    folder = Path(found.run)
    read_config(folder)
    path = folder / PRIOR
    there = path.exists()
    path.unlink(missing_ok=True)
    text = f"Removed {path}" if there else f"{folder} had no prior"
    emit({"out": None, "kind": NONE, "removed": there}, found.json, text)
    return 0


def _said(prior: Prior, path: Path, run: Path) -> str:
    info = prior.info
    kept = info["count"] // 10
    options = ", ".join(f"{name}={value}" for name, value in configuration(prior).items())
    lines = [
        f"{prior.kind} ({options}), fitted to {counted(info['count'] - kept, 'code')} of "
        f"{counted(info['dim'], 'number')}"
    ]
    if kept:
        rows = [["N(0, I)", f"{info['held_out_standard_normal']:.3f}"]]
        if prior.kind != "gaussian":
            rows.append(["full Gaussian", f"{info['held_out_gaussian']:.3f}"])
        rows.append([prior.kind, f"{info['held_out']:.3f}   (of those it was fitted to: {info['fitted']:.3f})"])
        lines += [f"Log-likelihood of {counted(kept, 'code')} held out, nats per code:", table(rows, indent="  ")]
    else:
        lines.append(
            f"Log-likelihood of those codes: {info['fitted']:.3f} nats per code; there were too few to hold out"
        )
    lines += [f"Note: {note}." for note in info["notes"]]
    return "\n".join([*lines, f"-> {path}", f"To draw from it: diabolo sample {run}"])
