"""The engine: chosen by name, by the environment or by measuring; it notices what changes, and leaves a model whole."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.utils import prune

import diabolo
from diabolo.errors import ConfigError
from diabolo.models import engine as engines
from diabolo.models.engine import Arithmetic, FusedEngine, answering, default_engine, engine_of, requested
from diabolo.models.model import build_model
from diabolo.models.preprocess import Preprocess
from diabolo.storage import machine
from diabolo.training.speed import precision_policy

CPU = torch.device("cpu")
X = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A machine of which nothing is known yet, and no wish in the environment."""
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("DIABOLO_ENGINE", raising=False)
    caches = (default_engine, engines.why_not_fused, engines._say_once)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


# The layers alone, which are fused from end to end.
LAYERS = {"channels": (8, 12), "start": "random", "enlarge": "transposed"}


@pytest.fixture(scope="module")
def model():
    return diabolo.train(X, model="vae", network="conv", latent_dim=3, **LAYERS, epochs=1, engine="fused")


# --- which one --------------------------------------------------------------------------------------------------------


def test_a_name_wins_over_the_environment_which_wins_over_measuring(fresh, monkeypatch):
    monkeypatch.setattr(engines, "_times_as_fast", lambda: 5.0)
    assert requested("auto", CPU) == "auto"
    assert engine_of("auto", CPU) == "fused"
    monkeypatch.setenv("DIABOLO_ENGINE", "torch")
    assert engine_of("auto", CPU) == "torch"
    assert engine_of("fused", CPU) == "fused"


@pytest.mark.parametrize(("times", "name"), [(2.0, "fused"), (1.05, "torch"), (0.8, "torch")])
def test_the_default_is_the_faster_one_and_is_remembered(fresh, monkeypatch, times, name):
    monkeypatch.setattr(engines, "_times_as_fast", lambda: times)
    assert default_engine() == name
    monkeypatch.setattr(engines, "_times_as_fast", None)
    default_engine.cache_clear()
    assert default_engine() == name
    assert json.loads((machine.cache_dir() / machine.MACHINE).read_text())[machine.machine_key()]["engine"] == name


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"KEY": 3}', '{"KEY": {"engine": "turbo"}}', '{"KEY": {"x": NaN}}', "[" * 9999]
)
def test_a_damaged_memory_is_measured_again(fresh, monkeypatch, text):
    monkeypatch.setattr(engines, "_times_as_fast", lambda: 3.0)
    path = machine.cache_dir() / machine.MACHINE
    path.write_text(text.replace("KEY", machine.machine_key()))
    assert default_engine() == "fused"
    assert json.loads(path.read_text())[machine.machine_key()]["engine"] == "fused"


