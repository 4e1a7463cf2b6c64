"""diabolo: autoencoders for any data, as a library and a command line.

    import diabolo
    model = diabolo.train("mnist", model="vae", network="conv", latent_dim=2, epochs=10)
    codes = model.encode(images)

Nothing heavy is imported until it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo import _moved
from diabolo._lazy import lazy
from diabolo._version import __version__

if TYPE_CHECKING:
    from diabolo.autoencoder import Autoencoder, load
    from diabolo.datasets import Dataset, open_dataset
    from diabolo.errors import DiaboloError
    from diabolo.explorer import explore
    from diabolo.latent import ConceptVector
    from diabolo.metrics import compare, evaluate
    from diabolo.models import split
    from diabolo.runs import resume, train
    from diabolo.training import Settings

__all__ = [
    "Autoencoder",
    "ConceptVector",
    "Dataset",
    "DiaboloError",
    "Settings",
    "__version__",
    "compare",
    "evaluate",
    "explore",
    "load",
    "open_dataset",
    "resume",
    "split",
    "train",
]

if not TYPE_CHECKING:  # to a type checker, a name that is not above does not exist
    __getattr__ = lazy(
        __name__,
        {
            "diabolo.autoencoder": ["Autoencoder", "load"],
            "diabolo.datasets": ["Dataset", "open_dataset"],
            "diabolo.errors": ["DiaboloError"],
            "diabolo.explorer": ["explore"],
            "diabolo.latent": ["ConceptVector"],
            "diabolo.metrics": ["compare", "evaluate"],
            "diabolo.models": ["split"],
            "diabolo.runs": ["resume", "train"],
            "diabolo.training": ["Settings"],
        },
    )

_moved.install()


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
