"""Pictures that are mirrored and shifted anew each time that they are trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from diabolo.config import require
from diabolo.errors import ConfigError

__all__ = ["ENOUGH", "SMALL", "Augmentation", "misfits"]

ENOUGH = 500  # pictures, of which half tell how well the others fit
SMALL = 32  # the side to which pictures are made smaller before they are compared
COMPONENTS = 16
AXES = {"HW": (1, 2), "HWC": (1, 2), "CHW": (2, 3)}  # of a batch: which are height and width
SHIFT = 0.0625  # of a side, the farthest that a picture is shifted: two pixels of 32


class Augmentation:
    """Mirrors pictures left to right, each with a chance of one half, and shifts them by a few pixels.

    What a shift leaves open is filled with the pixels at the edge.

    Args:
        words: `mirror`, `shift`, or both with a comma.
        layout: of an example.
        shape: of an example, as the user holds it.

    Raises:
        ConfigError: another word, or examples that are no pictures.

    >>> augmentation = Augmentation("mirror", "HW", (1, 3))
    >>> seen = augmentation(torch.tensor([[[1, 2, 3]]] * 20), torch.Generator().manual_seed(0))
    >>> sorted({tuple(picture[0].tolist()) for picture in seen})
    [(1, 2, 3), (3, 2, 1)]
    """

    def __init__(self, words: str, layout: str, shape: tuple[int, ...]) -> None:
        chosen = [word.strip() for word in words.split(",")]
        expected = "mirror, shift, mirror,shift, none, or auto for what fits the data"
        require(set(chosen) <= {"mirror", "shift"}, "augment", expected, words)
        if layout not in AXES:
            raise ConfigError(
                f"augment={words!r} is for pictures (layout HW, HWC or CHW), and these examples have the layout "
                f"{layout}: leave it out."
            )
        self.mirrors, self.shifts = "mirror" in chosen, "shift" in chosen
        self.axes = AXES[layout]
        self.sides = tuple(shape[axis - 1] for axis in self.axes)

    def __call__(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        """The batch, (B, *event), with each picture mirrored and shifted by itself."""
        count, device = len(batch), batch.device
        rows, columns = (torch.arange(side, device=device).expand(count, side) for side in self.sides)
        if self.mirrors:
            coin = torch.rand(count, 1, generator=generator, device=device) < 0.5
            columns = torch.where(coin, columns.flip(1), columns)
        if self.shifts:
            rows, columns = (self._shifted(index, generator) for index in (rows, columns))
        moved = batch.movedim(self.axes, (1, 2))
        numbers = torch.arange(count, device=device)[:, None, None]
        return moved[numbers, rows[:, :, None], columns[:, None, :]].movedim((1, 2), self.axes)

    @staticmethod
    def _shifted(index: Tensor, generator: torch.Generator) -> Tensor:
        """Rows or columns, (B, side), each picture's moved by its own number of pixels."""
        count, side = index.shape
        most = max(1, round(SHIFT * side))
        by = torch.randint(-most, most + 1, (count, 1), generator=generator, device=index.device)
        places = (torch.arange(side, device=index.device) + by).clamp(0, side - 1)
        return index.gather(1, places)


def misfits(pictures: Tensor) -> dict[str, float]:
    """How much worse pictures fit the others once they are mirrored, or shifted: 1 where they fit as well as before.

    Principal components of one half of the pictures reconstruct the other half, as it is and changed, and the errors
    are divided. Photographs have 1.00 for both; digits, whose mirror images are no digits, 1.4 and more; faces that
    were cut out with their eyes in one place 1.02 and 1.15.

    Args:
        pictures: (n, C, H, W), at least 4.

    >>> noise = torch.rand(2000, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    >>> brighter_to_the_right = noise + torch.linspace(0, 1, 8)
    >>> [round(misfits(pictures)["mirror"], 1) for pictures in (noise, brighter_to_the_right)]
    [1.0, 4.9]
    """
    half = len(pictures) // 2
    known, others = pictures[:half].flatten(1), pictures[half:]
    mean = known.mean(0)
    axes = torch.linalg.svd(known - mean, full_matrices=False).Vh[:COMPONENTS]

    def error(changed: Tensor) -> float:
        centred = changed.flatten(1) - mean
        return float((centred - (centred @ axes.T) @ axes).square().mean())

    shifted = [
        others.index_select(axis, (torch.arange(side) + by * max(1, round(SHIFT * side))).clamp(0, side - 1))
        for axis, side in zip((2, 3), pictures.shape[2:], strict=True)
        for by in (-1, 1)
    ]
    least = max(error(others), torch.finfo(torch.float32).tiny)
    return {
        "mirror": error(others.flip(3)) / least,
        "shift": sum(error(pictures) for pictures in shifted) / len(shifted) / least,
    }
