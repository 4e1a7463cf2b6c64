"""Decoding beside a flood: what is large makes nothing small wait, and takes no more memory than there is for it."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import diabolo

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer]'")

from diabolo.explorer import _connections, _guard, _json  # noqa: E402
from diabolo.explorer._api import make_api  # noqa: E402
from diabolo.explorer._desk import Desk  # noqa: E402
from diabolo.explorer._guard import PIECE, Guard  # noqa: E402
from diabolo.explorer._http import in_form  # noqa: E402
from diabolo.explorer._server import one_thread  # noqa: E402

NPY = "application/x-npy"
TOKEN = "a-token-of-the-tests"
PATIENCE = 60  # seconds: a busy machine is slow, and who waits for a lock waits forever
CODE = np.zeros((1, 2), np.float32)

Answer = list[dict[str, Any]]
Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def model(pictures: np.ndarray) -> diabolo.Autoencoder:
    return diabolo.train(pictures, layout="HW", model="vae", latent_dim=2, epochs=1, widths=(16,))


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Its result, from a thread of its own: in this one a browser of other tests may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def npy(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


async def asked(app: Any, path: str, body: bytes = b"", send: Send | None = None) -> Answer:
    """One request, and its answer's messages."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"authorization", f"Bearer {TOKEN}".encode()),
            (b"content-type", NPY.encode()),
            (b"accept", NPY.encode()),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    messages: Iterator[dict[str, Any]] = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: Answer = []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send or keep)
    return sent


async def spoken(app: Any, message: bytes) -> dict[str, Any]:
    """The answer to one message of a WebSocket."""
    scope = {"type": "websocket", "path": "/api/live", "query_string": b"", "headers": []}
    messages = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "bytes": message}])
    sent: Answer = []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "websocket.disconnect"})

    async def send(said: dict[str, Any]) -> None:
        sent.append(said)

    await app(scope, receive, send)
    return sent[1]


# Lanes


