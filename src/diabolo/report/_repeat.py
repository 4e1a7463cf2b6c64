"""The command, or the call in Python, that repeats a run: every setting of config.json that is not a default."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from diabolo.config import Parameter, as_typed, coerce, configuration, parameters
from diabolo.errors import DiaboloError
from diabolo.models.model import auto_likelihood
from diabolo.models.networks import networks
from diabolo.models.preprocess import Preprocess
from diabolo.runs.config import REGISTRIES
from diabolo.runs.recipes import RECIPES
from diabolo.training import Settings

__all__ = ["choices", "is_absolute", "left_to_the_data", "recipe_settings", "relative", "train_call", "train_command"]

# The defaults of `make_run_config`; the default likelihood depends on the scale of the data, see `choices`.
DEFAULTS = {"model": "autoencoder", "network": "mlp", "latent_dim": 16, "scaling": "auto", "pictures": ()}


def choices(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `diabolo.train` beside source and recipe that repeat a run: all that are not defaults.

    Args:
        config: the contents of config.json.
    """
    base = recipe_settings(config)
    defaults = {**DEFAULTS, **base}
    own: dict[str, Any] = left_to_the_data(config)
    if base.get("likelihood", "auto") == "auto":
        settings = {**config["preprocess"], "event_shape": tuple(config["preprocess"]["event_shape"])}
        defaults["likelihood"], options, _ = auto_likelihood(Preprocess(**settings))
        own |= options if config["likelihood"]["name"] == defaults["likelihood"] else {}
    run_config = config["run_config"]
    values: dict[str, Any] = {kind: config[kind]["name"] for kind in REGISTRIES}
    values |= {
        "latent_dim": config["latent_dim"],
        "scaling": run_config["scaling"],
        "pictures": tuple(run_config["pictures"]),
    }
    for parameter, value in _options(config):
        usual = own.get(parameter.name, parameter.default)
        defaults[parameter.name] = coerce(parameter, base.get(parameter.name, usual))
        values[parameter.name] = coerce(parameter, value)
    values |= {name: tuple(value) if isinstance(value, list) else value for name, value in _data(config)}
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}


def train_command(config: Mapping[str, Any], out: str) -> str | None:
    """The command line of a run; None where no command can: for an array, or for parts of the user's own.

    Args:
        config: the contents of config.json.
        out: the folder that the command names.
    """
    source = config["run_config"]["source"]
    if source is None or None in [config[kind]["name"] for kind in REGISTRIES]:
        return None
    words = ["diabolo", "train"]
    base = recipe_settings(config)
    if source != base.get("source"):
        words.append(relative(source))
    if base:
        recipe, preset = config["run_config"]["recipe"]
        words += ["--recipe", recipe, *([f"--{preset}"] if preset else [])]
    for name, value in choices(config).items():
        words += _words_of(name, value)
    return shlex.join([*words, "--out", out])


def train_call(config: Mapping[str, Any], out: str) -> str:
    """The call in Python, one argument to a line; `x` stands for an array, `my_...` for the user's own parts.

    Args:
        config: the contents of config.json.
        out: the folder that the call names.
    """
    source = config["run_config"]["source"]
    arguments = ["x" if source is None else repr(relative(source))]
    if recipe_settings(config):
        recipe, preset = config["run_config"]["recipe"]
        arguments += [f"recipe={recipe!r}", *([f"preset={preset!r}"] if preset else [])]
    for name, value in choices(config).items():
        own = name in REGISTRIES and value is None
        stands = "(encoder, decoder)" if name == "network" else f"my_{name}"
        arguments.append(f"{name}={stands if own else repr('none' if value is None else value)}")
    arguments.append(f"out={out!r}")
    return "diabolo.train(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def recipe_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the run's recipe and preset; empty without a recipe, or with one that this version lacks."""
    name, preset = config["run_config"]["recipe"] or ("", None)
    if name not in RECIPES or (preset and preset not in RECIPES[name].presets):
        return {}
    return RECIPES[name].with_preset(preset)


def is_absolute(path: Any) -> bool:
    """Whether a path depends on this machine."""
    text = str(path)
    return text.startswith("~") or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def relative(path: str) -> str:
    """A path as a page may name it: of an absolute one, the last part, so that a report tells nobody about a disk."""
    return (PureWindowsPath(path).name or "data") if is_absolute(path) else path


def _words_of(name: str, value: Any) -> list[str]:
    if name == "colour":
        return ["--colour" if value else "--grey"]
    if name == "strict":
        return ["--strict"]
    option, text = f"--{name.replace('_', '-')}", as_typed(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def left_to_the_data(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> value of the settings that the data choose by themselves, where nothing is given.

    Args:
        config: the contents of config.json.
    """
    sizes = _sizes(config)
    if "data" not in config:  # a configuration that nothing was opened for yet
        return sizes
    if "augment" in config.get("reasons", {}):
        sizes["augment"] = config["run_config"]["settings"]["augment"]
    count = config["data"]["examples"]["train"]
    given = {name: config["run_config"]["settings"].get(name) for name in ("epochs", "batch_size", "validation")}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    chosen = Settings(batch_size=settings.batch_size, validation=settings.validation).for_examples(count)
    if settings.epochs != chosen.epochs:  # they were given
        chosen = replace(settings.for_examples(count), epochs=0)
    return sizes | {name: getattr(chosen, name) for name in ("epochs", "patience", "schedule", "lr_warmup")}


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> value of the network's options that follow from the data's size and from its other options."""
    name, options = config["network"]["name"], dict(config["network"]["options"])
    if name is None:
        return {}
    settings = {**config["preprocess"], "event_shape": tuple(config["preprocess"]["event_shape"])}
    shape = Preprocess(**settings).model_shape
    chosen, left = dict(options), dict[str, Any]()
    for item in [*options, *options]:  # twice, since strides without channels are none
        fewer = {other: value for other, value in chosen.items() if other != item}
        with contextlib.suppress(DiaboloError):
            settled = configuration(networks.create(name, fewer).settled(shape))
            if settled == options:
                chosen, left = fewer, {**left, item: options[item]}
    return left


def _options(config: Mapping[str, Any]) -> Iterator[tuple[Parameter, Any]]:
    """(parameter, value) of every setting of the parts and of training."""
    for kind, registry in REGISTRIES.items():
        if config[kind]["name"] is not None:
            for parameter in parameters(registry[config[kind]["name"]]):
                yield parameter, config[kind]["options"][parameter.name]
    for parameter in parameters(Settings):
        yield parameter, config["run_config"]["settings"].get(parameter.name, parameter.default)


def _data(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of the settings of `open_dataset`, without absolute paths, which another machine does not have."""
    for name, value in config["run_config"]["data"].items():
        absent = value is None or (name in ("strict", "progress") and not value)
        if not absent and not (name == "data_dir" and is_absolute(value)):
            yield name, value
