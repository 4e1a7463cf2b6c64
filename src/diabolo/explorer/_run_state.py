"""The description of a run for the page, as JSON objects: the model, its data, its health."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from diabolo._version import __version__
from diabolo.autoencoder.model import Autoencoder
from diabolo.config import summary
from diabolo.diagnostics import DEAD, diagnose, facts_of
from diabolo.evaluation.terms import ACTIVE
from diabolo.explorer._atlas import Atlas
from diabolo.latent.anomalies import SCORES
from diabolo.models.objectives import checked_labels
from diabolo.storage import images

__all__ = ["about", "health_of", "saves", "state_of", "tokens_of"]

RANGE_EXAMPLES = 2_000  # from which the range of values is computed
QUANTILES = (0.005, 0.995)
UNITS = {"mse": "squared error per value", "bits_per_dim": "bits per value"}
NOT_CURVES = ("active_units", "kl_per_dimension")


def about(model: Autoencoder, name: str) -> dict[str, Any]:
    """The description of a model.

    Args:
        model: the trained model.
        name: of it.
    """
    config = model.model.config()
    return {
        "name": name,
        "diabolo": __version__,
        "event_shape": list(model.event_shape),
        "layout": model.layout,
        "latent_dim": model.latent_dim,
        "code_shape": list(model.code_shape),
        "parameters": model.model.parameter_count,
        **{kind: config[kind]["name"] for kind in ("model", "network", "likelihood")},
        "classes": list(model.classes),
        "labels": model.labels,
        "label_classes": [] if model.labels == "none" else list(model.model.objective.space.classes),
        "label": _own_label(model),
        "tokens": tokens_of(model),
        "parts": [list(part) for part in model.model.objective.sections],
        "density": model.has_density,
        "prior": model.prior.kind if model.prior else "own" if model.has_prior else None,
        "scores": list(SCORES) if model.has_bound else [s for s in SCORES if s not in ("elbo", "likelihood")],
    }


def tokens_of(model: Autoencoder) -> dict[str, int] | None:
    """How many tokens a code is written with, and how many entries each may be; None where codes are no tokens."""
    entries = model.model.objective.entries
    if not entries:
        return None
    with torch.no_grad():
        index = model.model.passed(torch.zeros(1, *model.model.preprocess.model_shape, device=model.device))[0].index
    if index is None:
        return None
    return {"positions": index.shape[1], "levels": index.shape[2], "entries": entries}


def _own_label(model: Autoencoder) -> str | None:
    """The name of the class that the model takes where none is given."""
    if model.labels == "none" or model.label is None:
        return None
    classes = model.model.objective.space.classes
    numbers = checked_labels(model.model.objective, np.array([model.label]), 1)
    return classes[numbers[0]] if numbers is not None and numbers[0] >= 0 else None


def state_of(atlas: Atlas) -> dict[str, Any]:
    """The first answer that the page needs, before any array.

    Args:
        atlas: of the run.
    """
    model, dataset = atlas.model, atlas.dataset
    limit = model.threshold
    description = about(model, atlas.name)
    return {
        **description,
        "prior": description["prior"] or "none",
        "display": _display(atlas),
        "summary": _sentence(model),
        "variant": _variant(model),
        "classes": list(dataset.classes),
        "features": list(dataset.features),
        "count": len(atlas),
        "data": {
            "name": dataset.name,
            "total": len(dataset),
            "own": atlas.own,
            "fingerprint": dataset.fingerprint,
        },
        "columns": [column.entry() for column in atlas.columns],
        "layouts": [{"name": name, "labels": list(one.labels)} for name, one in atlas.placements.items()],
        "named": bool(dataset.ids),
        "threshold": None if limit is None else {"limit": limit.value, **limit.config()},
        "run": atlas.run,
    }


def saves(atlas: Atlas) -> bool:
    """Whether the run's folder can be written to."""
    folder = atlas.model.folder
    return folder is not None and folder.is_dir() and os.access(folder, os.W_OK)


