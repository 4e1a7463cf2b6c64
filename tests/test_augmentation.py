"""Pictures that are mirrored and shifted while they are trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diabolo
from diabolo.errors import ConfigError
from diabolo.runs import make_run_config, resume, start
from diabolo.training.augmentation import Augmentation


@pytest.mark.parametrize("layout", ["HW", "HWC", "CHW"])
@pytest.mark.parametrize("words", ["mirror", "shift", "mirror,shift"])
def test_each_picture_is_moved_by_itself(layout: str, words: str) -> None:
    """Against NumPy's flip and pad, over all moves that there are."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (400, 16, 20, 3), dtype=np.uint8)
    pictures[:] = pictures[0]  # one picture, so that each copy must be one of its moves
    given = {"HW": pictures[..., 0], "HWC": pictures, "CHW": np.moveaxis(pictures, 3, 1)}[layout]
    seen = Augmentation(words, layout, given.shape[1:])(
        torch.from_numpy(given), torch.Generator().manual_seed(0)
    ).numpy()
    assert seen.dtype == np.uint8
    assert seen.shape == given.shape
    one = given[0] if layout == "HW" else np.moveaxis(given[0], 0, 2) if layout == "CHW" else given[0]
    moves = {}
    for flip in (False, True) if "mirror" in words else (False,):
        for down in range(-1, 2) if "shift" in words else (0,):
            for right in range(-1, 2) if "shift" in words else (0,):
                there = one[:, ::-1] if flip else one
                padded = np.pad(there, ((1, 1), (1, 1), *[(0, 0)] * (there.ndim - 2)), mode="edge")
                moves[flip, down, right] = padded[1 + down : 17 + down, 1 + right : 21 + right]
    found = set()
    for picture in seen:
        there = np.moveaxis(picture, 0, 2) if layout == "CHW" else picture
        found |= {name for name, move in moves.items() if np.array_equal(there, move)}
        assert any(np.array_equal(there, move) for move in moves.values())
    assert found == set(moves), "all of them come up"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_repeats_and_resumes(accumulate: int, pictures: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=pictures)
    options = {"augment": "mirror,shift", "layout": "HW", "latent_dim": 2, "widths": (8,), "accumulate": accumulate}
    options |= {"schedule": "constant", "lr_warmup": 0.0}  # so that more epochs go on as if they had been planned
    whole = diabolo.train(str(tmp_path / "x.npz"), epochs=3, out=tmp_path / "whole", **options)
    diabolo.train(str(tmp_path / "x.npz"), epochs=1, out=tmp_path / "cut", **options)
    cut = diabolo.resume(tmp_path / "cut", epochs=3).go()
    plain = diabolo.train(pictures, epochs=3, **{**options, "augment": "none"})
    assert np.array_equal(cut.encode(pictures), whole.encode(pictures))
    assert not np.array_equal(plain.encode(pictures), whole.encode(pictures))


def test_what_cannot_be_augmented(pictures: np.ndarray, table: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="augment should be mirror, shift, mirror,shift, none, or auto for what fits"):
        diabolo.train(pictures, layout="HW", augment="rotate", epochs=1)
    with pytest.raises(ConfigError, match="is for pictures"):
        diabolo.train(table, augment="mirror", epochs=1)


def blobs(count: int, centre: float) -> np.ndarray:
    """(n, 12, 16) uint8: a bright spot each, somewhere about a column."""
    rng = np.random.default_rng(0)
    row, column = rng.uniform(2, 10, (count, 1, 1)), rng.normal(centre, 3, (count, 1, 1))
    rows, columns = np.mgrid[:12, :16]
    return (255 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)).astype(np.uint8)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (blobs(800, 7.5), "mirror"),
        (blobs(800, 4.0), "none"),
        (blobs(400, 7.5), "none"),
        (blobs(800, 7.5)[:, :10], "none"),
        (np.random.default_rng(0).integers(0, 256, (800, 12, 12), np.uint8), "mirror,shift"),
        (blobs(800, 7.5)[..., 0], "none"),
    ],
    ids=["alike", "on-one-side", "few", "small", "noise", "table"],
)
def test_what_leaves_pictures_as_likely_as_before_is_taken(x: np.ndarray, words: str) -> None:
    layout = {} if x.ndim == 2 else {"layout": "HW"}
    run = start(make_run_config(x, latent_dim=2, widths=(8,), epochs=1, **layout))
    settings = run.run_config.settings
    assert settings.augment == run.training.settings.augment == words
    assert run.info["reasons"]["augment"].startswith(f"{words}; ")


def test_auto_is_settled_once(tmp_path: Path) -> None:
    options = {"layout": "HW", "latent_dim": 2, "widths": (8,), "seed": 3}
    found = diabolo.train(blobs(800, 7.5), out=tmp_path / "auto", epochs=2, **options)
    named = diabolo.train(blobs(800, 7.5), epochs=2, augment="mirror", **options)
    assert found.info["run_config"]["settings"]["augment"] == "mirror"
    assert found.history[-1]["train"] == named.history[-1]["train"]
    assert resume(tmp_path / "auto", source=blobs(800, 7.5), epochs=3).run_config.settings.augment == "mirror"
