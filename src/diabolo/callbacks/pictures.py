"""Pictures while a model trains: those of the tutorials as their listings make them, and a plainer form of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from diabolo.config import Registry
from diabolo.errors import ConfigError
from diabolo.evaluation.terms import evaluating, labels_at, to_device
from diabolo.latent.geometry import manifold_grid
from diabolo.models.model import Model
from diabolo.storage import images
from diabolo.training import Callback, Training

__all__ = ["PICTURES", "Picture", "picture_callbacks"]

SIDE = 10  # a grid of the tutorials is 10 x 10 images
HALF = SIDE * SIDE // 2
EVERY = 500  # steps between the pictures of `first-five`
PLANE = 15  # the manifold is 15 x 15 images


class Picture(Callback):
    """A callback that draws what the model makes of codes, or of the first examples that are not trained on.

    Attributes:
        needs_prior: whether it decodes codes that are drawn from the model's prior.
        codes_of: how many numbers a code must have; any when None.
    """

    needs_prior: ClassVar[bool] = False
    codes_of: ClassVar[int | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def check(cls, name: str, model: Model) -> None:
        """Raises ConfigError where the model cannot give this picture."""
        if not images.is_image(model.preprocess.layout):
            raise ConfigError(
                f"Pictures while training are for images, and this data has the layout {model.preprocess.layout}."
            )
        if cls.needs_prior and model.prior() is None:
            raise ConfigError(f"The picture {name!r} shows samples from the prior, and this model has none.")
        if cls.codes_of not in (None, model.latent_dim):
            raise ConfigError(
                f"The picture {name!r} is of codes of {cls.codes_of} numbers, and this model's have "
                f"{model.latent_dim}. Leave it out: pictures=()."
            )

    def held_out(self, training: Training, count: int) -> np.ndarray:
        """The first `count` examples that are not trained on, (n, *event)."""
        return np.asarray(training.x[_held_out(training)[:count]])

    def pixels(self, training: Training, x: np.ndarray) -> np.ndarray:
        """Examples as the user holds them, as pixels; floats cut to bytes, as the listings do."""
        preprocess = training.model.preprocess
        return images.as_pixels(preprocess.displayed(x), preprocess.layout, cut=True)

    @torch.no_grad()
    def decoded(self, training: Training, z: torch.Tensor, y: torch.Tensor | None = None) -> np.ndarray:
        """Codes as pixels; where they need labels and are given none, those of the classes in turn."""
        model, device = training.model, training.device
        if y is None and training.y is not None:
            y = torch.from_numpy(model.objective.in_turn(len(z)))
        y = None if y is None else y.to(device)
        with training.averaged(), evaluating(model, 0):
            x = model.preprocess.undo(model.likelihood.mean(model.decode(z.to(device), y))).cpu().numpy()
        return self.pixels(training, x)

    @torch.no_grad()
    def reconstructed(self, training: Training, x: np.ndarray, seed: int | None = None) -> np.ndarray:
        """The first `held_out` through the code and back, as pixels: the posterior's mean, or a draw of a seed."""
        model = training.model
        y = labels_at(training.y, _held_out(training)[: len(x)], training.device)
        with training.averaged(), evaluating(model, 0):
            posterior = model.encode(model.prepare(to_device(x, training.device)), y)
            if seed is None:
                z = posterior.mean
            else:
                z = posterior.sample(torch.Generator(device=training.device).manual_seed(seed))
        return self.decoded(training, z, y)

    def samples(self, training: Training, seed: int) -> np.ndarray:
        """100 codes from the model's prior, decoded, as pixels."""
        count = SIDE * SIDE
        y = None if training.y is None else torch.from_numpy(training.model.objective.in_turn(count))
        prior = training.model.prior(None if y is None else y.to(training.device))
        assert prior is not None  # noqa: S101 (`needs_prior` saw to it)
        return self.decoded(training, torch.from_numpy(prior.sample(count, seed)), y)

    def save_columns(self, name: str, pixels: np.ndarray) -> None:
        """Saves up to 100 images as one grid that is filled column by column."""
        images.save_png(self.folder / name, images.tile(pixels, columns=SIDE, order="columns"))

    def save_rows(self, training: Training, name: str, count: int = HALF, columns: int = SIDE, factor: int = 1) -> None:
        """Saves the first examples, each row of them above its reconstructions."""
        x = self.held_out(training, count)
        grid = images.pairs(self.pixels(training, x), self.reconstructed(training, x), columns=columns)
        images.save_png(self.folder / name, images.enlarge(grid, factor))


def _held_out(training: Training) -> np.ndarray:
    """The examples that are not trained on."""
    split = training.split
    return next(part for part in (split.test, split.validation, split.train) if len(part))


def _number(line: dict[str, Any]) -> int:
    """The epoch of a line of the history, counted from 0 as the listings count."""
    return int(line["epoch"]) - 1


def _seed(training: Training, epoch: int) -> int:
    """A seed of each epoch's own."""
    return training.settings.seed * 1_000_003 + epoch


