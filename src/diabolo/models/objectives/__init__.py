"""The variants, one file each. This package imports every file in it, so that a new variant is one new file."""

from __future__ import annotations

import importlib
import pkgutil

from diabolo.config import Registry
from diabolo.models.objectives._base import Net, Objective
from diabolo.models.objectives._labels import checked_labels, labels_of
from diabolo.models.objectives._parts import Batch, Group, Loss, Meter, Reduction, Remark, Space, frozen, ramp
from diabolo.models.objectives._variational import Variational

__all__ = [
    "Batch",
    "Group",
    "Loss",
    "Meter",
    "Net",
    "Objective",
    "Reduction",
    "Remark",
    "Space",
    "Variational",
    "checked_labels",
    "frozen",
    "labels_of",
    "objectives",
    "ramp",
]

objectives: Registry[Objective] = Registry("model", Objective, "diabolo.models")
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _file = importlib.import_module(f"{__name__}.{_module.name}")
        for _item in vars(_file).values():
            if isinstance(_item, type) and issubclass(_item, Objective) and _item.__module__ == _file.__name__:
                objectives.register(_module.name.replace("_", "-"), _item)
