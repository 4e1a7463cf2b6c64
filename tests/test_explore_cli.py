"""`diabolo explore`: what it prints, what it opens, how it ends, and what it says of mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.explorer import Atlas

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer]'")

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment")
PATIENCE = 300  # seconds: long enough for a busy machine, and a hang still ends the test
SMALL = {"epochs": 1, "widths": (8,), "latent_dim": 2}


@pytest.fixture(scope="module")
def run(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    np.save(folder / "spots.npy", pictures)
    diabolo.train(str(folder / "spots.npy"), layout="HW", model="vae", out=folder / "spots", **SMALL)
    return folder / "spots"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Nothing is served: a server is interrupted as soon as it has started. Holds the addresses that were opened."""
    opened: list[str] = []

    def interrupted(self: Any, app: Any, started: Callable[..., None]) -> None:
        started(self.serving)
        raise KeyboardInterrupt

    monkeypatch.setattr("diabolo.explorer._server.Server.run", interrupted)
    monkeypatch.setattr("webbrowser.open", opened.append)
    at_once = SimpleNamespace(Thread=lambda target, args, daemon: SimpleNamespace(start=lambda: target(*args)))
    monkeypatch.setattr("diabolo.cli.explore.threading", at_once)
    monkeypatch.setenv("DISPLAY", ":0")
    return opened


def test_a_process_from_start_to_end(run: Path) -> None:
    words = [sys.executable, "-m", "diabolo", "explore", str(run), "--points", "40", "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(3)]
    try:
        assert said[0] == "spots with 40 of the 90 examples of spots, chosen at random (--points N shows more)\n", said
        assert re.fullmatch(r"  http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}\n", said[1])
        assert said[2] == "Ctrl-C ends it.\n"
        with urllib.request.urlopen(said[1].strip(), timeout=PATIENCE) as answer:
            assert answer.headers["content-type"].startswith("text/html")
        with urllib.request.urlopen(said[1].strip().replace("/?", "/api/explore/state?"), timeout=PATIENCE) as answer:
            assert (told := json.load(answer))["count"] == 40
            assert told["run"] == str(run)
        for _ in range(3):
            hang_up(said[1].strip())
        with urllib.request.urlopen(said[1].strip(), timeout=PATIENCE) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=PATIENCE)[0]
    assert (process.returncode, rest.strip()) == (0, "")


def hang_up(url: str) -> None:
    """A client that asks for megabytes, reads their beginning, says that it is done, and is gone."""
    address = urllib.parse.urlsplit(url)
    ask = f"POST /api/sample?n=10000&{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 0\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), PATIENCE) as client:
        client.sendall(ask.encode())
        client.recv(100)
        client.shutdown(socket.SHUT_WR)  # from here on the server has nobody to wait for but itself
        time.sleep(0.05)


def test_the_browser_opens_unless_it_should_not(command: Command, run: Path, served: list[str]) -> None:
    said = command("explore", run)
    assert said.status == 0
    assert said.out.startswith("spots with 90 examples of spots\n  http://127.0.0.1:")
    (url,) = served
    assert f"  {url}\n" in said.out
    assert command("explore", run, "--no-browser").status == 0
    assert len(served) == 1


