"""The history as TensorBoard events, by tensorboardX: `pip install 'diabolo[tensorboard]'`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from diabolo.callbacks._registry import loggers
from diabolo.errors import MissingExtraError
from diabolo.training import Callback, Training

__all__ = ["TensorBoard"]


@loggers.register("tensorboard")
class TensorBoard(Callback):
    """Writes every number of an epoch as a scalar, against the step.

    Args:
        folder: where the events go.

    Raises:
        MissingExtraError: tensorboardX is not installed.

    >>> import tempfile, diabolo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Path(folder) / "run"
    ...     _ = diabolo.train("digits", log="tensorboard", out=run, widths=(8,), epochs=1, precision="float32")
    ...     len(list((run / "tensorboard").iterdir()))
    1
    """

    def __init__(self, folder: Path) -> None:
        # Said here, before anything is trained; imported only when training starts, since it takes a while to load.
        if importlib.util.find_spec("tensorboardX") is None:
            raise MissingExtraError("tensorboardX", "tensorboard", "Writing TensorBoard events")
        self.folder = folder

    def start(self, training: Training) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(self.folder))

    def epoch(self, training: Training, line: dict[str, Any]) -> None:
        for part in ("train", "validation", "test"):
            for name, value in line.get(part, {}).items():
                if isinstance(value, int | float):
                    self.writer.add_scalar(f"{name}/{part}", value, line["step"])
        self.writer.add_scalar("lr", line["lr"], line["step"])

    def end(self, training: Training) -> None:
        self.writer.close()