def test_decoding_does_not_wait_for_large_requests(model: diabolo.Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    is_let_go, computing = threading.Event(), threading.Semaphore(0)

    def encode(x: Any, _: Any = None) -> np.ndarray:
        computing.release()
        is_let_go.wait(PATIENCE)
        return np.zeros((len(x), 2), np.float32)

    monkeypatch.setattr(model, "encode", encode)
    app = make_api(model, "spots")

    async def flooded() -> None:
        large = npy(np.zeros((2000, 8, 8), np.uint8))
        flood = [asyncio.create_task(asked(app, "/api/encode", large)) for _ in range(50)]
        try:
            assert await asyncio.to_thread(computing.acquire, timeout=PATIENCE)
            answers = [asked(app, "/api/decode", npy(CODE)), spoken(app, CODE.tobytes())]
            request, message = await asyncio.wait_for(asyncio.gather(*answers), PATIENCE / 4)
            assert not computing.acquire(blocking=False), "large requests compute one at a time"
        finally:
            is_let_go.set()
        assert {(await one)[0]["status"] for one in flood} == {200}
        assert request[0]["status"] == 200
        assert message["bytes"] == model.pixels(model.decode(CODE)).tobytes()

    in_a_loop(flooded())


def test_a_small_request_that_computes_much_is_large(model: diabolo.Autoencoder) -> None:
    desk = Desk(model)
    assert desk.lane(64) is desk.quick
    assert desk.lane(10**7) is desk.slow


def test_models_with_parts_of_the_users_own_compute_one_request_at_a_time(model: diabolo.Autoencoder) -> None:
    of_users: Any = SimpleNamespace(model=SimpleNamespace(of_users={"decoder"}))
    desk = Desk(model, of_users)
    assert desk.quick.lock is desk.slow.lock is desk.lock


def test_both_lanes_give_the_numbers_of_one(model: diabolo.Autoencoder, pictures: np.ndarray) -> None:
    many, codes = np.tile(pictures, (40, 1, 1)), np.random.default_rng(0).standard_normal((200, 1, 2))
    expected, decoded = model.encode(many), [model.decode(code) for code in codes]
    with ThreadPoolExecutor(2) as pool:
        encoding = pool.submit(lambda: [model.encode(many) for _ in range(10)])
        np.testing.assert_array_equal([model.decode(code) for code in codes], decoded)
        np.testing.assert_array_equal(encoding.result(), [expected] * 10)


def test_threads_take_turns_quickly_while_a_server_runs() -> None:
    before = sys.getswitchinterval()
    with one_thread():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_a_message_of_many_codes_is_refused(model: diabolo.Autoencoder) -> None:
    said = in_a_loop(spoken(make_api(model, "spots"), np.zeros((4097, 2), np.float32).tobytes()))
    assert "at most 4096 codes" in said["text"]


# Answers


@pytest.mark.parametrize("shape", [(3,), (40,), (2, 3), (7, 4), (1, 50), (2, 6, 5), (30, 1, 2)])
def test_json_is_written_in_pieces(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(value: Any, **options: Any) -> str:
        sizes.append(np.asarray(value).size)
        return json.dumps(value, **options)

    monkeypatch.setattr(_json, "VALUES", 9)
    monkeypatch.setattr(_json, "json", SimpleNamespace(dumps=counted))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x.flat[1] = np.nan
    np.testing.assert_array_equal(np.array(json.loads(_json.write_json(x)), np.float32), x)
    assert max(sizes) <= 9
    monkeypatch.undo()
    answer = json.loads(bytes(in_form(x, "").body))
    assert (answer["shape"], answer["data"].__class__) == (list(shape), list)


# Bodies


class Pieces(json.JSONDecoder):
    """Notes how much is read at once."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        value, end = super().raw_decode(s, idx)
        self.longest = max(self.longest, end - idx)
        return value, end


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"data": np.arange(600.0).reshape(2, 10, 30).tolist()}),
        json.dumps(list(range(1000)), indent=1),
        json.dumps({"columns": {"a": ["b, ]"] * 200, "c": [None, True, 1e3] * 99, "d": []}}),
        "[" + '{"a": 1},' * 200 + "[" + "1," * 300 + '"2"]]',
    ],
)
def test_json_is_read_in_pieces(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = Pieces()
    monkeypatch.setattr(_json, "PIECE", 50)
    monkeypatch.setattr(_json, "DECODER", pieces)
    assert _json.read_json(text.encode()) == json.loads(text)
    assert 10 < pieces.longest <= 52


def test_json_is_read_as_python_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    marks = [*'[]{}:,"\\ ', "[", "]", ",", "\n", "1", "-2.5", "1e3", '"a"', '"a,]"', "true", "null", "NaN", '{"a":']
    good = [
        b'[[1,2],[3,"a"],{"b":[]}]',
        b' {"data" : [ ] , "a":{}} ',
        b'["\\u00e9\\"", "\xc3\xa9", 1 , 2]',
        b"[ ]",
        b"[1, ]",
        b"{}",
    ]
    agreed = 0
    for piece in (1, 6, 10**4):
        monkeypatch.setattr(_json, "PIECE", piece)
        for number in range(600):
            body = good[number % len(good)]
            for _ in range(number % 4):
                at, cut = random.integers(0, len(body) + 1), random.integers(0, 3)
                body = body[:at] + str(random.choice(marks)).encode() + body[at + cut :]
            results = []
            for read in (json.loads, _json.read_json):
                try:
                    results.append(repr(read(body)))
                except ValueError:
                    results.append("an error")
            assert results[0] == results[1], body
            agreed += results[0] != "an error"
    assert agreed > 300


@pytest.mark.parametrize("values", [[1, 2.5], [[1, 2], [3, 4.5]], [[[True]], [[2]]], [[]], [1] * 50, [[1, 2]] * 30])
def test_arrays_are_made_of_lists_in_pieces(values: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json, "VALUES", 7)
    x = _json.array_of_lists(values)
    np.testing.assert_array_equal(x, np.asarray(values))
    assert x.dtype == np.asarray(values).dtype


@pytest.mark.parametrize(
    "values", [["a"], [[1, 2], [3]], [None], [[1], 2], [1] * 9 + ["a"], [[1]] * 9 + [[1, 2]], [{}]]
)
def test_what_is_no_array_of_numbers_is_said(values: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json, "VALUES", 7)
    with pytest.raises(ValueError, match=r"more than numbers|inhomogeneous|dimension"):
        _json.array_of_lists(values)


# Memory


def test_an_answer_is_counted_until_it_is_taken() -> None:
    body = bytes(range(256)) * (PIECE // 100)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    guard = Guard(app, TOKEN, ["127.0.0.1"], 1000)
    pieces: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            assert guard.held >= len(body)
            pieces.append(message["body"])
            assert message.get("more_body", False) == (len(b"".join(pieces)) < len(body))

    in_a_loop(asked(guard, "/", send=send))
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= PIECE
    assert guard.held == 0


def test_a_large_answer_needs_room_and_a_small_one_does_not() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        length = int(scope["path"][1:])
        headers = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(length)})

    guard = Guard(app, TOKEN, ["127.0.0.1"], 10**6)

    def status(path: str, length: int) -> int:
        return int(in_a_loop(asked(guard, path, bytes(length)))[0]["status"])

    large, small = _guard.SMALL_ANSWER + 1, _guard.SMALL
    guard.held = _guard.MOST_HELD - large + 1
    assert status(f"/{large}", 10) == 503
    guard.held = _guard.MOST_HELD + 1
    assert status(f"/{small}", small + 1) == 503
    assert status(f"/{small}", small) == 200
    guard.held = 0
    assert status(f"/{large}", small + 1) == 200
    guard.running["large"] = _guard.MOST_REQUESTS
    assert status(f"/{small}", small + 1) == 503
    assert status(f"/{small}", small) == 200
    assert guard.held == 0


def test_a_server_that_ends_says_so_without_a_traceback() -> None:
    async def app(*_: Any) -> None:
        raise asyncio.CancelledError

    start, _ = in_a_loop(asked(Guard(app, TOKEN, ["127.0.0.1"], 1000), "/"))
    assert start["status"] == 503


# Connections


class Plain:
    """Stands for uvicorn's protocol."""

    cycle: Any = None

    def __init__(self, connections: set[Any], log: list[str], now: float) -> None:
        self.connections, self.log = connections, log
        self.loop = SimpleNamespace(call_later=lambda *call: log.append(f"later {call[0]}"), time=lambda: now)
        self.flow = SimpleNamespace(read_paused=False)
        self.is_closed = False
        self.transport = SimpleNamespace(
            abort=self.close, is_closing=lambda: self.is_closed, pause_reading=lambda: log.append("pause")
        )

    def close(self) -> None:
        self.is_closed = True

    def connection_made(self, _: Any) -> None:
        self.connections.add(self)

    def data_received(self, _: bytes) -> None:
        pass


class Connection(_connections.Bounded, Plain):
    """As the server makes it."""


def test_the_idlest_connection_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connections, "MOST_CONNECTIONS", 3)
    connections: set[Any] = set()
    busy, older, newer, last, another = (Connection(connections, [], now) for now in range(5))
    busy.cycle = SimpleNamespace(response_complete=False)
    for one in (busy, older, newer, last):
        one.connection_made(one.transport)
    assert [one.is_closed for one in (busy, older, newer, last)] == [False, True, False, False]
    newer.cycle = SimpleNamespace(response_complete=False, more_body=False)
    newer.loop.time = lambda: 3.5
    newer.data_received(b"a request")
    newer.cycle.response_complete = True
    another.connection_made(another.transport)
    assert [one.is_closed for one in (busy, newer, last, another)] == [False, False, True, False]


@pytest.mark.parametrize(("is_answered", "has_more", "pauses"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_a_refused_body_is_read_slowly(is_answered: bool, has_more: bool, pauses: int) -> None:
    log: list[str] = []
    one = Connection(set(), log, 0)
    one.connection_made(one.transport)
    one.cycle = SimpleNamespace(response_complete=is_answered, more_body=has_more)
    one.data_received(b"x")
    assert log.count("pause") == pauses
    assert log.count(f"later {_connections.PAUSE}") == pauses
