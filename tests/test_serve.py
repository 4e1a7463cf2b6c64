"""`diabolo serve`: a real process, real requests, and those that should not be answered."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import diabolo
from diabolo.explorer._connections import SECONDS, UNREAD, Bounded
from diabolo.explorer._guard import MOST_HELD, Guard
from diabolo.storage.npy import load_numpy

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer]'")

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment")
NPY = "application/x-npy"
TOKEN = "a-token-of-the-tests"
PATIENCE = 300  # seconds: long enough for a busy machine, and a hang still ends the test


class Server(NamedTuple):
    """A process that answers, and the model that it should answer with."""

    url: str
    model: diabolo.Autoencoder
    x: np.ndarray
    run: Path
    process: subprocess.Popen[str]

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        *,
        method: str | None = None,
        token: str | None = TOKEN,
        **headers: str,
    ) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, body, named)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def array(self, path: str, x: np.ndarray | None = None) -> np.ndarray:
        """Asks with .npy for .npy."""
        status, body = self.ask(path, npy(x) if x is not None else b"", Content_Type=NPY, Accept=NPY)
        assert status == 200, body
        return np.asarray(load_numpy(io.BytesIO(body)))  # numpy.load is not safe between threads in Python 3.11


def in_a_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs it in a thread of its own: in this one a browser of other tests may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def npy(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory, environment: None) -> Iterator[Server]:
    run = tmp_path_factory.mktemp("runs") / "spots"
    model = diabolo.train(pictures, layout="HW", model="vae", latent_dim=2, epochs=2, widths=(16,))
    right = pictures[:, :, 4:].sum((1, 2), dtype=int) > pictures[:, :, :4].sum((1, 2), dtype=int)
    model.learn_concept("right", pictures, right)
    model.save(run)
    words = [sys.executable, "-m", "diabolo", "serve", str(run), "--token", TOKEN]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    found = re.search(r"^spots answers at (http://127\.0\.0\.1:\d+)$", first)
    assert found, first + process.stdout.read()
    for _ in range(3):
        process.stdout.readline()
    try:
        yield Server(found.group(1), diabolo.load(run), pictures, run, process)
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[0]
        assert "Traceback" not in said, said


def test_the_same_numbers_as_in_python(server: Server) -> None:
    model, x = server.model, server.x
    codes = server.array("/api/encode", x)
    np.testing.assert_array_equal(codes, model.encode(x))
    np.testing.assert_array_equal(server.array("/api/decode", codes), model.decode(codes))
    np.testing.assert_array_equal(server.array("/api/reconstruct", x), model.reconstruct(x))
    np.testing.assert_array_equal(server.array("/api/score", x), model.score(x))
    scores = server.array("/api/score?kind=likelihood&draws=8&seed=3", x)
    np.testing.assert_array_equal(scores, model.score(x, kind="likelihood", draws=8, seed=3))
    np.testing.assert_array_equal(server.array("/api/sample?n=5&seed=2"), model.sample(5, seed=2))
    edited = server.array("/api/edit?concept=right=1.5", x)
    np.testing.assert_array_equal(edited, model.edit(x, "right", 1.5))


def test_json_in_and_out(server: Server) -> None:
    status, body = server.ask("/api/decode", b'{"data": [[0.5, -1], [0, 0]]}', Content_Type="application/json")
    found = json.loads(body)
    assert (status, found["shape"]) == (200, [2, 8, 8])
    np.testing.assert_allclose(found["data"], server.model.decode([[0.5, -1], [0, 0]]), rtol=1e-6)
    assert server.ask("/api/decode", b"[[0.5, -1]]")[0] == 200


def test_what_it_is_and_how_it_is_asked(server: Server) -> None:
    status, body = server.ask("/api/model")
    found = json.loads(body)
    assert status == 200
    assert (found["name"], found["event_shape"], found["latent_dim"]) == ("spots", [8, 8], 2)
    assert found["concepts"]["right"]["gap"] == server.model.concepts["right"].gap
    status, body = server.ask(f"/docs?token={TOKEN}", token=None)
    assert status == 200
    page = body.decode()
    for name in ("encode", "decode", "reconstruct", "score", "sample", "edit"):
        assert f"POST /api/{name}" in page
    assert "http" not in re.sub(r"urllib.request|http-", "", page.partition("</style>")[0]), (
        "nothing comes from elsewhere"
    )
    assert json.loads(server.ask("/openapi.json")[1])["paths"].keys() >= {"/api/encode", "/api/model"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/api/encode", npy(np.zeros((2, 4, 4), np.float32)), 400, "shape (n, 8, 8), and was given (2, 4, 4)"),
        ("/api/encode", npy(np.zeros((8, 8), np.float32)), 400, "Put it in a batch"),
        ("/api/encode", npy(np.full((1, 8, 8), np.nan, np.float32)), 400, "NaN"),
        ("/api/encode", npy(np.zeros((0, 8, 8), np.float32)), 400, "takes 1 to 10,000 examples"),
        ("/api/encode", npy(np.zeros((10_001, 8, 8), np.uint8)), 400, "takes 1 to 10,000 examples"),
        ("/api/encode", npy(np.zeros((1, 8, 8), np.float32))[:-9], 400, "cannot be read as .npy"),
        ("/api/encode", npy(np.array([None])), 400, "cannot be read as .npy"),
        ("/api/encode", b"", 400, "cannot be read as JSON such as"),
        ("/api/encode", b"{}", 400, "it has no 'data'"),
        ("/api/encode", b'{"data": [[1], [2, 3]]}', 400, "cannot be read as JSON such as"),
        ("/api/encode", b'{"data": "abc"}', 400, "array of numbers"),
        ("/api/encode", b"[" * 5000, 400, "cannot be read as JSON such as"),
        ("/api/decode", b'{"data": [[1, 2, 3]]}', 400, "A code of this model has 2 numbers"),
        ("/api/score?kind=elb", b"[[1]]", 422, "kind"),
        ("/api/score?draws=-1", b"[[1]]", 422, "draws"),
        ("/api/sample?n=0", b"", 422, "n: "),
        ("/api/sample?n=99999999", b"", 422, "n: "),
        ("/api/sample?prior=fitted", b"", 400, "No prior was fitted"),
        ("/api/edit?concept=smile=1", npy(np.zeros((1, 8, 8), np.float32)), 400, "no concept named 'smile'"),
        ("/api/edit?concept=right", npy(np.zeros((1, 8, 8), np.float32)), 400, "such as smile=2"),
        ("/api/edit", b"[[1]]", 422, "concept"),
        ("/nothing", b"", 404, ""),
    ],
)
def test_what_cannot_be_is_said(server: Server, path: str, body: bytes, status: int, says: str) -> None:
    found, answer = server.ask(path, body)
    assert found == status, answer
    assert says in json.loads(answer).get("error", "")


def test_an_archive_is_no_array(server: Server) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=server.x)
    for body, says in ((buffer.getvalue(), "it is an archive"), (b"PK\x03\x04 and no archive", "it is an archive")):
        status, answer = server.ask("/api/encode", body, Content_Type=NPY)
        assert (status, says in json.loads(answer)["error"]) == (400, True), answer


def test_only_who_should_is_answered(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    assert server.ask("/api/model", token=None)[0] == 401
    assert server.ask("/api/model", token="a-token-of-others")[0] == 401
    assert server.ask("/openapi.json", token=None)[0] == 401
    assert server.ask("/api/model", Host="evil.example")[0] == 403
    assert server.ask("/api/model", Host=f"127.0.0.1.evil.example:{port}")[0] == 403
    assert server.ask("/api/model", Origin="https://evil.example")[0] == 403
    assert server.ask("/api/model", Origin="null")[0] == 403
    assert server.ask("/api/model", Host=f"localhost:{port}", Origin=server.url)[0] == 200


def test_a_body_that_is_too_large_is_not_read(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    head = f"POST /api/encode HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: 999999999999\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_of_unknown_length_is_bounded_too() -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            received.append(message)
        assert message["type"] == "http.disconnect"

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    guard = Guard(app, TOKEN, ["127.0.0.1"], 35)
    headers = [(b"host", b"127.0.0.1:80"), (b"authorization", f"Bearer {TOKEN}".encode())]
    in_a_loop(guard({"type": "http", "headers": headers}, receive, send))
    assert len(received) == 3


def memory(process: subprocess.Popen[str]) -> int:
    """The most bytes that a process has held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


