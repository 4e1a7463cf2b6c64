"""Encoder and decoder as two ONNX files, for programs without Python or torch; compared with torch at once.

Only this file imports the packages of ONNX: `pip install 'diabolo[onnx]'`.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from diabolo._version import __version__
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ExportError, MissingExtraError
from diabolo.models.model import Model
from diabolo.storage.files import writing

if TYPE_CHECKING:
    import onnx

__all__ = ["DECODER", "ENCODER", "Exported", "export_onnx"]

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
FORMAT = 1  # of the metadata; raised when a reader of an older one could not follow
OPSET = 18
TOLERANCE = 1e-4  # of the largest number that torch gives: a larger difference is no rounding
COUNTS = (1, 5, 64)  # batch sizes of the comparison


@dataclass(frozen=True)
class Exported:
    """Two ONNX files, with their differences from torch.

    Attributes:
        encoder: from `x`, float32 (n, *event) as the user holds it, to `code`, (n, d), and, where codes have a density,
            `deviation`, (n, d): the mean and the standard deviations of q(z | x). Where they are written with a
            codebook, to `tokens`, int64 (n, positions, levels), as well.
        decoder: from `code`, float32 (n, d), to `x`, (n, *event): the mean of p(x | z), in the user's units; from
            `tokens` in the place of codes. Both take `y`, int64 (n,), too, where the model takes labels.
        code_difference: the largest difference of a latent code from torch's.
        decoded_difference: the largest difference of a decoded value from torch's.
        checked: the number of examples compared.
        real: whether these were examples of the run, rather than noise.
    """

    encoder: Path
    decoder: Path
    code_difference: float
    decoded_difference: float
    checked: int
    real: bool


def export_onnx(model: Autoencoder, folder: str | os.PathLike[str]) -> Exported:
    """Writes encoder.onnx and decoder.onnx, each one file without others beside it.

    Any number of examples goes in at a time. The preprocessing is inside: pixels go in as floats in [0, 1], tables and
    signals in their own units, and so they come out. The metadata of each file says what the model is, under the key
    `diabolo`, as JSON. Both are run by ONNX Runtime and compared with torch before they are written.

    Args:
        model: the trained model.
        folder: of the files; created if it does not exist.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        ExportError: an operation has no ONNX form, or what was exported does not give torch's numbers.
        StorageError: a file could not be written.

    A program then needs the files alone:

        session = onnxruntime.InferenceSession("onnx/encoder.onnx")
        codes = session.run(None, {"x": x})[0]
    """
    _require_packages()
    folder = Path(folder)
    part = copy.deepcopy(model.model).cpu().float().eval()
    part.channels_last = False  # the exporter takes contiguous weights alone
    for module in (part.encoder, part.decoder):
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    x, real = _examples(model)
    has_tokens = part.objective.entries > 0
    extra = ["tokens"] if has_tokens else ["deviation"] if model.has_density else []
    labels = {} if model.labels == "none" else {"y": torch.from_numpy(part.objective.in_turn(len(x)))}
    into, out = _Encoder(part), _Decoder(part)
    with torch.no_grad(), part.naming(x):
        expected = [output.numpy() for output in _as_tuple(into(x, *labels.values()))]
        codes = torch.from_numpy(expected[-1] if has_tokens else expected[0])
        decoded = out(codes, *labels.values()).numpy()
    encoder = _exported(into, {"x": x, **labels}, ["code", *extra])
    given = {"tokens" if has_tokens else "code": codes, **labels}
    decoder = _exported(out, given, ["x"])
    for proto, what in ((encoder, "encoder"), (decoder, "decoder")):
        _describe(proto, model, what)
    code_difference = _difference(encoder.SerializeToString(), {"x": x, **labels}, expected, "encoder")
    decoded_difference = _difference(decoder.SerializeToString(), given, [decoded], "decoder")
    with writing(folder / DECODER) as decoder_file, writing(folder / ENCODER) as encoder_file:
        encoder_file.write_bytes(encoder.SerializeToString())
        decoder_file.write_bytes(decoder.SerializeToString())
        (folder / DECODER).unlink(missing_ok=True)  # at no moment does an encoder stand beside another one's decoder
    return Exported(folder / ENCODER, folder / DECODER, code_difference, decoded_difference, len(x), real)


class _Encoder(nn.Module):
    """From examples in the user's units, and their labels, to the parameters of q(z | x), or to codes and tokens."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        code = self.model.encode(self.model.prepare(x), y)
        more = code.deviation if code.index is None else code.index
        return code.mean if more is None else (code.mean, more)


