"""diabolo: autoencoders for any data, as a library and a command line.

    import diabolo
    model = diabolo.train("mnist", model="vae", network="conv", latent_dim=2, epochs=10)
    codes = model.encode(images)

Nothing heavy is imported until it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "Autoencoder",
    "ConceptVector",
    "Dataset",
    "DiaboloError",
    "Settings",
    "compare",
    "evaluate",
    "load",
    "open_dataset",
    "resume",
    "split",
    "train",
]

_HOMES = {
    "Autoencoder": "diabolo.autoencoder",
    "ConceptVector": "diabolo.concepts",
    "Dataset": "diabolo.datasets",
    "DiaboloError": "diabolo.errors",
    "Settings": "diabolo.training",
    "compare": "diabolo.comparison",
    "evaluate": "diabolo.comparison",
    "open_dataset": "diabolo.datasets",
    "resume": "diabolo.runs",
    "split": "diabolo.networks",
    "train": "diabolo.runs",
}


def __getattr__(name: str) -> Any:
    if name == "load":
        return importlib.import_module("diabolo.autoencoder").Autoencoder.load
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'diabolo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
