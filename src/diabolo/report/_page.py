"""The report of a run: its parts in the order in which a person reads them."""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from diabolo import figures
from diabolo.autoencoder.files import REPORT, weights_in
from diabolo.autoencoder.model import Autoencoder
from diabolo.config import Parameter, as_typed, coerce, parameters, summary
from diabolo.datasets import BINARIZED, Dataset, Split
from diabolo.diagnostics import Facts, Finding, diagnose, facts_of
from diabolo.report._frame import framed
from diabolo.report._markup import code, few, marked, number, plural
from diabolo.report._repeat import choices, is_absolute, left_to_the_data, relative, train_call, train_command
from diabolo.report._run_numbers import RANGES, numbers_of
from diabolo.report.run_figures import RunFigure, run_figures
from diabolo.runs.config import REGISTRIES, outside_modules, trust_words
from diabolo.runs.recipes import RECIPES
from diabolo.storage import images
from diabolo.storage.checkpoint import digest_of
from diabolo.storage.files import write_text
from diabolo.training import Settings

__all__ = ["has_report", "write_report"]

TYPED = 8  # dimensions up to which the command to decode spells a latent code out


def write_report(model: Autoencoder, folder: Path, dataset: Dataset, split: Split) -> Path:
    """Draws a run's figures into folder/figures and writes folder/report.html.

    Args:
        model: the trained model.
        folder: the run's folder.
        dataset: its own data, or other data of the same shape.
        split: of that data.

    Returns:
        The path of the page.

    Raises:
        StorageError: a file could not be written.

    A report of a run whose model is in memory:

        write_report(model, Path("runs/digits"), *diabolo.runs.open_data(model))
    """
    facts = facts_of(model, relative(str(folder)), dataset, split)
    here = importlib.resources.files("diabolo.report")
    page = Template(here.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(_title(facts)),
        weights=digest_of(model.model.state_dict()),
        css=here.joinpath("page.css").read_text(encoding="utf-8"),
        header=_header(facts),
        numbers=numbers_of(facts),
        health="\n".join(map(_finding, diagnose(facts))),
        figures="\n".join(_figures(facts, run_figures(model, dataset, split), folder / "figures")),
        used=_used(facts, dataset),
        commands=_commands(facts),
        version=escape(str(facts.config["versions"]["diabolo"])),
    )
    path = folder / REPORT
    write_text(path, page)
    return path


def has_report(folder: Path) -> bool:
    """Whether a run's report is there, and is of the weights that the run has.

    >>> has_report(Path("nowhere"))
    False
    """
    path, weights = folder / REPORT, weights_in(folder)
    return bool(weights) and path.is_file() and weights.encode() in path.read_bytes()


# The header


def _title(facts: Facts) -> str:
    name = facts.config["model"]["name"] or "custom model"
    if name.endswith("ae"):
        name = name.upper()
    elif not name.endswith(("autoencoder", "model")):
        name = f"{name} autoencoder"
    return f"{name[0].upper()}{name[1:]} on {facts.config['data']['name']}"


def _header(facts: Facts) -> str:
    config, data, model = facts.config, facts.config["data"], facts.model
    values = plural(facts.values, "value")
    size = f"{_shape(model)} = {values}" if len(model.event_shape) > 1 else values
    binarized = data.get("binarize", "none")
    drawing = "" if binarized == "none" else f", {BINARIZED[binarized]}"
    lead = (
        f"A network ({config['network']['name'] or 'custom'}) of {config['parameters']:,} parameters, trained for "
        f"{plural(facts.epoch_count, 'epoch')} on {data['examples']['train']:,} examples of {data['name']}, "
        f"each {size}{drawing}, to write an example as {plural(model.latent_dim, 'number')} and to rebuild it from "
        f"{'that' if model.latent_dim == 1 else 'them'}."
    )
    parts = [
        f'<p class="over">diabolo run <code>{escape(facts.run)}</code></p>',
        f"<h1>{escape(_title(facts))}</h1>",
        f'<p class="lead">{escape(lead)}</p>',
        _recipe(config),
    ]
    if "result" not in config:
        text = f"Go on with it: `diabolo resume {shlex.quote(facts.run)}`"
        parts.append(_finding(Finding("note", "Training is not finished", text)))
    if not facts.own:
        text = "The numbers and figures below are of other data than it was trained on; the history is of its own."
        parts.append(_finding(Finding("note", "Shown with other data", text)))
    return "\n".join(parts)


