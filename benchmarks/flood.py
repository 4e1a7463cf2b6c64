"""How quick decoding stays while others flood the server, and how much memory the server takes meanwhile.

    python benchmarks/flood.py [--server explore|serve] [--seconds 6] [--run FOLDER] [KIND ...]

For each kind of flood a server is started. A client decodes as the explorer's page does, single codes over a WebSocket,
30 ms apart, and 16 codes in a request of its own after each tenth: first alone, then beside the flood. That is a
process of 8 threads at the lowest priority (nice 19), since all three share the processors. Rows hold medians and 95th
percentiles in ms, "alone -> beside (ratio)"; the flood's requests, messages or connections a second, by what became of
them; and the server's resident memory in MB before the flood, at the peak, and 3 s after. A KIND is the beginning of a
kind's name.

FOLDER is a run; without one, the network of mnist-vae-conv is trained for an epoch on 2,000 examples of MNIST.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import io
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

TOKEN, NPY, THREADS, PATIENCE = "a-token-of-the-benchmark", "application/x-npy", 8, 20
RANDOM = np.random.default_rng(0)
COUNT: collections.Counter[str] = collections.Counter()  # of the flood
HAS_BEGUN = threading.Event()  # its first request has arrived


def npy(*shape: int) -> bytes:
    """Zeros as a body."""
    np.save(buffer := io.BytesIO(), np.zeros(shape, np.float32))
    return buffer.getvalue()


def head(port: int, path: str, length: int, kind: str = NPY) -> bytes:
    """The head of a request."""
    lines = (f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {TOKEN}", f"Content-Type: {kind}", f"Accept: {NPY}")
    return "\r\n".join((f"POST {path} HTTP/1.1", *lines, f"Content-Length: {length}", "", "")).encode()


def live(port: int) -> ClientConnection:
    """A WebSocket for codes."""
    url = f"ws://127.0.0.1:{port}/api/live?token={TOKEN}"
    return connect(url, compression=None, max_size=None, open_timeout=120, ping_interval=None)


def post(
    body: bytes, kind: str = "application/json", path: str = "/api/encode", times: int = 1
) -> Callable[[int], None]:
    """One request, whose body is sent so many times, whatever the server says meanwhile."""

    def flood(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            while True:
                with contextlib.suppress(OSError):
                    for part in (head(port, path, times * len(body), kind) + body, *[body] * (times - 1)):
                        connection.sendall(part)
                HAS_BEGUN.set()
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                answer.read()
                COUNT[str(answer.status)] += 1

    return flood


def hold(most: int, path: str = "", body: bytes = b"") -> Callable[[int], None]:
    """So many connections that send a request, half of one or nothing, and read no answer."""

    def flood(port: int) -> None:
        held: list[socket.socket] = []
        while True:
            held.append(socket.create_connection(("127.0.0.1", port), timeout=60))
            with contextlib.suppress(OSError):
                held[-1].sendall(head(port, path, len(body)) + body if body else path.encode())
            COUNT["opened"] += 1
            if len(held) > most // THREADS:
                HAS_BEGUN.set()
                held.pop(0).close()
                time.sleep(0.01 if not body else 1)

    return flood


def talk(*messages: bytes | str, reads: bool = True) -> Callable[[int], None]:
    """Messages over a WebSocket."""

    def flood(port: int) -> None:
        with live(port) as line:
            while True:
                for message in messages:
                    line.send(message)
                    HAS_BEGUN.set()
                    COUNT[type(line.recv()).__name__ if reads else "sent"] += 1

    return flood


MANY = RANDOM.random((300, 2), np.float32).tobytes()
KINDS: dict[str, Callable[[int], None]] = {
    "nothing": lambda _: time.sleep(600),
    "200 MB as .npy, refused": post(bytes(2**20), NPY, times=200),
    "20 MB of `[],`, refused": post(b"[]," * 7_000_000),
    "7.9 MB of `[],`, refused": post(b"[" + b"[]," * 2_630_000 + b"[]]"),
    "invalid JSON": post(b'{"data": [[1, 2], [3'),
    "invalid shapes": post(b"[[1, 2, 3]]", path="/api/decode"),
    "400 half-open connections": hold(400, "POST /api/encode HTTP/1.1\r\nHost: "),
    "1,000 connections": hold(1000),
    "8 MB of numbers, refused": post(b"[[" + b"1e300," * 1_300_000 + b"1]]"),
    "8 MB of texts, refused": post(b"[" + b'"a",' * 1_900_000 + b"1]"),
    "encode 10,000 as .npy": post(npy(10_000, 28, 28), NPY),
    "encode 6 MB of JSON": post(json.dumps(RANDOM.random((480, 28, 28)).round(12).tolist()).encode()),
    "decode 10,000, answers not read": hold(64, "/api/decode", npy(10_000, 2)),
    "WebSockets, rubbish": talk(bytes(range(256)) * 1000 + b"\0\1", "label=x", b"", "rubbish" * 999),
    "WebSockets, 300 codes": talk(MANY),
    "WebSockets, answers not read": talk(MANY, reads=False),
}


def flood(kind: str, port: int) -> None:
    """Floods until the process is told to stop, and prints what became of it, a second."""
    os.nice(19)
    started = time.monotonic()

    def ends(*_: object) -> None:
        rates = (f"{n / (time.monotonic() - started):.1f} {what}" for what, n in sorted(COUNT.items()))
        print(", ".join(rates), flush=True)
        os._exit(0)  # whatever its threads wait for

    def forever() -> None:
        while True:
            try:
                KINDS[kind](port)
            except (OSError, http.client.HTTPException, WebSocketException) as error:
                COUNT[type(error).__name__] += 1

    signal.signal(signal.SIGTERM, ends)
    for _ in range(THREADS):
        threading.Thread(target=forever, daemon=True).start()
    HAS_BEGUN.wait(1 if kind == "nothing" else 60)
    print(flush=True)
    time.sleep(600)


def latencies(port: int, line: ClientConnection, seconds: float) -> tuple[list[float], list[float]]:
    """Of single codes, and of requests of 16, in ms; infinite where there is no answer."""
    times: tuple[list[float], list[float]] = ([], [])
    body, until = npy(16, 2), time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        line.send(bytes(8))
        try:
            assert isinstance(line.recv(PATIENCE), bytes)
        except TimeoutError:
            times[0].append(math.inf)
            break
        times[0].append(1000 * (time.perf_counter() - started))
        if len(times[0]) % 10 == 1:
            started, is_answered = time.perf_counter(), False
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                connection.sendall(head(port, "/api/decode?pixels=true", len(body)) + body)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                is_answered = answer.status == 200 and bool(answer.read())
                connection.close()
            times[1].append(1000 * (time.perf_counter() - started) if is_answered else math.inf)
        time.sleep(0.03)
    return times


def compared(alone: list[float], beside: list[float]) -> str:
    """Medians and 95th percentiles, and how many had no answer."""
    texts = []
    for share in (0.5, 0.95):
        one, other = (sorted(values)[int(share * len(values))] for values in (alone, beside))
        texts.append(f"{one:.1f} -> {other:.1f} ({other / one:.1f})")
    refused = sum(map(math.isinf, beside))
    return " | ".join(texts) + (f" (no answer: {refused} of {len(beside)})" if refused else "")


def measured(server: str, run: Path, kind: str, seconds: float) -> str:
    """A row: what a server of its own does beside one kind of flood."""
    words = [sys.executable, "-m", "diabolo", server, str(run), "--token", TOKEN]
    words += ["--no-browser"] if server == "explore" else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        assert process.stdout is not None
        port = int(next(filter(None, (re.search(r"http://[\d.]+:(\d+)", text) for text in process.stdout)))[1])

        def memory(name: str) -> int:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return int(status.partition(f"{name}:")[2].split()[0]) // 1024

        with live(port) as line:
            latencies(port, line, 1)
            alone, before = latencies(port, line, seconds), memory("VmRSS")
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak starts again
            words = [sys.executable, __file__, kind, "--flood", str(port)]
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as client:  # noqa: S603
                assert client.stdout is not None
                client.stdout.readline()
                beside = latencies(port, line, seconds)
                client.terminate()
                rates = client.communicate()[0].strip()
            time.sleep(3)
            megabytes = f"{before} | {memory('VmHWM')} | {memory('VmRSS')}"
        process.send_signal(signal.SIGINT)
    pairs = (compared(*pair) for pair in zip(alone, beside, strict=True))
    return f"| {kind} | {' | '.join(pairs)} | {rates} | {megabytes} |"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="the beginnings of kinds' names; all when left out")
    parser.add_argument("--server", default="explore", choices=("explore", "serve"))
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.flood:
        flood(arguments.kinds[0], arguments.flood)
    with tempfile.TemporaryDirectory() as place:
        run = arguments.run or Path(place) / "run"
        if not run.exists():
            import diabolo
            from diabolo.datasets import open_dataset

            np.save(run.with_suffix(".npy"), np.asarray(open_dataset("mnist").x[:2000]))
            diabolo.train(str(run.with_suffix(".npy")), recipe="mnist-vae-conv", epochs=1, out=run)
        for kind in KINDS:
            if kind.startswith(tuple(arguments.kinds or ("",))):
                print(measured(arguments.server, run, kind, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
