"""A model free of any device: what is pickled of a trained one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from diabolo._imported import is_path
from diabolo.models.model import Model, rebuild_model
from diabolo.models.portable import structure_of

__all__ = ["packed", "unpacked"]


def packed(model: Model) -> dict[str, Any]:
    """A model as its configuration and arrays, or the module itself where these would not make it again.

    That is where a part has no name of diabolo's or a package's, or where modules were changed since they were built.

    Raises:
        ExportError: a part of the user's own cannot be pickled.

    >>> sorted(packed(model.model))
    ['config', 'weights']
    """
    config = model.config()
    names = [config[kind]["name"] for kind in ("model", "network", "likelihood")]
    is_named = all(names) and not any(map(is_path, names))  # an import path would have to be trusted there
    if is_named and model.structure == structure_of(model):
        weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
        return {"config": config, "weights": weights}
    on_processor = all(value.is_cpu for value in model.state_dict().values())
    return {"module": model if on_processor else copy.deepcopy(model).cpu()}


def unpacked(state: dict[str, Any]) -> Model:
    """The model of `packed`, on the processor."""
    if "module" in state:
        module: Model = state["module"]
        return module
    model = rebuild_model(state["config"])
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state["weights"].items()})
    return model