def _recipe(config: Mapping[str, Any]) -> str:
    """The recipe: its source, the settings that differ from it, its notes."""
    name, preset = config["run_config"]["recipe"] or ("", None)
    if name not in RECIPES:
        return ""
    recipe, source = RECIPES[name], config["run_config"]["source"]
    new_source = {} if source == recipe.settings.get("source", source) else {"source": relative(source or "an array")}
    changes = ", ".join(f"{key} {as_typed(value)}" for key, value in {**new_source, **choices(config)}.items())
    notes = [f"<b>Changed for this run</b>: {escape(changes)}."] if changes else []
    if preset and preset in recipe.reasons:
        notes.append(f"<b>{escape(preset)}</b>: {marked(recipe.reasons[preset])}.")
    notes += map(marked, recipe.notes)
    return (
        f'<div class="card"><h2>Recipe {escape(name)}{f", {escape(preset)}" if preset else ""}</h2>'
        f"<p>{escape(recipe.title)}. Source: {marked(recipe.source)}.</p>"
        f"<ul>{''.join(f'<li>{note}</li>' for note in notes)}</ul></div>"
    )


# Health


def _finding(finding: Finding) -> str:
    return (
        f'<div class="card finding {finding.level}"><h3><b>{finding.level.capitalize()}:</b> '
        f"{escape(finding.title)}</h3><p>{marked(finding.text)}</p></div>"
    )


# Figures


def _figures(facts: Facts, run_figures: Iterable[RunFigure], folder: Path) -> Iterator[str]:
    for figure in run_figures:
        light = figure.draw(theme="light")
        figures.save(light, folder / f"{figure.name}.png")
        yield framed(light, figure.draw(theme="dark"), figure.title, figure.caption, _alt(facts, figure))


def _alt(facts: Facts, figure: RunFigure) -> str:
    """The text that a screen reader reads instead of the figure."""
    data, numbers = facts.config["data"], facts.numbers
    points = "Points coloured by class" if data["classes"] else "Points"
    losses = [number(line["train"]["loss"]) for line in facts.epochs] or ["–"]
    kl = numbers.get("kl_per_dimension") or [0.0]
    texts = {
        "reconstructions": f"Up to ten examples of {data['name']} beside what the model makes of them; over all "
        f"{facts.part} examples the mean squared error is {number(numbers['mse'])}.",
        "samples": f"A grid of 100 examples that the model made up, after {data['name']}.",
        "manifold": "A square of decoded examples that change step by step from each one to its neighbours.",
        "traversals": "Rows of decoded examples; along each row one number of the code grows.",
        "codes": f"{points}, one for each {facts.part} example, where its code lies.",
        "codes-3d": f"{points} in space, one for each example, where its code lies.",
        "curves": f"Lines over {plural(facts.epoch_count, 'epoch')}; the training loss goes from {losses[0]} to "
        f"{losses[-1]} nats per example.",
        "kl": f"{plural(len(kl), 'bar')}, from {number(max(kl))} down to {number(min(kl))} nats.",
    }
    return texts.get(figure.name, f"{figure.title}. {figure.caption}")


# Data, model, settings, versions

Row = tuple[str, str, bool]  # a name, HTML, and whether it is a setting at its default


def _used(facts: Facts, dataset: Dataset) -> str:
    config = facts.config
    settings = config["run_config"]["settings"]
    left = left_to_the_data(config)
    tables = {
        "Data": list(_data_rows(facts, dataset)),
        "Model": list(_model_rows(facts, left)),
        "Training": [_option(item, settings.get(item.name, item.default), left) for item in parameters(Settings)],
        "Versions": [_row(name, escape(str(version))) for name, version in config["versions"].items()],
    }
    return "\n".join(_table(caption, rows) for caption, rows in tables.items())


def _data_rows(facts: Facts, dataset: Dataset) -> Iterator[Row]:
    config, data, model = facts.config, facts.config["data"], facts.model
    source = str(config["run_config"]["source"] or "")
    yield _row("name", escape(data["name"]))
    for part, count in data["examples"].items():
        yield _row(f"{part} examples", f"{count:,}")
    yield _row("one example", f"{_shape(model)}, layout {escape(model.layout)}, {dataset.x.dtype}")
    scale = config["preprocess"]["scale"]
    yield _row("scale", f"{escape(scale)} <small>{RANGES.get(scale, '')}</small>")
    for what in ("classes", "features"):
        if data[what]:
            yield _row(f"{len(data[what])} {what}", escape(few(data[what])))
    for name, value in config["run_config"]["data"].items():
        if value is not None and not (name == "data_dir" and is_absolute(value)):
            yield _row(name.replace("_", "-"), escape(as_typed(value)))
    yield _row("fingerprint", f"<code>{escape(data['fingerprint'])}</code>")
    for note in data["notes"]:
        yield _row("note", escape(note.replace(source, relative(source)) if source else note))


