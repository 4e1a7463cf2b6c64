"""`serve`: a run over HTTP, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._parser import Parser
from diabolo.explorer import Serving
from diabolo.explorer import serve as serve_model

__all__ = ["serve"]


def serve(parser: Parser, words: Sequence[str]) -> int:
    """Serves a run until Ctrl-C."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=0, help="a free one if left out")
    parser.add_argument("--token", help="what has to come with each request; drawn if left out")
    arguments = parser.parse(words)
    model, name = Autoencoder.load(arguments.run), Path(arguments.run).resolve().name

    def announce(serving: Serving) -> None:
        print(f"{name} answers at {serving.url}")
        print(f"  token  {serving.token}")
        print(f"  help   {serving.link()}")
        print("Ctrl-C ends it.", flush=True)

    serve_model(model, name, host=arguments.host, port=arguments.port, token=arguments.token, started=announce)
    return 0
