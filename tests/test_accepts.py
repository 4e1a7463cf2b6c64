"""What a model was trained on, and what it returns, it accepts at every door and in every form, and means the same."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import diabolo
from diabolo.errors import DataError

N = 30
RNG = np.random.default_rng(0)
PLACES = [*"abcd"]


def whole(top: int, *event: int, dtype: Any = np.uint8) -> np.ndarray:
    return (RNG.random((N, *event)) * (top + 1)).astype(dtype)


def folder(name: str, x: np.ndarray, at: Path) -> Path:
    for number, one in enumerate(x):
        path = at / name / "ab"[number % 2] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path)
    return at / name


GREY, RGB, RGBA, DEEP = whole(255, 5, 5), whole(255, 5, 5, 3), whole(255, 5, 5, 4), whole(65535, 5, 5, dtype=np.uint16)
TABLE = pd.DataFrame(RNG.normal(size=(N, 4)) * [1, 10, 0.1, 100] + [0, 5, 1, 1000], columns=PLACES)
MIXED = TABLE.assign(b=np.array(["red", "blue", "green"])[np.arange(N) % 3], c=np.arange(N) % 2 == 0)
LABELS = np.arange(N) % 3


def csv(at: Path) -> Path:
    TABLE.to_csv(at / "table.csv", index=False)
    return at / "table.csv"


def arrow(_: Path) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(TABLE)


def rows(_: Path) -> Any:
    images = [Image.fromarray(one) for one in GREY]
    return pytest.importorskip("datasets").Dataset.from_dict({"image": images})


KINDS: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "grey": (lambda _: GREY, {"layout": "HW"}),
    "colour": (lambda _: RGB, {}),
    "four channels": (lambda _: RGBA, {}),
    "channels first": (lambda _: RGB.transpose(0, 3, 1, 2), {}),
    "one channel": (lambda _: GREY[..., None], {"layout": "HWC"}),
    "dark bytes": (lambda _: whole(16, 5, 5), {"layout": "HW"}),
    "16 bits": (lambda _: DEEP, {"layout": "HW"}),
    "12 bits, big-endian": (lambda _: whole(4095, 5, 5, dtype=">u2"), {"layout": "HW"}),
    "floats": (lambda _: RNG.random((N, 5, 5)), {"layout": "HW"}),
    "half floats": (lambda _: torch.rand(N, 5, 5).bfloat16(), {"layout": "HW"}),
    "zeros and ones": (lambda _: whole(1, 5, 5), {"layout": "HW"}),
    "booleans": (lambda _: whole(1, 5, 5).astype(bool), {"layout": "HW"}),
    "a list": (lambda _: GREY.tolist(), {"layout": "HW"}),
    "pictures": (lambda _: [Image.fromarray(one) for one in GREY], {}),
    "a folder, grey": (lambda at: folder("grey", GREY, at), {}),
    "a folder, colour": (lambda at: folder("colour", RGB, at), {}),
    "a folder, transparent": (lambda at: folder("transparent", RGBA, at), {}),
    "a folder, 16 bits": (lambda at: folder("deep", DEEP, at), {}),
    "a folder, smaller": (lambda at: folder("grey", GREY, at), {"size": 4}),
    "Hugging Face's": (rows, {}),
    "an array of numbers": (lambda _: TABLE.to_numpy(), {}),
    "a frame": (lambda _: TABLE, {}),
    "a dictionary": (lambda _: TABLE.to_dict("list"), {}),
    "records": (lambda _: TABLE.to_records(index=False), {}),
    "Arrow's": (arrow, {}),
    "CSV": (csv, {}),
    "whole numbers": (lambda _: pd.DataFrame(whole(99, 4, dtype=np.int64), columns=PLACES), {}),
    "times": (lambda _: pd.DataFrame({"t": 1.7e9 + whole(10**6, dtype=int), "v": RNG.normal(size=N)}), {}),
    "mixed": (lambda _: MIXED, {"mixed": True}),
    "a signal": (lambda _: RNG.normal(size=(N, 24)), {}),
    "signals": (lambda _: RNG.normal(size=(N, 24, 2)), {"layout": "LC"}),
    "a volume": (lambda _: whole(255, 4, 4, 4), {"layout": "DHW"}),
    "a film": (lambda _: whole(255, 3, 4, 4, 3), {"layout": "THWC"}),
    "with labels": (lambda _: diabolo.open_dataset(GREY, labels=LABELS), {"model": "conditional"}),
}
SLOW = (  # for which others stand in the fast tests
    *("a folder, transparent", "a folder, smaller", "a folder, colour", "four channels", "half floats", "booleans"),
    *("pictures", "a signal", "channels first", "an array of numbers", "floats", "records"),
)
MARKED = [pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in KINDS]
PRODUCTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "reconstruct": lambda model, source, y: model.reconstruct(source, y),
    "edit": lambda model, source, y: model.edit(source, "first", y=y),
    "sample": lambda model, source, y: model.sample(6, seed=0, y=None if y is None else y[:6]),
    "denoise": lambda model, source, y: model.denoise(source, y),
    "traverse": lambda model, source, y: model.traverse(
        model.examples[0], 0, [-2, 0, 2], 0 if model.labels != "none" else None
    ),
}
DOORS: dict[str, Callable[..., Any]] = {
    name: lambda model, x, y, name=name: getattr(model, name)(x, y)
    for name in ("encode", "reconstruct", "score", "loss_terms", "surprise", "denoise")
} | {"edit": lambda model, x, y: model.edit(x, "first", y=y)}


@functools.cache
def trained(kind: str, at: Path) -> tuple[diabolo.Autoencoder, Any, np.ndarray | None]:
    """A model, what it was trained on, and the labels that go with arrays of it."""
    make, options = KINDS[kind]
    source = make(at)
    model = diabolo.train(
        source,
        **({"model": "vae", "latent_dim": 2, "widths": (8,), "epochs": 1, "validation": 0, "test": 0.2} | options),
    )
    y = None if model.labels == "none" else LABELS
    model.learn_concept("first", source, np.arange(N) % 2, positive=1)
    return model, source, y


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


def forms(x: np.ndarray, model: diabolo.Autoencoder, at: Path) -> dict[str, Any]:
    """An array in other forms, which all mean the same."""
    np.save(at / "x.npy", x)
    read_only = x.copy()
    read_only.flags.writeable = False
    exact = {
        "list": x.tolist(),
        "tensor": torch.from_numpy(x.copy()),
        "read-only": read_only,
        "Fortran's": np.asfortranarray(x),
        "strided": np.repeat(x, 2, 0)[::2],
        "backwards": x[::-1].copy()[::-1],
        "big-endian": x.astype(x.dtype.newbyteorder(">")),
        "objects": x.astype(object),
        "wider": x.astype(np.float64),
        "mapped": np.load(at / "x.npy", mmap_mode="r"),
        "dataset": diabolo.open_dataset(x, layout=model.layout),
        "store": diabolo.open_dataset(at / "x.npy", layout=model.layout, memory=1e-9),
        "unmasked": np.ma.array(x),
    }
    if model.layout == "F" and model.features and "=" not in "".join(model.features):
        frame = pd.DataFrame(x, columns=list(model.features))
        backwards = frame[list(model.features)[::-1]].assign(more=1)
        exact |= {
            "frame": backwards,
            "dictionary": backwards.to_dict("list"),
            "records": backwards.to_records(index=False),
        }
    return exact


@pytest.mark.parametrize("kind", MARKED)
def test_what_it_was_trained_on(kind: str, at: Path) -> None:
    model, source, y = trained(kind, at)
    assert model.trained_on is not None
    dataset = model.trained_on[0]
    given = None if isinstance(source, diabolo.Dataset) else y
    codes = model.encode(source, given)
    assert codes.shape == (N, 2)
    np.testing.assert_array_equal(model.encode(dataset), codes)
    np.testing.assert_array_equal(model.encode(dataset.x, y), codes)
    for name, door in DOORS.items():
        np.testing.assert_equal(door(model, source, given), door(model, dataset, None), name)


@pytest.mark.parametrize("kind", MARKED)
def test_what_it_returns(kind: str, at: Path) -> None:
    model, source, y = trained(kind, at)
    for name, make in PRODUCTS.items():
        x = make(model, source, None if isinstance(source, diabolo.Dataset) else y)
        labels = None if y is None else y[: len(x)]
        expected = {door: call(model, x, labels) for door, call in DOORS.items()}
        assert expected["encode"].shape == (len(x), 2)
        if name not in ("reconstruct", "sample"):
            continue
        for form, value in forms(x, model, at).items():
            np.testing.assert_array_equal(model.encode(value, labels), expected["encode"], f"{name} as {form}")
        tensor = torch.from_numpy(x.copy())
        for door, call in DOORS.items():
            np.testing.assert_equal(call(model, tensor, labels), expected[door], door)


def test_columns_by_name_come_back(at: Path) -> None:
    model, source, _ = trained("mixed", at)
    columns = model.table(model.reconstruct(source))
    assert list(columns) == PLACES
    assert model.encode(columns).shape == (N, 2)
    plain, source, _ = trained("a frame", at)
    x = plain.reconstruct(source)
    np.testing.assert_array_equal(plain.encode(plain.table(x)), plain.encode(x))


WHOLE = [np.uint8, np.uint16, ">u2", np.uint32, np.uint64, np.int16, np.int32, np.int64]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*itertools.product(("grey", "a folder, grey", "dark bytes", "16 bits", "a volume", "a film"), WHOLE)],
)
def test_whole_numbers_of_any_type_mean_the_same(kind: str, dtype: Any, at: Path) -> None:
    """Also as a list, of which NumPy makes int64."""
    model, source, _ = trained(kind, at)
    x = GREY if kind.startswith("a folder") else source
    if x.max() > np.iinfo(dtype).max:
        pytest.skip("they do not fit")
    codes = model.encode(x)
    for form in (x.astype(dtype), x.astype(dtype).tolist(), torch.from_numpy(x.astype(np.int64))):
        np.testing.assert_array_equal(model.encode(form), codes)
    fraction = x / np.float32(model.info["data"]["white"] or 255)
    np.testing.assert_allclose(model.encode(fraction), codes, atol=1e-5)
    with pytest.raises(DataError):
        model.encode(x.astype(np.int64) - 1 - x.min())
    with pytest.raises(DataError):
        model.encode(x.astype(np.int64) * 70_000)


def test_bytes_for_a_model_of_16_bits_are_pictures_of_8_bits(at: Path) -> None:
    model, x, _ = trained("16 bits", at)
    codes = model.encode((x >> 8).astype(np.uint8))
    np.testing.assert_array_equal(codes, model.encode((x >> 8).astype(np.float32) / np.float32(255)))
