"""The start at the principal components of patches, where codes have places."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import diabolo
from diabolo.evaluation import evaluate
from diabolo.models import Gaussian, Laplace, Preprocess, build_model
from diabolo.models.model import Model
from diabolo.models.networks import Conv, PatchEncoder
from diabolo.models.principal import PrincipalComponents, start_at_components
from diabolo.runs import make_run_config, start

SIDE = 4  # of the patches of these networks
NETWORKS: dict[str, dict[str, Any]] = {
    "conv": {"channels": (4, 6), "spatial": True},
    "resnet": {"channels": (4, 6), "patch": 2, "spatial": True},
}
SHAPES = {"LC": (30, 2), "HWC": (17, 19, 3), "DHWC": (17, 16, 18, 1)}


def smooth(layout: str, count: int = 60) -> np.ndarray:
    """(count, *shape) float32: products of waves, of several means, with noise."""
    rng = np.random.default_rng(5)
    *sizes, channels = SHAPES[layout]
    x = np.ones((count, *sizes, channels))
    for axis, size in enumerate(sizes):
        phase, pace = rng.uniform(0, 6, (2, count, 1))
        wave = np.sin(np.arange(size) * (0.2 + 0.1 * pace) + phase)
        x *= wave.reshape(count, *(size if other == axis else 1 for other in range(len(sizes))), 1)
    x = x * rng.uniform(0.5, 1, channels) + rng.uniform(0, 0.5, channels)
    return (x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32)


def prepared(layout: str) -> tuple[np.ndarray, Preprocess, np.ndarray]:
    """Examples, the preprocessing of them, and as the model sees them, cut to patches by hand: (n, places, C 4^n)."""
    x = smooth(layout) if layout != "DHWC" else np.moveaxis(smooth(layout), -1, 1)
    preprocess = Preprocess.fit(x, layout if layout != "DHWC" else "any", np.arange(len(x)), "none")
    seen = preprocess(torch.from_numpy(x)).numpy()
    sizes = seen.shape[2:]
    seen = np.pad(seen, [(0, 0), (0, 0), *((0, -size % SIDE) for size in sizes)], mode="edge")
    starts = itertools.product(*(range(0, size, SIDE) for size in seen.shape[2:]))
    cut = [seen[(..., *(slice(first, first + SIDE) for first in place))].reshape(len(x), -1) for place in starts]
    return x, preprocess, np.stack(cut, 1)


def errors_of(cut: np.ndarray, count: int) -> float:
    """What scikit-learn's components of patches leave."""
    rows = cut.reshape(-1, cut.shape[-1]).astype(np.float64)
    pca = PCA(count, svd_solver="full").fit(rows)
    return float(np.square(pca.inverse_transform(pca.transform(rows)) - rows).mean())


def built(preprocess: Preprocess, network: str, likelihood: Any = None, **options: Any) -> Model:
    own = options.pop("options", {})
    return build_model(
        preprocess,
        network=network,
        likelihood=Gaussian() if likelihood is None else likelihood,
        options={"network": NETWORKS[network], **own},
        **options,
    )


