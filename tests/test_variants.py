"""One suite for every variant, found through the registry, and the numbers of each that have a closed form."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diabolo.errors import ConfigError
from diabolo.evaluation.terms import evaluate
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.model import Model, build_model, rebuild_model
from diabolo.models.objectives import Batch, Space, objectives
from diabolo.models.objectives.denoising import Denoising
from diabolo.models.objectives.vae import VAE
from diabolo.models.preprocess import Preprocess
from diabolo.models.priors.own import StandardNormal

NAMES = list(objectives)
DATA = [
    pytest.param(network, layout, event, id=f"{network}-{event}")
    for network, layout, event in [
        ("linear", "F", (5,)),
        ("mlp", "F", (9,)),
        ("mlp", "HW", (5, 7)),
        ("conv", "CL", (2, 11)),
        ("conv", "HW", (8, 8)),
        ("conv", "HWC", (7, 5, 3)),
        ("resnet", "HW", (1, 5)),
    ]
]
SPACE = Space(classes=("a", "b", "c"))
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"widths": (16,)},
    "conv": {"channels": (4, 6), "hidden": (16,)},
    "resnet": {"channels": (4, 6)},
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(event: tuple[int, ...], count: int = 48) -> np.ndarray:
    """(count, *event) in [0, 1], of rank 2."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((count, 2)) @ rng.standard_normal((2, int(np.prod(event))))
    return (1 / (1 + np.exp(-2 * values))).astype(np.float32).reshape(count, *event)


