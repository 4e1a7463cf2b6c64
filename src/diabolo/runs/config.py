"""The run config: one checked object from names and options, for `train`, the command line and a saved run alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diabolo._imported import is_path, path_of, trust
from diabolo.autoencoder.examples import DATA_OPTIONS
from diabolo.config import Parameter, Registry, coerce, parameters, require
from diabolo.errors import ConfigError, RunError, unknown_name
from diabolo.models.distributions import likelihoods
from diabolo.models.networks import networks
from diabolo.models.objectives import objectives
from diabolo.runs.recipes import find_recipe
from diabolo.storage.foreign import reason
from diabolo.training import Settings

if TYPE_CHECKING:
    from diabolo.autoencoder.model import Autoencoder

__all__ = ["DATA_OPTIONS", "RunConfig", "make_run_config", "options_of", "require_run", "run_config_of"]

log = logging.getLogger("diabolo")

# The arguments of `train` that belong to no part.
OF_TRAIN = (
    "callbacks", "latent_dim", "likelihood", "log", "model", "network", "out", "pictures", "preset", "recipe", "scaling"
)  # fmt: skip
REGISTRIES: dict[str, Registry[Any]] = {"model": objectives, "network": networks, "likelihood": likelihoods}
DEFAULT_PARTS = {"model": "autoencoder", "network": "mlp", "likelihood": "auto"}
COMPUTED = (
    "accumulate", "checkpoint_seconds", "compile", "device", "engine", "log_every", "precision", "seed", "sharding",
    "test", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run, before anything is opened or built.

    Attributes:
        source: the data, as `open_dataset` takes it.
        parts: the variant, the network and the likelihood, each a name or an instance; `likelihood` may be `auto`.
        latent_dim: the dimensions of the latent code; None leaves them to the parts.
        options: kind of part -> its settings.
        data: settings of `open_dataset`.
        settings: of training.
        scaling: how values are scaled: auto, bytes, unit, none, standard or range.
        pictures: the names of the pictures that are drawn during training.
        recipe: the name of the recipe, and of its preset.

    >>> run_config = make_run_config("digits", model="vae", beta=4, epochs=3)
    >>> run_config.parts["model"], run_config.options["model"], run_config.settings.epochs
    ('vae', {'beta': 4.0}, 3)
    """

    source: Any
    parts: Mapping[str, Any]
    latent_dim: int | None
    options: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, Any]
    settings: Settings
    scaling: str = "auto"
    pictures: tuple[str, ...] = ()
    recipe: tuple[str, str | None] | None = None
    differences: tuple[str, ...] = ()

    @property
    def source_name(self) -> str | None:
        """The source as text, where `open_dataset` can open that again; None for an array."""
        return str(self.source) if isinstance(self.source, str) or hasattr(self.source, "__fspath__") else None

    def config(self) -> dict[str, Any]:
        """A JSON object, which `RunConfig.of` reads."""
        return {
            "source": self.source_name,
            "data": {
                name: _json_value(value) for name, value in self.data.items() if _is_plain(value) or _has_path(value)
            },
            "settings": self.settings.config(),
            "scaling": self.scaling,
            "pictures": list(self.pictures),
            "recipe": list(self.recipe) if self.recipe else None,
        }

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RunConfig:
        """The run config of a saved run, without parts: the rest of its config.json rebuilds those.

        Args:
            config: the contents of config.json.

        Raises:
            RunError: an entry is missing or of the wrong type.
        """
        try:
            run_config = config["run_config"]
            recipe = run_config["recipe"]
            known = {item.name: item for item in parameters(Settings)}
            saved = {
                name: coerce(known[name], value) for name, value in run_config["settings"].items() if name in known
            }
            if absent := known.keys() - saved.keys():
                log.warning(
                    "config.json does not say all settings of training: %s taken, the default.",
                    ", ".join(f"{name}={known[name].default}" for name in sorted(absent)),
                )
            if recipe:
                find_recipe(recipe[0]).with_preset(recipe[1])
            return cls(
                run_config["source"],
                {},
                config["latent_dim"],
                {},
                {
                    **({"white": _white_of(config["data"])} if config.get("data") else {}),
                    **{
                        name: tuple(value) if isinstance(value, list) else value
                        for name, value in run_config["data"].items()
                    },
                },
                Settings(**saved),
                run_config["scaling"],
                tuple(run_config["pictures"]),
                (recipe[0], recipe[1]) if recipe else None,
            )
        except (KeyError, TypeError, AttributeError, IndexError, ConfigError) as error:
            what = str(error) if isinstance(error, ConfigError) else f"{reason(error)}."
            raise RunError(
                f"The run_config in config.json cannot be followed: {what} It was edited; restore it."
            ) from error

    def with_settings(self, **changes: Any) -> RunConfig:
        """A copy with other settings of training."""
        return replace(self, settings=replace(self.settings, **changes))


