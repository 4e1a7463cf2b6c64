"""Concepts that are learned while a person looks at a run: from two groups of its examples, kept with the run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from diabolo.config import require
from diabolo.errors import ConfigError, DataError, StorageError, unknown_name
from diabolo.explorer._atlas import Atlas
from diabolo.explorer._run_state import saves
from diabolo.latent.artifacts import concept_path
from diabolo.latent.concepts import ConceptVector, check_name

__all__ = ["Lesson", "concepts_of", "forget", "learn"]

log = logging.getLogger("diabolo")

LONGEST = 100  # characters of what a group is called


@dataclass(frozen=True)
class Lesson:
    """What a concept is learned from.

    Attributes:
        name: of the concept.
        positive: the places of the atlas' examples that show it.
        negative: of those that do not.
        positive_name: what the first group is called.
        negative_name: what the second one is called.
        replace: whether it takes the place of one that is there.
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


def learn(atlas: Atlas, lesson: Lesson) -> dict[str, Any]:
    """Learns a concept, and keeps it with the run where its folder can be written.

    Raises:
        ConfigError: there is one of this name, or no file could have it.
        DataError: a group that is too small, or examples that are not there.
    """
    check_name(lesson.name)
    for which in ("positive_name", "negative_name"):
        called = getattr(lesson, which)
        require(0 < len(called) <= LONGEST, which, f"1 to {LONGEST} characters", called[:LONGEST])
        if not getattr(lesson, which.removesuffix("_name")):
            raise DataError(f"There is no example of {called!r}: choose some for each of the two groups.")
    if lesson.name in atlas.model.concepts and not lesson.replace:
        raise ConfigError(
            f"There is a concept {lesson.name!r} already: replace it (replace=true), or take another name."
        )
    groups = [atlas.codes[np.unique(atlas.chosen(ids, None))] for ids in (lesson.positive, lesson.negative)]
    made = ConceptVector.fit(*groups, name=lesson.name, positive=lesson.positive_name, negative=lesson.negative_name)
    atlas.model.concepts[lesson.name] = made
    return {**_entry(atlas, made), "saved": _keep(atlas, made)}


def forget(atlas: Atlas, name: str) -> None:
    """Removes a concept, also from the run's folder.

    Raises:
        ConfigError: there is none of this name.
        StorageError: its file could not be removed.
    """
    if name not in atlas.model.concepts:
        raise unknown_name("concept", name, atlas.model.concepts)
    if atlas.model.folder is not None:
        path = concept_path(atlas.model.folder, name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path} could not be removed: {error.strerror or error}.") from error
    del atlas.model.concepts[name]


def _keep(atlas: Atlas, made: ConceptVector) -> bool:
    """Writes a concept into the run's folder, where that can be."""
    if not saves(atlas) or atlas.model.folder is None:
        return False
    try:
        made.save(concept_path(atlas.model.folder, made.name))
    except StorageError as error:
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
