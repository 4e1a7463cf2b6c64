"""`export`: a run's encoder and decoder as ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import counted
from diabolo.cli._parser import Parser, emit
from diabolo.export import export_onnx

__all__ = ["export"]


def export(parser: Parser, words: Sequence[str]) -> int:
    """A run to two ONNX files."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to (the run's folder onnx when left out)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    found = parser.parse(words)
    out = found.out or Path(found.run) / "onnx"
    made = export_onnx(Autoencoder.load(found.run, device="cpu"), out)
    kind = "the run's" if made.real else "made-up"
    lines = [
        f"{made.encoder}: examples to codes; at most {made.code_difference:.1e} from torch's",
        f"{made.decoder}: codes to examples; at most {made.decoded_difference:.1e} from torch's",
        f"Compared with torch on {counted(made.checked, 'example')} ({kind}), in ONNX Runtime",
    ]
    result = {
        "out": str(out),
        "encoder": str(made.encoder),
        "decoder": str(made.decoder),
        "code_difference": made.code_difference,
        "decoded_difference": made.decoded_difference,
    }
    emit(result, found.json, "\n".join(lines))
    return 0
