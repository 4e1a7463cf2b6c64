"""The page of a comparison: the leaderboard, the same examples through every model, the protocol."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from diabolo import figures
from diabolo._version import __version__
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError
from diabolo.metrics.comparison import Comparison, Standing
from diabolo.report._frame import framed
from diabolo.report._markup import few
from diabolo.storage.files import write_text

__all__ = ["write_comparison"]

SAMPLES = 40


def write_comparison(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Writes a comparison as one HTML page that loads nothing from elsewhere.

    Args:
        comparison: the result of `compare`.
        path: of the page; it ends in .html.

    Raises:
        ConfigError: another ending.
        StorageError: it could not be written.

    >>> import tempfile, diabolo
    >>> models = [diabolo.train("digits", latent_dim=d, widths=(8,), epochs=1, precision="float32") for d in (2, 3)]
    >>> board = diabolo.compare(models, metrics=["mse"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_comparison(board, Path(folder) / "board.html").stat().st_size > 10_000
    True
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"A page should end in .html, and was to go to {path}.")
    here = importlib.resources.files("diabolo.report")
    names = [card.model for card in comparison.scorecards]
    first = comparison.scorecards[0]
    page = Template(here.joinpath("comparison.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{len(names)} models on {first.data}"),
        css=here.joinpath("page.css").read_text(encoding="utf-8"),
        lead=escape(f"{few(names)}: measured on the same {first.examples:,} examples, which none was trained on."),
        leaderboard=_leaderboard(comparison),
        pictures="\n".join(_pictures(comparison)),
        protocol=_protocol(comparison),
        version=escape(__version__),
    )
    write_text(path, page)
    return path


def _leaderboard(comparison: Comparison) -> str:
    heads = "".join(f'<th scope="col">{escape(card.model)}</th>' for card in comparison.scorecards)
    rows = []
    for name in comparison.names:
        standings = comparison.standings(name)
        item = next(one.measurement for one in standings if one is not None)
        direction = {"lower": "lower is better", "higher": "higher is better"}.get(item.better, "")
        beneath = ", ".join(filter(None, [comparison.unit(name), direction]))
        cells = "".join(_cell(one, "" if one is None else comparison.text(one)) for one in standings)
        rows.append(f'<tr><th scope="row">{escape(item.title)}<br><small>{escape(beneath)}</small></th>{cells}</tr>')
    return (
        f'<div class="card scroll"><table class="board"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="soft">Each number with its standard error over the examples. <mark>Marked</mark>: the best. '
        "<i>\u2248 best</i>: no worse than it beyond the 95% error of their difference. Numbers measured with "
        "different likelihoods, features or counts are not ranked against each other.</p>"
    )


def _cell(standing: Standing | None, text: str) -> str:
    if standing is None:
        return "<td>\u2013</td>"
    text = escape(text)
    if standing.best:
        return f"<td><mark>{text}</mark></td>"
    if standing.tied:
        return f"<td>{text}<br><small><i>\u2248 best</i></small></td>"
    return f"<td>{text}</td>"


def _pictures(comparison: Comparison) -> Iterator[str]:
    for card, model in zip(comparison.scorecards, comparison.models, strict=True):
        yield f"<h3>{escape(card.model)}</h3>"
        yield '<div class="pair">'
        displayed = model.model.preprocess.displayed
        features = tuple(model.info.get("data", {}).get("features", ()))
        x = np.asarray(comparison.examples.x)
        draw: Callable[..., Any] = partial(
            figures.reconstructions,
            displayed(x),
            displayed(model.reconstruct(comparison.examples)),
            model.layout,
            len(x),
            features=features,
        )
        alt = f"{len(x)} examples and what {card.model} makes of them."
        yield framed(
            draw(theme="light"), draw(theme="dark"), "Reconstructions", "The same examples for every model.", alt
        )
        if (model.has_prior or model.prior is not None) and model.layout in ("HW", "HWC", "CHW"):
            yield _sampled(model, card.model)
        yield "</div>"


def _sampled(model: Autoencoder, name: str) -> str:
    samples = model.model.preprocess.displayed(model.sample(SAMPLES, seed=0))
    draw = partial(figures.samples, samples, model.layout, columns=10)
    origin = "its fitted prior" if model.prior is not None else f"its prior {model.own_prior}"
    alt = f"{SAMPLES} examples that {name} made up."
    return framed(draw(theme="light"), draw(theme="dark"), "Samples", f"Codes drawn from {origin}, seed 0.", alt)


def _protocol(comparison: Comparison) -> str:
    first = comparison.scorecards[0]
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in first.protocol)
    how = []
    for name in comparison.names:
        ways = {one.measurement.how: one.measurement.title for one in comparison.standings(name) if one is not None}
        how += [f"<dt>{escape(title)}</dt><dd>{escape(way)}</dd>" for way, title in ways.items()]
    left = "".join(
        f"<li>{escape(card.model)}: {escape(sentence)}</li>"
        for card in comparison.scorecards
        for sentence in card.left_out
    )
    return f'<div class="card"><ul>{sentences}{left}</ul><dl class="how">{"".join(how)}</dl></div>'
