"""`interpolate`, `traverse` and `neighbours`: paths through the latent code, and the nearest examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo._words import whole_number
from diabolo.autoencoder.inference import Places
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import add_class, add_out, is_picture, load_of_class, numbers, write_strip
from diabolo.cli._parser import Parser, add_data_options, data_options, emit, table
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError
from diabolo.figures import save, strip
from diabolo.latent import geometry
from diabolo.runs.data import open_examples
from diabolo.runs.tables import write_table

__all__ = ["interpolate", "neighbours", "traverse"]

EXAMPLE = "an image file, or a number: that example of the run's own data (or of --source), from 0"
STEPS = (-3, -2, -1, 0, 1, 2, 3)  # of a traversal, in standard deviations of the training codes from their mean
ROWS = 10  # dimensions of a traversal without --dim


def interpolate(parser: Parser, words: Sequence[str]) -> int:
    """Writes examples on the way from one to the next."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("example", nargs="+", help=f"two or more to pass through: {EXAMPLE}")
    parser.add_argument("-n", type=int, default=10, help="examples on the way from one to the next, both included")
    parser.add_argument("--how", choices=geometry.WAYS, default="linear", help="along lines, or arcs about the origin")
    add_class(parser)
    _add_rest(parser, "path.png")
    arguments = parser.parse(words)
    require(len(arguments.example) >= 2, "EXAMPLE", "two or more examples to go between", arguments.example)
    model = load_of_class(arguments)
    ends, y = _examples(arguments, model, arguments.example)
    codes = model.encode(ends, y, flat=True)
    ways = geometry.interpolate(codes[:-1], codes[1:], arguments.n, how=arguments.how)
    each = (
        None if y is None else np.repeat(y[:-1], arguments.n).view(Places)
    )  # on the way, the class of where it starts
    x = model.decode(ways.reshape(-1, model.latent_dim), each)
    steps = [f"{step:.0%}" for step in np.linspace(0, 1, arguments.n)]
    rows = [f"{a} to {b}" for a, b in zip(*(_labels(arguments.example[i:]) for i in (0, 1)), strict=False)]
    text = f"{plural(len(x), 'example')} on the way"
    return write_strip(arguments, model, x, steps, text, rows=rows if len(rows) > 1 else ())


def traverse(parser: Parser, words: Sequence[str]) -> int:
    """Writes examples while one latent dimension changes."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("example", help=EXAMPLE)
    parser.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="zK",
        help=f"which number of the latent code, z1, z2, ...; may be given again (the {ROWS} of the largest deviation)",
    )
    parser.add_argument(
        "--values",
        metavar="V1,V2,...",
        help=f"what it is set to (the training codes' mean and {STEPS[-1]} standard deviations to either side)",
    )
    add_class(parser)
    _add_rest(parser, "traversal.png")
    arguments = parser.parse(words)
    model = load_of_class(arguments)
    dims = [_dimension(word, model.latent_dim) for word in arguments.dim] or _widest(model)
    values = numbers(arguments.values, "--values") if arguments.values else None
    example, y = _examples(arguments, model, [arguments.example])
    code = model.encode(example, y, flat=True)[0]
    walks = [geometry.traverse(code, dim, _range(model, dim) if values is None else values) for dim in dims]
    codes = np.concatenate(walks)
    x = model.decode(codes, None if y is None else np.repeat(y, len(codes)).view(Places))
    steps = [f"{step:+} sd".replace("-", "−") if step else "mean" for step in STEPS] if values is None else values
    rows = [f"z{dim + 1}" for dim in dims]
    return write_strip(arguments, model, x, steps, f"{plural(len(x), 'example')} along {', '.join(rows)}", rows=rows)


def neighbours(parser: Parser, words: Sequence[str]) -> int:
    """Finds the examples with the nearest latent codes."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("example", nargs="+", help=EXAMPLE)
    parser.add_argument("-k", type=int, default=10, help="how many")
    add_class(parser)
    _add_rest(parser, None)
    arguments = parser.parse(words)
    model = load_of_class(arguments)
    dataset = open_examples(model, arguments.source, data_options(vars(arguments)))
    queries, y = _examples(arguments, model, arguments.example, dataset)
    k, most = arguments.k, len(dataset) - 1
    require(1 <= k <= most, "k", f"between 1 and {most:,}, the other examples there are", k)
    codes = model.encode(dataset, flat=True)
    near, far = geometry.nearest(codes, model.encode(queries, y, flat=True), min(k + 1, len(dataset)))
    own = [whole_number(word) for word in arguments.example]
    others = [(row != me).nonzero()[0][:k] for row, me in zip(near, own, strict=True)]  # not itself
    near = np.stack([row[which] for row, which in zip(near, others, strict=True)])
    far = np.stack([row[which] for row, which in zip(far, others, strict=True)])
    _print_neighbours(arguments, model, dataset, queries, near, far)
    return 0


