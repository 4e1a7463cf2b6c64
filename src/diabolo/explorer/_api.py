"""What can be asked of a model over HTTP; arrays travel as .npy or as JSON.

FastAPI is imported in this file alone: `pip install 'diabolo[explorer]'`.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from html import escape
from typing import Annotated, Any, Literal

import numpy as np

import diabolo
from diabolo.anomalies import SCORES
from diabolo.autoencoder import Autoencoder
from diabolo.errors import ConfigError, DataError, DiaboloError, MissingExtraError

try:
    from fastapi import FastAPI, Query, Request, Response
    from fastapi.concurrency import run_in_threadpool
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from starlette.requests import ClientDisconnect
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "explorer", "The server") from error

__all__ = ["MOST_EXAMPLES", "make_api"]

MOST_EXAMPLES = 10_000  # in one request
NPY = "application/x-npy"
DEEPEST = 8  # lists inside one another, in JSON

Seed = Annotated[int, Query(ge=0, le=2**32 - 1, description="of what is drawn; the same seed gives the same answer")]
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            NPY: {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "array", "items": {}, "minItems": 1}},
                }
            },
        },
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "an array: JSON {shape, data}, or .npy where the request accepts application/x-npy",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["shape", "data"],
                    "properties": {
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "data": {"type": "array", "items": {}},
                    },
                }
            },
            NPY: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    400: {"description": "something that cannot be, and what could"},
    401: {"description": "the token is missing or stale"},
    413: {"description": "the body is too large"},
    422: {"description": "a parameter that cannot be"},
}


def make_api(model: Autoencoder, name: str) -> FastAPI:  # noqa: C901 (one small function for each endpoint)
    """The application: `GET /api/model` and `POST /api/{encode, decode, reconstruct, score, sample, edit}`.

    Args:
        model: the trained model.
        name: what to call it.
    """
    app = FastAPI(
        title=f"diabolo serve: {name}",
        version=diabolo.__version__,
        description="A trained autoencoder. Arrays travel as .npy (application/x-npy) or as JSON.",
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
    )
    lock = threading.Lock()  # one computation at a time: torch shares its threads among them anyway

    async def answer(request: Request, work: Callable[[], np.ndarray]) -> Response:
        def locked() -> np.ndarray:
            with lock:
                return work()

        made = await run_in_threadpool(locked)
        return _written(made, request.headers.get("accept", ""))

    _add_errors(app)

    @app.get("/api/model", summary="What the model is", responses={401: ANSWERS[401]})
    def about() -> dict[str, Any]:
        return _about(model, name)

    @app.post("/api/encode", summary="Examples to codes", openapi_extra=BODY, responses=ANSWERS)
    async def encode(request: Request) -> Response:
        x = await _read(request)
        return await answer(request, lambda: model.encode(x))

    @app.post("/api/decode", summary="Codes to examples", openapi_extra=BODY, responses=ANSWERS)
    async def decode(request: Request) -> Response:
        z = await _read(request)
        return await answer(request, lambda: model.decode(z))

    @app.post("/api/reconstruct", summary="Through the code and back", openapi_extra=BODY, responses=ANSWERS)
    async def reconstruct(request: Request) -> Response:
        x = await _read(request)
        return await answer(request, lambda: model.reconstruct(x))

    @app.post("/api/score", summary="How badly each is explained", openapi_extra=BODY, responses=ANSWERS)
    async def score(
        request: Request,
        kind: Annotated[Literal[SCORES] | None, Query(description="of score")] = None,  # type: ignore[valid-type]
        draws: Annotated[int | None, Query(ge=0, le=1024, description="codes drawn for each example")] = None,
        seed: Seed = 0,
    ) -> Response:
        x = await _read(request)
        return await answer(request, lambda: model.score(x, kind=kind, draws=draws, seed=seed))

    @app.post("/api/sample", summary="New examples", responses=ANSWERS)
    async def sample(
        request: Request,
        n: Annotated[int, Query(ge=1, le=MOST_EXAMPLES, description="how many")] = 1,
        seed: Seed = 0,
        prior: Annotated[Literal["auto", "own", "fitted"], Query(description="where codes come from")] = "auto",
    ) -> Response:
        return await answer(request, lambda: model.sample(n, seed=seed, prior=prior))

    @app.post("/api/edit", summary="Moved along concepts", openapi_extra=BODY, responses=ANSWERS)
    async def edit(
        request: Request,
        concept: Annotated[list[str], Query(description="NAME=STRENGTH; again for more", min_length=1, max_length=32)],
    ) -> Response:
        wanted = dict(map(_concept, concept))
        x = await _read(request)
        return await answer(request, lambda: model.edit(x, wanted))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_page(app.openapi(), model))

    return app


def _add_errors(app: FastAPI) -> None:
    """Every error as JSON with one sentence, and none as a traceback."""

    @app.exception_handler(DiaboloError)
    def mistake(_: Request, error: DiaboloError) -> JSONResponse:
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, 400)

    @app.exception_handler(RequestValidationError)
    def parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        parts = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return JSONResponse({"error": "; ".join(parts), "kind": "ParameterError"}, 422)

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        """Nobody reads this, unless it was the guard that cut off a body that is too large."""
        return JSONResponse({"error": "The body did not end, or is too large: send fewer examples at a time."}, 413)

    @app.exception_handler(MemoryError)
    def memory(_: Request, __: MemoryError) -> JSONResponse:
        return JSONResponse({"error": "There is not enough memory for so many examples: send fewer."}, 413)


async def _read(request: Request) -> np.ndarray:
    """The array in a request's body.

    Raises:
        DataError: there is none, or one that cannot be used.
    """
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = _from_npy(body) if kind == NPY or body[:6] == b"\x93NUMPY" else _from_json(body)
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        raise DataError(f"The body should hold an array of numbers, and holds {found.dtype} of shape {found.shape}.")
    if not 1 <= len(found) <= MOST_EXAMPLES:
        raise DataError(f"A request takes 1 to {MOST_EXAMPLES:,} examples, and was given {len(found):,}.")
    return found


def _from_npy(body: bytes) -> np.ndarray:
    try:
        return np.asarray(np.load(io.BytesIO(body), allow_pickle=False))
    except (ValueError, OSError, EOFError, TypeError, SyntaxError, MemoryError, OverflowError) as error:
        raise DataError(f"The body is no .npy array of numbers: {error}.") from error


def _from_json(body: bytes) -> np.ndarray:
    try:
        value = json.loads(body)
        data = value["data"] if isinstance(value, dict) else value
        if _depth(data) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists inside one another")
        return np.asarray(data)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        reason = "there is no entry data" if isinstance(error, KeyError) else str(error)[:200]
        raise DataError(
            f'The body should be JSON such as {{"data": [[0.1, 0.2], ...]}}, or a .npy file sent as {NPY}: {reason}.'
        ) from error


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value and depth <= DEEPEST:
        depth, value = depth + 1, value[0]
    return depth


def _written(made: np.ndarray, accept: str) -> Response:
    if NPY in accept:
        buffer = io.BytesIO()
        np.save(buffer, made, allow_pickle=False)
        return Response(buffer.getvalue(), media_type=NPY)
    if not np.isfinite(made).all():  # JSON has no word for these
        words = made.astype(object)
        words[~np.isfinite(made)] = None
        made = words
    return JSONResponse({"shape": list(made.shape), "data": made.tolist()})


def _concept(word: str) -> tuple[str, float]:
    name, _, number = word.partition("=")
    try:
        strength = float(number)
    except ValueError:
        strength = np.nan
    if not np.isfinite(strength):
        raise ConfigError(f"concept takes a name and a strength, such as smile=2, and was given {word!r}.")
    return name, strength


def _about(model: Autoencoder, name: str) -> dict[str, Any]:
    config = model.model.config()
    return {
        "name": name,
        "diabolo": diabolo.__version__,
        "event_shape": list(model.event_shape),
        "layout": model.layout,
        "latent_dim": model.latent_dim,
        "parameters": model.model.parameter_count,
        **{kind: config[kind]["name"] for kind in ("model", "network", "likelihood")},
        "data": model.info.get("data", {}).get("name"),
        "classes": list(model.classes),
        "density": model.has_density,
        "prior": model.prior.kind if model.prior else "own" if model.has_prior else None,
        "concepts": {one.name: {"auc": one.auc, "gap": one.gap} for one in model.concepts.values()},
        "scores": list(SCORES) if model.has_density else [s for s in SCORES if s not in ("elbo", "likelihood")],
        "most_examples": MOST_EXAMPLES,
    }


def _page(schema: dict[str, Any], model: Autoencoder) -> str:
    """The endpoints as a page that needs nothing from elsewhere."""
    codes, examples = f"(n, {model.latent_dim})", f"(n, {', '.join(map(str, model.event_shape))})"
    parts = []
    for path, methods in schema["paths"].items():
        for method, entry in methods.items():
            rows = "".join(
                f"<li><code>{escape(item['name'])}</code> {escape(item.get('description', ''))}</li>"
                for item in entry.get("parameters", ())
            )
            shape = codes if path.endswith("decode") else examples
            body = f"<p>Body: an array, {shape}.</p>" if "requestBody" in entry else ""
            body += f"<ul>{rows}</ul>" if rows else ""
            parts.append(
                f"<section><h2>{escape(entry.get('summary', ''))}</h2>"
                f"<p><code>{method.upper()} {escape(path)}</code></p>{body}</section>"
            )
    example = (
        "import io\nimport urllib.request\n\nimport numpy as np\n\n"
        "buffer = io.BytesIO()\n"
        f"np.save(buffer, x)  # {examples}\n"
        "headers = {\n"
        '    "Authorization": "Bearer " + TOKEN,\n'
        '    "Content-Type": "application/x-npy",\n'
        '    "Accept": "application/x-npy",\n'
        "}\n"
        'request = urllib.request.Request(URL + "/api/encode", buffer.getvalue(), headers)\n'
        "answer = urllib.request.urlopen(request).read()\n"
        f"codes = np.load(io.BytesIO(answer))  # {codes}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(schema['info']['title'])}</title><style>body{{font:16px/1.6 system-ui,sans-serif;"
        "max-width:46rem;margin:3rem auto;padding:0 1rem}h2{font-size:1.1rem;margin:2rem 0 .25rem}p{margin:.25rem 0}"
        "pre{padding:1rem;overflow:auto;border:1px solid #8886;border-radius:.5rem}</style></head><body><main>"
        f"<h1>{escape(schema['info']['title'])}</h1><p>{escape(schema['info']['description'])} Each request brings the "
        "token, as <code>Authorization: Bearer TOKEN</code> or <code>?token=TOKEN</code>. The same in a form for "
        f"programs: <code>/openapi.json</code>.</p><pre>{escape(example)}</pre>{''.join(parts)}</main></body></html>"
    )
