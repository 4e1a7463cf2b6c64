"""The folder of a trained model: tensors in safetensors, the rest in JSON, each file whole or not there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diabolo.errors import RunError
from diabolo.latent.artifacts import LatentArtifacts, artifacts_in, name_of
from diabolo.models.model import Model, OwnParts, rebuild_model
from diabolo.models.rebuilding import ALLOWANCE, Allocating
from diabolo.storage import checkpoint
from diabolo.storage.checkpoint import CHECKPOINT, WEIGHTS, digest_of, weights_of
from diabolo.storage.files import read_json, unwritable, write_json
from diabolo.storage.foreign import check_form, reading
from diabolo.storage.generation import FolderLock, file_of, generation
from diabolo.storage.history import HISTORY, read_history, write_history

__all__ = [
    "CONFIG",
    "EXAMPLES",
    "FORMAT",
    "REPORT",
    "Saved",
    "read_config",
    "read_model",
    "remove_artifact",
    "weights_in",
    "write_artifact",
    "write_config",
    "write_examples",
    "write_model",
]

log = logging.getLogger("diabolo")

CONFIG = "config.json"
EXAMPLES = "examples.safetensors"
REPORT = "report.html"
FORMAT = 1  # of a run's folder; raised when an older diabolo could not read it
_PART = {"name": (str, None), "options": dict}
# What a run says of itself beside its model: all of it or, where a model was saved that no run trained, nothing.
_OF_A_RUN = {
    "versions": {"diabolo": str} | {str: str},
    "run_config": {
        "source": (str, None), "data": dict, "settings": dict, "scaling": str, "pictures": [str],
        "recipe": ([(str, None)], None),
    },
    "data": {
        "name": str, "fingerprint": str, "examples": {"train": int, "validation": int, "test": int},
        "classes~": [str], "features~": [str], "notes~": [str], "binarize~": str,
        "white?": (int, None), "examples_fingerprint?": str,
        "codes?": [{"name": str, "kind": str, "fill": float, "names": [str]}],
        "decimal?": str,
    },
}  # fmt: skip
_FORM = {
    "format": int,
    "model": _PART,
    "network": _PART,
    "likelihood": _PART,
    "latent_dim": int,
    "space~": {"classes": [str], "examples": int},
    "preprocess": {
        "event_shape": [int], "layout": str, "scale": str, "display~": [float], "binarize~": bool, "exact?": bool,
    },
    "parameters?": int,
    "reasons?": {str: str},
    "imported?": str,
    "weights?": str,
    "notes?": [str],
    "result?": {
        "epochs": int, "kept_epoch": int, "seconds": float, "precision?": str, "engine?": str, "compiled?": bool,
        "test?": {"mse?": float} | {str: (float, [float], None)},
        "weights?": {str: float},
        "baseline?": {"components": int, "pca": float, "average": float, "bits?": float, "used?": float},
    },
}  # fmt: skip


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
    """Writes the examples that are shown with a model, (n, *event), where there are some."""
    if examples is not None:
        checkpoint.save_tensors(folder / EXAMPLES, {"x": torch.from_numpy(np.array(examples))}, {})


def write_model(
    folder: Path,
    model: Model,
    info: Mapping[str, Any],
    examples: np.ndarray | None,
    history: Sequence[dict[str, Any]],
    artifacts: LatentArtifacts,
) -> None:
    """Writes a model's folder: all of it takes the place of what was there at one moment.

    Where that were other weights, their checkpoint and their report go with them.

    Raises:
        RunError: another process is writing there.
        StorageError: a file could not be written; what was there before is untouched.
    """
    tensors = model.state_dict()
    weights = digest_of(tensors)
    with FolderLock(folder):
        old = {EXAMPLES, *artifacts_in(folder)} | ({CHECKPOINT, REPORT} if weights_in(folder) != weights else set())
        with generation(folder, old) as files:
            checkpoint.save_tensors(files / WEIGHTS, tensors, {}, weights)
            write_examples(files, examples)
            write_history(files / HISTORY, history)
            artifacts.save(files, weights)
            write_config(files, model, info)


def write_artifact(folder: Path, model: Model, part: Any) -> Path:
    """Writes an object that was fitted to the codes of a model into the folder of its run; returns the file's path.

    Raises:
        RunError: the run has other weights by now, or another process is writing there.
        StorageError: the file could not be written.
    """
    weights = digest_of(model.state_dict())
    with FolderLock(folder):
        if weights_in(folder) not in ("", weights):
            raise RunError(
                f"{folder} has other weights now than those that were loaded, and what was fitted to their codes was "
                "not kept. Do it again."
            )
        path = folder / name_of(part)
        part.save(path, weights)
    return path


def remove_artifact(folder: Path, name: str) -> bool:
    """Removes the file of an object, also of a damaged one; whether it was there.

    Raises:
        RunError: another process is writing there.
        StorageError: it could not be removed.
    """
    with FolderLock(folder):
        path = folder / name
        existed = path.exists()
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(path, error, what="removed") from error
    return existed


def weights_in(folder: Path) -> str:
    """The digest of the weights in the folder of a run; empty where there are none."""
    path = file_of(folder, WEIGHTS)
    if not path.exists():
        return ""
    return weights_of(path) or digest_of(checkpoint.load_tensors(path)[0])


def read_model(folder: Path, own: OwnParts) -> Saved:
    """Reads a model's folder, all of it as of one moment.

    Args:
        folder: what `write_model` or a training run wrote.
        own: the parts that its author made.

    Raises:
        RunError: the folder is not a run, is truncated, was edited, or is of a newer version.
    """
    while True:
        config = read_config(folder)
        try:
            saved = _read_parts(folder, config, own)
        except RunError:
            if read_config(folder) == config:
                raise
        else:
            if read_config(folder) == config:  # else another model was saved there meanwhile
                return saved


def _read_parts(folder: Path, config: dict[str, Any], own: OwnParts) -> Saved:
    path = file_of(folder, WEIGHTS)
    tensors = checkpoint.load_tensors(path)[0]
    with Allocating(ALLOWANCE + 8 * sum(tensor.numel() for tensor in tensors.values())):
        model = rebuild_model(config, own)
    checkpoint.load_weights(model, tensors, path)
    path = file_of(folder, EXAMPLES)
    examples = _read_examples(path, model) if path.exists() else None
    artifacts = LatentArtifacts.load(folder, weights_in(folder))
    return Saved(model, config, examples, read_history(file_of(folder, HISTORY)), artifacts)


def _read_examples(path: Path, model: Model) -> np.ndarray:
    with reading(path):
        examples: np.ndarray = checkpoint.load_tensors(path)[0]["x"].numpy()
        model.preprocess.check(examples, noisy=True)
    return examples


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json of a run says, without the result of other weights than the run has now.

    Raises:
        RunError: the folder is not a run, or one of a newer version.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder. A run is the folder that training or save wrote.")
    path = file_of(folder, CONFIG)
    config = _upgraded(read_json(path))
    version = config.get("format")
    if not isinstance(version, int):
        raise RunError(f"{path} does not say which format it has: it was edited, or is no run of diabolo's.")
    if version > FORMAT:
        raise RunError(
            f"{folder} was written in format {version}, by a newer diabolo; this one reads up to format {FORMAT}. "
            "Upgrade it: pip install --upgrade diabolo"
        )
    is_of_a_run = any(name in config for name in ("versions", "run_config"))
    with reading(path):
        for absent in check_form(config, _FORM | (_OF_A_RUN if is_of_a_run else {}), "it"):
            log.warning("%s: %s, which a run of this version says. It was edited, or is older.", path, absent)
    is_there = file_of(folder, WEIGHTS).exists()
    if "result" in config and is_there and config.get("weights", "") not in ("", weights_in(folder)):
        del config["result"], config["weights"]  # training went on, and has not come to its end
    return config


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that was written before names were settled, in today's names."""
    if "plan" in config and "run_config" not in config:
        config["run_config"] = config.pop("plan")
        settings = config["run_config"].get("settings") if isinstance(config["run_config"], dict) else None
        if isinstance(settings, dict) and "averaging" in settings:
            settings["beta2"] = settings.pop("averaging")
    return config
