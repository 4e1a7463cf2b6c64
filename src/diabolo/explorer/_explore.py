"""The explorer of a run: its atlas, its page and a server; in the foreground, or in a thread beside a notebook."""

from __future__ import annotations

import contextlib
import html
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from diabolo.autoencoder.model import Autoencoder
from diabolo.config import as_whole_number, require
from diabolo.errors import ConfigError
from diabolo.explorer._atlas import Atlas, Progress, open_atlas
from diabolo.explorer._guard import NOTEBOOKS
from diabolo.explorer._server import Server, Serving, one_thread

__all__ = ["Exploring", "explore", "open_atlases", "progress_bar", "serve_atlases", "serve_explorer"]

STOP = 5.0  # seconds for a server to start or to end


class Exploring:
    """An explorer in a thread beside a notebook, which shows it in a frame.

    Args:
        server: of the page.
        thread: in which the server runs.
        title: of the frame.
        height: of the frame, in pixels.

    A cell of a notebook:

        explorer = diabolo.explore(model)
        explorer
    """

    def __init__(self, server: Server, thread: threading.Thread, title: str, height: int) -> None:
        self._server = server
        self._thread = thread
        self._title = title
        self._height = height

    @property
    def url(self) -> str:
        """The address of its page, with the token."""
        return self._server.serving.link("/")

    def stop(self) -> None:
        """Ends the server; its page no longer answers."""
        self._server.stop()
        self._thread.join(STOP)

    def __repr__(self) -> str:
        return f"Exploring({self._title}: {self.url if self._thread.is_alive() else 'stopped'})"

    def _repr_html_(self) -> str:
        if not self._thread.is_alive():
            return f"<p>The explorer of {html.escape(self._title)} was stopped.</p>"
        url, title = html.escape(self.url), html.escape(f"Explorer of {self._title}")
        style = f"width:100%;height:{self._height}px;border:1px solid #8884;border-radius:8px"
        return (
            f'<iframe src="{url}" title="{title}" style="{style}" allow="clipboard-write; fullscreen"></iframe>'
            f'<p><a href="{url}" target="_blank" rel="noopener">Open in a tab of its own</a></p>'
        )


def serve_explorer(  # noqa: PLR0913 (the data, and the address)
    model: Autoencoder,
    source: Any = None,
    *,
    with_: Autoencoder | None = None,
    points: int = 100_000,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    data: Mapping[str, Any] | None = None,
    layouts: str | Sequence[str] = (),
    started: Callable[[Serving], None] = lambda serving: None,
) -> None:
    """Serves the explorer's page until the process is stopped.

    Args:
        model: the trained model.
        source: the examples, as `open_dataset` takes them; the model's own when left out.
        with_: a second model, to compare it with on the same examples.
        points: the most examples.
        host: the address to listen at; whoever reaches it and has the token can use the model.
        port: 0 takes a free one.
        token: the secret that each request carries; random when left out.
        data: options of `open_dataset`.
        layouts: of the map, beside its own: `module:function`, or the name that an installed package gives one.
        started: called with the address, once connections are accepted.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        ConfigError: the port is in use, the address is not this machine's, or the runs' data differ.
        DataError: the model's own data is gone: name a source.
        ShapeError: the examples do not have the shape of the model's.
    """
    server = Server(host, port, token)
    try:
        with progress_bar() as progress:
            models = [model, *([with_] if with_ else [])]
            atlases = open_atlases(models, source, data, points, progress=progress, layouts=layouts)
        serve_atlases(server, atlases, started)
    finally:
        server.stop()


def serve_atlases(
    server: Server, atlases: Sequence[Atlas], started: Callable[[Serving], None] = lambda serving: None
) -> None:
    """Serves the page of one run, or of two, until the process is stopped.

    Args:
        server: with its port open.
        atlases: of the runs.
        started: called with the address, once connections are accepted.
    """
    from diabolo.explorer._api import make_api

    with one_thread():
        server.run(make_api(atlases[0].model, atlases[0].name, atlases), started)


def explore(
    model: Autoencoder,
    source: Any = None,
    *,
    height: int = 720,
    with_: Autoencoder | None = None,
    points: int = 100_000,
    port: int = 0,
    data: Mapping[str, Any] | None = None,
    layouts: str | Sequence[str] = (),
) -> Exploring:
    """Starts an explorer in a thread, for a notebook on this machine; see `serve_explorer`.

    Args:
        model: the trained model.
        source: the examples; the model's own when left out.
        height: of the frame in the notebook, in pixels.
        with_: a second model, to compare it with on the same examples.
        points: the most examples.
        port: 0 takes a free one.
        data: options of `open_dataset`.
        layouts: of the map, beside its own: `module:function`, or the name that an installed package gives one.
    """
    require(as_whole_number("height", height) >= 200, "height", "a number of pixels of at least 200", height)
    from diabolo.explorer._api import make_api

    server = Server(port=port)
    try:
        with progress_bar() as progress:
            models = [model, *([with_] if with_ else [])]
            atlases = open_atlases(models, source, data, points, progress=progress, layouts=layouts)
        app = make_api(model, atlases[0].name, atlases, ancestors=NOTEBOOKS)
    except BaseException:
        server.stop()
        raise
    is_ready = threading.Event()
    thread = threading.Thread(
        target=server.run, args=(app, lambda _: is_ready.set()), name="diabolo explorer", daemon=True
    )
    thread.start()
    is_ready.wait(STOP)
    return Exploring(server, thread, f"{atlases[0].name} with {atlases[0].dataset.name}", height)


def open_atlases(
    models: Sequence[Autoencoder],
    source: Any = None,
    data: Mapping[str, Any] | None = None,
    points: int = 100_000,
    *,
    runs: Sequence[str] | None = None,
    progress: Progress | None = None,
    layouts: str | Sequence[str] = (),
) -> list[Atlas]:
    """The atlases of one model, or of two on the same examples.

    Args:
        models: the trained models.
        source: the examples; each model's own when left out.
        data: options of `open_dataset`.
        layouts: of the map, beside its own: `module:function`, or the name that an installed package gives one.
        points: the most examples.
        runs: the names of the models' folders; their paths when left out.
        progress: called with the number of examples done and their total.

    Raises:
        ConfigError: the runs' data differ.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> [len(atlas) for atlas in open_atlases([model, model], points=20)]
    [20, 20]
    """
    names: Sequence[str | None] = runs or [None] * len(models)
    atlases = [
        open_atlas(model, source, data, points=points, run=run, progress=progress, layouts=layouts)
        for model, run in zip(models, names, strict=True)
    ]
    first = atlases[0]
    for other in atlases[1:]:
        if other.dataset.fingerprint != first.dataset.fingerprint:
            raise ConfigError(
                f"Two runs are compared on the same examples, and these were trained on different ones: {first.name} "
                f"on {first.dataset.name}, {other.name} on {other.dataset.name}. Name the examples to show both with "
                "as SOURCE."
            )
    return atlases


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr, visible only while examples are encoded."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    quiet = not (console.is_interactive or console.is_jupyter)
    bar = Bar(*columns, console=console, transient=True, refresh_per_second=8, disable=quiet)
    tasks: list[TaskID] = []

    def advance(done: int, total: int) -> None:
        bar.start()
        if not tasks or bar.tasks[-1].finished:
            tasks.append(bar.add_task("finding the codes", total=total))
        bar.update(tasks[-1], completed=done)

    try:
        yield advance
    finally:
        if tasks:
            bar.stop()
