"""`export`: the encoder and the decoder of a run as ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._parser import Parser, emit
from diabolo.diagnostics import plural
from diabolo.export import export_onnx

__all__ = ["export"]


def export(parser: Parser, words: Sequence[str]) -> int:
    """Writes two ONNX files."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to (the run's folder onnx when left out)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse(words)
    out = arguments.out or Path(arguments.run) / "onnx"
    exported = export_onnx(Autoencoder.load(arguments.run, device="cpu"), out)
    kind = "the run's" if exported.real else "made-up"
    lines = [
        f"{exported.encoder}: examples to codes; at most {exported.code_difference:.1e} from torch's",
        f"{exported.decoder}: codes to examples; at most {exported.decoded_difference:.1e} from torch's",
        f"Compared with torch on {plural(exported.checked, 'example')} ({kind}), in ONNX Runtime",
    ]
    result = {
        "out": str(out),
        "encoder": str(exported.encoder),
        "decoder": str(exported.decoder),
        "code_difference": exported.code_difference,
        "decoded_difference": exported.decoded_difference,
    }
    emit(result, arguments.json, "\n".join(lines))
    return 0
