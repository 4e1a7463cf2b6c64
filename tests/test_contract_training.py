"""The contract of a variant in training: groups of parameters that are learned apart, terms that train alone."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils import clip_grad_norm_

from diabolo.errors import ConfigError
from diabolo.evaluation.terms import evaluate
from diabolo.models.model import build_model
from diabolo.models.objectives import Batch, Group, Loss, Net, Space, frozen
from diabolo.models.objectives.autoencoder import Autoencoder as Plain
from diabolo.models.preprocess import Preprocess
from diabolo.runs.resuming import resume
from diabolo.runs.run import Run
from stepping import CLOSE, Pull, PulledPlugError, assert_same, gone, needs_compiler, started, state

# --- two players ------------------------------------------------------------------------------------------------------


class Adversary(Plain):
    """An adversarial autoencoder: a critic tells codes from draws of N(0, I), and the encoder deceives it.

    Args:
        apart: whether the critic's gradient is clipped by itself.
    """

    training_only = ("critic",)

    def __init__(self, *, apart: bool = True) -> None:
        super().__init__()
        self.apart = apart

    def build(self, space: Space) -> None:
        super().build(space)
        self.critic = nn.Sequential(nn.Linear(space.latent_dim, 8), nn.ReLU(), nn.Linear(8, 1))

    def groups(self) -> list[Group]:
        return [Group(list(self.critic.parameters()), pace=3.0, momentum=0.5, beta2=0.9, is_apart=self.apart)]

    def loss(self, batch: Batch, net: Net) -> Loss:
        posterior = net.encode(batch.x)
        z = posterior.mean
        output = net.decode(z)
        drawn = torch.randn(z.shape, generator=net.generator)
        terms = {
            "reconstruction": -net.log_likelihood(output, batch.x),
            "adversary": softplus(-frozen(self.critic, z)).squeeze(1),
            "critic": (softplus(-self.critic(drawn)) + softplus(self.critic(z.detach()))).squeeze(1),
        }
        return Loss(terms, posterior, output, {"adversary": 5.0})


def by_hand(run: Run, clip: float) -> tuple[dict[str, Tensor], list[float]]:
    """The state after two of torch's own Adams stepped at once, and by how much gradients were too long."""
    training, settings, norms = run.training, run.training.settings, []
    model: Any = copy.deepcopy(training.model)
    critic = model.objective.critic
    layers = [*model.encoder.parameters(), *model.decoder.parameters()]
    spread = list(model.likelihood.parameters())
    rates = [{"params": layers}, {"params": spread, "lr": settings.lr * model.likelihood.pace}]
    one = torch.optim.Adam(rates, settings.lr, fused=True)
    two = torch.optim.Adam(critic.parameters(), 3.0 * settings.lr, betas=(0.5, 0.9), fused=True)
    generator = torch.Generator().manual_seed(settings.seed)
    for epoch in range(settings.epochs):
        for batch in training.batches.epoch(epoch, 0):
            x = model.preprocess(batch.x)
            z = model.encoder(x)
            cost = -model.likelihood.log_prob(model.decoder(z), x)
            deceit = 5.0 * softplus(-critic(z)).squeeze(1)
            own = torch.autograd.grad((cost + deceit).mean(), [*layers, *spread])
            drawn, z = torch.randn(z.shape, generator=generator), z.detach()
            judged = (softplus(-critic(drawn)) + softplus(critic(z))).squeeze(1).mean()
            others = torch.autograd.grad(judged, list(critic.parameters()))
            for parameter, gradient in zip([*layers, *spread, *critic.parameters()], [*own, *others], strict=True):
                parameter.grad = gradient
            players = ([*layers, *spread], critic.parameters())
            norms += [float(clip_grad_norm_(player, clip)) / clip for player in players]
            one.step()
            two.step()
    return model.state_dict(), norms


@pytest.mark.parametrize("clip", [None, 0.5])
def test_two_players_step_as_two_optimizers_would(clip: float | None, pictures: np.ndarray) -> None:
    """Each gradient is clipped by itself: the encoder's with the decoder's and the spread's, the critic's alone."""
    run = started(pictures, Adversary, clip=clip)
    expected, norms = by_hand(run, math.inf if clip is None else clip)
    run.go()
    assert_same(expected, state(run.training))
    if clip is not None:
        assert min(norms[0::2]) > 1
        assert max(norms[1::2]) > 1, "both were limited"
        together = gone(pictures, Adversary, apart=False, clip=clip)
        assert not torch.equal(together.model.encoder[1].weight, run.training.model.encoder[1].weight)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("clip", [None, 0.5])
def test_two_players_step_alike_where_steps_are_compiled(clip: float | None, pictures: np.ndarray) -> None:
    eager, compiled = (gone(pictures, Adversary, clip=clip, compile=how) for how in ("off", "on"))
    assert compiled.compilation._step is not None
    assert_same(state(eager), state(compiled), **CLOSE)


