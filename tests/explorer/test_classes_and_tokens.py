"""A model that is told the class, and models whose codes are tokens, on the page: from a server, and without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Run, Visit, ended, hover, serving, settle, trained, until
from test_access import violations

import diabolo

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]
CLASS = ".choice:has(> span:text-is('Class')) select"
TOLD = '''"""A VAE whose decoder is told the class."""

import torch
from torch.nn.functional import one_hot

from diabolo.models.objectives.vae import VAE


class Told(VAE):
    """A VAE whose decoder is told the class."""

    labels = "required"

    def fed(self, latent_dim):
        return latent_dim + len(self.space.classes)

    def embed(self, z, y):
        return torch.cat([z, one_hot(y + 1, len(self.space.classes) + 1)[:, 1:].float()], 1)


class Partly(Told):
    """Of which some classes may be unknown."""

    labels = "partial"
'''


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, environment: None) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "told_digits.py").write_text(TOLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        patch.setenv("DIABOLO_TRUST", "told_digits")
        patch.syspath_prepend(str(folder))
        yield folder


def of_classes(digits: Path, folder: Path, name: str) -> diabolo.Autoencoder:
    options: dict[str, Any] = {"latent_dim": 2, "epochs": 8, "widths": (64,), "layout": "HW", "batch_size": 64}
    diabolo.train(str(digits), out=folder / name.lower(), model=f"told_digits:{name}", **options)
    return diabolo.load(folder / name.lower())


@pytest.fixture(scope="module")
def told(digits: Path, outside: Path) -> diabolo.Autoencoder:
    return of_classes(digits, outside, "Told")


@pytest.fixture(scope="module")
def partly(digits: Path, outside: Path) -> diabolo.Autoencoder:
    return of_classes(digits, outside, "Partly")


@pytest.fixture(scope="module")
def spatial(digits: Path, outside: Path) -> Run:
    """Four tokens at 2 x 2 places."""
    options: dict[str, Any] = {"model": "vq", "network": "conv", "spatial": True, "latent_dim": 3, "codes": 16}
    diabolo.train(str(digits), out=outside / "spatial", epochs=3, layout="HW", batch_size=64, **options)
    model, held = diabolo.load(outside / "spatial"), np.load(digits)
    return Run(outside / "spatial", model, held["x"], held["y"], model.encode(held["x"], flat=True))


@pytest.fixture(scope="module")
def residual(digits: Path, outside: Path) -> Run:
    """Four positions of two levels, without places."""
    options: dict[str, Any] = {"model": "vq", "positions": 4, "levels": 2, "codes": 12, "latent_dim": 8}
    return trained(digits, outside / "residual", epochs=3, widths=(64,), layout="HW", batch_size=64, **options)


@pytest.fixture(scope="module")
def address(told: diabolo.Autoencoder) -> Iterator[str]:
    url, process = serving(told.folder or Path(), "--trust", "told_digits")
    yield url
    ended(process)


def grey(model: diabolo.Autoencoder, codes: Any, label: str | None) -> np.ndarray:
    codes = np.atleast_2d(np.asarray(codes, np.float32))
    return model.pixels(model.decode(codes, None if label is None else [label] * len(codes)))


def shown(page: Visit, selector: str) -> np.ndarray:
    return page.pixels(selector)[..., 0]


def follows(page: Visit, model: diabolo.Autoencoder, label: str | None, *, atol: int = 0) -> None:
    """What lies under the pointer is decoded as that class."""
    tab = page.page
    middle = np.array(tab.evaluate("[...diabolo.main.mean]"))
    tab.keyboard.press("x")  # no points: the pointer is at a place
    hover(page, *page.spot(*(middle + 0.5)))
    hover(page, *page.spot(*(middle + 0.2)))
    expected = grey(model, tab.evaluate("[...diabolo.hovered.code]"), label)[0]
    np.testing.assert_allclose(shown(page, ".lens canvas").astype(int), expected, atol=atol)
    tab.keyboard.press("x")


# --- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_everything_is_decoded_as_the_class_that_is_chosen(
    told: diabolo.Autoencoder, address: str, visit: Open
) -> None:
    page = visit(address)
    tab = page.ready()
    assert tab.locator(f"{CLASS} option").all_inner_texts() == [str(name) for name in range(10)]
    assert tab.locator(CLASS).input_value() == "=0"
    follows(page, told, "0")
    before = page.pixels(".ground")
    tab.select_option(CLASS, "=7")
    page.still()
    assert not np.array_equal(page.pixels(".ground"), before), "the map's ground is of that class"
    follows(page, told, "7")

    tab.evaluate("(code => diabolo.setPin({view: diabolo.main, start: code, code: code.slice(), id: 4, own: null,"
                 "title: '', strengths: new Map()}))(diabolo.codeOf(diabolo.main, 4))")  # fmt: skip
    wanted = "[...(diabolo.picture ?? [])].join() === '{}'"
    until(tab, wanted.format(joined(grey(told, tab.evaluate("[...diabolo.pin.start]"), "7"))))
    until(tab, "document.querySelector('#panel-pin figcaption').innerText === 'Decoded as 7'")  # it is a 4
    slider = tab.locator("#panel-pin input[type=range] >> nth=0")
    slider.focus()
    tab.keyboard.press("ArrowRight")
    until(tab, wanted.format(joined(grey(told, tab.evaluate("[...diabolo.pin.code]"), "7"))))
    tab.select_option(CLASS, "=4")
    until(tab, wanted.format(joined(grey(told, tab.evaluate("[...diabolo.pin.code]"), "4"))))
    tab.click("#panel-pin button:text('Reset all')")
    until(tab, "document.querySelector('#panel-pin figcaption').innerText === 'Reconstruction'")
    assert violations(tab) == []


def joined(pictures: np.ndarray) -> str:
    return ",".join(map(str, pictures.ravel()))


def test_samples_paths_and_links_are_of_that_class(told: diabolo.Autoencoder, address: str, visit: Open) -> None:
    page = visit(address)
    tab = page.ready()
    tab.select_option(CLASS, "=3")
    tab.click("#tab-samples")
    until(tab, "diabolo.samples !== null")
    for name in ("3", "8"):
        tab.select_option(CLASS, f"={name}")
        codes = told.sample_codes(16, seed=0, y=name)
        np.testing.assert_allclose(np.reshape(tab.evaluate("[...diabolo.samples.codes]"), (16, 2)), codes, rtol=1e-6)
        first = joined(grey(told, codes[:1], name))
        canvas = "document.querySelector('#panel-samples .grid canvas')"
        read = f"[...({canvas}?.getContext('2d').getImageData(0, 0, 8, 8).data ?? [])].filter((_, k) => k % 4 === 0)"
        until(tab, f"{read}.join() === '{first}'")
    tab.evaluate("diabolo.walk(diabolo.main, diabolo.codeOf(diabolo.main, 3), diabolo.codeOf(diabolo.main, 60))")
    a, b = (np.array(tab.evaluate(f"[...diabolo.path.{end}]")) for end in "ab")
    until(tab, "document.querySelector('.loop').width === 8")
    strip = shown(page, ".strip")
    for k in range(12):
        row, column = divmod(k, 6)
        found = strip[9 * row : 9 * row + 8, 9 * column : 9 * column + 8].astype(int)
        np.testing.assert_allclose(found, grey(told, a + k / 11 * (b - a), "8")[0], atol=2)
    settle(tab, 500)
    assert "class=8" in tab.url
    tab.reload()
    until(tab, "document.documentElement.dataset.state === 'complete'")
    assert tab.locator(CLASS).input_value() == "=8"
    follows(page, told, "8")


@pytest.mark.slow
def test_a_class_may_be_unknown(partly: diabolo.Autoencoder, visit: Open) -> None:
    url, process = serving(partly.folder or Path())
    page = visit(url)
    tab = page.ready()
    assert tab.locator(f"{CLASS} option").all_inner_texts() == ["unknown", *map(str, range(10))]
    follows(page, partly, None)
    tab.select_option(CLASS, "=2")
    page.still()
    follows(page, partly, "2")
    tab.select_option(CLASS, "")
    page.still()
    follows(page, partly, None)
    page.context.close()
    ended(process)


def test_a_model_without_classes_has_none_to_choose(site: Any, visit: Open) -> None:
    tab = visit(site.url).ready()
    assert tab.locator(CLASS).count() == 0
    assert tab.locator(".tokens").count() == 0 or not tab.locator(".tokens").is_visible()


@pytest.mark.slow
def test_classes_in_a_page_without_a_server(told: diabolo.Autoencoder, outside: Path, visit: Open) -> None:
    pytest.importorskip("onnxruntime")
    from diabolo.cli import main

    assert main(["explore", str(told.folder), "--export", str(outside / "told.html")]) == 0
    page = visit((outside / "told.html").as_uri())
    tab = page.ready()
    for name in ("0", "5"):
        tab.select_option(CLASS, f"={name}")
        page.still()
        follows(page, told, name, atol=1)
    tab.keyboard.press("s")
    until(tab, "diabolo.samples !== null")
    codes = np.reshape(tab.evaluate("[...diabolo.samples.codes]"), (16, 2))
    np.testing.assert_allclose(codes, told.sample_codes(16, seed=0, y="5"), rtol=1e-6)


# --- tokens -----------------------------------------------------------------------------------------------------------


def pinned(page: Visit, run: Run, example: int) -> None:
    page.page.evaluate(
        "id => { const code = diabolo.codeOf(diabolo.main, id); diabolo.setPin({view: diabolo.main, start: code,"
        "code: code.slice(), id, own: null, title: '', strengths: new Map()}); }",
        example,
    )
    until(page.page, "!document.querySelector('.tokens').hidden")


def entries(page: Visit) -> list[int]:
    return [int(text) for text in page.page.locator(".entries button").all_inner_texts()]


def test_tokens_lie_at_their_places_and_can_be_changed(spatial: Run, visit: Open) -> None:
    url, process = serving(spatial.folder)
    page = visit(url)
    tab = page.ready()
    model, tokens = spatial.model, spatial.model.tokens(spatial.x[5:6])
    _, height, width = model.code_shape
    pinned(page, spatial, 5)
    assert entries(page) == tokens.ravel().tolist()
    boxes = [box.bounding_box() or {} for box in tab.locator(".entries button").all()]
    assert len({round(box["x"]) for box in boxes}) == width
    assert len({round(box["y"]) for box in boxes}) == height
    until(tab, f"[...(diabolo.picture ?? [])].join() === '{joined(model.pixels(model.decode(tokens=tokens)))}'")

    tab.click(".entries button >> nth=1")
    other = int(tokens[0, 1, 0] + 5) % 16
    tab.fill(".token input[type=number]", str(other))
    tab.keyboard.press("Enter")
    changed = tokens.copy()
    changed[0, 1, 0] = other
    until(tab, f"[...diabolo.picture].join() === '{joined(model.pixels(model.decode(tokens=changed)))}'")
    assert entries(page) == changed.ravel().tolist()
    np.testing.assert_allclose(tab.evaluate("[...diabolo.pin.code]"), model.codes_of(changed)[0], rtol=1e-6)
    assert tab.inner_text("#panel-pin figcaption") == "Changed, decoded"
    assert violations(tab) == []
    tab.fill(".token input[type=number]", "999")
    tab.keyboard.press("Enter")
    until(tab, "document.querySelectorAll('.entries button')[1].innerText === '15'")

    tab.click("text=Reset tokens")
    until(tab, f"[...diabolo.picture].join() === '{joined(model.pixels(model.decode(tokens=tokens)))}'")
    assert tab.evaluate("[...diabolo.pin.code].join() === [...diabolo.pin.start].join()")
    tab.locator("#panel-pin .slider input").first.focus()
    tab.keyboard.press("ArrowRight")
    until(tab, "document.querySelector('.tokens').classList.contains('away')")
    assert "tokens before that" in tab.inner_text(".tokens .facts >> nth=-1")
    tab.click("#panel-pin button:text('Reset all')")
    until(tab, "!document.querySelector('.tokens').classList.contains('away')")

    tab.evaluate("(code => diabolo.setPin({view: diabolo.main, start: code, code: code.slice(), id: null, own: null,"
                 "title: '', strengths: new Map()}))(diabolo.main.mean.slice())")  # fmt: skip
    until(tab, "document.querySelector('#panel-pin h2').innerText === 'A spot on the map'")
    settle(tab, 200)
    assert not tab.is_visible(".tokens"), "a spot is no example"
    page.context.close()
    ended(process)


@pytest.mark.slow
def test_levels_are_further_rows(residual: Run, visit: Open) -> None:
    url, process = serving(residual.folder)
    page = visit(url)
    tab = page.ready()
    model, tokens = residual.model, residual.model.tokens(residual.x[7:8])
    pinned(page, residual, 7)
    assert entries(page) == tokens[0].T.ravel().tolist()
    tab.click("[aria-label='Level 2'] button >> nth=3")
    assert "Position 4, level 2" in tab.inner_text(".token")
    other = int(tokens[0, 3, 1] + 6) % 12
    tab.fill(".token input[type=number]", str(other))
    tab.keyboard.press("Enter")
    changed = tokens.copy()
    changed[0, 3, 1] = other
    until(tab, f"[...diabolo.picture].join() === '{joined(model.pixels(model.decode(tokens=changed)))}'")
    page.context.close()
    ended(process)


@pytest.mark.slow
def test_tokens_without_a_server(spatial: Run, outside: Path, visit: Open) -> None:
    pytest.importorskip("onnxruntime")
    from diabolo.cli import main

    assert main(["explore", str(spatial.folder), "--export", str(outside / "spatial.html")]) == 0
    page = visit((outside / "spatial.html").as_uri())
    tab = page.ready()
    tab.keyboard.press("?")
    assert "tokens are shown and changed where diabolo serves the page" in tab.inner_text("dialog")
    tab.keyboard.press("Escape")
    tab.keyboard.press("x")
    for far in (0.3, 0.1):
        left, top = page.spot(far, far)
        hover(page, left, top)
    code = np.array(tab.evaluate("[...diabolo.hovered.code]"), np.float32)
    expected = spatial.model.pixels(spatial.model.decode(code[None]))[0]
    np.testing.assert_allclose(shown(page, ".lens canvas").astype(int), expected, atol=1)
    tab.mouse.click(left, top)
    until(tab, "diabolo.pin !== null")
    settle(tab, 200)
    assert not tab.is_visible(".tokens")
