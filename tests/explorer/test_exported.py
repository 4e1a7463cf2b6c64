"""The page without a server: one file, or a folder, opened from a disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsing import Run, Visit, hover, png, until

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[onnx]'")

pytestmark = pytest.mark.usefixtures("environment")

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diabolo.cli import main

    folder = tmp_path_factory.mktemp("exported")
    assert main(["explore", str(run.folder), "--export", str(folder / "page.html")]) == 0
    assert main(["explore", str(run.folder), "--export", str(folder / "site")]) == 0
    return folder


@pytest.fixture(params=["page.html", "site/index.html"])
def address(exported: Path, request: pytest.FixtureRequest) -> str:
    return (exported / request.param).as_uri()


def test_the_networks_run_in_the_page(run: Run, address: str, visit: Open) -> None:
    one = visit(address)
    page = one.ready()
    assert "works by itself, without diabolo" in page.inner_text(".notes")
    page.keyboard.press("x")
    middle, spread = run.codes.mean(0), run.codes.std(0)
    for step in (-1.0, 0.4):
        hover(one, *one.spot(*(middle + step * spread)))
        code = np.array(page.evaluate("[...diabolo.hovered.code]"), np.float32)
        expected = run.model.pixels(run.model.decode(code[None]))[0].astype(int)
        assert np.abs(one.pixels(".lens canvas")[..., 0].astype(int) - expected).max() <= 1
    folder = address.rpartition("/")[0]
    assert all(url.startswith((folder, "data:", "blob:")) for url in one.asked), "nothing from elsewhere"


def test_what_one_does_with_a_server_and_what_not(run: Run, address: str, visit: Open) -> None:
    one = visit(address)
    page = one.ready()
    example = int(np.square(run.codes - run.codes.mean(0)).sum(1).argmin())  # in the middle, where nothing lies over it
    page.mouse.click(*one.spot(*run.codes[example]))
    until(page, "document.querySelector('.neighbours').children.length === 12")
    pinned = page.evaluate("diabolo.pin.id")
    until(page, "document.querySelectorAll('#panel-pin .pair canvas')[1].width === 8")
    original = page.evaluate(
        "[...document.querySelectorAll('#panel-pin .pair canvas')[1].getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    np.testing.assert_array_equal(np.array(original).reshape(8, 8, 4)[..., 0], run.x[pinned])

    page.set_input_files("input[type=file]", {"name": "mine.png", "mimeType": "image/png", "buffer": png(run.x[3])})
    page.wait_for_selector("#panel-pin h2:text('mine.png')")
    np.testing.assert_allclose(page.evaluate("[...diabolo.pin.start]"), run.codes[3], atol=0.02)
    assert "Anomaly score" not in page.inner_text("#panel-pin .facts")

    page.keyboard.press("s")
    until(page, "diabolo.samples?.seed === 0")
    codes = np.array(page.evaluate("[...diabolo.samples.codes]")).reshape(-1, 2)
    np.testing.assert_allclose(codes, run.model.sample_codes(16, seed=0), rtol=1e-6)

    page.click("#tab-concepts")
    page.select_option("#panel-concepts .choice:has-text('From') select", "class 1")
    page.select_option("#panel-concepts .choice:has-text('to') >> nth=-1 >> select", "class 0")
    page.fill("[aria-label='Name of the concept']", "rounder")
    page.click("#panel-concepts button.first")
    page.wait_for_selector("article h3:text('rounder')")
    from diabolo.latent.concepts import ConceptVector

    expected = ConceptVector.fit(run.codes[run.y == 0], run.codes[run.y == 1])
    found = page.evaluate("diabolo.concepts[0]")
    np.testing.assert_allclose(found["direction"], expected.direction, atol=1e-5)
    assert found["unit"] == pytest.approx(expected.unit, rel=1e-4)
    assert found["gap"] == pytest.approx(expected.gap, rel=1e-4)
    assert found["auc"] == pytest.approx(expected.auc, abs=0.05)
    assert "Kept while this page is open" in page.inner_text("article")
    page.click("#tab-health")
    page.wait_for_selector("#panel-health .finding")


def test_a_file_of_the_folder_is_missing(run: Run, exported: Path, visit: Open) -> None:
    file = exported / "site" / "data" / "run0" / "codes.npy.js"
    kept = file.read_bytes()
    file.unlink()
    try:
        one = visit((exported / "site" / "index.html").as_uri())
        one.page.wait_for_selector(".note.bad")
        assert "keep the page and its folder together" in one.page.inner_text(".note.bad")
        one.wrong.clear()
    finally:
        file.write_bytes(kept)


def test_the_same_run_gives_the_same_file(run: Run, exported: Path, tmp_path: Path) -> None:
    from diabolo.cli import main

    assert main(["explore", str(run.folder), "--export", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_bytes() == (exported / "page.html").read_bytes()
    text = (tmp_path / "again.html").read_text("utf-8")
    assert str(run.folder) not in text, "where it lay is nobody else's business"
