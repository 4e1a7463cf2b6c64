"""What the commands that put a model to work share: its run, the examples it is given, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo import images
from diabolo.autoencoder import Autoencoder
from diabolo.cli._parser import Parser, add_data_options, data_options, emit
from diabolo.datasets import Dataset
from diabolo.errors import ConfigError
from diabolo.opening import open_for
from diabolo.tables import write_array

__all__ = [
    "add_out",
    "counted",
    "done",
    "is_picture",
    "load_with_source",
    "numbers",
    "open_for",
    "parse_with_source",
    "write_examples",
]


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
    parser.add_argument("-o", "--out", type=Path, default=Path(default), metavar="FILE", help=text)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def load_with_source(found: Any) -> tuple[Autoencoder, Dataset]:
    """The run's model, and the source as the run's data was opened, unless an option says otherwise."""
    model = Autoencoder.load(found.run)
    return model, open_for(model, found.source, data_options(vars(found)))


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
