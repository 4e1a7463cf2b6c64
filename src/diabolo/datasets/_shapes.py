"""`shapes`: sprites made by code, whose five factors are known, so that disentanglement can be measured."""

from __future__ import annotations

import re

import numpy as np

from diabolo.config import require
from diabolo.datasets._catalogue import SPRITES
from diabolo.datasets._read_options import ReadOptions
from diabolo.datasets._readers import RawData, register_reader
from diabolo.datasets._store import Array, Indices, Store, even_blocks

__all__: list[str] = []

FACTORS = {"shape": 3, "scale": 6, "angle": 40, "x": 32, "y": 32}
"""Each factor and how many values it has; an example is one of all 737,280 combinations, the last varying fastest."""

MARGIN = 0.18  # of a side: no sprite reaches beyond the picture
DRAWN = 4_000_000  # pixels at a time


@register_reader(
    "shapes", kind="name", accepts=lambda name: bool(re.fullmatch(r"shapes(-\d+)?", name)), takes=("size",), rank=10
)
def _read_shapes(name: str, options: ReadOptions) -> RawData:
    """`shapes`, all combinations of the factors; `shapes-20000`, so many of them, drawn once and for all (seed 0).

    Raises:
        ConfigError: none of them, or more than there are.
    """
    total = int(np.prod(list(FACTORS.values())))
    drawn = name.partition("-")[2]
    count = int(drawn or total)
    require(1 <= count <= total, name, f"a number of sprites from 1 to {total:,} after the dash", count)
    indices = np.random.default_rng(0).choice(total, count, replace=False) if drawn else np.arange(total)
    factors = np.stack(np.unravel_index(indices, tuple(FACTORS.values())), 1).astype(np.uint8)
    return RawData(
        x=Sprites(factors, options.size or SPRITES.shape, name),
        name=name,
        labels=factors[:, 0],
        classes=SPRITES.classes,
        factors=factors,
        notes=(f"made by code; {len(FACTORS)} known factors: {', '.join(FACTORS)}",),
        layout="HW",
    )


class Sprites(Store):
    """Pictures that are drawn when they are asked for: 0 and 255, a pixel being white where its centre is inside.

    After the law of dSprites (Matthey, Higgins, Hassabis, Lerchner 2017,
    https://github.com/google-deepmind/dsprites-dataset): 3 shapes, 6 scales from 0.5 to 1, 40 angles, 32 x 32 places.
    Outlines are not theirs. Their angles go from 0 to 2 pi inclusive, so that the first and the last one are the same
    picture; these are 2 pi / 40 apart.

    Args:
        factors: (N, 5), of each sprite.
        size: height and width, in pixels.
        name: what to call it in messages.
    """

    def __init__(self, factors: Array, size: tuple[int, ...], name: str) -> None:
        shape = (len(factors), *size)
        super().__init__(shape, np.uint8, even_blocks(shape, 1), name)
        self.factors = factors

    def _take(self, indices: Indices, out: Array) -> None:
        step = max(1, DRAWN // self.example_bytes)
        for start in range(0, len(indices), step):
            out[start : start + step] = drawn(self.factors[indices[start : start + step]], self.shape[1:])

    def where(self, index: int) -> str:
        return f"sprite {index} of {self.name}"


def drawn(factors: Array, size: tuple[int, ...]) -> Array:
    """Pictures, (n, height, width) uint8, of the factors' values, (n, 5).

    Only the pixels of a box around each sprite are looked at.
    """
    kind, scale, angle, x, y = factors.astype(np.float32).T[:, :, None, None]
    columns, across = _box(x, size[1])
    rows, down = _box(y, size[0])
    down = down.transpose(0, 2, 1)
    turn, half = angle * np.float32(2 * np.pi / 40), (0.5 + scale / 10) * np.float32(0.12)
    u = (across * np.cos(turn) + down * np.sin(turn)) / half
    v = (down * np.cos(turn) - across * np.sin(turn)) / half
    square = np.maximum(abs(u), abs(v)) <= 1
    ellipse = (u / 1.4) ** 2 + (v / 0.8) ** 2 <= 1
    heart = (u**2 + v**2 - 1.1) ** 3 + u**2 * v**3 <= 0
    inside = np.where(kind == 0, square, np.where(kind == 1, ellipse, heart))
    pictures = np.zeros((len(factors), *size), np.uint8)
    pictures[np.arange(len(factors))[:, None, None], rows.transpose(0, 2, 1), columns] = 255 * inside.astype(np.uint8)
    return pictures


def _box(place: Array, pixels: int) -> tuple[Indices, Array]:
    """The pixels near a sprite along an axis, (n, 1, k), and how far their centres are from its own, in sides."""
    centre = MARGIN + (1 - 2 * MARGIN) * place / 31
    count = min(pixels, int(2 * MARGIN * pixels) + 2)
    start = np.clip(np.floor((centre - MARGIN) * pixels), 0, pixels - count).astype(np.int64)
    near = start + np.arange(count)
    return near, (near.astype(np.float32) + np.float32(0.5)) / pixels - centre