def _model_rows(facts: Facts, left: Mapping[str, Any]) -> Iterator[Row]:
    config, model = facts.config, facts.model.model
    for kind, part in (("model", model.objective), ("network", model.network), ("likelihood", model.likelihood)):
        name = config[kind]["name"]
        about = "made by the run's author" if part is None else escape(summary(type(part)))
        yield _row("variant" if kind == "model" else kind, f"<b>{escape(name or 'custom')}</b>. {about}.")
        if kind == "model":
            yield _row("minimises", f"<code>{escape(model.objective.equation)}</code>")
            yield _row("after", marked(model.objective.source))
        for item in parameters(REGISTRIES[kind][name]) if name else ():
            yield _option(item, config[kind]["options"][item.name], left)
    yield _row("latent-dim", f"{facts.model.latent_dim} <small>the dimensions of the code</small>")
    yield _row("parameters", f"{config['parameters']:,}")


def _row(name: str, cell: str) -> Row:
    return name, cell, False


def _option(parameter: Parameter, value: Any, left: Mapping[str, Any]) -> Row:
    value, usual = (coerce(parameter, item) for item in (value, left.get(parameter.name, parameter.default)))
    text, default = (escape(as_typed(item) or "none") for item in (value, usual))
    is_default = value == usual
    cell = text if is_default else f"<mark>{text}</mark> <small>default {default}</small>"
    about = marked(parameter.doc.replace("`", ""))
    return parameter.name.replace("_", "-"), f'{cell}<br><small class="about">{about}</small>', is_default


def _table(caption: str, rows: Sequence[Row]) -> str:
    lines = "".join(
        f'<tr{" class=default" if is_default else ""}><th scope="row">{escape(name)}</th><td>{cell}</td></tr>'
        for name, cell, is_default in rows
    )
    return f'<div class="card"><table><caption>{caption}</caption><tbody>{lines}</tbody></table></div>'


# Commands


def _commands(facts: Facts) -> str:
    config, run = facts.config, facts.run
    source = config["run_config"]["source"]
    command = train_command(config, run) or f"import diabolo\n\n{train_call(config, run)}"
    words = {"network": "modules=(encoder, decoder)", "model": "objective=...", "likelihood": "likelihood=..."}
    own = [f", {word}" for kind, word in words.items() if not config[kind]["name"]]
    outside = outside_modules(config)
    modules = "".join(own) + (f", trust={','.join(outside)!r}" if outside else "")
    shape = ", ".join(map(str, facts.model.event_shape))
    load = f"import diabolo\nmodel = diabolo.load({run!r}{modules})\ncodes = model.encode(x)  # x: (n, {shape})"
    blocks = [("The same run again", command), *_going_on(facts, "" if source else " data.npy"), ("In Python", load)]
    sections = [f"<h3>{escape(title)}</h3><pre>{code(text)}</pre>" for title, text in blocks]
    if source is None:
        sections.insert(1, "<p>It was trained on an array, which has no name: <code>x</code> stands for it.</p>")
    elif is_absolute(source):
        sections.insert(
            1, f"<p>Write the path to <code>{escape(relative(source))}</code> in the place of its name.</p>"
        )
    return (
        f'<p class="soft">From the folder in which <code>{escape(run)}</code> lies. The same versions on the same '
        f"machine give the same numbers.</p>{''.join(sections)}"
    )


def _going_on(facts: Facts, data: str) -> Iterator[tuple[str, str]]:
    """(title, command) for the work with a run; `data` is the source to name where the run's own has no name."""
    model, run = facts.model, shlex.quote(facts.run) + trust_words(facts.config)
    to_array = "" if images.is_image(model.layout) else " --out examples.npy"
    yield (
        "Train it for longer",
        f"diabolo resume {run} --epochs {2 * max(facts.epoch_count, facts.config['run_config']['settings']['epochs'])}"
        + (f" --source{data}" if data else ""),
    )
    yield "Codes of its data, as a table", f"diabolo encode {run}{data} --out codes.csv"
    typed = f"--code {','.join(['0'] * model.latent_dim)}" if model.latent_dim <= TYPED else "--codes codes.csv"
    yield "Codes to examples", f"diabolo decode {run} {typed}{to_array}"
    if model.has_prior:
        yield "New examples", f"diabolo sample {run} -n 100{to_array}"
    yield "Its figures again, for a dark page", f"diabolo plot {run}{data} --theme dark"


def _shape(model: Autoencoder) -> str:
    return " × ".join(map(str, model.event_shape))
