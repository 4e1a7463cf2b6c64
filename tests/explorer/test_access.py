"""The explorer for everyone: by keyboard, in words, in light and dark, on a phone."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import pytest
from browsing import Site, Visit, settle, until
from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong."""
    page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0].get('failureSummary', '')}"
        for one in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_no_violation_in_any_tab(site: Site, visit: Open, scheme: str) -> None:
    page = visit(site.url, color_scheme=scheme).ready()
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert violations(page) == []
    page.mouse.click(500, 400)
    until(page, "document.querySelector('.neighbours').children.length === 12")
    for tab in ("pin", "path", "concepts", "samples", "health"):
        page.click(f"#tab-{tab}")
        settle(page, 300)
        assert violations(page) == [], tab
    page.keyboard.press("?")
    page.wait_for_selector("dialog")
    assert violations(page) == []


def test_all_by_keyboard_and_in_words(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    page.focus(".map")
    page.keyboard.press("ArrowRight")
    until(page, "(document.querySelector('[aria-live]')?.innerText ?? '') !== ''")
    page.keyboard.press("n")
    until(page, "document.querySelector('[aria-live]').innerText.includes('Example')")
    said = page.inner_text("[aria-live]")
    assert "squared error" in said
    assert "Of the ten examples nearest to it:" in said
    first = page.evaluate("diabolo.hovered.spot.id")
    page.keyboard.press("n")
    until(page, f"diabolo.hovered.spot.id !== {first}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel-pin h2:text('Example')")
    scale = page.evaluate("diabolo.main.camera.scale")
    page.keyboard.press("+")
    assert page.evaluate("diabolo.main.camera.scale") == pytest.approx(1.4 * scale)
    page.focus("#tab-pin")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-path"
    assert page.is_visible("#panel-path")
    reached = set()
    page.focus("header select")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.innerText"))
    assert {"Help", "Zoom in", "Copy a link to this view"} <= reached


def test_the_theme_is_kept(site: Site, visit: Open) -> None:
    one = visit(site.url, color_scheme="light")
    page = one.ready()
    page.click("[aria-label='Light or dark']")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    one.ready()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_on_a_phone(site: Site, visit: Open) -> None:
    one = visit(site.url, **PHONE)
    page = one.ready()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".map").bounding_box()
    assert box is not None
    assert box["height"] > 400
    left, top = one.spot(*site.run.codes.mean(0))
    page.touchscreen.tap(left, top)
    until(page, "diabolo.pin !== null")
    assert violations(page) == []
    scale = page.evaluate("diabolo.main.camera.scale")
    client = one.context.new_cdp_session(page)
    for kind, gap in (("touchStart", 20), ("touchMove", 50), ("touchMove", 80), ("touchEnd", 0)):
        points = [{"x": left - gap, "y": top}, {"x": left + gap, "y": top}] if gap else []
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert page.evaluate("diabolo.main.camera.scale") > 2 * scale, "two fingers zoom"


def test_the_help_says_what_can_be_done(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    page.click("[aria-label='Help']")
    words = page.inner_text("dialog")
    for part in ("Click", "lasso" if "lasso" in words else "Shift and drag", "Arrows on the map", "Escape"):
        assert part in words
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_less_motion(site: Site, visit: Open) -> None:
    page = visit(site.url, reduced_motion="reduce").ready()
    page.keyboard.press("p")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(600, 500, steps=4)
    page.mouse.up()
    page.wait_for_selector("[aria-label='Play the loop']")
    assert np.isfinite(page.evaluate("diabolo.path.a[0]"))
