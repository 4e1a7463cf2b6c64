"""What a person does on the explorer's page, by real pointer and keyboard, in a real browser."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from browsing import Site, Visit, becomes, hover, png, settle, until

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
LENS = ".lens canvas"
PINNED = "#panel-pin .pair canvas"


def grey(values: np.ndarray) -> np.ndarray:
    """A picture as a canvas has it."""
    return np.dstack([values, values, values, np.full_like(values, 255)])


def decoded(site: Site, code: np.ndarray) -> np.ndarray:
    """The pixels that Python decodes a code to."""
    return site.run.model.pixels(site.run.model.decode(np.asarray(code, np.float32)[None]))[0]


def near(found: np.ndarray, expected: np.ndarray, most: int = 1) -> None:
    """Pixels that may differ by rounding."""
    assert found.shape == expected.shape
    assert int(np.abs(found.astype(int) - expected.astype(int)).max()) <= most


def near_soon(one: Visit, selector: str, expected: np.ndarray) -> None:
    """A canvas that shows these pixels, now or once an answer of the server is drawn."""
    becomes(lambda: bool(np.abs(one.pixels(selector).astype(int) - expected.astype(int)).max() <= 1))
    near(one.pixels(selector), expected)


def lonely(site: Site) -> int:
    """An example that no other is near to on the map."""
    codes = site.run.codes
    distances = np.sqrt(np.square(codes[:, None] - codes[None]).sum(2))
    np.fill_diagonal(distances, np.inf)
    inside = (np.abs(codes - codes.mean(0)) < 1.2 * codes.std(0)).all(1)
    return int(np.argmax(np.where(inside, distances.min(1), -1)))


def test_the_first_view(site: Site, visit: Open) -> None:
    one = visit(site.url)
    one.page.evaluate(
        "new PerformanceObserver(list => { window.shift = (window.shift ?? 0) +"
        "list.getEntries().reduce((sum, entry) => sum + entry.value, 0); })"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page = one.ready()
    assert page.title() == "digits-vae · diabolo"
    assert "1,797 examples" in page.inner_text(".brand")
    assert page.evaluate("window.shift ?? 0") < 0.01
    dots = one.page.locator(".dots").screenshot()
    assert len(set(dots)) > 50, "the map is not blank"
    tiles = one.pixels(".ground")
    assert (tiles[..., 3] == 255).mean() > 0.9, "the mosaic covers the map"
    assert tiles[..., 0].std() > 20
    assert page.evaluate("[...document.querySelectorAll('.chip')].map(chip => chip.innerText)") == list("0123456789")
    asked = {url.split("?")[0] for url in one.asked}
    assert all(url.startswith((site.url.split("/?")[0], "data:", "blob:", "ws:")) for url in asked), (
        "nothing from elsewhere"
    )


def test_the_pointer_decodes_the_spot_that_it_is_at(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    middle, spread = site.run.codes.mean(0), site.run.codes.std(0)
    page.keyboard.press("x")  # without points, every spot is a place between them
    for step in (-1.0, 0.3, 1.4):
        left, top = one.spot(*(middle + step * spread))
        hover(one, left, top)
        code = page.evaluate("[...diabolo.hovered.code]")
        np.testing.assert_allclose(code, middle + step * spread, atol=0.02)
        near(one.pixels(LENS), grey(decoded(site, code)))
        near(one.pixels(".loupe canvas"), grey(decoded(site, code)))
    page.mouse.move(1200, 780)
    until(page, "document.querySelector('.loupe').hidden")


def test_over_a_point_its_original_its_reconstruction_and_its_error(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    example = lonely(site)
    hover(one, *one.spot(*site.run.codes[example]))
    until(page, "!document.querySelectorAll('.lens canvas')[1].dataset.empty")
    words = page.inner_text(".where")
    assert f"Example {example:,}, {site.run.y[example]}" in words
    near(one.pixels(LENS), grey(decoded(site, site.run.codes[example])))
    until(page, "document.querySelectorAll('.lens canvas')[1].width === 8")
    original = page.evaluate(
        "[...document.querySelectorAll('.lens canvas')[1].getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    np.testing.assert_array_equal(np.array(original).reshape(8, 8, 4)[..., 0], site.run.x[example])
    error = np.square(
        site.run.model.reconstruct(site.run.x[example : example + 1])[0] - site.run.x[example] / 255
    ).mean()
    assert abs(page.evaluate(f"diabolo.value('error', {example})") - error) < 1e-5


def test_of_crowded_points_the_nearest_is_meant(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    codes = site.run.codes
    for example in np.argsort(np.square(codes - codes.mean(0)).sum(1))[:6]:
        left, top = one.spot(*codes[example])
        hover(one, left + 1.5, top - 1)
        x, y, found = page.evaluate("[diabolo.hovered.spot.x, diabolo.hovered.spot.y, diabolo.hovered.spot.id]")
        distances = np.square(codes - [x, y]).sum(1)
        assert distances[found] == pytest.approx(distances.min(), rel=1e-3)


def test_the_wheel_zooms_about_the_pointer_and_the_ground_is_decoded_again(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    page.mouse.move(500, 400)
    box = page.locator(".map").bounding_box()
    assert box is not None
    place = f"diabolo.main.camera.toPlane(500 - {box['x']}, 400 - {box['y']})"
    before, scale = page.evaluate(place), page.evaluate("diabolo.main.camera.scale")
    for _ in range(12):
        page.mouse.wheel(0, -300)
    until(page, f"diabolo.main.camera.scale > {20 * scale}")
    one.still()
    np.testing.assert_allclose(page.evaluate(place), before, atol=1e-3)
    tiles = one.pixels(".ground")
    assert (tiles[..., 3] == 255).mean() > 0.9
    # The tile in the middle is what Python decodes at its own middle.
    tile = page.evaluate(
        "(() => { const c = diabolo.main.camera, size = 2 ** -Math.floor(Math.log2(c.scale / 40));"
        "const x = (Math.floor(c.x / size) + 0.5) * size, y = (Math.floor(c.y / size) + 0.5) * size;"
        "const [left, top] = c.toScreen(x, y); return {x, y, left, top, side: size * c.scale}; })()"
    )
    ratio = page.evaluate("devicePixelRatio")
    inside = (np.arange(8) + 0.5) / 8 - 0.5
    rows = np.round((tile["top"] + inside * tile["side"]) * ratio).astype(int)
    columns = np.round((tile["left"] + inside * tile["side"]) * ratio).astype(int)
    expected = decoded(site, np.array([tile["x"], tile["y"]]))
    assert np.corrcoef(tiles[rows][:, columns, 0].ravel(), expected.ravel())[0, 1] > 0.9


def test_dragging_moves_the_map_and_zero_shows_everything_again(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    home = page.evaluate("[diabolo.main.camera.x, diabolo.main.camera.y, diabolo.main.camera.scale]")
    page.mouse.move(400, 400)
    page.mouse.down()
    page.mouse.move(500, 350, steps=5)
    page.mouse.up()
    x, y, scale = page.evaluate("[diabolo.main.camera.x, diabolo.main.camera.y, diabolo.main.camera.scale]")
    np.testing.assert_allclose([(home[0] - x) * scale, (home[1] - y) * scale], [100, 50], atol=1.5)
    assert page.evaluate("diabolo.pin") is None, "a drag is no click"
    page.keyboard.press("0")
    assert page.evaluate("[diabolo.main.camera.x, diabolo.main.camera.y, diabolo.main.camera.scale]") == home


@pytest.mark.slow
def test_a_map_that_is_turned_and_turned_back_is_as_it_was(site: Site, visit: Open) -> None:
    """However often, and at whatever size; what was in its middle stays there, and 0 shows everything at each size."""
    one = visit(site.url)
    page = one.ready()
    look = "(({x, y, scale, width, height}) => [x, y, scale, width, height])(diabolo.main.camera)"
    page.evaluate("diabolo.main.zoomBy(1.5)")
    before = page.evaluate(look)
    for width, height in ((390, 844), (844, 390), (2000, 300), (390, 844), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        fits = "diabolo.main.camera.{0} === document.querySelector('.map').client{1}"
        until(page, f"{fits.format('width', 'Width')} && {fits.format('height', 'Height')}")
        turned = page.evaluate(look)
        assert turned[:2] == before[:2]
        page.evaluate("diabolo.main.home()")
        (left, bottom), (right, top) = (one.spot(*np.quantile(site.run.codes, q, axis=0)) for q in (0.01, 0.99))
        assert 0.5 < max((right - left) / turned[3], (bottom - top) / turned[4]) < 1, "everything is seen, and large"
        page.evaluate("diabolo.main.zoomBy(1.5)")
        assert page.evaluate(look) == turned
    assert page.evaluate(look) == before


def pin(one: Visit, site: Site, example: int) -> None:
    """Clicks an example."""
    one.page.mouse.click(*one.spot(*site.run.codes[example]))
    one.page.wait_for_selector(f"#panel-pin h2:text('Example {example:,}')")
    until(one.page, "document.querySelector('.neighbours').children.length === 12")


def test_a_click_pins_with_sliders_and_neighbours(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    example = lonely(site)
    pin(one, site, example)
    near(one.pixels(PINNED), grey(decoded(site, site.run.codes[example])))
    distances = np.linalg.norm(site.run.codes - site.run.codes[example], axis=1)
    nearest = [int(i) for i in np.argsort(distances, kind="stable") if i != example][:12]
    titles = page.evaluate("[...document.querySelectorAll('.neighbours button')].map(one => one.title)")
    assert [int(title.split()[1].rstrip(",")) for title in titles] == nearest
    assert "larger than" in page.inner_text("#panel-pin .facts")

    slider = page.locator("#panel-pin .slider input").first
    low, high = float(slider.get_attribute("min") or 0), float(slider.get_attribute("max") or 0)
    np.testing.assert_allclose([low, high], np.quantile(site.run.codes[:, 0], [0.001, 0.999]), atol=0.1)
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    moved = page.evaluate("[...diabolo.pinned()]")
    assert moved[0] == pytest.approx(site.run.codes[example, 0] + 5 * (high - low) / 60, rel=1e-3)
    until(page, "document.querySelector('#panel-pin figcaption').innerText === 'Changed, decoded'")
    near_soon(one, PINNED, grey(decoded(site, np.array(moved))))
    page.click("#panel-pin .slider button")
    assert page.evaluate("[...diabolo.pinned()]") == pytest.approx(site.run.codes[example].tolist())
    until(page, f"document.querySelector('.neighbours button').title.startsWith('Example {nearest[0]}')")
    page.click(".neighbours button")
    page.wait_for_selector(f"#panel-pin h2:text('Example {nearest[0]:,}')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel-pin .empty")


def test_the_address_brings_back_exactly_this_view(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    pin(one, site, lonely(site))
    page.locator("#panel-pin .slider input").first.focus()
    page.keyboard.press("ArrowLeft")
    page.mouse.move(500, 300)
    page.mouse.wheel(0, -400)
    page.select_option(".choice select", "error")
    settle(page, 600)  # the address is written when the hand has come to rest
    what = (
        "JSON.stringify([[...diabolo.pinned()], diabolo.pin.id, diabolo.colour, diabolo.main.camera.x, "
        "diabolo.main.camera.y, diabolo.main.camera.scale,"
        "...[...document.querySelectorAll('#panel-pin .slider input')].map(one => Number(one.value))].flat()"
        ".map(v => typeof v === 'number' ? +v.toPrecision(6) : v))"
    )
    before = page.evaluate(what)
    other = visit(page.url)
    assert other.ready().evaluate(what) == before
    page.reload()
    assert one.ready().evaluate(what) == before


def test_a_path_is_a_film(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    page.keyboard.press("x")
    page.keyboard.press("p")
    codes = site.run.codes
    a, b = (codes[site.run.y == digit].mean(0) for digit in (0, 1))
    page.mouse.move(*one.spot(*a))
    page.mouse.down()
    page.mouse.move(*one.spot(*b), steps=6)
    page.mouse.up()
    page.wait_for_selector(".strip")
    start, end = (np.array(page.evaluate(f"[...diabolo.path.{which}]")) for which in "ab")
    np.testing.assert_allclose([start, end], [a, b], atol=0.03)
    strip = one.pixels(".strip")
    for k, step in enumerate(np.linspace(0, 1, 12)):
        top, left = (k // 6) * 9, (k % 6) * 9
        near(strip[top : top + 8, left : left + 8], grey(decoded(site, start + step * (end - start))), 2)
    until(page, "diabolo.tab === 'path' && document.querySelector('.loop').width === 8")
    frames = set()
    assert becomes(lambda: frames.add(one.pixels(".loop").tobytes()) or len(frames) > 4), "the loop moves"
    page.click("[aria-label='Pause the loop']")
    still = one.pixels(".loop").tobytes()
    settle(page, 200)
    assert one.pixels(".loop").tobytes() == still
    name, data = one.saved(lambda: page.click("text=Save path (NPZ)"))
    assert name == "digits-vae-path.npz"
    with np.load(io.BytesIO(data)) as found:
        np.testing.assert_allclose(found["codes"][[0, -1]], [start, end], rtol=1e-6)
        assert found["pictures"].shape == (12, 8, 8)
    name, data = one.saved(lambda: page.click("text=Save strip (PNG)"))
    assert name.endswith(".png")
    assert data[:4] == b"\x89PNG"
    # two clicks do the same as a drag
    page.mouse.click(*one.spot(*b))
    page.mouse.click(*one.spot(*a))
    until(page, f"Math.abs(diabolo.path?.a[0] - ({b[0]})) < 0.05")


def lasso(one: Visit, corners: list[tuple[float, float]]) -> None:
    """Draws round places of the plane, with Shift held."""
    page = one.page
    page.keyboard.down("Shift")
    page.mouse.move(*one.spot(*corners[0]))
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*one.spot(*corner), steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")


def box(middle: np.ndarray, half: float) -> list[tuple[float, float]]:
    """The corners of a box, the one on the right above first."""
    x, y = (float(value) for value in middle)
    return [(x + half, y + half), (x - half, y + half), (x - half, y - half), (x + half, y - half)]


def test_the_lasso_selects_what_lies_inside_and_saves_it(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    codes, middle = site.run.codes, site.run.codes[site.run.y == 0].mean(0)
    lasso(one, box(middle, 0.5))
    found = np.array(page.evaluate("diabolo.selection"))
    inside = np.flatnonzero((np.abs(codes - middle) < 0.5).all(1))
    assert len(inside) > 20
    assert len(set(found) ^ set(inside)) <= max(2, len(inside) // 25), "but for those on the line"
    assert f"{len(found)} examples" in page.inner_text(".selection")
    name, data = one.saved(lambda: page.click("[aria-label='Save the selection as CSV']"))
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert name == f"digits-vae-{len(found)}-examples.csv"
    assert [int(row["example"]) for row in rows] == found.tolist()
    assert [int(row["class"]) for row in rows] == site.run.y[found].tolist()
    np.testing.assert_allclose([[float(row["z1"]), float(row["z2"])] for row in rows], codes[found], rtol=1e-5)
    _, data = one.saved(lambda: page.click("[aria-label='Save the selection as NPZ']"))
    with np.load(io.BytesIO(data)) as kept:
        np.testing.assert_array_equal(kept["examples"], found)
        np.testing.assert_array_equal(kept["pictures"], site.run.x[found])
        np.testing.assert_allclose(kept["codes"], codes[found], rtol=1e-6)
        np.testing.assert_array_equal(kept["class"], site.run.y[found])
    page.keyboard.press("Escape")
    assert page.evaluate("diabolo.selection") == []


def test_two_lassos_make_a_concept_that_edits_and_stays_with_the_run(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    codes, y = site.run.codes, site.run.y
    for digit in (1, 0):
        lasso(one, box(codes[y == digit].mean(0), 0.4))
        page.click("text=Keep as a group")
    page.select_option("#panel-concepts .choice:has-text('From') select", "group 0")
    page.select_option("#panel-concepts .choice:has-text('to') >> nth=-1 >> select", "group 1")
    page.fill("[aria-label='Name of the concept']", "rounder")
    page.click("#panel-concepts button.first")
    page.wait_for_selector("article h3:text('rounder')")
    assert "Saved with the run" in page.inner_text("article")
    direction = np.array(page.evaluate("diabolo.concepts[0].direction"))
    way = codes[y == 0].mean(0) - codes[y == 1].mean(0)
    assert direction @ way / np.linalg.norm(way) > 0.95
    example = int(np.flatnonzero(y == 1)[0])
    page.evaluate(
        f"(() => {{ const v = diabolo.main, c = diabolo.codeOf(v, {example});"
        f"diabolo.setPin({{view: v, start: c, code: c.slice(), id: {example}, own: null, title: '', "
        "strengths: new Map()}) })()"
    )
    slider = page.locator("[aria-label='Strength of rounder']")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    unit = page.evaluate("diabolo.concepts[0].unit")
    moved = page.evaluate("[...diabolo.pinned()]")
    np.testing.assert_allclose(moved, codes[example] + 2.0 * unit * direction, atol=1e-4)
    near_soon(one, "#panel-concepts .pair figure:last-child canvas", grey(decoded(site, np.array(moved))))
    words = [sys.executable, "-m", "diabolo", "concept", "list", str(site.run.folder)]
    assert "rounder" in subprocess.run(words, capture_output=True, text=True, check=True).stdout
    again = visit(site.url).ready()
    again.click("#tab-concepts")
    assert "rounder" in again.inner_text("#panel-concepts")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("[aria-label='Forget rounder']")
    page.wait_for_selector("article", state="detached")
    assert not list((site.run.folder / "concepts").glob("*"))


def test_a_picture_of_ones_own(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    mine = np.kron(site.run.x[5], np.ones((4, 4), np.uint8))
    with page.expect_file_chooser() as chooser:
        page.evaluate("0")  # without an answer in between, the key can arrive before the order to report choosers
        page.keyboard.press("o")
    chooser.value.set_files({"name": "mine.png", "mimeType": "image/png", "buffer": png(mine)})
    page.wait_for_selector("#panel-pin h2:text('mine.png')")
    until(page, "document.querySelector('#panel-pin .facts').innerText.includes('Anomaly score')")
    words = page.inner_text("#panel-pin .facts")
    assert "It was 32 × 32 pixels: made 8 × 8, in grey." in words
    np.testing.assert_allclose(page.evaluate("[...diabolo.pin.start]"), site.run.codes[5], atol=0.15)
    score = float(site.run.model.score(site.run.x[5:6], kind="reconstruction")[0])
    said = float(words.split("nats): ")[1].split(".\n")[0].rstrip(". ").replace(",", "").replace("−", "-"))
    assert said == pytest.approx(score, rel=0.1)
    # dropped on the page: the same
    page.keyboard.press("Escape")
    data = page.evaluate_handle(
        "bytes => { const made = new DataTransfer();"
        "made.items.add(new File([new Uint8Array(bytes)], 'dropped.png', {type: 'image/png'})); return made; }",
        list(png(site.run.x[5])),
    )
    page.dispatch_event(".map", "drop", {"dataTransfer": data})
    page.wait_for_selector("#panel-pin h2:text('dropped.png')")
    np.testing.assert_allclose(page.evaluate("[...diabolo.pin.start]"), site.run.codes[5], atol=0.02)
    page.wait_for_selector(".note button:text('Invert')")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("notes.txt", b"no picture", "notes.txt is no image that a browser can read"),
        ("broken.png", b"\x89PNG and nothing more", "broken.png is no image"),
        ("list.npy", b"nothing", "list.npy: The answer is no .npy array"),
    ],
)
def test_what_is_no_picture_is_told(site: Site, visit: Open, name: str, data: bytes, says: str) -> None:
    one = visit(site.url)
    page = one.ready()
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "application/octet-stream", "buffer": data})
    page.wait_for_selector(".note.bad")
    assert says in page.inner_text(".note.bad")


def test_an_array_of_another_shape_is_told(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4), np.float32))
    page.set_input_files(
        "input[type=file]", {"name": "x.npy", "mimeType": "application/octet-stream", "buffer": buffer.getvalue()}
    )
    page.wait_for_selector(".note.bad")
    assert "the shape (3, 4), and this model reads examples of the shape (8, 8)" in page.inner_text(".note.bad")


def test_s_draws_from_the_prior_with_the_seed_shown(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    for seed in (0, 1):
        page.keyboard.press("s")
        until(page, f"diabolo.samples?.seed === {seed} && document.querySelectorAll('.grid button').length === 16")
        until(page, f"document.querySelector('input[type=number]').value === '{seed}'")
        expected = site.run.model.pixels(site.run.model.sample(16, seed=seed))
        near_soon(one, ".grid canvas", grey(expected[0]))
    name, data = one.saved(lambda: page.click("text=Save codes (NPZ)"))
    assert name == "digits-vae-seed-1.npz"
    with np.load(io.BytesIO(data)) as kept:
        near(kept["pictures"], expected)
    page.click(".grid button")
    page.wait_for_selector("#panel-pin h2:text('Sample 1 of seed 1')")


def test_the_models_health(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    page.evaluate("""(() => {
      const run = diabolo.main.run, real = run.health.bind(run);
      const more = ["good", "note", "problem"].map(level => ({ level, title: "A title", text: "Try `--beta`." }));
      run.health = async () => { const health = await real(); health.findings.push(...more); return health; };
    })()""")
    page.click("#tab-health")
    page.wait_for_selector("#panel-health .finding")
    lines = "[...document.querySelectorAll('.finding')].slice(-3).map(one => [one.innerText, one.clientHeight])"
    for text, height in page.evaluate(lines):
        assert text == "A title\nTry --beta."
        assert height < 50, "a line of each"
    words = page.inner_text("#panel-health")
    assert "active unit" in words
    assert "of the way to a perfect copy" in words
    assert "`" not in words, "commands are set as such"
    assert page.locator("#panel-health svg polyline").count() >= 2
    assert page.locator("#panel-health svg rect").count() == 2


def test_colours_and_the_legend(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    page.click(".chip:text('3')")
    assert page.evaluate("[...diabolo.hidden].sort()") == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    shown = page.evaluate("[...Array(1797).keys()].filter(id => diabolo.main.visible(id)).length")
    assert shown == int((site.run.y == 3).sum())
    page.click(".chip:text('3')")
    assert page.evaluate("diabolo.hidden.size") == 0
    for column in ("error", "score", "part", "z2"):
        page.select_option(".choice select", column)
        until(page, f"diabolo.colour === '{column}'")
    assert page.inner_text(".legend").strip()


def test_a_long_legend_scrolls_folds_and_is_searched_and_covers_nothing(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    page.evaluate("""async () => {
      const categories = Array.from({ length: 200 }, (_, k) => `a name as long as those of insects are ${k}`);
      diabolo.main.run.state.columns.push({ name: "kind", kind: "category", categories });
      diabolo.columns.set("kind", Int32Array.from({ length: 1797 }, (_, row) => row % 200));
      await diabolo.setColour("kind");
    }""")
    boxes = "['.map', '.legend'].map(name => document.querySelector(name).getBoundingClientRect())"
    for width, height in ((1280, 800), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        until(page, "diabolo.main.camera.width === document.querySelector('.map').clientWidth")
        over, under = page.evaluate(f"{boxes}.map(({{left, right, top, bottom}}) => ({{left, right, top, bottom}}))")
        assert over["bottom"] <= under["top"], "the map is not covered"
        assert under["bottom"] - under["top"] < 150
        assert under["right"] <= width
    assert page.locator(".legend .chip").count() == 200
    assert page.evaluate("(one => one.scrollHeight > 2 * one.clientHeight)(document.querySelector('.list'))")
    short = "one.scrollWidth > one.clientWidth && getComputedStyle(one).textOverflow === 'ellipsis'"
    assert page.evaluate(f"(one => {short})(document.querySelector('.chip'))")
    page.fill(".legend input", "are 134")
    assert page.locator(".legend .chip").count() == 1
    page.click(".legend .chip")
    assert page.evaluate("diabolo.hidden.size") == 199
    assert page.evaluate("[...Array(1797).keys()].filter(id => diabolo.main.visible(id)).every(id => id % 200 === 134)")
    assert page.input_value(".legend input") == "are 134", "as it was before the click"
    before = page.evaluate("document.querySelector('.map').clientHeight")
    page.click(".fold")
    assert not page.locator(".legend .chip").is_visible()
    assert page.get_attribute(".fold", "aria-expanded") == "false"
    until(page, f"diabolo.main.camera.height > {before} + 20")


def test_the_map_as_a_picture(site: Site, visit: Open) -> None:
    one = visit(site.url)
    page = one.ready()
    name, data = one.saved(lambda: page.click("[aria-label='Save the map as a picture']"))
    from PIL import Image

    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert name == "digits-vae-map.png"
    assert image.shape[0] > 400
    assert (np.ptp(image, axis=2) > 60).mean() > 0.01, "coloured points over grey tiles"