def made(
    name: str,
    network: str = "mlp",
    layout: str = "HW",
    event: tuple[int, ...] = (6, 6),
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Model:
    preprocess = Preprocess(event_shape=event, layout=layout, scale="unit")
    parts = {"model": options or {}, "network": SMALL.get(network, {})}
    more = {"space": SPACE, **more}
    return build_model(preprocess, model=name, network=network, latent_dim=3, options=parts, **more)


def labels(model: Model, count: int) -> Tensor | None:
    """Classes in turn, where the variant takes some."""
    return None if model.objective.labels == "none" else torch.arange(count) % 3


def fitted(model: Model, x: np.ndarray, steps: int = 60, lr: float = 0.01) -> list[float]:
    """Some plain steps of Adam on all of x; the losses."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    model.generator = seeded()
    batch, losses = torch.from_numpy(x), []
    for step in range(steps):
        model.epoch = float(step)
        loss = model(batch, labels(model, len(batch))).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# --- every variant ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_says_its_equation_its_source_and_what_it_is(name: str) -> None:
    cls = objectives[name]
    assert cls.equation.strip()
    assert "x" in cls.equation
    assert re.search(r"\b(19|20)\d\d\b", cls.source), "a source names its year"
    assert re.search(r"https://\S+", cls.source), "and where to find it"
    assert (cls.__doc__ or "").strip()
    assert "\n" not in cls.equation
    assert cls.when.startswith("Take it "), "when to take it"
    assert ". Not " in cls.when, "and when not"
    assert cls.formula, "its equation, for pages"
    assert cls.formula.count("{") == cls.formula.count("}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("network", "layout", "event"), DATA)
def test_terms_are_nats_per_example_for_every_shape(
    name: str, network: str, layout: str, event: tuple[int, ...]
) -> None:
    model = made(name, network, layout, event)
    model.generator, model.epoch = seeded(), 0.5
    x = torch.from_numpy(toy(event, 7))
    loss = model(x, labels(model, 7))
    assert loss.terms
    for term, value in loss.terms.items():
        assert tuple(value.shape) == (7,), term
        assert value.isfinite().all(), term
        assert re.fullmatch(r"[a-z][a-z0-9_]*", term)
    assert set(loss.weights) <= set(loss.terms)
    assert tuple(loss.posterior.mean.shape) == (7, 3)
    assert tuple(model.likelihood.mean(loss.output).shape) == tuple(model.prepare(x).shape)
    assert loss.total.shape == ()
    weighted = sum(loss.weights.get(term, 1.0) * value.mean() for term, value in loss.terms.items())
    torch.testing.assert_close(loss.total, weighted)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("network", "layout", "event"), DATA)
def test_every_parameter_gets_a_gradient(name: str, network: str, layout: str, event: tuple[int, ...]) -> None:
    model = made(name, network, layout, event, seed=1)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    fitted(model, toy(event, 16), steps=4)
    for key, value in model.named_parameters():
        assert value.grad is not None, key
        assert value.grad.isfinite().all(), key
        if value.numel() > 1 or network != "resnet":
            assert not torch.equal(value, before[key]), f"{key} does not move"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", ["linear", "mlp", "conv"])
def test_the_loss_falls(name: str, network: str) -> None:
    losses = fitted(made(name, network), toy((6, 6)))
    assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_is_the_same_model(name: str) -> None:
    runs = []
    for seed in (0, 0, 1):
        model = made(name, seed=seed)
        losses = fitted(model, toy((6, 6)), steps=5)
        runs.append((losses, model.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][key], runs[1][1][key]) for key in runs[0][1])
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize("name", NAMES)
def test_noise_comes_from_the_model_s_generator_alone(name: str) -> None:
    model = made(name)
    x = torch.from_numpy(toy((6, 6)))
    totals = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        model.generator = seeded(7)
        totals.append(model(x, labels(model, len(x))).total.item())
    assert totals[0] == totals[1]


@pytest.mark.parametrize("name", NAMES)
def test_configuration_and_tensors_rebuild_it_bit_for_bit(name: str) -> None:
    model = made(name)
    fitted(model, toy((6, 6)), steps=2)
    again = rebuild_model(model.config())
    again.load_state_dict(model.state_dict())
    assert again.config() == model.config()
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    x, y = toy((6, 6)), labels(model, 48)
    known = None if y is None else y.numpy()
    assert evaluate(model, x, y=known).averages == evaluate(again, x, y=known).averages


@pytest.mark.parametrize("name", NAMES)
def test_codes_do_not_depend_on_noise_or_on_neighbours(name: str) -> None:
    model = made(name).eval()
    x = torch.from_numpy(toy((6, 6)))
    with torch.no_grad():
        y = labels(model, len(x))
        parts = [(x, y), (x, y), (x[4:5], None if y is None else y[4:5])]
        codes = [model.encode(model.prepare(part), known).mean for part, known in parts]
    assert torch.equal(codes[0], codes[1])
    torch.testing.assert_close(codes[2], codes[0][4:5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood_goes_with_it(name: str) -> None:
    for likelihood, options in [
        ("bernoulli", {}),
        ("gaussian", {"variance": "learned"}),
        ("gaussian", {"variance": "decoded", "output": "sigmoid"}),
        ("gaussian", {"variance": "optimal"}),
        ("laplace", {"scale": "decoded"}),
        ("student", {"degrees": "learned"}),
    ]:
        preprocess = Preprocess(event_shape=(5, 4, 2), layout="HWC", scale="unit")
        model = build_model(
            preprocess, model=name, likelihood=likelihood, latent_dim=2, options={"likelihood": options}, space=SPACE
        )
        losses = fitted(model, toy((5, 4, 2)), steps=15, lr=0.003)
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0]


# --- vae --------------------------------------------------------------------------------------------------------------


class Frozen:
    """A net whose encoder and decoder are what a test says: codes as given, decoded as they are."""

    def __init__(self, code: DiagonalGaussian, epoch: float = math.inf, seed: int = 0) -> None:
        self.code = code
        self.epoch = epoch
        self.generator = seeded(seed)
        self.decoded: list[Tensor] = []

    def encode(self, x: Tensor, y: Tensor | None = None) -> DiagonalGaussian:
        return self.code

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        self.decoded.append(z)
        return z

    def prior(self, y: Tensor | None = None) -> StandardNormal:
        return StandardNormal(self.code.mean.shape[1])

    def log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        return -(output - x).square().sum(1)


def posterior(count: int = 6, dims: int = 2, scale: float = 1.0) -> DiagonalGaussian:
    mean = (scale * torch.randn(count, dims, generator=seeded(3))).requires_grad_()
    return DiagonalGaussian(mean, (scale * torch.randn(count, dims, generator=seeded(4))).requires_grad_())


X = torch.randn(6, 2, generator=seeded(9))
BATCH = Batch(X)


def test_vae_is_reconstruction_plus_beta_times_kl() -> None:
    code = posterior()
    loss = VAE(beta=2.5).loss(BATCH, Frozen(code))
    noise = torch.randn(6, 2, generator=seeded(0))
    z = code.mean + (0.5 * code.log_variance).exp() * noise
    reconstruction = (z - X).square().sum(1)
    kl = 0.5 * (code.mean**2 + code.log_variance.exp() - 1 - code.log_variance).sum(1)
    torch.testing.assert_close(loss.terms["reconstruction"], reconstruction)
    torch.testing.assert_close(loss.terms["kl"], kl)
    assert loss.weights == {"kl": 2.5}
    torch.testing.assert_close(loss.total, reconstruction.mean() + 2.5 * kl.mean())


@pytest.mark.parametrize(
    ("epoch", "warmup", "expected"),
    [
        (0.0, 0.0, 3.0),
        (0.0, 4.0, 0.0),
        (1.0, 4.0, 0.75),
        (2.5, 4.0, 1.875),
        (4.0, 4.0, 3.0),
        (99.0, 4.0, 3.0),
        (math.inf, 4.0, 3.0),
    ],
)
def test_beta_rises_over_the_warm_up(epoch: float, warmup: float, expected: float) -> None:
    loss = VAE(beta=3.0, warmup=warmup).loss(BATCH, Frozen(posterior(), epoch))
    assert loss.weights["kl"] == pytest.approx(expected)


def test_free_bits_stop_the_gradient_below_the_floor_and_leave_it_above() -> None:
    mean = torch.tensor([[0.1, 2.0]]).repeat(6, 1).requires_grad_()
    code = DiagonalGaussian(mean, torch.zeros(6, 2, requires_grad=True))
    loss = VAE(beta=2.0, free_bits=0.5).loss(BATCH, Frozen(code))
    penalty = sum(loss.weights[name] * loss.terms[name].mean() for name in ("kl", "free_bits"))
    assert penalty.item() == pytest.approx(2.0 * (0.5 + 2.0)), "each dimension costs at least its free nats"
    assert loss.terms["kl"].mean().item() == pytest.approx(0.005 + 2.0), "and the KL is told as it is"
    (gradient,) = torch.autograd.grad(penalty, mean)
    torch.testing.assert_close(gradient[:, 0], torch.zeros(6))
    torch.testing.assert_close(gradient[:, 1], torch.full((6,), 2.0 * 2.0 / 6))


def test_without_free_bits_every_dimension_is_pressed() -> None:
    code = posterior(scale=0.1)
    loss = VAE().loss(BATCH, Frozen(code))
    (gradient,) = torch.autograd.grad(loss.terms["kl"].sum(), code.mean)
    torch.testing.assert_close(gradient, code.mean.detach())


def test_draws_are_averaged_in_training_and_one_elsewhere() -> None:
    code = posterior()
    variant, net = VAE(draws=5), Frozen(code)
    loss = variant.loss(BATCH, net)
    (z,) = net.decoded
    assert tuple(z.shape) == (30, 2)
    generator = seeded(0)
    each = [
        (code.mean + (0.5 * code.log_variance).exp() * torch.randn(6, 2, generator=generator) - X).square().sum(1)
        for _ in range(5)
    ]
    torch.testing.assert_close(loss.terms["reconstruction"], torch.stack(each).mean(0))
    assert tuple(loss.output.shape) == (6, 2)
    variant.eval()
    net = Frozen(code)
    variant.loss(BATCH, net)
    assert tuple(net.decoded[0].shape) == (6, 2)


def test_more_draws_are_a_calmer_estimate_of_the_same_loss() -> None:
    code = posterior()
    spread = {}
    for draws in (1, 16):
        totals = [VAE(draws=draws).loss(BATCH, Frozen(code, seed=seed)).total.item() for seed in range(200)]
        spread[draws] = (np.mean(totals), np.std(totals))
    assert spread[16][0] == pytest.approx(spread[1][0], abs=4 * spread[1][1] / math.sqrt(200))
    assert spread[16][1] == pytest.approx(spread[1][1] / 4, rel=0.25)


def test_the_listing_s_form_multiplies_noise_by_the_variance() -> None:
    code, net = posterior(), Frozen(posterior())
    loss = VAE(noise_scale="variance").loss(BATCH, net)
    noise = torch.randn(6, 2, generator=seeded(0))
    torch.testing.assert_close(net.decoded[0], code.mean + code.log_variance.exp() * noise)
    torch.testing.assert_close(loss.terms["kl"], StandardNormal(2).kl(code).sum(1))


def test_a_held_log_variance_is_cut_and_has_no_gradient_beyond() -> None:
    features = torch.tensor([[0.3, -0.2, 5.0, -9.0], [0.1, 0.4, 1.0, -6.0]], requires_grad=True)
    held, free = VAE(log_variance=(-6.0, 2.0)).posterior(features, BATCH), VAE().posterior(features, BATCH)
    assert isinstance(held, DiagonalGaussian)
    assert torch.equal(held.mean, free.mean)
    assert held.log_variance.tolist() == [[2.0, -6.0], [1.0, -6.0]]
    (slope,) = torch.autograd.grad(held.log_variance.sum(), features)
    assert slope.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]
    expected = torch.nn.functional.hardtanh(features[:, 2:], -6, 2)
    assert torch.equal(held.log_variance, expected)
    kl = -0.5 * (1 + held.log_variance - held.mean**2 - held.log_variance.exp())
    assert torch.allclose(StandardNormal(2).kl(held), kl)


def test_a_trained_vae_uses_its_beta() -> None:
    kls = []
    for beta in (0.1, 10.0):
        model = made("vae", options={"beta": beta})
        fitted(model, toy((6, 6)), steps=80)
        kls.append(evaluate(model, toy((6, 6))).averages["kl"])
    assert kls[0] > 2 * kls[1]


def test_only_a_variant_with_a_prior_says_so() -> None:
    made = {name: objectives.create(name) for name in ("autoencoder", "denoising", "sparse", "vae")}
    assert [name for name, variant in made.items() if variant.prior() is not None] == ["vae"]


# --- sparse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_sparse_keeps_the_k_largest(k: int) -> None:
    model = made("sparse", options={"k": k})
    features = torch.randn(20, 3, generator=seeded())
    z = model.objective.posterior(features, Batch(torch.zeros(20, 1, 6, 6))).mean
    assert z.ne(0).sum(1).eq(k).all()
    assert torch.equal(z[z != 0], features[z != 0]), "what is kept is kept as it is"
    kept = features.abs().masked_fill(z == 0, math.inf).min(1).values
    dropped = features.abs().masked_fill(z != 0, -math.inf).max(1).values
    assert (kept >= dropped).all()
    codes = model.encode(model.prepare(torch.from_numpy(toy((6, 6))))).mean
    assert codes.ne(0).sum(1).le(k).all()


def test_k_must_fit_the_code() -> None:
    with pytest.raises(ConfigError, match="k should be at most the code's 3 dimensions, and was given 4"):
        made("sparse", options={"k": 4})


def test_l1_is_the_sum_of_absolute_values() -> None:
    model = made("sparse", options={"l1": 0.25})
    x = torch.from_numpy(toy((6, 6)))
    loss, plain = model(x), made("autoencoder")(x)
    torch.testing.assert_close(loss.terms["l1"], loss.posterior.mean.abs().sum(1))
    torch.testing.assert_close(loss.terms["reconstruction"], plain.terms["reconstruction"])
    torch.testing.assert_close(loss.total, plain.total + 0.25 * loss.posterior.mean.abs().sum(1).mean())


def test_a_heavier_l1_makes_smaller_codes() -> None:
    sizes = []
    for l1 in (0.0, 5.0):
        model = made("sparse", options={"l1": l1})
        fitted(model, toy((6, 6)))
        sizes.append(evaluate(model, toy((6, 6))).averages["l1"])
    assert sizes[1] < sizes[0] / 3


# --- denoising --------------------------------------------------------------------------------------------------------


def test_gaussian_noise_has_its_deviation() -> None:
    x = torch.full((100, 400), 0.5)
    noise = Denoising(noise="gaussian=0.3").corrupt(x, seeded()) - x
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)


def test_masking_sets_its_fraction_to_zero() -> None:
    x = torch.full((100, 400), 0.5)
    masked = Denoising(noise="masking=0.2").corrupt(x, seeded())
    assert masked.eq(0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert masked[masked != 0].eq(0.5).all()


def test_salt_and_pepper_sets_its_fraction_to_0_or_1_in_halves() -> None:
    x = torch.full((100, 400), 0.5)
    noisy = Denoising(noise="salt-and-pepper=0.3").corrupt(x, seeded())
    assert noisy.eq(0).float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert noisy.eq(1).float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert noisy.eq(0.5).float().mean().item() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("noise", ["gaussian=0", "masking=0", "salt-and-pepper=0"])
def test_no_noise_is_the_plain_autoencoder(noise: str) -> None:
    x = torch.from_numpy(toy((6, 6)))
    torch.testing.assert_close(made("denoising", options={"noise": noise})(x).total, made("autoencoder")(x).total)


def test_the_encoder_sees_noise_and_the_loss_the_clean_input() -> None:
    model = made("denoising", options={"noise": "masking=0.5"})
    x = torch.from_numpy(toy((6, 6)))
    clean = model.prepare(x)
    model.generator = seeded()
    loss = model(x)
    noisy = model.objective.corrupt(clean, seeded())  # type: ignore[operator]
    code = model.encode(noisy)
    torch.testing.assert_close(loss.posterior.mean, code.mean)
    output = model.decode(code.mean)
    torch.testing.assert_close(loss.terms["reconstruction"], -model.log_likelihood(output, clean))
    assert not torch.allclose(-model.log_likelihood(output, noisy), loss.terms["reconstruction"])


# --- a closed form: principal components ------------------------------------------------------------------------------


def test_a_linear_autoencoder_reaches_the_error_of_principal_components() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((60, 3)) @ rng.standard_normal((3, 8)) + 0.3 * rng.standard_normal((60, 8))).astype("f4")
    x -= x.mean(0)
    values = np.linalg.svd(x, compute_uv=False) ** 2
    best = values[2:].sum() / len(x)  # what two components leave
    preprocess = Preprocess(event_shape=(8,), layout="F", scale="none")
    options = {"likelihood": {"variance": 0.5}}
    model = build_model(preprocess, network="linear", likelihood="gaussian", latent_dim=2, options=options)
    fitted(model, x, steps=600, lr=0.02)
    result = evaluate(model, x).averages
    assert best - 1e-4 < 8 * result["mse"] < 1.002 * best
    assert result["reconstruction"] == pytest.approx(8 * result["mse"] + 4 * math.log(math.pi), abs=1e-4)
