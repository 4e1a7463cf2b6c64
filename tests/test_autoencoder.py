"""The trained model in the user's hand: the same answer every time, in the user's own units, and on disk."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import open_dataset
from diabolo.errors import ConfigError, DataError, RunError, ShapeError, StorageError
from diabolo.evaluation.terms import CHUNK
from diabolo.models.model import build_model
from diabolo.models.networks import networks
from diabolo.models.objectives import Space, objectives
from diabolo.models.preprocess import Preprocess
from diabolo.storage import checkpoint

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"widths": (16,)},
    "conv": {"channels": (4, 6), "hidden": (16,)},
    "resnet": {"channels": (4, 6)},
    "bottleneck": {"widths": (16,)},
}


def made(x: np.ndarray, *, model: str = "autoencoder", network: Any = "mlp", **parts: Any) -> Autoencoder:
    """An untrained model with unlike weights everywhere: what it answers is as good as any."""
    dataset = open_dataset(x, layout=parts.pop("layout", None))
    preprocess = Preprocess.fit(dataset.x, dataset.layout, np.arange(len(x)), parts.pop("scaling", "auto"))
    options = {"network": SMALL.get(network, {}) if isinstance(network, str) else {}, **parts.pop("options", {})}
    dims = None if isinstance(network, tuple) else 3
    space = Space(classes=("a", "b"))  # for variants that take labels
    whole = build_model(
        preprocess, model=model, network=network, latent_dim=dims, options=options, space=space, **parts
    )
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    finished = Autoencoder(whole, examples=dataset.x[:12])
    finished.label = None if finished.labels == "none" else "b"
    return finished


@pytest.fixture(scope="module")
def vae(pictures: np.ndarray) -> Autoencoder:
    return diabolo.train(
        pictures, model="vae", widths=(32,), latent_dim=3, epochs=60, lr=1e-2, batch_size=16, precision="float32"
    )


def test_a_model_keeps_the_memory_of_its_last_chunk_for_the_next(vae: Autoencoder, monkeypatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("diabolo.autoencoder.inference.keep_freed_memory", lambda: asked.append(True))
    Autoencoder(vae.model)
    assert asked


# --- encode, decode, reconstruct --------------------------------------------------------------------------------------


def test_the_same_answer_every_time(vae: Autoencoder, pictures: np.ndarray) -> None:
    codes = vae.encode(pictures)
    assert (codes.shape, codes.dtype) == ((90, 3), np.float32)
    torch.manual_seed(5)
    assert np.array_equal(vae.encode(pictures), codes)
    out = vae.reconstruct(pictures)
    assert (out.shape, out.dtype) == ((90, 8, 8), np.float32)
    assert np.array_equal(out, vae.decode(codes))
    assert out.min() >= 0
    assert out.max() <= 1
    assert np.abs(out - pictures / 255).mean() < 0.1, "it was trained"
    assert vae.info["result"]["kept_epoch"] > 0, "and is no longer what it started as"


def test_one_example_or_thousands(vae: Autoencoder, pictures: np.ndarray) -> None:
    many = np.tile(pictures, (28, 1, 1))[:2500]
    codes, out, scores = vae.encode(many), vae.reconstruct(many), vae.score(many, draws=2)
    for at in (0, 999, 1000, 2499):
        one = many[at : at + 1]
        np.testing.assert_allclose(vae.encode(one), codes[at : at + 1], atol=1e-5)
        np.testing.assert_allclose(vae.reconstruct(one), out[at : at + 1], atol=1e-5)
        np.testing.assert_allclose(vae.score(one, draws=2), scores[at : at + 1], rtol=1e-5)


def test_inputs_of_every_kind(vae: Autoencoder, pictures: np.ndarray) -> None:
    x = pictures[:7]
    expected = vae.encode(x)
    floats = (x / 255).astype(np.float32)
    for given in (
        torch.from_numpy(x),
        floats,
        floats.astype(np.float64),
        floats.astype(">f4"),
        floats.tolist(),
        torch.from_numpy(floats).requires_grad_(),
        np.asfortranarray(x),
        x[::-1][::-1],
        np.repeat(x, 2, 0)[::2],
    ):
        np.testing.assert_allclose(vae.encode(given), expected, atol=1e-6)
    frozen = x.copy()
    frozen.flags.writeable = False
    assert np.array_equal(vae.encode(frozen), expected)
    half = vae.encode(floats.astype(np.float16))
    np.testing.assert_allclose(half, expected, atol=0.02)
    assert vae.encode(x[:0]).shape == (0, 3)
    assert np.array_equal(vae.encode(x[:, :, ::-1]), vae.encode(x[:, :, ::-1].copy()))


def test_the_input_is_left_as_it_was(vae: Autoencoder, pictures: np.ndarray) -> None:
    x = (pictures[:5] / 255).astype(np.float32)
    before = x.copy()
    vae.encode(x)
    vae.reconstruct(x)
    vae.score(x, draws=1)
    assert np.array_equal(x, before)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros((2, 8, 7), np.uint8), ShapeError, r"\(n, 8, 8\), and was given \(2, 8, 7\)"),
        (np.zeros((8, 8), np.uint8), ShapeError, r"One example\? Put it in a batch: x\[None\]"),
        (np.full((1, 8, 8), 7.0), DataError, "trained on pixels"),
        (np.full((1, 8, 8), np.nan), DataError, "64 values are NaN"),
        (np.full((1, 8, 8), "a"), DataError, "expects numbers"),
        (3.0, ShapeError, "An array of examples or codes was expected"),
    ],
)
def test_what_cannot_be_encoded(vae: Autoencoder, x: Any, error: type[Exception], words: str) -> None:
    for method in (vae.encode, vae.reconstruct, vae.score, vae.loss_terms):
        with pytest.raises(error, match=words):
            method(x)


@pytest.mark.parametrize(
    ("z", "error", "words"),
    [
        (np.zeros((2, 4)), ShapeError, r"has 3 numbers: decode expects the shape \(n, 3\), and was given \(2, 4\)"),
        (np.zeros(3), ShapeError, r"\(n, 3\), and was given \(3,\)"),
        ([[0.0, np.inf, 0.0]], DataError, "NaN or infinite"),
    ],
)
def test_what_cannot_be_decoded(vae: Autoencoder, z: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        vae.decode(z)


def test_codes_of_every_kind_are_decoded(vae: Autoencoder) -> None:
    expected = vae.decode(np.ones((2, 3), np.float32))
    for z in ([[1, 1, 1], [1, 1, 1]], torch.ones(2, 3, dtype=torch.float64), np.ones((2, 3), int)):
        assert np.array_equal(vae.decode(z), expected)


def test_a_table_comes_out_in_its_own_units(table: np.ndarray) -> None:
    model = diabolo.train(table, network="linear", latent_dim=2, epochs=200, lr=0.02, precision="float32")
    out = model.reconstruct(table)
    assert out.shape == table.shape
    error = np.abs(out - table).mean(0) / table.std(0)
    assert error.max() < 0.15
    np.testing.assert_allclose(out.mean(0), table.mean(0), rtol=0.1, atol=0.1 * table.std())
    far = model.decode(np.zeros((1, 2)))[0]
    np.testing.assert_allclose(far, table.mean(0), atol=table.std(0).max())


@pytest.mark.parametrize(
    ("layout", "event", "network"),
    [
        ("HWC", (6, 5, 3), "conv"),
        ("CHW", (3, 6, 5), "conv"),
        ("LC", (9, 2), "conv"),
        ("CL", (2, 9), "mlp"),
        ("any", (2, 3, 4, 3), "mlp"),
        ("F", (4,), "linear"),
    ],
)
def test_examples_keep_their_layout(layout: str, event: tuple[int, ...], network: str) -> None:
    x = np.random.default_rng(0).normal(5, 2, (20, *event)).astype(np.float32)
    model = made(x, network=network, layout=layout)
    assert model.event_shape == event
    assert model.layout == layout
    assert model.reconstruct(x).shape == x.shape


def test_a_draw_from_the_posterior(vae: Autoencoder, pictures: np.ndarray) -> None:
    x = pictures[:4]
    one = vae.encode(x, sample=True, seed=1)
    assert np.array_equal(one, vae.encode(x, sample=True, seed=1))
    assert not np.array_equal(one, vae.encode(x, sample=True, seed=2))
    assert not np.array_equal(vae.encode(x, sample=True), vae.encode(x, sample=True))
    with torch.no_grad():
        posterior = vae.model.encode(vae.model.prepare(torch.from_numpy(x)))
    drawn = np.stack([vae.encode(x, sample=True, seed=seed) for seed in range(400)])
    deviation = torch.exp(0.5 * posterior.log_variance).numpy()  # type: ignore[attr-defined]
    assert (np.abs(drawn.mean(0) - vae.encode(x)) < 5 * deviation / 20).all()
    np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.25)


# --- sample -----------------------------------------------------------------------------------------------------------


def test_samples_repeat_with_their_seed(vae: Autoencoder) -> None:
    drawn = vae.sample(5, seed=1)
    assert (drawn.shape, drawn.dtype) == ((5, 8, 8), np.float32)
    assert np.array_equal(drawn, vae.sample(5, seed=1))
    assert not np.array_equal(drawn, vae.sample(5, seed=2))
    assert not np.array_equal(vae.sample(5), vae.sample(5))
    codes = np.random.default_rng(1).standard_normal((5, 3))
    assert np.array_equal(drawn, vae.decode(codes))
    with pytest.raises(ConfigError, match="n should be a number of examples of at least 1, and was given 0"):
        vae.sample(0)


@pytest.mark.parametrize("name", list(objectives))
def test_only_a_prior_can_be_sampled(pictures: np.ndarray, name: str) -> None:
    model = made(pictures, model=name)
    assert model.has_prior == (objectives.create(name).prior() is not None)
    if model.has_prior:
        assert model.sample(2, seed=0).shape == (2, 8, 8)
    else:
        with pytest.raises(ConfigError, match=r"follow no prior.*model='vae'"):
            model.sample(2)


# --- score ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_score_is_nats_at_the_posterior_s_mean(vae: Autoencoder, pictures: np.ndarray, likelihood: str) -> None:
    own = vae if likelihood == "gaussian" else made(pictures, model="vae", likelihood=likelihood)
    got = own.score(pictures, draws=0)
    assert (got.shape, got.dtype) == ((90,), np.float32)
    assert np.array_equal(got, own.score(pictures, draws=0))
    x = pictures.reshape(90, 64) / 255.0
    m = own.decode(own.encode(pictures)).reshape(90, 64).astype(np.float64)
    if likelihood == "gaussian":
        variance = np.exp(own.model.likelihood.log_spread.item())  # type: ignore[union-attr, operator]
        assert variance < 0.5 * vae.info["result"]["baseline"]["pca"], "it was learned: it started there"
        nats = (np.square(x - m) / variance + np.log(2 * np.pi * variance)).sum(1) / 2
    else:
        nats = -(x * np.log(m) + (1 - x) * np.log1p(-m)).sum(1)
    with torch.no_grad():
        kl = own.own_prior.kl(own.model.encode(own.model.prepare(torch.from_numpy(pictures))))
    assert kl is not None
    np.testing.assert_allclose(got, nats + kl.sum(1).numpy(), rtol=1e-4)


def test_draws_come_to_the_evidence_lower_bound(vae: Autoencoder, pictures: np.ndarray) -> None:
    drawn = vae.score(pictures, draws=500)
    bound = np.mean([vae.loss_terms(pictures, seed=seed)["loss"] for seed in range(20)])
    assert drawn.mean() == pytest.approx(bound, rel=0.01)
    assert drawn.mean() > 1.02 * vae.score(pictures, draws=0).mean(), "noise costs something"


def test_a_score_does_not_depend_on_what_else_is_there(vae: Autoencoder, pictures: np.ndarray) -> None:
    for draws in (0, 3):
        whole = vae.score(pictures, draws=draws, seed=4)
        np.testing.assert_allclose(vae.score(pictures[::-1], draws=draws, seed=4), whole[::-1], rtol=1e-5)
        np.testing.assert_allclose(vae.score(pictures[40:41], draws=draws, seed=4), whole[40:41], rtol=1e-5)
    assert not np.array_equal(vae.score(pictures, draws=3, seed=4), vae.score(pictures, draws=3, seed=5))
    with pytest.raises(ConfigError, match="draws should be"):
        vae.score(pictures, draws=-1)


def test_what_was_not_trained_on_scores_worse(vae: Autoencoder, pictures: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    assert vae.score(noise).min() > vae.score(pictures).max()


def test_loss_terms_repeat(vae: Autoencoder, pictures: np.ndarray) -> None:
    terms = vae.loss_terms(pictures)
    assert terms == vae.loss_terms(pictures)
    assert terms != vae.loss_terms(pictures, seed=1)
    assert set(terms) == {"loss", "reconstruction", "kl", "mse", "bits_per_dim"}
    assert terms["loss"] == pytest.approx(terms["reconstruction"] + terms["kl"])


# --- on disk ----------------------------------------------------------------------------------------------------------


def answers(model: Autoencoder, x: np.ndarray) -> list[np.ndarray]:
    out = [model.encode(x), model.reconstruct(x), model.score(x), model.encode(x, sample=True, seed=3)]
    return [*out, model.sample(3, seed=1)] if model.has_prior else out


def assert_same_answers(one: Autoencoder, other: Autoencoder, x: np.ndarray) -> None:
    for got, expected in zip(answers(one, x), answers(other, x), strict=True):
        assert np.array_equal(got, expected)
    assert one.loss_terms(x) == other.loss_terms(x)


@pytest.mark.parametrize("network", list(networks))
@pytest.mark.parametrize("name", list(objectives))
def test_every_variant_is_saved_and_loaded_bit_for_bit(
    pictures: np.ndarray, tmp_path: Path, name: str, network: str
) -> None:
    if network == "bottleneck" and objectives[name].posterior_family.width > 1:
        pytest.skip("a bottleneck is for codes that are points")
    model = made(pictures, model=name, network=network)
    assert model.save(tmp_path / "run") == tmp_path / "run"
    again = Autoencoder.load(tmp_path / "run")
    again.label = model.label
    assert_same_answers(again, model, pictures)
    assert again.model.config() == model.model.config()
    assert np.array_equal(again.examples, pictures[:12])
    assert repr(again) == repr(model)
    again.save(tmp_path / "again")
    for file in ("model.safetensors", "config.json", "examples.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()


@pytest.mark.parametrize(
    ("likelihood", "options"),
    [
        ("gaussian", {"variance": "learned"}),
        ("gaussian", {"variance": "learned", "output": "clip"}),
        ("gaussian", {"variance": "decoded", "output": "sigmoid"}),
        ("gaussian", {"variance": 0.1}),
        ("laplace", {"scale": "learned"}),
    ],
)
def test_likelihoods_are_saved_with_what_they_learned(
    pictures: np.ndarray, tmp_path: Path, likelihood: str, options: dict[str, Any]
) -> None:
    model = made(pictures, model="vae", likelihood=likelihood, options={"likelihood": options})
    model.save(tmp_path)
    assert_same_answers(diabolo.load(tmp_path), model, pictures)


@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
def test_a_table_s_scaling_is_saved(table: np.ndarray, tmp_path: Path, scaling: str) -> None:
    model = made(table, scaling=scaling)
    model.save(tmp_path)
    assert_same_answers(diabolo.load(tmp_path), model, table)


def test_all_settings_are_saved(pictures: np.ndarray, tmp_path: Path) -> None:
    options = {
        "model": {
            "beta": 3.0,
            "warmup": 1.5,
            "free_bits": 0.2,
            "draws": 2,
            "noise_scale": "variance",
            "log_variance": [-3.0, 1.0],
        },
        "network": {
            "channels": (3, 5),
            "strides": (1, 2),
            "kernel": 5,
            "hidden": (),
            "activation": "silu",
            "decoder_channels": (4,),
            "decoder_strides": (2, 1),
            "decoder_hidden": (7,),
            "bias": False,
            "spectral": "decoder",
            "init": "torch",
            "enlarge": "transposed",
            "start": "random",
            "spatial": False,
        },
    }
    model = made(pictures, model="vae", network="conv", options=options)
    model.save(tmp_path)
    again = diabolo.load(tmp_path)
    assert_same_answers(again, model, pictures)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"] == {"name": "vae", "options": options["model"]}
    assert config["network"]["options"] == {
        name: list(value) if isinstance(value, tuple) else value for name, value in options["network"].items()
    }


class Encoder(nn.Module):
    """A user's own, with a normalisation that holds statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.Dropout(0.5))
        self.last = nn.Linear(9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.layers(x))
        return out


