"""What a notebook shows of a trained model: its name, its last loss, examples above their reconstructions."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from diabolo.storage.images import pairs, png

__all__ = ["as_html"]


def as_html(name: str, history: Sequence[dict[str, Any]], images: tuple[np.ndarray, np.ndarray] | None) -> str:
    """A model as a fragment of HTML.

    Args:
        name: its `repr`.
        history: the lines of its history.
        images: originals and their reconstructions, uint8 (n, H, W) or (n, H, W, 3); None where the data is no images.
    """
    lines = [f"<code>{html.escape(name)}</code>"]
    epochs = [line for line in history if line.get("kind") == "epoch"]
    if epochs:
        terms = {**epochs[-1]["train"], **epochs[-1].get("validation", {})}
        loss = "not finite" if terms["loss"] is None else f"{terms['loss']:.2f} nats per example"
        lines.append(f"after epoch {epochs[-1]['epoch']}: loss {loss}")
    if images is not None:
        count = len(images[0])
        data = base64.b64encode(png(pairs(*images, columns=count))).decode()
        style = f"image-rendering:pixelated;width:min(100%,{count * 56}px)"
        alt = "Originals above their reconstructions"
        lines.append(f'<img style="{style}" alt="{alt}" src="data:image/png;base64,{data}">')
    return "<div>" + "<br>".join(lines) + "</div>"
