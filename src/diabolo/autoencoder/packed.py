"""A model free of any device: what is pickled of a trained one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from diabolo._imported import is_path
from diabolo.models.model import Model, rebuild_model

__all__ = ["packed", "unpacked"]


def packed(model: Model) -> dict[str, Any]:
    """A model as its configuration and arrays; where a part has no name of diabolo's or a package's, the module itself.

    Raises:
        ExportError: a part of the user's own cannot be pickled.

    >>> sorted(packed(model.model))
    ['config', 'weights']
    """
    config = model.config()
    names = [config[kind]["name"] for kind in ("model", "network", "likelihood")]
    if all(names) and not any(map(is_path, names)):  # an import path would have to be trusted there
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
