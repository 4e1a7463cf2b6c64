"""Takes the pictures of the explorer that the README and docs/explorer.md show.

    python docs/screenshots.py MNIST_URL SMILES_URL COMPARE_URL

Each is the address that `diabolo explore RUN [SOURCE]` prints; the servers run meanwhile.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run")


def opened(browser: Browser, url: str, theme: str = "light", width: int = 1360, height: int = 850) -> Page:
    """A page on which everything is drawn and decoded."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    settle(page)
    return page


def settle(page: Page) -> None:
    """Waits until nothing moves any more."""
    ready = "document.documentElement.dataset.state === 'complete' && diabolo.views.every((view) => view.still)"
    page.wait_for_timeout(300)
    while not page.evaluate(ready):
        page.wait_for_timeout(50)
    page.wait_for_timeout(700)


def keep(page: Page, name: str) -> None:
    """Writes what is seen."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.save(IMAGES / f"explorer-{name}.webp", quality=88, method=6)


def mnist(browser: Browser, url: str) -> None:
    """The first view, zoomed in, a path in the dark, and a phone."""
    page = opened(browser, url)
    page.evaluate("document.querySelector('.hint').remove()")
    page.mouse.click(640, 380)
    settle(page)
    page.mouse.move(655, 470)
    settle(page)
    keep(page, "first")
    page.keyboard.press("Escape")
    page.mouse.move(430, 600)
    for _ in range(5):
        page.mouse.wheel(0, -150)
    settle(page)
    keep(page, "zoomed")

    page = opened(browser, url, "dark")
    page.keyboard.press("p")
    page.mouse.move(230, 480)
    page.mouse.down()
    page.mouse.move(620, 690, steps=8)
    page.mouse.up()
    page.wait_for_timeout(1500)
    page.mouse.move(800, 820)
    settle(page)
    page.evaluate("document.querySelector('.hint')?.remove()")
    keep(page, "dark")

    page = opened(browser, url, "dark", 390, 844)
    keep(page, "phone")


def smiles(browser: Browser, url: str) -> None:
    """A face, and more of a smile."""
    page = opened(browser, url)
    page.evaluate("document.querySelector('.hint').remove()")
    page.mouse.click(687, 412)
    settle(page)
    page.click("#tab-concepts")
    if not page.locator("article").count():
        page.click("#panel-concepts button.first")
    slider = page.locator(".concepts input").first
    slider.wait_for()
    slider.focus()
    for _ in range(33):
        page.keyboard.press("ArrowRight")
    settle(page)
    keep(page, "concept")


def compared(browser: Browser, url: str) -> None:
    """Two runs, and one selection."""
    page = opened(browser, url)
    page.evaluate("document.querySelector('.hint').remove()")
    page.keyboard.press("l")
    page.mouse.move(300, 560)
    page.mouse.down()
    for spot in ((240, 600), (260, 660), (330, 650), (360, 600), (300, 560)):
        page.mouse.move(*spot, steps=5)
    page.mouse.up()
    page.keyboard.press("v")
    page.mouse.move(300, 610)
    settle(page)
    keep(page, "compared")


def main() -> None:
    """Takes them all."""
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    path = os.environ.get("DIABOLO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for take, url in zip((mnist, smiles, compared), sys.argv[1:], strict=True):
            take(browser, url)


if __name__ == "__main__":
    main()
