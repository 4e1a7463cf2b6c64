"""Connections of the server: so many at a time, each of which has to send a request, and take its answer, in time.

The server makes its protocol of this and uvicorn's, which no file but its own imports.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["MOST_CONNECTIONS", "SECONDS", "UNREAD", "Bounded"]

MOST_CONNECTIONS = 512
SECONDS = 10.0  # for the head of a request, and between two requests
UNREAD = 3  # times so long, in which nothing is taken of an answer


class Bounded:
    """What stands before uvicorn's protocol: it closes connections that are too many, or do nothing in time."""

    cycle: Any
    connections: Any
    loop: Any
    transport: Any

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Keeps a connection, where there is room for it."""
        super().connection_made(transport)  # type: ignore[misc]
        self._answered: object = self.cycle
        self._unread, self._looks = 0, 0
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self.loop.call_later(SECONDS, self._look)

    def _look(self) -> None:
        """Closes the connection where nothing was sent, or taken, since earlier looks; a WebSocket is not its own."""
        if self not in self.connections or self.transport.is_closing():
            return
        is_busy = self.cycle is not None and not self.cycle.response_complete
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
