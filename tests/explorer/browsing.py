"""A real browser before a real server: what the tests of the explorer's page are made with."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, Page

import diabolo

TOKEN = "a-token-of-the-tests"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--force-color-profile=srgb"),
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browser_path() -> str:
    """Where Chromium is; $DIABOLO_CHROMIUM wins."""
    named = os.environ.get("DIABOLO_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("There is no Chromium here: install the package chromium, or set DIABOLO_CHROMIUM to its path.")
    return found


class Run(NamedTuple):
    """A run on a disk, its model, and the examples that the page shows, in their order."""

    folder: Path
    model: diabolo.Autoencoder
    x: np.ndarray
    y: np.ndarray
    codes: np.ndarray


class Site(NamedTuple):
    """A server that explores."""

    url: str
    run: Run
    process: subprocess.Popen[str]


def trained(data: Path, folder: Path, **options: Any) -> Run:
    """A model of the digits."""
    diabolo.train(str(data), out=folder, **options)
    held = np.load(data)
    model = diabolo.load(folder)
    return Run(folder, model, held["x"], held["y"], model.encode(held["x"]))


def serving(folder: Path, *words: object) -> tuple[str, subprocess.Popen[str]]:
    """Starts `diabolo explore`, and waits until it says where."""
    line = [sys.executable, "-m", "diabolo", "explore", str(folder), *map(str, words), "--no-browser", "--token", TOKEN]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert process.stdout is not None
    said = ""
    for text in process.stdout:
        said += text
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", text)
        if found:
            return found.group(0), process
    process.communicate()
    raise AssertionError(f"diabolo explore ended: {said}")


def ended(process: subprocess.Popen[str]) -> None:
    """Ends a server, which has nothing to complain of."""
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[0]
    assert "Traceback" not in said, said


def until(page: Page, expression: str, seconds: float = 300) -> None:
    """Waits until an expression is true. (Playwright's own way evaluates text in the page: its policy forbids that.)

    What asks for an element that is not there yet is not true yet.
    """
    end, why = time.monotonic() + seconds, ""
    while True:
        try:
            if page.evaluate(expression):
                return
        except Error as problem:
            why = f" ({problem.message.splitlines()[0]})"
        if time.monotonic() > end:
            notes = page.evaluate("[...document.querySelectorAll('.note')].map(note => note.innerText)")
            raise AssertionError(f"{expression} did not come true{why}; the page says {notes}")
        page.wait_for_timeout(30)


def becomes(holds: Callable[[], bool], seconds: float = 300) -> bool:
    """Whether something comes true within that time: what a page draws after a server's answer has no other sign."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.03)
    return holds()


def settle(page: Page, milliseconds: int) -> None:
    """Waits for the timers of the page: one that is set now ends after all shorter ones that were set before it.

    However busy the machine is: a timer of this process would say nothing about those of the page.
    """
    page.evaluate("ms => new Promise(done => setTimeout(done, ms))", milliseconds)


class Visit:
    """A page, and what went wrong on it."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        size = {"width": 1280, "height": 800}
        self.context = browser.new_context(**{"viewport": size, "accept_downloads": True, **options})
        self.context.set_default_timeout(300_000)
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def ready(self) -> Page:
        """Waits until everything is drawn and decoded."""
        until(self.page, "document.documentElement.dataset.state === 'complete'")
        self.still()
        return self.page

    def still(self) -> None:
        until(self.page, "diabolo.views.every((view) => view.still)")

    def spot(self, x: float, y: float, view: int = 0) -> tuple[float, float]:
        """Where a place of the plane is on the page."""
        left, top = self.page.evaluate(
            "([x, y, k]) => { const view = diabolo.views[k], box = view.element.getBoundingClientRect();"
            "const [left, top] = view.camera.toScreen(x, y); return [left + box.left, top + box.top]; }",
            [float(x), float(y), view],
        )
        return left, top

    def pixels(self, selector: str) -> np.ndarray:
        """What a canvas holds, (h, w, 4), uint8."""
        width, height, data = self.page.evaluate(
            "(selector) => { const c = document.querySelector(selector);"
            "return [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]; }",
            selector,
        )
        return np.array(data, np.uint8).reshape(height, width, 4)

    def saved(self, act: Callable[[], Any]) -> tuple[str, bytes]:
        """What a click saves: its name and its bytes."""
        with self.page.expect_download() as download:
            act()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def hover(visit: Visit, left: float, top: float) -> None:
    """Moves the pointer and waits until what lies there is decoded."""
    listen = "document.addEventListener('diabolo:picture', done, {once: true})"
    visit.page.evaluate(f"void (window.answered = new Promise(done => {listen}))")
    visit.page.mouse.move(left, top)
    visit.page.evaluate("window.answered.then(() => 0)")


def png(values: np.ndarray) -> bytes:
    """An image file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()
