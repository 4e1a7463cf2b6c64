"""`train` and `resume`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo._imported import is_path, trust
from diabolo.autoencoder.files import read_config
from diabolo.autoencoder.model import Autoencoder
from diabolo.callbacks import PICTURES, ProgressBar, loggers
from diabolo.cli._parser import (
    Parser,
    add_data_options,
    add_parameters,
    add_part_options,
    chosen_parts,
    names_in_help,
)
from diabolo.config import parameters, readable_bytes
from diabolo.datasets import BINARIZED
from diabolo.diagnostics import diagnose_baseline, plural
from diabolo.errors import FinishedError
from diabolo.models.summary import summary_of
from diabolo.report import has_report, write_report
from diabolo.runs.config import REGISTRIES, RunConfig, make_run_config, options_of, trust_words
from diabolo.runs.data import open_data
from diabolo.runs.recipes import RECIPES, find_recipe
from diabolo.runs.resuming import resume as resume_run
from diabolo.runs.run import Run, start
from diabolo.storage.generation import has_contents
from diabolo.training import Callback, Interrupted, Settings, Trainer
from diabolo.training.distributed import join
from diabolo.training.memory import bytes_of_training

__all__ = ["finish", "resume", "train"]


def train(parser: Parser, words: Sequence[str]) -> int:
    """Trains a model and writes its run's folder."""
    parser.usage = "diabolo train [SOURCE] [--recipe NAME] [--model NAME] [--network NAME] [any option below]"
    parser.epilog = "Every option of the chosen parts is listed above; diabolo models lists the options of the others."
    parser.add_argument(
        "source", nargs="?", help="digits, shapes, mnist, fashion-mnist, kmnist; a folder of images; .npy, .npz, .csv"
    )
    quiet: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--recipe", choices=None, metavar="NAME", help=f"a tutorial's system: {', '.join(RECIPES)}", **quiet
    )
    presets = parser.add_mutually_exclusive_group()
    presets.add_argument(
        "--fast", dest="preset", action="store_const", const="fast", help="the recipe's quicker settings", **quiet
    )
    presets.add_argument(
        "--thorough",
        dest="preset",
        action="store_const",
        const="thorough",
        help="the recipe's settings for its best",
        **quiet,
    )
    for kind, registry in REGISTRIES.items():
        names = names_in_help(registry, words) + (", auto" if kind == "likelihood" else "") + ", or module:Class"
        parser.add_argument(f"--{kind}", metavar="NAME", help=names, **quiet)
    parser.add_argument("--latent-dim", metavar="D", help="the dimensions of the latent code", **quiet)
    parser.add_argument("--scaling", metavar="NAME", help="auto, bytes, unit, none, standard or range", **quiet)
    parser.add_argument("--pictures", metavar="NAMES", help=f"drawn while it trains: {', '.join(PICTURES)}", **quiet)
    parser.add_argument("-o", "--out", metavar="DIR", help="the run's folder (runs/NAME when left out)", **quiet)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be trained, layer by layer, and train nothing"
    )
    _add_output_options(parser, words)
    add_data_options(parser)
    _add_chosen_parts(parser, words)
    add_parameters(parser, "training", parameters(Settings))
    options = vars(parser.parse(words))
    quiet_run, as_json, log, report = (options.pop(name) for name in ("quiet", "json", "log", "report"))
    out, source = options.pop("out", None), options.pop("source", None)
    is_dry = options.pop("dry_run")
    run_config = make_run_config(source, **options)
    if is_dry:
        run = start(run_config)
        print(f"{run.dataset.describe()}\n{_describe(run)}\n\n{summary_of(run.training.model)}")
        return 0
    folder = Path(out) if out is not None else join(run_config.settings.device).broadcast(free_folder(run_config))
    run = start(run_config, folder, _callbacks(quiet_run or as_json), log)
    # Outside the `if`: the description asks for the precision, which all processes choose together.
    description = f"{run.dataset.describe()}\n{_describe(run)}"
    if not (quiet_run or as_json) and run.training.processes.is_first:
        print(description, file=sys.stderr)
    return finish(run, folder, as_json=as_json, report=report)


