"""A cache of the arrays of an atlas in the run's folder, valid until the weights or the data change."""

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
from diabolo.runs._run_contents import model_fingerprint
from diabolo.storage.files import read_json, write_json, writing
from diabolo.storage.npy import load_numpy

__all__ = ["FOLDER", "Cache"]

log = logging.getLogger("diabolo")

FOLDER = "explorer"  # of a run's folder
INDEX = "index.json"
FORMAT = 1  # raised when the meaning of an array changes
LARGE = 64_000_000  # bytes above which an array is mapped rather than read


@dataclass(frozen=True)
class Cache:
    """Arrays below a run's folder, by the digest of what they were computed from.

    Attributes:
        folder: of the arrays.
        weights: the digest of the weights that gave them.
    """

    folder: Path
    weights: str

    @classmethod
    def of(cls, model: Autoencoder, fingerprint: str, points: int, seed: int) -> Self | None:
        """The cache of a model's examples; None where the model has no folder.

        Args:
            model: the trained model.
            fingerprint: of the data.
            points: the most examples.
            seed: of the subset.
        """
        if model.folder is None:
            return None
        weights = model_fingerprint(model.model)
        told = [] if model.label is None else [str(model.label)]  # of examples without a class
        text = json.dumps([FORMAT, weights, fingerprint, points, seed, *told])
        key = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return cls(model.folder / FOLDER / key, weights)

    def read(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray] | None:
        """The arrays, float32; None where one is missing or damaged.

        Args:
            shapes: the name and the shape of each.
        """
        try:
            index = read_json(self.folder / INDEX)
            arrays = {name: self._array(name, shape, index["digests"][name]) for name, shape in shapes.items()}
        except Exception:  # noqa: BLE001 (whatever a damaged file makes json and NumPy raise)
            return None
        return arrays

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays and removes those of other weights; a folder that cannot be written to is no error."""
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


def _digest(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
