"""Codes of few active units, and codes of two levels, on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import Run, Visit, ended, serving, trained, until
from test_access import violations

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
PIN = (
    "id => { const code = diabolo.codeOf(diabolo.main, id); diabolo.setPin({view: diabolo.main, start: code,"
    "code: code.slice(), id, own: null, title: '', strengths: new Map()}); }"
)


@pytest.fixture(scope="module")
def sparse(digits: Path, tmp_path_factory: pytest.TempPathFactory, environment: None) -> Run:
    folder = tmp_path_factory.mktemp("sparse") / "run"
    options = {"model": "topk", "network": "dictionary", "latent_dim": 48, "k": 5, "epochs": 4, "layout": "HW"}
    return trained(digits, folder, **options)


@pytest.fixture(scope="module")
def levels(digits: Path, tmp_path_factory: pytest.TempPathFactory, environment: None) -> Run:
    folder = tmp_path_factory.mktemp("levels") / "run"
    options = {"model": "hierarchical", "latent_dim": 5, "upper": 2, "widths": (32,), "epochs": 4, "layout": "HW"}
    return trained(digits, folder, **options)


@pytest.fixture(scope="module")
def page_of_units(sparse: Run) -> Iterator[str]:
    url, process = serving(sparse.folder)
    yield url
    ended(process)


def test_units_are_listed_with_where_they_are_active(sparse: Run, page_of_units: str, visit: Open) -> None:
    tab = visit(page_of_units).ready()
    tab.evaluate(PIN, 7)
    until(tab, "document.querySelectorAll('.row-of-unit').length > 0")
    code = sparse.codes[7]
    order = [unit for unit in np.argsort(-np.abs(code), kind="stable") if code[unit] != 0]
    names = [row.split("\n")[0] for row in tab.locator(".row-of-unit").all_inner_texts()]
    assert names == [str(unit) for unit in order[:12]]
    strongest = int(order[0])
    active = np.flatnonzero(sparse.codes[:, strongest])
    assert f"Unit {strongest} is active in {len(active):,} of {len(sparse.codes):,} examples" in tab.inner_text(".unit")
    best = int(sparse.codes[:, strongest].argmax())
    until(tab, f"document.querySelector('.unit .thumb').title.startsWith('Example {best}')")
    assert tab.locator(".unit .thumb").count() == min(9, len(active))
    bars = [float(bar.get_attribute("height") or 0) for bar in tab.locator(".histogram rect").all()]
    counts = np.histogram(sparse.codes[active, strongest], 24, (0, sparse.codes[:, strongest].max()))[0]
    assert [bar > 0 for bar in bars] == [bool(many) for many in counts]
    assert violations(tab) == []


def test_a_unit_is_switched_off_and_on_again(sparse: Run, page_of_units: str, visit: Open) -> None:
    tab = visit(page_of_units).ready()
    tab.evaluate(PIN, 7)
    until(tab, "document.querySelectorAll('.row-of-unit').length > 0")
    strongest = int(np.abs(sparse.codes[7]).argmax())
    tab.click(".unit button:text-is('Off')")
    off = sparse.codes[7].copy()
    off[strongest] = 0
    expected = sparse.model.pixels(sparse.model.decode(off[None]))
    until(tab, f"[...diabolo.picture].join() === '{','.join(map(str, expected.ravel()))}'")
    assert str(strongest) not in [row.split("\n")[0] for row in tab.locator(".row-of-unit").all_inner_texts()]
    silent = int(np.flatnonzero(sparse.codes[7] == 0)[0])
    tab.fill(".units input[type=number]", str(silent))
    tab.keyboard.press("Enter")
    until(tab, f"document.querySelector('.unit').innerText.includes('Unit {silent} is active in')")
    tab.locator(".unit input[type=range]").fill("0.5")
    until(tab, f"diabolo.pin.code[{silent}] === 0.5")
    until(tab, f"document.querySelector('.row-of-unit.changed span').innerText === '{silent}'")


def test_a_code_of_many_numbers_that_are_not_zero_has_no_units(run: Run, site: object, visit: Open) -> None:
    tab = visit(site.url).ready()  # type: ignore[attr-defined]
    tab.evaluate(PIN, 3)
    until(tab, "diabolo.pin !== null")
    assert not tab.locator(".units").is_visible()


def test_the_upper_level_comes_first_and_moves_the_lower_one(levels: Run, visit: Open) -> None:
    url, process = serving(levels.folder)
    tab = visit(url).ready()
    tab.evaluate(PIN, 2)
    until(tab, "document.querySelectorAll('.code').length === 2")
    assert [head.replace("\n", " ") for head in tab.locator(".code h3").all_inner_texts()] == [
        "z2's 2 numbers", "z1's 3 numbers"
    ]  # fmt: skip
    slider = tab.locator("input[aria-label='z2 1']")
    slider.focus()
    tab.keyboard.press("ArrowRight")
    until(tab, "diabolo.pin.code[0] !== diabolo.pin.start[0]")
    upper = np.array(tab.evaluate("[...diabolo.pin.code]"))[None, 3:].astype(np.float32)
    whole = levels.model.completed(upper)
    np.testing.assert_allclose(tab.evaluate("[...diabolo.pin.code]"), whole[0], rtol=1e-5, atol=1e-6)
    expected = levels.model.pixels(levels.model.decode(upper))
    until(tab, f"[...diabolo.picture].join() === '{','.join(map(str, expected.ravel()))}'")
    tab.context.close()
    ended(process)