class HalfAndHalf(Picture):
    """Each epoch `rec_epoch_N.png`, from 0, column by column: the first 50 test images, then their reconstructions."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        x = self.held_out(training, HALF)
        both = np.concatenate([self.pixels(training, x), self.reconstructed(training, x)])
        self.save_columns(f"rec_epoch_{_number(line)}.png", both)


class FirstBatch(Picture):
    """Each epoch `rec_100_epoch_N.png`, from 0: the reconstructions of the first 100 test images, column by column."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        rebuilt = self.reconstructed(training, self.held_out(training, SIDE * SIDE))
        self.save_columns(f"rec_100_epoch_{_number(line)}.png", rebuilt)


class Drawn(Picture):
    """Each epoch, from 0, column by column: `epoch_N_sampled.png` and `epoch_N_rec.png`.

    The first holds 100 new samples from the prior, the second the first 50 test images and then their reconstructions
    through a code that is drawn.
    """

    needs_prior = True

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        number = _number(line)
        seed = _seed(training, number)
        self.save_columns(f"epoch_{number}_sampled.png", self.samples(training, seed))
        x = self.held_out(training, HALF)
        both = np.concatenate([self.pixels(training, x), self.reconstructed(training, x, seed)])
        self.save_columns(f"epoch_{number}_rec.png", both)


class Plane(Picture):
    """After each epoch `tutorial_manifold.png`: 15 x 15 codes decoded, z1 growing to the right and z2 downwards."""

    needs_prior = True
    codes_of = 2

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        z = torch.from_numpy(manifold_grid(PLANE, order="down"))
        images.save_png(self.folder / "tutorial_manifold.png", images.tile(self.decoded(training, z), columns=PLANE))


class FirstFive(Picture):
    """`truth.png`, the first five test images; after steps 0 and 500 of each epoch `first_five_epoch_E_step_S.png`.

    A frame of 2 x 5 in matplotlib's own colours, the truth above; both numbers count from 0, the step within its epoch.
    """

    def start(self, training: Training) -> None:
        if training.steps == 0:
            self._draw(training, "truth.png", None)

    def step(self, training: Training, loss: float) -> None:
        step = training.batch_in_epoch - 1
        if step % EVERY == 0:
            self._draw(training, f"first_five_epoch_{training.epochs}_step_{step}.png", step)

    def _draw(self, training: Training, name: str, step: int | None) -> None:
        x = self.held_out(training, 5)
        rows = {"truth": self.pixels(training, x)}
        if step is not None:
            rows[f"epoch {training.epochs}, step {step}"] = self.reconstructed(training, x)
        _save_frame(self.folder / name, rows)


class Rows(Picture):
    """Each epoch `rows_epoch_N.png`, from 0: 50 test images, each row above its reconstructions."""

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        self.save_rows(training, f"rows_epoch_{_number(line)}.png")


class SameSamples(Picture):
    """Each epoch `samples_epoch_N.png`, from 0: 100 samples of the prior, of the same codes each time."""

    needs_prior = True

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        grid = images.tile(self.samples(training, training.settings.seed), columns=SIDE)
        images.save_png(self.folder / f"samples_epoch_{_number(line)}.png", grid)


class FirstFiveInGrey(FirstFive):
    """As `first-five`, in grey and to the pixel: `grey_epoch_E_step_S.png`, three times as large as the data."""

    def start(self, training: Training) -> None:
        """Every picture shows the truth."""

    def _draw(self, training: Training, name: str, step: int | None) -> None:
        self.save_rows(training, name.replace("first_five", "grey"), count=5, columns=5, factor=3)


def _save_frame(path: Path, rows: dict[str, np.ndarray]) -> None:
    """Saves rows of five images, each under its title, in matplotlib's default colour map."""
    from matplotlib.figure import Figure

    from diabolo.figures import save

    figure = Figure(figsize=(5, 1.4 * len(rows)), layout="constrained")
    for part, (title, pixels) in zip(figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
        part.suptitle(title, fontsize=10)
        for axes, image in zip(part.subplots(1, 5, squeeze=False)[0], pixels, strict=False):
            axes.imshow(image)
            axes.set(xticks=[], yticks=[])
    save(figure, path)


PICTURES: Registry[Picture] = Registry("picture")
"""Pictures by name; a class of one's own joins them with `PICTURES.register(name, cls)`."""

PICTURES.register("tutorial-rec", HalfAndHalf)
PICTURES.register("tutorial-rec-100", FirstBatch)
PICTURES.register("tutorial-vae", Drawn)
PICTURES.register("tutorial-manifold", Plane)
PICTURES.register("first-five", FirstFive)
PICTURES.register("rows", Rows)
PICTURES.register("samples", SameSamples)
PICTURES.register("first-five-grey", FirstFiveInGrey)


def picture_callbacks(names: Sequence[str], folder: Path | None, model: Model) -> list[Callback]:
    """The callbacks that draw the named pictures into `folder`/figures.

    Raises:
        ConfigError: an unknown name, no folder to draw into, or pictures that this model cannot give.

    >>> picture_callbacks((), None, None)
    []
    """
    chosen = {name: PICTURES[name] for name in names}
    if chosen and folder is None:
        raise ConfigError("Pictures while training need a folder to go to: give out='runs/name', or pictures=().")
    for name, cls in chosen.items():
        cls.check(name, model)
    return [cls(folder / "figures") for cls in chosen.values() if folder is not None]
