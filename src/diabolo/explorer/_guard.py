"""Who may ask: requests with the token, to a host that was meant, from no other site's page, of a bounded size."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application around another one.

    A page of another site can make a browser send requests to 127.0.0.1; it can neither know the token nor set the Host
    and Origin that are asked for here, also when its name is made to point to this machine (DNS rebinding).

    Args:
        app: what is guarded.
        token: what has to come with each request: in `Authorization: Bearer TOKEN` or `?token=TOKEN`.
        hosts: the names that this server may be called by, without ports.
        most: bytes of a body.
    """

    def __init__(self, app: App, token: str, hosts: Iterable[str], most: int) -> None:
        self.app = app
        self.token = token
        self.hosts = frozenset(host.lower() for host in hosts)
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        await self.app(scope, self._bounded(receive), send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        if _host(headers.get("host", "")) not in self.hosts:
            return 403, "This server answers to its own name alone: use the address that it printed."
        origin = headers.get("origin")
        if origin is not None and _host(urlsplit(origin).netloc) not in self.hosts:
            return 403, "Pages of other sites may not use this server."
        if not self._knows_token(scope, headers):
            return 401, "The token is missing or stale: use the address that diabolo printed when it started."
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal():
            return 400, "The length of the body should be a number."
        if int(length) > self.most:
            return 413, _too_large(self.most)
        return None

    def _knows_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            query = scope.get("query_string", b"").decode("latin-1")
            given = parse_qs(query).get("token", [""])[0]
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.token.encode())

    def _bounded(self, receive: Receive) -> Receive:
        """A body that does not say how long it is ends the request when it is too long."""
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            return message if count <= self.most else {"type": "http.disconnect"}

        return counted


def _host(netloc: str) -> str:
    """The name in `name:port`, `[::1]:port` or `name`."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _too_large(most: int) -> str:
    return f"The body is larger than {most // 1_000_000} MB. Send fewer examples at a time."


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
