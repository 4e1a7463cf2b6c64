"""`explore`: a run in the browser, or as a page without a server; `serve`: a run over HTTP, for programs."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._parser import Parser, add_data_options, data_options, names_in_help
from diabolo.diagnostics import plural
from diabolo.explorer import Atlas, Serving, layouts, open_atlases
from diabolo.explorer import serve as serve_model
from diabolo.explorer._explore import progress_bar, serve_atlases
from diabolo.explorer._server import Server

__all__ = ["explore", "serve"]


def explore(parser: Parser, words: Sequence[str]) -> int:
    """Serves the page of a run until Ctrl-C, or writes it as files."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("source", nargs="?", help="the examples to show; the run's own data if left out")
    parser.add_argument(
        "--with", dest="other", metavar="RUN2", help="a second run, to compare it with on the same examples"
    )
    parser.add_argument(
        "--points", type=int, default=100_000, metavar="N", help="how many examples at most (default: 100000)"
    )
    parser.add_argument(
        "--map",
        metavar="NAME,...",
        default="",
        help=f"layouts to offer beside the page's own: module:function, or of {names_in_help(layouts, words)}",
    )
    _add_address(parser)
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    parser.add_argument("--export", type=Path, metavar="PATH", help="write the page as files instead, and end")
    add_data_options(parser)
    arguments = parser.parse(words)
    runs = [arguments.run, *([arguments.other] if arguments.other else [])]
    models = [Autoencoder.load(run) for run in runs]
    server = None if arguments.export else Server(arguments.host, arguments.port, arguments.token)
    try:
        with progress_bar() as progress:
            data = data_options(vars(arguments))
            atlases = open_atlases(
                models, arguments.source, data, arguments.points, runs=runs, progress=progress, layouts=arguments.map
            )
        if server is None:
            return _export(atlases, arguments.export)
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how a user ends it
            serve_atlases(server, atlases, started=lambda serving: _started(serving, atlases, not arguments.no_browser))
    finally:
        if server is not None:
            server.stop()
    return 0


def _add_address(parser: Parser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=0, help="a free one if left out")
    parser.add_argument("--token", help="what has to come with each request; drawn if left out")


def serve(parser: Parser, words: Sequence[str]) -> int:
    """Serves a run until Ctrl-C."""
    parser.add_argument("run", help="the run's folder")
    _add_address(parser)
    arguments = parser.parse(words)
    model, name = Autoencoder.load(arguments.run), Path(arguments.run).resolve().name

    def announce(serving: Serving) -> None:
        print(f"{name} answers at {serving.url}")
        print(f"  token  {serving.token}")
        print(f"  help   {serving.link()}")
        print("Ctrl-C ends it.", flush=True)

    serve_model(model, name, host=arguments.host, port=arguments.port, token=arguments.token, started=announce)
    return 0


def _export(atlases: Sequence[Atlas], path: Path) -> int:
    write: Any = importlib.import_module("diabolo.explorer._static_page").export_page
    paths = write(atlases[0], path, other=atlases[1] if len(atlases) > 1 else None)
    print(f"{_description(atlases)} -> {', '.join(map(str, paths))}")
    return 0


def _started(serving: Serving, atlases: Sequence[Atlas], browser: bool) -> None:
    url = serving.link("/")
    print(_description(atlases))
    print(f"  {url}")
    print("Ctrl-C ends it.", flush=True)
    if browser:
        threading.Thread(target=_open, args=(url,), daemon=True).start()


def _description(atlases: Sequence[Atlas]) -> str:
    """`mnist-vae with 60,000 of the 70,000 examples of mnist`."""
    atlas = atlases[0]
    total = len(atlas.dataset)
    count = plural(total, "example") if len(atlas) == total else f"{len(atlas):,} of the {total:,} examples"
    names = " and ".join(one.name for one in atlases)
    note = "" if len(atlas) == total else ", chosen at random (--points N shows more)"
    return f"{names} with {count} of {atlas.dataset.name}{note}"


def _open(url: str) -> None:
    """Opens a browser with a window, where there is one; the address is printed in any case."""
    windows = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if windows or not sys.platform.startswith("linux"):  # without a window, a text browser would take over the terminal
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(url)
