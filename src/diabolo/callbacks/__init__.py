"""What looks on while a model trains: a progress bar, pictures, TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.callbacks.pictures import PICTURES, picture_callbacks
    from diabolo.callbacks.progress import ProgressBar
    from diabolo.callbacks.tensorboard import TensorBoard

__all__ = ["PICTURES", "ProgressBar", "TensorBoard", "picture_callbacks"]

__getattr__ = lazy(
    __name__,
    {
        "diabolo.callbacks.pictures": ["PICTURES", "picture_callbacks"],
        "diabolo.callbacks.progress": ["ProgressBar"],
        "diabolo.callbacks.tensorboard": ["TensorBoard"],
    },
)
