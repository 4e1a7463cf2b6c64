"""Concept vectors from two groups of examples of an atlas: learned, listed, removed; saved in the run's folder."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from diabolo.autoencoder.files import remove_artifact, write_artifact
from diabolo.config import require
from diabolo.errors import ConfigError, DataError, RunError, StorageError, unknown_name
from diabolo.explorer._atlas import Atlas
from diabolo.explorer._run_state import saves
from diabolo.latent.artifacts import concept_path, name_of
from diabolo.latent.concepts import ConceptVector, check_name

__all__ = ["ConceptGroups", "concepts_of", "forget", "learn"]

log = logging.getLogger("diabolo")

LONGEST = 100  # characters of a group's name


@dataclass(frozen=True)
class ConceptGroups:
    """Two groups of examples, and the name of the concept between them.

    Attributes:
        name: of the concept.
        positive: the numbers of the examples that show it.
        negative: of those that do not.
        positive_name: of the first group.
        negative_name: of the second group.
        replace: whether it may replace a concept of the same name.
    """

    name: str
    positive: list[int]
    negative: list[int]
    positive_name: str = "positive"
    negative_name: str = "negative"
    replace: bool = False


def concepts_of(atlas: Atlas) -> list[dict[str, Any]]:
    """The concepts of a run, by name."""
    return [_entry(atlas, one) for _, one in sorted(atlas.model.concepts.items())]


def learn(atlas: Atlas, groups: ConceptGroups) -> dict[str, Any]:
    """Learns a concept, and saves it where the run's folder can be written to.

    Raises:
        ConfigError: a concept of this name exists, or the name is no file name.
        DataError: a group that is too small, or a number that no example has.
    """
    check_name(groups.name)
    for field in ("positive_name", "negative_name"):
        title = getattr(groups, field)
        is_text = title.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in title)
        require(0 < len(title) <= LONGEST and is_text, field, f"1 to {LONGEST} characters of text", title[:LONGEST])
        if not getattr(groups, field.removesuffix("_name")):
            raise DataError(f"There is no example of {title!r}: choose some for each of the two groups.")
    if groups.name in atlas.model.concepts and not groups.replace:
        raise ConfigError(
            f"There is a concept {groups.name!r} already: replace it (replace=true), or take another name."
        )
    codes = [atlas.codes[np.unique(atlas.checked_ids(ids, None))] for ids in (groups.positive, groups.negative)]
    concept = ConceptVector.fit(*codes, name=groups.name, positive=groups.positive_name, negative=groups.negative_name)
    entry = _entry(atlas, concept)
    json.dumps(entry, allow_nan=False).encode()  # what cannot be answered is not kept
    atlas.model.concepts[groups.name] = concept
    return {**entry, "saved": _save(atlas, concept)}


def forget(atlas: Atlas, name: str) -> None:
    """Removes a concept from the model and from the run's folder.

    Raises:
        ConfigError: there is no such concept.
        StorageError: its file could not be removed.
    """
    if name not in atlas.model.concepts:
        raise unknown_name("concept", name, atlas.model.concepts)
    if atlas.model.folder is not None:
        remove_artifact(atlas.model.folder, name_of(atlas.model.concepts[name]))
    del atlas.model.concepts[name]


def _save(atlas: Atlas, concept: ConceptVector) -> bool:
    """Writes a concept into the run's folder; whether that was possible."""
    if not saves(atlas) or atlas.model.folder is None:
        return False
    try:
        write_artifact(atlas.model.folder, atlas.model.model, concept)
    except (RunError, StorageError) as error:
        log.warning("%s", error)
        return False
    return True


def _entry(atlas: Atlas, one: ConceptVector) -> dict[str, Any]:
    numbers = ("unit", "gap", "middle", "auc", "auc_low", "auc_high")
    folder = atlas.model.folder
    return {
        "name": one.name,
        "direction": [float(value) for value in one.direction],
        **{name: float(getattr(one, name)) for name in numbers},
        "positive": one.positive,
        "negative": one.negative,
        "counts": list(one.counts),
        "method": one.method,
        "saved": folder is not None and concept_path(folder, one.name).exists(),
    }
