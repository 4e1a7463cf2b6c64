"""The model at work: `encode`, `decode`, `reconstruct`, `sample` and `score`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo import images
from diabolo.autoencoder import Autoencoder
from diabolo.cli._parser import Parser, add_data_options, data_options, emit
from diabolo.datasets import Dataset, open_dataset
from diabolo.errors import ConfigError, ShapeError
from diabolo.plans import Plan
from diabolo.signature import require
from diabolo.tables import read_codes, write_array, write_table

__all__ = ["decode", "encode", "reconstruct", "sample", "score"]


def encode(parser: Parser, words: Sequence[str]) -> int:
    """Examples to codes."""
    found = _parse_with_source(parser, words, "codes.npz", "where to: .npz, .csv or .parquet")
    model, dataset = _load(found)
    codes = model.encode(dataset.x)
    columns = {f"z{number}": codes[:, number - 1] for number in range(1, codes.shape[1] + 1)}
    path = write_table(found.out, columns, {"codes": codes}, dataset)
    text = f"{_counted(len(codes), 'code')} of {_counted(codes.shape[1], 'number')}"
    return _done(found, path, text, {"count": len(codes)})


def score(parser: Parser, words: Sequence[str]) -> int:
    """Examples to nats."""
    parser.add_argument(
        "--draws", type=int, default=0, help="codes drawn for each example; 0 takes the posterior's mean"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    found = _parse_with_source(parser, words, "scores.csv", "where to: .npz, .csv or .parquet")
    model, dataset = _load(found)
    nats = model.score(dataset.x, draws=found.draws, seed=found.seed)
    path = write_table(found.out, {"nats": nats}, {"nats": nats}, dataset)
    text = f"{len(nats):,} scores: mean {nats.mean():.3f}, median {np.median(nats):.3f}, largest {nats.max():.3f} nats"
    return _done(found, path, text, {"count": len(nats), "mean": float(nats.mean())})


def reconstruct(parser: Parser, words: Sequence[str]) -> int:
    """Examples through the code and back."""
    parser.add_argument("-n", type=int, default=10, help="how many are drawn, where the result is a picture")
    found = _parse_with_source(parser, words, "reconstructions.png", "where to: .png draws, .npz and .npy hold all")
    require(found.n >= 1, "n", "a number of examples of at least 1", found.n)
    model, dataset = _load(found)
    x = dataset.x[: found.n] if _is_picture(found.out) else dataset.x
    if found.source is None and _is_picture(found.out) and model.examples is not None:
        x = model.examples[: found.n]  # of the test split, rather than what it was trained on
    rebuilt = model.reconstruct(x)
    pairs = None
    if _is_picture(found.out) and images.is_image(model.layout):
        pairs = images.pairs(model.pixels(x), model.pixels(rebuilt), columns=len(x))
    return _write_examples(found, model, rebuilt, pairs)


def decode(parser: Parser, words: Sequence[str]) -> int:
    """Codes to examples."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--code", action="append", default=[], metavar="Z1,Z2,...", help="a code; may be given again")
    parser.add_argument("--codes", metavar="FILE", help="a .npz, .npy or .csv of codes, as encode writes them")
    _add_out(parser, "decoded.png", "where to: .png draws, .npz and .npy hold the values")
    found = parser.parse(words)
    if bool(found.code) == bool(found.codes):
        raise ConfigError("decode needs codes: either --code Z1,Z2,... (as often as you like) or --codes FILE.")
    model = Autoencoder.load(found.run)
    codes = read_codes(found.codes) if found.codes else np.array(_typed(found.code, model.latent_dim))
    return _write_examples(found, model, model.decode(codes))