@pytest.mark.parametrize(("layout", "network"), [*itertools.product(SHAPES, NETWORKS)])
def test_an_untrained_model_is_pca_of_patches(layout: str, network: str) -> None:
    x, preprocess, cut = prepared(layout)
    components = PrincipalComponents.fit(preprocess, x, 3, patch=SIDE)
    expected = errors_of(cut, 3)
    assert components.rest == pytest.approx(expected, rel=1e-3)
    assert components.errors(preprocess, x).mean() == pytest.approx(expected, rel=1e-3)
    rows = cut.reshape(-1, cut.shape[-1])
    pca = PCA(3, svd_solver="full").fit(rows.astype(np.float64))
    codes = pca.transform(rows) / np.sqrt(pca.explained_variance_.mean())
    back = pca.inverse_transform(pca.transform(rows)).reshape(cut.shape)
    for likelihood in (Gaussian(variance="learned"), Gaussian(variance="decoded"), Laplace(scale="learned")):
        model = built(preprocess, network, likelihood, latent_dim=3)
        assert start_at_components(model, components)
        with torch.no_grad():
            seen = model.prepare(torch.from_numpy(x))
            code = model.encode(seen).mean
            output = model.likelihood.mean(model.decoder(code))
        places = cut.shape[1]
        found = code.view(len(x), 3, places).transpose(1, 2).reshape(-1, 3).numpy()
        assert np.abs(np.abs(found) - np.abs(codes)).max() < 1e-3, "the same, but for their signs"
        padded = np.pad(
            output.numpy(), [(0, 0), (0, 0), *((0, -size % SIDE) for size in output.shape[2:])], constant_values=np.nan
        )
        starts = itertools.product(*(range(0, size, SIDE) for size in padded.shape[2:]))
        for number, place in enumerate(starts):
            patch = padded[(..., *(slice(first, first + SIDE) for first in place))].reshape(len(x), -1)
            inside = ~np.isnan(patch)
            assert np.abs(patch - back[:, number])[inside].max() < 1e-4
        if isinstance(likelihood, Gaussian) and likelihood.width == 1:
            assert likelihood.log_spread.exp().item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_vae_has_the_optimum_of_a_linear_one_at_each_place(network: str) -> None:
    x, preprocess, _ = prepared("HWC")
    components = PrincipalComponents.fit(preprocess, x, 3, patch=SIDE)
    model = built(preprocess, network, model="vae", latent_dim=3, options={"likelihood": {"variance": "learned"}})
    assert start_at_components(model, components)
    evaluation = evaluate(model, x)
    assert np.isfinite(evaluation.averages["loss"])
    with torch.no_grad():
        posterior = model.encode(model.prepare(torch.from_numpy(x)))
    assert posterior.log_variance is not None
    total = (posterior.mean.view(len(x), 3, -1), posterior.log_variance.exp().view(len(x), 3, -1))
    over = total[0].var((0, 2)) + total[1].mean((0, 2))
    assert torch.allclose(over, torch.ones(3), atol=5e-3), "the average posterior of a place is N(0, I)"
    assert (total[0].var((0, 2)) > 0.05).all(), "no dimension is dead"
    marginal = posterior.log_variance.view(len(x), 3, -1)
    assert (marginal - marginal[:1, :, :1]).abs().max() < 1e-5, "the same at all places"


@pytest.mark.parametrize("network", NETWORKS)
def test_a_vae_trains_from_there_and_no_dimension_dies(network: str) -> None:
    options: dict[str, Any] = {"layout": "HWC", "scaling": "none", **NETWORKS[network]}
    run = diabolo.train(smooth("HWC"), model="vae", network=network, latent_dim=3, epochs=3, batch_size=20, **options)
    assert all(np.isfinite(epoch["validation"]["loss"]) for epoch in run.history if "validation" in epoch)
    codes = run.encode(smooth("HWC")).reshape(60, 3, -1)
    assert (codes.var((0, 2)) > 0.01).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_vq_starts_as_k_means_of_patches(network: str) -> None:
    x = smooth("HWC", 200)
    options: dict[str, Any] = {"layout": "HWC", "scaling": "none", "codes": 16, **NETWORKS[network]}
    run = start(make_run_config(x, model="vq", network=network, latent_dim=6, epochs=1, **options))
    assert run.components is not None
    assert run.training.start_counts
    model = run.training.model.eval()
    train = np.asarray(run.training.split.train)
    rows = _rows(model, x[train])
    codes = PCA(6, svd_solver="full").fit(rows)
    projected = codes.transform(rows)
    found = KMeans(16, n_init=3, random_state=0).fit(projected)
    back = codes.inverse_transform(found.cluster_centers_[found.labels_])
    error = evaluate(model, x[train]).averages["mse"]
    assert error <= 1.05 * float(np.square(rows - back).mean())
    spread = next(model.likelihood.parameters()).exp().item()
    assert spread == pytest.approx(error, rel=0.05), "what is left by 16 entries, not by six components"