def resume(parser: Parser, words: Sequence[str]) -> int:
    """Resumes a run."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--source", help="its data, where that was an array or has moved")
    parser.add_argument("--epochs", type=int, help="train to this many in all, instead of as many as were planned")
    _add_output_options(parser, words)
    arguments = parser.parse(words)
    folder = Path(arguments.run)
    callbacks = _callbacks(arguments.quiet or arguments.json)
    try:
        run = resume_run(
            folder, source=arguments.source, epochs=arguments.epochs, callbacks=callbacks, log=arguments.log
        )
    except FinishedError:
        if not arguments.report or "report" not in read_config(folder) or has_report(folder):
            raise
        model = Autoencoder.load(folder)  # all was done but this
        page = write_report(model, folder, *open_data(model, arguments.source))
        return _tell(model, folder, page, as_json=arguments.json)
    description = f"Going on at epoch {run.training.epochs + 1}, step {run.training.steps}.\n{_describe(run)}"
    if not (arguments.quiet or arguments.json) and run.training.processes.is_first:
        print(description, file=sys.stderr)
    return finish(run, folder, as_json=arguments.json, report=arguments.report)


def finish(run: Run, folder: Path, *, as_json: bool, report: bool = True) -> int:
    """Trains a run to its end, writes figures and report, and prints where they are."""
    if report:
        run.info["report"] = True  # in the configuration of a finished run: it was to have one
    try:
        model = run.go()
    except Interrupted:
        if not run.training.processes.is_first:
            raise SystemExit(130) from None
        raise KeyboardInterrupt(
            f"All was saved after step {run.training.steps} (epoch {run.training.epochs + 1}). "
            f"To go on: diabolo resume {folder}"
        ) from None
    if not run.training.processes.is_first:
        return 0
    page = write_report(model, folder, run.dataset, run.training.split) if report else None
    return _tell(model, folder, page, as_json=as_json)


def _tell(model: Autoencoder, folder: Path, page: Path | None, *, as_json: bool) -> int:
    """Prints the result of a run."""
    result = model.info["result"]
    if as_json:
        print(json.dumps({"run": str(folder), "report": str(page) if page else None, **result}, indent=2))
        return 0
    print(_summary(model, result))
    report_line = f"  report  {page}\n" if page else ""
    trusted = trust_words({**model.info, **model.model.config()})
    print(f"  run     {folder}\n{report_line}  next    diabolo explore {folder}{trusted}")
    return 0


def free_folder(run_config: RunConfig, name: str = "") -> Path:
    """runs/NAME, or runs/NAME-2 and so on: the first that is free."""
    if name:
        pass
    elif run_config.recipe:
        name = "-".join(filter(None, run_config.recipe))
    else:
        source = _stem(run_config.source) if isinstance(run_config.source, str) else "array"
        name = f"{source}-{run_config.parts['model']}-{run_config.parts['network']}".replace(":", ".")
    number = 1
    while has_contents(folder := Path("runs") / (name if number == 1 else f"{name}-{number}")):
        number += 1
    return folder


def _stem(source: str) -> str:
    """The name of a source in the name of a folder: of its file or, for a pattern, of its folder."""
    path = Path(source)
    return re.sub(r"[^\w.-]+", "", path.stem) or path.absolute().parent.name


def _add_output_options(parser: Parser, words: Sequence[str]) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")
    names = f"{names_in_help(loggers, words)}, or module:Class"
    parser.add_argument("--log", metavar="NAME,...", default="", help=f"also write a log, into RUN/NAME: {names}")
    parser.add_argument(
        "--report", action=argparse.BooleanOptionalAction, default=True, help="draw the figures and write the report"
    )


def _add_chosen_parts(parser: Parser, words: Sequence[str]) -> None:
    """Adds the options of the parts that the words, the recipe or the defaults choose."""
    choices = chosen_parts(parser, words, ["recipe", *REGISTRIES])
    base = dict(find_recipe(choices.recipe).settings) if choices.recipe else {}
    defaults = {"model": "autoencoder", "network": "mlp", "likelihood": "auto"}
    for kind, registry in REGISTRIES.items():
        part = getattr(choices, kind) or base.get(kind, defaults[kind])
        if is_path(part):
            trust(part)  # whoever types it wants it run
        others = {f"the {kind} {other!r}": parameters(registry[other]) for other in registry}
        add_part_options(parser, f"{kind} {part}", options_of(kind, part), others)
    for option in parser._option_string_actions:
        parser.elsewhere.pop(option, None)


def _callbacks(quiet: bool) -> list[Callback]:
    return [] if quiet else [ProgressBar()]


def _describe(run: Run) -> str:
    training = run.training
    settings, count = training.settings, training.processes.count
    shared = f"; {count} processes, {'each its share' if training.replica.is_sharded else 'a replica each'}"
    return (
        f"{Autoencoder(training.model, run.info, device=training.kept_on)!r}\n"
        f"{settings.epochs} epochs of {len(training.split.train):,} examples in batches of {settings.batch_size}, "
        f"{settings.optimizer} {settings.lr:g}, {training.precision} on {training.device}, seed {settings.seed}"
        + (shared if count > 1 else "")
        + f"\n{_cost(training)}"
        + (f"\n{training.choice.reason}" if training.choice.reason else "")
        + "".join(f"\n{kind}: {why}" for kind, why in run.info.get("reasons", {}).items() if why[:4] != "none")
    )


def _cost(training: Trainer) -> str:
    """What the training takes: memory, and time where a step was measured."""
    settings, seconds = training.settings, training.choice.seconds
    needed = (
        f"{readable_bytes(bytes_of_training(training.model, settings))} of memory for weights and what goes with them"
    )
    if seconds is None:
        return needed
    epochs, whole = settings.epochs, training.steps_per_epoch * seconds
    until = ", fewer where the validation loss stops falling" if settings.patience else ""
    return f"{needed}; its gradients take {_time(whole)} an epoch, {_time(epochs * whole)} for all {epochs}{until}"


def _time(seconds: float) -> str:
    """Seconds, minutes or hours.

    >>> _time(0.42), _time(12.34), _time(600), _time(9000)
    ('0.42 s', '12 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _summary(model: Autoencoder, result: dict[str, Any]) -> str:
    text = f"Trained {plural(result['epochs'], 'epoch')} in {result['seconds']:.0f} s"
    epoch = result["kept_epoch"]
    text += f"; the weights are those of {f'epoch {epoch}' if epoch else 'the start, which no epoch improved on'}."
    test = result.get("test")
    if test:
        terms = "  ".join(
            f"{name} {value:.3f}"
            for name, value in test.items()
            if name not in ("mse", "bits_per_dim") and isinstance(value, float)
        )
        active = f"{test['active_units']} of {model.latent_dim} dimensions active"
        text += f"\nTest: {terms} nats per example; mse {test['mse']:.5f}; {active}"
        binarized = model.info["data"].get("binarize", "none")
        text += "" if binarized == "none" else f"; values {BINARIZED[binarized]}"
        recipe = (model.info["run_config"]["recipe"] or [None])[0]
        units = RECIPES[recipe].units if recipe in RECIPES else None
        of_its_size = recipe in RECIPES and RECIPES[recipe].values == model.model.preprocess.values
        if units is not None and units[1] == units[1] and of_its_size:
            text += f"; in the source's units ({units[0]}) {test['loss'] * units[1]:.4f}"
    if test and "baseline" in result:
        text += f"\n{diagnose_baseline(test['mse'], result['baseline']).sentences}"
    return text