def test_a_cache_that_cannot_be_written_costs_nothing_but_the_memory(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(engines, "_times_as_fast", lambda: 3.0)
    assert default_engine() == "fused"


def test_measuring_gives_a_number_and_leaves_random_numbers_alone(fresh):
    state = torch.random.get_rng_state()
    assert 0.05 < engines._times_as_fast() < 50
    assert engines.why_not_fused() == ""
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_engine_that_is_not_there_is_refused(model, monkeypatch):
    with pytest.raises(ConfigError, match="engine"):
        diabolo.train(X, engine="turbo", epochs=1)
    with pytest.raises(ConfigError, match="engine should be one of auto, torch, fused"):
        diabolo.Autoencoder(model.model, engine="turbo")  # type: ignore[arg-type]
    monkeypatch.setenv("DIABOLO_ENGINE", "turbo")
    with pytest.raises(ConfigError, match="DIABOLO_ENGINE should be auto, torch or fused"):
        diabolo.Autoencoder(model.model)


def test_what_torch_does_not_carry_is_said_once(fresh, monkeypatch, caplog):
    def gone(*_):
        raise AttributeError("'_OpNamespace' 'aten' object has no attribute 'convolution_backward'")

    monkeypatch.setattr(engines, "FusedLayers", gone)
    with caplog.at_level(logging.WARNING, "diabolo"):
        assert [requested("fused", CPU) for _ in range(3)] == ["torch"] * 3
        assert engine_of("auto", CPU) == "torch"
    assert caplog.text.count("engine='fused' is not to be had on cpu") == 1
    assert "does not carry their operations" in caplog.text


def test_fused_layers_that_compute_otherwise_are_not_taken(fresh, monkeypatch):
    class Wrong(engines.FusedLayers):
        def __call__(self, x):
            return super().__call__(x) * 1.1

    monkeypatch.setattr(engines, "FusedLayers", Wrong)
    assert "computes them otherwise" in engines.why_not_fused()


def test_fused_layers_are_for_the_processor(fresh, caplog):
    with caplog.at_level(logging.WARNING, "diabolo"):
        assert requested("fused", torch.device("meta")) == "torch"
        assert requested("auto", torch.device("meta")) == "torch"
    assert "they are for the processor" in caplog.text


def test_an_engine_that_was_named_for_training_answers_too(fresh, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_times_as_fast", lambda: 5.0)
    trained = diabolo.train(X, epochs=1, latent_dim=2, engine="torch", out=tmp_path / "run")
    codes = trained.encode(X)
    assert trained._arithmetic.engine is None
    loaded = diabolo.load(tmp_path / "run")
    assert loaded._arithmetic.engine is None
    assert np.array_equal(loaded.encode(X), codes)
    assert diabolo.load(tmp_path / "run", engine="fused")._arithmetic.engine is not None
    monkeypatch.setenv("DIABOLO_ENGINE", "nonsense")  # which nobody asks where an engine is named
    diabolo.train(X, epochs=1, latent_dim=2, engine="torch")


def test_no_input_is_written_over():
    class Writing(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2))

    x = np.random.default_rng(0).uniform(size=(20, 5)).astype(np.float32)
    encoder, decoder = nn.Sequential(Writing(5, 2)), nn.Sequential(nn.Linear(2, 5))
    model = diabolo.train(x, network=(encoder, decoder), epochs=1, layout="F", scaling="none")
    before = x.copy()
    model.encode(x)
    assert np.array_equal(x, before)


def test_a_run_keeps_its_engine(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(engines, "_times_as_fast", lambda: 0.5)
    run = tmp_path / "run"
    first = diabolo.train(X, epochs=2, out=run, latent_dim=2, seed=1)
    assert first.info["result"]["engine"] == "torch"
    monkeypatch.setattr(engines, "default_engine", lambda: "fused")  # as if it were measured otherwise now
    resumed = diabolo.resume(run, source=X, epochs=3).go()
    assert resumed.info["result"]["engine"] == "torch"


def test_long_trainings_measure_both(fresh, monkeypatch):
    monkeypatch.setattr(precision_policy, "WORTH", 0.0)
    monkeypatch.setattr(precision_policy, "SECONDS", 0.0)
    ways = []

    def seconds(model, batch, asked):
        ways.extend(asked)
        return dict.fromkeys(asked, 1.0)

    monkeypatch.setattr(precision_policy, "_seconds", seconds)
    diabolo.train(X, epochs=1, precision="float32", latent_dim=2, batch_size=20)
    assert ways == [("float32", "torch"), ("float32", "fused")]


# --- what it computes -------------------------------------------------------------------------------------------------


def layers() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        return nn.Sequential(inner, nn.Flatten(), nn.Linear(384, 9), nn.Tanh(), nn.Linear(9, 3))


def doubled(module, inputs, output):
    return 2 * output


class Doubling(nn.Flatten):
    """A subclass may do anything."""

    def forward(self, x):
        return 2 * super().forward(x)


class Halving(nn.GELU):
    def forward(self, x):
        return x / 2


def with_plain_weight(net):
    weight = net[2].weight.detach() * 3
    del net[2].weight
    net[2].weight = weight


def without_bias(net):
    net[2].bias = None


def with_own_forward(net):
    net[3].forward = lambda x: x - 1


def dilated(net):
    net[0][1].padding, net[0][1].dilation = (2, 2), (2, 2)


def normalised(net):
    nn.utils.parametrizations.weight_norm(net[2])
    net[2].parametrizations.weight.original0.data.mul_(3)


def steeper(net):
    net[3] = nn.LeakyReLU(0.1)
    net[3].negative_slope = 0.7


CHANGES = {
    "a layer": lambda net: net.__setitem__(2, nn.Linear(384, 9)),
    "a layer of another kind": lambda net: net.__setitem__(3, nn.Softsign()),
    "a layer inside": lambda net: net[0].__setitem__(1, nn.Conv2d(1, 6, 3, padding=1)),
    "one more": lambda net: net.append(nn.Linear(3, 3)),
    "one less": lambda net: net.__delitem__(4),
    "one between": lambda net: net.insert(3, nn.Linear(9, 9)),
    "a child by name": lambda net: net.add_module("extra", nn.Linear(3, 3)),
    "a parameter": lambda net: setattr(net[2], "weight", nn.Parameter(torch.randn(9, 384))),
    "no bias": without_bias,
    "a hook": lambda net: net[2].register_forward_hook(doubled),
    "a hook of a container": lambda net: net[0].register_forward_hook(doubled),
    "a hook before": lambda net: net[4].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,)),
    "a forward of its own": with_own_forward,
    "a geometry": dilated,
    "a parametrization": normalised,
    "an attribute of an activation": steeper,
    "a subclass": lambda net: net.__setitem__(1, Doubling()),
    "a subclass of an activation": lambda net: net.__setitem__(3, Halving()),
    "a weight that is no parameter": with_plain_weight,
    "a layer a second time": lambda net: net.insert(4, net[3]),
    "pruning": lambda net: prune.random_unstructured(net[2], "weight", 0.5),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("learns", [False, True])
def test_every_change_is_noticed(how, learns):
    net, x, engine = layers(), torch.rand(5, 64), FusedEngine()
    with torch.set_grad_enabled(learns):
        before = engine("encoder", net, x, torch.float32)
        torch.testing.assert_close(before, net(x))
        CHANGES[how](net)
        torch.testing.assert_close(engine("encoder", net, x, torch.float32), net(x))
    assert engine("encoder", net, x, torch.float32).shape != before.shape or not torch.allclose(before, net(x))


@pytest.mark.parametrize("learns", [False, True])
def test_a_plain_weight_that_is_replaced_is_noticed(learns):
    net, x, engine = layers(), torch.rand(5, 64), FusedEngine()
    with torch.set_grad_enabled(learns):
        for _ in range(2):
            with_plain_weight(net)
            torch.testing.assert_close(engine("encoder", net, x, torch.float32), net(x))


def fused_model():
    preprocess = Preprocess.fit(X, "HW", np.arange(60))
    options = {"network": {"widths": (16,), "start": "random"}}
    core = build_model(preprocess, network="mlp", options=options, latent_dim=3).eval()
    core.start_training(torch.float32, FusedEngine())
    return core


@pytest.mark.parametrize("how", ["Linear", "ReLU", "Sequential", "__call__", "a global hook"])
def test_classes_that_are_patched_and_hooks_of_all_modules_are_noticed(how, monkeypatch):
    core, x = fused_model(), torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        before = core.encode(x).mean
        handle = None
        if how == "a global hook":
            handle = nn.modules.module.register_module_forward_hook(
                lambda module, inputs, output: 2 * output if isinstance(module, nn.Linear) else None
            )
        elif how == "__call__":
            call = nn.Module.__call__
            changed = lambda module, *inputs: (1 + isinstance(module, nn.Linear)) * call(module, *inputs)  # noqa: E731
            monkeypatch.setattr(nn.Module, "__call__", changed)
        else:
            kind = getattr(nn, how)
            forward = kind.forward
            monkeypatch.setattr(kind, "forward", lambda module, x: 2 * forward(module, x))
        try:
            torch.testing.assert_close(core.encode(x).mean, core.encoder(x))
            assert not torch.allclose(core.encode(x).mean, before)
        finally:
            monkeypatch.undo()
            if handle is not None:
                handle.remove()
        torch.testing.assert_close(core.encode(x).mean, before)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch uses it itself
def test_forward_differentiation_and_autocast_go_through_the_layers():
    core, x = fused_model(), torch.rand(4, 1, 8, 8)
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        assert forward_ad.unpack_dual(core.encode(dual).mean).tangent is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(core.encode(x).mean, core.encoder(x).float(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_another_type_of_weights_is_torch_s_affair(kind):
    core = fused_model().to(kind)
    with torch.no_grad(), pytest.raises(RuntimeError, match="dtype"):
        core.encode(torch.rand(4, 1, 8, 8))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_scripted_layer_is_called_as_it_is():
    net, x, engine = layers(), torch.rand(5, 64), FusedEngine()
    scripted = nn.Sequential(net[:4], torch.jit.script(nn.Linear(9, 3)))
    torch.testing.assert_close(engine("encoder", scripted, x, torch.float32), scripted(x))


class InPlace(nn.Module):
    """Writes into what it is given, which is torch's way to say that nobody else needs it."""

    def forward(self, x):
        return x.mul_(2)


@pytest.mark.parametrize("activation", [nn.ELU(), nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU()])
def test_a_layer_that_writes_into_what_it_is_given_gets_right_gradients(activation):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 5), activation, InPlace(), nn.Linear(5, 2))
        exact = nn.Sequential(net[0], activation, nn.Identity(), net[3])
        x = torch.randn(4, 6)
    parameters = list(net.parameters())
    received = torch.autograd.grad(FusedEngine()("encoder", net, x, torch.float32).square().sum(), parameters)
    hidden = exact[1](exact[0](x)) * 2
    expected = torch.autograd.grad(exact[3](hidden).square().sum(), parameters)
    torch.testing.assert_close(received, expected)


@pytest.mark.parametrize("what", ["the output", "a weight"])
def test_what_is_written_over_before_the_way_back_is_an_error_as_with_torch(what):
    net, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU()), torch.randn(4, 6)
    for call in (net, lambda x: FusedEngine()("encoder", net, x, torch.float32)):
        output = call(x.requires_grad_())
        loss = output.sum()
        with torch.no_grad():
            (output if what == "the output" else net[0].weight).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_hook_that_goes_leaves_fused_layers_behind():
    net, x, engine = layers(), torch.rand(5, 64), FusedEngine()
    handle = net[2].register_forward_hook(doubled)
    engine("encoder", net, x, torch.float32)
    known = len(engine._plans["encoder", torch.float32][1].parts)
    handle.remove()
    torch.testing.assert_close(engine("encoder", net, x, torch.float32), net(x))
    assert len(engine._plans["encoder", torch.float32][1].parts) < known


