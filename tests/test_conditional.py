"""The conditional VAE: what the class adds and where, the priors of classes, samples of a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import diabolo
from diabolo.errors import ConfigError
from diabolo.models import DiagonalGaussian, Model, Preprocess, Space, build_model
from diabolo.models.objectives import Batch
from diabolo.models.objectives.conditional import Conditional
from diabolo.models.priors.mixtures import GaussianOfEach, PosteriorMixture

CLASSES = ("a", "b", "c")
NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {"widths": (16,)},
    "conv": {"channels": (4, 6), "hidden": (16,)},
    "resnet": {"channels": (4, 6)},
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(event: tuple[int, ...] = (6, 6), layout: str = "HW", network: str = "mlp", **options: Any) -> Model:
    preprocess = Preprocess(event_shape=event, layout=layout, scale="unit")
    parts = {"model": options, "network": {**NETWORKS[network], "start": "random"}}
    return build_model(
        preprocess, model="conditional", network=network, latent_dim=2, options=parts, space=Space(classes=CLASSES)
    )


def gaussians(rows: int, seed: int) -> DiagonalGaussian:
    noise = torch.randn(2, rows, 2, generator=seeded(seed))
    return DiagonalGaussian(noise[0], noise[1])


def in_torch(of: DiagonalGaussian | GaussianOfEach) -> Independent:
    return Independent(Normal(of.mean, torch.exp(0.5 * of.log_variance)), 1)


def test_a_gaussian_of_each_has_the_density_and_the_kl_of_torch_s() -> None:
    q, table = gaussians(5, 0), gaussians(5, 1)
    prior = GaussianOfEach("five", table.mean, table.log_variance)
    z = torch.randn(5, 2, generator=seeded(2))
    torch.testing.assert_close(prior.log_prob(z), in_torch(prior).log_prob(z))
    kl = prior.kl(q)
    assert kl is not None
    torch.testing.assert_close(kl.sum(1), kl_divergence(in_torch(q), in_torch(prior)))
    codes = prior.draw(100_000, seeded()).view(-1, 5, 2)
    torch.testing.assert_close(codes.mean(0), table.mean, rtol=0.05, atol=0.05)
    torch.testing.assert_close(codes.var(0).log(), table.log_variance, rtol=0.05, atol=0.05)
    mean, deviation = prior.moments()
    torch.testing.assert_close(codes.flatten(0, 1).mean(0), mean, rtol=0.05, atol=0.05)
    torch.testing.assert_close(codes.flatten(0, 1).std(0), deviation, rtol=0.05, atol=0.05)


def test_the_prior_is_that_of_each_example_s_class_and_the_mixture_where_none_is_known() -> None:
    model = made(class_priors=True)
    objective: Any = model.objective
    with torch.no_grad():
        objective.priors[0] += torch.randn(3, 2, generator=seeded())
    y, z = torch.tensor([2, 0, 1, 1]), torch.zeros(4, 2)
    of_each, mixture = model.prior(y), model.prior()
    assert isinstance(of_each, GaussianOfEach)
    torch.testing.assert_close(of_each.log_prob(z), -0.5 * objective.priors[0, y].square().sum(1) - np.log(2 * np.pi))
    assert isinstance(mixture, PosteriorMixture)
    expected = torch.logsumexp(torch.stack([model.prior(y * 0 + k).log_prob(z) for k in range(3)]), 0) - np.log(3)  # type: ignore[union-attr]
    torch.testing.assert_close(mixture.log_prob(z), expected)


@pytest.mark.parametrize("embedding", ["learned", "one-hot"])
@pytest.mark.parametrize(
    ("network", "layout", "event", "channels"),
    [
        ("linear", "F", (9,), None),
        ("mlp", "HW", (6, 6), 1),
        ("conv", "HWC", (8, 8, 3), 1),
        ("conv", "CL", (2, 11), 1),
        ("resnet", "HW", (8, 8), 1),
    ],
)
def test_the_class_stands_behind_an_example_and_behind_a_code(
    network: str, layout: str, event: tuple[int, ...], channels: int | None, embedding: str
) -> None:
    model = made(event, layout, network, embedding=embedding)
    objective = model.objective
    x = model.prepare(torch.rand(3, *event, generator=seeded()))
    y = torch.tensor([0, 2, 2])
    given = objective.enter(Batch(x, y))
    width = 3 if embedding == "one-hot" else 16
    more = width if embedding == "one-hot" or channels is None else channels
    assert given.shape == (3, x.shape[1] + more, *x.shape[2:]) == (3, *objective.encoder_shape(tuple(x.shape[1:])))
    assert torch.equal(given[:, : x.shape[1]], x)
    beside = given[:, x.shape[1] :]
    assert torch.equal(beside[1], beside[2])
    assert not torch.equal(beside[0], beside[1])
    z = torch.zeros(3, 2)
    fed = objective.embed(z, y)
    assert fed.shape == (3, objective.fed(2)) == (3, 2 + width)
    if embedding == "one-hot":
        assert fed[:, 2:].tolist() == torch.eye(3)[y].tolist()
    one, other = model.encode(x[:1], y[:1]), model.encode(x[:1], y[1:2])
    assert not torch.equal(one.mean, other.mean), "the encoder sees it"
    outputs = model.decode(z, y)
    assert not torch.equal(outputs[0], outputs[1]), "the decoder sees it"


def test_codes_with_places_have_the_class_at_each() -> None:
    preprocess = Preprocess(event_shape=(8, 8), layout="HW", scale="unit")
    parts: dict[str, Any] = {"network": {"channels": (4,), "spatial": True}, "model": {"embedding": "one-hot"}}
    model = build_model(
        preprocess, model="conditional", network="conv", latent_dim=2, options=parts, space=Space(classes=CLASSES)
    )
    c, height, width = model.code_shape
    fed = model.objective.embed(torch.zeros(1, model.latent_dim), torch.tensor([1])).view(1, c + 3, height, width)
    assert fed[0, c:].flatten(1).mean(1).tolist() == [0, 1, 0]
    assert fed.std((2, 3)).max() == 0


def test_a_class_that_nothing_hears_leaves_the_vae() -> None:
    model, y = made(), torch.tensor([0, 1, 2, 0])
    plain = build_model(
        model.preprocess, model="vae", latent_dim=2, options={"network": {"widths": (16,), "start": "random"}}
    )
    theirs = model.state_dict()
    state = {key: theirs[key][tuple(slice(size) for size in value.shape)] for key, value in plain.state_dict().items()}
    plain.load_state_dict(state)
    for key, value in theirs.items():
        if key in state:
            kept = plain.state_dict()[key]
            value.zero_()[tuple(slice(size) for size in kept.shape)] = kept
    x = torch.rand(4, 6, 6, generator=seeded())
    losses = []
    for one, known in ((model, y), (plain, None)):
        one.generator = seeded(1)
        losses.append(one(x, known))
    for term, value in losses[1].terms.items():
        torch.testing.assert_close(losses[0].terms[term], value)


def test_it_needs_classes() -> None:
    with pytest.raises(ConfigError, match="learns with the classes of its examples, and these have none"):
        diabolo.train(np.random.default_rng(0).random((20, 6)), model="conditional", epochs=1)
    with pytest.raises(ConfigError, match="class_dim should be a number of at least 1, and was given 0"):
        Conditional(class_dim=0)
    with pytest.raises(ConfigError, match=r"embedding should be learned \| one-hot"):
        Conditional(embedding="binary")  # type: ignore[arg-type]


# --- trained on digits ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> diabolo.Autoencoder:
    folder = tmp_path_factory.mktemp("conditional") / "run"
    options: dict[str, Any] = {"latent_dim": 4, "widths": (64,), "epochs": 25, "lr": 3e-3, "seed": 1}
    diabolo.train("digits", model="conditional", class_priors=True, out=folder, compile="off", **options)
    return diabolo.load(folder)


def test_samples_of_a_class_are_of_that_class(trained: diabolo.Autoencoder) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data = diabolo.open_dataset("digits")
    nearest = KNeighborsClassifier(5).fit(np.asarray(data.x).reshape(len(data.x), -1), data.y)
    y = np.arange(400) % 10
    found = nearest.predict(trained.sample(400, seed=0, y=y).reshape(400, -1))
    assert (found == y).mean() > 0.95


def test_a_wrong_class_costs_likelihood(trained: diabolo.Autoencoder) -> None:
    data = diabolo.open_dataset("digits")
    x, y = np.asarray(data.x[:300]), np.asarray(data.y[:300])
    right, wrong = (trained.score(x, kind="likelihood", draws=50, y=known).mean() for known in (y, (y + 3) % 10))
    assert wrong > right + 5


def test_an_example_can_be_given_another_class(trained: diabolo.Autoencoder) -> None:
    data = diabolo.open_dataset("digits")
    x, y = np.asarray(data.x[:50]), np.asarray(data.y[:50])
    codes = trained.encode(x, y)
    assert np.array_equal(trained.decode(codes, y), trained.reconstruct(x, y))
    assert np.abs(trained.decode(codes, (y + 1) % 10) - trained.decode(codes, y)).mean() > 0.02


def test_an_export_takes_the_class(trained: diabolo.Autoencoder, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from diabolo.export import export_onnx

    exported = export_onnx(trained, tmp_path)
    x, y = np.asarray(diabolo.open_dataset("digits").x[:5], np.float32), np.array([3, 1, 4, 1, 5])
    encoder, decoder = (onnxruntime.InferenceSession(path) for path in (exported.encoder, exported.decoder))
    code = encoder.run(None, {"x": x, "y": y})[0]
    assert np.allclose(code, trained.encode(x, y), atol=1e-4)
    given = {entry.name for entry in decoder.get_inputs()}
    assert "y" in given
