"""The folder of a trained model: tensors in safetensors, the rest in JSON, each file whole or not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diabolo.errors import RunError
from diabolo.latent.artifacts import LatentArtifacts
from diabolo.models.model import Model, OwnParts, rebuild_model
from diabolo.storage import checkpoint
from diabolo.storage.checkpoint import WEIGHTS
from diabolo.storage.files import read_json, write_json
from diabolo.storage.history import HISTORY, read_history, write_history

__all__ = [
    "CONFIG",
    "EXAMPLES",
    "FORMAT",
    "Saved",
    "read_config",
    "read_model",
    "write_config",
    "write_examples",
    "write_model",
]

CONFIG = "config.json"
EXAMPLES = "examples.safetensors"
FORMAT = 1  # of a run's folder; raised when an older diabolo could not read it


@dataclass(frozen=True)
class Saved:
    """The contents of a model's folder.

    Attributes:
        model: the model, with its weights.
        config: config.json.
        examples: (n, *event), or None where no examples are kept.
        history: the lines of its history.
        artifacts: what was fitted to its latent codes.
    """

    model: Model
    config: dict[str, Any]
    examples: np.ndarray | None
    history: Sequence[dict[str, Any]]
    artifacts: LatentArtifacts


def write_config(folder: Path, model: Model, info: Mapping[str, Any]) -> None:
    """Writes config.json: the model's own configuration, and what `info` says of its data, settings and versions."""
    write_json(folder / CONFIG, {"format": FORMAT, **info, **model.config()})


def write_examples(folder: Path, examples: np.ndarray | None) -> None:
    """Writes the examples that are shown with a model, (n, *event); removes the file where there are none."""
    if examples is None:
        (folder / EXAMPLES).unlink(missing_ok=True)
    else:
        checkpoint.save_tensors(folder / EXAMPLES, {"x": torch.from_numpy(np.array(examples))}, {})


def write_model(
    folder: Path,
    model: Model,
    info: Mapping[str, Any],
    examples: np.ndarray | None,
    history: Sequence[dict[str, Any]],
    artifacts: LatentArtifacts,
) -> None:
    """Writes a model's folder.

    Raises:
        StorageError: a file could not be written; what was there before is untouched.
    """
    checkpoint.save_tensors(folder / WEIGHTS, model.state_dict(), {})
    write_examples(folder, examples)
    write_history(folder / HISTORY, history)
    artifacts.save(folder)
    write_config(folder, model, info)


def read_model(folder: Path, own: OwnParts) -> Saved:
    """Reads a model's folder.

    Args:
        folder: what `write_model` or a training run wrote.
        own: the parts that its author made.

    Raises:
        RunError: the folder is not a run, is truncated, was edited, or is of a newer version.
    """
    config = read_config(folder)
    model = rebuild_model(config, own)
    checkpoint.load_weights(model, checkpoint.load_tensors(folder / WEIGHTS)[0], folder / WEIGHTS)
    examples = checkpoint.load_tensors(folder / EXAMPLES)[0]["x"].numpy() if (folder / EXAMPLES).exists() else None
    return Saved(model, config, examples, read_history(folder / HISTORY), LatentArtifacts.load(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json of a run says.

    Raises:
        RunError: the folder is not a run, or one of a newer version.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder. A run is the folder that training or save wrote.")
    config = _upgraded(read_json(folder / CONFIG))
    version = config.get("format")
    if not isinstance(version, int):
        raise RunError(f"{folder / CONFIG} does not say which format it has: it was edited, or is no run of diabolo's.")
    if version > FORMAT:
        raise RunError(
            f"{folder} was written in format {version}, by a newer diabolo; this one reads up to format {FORMAT}. "
            "Upgrade it: pip install --upgrade diabolo"
        )
    return config


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that was written before names were settled, in today's names."""
    if "plan" in config and "run_config" not in config:
        config["run_config"] = config.pop("plan")
        settings = config["run_config"].get("settings") if isinstance(config["run_config"], dict) else None
        if isinstance(settings, dict) and "averaging" in settings:
            settings["beta2"] = settings.pop("averaging")
    return config