ODD: dict[str, tuple[bytes, str, int]] = {
    "an archive": (b"PK\x03\x04" + bytes(100), NPY, 400),
    "an archive without a type": (b"PK\x03\x04" + bytes(100), "", 400),
    "lists": (b"[" + b"[]," * 2_000_000 + b"[]]", "application/json", 400),
    "nested": (b"[" * 100_000 + b"]" * 100_000, "application/json", 400),
    "a long number": (b"[" + b"1" * 10_000 + b"]", "application/json", 400),
    "a header": (npy(np.zeros((8, 64), np.float32)).replace(b"(8, 64), }     ", b"(8000000, 64), }"), NPY, 400),
    "records": (npy(np.zeros(3, "i4,f4")), NPY, 400),
    "text": (npy(np.array(["a"])), NPY, 400),
    "no UTF-8": (b"\xff\xfe[1]", "application/json", 400),
    "words": (b'{"data": "many"}', "application/json", 400),
    "NaN": (b'{"data": [[NaN, Infinity]]}', "application/json", 400),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("path", ["/api/encode", "/api/decode"])
def test_odd_bodies(server: Server, path: str, what: str) -> None:
    body, kind, expected = ODD[what]
    status, answer = server.ask(path, body, Content_Type=kind)
    assert status == expected, answer
    assert json.loads(answer)["error"]


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "//", "", "http://]", "a" * 9000, "\xff", "http://127.0.0.1@evil"]
)
def test_odd_origins(server: Server, origin: str) -> None:
    assert server.ask("/api/model", Origin=origin)[0] == 403


