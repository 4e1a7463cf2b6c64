"""What a training keeps in memory for each weight, told before anything is spent."""

from __future__ import annotations

import torch

from diabolo.config import readable_bytes
from diabolo.devices import free_memory
from diabolo.errors import ConfigError
from diabolo.models.model import Model
from diabolo.training.settings import Settings

__all__ = ["bytes_of_training", "require_memory"]

AVERAGES = {"adam": 2, "adamw": 2, "adamax": 2, "rmsprop": 2, "sgd": 1}  # that an optimizer keeps of a weight at most


def bytes_of_training(model: Model, settings: Settings) -> int:
    """The bytes of the weights, their gradients, the optimizer's memory, the running average, and the best weights.

    What a batch takes comes on top; where that is too much, the batch is computed in parts.

    >>> from diabolo.models import Preprocess, build_model
    >>> model = build_model(Preprocess(event_shape=(4,), layout="F", scale="none"), latent_dim=2, network="linear")
    >>> model.parameter_count, bytes_of_training(model, Settings())
    (23, 552)
    """
    has_choice = settings.keep == "best" and settings.validation > 0
    copies = 2 + AVERAGES[settings.optimizer] + (settings.ema > 0) + has_choice
    return copies * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def require_memory(model: Model, settings: Settings, device: torch.device) -> None:
    """Raises ConfigError where this machine's memory cannot hold the training; a GPU says so itself."""
    needed, free = bytes_of_training(model, settings), free_memory()
    if device.type == "cpu" and needed > free:
        raise ConfigError(
            f"Training {model.parameter_count:,} parameters takes {readable_bytes(needed)} of memory (weights, "
            f"gradients, the optimizer's averages, the weights that are kept), and {readable_bytes(free)} are free. "
            "Take a smaller network (for pictures --network resnet, or --widths 64,32), or smaller pictures (--size)."
        )
