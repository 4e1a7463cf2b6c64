"""What the commands that put a model to work share: its run, the examples it is given, and what is written."""

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
from diabolo.errors import ConfigError
from diabolo.runs.data import open_examples
from diabolo.runs.tables import write_array
from diabolo.storage import images

__all__ = [
    "add_out",
    "add_pieces",
    "counted",
    "done",
    "done_pieces",
    "is_picture",
    "load_with_source",
    "numbers",
    "parse_with_source",
    "to_pieces",
    "write_examples",
    "write_pieces",
]


class _Out(argparse.Action):
    """The path of `--out`, and whether it was given with a slash at its end."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        del parser, option
        namespace.out, namespace.out_given = Path(values), True
        namespace.out_slash = values.endswith(("/", os.sep))


def parse_with_source(parser: Parser, words: Sequence[str], out: str, text: str) -> Any:
    """Parses the words of a command that reads a run and a source and writes a file."""
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
    parser.set_defaults(out_given=False, out_slash=False)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_pieces(parser: Parser) -> None:
    """Adds the options of a large job, whose result is a folder of Parquet pieces."""
    group = parser.add_argument_group(
        "large jobs", "where --out names a folder (ends in /): Parquet pieces, made anew only where they are missing"
    )
    group.add_argument(
        "--engine",
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


def to_pieces(found: Any, folder: str) -> bool:
    """Whether the words ask for a folder of pieces; `folder` is where they go if no other is named.

    Raises:
        ConfigError: options that do not go together.
    """
    if found.engine == "ray":
        if not found.out_given:
            found.out, found.out_slash = Path(folder), True
        if not found.out_slash and not found.out.is_dir() and found.out.suffix:
            raise ConfigError(
                f"--engine ray writes a folder of Parquet pieces: --out should name one, such as {folder}/, and was "
                f"given {str(found.out)!r}."
            )
        return True
    for name, option in (("ray_address", "--ray-address"), ("piece_rows", "--piece-rows")):
        if getattr(found, name) is not None and (name == "ray_address" or not _is_folder(found)):
            needs = "--engine ray" if name == "ray_address" else "a folder of pieces: --out codes/"
            raise ConfigError(f"{option} is for {needs}. Leave it out, or ask for that.")
    return _is_folder(found)


def write_pieces(found: Any, model: Autoencoder, operation: Operation) -> Result:
    """The large job that the words ask for."""
    given = data_options(vars(found))
    engine: Any = bulk.Process()
    if found.engine == "ray":
        engine = bulk.Ray(workers=given.pop("workers", None), address=found.ray_address)
    rows = bulk.PIECE_ROWS if found.piece_rows is None else found.piece_rows
    bar = None if found.json else bulk.Bar()
    return bulk.run(model, found.source, found.out, operation, data=given, engine=engine, piece_rows=rows, bar=bar)


def done_pieces(found: Any, result: Result, text: str, extra: Mapping[str, Any]) -> int:
    """Says what a large job made, and gives the exit status 0."""
    there = f", {result.skipped:,} of them there before" if result.skipped else ""
    numbers = {"count": result.rows, "pieces": result.pieces, "skipped": result.skipped, **extra}
    return done(found, result.folder, f"{text} in {counted(result.pieces, 'piece')}{there}", numbers)


def load_with_source(found: Any) -> tuple[Autoencoder, Dataset]:
    """The run's model, and the source as the run's data was opened, unless an option says otherwise."""
    model = Autoencoder.load(found.run)
    return model, open_examples(model, found.source, data_options(vars(found)))


def is_picture(path: Path) -> bool:
    """Whether the suffix asks for a picture."""
    return path.suffix.lower() == ".png"


def write_examples(found: Any, model: Autoencoder, x: np.ndarray, grid: np.ndarray | None = None) -> int:
    """Examples as a picture or as an array, by the suffix of the path."""
    if not is_picture(found.out):
        write_array(found.out, x)
    elif not images.is_image(model.layout):
        raise ConfigError(f"The model's examples are no images: {found.out} should end in .npz or .npy.")
    else:
        columns = len(x) if len(x) <= 10 else round(len(x) ** 0.5)
        pixels = images.tile(model.pixels(x), columns=columns) if grid is None else grid
        images.save_png(found.out, images.enlarge(pixels, max(1, round(560 / max(pixels.shape[:2])))))
    return done(
        found,
        found.out,
        f"{counted(len(x), 'example')} of shape {model.event_shape}",
        {"count": len(x)},
    )


def done(found: Any, path: Path, text: str, extra: dict[str, Any]) -> int:
    """Says what was written where, and gives the exit status 0."""
    emit({"out": str(path), **extra}, found.json, f"{text} -> {path}")
    return 0


def _is_folder(found: Any) -> bool:
    """Whether `--out` names a folder: it ends in a slash, or is one and has no suffix of a file."""
    return bool(found.out_slash or (found.out.is_dir() and not found.out.suffix))


def counted(count: int, what: str) -> str:
    """`1 code`, `1,000 codes`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def numbers(text: str, option: str) -> list[float]:
    """`-1,0,2.5`, as it was given to an option."""
    try:
        found = [float(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError:
        found = []
    if not found or not np.isfinite(found).all():
        raise ConfigError(f"{option} takes numbers with commas between them, and {text!r} was given.")
    return found
