"""The process that listens: a port, a token, the application behind its guard.

uvicorn is imported in this file alone: `pip install 'diabolo[explorer]'`.
"""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

import torch

from diabolo.autoencoder import Autoencoder
from diabolo.errors import ConfigError, MissingExtraError
from diabolo.explorer._guard import Guard
from diabolo.signature import require

__all__ = ["Serving", "serve"]

MOST_BYTES = 256_000_000  # of a request's body
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Serving:
    """Where a server listens.

    Attributes:
        url: its address, without the token.
        token: what has to come with each request.
    """

    url: str
    token: str

    def link(self, path: str = "/docs") -> str:
        """An address that opens in a browser."""
        return f"{self.url}{path}?token={self.token}"


def serve(
    model: Autoencoder,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    started: Callable[[Serving], None] = lambda serving: None,
) -> None:
    """Answers requests until the process is stopped.

    Args:
        model: the trained model.
        name: what to call it.
        host: the address to listen at; whoever reaches it and has the token can use the model.
        port: 0 takes a free one.
        token: what has to come with each request; drawn when left out.
        started: is told where, once connections are taken.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        ConfigError: the port is in use, or the address is not this machine's.
    """
    require(0 <= port <= 65_535, "port", "0 (a free one) to 65535", port)
    require(token is None or len(token) >= 8, "token", "at least 8 characters", token)
    from diabolo.explorer._api import make_api

    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", "explorer", "The server") from error
    torch.set_num_threads(1)  # a request is small, and beside a busy browser several threads wait for one another
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    serving = Serving(f"http://{shown}:{bound}", token or secrets.token_urlsafe(24))
    hosts = {host, *(LOCAL if _is_local(host) or host in ("0.0.0.0", "::") else ())}  # noqa: S104 (asked for)
    if host in ("0.0.0.0", "::"):  # noqa: S104
        hosts |= {socket.gethostname(), *_addresses()}
    app = Guard(make_api(model, name), serving.token, hosts, MOST_BYTES)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    started(serving)
    with listening:
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} of {host} is in use. Take another: --port N, or leave it out for a free one."
            ) from error
        raise ConfigError(
            f"Nothing can listen at {host}, port {port}: {error.strerror or error}. For this machine alone, leave "
            "--host out (127.0.0.1)."
        ) from error
    return made


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _addresses() -> set[str]:
    """The addresses of this machine's own name."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()
