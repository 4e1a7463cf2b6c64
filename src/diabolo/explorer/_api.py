"""The HTTP application: the routes of a model, and those of the explorer."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Sequence
from html import escape
from typing import Annotated, Any, Literal

import numpy as np

from diabolo._version import __version__
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError
from diabolo.evaluation import DRAWS
from diabolo.explorer._atlas import Atlas
from diabolo.explorer._desk import Desk
from diabolo.explorer._explore_api import add_explore_routes
from diabolo.explorer._guard import page_policy
from diabolo.explorer._http import (
    MOST_EXAMPLES,
    MOST_VALUES,
    NPY,
    APIRouter,
    FastAPI,
    HTMLResponse,
    Query,
    Request,
    Response,
    Table,
    add_errors,
)
from diabolo.explorer._labels import LONGEST, labels_of
from diabolo.explorer._live import Live
from diabolo.explorer._page import page
from diabolo.explorer._run_state import about, tokens_of
from diabolo.latent.anomalies import SCORES
from diabolo.runs.data import open_examples
from diabolo.storage import images

__all__ = ["make_api"]

Seed = Annotated[int, Query(ge=0, le=2**32 - 1, description="of what is drawn; the same seed gives the same answer")]
Columns = Annotated[bool, Query(description="of tables: answer with the columns of the source, by name, as JSON")]
Pixels = Annotated[bool, Query(description="of images: answer with uint8 as they are drawn, (n, H, W) or (n, H, W, 3)")]
Label = Annotated[
    list[Annotated[str, Query(max_length=LONGEST)]],
    Query(description="of models that take one: the class, by name or number; once for all, or once for each"),
]
NONE: list[str] = []
BODY: dict[str, Any] = {
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
VALUES = {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}}
TABLE = copy.deepcopy(BODY)
TABLE["requestBody"]["content"]["application/json"]["schema"] = {
    "type": "object",
    "properties": {
        "data": {"type": "array", "items": {}, "minItems": 1},
        "columns": {"type": "object", "additionalProperties": VALUES},
    },
}
"""Of examples: an array, or the columns of a table by name."""
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
}
ERRORS: dict[int | str, dict[str, Any]] = {  # of all routes
    400: {"description": "something that cannot be, and what could"},
    401: {"description": "the token is missing or stale"},
    404: {"description": "there is nothing of that name"},
    409: {"description": "there is something of that name already"},
    413: {"description": "the body is too large"},
    422: {"description": "a parameter that cannot be"},
    503: {"description": "too much is under way: ask again"},
}


def make_api(model: Autoencoder, name: str, atlases: Sequence[Atlas] = (), *, ancestors: str = "'none'") -> FastAPI:
    """The application: `GET /api/model`, `POST /api/{encode, decode, reconstruct, score, sample, edit, tokens, codes}`.

    With an atlas it also serves the explorer's page, and its routes below `/api/explore`; a second atlas has the same
    below `/other/api`.

    Args:
        model: the trained model.
        name: of it.
        atlases: of the model, and of a second one to compare it with.
        ancestors: the pages that may show the explorer in a frame, as a content security policy names them.
    """
    app = FastAPI(
        title=f"diabolo {'explore' if atlases else 'serve'}: {name}",
        version=__version__,
        description="A trained autoencoder. Arrays travel as .npy (application/x-npy) or as JSON.",
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    add_errors(app)
    prefixes = ("/api", "/other/api")[: max(1, len(atlases))]
    models = [atlas.model for atlas in atlases] or [model]
    desk = Desk(*models)
    lines = {f"{prefix}/live": one for prefix, one in zip(prefixes, models, strict=True)}
    app.add_middleware(Live, models=lines, desk=desk)
    for place, prefix in enumerate(prefixes):
        router = APIRouter(prefix=prefix, responses=ERRORS)
        atlas = atlases[place] if atlases else None
        _add_model_routes(router, model if atlas is None else atlas.model, name if atlas is None else atlas.name, desk)
        if atlas is not None:
            add_explore_routes(router, atlas, desk)
        app.include_router(router)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_docs_page(app.openapi(), model))

    if atlases:

        @app.get("/", include_in_schema=False)
        def explorer() -> HTMLResponse:
            nonce = secrets.token_urlsafe(16)
            html = page({"mode": "server", "runs": list(prefixes)}, nonce=nonce)
            return HTMLResponse(html, headers={"content-security-policy": page_policy(nonce, ancestors)})

    return app


def _add_model_routes(router: APIRouter, model: Autoencoder, name: str, desk: Desk) -> None:  # noqa: C901
    """One small function for each route."""
    values = model.model.preprocess.values
    most = max(1, min(MOST_EXAMPLES, MOST_VALUES // values))

    async def answer(
        request: Request, work: Callable[[np.ndarray], Any], *, examples: bool = True, times: int = 1
    ) -> Response:
        return await desk.array(request, work, times * values, most, rows if examples else None)

    def rows(table: Table) -> np.ndarray:
        return np.asarray(open_examples(model, table).x)

    def displayed(x: np.ndarray, pixels: bool, columns: bool) -> Any:
        return model.pixels(x) if pixels else model.table(x) if columns else x

    def check_pixels(pixels: bool) -> None:
        if pixels and not images.is_image(model.layout):
            raise ConfigError(f"pixels=true is for images, and the examples of this model ({model.layout}) are none.")

    @router.get("/model", summary="What the model is")
    def what() -> dict[str, Any]:
        return {
            **about(model, name),
            "data": model.info.get("data", {}).get("name"),
            "concepts": {one.name: {"auc": one.auc, "gap": one.gap} for one in model.concepts.values()},
            "most_examples": most,
        }

    @router.post("/encode", summary="Examples to codes", openapi_extra=TABLE, responses=ANSWERS)
    async def encode(request: Request, label: Label = NONE) -> Response:
        return await answer(request, lambda x: model.encode(x, labels_of(model, label, len(x))))

    @router.post("/decode", summary="Codes to examples", openapi_extra=BODY, responses=ANSWERS)
    async def decode(
        request: Request,
        pixels: Pixels = False,
        columns: Columns = False,
        tokens: Annotated[bool, Query(description="the body holds tokens, (n, positions, levels)")] = False,
        label: Label = NONE,
    ) -> Response:
        check_pixels(pixels)

        def decoded(z: np.ndarray) -> Any:
            codes = model.codes_of(z) if tokens else z
            return displayed(model.decode(codes, labels_of(model, label, len(z))), pixels, columns)

        return await answer(request, decoded, examples=False)

    @router.post("/reconstruct", summary="Through the latent code and back", openapi_extra=TABLE, responses=ANSWERS)
    async def reconstruct(
        request: Request, pixels: Pixels = False, columns: Columns = False, label: Label = NONE
    ) -> Response:
        check_pixels(pixels)

        def copied(x: np.ndarray) -> Any:
            return displayed(model.reconstruct(x, labels_of(model, label, len(x))), pixels, columns)

        return await answer(request, copied)

    @router.post(
        "/tokens", summary="Examples to tokens, numbers of codebook entries", openapi_extra=TABLE, responses=ANSWERS
    )
    async def tokens(request: Request, label: Label = NONE) -> Response:
        return await answer(request, lambda x: model.tokens(x, labels_of(model, label, len(x))))

    @router.post(
        "/codes", summary="Tokens, or the upper level of codes, to codes", openapi_extra=BODY, responses=ANSWERS
    )
    async def codes_of(request: Request) -> Response:
        work = model.completed if model.model.objective.sections else model.codes_of
        return await answer(request, work, examples=False)

    @router.post("/score", summary="How badly each is explained", openapi_extra=TABLE, responses=ANSWERS)
    async def score(
        request: Request,
        kind: Annotated[Literal[SCORES] | None, Query(description="of score")] = None,  # type: ignore[valid-type]
        draws: Annotated[int | None, Query(ge=0, le=1024, description="codes drawn for each example")] = None,
        seed: Seed = 0,
        label: Label = NONE,
    ) -> Response:
        def scored(x: np.ndarray) -> np.ndarray:
            return model.score(x, labels_of(model, label, len(x)), kind=kind, draws=draws, seed=seed)

        return await answer(request, scored, times=max(1, *DRAWS.values()) if draws is None else max(1, draws))

    @router.post("/sample", summary="New examples", responses=ANSWERS)
    async def sample(
        request: Request,
        n: Annotated[int, Query(ge=1, le=MOST_EXAMPLES, description="how many")] = 1,
        seed: Seed = 0,
        prior: Annotated[Literal["auto", "own", "fitted"], Query(description="where codes come from")] = "auto",
        codes: Annotated[bool, Query(description="answer with their codes, (n, d), instead")] = False,
        columns: Columns = False,
        label: Annotated[
            list[Annotated[str, Query(max_length=LONGEST)]],
            Query(description="of models that take one: the class, by name or number; all classes in turn if left out"),
        ] = NONE,
    ) -> Response:
        draw = model.sample_codes if codes else model.sample
        if n > most:
            raise ConfigError(f"A request takes 1 to {most:,} examples of this model, and was given {n:,}.")

        def drawn() -> Any:
            x = draw(n, seed=seed, prior=prior, y=labels_of(model, label, n, needed=False))
            return displayed(x, False, columns and not codes)

        return await desk.new_array(request, drawn, n * values)

    @router.post("/edit", summary="Moved along concepts", openapi_extra=TABLE, responses=ANSWERS)
    async def edit(
        request: Request,
        concept: Annotated[list[str], Query(description="NAME=STRENGTH; again for more", min_length=1, max_length=32)],
        columns: Columns = False,
        label: Label = NONE,
    ) -> Response:
        strengths = dict(map(_concept, concept))

        def edited(x: np.ndarray) -> Any:
            return displayed(model.edit(x, strengths, y=labels_of(model, label, len(x))), False, columns)

        return await answer(request, edited)


def _concept(word: str) -> tuple[str, float]:
    name, _, number = word.partition("=")
    try:
        strength = float(number)
    except ValueError:
        strength = np.nan
    if not np.isfinite(strength):
        raise ConfigError(f"concept takes a name and a strength, such as smile=2, and was given {word!r}.")
    return name, strength


def _fields(content: dict[str, Any], schema: dict[str, Any]) -> str:
    """A sentence on the fields of a JSON body; empty without a body."""
    if not content:
        return ""
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    component = schema["components"]["schemas"][name]
    words = [
        f"<code>{escape(field)}</code>" + ("" if field in component.get("required", ()) else " (may be left out)")
        for field in component["properties"]
    ]
    return f"<p>Body: JSON, an object with {', '.join(words)}.</p>"


def _docs_page(schema: dict[str, Any], model: Autoencoder) -> str:
    """The routes as a page that loads nothing from other sites."""
    codes, examples = f"(n, {model.latent_dim})", f"(n, {', '.join(map(str, model.event_shape))})"
    held = tokens_of(model)
    tokens = f"(n, {held['positions']}, {held['levels']})" if held else "of tokens, for models with a codebook"
    parts = []
    for path, methods in schema["paths"].items():
        for method, entry in methods.items():
            rows = "".join(
                f"<li><code>{escape(item['name'])}</code> {escape(item.get('description', ''))}</li>"
                for item in entry.get("parameters", ())
            )
            content = entry.get("requestBody", {}).get("content", {})
            shape = {"decode": codes, "codes": tokens}.get(path.rpartition("/")[2], examples)
            body = f"<p>Body: an array, {shape}.</p>" if NPY in content else _fields(content, schema)
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
        "token, as <code>Authorization: Bearer TOKEN</code> or <code>?token=TOKEN</code>. The same for programs: "
        "<code>/openapi.json</code>. For single codes there is a WebSocket, <code>/api/live?token=TOKEN</code>: "
        "float32 numbers go in, bytes of pixels (of what is no image, float32 values) come out. Where the model takes "
        "a class, <code>&amp;label=NAME</code> says it, and a message <code>label=NAME</code> another one, from there "
        "on; it is answered with no bytes.</p>"
        f"<pre>{escape(example)}</pre>{''.join(parts)}</main></body></html>"
    )
