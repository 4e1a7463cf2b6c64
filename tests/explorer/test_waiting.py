"""A picture and its name change together: what the page shows while a server is slow, and when it does not answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from browsing import Site, Visit, until
from playwright.sync_api import Page
from test_gestures import LENS, PINNED, decoded, grey, lonely, near, pin

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
GATE = """(() => {
  const run = diabolo.main.run;
  window.gate = { mode: "open", waiting: [] };
  for (const name of ["decode", "examples", "sample"]) {
    const real = run[name].bind(run);
    run[name] = async (...all) => {
      if (gate.mode === "slow") await new Promise((done) => gate.waiting.push(done));
      if (gate.mode === "ended") throw new Error("nothing answers");
      return real(...all);
    };
  }
  window.answer = (mode) => { gate.mode = mode; gate.waiting.splice(0).forEach((done) => done()); };
})()"""
FIGURES = """[...document.querySelectorAll("#panel-pin > .pair figure:not(.absent)")].map((figure) =>
  [figure.ariaBusy === "true" || figure.getAttribute("aria-busy") === "true",
   "empty" in figure.querySelector("canvas").dataset, figure.innerText.replace(/\\n/g, " ")])"""
DONE = "!document.querySelector('#panel-pin [aria-busy=true]')"


def put(page: Page, example: int) -> None:
    """Pins an example without its place on the map."""
    page.evaluate(
        "id => { const code = diabolo.codeOf(diabolo.main, id); diabolo.setPin({view: diabolo.main, start: code,"
        "code: code.slice(), id, own: null, title: '', strengths: new Map()}); }",
        example,
    )


def test_no_picture_stands_under_the_name_of_another(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    first = lonely(site)
    other = int(np.argmax(np.abs(site.run.codes - site.run.codes[first]).sum(1)))
    pin(one, site, first)
    until(page, DONE)
    page.evaluate(GATE)
    page.evaluate("gate.mode = 'slow'")
    put(page, other)
    assert page.inner_text("#panel-pin h2") == f"Example {other:,}"
    assert [figure[:2] for figure in page.evaluate(FIGURES)] == [[True, True]] * 2, "emptied, and on their way"
    assert f"Class: {site.run.y[other]}." in page.inner_text("#panel-pin .facts"), "its own class, at once"
    assert page.locator(".neighbours button").count() == 0
    page.evaluate("answer('open')")
    until(page, DONE)
    near(one.pixels(PINNED), grey(decoded(site, site.run.codes[other])))

    page.evaluate("gate.mode = 'slow'")
    page.locator("#panel-pin .slider input").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FIGURES)[0][:2] == [True, False], "the picture of before is dimmed"
    assert page.evaluate(FIGURES)[1][:2] == [False, False]
    page.evaluate("answer('open')")
    until(page, "document.querySelector('#panel-pin figcaption').innerText === 'Changed, decoded'")
    near(one.pixels(PINNED), grey(decoded(site, page.evaluate("[...diabolo.pinned()]"))))

    page.evaluate("gate.mode = 'ended'")
    put(page, first)
    until(page, DONE)
    assert page.evaluate(FIGURES)[0] == [False, True, "It did not come. Ask again"]
    page.evaluate("gate.mode = 'open'")
    page.click("#panel-pin .pair .again")
    until(page, f"{FIGURES}[0][2] === 'Reconstruction'")
    near(one.pixels(PINNED), grey(decoded(site, site.run.codes[first])))


def test_what_the_pointer_is_at_is_named_with_its_picture(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    first = lonely(site)
    left, top = one.spot(*site.run.codes[first])
    page.mouse.move(left, top)
    until(page, f"document.querySelector('.where').innerText.startsWith('Example {first:,},')")
    until(page, "!document.querySelector('.lens [aria-busy=true]')")
    shown, words = one.pixels(LENS), page.inner_text(".where")
    page.evaluate(GATE)
    page.evaluate("gate.mode = 'slow'")
    page.keyboard.press("x")  # no points: there is no example under the pointer any more
    page.mouse.move(left + 60, top + 30)
    until(page, "document.querySelector('.lens [aria-busy=true]') && gate.waiting.length > 0")
    assert (one.pixels(LENS) == shown).all()
    assert page.inner_text(".where") == words, "as long as its picture is the one that is shown"
    page.evaluate("answer('open')")
    until(page, "!document.querySelector('.lens [aria-busy=true]')")
    near(one.pixels(LENS), grey(decoded(site, page.evaluate("[...diabolo.hovered.code]"))))
    assert page.inner_text(".where").startswith("z1 ")
    page.evaluate("gate.mode = 'ended'")
    page.mouse.move(left - 60, top - 30)
    until(page, "'empty' in document.querySelector('.lens canvas').dataset")
    assert "move to ask again" in page.inner_text(".lens figcaption >> nth=0")


def test_samples_are_those_of_the_seed_that_is_shown(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    page.keyboard.press("s")
    until(page, "document.querySelectorAll('#panel-samples .grid canvas').length === 16")
    page.evaluate(GATE)
    page.evaluate("gate.mode = 'slow'")
    page.fill("#panel-samples input", "7")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#panel-samples .grid').getAttribute('aria-busy') === 'true'")
    name, _ = one.saved(lambda: page.click("text=Save codes (NPZ)"))
    assert name.endswith("-seed-0.npz"), "those that are shown are of seed 0"
    page.evaluate("answer('ended')")
    until(page, "document.querySelector('#panel-samples .grid').innerText.includes('draw again')")
    page.evaluate("gate.mode = 'open'")
    page.click("#panel-samples button:text-is('Draw')")
    until(page, "document.querySelectorAll('#panel-samples .grid canvas').length === 16")
    expected = site.run.model.pixels(site.run.model.sample(16, seed=7))
    near(one.pixels(".grid canvas"), grey(expected[0]))
