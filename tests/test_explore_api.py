"""What the explorer's page asks for: each address of the application, without a socket; a notebook's explorer."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pytest

import diabolo
from diabolo.errors import ConfigError, DataError
from diabolo.explorer import Atlas, Exploring, explore, open_atlas
from diabolo.explorer._guard import NOTEBOOKS, Guard
from diabolo.latent.concepts import ConceptVector

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer]'")

from diabolo.explorer._api import make_api  # noqa: E402

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment")
NPY = "application/x-npy"
TOKEN = "a-token-of-the-tests"
PAGE = {"Accept": "text/html,*/*"}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def array(self) -> np.ndarray:
        assert (self.status, self.headers["content-type"]) == (200, NPY), self.body
        return np.asarray(np.load(io.BytesIO(self.body)))

    @property
    def error(self) -> str:
        return str(self.json["error"])


def asked(app: Any, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
    """One request to an ASGI application, as a server would hand it over."""
    data = body if isinstance(body, bytes) else npy(body) if isinstance(body, np.ndarray) else json.dumps(body).encode()
    given = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {TOKEN}",
        "Content-Length": str(len(data)),
        **(headers or {}),
    }
    given.setdefault("Content-Type", NPY if isinstance(body, np.ndarray) else "application/json")
    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": urllib.request.unquote(place),
        "raw_path": place.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    in_a_loop(app(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


def in_a_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs it in a thread of its own: in this one a browser of other tests may have a loop already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def npy(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


class Site(NamedTuple):
    """An application, and what it should answer with."""

    app: Any
    atlas: Atlas

    def get(self, path: str, **headers: str) -> Answer:
        return asked(self.app, "GET", path, headers=headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Answer:
        return asked(self.app, "POST", path, body, headers)


@pytest.fixture(scope="module")
def trained(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "spots.npz", x=pictures, y=np.arange(len(pictures)) % 3)
    diabolo.train(
        str(folder / "spots.npz"),
        layout="HW",
        labels="y",
        model="vae",
        latent_dim=2,
        epochs=2,
        widths=(16,),
        out=folder / "spots",
    )
    return folder / "spots"


def sited(run: Path, points: int = 100_000, **options: Any) -> Site:
    atlas = open_atlas(diabolo.load(run), points=points)
    return Site(Guard(make_api(atlas.model, "spots", [atlas], **options), TOKEN, ["127.0.0.1"], 10**6), atlas)


@pytest.fixture(scope="module")
def site(trained: Path) -> Site:
    """Of half the examples, so that their places and their rows differ."""
    return sited(trained, 45)


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Site:
    """Of a copy that a test may change."""
    return sited(Path(shutil.copytree(trained, tmp_path / "run")))


# --- examples ---------------------------------------------------------------------------------------------------------


def test_state_codes_and_columns(site: Site) -> None:
    told = site.get("/api/explore/state").json
    assert (told["name"], told["count"], told["data"]["total"]) == ("spots", 45, 90)
    np.testing.assert_array_equal(site.get("/api/explore/codes").array, site.atlas.codes)
    for place, column in enumerate(told["columns"]):
        values = site.atlas.column(column["name"]).values
        for name in (column["name"], str(place)):
            found = site.get(f"/api/explore/columns/{name}").array
            assert found.dtype == values.dtype
            np.testing.assert_array_equal(found, values)
    answer = site.get("/api/explore/columns/nothing")
    assert answer.status == 404
    assert "Known: class, part, error, score" in answer.error


def test_features_with_any_name(tmp_path: Path, table: np.ndarray) -> None:
    names = ["a/b", "c d", "e?f#g", "100%", "ü/.."]
    path = tmp_path / "table.csv"
    np.savetxt(path, table, delimiter=",", header=",".join(names), comments="", encoding="utf-8")
    model = diabolo.train(str(path), epochs=1, widths=(8,), latent_dim=2)
    atlas = open_atlas(model)
    site = Site(Guard(make_api(model, "table", [atlas]), TOKEN, ["127.0.0.1"], 10**6), atlas)
    for place, name in enumerate(names):
        found = site.get(f"/api/explore/columns/{quote(name, safe='')}").array
        np.testing.assert_allclose(found, table[:, place], rtol=1e-6)
    for path_ in ("decode", "reconstruct"):
        answer = site.post(f"/api/{path_}?pixels=true", np.zeros((1, 2), np.float32))
        assert (answer.status, "pixels=true is for images" in answer.error) == (400, True)
    assert site.post("/api/explore/names", {"ids": [0, 1]}).json == ["", ""]


def test_examples_by_their_places(site: Site, pictures: np.ndarray) -> None:
    found = site.post("/api/explore/examples", {"ids": [7, 0, 7]}).array
    np.testing.assert_array_equal(found, pictures[site.atlas.indices[[7, 0, 7]]])
    assert found.dtype == np.uint8
    assert site.post("/api/explore/examples", {"ids": list(range(45))}).array.shape == (45, 8, 8)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"ids": []}, 400, "1 to 1,000"),
        ({"ids": [0] * 1001}, 400, "1,001"),
        ({"ids": [45]}, 400, "none has the number 45"),
        ({"ids": [-1]}, 400, "none has the number -1"),
        ({"ids": [2**80]}, 400, "whole numbers"),
        ({"ids": ["x"]}, 422, "ids.0"),
        ({"ids": [0.5]}, 422, "ids.0"),
        ({}, 422, "ids"),
        (b"{", 422, "JSON"),
    ],
)
def test_examples_that_are_not_there(site: Site, body: Any, status: int, says: str) -> None:
    for path in ("examples", "names"):
        answer = site.post(f"/api/explore/{path}", body)
        assert answer.status == status
        assert says in answer.error


# --- what the model answers -------------------------------------------------------------------------------------------


def test_pixels_and_codes(site: Site, pictures: np.ndarray) -> None:
    model, codes = site.atlas.model, site.atlas.codes[:3]
    found = site.post("/api/decode?pixels=true", codes, Accept=NPY).array
    np.testing.assert_array_equal(found, model.pixels(model.decode(codes)))
    assert found.dtype == np.uint8
    found = site.post("/api/reconstruct?pixels=true", pictures[:3], Accept=NPY).array
    np.testing.assert_array_equal(found, model.pixels(model.reconstruct(pictures[:3])))
    found = site.post("/api/decode", codes, Accept=NPY).array
    np.testing.assert_array_equal(found, model.decode(codes))
    drawn = site.post("/api/sample?codes=true&n=5&seed=3", Accept=NPY).array
    np.testing.assert_array_equal(drawn, model.sample_codes(5, seed=3))
    np.testing.assert_array_equal(model.decode(drawn), model.sample(5, seed=3))
    assert (drawn.shape, drawn.dtype) == ((5, 2), np.float32)


def test_codes_of_a_fitted_prior(own: Site) -> None:
    own.atlas.model.fit_prior("gaussian", own.atlas.dataset.x)
    fitted, plain = (
        own.post(f"/api/sample?codes=true&n=4&seed=1&prior={p}", Accept=NPY).array for p in ("auto", "own")
    )
    np.testing.assert_array_equal(fitted, own.atlas.model.sample_codes(4, seed=1))
    assert not np.array_equal(fitted, plain)
    assert own.get("/api/explore/state").json["prior"] == "gaussian"


def test_health(site: Site) -> None:
    found = site.get("/api/explore/health").json
    assert found.keys() == {"findings", "curves", "dimensions", "numbers", "part"}
    assert [one["index"] for one in found["dimensions"]] == [0, 1]
    assert site.get("/api/explore/health").json == found


def test_without_an_atlas_there_is_no_explorer(site: Site) -> None:
    app = make_api(site.atlas.model, "spots")
    for path in ("/", "/api/explore/state", "/other/api/model"):
        assert asked(app, "GET", path).status == 404
    assert asked(app, "GET", "/api/model").status == 200


# --- concepts ---------------------------------------------------------------------------------------------------------


def lesson(atlas: Atlas, name: str = "right", **options: Any) -> dict[str, Any]:
    x = atlas.dataset.x[atlas.indices].astype(float)
    right = x[:, :, 4:].sum((1, 2)) > x[:, :, :4].sum((1, 2))
    groups = {"positive": np.flatnonzero(right).tolist(), "negative": np.flatnonzero(~right).tolist()}
    return {"name": name, **groups, "positive_name": "right", "negative_name": "left", **options}


def test_a_concept_is_learned_kept_used_and_removed(own: Site, command: Command, tmp_path: Path) -> None:
    assert own.get("/api/explore/concepts").json == []
    taught = lesson(own.atlas)
    made = own.post("/api/explore/concepts", taught).json
    codes = own.atlas.codes
    expected = ConceptVector.fit(codes[taught["positive"]], codes[taught["negative"]], name="right")
    np.testing.assert_allclose(made["direction"], expected.direction)
    for name in ("unit", "gap", "middle", "auc", "auc_low", "auc_high"):
        assert made[name] == pytest.approx(getattr(expected, name))
    assert (made["positive"], made["negative"], made["method"]) == ("right", "left", "mean")
    assert made["counts"] == [len(taught["positive"]), len(taught["negative"])]
    assert made["saved"]
    assert own.get("/api/explore/concepts").json == [made]
    run = own.atlas.model.folder
    assert run is not None
    np.testing.assert_array_equal(diabolo.load(run).concepts["right"].direction, expected.direction)
    said = command("edit", run, "--concept", "right=2", "-o", tmp_path / "edited.npy")
    assert (said.status, said.err) == (0, "")
    assert asked(own.app, "DELETE", "/api/explore/concepts/right").json == {"removed": "right"}
    assert own.get("/api/explore/concepts").json == []
    assert diabolo.load(run).concepts == {}
    answer = asked(own.app, "DELETE", "/api/explore/concepts/right")
    assert (answer.status, answer.error) == (404, "There is no concept named 'right'. Known: none.")


def test_a_concept_is_replaced_only_when_that_is_meant(own: Site) -> None:
    first = own.post("/api/explore/concepts", lesson(own.atlas)).json
    turned = lesson(own.atlas)
    turned["positive"], turned["negative"] = turned["negative"], turned["positive"]
    answer = own.post("/api/explore/concepts", turned)
    assert answer.status == 409
    assert "There is a concept 'right' already: replace it" in answer.error
    assert own.get("/api/explore/concepts").json == [first]
    second = own.post("/api/explore/concepts", {**turned, "replace": True}).json
    np.testing.assert_allclose(second["direction"], -np.array(first["direction"]), atol=1e-6)
    assert own.get("/api/explore/concepts").json == [second]


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"positive": [0, 1]}, 400, "has 2 examples; at least 4 are needed"),
        ({"positive": []}, 400, "no example of 'right': choose some"),
        ({"positive": [3] * 20}, 400, "has 1 example; at least 4"),
        ({"positive": [1, 2, 3, 4, 5], "negative": [1, 2, 3, 4, 5]}, 400, "the same examples are in both groups"),
        ({"positive": [0, 1, 2, 3, 900]}, 400, "none has the number 900"),
        ({"name": "../../evil"}, 400, "letters, digits, - and _"),
        ({"name": ""}, 400, "letters, digits, - and _"),
        ({"positive_name": ""}, 400, "positive_name"),
        ({"negative_name": "x" * 101}, 400, "1 to 100 characters"),
        ({"positive": "all"}, 422, "positive"),
        ({"name": None}, 422, "name"),
        ({"positive_name": "\ud800"}, 400, "positive_name should be 1 to 100 characters of text"),
        ({"negative_name": "a\udfff"}, 400, "negative_name should be 1 to 100 characters of text"),
        ({"name": "\ud800"}, 400, "letters, digits"),
    ],
)
def test_a_concept_that_cannot_be_learned(site: Site, changes: dict[str, Any], status: int, says: str) -> None:
    answer = site.post("/api/explore/concepts", lesson(site.atlas) | changes)
    assert answer.status == status, answer.body
    assert says in answer.error
    assert site.get("/api/explore/concepts").json == []


def test_a_concept_of_a_run_that_cannot_be_written(own: Site) -> None:
    run = own.atlas.model.folder
    assert run is not None
    (run / "concepts").write_text("in the way")
    made = own.post("/api/explore/concepts", lesson(own.atlas)).json
    assert not made["saved"]
    assert [one["saved"] for one in own.get("/api/explore/concepts").json] == [False]


def test_what_is_read_only_says_so(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not own.post("/api/explore/concepts", lesson(own.atlas)).json["saved"]
    assert own.atlas.model.folder is not None
    assert not (own.atlas.model.folder / "concepts").exists()
    assert [one["name"] for one in own.get("/api/explore/concepts").json] == ["right"], "it can be used, all the same"


# --- two runs ---------------------------------------------------------------------------------------------------------


def test_a_second_run_has_the_same_addresses(trained: Path, tmp_path: Path) -> None:
    source = trained.parent / "spots.npz"
    second = diabolo.train(
        str(source), layout="HW", labels="y", latent_dim=3, epochs=1, widths=(8,), out=tmp_path / "b"
    )
    atlases = [open_atlas(model, points=45) for model in (diabolo.load(trained), second)]
    app = make_api(atlases[0].model, "spots", atlases)
    for prefix, atlas in zip(("/api", "/other/api"), atlases, strict=True):
        told = asked(app, "GET", f"{prefix}/explore/state").json
        assert (told["name"], told["latent_dim"]) == (atlas.name, atlas.model.latent_dim)
        np.testing.assert_array_equal(asked(app, "GET", f"{prefix}/explore/codes").array, atlas.codes)
        found = asked(app, "POST", f"{prefix}/decode", atlas.codes[:2], {"Accept": NPY}).array
        np.testing.assert_array_equal(found, atlas.model.decode(atlas.codes[:2]))
        np.testing.assert_array_equal(
            asked(app, "POST", f"{prefix}/explore/examples", {"ids": [9]}).array, atlases[0].examples([9])
        )
    assert '"runs":["/api","/other/api"]' in asked(app, "GET", "/").body.decode()


# --- who may ask, and with what care ----------------------------------------------------------------------------------


def test_the_page_and_its_policy(site: Site) -> None:
    first, second = site.get("/"), site.get("/")
    assert first.status == 200
    assert '"runs":["/api"]' in first.body.decode()
    policy = first.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([\w-]{16,})'", policy)
    assert nonce
    assert f'nonce="{nonce.group(1)}"' in first.body.decode()
    assert policy != second.headers["content-security-policy"], "a nonce is used once"
    wanted = {
        *("default-src 'none'", "style-src 'unsafe-inline'", "img-src 'self' data: blob:", "worker-src blob:"),
        *("connect-src 'self' blob: data:", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"),
        f"script-src 'nonce-{nonce.group(1)}' blob: 'wasm-unsafe-eval'",
    }
    assert set(policy.split("; ")) == wanted


def test_a_notebook_may_show_it_in_a_frame(trained: Path) -> None:
    policy = sited(trained, ancestors=NOTEBOOKS).get("/").headers["content-security-policy"]
    assert "frame-ancestors 'self' http://localhost:* http://127.0.0.1:*" in policy


@pytest.mark.parametrize(
    "path", ["/", "/api/explore/state", "/api/explore/codes", "/nothing", "/docs", "/openapi.json"]
)
@pytest.mark.parametrize("token", [TOKEN, "another"])
def test_every_answer_is_careful(site: Site, path: str, token: str) -> None:
    for accept in ("*/*", "text/html"):
        answer = site.get(path, Authorization=f"Bearer {token}", Accept=accept)
        assert answer.status in ((200, 404) if token == TOKEN else (401,))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "content-encoding" not in answer.headers
        if answer.headers["content-type"].startswith("text/html"):
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_person_is_refused_in_words(site: Site) -> None:
    for headers, status, says in (
        ({"Authorization": ""}, 401, "The token is missing or stale"),
        ({"Host": "<evil>"}, 403, "answers to its own name alone"),
        ({"Origin": "https://evil.example"}, 403, "Pages of other sites"),
    ):
        answer = site.get("/", **PAGE, **headers)
        assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert answer.headers["content-length"] == str(len(answer.body))
        page = answer.body.decode()
        assert says in page
        assert "terminal" in page
        assert "color-scheme" in page
        assert "<script" not in page
        assert "evil" not in page
        assert says in site.get("/", **headers).error, "a program has it as JSON"
    assert "token" in site.post("/api/decode", b"", **PAGE, Authorization="").error


def spoken(app: Any, path: str, *messages: bytes | str, **headers: str) -> list[dict[str, Any]]:
    """What an ASGI application answers on a WebSocket."""
    given = {"Host": "127.0.0.1", "Origin": "http://127.0.0.1:80", **headers}
    place, _, query = path.partition("?")
    scope = {
        "type": "websocket",
        "path": place,
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    waiting: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    waiting += [
        {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message} for message in messages
    ]
    waiting.append({"type": "websocket.disconnect", "code": 1000})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    in_a_loop(app(scope, receive, send))
    return sent


def test_codes_over_a_websocket(site: Site) -> None:
    model, codes = site.atlas.model, site.atlas.codes
    bad = np.array([np.nan, 0], np.float32).tobytes()
    said = spoken(site.app, f"/api/live?token={TOKEN}", codes[:1].tobytes(), b"abc", codes[:3].tobytes(), bad)
    assert [one["type"] for one in said] == ["websocket.accept", *["websocket.send"] * 4]
    for answer, count in ((said[1], 1), (said[3], 3)):
        assert answer["bytes"] == model.pixels(model.decode(codes[:count])).tobytes()
    assert "2 numbers" in said[2]["text"]
    assert "NaN" in said[4]["text"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/live", {}),
        ("/api/live?token=another", {}),
        (f"/api/nothing?token={TOKEN}", {}),
        (f"/api/live?token={TOKEN}", {"Origin": "https://evil.example"}),
        (f"/api/live?token={TOKEN}", {"Host": "evil.example"}),
    ],
)
def test_a_websocket_for_whom_it_should_not_be(site: Site, path: str, headers: dict[str, str]) -> None:
    assert [one["type"] for one in spoken(site.app, path, b"12345678", **headers)] == ["websocket.close"]


# --- in a notebook ----------------------------------------------------------------------------------------------------


def fetched(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=300) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_explorer_of_a_notebook(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = diabolo.load(trained)
    shown = explore(model, points=30, height=480)
    assert isinstance(shown, Exploring)
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}", shown.url)
        assert repr(shown) == f"Exploring(spots with spots: {shown.url})"
        frame = shown._repr_html_()
        assert f'<iframe src="{shown.url}" title="Explorer of spots with spots"' in frame
        assert "height:480px" in frame
        assert fetched(shown.url)[0] == 200
        status, body = fetched(shown.url.replace("/?", "/api/explore/codes?"))
        assert (status, np.load(io.BytesIO(body)).shape) == (200, (30, 2))
        assert fetched(shown.url.partition("?")[0])[0] == 401
        second = explore(model, points=30)
        assert second.url != shown.url
        second.stop()
    finally:
        shown.stop()
    assert "stopped" in repr(shown)
    assert "was stopped" in shown._repr_html_()
    with pytest.raises(OSError, match="refused"):
        fetched(shown.url)
    assert not [one for one in threading.enumerate() if one.name == "diabolo explorer"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_notebook_s_mistakes(trained: Path, pictures: np.ndarray) -> None:
    model = diabolo.load(trained)
    before = threading.active_count()
    with pytest.raises(ConfigError, match="height"):
        explore(model, height=10)
    with pytest.raises(ConfigError, match="points"):
        explore(model, points=0)
    with pytest.raises(DataError, match="shape"):
        explore(model, pictures[:, :3])
    assert threading.active_count() == before
    fresh = diabolo.train(pictures, layout="HW", latent_dim=2, epochs=1, widths=(8,))
    shown = explore(fresh)  # of the array that it was trained on
    shown.stop()


def test_the_documentation_says_what_each_body_holds(own: Site) -> None:
    page = own.get("/docs").body.decode()
    parts = {part.partition("</code>")[0].rpartition(">")[2]: part for part in page.split("<section>")[1:]}
    assert "an array, (n, 2)" in parts["POST /api/decode"]
    assert "an object with <code>ids</code>." in parts["POST /api/explore/examples"]
    assert "<code>replace</code> (may be left out)" in parts["POST /api/explore/concepts"]
    assert "Body" not in parts["GET /api/explore/codes"]
