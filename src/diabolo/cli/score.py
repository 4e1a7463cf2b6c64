"""`score`: the score of each example, anomalies by a threshold, heat maps of the surprise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diabolo import bulk
from diabolo.autoencoder.files import write_artifact
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import (
    add_pieces,
    done,
    done_pieces,
    is_picture,
    load_with_source,
    parse_with_source,
    to_pieces,
    write_pieces,
)
from diabolo.cli._parser import Parser, data_options
from diabolo.config import require
from diabolo.datasets import Dataset
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError, DataError
from diabolo.evaluation import scores
from diabolo.figures import save
from diabolo.figures._heat_maps import heat_maps
from diabolo.latent.anomalies import SCORES, UNITS, Threshold
from diabolo.runs.config import run_config_of
from diabolo.runs.data import open_data, open_examples
from diabolo.runs.tables import write_array, write_table

__all__ = ["score"]

LONGEST = 11  # characters of an example's name beneath its heat map
RATE = 0.01  # of false alarms, for --calibrate without --threshold
ABOUT = """
A threshold is calibrated once and kept with the run, in place of the one before. It is used again when --threshold asks
for the same rate of the same scores (kind, draws, seed). Without --threshold and --calibrate, it is used where the
scores are those that it was calibrated for; the other columns do not depend on it.
"""


def score(parser: Parser, words: Sequence[str]) -> int:
    """Writes scores, anomalies and heat maps of examples."""
    parser.epilog = ABOUT
    parser.add_argument(
        "--kind",
        choices=SCORES,
        help="which score; elbo if left out, or reconstruction where codes are points",
    )
    parser.add_argument("--draws", type=int, help="codes drawn for each example: 16 for elbo, 128 for likelihood")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="RATE",
        help="call anomalies: the threshold that normal examples exceed at most this often, such as 0.01; calibrated "
        "on the run's own test (or validation) examples",
    )
    parser.add_argument(
        "--calibrate", metavar="SOURCE", help=f"calibrate it on these normal examples instead (rate: {RATE:g})"
    )
    parser.add_argument(
        "--heatmaps",
        nargs="?",
        const=Path("heatmaps.png"),
        type=Path,
        metavar="FILE",
        help=".png (heatmaps.png if no file is named) draws where the worst examples surprise, .npz and .npy hold the "
        "nats of all values of all examples",
    )
    parser.add_argument("-n", type=int, default=10, help="how many heat maps are drawn, those of the highest scores")
    add_pieces(parser)
    arguments = parse_with_source(
        parser, words, "scores.csv", "where to: .npz, .csv or .parquet, or a folder of pieces"
    )
    pieces = to_pieces(arguments, "scores")
    _check_options(arguments, pieces=pieces)
    if pieces:
        return _score_pieces(arguments)
    model, dataset = load_with_source(arguments)
    kind = arguments.kind or ("elbo" if model.has_bound else "reconstruction")
    draws = scores.resolve_draws(kind, arguments.draws)
    limit, note = _threshold(arguments, model, kind, draws)
    values = model.score(dataset, kind=kind, draws=draws, seed=arguments.seed)
    columns, extra = {kind: values}, _summary(kind, values)
    parts = ", ".join(f"{name} {extra[name]:.3f}" for name in ("mean", "median", "largest"))
    lines = [f"{plural(len(values), f'{kind} score')}: {parts} {UNITS[kind]}"]
    if limit is not None:
        anomaly = limit.exceeded(values)
        columns |= {"anomaly": anomaly.astype(np.int64), "p_value": limit.p_values(values)}
        extra |= {"anomalies": int(anomaly.sum()), "threshold": limit.config()}
        lines.append(_anomaly_report(int(anomaly.sum()), len(anomaly), limit))
    path = write_table(arguments.out, columns, columns, dataset)
    if arguments.heatmaps is not None:
        _write_heat(arguments, model, dataset, values, f"{kind} ({UNITS[kind]})")
        extra["heatmaps"] = str(arguments.heatmaps)
        lines.append(f"heat maps -> {arguments.heatmaps}")
    return done(arguments, path, "\n".join([*lines, *note, "scores"]), extra)


def _score_pieces(arguments: Any) -> int:
    """Writes the scores as a folder of pieces."""
    model = Autoencoder.load(arguments.run)
    kind = arguments.kind or ("elbo" if model.has_bound else "reconstruction")
    draws = scores.resolve_draws(kind, arguments.draws)
    limit, note = _threshold(arguments, model, kind, draws)
    result = write_pieces(arguments, model, bulk.Score(kind, draws, arguments.seed, threshold=limit is not None))
    extra: dict[str, Any] = {"kind": kind, "mean": result.summary["sum"] / result.rows}
    extra["largest"] = result.summary["largest"]
    parts = ", ".join(f"{name} {extra[name]:.3f}" for name in ("mean", "largest"))
    lines = [f"{plural(result.rows, f'{kind} score')}: {parts} {UNITS[kind]}"]
    if limit is not None:
        extra |= {"anomalies": int(result.summary["anomalies"]), "threshold": limit.config()}
        lines.append(_anomaly_report(extra["anomalies"], result.rows, limit))
    return done_pieces(arguments, result, "\n".join([*lines, *note, "scores"]), extra)


def _check_options(arguments: Any, *, pieces: bool) -> None:
    """Refuses options before anything is read or computed."""
    require(arguments.n >= 1, "n", "a number of examples of at least 1", arguments.n)
    rate = arguments.threshold
    require(rate is None or 0 < rate <= 0.5, "threshold", "a rate above 0 and at most 0.5", rate)
    if pieces:
        require(
            arguments.heatmaps is None, "heatmaps", "left out where the scores go into a folder", arguments.heatmaps
        )
        return
    suffix = arguments.out.suffix.lower()
    require(suffix in (".npz", ".csv", ".parquet"), "out", "a .npz, .csv or .parquet", str(arguments.out))
    if arguments.heatmaps is not None:
        suffix = arguments.heatmaps.suffix.lower()
        require(suffix in (".png", ".npz", ".npy"), "heatmaps", "a .png, .npz or .npy", str(arguments.heatmaps))


def _summary(kind: str, values: np.ndarray) -> dict[str, Any]:
    parts = {"mean": values.mean(), "median": np.median(values), "largest": values.max()}
    return {"count": len(values), "kind": kind, **{name: float(value) for name, value in parts.items()}}


def _threshold(arguments: Any, model: Autoencoder, kind: str, draws: int) -> tuple[Threshold | None, list[str]]:
    """The threshold of anomalies, if any: the run's own, or a new one, which is saved; and a note about it."""
    own = model.threshold
    fits = own is not None and (own.kind, own.draws, own.seed) == (kind, draws, arguments.seed)
    if arguments.threshold is None and arguments.calibrate is None:
        if own is not None and not fits:
            options = f"--kind {own.kind} --draws {own.draws} --seed {own.seed}"
            return None, [f"The run's threshold is for other scores ({options}): no anomalies were called."]
        return own, []
    if own is not None and fits and arguments.calibrate is None and own.false_alarms == arguments.threshold:
        return own, []
    rate = RATE if arguments.threshold is None else arguments.threshold
    x, name = _normal(arguments, model)
    threshold = model.calibrate(x, false_alarms=rate, kind=kind, draws=draws, seed=arguments.seed, source=name)
    write_artifact(Path(arguments.run), model.model, threshold)
    return threshold, []


