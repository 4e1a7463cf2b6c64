"""Models that take a class with each example, and models whose codes are tokens, over HTTP and over the WebSocket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, open_dataset
from diabolo.errors import ConfigError
from diabolo.explorer import Atlas, open_atlas
from diabolo.explorer._run_state import state_of
from diabolo.models.objectives.vae import VAE

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'diabolo[explorer]'")

from diabolo.explorer._api import make_api  # noqa: E402
from test_explore_api import NPY, Answer, asked, spoken  # noqa: E402

CLASSES = ("left", "middle", "1")  # the last one is called as a number is that stands for another
SMALL: dict[str, Any] = {"latent_dim": 2, "widths": (16,), "epochs": 3, "precision": "float32"}
READS = {"Accept": NPY}


class Told(VAE):
    """A VAE whose decoder is told the class."""

    labels: Any = "required"

    def fed(self, latent_dim: int) -> int:
        return latent_dim + len(self.space.classes)

    def embed(self, z: Tensor, y: Tensor | None) -> Tensor:
        assert y is not None
        return torch.cat([z, one_hot(y + 1, len(self.space.classes) + 1)[:, 1:].float()], 1)


class Partly(Told):
    """Of which some classes may be unknown."""

    labels = "partial"


@pytest.fixture(scope="module")
def data(pictures: np.ndarray) -> Dataset:
    return open_dataset(pictures, labels=np.array(CLASSES)[np.arange(90) % 3])


@pytest.fixture(scope="module")
def told(data: Dataset) -> Atlas:
    return open_atlas(diabolo.train(data, model=Told, **SMALL), data)


@pytest.fixture(scope="module")
def partly(data: Dataset) -> Autoencoder:
    return diabolo.train(data, model=Partly, **SMALL)


@pytest.fixture(scope="module")
def quantised(pictures: np.ndarray) -> Autoencoder:
    return diabolo.train(
        pictures, model="vq", latent_dim=8, positions=4, levels=2, codes=8, widths=(16,), epochs=2, precision="float32"
    )


@pytest.fixture(scope="module")
def plain(pictures: np.ndarray) -> Autoencoder:
    return diabolo.train(pictures, model="vae", **SMALL)


def post(model: Autoencoder, path: str, body: Any = b"") -> Answer:
    return asked(make_api(model, "it"), "POST", path, body, READS)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_class_by_name_by_number_and_for_each(told: Atlas, pictures: np.ndarray) -> None:
    model, x = told.model, pictures[:3]
    numbers = {name: place for place, name in enumerate(model.model.objective.space.classes)}
    codes = model.encode(x, ["left"] * 3)
    model.learn_concept("odd", pictures, np.arange(90) % 2, y=np.zeros(90, int))
    asks: dict[str, Callable[[Any], np.ndarray]] = {
        "encode": lambda y: model.encode(x, y),
        "decode": lambda y: model.decode(codes, y),
        "decode?pixels=true": lambda y: model.pixels(model.decode(codes, y)),
        "reconstruct": lambda y: model.reconstruct(x, y),
        "score": lambda y: model.score(x, y),
        "score?kind=likelihood&draws=4&seed=2": lambda y: model.score(x, y, kind="likelihood", draws=4, seed=2),
        "edit?concept=odd=2": lambda y: model.edit(x, {"odd": 2.0}, y=y),
        "sample?n=3&seed=1": lambda y: model.sample(3, seed=1, y=y),
        "sample?n=3&seed=1&codes=true": lambda y: model.sample_codes(3, seed=1, y=y),
    }
    for path, ask in asks.items():
        body = b"" if path.startswith("sample") else codes if path.startswith("decode") else x
        joint = "&" if "?" in path else "?"
        for words, y in (
            ("label=middle", ["middle"] * 3),
            (f"label={numbers['middle']}", ["middle"] * 3),
            ("label=1", ["1"] * 3),  # a name goes before a number
            ("label=middle&label=left&label=1", ["middle", "left", "1"]),
        ):
            found = post(model, f"/api/{path}{joint}{words}", body).array
            np.testing.assert_array_equal(found, ask(y), err_msg=f"{path} {words}")
    in_turn = post(model, "/api/sample?n=4&seed=1").array
    np.testing.assert_array_equal(in_turn, model.sample(4, seed=1))


@pytest.mark.parametrize("path", ["encode", "decode", "reconstruct", "score", "edit?concept=odd=1"])
def test_a_class_that_is_missing_or_wrong_is_one_sentence(told: Atlas, pictures: np.ndarray, path: str) -> None:
    model = told.model
    body = np.zeros((2, 2), np.float32) if path == "decode" else pictures[:2]
    joint = "&" if "?" in path else "?"
    for words, says in (
        ("", "takes a class with each example and each code: add label=NAME"),
        ("label=up", "no class 'up'"),
        ("label=7", "no class number 7"),
        ("label=-1", "no class number -1"),
        ("label=left&label=left&label=left", "(2,), one for each example"),
        ("label=left&label=up", "no class 'up'"),
    ):
        answer = post(model, f"/api/{path}{joint if words else ''}{words}", body)
        assert answer.status == 400, (words, answer.body)
        assert says in answer.error
        assert words.count("label=left") > 2 or all(name in answer.error for name in CLASSES), answer.error
        assert "Traceback" not in answer.error
    assert post(model, f"/api/{path}{joint}label={'x' * 201}", body).status == 422


def test_a_class_where_none_is_taken_is_refused(plain: Autoencoder, pictures: np.ndarray) -> None:
    for path, body in (("encode", pictures[:1]), ("sample?n=1", b"")):
        answer = post(plain, f"/api/{path}{'&' if '?' in path else '?'}label=0", body)
        assert (answer.status, "this model takes none" in answer.error) == (400, True)


def test_a_class_may_be_unknown(partly: Autoencoder, pictures: np.ndarray) -> None:
    x = pictures[:2]
    np.testing.assert_array_equal(post(partly, "/api/reconstruct", x).array, partly.reconstruct(x))
    np.testing.assert_array_equal(post(partly, "/api/reconstruct?label=-1", x).array, partly.reconstruct(x))
    np.testing.assert_array_equal(
        post(partly, "/api/reconstruct?label=left", x).array, partly.reconstruct(x, ["left"] * 2)
    )


def test_the_model_s_own_class_is_taken_where_none_is_given(told: Atlas, pictures: np.ndarray) -> None:
    model = told.model
    model.label = "middle"
    try:
        found = post(model, "/api/encode", pictures[:2]).array
        np.testing.assert_array_equal(found, model.encode(pictures[:2], ["middle"] * 2))
        assert asked(make_api(model, "it"), "GET", "/api/model").json["label"] == "middle"
        bare = open_atlas(model, pictures)
        np.testing.assert_array_equal(bare.codes, model.encode(pictures, ["middle"] * 90))
    finally:
        model.label = None
    with pytest.raises(ConfigError, match="takes a label with each example"):
        open_atlas(model, pictures)


def test_codes_of_another_class_are_not_those_that_were_kept(told: Atlas, pictures: np.ndarray, tmp_path: Path) -> None:
    told.model.save(tmp_path / "run")
    model = diabolo.load(tmp_path / "run", trust=__name__)
    for label in ("left", "1"):
        model.label = label
        found = open_atlas(model, pictures).column("error").values
        expected = np.square(model.reconstruct(pictures) - pictures / np.float32(255)).mean((1, 2))
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_what_the_state_says(told: Atlas, partly: Autoencoder, plain: Autoencoder, quantised: Autoencoder) -> None:
    said = json.loads(json.dumps(state_of(told)))
    assert (said["labels"], said["label"], said["tokens"]) == ("required", None, None)
    assert said["label_classes"] == list(told.model.model.objective.space.classes)
    assert sorted(said["label_classes"]) == sorted(CLASSES)
    assert said["summary"].startswith("A Told autoencoder (mlp) with a code of 2 numbers")
    models = [asked(make_api(one, "it"), "GET", "/api/model").json for one in (partly, plain, quantised)]
    assert [one["labels"] for one in models] == ["partial", "none", "none"]
    assert [len(one["label_classes"]) for one in models] == [3, 0, 0]
    assert [one["tokens"] for one in models] == [None, None, {"positions": 4, "levels": 2, "entries": 8}]
    assert [one["code_shape"] for one in models] == [[2], [2], [8]]


def test_a_class_over_a_websocket(told: Atlas, plain: Autoencoder) -> None:
    model, codes = told.model, told.codes
    app = make_api(model, "it")
    one, three = codes[:1].tobytes(), codes[:3].tobytes()

    def picture(count: int, name: str) -> bytes:
        return model.pixels(model.decode(codes[:count], [name] * count)).tobytes()

    said = spoken(app, "/api/live?label=middle", one, "label=left", one, three, "label=up", one, "label=", one)
    assert said[1]["bytes"] == picture(1, "middle")
    assert said[2]["bytes"] == b""
    assert [said[3]["bytes"], said[4]["bytes"]] == [picture(1, "left"), picture(3, "left")]
    assert all("no class 'up'" in answer["text"] for answer in said[5:7])
    assert said[7]["bytes"] == b""
    assert "add label=NAME" in said[8]["text"]
    (answer,) = spoken(app, "/api/live?label=1", one)[1:]
    assert answer["bytes"] == picture(1, "1")
    (answer,) = spoken(make_api(plain, "it"), "/api/live", "label=1")[1:]
    assert "this model takes none" in answer["text"]


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_tokens_and_what_is_written_with_them(quantised: Autoencoder, pictures: np.ndarray) -> None:
    x = pictures[:5]
    tokens = post(quantised, "/api/tokens", x).array
    np.testing.assert_array_equal(tokens, quantised.tokens(x))
    assert (tokens.shape, tokens.dtype) == ((5, 4, 2), np.int64)
    np.testing.assert_array_equal(post(quantised, "/api/codes", tokens).array, quantised.codes_of(tokens))
    found = post(quantised, "/api/decode?tokens=true", tokens).array
    np.testing.assert_array_equal(found, quantised.decode(tokens=tokens))
    np.testing.assert_array_equal(found, quantised.reconstruct(x))
    drawn = post(quantised, "/api/decode?tokens=true&pixels=true", tokens.astype(np.int32)).array
    np.testing.assert_array_equal(drawn, quantised.pixels(quantised.decode(tokens=tokens)))
    listed = post(quantised, "/api/decode?tokens=true", {"data": tokens.tolist()}).array
    np.testing.assert_array_equal(listed, found)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (np.zeros((1, 3, 2), int), "shape (n, 4, 2)"),
        (np.zeros((1, 4), int), "shape (n, 4, 2)"),
        (np.full((1, 4, 2), 8), "8"),
        (np.full((1, 4, 2), -1), "-1"),
        (np.zeros((1, 4, 2), np.float32), "whole numbers"),
    ],
)
def test_tokens_that_are_none(quantised: Autoencoder, body: np.ndarray, says: str) -> None:
    for path in ("codes", "decode?tokens=true"):
        answer = post(quantised, f"/api/{path}", body)
        assert answer.status == 400, answer.body
        assert says in answer.error


def test_codes_that_are_no_tokens(plain: Autoencoder, pictures: np.ndarray) -> None:
    tokens = np.zeros((1, 4, 2), int)
    for path, body in (("tokens", pictures[:1]), ("codes", tokens), ("decode?tokens=true", tokens)):
        answer = post(plain, f"/api/{path}", body)
        assert (answer.status, "no codebook" in answer.error) == (400, True), answer.body


def test_codes_with_places(pictures: np.ndarray) -> None:
    model = diabolo.train(pictures, model="vq", network="conv", spatial=True, latent_dim=2, codes=8, epochs=1)
    x = pictures[:3]
    codes = post(model, "/api/encode", x).array
    assert codes.shape == (3, *model.code_shape)
    found = post(model, "/api/decode", codes).array
    np.testing.assert_array_equal(found, model.reconstruct(x))
    np.testing.assert_array_equal(post(model, "/api/decode", codes.reshape(3, -1)).array, found)
    flat = open_atlas(model, pictures)
    np.testing.assert_array_equal(flat.codes, model.encode(pictures, flat=True))
    said = state_of(flat)
    assert (said["code_shape"], said["latent_dim"]) == (list(model.code_shape), model.latent_dim)
    assert said["tokens"]["positions"] == model.code_shape[1] * model.code_shape[2]


def test_the_health_of_both(told: Atlas, quantised: Autoencoder, pictures: np.ndarray) -> None:
    for atlas in (told, open_atlas(quantised, pictures)):
        app = make_api(atlas.model, "it", [atlas])
        answer = asked(app, "GET", "/api/explore/health")
        assert answer.status == 200, answer.body
        assert len(answer.json["dimensions"]) == atlas.model.latent_dim
        assert asked(app, "GET", "/api/explore/state").json["labels"] == atlas.model.labels


def test_the_documentation_says_what_is_taken(told: Atlas, quantised: Autoencoder) -> None:
    page = asked(make_api(told.model, "it"), "GET", "/docs").body.decode()
    for path in ("encode", "decode", "reconstruct", "score", "sample", "edit"):
        assert "<code>label</code>" in page.split(f"POST /api/{path}<")[1].split("</section>")[0]
    page = asked(make_api(quantised, "it"), "GET", "/docs").body.decode()
    assert "an array, (n, 4, 2)" in page.split("POST /api/codes<")[1].split("</section>")[0]
