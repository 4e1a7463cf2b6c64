"""A layout of a module outside on the page: from a server, and without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import Run, Visit, ended, hover, serving, settle, until

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
LAYOUT = PAGE.split("`my_rings.py`")[1].split("```python\n")[1].split("```")[0]
NAME = "my_rings:place_on_rings"


def rings(codes: np.ndarray) -> np.ndarray:
    offsets = codes - codes.mean(0)
    return np.stack([np.arctan2(offsets[:, 1], offsets[:, 0]), np.linalg.norm(offsets, axis=1)], 1)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "my_rings.py").write_text(LAYOUT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        patch.setenv("DIABOLO_TRUST", "")
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def address(run: Run, outside: Path) -> Iterator[str]:
    url, process = serving(run.folder, "--map", NAME)
    yield url
    ended(process)


def chosen(page: Visit, run: Run) -> None:
    """Chooses the layout and looks at what the map shows then."""
    tab = page.ready()
    options = tab.locator(".choice:has-text('Plane') option").all_inner_texts()
    assert options == ["the code", NAME]
    tab.select_option(".choice:has-text('Plane') select", f"layout:{NAME}")
    until(tab, "diabolo.main.plane.key !== '0,1'")
    places = np.array(tab.evaluate("[...diabolo.main.places]")).reshape(-1, 2)
    np.testing.assert_allclose(places, rings(run.codes), atol=1e-4)
    far = int(places[:, 1].argmax())  # nothing lies over it
    tab.keyboard.press("x")  # no points: the pointer is at a place, not over an example
    hover(page, *page.spot(*places[far]))
    np.testing.assert_allclose(tab.evaluate("[...diabolo.hovered.code]"), run.codes[far], atol=1e-5)
    assert "angle" in tab.inner_text(".lens")
    tab.keyboard.press("x")
    tab.mouse.click(*page.spot(*places[far]))
    until(tab, "diabolo.pin?.id !== null")
    assert tab.evaluate("diabolo.pin.id") == far
    mark = tab.evaluate("(({x, y}) => [x, y])(diabolo.main.marks[0])")
    np.testing.assert_allclose(mark, places[far], atol=1e-4)


def test_it_is_a_plane_to_choose_and_a_link_keeps_it(run: Run, address: str, visit: Open) -> None:
    page = visit(address)
    chosen(page, run)
    settle(page.page, 500)
    page.page.reload()
    until(page.page, "document.documentElement.dataset.state === 'complete'")
    until(page.page, f"diabolo.main.plane.key === 'layout:{NAME}'")
    page.page.select_option(".choice:has-text('Plane') select", "dims")
    until(page.page, "diabolo.main.plane.key === '0,1'")


def test_in_a_page_without_a_server(run: Run, outside: Path, visit: Open) -> None:
    pytest.importorskip("onnxruntime")
    from diabolo.cli import main

    assert main(["explore", str(run.folder), "--map", NAME, "--export", str(outside / "site")]) == 0
    chosen(visit((outside / "site" / "index.html").as_uri()), run)
