"""What the tests of large jobs share: a table in shards, and a model of it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from pieces import CUTS

from diabolo.autoencoder.model import Autoencoder
from diabolo.runs.run import train
from diabolo.storage.parquet import write_parquet


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """(2600, 16) uint8."""
    return np.random.default_rng(0).integers(0, 256, (2600, 16)).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray) -> Path:
    """A small VAE on a table of bytes."""
    folder = tmp_path_factory.mktemp("bulk")
    np.save(folder / "x.npy", x)
    train(str(folder / "x.npy"), model="vae", out=folder / "run", epochs=1, widths=(16,), latent_dim=3)
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy, which a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def model(trained: Path) -> Autoencoder:
    return Autoencoder.load(trained)


@pytest.fixture
def shards(tmp_path: Path, x: np.ndarray) -> Path:
    """The same rows in five Parquet files, with a column of labels."""
    folder = tmp_path / "shards"
    for number, (start, stop) in enumerate(itertools.pairwise(CUTS)):
        columns = {f"p{i}": x[start:stop, i] for i in range(16)}
        write_parquet(folder / f"part-{number}.parquet", {**columns, "kind": np.where(x[start:stop, 0] > 99, "a", "b")})
    return folder
