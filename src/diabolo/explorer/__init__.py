"""A trained model behind HTTP: `diabolo serve RUN`.

guard    who may ask: a token, the right Host and Origin, bodies of a bounded size
api      what can be asked: encode, decode, reconstruct, score, sample, edit
server   the process that listens
"""

from __future__ import annotations

from diabolo.explorer._server import Serving, serve

__all__ = ["Serving", "serve"]
