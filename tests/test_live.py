"""The explorer's WebSocket: the same pictures as in Python, and no answer for who may not ask."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import diabolo

for package in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer]'")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

pytestmark = pytest.mark.usefixtures("environment")
TOKEN = "a-token-of-the-tests"
PATIENCE = 300  # seconds: long enough for a busy machine, and a hang still ends the test
WAITING: dict[str, Any] = {"open_timeout": PATIENCE, "ping_timeout": None, "close_timeout": PATIENCE}


@pytest.fixture(scope="module")
def served(
    pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory, environment: None
) -> Iterator[tuple[str, diabolo.Autoencoder]]:
    run = tmp_path_factory.mktemp("runs") / "spots"
    diabolo.train(pictures, layout="HW", model="vae", latent_dim=2, epochs=1, widths=(16,)).save(run)
    words = [sys.executable, "-m", "diabolo", "serve", str(run), "--token", TOKEN]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    found = re.search(r"http(://127\.0\.0\.1:\d+)$", process.stdout.readline().rstrip())
    assert found
    yield f"ws{found.group(1)}/api/live", diabolo.load(run)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[0]
    assert "Traceback" not in said, said


def test_the_same_pictures_as_in_python(served: tuple[str, diabolo.Autoencoder]) -> None:
    url, model = served
    codes = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    with connect(f"{url}?token={TOKEN}", **WAITING) as line:
        for code in codes:
            line.send(code.tobytes())
        for code in codes:
            found = np.frombuffer(line.recv(), np.uint8).reshape(8, 8)
            np.testing.assert_array_equal(found, model.pixels(model.decode(code[None]))[0])
        line.send(codes.tobytes())
        assert len(line.recv()) == 20 * 64


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b"", "codes of 2 numbers in float32, 8 bytes each"),
        (b"123", "8 bytes each"),
        ("[0, 1]", "8 bytes each"),
        (np.array([np.nan, 0], np.float32).tobytes(), "NaN"),
    ],
)
def test_what_is_no_code_is_told_and_the_line_stays(
    served: tuple[str, diabolo.Autoencoder], message: str | bytes, says: str
) -> None:
    with connect(f"{served[0]}?token={TOKEN}", **WAITING) as line:
        line.send(message)
        found = line.recv()
        assert isinstance(found, str)
        assert says in found
        line.send(np.zeros(2, np.float32).tobytes())
        assert len(line.recv()) == 64


@pytest.mark.parametrize(
    ("query", "headers", "path"),
    [
        ("", {}, ""),
        ("?token=another-token", {}, ""),
        (f"?token={TOKEN}", {"Origin": "http://elsewhere.example"}, ""),
        (f"?token={TOKEN}", {"Host": "elsewhere.example"}, ""),
        (f"?token={TOKEN}", {}, "r"),
    ],
)
def test_who_may_not_ask(
    served: tuple[str, diabolo.Autoencoder], query: str, headers: dict[str, str], path: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{served[0]}{path}{query}", additional_headers=headers, **WAITING).close()
    assert refused.value.response.status_code == 403 or "Host" in headers


def test_a_message_that_is_too_large_ends_the_line(served: tuple[str, diabolo.Autoencoder]) -> None:
    with connect(f"{served[0]}?token={TOKEN}", **WAITING) as line:
        with contextlib.suppress(ConnectionClosed):  # the server need not wait for the end of it
            line.send(bytes(2 << 20))
        with pytest.raises(ConnectionClosed):
            line.recv()
    with connect(f"{served[0]}?token={TOKEN}", **WAITING) as line:  # and nothing else
        line.send(np.zeros(2, np.float32).tobytes())
        assert len(line.recv()) == 64
