"""The contents of a run beside its model: entries of config.json, examples, indices for statistics, a fingerprint."""

from __future__ import annotations

import hashlib
import json
import platform
from typing import Any

import numpy as np
import torch

from diabolo._version import __version__
from diabolo.datasets import Dataset, Split, as_store
from diabolo.models.model import Model
from diabolo.runs.config import RunConfig

__all__ = ["examples_of", "model_fingerprint", "run_info", "spread_indices"]

READS = 64  # contiguous reads that fetch examples for statistics where they lie on the disk
KEPT_EXAMPLES = 100  # of the test split, saved in the run's folder to show what the model does


def run_info(run_config: RunConfig, dataset: Dataset, split: Split, model: Model) -> dict[str, Any]:
    """The entries of config.json beside the model's."""
    return {
        "versions": {
            "diabolo": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "run_config": run_config.config(),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "examples_fingerprint": dataset.examples_fingerprint,
            "examples": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
            "classes": list(dataset.classes),
            "features": list(dataset.features),
            "notes": list(dataset.notes),
            "binarize": dataset.binarize,
            "white": dataset.white,
            **({"codes": [code.config() for code in dataset.codes]} if dataset.codes else {}),
            **({"decimal": dataset.decimal} if dataset.decimal else {}),
        },
        "parameters": model.parameter_count,
    }


def examples_of(dataset: Dataset, split: Split) -> np.ndarray:
    """The first examples that are not trained on, (n, *event): at most 100, or a million values.

    Args:
        dataset: of the run.
        split: of the data; the validation or the training part stands in for an empty test part.
    """
    indices = next(part for part in (split.test, split.validation, split.train) if len(part))
    most = max(1, min(KEPT_EXAMPLES, 1_000_000 // int(np.prod(dataset.event_shape))))
    return np.ascontiguousarray(dataset.x[indices[:most]])


def spread_indices(x: np.ndarray, indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the indices, evenly spread.

    Of examples on the disk, whole blocks are taken: 10,000 single reads would cost minutes on a slow disk.
    """
    if len(indices) <= most:
        return indices
    if as_store(x) is None:
        return indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]
    length = max(1, most // READS)
    starts = np.unique(np.linspace(0, len(indices) - length, READS).astype(np.int64) // length * length)
    blocks: np.ndarray = indices[(starts[:, None] + np.arange(length)).ravel()]
    return blocks


def model_fingerprint(model: Model) -> str:
    """`blake2b:<hex>` over the configuration and the weights of a model.

    Args:
        model: the network, its objective and its likelihood.
    """
    digest = hashlib.blake2b(json.dumps(model.config(), sort_keys=True, default=str).encode(), digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return f"blake2b:{digest.hexdigest()}"
