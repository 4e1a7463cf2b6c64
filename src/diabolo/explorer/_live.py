"""Codes in, pictures out, over a WebSocket: what the page asks at each movement of the pointer.

A message is answered in less than half the time of a request, since nothing is opened, routed or parsed for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import DiaboloError
from diabolo.explorer._guard import App, Receive, Scope, Send
from diabolo.storage import images

__all__ = ["MOST_BYTES", "Live"]

MOST_BYTES = 1 << 18  # of a message
AT_ONCE = 64  # codes that are decoded without a thread


class Live:
    """An ASGI application that answers WebSockets, and leaves all else to another one.

    A message holds codes, float32 of the machine's byte order (little on all that torch runs on), one after another; it
    is answered by their pictures: bytes of pixels for images, float32 for everything else. What cannot be decoded is
    answered by a sentence.

    Args:
        app: the other application.
        models: the models by path, such as /api/live.
        lock: held while a model computes.
    """

    def __init__(self, app: App, models: Mapping[str, Autoencoder], lock: threading.Lock) -> None:
        self.app = app
        self.models = models
        self.lock = lock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers until the other end closes."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        model = self.models.get(scope["path"])
        await receive()  # that it connects
        if model is None:
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", **await self._answered(model, message.get("bytes") or b"")})

    async def _answered(self, model: Autoencoder, data: bytes) -> dict[str, Any]:
        few = len(data) <= AT_ONCE * 4 * model.latent_dim  # which take less time than a thread's turn
        if few and self.lock.acquire(blocking=False):
            try:
                return _picture(model, data)
            finally:
                self.lock.release()
        return await asyncio.to_thread(self._waited, model, data)

    def _waited(self, model: Autoencoder, data: bytes) -> dict[str, Any]:
        with self.lock:
            return _picture(model, data)


def _picture(model: Autoencoder, data: bytes) -> dict[str, Any]:
    """A WebSocket's answer: bytes, or text where there is an error."""
    width = 4 * model.latent_dim
    if not data or len(data) % width:
        return {"text": f"A message should hold codes of {model.latent_dim} numbers in float32, {width} bytes each."}
    try:
        made = model.decode(np.frombuffer(data, np.float32).reshape(-1, model.latent_dim))
    except DiaboloError as error:
        return {"text": str(error)}
    return {"bytes": (model.pixels(made) if images.is_image(model.layout) else made).tobytes()}
