"""One loop for every variant: it draws batches, steps, evaluates, logs, keeps checkpoints, and knows none by name.

It runs in one process, or in several that `torchrun` starts: they share each batch, and what they compute is the same.
"""

from __future__ import annotations

from diabolo.storage.checkpoint import WEIGHTS
from diabolo.training.callbacks import Callback, Interrupted
from diabolo.training.loop import Trainer
from diabolo.training.settings import Settings
from diabolo.training.state import CHECKPOINT, Training

__all__ = ["CHECKPOINT", "WEIGHTS", "Callback", "Interrupted", "Settings", "Trainer", "Training"]
