"""`interpolate`, `traverse` and `neighbours`: ways through the code, and who lives near."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import add_out, counted, done, is_picture, numbers
from diabolo.cli._parser import Parser, add_data_options, data_options, emit, table
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.errors import ConfigError
from diabolo.figures import save, strip
from diabolo.latent import geometry
from diabolo.runs.data import open_examples
from diabolo.runs.tables import write_array, write_table

__all__ = ["interpolate", "neighbours", "traverse"]

EXAMPLE = "an image file, or a number: that example of the run's own data (or of --source), from 0"
STEPS = (-3, -2, -1, 0, 1, 2, 3)  # of a traversal, in standard deviations of the training codes from their mean
ROWS = 10  # dimensions that are walked along where none is named


def interpolate(parser: Parser, words: Sequence[str]) -> int:
    """From example to example through the code."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("example", nargs="+", help=f"two or more to pass through: {EXAMPLE}")
    parser.add_argument("-n", type=int, default=10, help="examples on the way from one to the next, both included")
    parser.add_argument("--how", choices=geometry.WAYS, default="linear", help="along lines, or arcs about the origin")
    _add_rest(parser, "path.png")
    found = parser.parse(words)
    require(len(found.example) >= 2, "EXAMPLE", "two or more examples to go between", found.example)
    model = Autoencoder.load(found.run)
    ends = _examples(found, model, found.example)
    codes = model.encode(ends)
    ways = geometry.interpolate(codes[:-1], codes[1:], found.n, how=found.how)
    made = model.decode(ways.reshape(-1, model.latent_dim))
    if is_picture(found.out):
        shown = model.model.preprocess.displayed
        steps = [f"{step:.0%}" for step in np.linspace(0, 1, found.n)]
        rows = [f"{a} to {b}" for a, b in zip(*(_short(found.example[i:]) for i in (0, 1)), strict=False)]
        save(strip(shown(made), model.layout, steps, rows=rows if len(rows) > 1 else ()), found.out)
    else:
        write_array(found.out, made)
    return done(found, found.out, f"{counted(len(made), 'example')} on the way", {"count": len(made)})


def traverse(parser: Parser, words: Sequence[str]) -> int:
    """One number of a code at a time."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("example", help=EXAMPLE)
    parser.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="zK",
        help=f"which number of the code, z1, z2, ...; may be given again (the {ROWS} of the largest deviation)",
    )
    parser.add_argument(
        "--values",
        metavar="V1,V2,...",
        help=f"what it is set to (the training codes' mean and {STEPS[-1]} standard deviations to either side)",
    )
    _add_rest(parser, "traversal.png")
    found = parser.parse(words)
    model = Autoencoder.load(found.run)
    dims = [_dimension(word, model.latent_dim) for word in found.dim] or _widest(model)
    values = numbers(found.values, "--values") if found.values else None
    code = model.encode(_examples(found, model, [found.example]))[0]
    walks = [geometry.traverse(code, dim, _range(model, dim) if values is None else values) for dim in dims]
    made = model.decode(np.concatenate(walks))
    if is_picture(found.out):
        steps = [f"{step:+} sd".replace("-", "−") if step else "mean" for step in STEPS] if values is None else values
        shown = model.model.preprocess.displayed(made)
        save(strip(shown, model.layout, steps, rows=[f"z{dim + 1}" for dim in dims]), found.out)
    else:
        write_array(found.out, made)
    return done(found, found.out, f"{counted(len(made), 'example')} along {_named(dims)}", {"count": len(made)})


def neighbours(parser: Parser, words: Sequence[str]) -> int:
    """The examples with the nearest codes."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("example", nargs="+", help=EXAMPLE)
    parser.add_argument("-k", type=int, default=10, help="how many")
    _add_rest(parser, None)
    found = parser.parse(words)
    model = Autoencoder.load(found.run)
    dataset = open_examples(model, found.source, data_options(vars(found)))
    asked = _examples(found, model, found.example, dataset)
    require(
        1 <= found.k < len(dataset), "k", f"between 1 and {len(dataset) - 1:,}, the other examples there are", found.k
    )
    codes = model.encode(dataset.x)
    near, far = geometry.nearest(codes, model.encode(asked), min(found.k + 1, len(dataset)))
    own = [_number(word) for word in found.example]
    kept = [(row != me).nonzero()[0][: found.k] for row, me in zip(near, own, strict=True)]  # not the example itself
    near = np.stack([row[which] for row, which in zip(near, kept, strict=True)])
    far = np.stack([row[which] for row, which in zip(far, kept, strict=True)])
    _tell(found, model, dataset, asked, near, far)
    return 0


