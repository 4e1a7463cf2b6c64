"""`info`, `plot` and `report`: the description, the figures and the report of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo.autoencoder.files import CONFIG, read_config
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._parser import Parser, add_data_options, data_options, emit, table
from diabolo.datasets import BINARIZED, Dataset, Split
from diabolo.diagnostics import diagnose_baseline
from diabolo.errors import RunError
from diabolo.models.model import rebuild_model
from diabolo.report import write_report
from diabolo.report.run_figures import draw_all
from diabolo.runs.data import open_data
from diabolo.storage.generation import file_of
from diabolo.training import WEIGHTS

__all__ = ["info", "plot", "report"]


def info(parser: Parser, words: Sequence[str]) -> int:
    """Prints the description of a run."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--json", action="store_true", help="print config.json's contents")
    parser.add_argument("--layers", action="store_true", help="print the layers, what each gives and its parameters")
    arguments = parser.parse(words)
    folder = Path(arguments.run)
    config = read_config(folder)
    if arguments.json:
        emit(config, True, "")
        return 0
    if arguments.layers:
        print(Autoencoder.load(folder).summary())
        return 0
    try:
        emit(config, False, table(_rows(config, _model_of(folder, config))))
    except (KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__} {error}"
        raise RunError(f"{folder / CONFIG} cannot be followed: {what}. It was edited; restore it.") from error
    return 0


def plot(parser: Parser, words: Sequence[str]) -> int:
    """Draws a run's figures."""
    _add_run_and_source(parser)
    parser.add_argument("--theme", choices=["light", "dark"], default="light", help="for a light or a dark page")
    parser.add_argument("-o", "--out", metavar="DIR", help="where to (the run's folder figures when left out)")
    arguments = parser.parse(words)
    folder = Path(arguments.run)
    model, dataset, split = load_with_data(folder, arguments.source, vars(arguments))
    out = Path(arguments.out) if arguments.out else folder / "figures"
    for path in draw_all(model, dataset, split, out, theme=arguments.theme):
        print(path)
    return 0


def report(parser: Parser, words: Sequence[str]) -> int:
    """Writes a run's report."""
    _add_run_and_source(parser)
    arguments = parser.parse(words)
    folder = Path(arguments.run)
    print(write_report(*_with_folder(folder, load_with_data(folder, arguments.source, vars(arguments)))))
    return 0


def load_with_data(folder: Path, source: str | None, options: dict[str, Any]) -> tuple[Autoencoder, Dataset, Split]:
    """The model of a run, with its own data or with another source."""
    model = Autoencoder.load(folder)
    return model, *open_data(model, source, data_options(options))


def _with_folder(folder: Path, loaded: tuple[Autoencoder, Dataset, Split]) -> tuple[Autoencoder, Path, Dataset, Split]:
    model, dataset, split = loaded
    return model, folder, dataset, split


def _add_run_and_source(parser: Parser) -> None:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("source", nargs="?", help="other data than the run's own")
    add_data_options(parser)


def _model_of(folder: Path, config: dict[str, Any]) -> Autoencoder | None:
    """The run's model: untrained before the first checkpoint, None where the network is the user's own."""
    if config["network"]["name"] is None:
        return None
    if "result" not in config and not file_of(folder, WEIGHTS).exists():
        return Autoencoder(rebuild_model(config), config)
    return Autoencoder.load(folder)


def _rows(config: dict[str, Any], model: Autoencoder | None) -> list[tuple[str, str]]:
    rows = [("what", repr(model) if model else "an encoder and a decoder of its author's own")]
    for kind in ("model", "network", "likelihood"):
        options = ", ".join(f"{name}={value}" for name, value in config[kind]["options"].items())
        rows.append((kind, f"{config[kind]['name']} ({options})" if options else str(config[kind]["name"])))
        if kind in config.get("reasons", {}):
            rows.append(("", config["reasons"][kind]))
    if "imported" in config:
        return [*rows, ("made by", config["imported"]), *(("", note) for note in config["notes"])]
    data, run_config, result = config["data"], config["run_config"], config.get("result")
    parts = data["examples"]
    rows.append(("data", f"{data['name']}: {', '.join(f'{count:,} {name}' for name, count in parts.items())}"))
    if data.get("binarize", "none") != "none":
        rows.append(("", BINARIZED[data["binarize"]]))
    rows.append(("", data["fingerprint"]))
    settings = run_config["settings"]
    rows.append(("training", ", ".join(f"{name}={value}" for name, value in settings.items() if value is not None)))
    if "augment" in config.get("reasons", {}):
        rows.append(("", f"augment: {config['reasons']['augment']}"))
    if run_config["recipe"]:
        rows.append(("recipe", " ".join(filter(None, run_config["recipe"]))))
    rows.append(("made by", ", ".join(f"{name} {version}" for name, version in config["versions"].items())))
    if not result:
        rows.append(("state", "not finished: diabolo resume goes on with it"))
        return rows
    state = f"{result['epochs']} epochs in {result['seconds']:.0f} s, weights of epoch {result['kept_epoch']}"
    state += f", in {result['precision']}" if "precision" in result else ""
    state += f" by the engine {result['engine']}" if "engine" in result else ""
    rows.append(("state", state + (", steps compiled" if result.get("compiled") else "")))
    if "test" in result:
        numbers = {name: value for name, value in result["test"].items() if not isinstance(value, list)}
        rows.append(("test", ", ".join(f"{name} {value:.5g}" for name, value in numbers.items())))
    if "baseline" in result:
        rows.append(("", diagnose_baseline(result["test"]["mse"], result["baseline"]).sentences))
    return [*rows, *_artifacts(model)]


def _artifacts(model: Autoencoder | None) -> list[tuple[str, str]]:
    """Rows on what was fitted to the latent codes afterwards."""
    rows = []
    if model is not None and model.prior is not None:
        rows.append(("prior", str(model.prior)))
    if model is not None and model.concepts:
        rows.append(("concepts", ", ".join(model.concepts)))
    if model is not None and model.threshold is not None:
        limit = model.threshold
        rows.append(("threshold", f"{limit.kind} {limit.value:.5g}: false alarms at most {limit.false_alarms:g}"))
    return rows
