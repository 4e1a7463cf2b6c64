"""Callbacks during training: the progress bar, pictures, and loggers by name such as TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.callbacks._registry import logger, logger_names, make_loggers
    from diabolo.callbacks.pictures import PICTURES, picture_callbacks
    from diabolo.callbacks.progress import ProgressBar
    from diabolo.callbacks.tensorboard import TensorBoard

__all__ = [
    "PICTURES",
    "ProgressBar",
    "TensorBoard",
    "logger",
    "logger_names",
    "make_loggers",
    "picture_callbacks",
]

if not TYPE_CHECKING:  # to a type checker, a name that is not above does not exist
    __getattr__ = lazy(
        __name__,
        {
            "diabolo.callbacks._registry": ["logger", "logger_names", "make_loggers"],
            "diabolo.callbacks.pictures": ["PICTURES", "picture_callbacks"],
            "diabolo.callbacks.progress": ["ProgressBar"],
            "diabolo.callbacks.tensorboard": ["TensorBoard"],
        },
    )
