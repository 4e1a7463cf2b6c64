"""The loop: repeatable to the bit, every example once per epoch, honest numbers, and stopping in every way there is."""

from __future__ import annotations

import json
import math
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Split, open_dataset
from diabolo.errors import ConfigError, DivergedError, RunError, StorageError, TrainingError
from diabolo.evaluation.terms import evaluate
from diabolo.models.distributions import Dirac
from diabolo.models.model import build_model
from diabolo.models.objectives import Batch, Group, Loss, Net, Objective
from diabolo.models.preprocess import Preprocess
from diabolo.storage import checkpoint
from diabolo.storage.history import read_history
from diabolo.training import CHECKPOINT, WEIGHTS, Callback, Interrupted, Settings, Trainer
from diabolo.training.optimizers import learning_rate, make_optimizer

# The layers alone, which the engine fuses; with `paths`, the affine maps beside them.
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"widths": (16,), "start": "random"},
    "conv": {"channels": (4, 6), "hidden": (16,), "start": "random", "enlarge": "transposed"},
    "resnet": {"channels": (4, 6)},
}
# Each step is as long as `lr` says, whatever the number of epochs, and the weights are those after the last one.
PLAIN: dict[str, Any] = {"schedule": "constant", "lr_warmup": 0.0, "ema": 0.0}


def make(
    x: Any,
    settings: Settings,
    folder: Path | None = None,
    callbacks: Any = (),
    *,
    model: Any = "autoencoder",
    network: str = "mlp",
    likelihood: str = "auto",
    paths: bool = False,
    **more: Any,
) -> Trainer:
    dataset = open_dataset(x)
    split = dataset.split(settings.seed, settings.validation, settings.test)
    preprocess = Preprocess.fit(dataset.x, dataset.layout, split.train)
    layers = SMALL.get(network, {}) | ({"start": "pca"} if paths else {})
    options = {"network": layers, "model": more.pop("options", {})}
    parts = {"model": model, "network": network, "likelihood": likelihood}
    made = build_model(preprocess, **parts, latent_dim=3, options=options, seed=settings.seed)
    return Trainer(made, dataset.x, split, settings, folder, callbacks)


def quick(**changes: Any) -> Settings:
    return Settings(**{"epochs": 2, "batch_size": 16, "precision": "float32", **changes})


