"""What is costly to find of a run's examples, kept in its folder until the weights or the data change."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import RunError, StorageError
from diabolo.storage.files import read_json, write_json, writing
from diabolo.storage.npy import load_numpy

__all__ = ["FOLDER", "Cache"]

log = logging.getLogger("diabolo")

FOLDER = "explorer"  # of a run's folder
INDEX = "index.json"
FORMAT = 1  # raised when what is measured changes
LARGE = 64_000_000  # bytes above which an array is mapped rather than read


@dataclass(frozen=True)
class Cache:
    """A place for arrays, below a run's folder.

    Attributes:
        folder: where they lie.
        weights: the digest of the weights that they come from.
    """

    folder: Path
    weights: str

    @classmethod
    def of(cls, model: Autoencoder, fingerprint: str, points: int, seed: int) -> Self | None:
        """The cache of a model's examples; None where the model has no folder.

        Args:
            model: the trained model.
            fingerprint: of the data.
            points: how many examples at most.
            seed: of their choice.
        """
        if model.folder is None:
            return None
        weights = _digest_of(model)
        text = json.dumps([FORMAT, weights, fingerprint, points, seed])
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return cls(model.folder / FOLDER / key, weights)

    def read(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray] | None:
        """The arrays, float32; None where they are not there, or not whole.

        Args:
            shapes: the name and the shape of each.
        """
        try:
            index = read_json(self.folder / INDEX)
            found = {name: self._array(name, shape, index["digests"][name]) for name, shape in shapes.items()}
        except (RunError, OSError, ValueError, KeyError, TypeError):
            return None
        return found

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps the arrays, and drops those that other weights gave; where nothing can be written, nothing is kept."""
        try:
            self._drop_old()
            digests = {}
            for name, array in arrays.items():
                path = self.folder / f"{name}.npy"
                with writing(path) as temporary, temporary.open("wb") as stream:
                    np.save(stream, array, allow_pickle=False)
                digests[name] = _digest(path)
            write_json(self.folder / INDEX, {"format": FORMAT, "weights": self.weights, "digests": digests})
        except (StorageError, OSError) as error:
            log.debug("%s", error)

    def _array(self, name: str, shape: tuple[int, ...], digest: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        if _digest(path) != digest:
            raise ValueError(f"{path} is not what was written")
        large = path.stat().st_size > LARGE
        array = load_numpy(path, mapped=large)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.float32:
            raise ValueError(f"{path} holds another array")
        return array

    def _drop_old(self) -> None:
        for other in self.folder.parent.glob("[0-9a-f]" * 16 + "/"):
            try:
                weights = read_json(other / INDEX).get("weights")
            except RunError:
                weights = None
            if weights != self.weights:
                shutil.rmtree(other, ignore_errors=True)


def _digest_of(model: Autoencoder) -> str:
    """Of what the model computes with: its configuration and its tensors, wherever they came from."""
    digest = hashlib.blake2b(json.dumps(model.model.config(), sort_keys=True, default=str).encode(), digest_size=16)
    for name, tensor in sorted(model.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def _digest(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
