"""What the tests of the core share: small data of every kind, one thread, and where real data lies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest

# Machines that run tests are busy; how long an example takes says nothing about it.
hypothesis.settings.register_profile("diabolo", deadline=None)
hypothesis.settings.load_profile("diabolo")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums come out bit for bit the same whatever else the machine does, and tests in parallel do not fight."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def machine_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that is measured here is remembered for the user, and small runs have the same engine everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        if "DIABOLO_CACHE_DIR" not in os.environ:
            patch.setenv("DIABOLO_CACHE_DIR", str(tmp_path_factory.mktemp("session-cache")))
        if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:  # what was compiled yesterday serves today
            patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / "diabolo-tests-compiled"))
        if "DIABOLO_ENGINE" not in os.environ:
            patch.setenv("DIABOLO_ENGINE", "fused")
        yield


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """(90, 8, 8) uint8: soft spots, each at a place of its own."""
    rng = np.random.default_rng(0)
    row, column = rng.uniform(1, 7, (2, 90, 1, 1))
    grid = np.arange(8.0)
    spots = np.exp(-0.4 * ((grid[:, None] - row) ** 2 + (grid - column) ** 2))
    return (255 * spots).astype(np.uint8)


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """(90, 5) float32: columns of very different means and deviations, of rank 2 but for noise."""
    rng = np.random.default_rng(1)
    low_rank = rng.standard_normal((90, 2)) @ rng.standard_normal((2, 5)) + 0.1 * rng.standard_normal((90, 5))
    return (low_rank * [1, 10, 0.01, 3, 100] + [0, 50, -1, 7, 1000]).astype(np.float32)


@pytest.fixture(scope="session")
def bars() -> np.ndarray:
    """(60, 28, 28) uint8: bars of random place, thickness and grey, in the stead of MNIST."""
    rng = np.random.default_rng(0)
    x = np.zeros((60, 28, 28), np.uint8)
    for image in x:
        at, thick = rng.integers(2, 20), rng.integers(2, 6)
        image[at : at + thick, 4:24] = rng.integers(100, 256)
    return x


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, which only some machines have."""
    folder = os.environ.get("DIABOLO_DATA_DIR")
    if not folder:
        pytest.skip("DIABOLO_DATA_DIR is not set: there are no real data sets to read here")
    return Path(folder)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user's that has nothing set, and a cache of its own: for tests of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIABOLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_WAIT_POLICY", "passive")  # which main would set, and leave set
        for name in ("DIABOLO_DATA_DIR", "DIABOLO_DEBUG", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
            patch.delenv(name, raising=False)
        yield


class Said(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Calls the command line with words."""
    from diabolo.cli import main

    def call(*words: object) -> Said:
        capsys.readouterr()
        status = main([str(word) for word in words])
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the test stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
