"""A recipe followed with other data or another model than its text's: what is said, and what is left out."""

from __future__ import annotations

import logging
from pathlib import Path

from diabolo.callbacks.pictures import picture_callbacks
from diabolo.errors import ConfigError
from diabolo.models.model import Model
from diabolo.runs.config import RunConfig
from diabolo.runs.recipes import find_recipe
from diabolo.training import Callback

__all__ = ["about_other_data", "pictures_of"]

log = logging.getLogger("diabolo")


def about_other_data(run_config: RunConfig, model: Model) -> list[str]:
    """What is said where a recipe is followed with examples of another size than its text's."""
    name, preset = run_config.recipe or (None, None)
    values = None if name is None else find_recipe(name).values
    received = model.preprocess.values
    if values is None or values == received:
        return []
    settings = find_recipe(str(name)).with_preset(preset)
    what = "its unit is" if settings.get("beta", 1.0) == 1.0 else f"its unit and beta={settings['beta']:g} are"
    return [f"The recipe {name} is for examples of {values} values, and these have {received}: {what} for the former."]


def pictures_of(run_config: RunConfig, folder: Path | None, model: Model, *, speaks: bool) -> list[Callback]:
    """The callbacks that draw a run's pictures; a recipe's that cannot be drawn is left out, which is said."""
    name, preset = run_config.recipe or (None, None)
    own = () if name is None else find_recipe(name).with_preset(preset).get("pictures", ())
    is_recipe_s = tuple(own) == run_config.pictures
    callbacks: list[Callback] = []
    for picture in run_config.pictures:
        try:
            callbacks += picture_callbacks([picture], folder, model)
        except ConfigError as error:
            if not is_recipe_s:
                raise
            if speaks:
                log.warning("The recipe's picture %r is left out. %s", picture, error)
    return callbacks
