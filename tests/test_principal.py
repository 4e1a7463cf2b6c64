"""The start at principal components, the likelihood that fits the data, and what a model is measured against."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import LowRankMultivariateNormal

import diabolo
from diabolo.datasets import Split
from diabolo.diagnostics import diagnose_baseline
from diabolo.errors import ConfigError
from diabolo.evaluation import evaluate
from diabolo.models import Bernoulli, Gaussian, Laplace, Preprocess, ResNet, build_model
from diabolo.models.model import auto_likelihood, rebuild_model
from diabolo.models.networks import Linear, affine_path
from diabolo.models.networks._residual import patches, whole
from diabolo.models.principal import PrincipalComponents, start_at_components, start_at_mean
from diabolo.runs import make_run_config, start
from diabolo.runs import start as start_run
from diabolo.training import Settings, Trainer

SMALL: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {"widths": (12,)},
    "conv": {"channels": (4, 6), "hidden": (12,)},
    "resnet": {"channels": (4, 6)},
}


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    """(120, 9, 7, 3) uint8: soft spots in colours of their own, odd sides."""
    rng = np.random.default_rng(3)
    row, column = rng.uniform(1, 7, (2, 120, 1, 1))
    spots = np.exp(-0.3 * ((np.arange(9.0)[:, None] - row) ** 2 + (np.arange(7.0) - column) ** 2))
    return (255 * spots[..., None] * rng.uniform(0.2, 0.9, (120, 1, 1, 3))).astype(np.uint8)


def waves() -> np.ndarray:
    rng = np.random.default_rng(4)
    phase, pace = rng.uniform(0, 6, (2, 80, 1, 1))
    return (np.sin(np.arange(30.0)[:, None] / (1 + pace) + phase) * [1.0, 30.0] + [0, 5]).astype(np.float32)


def data_of(kind: str, colours: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, str]:
    return {"image": (colours, "HWC"), "signal": (waves(), "LC"), "table": (table, "F")}[kind]


CASES = [
    *itertools.product(("image", "signal"), SMALL),
    *itertools.product(("table",), ("linear", "mlp")),
]


@pytest.mark.parametrize(("kind", "network"), CASES)
def test_it_starts_as_the_principal_components(kind: str, network: str, colours: np.ndarray, table: np.ndarray) -> None:
    x, layout = data_of(kind, colours, table)
    preprocess = Preprocess.fit(x, layout, np.arange(len(x)))
    components = PrincipalComponents.fit(preprocess, x, 3)
    seen = preprocess(torch.from_numpy(x)).flatten(1).numpy()
    pca = PCA(3, svd_solver="full").fit(seen)
    expected = np.square(pca.inverse_transform(pca.transform(seen)) - seen).mean()
    assert components.errors(preprocess, x).mean() == pytest.approx(expected, rel=1e-4)
    assert components.rest == pytest.approx(expected, rel=1e-4)
    for likelihood in (Gaussian(variance="learned"), Gaussian(variance="decoded"), Laplace(scale="learned")):
        options = {"network": SMALL[network]}
        model = build_model(preprocess, network=network, latent_dim=3, options=options, likelihood=likelihood)
        assert start_at_components(model, components)
        evaluation = evaluate(model, x)
        assert evaluation.averages["mse"] == pytest.approx(expected, rel=1e-3)
        if isinstance(likelihood, Gaussian) and likelihood.width == 1:
            assert likelihood.log_spread.exp().item() == pytest.approx(expected, rel=1e-3), "or any epoch looks better"
        with torch.no_grad():
            codes = model.encode(model.prepare(torch.from_numpy(x))).mean
        assert codes.mean(0).abs().max() < 1e-3
        assert codes.var(0).mean() == pytest.approx(1, abs=1e-3)
        spread = codes.var(0).numpy() / components.variances
        assert spread == pytest.approx(spread[0], rel=1e-3), "one unit for all: distances are those of the projections"


@pytest.mark.parametrize("network", SMALL)
def test_a_vae_starts_as_probabilistic_pca(network: str, colours: np.ndarray) -> None:
    """At its optimum the bound of a linear VAE is its likelihood: the posterior is exact."""
    preprocess = Preprocess.fit(colours, "HWC", np.arange(len(colours)))
    components = PrincipalComponents.fit(preprocess, colours, 4)
    options = {"network": SMALL[network], "likelihood": {"variance": "learned"}}
    model = build_model(preprocess, model="vae", network=network, likelihood="gaussian", latent_dim=4, options=options)
    assert start_at_components(model, components)
    with torch.no_grad():
        seen = model.prepare(torch.from_numpy(colours))
        posterior = model.encode(seen)
        total = posterior.mean.var(0) + posterior.log_variance.exp().mean(0)
        assert torch.allclose(total, torch.ones(4), atol=1e-3), (
            "the average posterior is N(0, I), component by component"
        )
        bounds = [-evaluate(model, colours, seed=seed).averages["loss"] for seed in range(30)]
        out, likelihood = affine_path(model.decoder), model.likelihood
        assert out is not None
        assert isinstance(likelihood, Gaussian)
        marginal = LowRankMultivariateNormal(out.bias, out.weight, likelihood.log_spread.exp().expand_as(out.bias))
        exact = float(marginal.log_prob(seen.flatten(1)).mean())
    assert np.mean(bounds) == pytest.approx(exact, abs=4 * np.std(bounds) / np.sqrt(30))


def test_behind_a_sigmoid_it_starts_near_them(colours: np.ndarray) -> None:
    preprocess = Preprocess.fit(colours, "HWC", np.arange(len(colours)))
    components = PrincipalComponents.fit(preprocess, colours, 3)
    error, average = (float(components.errors(preprocess, colours, k).mean()) for k in (3, 0))
    for likelihood in (Bernoulli(), Gaussian(output="sigmoid")):
        model = build_model(preprocess, latent_dim=3, likelihood=likelihood, options={"network": {"widths": (8,)}})
        assert start_at_components(model, components)
        assert evaluate(model, colours).averages["mse"] < (error + average) / 2


def test_fewer_components_than_dimensions() -> None:
    """Three examples have two components, equal ones none: the other dimensions start at zero."""
    rng = np.random.default_rng(0)
    for x in (rng.uniform(0, 1, (3, 6)), np.full((5, 6), 0.5), np.tile(rng.uniform(0, 1, 6), (4, 1))):
        x = x.astype(np.float32)
        preprocess = Preprocess.fit(x, "F", np.arange(len(x)), "none")
        model = build_model(preprocess, latent_dim=4, likelihood=Gaussian())
        assert start_at_components(model, PrincipalComponents.fit(preprocess, x, 4))
        evaluation = evaluate(model, x)
        assert np.isfinite(evaluation.averages["loss"])
        assert evaluation.averages["mse"] < 1e-8


def test_components_come_from_the_training_split_alone(colours: np.ndarray) -> None:
    run = start(make_run_config(colours, layout="HWC", latent_dim=2, widths=(8,), epochs=1))
    train = run.training.split.train
    seen = run.training.model.preprocess(torch.from_numpy(colours[train])).flatten(1).numpy()
    path = affine_path(run.training.model.decoder)
    assert path is not None
    assert np.allclose(path.bias.detach().numpy(), seen.mean(0), atol=1e-5)
    assert run.components is not None
    assert run.components.examples == len(train)


def test_a_start_that_nothing_improves_on_is_kept(tmp_path: Path, table: np.ndarray) -> None:
    options = {
        "latent_dim": 2,
        "widths": (8,),
        "epochs": 3,
        "lr": 10.0,
        "ema": 0.0,
        "schedule": "constant",
        "clip": 0.1,
    }
    model = diabolo.train(table, out=tmp_path / "run", **options)
    result = model.info["result"]
    assert result["kept_epoch"] == 0
    assert result["test"]["mse"] == pytest.approx(result["baseline"]["pca"], rel=1e-3)
    again = diabolo.load(tmp_path / "run")
    assert np.array_equal(again.encode(table[:9]), model.encode(table[:9]))


def test_a_start_is_kept_through_a_resume(tmp_path: Path, table: np.ndarray) -> None:
    options = {"latent_dim": 2, "widths": (8,), "lr": 10.0, "ema": 0.0, "schedule": "constant", "clip": 0.1}
    np.save(tmp_path / "table.npy", table)
    whole = diabolo.train(str(tmp_path / "table.npy"), epochs=3, out=tmp_path / "whole", **options)
    diabolo.train(str(tmp_path / "table.npy"), epochs=2, out=tmp_path / "cut", **options)
    longer = diabolo.resume(tmp_path / "cut", epochs=3).go()
    assert longer.info["result"]["kept_epoch"] == 0
    assert np.array_equal(longer.encode(table[:9]), whole.encode(table[:9]))


@pytest.mark.parametrize("network", SMALL)
@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_it_is_no_worse_than_pca_at_its_defaults(model: str, network: str, pictures: np.ndarray) -> None:
    x = np.concatenate([np.roll(pictures, k, axis=1) for k in range(4)])
    made = diabolo.train(
        x, layout="HW", model=model, network=network, latent_dim=3, lr=2e-3, epochs=30, **SMALL[network]
    )
    result = made.info["result"]
    assert result["test"]["mse"] <= 1.02 * result["baseline"]["pca"]


def test_a_random_start_is_the_layers_alone(pictures: np.ndarray) -> None:
    run = start(make_run_config(pictures, layout="HW", latent_dim=2, widths=(8,), start="random", epochs=1))
    assert affine_path(run.training.model.encoder) is None
    assert run.components is None
    assert not run.training.start_counts
    assert "baseline" in run.go().info["result"], "it is measured against PCA all the same"


# The likelihood


@pytest.mark.parametrize("network", ["mlp", "linear", "conv", "resnet"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "decoded"])
def test_the_last_bias_is_the_output_for_the_mean(network: str, likelihood: str, pictures: np.ndarray) -> None:
    options: dict[str, Any] = {"network": network, "likelihood": likelihood, "latent_dim": 3}
    if likelihood == "decoded":
        options |= {"likelihood": "gaussian", "variance": "decoded", "output": "sigmoid"}
    training, random = (
        start(make_run_config(pictures, epochs=1, test=0.0, **{**options, "start": first})).training
        for first in ("mean", "random")
    )
    seen = training.model.preprocess(torch.from_numpy(pictures[training.split.train]))
    mean = seen.mean(0).clamp(1e-3, 1 - 1e-3) if network != "conv" else seen.mean((0, 2, 3)).clamp(1e-3, 1 - 1e-3)
    expected = torch.logit(mean) if likelihood in ("bernoulli", "decoded") else mean
    names = [name for name, _ in training.model.decoder.named_parameters() if name.endswith("bias")]
    name = "affine.bias" if network == "resnet" else names[-1]
    found = training.model.decoder.get_parameter(name).detach()
    assert torch.allclose(found[: expected.numel()], expected.flatten(), atol=1e-4)
    assert not found[expected.numel() :].any(), "a deviation of 1, where one is decoded"
    others = random.model.state_dict()
    changed = [key for key, value in training.model.state_dict().items() if not torch.equal(value, others[key])]
    assert changed == [f"decoder.{name}"], "all else is random as before"
    assert not training.start_counts


def test_a_start_at_the_mean_saves_the_way_to_it(pictures: np.ndarray) -> None:
    losses = []
    for first in ("random", "mean"):
        options = {"likelihood": "bernoulli", "start": first, "widths": (8,), "latent_dim": 2, "lr": 1e-4}
        model = diabolo.train(pictures, epochs=1, test=0.0, precision="float32", **options)
        losses.append(model.history[-1]["validation"]["loss"])
    assert losses[1] < losses[0] - 1


def test_a_mean_needs_a_bias(pictures: np.ndarray) -> None:
    preprocess = Preprocess.fit(pictures, "HW", np.arange(len(pictures)))
    bare = Linear(bias=False, start="random")
    model = build_model(preprocess, network=bare, latent_dim=2)
    with pytest.raises(ConfigError, match="a decoder whose last layer has a bias for each value or for each channel"):
        start_at_mean(model, preprocess, pictures)


@pytest.mark.parametrize("network", SMALL)
def test_a_held_variance_starts_within_its_bounds(network: str, colours: np.ndarray) -> None:
    """The optimum lies below -1: a variance that starts there would be cut, and never learn."""
    preprocess = Preprocess.fit(colours, "HWC", np.arange(len(colours)))
    components = PrincipalComponents.fit(preprocess, colours, 4)
    biases = []
    for bounds in (None, (-1.0, 2.0)):
        options = {"network": SMALL[network], "model": {"log_variance": bounds}}
        model = build_model(preprocess, model="vae", network=network, latent_dim=4, options=options)
        assert start_at_components(model, components)
        path = affine_path(model.encoder)
        assert path is not None
        biases.append(path.bias.detach().clone())
    assert biases[0][4:].min() < -1
    assert torch.equal(biases[1][4:], biases[0][4:].clamp(min=-1))
    assert torch.equal(biases[1][:4], biases[0][:4])
    model.train()
    model(torch.from_numpy(colours[:20])).total.backward()
    assert path.bias.grad is not None
    assert path.bias.grad[4:].ne(0).all()


GREY = Preprocess(event_shape=(4, 4), layout="HW", scale="bytes")
PLAIN = Preprocess(event_shape=(4,), layout="F", scale="standard")


@pytest.mark.parametrize(
    ("preprocess", "options", "is_binary", "name", "settings"),
    [
        (GREY, {}, False, "gaussian", {"variance": "learned", "output": "clip"}),
        (PLAIN, {}, False, "gaussian", {"variance": "learned"}),
        (GREY, {}, True, "bernoulli", {}),
        (GREY, {"inputs": "logits"}, False, "bernoulli", {"inputs": "logits"}),
        (GREY, {"variance": 0.1}, True, "gaussian", {"variance": 0.1, "output": "clip"}),
        (PLAIN, {"scale": "learned"}, False, "laplace", {"scale": "learned"}),
    ],
)
def test_the_likelihood_that_fits(preprocess, options, is_binary, name, settings) -> None:
    assert auto_likelihood(preprocess, options, is_binary=is_binary)[:2] == (name, settings)


@pytest.mark.parametrize("ends", [(0, 255), (0, 1)])
def test_data_of_two_values_get_bernoulli(ends: tuple[int, int], tmp_path: Path) -> None:
    x = np.random.default_rng(0).choice(ends, (60, 8, 8)).astype(np.uint8 if ends[1] == 255 else np.float32)
    model = diabolo.train(x, layout="HW", latent_dim=2, widths=(8,), epochs=1, out=tmp_path / "run")
    assert isinstance(model.model.likelihood, Bernoulli)
    assert "0 or 1" in diabolo.load(tmp_path / "run").info["reasons"]["likelihood"]


def test_a_clipped_output() -> None:
    """Within [0, 1], both ends reached, and a gradient wherever the data ask for another value."""
    likelihood = Gaussian(output="clip")
    output = torch.tensor([[-0.5, 0.25, 1.5]], requires_grad=True)
    assert likelihood.mean(output).tolist() == [[0.0, 0.25, 1.0]]
    x = torch.tensor([[0.1, 0.25, 1.0]])
    (slope,) = torch.autograd.grad(likelihood.log_prob(output, x).sum(), output)
    assert slope[0, 0] == pytest.approx(0.1), "upwards, from outside"
    assert slope[0, 1:].abs().max() < 1e-6


# The budget


@pytest.mark.parametrize(
    ("count", "epochs"), [(100, 750), (1437, 66), (4000, 24), (5000, 20), (15_000, 20), (54_000, 8), (1_000_000, 3)]
)
def test_the_epochs_that_fit_the_data(count: int, epochs: int) -> None:
    settings = Settings().for_examples(count)
    assert settings.epochs == epochs
    assert settings.patience == max(5, -(-epochs // 3))
    assert Settings(epochs=7).for_examples(count).patience is None
    assert Settings(validation=0.0).for_examples(count).patience is None


def test_a_run_holds_the_numbers_and_no_zero(table: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(table, widths=(8,), latent_dim=2, batch_size=16, patience=2, out=tmp_path / "run")
    settings = model.info["run_config"]["settings"]
    assert settings["epochs"] > 0
    assert settings["schedule"] == "cosine"
    assert settings["lr_warmup"] == 1.0
    with pytest.raises(ConfigError, match="lr_warmup should be a number of epochs of at least 0, or -1"):
        Settings(lr_warmup=-0.5)
    with pytest.raises(ConfigError, match="epochs should be a number of at least 1, or 0"):
        Settings(epochs=-1)


# What is said


@pytest.mark.parametrize(
    ("mse", "level", "title"),
    [
        (0.0143, "problem", "PCA of 64 components is better"),
        (0.0082, "note", "PCA of 64 components is as good"),
        (0.0070, "good", "It is better than PCA of 64 components"),
    ],
)
def test_the_finding_on_the_baseline(mse: float, level: str, title: str) -> None:
    finding = diagnose_baseline(mse, {"components": 64, "pca": 0.0082, "average": 0.0639})
    assert (finding.level, finding.title) == (level, title)
    assert "0.0082" in finding.text
    assert ("--network resnet" in finding.text) == (level != "good")


def test_every_place_puts_pca_beside_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diabolo.cli import main

    run = str(tmp_path / "run")
    words = ["train", "digits", "--latent-dim", "2", "--widths", "8", "--epochs", "2", "-o", run]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "PCA of 2 components" in said.out
    assert "likelihood: one variance for all values" in said.err
    assert main(["info", run]) == 0
    assert "PCA of 2 components" in capsys.readouterr().out
    assert "PCA of 2 components" in (tmp_path / "run" / "report.html").read_text()
    assert main(["evaluate", run, "--metrics", "mse,pca"]) == 0
    assert "mean squared error of PCA" in capsys.readouterr().out


# The residual network


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 8, 12), (2, 1, 8, 4, 4)])
def test_patches_and_back(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    apart = patches(x, 2)
    assert apart.shape == (2, shape[1] * 2 ** (len(shape) - 2), *(side // 2 for side in shape[2:]))
    assert torch.equal(whole(apart, 2), x)
    assert torch.equal(
        apart[(0, slice(None), *[0] * (len(shape) - 2))].sort().values,
        x[(0, slice(None), *[slice(0, 2)] * (len(shape) - 2))].flatten().sort().values,
    )


def test_what_large_pictures_cost_is_bounded() -> None:
    """The maps stay small whatever the pictures' size; only what touches each pixel grows with it."""
    small, large = (ResNet().build((3, side, side), 64, 64, 3)[1].correction.enter[0] for side in (64, 512))
    assert small.weight.shape[0] == large.weight.shape[0] == 32
    assert ResNet().build((3, 32, 32), 2, 2, 3)[0].correction.enter[0].weight.shape[0] == 24
    assert ResNet().build((3, 512, 512), 2, 2, 3)[0].correction.patch == 32
    with pytest.raises(ConfigError, match="patch should be a power of 2"):
        ResNet(patch=3)


