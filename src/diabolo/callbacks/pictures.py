"""Pictures while a model trains, as the tutorials draw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diabolo.errors import ConfigError, unknown_name
from diabolo.evaluation.terms import evaluating, to_device
from diabolo.models.model import Model
from diabolo.storage import images
from diabolo.training import Callback, Training

__all__ = ["PICTURES", "picture_callbacks"]

GRID = 10  # the tutorials' grid: 10 x 10 images
EVERY = 500  # steps between the pictures of `first-five`


def picture_callbacks(names: Sequence[str], folder: Path | None, model: Model) -> list[Callback]:
    """The callbacks that draw the named pictures into `folder`/figures.

    Raises:
        ConfigError: an unknown name, no folder to draw into, or pictures that this model cannot give.
    """
    for name in names:
        if name not in PICTURES:
            raise unknown_name("picture", name, PICTURES)
    if names and folder is None:
        raise ConfigError("Pictures while training need a folder to go to: give out='runs/name', or pictures=().")
    if names and not images.is_image(model.preprocess.layout):
        raise ConfigError(
            f"Pictures while training are for images, and this data has the layout {model.preprocess.layout}."
        )
    if "tutorial-vae" in names and not model.objective.prior:
        raise ConfigError("The picture 'tutorial-vae' shows samples from the prior, and this model has none.")
    return [PICTURES[name](folder / "figures") for name in names if folder is not None]


class _Drawn(Callback):
    """A callback that draws what the model makes of the first examples that are not trained on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def held_out(self, training: Training, count: int) -> np.ndarray:
        """The first `count` examples that are not trained on, (n, *event)."""
        split = training.split
        chosen = next(part for part in (split.test, split.validation, split.train) if len(part))
        return np.asarray(training.x[chosen[:count]])

    def pixels(self, training: Training, x: np.ndarray) -> np.ndarray:
        """Examples as the user holds them, as pixels."""
        preprocess = training.model.preprocess
        return images.as_pixels(preprocess.displayed(x), preprocess.layout)

    @torch.no_grad()
    def decoded(self, training: Training, z: torch.Tensor) -> np.ndarray:
        """Codes as pixels."""
        model = training.model
        with training.averaged(), evaluating(model, 0):
            x = model.preprocess.undo(model.likelihood.mean(model.decode(z.to(training.device)))).cpu().numpy()
        return self.pixels(training, x)

    @torch.no_grad()
    def reconstructed(self, training: Training, x: np.ndarray) -> np.ndarray:
        """Examples through the code and back, as pixels."""
        model = training.model
        with training.averaged(), evaluating(model, 0):
            z = model.encode(model.prepare(to_device(x, training.device))).mean
        return self.decoded(training, z)

    def pairs(self, training: Training, path: Path) -> None:
        """50 examples above their reconstructions, as one grid of 10 x 10 images."""
        x = self.held_out(training, GRID * GRID // 2)
        pixels = self.pixels(training, x)
        images.save_png(path, images.pairs(pixels, self.reconstructed(training, x), columns=GRID))

    def samples(self, training: Training, path: Path) -> None:
        """100 codes from the prior, the same at every call, decoded."""
        rng = np.random.default_rng(training.settings.seed)
        z = rng.standard_normal((GRID * GRID, training.model.latent_dim)).astype(np.float32)
        images.save_png(path, images.tile(self.decoded(training, torch.from_numpy(z)), columns=GRID))


class _Reconstructions(_Drawn):
    """Each epoch `rec_epoch_N.png`: 50 test images, each row above its reconstructions."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        self.pairs(training, self.folder / f"rec_epoch_{line['epoch']}.png")


class _Generated(_Drawn):
    """Each epoch `epoch_N_sampled.png`, 100 samples from the prior, and `epoch_N_rec.png`."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        self.samples(training, self.folder / f"epoch_{line['epoch']}_sampled.png")
        self.pairs(training, self.folder / f"epoch_{line['epoch']}_rec.png")


class _FirstFive(_Drawn):
    """Every 500 steps `first_five_N.png`: the first five test images above their reconstructions."""

    def start(self, training: Training) -> None:
        if training.steps == 0:
            self._draw(training)

    def step(self, training: Training, loss: float) -> None:
        if training.steps % EVERY == 0:
            self._draw(training)

    def _draw(self, training: Training) -> None:
        x = self.held_out(training, 5)
        pixels = self.pixels(training, x)
        grid = images.pairs(pixels, self.reconstructed(training, x), columns=5)
        images.save_png(self.folder / f"first_five_{training.steps}.png", images.enlarge(grid, 3))


PICTURES: dict[str, Callable[[Path], Callback]] = {
    "tutorial-rec": _Reconstructions,
    "tutorial-vae": _Generated,
    "first-five": _FirstFive,
}
