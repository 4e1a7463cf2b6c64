"""Callbacks during training: the progress bar, pictures, and loggers by name such as TensorBoard."""

from __future__ import annotations

from diabolo.callbacks._registry import loggers, make_loggers
from diabolo.callbacks.pictures import PICTURES, picture_callbacks
from diabolo.callbacks.progress import ProgressBar
from diabolo.callbacks.tensorboard import TensorBoard

__all__ = [
    "PICTURES",
    "ProgressBar",
    "TensorBoard",
    "loggers",
    "make_loggers",
    "picture_callbacks",
]
