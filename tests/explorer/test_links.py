"""What the page shows after a link, a reload, a step back and an undo: the same as after the hand that did it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from browsing import Site, Visit, becomes, settle, until
from playwright.sync_api import Page
from test_gestures import lonely

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
SHOWN = """(() => {
  const all = (selector, act) => [...document.querySelectorAll(selector)].map(act);
  const round = (value) => Number(Number(value).toPrecision(6));
  return JSON.stringify({
    sliders: all("#panel-pin .slider", (one) => [round(one.querySelector("input").value), one.innerText]),
    words: all("#panel-pin h2, #panel-pin > .facts, #panel-pin > .pair figcaption", (one) => one.textContent.trim()),
    pictures: all("#panel-pin > .pair canvas", (one) => one.toDataURL()),
    neighbours: all(".neighbours button", (one) => one.title),
    pressed: all("header button, .zoom button, .chip", (one) => one.getAttribute("aria-pressed")),
    chosen: all("header select, #panel-path select, #panel-samples input", (one) => one.value),
    tab: all("[role=tab]", (one) => one.getAttribute("aria-selected")),
    map: diabolo.views.map(({ camera, marks, route }) =>
      [camera.x, camera.y, camera.depth, ...marks.flatMap(({ x, y }) => [x, y]), ...route.flat()].map(round)),
    points: [...diabolo.hidden],
    samples: all("#panel-samples .grid canvas", (one) => one.toDataURL()),
  });
})()"""
SELECTED = "document.querySelector('.selection:not([hidden]) strong')?.textContent ?? ''"


def shown(page: Page) -> dict[str, object]:
    """What can be seen, but for what a link cannot hold."""
    return dict(json.loads(page.evaluate(SHOWN)))


def shows(page: Page, expected: dict[str, object], what: str) -> None:
    """That it can be seen now, or once the server has answered."""
    becomes(lambda: shown(page) == expected, 20)
    assert shown(page) == expected, what


@pytest.mark.slow
def test_links_back_forward_and_undo_show_what_was_shown(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()

    def click_an_example() -> None:
        page.mouse.click(*one.spot(*site.run.codes[lonely(site)]))
        until(page, "document.querySelector('.neighbours').children.length === 12")

    def move_a_slider() -> None:
        page.locator("#panel-pin .slider input").first.focus()
        page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('#panel-pin figcaption').innerText === 'Changed, decoded'")

    acts: dict[str, Callable[[], object]] = {
        "a pin": click_an_example,
        "a slider": move_a_slider,
        "a class alone": lambda: page.click(".chip:text('3')"),
        "a colour": lambda: page.select_option(".choice select", "error"),
        "no points": lambda: page.click(".zoom [aria-label='The points']"),
        "no ground": lambda: page.click(".zoom [aria-label='The decoded mosaic']"),
        "a selection": lambda: page.evaluate("diabolo.select([3, 5, 8])"),
        "samples": lambda: page.click("#tab-samples"),
        "other samples": lambda: page.click("#panel-samples button:text('Next seed')"),
        "a path": lambda: page.evaluate(
            "diabolo.walk(diabolo.main, diabolo.codeOf(diabolo.main, 3), diabolo.codeOf(diabolo.main, 60))"
        ),
        "an arc": lambda: page.select_option("#panel-path select", "arc"),
        "no pin": lambda: page.evaluate("diabolo.setPin(null)"),
    }
    seen, links = [shown(page)], [page.url]
    for name, act in acts.items():
        act()
        settle(page, 900)  # a step is what the hand has come to rest after
        one.still()
        seen.append(shown(page))
        links.append(page.url)
        assert links[-1] != links[-2] or name == "a selection", name
    names = ["the first view", *acts]
    selected = ["3 examples" if k >= names.index("a selection") else "" for k in range(len(names))]

    for k in range(len(names) - 2, -1, -1):
        page.go_back()
        shows(page, seen[k], f"back to {names[k]}")
        assert page.evaluate(SELECTED) == selected[k], f"back to {names[k]}"
    page.keyboard.press("Control+z")
    settle(page, 300)
    shows(page, seen[0], "nothing to undo: the page is not left")
    for k in range(1, len(names)):
        page.go_forward() if k % 2 else page.keyboard.press("Control+Shift+z")
        shows(page, seen[k], f"forward to {names[k]}")
        assert page.evaluate(SELECTED) == selected[k], f"forward to {names[k]}"
    page.keyboard.press("Control+z")
    shows(page, seen[-2], "undone")
    settle(page, 500)
    assert page.url == links[-2], "and is no step of its own"
    page.reload()
    one.ready()
    shows(page, seen[-2], "reloaded")

    for name, link, expected in zip(names, links, seen, strict=True):
        other = visit(link)
        other.ready()
        shows(other.page, expected, f"a link to {name}")
        other.context.close()
