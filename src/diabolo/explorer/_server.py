"""The server: a port, a token, the application behind its guard.

Only this file imports uvicorn: `pip install 'diabolo[explorer]'`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from diabolo.autoencoder.model import Autoencoder
from diabolo.config import as_whole_number, require
from diabolo.errors import ConfigError, MissingExtraError
from diabolo.explorer._connections import Bounded
from diabolo.explorer._guard import Guard
from diabolo.explorer._live import MOST_BYTES as MOST_LIVE

__all__ = ["Server", "Serving", "one_thread", "serve"]

MOST_BYTES = 128_000_000  # of a request's body
TURN = 0.0005  # seconds of one of Python's threads, while another one waits
LOCAL = ("127.0.0.1", "localhost", "::1")
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 (asked for)


@dataclass(frozen=True)
class Serving:
    """The address and the token of a server.

    Attributes:
        url: its address, without the token.
        token: the secret that each request carries.

    >>> Serving("http://127.0.0.1:8000", "secret").link()
    'http://127.0.0.1:8000/docs?token=secret'
    """

    url: str
    token: str

    def link(self, path: str = "/docs") -> str:
        """An address that opens in a browser."""
        return f"{self.url}{path}?token={self.token}"


class Server:
    """An open port, where an application answers once `run` gets one.

    The port opens first, so that a port in use is said before minutes of encoding.

    Args:
        host: the address to listen at; whoever reaches it and has the token can use the model.
        port: 0 takes a free one.
        token: the secret that each request carries; random when left out.

    Raises:
        MissingExtraError: uvicorn is not installed.
        ConfigError: the port is in use, or the address is not this machine's.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        require(0 <= as_whole_number("port", port) <= 65_535, "port", "0 (a free one) to 65535", port)
        require(token is None or len(token) >= 8, "token", "at least 8 characters", token)
        from diabolo.explorer import _http  # noqa: F401 (raises MissingExtraError without FastAPI)

        try:
            import uvicorn
            import websockets  # noqa: F401 (uvicorn needs it)
            from uvicorn.protocols.http.h11_impl import H11Protocol
        except ImportError as error:
            raise MissingExtraError(error.name or "uvicorn", "explorer", "The server") from error
        self._uvicorn, self._protocol = uvicorn, type("Connection", (Bounded, H11Protocol), {})
        self._socket = _listen(host, port)
        self._host = host
        name = f"[{host}]" if ":" in host else host
        self.serving = Serving(f"http://{name}:{self._socket.getsockname()[1]}", token or secrets.token_urlsafe(24))
        self._running: Any = None

    def run(self, app: Any, started: Callable[[Serving], None] = lambda serving: None) -> None:
        """Serves until the process is interrupted, or `stop` is called.

        Args:
            app: the application.
            started: called with the address, once connections are accepted.
        """
        hosts = {self._host, *(LOCAL if _is_local(self._host) else ())}
        if self._host in ANYWHERE:
            hosts |= {*LOCAL, socket.gethostname(), *_addresses()}
        config = self._uvicorn.Config(
            Guard(app, self.serving.token, hosts, MOST_BYTES),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
            http=self._protocol,
            ws="websockets-sansio",
            ws_max_size=MOST_LIVE,
            ws_per_message_deflate=False,
        )
        self._running = self._uvicorn.Server(config)
        started(self.serving)
        with self._socket, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again, depending on its version
            self._running.run(sockets=[self._socket])

    def stop(self) -> None:
        """Ends `run`, also from another thread, and closes the port."""
        if self._running is None:
            self._socket.close()
        else:
            self._running.should_exit = True


def serve(
    model: Autoencoder,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    started: Callable[[Serving], None] = lambda serving: None,
) -> None:
    """Serves a model to programs until the process is stopped.

    Args:
        model: the trained model.
        name: of it.
        host: the address to listen at; whoever reaches it and has the token can use the model.
        port: 0 takes a free one.
        token: the secret that each request carries; random when left out.
        started: called with the address, once connections are accepted.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        ConfigError: the port is in use, or the address is not this machine's.
    """
    from diabolo.explorer._api import make_api

    server = Server(host, port, token)
    with one_thread():
        server.run(make_api(model, name), started)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch inside the block: requests are small, and threads would wait for each other.

    Python's threads take turns ten times as often as usual: decoding a code gives its turn away once an operation, and
    would wait 5 ms for the next one each time while a large body is read.
    """
    threads, turn = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(1)
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        sys.setswitchinterval(turn)


def _listen(host: str, port: int) -> socket.socket:
    require(bool(host.strip()), "host", "an address to listen at, such as 127.0.0.1", host)  # nothing would be all
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: only then does asyncio switch Nagle's delay of small answers off.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError, TypeError) as error:  # of a name that can be none, too
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} of {host} is in use. Take another: --port N, or leave it out for a free one."
            ) from error
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise ConfigError(
            f"Nothing can listen at {host}, port {port}: {reason}. For this machine alone, leave "
            "--host out (127.0.0.1)."
        ) from error
    return listener


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _addresses() -> set[str]:
    """The addresses of this machine's name."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()
