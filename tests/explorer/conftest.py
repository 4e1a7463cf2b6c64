"""A run, a server and a browser for the tests of the explorer's page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("fastapi", "uvicorn", "playwright"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer,dev]'")

from browsing import FLAGS, Run, Site, Visit, browser_path, ended, serving, trained  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = browser_path()
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield made
        made.close()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, as a file with labels."""
    from sklearn.datasets import load_digits

    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    found = load_digits()
    np.savez(path, x=np.round(found.images * (255 / 16)).astype(np.uint8), y=found.target.astype(np.int64))
    return path


@pytest.fixture(scope="session")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A VAE with a code of two numbers."""
    folder = tmp_path_factory.mktemp("runs") / "digits-vae"
    return trained(digits, folder, model="vae", latent_dim=2, epochs=12, widths=(64,), layout="HW", batch_size=64)


@pytest.fixture(scope="session")
def wide(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A plain autoencoder with a code of eight numbers, and no prior."""
    folder = tmp_path_factory.mktemp("runs") / "digits-ae"
    return trained(
        digits, folder, model="autoencoder", latent_dim=8, epochs=6, widths=(64,), layout="HW", batch_size=64
    )


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    url, process = serving(run.folder)
    yield Site(url, run, process)
    ended(process)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens pages; at the end none of them may have met an error, unless the test took it out of `wrong`."""
    visits: list[Visit] = []

    def opened(url: str, **options: Any) -> Visit:
        visits.append(Visit(browser, url, **options))
        return visits[-1]

    yield opened
    for one in visits:
        one.context.close()
    assert [wrong for one in visits for wrong in one.wrong] == []
