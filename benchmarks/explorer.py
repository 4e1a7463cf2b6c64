"""How quick the explorer is, in a real Chromium that draws without a GPU, driven by a real pointer.

    python benchmarks/explorer.py [RUN]

Four things are measured, each on a page opened for it:

- pointer: from a movement of the pointer (the event's own time) until its decoded picture is on the page's canvas
  ("drawn"), and until the browser's next frame ("shown"): 300 movements, 30 ms apart, of `diabolo explore RUN`;
- pointer, exported: the same for `diabolo explore RUN --export page.html`, opened from the disk;
- first paint: from the page's request until the map of all examples is drawn, with codes that the run has kept: the
  median of 5;
- map: the times between frames while a map of 100,000 examples is dragged and zoomed.

RUN is a run of a 2-D convolutional VAE on MNIST (`diabolo train mnist --recipe mnist-vae-conv`); without one, its
network is trained for an epoch on 2,000 examples, which is just as quick to decode. MNIST is looked for as always.
Chromium is the one that is installed, or $DIABOLO_CHROMIUM.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

import diabolo
from diabolo.datasets import open_dataset

MOVES = 300
PAUSE = 30  # milliseconds between two movements
PAINTS = 5
MANY = 100_000
SIZE = {"width": 1280, "height": 800}
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
LISTEN = """() => {
  window.drawn = []; window.shown = [];
  document.addEventListener('diabolo:picture', ({detail}) => {
    drawn.push(performance.now() - detail.since);
    requestAnimationFrame(() => shown.push(performance.now() - detail.since));
  });
}"""
FRAMES = """() => {
  window.frames_ = []; let last = performance.now();
  (function tick(now) { frames_.push(now - last); last = now; requestAnimationFrame(tick); })(last);
}"""


def line(what: str, values: list[float], unit: str = "ms") -> str:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"{what:<34} median {statistics.median(ordered):6.1f}   95% {high:6.1f}   max {ordered[-1]:6.1f} {unit}"


@contextmanager
def explored(run: Path, *words: str) -> Iterator[str]:
    """The address of an explorer of a run."""
    command = [sys.executable, "-m", "diabolo", "explore", str(run), *words, "--no-browser"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=None, text=True, env=environment)  # noqa: S603
    assert process.stdout is not None
    try:
        for text in process.stdout:
            found = re.search(r"http://\S+", text)
            if found:
                yield found.group(0)
                return
        raise SystemExit("diabolo explore did not start.")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def until(page: Page, expression: str) -> None:
    """Waits until something is true on the page."""
    while not page.evaluate(expression):
        page.wait_for_timeout(20)


def opened(browser: Browser, url: str) -> Page:
    """A page on which everything is drawn and decoded."""
    page = browser.new_page(viewport=SIZE)
    page.goto(url)
    until(page, "document.documentElement.dataset.state === 'complete'")
    until(page, "diabolo.views.every((view) => view.still)")
    page.wait_for_timeout(500)
    return page


def pointer(browser: Browser, url: str, what: str) -> None:
    """From a movement to its picture."""
    page = opened(browser, url)
    page.evaluate(LISTEN)
    for move in range(MOVES):
        page.mouse.move(150 + 2.3 * move, 250 + (move * 37) % 400)
        page.wait_for_timeout(PAUSE)
    until(page, "shown.length === drawn.length")
    print(line(f"{what}, drawn", page.evaluate("drawn")), f"  of {MOVES}")
    print(line(f"{what}, shown", page.evaluate("shown")))
    page.close()


def first_paint(browser: Browser, url: str) -> None:
    """From the request to the map."""
    times = []
    for _ in range(PAINTS):
        page = browser.new_page(viewport=SIZE)
        page.goto(url)
        until(page, "performance.getEntriesByName('diabolo:map').length === 1")
        times.append(page.evaluate("performance.getEntriesByName('diabolo:map')[0].startTime"))
        count = page.evaluate("diabolo.main.run.state.count")
        page.close()
    print(line(f"first paint of {count:,} examples", times))


def frames(browser: Browser, url: str) -> None:
    """While a large map moves."""
    page = opened(browser, url)
    count = page.evaluate("diabolo.main.run.state.count")
    page.evaluate(FRAMES)
    page.mouse.move(400, 400)
    page.mouse.down()
    page.evaluate("frames_.length = 0")
    for move in range(150):
        page.mouse.move(400 + 3 * (move % 75), 400 + move % 60)
        page.wait_for_timeout(8)
    print(line(f"{count:,} examples, dragged", page.evaluate("frames_.slice(1)"), "ms a frame"))
    page.mouse.up()
    page.wait_for_timeout(1500)
    page.evaluate("frames_.length = 0")
    for move in range(100):
        page.mouse.wheel(0, -40 if move < 50 else 40)
        page.wait_for_timeout(12)
    print(line(f"{count:,} examples, zoomed", page.evaluate("frames_.slice(1)"), "ms a frame"))
    page.close()


def small_run(folder: Path) -> Path:
    """The network of mnist-vae-conv, hardly trained."""
    data = open_dataset("mnist")
    np.save(folder / "some.npy", np.asarray(data.x[:2000]))
    diabolo.train(str(folder / "some.npy"), recipe="mnist-vae-conv", epochs=1, out=folder / "run")
    return folder / "run"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a run of a 2-D convolutional VAE on MNIST")
    given = parser.parse_args()
    chromium = os.environ.get("DIABOLO_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise SystemExit("There is no Chromium here: install it, or set DIABOLO_CHROMIUM to its path.")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        run = given.run or small_run(folder)
        words = [sys.executable, "-m", "diabolo", "explore", str(run), "mnist", "--export", str(folder / "page.html")]
        subprocess.run(words, check=True)  # noqa: S603
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        print(f"Chromium {browser.version}, {os.cpu_count()} cores, drawn without a GPU, 1280 x 800 pixels\n")
        with explored(run, "mnist") as url:
            pointer(browser, url, "pointer")
            first_paint(browser, url)
        pointer(browser, (folder / "page.html").as_uri(), "pointer, exported")
        digits = np.asarray(open_dataset("mnist").x)
        np.save(folder / "many.npy", digits[np.arange(MANY) % len(digits)])
        diabolo.train(digits[:2000], model="vae", latent_dim=2, widths=(256,), epochs=3).save(folder / "mlp")
        with explored(folder / "mlp", str(folder / "many.npy")) as url:
            frames(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