def _rows(model: Model, x: np.ndarray) -> np.ndarray:
    seen = model.preprocess(torch.from_numpy(x)).numpy()
    seen = np.pad(seen, [(0, 0), (0, 0), *((0, -size % SIDE) for size in seen.shape[2:])], mode="edge")
    height, width = (size // SIDE for size in seen.shape[2:])
    cut = seen.reshape(len(x), -1, height, SIDE, width, SIDE).transpose(0, 2, 4, 1, 3, 5)
    return np.asarray(cut.reshape(len(x) * height * width, -1), np.float64)


def test_what_it_is_measured_against_is_pca_of_whole_examples() -> None:
    x = smooth("HWC")
    options: dict[str, Any] = {"layout": "HWC", "scaling": "none", **NETWORKS["conv"]}
    run = start(make_run_config(x, network="conv", latent_dim=1, epochs=1, **options))
    assert run.components is not None
    assert run.components.patch == SIDE
    train = run.training.split.train
    found = run.go().info["result"]["baseline"]
    whole = PrincipalComponents.fit(run.training.model.preprocess, x[train], found["components"])
    test = x[run.training.split.test]
    assert found["components"] > 1
    assert found["pca"] == pytest.approx(whole.errors(run.training.model.preprocess, test).mean(), rel=1e-3)


def test_maps_that_are_rounded_down_start_at_random() -> None:
    """An even kernel drops what does not fill its stride: there is no patch for each place."""
    options: dict[str, Any] = {"channels": (4, 6), "kernel": 4, "enlarge": "transposed", "spatial": True}
    for size, is_pca in ((16, True), (18, False)):
        plan = Conv(**options).settled((1, size, 16))
        assert plan.start == ("pca" if is_pca else "random")
        encoder, decoder = plan.build((1, size, 16), 2, 2, 1)
        assert isinstance(encoder, PatchEncoder) == is_pca
        assert decoder(encoder(torch.zeros(3, 1, size, 16))).shape == (3, 1, size, 16)


def test_features_that_are_not_a_row_for_each_number_of_a_code_have_no_start() -> None:
    x, preprocess, _ = prepared("HWC")
    model = built(preprocess, "conv", latent_dim=3)
    components = PrincipalComponents.fit(preprocess, x, 3, patch=SIDE)
    assert not start_at_components(model, PrincipalComponents.fit(preprocess, x, 3)), "components of whole examples"
    model.objective.features = lambda latent_dim: latent_dim + 1  # type: ignore[method-assign]
    assert not start_at_components(model, components)


@pytest.mark.parametrize("network", NETWORKS)
def test_saved_it_is_the_same_and_rough_near_it(network: str, tmp_path: Path) -> None:
    x = smooth("HWC")
    options: dict[str, Any] = {"layout": "HWC", "scaling": "none", **NETWORKS[network]}
    trained = diabolo.train(x, network=network, latent_dim=2, epochs=1, out=tmp_path / "run", **options)
    again = diabolo.Autoencoder.load(tmp_path / "run")
    assert np.array_equal(again.encode(x), trained.encode(x))
    rough = diabolo.Autoencoder.load(tmp_path / "run", precision="bf16").encode(x)
    assert np.abs(rough - again.encode(x)).max() < 0.05 * np.abs(rough).max()


def test_more_patches_than_are_needed_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    x, preprocess, _ = prepared("HWC")
    monkeypatch.setattr("diabolo.models.principal.MOST_PATCHES", 300)
    some, again = (PrincipalComponents.fit(preprocess, x, 3, seed=1, patch=SIDE) for _ in range(2))
    assert np.array_equal(some.axes, again.axes)
    monkeypatch.setattr("diabolo.models.principal.MOST_PATCHES", 10**6)
    every = PrincipalComponents.fit(preprocess, x, 3, patch=SIDE)
    assert not np.array_equal(some.axes, every.axes)
    assert some.rest == pytest.approx(every.rest, rel=0.5)
