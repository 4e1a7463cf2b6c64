"""The axes of the map: numbers, names, shares of the variance, equal scales; and codes of one dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import Run, Site, Visit, ended, hover, serving, trained, until
from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
WRITTEN = """(() => {
  const texts = [], real = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...rest) {
    const { e, f, a } = this.getTransform(), ratio = devicePixelRatio;
    texts.push([text, a ? x : e / ratio, a ? y : f / ratio]);
    return real.call(this, text, x, y, ...rest);
  };
  diabolo.main.snapshot("#fff");
  CanvasRenderingContext2D.prototype.fillText = real;
  return texts;
})()"""


def numbers(page: Page) -> tuple[list[tuple[float, float]], list[tuple[float, float]], list[str]]:
    """The ticks of both axes with the places that they stand at on the plane, and all other words."""
    across, up, words = [], [], []
    for text, left, top in page.evaluate(WRITTEN):
        x, y = page.evaluate("([left, top]) => diabolo.main.camera.toPlane(left, top)", [left, top])
        try:
            value = float(text.replace("−", "-"))
        except ValueError:
            words.append(text)
            continue
        (across if top > page.evaluate("diabolo.main.camera.height") - 36 else up).append(
            (value, x if left > 44 else y)
        )
    return across, up, words


def test_ticks_stand_at_their_numbers_and_axes_say_what_they_show(site: Site, visit: Open) -> None:
    page = visit(site.url).ready()
    shares = site.run.codes.var(0) / site.run.codes.var(0).sum()
    for factor in (1, 40, 1 / 300):
        page.evaluate(f"diabolo.main.zoomBy({factor})")
        across, up, words = numbers(page)
        assert words == [f"z{k + 1} · {100 * share:.0f}% of the variance" for k, share in enumerate(shares)]
        for ticks in (across, up):
            assert len(ticks) >= 3
            values, places = np.transpose(ticks)
            np.testing.assert_allclose(values, places, atol=1e-3 * np.ptp(values))
            steps = np.diff(values)
            np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.slow
def test_a_codes_plane_has_one_scale_and_a_layouts_never_jumps(site: Site, visit: Open) -> None:
    """A dead dimension was stretched until it looked alive, and between ratios of 3.9 and 4.1 the picture jumped."""
    page = visit(site.url).ready()
    stretch = """([axes, ratio]) => {
      const camera = new diabolo.main.camera.constructor();
      camera.resize(900, 700);
      camera.fit(Float32Array.from([-ratio / 2, 0, ratio / 2, 1]), axes);
      const [[left, top], [right, bottom]] = [camera.toScreen(-ratio / 2, 1), camera.toScreen(ratio / 2, 0)];
      return left >= 0 && top >= 0 && right <= 900 && bottom <= 700 ? camera.stretch : NaN;
    }"""
    for ratio in (0.01, 0.3, 1, 3.9, 4.1, 5.9, 100):
        assert page.evaluate(stretch, ["equal", ratio]) == 1
    for near, far in ((3.9, 4.1), (1 / 4.1, 1 / 3.9), (5.9, 6.0)):
        assert page.evaluate(stretch, ["own", near]) == pytest.approx(page.evaluate(stretch, ["own", far]), rel=0.06)
    assert page.evaluate(stretch, ["own", 100]) == pytest.approx(25)
    assert page.evaluate(stretch, ["own", 0.01]) == pytest.approx(0.04)


@pytest.fixture(scope="module")
def line(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("runs") / "digits-line"
    run = trained(digits, folder, model="vae", latent_dim=1, epochs=4, widths=(32,), layout="HW", batch_size=64)
    url, process = serving(folder)
    yield Site(url, run, process)
    ended(process)


def pixels(run: Run, code: float) -> np.ndarray:
    return run.model.pixels(run.model.decode(np.array([[code]], np.float32)))[0]


@pytest.mark.slow
def test_a_code_of_one_dimension_is_one_axis(line: Site, visit: Open) -> None:
    """A lane for each class, the decoded row under them, and no height that nobody measured."""
    one = visit(line.url)
    page = one.ready()
    places = np.array(page.evaluate("[...diabolo.main.places]")).reshape(-1, 2)
    np.testing.assert_allclose(places[:, 0], line.run.codes[:, 0], atol=1e-6)
    np.testing.assert_allclose(places[:, 1], 9.5 - line.run.y)
    across, _, words = numbers(page)
    assert len(across) >= 3
    assert words == ["z1"]
    names = [text for text, left, _ in page.evaluate(WRITTEN) if left < 44]
    assert names == [str(name) for name in range(10)]

    heights = [one.spot(0, lane)[1] for lane in (0, 10)]
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(430, 420, steps=4)
    page.mouse.up()
    page.mouse.wheel(0, -500)
    one.still()
    assert [one.spot(0, lane)[1] for lane in (0, 10)] == pytest.approx(heights), "there is nothing above or below"
    page.keyboard.press("0")
    one.still()

    above, below, tile, middle = page.evaluate("""(() => {
      const { camera } = diabolo.main, ratio = devicePixelRatio, canvas = document.querySelector(".ground");
      const [left, top] = camera.toScreen(0, 0), size = 2 ** -Math.floor(Math.log2(camera.scale / 40));
      const side = size * camera.scale, context = canvas.getContext("2d");
      const read = (y, h) => context.getImageData(0, y, canvas.width, h).data.some((value) => value > 0);
      const at = (start, k) => Math.round((start + ((k + 0.5) / 8) * side) * ratio);
      const pixel = (k) => context.getImageData(at(left, k % 8), at(top, Math.floor(k / 8)), 1, 1).data[0];
      const under = Math.ceil((top + side) * ratio) + 2;
      const tile = Array.from({ length: 64 }, (_, k) => pixel(k));
      return [read(0, Math.floor(top * ratio) - 2), read(under, canvas.height - under), tile, size / 2];
    })()""")
    assert not above, "there is no ground behind the lanes"
    assert not below
    assert np.corrcoef(tile, pixels(line.run, middle).ravel())[0, 1] > 0.9

    left, top = one.spot(0.4, 0)
    hover(one, left, top + 20)
    assert page.evaluate("diabolo.hovered.code[0]") == pytest.approx(0.4, abs=0.02)
    assert page.inner_text(".where").startswith("z1 0.4")
    page.mouse.click(left, top + 20)
    until(page, "diabolo.pin !== null")
    assert page.evaluate("diabolo.main.marks[0].y") == 0