def test_bodies_under_way_are_bounded_together(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    before = memory(server.process)
    head = (
        f"POST /api/encode HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: {NPY}\r\nContent-Length: 120000000\r\n\r\n"
    ).encode()
    block = bytes(2**20)

    def send(_: int) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection,
        ):
            connection.sendall(head)
            for _ in range(100):
                connection.sendall(block)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(12)))
    assert memory(server.process) - before < 1.3 * MOST_HELD
    assert server.ask("/api/model")[0] == 200


@pytest.mark.slow
def test_half_requests_are_closed(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    halves = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(100)]
    for half in halves:
        half.sendall(b"GET /api/model HTTP/1.1\r\nHost: ")
    started = time.monotonic()
    assert server.ask("/api/model")[0] == 200
    assert {half.recv(100) for half in halves} == {b""}
    assert time.monotonic() - started < 40
    for half in halves:
        half.close()


@pytest.mark.slow
def test_an_answer_that_is_not_taken_is_given_up(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    body = npy(np.zeros((60_000, 2), np.float32))
    head = (
        f"POST /api/decode HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: {NPY}\r\nAccept: {NPY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        time.sleep((UNREAD + 3) * SECONDS)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(2**20):
                taken += len(part)
    assert 0 < taken < 60_000 * server.x[0].size


def test_who_takes_nothing_of_an_answer_is_left() -> None:
    closed: list[str] = []

    class Transport:
        left = 1000

        def get_write_buffer_size(self) -> int:
            return self.left

        def is_closing(self) -> bool:
            return bool(closed)

        def abort(self) -> None:
            closed.append("abort")

        def close(self) -> None:
            closed.append("close")

    class Protocol(Bounded):
        cycle = SimpleNamespace(response_complete=False)
        transport = Transport()
        loop = SimpleNamespace(call_later=lambda *_: None)

    one = Protocol()
    one.connections = {one}
    one._answered, one._unread, one._looks = None, 0, 0
    for left in (1000, 900, 800, 700, 600):  # it is slow, and takes some
        one.transport.left = left
        one._look()
    assert not closed
    for _ in range(UNREAD):
        one._look()
    assert closed == ["abort"]


def test_there_are_so_many_connections_and_the_oldest_gives_way(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        many = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) for _ in range(700)
        ]
        assert server.ask("/api/model")[0] == 200
        with contextlib.suppress(ConnectionResetError):
            assert many[0].recv(100) == b""
        many[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            many[-1].recv(100)


def test_a_thousand_requests_at_once(server: Server) -> None:
    codes = np.random.default_rng(0).standard_normal((50, 1, 2)).astype(np.float32)
    expected, wrong = [server.model.decode(code) for code in codes], []

    def some(worker: int) -> None:
        for place in range(20):
            at = (worker + place) % len(codes)
            if not np.array_equal(server.array("/api/decode", codes[at]), expected[at]):
                wrong.append(at)

    workers = [threading.Thread(target=some, args=(number,)) for number in range(50)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert server.process.poll() is None


def test_a_client_that_leaves_in_the_middle(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    head = f"POST /api/encode HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(f"{head}Content-Length: 5000\r\n\r\nabc".encode())
    assert server.ask("/api/model")[0] == 200


def test_a_port_in_use_and_other_slips(server: Server, command: Command) -> None:
    port = server.url.rpartition(":")[2]
    for words, status, says in (
        (("serve", server.run, "--port", port), 2, f"Port {port} of 127.0.0.1 is in use. Take another: --port N"),
        (("serve", server.run, "--port", 70_000), 2, "0 (a free one) to 65535"),
        (("serve", server.run, "--host", "203.0.113.7"), 2, "Nothing can listen at 203.0.113.7"),
        (("serve", server.run, "--token", "short"), 2, "at least 8 characters"),
        (("serve", server.run.parent), 1, "config.json"),
    ):
        said = command(*words)
        assert (said.status, said.out) == (status, ""), said
        assert says in said.err