def make_run_config(
    source: Any = None, *, recipe: str | None = None, preset: str | None = None, **choices: Any
) -> RunConfig:
    """Builds a run config: choices win over the preset, the preset over the recipe, the recipe over defaults.

    Args:
        source: the data, as `open_dataset` takes it; the recipe's, or the embedded digits, when left out.
        recipe: the name of a recipe.
        preset: the name of one of its presets.
        choices: `model`, `network`, `likelihood`, `latent_dim`, `scaling`, `pictures`, and any setting of those parts,
            of `Settings` or of `open_dataset`, by name; None stands for the default.

    Raises:
        ConfigError: an unknown name, an option that fits none of the parts, a value of the wrong type, a recipe for
            data of one's own and no source.

    >>> make_run_config("digits", network="conv", latent_dim=2).latent_dim
    2
    """
    if preset is not None and recipe is None:
        raise ConfigError(f"A preset ({preset!r}) belongs to a recipe: name one.")
    choices = {name: value for name, value in choices.items() if value is not None}
    base = find_recipe(recipe).with_preset(preset) if recipe else {}
    source = base.get("source", None if recipe else "digits") if source is None else source
    if source is None:
        raise ConfigError(
            f"The recipe {recipe!r} is for data of your own, and no source is named: diabolo train FOLDER --recipe "
            f"{recipe}, or diabolo.train('FOLDER', recipe={recipe!r})."
        )
    is_folder = isinstance(source, str | os.PathLike) and os.path.isdir(source)  # noqa: PTH112 (a name may be too long)
    of_folders = () if is_folder else ("size", "colour")  # what a recipe says of a folder's images fits nothing else
    options = {**{name: value for name, value in base.items() if name not in of_folders}, **choices}
    options.pop("source", None)
    parts = {kind: options.pop(kind, default) for kind, default in DEFAULT_PARTS.items()}
    reader = options.get("reader")
    named = [*parts.values(), path_of(reader) if callable(reader) else reader]
    trust(part for part in named if is_path(part))  # whoever names code wants it run
    latent_dim = options.pop("latent_dim", None)
    scaling, pictures = options.pop("scaling", "auto"), options.pop("pictures", ())
    require(isinstance(pictures, Sequence), "pictures", "names of pictures", pictures)
    routed = _route(options, parts, choices)
    return RunConfig(
        source,
        parts,
        None if latent_dim is None else coerce(Parameter("latent_dim", int, None, ""), latent_dim),
        {kind: routed[kind] for kind in REGISTRIES},
        routed["data"],
        Settings(**routed["settings"]),
        scaling,
        tuple(name for name in (pictures.split(",") if isinstance(pictures, str) else pictures) if name),
        (recipe, preset) if recipe else None,
        _differences(recipe, preset, choices) if recipe else (),
    )


def require_run(config: Mapping[str, Any], path: Path) -> None:
    """Raises a RunError where a configuration is not that of a run: a model from elsewhere, or an edited file."""
    missing = [name for name in ("versions", "run_config", "data", "parameters") if name not in config]
    if "run_config" in missing and "data" in missing:
        raise RunError(
            f"{path} is that of a model that was not trained here: it has no data and no settings of its own, which "
            "reports, figures, evaluations, the explorer and resume want. encode, decode, reconstruct, sample, "
            "interpolate, neighbours and export work with it."
        )
    if missing:
        raise RunError(f"{path} lacks {', '.join(missing)}: it was edited; restore it.")


def run_config_of(model: Autoencoder) -> RunConfig:
    """The run config that a trained model comes from, as its folder keeps it.

    Args:
        model: the trained model.

    Raises:
        RunError: the model does not hold one, or it was edited.

    >>> import diabolo
    >>> model = diabolo.train("digits", latent_dim=2, widths=(8,), epochs=1, precision="float32")
    >>> run_config_of(model).source, run_config_of(model).settings.epochs
    ('digits', 1)
    """
    return RunConfig.of({**model.info, **model.model.config()})


def options_of(kind: str, part: Any) -> dict[str, Parameter]:
    """The settings of a part: name -> parameter; none where the part is an instance, whose constructor has run.

    Args:
        kind: model, network or likelihood.
        part: its name or class, or an instance.

    >>> options_of("network", "mlp")["widths"].type_name
    'int,...'
    """
    if isinstance(part, type):
        return {item.name: item for item in parameters(part)}
    if not isinstance(part, str):
        return {}
    if kind == "likelihood" and part == "auto":
        return {item.name: item for name in likelihoods for item in parameters(likelihoods[name])}
    return {item.name: item for item in parameters(REGISTRIES[kind][part])}