class _Decoder(nn.Module):
    """From latent codes, or tokens, to the means of p(x | z), in the user's units."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, code: Tensor, y: Tensor | None = None) -> Tensor:
        if not code.is_floating_point():
            code = self.model.objective.vectors(code)
        return self.model.preprocess.undo(self.model.likelihood.mean(self.model.decode(code, y)))


def _examples(model: Autoencoder) -> tuple[Tensor, bool]:
    """Examples for the comparison, as floats, and whether they are the run's own rather than noise in its range."""
    count = max(COUNTS)
    if model.examples is not None and len(model.examples) >= 2:
        x = np.asarray(model.examples)[np.arange(count) % len(model.examples)]
        scale = 255 if x.dtype == np.uint8 and _takes_pixels(model) else 1
        return torch.from_numpy(np.array(x)).to(model.model.preprocess.dtype) / scale, True
    rng = np.random.default_rng(0)
    low, high = model.model.preprocess.display
    return torch.from_numpy(rng.uniform(low, high, (count, *model.event_shape)).astype(np.float32)), False


def _takes_pixels(model: Autoencoder) -> bool:
    """Whether values are pixels, floats in [0, 1] or bytes, rather than numbers in units of their own."""
    return model.model.preprocess.scale in ("bytes", "unit")


def _exported(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> onnx.ModelProto:
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(), tuple(inputs.values()), dynamo=True, opset_version=OPSET, external_data=False,
                verbose=False, input_names=list(inputs), output_names=outputs,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
            )  # fmt: skip
    except Exception as error:
        raise _impossible(type(module).__name__.strip("_").lower(), error) from error
    assert program is not None  # noqa: S101 (with dynamo it is given)
    proto: onnx.ModelProto = program.model_proto
    return proto


def _impossible(what: str, error: BaseException) -> ExportError:
    while error.__cause__ is not None:  # the exporter wraps it in advice
        error = error.__cause__
    reason = " ".join(str(error).split())[:400] or type(error).__name__
    return ExportError(
        f"The {what} cannot be written as ONNX: {reason}. A module of your own should use operations of torch "
        "alone, and no shapes that depend on the number of examples."
    )


def _describe(proto: onnx.ModelProto, model: Autoencoder, what: str) -> None:
    """Writes the description of the model into the metadata of the file."""
    info = {
        "format": FORMAT,
        "diabolo": __version__,
        "part": what,
        "event_shape": list(model.event_shape),
        "layout": model.layout,
        "latent_dim": model.latent_dim,
        "code_shape": list(model.code_shape),
        "pixels": _takes_pixels(model),
        "display": list(model.model.preprocess.display),
        "prior": str(model.own_prior) if model.has_prior else None,
        "classes": list(model.classes),
        "data": model.info.get("data", {}).get("name"),
        **{kind: model.model.config()[kind] for kind in ("model", "network", "likelihood")},
    }
    entry = proto.metadata_props.add()
    entry.key, entry.value = "diabolo", json.dumps(info)
    proto.producer_name, proto.producer_version = "diabolo", __version__
    proto.doc_string = f"The {what} of {model!r}"


def _difference(data: bytes, inputs: dict[str, Tensor], expected: list[np.ndarray], what: str) -> float:
    """The largest difference between ONNX Runtime and torch, for several numbers of examples.

    Raises:
        ExportError: it is more than rounding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        arrays = {name: value.numpy() for name, value in inputs.items()}
        outputs = {
            count: session.run(None, {name: array[:count] for name, array in arrays.items()}) for count in COUNTS
        }
    except Exception as error:
        raise _impossible(what, error) from error
    worst = 0.0
    for count in COUNTS:
        for output, full in zip(outputs[count], expected, strict=True):
            reference = full[:count]
            apart = float(np.abs(output - reference).max())
            if reference.dtype.kind == "i":  # tokens: another entry where two are as near, but for rounding
                apart = float((output != reference).mean())
            room = TOLERANCE * max(1.0, float(np.abs(reference).max()))
            if output.shape != reference.shape or not apart <= room:
                raise ExportError(
                    f"The exported {what} gives other numbers than torch: they differ by up to {apart:.2g}, where at "
                    f"most {room:.2g} is rounding. Nothing was written. Please report this with the run's config.json."
                )
            worst = max(worst, apart)
    return worst


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _require_packages() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError(package, "onnx", "The export to ONNX") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's log of its own steps and its warnings."""
    loggers: list[Any] = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