def _tell(found: Any, model: Autoencoder, dataset: Dataset, asked: Any, near: Any, far: Any) -> None:
    """The neighbours on the screen, and in a file where one is named."""
    flat = dataset.subset(near.ravel())
    queries = np.repeat(found.example, near.shape[1])
    labels = [flat.classes[y] if flat.classes else f"{y:g}" for y in ([] if flat.y is None else flat.y.tolist())]
    labels = labels or [""] * len(flat)
    names = list(flat.ids) or [str(index) for index in near.ravel()]
    if found.out is not None and is_picture(found.out):
        shown = model.model.preprocess.displayed
        x = np.concatenate([np.concatenate([one[None], dataset.x[row]]) for one, row in zip(asked, near, strict=True)])
        steps = ["", *(str(rank) for rank in range(1, near.shape[1] + 1))]
        rows = _short(found.example) if len(asked) > 1 else ()
        save(strip(shown(x), model.layout, steps, rows=rows, label="nearest by code, in order"), found.out)
    elif found.out is not None:
        columns = {"query": queries, "index": near.ravel(), "distance": far.ravel()}
        write_table(found.out, columns, columns, flat)
    keys = ("query", "index", "name", "label", "distance")
    values = list(zip(queries.tolist(), near.ravel().tolist(), names, labels, far.ravel().tolist(), strict=True))
    entries = [dict(zip(keys, row, strict=True)) for row in values]
    text = table([keys, *((*map(str, row[:-1]), f"{row[-1]:.4g}") for row in values)])
    text += f"\n-> {found.out}" if found.out else ""
    emit({"out": str(found.out) if found.out else None, "neighbours": entries}, found.json, text)


def _add_rest(parser: Parser, out: str | None) -> None:
    parser.add_argument("--source", help="the data that numbers count in; the run's own if left out")
    if out is None:
        parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where to: .png, .npz, .csv or .parquet")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
    else:
        add_out(parser, out, "where to: .png draws, .npz and .npy hold the values")
    add_data_options(parser)


def _examples(found: Any, model: Autoencoder, words: Sequence[str], dataset: Dataset | None = None) -> np.ndarray:
    """The examples that the words name, (len(words), *event), in the units of the model's data."""
    given = data_options(vars(found))
    parts = []
    for word in words:
        number = _number(word)
        if number is None:
            one = open_examples(model, word, given)
            if len(one) != 1:
                raise ConfigError(f"{word} holds {len(one):,} examples: name one, as FILE, or as a number of --source.")
            parts.append(one.x[0])
            continue
        dataset = dataset or open_examples(model, found.source, given)
        if not 0 <= number < len(dataset):
            raise ConfigError(f"{dataset.name} has {len(dataset):,} examples, 0 to {len(dataset) - 1}: not {word}.")
        parts.append(dataset.x[number])
    if len({part.dtype for part in parts}) > 1:  # pixels as bytes beside pixels as floats
        parts = [part / np.float32(255) if part.dtype == np.uint8 else part for part in parts]
    return np.stack(parts)


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def _short(words: Sequence[str]) -> list[str]:
    return [Path(word).stem if _number(word) is None else f"#{word}" for word in words]


def _dimension(word: str, latent_dim: int) -> int:
    number = _number(word.removeprefix("z"))
    if number is None or not 1 <= number <= latent_dim:
        raise ConfigError(f"The code has the numbers z1 to z{latent_dim}, and --dim was given {word!r}.")
    return number - 1


def _widest(model: Autoencoder) -> list[int]:
    """The dimensions in which the training codes vary most, the widest first; the first ones where that is unknown."""
    if model.statistics is None:
        return list(range(min(ROWS, model.latent_dim)))
    return [int(dim) for dim in np.argsort(-model.statistics.deviation, kind="stable")[:ROWS]]


def _range(model: Autoencoder, dim: int) -> np.ndarray:
    """Steps over what a dimension reaches in the training codes, or under N(0, 1)."""
    mean, deviation = 0.0, 1.0
    if model.statistics is not None:
        mean, deviation = float(model.statistics.mean[dim]), float(model.statistics.deviation[dim])
    elif not model.has_prior:
        raise ConfigError("The run does not hold the statistics of its training codes: say --values V1,V2,...")
    return mean + deviation * np.array(STEPS)


def _named(dims: Sequence[int]) -> str:
    return ", ".join(f"z{dim + 1}" for dim in dims)
