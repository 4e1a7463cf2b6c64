"""`denoise`: noisy examples to clean ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import done, examples_to_write, is_picture, load_with_source, parse_with_source
from diabolo.cli._parser import Parser
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError
from diabolo.figures import save
from diabolo.figures._denoising import denoised
from diabolo.runs.tables import write_array, write_columns, write_table
from diabolo.storage import images

__all__ = ["denoise"]

CHUNK = 1000  # examples at a time, where each is written to a file of its own


def denoise(parser: Parser, words: Sequence[str]) -> int:
    """Removes the noise from examples."""
    parser.add_argument(
        "--add-noise",
        action="store_true",
        help="the examples are clean: put the noise on that the run was trained to remove, and show all three",
    )
    parser.add_argument("--seed", type=int, default=0, help="of that noise")
    parser.add_argument("-n", type=int, default=10, help="how many are drawn, where the result is a picture")
    arguments = parse_with_source(
        parser, words, "denoised.png", "where to: .png draws, .npz and .npy hold all, a folder gets one .png for each"
    )
    require(arguments.n >= 1, "n", "a number of examples of at least 1", arguments.n)
    require(arguments.seed >= 0, "seed", "a number of at least 0", arguments.seed)
    to_folder = arguments.out.is_dir() or not arguments.out.suffix
    _check_out(arguments, to_folder)
    model, dataset = load_with_source(arguments)
    notes = _notes(arguments, model)
    extra: dict[str, Any] = {"notes": notes} if notes else {}
    if to_folder:
        count = _write_folder(arguments, model, dataset)
    elif is_picture(arguments.out):
        count = _draw(arguments, model, dataset)
    else:
        count = _write_arrays(arguments, model, dataset)
    text = "\n".join([*notes, f"{plural(count, 'example')} of shape {model.event_shape}, denoised"])
    return done(arguments, arguments.out, text, {"count": count, **extra})


def _check_out(arguments: Any, to_folder: bool) -> None:
    out, source = arguments.out, arguments.source
    if not to_folder:
        known = (".png", ".npz", ".npy", ".csv", ".parquet")
        require(out.suffix.lower() in known, "out", "a .png, .npz, .npy, .csv, .parquet or a folder", str(out))
    elif source is not None and Path(source).is_dir() and out.resolve() == Path(source).resolve():
        raise ConfigError(f"{out} holds the noisy images, which would be overwritten: choose another folder.")


def _notes(arguments: Any, model: Autoencoder) -> list[str]:
    """Notes on what may spoil the result."""
    options = model.model.config()["model"]
    if not model.model.objective.corrupts:
        return [f"Note: this {options['name']} was not trained to denoise (model='denoising' is); it may do it badly."]
    if arguments.source is None and not arguments.add_noise:
        return ["Note: these are the run's own examples, which are clean: --add-noise puts its noise on first."]
    return []


def _noisy(arguments: Any, model: Autoencoder, x: np.ndarray) -> np.ndarray:
    return model.corrupt(x, seed=arguments.seed) if arguments.add_noise else x


def _draw(arguments: Any, model: Autoencoder, dataset: Dataset) -> int:
    x, y = examples_to_write(arguments, model, dataset)
    noisy = _noisy(arguments, model, x)
    displayed = model.model.preprocess.displayed
    clean = displayed(x) if arguments.add_noise else None
    parts = (displayed(noisy), displayed(model.denoise(noisy, y)), clean)
    save(denoised(*parts, model.layout, arguments.n, features=dataset.features), arguments.out)
    return len(x)


def _write_arrays(arguments: Any, model: Autoencoder, dataset: Dataset) -> int:
    noisy = _noisy(arguments, model, dataset.x)
    denoised_x = model.denoise(noisy, model.labels_of(dataset))
    if arguments.out.suffix.lower() in (".csv", ".parquet"):
        write_columns(arguments.out, model.table(denoised_x))
    elif arguments.out.suffix.lower() == ".npy":
        write_array(arguments.out, denoised_x)
    else:
        arrays = {"noisy": noisy, "clean": dataset.x} if arguments.add_noise else {}
        write_table(arguments.out, {}, {"x": denoised_x, **arrays}, dataset)
    return len(denoised_x)


def _write_folder(arguments: Any, model: Autoencoder, dataset: Dataset) -> int:
    """Writes one PNG for each example, under the example's name."""
    if not images.is_image(model.layout):
        raise ConfigError(f"The model's examples are no images: {arguments.out} should end in .png, .npz or .npy.")
    noisy, names, y = _noisy(arguments, model, dataset.x), file_names(dataset), model.labels_of(dataset)
    for start in range(0, len(noisy), CHUNK):
        rows = slice(start, start + CHUNK)
        pixels = model.pixels(model.denoise(noisy[rows], None if y is None else y[rows]))
        for name, image in zip(names[start : start + CHUNK], pixels, strict=True):
            images.save_png(arguments.out / name, image)
    return len(noisy)


def file_names(dataset: Dataset) -> list[str]:
    """A file name for each example: of its own file, or its number; all different, and all inside the folder."""
    paths = [PurePath(name) for name in dataset.ids]
    if not paths or any(path.is_absolute() or ".." in path.parts or not path.name for path in paths):
        width = len(str(len(dataset) - 1))
        return [f"{row:0{width}}.png" for row in range(len(dataset))]
    names = [path.with_suffix(".png").as_posix() for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.as_posix()}.png" for path in paths]
