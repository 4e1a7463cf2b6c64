"""Compiled steps do what the others do, are chosen by timing, and leave nothing behind where they cannot be had."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diabolo.cli import main
from diabolo.errors import ConfigError, DivergedError
from diabolo.models.distributions import Dirac
from diabolo.models.objectives import Batch, Group, Loss, Objective, ramp
from diabolo.runs.config import make_run_config
from diabolo.runs.resuming import resume
from diabolo.runs.run import start
from diabolo.storage import machine
from diabolo.training import Callback
from diabolo.training.optimizers import make_optimizer
from diabolo.training.settings import Settings
from diabolo.training.speed import compile_policy, compiled_step
from diabolo.training.speed.compile_policy import CompilePolicy
from diabolo.training.speed.compiled_step import NotCompiled
from diabolo.training.speed.optimizer_rules import memory, pace, rule

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("c++") is None, reason="there is no compiler of C++ (g++) here"
)
X = np.random.default_rng(0).integers(0, 256, (230, 8, 8), dtype=np.uint8)
PLAIN = {"start": "random", "ema": 0.0, "likelihood": "bernoulli"}


def run_config(x=X, **more):
    options = {"model": "vae", "network": "mlp", "widths": (16,), "latent_dim": 2, "precision": "float32", **more}
    if options["network"] == "conv":
        del options["widths"]
    return make_run_config(x, batch_size=50, epochs=3, validation=0.0, test=0.0, keep="last", **options)


class Notes(Callback):
    """Keeps what was decided, and the loss of each step."""

    def __init__(self):
        self.notes, self.losses = [], []

    def note(self, training, text):
        self.notes.append(text)

    def step(self, training, loss):
        self.losses.append(loss)


def trained(seen=None, **more):
    run = start(run_config(**more), callbacks=[seen] if seen else [])
    run.go()
    return run


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "adam", "weight_decay": 0.1, "momentum": 0.5, "beta2": 0.9},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "rmsprop", "beta2": 0.9},
        {"optimizer": "rmsprop", "momentum": 0.5, "weight_decay": 0.1},
        {"optimizer": "adam", "eps": 0.1},
        {"optimizer": "adamw", "eps": 0.1, "weight_decay": 0.1},
        {"optimizer": "rmsprop", "eps": 0.1},
        {"optimizer": "rmsprop", "eps": 0.1, "momentum": 0.5},
        {"optimizer": "adamax"},
        {"optimizer": "adamax", "eps": 0.1, "momentum": 0.5, "beta2": 0.9, "weight_decay": 0.1},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    ],
)
def test_a_rule_is_torchs_own(options):
    settings = Settings(lr=0.05, **options)
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(5, 3, generator=generator))
    value, kept = parameter.detach().clone(), memory(parameter, settings)
    optimizer, move = make_optimizer([Group([parameter], 1.0)], settings), rule(settings)
    for _ in range(20):
        parameter.grad = torch.randn(5, 3, generator=generator)
        optimizer.step()
        taken = float(kept["step"]) if "step" in kept else 0.0
        value, kept = move(value, parameter.grad, kept, torch.tensor(pace(settings, 0.05, taken)))
    torch.testing.assert_close(value, parameter.detach())
    own = optimizer.state[parameter]
    assert {name for name, held in own.items() if held is not None} == set(kept)  # so that either can go on
    for name, held in kept.items():
        torch.testing.assert_close(own[name], held)


@needs_compiler
@pytest.mark.parametrize(
    "options",
    [
        {"warmup": 2.0, "clip": 0.5, "ema": 0.9, "lr_warmup": 1.0, "schedule": "cosine"},
        pytest.param(
            {"model": "denoising", "optimizer": "rmsprop", "likelihood": "gaussian", "variance": "learned"},
            marks=pytest.mark.slow,
        ),
        {"model": "sparse", "k": 1, "optimizer": "sgd", "lr": 0.01, "precision": "bf16", "widths": (256,)},
        # The ones before stand for these, which compile as much again.
        pytest.param(
            {"model": "sparse", "k": 1, "optimizer": "sgd", "lr": 0.01, "precision": "bf16", "widths": (256,), **PLAIN},
            marks=pytest.mark.slow,
        ),
        pytest.param({"schedule": "constant", "lr_warmup": 0.0, **PLAIN}, marks=pytest.mark.slow),
        pytest.param(
            {"activation": "gated", "optimizer": "adamax", "log_variance": (-1.0, 0.5), "eps": 1e-4},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"spectral": "both", "schedule": "milestones", "milestones": (0.5,), **PLAIN, "start": "mean"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_compiled_steps_are_the_others(options):
    eager, compiled = Notes(), Notes()
    one, other = trained(eager, compile="off", **options), trained(compiled, compile="on", **options)
    assert len(compiled.notes) == 1
    assert compiled.notes[0].startswith("Steps are compiled, which took ")
    assert eager.notes == []
    assert other.info["result"]["compiled"]
    assert not one.info["result"]["compiled"]
    close = {"rtol": 2e-2, "atol": 2e-2} if options.get("precision") == "bf16" else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(compiled.losses, eager.losses, **close)
    for mine, theirs in zip(other.training.model.parameters(), one.training.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **close)
    assert torch.equal(one.training.generator.get_state(), other.training.generator.get_state())  # the same noise
    for mine, theirs in zip(other.training.history.epochs, one.training.history.epochs, strict=True):
        assert mine["weights"] == pytest.approx(theirs["weights"])
        assert mine["train"] == pytest.approx(theirs["train"], rel=5e-3)


@pytest.mark.slow
@needs_compiler
def test_a_compiled_run_goes_on_as_if_it_had_not_stopped(tmp_path, capsys):
    whole = trained(compile="on")
    run = start(run_config(compile="on"), tmp_path / "run")

    class At(Callback):
        def step(self, training, loss):
            training._stop.is_requested = training.steps == 7

    run.training.callbacks = [At()]
    with pytest.raises(KeyboardInterrupt):
        run.go()
    again = resume(tmp_path / "run", source=run.dataset)
    again.go()
    assert again.training.compilation.is_used
    main(["info", str(tmp_path / "run")])
    assert "in float32 by the engine fused, steps compiled" in capsys.readouterr().out
    # The last step before it stopped and the first one after it were compiled or not, as they were in the whole run.
    for mine, theirs in zip(again.training.model.parameters(), whole.training.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@needs_compiler
def test_modules_of_ones_own_with_statistics_and_layers_that_do_not_learn():
    def modules():
        torch.manual_seed(0)
        frozen = torch.nn.Linear(64, 64)
        frozen.requires_grad_(False)
        layers = (torch.nn.Flatten(), frozen, torch.nn.BatchNorm1d(64), torch.nn.Linear(64, 4))
        return torch.nn.Sequential(*layers), torch.nn.Sequential(
            torch.nn.Linear(2, 64), torch.nn.Unflatten(1, (1, 8, 8))
        )

    options = {"model": "vae", "precision": "float32", "batch_size": 50, "epochs": 2, "validation": 0.0, "test": 0.0}
    states = []
    for how in ("on", "off"):
        run = start(make_run_config(X, network=modules(), keep="last", compile=how, **options))
        run.go()
        assert run.training.compilation.is_used == (how == "on")
        states.append(run.training.model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-5)


class Exploding(Objective):
    """Whose loss is infinite where a training is one epoch old."""

    posterior_family = Dirac
    equation = source = "none"

    def loss(self, batch, net):
        code = net.encode(batch.x)
        output = net.decode(code.mean)
        end = ramp(net.epoch, 1.0)
        weight = end / (1.0 - end) if isinstance(end, torch.Tensor) or end < 1 else float("inf")
        terms = {"reconstruction": -net.log_likelihood(output, batch.x), "end": code.mean.sum(1)}
        return Loss(terms, code, output, {"end": weight})


@needs_compiler
def test_a_loss_that_is_not_finite_moves_nothing():
    run = start(run_config(model=Exploding(), compile="on"))
    before = {}

    class Before(Callback):
        def step(self, training, loss):
            before.update({name: value.clone() for name, value in training.model.state_dict().items()})

    run.training.callbacks = [Before()]
    with pytest.raises(DivergedError, match=r"at step 6 \(epoch 2\) the term loss became"):
        run.go()
    assert all(torch.equal(before[name], value) for name, value in run.training.model.state_dict().items())


@needs_compiler
@pytest.mark.slow
def test_a_batch_in_another_order_of_memory_is_the_same_batch():
    step = trained(model="autoencoder", compile="on").training.compilation._step
    batch = torch.from_numpy(X[:50])
    turned = batch.transpose(1, 2).contiguous().transpose(1, 2)
    assert turned.stride() != batch.stride()
    first, second = (step(Batch(given), rate=0.0, epoch=0.0).value for given in (batch, turned))
    assert first == second


class Steep(Objective):
    """Whose loss holds a gradient, which training differentiates again."""

    posterior_family = Dirac
    equation = source = "none"
    second_order = True

    def loss(self, batch, net):
        code = net.encode(batch.x)
        output = net.decode(code.mean)
        cost = -net.log_likelihood(output, batch.x)
        (slope,) = torch.autograd.grad(cost.sum(), code.mean, create_graph=True)
        return Loss({"reconstruction": cost, "slope": slope.square().sum(1)}, code, output, {"slope": 10.0})


@pytest.mark.slow
@needs_compiler
def test_a_gradient_in_the_loss_is_compiled_too():
    eager, compiled = Notes(), Notes()
    options = {"network": "mlp", "widths": (16,), "latent_dim": 2, "precision": "float32", "batch_size": 50}
    options |= {"epochs": 3, "lr": 0.01, "validation": 0.0, "test": 0.0, "keep": "last"}
    for how, seen in (("off", eager), ("on", compiled)):
        start(make_run_config(X, model=Steep(), compile=how, **options), callbacks=[seen]).go()
    np.testing.assert_allclose(compiled.losses, eager.losses, rtol=1e-4)


class ByValue(Objective):
    """Whose loss depends on the value of a tensor, which no compiler can foresee."""

    posterior_family = Dirac
    equation = source = "none"

    def loss(self, batch, net):
        code = net.encode(batch.x)
        output = net.decode(code.mean)
        sign = 1.0 if code.mean.detach().sum().item() > 0 else 0.5
        return Loss({"reconstruction": -sign * net.log_likelihood(output, batch.x)}, code, output)


def test_what_cannot_be_compiled_is_said():
    with pytest.raises(ConfigError, match=r"The step cannot be compiled: .*say 'off'"):
        trained(model=ByValue(), compile="on")


def test_where_there_are_no_compiled_steps():
    with pytest.raises(ConfigError, match="one process on a processor or a GPU of CUDA, and for whole batches"):
        start(run_config(compile="on", accumulate=2))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("harm", ["torn", "another's"])
def test_a_cache_of_the_compiler_that_is_torn_or_another_s_is_left_aside(harm, monkeypatch, tmp_path, caplog):
    """In processes of their own: each loads what it compiled once."""
    code = (
        "import logging, numpy as np, diabolo\n"
        "logging.basicConfig()\n"
        "x = np.random.default_rng(0).integers(0, 256, (60, 4), dtype=np.uint8)\n"
        "model = diabolo.train(x, layout='F', compile='on', epochs=1, batch_size=20, latent_dim=2, widths=(3,))\n"
        "print(model.info['result']['compiled'])\n"
    )
    environment = {**os.environ, "DIABOLO_CACHE_DIR": str(tmp_path)}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)

    def answer():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)

    folder = tmp_path / "compiled" / machine.machine_key()
    if harm == "torn":
        first = answer()
        assert (first.stdout.strip(), "cannot be used" in first.stderr) == ("True", False), first.stderr
        wrappers = list(folder.rglob("*.py"))  # what calls the loops, and is loaded as it is
        assert wrappers
        for path in wrappers:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        folder.parent.mkdir()
        folder.write_text("a file where the folder should be")
    second = answer()
    assert second.stdout.strip() == "True", second.stderr
    assert f"The compiler's cache {folder} cannot be used" in second.stderr


class Stub:
    """A compiled step that is none, so that only the choice is tested."""

    made = 0

    def __init__(self, *_):
        type(self).made += 1

    def fits(self, batch):
        return True


@pytest.fixture
def choice(monkeypatch, tmp_path):
    """What chooses, for a network of affine layers that is trained on its own."""
    Stub.made = 0
    monkeypatch.setattr(compile_policy, "CompiledStep", Stub)
    monkeypatch.setattr(CompilePolicy, "_share_of_processors", lambda self: 1.0)
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path))

    def make(**more):
        training = start(run_config(**more)).training
        return training.compilation

    return make


def told(compilation: CompilePolicy, seconds: float, left: int = 1_000_000) -> str:
    """What is decided in as many steps as are timed, each of which takes so long."""
    batch = torch.zeros(50, 8, 8)
    return "".join(compilation.took(batch, seconds, left) for _ in range(compile_policy.SKIPPED + compile_policy.TIMED))


def test_compiled_steps_are_kept_where_they_are_faster(choice):
    compilation = choice()
    assert told(compilation, 2e-3) == ""
    assert compilation.step_for(torch.zeros(50, 8, 8)) is not None
    assert told(compilation, 1e-3).startswith(
        "Steps are compiled, 2.0 times as fast: a step takes 2.00 ms, compiled 1.00 ms; compiling took 0 s."
    )
    assert compilation.is_used
    assert told(compilation, 9.0) == ""  # decided is decided
    compilation.again()  # in another precision
    assert not compilation.is_used
    assert told(compilation, 2e-3) == ""
    assert Stub.made == 2


def test_compiled_steps_are_given_up_where_they_are_not(choice):
    compilation = choice()
    told(compilation, 2e-3)
    assert told(compilation, 1.9e-3) == "Steps are not compiled: a step takes 2.00 ms, compiled 1.90 ms."
    assert not compilation.is_used
    assert told(compilation, 2e-3) == ""
    assert Stub.made == 1


def test_where_nothing_is_to_be_gained_it_is_said_once(choice):
    compilation = choice(network="conv", widths=None, channels=(4,))
    assert not compilation.is_likely(1e9)
    why = "Steps are not compiled: it gains where layers are affine (compile='on' tries it)."
    assert told(compilation, 2e-3) == why
    assert told(compilation, 2e-3) == ""
    assert Stub.made == 0


def test_short_trainings_are_not_compiled(choice):
    cost, times = compile_policy.USUAL
    enough = compile_policy.MARGIN * cost / (1 - 1 / times)  # seconds of steps
    compilation = choice()
    assert told(compilation, 1e-3, left=int(0.9e3 * enough)) == ""
    assert Stub.made == 0
    assert told(compilation, 1e-3, left=int(1.1e3 * enough)) == ""  # it was near
    assert Stub.made == 1
    far = choice()
    told(far, 1e-3, left=int(0.4e3 * enough))
    told(far, 1e-3)
    assert Stub.made == 1


def test_what_compiling_cost_and_gained_is_remembered(choice):
    compilation = choice()
    told(compilation, 2e-3)
    compilation._cost = 40.0  # seconds, though it is a stub
    told(compilation, 1e-3)
    again = choice()
    assert again._expected() == (40.0, 2.0)
    assert again._pays(130.0, 1.0)
    assert not again._pays(110.0, 1.0)
    wider = choice(widths=(512,))
    assert wider._expected() == (30.0, compile_policy.USUAL[1])  # the median of what is known, and the usual gain


def test_what_did_not_gain_is_not_tried_again(choice):
    told(choice(), 2e-3)
    slow = choice()
    told(slow, 2e-3)
    told(slow, 2e-3)  # compiled, it is no faster
    made = Stub.made
    told(choice(), 2e-3)
    assert Stub.made == made


def test_a_busy_machine_makes_compiling_dearer(choice, monkeypatch):
    compilation = choice()
    monkeypatch.setattr(type(compilation), "_share_of_processors", lambda self: 0.05)
    cost, times = compile_policy.USUAL
    enough = compile_policy.MARGIN * cost / (1 - 1 / times)
    assert told(compilation, 1e-3, left=int(5e3 * enough)) == ""  # of which a twentieth of the processors makes 100
    assert Stub.made == 0


@pytest.mark.parametrize(
    "text", ["", "{", '{"KEY": {"compiling": {"13-6": [1e9, "fast"]}}}', '{"other": {"engine": 7}}', "[]"]
)
def test_a_memory_that_is_torn_or_another_s_is_measured_again(choice, text, caplog):
    path = machine.cache_dir() / machine.MACHINE
    path.write_text(text.replace("KEY", machine.machine_key()))
    compilation = choice()
    assert compilation._expected() == compile_policy.USUAL
    told(compilation, 2e-3)
    told(compilation, 1e-3)
    assert compilation.is_used
    assert choice()._expected()[1] == 2.0


def test_batches_of_another_size_are_not_timed(choice):
    compilation = choice()
    for _ in range(100):
        compilation.took(torch.zeros(30, 8, 8), 1.0, 1_000_000)
    assert Stub.made == 0


@pytest.mark.parametrize("options", [{"network": "conv"}, {"model": ByValue()}, {"accumulate": 2}])
def test_what_does_not_gain_is_not_tried(choice, options):
    told(choice(**options), 1.0)
    assert Stub.made == 0


def test_auto_goes_on_without_a_compiler(choice, monkeypatch):
    def fail(*_):
        raise NotCompiled("there is no g++")

    monkeypatch.setattr(compile_policy, "CompiledStep", fail)
    compilation = choice()
    assert told(compilation, 1.0) == "Steps are not compiled: there is no g++"
    assert told(compilation, 1.0) == ""


def test_a_captured_step_is_given_what_changes(monkeypatch):
    """What surrounds a CUDA graph, with a stand-in for it: capturing moves nothing, replaying computes again."""
    weight, calls, answers = torch.ones(3), [], []

    def step(*tensors):
        own, batch, rate, epoch = tensors
        answer = [batch.sum() + epoch]
        own.sub_(rate * batch.sum())
        calls.append(tensors)
        answers.append(answer)
        return answer

    class Graph:
        def register_generator_state(self, generator):
            assert isinstance(generator, torch.Generator)

        def replay(self):
            for place, value in zip(answers[compiled_step.WARM], step(*calls[compiled_step.WARM]), strict=True):
                place.copy_(value)

    @contextlib.contextmanager
    def capture(graph):
        before = weight.clone()
        yield
        weight.copy_(before)

    stream = SimpleNamespace(wait_stream=lambda other: None)
    stand_in = {"Stream": lambda: stream, "current_stream": lambda: stream, "CUDAGraph": Graph, "graph": capture}
    for name, value in {**stand_in, "stream": lambda _: contextlib.nullcontext()}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    numbers = torch.tensor(0.5), torch.tensor(0.0, dtype=torch.float64)
    run = compiled_step._captured(step, [weight, torch.ones(2), *numbers], torch.Generator(), 1)
    assert torch.equal(weight, torch.ones(3))
    first = run(weight, torch.full((2,), 3.0), torch.tensor(0.1), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(weight, torch.full((3,), 0.4))
    second = run(weight, torch.full((2,), 1.0), torch.tensor(0.2), torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(weight, torch.zeros(3))
    assert [first[0].item(), second[0].item()] == [7.0, 4.0]  # the first answer was not written over


def test_what_cannot_be_captured_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda: (_ for _ in ()).throw(RuntimeError("no such card\nat all")))
    with pytest.raises(NotCompiled, match=r"^RuntimeError: no such card$"):
        compiled_step._captured(None, [torch.ones(2), torch.tensor(0.0), torch.tensor(0.0)], torch.Generator(), 0)
