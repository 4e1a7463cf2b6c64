"""From names and options to one checked run config: what `train`, the command line and a saved run all go through."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from diabolo.datasets import open_dataset
from diabolo.models.distributions import likelihoods
from diabolo.errors import ConfigError, RunError, unknown_name
from diabolo.models.networks import networks
from diabolo.models.objectives import objectives
from diabolo.runs.recipes import find_recipe
from diabolo.config import Parameter, Registry, coerce, parameters
from diabolo.training import Settings

__all__ = ["DATA_OPTIONS", "RunConfig", "make_run_config", "options_of"]

REGISTRIES: dict[str, Registry[Any]] = {"model": objectives, "network": networks, "likelihood": likelihoods}
DATA_OPTIONS = tuple(name for name in inspect.signature(open_dataset).parameters if name not in ("source", "progress"))


@dataclass(frozen=True)
class RunConfig:
    """A run before it is run.

    Attributes:
        source: what `open_dataset` opens.
        parts: the variant, the network and the likelihood, by name or made; `likelihood` may be `auto`.
        latent_dim: the dimensions of the code; None leaves it to the parts.
        options: kind of part -> its settings.
        data: settings of `open_dataset`.
        settings: how to train.
        scaling: how values are scaled: auto, bytes, unit, none, standard or range.
        pictures: which pictures to draw while training.
        recipe: the recipe it follows, and its preset.
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

    @property
    def source_name(self) -> str | None:
        """The source where it can be written down and opened again, else None."""
        return str(self.source) if isinstance(self.source, str) or hasattr(self.source, "__fspath__") else None

    def config(self) -> dict[str, Any]:
        """As a JSON object, to be followed again by `RunConfig.of`."""
        return {
            "source": self.source_name,
            "data": {name: _written(value) for name, value in self.data.items() if _is_plain(value)},
            "settings": self.settings.config(),
            "scaling": self.scaling,
            "pictures": list(self.pictures),
            "recipe": list(self.recipe) if self.recipe else None,
        }

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RunConfig:
        """The run config of a saved run (its parts are rebuilt from the rest of the run's configuration).

        Raises:
            RunError: it was edited.
        """
        try:
            run_config = config["run_config"]
            recipe = run_config["recipe"]
            known = {item.name for item in fields(Settings)}
            return cls(
                run_config["source"],
                {},
                config["latent_dim"],
                {},
                {name: tuple(value) if isinstance(value, list) else value for name, value in run_config["data"].items()},
                Settings(**{name: value for name, value in run_config["settings"].items() if name in known}),
                run_config["scaling"],
                tuple(run_config["pictures"]),
                (recipe[0], recipe[1]) if recipe else None,
            )
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise RunError(
                f"The run_config in config.json cannot be followed: {error!r}. It was edited; restore it."
            ) from error

    def with_settings(self, **changes: Any) -> RunConfig:
        """The same run config, some settings changed."""
        return replace(self, settings=replace(self.settings, **changes))


def make_run_config(source: Any = None, *, recipe: str | None = None, preset: str | None = None, **given: Any) -> RunConfig:
    """Puts a run config together: what is given wins over the preset, the preset over the recipe, the recipe over defaults.

    Args:
        source: what `open_dataset` opens; the recipe's, or the embedded digits, when left out.
        recipe: a recipe's name.
        preset: one of its presets.
        given: `model`, `network`, `likelihood`, `latent_dim`, `scaling`, `pictures`, and any setting of those parts, of
            `Settings` or of `open_dataset`, by name; None stands for "not given".

    Raises:
        ConfigError: an unknown name, an option that fits none of the parts, a value of the wrong type.
    """
    if preset is not None and recipe is None:
        raise ConfigError(f"A preset ({preset!r}) belongs to a recipe: name one.")
    given = {name: value for name, value in given.items() if value is not None}
    base = find_recipe(recipe).with_preset(preset) if recipe else {}
    chosen = {**base, **given}
    default_source = chosen.pop("source", "digits")
    parts = {
        "model": chosen.pop("model", "autoencoder"),
        "network": chosen.pop("network", "mlp"),
        "likelihood": chosen.pop("likelihood", "auto"),
    }
    latent_dim = chosen.pop("latent_dim", None)
    scaling, pictures = chosen.pop("scaling", "auto"), chosen.pop("pictures", ())
    routed = _route(chosen, parts, given)
    return RunConfig(
        default_source if source is None else source,
        parts,
        None if latent_dim is None else coerce(Parameter("latent_dim", int, None, ""), latent_dim),
        {kind: routed[kind] for kind in REGISTRIES},
        routed["data"],
        Settings(**routed["settings"]),
        scaling,
        tuple(name for name in (pictures.split(",") if isinstance(pictures, str) else pictures) if name),
        (recipe, preset) if recipe else None,
    )


def options_of(kind: str, part: Any) -> dict[str, Parameter]:
    """The settings of a part that was named: name -> parameter. A part that is made already has none left to set."""
    if not isinstance(part, str):
        return {}
    if kind == "likelihood" and part == "auto":
        return {item.name: item for name in likelihoods for item in parameters(likelihoods[name])}
    return {item.name: item for item in parameters(REGISTRIES[kind][part])}


def _route(chosen: Mapping[str, Any], parts: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each option to whom it belongs; those of a recipe that fit no longer, since a part was replaced, are dropped."""
    settings = {item.name: item for item in parameters(Settings)}
    owners: dict[str, dict[str, Parameter]] = {kind: options_of(kind, part) for kind, part in parts.items()}
    routed: dict[str, dict[str, Any]] = {kind: {} for kind in (*owners, "settings", "data")}
    for name, value in chosen.items():
        owner = next((kind for kind, known in owners.items() if name in known), None)
        if owner == "likelihood" and parts["likelihood"] == "auto" and name not in given:
            continue  # a recipe's settings of a likelihood that was replaced by whichever fits the data
        if owner is not None:
            routed[owner][name] = coerce(owners[owner][name], value)
        elif name in settings:
            routed["settings"][name] = coerce(settings[name], value)
        elif name in DATA_OPTIONS:
            routed["data"][name] = value
        elif name in given:
            known = {*settings, *DATA_OPTIONS, *(option for kind in owners.values() for option in kind)}
            names = ", ".join(f"{kind} {part!r}" for kind, part in parts.items() if isinstance(part, str))
            raise unknown_name(f"option (for {names})", name, known)
    return routed


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | tuple) or hasattr(value, "__fspath__")


def _written(value: Any) -> Any:
    return str(value) if hasattr(value, "__fspath__") else value