def outside_modules(config: Mapping[str, Any], *names: str | None) -> list[str]:
    """The modules that the parts of a run and its reader come from, where they are not diabolo's.

    Args:
        config: the contents of config.json.
        names: of parts that lie beside it, such as a fitted prior.

    >>> outside_modules({"model": {"name": "my_parts:MyVAE"}, "network": {"name": "mlp"}, "likelihood": {"name": None}})
    ['my_parts']
    """
    reader = config.get("run_config", {}).get("data", {}).get("reader")
    every = [*(config[kind]["name"] for kind in REGISTRIES), reader, *names]
    return sorted({name.partition(":")[0] for name in every if is_path(name)})


def trust_words(config: Mapping[str, Any], *names: str | None) -> str:
    """The words that a command on a run with parts from outside ends in; empty for any other."""
    modules = outside_modules(config, *names)
    return f" --trust {','.join(modules)}" if modules else ""


def _white_of(data: Mapping[str, Any]) -> int | str:
    """What stood for 1 when a run was trained; runs of earlier code took the full range."""
    return (data["white"] or "auto") if "white" in data else "full"


def _route(
    options: Mapping[str, Any], parts: Mapping[str, Any], choices: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Options by owner: the parts, training, the data.

    A choice may replace a part of a recipe; the recipe's options for the old part are dropped, not refused.
    """
    settings = {item.name: item for item in parameters(Settings)}
    owners: dict[str, dict[str, Parameter]] = {kind: options_of(kind, part) for kind, part in parts.items()}
    routed: dict[str, dict[str, Any]] = {kind: {} for kind in (*owners, "settings", "data")}
    for name, value in options.items():
        owner = next((kind for kind, known in owners.items() if name in known), None)
        if owner == "likelihood" and parts["likelihood"] == "auto" and name not in choices:
            continue  # the recipe's likelihood gave way to the one that fits the data, and its settings with it
        if owner is not None:
            routed[owner][name] = coerce(owners[owner][name], value)
        elif name in settings:
            routed["settings"][name] = coerce(settings[name], value)
        elif name in DATA_OPTIONS:
            routed["data"][name] = value
        elif name in choices:
            known = {*settings, *DATA_OPTIONS, *(option for kind in owners.values() for option in kind), *OF_TRAIN}
            names = ", ".join(f"{kind} {part!r}" for kind, part in parts.items() if isinstance(part, str))
            raise unknown_name(f"option (for {names})", name, known)
    return routed


def _differences(recipe: str, preset: str | None, choices: Mapping[str, Any]) -> tuple[str, ...]:
    """In what a preset and the choices differ from the recipe's text; how a run is computed is left out."""
    known, lines = find_recipe(recipe), []
    text, whose = known.with_preset(preset), "the recipe's text" if "source" in known.settings else "the recipe"
    if preset is not None:
        lines.append(f"The preset {preset!r} differs from the recipe's text: {known.reasons[preset]}.")
        whose = f"the preset {preset!r}"
    parts = {kind: text.get(kind, default) for kind, default in DEFAULT_PARTS.items()}
    owners = {item.name: item for item in parameters(Settings) if item.name not in COMPUTED}
    owners |= {name: Parameter(name, Any, part, "") for name, part in parts.items()}
    owners["latent_dim"] = Parameter("latent_dim", int, None, "")
    for kind, part in parts.items():
        if choices.get(kind, part) == part:  # the options of another part are no matter of the text either
            owners |= options_of(kind, part)
    for name, value in choices.items():
        if name in owners:
            chosen, meant = (coerce(owners[name], one) for one in (value, text.get(name, owners[name].default)))
            if chosen != meant:
                lines.append(f"{name}={_word(chosen)} differs from {whose} ({_word(meant)}).")
    return tuple(lines)


def _word(value: Any) -> str:
    """A setting as the command line writes it; an instance by the name of its class."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value) if _is_plain(value) else type(value).__name__


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | tuple) or hasattr(value, "__fspath__")


def _has_path(value: Any) -> bool:
    """Whether a setting is a function that another process could import."""
    return callable(value) and path_of(value) is not None


def _json_value(value: Any) -> Any:
    """A setting ready for JSON: a path as text, a function as its import path."""
    if hasattr(value, "__fspath__"):
        return str(value)
    return path_of(value) if callable(value) else value
