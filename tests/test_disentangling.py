"""The variants that hold the KL or the aggregate of codes: capacity, tc, factor, dip."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import diabolo
from diabolo.errors import ConfigError, DiaboloError
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives import Batch, Loss, Objective, Space, objectives
from diabolo.models.objectives._aggregate import Codes
from diabolo.models.objectives._pairs import _from_pairs, aggregate
from diabolo.models.objectives.capacity import Capacity
from diabolo.models.objectives.dip import DIP
from diabolo.models.objectives.tc import TC
from diabolo.models.priors.own import StandardNormal
from diabolo.runs import resume
from test_variants import BATCH, Frozen, X, posterior, seeded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import disentangling
from published_tc import PublishedTC, published_weights


def built(name: str, *, dims: int = 2, examples: int = 6, **options: Any) -> Any:
    torch.manual_seed(0)
    objective = objectives.create(name, options)
    objective.build(Space(dims, (dims,), (dims,), examples=examples))
    return objective


def loss_of(objective: Objective, code: DiagonalGaussian | None = None, epoch: float = math.inf) -> Loss:
    code = code or posterior()
    return objective.loss(Batch(X[: len(code.mean)]), Frozen(code, epoch))


def gaussians(means: Any, log_variance: float = 0.0) -> DiagonalGaussian:
    mean = torch.as_tensor(means, dtype=torch.float32).requires_grad_()
    return DiagonalGaussian(mean, torch.full_like(mean, log_variance).requires_grad_())


# --- capacity ---------------------------------------------------------------------------------------------------------


def test_the_capacity_is_of_the_average_kl() -> None:
    code = gaussians([[2.0**0.5, 0.0], [6.0**0.5, 0.0]])  # KLs of 1 and 3 nats
    assert loss_of(Capacity(capacity=2.0), code).terms["capacity"].mean().item() == pytest.approx(0, abs=1e-6)
    assert loss_of(Capacity(capacity=0.5), code).terms["capacity"].mean().item() == pytest.approx(1.5)
    assert loss_of(Capacity(capacity=9.0), code).terms["capacity"].mean().item() == pytest.approx(7.0)


@pytest.mark.parametrize(("capacity", "side"), [(0.5, 1.0), (9.0, -1.0)])
def test_the_kl_is_pulled_to_its_capacity_from_both_sides(capacity: float, side: float) -> None:
    code = gaussians([[1.0, 0.0], [2.0, 0.0]])
    loss = loss_of(Capacity(gamma=3.0, capacity=capacity), code)
    penalty = loss.weights["kl"] * loss.terms["kl"].mean() + loss.weights["capacity"] * loss.terms["capacity"].mean()
    (gradient,) = torch.autograd.grad(penalty, code.mean)
    torch.testing.assert_close(gradient, 3 * side * code.mean.detach() / 2)


def test_the_capacity_rises_over_the_warm_up() -> None:
    objective, kl = Capacity(capacity=20.0, warmup=10.0), loss_of(Capacity()).terms["kl"].mean().item()
    for epoch, nats in ((0.0, 0.0), (5.0, 10.0), (10.0, 20.0), (math.inf, 20.0)):
        term = loss_of(objective, epoch=epoch).terms["capacity"].mean().item()
        assert term == pytest.approx(abs(kl - nats), rel=1e-5)


def test_a_trained_code_holds_its_capacity() -> None:
    model = diabolo.train("digits", model="capacity", capacity=4.0, latent_dim=4, widths=(32,), epochs=15, lr=3e-3)
    assert model.history[-1]["train"]["kl"] == pytest.approx(4.0, abs=0.4)


# --- tc ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimate", ["mss", "mws", "published"])
def test_the_three_parts_add_up_to_the_drawn_kl_whatever_the_weights(estimate: str) -> None:
    code = posterior()
    objective = PublishedTC(beta=1.0) if estimate == "published" else TC(beta=1.0, estimate=estimate)  # type: ignore[arg-type]
    objective.build(Space(2, (2,), (2,), examples=50))
    loss = loss_of(objective, code)
    z = code.sample(seeded(0))
    drawn = code.log_prob(z) - StandardNormal(2).log_prob(z)
    parts = loss.terms["mutual_information"] + loss.terms["total_correlation"] + loss.terms["dimension_kl"]
    torch.testing.assert_close(parts, drawn, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.total, (loss.terms["reconstruction"] + drawn).mean())


def average_over_batches(log_weights: Tensor) -> list[float]:
    """The mean of the estimate of q(z) over all batches of 4 from 9 examples, for a code's own example in each row."""
    means = 4 * torch.randn(9, 1, generator=seeded(1), dtype=torch.float64)
    z, averages = means[0] + 0.3, []
    densities = torch.exp(-0.5 * (z - means[:, 0]).square())
    for row in range(4):
        estimates = []
        for others in itertools.permutations(range(1, 9), 3):
            batch = [*others[:row], 0, *others[row:]]
            estimates.append((log_weights[row].double().exp() * densities[batch]).sum())
        averages.append((torch.stack(estimates).mean() / densities.mean()).item())
    return averages


