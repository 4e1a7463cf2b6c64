"""`evaluate` and `compare`: the metrics of one run, and a ranking of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo.cli._parser import Parser, add_data_options, data_options, emit, names_in_help
from diabolo.errors import ConfigError
from diabolo.metrics import families, metric_names
from diabolo.metrics.comparison import compare as compare_runs
from diabolo.metrics.comparison import evaluate as evaluate_run
from diabolo.report import write_comparison
from diabolo.runs.tables import read_numbers
from diabolo.storage.files import write_json

__all__ = ["compare", "evaluate"]


def evaluate(parser: Parser, words: Sequence[str]) -> int:
    """Measures a run on examples."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("source", nargs="?", help="the examples; the test part of the run's own data if left out")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write all numbers as .json, too")
    parser.add_argument(
        "--factors", metavar="FILE", help="known factors, one row for each example: .npy, .npz (factors) or .csv"
    )
    arguments = _parse(parser, words)
    _check_out(arguments.out, ".json")
    options = _options(arguments)
    if arguments.factors:
        options["factors"] = read_numbers(arguments.factors, "factors")
    card = evaluate_run(arguments.run, arguments.source, data=data_options(vars(arguments)), **options)
    if arguments.out:
        write_json(arguments.out, card.json())
    emit(card.json(), arguments.json, card.table())
    return 0


def compare(parser: Parser, words: Sequence[str]) -> int:
    """Measures several runs on the same examples."""
    parser.add_argument("run", nargs="+", help="the runs' folders: two or more")
    parser.add_argument("--source", help="the examples; the test part of the first run's own data if left out")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", default=Path("comparison.html"), help="the page, or .json for numbers"
    )
    arguments = _parse(parser, words)
    _check_out(arguments.out, ".html", ".json")
    comparison = compare_runs(
        arguments.run, arguments.source, data=data_options(vars(arguments)), **_options(arguments)
    )
    if arguments.out.suffix.lower() == ".html":
        write_comparison(comparison, arguments.out)
    else:
        write_json(arguments.out, comparison.json())
    emit({**comparison.json(), "out": str(arguments.out)}, arguments.json, f"{comparison.table()}\n\n{arguments.out}")
    return 0


def _parse(parser: Parser, words: Sequence[str]) -> Any:
    known = dict.fromkeys([*names_in_help(families, words).split(", "), *metric_names()])
    parser.add_argument(
        "--metrics", metavar="NAME,...", help=f"measure these alone: module:function, or of {', '.join(known)}"
    )
    parser.add_argument(
        "--samples", type=int, default=100, metavar="K", help="importance samples for the likelihood; 0 leaves it out"
    )
    parser.add_argument(
        "--nll-examples", type=int, default=1000, metavar="N", help="how many examples it is estimated on"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="measure the first N examples alone")
    parser.add_argument(
        "--features", default="auto", metavar="NAME", help="of FID and KID: auto, classifier, random or inception"
    )
    parser.add_argument("--weights", metavar="FILE", help="the weights of inception, where they are on this machine")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_data_options(parser)
    return parser.parse(words)


def _options(arguments: Any) -> dict[str, Any]:
    return {
        "metrics": None if arguments.metrics is None else [name for name in arguments.metrics.split(",") if name],
        "samples": arguments.samples,
        "likelihood_examples": arguments.nll_examples,
        "limit": arguments.limit,
        "extractor": arguments.features,
        "weights": arguments.weights,
        "seed": arguments.seed,
    }


def _check_out(path: Path | None, *suffixes: str) -> None:
    """Refuses a wrong path before the measurement, which may take minutes."""
    if path is not None and path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path} should end in {' or '.join(suffixes)}.")
