"""The constructor's signature is the configuration: read from docstrings, turned into types, checked, unambiguous."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import re
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diabolo.config import Parameter, Registry, build, coerce, configuration, parameters, require, summary
from diabolo.datasets import open_dataset
from diabolo.errors import ConfigError, DiaboloError
from diabolo.models.distributions import Gaussian, Laplace, likelihoods
from diabolo.models.networks import MLP, Conv, Linear, ResNet, networks
from diabolo.models.objectives import objectives
from diabolo.models.objectives.denoising import Denoising
from diabolo.models.objectives.sparse import Sparse
from diabolo.models.objectives.vae import VAE
from diabolo.training import Settings

REGISTRIES: dict[str, Registry[Any]] = {"model": objectives, "network": networks, "likelihood": likelihoods}
CLASSES = [pytest.param(kind[name], id=name) for kind in REGISTRIES.values() for name in kind]


class Lamp:
    """Gives light. It has a switch.

    Args:
        watts: how much it draws,
            over two lines.
        colour: of its light.
        sockets: their sizes.

    Raises:
        nothing: that is documented here.
    """

    def __init__(
        self,
        *,
        watts: float = 40,
        colour: Literal["warm", "cold"] = "warm",
        sockets: tuple[int, ...] = (14, 27),
        dimmer: int | None = None,
    ) -> None:
        self.watts = watts
        self.colour = colour
        self.sockets = sockets
        self.dimmer = dimmer


def parameter(annotation: Any, name: str = "watts") -> Parameter:
    return Parameter(name, annotation, None, "")


def test_parameters_are_read_from_signature_and_docstring() -> None:
    found = {item.name: item for item in parameters(Lamp)}
    assert list(found) == ["watts", "colour", "sockets", "dimmer"]
    assert found["watts"].doc == "how much it draws, over two lines."
    assert found["colour"].doc == "of its light."
    assert found["dimmer"].doc == ""
    assert (found["watts"].annotation, found["watts"].default) == (float, 40)
    assert [item.type_name for item in found.values()] == ["float", "warm | cold", "int,...", "int | none"]
    assert summary(Lamp) == "Gives light. It has a switch"


def test_a_class_without_a_constructor_has_no_settings() -> None:
    assert parameters(objectives["autoencoder"]) == ()
    assert [item.name for item in parameters(networks["linear"])] == ["bias", "start"], "which has one"


def test_parameters_of_a_function_are_its_keyword_only_arguments() -> None:
    names = [item.name for item in parameters(open_dataset)]
    assert "source" not in names
    assert {"layout", "size", "strict"} <= set(names)
    assert all(item.doc for item in parameters(open_dataset))


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "12", 12),
        (int, 12.0, 12),
        (int, np.int64(12), 12),
        (float, "1e-3", 1e-3),
        (float, 2, 2.0),
        (float, np.float32(0.5), 0.5),
        (bool, "true", True),
        (bool, "No", False),
        (bool, "1", True),
        (bool, False, False),
        (str, "masking=0.1", "masking=0.1"),
        (Literal["adam", "sgd"], "sgd", "sgd"),
        (tuple[int, ...], "512,64", (512, 64)),
        (tuple[int, ...], "512, 64,", (512, 64)),
        (tuple[int, ...], "", ()),
        (tuple[int, ...], [512, 64], (512, 64)),
        (tuple[int, ...], 512, (512,)),
        (tuple[int, ...], (), ()),
        (int | None, "none", None),
        (int | None, None, None),
        (int | None, "3", 3),
        (tuple[int, ...] | None, "none", None),
        (tuple[int, ...] | None, "2,1", (2, 1)),
        (float | Literal["learned"], "learned", "learned"),
        (float | Literal["learned"], "0.5", 0.5),
        (float | Literal["learned"], 1, 1.0),
        (Any, {"a": 1}, {"a": 1}),
    ],
)
def test_values_become_what_the_signature_asks_for(annotation: Any, value: Any, expected: Any) -> None:
    got = coerce(parameter(annotation), value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "12.5"),
        (int, 12.5),
        (int, np.float32(12.5)),
        (int, True),
        (int, None),
        (int, float("inf")),
        (int, "many"),
        (float, "much"),
        (float, True),
        (float, [1.0]),
        (bool, "perhaps"),
        (bool, 1),
        (str, 5),
        (Literal["adam", "sgd"], "adamw"),
        (Literal["adam", "sgd"], ["adam"]),
        (tuple[int, ...], "512,many"),
        (tuple[int, ...], 5.5),
        (tuple[int, ...], [1.5]),
        (int | None, "nothing"),
        (float | Literal["learned"], "decoded"),
        (float | Literal["learned"], None),
    ],
)
def test_values_of_a_wrong_type_are_refused_by_name(annotation: Any, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        coerce(parameter(annotation, "lumen"), value)
    assert "lumen should be " + parameter(annotation).type_name in str(caught.value)
    assert repr(value) in str(caught.value)


@given(st.lists(st.integers(-1000, 1000)))
def test_numbers_survive_the_command_line_and_json(values: list[int]) -> None:
    wanted = parameter(tuple[int, ...])
    assert coerce(wanted, ",".join(map(str, values))) == tuple(values)
    assert coerce(wanted, json.loads(json.dumps(values))) == tuple(values)


def test_build_names_the_nearest_option_and_the_rest() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Lamp, {"color": "warm"}, "the lamp")
    message = str(caught.value)
    assert "no option of the lamp named 'color'" in message
    assert "Did you mean 'colour'?" in message
    assert "Known: colour, dimmer, sockets, watts" in message
    lamp = build(Lamp, {"sockets": "9,14", "watts": "8"}, "the lamp")
    assert (lamp.sockets, lamp.watts, lamp.colour) == ((9, 14), 8.0, "warm")


def test_require_says_name_expectation_and_value() -> None:
    require(True, "lr", "above 0", 1)
    with pytest.raises(ConfigError, match=r"^lr should be above 0, and was given -1\.$") as caught:
        require(False, "lr", "above 0", -1)
    assert isinstance(caught.value, DiaboloError)
    assert isinstance(caught.value, ValueError)


def test_a_registry_finds_by_name_and_by_instance() -> None:
    lamps: Registry[Any] = Registry("lamp")
    lamps.register("desk", Lamp)
    lamps.register("desk", Lamp)  # once more the same: a module that is imported twice
    assert list(lamps) == ["desk"]
    assert "desk" in lamps
    assert "dusk" not in lamps
    assert lamps["desk"] is Lamp
    assert lamps.name_of(lamps.create("desk", {"watts": 1})) == "desk"
    assert lamps.name_of("no lamp") is None
    with pytest.raises(ConfigError, match="a lamp named 'desk' already"):
        lamps.register("desk", Registry)
    with pytest.raises(ConfigError, match=r"no lamp named 'dusk'\. Did you mean 'desk'"):
        lamps.create("dusk")


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("model", "vea", "vae"), ("network", "cnv", "conv"), ("likelihood", "gausian", "gaussian")],
)
def test_the_nearest_name_of_a_part(kind: str, name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"There is no {kind} named '{name}'. Did you mean '{near}'") as caught:
        REGISTRIES[kind].create(name)
    assert all(known in str(caught.value) for known in REGISTRIES[kind])


# --- what every registered class says of itself -----------------------------------------------------------------------


@pytest.mark.parametrize("cls", [*CLASSES, pytest.param(Settings, id="Settings")])
def test_every_argument_is_documented_and_no_other(cls: type) -> None:
    own = [name for name in inspect.signature(cls).parameters if name not in ("args", "kwargs")]
    arguments = (inspect.getdoc(cls) or "").partition("Args:\n")[2].split("\n\n")[0]
    documented = re.findall(r"^ {4}(\w+): \S", arguments, re.MULTILINE)
    assert documented == own
    assert [item.name for item in parameters(cls)] == own, "every setting is keyword-only"
    assert all(item.doc and item.annotation is not Any for item in parameters(cls))
    assert summary(cls)


@pytest.mark.parametrize("cls", [*CLASSES, pytest.param(Settings, id="Settings")])
def test_every_default_has_the_type_that_is_asked_for(cls: type) -> None:
    for item in parameters(cls):
        assert item.default is not inspect.Parameter.empty, f"{item.name} has no default"
        assert coerce(item, item.default) == item.default
        written = json.loads(json.dumps(item.default))
        assert coerce(item, written) == item.default
        if item.default is not None and not isinstance(item.default, tuple):
            assert coerce(item, str(item.default)) == item.default


def test_an_option_belongs_to_one_kind_of_part() -> None:
    """`train(beta=4, widths=(64,), epochs=3)` finds by name whose each option is."""
    kinds = {
        kind: {item.name for name in registry for item in parameters(registry[name])}
        for kind, registry in REGISTRIES.items()
    }
    kinds["settings"] = {item.name for item in parameters(Settings)}
    kinds["data"] = {item.name for item in parameters(open_dataset)} - {"progress"}
    kinds["train"] = {
        *("source", "model", "network", "likelihood", "latent_dim", "recipe", "preset"),
        *("out", "callbacks", "scaling", "pictures"),
    }
    for (one, names), (other, others) in itertools.combinations(kinds.items(), 2):
        assert not names & others, f"{one} and {other} share {sorted(names & others)}"


@pytest.mark.parametrize(
    "made",
    [
        VAE(beta=4.0, warmup=2.5, free_bits=0.1, draws=3, noise_scale="variance"),
        Sparse(l1=0.5, k=3),
        Denoising(noise="masking=0.25"),
        MLP(widths=(7, 5), activation="tanh", code_activation="relu"),
        Conv(channels=(4,), strides=(3,), kernel=5, hidden=(), decoder_channels=(2,), decoder_strides=(3, 1)),
        Conv(channels=(4,), enlarge="transposed", start="random"),
        ResNet(channels=(4, 6), blocks=2, patch=4, activation="gelu", start="random"),
        Linear(start="random"),
        Gaussian(variance="learned", output="sigmoid"),
        Gaussian(variance="decoded", output="clip"),
        Laplace(scale=0.25),
        *(registry.create(name) for registry in REGISTRIES.values() for name in registry),
    ],
    ids=lambda made: type(made).__name__,
)
def test_a_configuration_goes_through_json_and_back(made: Any) -> None:
    written = json.loads(json.dumps(configuration(made)))
    again = build(type(made), written, "it")
    assert configuration(again) == configuration(made)
    for item in parameters(type(made)):
        assert getattr(again, item.name) == getattr(made, item.name)
        assert type(getattr(again, item.name)) is type(getattr(made, item.name))


@pytest.mark.parametrize(
    ("cls", "options", "name"),
    [
        (VAE, {"beta": -1.0}, "beta"),
        (VAE, {"warmup": -1.0}, "warmup"),
        (VAE, {"free_bits": -0.1}, "free_bits"),
        (VAE, {"draws": 0}, "draws"),
        (Sparse, {"l1": -1.0}, "l1"),
        (Sparse, {"k": -1}, "k"),
        (Denoising, {"noise": "masking"}, "noise"),
        (Denoising, {"noise": "masking=2"}, "noise"),
        (Denoising, {"noise": "masking=nan"}, "noise"),
        (Denoising, {"noise": "fog=0.1"}, "noise"),
        (Denoising, {"noise": "gaussian=-0.1"}, "noise"),
        (MLP, {"widths": (0,)}, "widths"),
        (Conv, {"channels": (4, 0)}, "channels"),
        (ResNet, {"channels": (0,)}, "channels"),
        (ResNet, {"blocks": 0}, "blocks"),
        (ResNet, {"patch": 3}, "patch"),
        (ResNet, {"patch": -2}, "patch"),
        (Conv, {"strides": (2,)}, "strides"),
        (Conv, {"strides": (0, 1)}, "strides"),
        (Conv, {"kernel": 4}, "kernel"),
        (Conv, {"decoder_channels": (3,)}, "decoder_strides"),
        (Conv, {"decoder_channels": (3,), "decoder_strides": (2,)}, "decoder_strides"),
        (Gaussian, {"variance": 0.0}, "variance"),
        (Laplace, {"scale": -1.0}, "scale"),
        (Conv, {"channels": (3, 3), "strides": (2, 1), "kernel": 4, "enlarge": "transposed"}, "strides"),
        (VAE, {"log_variance": (2.0, -6.0)}, "log_variance"),
        (VAE, {"log_variance": (1.0,)}, "log_variance"),
        (VAE, {"log_variance": (-math.inf, 2.0)}, "log_variance"),
        (Settings, {"epochs": -1}, "epochs"),
        (Settings, {"eps": 0.0}, "eps"),
        (Settings, {"eps": 1e-4, "optimizer": "sgd"}, "eps"),
        (Settings, {"schedule": "milestones", "milestones": ()}, "milestones"),
        (Settings, {"milestones": (3,)}, "milestones"),
        (Settings, {"schedule": "milestones", "milestones": (3, 2)}, "milestones"),
        (Settings, {"schedule": "milestones", "milestones": (0.5, 2)}, "milestones"),
        (Settings, {"schedule": "milestones", "milestones": (0.0, 0.5)}, "milestones"),
        (Settings, {"schedule": "plateau", "validation": 0.0}, "schedule"),
        (Settings, {"lr_decay": 0.0}, "lr_decay"),
        (Settings, {"lr_patience": 0}, "lr_patience"),
        (Settings, {"lr_warmup": -0.5}, "lr_warmup"),
        (Settings, {"batch_size": 0}, "batch_size"),
        (Settings, {"lr": 0.0}, "lr"),
        (Settings, {"ema": 1.0}, "ema"),
        (Settings, {"clip": 0.0}, "clip"),
        (Settings, {"patience": 0}, "patience"),
        (Settings, {"validation": 1.0}, "validation"),
        (Settings, {"test": -0.1}, "test"),
        (Settings, {"checkpoint_seconds": -1.0}, "checkpoint_seconds"),
        (Settings, {"log_every": -1}, "log_every"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_a_setting_that_cannot_be_is_refused_by_its_constructor(cls: type, options: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} should be ") as caught:
        cls(**options)
    given_value = options.get("decoder_strides") if name == "decoder_strides" else options[name]
    assert repr(given_value) in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "options", "name"),
    [
        (VAE, {"noise_scale": "devation"}, "noise_scale"),
        (Settings, {"optimizer": "adm"}, "optimizer"),
        (Settings, {"schedule": "cosin"}, "schedule"),
        (Settings, {"keep": "bets"}, "keep"),
        (Settings, {"precision": "fp16"}, "precision"),
        (Gaussian, {"output": "sigmiod"}, "output"),
        (Laplace, {"output": "clipped"}, "output"),
        *((cls, {"start": "pcs"}, "start") for cls in (MLP, Linear, Conv, ResNet)),
        (Conv, {"enlarge": "transpose"}, "enlarge"),
        (Gaussian, {"variance": "learnt"}, "variance"),
        (MLP, {"activation": "rulu"}, "activation"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_a_misspelt_choice_is_refused_by_its_constructor(cls: type, options: dict[str, Any], name: str) -> None:
    """It would otherwise mean the last branch of some `if`, without a word: "devation" draws with the variance."""
    with pytest.raises(ConfigError, match=f"{name} should be ") as caught:
        cls(**options)
    assert repr(options[name]) in str(caught.value)
