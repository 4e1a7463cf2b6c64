"""Codes of more than two numbers: planes, what they do not show; and two runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from browsing import Run, Site, Visit, becomes, ended, serving, settle, until
from sklearn.decomposition import PCA

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def eight(wide: Run) -> Iterator[Site]:
    url, process = serving(wide.folder)
    yield Site(url, wide, process)
    ended(process)


@pytest.fixture(scope="module")
def both(run: Run, wide: Run) -> Iterator[Site]:
    url, process = serving(run.folder, "--with", wide.folder)
    yield Site(url, run, process)
    ended(process)


def test_it_opens_on_the_principal_components(eight: Site, visit: Open) -> None:
    page = visit(eight.url).ready()
    places = np.array(page.evaluate("[...diabolo.main.places]")).reshape(-1, 2)
    known = PCA(2).fit(eight.run.codes)
    expected = known.transform(eight.run.codes)
    for axis in (0, 1):
        assert abs(np.corrcoef(places[:, axis], expected[:, axis])[0, 1]) > 0.999
    np.testing.assert_allclose(places.std(0), expected.std(0), rtol=1e-2)
    assert page.evaluate("diabolo.main.plane.shares[0] + diabolo.main.plane.shares[1]") == pytest.approx(
        known.explained_variance_ratio_.sum(), rel=1e-2
    )


def test_a_click_keeps_the_rest_of_the_selected_code(eight: Site, visit: Open) -> None:
    one = visit(eight.url)
    page = one.ready()
    codes = eight.run.codes
    place = page.evaluate("[diabolo.main.places[200], diabolo.main.places[201]]")
    page.mouse.click(*one.spot(*place))
    until(page, "diabolo.pin?.id !== null")
    pinned = page.evaluate("diabolo.pin.id")
    np.testing.assert_allclose(page.evaluate("[...diabolo.main.base]"), codes[pinned], atol=1e-6)
    page.keyboard.press("x")
    page.mouse.move(300, 200)
    until(page, "diabolo.hovered?.spot.id === null")
    code = np.array(page.evaluate("[...diabolo.hovered.code]"))
    axes = np.array([page.evaluate("[...diabolo.main.plane.u]"), page.evaluate("[...diabolo.main.plane.v]")])
    difference = code - codes[pinned]
    np.testing.assert_allclose(difference, axes.T @ (axes @ difference), atol=1e-4)
    assert np.linalg.norm(difference) > 0.1


def test_any_two_numbers_can_be_the_plane(eight: Site, visit: Open) -> None:
    page = visit(eight.url).ready()
    page.select_option(".choice:has-text('Plane') select", "dims")
    page.select_option(".choice:has-text('across') select", "5")
    page.select_option(".choice:has-text('up') select", "2")
    places = np.array(page.evaluate("[...diabolo.main.places]")).reshape(-1, 2)
    np.testing.assert_allclose(places, eight.run.codes[:, [5, 2]], atol=1e-6)
    settle(page, 500)
    page.reload()
    until(page, "document.documentElement.dataset.state === 'complete'")
    assert page.evaluate("diabolo.main.plane.key") == "5,2"


def test_a_model_without_a_prior_says_how_to_get_one(eight: Site, visit: Open) -> None:
    page = visit(eight.url).ready()
    page.keyboard.press("s")
    assert "fit-prior" in page.inner_text("#panel-samples")


def test_two_runs_side_by_side(both: Site, wide: Run, visit: Open) -> None:
    one = visit(both.url)
    page = one.ready()
    assert page.locator(".map").count() == 2
    assert page.inner_text("h1") == "digits-vae and digits-ae"
    middle = both.run.codes[both.run.y == 0].mean(0)
    corners = [middle + np.array(step) * 0.5 for step in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
    page.keyboard.press("l")
    page.mouse.move(*one.spot(*corners[0]))
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*one.spot(*corner), steps=4)
    page.mouse.up()
    chosen = page.evaluate("diabolo.selection.length")
    assert chosen > 20
    assert page.inner_text(".selection strong") == f"{chosen} examples"
    page.keyboard.press("v")
    example = int(np.flatnonzero(both.run.y == 4)[0])
    page.keyboard.press("Escape")
    page.mouse.click(*one.spot(*both.run.codes[example]))
    until(page, "diabolo.pin?.id !== null")
    pinned = page.evaluate("diabolo.pin.id")
    until(page, "document.querySelectorAll('#panel-pin .pair figure:not(.absent)').length === 3")
    third = (
        "[...document.querySelectorAll('#panel-pin .pair canvas')[2].getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    expected = wide.model.pixels(wide.model.reconstruct(wide.x[pinned : pinned + 1]))[0].astype(int)
    assert becomes(lambda: np.abs(np.array(page.evaluate(third)).reshape(8, 8, 4)[..., 0] - expected).max() <= 1)
    assert page.evaluate("diabolo.views[1].marks.length") == 1, "its twin is marked on the other map"
    page.click("#tab-health")
    until(page, "document.querySelectorAll('.health').length === 2")