def test_two_players_step_alike_in_parts(pictures: np.ndarray) -> None:
    whole, parts = (gone(pictures, Adversary, clip=0.5, accumulate=count) for count in (1, 4))
    assert_same(state(whole), state(parts), **CLOSE)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "rmsprop", "sgd"])
def test_groups_go_on_under_every_optimizer(optimizer: str, pictures: np.ndarray, tmp_path: Path) -> None:
    """After a kill bit for bit, and where steps are compiled up to rounding; with an average of one group alone."""
    options = {"optimizer": optimizer, "lr": 1e-3, "momentum": None if optimizer == "adamw" else 0.8, "clip": 1.0}
    whole = gone(pictures, Adversary, **options)
    run = started(pictures, Adversary, tmp_path / "run", [Pull(7)], checkpoint_seconds=1e-9, **options)
    with pytest.raises(PulledPlugError):
        run.go()
    again = resume(tmp_path / "run", source=pictures, trust=__name__)
    again.go()
    assert_same(state(whole), state(again.training))
    close = {"rtol": 1e-4, "atol": 1e-4}  # a pixel that is all but dark has a small gradient, over a small average
    assert_same(state(whole), state(gone(pictures, Adversary, compile="on", **options)), **close)


class Grouped(Adversary):
    """Gives the groups that a test says."""

    choose: ClassVar[Any] = None

    def groups(self) -> list[Group]:
        return list(type(self).choose(list(self.critic.parameters())))


@pytest.mark.parametrize(
    "choose",
    [
        lambda own: [Group([nn.Parameter(torch.zeros(2))])],
        lambda own: [Group([*own, own[0]])],
        lambda own: [Group(own), Group(own[:1], pace=2.0)],
    ],
    ids=["foreign", "twice in one", "in two"],
)
def test_groups_of_others_parameters_or_of_one_twice_are_refused(choose: Any, pictures: np.ndarray) -> None:
    Grouped.choose = staticmethod(choose)
    preprocess = Preprocess.fit(pictures, "HW", np.arange(90))
    model = build_model(preprocess, model=Grouped, latent_dim=2, options={"network": {"widths": (8,)}})
    with pytest.raises(ConfigError, match=r"Grouped\.groups should give parameters of the model that are learned"):
        model.groups()
    with pytest.raises(ConfigError, match=r"Grouped\.groups should give parameters"):
        started(pictures, Grouped)


def test_a_parameter_that_is_not_learned_is_in_no_group(pictures: np.ndarray) -> None:
    model = started(pictures, Adversary).training.model
    model.objective.critic[0].bias.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"Adversary\.groups should give parameters of the model that are learned"):
        model.groups()


def test_every_parameter_is_in_one_group(pictures: np.ndarray) -> None:
    model = started(pictures, Adversary).training.model
    named = [id(parameter) for group in model.groups() for parameter in group.parameters]
    assert sorted(named) == sorted(id(parameter) for parameter in model.parameters())


# --- terms that only train --------------------------------------------------------------------------------------------


def test_what_only_trains_is_in_no_loss(pictures: np.ndarray, tmp_path: Path) -> None:
    run = started(pictures, Adversary, tmp_path / "run", log_every=1)
    before = copy.deepcopy(run.training.model.objective.state_dict())
    model = run.go()
    seen = [line[part] for line in model.history for part in ("train", "validation") if part in line]
    seen += [model.info["result"]["test"], model.loss_terms(pictures), evaluate(model.model, pictures).averages]
    assert len(seen) > 10
    for terms in seen:
        assert terms["critic"] > 0
        assert terms["loss"] == pytest.approx(terms["reconstruction"] + 5.0 * terms["adversary"], rel=1e-5)
    for name, value in model.model.objective.state_dict().items():
        assert not torch.equal(value, before[name]), f"{name} learns all the same"


class Waning(Adversary):
    """Whose validation loss falls with every epoch, while the critic's term rises by more."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def loss(self, batch: Batch, net: Net) -> Loss:
        loss = super().loss(batch, net)
        self.steps += self.training
        if self.training:
            return loss
        numbers = {"reconstruction": -self.steps, "adversary": 0, "critic": 100 * self.steps}
        terms = {name: torch.full((len(batch),), float(value)) for name, value in numbers.items()}
        return Loss(terms, loss.posterior, loss.output, loss.weights)


def test_what_only_trains_chooses_no_epoch(pictures: np.ndarray) -> None:
    training = gone(pictures, Waning, epochs=4, keep="best", patience=1)
    assert (training.epochs, training.best_epoch) == (4, 4)


class Resting(Adversary):
    """Whose critic rests: its term is not in the loss."""

    def loss(self, batch: Batch, net: Net) -> Loss:
        loss = super().loss(batch, net)
        terms = {name: value for name, value in loss.terms.items() if name == "reconstruction"}
        return Loss(terms, loss.posterior, loss.output)


def test_a_term_that_would_only_train_may_be_absent(pictures: np.ndarray) -> None:
    training = gone(pictures, Resting, log_every=1)
    assert all("critic" not in line["train"] for line in training.history.lines)
