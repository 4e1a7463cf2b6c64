"""Connections of the server: so many at a time, each of which has to send a request, and take its answer, in time.

Where there are too many, the one that has done nothing for the longest time gives way to the new one, so that whoever
holds all of them without asking for anything keeps nobody out.

The server makes its protocol of this and uvicorn's, which no file but its own imports.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["MOST_CONNECTIONS", "SECONDS", "UNREAD", "Bounded"]

MOST_CONNECTIONS = 512
SECONDS = 10.0  # for the head of a request, and between two requests
UNREAD = 3  # times so long, in which nothing is taken of an answer
PAUSE = 0.005  # seconds between two parts of a body that was refused, of a quarter of a megabyte each


class Bounded:
    """What stands before uvicorn's protocol: it closes connections that are too many, or do nothing in time."""

    cycle: Any
    connections: Any
    flow: Any
    loop: Any
    transport: Any

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Keeps a connection, and closes the idlest where there are too many."""
        super().connection_made(transport)  # type: ignore[misc]
        self._answered: object = self.cycle
        self._unread, self._looks = 0, 0
        self._since = self.loop.time()
        open_ones = [one for one in self.connections if not one.transport.is_closing()]
        if len(open_ones) > MOST_CONNECTIONS:
            idle = [one for one in open_ones if isinstance(one, Bounded) and not one.is_busy]
            min(idle, key=lambda one: one._since).transport.abort()
        self.loop.call_later(SECONDS, self._look)

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way."""
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Takes what was sent; what is left of a body that was refused already is read slowly, and thrown away."""
        super().data_received(data)  # type: ignore[misc]
        if self.is_busy:
            self._since = self.loop.time()
        elif self.cycle is not None and self.cycle.more_body:
            self.transport.pause_reading()
            self.loop.call_later(PAUSE, self._read_on)

    def _read_on(self) -> None:
        if self in self.connections and not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _look(self) -> None:
        """Closes the connection where nothing was sent, or taken, since earlier looks; a WebSocket is not its own."""
        if self not in self.connections or self.transport.is_closing():
            return
        is_busy = self.is_busy
        if not is_busy and self.cycle is self._answered:
            self.transport.close()
            return
        unread = self.transport.get_write_buffer_size()
        self._looks = self._looks + 1 if unread and unread == self._unread else 0
        if self._looks >= UNREAD:
            self.transport.abort()
            return
        self._unread, self._answered = unread, None if is_busy else self.cycle
        self.loop.call_later(SECONDS, self._look)
