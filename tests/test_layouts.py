"""Layouts of the explorer's map: planes that can be gone back from, and one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.errors import ConfigError
from diabolo.explorer import Placement, layouts, open_atlas, place


@pytest.fixture(autouse=True)
def own_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "_items", dict(layouts._items))


@pytest.fixture(scope="module")
def codes() -> Any:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(500, 4)) * [0.1, 3, 0.2, 1] + [1, 2, 3, 4]).astype(np.float32)


def test_principal_components_are_scikit_learn_s(codes: Any) -> None:
    from sklearn.decomposition import PCA

    expected = PCA(2).fit_transform(codes)
    placement = place("pca", codes)
    np.testing.assert_allclose(np.abs(placement.xy), np.abs(expected), atol=1e-4)
    assert placement.xy[:, 0].var() > placement.xy[:, 1].var() > 0.5


def test_dimensions_are_taken_as_they_are(codes: Any) -> None:
    np.testing.assert_allclose(place("dims", codes).xy, codes[:, :2], atol=1e-6)


@pytest.mark.parametrize("name", ["dims", "pca"])
@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_points_of_the_plane_go_back_to_codes_that_lie_there(codes: Any, name: str, dims: int) -> None:
    placement = place(name, codes[:, :dims])
    assert placement.xy.shape == (500, 2)
    assert placement.xy.dtype == np.float32
    assert placement.inverse is not None
    back = placement.inverse(placement.xy)
    assert back.shape == (500, dims)
    if dims <= 2:
        np.testing.assert_allclose(back, codes[:, :dims], atol=1e-5)
    np.testing.assert_allclose(placement.inverse(placement.xy[:3]), back[:3], atol=1e-6)


def test_one_dimension_lies_on_a_line(codes: Any) -> None:
    for name in ("dims", "pca"):
        assert not place(name, codes[:, :1]).xy[:, 1].any()


def test_a_layout_of_ones_own(codes: Any) -> None:
    @layouts.register("rings")
    def place_on_rings(codes: Any) -> Placement:
        angle = np.arange(len(codes))
        return Placement(np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32), ("", ""))

    assert place("rings", codes).inverse is None
    with pytest.raises(ConfigError, match="There is a layout named 'rings' already"):
        layouts.register("rings")(lambda codes: place_on_rings(codes))


def test_an_unknown_layout_names_the_nearest(codes: Any) -> None:
    with pytest.raises(ConfigError, match=r"There is no layout named 'pc'\. Did you mean 'pca'\?"):
        place("pc", codes)


def test_over_http() -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from diabolo.explorer._api import make_api

    model = diabolo.train("digits", latent_dim=3, widths=(8,), epochs=1, precision="float32")
    atlas = open_atlas(model, "digits", points=50)
    client = TestClient(make_api(model, "digits", [atlas]))
    listed = client.get("/api/explore/layouts").json()
    assert [entry["name"] for entry in listed] == ["dims", "pca"]
    assert all(entry["inverse"] for entry in listed)
    answer = client.get("/api/explore/layouts/pca")
    import io

    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), place("pca", atlas.codes).xy)
    assert client.get("/api/explore/layouts/nothing").status_code == 404