def _print_neighbours(arguments: Any, model: Autoencoder, dataset: Dataset, x: Any, near: Any, far: Any) -> None:
    """Prints the neighbours, and writes them to `--out`."""
    flat = dataset.subset(near.ravel())
    queries = np.repeat(arguments.example, near.shape[1])
    labels = [flat.classes[y] if flat.classes else f"{y:g}" for y in ([] if flat.y is None else flat.y.tolist())]
    labels = labels or [""] * len(flat)
    names = list(flat.ids) or [str(index) for index in near.ravel()]
    if arguments.out is not None and is_picture(arguments.out):
        displayed = model.model.preprocess.displayed
        strips = [np.concatenate([one[None], dataset.x[row]]) for one, row in zip(x, near, strict=True)]
        steps = ["", *(str(rank) for rank in range(1, near.shape[1] + 1))]
        rows = _labels(arguments.example) if len(x) > 1 else ()
        save(
            strip(displayed(np.concatenate(strips)), model.layout, steps, rows=rows, label="nearest by code, in order"),
            arguments.out,
        )
    elif arguments.out is not None:
        columns = {"query": queries, "index": near.ravel(), "distance": far.ravel()}
        write_table(arguments.out, columns, columns, flat)
    keys = ("query", "index", "name", "label", "distance")
    values = list(zip(queries.tolist(), near.ravel().tolist(), names, labels, far.ravel().tolist(), strict=True))
    entries = [dict(zip(keys, row, strict=True)) for row in values]
    text = table([keys, *((*map(str, row[:-1]), f"{row[-1]:.4g}") for row in values)])
    text += f"\n-> {arguments.out}" if arguments.out else ""
    emit({"out": str(arguments.out) if arguments.out else None, "neighbours": entries}, arguments.json, text)


def _add_rest(parser: Parser, out: str | None) -> None:
    parser.add_argument("--source", help="the data that numbers count in; the run's own if left out")
    if out is None:
        parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where to: .png, .npz, .csv or .parquet")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
    else:
        add_out(parser, out, "where to: .png draws, .npz and .npy hold the values")
    add_data_options(parser)


def _examples(
    arguments: Any, model: Autoencoder, words: Sequence[str], dataset: Dataset | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The examples of some words, (len(words), *event), in the units of the model's data, and their labels, if any."""
    data = data_options(vars(arguments))
    parts = []
    labels: list[int] = []
    for word in words:
        number = whole_number(word)
        if number is None:
            one = open_examples(model, word, data)
            if len(one) != 1:
                raise ConfigError(f"{word} holds {len(one):,} examples: name one, as FILE, or as a number of --source.")
            parts.append(one.x[0])
            labels += _label(model, one, 0)
            continue
        dataset = dataset or open_examples(model, arguments.source, data)
        if not 0 <= number < len(dataset):
            raise ConfigError(f"{dataset.name} has {len(dataset):,} examples, 0 to {len(dataset) - 1}: not {word}.")
        parts.append(dataset.x[number])
        labels += _label(model, dataset, number)
    if len({part.dtype for part in parts}) > 1:  # pixels as bytes beside pixels as floats
        parts = [part / np.float32(255) if part.dtype == np.uint8 else part for part in parts]
    return np.stack(parts), np.array(labels).view(Places) if labels else None


def _label(model: Autoencoder, dataset: Dataset, row: int) -> list[int]:
    """The class of an example, where the model takes labels and none was named."""
    if model.labels == "none" or model.label is not None:
        return []
    y = model.labels_of(dataset)
    return [] if y is None else [int(y[row])]


def _labels(words: Sequence[str]) -> list[str]:
    return [Path(word).stem if whole_number(word) is None else f"#{word}" for word in words]


def _dimension(word: str, latent_dim: int) -> int:
    number = whole_number(word.removeprefix("z"))
    if number is None or not 1 <= number <= latent_dim:
        raise ConfigError(f"The code has the numbers z1 to z{latent_dim}, and --dim was given {word[:20]!r}.")
    return number - 1


def _widest(model: Autoencoder) -> list[int]:
    """The dimensions of the largest deviation of the training codes, in order; the first ones where that is unknown."""
    if model.statistics is None:
        return list(range(min(ROWS, model.latent_dim)))
    return [int(dim) for dim in np.argsort(-model.statistics.deviation, kind="stable")[:ROWS]]


def _range(model: Autoencoder, dim: int) -> np.ndarray:
    """Steps over the range of a dimension in the training codes, or under N(0, 1)."""
    mean, deviation = 0.0, 1.0
    if model.statistics is not None:
        mean, deviation = float(model.statistics.mean[dim]), float(model.statistics.deviation[dim])
    elif not model.has_prior:
        raise ConfigError("The run does not hold the statistics of its training codes: say --values V1,V2,...")
    return mean + deviation * np.array(STEPS)
