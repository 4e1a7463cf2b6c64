"""`denoise`: noisy examples, cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import counted, done, is_picture, load_with_source, parse_with_source
from diabolo.cli._parser import Parser
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.errors import ConfigError
from diabolo.figures import save
from diabolo.figures._denoising import denoised
from diabolo.runs.tables import write_array, write_table
from diabolo.storage import images

__all__ = ["denoise"]

CHUNK = 1000  # examples at a time, where each is written to a file of its own


def denoise(parser: Parser, words: Sequence[str]) -> int:
    """Noisy examples to clean ones."""
    parser.add_argument(
        "--add-noise",
        action="store_true",
        help="the examples are clean: put the noise on that the run was trained to remove, and show all three",
    )
    parser.add_argument("--seed", type=int, default=0, help="of that noise")
    parser.add_argument("-n", type=int, default=10, help="how many are drawn, where the result is a picture")
    found = parse_with_source(
        parser, words, "denoised.png", "where to: .png draws, .npz and .npy hold all, a folder gets one .png for each"
    )
    require(found.n >= 1, "n", "a number of examples of at least 1", found.n)
    require(found.seed >= 0, "seed", "a number of at least 0", found.seed)
    to_folder = found.out.is_dir() or not found.out.suffix
    _check_out(found, to_folder)
    model, dataset = load_with_source(found)
    notes = _notes(found, model)
    extra: dict[str, Any] = {"notes": notes} if notes else {}
    if to_folder:
        count = _write_folder(found, model, dataset)
    elif is_picture(found.out):
        count = _draw(found, model, dataset)
    else:
        count = _write_arrays(found, model, dataset)
    text = "\n".join([*notes, f"{counted(count, 'example')} of shape {model.event_shape}, denoised"])
    return done(found, found.out, text, {"count": count, **extra})


def _check_out(found: Any, to_folder: bool) -> None:
    suffix = found.out.suffix.lower()
    if not to_folder:
        require(suffix in (".png", ".npz", ".npy"), "out", "a .png, .npz, .npy or a folder", str(found.out))
    elif (
        found.source is not None and Path(found.source).is_dir() and found.out.resolve() == Path(found.source).resolve()
    ):
        raise ConfigError(f"{found.out} holds the noisy images, which would be overwritten: choose another folder.")


def _notes(found: Any, model: Autoencoder) -> list[str]:
    """What the result may suffer from."""
    options = model.model.config()["model"]
    if not hasattr(model.model.objective, "corrupt"):
        return [f"Note: this {options['name']} was not trained to denoise (model='denoising' is); it may do it badly."]
    if found.source is None and not found.add_noise:
        return ["Note: these are the run's own examples, which are clean: --add-noise puts its noise on first."]
    return []


def _noisy(found: Any, model: Autoencoder, x: np.ndarray) -> np.ndarray:
    return model.corrupt(x, seed=found.seed) if found.add_noise else x


def _draw(found: Any, model: Autoencoder, dataset: Dataset) -> int:
    x = np.asarray(dataset.x[: found.n])
    if found.source is None and model.examples is not None:
        x = model.examples[: found.n]  # of the test split, rather than what it was trained on
    noisy = _noisy(found, model, x)
    shown = model.model.preprocess.displayed
    clean = shown(x) if found.add_noise else None
    parts = (shown(noisy), shown(model.denoise(noisy)), clean)
    save(denoised(*parts, model.layout, found.n, features=dataset.features), found.out)
    return len(x)


def _write_arrays(found: Any, model: Autoencoder, dataset: Dataset) -> int:
    noisy = _noisy(found, model, dataset.x)
    made = model.denoise(noisy)
    if found.out.suffix.lower() == ".npy":
        write_array(found.out, made)
    else:
        more = {"noisy": noisy, "clean": dataset.x} if found.add_noise else {}
        write_table(found.out, {}, {"x": made, **more}, dataset)
    return len(made)


def _write_folder(found: Any, model: Autoencoder, dataset: Dataset) -> int:
    """One PNG for each example, under its own name."""
    if not images.is_image(model.layout):
        raise ConfigError(f"The model's examples are no images: {found.out} should end in .png, .npz or .npy.")
    noisy, names = _noisy(found, model, dataset.x), file_names(dataset)
    for start in range(0, len(noisy), CHUNK):
        pixels = model.pixels(model.denoise(noisy[start : start + CHUNK]))
        for name, image in zip(names[start : start + CHUNK], pixels, strict=True):
            images.save_png(found.out / name, image)
    return len(noisy)


def file_names(dataset: Dataset) -> list[str]:
    """A name for each example's PNG: that of its own file, or its number; all different, all inside the folder."""
    paths = [PurePath(name) for name in dataset.ids]
    if not paths or any(path.is_absolute() or ".." in path.parts or not path.name for path in paths):
        width = len(str(len(dataset) - 1))
        return [f"{row:0{width}}.png" for row in range(len(dataset))]
    names = [path.with_suffix(".png").as_posix() for path in paths]
    return names if len(set(names)) == len(names) else [f"{path.as_posix()}.png" for path in paths]
