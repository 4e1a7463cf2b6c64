"""Each recipe against what its text says: layers, weights, optimizer, loss, cadence, pictures.

The table holds facts of the texts, written down by hand; nothing in it is read from the recipes. `None` stands for what
a text does not say.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.stats import norm
from torch import Tensor, nn

import diabolo
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.model import Model
from diabolo.runs.config import make_run_config
from diabolo.runs.recipes import RECIPES
from diabolo.runs.run import start

PIXELS = 28 * 28

# A layer: its kind, inputs, outputs, stride, parameters, and the activation behind it. The two heads of a posterior are
# two layers, as the texts write them; "sigmoid" behind the last layer may be the likelihood's.
Layer = tuple[str, int, int, int, int, str]


def dense(inner: int, outer: int, activation: str = "linear") -> Layer:
    return ("dense", inner, outer, 1, inner * outer + outer, activation)


@dataclass(frozen=True)
class Text:
    """What a text says."""

    encoder: list[Layer]
    decoder: list[Layer]
    parameters: int
    weights: str  # torch, glorot or normal
    optimizer: tuple[str, float | None]
    batch: int | None
    epochs: int
    loss: Callable[[Tensor, Tensor, DiagonalGaussian | None], Tensor]  # of x in [0, 1], logits or output, posterior
    reduction: float  # the text's number in nats per example: how many times it is smaller
    constant: float = 0.0  # nats that a likelihood adds
    log_every: int = 0
    drop_last: bool = False
    steps: int | None = None  # in an epoch of 60,000
    pictures: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


def squared_error(x: Tensor, logits: Tensor, _: Any) -> Tensor:
    return F.mse_loss(torch.sigmoid(logits), x)


def cross_entropy(x: Tensor, logits: Tensor, _: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, x)


def summed_cross_entropy(x: Tensor, logits: Tensor, _: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum")


def kl(posterior: DiagonalGaussian | None) -> Tensor:
    assert posterior is not None
    mean, log_variance = posterior.mean, posterior.log_variance
    return -0.5 * (log_variance + 1 - mean**2 - torch.exp(log_variance))


def cross_entropy_and_kl(x: Tensor, logits: Tensor, posterior: DiagonalGaussian | None) -> Tensor:
    return (summed_cross_entropy(x, logits, None) + kl(posterior).sum()) / len(x)


def mean_cross_entropy_and_a_little_kl(x: Tensor, logits: Tensor, posterior: DiagonalGaussian | None) -> Tensor:
    assert posterior is not None
    mean, log_variance = posterior.mean, posterior.log_variance
    regularizer = -5e-4 * torch.mean(1 + log_variance - mean**2 - torch.exp(log_variance), dim=-1)
    return torch.mean(cross_entropy(x, logits, None) + regularizer)


def squared_error_and_kl(x: Tensor, logits: Tensor, posterior: DiagonalGaussian | None) -> Tensor:
    return ((torch.sigmoid(logits) - x) ** 2).sum() / len(x) + kl(posterior).sum() / len(x)


HALF_LOG_PI = 0.5 * PIXELS * math.log(math.pi)  # of a Gaussian of variance 1/2, whose nats are the squared error

TEXTS = {
    "fashion-ae": Text(
        encoder=[dense(784, 256, "relu"), dense(256, 128, "relu"), dense(128, 20)],
        decoder=[dense(20, 128, "relu"), dense(128, 256, "relu"), dense(256, 784, "sigmoid")],
        parameters=473_636,
        weights="glorot",
        optimizer=("adam", None),
        batch=None,
        epochs=100,
        loss=cross_entropy,
        reduction=PIXELS,
        log_every=100,
        pictures=("tutorial-rec",),
    ),
    "fashion-vae": Text(
        encoder=[dense(784, 128, "relu"), dense(128, 20), dense(128, 20)],
        decoder=[dense(20, 128, "relu"), dense(128, 784, "sigmoid")],
        parameters=209_464,
        weights="glorot",
        optimizer=("adam", None),
        batch=None,
        epochs=100,
        loss=cross_entropy_and_kl,
        reduction=1,
        log_every=100,
        pictures=("tutorial-vae",),
    ),
    "mnist-ae-3d": Text(
        encoder=[dense(784, 128, "tanh"), dense(128, 64, "tanh"), dense(64, 12, "tanh"), dense(12, 3)],
        decoder=[dense(3, 12, "tanh"), dense(12, 64, "tanh"), dense(64, 128, "tanh"), dense(128, 784, "sigmoid")],
        parameters=219_891,
        weights="torch",
        optimizer=("adam", 1e-2),
        batch=100,
        epochs=3,
        loss=squared_error,
        reduction=PIXELS,
        constant=HALF_LOG_PI,
        log_every=100,
        steps=600,
        pictures=("first-five",),
    ),
    "mnist-vae-conv": Text(
        encoder=[
            ("conv", 1, 32, 1, 320, "relu"),
            ("conv", 32, 64, 2, 18_496, "relu"),
            ("conv", 64, 64, 1, 36_928, "relu"),
            ("conv", 64, 64, 1, 36_928, "relu"),
            ("dense", 12_544, 32, 1, 401_440, "relu"),
            ("dense", 32, 2, 1, 66, "linear"),
            ("dense", 32, 2, 1, 66, "linear"),
        ],
        decoder=[
            ("dense", 2, 12_544, 1, 37_632, "relu"),
            ("transposed", 64, 32, 2, 18_464, "relu"),
            ("conv", 32, 1, 1, 289, "sigmoid"),
        ],
        parameters=550_629,
        weights="glorot",
        optimizer=("rmsprop", 1e-3),
        batch=16,
        epochs=10,
        loss=mean_cross_entropy_and_a_little_kl,
        reduction=PIXELS,
        steps=3750,
        pictures=("tutorial-manifold",),
        more={"beta2": 0.9, "beta": pytest.approx(0.392)},
    ),
    "mnist-vae-mlp": Text(
        encoder=[dense(784, 256, "relu"), dense(256, 2), dense(256, 2)],
        decoder=[dense(2, 256, "relu"), dense(256, 784, "sigmoid")],
        parameters=404_244,
        weights="glorot",
        optimizer=("adam", None),
        batch=None,
        epochs=50,
        loss=squared_error_and_kl,
        reduction=1,
        constant=HALF_LOG_PI,
    ),
    "mnist-ae-128": Text(
        encoder=[dense(784, 128, "relu")],
        decoder=[dense(128, 784, "sigmoid")],
        parameters=201_616,
        weights="normal",
        optimizer=("rmsprop", 5e-3),
        batch=64,
        epochs=10,
        loss=summed_cross_entropy,
        reduction=1 / 20,  # summed over the batch, too, which has 20 examples here
        drop_last=True,
        steps=937,
        more={"beta2": 0.9},
    ),
    "mnist-bottleneck": Text(
        encoder=[dense(784, 256), dense(256, 128)],
        decoder=[dense(128, 784, "sigmoid")],
        parameters=334_992,
        weights="glorot",
        optimizer=("adam", 1e-3),
        batch=32,
        epochs=10,
        loss=cross_entropy,
        reduction=PIXELS,
        steps=1875,
    ),
}
NAMES = list(TEXTS)


def model_of(name: str, x: np.ndarray) -> Model:
    return start(make_run_config(x, recipe=name, pictures=())).training.model


KINDS = {nn.Linear: "dense", nn.Conv2d: "conv", nn.ConvTranspose2d: "transposed"}
ACTIVATIONS = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.Identity: "linear"}


def walk(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Layers with weights in order, each with the activation behind it."""
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    leaves = [leaf for leaf in leaves if not isinstance(leaf, nn.Flatten | nn.Unflatten)]
    for leaf, after in itertools.zip_longest(leaves, leaves[1:]):
        if type(leaf) in KINDS:
            yield leaf, ACTIVATIONS.get(type(after), "linear")
        else:
            assert type(leaf) in ACTIVATIONS, f"a layer that no text has: {leaf}"


