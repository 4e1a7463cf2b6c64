"""The shared parts of commands that use a model: its run, its examples, the files that it writes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo import bulk
from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk import Operation, Result
from diabolo.cli._parser import Parser, add_data_options, data_options, emit
from diabolo.datasets import Dataset
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError
from diabolo.figures import save, strip
from diabolo.runs.data import open_examples
from diabolo.runs.tables import write_array, write_columns
from diabolo.storage import images

__all__ = [
    "add_class",
    "add_out",
    "add_pieces",
    "done",
    "done_pieces",
    "examples_to_write",
    "is_picture",
    "load_of_class",
    "load_with_source",
    "numbers",
    "parse_with_source",
    "to_pieces",
    "write_examples",
    "write_pieces",
    "write_strip",
]


class _Out(argparse.Action):
    """Stores the path of `--out`, that the user named it, and whether it ends in a slash."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        del parser, option
        namespace.out, namespace.has_out = Path(values), True
        namespace.out_slash = values.endswith(("/", os.sep))


def parse_with_source(parser: Parser, words: Sequence[str], out: str, text: str) -> Any:
    """The arguments of a command that reads a run and a source and writes a file."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument(
        "source", nargs="?", help="the examples: any source, or one image; the run's own data if left out"
    )
    add_out(parser, out, text)
    add_data_options(parser)
    return parser.parse(words)


def add_out(parser: Parser, default: str, text: str) -> None:
    """Adds `--out` and `--json`."""
    parser.add_argument("-o", "--out", action=_Out, default=Path(default), metavar="FILE", help=text)
    parser.set_defaults(has_out=False, out_slash=False)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_pieces(parser: Parser) -> None:
    """Adds the options of a large job, which writes a folder of Parquet pieces."""
    group = parser.add_argument_group(
        "large jobs", "where --out names a folder (ends in /): Parquet pieces, made anew only where they are missing"
    )
    group.add_argument(
        "--executor",
        choices=["process", "ray"],
        default="process",
        help="what makes the pieces: this process, or Ray's workers (as many as --workers says, one for each core if "
        "left out)",
    )
    group.add_argument(
        "--ray-address", metavar="HOST:PORT|auto", help="of a running Ray cluster; a local one if left out"
    )
    group.add_argument(
        "--piece-rows", type=int, metavar="N", help="rows of a piece where the source is no folder of Parquet files"
    )


def to_pieces(arguments: Any, folder: str) -> bool:
    """Whether the command writes a folder of pieces.

    Args:
        arguments: of the command.
        folder: of the pieces, where `--out` names none.

    Raises:
        ConfigError: options that contradict each other.
    """
    if arguments.executor == "ray":
        if not arguments.has_out:
            arguments.out, arguments.out_slash = Path(folder), True
        if not arguments.out_slash and not arguments.out.is_dir() and arguments.out.suffix:
            raise ConfigError(
                f"--executor ray writes a folder of Parquet pieces: --out should name one, such as {folder}/, and was "
                f"given {str(arguments.out)!r}."
            )
        return True
    for name, option in (("ray_address", "--ray-address"), ("piece_rows", "--piece-rows")):
        if getattr(arguments, name) is not None and (name == "ray_address" or not _is_folder(arguments)):
            needs = "--executor ray" if name == "ray_address" else "a folder of pieces: --out codes/"
            raise ConfigError(f"{option} is for {needs}. Leave it out, or ask for that.")
    return _is_folder(arguments)


def write_pieces(arguments: Any, model: Autoencoder, operation: Operation) -> Result:
    """Runs the large job of a command."""
    data = data_options(vars(arguments))
    executor: Any = bulk.Process()
    if arguments.executor == "ray":
        executor = bulk.Ray(workers=data.pop("workers", None), address=arguments.ray_address)
    rows = bulk.PIECE_ROWS if arguments.piece_rows is None else arguments.piece_rows
    bar = None if arguments.json else bulk.Bar()
    return bulk.run(
        model, arguments.source, arguments.out, operation, data=data, executor=executor, piece_rows=rows, bar=bar
    )


def done_pieces(arguments: Any, result: Result, text: str, extra: Mapping[str, Any]) -> int:
    """Prints the result of a large job; returns the exit status 0."""
    before = f", {result.skipped:,} of them there before" if result.skipped else ""
    numbers = {"count": result.rows, "pieces": result.pieces, "skipped": result.skipped, **extra}
    return done(arguments, result.folder, f"{text} in {plural(result.pieces, 'piece')}{before}", numbers)


def add_class(parser: Parser) -> None:
    """Adds the option of a class for models that take labels."""
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="the class that is taken, for a run whose model takes labels"
    )


def load_of_class(arguments: Any) -> Autoencoder:
    """The run's model, which takes examples and codes to be of the class that was named."""
    model = Autoencoder.load(arguments.run)
    if arguments.label is not None and model.labels == "none":
        raise ConfigError("--class is for models that take labels, and this one learned without any: leave it out.")
    model.label = arguments.label
    return model