def test_functional_call_is_given_its_own_weights(model):
    core = copy.deepcopy(model.model).eval()
    core.start_training(torch.float32, FusedEngine())
    other = {name: value + 0.3 for name, value in core.state_dict().items() if value.is_floating_point()}
    x = torch.from_numpy(X[:4])

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = core

        def forward(self, x):
            return self.core.encode(self.core.prepare(x)).mean

    with torch.no_grad():
        before = Mean()(x)
        called = functional_call(Mean(), {f"core.{name}": value for name, value in other.items()}, (x,))
        after = Mean()(x)
        expected = copy.deepcopy(core)
        expected.load_state_dict(other, strict=False)
        expected.start_training(torch.float32)
        torch.testing.assert_close(called, expected.encode(expected.prepare(x)).mean)
    torch.testing.assert_close(before, after)
    assert not torch.allclose(before, called)


def test_transforms_of_functions_go_through_the_layers(model):
    core = copy.deepcopy(model.model).eval()
    core.start_training(torch.float32, FusedEngine())
    z = torch.randn(3, 3)
    with torch.no_grad():
        jacobian = torch.func.vmap(torch.func.jacrev(lambda one: core.decode(one[None]).flatten()))(z)
    assert jacobian.shape == (3, 64, 3)
    one = z[:1].clone().requires_grad_()
    exact = torch.autograd.functional.jacobian(lambda code: core.decoder(code).flatten(), one)[:, 0]
    torch.testing.assert_close(jacobian[0], exact, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("change", ["layer", "encoder", "decoder", "data"])
def test_a_trained_model_answers_with_its_present_weights(model, change):
    made = diabolo.Autoencoder(copy.deepcopy(model.model), engine="fused")
    before = made.reconstruct(X[:5])
    with torch.random.fork_rng():
        torch.manual_seed(9)
        if change == "layer":
            last = made.model.encoder[-1]
            made.model.encoder[-1] = nn.Linear(last.in_features, last.out_features)
        elif change in ("encoder", "decoder"):
            other = diabolo.train(X, model="vae", network="conv", latent_dim=3, **LAYERS, epochs=1, seed=5)
            setattr(made.model, change, getattr(other.model, change))
        else:
            for parameter in made.model.parameters():
                parameter.data.mul_(0.5)
    after = made.reconstruct(X[:5])
    assert np.abs(before - after).max() > 1e-4
    plain = diabolo.Autoencoder(copy.deepcopy(made.model), engine="torch")
    np.testing.assert_allclose(after, plain.reconstruct(X[:5]), atol=1e-5)


def test_each_model_in_hand_keeps_its_engine_and_its_precision(model):
    core = copy.deepcopy(model.model)
    torch_one = diabolo.Autoencoder(core, engine="torch")
    coarse = diabolo.Autoencoder(core, precision="bf16", engine="fused")
    exact, rough = torch_one.encode(X), coarse.encode(X)
    assert np.array_equal(torch_one.encode(X), exact)
    assert np.array_equal(coarse.encode(X), rough)
    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(exact, diabolo.Autoencoder(core, engine="fused").encode(X), atol=1e-5)


def test_weights_are_arranged_once_for_many_chunks(model, monkeypatch):
    core = copy.deepcopy(model.model).eval()
    engine, calls = FusedEngine(), []
    z = torch.randn(4, 3)
    with torch.no_grad(), answering(Arithmetic(torch.float32, engine)):
        core.decode(z)
        for _, plan in engine._plans.values():
            for layer in plan.parts[0].layers:
                if hasattr(layer, "weight"):
                    layer.weight.arrange = lambda weight: calls.append(weight)
        for _ in range(3):
            core.decode(z)
    assert calls == []


# --- what is left behind ----------------------------------------------------------------------------------------------


def used(model) -> None:
    """Does with a model what people do with it."""
    codes = model.encode(X)
    model.decode(codes)
    model.score(X, kind="elbo")
    model.sample(3, seed=0)
    model.loss_terms(X)
    model.fit_prior("gaussian", X)
    with torch.no_grad():
        model.model.encode(model.model.prepare(torch.from_numpy(X)))


@pytest.mark.parametrize("engine", ["torch", "fused"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_model_pickles_whatever_was_done_with_it(model, engine, precision):
    made = diabolo.Autoencoder(copy.deepcopy(model.model), engine=engine, precision=precision)
    used(made)
    again = pickle.loads(pickle.dumps(made))
    assert np.array_equal(again.encode(X), made.encode(X))
    buffer = io.BytesIO()
    torch.save(made.model, buffer)
    buffer.seek(0)
    core = torch.load(buffer, weights_only=False)
    assert np.array_equal(diabolo.Autoencoder(core, engine=engine, precision=precision).encode(X), made.encode(X))
    assert copy.deepcopy(made).encode(X).shape == (60, 3)


def test_a_model_pickles_in_the_midst_of_training():
    sizes = []

    class Pickling(diabolo.training.Callback):
        def epoch(self, training, line):
            sizes.append(len(pickle.dumps(training.model)))

    diabolo.train(X, latent_dim=2, epochs=1, engine="fused", callbacks=[Pickling()])
    assert sizes[0] > 1000


def encoded(model):
    return model.encode(X)


@pytest.mark.slow
def test_a_forked_pool_gets_the_model_and_answers():
    """In a process of its own: one whose threads have been at work is the hard case for a fork."""
    code = (
        "import multiprocessing, sys, numpy as np, torch, diabolo\n"
        "sys.path.insert(0, 'tests')\n"
        "from test_engine import X, encoded\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(2)\n"
        "    model = diabolo.train(X, latent_dim=2, epochs=1, widths=(600, 600), engine='fused')\n"
        "    model.encode(X)\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        codes = pool.map_async(encoded, [model] * 3).get(500)\n"
        "    assert all(np.allclose(one, model.encode(X), atol=1e-5) for one in codes)\n"
        "    print('answered')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout.strip() == "answered", done.stderr