def test_a_browser_that_does_not_open_is_no_matter(
    command: Command, run: Path, served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(url: str) -> None:
        raise OSError("no browser")

    monkeypatch.setattr("webbrowser.open", broken)
    assert command("explore", run).status == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a browser has a window")
def test_no_browser_takes_the_terminal_over(
    command: Command, run: Path, served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    assert command("explore", run).status == 0
    assert served == []


def test_another_source_and_a_second_run(
    command: Command, run: Path, served: list[str], pictures: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "some.npy", pictures[:30])
    said = command(
        "explore", run, tmp_path / "some.npy", "--no-browser", "--token", "a-token-of-mine", "--layout", "HW"
    )
    assert said.out.splitlines()[0] == "spots with 30 examples of some"
    assert said.out.splitlines()[1].endswith("/?token=a-token-of-mine")
    second = Path(shutil.copytree(run, tmp_path / "again"))
    said = command("explore", run, "--with", second, "--no-browser")
    assert said.out.startswith("spots and again with 90 examples of spots\n")


def test_the_page_as_files(command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Atlas, Path, Atlas | None]] = []

    def export_page(atlas: Atlas, path: Path, *, other: Atlas | None = None) -> list[Path]:
        asked.append((atlas, path, other))
        return [path, path / "data"]

    monkeypatch.setitem(sys.modules, "diabolo.explorer._static_page", SimpleNamespace(export_page=export_page))
    out = tmp_path / "page"
    said = command("explore", run, "--points", 20, "--export", out)
    assert (said.status, said.out) == (
        0,
        "spots with 20 of the 90 examples of spots, chosen at random (--points N shows more)"
        f" -> {out}, {out / 'data'}\n",
    )
    assert command("explore", run, "--with", run, "--export", out).status == 0
    assert [(len(atlas), path, other is None) for atlas, path, other in asked] == [(20, out, True), (90, out, False)]


def test_mistakes(command: Command, run: Path, tmp_path: Path, pictures: np.ndarray) -> None:
    np.save(tmp_path / "small.npy", pictures[:, :4])
    np.save(tmp_path / "other.npy", pictures[::-1])
    array = tmp_path / "array"
    diabolo.train(pictures, layout="HW", out=array, **SMALL)
    other = tmp_path / "other"
    diabolo.train(str(tmp_path / "other.npy"), layout="HW", out=other, **SMALL)
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        for words, status, says in (
            ((run, "--port", port), 2, f"Port {port} of 127.0.0.1 is in use"),
            ((run, "--port", -1), 2, "0 (a free one) to 65535"),
            ((run, "--token", "short"), 2, "at least 8 characters"),
            ((run, "--host", "203.0.113.7"), 2, "Nothing can listen at"),
            ((run, "--points", 0), 2, "points"),
            ((run, "--points", "many"), 2, "--points: invalid int value"),
            ((run, "--pionts", 3), 2, "Did you mean --points?"),
            ((run, tmp_path / "nowhere.npy"), 1, "nowhere.npy"),
            ((run, tmp_path / "small.npy"), 1, "expects examples of shape (8, 8)"),
            ((array,), 1, "trained on an array"),
            ((broken,), 1, "model.safetensors"),
            ((tmp_path / "no-run",), 1, "is not a folder"),
            ((run, "--with", other), 2, "Two runs are compared on the same examples"),
            ((run, "--with", tmp_path / "no-run"), 1, "is not a folder"),
        ):
            said = command("explore", *words, "--no-browser")
            assert (said.status, said.out) == (status, ""), said
            assert says in said.err
            assert said.err.strip().count("\n") == 0, said.err


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "websockets"])
def test_a_missing_package_is_said_before_anything_is_computed(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    def computed(*words: object, **options: object) -> None:
        raise AssertionError("it was computed first")

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "diabolo.explorer._http", raising=False)
    monkeypatch.delattr("diabolo.explorer._http", raising=False)
    monkeypatch.setattr("diabolo.cli.explore.open_atlases", computed)
    said = command("explore", run, "--no-browser")
    assert (said.status, said.out) == (1, "")
    assert f"{package!r}, which is not installed: pip install 'diabolo[explorer]'" in said.err


def test_the_port_is_given_back_after_a_mistake(command: Command, run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as some:
        port = some.getsockname()[1]
    assert command("explore", run, "nowhere.npy", "--port", port).status == 1
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_explore_from_python_blocks_until_it_is_stopped(run: Path) -> None:
    """In a process of its own, since it ends by an interrupt."""
    code = (
        "import os, signal, sys, threading, urllib.request\n"
        "import diabolo, torch\n"
        "from diabolo.explorer import serve_explorer\n"
        "torch.set_num_threads(2)\n"
        "def told(serving):\n"
        "    def ask():\n"
        "        with urllib.request.urlopen(serving.link('/api/explore/state')) as answer:\n"
        "            print(answer.status, torch.get_num_threads(), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Thread(target=ask).start()\n"
        f"serve_explorer(diabolo.load({str(run)!r}), points=10, started=told)\n"
        "print('ended', torch.get_num_threads())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout.split() == ["200", "1", "ended", "2"]