def test_the_stratified_estimate_is_q_of_z_on_average_over_all_batches() -> None:
    right = built("tc", dims=1, examples=9).log_weights(4)
    assert average_over_batches(right) == pytest.approx([1, 1, 1, 1], abs=1e-6)
    peers = average_over_batches(published_weights(4, 9).log())
    assert peers[0] == pytest.approx(1, abs=1e-6)
    assert all(abs(row - 1) > 0.1 for row in peers[1:]), "their matrix is right in the first row alone"


def test_where_the_batch_is_all_there_is_the_estimate_is_the_mixture() -> None:
    code = posterior()
    loss = loss_of(built("tc", examples=6), code)
    z = code.sample(seeded(0)).detach()
    each = torch.distributions.Normal(code.mean.detach(), (0.5 * code.log_variance.detach()).exp())
    logs = each.log_prob(z[:, None])
    mixture, marginals = logs.sum(2).logsumexp(1) - math.log(6), (logs.logsumexp(1) - math.log(6)).sum(1)
    torch.testing.assert_close(loss.terms["mutual_information"], code.log_prob(z) - mixture)
    torch.testing.assert_close(loss.terms["total_correlation"], mixture - marginals)
    torch.testing.assert_close(loss.terms["dimension_kl"], marginals - StandardNormal(2).log_prob(z))


def test_weighted_sampling_stays_below_q_of_z() -> None:
    mss, mws = (built("tc", examples=60, estimate=name).log_weights(6) for name in ("mss", "mws"))
    code = posterior()
    z = code.sample(seeded(2))
    assert (aggregate(z, code, mws)[0] < aggregate(z, code, mss)[0]).all()
    same = gaussians(torch.zeros(6, 2))  # all posteriors the same: q(z) is that one
    density = same.log_prob(z)
    torch.testing.assert_close(aggregate(z, same, mss)[0], density)
    torch.testing.assert_close(aggregate(z, same, mws)[0], density - math.log(60))


def test_the_sum_over_pairs_has_the_gradient_of_its_formula() -> None:
    z, mean, log_variance = torch.randn(3, 7, 2, generator=seeded(1), dtype=torch.float64).requires_grad_().unbind()
    logs = torch.randn(7, 7, generator=seeded(2), dtype=torch.float64)
    values = aggregate(z, DiagonalGaussian(mean, log_variance), logs)
    plain = _from_pairs(z, mean, log_variance, logs)
    torch.testing.assert_close(values, plain)
    weights = torch.randn(2, 7, generator=seeded(3), dtype=torch.float64)
    found, expected = (
        torch.autograd.grad(weights.flatten() @ torch.cat(pair), (z, mean, log_variance)) for pair in (values, plain)
    )
    torch.testing.assert_close(found, expected)
    assert all(value.abs().sum() > 0 for value in found)