def health_of(atlas: Atlas) -> dict[str, Any]:
    """The health of the loss, the latent code and the training, with the curves and the numbers behind it.

    Data other than that of the training is measured when this is called.
    """
    facts = facts_of(atlas.model, atlas.run or "RUN", atlas.dataset, atlas.split)
    kl = facts.numbers.get("kl_per_dimension")
    spreads = atlas.codes.std(0, dtype=np.float64)
    active = spreads**2 > ACTIVE if kl is not None else spreads >= max(1e-6, DEAD * float(spreads.max()))
    finite = {name: value if _is_finite(value) else None for name, value in facts.numbers.items()}
    return {
        "findings": [{"level": one.level, "title": one.title, "text": one.text} for one in diagnose(facts)],
        "curves": list(_curves(facts.epochs)),
        "dimensions": [
            {
                "index": dim,
                "kl": None if kl is None else float(kl[dim]),
                "spread": float(spread),
                "active": bool(active[dim]),
            }
            for dim, spread in enumerate(spreads)
        ],
        "numbers": {**finite, "examples": facts.count},
        "part": facts.part,
    }


def _is_finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value).all())


def _curves(epochs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each term of the loss over the epochs, on the training part and on a held-out part."""
    parts = {"training": "train"}
    held_out = next((part for part in ("validation", "test") if any(part in line for line in epochs)), None)
    if held_out:
        parts["validation"] = held_out
    names = dict.fromkeys(name for line in epochs for part in parts.values() for name in line.get(part, ()))
    for name in names:
        if name in NOT_CURVES:
            continue
        lines = {title: [line.get(part, {}).get(name) for line in epochs] for title, part in parts.items()}
        yield {
            "name": name,
            "unit": UNITS.get(name, "nats per example"),
            "epochs": [int(line["epoch"]) for line in epochs],
            "held": held_out or "validation",
            **{title: _known(lines.get(title, ())) for title in ("training", "validation")},
        }


def _known(values: Sequence[Any]) -> list[float | None] | None:
    plain = [float(value) if isinstance(value, int | float) and math.isfinite(value) else None for value in values]
    return plain if any(value is not None for value in plain) else None


def _display(atlas: Atlas) -> dict[str, Any]:
    """The display of examples: image, signal or values, and their range."""
    model, layout, x = atlas.model, atlas.model.layout, atlas.dataset.x
    if images.is_image(layout):
        low, high = (0.0, 1.0) if x.dtype == np.uint8 else model.model.preprocess.display  # as decoded ones are drawn
        sides = dict(zip(layout, model.event_shape, strict=True))
        channels = sides.get("C", 1)
        shape = {"height": sides["H"], "width": sides["W"], "channels": channels}
        return {"kind": "image", **shape, "low": low, "high": high if high > low else low + 1.0}
    if x.dtype == np.uint8:
        low, high = 0.0, 1.0
    else:
        rows = atlas.indices[np.linspace(0, len(atlas) - 1, min(RANGE_EXAMPLES, len(atlas))).astype(np.int64)]
        low, high = (float(value) for value in np.quantile(x[rows], QUANTILES))
    kind = "signal" if layout in ("LC", "CL") else "values"
    display = {"kind": kind, "low": low, "high": high if high > low else low + 1.0}
    if layout == "F" and x.dtype != np.uint8:  # each feature has units of its own
        lows, highs = np.quantile(x[rows], QUANTILES, axis=0)
        display |= {"lows": lows.tolist(), "highs": np.where(highs > lows, highs, lows + 1.0).tolist()}
    return display


def _sentence(model: Autoencoder) -> str:
    """One sentence on the model."""
    config = model.model.config()
    network = config["network"]["name"]
    data = model.info.get("data", {}).get("name")
    kind = _kind((config["model"]["name"] or "custom").rpartition(":")[2])  # of my_module:Variant its own name
    article = "An" if kind[0].lower() in "aeiou" else "A"
    by = f" ({network})" if network else ""
    size = f"{model.latent_dim} number{'' if model.latent_dim == 1 else 's'}"
    return f"{article} {kind}{by} with a code of {size}" + (f", trained on {data}" if data else "")


def _kind(name: str) -> str:
    """The name of a variant in a sentence: vae, denoising, sparse, ..."""
    if name == "vae":
        return "variational autoencoder"
    return name if name.endswith(("autoencoder", "ae")) else f"{name} autoencoder"


def _variant(model: Autoencoder) -> str:
    objective = model.model.objective
    text = f"{summary(type(objective))}." if summary(type(objective)) else ""
    return f"{text}\nMinimises {objective.equation}\nAfter {objective.source}".strip()