def load_with_source(arguments: Any) -> tuple[Autoencoder, Dataset]:
    """The run's model, and the source, opened with the settings of the run's data and the command's options."""
    model = load_of_class(arguments) if "label" in vars(arguments) else Autoencoder.load(arguments.run)
    return model, open_examples(model, arguments.source, data_options(vars(arguments)))


def is_picture(path: Path) -> bool:
    """Whether a path is that of a picture."""
    return path.suffix.lower() == ".png"


def write_examples(arguments: Any, model: Autoencoder, x: np.ndarray, grid: np.ndarray | None = None) -> int:
    """Writes examples as a picture, an array or a table with the names of its columns, by the suffix of `--out`."""
    if arguments.out.suffix.lower() in (".csv", ".parquet"):
        write_columns(arguments.out, model.table(x))
    elif not is_picture(arguments.out):
        write_array(arguments.out, x)
    elif not images.is_image(model.layout):
        raise ConfigError(f"The model's examples are no images: {arguments.out} should end in .npz or .npy.")
    else:
        columns = len(x) if len(x) <= 10 else round(len(x) ** 0.5)
        pixels = images.tile(model.pixels(x), columns=columns) if grid is None else grid
        images.save_png(arguments.out, images.enlarge(pixels, max(1, round(560 / max(pixels.shape[:2])))))
    return done(
        arguments,
        arguments.out,
        f"{plural(len(x), 'example')} of shape {model.event_shape}",
        {"count": len(x)},
    )


def examples_to_write(arguments: Any, model: Autoencoder, dataset: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """All examples, or for a picture the first `-n`; of the run's own data those on which it was not trained.

    With their labels, where the model takes some.
    """
    y = model.labels_of(dataset) if model.label is None else None
    if not is_picture(arguments.out):
        return dataset.x, y
    held_out = model.examples if arguments.source is None and model.labels == "none" else None
    x = np.asarray((dataset.x if held_out is None else held_out)[: arguments.n])
    return x, None if y is None else y[: arguments.n]


def write_strip(
    arguments: Any,
    model: Autoencoder,
    x: np.ndarray,
    steps: Sequence[Any],
    text: str,
    extra: Any = None,
    **options: Any,
) -> int:
    """Writes rows of examples, one column for each step, as a picture or as an array, by the suffix of `--out`."""
    if is_picture(arguments.out):
        save(strip(model.model.preprocess.displayed(x), model.layout, steps, **options), arguments.out)
    else:
        write_array(arguments.out, x)
    return done(arguments, arguments.out, text, {"count": len(x), **(extra or {})})


def done(arguments: Any, path: Path, text: str, extra: dict[str, Any]) -> int:
    """Prints what was written where; returns the exit status 0."""
    emit({"out": str(path), **extra}, arguments.json, f"{text} -> {path}")
    return 0


def _is_folder(arguments: Any) -> bool:
    """Whether `--out` names a folder: it ends in a slash, or exists as a folder and has no suffix."""
    return bool(arguments.out_slash or (arguments.out.is_dir() and not arguments.out.suffix))


def numbers(text: str, option: str) -> list[float]:
    """The numbers of an option such as `-1,0,2.5`."""
    try:
        values = [float(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError:
        values = []
    if not values or not np.isfinite(values).all():
        raise ConfigError(f"{option} takes numbers with commas between them, and {text!r} was given.")
    return values