def test_codes_that_say_nothing_cost_nothing() -> None:
    loss = loss_of(built("tc", examples=100), gaussians(torch.zeros(6, 2)))
    for name in ("mutual_information", "total_correlation", "dimension_kl"):
        assert loss.terms[name].tolist() == pytest.approx([0] * 6, abs=1e-5)


@pytest.mark.parametrize(("name", "count", "words"), [
    ("tc", 1, r"An estimate of q\(z\) needs at least 2 examples together, and a batch has 1: .*drop_last=True"),
    ("factor", 3, "A critic of codes and permuted codes needs at least 4 examples together, and a batch has 3"),
    ("infovae", 1, "A maximum mean discrepancy needs at least 2 examples together, and a batch has 1"),
    ("dip", 1, "A covariance needs at least 2 examples together, and a batch has 1"),
])  # fmt: skip
def test_a_batch_that_is_too_small_for_a_statistic_is_said(name: str, count: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        loss_of(built(name), posterior(count))


@pytest.mark.parametrize("name", ["capacity", "tc", "factor", "dip", "infovae", "wae"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_evaluation_takes_as_few_examples_as_there_are(name: str, count: int) -> None:
    objective = built(name).eval()
    with torch.no_grad():
        loss = loss_of(objective, posterior(count))
    assert all(len(term) == count and term.isfinite().all() for term in loss.terms.values())
    if name == "tc" and count == 1:  # of six examples this one alone is known to be near
        assert loss.terms["mutual_information"].item() == pytest.approx(math.log(6))


@pytest.mark.parametrize("model", ["factor", "tc", "wae"])
def test_a_few_examples_with_a_validation_of_one_are_enough(model: str) -> None:
    x = np.random.default_rng(0).random((12, 5), np.float32)
    result = diabolo.train(x, model=model, latent_dim=2, widths=(8,), epochs=1).info["result"]
    assert math.isfinite(result["test"]["loss"])


@pytest.mark.parametrize("options", [
    {"model": "capacity", "gamma": -1}, {"model": "capacity", "capacity": -1}, {"model": "tc", "beta": -1},
    {"model": "tc", "estimate": "exact"}, {"model": "factor", "gamma": -1}, {"model": "factor", "critic_widths": (0,)},
    {"model": "factor", "critic_pace": 0}, {"model": "dip", "kind": "iii"}, {"model": "dip", "diagonal": -1},
    {"model": "infovae", "alpha": 2}, {"model": "infovae", "strength": 0.1}, {"model": "wae", "weight": -1},
    {"model": "wae", "slices": 0}, {"model": "wae", "distance": "far"},
])  # fmt: skip
def test_an_option_out_of_range_is_named(options: dict[str, Any]) -> None:
    name = list(options)[-1]
    with pytest.raises(ConfigError, match=f"{name}.*(should be|is not)"):
        diabolo.train("digits", epochs=1, **options)


@pytest.mark.parametrize("name", ["capacity", "tc", "factor", "dip", "infovae", "wae"])
def test_a_statistic_of_the_batch_is_not_computed_in_parts(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is of a whole batch: with accumulate=2"):
        diabolo.train("digits", model=name, accumulate=2, widths=(8,), epochs=1)


def test_values_that_are_no_numbers_end_training_with_a_sentence() -> None:
    x = np.random.default_rng(0).random((64, 6), np.float32)
    with pytest.raises(DiaboloError, match="became"):
        diabolo.train(x, model="tc", widths=(8,), epochs=2, lr=1e8, precision="float32")


def test_a_training_that_was_stopped_goes_on_as_it_was(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "critic_widths": (16,),
        "widths": (16,),
        "latent_dim": 3,
        "precision": "float32",
        "compile": "off",
    }
    options |= {"lr_warmup": 0.0, "schedule": "constant", "keep": "last", "model": "factor", "warmup": 3.0}
    whole = diabolo.train("digits", epochs=3, **options)
    diabolo.train("digits", epochs=1, out=tmp_path / "run", **options)
    gone_on = resume(tmp_path / "run", epochs=3).go()
    weights = whole.model.state_dict()
    assert any("critic" in name for name in weights)
    assert all(torch.equal(value, gone_on.model.state_dict()[name]) for name, value in weights.items())


def drawn(z: Tensor, generator: torch.Generator) -> Codes:
    return Codes(gaussians(z), z, z[:, 0], StandardNormal(z.shape[1]), 1.0, generator)


# --- factor -----------------------------------------------------------------------------------------------------------


def test_neither_player_moves_the_other() -> None:
    objective, code = built("factor", critic_widths=(8,)), posterior()
    loss = loss_of(objective, code)
    own = list(objective.critic.parameters())
    given = [code.mean, code.log_variance]
    of_encoder = torch.autograd.grad(loss.terms["critic"].sum(), given, allow_unused=True, retain_graph=True)
    assert of_encoder == (None, None), "the critic's loss never reaches the encoder"
    of_critic = torch.autograd.grad(loss.terms["total_correlation"].sum(), own, allow_unused=True, retain_graph=True)
    assert of_critic == (None,) * len(own)
    assert torch.autograd.grad(loss.terms["total_correlation"].sum(), code.mean)[0].count_nonzero()


def test_the_critic_is_shown_one_half_and_the_other_half_permuted(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, code = built("factor", critic_widths=(8,)), posterior()
    shown: list[Tensor] = []
    objective.critic.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    loss = loss_of(objective, code)
    z = code.sample(seeded(0)).detach()
    batch = next(one for one in shown if not one.requires_grad)
    assert torch.equal(batch[:3], z[:3]), "the first half as it is"
    assert torch.equal(batch[3:].sort(0).values, z[3:].sort(0).values), "of the other the same values in each dimension"
    odds = objective.critic(batch)
    torch.testing.assert_close(loss.terms["critic"], torch.cat([F.softplus(-odds[:3]), F.softplus(odds[3:])]))


def test_each_dimension_is_permuted_by_itself() -> None:
    objective = built("factor", dims=3, critic_widths=(8,))
    z = torch.arange(400.0)[:, None].repeat(1, 3)
    shown: list[Tensor] = []
    objective.critic.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    objective.regularised(drawn(z, seeded()))
    permuted = shown[0][200:]
    assert all((permuted[:, i] == permuted[:, j]).sum() < 10 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_the_critic_finds_the_total_correlation_of_a_gaussian() -> None:
    correlation, objective = 0.9, built("factor", critic_widths=(32, 32))
    optimizer, generator = torch.optim.Adam(objective.critic.parameters(), 5e-3), seeded(5)
    for _ in range(400):
        noise = torch.randn(512, 2, generator=generator)
        z = torch.stack([noise[:, 0], correlation * noise[:, 0] + (1 - correlation**2) ** 0.5 * noise[:, 1]], 1)
        optimizer.zero_grad()
        objective.regularised(drawn(z, generator)).terms["critic"].mean().backward()
        optimizer.step()
    exact = -0.5 * math.log(1 - correlation**2)
    assert objective.critic(z).mean().item() == pytest.approx(exact, rel=0.2)


def test_the_critic_s_loss_does_not_choose_an_epoch() -> None:
    model = diabolo.train("digits", model="factor", critic_widths=(16,), latent_dim=3, widths=(16,), epochs=2, clip=1.0)
    terms = model.history[-1]["train"]
    assert terms["loss"] == pytest.approx(terms["reconstruction"] + terms["kl"] + 6 * terms["total_correlation"])
    assert 0 < terms["critic"] < 2


def test_the_critic_has_its_own_averages() -> None:
    (group,) = built("factor", critic_pace=0.5).groups()
    assert (group.pace, group.momentum, group.beta2, group.is_apart) == (0.5, 0.5, 0.9, True)


# --- dip --------------------------------------------------------------------------------------------------------------


def codes_with(covariance: Any, count: int = 40) -> Tensor:
    """(count, 2) of exactly this covariance."""
    free = np.random.default_rng(0).standard_normal((count, 2))
    free -= free.mean(0)
    white = free @ np.linalg.inv(np.linalg.cholesky(free.T @ free / count)).T
    return torch.from_numpy((white @ np.linalg.cholesky(np.array(covariance)).T + 5).astype(np.float32))


def penalties(covariance: Any, log_variance: float = -30.0, **options: Any) -> tuple[float, float]:
    code = gaussians(codes_with(covariance), log_variance)
    loss = DIP(**options).loss(Batch(code.mean.detach()), Frozen(code))
    return loss.terms["off_diagonal"].mean().item(), loss.terms["diagonal"].mean().item()


def test_whitened_codes_cost_nothing() -> None:
    assert penalties([[1, 0], [0, 1]]) == pytest.approx((0, 0), abs=1e-5)
    assert penalties([[0.75, 0], [0, 0.75]], math.log(0.25), kind="ii") == pytest.approx((0, 0), abs=1e-5)
    assert penalties([[1, 0], [0, 1]], math.log(0.25), kind="ii") == pytest.approx((0, 2 * 0.25**2), abs=1e-5)


def test_the_penalty_is_the_squared_distance_from_the_identity_in_any_rotation() -> None:
    covariance = np.array([[2.0, 0.6], [0.6, 0.5]])
    exact = np.square(covariance - np.eye(2)).sum()
    off, on = penalties(covariance)
    assert off == pytest.approx(2 * 0.6**2, rel=1e-4)
    assert off + on == pytest.approx(exact, rel=1e-4)
    c, s = math.cos(1.0), math.sin(1.0)
    turn = np.array([[c, -s], [s, c]])
    assert sum(penalties(turn @ covariance @ turn.T)) == pytest.approx(exact, rel=1e-4)


def test_it_is_the_reference_s_covariance() -> None:
    """E[m m'] - E[m] E[m]', as disentanglement_lib has it: over the batch, and over its size."""
    code = posterior()
    mean = code.mean.detach().double().numpy()
    covariance = (mean[:, :, None] * mean[:, None]).mean(0) - np.outer(mean.mean(0), mean.mean(0))
    for kind, extra in (("i", 0.0), ("ii", code.log_variance.detach().double().exp().mean(0).numpy())):
        loss = DIP(kind=kind, off_diagonal=3.0, diagonal=7.0).loss(BATCH, Frozen(code))  # type: ignore[arg-type]
        full = covariance + np.diag(np.broadcast_to(extra, 2))
        on, off = np.diag(full), full - np.diag(np.diag(full))
        expected = 3 * np.square(off).sum() + 7 * np.square(on - 1).sum()
        penalty = loss.total - (loss.terms["reconstruction"] + loss.terms["kl"]).mean()
        assert penalty.item() == pytest.approx(expected, rel=1e-4)


# --- the benchmark ----------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_variant_with_a_gaussian_code_and_a_prior() -> None:
    rows = disentangling.every_row()
    shown = {disentangling.ROWS[row].variant if row in disentangling.ROWS else row for row in rows}
    assert {"vae", "capacity", "tc", "factor", "dip", "infovae", "vamp", "published_tc:PublishedTC"} <= shown
    assert not {"autoencoder", "wae", "vq"} & shown
    one = {
        "reconstruction": 1.0,
        "kl": 2.0,
        "mutual_information": 3.0,
        "correlation": 0.5,
        "epochs": 30,
        "seconds": 9.0,
    }
    (*_, line) = disentangling.page([("vae", [one, one | {"kl": 4.0}])])
    assert line == "| `vae` | 1.00 ± 0.00 | 122.65 | 3.00 ± 1.00 | 19.11 | 3.00 ± 0.00 | 0.50 ± 0.00 | 30 | 2 | 9 |"
    (*_, line) = disentangling.page_of_factors([("dip", [one | dict.fromkeys(disentangling.FACTORS, 0.25)])])
    assert line == "| `dip` | 1.00 | 2.00 | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 | 0.25 | 30 | 1 |"
