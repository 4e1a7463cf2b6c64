"""The explorer's page without a server: one self-contained file, or a page and a folder of data beside it.

The networks run in the browser, by ONNX Runtime Web, which is part of the package. Browsers let a page on a disk load
scripts and read no other files: the files of the folder are scripts, and the single file has everything inside.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError
from diabolo.explorer._atlas import Atlas
from diabolo.explorer._concepts import concepts_of
from diabolo.explorer._page import as_json, page, static
from diabolo.explorer._run_state import health_of, state_of
from diabolo.export import COUNTS, DECODER, ENCODER, export_onnx
from diabolo.export import _difference as difference
from diabolo.export import _exported as exported
from diabolo.models.model import Model
from diabolo.runs.tables import to_npy
from diabolo.storage.files import write_text

__all__ = ["export_page"]

CHUNK = 250  # examples in a file
SEEDS = 64  # for which samples of the prior are written: a browser cannot repeat NumPy's draws
DRAWN = 16  # samples for each
BUDGET = 24_000_000  # bytes of examples in a single file
DATA = "data"

Files = Iterator[tuple[str, bytes]]


def export_page(atlas: Atlas, path: str | os.PathLike[str], *, other: Atlas | None = None) -> list[Path]:
    """Writes the page with all its data, for browsers without a server.

    A path that ends in .html becomes one file, with a random subset of examples that fills 24 MB; anything
    else becomes a folder with index.html and the data of all examples beside it, which can be opened from a disk or put
    on any web host.

    Args:
        atlas: of the run.
        path: of the file or the folder.
        other: the atlas of a second run on the same examples.

    Returns:
        The page, and the folder of its data, where there is one.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        ExportError: a network has no ONNX form.
        ConfigError: the path is a folder where a file is expected, or a file where a folder is.
        StorageError: a file could not be written.
    """
    path = Path(path)
    atlases = [atlas] if other is None else [atlas, other]
    folders = [f"run{place}" for place in range(len(atlases))]
    if path.suffix.lower() in (".html", ".htm"):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder: choose the name of a file that ends in .html.")
        atlases = [_subset(one) for one in atlases]
        elements = [
            f'<script type="text/plain" id="file:{name}">{_packed(data)}</script>'
            for name, data in _files(atlases, folders)
        ]
        write_text(path, page({"mode": "page", "runs": folders}, data="\n".join(elements)))
        return [path]
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file: choose the name of a folder, or of a file that ends in .html.")
    for name, data in _files(atlases, folders):
        write_text(path / DATA / f"{name}.js", f'diaboloFile({as_json(name)},"{_packed(data)}")')
    write_text(path / "index.html", page({"mode": "site", "runs": folders}))
    return [path / "index.html", path / DATA]


def _files(atlases: list[Atlas], folders: list[str]) -> Files:
    yield "worker.js", static("worker.js")
    yield "ort.wasm", gzip.decompress(static("ort.wasm.gz"))
    for atlas, folder in zip(atlases, folders, strict=True):
        for name, data in _files_of(atlas):
            yield f"{folder}/{name}", data


def _files_of(atlas: Atlas) -> Files:
    model, count = atlas.model, len(atlas)
    kinds = _kinds(model)
    seeds = max(1, SEEDS // len(kinds)) if model.prior is not None or model.has_prior else 0
    about: dict[str, Any] = {
        "state": {**state_of(atlas), "run": ""},  # a path is nobody else's business
        "health": health_of(atlas),
        "concepts": concepts_of(atlas),
        "chunk": CHUNK,
        "drawn": DRAWN,
        "seeds": seeds,
        "apart": len(kinds) > 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, folder)
        yield "encoder.onnx", (Path(folder) / ENCODER).read_bytes()
        decoder = (Path(folder) / DECODER).read_bytes()
        yield "decoder.onnx", _decoder_of_codes(model) if model.model.objective.entries else decoder
    yield "about.json", json.dumps(about, allow_nan=False).encode()
    yield "codes.npy", to_npy(atlas.codes)
    for place, column in enumerate(atlas.columns):
        yield f"column-{place}.npy", to_npy(column.values)
    for place, placement in enumerate(atlas.placements.values()):
        yield f"layout-{place}.npy", to_npy(placement.xy)
    for place, start in enumerate(range(0, count, CHUNK)):
        yield f"examples-{place}.npy", to_npy(atlas.examples(np.arange(start, min(count, start + CHUNK))))
    if atlas.dataset.ids:
        names = [str(atlas.dataset.ids[row]) for row in atlas.indices]
        yield "names.json", json.dumps(names).encode()
    if seeds:
        drawn = [model.sample_codes(DRAWN, seed=seed, y=y) for y in kinds for seed in range(seeds)]
        yield "samples.npy", to_npy(np.concatenate(drawn))


def _kinds(model: Autoencoder) -> list[int | None]:
    """The classes for which samples are drawn, and None for all in turn: where a class has a density of its own."""
    if model.labels == "none" or model.prior is not None:
        return [None]
    classes = range(len(model.model.objective.space.classes))
    together = model.sample_codes(DRAWN, seed=0) if model.has_prior else None
    if together is None or all(np.array_equal(model.sample_codes(DRAWN, seed=0, y=one), together) for one in classes):
        return [None]
    return [*classes, None]


def _decoder_of_codes(model: Autoencoder) -> bytes:
    """The decoder from codes rather than tokens, as `decode` has it: of the nearest codes that an example may have."""
    part = copy.deepcopy(model.model).cpu().float().eval()
    part.channels_last = False  # the exporter takes contiguous weights alone
    part.decoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    module, count = _Decoder(part), max(COUNTS)
    labels = {} if model.labels == "none" else {"y": torch.from_numpy(part.objective.in_turn(count))}
    held = np.zeros((1, *model.event_shape), np.float32) if model.examples is None else model.examples
    x = held[np.arange(count) % len(held)]
    given = {"code": torch.from_numpy(model.encode(x, *(y.numpy() for y in labels.values()), flat=True)), **labels}
    with torch.no_grad():
        expected = module(*given.values()).numpy()
    proto = exported(module, given, ["x"])
    data: bytes = proto.SerializeToString()
    difference(data, given, [expected], "decoder")
    return data


class _Decoder(nn.Module):
    """From latent codes, which are moved to the nearest that an example may have, to the means of p(x | z)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, code: Tensor, y: Tensor | None = None) -> Tensor:
        near = self.model.objective.nearest(code)
        return self.model.preprocess.undo(self.model.likelihood.mean(self.model.decode(near, y)))


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _subset(atlas: Atlas) -> Atlas:
    """An atlas of a random subset of examples that fits into a single file."""
    size = atlas.dataset.x.dtype.itemsize * int(np.prod(atlas.dataset.event_shape))
    most = max(1, BUDGET // size)
    if len(atlas) <= most:
        return atlas
    rows = np.sort(np.random.default_rng(0).choice(len(atlas), most, replace=False))
    columns = tuple(dataclasses.replace(column, values=column.values[rows]) for column in atlas.columns)
    placements = {name: dataclasses.replace(one, xy=one.xy[rows]) for name, one in atlas.placements.items()}
    return dataclasses.replace(
        atlas, indices=atlas.indices[rows], codes=atlas.codes[rows], columns=columns, placements=placements
    )