@pytest.mark.parametrize("network", ["conv", "resnet"])
def test_there_is_no_grid(network: str, caplog: pytest.LogCaptureFixture) -> None:
    """Energy at the frequencies of the strides is at most twice that of the data, in samples, too."""
    caplog.set_level(logging.ERROR)
    rng = np.random.default_rng(0)
    row, column, size = (
        rng.uniform(4, 28, (2, 400, 1, 1)),
        rng.uniform(4, 28, (400, 1, 1)),
        rng.uniform(3, 9, (400, 1, 1)),
    )
    grid = np.arange(32.0)
    spots = np.exp(-((grid[:, None] - row[0]) ** 2 + (grid - column) ** 2) / size**2)
    x = (255 * (0.2 + 0.6 * spots) + rng.normal(0, 2, spots.shape)).clip(0, 255).astype(np.uint8)
    model = diabolo.train(x, layout="HW", model="vae", network=network, latent_dim=6, epochs=8, lr=1e-3)
    for made in (model.reconstruct(x[:100]), model.sample(100, seed=0)):
        assert stride_energy(made) <= 2 * stride_energy(x[:100] / 255)


def stride_energy(x: np.ndarray) -> float:
    """The mean power at periods of 2 and 4 pixels along each axis, where strides leave their mark."""
    power = np.abs(np.fft.fft2(x - x.mean((1, 2), keepdims=True))) ** 2
    marks = [x.shape[1] // 2, x.shape[1] // 4]
    return float(np.mean([power[:, k, 0].mean() + power[:, 0, k].mean() for k in marks]))


def test_resume_takes_no_zero(table: np.ndarray, tmp_path: Path) -> None:
    diabolo.train(table, widths=(8,), latent_dim=2, epochs=1, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="epochs should be a number of epochs in all, of at least 1"):
        diabolo.resume(tmp_path / "run", source=table, epochs=0)


def test_a_trainer_of_its_own_resolves_the_epochs(table: np.ndarray) -> None:
    preprocess = Preprocess.fit(table, "F", np.arange(80))
    model = build_model(preprocess, latent_dim=2, options={"network": {"widths": (4,)}})
    trainer = Trainer(model, table, Split(np.arange(80), np.arange(80, 90), np.arange(0)), Settings())
    assert trainer.settings.epochs == 750


def test_a_run_that_was_made_before_there_was_a_start(pictures: np.ndarray, tmp_path: Path) -> None:
    older = {"start": "random", "enlarge": "transposed"}
    options = {"network": "conv", "channels": (4, 6), "latent_dim": 2, "epochs": 1, "layout": "HW"}
    model = diabolo.train(pictures, out=tmp_path / "run", **options, **older)
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    for name in older:
        del config["network"]["options"][name]
    path.write_text(json.dumps(config))
    assert np.array_equal(diabolo.load(tmp_path / "run").encode(pictures), model.encode(pictures))


@pytest.mark.parametrize("start", ["pca", "random"])
def test_a_learned_variance_starts_near_the_error_of_pca(start: str, pictures: np.ndarray) -> None:
    options = {"model": "vae", "layout": "HW", "latent_dim": 2, "widths": (8,), "epochs": 1, "start": start}
    run = start_run(make_run_config(pictures, **options))
    likelihood = run.training.model.likelihood
    assert isinstance(likelihood, Gaussian)
    parts = (run.training.split.train, run.training.split.validation)
    seen, held = (run.training.model.preprocess(torch.from_numpy(pictures[part])).flatten(1).numpy() for part in parts)
    pca = PCA(2).fit(seen)
    rest = max(np.square(pca.inverse_transform(pca.transform(x)) - x).mean() for x in (seen, held))
    assert likelihood.log_spread.exp().item() == pytest.approx(rest, rel=0.05)


def test_a_learned_variance_ends_at_its_optimum() -> None:
    model = diabolo.train("digits", model="vae", latent_dim=8, seed=0)
    likelihood = model.model.likelihood
    assert isinstance(likelihood, Gaussian)
    data, split = model.trained_on
    x = model.model.preprocess(torch.from_numpy(np.asarray(data.x[split])))
    with torch.no_grad():
        posterior = model.model.encode(x)
        drawn = likelihood.mean(model.model.decode(posterior.sample(torch.Generator().manual_seed(0))))
    optimum = (drawn - x).square().mean().item()  # of the examples' log-likelihood, with drawn codes
    assert likelihood.log_spread.exp().item() == pytest.approx(optimum, rel=0.1)


RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(60, 5)).astype(np.float32)
ONE_COLOUR = np.broadcast_to(RANDOM.integers(0, 256, (60, 1, 1, 3)), (60, 6, 6, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (TABLE, {"latent_dim": 9}, "9 numbers and an example 5 values: to copy them is an answer"),
        (TABLE, {"latent_dim": 5, "network": "linear"}, "5 numbers and an example 5 values"),
        (TABLE, {"latent_dim": 9, "model": "sparse"}, ""),
        (TABLE, {"latent_dim": 9, "model": "denoising"}, ""),
        (TABLE[:10], {"latent_dim": 4, "validation": 0.4, "test": 0.2}, "4 numbers and there are 4 examples"),
        (ONE_COLOUR, {"latent_dim": 4, "layout": "HWC"}, "in a plane of 3 dimensions, where PCA has no error left"),
        (ONE_COLOUR, {"latent_dim": 2, "layout": "HWC"}, ""),
    ],
    ids=str,
)
def test_a_code_too_large_for_its_data_is_told(
    x: np.ndarray, options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    start_run(make_run_config(x, epochs=1, **options))
    assert said in caplog.text if said else not caplog.text


def test_what_few_examples_leave_is_measured_on_others() -> None:
    """Components of ten examples leave them no error: a spread of that size would call all others impossible."""
    x = RANDOM.integers(0, 256, (14, 8, 8), np.uint8)
    run = start_run(make_run_config(x, layout="HW", latent_dim=16, epochs=1))
    model, split = run.training.model, run.training.split
    assert isinstance(model.likelihood, Gaussian)
    with torch.no_grad():
        held = model.preprocess(torch.from_numpy(x[split.validation]))
        error = (model.likelihood.mean(model.decode(model.encode(held).mean)) - held).square().mean().item()
    assert model.likelihood.log_spread.exp().item() == pytest.approx(error, rel=0.1)
    assert run.training.evaluate(split.validation).averages["loss"] < 64


def test_a_training_that_memory_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diabolo.training.memory.free_memory", lambda: 1e6)
    with pytest.raises(ConfigError, match=r"parameters takes .* of memory .*, and 1 MB are free\. Take a smaller"):
        diabolo.train("digits", epochs=1)


@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
def test_networks_stay_small_for_large_pictures(network: str) -> None:
    model = build_model(Preprocess(event_shape=(512, 512, 3), layout="HWC", scale="bytes"), network=network)
    assert model.parameter_count < 1e8
    assert rebuild_model(model.config()).parameter_count == model.parameter_count


@pytest.mark.parametrize("start", ["pca", "random"])
@pytest.mark.parametrize("latent_dim", [4, 5, 9])
def test_a_spread_never_starts_at_nothing(start: str, latent_dim: int) -> None:
    """Components as many as values leave nothing: a spread of that size would call all else impossible."""
    run = start_run(make_run_config(TABLE, model="vae", latent_dim=latent_dim, start=start, epochs=1))
    training = run.training
    assert isinstance(training.model.likelihood, Gaussian)
    assert 5e-4 < training.model.likelihood.log_spread.exp().item() < 2
    assert training.evaluate(training.split.validation).averages["loss"] < 5000