def _normal(arguments: Any, model: Autoencoder) -> tuple[Dataset, str]:
    """Normal examples on which the model was not trained, and their name."""
    data = data_options(vars(arguments))
    if arguments.calibrate is not None:
        dataset = open_examples(model, arguments.calibrate, data)
        return dataset, dataset.name
    if run_config_of(model).source is None:
        raise ConfigError(
            "This run was trained on an array, so that its test examples cannot be found again to calibrate the "
            "threshold on. Name normal examples that it was not trained on: --calibrate SOURCE"
        )
    dataset, split = open_data(model, None, {name: value for name, value in data.items() if name == "data_dir"})
    expected = model.info["data"]["fingerprint"]
    if dataset.fingerprint != expected:
        raise DataError(
            f"{dataset.name} is no longer the data that this run was trained on (its fingerprint is "
            f"{dataset.fingerprint}, and was {expected}), so that its test examples are not known. Name normal "
            "examples that it was not trained on: --calibrate SOURCE"
        )
    for part in ("test", "validation"):
        indices = getattr(split, part)
        if len(indices):
            return dataset.subset(indices), f"{dataset.name}, {part} examples"
    raise ConfigError(
        "This run was trained on all of its data, which leaves no normal examples to calibrate the threshold on. Name "
        "some that it was not trained on: --calibrate SOURCE"
    )


def _anomaly_report(anomalies: int, count: int, limit: Threshold) -> str:
    called = "is an anomaly" if anomalies == 1 else "are anomalies"
    return (
        f"{anomalies:,} of {plural(count, 'example')} {called}: above {limit.value:.3f} "
        f"{UNITS[limit.kind]}, which at most {100 * limit.false_alarms:g}% of normal examples exceed\n"
        f"(calibrated on {limit.count:,} from {limit.source})"
    )


def _write_heat(arguments: Any, model: Autoencoder, dataset: Dataset, values: np.ndarray, label: str) -> None:
    """Writes the heat maps of the highest scores as a picture, or of all examples as an array."""
    if not is_picture(arguments.heatmaps):
        write_array(arguments.heatmaps, model.surprise(dataset))
        return
    worst = np.argsort(-values, kind="stable")[: arguments.n]
    some = dataset.subset(worst)
    displayed = model.model.preprocess.displayed
    figure = heat_maps(
        displayed(np.asarray(some.x)),
        displayed(model.reconstruct(some)),
        model.surprise(some),
        model.layout,
        [f"{_short(values[row])}\n{_name(dataset, int(row))}" for row in worst],
        label=label,
        features=dataset.features,
    )
    save(figure, arguments.heatmaps)


def _name(dataset: Dataset, row: int) -> str:
    """The label of an example: the name of its file, or its row."""
    name = Path(dataset.ids[row]).stem if dataset.ids else f"#{row}"
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"


def _short(value: float) -> str:
    """A score to four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}"