def weights(training: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in training.model.state_dict().items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """The names of the tensors that are not bit for bit the same."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if name not in one or name not in other or not torch.equal(one[name], other[name])]


def without_seconds(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def tensors(path: Path) -> dict[str, Tensor]:
    return checkpoint.load_tensors(path)[0]


class Watched(Objective):
    """A plain autoencoder that remembers what it was given to train on.

    `spoil` changes the terms of a given training step.
    """

    posterior_family = Dirac
    equation = "-log p(x | z)"
    source = "these tests, 2024"

    def __init__(self, spoil: Any = None, at: int = -1) -> None:
        super().__init__()
        self.spoil = spoil
        self.at = at
        self.batches: list[Tensor] = []

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = net.encode(batch.x)
        output = net.decode(code.mean)
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "size": code.mean.square().sum(1)}
        if self.training:
            self.batches.append(batch.x.detach().clone())
            if len(self.batches) == self.at:
                terms = self.spoil(terms)
        return Loss(terms, code, output, {"size": 0.01})


class At(Callback):
    """Does something after a given step, once."""

    def __init__(self, step: int, action: Any) -> None:
        self.at = step
        self.action = action

    def step(self, training: Trainer, loss: float) -> None:
        if training.steps == self.at:
            self.action(training)


def interrupt(training: Trainer) -> None:
    os.kill(os.getpid(), signal.SIGINT)


class PulledPlugError(BaseException):
    """As sudden as a kill: nothing is saved on the way out."""


def pull_the_plug(training: Trainer) -> None:
    raise PulledPlugError


# --- the same again ---------------------------------------------------------------------------------------------------

WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vae": ({}, {"model": "vae"}),
    "vae-paths": ({}, {"model": "vae", "paths": True}),
    "conv-paths": ({}, {"network": "conv", "paths": True}),
    "plain-bernoulli": (PLAIN, {"model": "vae", "likelihood": "bernoulli"}),
    "denoising-conv": ({"optimizer": "adamw", "weight_decay": 0.01}, {"model": "denoising", "network": "conv"}),
    "vae-conv-cosine-ema": ({"schedule": "cosine", "ema": 0.9, "lr_warmup": 0.5}, {"model": "vae", "network": "conv"}),
    "conv-rmsprop": ({"optimizer": "rmsprop"}, {"network": "conv"}),
    "resnet-rmsprop": ({"optimizer": "rmsprop", "momentum": 0.5, "beta2": 0.9}, {"network": "resnet"}),
    "conv-sgd": ({"optimizer": "sgd", "momentum": 0.9, "lr": 1e-4, "clip": 1.0}, {"network": "conv"}),
    "last-linear": ({"keep": "last", "validation": 0.0, "schedule": "linear"}, {"model": "vae", "network": "linear"}),
    "best-warmup": (
        {"keep": "best", "log_every": 2, "lr": 0.01},
        {"model": "vae", "options": {"warmup": 2.0, "free_bits": 0.1, "draws": 2}},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_weights(pictures: np.ndarray, way: str) -> None:
    settings, parts = WAYS[way]
    ended = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed * 7)  # what happens outside does not matter
        training = make(pictures, quick(seed=seed, **settings), **parts)
        training.run()
        ended.append((weights(training), without_seconds(training.history.lines)))
    assert not differing(ended[0][0], ended[1][0])
    assert ended[0][1] == ended[1][1]
    assert differing(ended[0][0], ended[2][0])


def test_watching_changes_nothing(pictures: np.ndarray) -> None:
    class Nosy(Callback):
        def step(self, training: Trainer, loss: float) -> None:
            torch.rand(3)
            evaluate(training.model, training.x[:5])

    ended = []
    for callbacks in ((), (Nosy(),)):
        training = make(pictures, quick(), None, callbacks, model="vae")
        training.run()
        ended.append(weights(training))
    assert not differing(*ended)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_answering_while_it_trains_changes_nothing(pictures: np.ndarray, network: str) -> None:
    class Asking(Callback):
        def step(self, training: Trainer, loss: float) -> None:
            Autoencoder(training.model).reconstruct(pictures[:5])

        def epoch(self, training: Trainer, line: dict[str, Any]) -> None:
            self.step(training, 0.0)

    ended = []
    for callbacks in ((), (Asking(),)):
        training = make(pictures, quick(), None, callbacks, model="denoising", network=network)
        training.run()
        ended.append((weights(training), without_seconds(training.history.lines)))
    assert not differing(ended[0][0], ended[1][0])
    assert ended[0][1] == ended[1][1]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_every_example_is_seen_once_per_epoch_in_an_order_of_its_own() -> None:
    x = np.arange(50, dtype=np.float32).reshape(50, 1) / 50
    watched = Watched()
    training = make(x, quick(epochs=3, batch_size=8), model=watched)
    assert training.steps_per_epoch == 5  # 40 to train on
    training.run()
    assert [len(batch) for batch in watched.batches] == [8] * 15
    trained = training.model.preprocess(torch.from_numpy(x[training.split.train])).flatten()
    orders = [torch.cat(watched.batches[start : start + 5]).flatten() for start in (0, 5, 10)]
    for order in orders:
        torch.testing.assert_close(order.sort().values, trained.sort().values)
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], trained)


def test_the_last_smaller_batch_counts_like_any_other() -> None:
    x = np.random.default_rng(0).random((50, 4), np.float32)
    watched = Watched()
    training = make(x, quick(epochs=2, batch_size=16), model=watched)
    training.run()
    assert [len(batch) for batch in watched.batches] == [16, 16, 8] * 2
    for start in (0, 3):
        seen = torch.cat(watched.batches[start : start + 3])
        assert len(torch.unique(seen, dim=0)) == 40
    assert training.steps == 6


def test_train_terms_are_averages_over_examples(pictures: np.ndarray) -> None:
    """Not over batches: 72 examples in batches of 50 and 22."""
    training = make(pictures, quick(epochs=1, batch_size=50, lr=1e-12), model="autoencoder")
    x, train = training.x, training.split.train
    expected = evaluate(training.model, x, train).averages
    training.run()
    assert len(train) % 50
    got = training.history.epochs[0]["train"]
    assert got["reconstruction"] == pytest.approx(expected["reconstruction"], rel=1e-5)
    assert got["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_a_memory_map_trains_as_the_array_does(pictures: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    readonly = pictures.copy()
    readonly.flags.writeable = False
    ended = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (pictures, tmp_path / "x.npy", mapped, readonly):
            training = make(x, quick(), model="vae")
            training.run()
            ended.append(weights(training))
    assert not any(differing(ended[0], other) for other in ended[1:])
    assert np.array_equal(np.load(tmp_path / "x.npy"), pictures)


@pytest.mark.parametrize("turned", ["rows", "columns", "transposed", "every-other"])
def test_views_train_as_their_copies_do(turned: str) -> None:
    x = np.random.default_rng(0).random((40, 6, 6), np.float32)
    view = {
        "rows": x[::-1],
        "columns": x[:, :, ::-1],
        "transposed": x.transpose(0, 2, 1),
        "every-other": np.repeat(x, 2, 0)[::2],
    }[turned]
    ended = []
    for array in (view, view.copy()):
        training = make(array, quick(epochs=1))
        training.run()
        ended.append(weights(training))
    assert not differing(*ended)


def test_two_examples_are_the_least() -> None:
    with pytest.raises(TrainingError, match="at least 2 examples, and the training split has 1"):
        make(np.random.default_rng(0).random((2, 3), np.float32), quick(validation=0.5, test=0.0))
    training = make(np.random.default_rng(0).random((2, 3), np.float32), quick(validation=0.0, test=0.0))
    training.run()
    assert training.epochs == 2
    assert "validation" not in training.history.epochs[-1]


# --- rates, gradients, averages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.0, [1, 1, 1, 1, 1, 1, 1, 1]),
        ("constant", 1.0, [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]),
        ("linear", 0.0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("linear", 1.0, [0.2, 0.4, 0.6, 0.8, 1, 0.75, 0.5, 0.25]),
        ("cosine", 0.0, [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]),
        ("milestones", 0.0, [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ("milestones", 0.5, [1 / 3, 2 / 3, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ("plateau", 0.5, [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1]),
        ("cosine", 0.5, [1 / 3, 2 / 3, *(0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6))]),
    ],
)
def test_schedules(schedule: Any, warmup: float, expected: list[float]) -> None:
    fractions = (0.375, 0.75) if schedule == "milestones" else ()
    settings = Settings(epochs=2, lr=0.1, schedule=schedule, lr_warmup=warmup, milestones=fractions)
    rates = [learning_rate(settings, step, 4) for step in range(8)]
    assert rates == pytest.approx([0.1 * value for value in expected])


def test_stages_of_3_to_the_i_epochs() -> None:
    """The schedule of the published bounds: 8 stages of 3^i epochs with the rate 1e-3 * 10^(-i/7)."""
    ends = tuple(sum(3**i for i in range(stage)) for stage in range(1, 8))
    settings = Settings(
        epochs=3280, lr=1e-3, schedule="milestones", milestones=ends, lr_decay=10 ** (-1 / 7), lr_warmup=0
    )
    rates = [learning_rate(settings, epoch, 1) for epoch in range(3280)]
    assert rates == pytest.approx([1e-3 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i)])


def test_the_rate_falls_on_a_plateau_of_the_validation_loss(pictures: np.ndarray) -> None:
    settings = quick(epochs=14, schedule="plateau", lr_patience=2, lr_decay=0.5, lr_warmup=0.0, lr=0.03, ema=0.0)
    training = make(pictures, settings)
    training.run()
    losses = [line["validation"]["loss"] for line in training.history.epochs]
    rate, best, since, expected = 0.03, math.inf, 0, []
    for loss in losses:  # as a person would do it by hand
        expected.append(rate)
        since = 0 if loss < best else since + 1
        best = min(best, loss)
        if since == 2:
            rate, since = rate / 2, 0
    assert [line["lr"] for line in training.history.epochs] == pytest.approx(expected)
    assert 1 <= training.plateau.drops <= 6


def test_without_a_validation_loss_there_is_no_plateau() -> None:
    x = np.random.default_rng(0).random((3, 5), np.float32)
    training = make(x, quick(epochs=4, schedule="plateau", lr_patience=1, validation=0.01, test=0.0, keep="last"))
    training.split = Split(training.split.train, np.empty(0, np.int64), np.empty(0, np.int64))
    training.run()
    assert training.plateau.drops == 0


def test_the_optimizer_steps_at_the_scheduled_rate(pictures: np.ndarray) -> None:
    used: list[float] = []

    class Rates(Callback):
        def step(self, training: Trainer, loss: float) -> None:
            used.append(training.optimizer.param_groups[0]["lr"])

    settings = quick(schedule="cosine", lr_warmup=0.4, log_every=1)
    training = make(pictures, settings, None, [Rates()])
    training.run()
    wanted = [learning_rate(settings, step, training.steps_per_epoch) for step in range(training.steps)]
    assert used == wanted
    assert [line["lr"] for line in training.history.lines if line["kind"] == "step"] == wanted
    assert training.history.epochs[-1]["lr"] == wanted[-1]


@pytest.mark.parametrize(
    ("settings", "kind", "group"),
    [
        ({}, torch.optim.Adam, {"betas": (0.9, 0.999), "weight_decay": 0.0}),
        ({"momentum": 0.5, "beta2": 0.99, "weight_decay": 0.1}, torch.optim.Adam, {"betas": (0.5, 0.99)}),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
        ({"optimizer": "rmsprop"}, torch.optim.Adam, {"betas": (0.0, 0.99), "fused": True}),
        ({"optimizer": "rmsprop", "beta2": 0.9, "momentum": 0.3}, torch.optim.RMSprop, {"alpha": 0.9}),
        ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
        ({"optimizer": "adamax", "beta2": 0.99}, torch.optim.Adamax, {"betas": (0.9, 0.99), "eps": 1e-8}),
        ({"eps": 1e-4}, torch.optim.Adam, {"eps": 1e-4}),
        ({"optimizer": "rmsprop", "eps": 1e-3, "momentum": 0.3}, torch.optim.RMSprop, {"eps": 1e-3}),
    ],
)
def test_optimizers(pictures: np.ndarray, settings: dict[str, Any], kind: type, group: dict[str, Any]) -> None:
    optimizer = make(pictures, quick(**settings)).optimizer
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in group} == group


@pytest.mark.parametrize("more", [{}, {"beta2": 0.9, "weight_decay": 0.1}, {"eps": 0.1}], ids=str)
def test_rmsprop_is_torch_s_own(more: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, 5, generator=generator)
    ours, torchs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer = make_optimizer([Group([ours], 1.0)], Settings(optimizer="rmsprop", lr=0.01, **more))
    decay, eps = more.get("weight_decay", 0.0), more.get("eps", 1e-8)
    other = torch.optim.RMSprop([torchs], lr=0.01, alpha=more.get("beta2", 0.99), weight_decay=decay, eps=eps)
    for _ in range(30):
        ours.grad = torchs.grad = torch.randn(4, 3, 5, generator=generator)
        optimizer.step()
        other.step()
    torch.testing.assert_close(ours, torchs)


def test_clip_bounds_the_gradient_s_norm(pictures: np.ndarray) -> None:
    moved = {}
    for clip in (None, 1e-3):
        settings = quick(epochs=1, optimizer="sgd", batch_size=90, clip=clip, **{**PLAIN, "lr": 1.0})
        training = make(pictures, settings)
        before = torch.cat([p.detach().clone().flatten() for p in training.parameters])
        training.run()
        moved[clip] = (torch.cat([p.detach().flatten() for p in training.parameters]) - before).norm().item()
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert moved[None] > 0.1


def test_the_average_of_the_weights_is_what_is_evaluated_and_kept(pictures: np.ndarray) -> None:
    followed: list[Tensor] = []
    raw: list[Tensor] = []

    class Follow(Callback):
        def step(self, training: Trainer, loss: float) -> None:
            now = training.parameters[0].detach().clone()
            decay = min(0.8, (1 + training.steps) / (10 + training.steps))
            raw.append(now)
            followed.append(decay * followed[-1] + (1 - decay) * now)

    training = make(pictures, quick(ema=0.8, lr=0.01, keep="last"), None, [Follow()])
    followed.append(training.parameters[0].detach().clone())
    training.run()
    torch.testing.assert_close(training.parameters[0].detach(), followed[-1], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(followed[-1], raw[-1])
    again = evaluate(training.model, training.x, training.split.validation, seed=0)
    assert training.history.epochs[-1]["validation"] == again.line()


# --- the history ------------------------------------------------------------------------------------------------------


def test_a_line_per_epoch_says_everything(pictures: np.ndarray, tmp_path: Path) -> None:
    settings = quick(epochs=3, keep="last", batch_size=30, lr=2e-3, **PLAIN)
    training = make(pictures, settings, tmp_path, model="vae", options={"beta": 0.5, "warmup": 2.0})
    training.run()
    lines = training.history.epochs
    assert [(line["epoch"], line["step"], line["kind"]) for line in lines] == [
        (1, 3, "epoch"),
        (2, 6, "epoch"),
        (3, 9, "epoch"),
    ]
    # The weight of the KL in the epoch's last step: after 2, 5 and 8 of 6 steps of warm-up.
    assert [line["beta"] for line in lines] == pytest.approx([0.5 * 2 / 6, 0.5 * 5 / 6, 0.5])
    assert [line["weights"] for line in lines] == [{"kl": line["beta"]} for line in lines]
    assert all(line["seconds"] >= 0 and line["lr"] == 2e-3 for line in lines)
    for line in lines:
        train, validation = line["train"], line["validation"]
        assert set(train) == {"loss", "reconstruction", "kl", "bits_per_dim"}
        assert set(validation) == {*train, "mse", "active_units", "kl_per_dimension"}
        assert train["loss"] == pytest.approx(train["reconstruction"] + line["beta"] * train["kl"])
        assert validation["loss"] == pytest.approx(validation["reconstruction"] + 0.5 * validation["kl"])
        for terms in (train, validation):
            bits = (terms["reconstruction"] + terms["kl"]) / (64 * math.log(2))
            assert terms["bits_per_dim"] == pytest.approx(bits)
        assert len(validation["kl_per_dimension"]) == 3
        assert sum(validation["kl_per_dimension"]) == pytest.approx(validation["kl"], abs=1e-5)
    assert read_history(tmp_path / "history.jsonl") == json.loads(json.dumps(training.history.lines))


@pytest.mark.parametrize("likelihood", ["bernoulli", "auto"])
def test_validation_numbers_are_those_computed_by_hand(pictures: np.ndarray, likelihood: str) -> None:
    training = make(pictures, quick(keep="last", lr=0.01), likelihood=likelihood)
    training.run()
    model, indices = training.model, training.split.validation
    x = torch.from_numpy(pictures[indices]).float().reshape(len(indices), 64) / 255
    with torch.no_grad():
        code = model.encoder(x.reshape(-1, 1, 8, 8))
        output = model.decoder(code).reshape(len(indices), 64)
        means = torch.sigmoid(output) if likelihood == "bernoulli" else output.clamp(0, 1)
        if likelihood == "bernoulli":
            log_chances = x * means.log() + (1 - x) * (-means).log1p()
        else:
            log_variance = model.likelihood.get_parameter("log_spread")
            assert log_variance.item() != 0, "it is learned"
            log_chances = -0.5 * ((x - means).square() / log_variance.exp() + log_variance + math.log(2 * math.pi))
    line = training.history.epochs[-1]["validation"]
    assert line["mse"] == pytest.approx((means - x).square().mean().item(), rel=1e-4)
    nats = -log_chances.sum(1).mean().item()
    assert line["reconstruction"] == pytest.approx(nats, rel=1e-4)
    assert line["loss"] == line["reconstruction"]
    assert line["active_units"] == int((code.var(0, correction=0) > 0.01).sum())


def test_active_units_count_the_dimensions_in_use(pictures: np.ndarray) -> None:
    model = make(pictures, quick()).model
    (last,) = [m for m in model.encoder.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 3]
    with torch.no_grad():
        last.weight[1] = 0
        last.weight[[0, 2]] *= 100
    result = evaluate(model, pictures)
    assert result.active.tolist() == [True, False, True]
    assert result.line()["active_units"] == 2
    assert "kl_per_dimension" not in result.line()


def test_step_lines_come_every_so_many_steps(pictures: np.ndarray, tmp_path: Path) -> None:
    training = make(pictures, quick(log_every=3, batch_size=16), tmp_path, model="vae")
    training.run()
    assert training.steps == 10
    lines = [line for line in read_history(tmp_path / "history.jsonl") if line["kind"] == "step"]
    assert [line["step"] for line in lines] == [3, 6, 9]
    for line in lines:
        terms = line["train"]
        assert terms["loss"] == pytest.approx(terms["reconstruction"] + terms["kl"], rel=1e-5)


def test_without_a_validation_split_the_test_split_is_watched_and_chooses_nothing(pictures: np.ndarray) -> None:
    training = make(pictures, quick(validation=0.0, keep="best"))
    training.run()
    assert set(training.history.epochs[0]) >= {"test"}
    assert "validation" not in training.history.epochs[0]
    assert training.best_epoch == 0
    again = evaluate(training.model, training.x, training.split.test, seed=0)
    assert training.history.epochs[-1]["test"] == again.line()


# --- which weights are kept, and when it stops ------------------------------------------------------------------------


class Worsening(Watched):
    """Its validation loss falls for three epochs and then rises."""

    def loss(self, batch: Batch, net: Net) -> Loss:
        loss = super().loss(batch, net)
        if self.training:
            return loss
        epoch = len(self.batches) // 5
        return Loss({"reconstruction": torch.full((len(batch),), float(abs(epoch - 3)))}, loss.posterior, loss.output)


@pytest.mark.parametrize(("keep", "expected"), [("best", 3), ("last", 6)])
def test_the_best_or_the_last_epoch_is_kept(pictures: np.ndarray, tmp_path: Path, keep: Any, expected: int) -> None:
    held: list[dict[str, Tensor]] = []

    class Hold(Callback):
        def epoch(self, training: Trainer, line: dict[str, Any]) -> None:
            held.append(weights(training))

    settings = quick(epochs=6, keep=keep, checkpoint_seconds=0, ema=0.0)
    training = make(pictures, settings, tmp_path, [Hold()], model=Worsening())
    training.run()
    assert training.best_epoch == 3
    assert not differing(weights(training), held[expected - 1])
    assert not differing(tensors(tmp_path / WEIGHTS), held[expected - 1])
    assert not training.model.training
    assert training.model.epoch == math.inf


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0])
def test_patience_stops_and_leaves_the_best_weights_on_disk(
    pictures: np.ndarray, tmp_path: Path, checkpoint_seconds: float
) -> None:
    settings = quick(epochs=50, patience=2, checkpoint_seconds=checkpoint_seconds)
    training = make(pictures, settings, tmp_path, model=Worsening())
    training.run()
    assert (training.epochs, training.best_epoch) == (5, 3)
    assert not differing(tensors(tmp_path / WEIGHTS), weights(training))
    assert (tmp_path / CHECKPOINT).exists()


def test_without_patience_it_trains_on(pictures: np.ndarray) -> None:
    training = make(pictures, quick(epochs=6), model=Worsening())
    training.run()
    assert training.epochs == 6


# --- numbers that are no longer finite --------------------------------------------------------------------------------


def not_a_number(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**terms, "size": terms["size"] * math.nan}


def test_nan_stops_the_run_names_the_term_and_keeps_the_last_good_checkpoint(
    pictures: np.ndarray, tmp_path: Path
) -> None:
    settings = quick(epochs=4, checkpoint_seconds=0, lr=2e-3, **PLAIN)
    training = make(pictures, settings, tmp_path, model=Watched(not_a_number, at=8))
    with pytest.raises(DivergedError) as caught:
        training.run()
    message = str(caught.value)
    for words in ("step 8", "epoch 2", "the term size became nan", str(tmp_path), "lower lr (it is 0.002)", "clip=1"):
        assert words in message
    assert "reconstruction" not in message
    good = make(pictures, quick(epochs=1, lr=2e-3, **PLAIN), model=Watched())
    good.run()
    again = make(pictures, settings, tmp_path, model=Watched())
    again.resume()
    assert (again.epochs, again.steps) == (1, 5)
    assert not differing(weights(again), weights(good))
    again.run()
    assert again.epochs == 4


def test_no_checkpoint_is_promised_where_there_is_none(pictures: np.ndarray, tmp_path: Path) -> None:
    training = make(pictures, quick(), tmp_path, model=Watched(not_a_number, at=2))
    with pytest.raises(DivergedError) as caught:
        training.run()
    assert not (tmp_path / CHECKPOINT).exists()
    assert "checkpoint is kept" not in str(caught.value)


@pytest.mark.parametrize("kept", [True, False], ids=["folder", "no-folder"])
def test_weights_that_are_no_longer_finite_stop_it_too(pictures: np.ndarray, tmp_path: Path, kept: bool) -> None:
    """The last loss is finite, its gradient is not: what is left behind would be a ruined model."""

    def root_of_zero(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        size = terms["size"]
        return {**terms, "size": (size - size.detach()).sqrt() * 0 + size.detach()}

    folder = tmp_path if kept else None
    training = make(pictures, quick(keep="last"), folder, model=Watched(root_of_zero, at=10))
    with pytest.raises(DivergedError, match=r"at step 10 \(epoch 2\) the .* (is no longer finite|became nan)"):
        training.run()
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_validation_loss_that_is_not_finite_leaves_a_usable_folder_or_says_so(
    pictures: np.ndarray, tmp_path: Path
) -> None:
    class Lost(Watched):
        def loss(self, batch: Batch, net: Net) -> Loss:
            loss = super().loss(batch, net)
            return loss if self.training else Loss(not_a_number(loss.terms), loss.posterior, loss.output)

    training = make(pictures, quick(), tmp_path, model=Lost())
    try:
        training.run()
    except DivergedError:
        return
    assert (tmp_path / WEIGHTS).exists()


# --- precision --------------------------------------------------------------------------------------------------------


def test_bf16_is_close_to_float32(pictures: np.ndarray) -> None:
    losses = {}
    for precision in ("float32", "bf16"):
        training = make(pictures, quick(precision=precision, epochs=3), model="vae", network="conv")
        training.run()
        assert training.precision == precision
        assert all(p.dtype == torch.float32 for p in training.parameters)
        losses[precision] = [line["train"]["loss"] for line in training.history.epochs]
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bf16"] != losses["float32"]


# --- stopped and taken up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 5, 7, 12, 15], ids=["first", "end-of-epoch", "mid-epoch", "third-epoch", "last"])
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_run_ends_as_if_nothing_had_happened(
    pictures: np.ndarray, tmp_path: Path, way: str, step: int
) -> None:
    changes, parts = WAYS[way]
    settings = quick(epochs=3, **changes)
    whole = make(pictures, settings, tmp_path / "whole", **parts)
    (tmp_path / "whole").mkdir()
    whole.run()

    folder = tmp_path / "cut"
    folder.mkdir()
    handler = signal.getsignal(signal.SIGINT)
    cut = make(pictures, settings, folder, [At(step, interrupt)], **parts)
    with pytest.raises(Interrupted):
        cut.run()
    assert signal.getsignal(signal.SIGINT) is handler
    assert cut.steps == step
    assert (folder / CHECKPOINT).exists()

    again = make(pictures, settings, folder, **parts)
    torch.manual_seed(99)
    again.resume()
    assert again.steps == step
    again.run()
    assert not differing(weights(again), weights(whole))
    assert again.best_epoch == whole.best_epoch
    for name in (CHECKPOINT, WEIGHTS):
        assert not differing(tensors(folder / name), tensors(tmp_path / "whole" / name)), name
    assert without_seconds(again.history.lines) == without_seconds(json.loads(json.dumps(whole.history.lines)))
    assert read_history(folder / "history.jsonl") == json.loads(json.dumps(again.history.lines))


def test_sigterm_asks_to_stop_too(pictures: np.ndarray, tmp_path: Path) -> None:
    training = make(pictures, quick(), tmp_path, [At(3, lambda training: os.kill(os.getpid(), signal.SIGTERM))])
    with pytest.raises(Interrupted):
        training.run()
    assert (training.steps, (tmp_path / CHECKPOINT).exists()) == (3, True)


def test_a_second_ctrl_c_stops_at_once(pictures: np.ndarray, tmp_path: Path) -> None:
    def twice(training: Trainer) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        make(pictures, quick(), tmp_path, [At(3, twice)]).run()
    assert not isinstance(caught.value, Interrupted)
    assert not (tmp_path / CHECKPOINT).exists()


def test_callbacks_hear_the_start_every_step_every_epoch_and_the_end(pictures: np.ndarray) -> None:
    heard: list[str] = []

    class Listener(Callback):
        def start(self, training: Trainer) -> None:
            heard.append("start")

        def step(self, training: Trainer, loss: float) -> None:
            assert math.isfinite(loss)
            heard.append("step")

        def epoch(self, training: Trainer, line: dict[str, Any]) -> None:
            heard.append(f"epoch {line['epoch']}")

        def end(self, training: Trainer) -> None:
            heard.append("end")

    make(pictures, quick(batch_size=36), None, [Listener()]).run()
    assert heard == ["start", "step", "step", "epoch 1", "step", "step", "epoch 2", "end"]
    heard.clear()
    with pytest.raises(Interrupted):
        make(pictures, quick(batch_size=36), None, [Listener(), At(1, interrupt)]).run()
    assert heard == ["start", "step", "end"]


def test_an_epoch_s_line_is_not_written_twice(pictures: np.ndarray, tmp_path: Path) -> None:
    """Killed between the line of an epoch and its checkpoint, the one before having been written at its last step."""

    class Plug(Callback):
        def epoch(self, training: Trainer, line: dict[str, Any]) -> None:
            raise PulledPlugError

    settings = quick(epochs=2, checkpoint_seconds=1000)
    training = make(pictures, settings, tmp_path, [At(5, lambda training: training.save()), Plug()])
    with pytest.raises(PulledPlugError):
        training.run()
    again = make(pictures, settings, tmp_path)
    again.resume()
    again.run()
    assert [line["epoch"] for line in read_history(tmp_path / "history.jsonl")] == [1, 2]


def test_a_checkpoint_at_the_last_step_is_not_the_last_word(pictures: np.ndarray, tmp_path: Path) -> None:
    """The epoch that it ends is still to be counted, and its weights may be the best."""
    settings = quick(epochs=2, checkpoint_seconds=1000, lr=0.01)
    training = make(pictures, settings, tmp_path, [At(10, lambda training: training.save())])
    training.run()
    assert training.best_epoch == 2
    assert not differing(tensors(tmp_path / WEIGHTS), weights(training))
    again = make(pictures, settings, tmp_path)
    again.resume()
    assert (again.epochs, again.best_epoch) == (2, 2)


def test_a_line_cut_short_by_a_kill_is_left_out(pictures: np.ndarray, tmp_path: Path) -> None:
    settings = quick(epochs=3, checkpoint_seconds=0)
    with pytest.raises(PulledPlugError):
        make(pictures, settings, tmp_path, [At(7, pull_the_plug)]).run()
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text() + '{"kind": "epoch", "epo')
    again = make(pictures, settings, tmp_path)
    again.resume()
    again.run()
    assert [line["epoch"] for line in read_history(path)] == [1, 2, 3]


def test_an_edited_history_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    line = (
        '{"kind": "epoch", "epoch": 1, "step": 1, "seconds": 0.1, "lr": 0.1, "weights": {}, "train": {"loss": 1.0}}\n'
    )
    path.write_text(f"{line}not json\n{line}")
    with pytest.raises(RunError, match="line 2, cannot be read"):
        read_history(path)


def test_what_cannot_be_resumed(pictures: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder cannot be resumed"):
        make(pictures, quick()).resume()
    with pytest.raises(RunError, match="is not there"):
        make(pictures, quick(), tmp_path).resume()
    make(pictures, quick(checkpoint_seconds=0), tmp_path).run()
    with pytest.raises(RunError, match=r"does not fit config\.json"):
        make(pictures, quick(), tmp_path, network="linear").resume()
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"last\.safetensors cannot be read.*truncated"):
        make(pictures, quick(), tmp_path).resume()


def test_a_checkpoint_that_lacks_something_is_refused(pictures: np.ndarray, tmp_path: Path) -> None:
    make(pictures, quick(checkpoint_seconds=0), tmp_path).run()
    held, numbers = checkpoint.load_tensors(tmp_path / CHECKPOINT)
    for lost in ("steps", "best_loss", "meter_sums"):
        checkpoint.save_tensors(tmp_path / CHECKPOINT, held, {k: v for k, v in numbers.items() if k != lost})
        with pytest.raises(RunError, match="does not hold what training needs"):
            make(pictures, quick(), tmp_path).resume()
    for gone in ("rng.noise", "optimizer.0.exp_avg"):
        checkpoint.save_tensors(tmp_path / CHECKPOINT, {k: v for k, v in held.items() if k != gone}, numbers)
        with pytest.raises(RunError, match="does not hold what training needs"):
            make(pictures, quick(), tmp_path).resume()


def test_a_full_disk_stops_it_and_the_checkpoint_before_still_serves(
    pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    settings = quick(epochs=3, checkpoint_seconds=0)
    whole = make(pictures, settings, model="vae")
    whole.run()
    training = make(
        pictures, settings, tmp_path, [At(7, lambda _: monkeypatch.setattr(os, "fsync", full))], model="vae"
    )
    with pytest.raises(StorageError, match="could not be written: No space left on device"):
        training.run()
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*part*"))
    again = make(pictures, settings, tmp_path, model="vae")
    again.resume()
    assert again.epochs == 1
    again.run()
    assert not differing(weights(again), weights(whole))


def test_a_device_that_is_not_there(pictures: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="'toaster' cannot be used"):
        make(pictures, quick(device="toaster"))


def test_a_loss_of_a_whole_batch_is_not_computed_in_parts(
    pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    coupled = {"model": "vae", "options": {"free_bits": 0.1}}
    with pytest.raises(ConfigError, match=r"free_bits, .* is of a whole batch: with accumulate=2 and 1 process it"):
        make(pictures, quick(accumulate=2), **coupled)
    make(pictures, quick(accumulate=2), model="vae")
    training = make(pictures, quick(epochs=1), **coupled)

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(training.replica.model, "forward", full)
    with pytest.raises(TrainingError, match=r"free_bits, .* is of a whole batch, which so is not computed in parts"):
        training.run()


def test_no_bf16_for_maps_of_one_place() -> None:
    x = np.random.default_rng(0).random((40, 2, 1)).astype(np.float32)
    preprocess = Preprocess.fit(x, "CL", np.arange(40))
    made = build_model(preprocess, network="conv", latent_dim=1)
    split = open_dataset(x, layout="CL").split(0)
    assert Trainer(made, x, split, quick(precision="auto")).precision == "float32"
    with pytest.raises(ConfigError, match="precision='bf16' does not go with convolutions of maps of one place"):
        assert Trainer(made, x, split, quick(precision="bf16")).precision
