"""Latent codes in, pictures out, over a WebSocket: one message for each movement of the pointer.

An answer takes less than half the time of a request, since nothing is opened, routed or parsed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import DiaboloError
from diabolo.explorer._desk import FEW_VALUES, Desk
from diabolo.explorer._guard import App, Receive, Scope, Send
from diabolo.explorer._labels import labels_of
from diabolo.storage import images

__all__ = ["MOST_BYTES", "Live"]

MOST_BYTES = 1 << 18  # of a message
LABEL = "label="
AT_ONCE = 4  # latent codes that are decoded without a thread


class Live:
    """An ASGI application that answers WebSockets and passes everything else on.

    A message holds latent codes, float32 in the machine's byte order (little on all that torch runs on), one after
    another. The answer holds their pictures: bytes of pixels for images, float32 for everything else; or a sentence
    about the error. Where a model takes labels, `label` in the query is the class of the codes, by name or number; a
    message in words, label=NAME, is that of all that follow, and is answered with no bytes. A single code waits for no
    other request: it is decoded at once, whatever else computes meanwhile.

    Args:
        app: the other application.
        models: the models by path, such as /api/live.
        desk: where everything else is computed.
    """

    def __init__(self, app: App, models: Mapping[str, Autoencoder], desk: Desk) -> None:
        self.app = app
        self.models = models
        self.desk = desk

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
        label = parse_qs(scope["query_string"].decode("latin-1")).get("label", [])[:1]
        while (message := await receive())["type"] == "websocket.receive":
            words = message.get("text") or ""
            if words.startswith(LABEL):
                label = [words.removeprefix(LABEL)] if words != LABEL else []
                answer = _class(model, label)
            else:
                answer = await self._answered(model, message.get("bytes") or b"", label)
            await send({"type": "websocket.send", **answer})

    async def _answered(self, model: Autoencoder, data: bytes, label: list[str]) -> dict[str, Any]:
        count = len(data) // (4 * model.latent_dim)
        if count <= AT_ONCE and not self.desk.computes_alone:  # decoding these takes less time than a switch of threads
            return _picture(model, data, label)
        lane = self.desk.quick if count <= AT_ONCE else self.desk.slow
        answer: dict[str, Any] = await lane.run(lambda: _picture(model, data, label))
        return answer


def _class(model: Autoencoder, label: list[str]) -> dict[str, Any]:
    """A WebSocket's answer to a class: no bytes, or text where there is an error."""
    try:
        labels_of(model, label, 1, needed=False)
    except DiaboloError as error:
        return {"text": str(error)}
    return {"bytes": b""}


def _picture(model: Autoencoder, data: bytes, label: list[str]) -> dict[str, Any]:
    """A WebSocket's answer: bytes, or text where there is an error."""
    width = 4 * model.latent_dim
    if not data or len(data) % width:
        return {"text": f"A message should hold codes of {model.latent_dim} numbers in float32, {width} bytes each."}
    most = max(1, FEW_VALUES // model.model.preprocess.values)
    if len(data) > most * width:
        return {"text": f"A message takes at most {most} codes of this model: POST /api/decode takes more."}
    try:
        codes = np.frombuffer(data, np.float32).reshape(-1, model.latent_dim)
        x = model.decode(codes, labels_of(model, label, len(codes)))
    except DiaboloError as error:
        return {"text": str(error)}
    return {"bytes": (model.pixels(x) if images.is_image(model.layout) else x).tobytes()}