def sample(parser: Parser, words: Sequence[str]) -> int:
    """New examples."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("-n", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; the same seed gives the same examples")
    _add_out(parser, "samples.png", "where to: .png draws, .npz and .npy hold the values")
    found = parser.parse(words)
    model = Autoencoder.load(found.run)
    return _write_examples(found, model, model.sample(found.n, seed=found.seed))


def _parse_with_source(parser: Parser, words: Sequence[str], out: str, text: str) -> Any:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument(
        "source", nargs="?", help="the examples: any source, or one image; the run's own data if left out"
    )
    _add_out(parser, out, text)
    add_data_options(parser)
    return parser.parse(words)


def _add_out(parser: Parser, default: str, text: str) -> None:
    parser.add_argument("-o", "--out", type=Path, default=Path(default), metavar="FILE", help=text)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _load(found: Any) -> tuple[Autoencoder, Dataset]:
    """The run's model, and the source as the run's data was opened, unless an option says otherwise."""
    model = Autoencoder.load(found.run)
    plan = Plan.of(model.info)
    return model, open_for(model, plan, found.source, data_options(vars(found)))


def open_for(model: Autoencoder, plan: Plan, source: str | None, given: dict[str, Any]) -> Dataset:
    """The source, or the run's own data where none is named, opened so that the model can read it.

    Raises:
        ShapeError: its examples do not have the shape of the model's.
    """
    options = dict(plan.data) if source is None else {k: v for k, v in plan.data.items() if k == "data_dir"}
    source = plan.source if source is None else source
    if source is None:
        raise ConfigError("This run was trained on an array: name the source of the examples.")
    options |= _image_options(model, plan, source) | given
    try:
        dataset = open_dataset(source, **options)
    except ShapeError:
        if "layout" in options:
            raise
        dataset = open_dataset(source, layout=model.layout, **options)  # the shape does not tell, and the model does
    if dataset.event_shape != model.event_shape:
        raise ShapeError(
            f"The model expects examples of shape {model.event_shape}, and those of {dataset.name} have the shape "
            f"{dataset.event_shape}. Choose data like that of its training ({model.info['data']['name']})."
        )
    return dataset


def _image_options(model: Autoencoder, plan: Plan, source: Any) -> dict[str, Any]:
    """A folder of images, or one image, is read at the model's own size and in its own colours."""
    path = Path(source) if isinstance(source, str) else None
    is_folder = path is not None and os.path.isdir(path) and not any(path.glob("*-ubyte*"))  # noqa: PTH112
    is_image = path is not None and path.suffix.lower() in images.SUFFIXES
    if not (is_folder or is_image) or model.layout not in ("HW", "HWC"):
        return {
            name: value
            for name, value in plan.data.items()
            if name == "labels" and path and path.suffix in (".csv", ".parquet")
        }
    return {"size": tuple(model.event_shape[:2]), "colour": model.layout == "HWC"}


def _typed(codes: list[str], latent_dim: int) -> list[list[float]]:
    rows: list[list[float]] = []
    for code in codes:
        try:
            row = [float(number) for number in code.replace(" ", ",").split(",") if number]
        except ValueError:
            raise ConfigError(f"A code is numbers with commas between them, and {code!r} was given.") from None
        if len(row) != latent_dim:
            raise ShapeError(f"A code of this model has {latent_dim} numbers, and {code!r} has {len(row)}.")
        rows.append(row)
    return rows


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _write_examples(found: Any, model: Autoencoder, x: np.ndarray, grid: np.ndarray | None = None) -> int:
    """Examples as a picture or as an array, by the suffix of the path."""
    if not _is_picture(found.out):
        write_array(found.out, x)
    elif not images.is_image(model.layout):
        raise ConfigError(f"The model's examples are no images: {found.out} should end in .npz or .npy.")
    else:
        columns = len(x) if len(x) <= 10 else round(len(x) ** 0.5)
        pixels = images.tile(model.pixels(x), columns=columns) if grid is None else grid
        images.save_png(found.out, images.enlarge(pixels, max(1, round(560 / max(pixels.shape[:2])))))
    return _done(
        found,
        found.out,
        f"{_counted(len(x), 'example')} of shape {model.event_shape}",
        {"count": len(x)},
    )


def _done(found: Any, path: Path, text: str, extra: dict[str, Any]) -> int:
    emit({"out": str(path), **extra}, found.json, f"{text} -> {path}")
    return 0


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