def described(module: nn.Module) -> list[Layer]:
    found: list[Layer] = []
    for layer, activation in walk(module):
        kind = KINDS[type(layer)]
        count = sum(parameter.numel() for parameter in layer.parameters())
        if kind == "dense":
            found.append((kind, layer.in_features, layer.out_features, 1, count, activation))
        else:
            assert layer.kernel_size == (3, 3)
            found.append((kind, layer.in_channels, layer.out_channels, layer.stride[0], count, activation))
    return found


def with_heads(layers: list[Layer], width: int) -> list[Layer]:
    """The last layer of an encoder as the layers of the posterior's parts."""
    *body, (kind, inner, outer, stride, count, activation) = layers
    return [*body, *[(kind, inner, outer // width, stride, count // width, activation)] * width]


def test_the_table_has_every_recipe_that_follows_a_text() -> None:
    assert {*NAMES, "smiles"} == set(RECIPES)


@pytest.mark.parametrize("name", NAMES)
def test_layers(name: str, bars: np.ndarray) -> None:
    text, model = TEXTS[name], model_of(name, bars)
    assert with_heads(described(model.encoder), model.objective.posterior_family.width) == text.encoder
    decoder = described(model.decoder)
    logits = torch.linspace(-4, 4, 9).view(1, 1, 3, 3)
    if torch.equal(model.likelihood.mean(logits), torch.sigmoid(logits)):
        *body, last = decoder
        assert last[-1] == "linear", "one sigmoid, not two"
        decoder = [*body, (*last[:-1], "sigmoid")]
    assert decoder == text.decoder
    assert sum(layer[4] for layer in (*text.encoder, *text.decoder)) == text.parameters == model.parameter_count


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights(name: str, bars: np.ndarray) -> None:
    model = model_of(name, bars)
    for layer, _ in (*walk(model.encoder), *walk(model.decoder)):
        weight, bias = layer.weight.detach(), layer.bias.detach()
        inner, outer = nn.init._calculate_fan_in_and_fan_out(weight)
        if TEXTS[name].weights == "torch":
            limit = inner**-0.5
            assert 0 < bias.abs().max() <= limit
        else:
            limit = math.sqrt(6 / (inner + outer))
            assert bias.eq(0).all(), "zero biases"
        if TEXTS[name].weights == "normal":
            assert weight.std().item() == pytest.approx(1, abs=0.02)
            assert weight.mean().item() == pytest.approx(0, abs=0.02)
            assert weight.abs().max() > 3.5
        else:
            assert weight.abs().max() <= limit
            if weight.numel() > 1000:
                assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05), "uniform"


@pytest.mark.parametrize("name", NAMES)
def test_optimizer_batch_and_epochs(name: str) -> None:
    text, run_config = TEXTS[name], make_run_config(recipe=name)
    settings = run_config.settings
    optimizer, rate = text.optimizer
    assert settings.optimizer == optimizer
    assert rate in (None, settings.lr)
    assert text.batch in (None, settings.batch_size)
    assert (settings.epochs, settings.log_every, settings.drop_last) == (text.epochs, text.log_every, text.drop_last)
    assert run_config.pictures == text.pictures
    assert settings.validation == 0, "all of the training images are trained on"
    assert settings.keep == "last"
    plain = {"schedule": "constant", "lr_warmup": 0, "momentum": None, "weight_decay": 0, "clip": None, "ema": 0}
    assert {key: getattr(settings, key) for key in plain} == plain
    options = settings.config() | run_config.options["model"]
    assert {key: options[key] for key in text.more} == text.more
    if text.steps is not None:
        rounded = math.floor if settings.drop_last else math.ceil
        assert rounded(60_000 / settings.batch_size) == text.steps


@pytest.mark.parametrize("name", NAMES)
def test_what_the_text_leaves_open_is_said(name: str) -> None:
    recipe = RECIPES[name]
    notes = " ".join(recipe.notes)
    if None in (TEXTS[name].optimizer[1], TEXTS[name].batch):
        assert "does not say" in notes or "do not say" in notes or "not say" in notes
        assert str(recipe.settings["batch_size"]) in notes
    if TEXTS[name].reduction != 1:
        assert "summed over pixels" in notes or "784" in notes


SAID = {  # words that the notes must have: what differs from the text, and its slips
    "fashion-ae": ("shuffles within a buffer", "tutorial-rec-100", "every 100 steps", "1e-7", "--precision float32"),
    "fashion-vae": ("1,000", "two heads", "new codes in each epoch", "every 100 steps", "1e-7"),
    "mnist-ae-3d": ("(x - 0.5) / 0.5", "0.02,-0.543,-0.012", "codes of every step", "rainbow", "one example at a time"),
    "mnist-vae-conv": ("log-deviation", "--noise-scale variance", "validation data", "0.9", "two heads", "downwards"),
    "mnist-vae-mlp": ("squared error", "cross-entropy", "activation", "initial weights", "two heads"),
    "mnist-ae-128": ("over pixels and batch", "1e-10", "average of squares at 1", "ReLUs die"),
    "mnist-bottleneck": ("twice", "'encode'", "No layer but the last has an activation"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_deviation_has_its_note(name: str) -> None:
    notes = " ".join(RECIPES[name].notes).lower()
    assert [words for words in SAID[name] if words.lower() not in notes] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_text_s_times_a_factor(name: str, bars: np.ndarray) -> None:
    text, model = TEXTS[name], model_of(name, bars)
    loss = model(torch.from_numpy(bars[:20]))
    posterior = loss.posterior if isinstance(loss.posterior, DiagonalGaussian) else None
    x = torch.from_numpy(bars[:20]).float().flatten(1) / 255
    theirs = text.loss(x, loss.output.flatten(1), posterior)
    assert loss.total.item() == pytest.approx(theirs.item() * text.reduction + text.constant, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_the_history(name: str, tmp_path: Path, bars: np.ndarray) -> None:
    if not TEXTS[name].log_every:
        pytest.skip("the text prints no steps")
    options: dict[str, Any] = {"batch_size": 1, "epochs": 4, "pictures": ()}  # 54 steps an epoch
    made = diabolo.train(bars, recipe=name, out=tmp_path / "run", **options)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == [100, 200]
    expected = {"loss", "reconstruction", *(["kl"] if name == "fashion-vae" else [])}
    assert all(expected <= set(line["train"]) for line in lines if line["kind"] == "step")
    assert len(made.history) >= 4


# Pictures


def grid(path: Path) -> np.ndarray:
    """A grid of 10 x 10 as the list of its images, the left column first."""
    with Image.open(path) as image:
        assert (image.size, image.mode) == ((280, 280), "L")
        pixels = np.asarray(image)
    return pixels.reshape(10, 28, 10, 28).transpose(2, 0, 1, 3).reshape(100, 28, 28)


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """(1100, 28, 28) uint8: noise, of which a tenth, 110, is the test part."""
    return np.random.default_rng(3).integers(0, 256, (1100, 28, 28), dtype=np.uint8)


def cut(x: np.ndarray) -> np.ndarray:
    return (x * np.float32(255)).astype(np.uint8)


def test_50_originals_and_50_reconstructions(many: np.ndarray, tmp_path: Path) -> None:
    pictures = ("tutorial-rec", "tutorial-rec-100", "rows")
    options: dict[str, Any] = {"epochs": 2, "pictures": pictures, "precision": "float32"}
    made = diabolo.train(many, recipe="fashion-ae", out=tmp_path / "run", **options)
    folder = tmp_path / "run" / "figures"
    names = {f"{stem}_epoch_{epoch}.png" for stem in ("rec", "rec_100", "rows") for epoch in (0, 1)}
    assert {path.name for path in folder.iterdir()} == names
    test = many[diabolo.open_dataset(many).split(0, 0.0, 0.1).test]
    rebuilt = cut(made.reconstruct(test))
    images = grid(folder / "rec_epoch_1.png")
    np.testing.assert_array_equal(images[:50], test[:50])
    np.testing.assert_array_equal(images[50:], rebuilt[:50])
    np.testing.assert_array_equal(grid(folder / "rec_100_epoch_1.png"), rebuilt[:100])
    with Image.open(folder / "rows_epoch_1.png") as image:
        rows = np.asarray(image)
    np.testing.assert_array_equal(rows[:28, 28:56], test[1])
    np.testing.assert_array_equal(rows[28:56, 28:56], rebuilt[1])


def test_samples_and_reconstructions_through_a_code_that_is_drawn(many: np.ndarray, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "precision": "float32"}
    made = diabolo.train(many, recipe="fashion-vae", out=tmp_path / "run", **options)
    folder = tmp_path / "run" / "figures"
    names = {f"epoch_{epoch}_{what}.png" for what in ("sampled", "rec") for epoch in (0, 1)}
    assert {path.name for path in folder.iterdir()} == names
    test = many[diabolo.open_dataset(many).split(0, 0.0, 0.1).test][:50]
    images = grid(folder / "epoch_1_rec.png")
    np.testing.assert_array_equal(images[:50], test)
    with torch.no_grad():
        posterior = made.model.encode(made.model.prepare(torch.from_numpy(test)))
        noise = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))  # of epoch 1
        codes = posterior.mean + torch.exp(posterior.log_variance) ** 0.5 * noise
    expected = cut(made.decode(codes.numpy()))
    np.testing.assert_allclose(images[50:], expected.astype(int), atol=1)
    assert (images[50:] != cut(made.reconstruct(test))).mean() > 0.5, "not through the posterior's mean"
    sampled = [grid(folder / f"epoch_{epoch}_sampled.png") for epoch in (0, 1)]
    assert len({image.tobytes() for image in sampled[1]}) == 100
    assert not np.array_equal(*sampled), "new codes in each epoch"


def test_five_digits_are_drawn_after_steps_0_and_500_of_an_epoch(many: np.ndarray, tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 1, "test": 0.5, "pictures": ("first-five", "first-five-grey")}
    diabolo.train(many, recipe="mnist-ae-3d", out=tmp_path / "run", **options)
    folder = tmp_path / "run" / "figures"
    six = {f"epoch_{epoch}_step_{step}.png" for epoch in (0, 1, 2) for step in (0, 500)}
    names = {path.name for path in folder.iterdir()}
    assert names == {"truth.png", *(f"first_five_{name}" for name in six), *(f"grey_{name}" for name in six)}
    with Image.open(folder / "first_five_epoch_2_step_500.png") as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    viridis = {(68, 1, 84), (253, 231, 36)}  # the ends of matplotlib's default
    assert viridis <= set(map(tuple, colours.tolist()))
    with Image.open(folder / "grey_epoch_2_step_500.png") as image:
        assert image.size == (5 * 28 * 3, 2 * 28 * 3)


def test_the_manifold_s_values_grow_downwards(bars: np.ndarray, tmp_path: Path) -> None:
    made = diabolo.train(bars, recipe="mnist-vae-conv", epochs=2, precision="float32", out=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["tutorial_manifold.png"]
    with Image.open(tmp_path / "run" / "figures" / "tutorial_manifold.png") as image:
        assert (image.size, image.mode) == ((420, 420), "L")
        pixels = np.asarray(image)
    values = norm.ppf(np.linspace(0.05, 0.95, 15))
    for row, column in ((0, 0), (0, 14), (14, 0), (3, 11)):
        decoded = made.decode(np.array([[values[column], values[row]]], np.float32))[0]
        tile = pixels[28 * row : 28 * (row + 1), 28 * column : 28 * (column + 1)].astype(int)
        assert np.abs(tile - cut(decoded)).max() <= 1


@pytest.mark.parametrize(
    ("recipe", "pictures", "says"),
    [
        ("fashion-ae", "samples", "samples from the prior, and this model has none"),
        ("fashion-vae", "tutorial-manifold", "codes of 2 numbers, and this model's have 20"),
        ("fashion-ae", "tutorial-manifold", "and this model has none"),
        ("fashion-ae", "nope", "no picture named 'nope'"),
    ],
)
def test_pictures_that_a_model_cannot_give(
    recipe: str, pictures: str, says: str, bars: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(diabolo.errors.ConfigError, match=says):
        diabolo.train(bars, recipe=recipe, pictures=pictures, epochs=1, out=tmp_path / "run")