def own() -> tuple[nn.Module, nn.Module]:
    return Encoder(), nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)))


def test_a_user_s_own_modules(pictures: np.ndarray, tmp_path: Path) -> None:
    options = {"epochs": 2, "batch_size": 16, "precision": "float32"}
    model = diabolo.train(pictures, model="vae", network=own(), out=tmp_path, **options)
    assert model.latent_dim == 2
    assert np.array_equal(model.encode(pictures), model.encode(pictures)), "no dropout when it answers"
    with pytest.raises(RunError, match=r"load\(path, modules=\(encoder, decoder\)\)"):
        diabolo.load(tmp_path)
    assert_same_answers(diabolo.load(tmp_path, modules=own()), model, pictures)
    other = (nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), own()[1])
    with pytest.raises(RunError, match=r"does not fit config\.json"):
        diabolo.load(tmp_path, modules=other)


def test_two_modules_may_share_their_weights(pictures: np.ndarray, tmp_path: Path) -> None:
    class Transposed(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return (z @ self.layer.weight).reshape(-1, 1, 8, 8)

    def tied() -> tuple[nn.Module, nn.Module]:
        layer = nn.Linear(64, 3)
        return nn.Sequential(nn.Flatten(), layer), Transposed(layer)

    model = diabolo.train(pictures, network=tied(), likelihood="gaussian", epochs=2, out=tmp_path, precision="float32")
    assert model.model.parameter_count == 64 * 3 + 3
    assert_same_answers(diabolo.load(tmp_path, modules=tied()), model, pictures)


def test_a_trained_run_is_a_saved_model(pictures: np.ndarray, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "precision": "float32", "labels": np.arange(90) % 2}
    model = diabolo.train(pictures, model="vae", network="conv", channels=(4, 6), hidden=(8,), out=tmp_path, **options)
    again = diabolo.load(tmp_path)
    assert_same_answers(again, model, pictures)
    assert again.history == json.loads(json.dumps(model.history))
    assert again.classes == model.classes == ("0", "1")
    assert again.info["result"] == json.loads(json.dumps(model.info["result"]))
    assert np.array_equal(again.examples, model.examples)
    again.save(tmp_path / "copy")
    copy = diabolo.load(tmp_path / "copy")
    assert copy.history == again.history
    assert copy.info["result"] == again.info["result"]


def test_a_model_saved_over_another_brings_its_own_things(
    vae: Autoencoder, pictures: np.ndarray, tmp_path: Path
) -> None:
    vae.save(tmp_path)
    assert len(diabolo.load(tmp_path).history) == 60
    plain = made(pictures)
    plain.examples = None
    plain.save(tmp_path)
    again = diabolo.load(tmp_path)
    assert_same_answers(again, plain, pictures)
    assert again.history == []
    assert again.examples is None


@pytest.mark.parametrize("trick", ["fsync", "size"])
def test_a_full_disk_leaves_the_old_files_as_they_were(
    vae: Autoencoder, pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    vae.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = made(pictures, network="conv")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if trick == "size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    else:

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
    try:
        with pytest.raises(StorageError, match=r"model\.safetensors could not be written"):
            other.save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert_same_answers(diabolo.load(tmp_path), vae, pictures)


def test_examples_are_there_until_others_are(vae: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae.save(tmp_path)
    write = checkpoint.save_tensors

    def full(path: Path, *parts: Any) -> None:
        if path.name == "examples.safetensors":
            raise StorageError("no space left")
        write(path, *parts)

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(StorageError, match="no space left"):
        vae.save(tmp_path)
    assert np.array_equal(diabolo.load(tmp_path).examples, vae.examples)


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size]) and None


def change(*path: str, to: Any) -> Callable[[Path], None]:
    def apply(config: dict[str, Any]) -> None:
        inner = config
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return edit(apply)


def drop(key: str) -> Callable[[Path], None]:
    return edit(lambda config: config.pop(key))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (cut("model.safetensors", 500), r"model\.safetensors cannot be read.*truncated"),
    "empty": (cut("model.safetensors", 0), r"model\.safetensors cannot be read"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is not there"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"config\.json is not there"),
    "not json": (cut("config.json", 100), r"config\.json cannot be read as JSON"),
    "a list": (lambda folder: (folder / "config.json").write_text("[]") and None, "holds a list"),
    "newer": (change("format", to=99), "format 99, by a newer diabolo.*up to format 1.*pip install --upgrade"),
    "format word": (change("format", to="one"), "does not say which format"),
    "no format": (drop("format"), "does not say which format"),
    "no network": (drop("network"), r"config.json cannot be read: it has no 'network'"),
    "no model": (drop("model"), r"config.json cannot be read: it has no 'model'"),
    "no latent_dim": (drop("latent_dim"), r"config.json cannot be read: it has no 'latent_dim'"),
    "no preprocess": (drop("preprocess"), r"config.json cannot be read: it has no 'preprocess'"),
    "widths": (change("network", "options", "widths", to=[9]), r"expects \(9,\) and the file holds \(32,\)"),
    "latent_dim": (change("latent_dim", to=5), "does not fit config.json"),
    "latent_dim word": (change("latent_dim", to="many"), "it.latent_dim should be a whole number, and is 'many'"),
    "other model": (change("model", to={"name": "autoencoder", "options": {}}), "does not fit config.json"),
    "widths word": (change("network", "options", "widths", to="wide"), "widths"),
    "widths zero": (change("network", "options", "widths", to=[0]), "widths"),
    "unknown option": (change("network", "options", "depth", to=1), "depth"),
    "unknown model": (change("model", "name", to="vea"), "vea"),
    "unknown network": (change("network", "name", to="cnv"), "cnv"),
    "layout": (change("preprocess", "layout", to="HWC"), "HWC"),
    "scale": (change("preprocess", "scale", to="bites"), "bites"),
    "event_shape": (change("preprocess", "event_shape", to=[8, 9]), "does not fit config.json"),
    "event_shape number": (change("preprocess", "event_shape", to=8), "event_shape should be a list, and is 8"),
    "examples": (cut("examples.safetensors", 50), r"examples\.safetensors cannot be read"),
    "history": (lambda folder: (folder / "history.jsonl").write_text("x\n{}\n") and None, "line 1, cannot be read"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_folder_is_refused_with_reasons(vae: Autoencoder, tmp_path: Path, what: str) -> None:
    vae.save(tmp_path)
    damage, words = DAMAGE[what]
    damage(tmp_path)
    with pytest.raises(RunError, match=words):
        diabolo.load(tmp_path)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere is not a folder"):
        diabolo.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is not a folder"):
        diabolo.load(tmp_path / "file")


def test_nothing_but_tensors_and_json_is_written(vae: Autoencoder, tmp_path: Path) -> None:
    vae.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "examples.safetensors",
        "history.jsonl",
        "model.safetensors",
        "statistics.safetensors",
    ]


# --- in a notebook ----------------------------------------------------------------------------------------------------


def test_it_says_what_it_is(vae: Autoencoder) -> None:
    layers = 64 * 32 + 32 + 32 * 6 + 6 + 3 * 32 + 32 + 32 * 64 + 64
    count = layers + (64 * 6 + 6) + (3 * 64 + 64) + 1  # two affine paths, and the variance
    assert repr(vae) == f"Autoencoder(vae, mlp, gaussian: (8, 8) <-> 3, {count:,} parameters, trained on array)"


def test_a_notebook_shows_images(vae: Autoencoder, pictures: np.ndarray, tmp_path: Path) -> None:
    shown = vae._repr_html_()
    assert "data:image/png;base64," in shown
    assert "&lt;-&gt;" in shown, "what is no markup is escaped"
    assert "after epoch 60: loss" in shown
    vae.save(tmp_path)
    assert "data:image/png;base64," in diabolo.load(tmp_path)._repr_html_()


@pytest.mark.parametrize(
    ("event", "layout"), [((6, 5, 3), "HWC"), ((3, 6, 5), "CHW"), ((1, 6, 5), "CHW"), ((6, 5, 2), "HWC")]
)
def test_a_notebook_shows_colours(event: tuple[int, ...], layout: str) -> None:
    x = np.random.default_rng(0).random((20, *event), np.float32)
    assert "data:image/png;base64," in made(x, layout=layout)._repr_html_()


def test_a_notebook_does_not_fail_for_tables_or_without_examples(table: np.ndarray, pictures: np.ndarray) -> None:
    assert "<img" not in made(table)._repr_html_()
    bare = made(pictures)
    bare.examples = None
    assert "<img" not in bare._repr_html_()


def test_a_denoising_model_reads_noisy_pixels_and_no_other_scale() -> None:
    """Noise takes pixels out of [0, 1]; 0 to 255 as floats is a mistake all the same."""
    made = diabolo.train("digits", model="denoising", noise="gaussian=0.5", epochs=1, widths=(16,), latent_dim=4)
    x = diabolo.open_dataset("digits").x[:20]
    noisy = made.corrupt(x, seed=1)
    assert noisy.min() < -0.5
    assert made.reconstruct(noisy).shape == x.shape
    with pytest.raises(DataError, match="trained on pixels"):
        made.reconstruct(x * 255)


def test_values_are_refused_wherever_they_stand(vae: Autoencoder, pictures: np.ndarray) -> None:
    floats = np.resize(pictures.astype(np.float32) / 255, (2 * CHUNK + 5, 8, 8))
    codes = vae.encode(floats)
    for place in (0, CHUNK, len(floats) - 1):
        for value, words in ((np.nan, "1 values are NaN or infinite"), (np.inf, "1 values are NaN"), (7.0, r"to 7\.")):
            bad = floats.copy()
            bad[place].flat[-1] = value
            with pytest.raises(DataError, match=words):
                vae.encode(bad)
    assert np.array_equal(vae.encode(floats), codes)


def test_what_is_given_stays_as_it_is() -> None:
    """Layers that write over their input would otherwise write over the user's array, which is lent to them."""
    layers = [torch.nn.Flatten(), torch.nn.ReLU(inplace=True), torch.nn.Dropout(0.5, inplace=True)]
    for first in (layers, [torch.nn.Flatten(), Negative()], []):
        start = first or [torch.nn.Flatten()]
        encoder = torch.nn.Sequential(*start, torch.nn.Linear(16, 2))
        decoder = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Unflatten(1, (1, 4, 4)))
        preprocess = Preprocess(event_shape=(4, 4), layout="HW", scale="none")
        made = Autoencoder(build_model(preprocess, network=(encoder, decoder), likelihood="gaussian"))
        given = np.random.default_rng(0).normal(size=(40, 4, 4)).astype(np.float32)
        kept, codes = given.copy(), np.full((40, 2), 0.5, np.float32)
        made.reconstruct(given)
        made.decode(codes)
        assert np.array_equal(given, kept)
        assert (codes == 0.5).all()
        given.flags.writeable = False  # a memory map that may only be read
        np.testing.assert_array_equal(made.encode(given), made.encode(kept))


class Negative(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.neg_()


def test_bf16_is_near_and_repeats(pictures: np.ndarray, tmp_path: Path) -> None:
    exact = made(pictures, model="vae", options={"network": {"widths": (256,)}})
    rough = Autoencoder.load(exact.save(tmp_path / "run"), precision="bf16")
    near = rough.reconstruct(pictures)
    assert np.array_equal(near, rough.reconstruct(pictures))
    assert 0 < np.abs(near - exact.reconstruct(pictures)).max() < 0.05
    with pytest.raises(ConfigError, match="precision"):
        Autoencoder.load(tmp_path / "run", precision="float16")  # type: ignore[arg-type]


def test_two_of_one_model_keep_their_own_precision(pictures: np.ndarray) -> None:
    exact = made(pictures, model="vae", options={"network": {"widths": (256,)}})
    before = exact.reconstruct(pictures)
    rough = Autoencoder(exact.model, precision="bf16")
    near = rough.reconstruct(pictures)
    assert np.array_equal(exact.reconstruct(pictures), before)
    assert np.array_equal(rough.reconstruct(pictures), near)
    assert not np.array_equal(near, before)


@pytest.mark.parametrize("name", list(objectives))
def test_posterior_and_layers(name: str, pictures: np.ndarray) -> None:
    model = made(pictures, model=name)
    mean, deviation = model.posterior(pictures[:5])
    np.testing.assert_array_equal(mean, model.encode(pictures[:5]))
    assert mean.shape == deviation.shape
    assert (deviation > 0).all() if model.has_density else not deviation.any()
    before = torch.get_rng_state()
    layers = model.summary()
    assert torch.equal(before, torch.get_rng_state())
    assert layers.parameters == model.model.parameter_count
    parts = {
        part: sum(one.numel() for one in getattr(model.model, part).parameters()) for part in ("encoder", "decoder")
    }
    assert {part: sum(one.parameters for one in layers.layers if one.part == part) for part in parts} == parts
    assert max(layers.layers[-1].shape) in pictures.shape[1:]
    np.testing.assert_array_equal(mean, model.encode(pictures[:5]))  # no hook was left


def test_the_deviation_is_that_of_draws(vae: Autoencoder, pictures: np.ndarray) -> None:
    mean, deviation = vae.posterior(pictures[:3])
    draws = np.stack([vae.encode(pictures[:3], sample=True, seed=seed) for seed in range(400)])
    np.testing.assert_allclose(draws.std(0), deviation, rtol=0.15)
    np.testing.assert_allclose((draws.mean(0) - mean) / deviation, 0, atol=0.2)
