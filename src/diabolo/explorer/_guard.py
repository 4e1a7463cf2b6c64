"""Access control: a token, the right Host and Origin, a bounded body."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from html import escape
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

__all__ = ["NOTEBOOKS", "SMALL", "Guard", "page_policy"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NOTEBOOKS = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"
"""The pages of local notebooks, which may show the explorer in a frame."""

MOST_HELD = 512_000_000  # bytes of all requests and answers under way, and of what they become
MOST_REQUESTS = 64  # under way at a time, and as many small ones
SMALL = 2**16  # bytes of a request that is small
SMALL_ANSWER = 2**20
PIECE = 2**18  # bytes of an answer that are handed on at once
BUSY = 503, "The server is busy: ask again in a moment."
MOST_JSON = 8_000_000  # bytes of a body that is no array
GROWTH = 32  # bytes in memory for one of JSON: "[]," is a list
STALLED = 30.0  # seconds to wait for more of a body

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
STATIC = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def page_policy(nonce: str, ancestors: str = "'none'") -> str:
    """The content security policy of a page whose scripts carry a nonce.

    Args:
        nonce: of its scripts.
        ancestors: the pages that may show it in a frame.
    """
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}' blob: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self' blob: data:; worker-src blob:; "
        f"frame-ancestors {ancestors}; base-uri 'none'; form-action 'none'"
    )


class Guard:
    """An ASGI application around another one.

    A page of another site can make a browser send requests to 127.0.0.1. It can neither know the token nor set the Host
    and the Origin that are checked here, also when its name resolves to this machine (DNS rebinding).

    Args:
        app: the other application.
        token: the secret that each request carries: in `Authorization: Bearer TOKEN` or `?token=TOKEN`.
        hosts: the names of this server, without ports.
        most: the bytes of a body, at most.

    Attributes:
        held: bytes that requests and answers under way take in memory, or may take.
        running: the requests under way; small ones, whose places and memory large ones cannot take, are counted apart.
    """

    def __init__(self, app: App, token: str, hosts: Iterable[str], most: int) -> None:
        self.app = app
        self.token = token
        self.hosts = frozenset(host.lower() for host in hosts)
        self.most = most
        self.held = 0
        self.running = {"small": 0, "large": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        is_array = headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-npy"
        most = self.most if is_array else min(self.most, MOST_JSON)
        refusal = self._refusal(scope, headers, most)
        if scope["type"] == "websocket":
            if refusal is None:
                with contextlib.suppress(asyncio.CancelledError):  # see below
                    await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: status 403
            return
        if refusal is not None:
            as_page = scope.get("method") == "GET" and "text/html" in headers.get("accept", "")
            await _answer(_with_headers(send), *refusal, as_page=as_page)
            return
        length = 0 if b"transfer-encoding" not in dict(scope["headers"]) else SMALL + 1
        is_small = int(headers.get("content-length", length)) <= SMALL
        is_full = self.running["small" if is_small else "large"] >= MOST_REQUESTS
        if is_full or (self.held >= MOST_HELD and not is_small):
            await _answer(_with_headers(send), *BUSY, as_page=False)
            return
        request = _Held(self, 1 if is_array else GROWTH, is_small=is_small)
        try:
            await self.app(scope, request.bounded(receive, most), request.counting(_with_headers(send)))
        except asyncio.CancelledError:  # the server ends, and uvicorn would print where
            await request.end(_with_headers(send))
        finally:
            request.done()

    def _refusal(self, scope: Scope, headers: dict[str, str], most: int) -> tuple[int, str] | None:
        if _host(headers.get("host", "")) not in self.hosts:
            return 403, "This server answers to its own name alone: use the address that it printed."
        origin = headers.get("origin")
        if origin is not None and _host(origin.partition("://")[2]) not in self.hosts:
            return 403, "Pages of other sites may not use this server."
        if not self._knows_token(scope, headers):
            return 401, "The token is missing or stale: use the address that diabolo printed when it started."
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal():
            return 400, "The length of the body should be a number."
        if len(length) > 18 or int(length) > most:
            return 413, _too_large(most)
        return None

    def _knows_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            query = scope.get("query_string", b"").decode("latin-1")
            token = parse_qs(query).get("token", [""])[0]
        # In constant time: a comparison that stops at the first difference would tell the token letter by letter.
        return hmac.compare_digest(token.strip().encode("utf-8", "replace"), self.token.encode())


class _Held:
    """The memory that one request takes: its body, what that becomes, and its answer until it is sent.

    Args:
        guard: which counts the bytes of all.
        growth: bytes in memory for each one of the body.
        is_small: whether the request is small.
    """

    def __init__(self, guard: Guard, growth: int, *, is_small: bool) -> None:
        self.guard = guard
        self.growth = growth
        self.is_small = is_small
        self.bytes = 0
        self.state: Literal["waiting", "answering", "refused"] = "waiting"
        guard.running[self._size] += 1

    @property
    def _size(self) -> str:
        return "small" if self.is_small else "large"

    def _add(self, count: int) -> None:
        self.bytes += count
        self.guard.held += count

    def done(self) -> None:
        """Gives back what was counted."""
        self.guard.running[self._size] -= 1
        self._add(-self.bytes)

    def bounded(self, receive: Receive, most: int) -> Receive:
        """Cuts off a body that grows too long, that stalls, or for which there is no room any more."""
        count, is_whole = 0, False

        async def counted() -> Message:
            nonlocal count, is_whole
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), STALLED)
            except TimeoutError:
                return {"type": "http.disconnect"}
            length = len(message.get("body", b""))
            count, is_whole = count + length, not message.get("more_body", False)
            self._add(length * self.growth)
            has_room = self.is_small or self.guard.held <= MOST_HELD or self.guard.held == self.bytes
            return message if count <= most and has_room else {"type": "http.disconnect"}

        return counted

    def counting(self, send: Send) -> Send:
        """Counts an answer until the client has taken it, and refuses one for which there is no room.

        It goes out in pieces: the event loop is never busy with all of it, and the request lasts until the last piece.
        """

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and self.state == "waiting":
                length = int(dict(message.get("headers", ())).get(b"content-length", 0))
                others = self.guard.held - self.bytes
                is_refused = length > SMALL_ANSWER and others > 0 and others + length > MOST_HELD
                self.state = "refused" if is_refused else "answering"
                if is_refused:
                    await _answer(send, *BUSY, as_page=False)
            if self.state == "refused":
                return
            body = message.get("body", b"")
            self._add(len(body))
            for start in range(PIECE, len(body), PIECE):
                await send({**message, "body": body[start - PIECE : start], "more_body": True})
            await send({**message, "body": body[(len(body) - 1) // PIECE * PIECE :]} if body else message)

        return counted

    async def end(self, send: Send) -> None:
        """Answers that the server ends, where nothing was answered yet."""
        if self.state == "waiting":
            await _answer(send, 503, "The server ends.", as_page=False)


def _host(netloc: str) -> str:
    """The name in `name:port`, `[::1]:port` or `name`."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _too_large(most: int) -> str:
    return f"The body is larger than {most // 1_000_000} MB. Send fewer examples at a time."


def _with_headers(send: Send) -> Send:
    """Adds the security headers to every answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            security = dict(HEADERS)
            if any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers):
                security[b"content-security-policy"] = STATIC.encode()
            present = {name for name, _ in headers}
            message["headers"] = headers + [(name, value) for name, value in security.items() if name not in present]
        await send(message)

    return sending


async def _answer(send: Send, status: int, error: str, *, as_page: bool) -> None:
    body = (_page(error) if as_page else json.dumps({"error": error})).encode()
    kind = b"text/html; charset=utf-8" if as_page else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _page(error: str) -> str:
    """A refusal as a page, for a person with a browser."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        "<title>diabolo</title><style>body{font:17px/1.6 system-ui,sans-serif;max-width:34rem;margin:18vh auto 0;"
        "padding:0 1.5rem}h1{font-size:1.3rem;margin:0 0 .75rem}p{margin:.5rem 0}.soft{opacity:.75}"
        "code{font:.9em ui-monospace,monospace}</style></head><body><main><h1>This page cannot be shown</h1>"
        f'<p>{escape(error)}</p><p class="soft">The address is in the terminal in which diabolo runs, and ends in '
        "<code>?token=…</code>. A server that was started again has a new one.</p></main></body></html>"
    )
