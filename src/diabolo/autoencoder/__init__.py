"""The trained model in the user's hand: NumPy in, NumPy out, deterministic unless a draw is asked for.

`inference` puts arrays through the model, `model` adds what is fitted to its latent codes, `files` reads and writes its
folder, `notebook` shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._moved import without_names
from diabolo.autoencoder.model import Autoencoder, load

__all__ = ["Autoencoder", "load"]

if not TYPE_CHECKING:
    __getattr__ = without_names(__name__)
