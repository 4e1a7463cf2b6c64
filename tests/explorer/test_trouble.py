"""What goes wrong around the page, and what it says then."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsing import Run, Site, Visit, becomes, ended, serving, until
from playwright.sync_api import Browser

import diabolo

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]


def test_a_stale_token(site: Site, visit: Open) -> None:
    one = visit(re.sub("token=.*", "token=of-yesterday", site.url))
    words = one.page.inner_text("body")
    assert "token" in words
    assert "address" in words
    assert "{" not in words, "a page, and no JSON"
    one.wrong.clear()  # the status 401 itself


def test_a_server_that_stops_and_comes_back(run: Run, visit: Open) -> None:
    url, process = serving(run.folder)
    one = visit(url)
    page = one.ready()
    ended(process)
    page.mouse.move(300, 300)
    page.mouse.move(420, 360)
    page.wait_for_selector(".note.bad")
    assert "Start it again in the terminal" in page.inner_text(".note.bad")
    port = url.split(":")[2].split("/")[0]
    _, again = serving(run.folder, "--port", port)
    page.mouse.move(520, 460)
    until(page, "diabolo.hovered !== null")
    page.reload()
    one.ready()
    page.close()
    ended(again)
    one.wrong.clear()  # the browser's own lines on connections


def test_two_tabs_a_closed_one_and_a_reload_in_the_middle(site: Site, visit: Open) -> None:
    first, second = visit(site.url), visit(site.url)
    first.page.reload(wait_until="commit")
    second.ready()
    first.page.close()
    second.page.mouse.move(400, 400)
    second.page.reload()
    page = second.ready()
    page.mouse.move(410, 400)
    until(page, "diabolo.hovered !== null")
    assert site.process.poll() is None


def test_without_webgl_a_plain_canvas(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest)"
        "{ return kind.startsWith('webgl') ? null : get.call(this, kind, ...rest); };"
    )
    page = context.new_page()
    page.goto(site.url)
    until(page, "document.documentElement.dataset.state === 'complete'")
    until(page, "diabolo.views.every((view) => view.still)")
    assert "no WebGL 2" in page.inner_text(".notes")
    drawn = page.evaluate(
        "(() => { const c = document.querySelector('.dots'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0;"
        "return n; })()"
    )
    assert drawn > 2000
    left, top = page.evaluate("diabolo.main.camera.toScreen(diabolo.main.places[0], diabolo.main.places[1])")
    box = page.locator(".map").bounding_box()
    assert box is not None
    page.mouse.click(left + box["x"], top + box["y"])
    until(page, "diabolo.pin?.id !== null")
    context.close()


@pytest.mark.slow
def test_a_run_of_another_kind_shows_itself(tmp_path: Path, table: np.ndarray, visit: Open) -> None:
    """Tables and signals have pages of their own kind: bars and lines for pictures."""
    np.save(tmp_path / "table.npy", table)
    rng = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 9, 40)[None, :, None] * rng.uniform(0.5, 2, (300, 1, 2))).astype(np.float32)
    np.save(tmp_path / "waves.npy", waves)
    for name, options in (("table", {"layout": "F"}), ("waves", {"layout": "LC"})):
        folder = tmp_path / f"run-{name}"
        diabolo.train(
            str(tmp_path / f"{name}.npy"), out=folder, model="vae", latent_dim=3, epochs=2, widths=(16,), **options
        )
        url, process = serving(folder)
        one = visit(url)
        page = one.ready()
        assert page.evaluate("document.querySelector('.choice:nth-of-type(2) select').value") == "pca"
        page.mouse.click(500, 400)
        until(page, "diabolo.pin !== null && document.querySelector('.neighbours').children.length > 3")
        assert one.pixels("#panel-pin .pair canvas")[..., 3].any()
        page.keyboard.press("s")
        page.wait_for_selector(".grid canvas")
        page.set_input_files("input[type=file]", {"name": "a.png", "mimeType": "image/png", "buffer": b"x"})
        page.wait_for_selector(".note.bad")
        assert "drop a .npy file of that shape" in page.inner_text(".note.bad")
        page.close()  # a page that is open when its server ends complains of it
        ended(process)


def test_the_port_is_taken(site: Site, run: Run) -> None:
    port = site.url.split(":")[2].split("/")[0]
    with pytest.raises(AssertionError, match="in use"):
        serving(run.folder, "--port", port)
    assert site.process.poll() is None


def test_colours_whose_channels_come_first(tmp_path: Path, visit: Open) -> None:
    rng = np.random.default_rng(0)
    x = (rng.uniform(0, 255, (80, 3, 1, 1)) * np.ones((1, 1, 8, 6))).astype(np.uint8)
    np.save(tmp_path / "colours.npy", x)
    diabolo.train(
        str(tmp_path / "colours.npy"), layout="CHW", out=tmp_path / "run", latent_dim=2, epochs=2, widths=(16,)
    )
    model = diabolo.load(tmp_path / "run")
    url, process = serving(tmp_path / "run")
    one = visit(url)
    page = one.ready()
    page.mouse.click(600, 400)
    until(page, "diabolo.pin !== null && diabolo.picture !== null")
    code = np.array(page.evaluate("[...diabolo.pinned()]"), np.float32)
    expected = model.pixels(model.decode(code[None]))[0].astype(int)
    assert becomes(lambda: np.abs(one.pixels("#panel-pin .pair canvas")[..., :3] - expected).max() <= 1)
    codes = np.array([[-2, 0], [0, 2], [3, -3]], np.float32)
    ask = "codes => diabolo.main.run.decode(new Float32Array(codes), 3).then(one => [...one.data])"
    made = page.evaluate(ask, codes.ravel().tolist())
    expected = np.moveaxis(model.pixels(model.decode(codes)), -1, 1)
    np.testing.assert_array_equal(np.reshape(made, expected.shape), expected)
    assert np.ptp(expected, axis=1).max() > 3, "coloured, or nothing would be seen"
    page.close()  # a page that is open when its server ends complains of it
    ended(process)
