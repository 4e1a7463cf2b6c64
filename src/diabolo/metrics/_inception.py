"""The features of Inception that FID is published with, by torch-fidelity: `pip install 'diabolo[fid]'`.

Of that package one file is imported, which needs torch alone: the rest needs torchvision, which may be absent
(`pip install --no-deps torch-fidelity` is enough).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import logging
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from diabolo.errors import ChecksumError, ConfigError, DataError, DownloadError, MissingExtraError, SourceNotFound
from diabolo.metrics._extractor import Extractor, Features, check_numbers
from diabolo.storage.files import write_bytes
from diabolo.storage.foreign import reason as words
from diabolo.storage.images import as_pixels
from diabolo.storage.machine import cache_dir

__all__ = ["InceptionFeatures", "inception_features"]

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
LAYER = "2048"
CHUNK = 16  # images at a time: each is enlarged to 299 x 299
TIMEOUT = 30.0  # seconds without a byte from the server

log = logging.getLogger("diabolo")


class InceptionFeatures(Extractor):
    """The last pooling layer of an Inception network, 2,048 numbers.

    Args:
        name: what the network is.
        network: from uint8 (B, 3, H, W) to a tuple that holds (B, f).
    """

    def __init__(self, name: str, network: nn.Module) -> None:
        self.name = name
        self.network = network.eval()

    @torch.no_grad()
    def __call__(self, x: Any, layout: str) -> Features:
        values = np.asarray(x)
        chunks = []
        for start in range(0, len(values), CHUNK):
            pixels = as_pixels(check_numbers(values[start : start + CHUNK]), layout)
            colored = pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=-1)
            chunks.append(self.network(torch.from_numpy(np.moveaxis(colored, -1, 1).copy()))[0].numpy())
        return np.concatenate(chunks) if chunks else np.empty((0, 0), np.float32)


def inception_features(weights: str | os.PathLike[str] | None = None, *, download: bool = False) -> InceptionFeatures:
    """Features of the Inception v3 that FID was defined with, as torch-fidelity computes them, for images.

    Images become 8-bit RGB (grey ones with three channels alike) and are enlarged to 299 x 299 as TensorFlow 1 does.
    Szegedy et al. 2016, https://arxiv.org/abs/1512.00567; the weights are those of 2015-12-05 from Heusel et al. 2017.
    The network was trained on photographs: on digits or drawings its numbers have no known meaning, and only compare.

    Args:
        weights: the file of the weights: the published `weights-inception-2015-12-05-6726825d.pth`, known by its
            checksum, or others as .safetensors with the same names. Without it, what an earlier download left.
        download: fetch the published file (95 MB) into the cache if it is not there.

    Raises:
        MissingExtraError: torch-fidelity is not installed.
        ConfigError: no weights are there, and none may be downloaded.
        SourceNotFound: the file is not there.
        ChecksumError: it is neither the published one nor .safetensors.
        DataError: it does not hold the weights of this network.
        DownloadError: it could not be fetched.

    >>> from diabolo.errors import MissingExtraError
    >>> try:
    ...     inception_features("weights.pth")
    ... except (MissingExtraError, SourceNotFound) as error:  # the extra, or the file, is not there
    ...     print("FID needs Inception's weights")
    FID needs Inception's weights
    """
    library = _library()
    path = _cached(download) if weights is None else Path(weights).expanduser()
    if not path.is_file():
        raise SourceNotFound(f"The file of Inception's weights, {path}, is not there.")
    published = path.suffix != ".safetensors"
    try:
        stream = _published(path) if published else _converted(path)
        with torch.random.fork_rng(devices=[]):
            network = library.FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=stream)
    except (DataError, MemoryError):
        raise
    except Exception as error:
        reason = words(error)
        raise DataError(
            f"{path} does not hold the weights of torch-fidelity's Inception: {reason}. Give the published file, or "
            "tensors of the same names."
        ) from error
    which = "published weights of 2015-12-05" if published else f"weights of {path.name}, {_digest(path)[:8]}"
    return InceptionFeatures(f"2,048 features of Inception v3 (torch-fidelity, {which})", network)


def _library() -> Any:
    """torch-fidelity's module of Inception, imported without running the package's own `__init__`."""
    package = "torch_fidelity"
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError("torch-fidelity", "fid", "The features of Inception")
        # The package's own __init__ imports torchvision; an empty module with its path lets a submodule load alone.
        stand_in = types.ModuleType(package)
        stand_in.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = stand_in
        try:
            return importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]
    return importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")


def _published(path: Path) -> io.BytesIO:
    """The published file, which the library unpickles: nothing else is handed to it."""
    data = path.read_bytes()
    _check(data, str(path), "Give the published file, or weights of your own as .safetensors.")
    return io.BytesIO(data)


def _converted(path: Path) -> io.BytesIO:
    """Tensors of a .safetensors file in the form that the library reads."""
    stream = io.BytesIO()
    torch.save(safetensors.torch.load_file(path), stream)
    stream.seek(0)
    return stream


def _cached(download: bool) -> Path:
    path = cache_dir() / "inception" / URL.rpartition("/")[2]
    if path.is_file():
        return path
    if not download:
        raise ConfigError(
            "The features of Inception need its weights (95 MB), which are not on this machine: name their file with "
            f"weights=, put it at {path}, or allow the download with download=True. It is published at {URL}."
        )
    import pooch
    import requests

    log.info("downloading %s to %s", URL, path)
    stream = io.BytesIO()
    try:
        pooch.HTTPDownloader(timeout=TIMEOUT)(URL, stream, None)
    except requests.exceptions.RequestException as error:
        raise DownloadError(
            f"{URL} could not be downloaded: {error}. Without a network, get the file elsewhere and "
            "name it with weights=."
        ) from error
    _check(stream.getvalue(), URL, "Nothing was kept. Try again later, or get the file elsewhere.")
    write_bytes(path, stream.getvalue())
    return path


def _check(data: bytes, where: str, advice: str) -> None:
    received = hashlib.sha256(data).hexdigest()
    if received != SHA256:
        raise ChecksumError(
            f"{where} is not the published file: its sha256 should be {SHA256} and is {received} ({len(data):,} "
            f"bytes). {advice}"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
