"""The labels of examples, checked against what a variant takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.objectives._base import Objective

__all__ = ["checked_labels", "labels_of"]

UNKNOWN = "-1"  # the name of a class that is none, where a variant takes such examples


def labels_of(
    objective: Objective, y: Any, classes: Sequence[str], count: int, name: str = "The data"
) -> np.ndarray | None:
    """The labels of a data set as a variant numbers its classes, (N,) int64; None where it takes none.

    Args:
        objective: the variant, built.
        y: (N,), places in `classes`, or None.
        classes: the names of the data set's classes, in whichever order; () for labels that are no classes.
        count: N.
        name: of the data set.

    Raises:
        ConfigError, DataError, ShapeError: see `checked_labels`; or the data have a class that the variant has not.

    >>> from diabolo.models.objectives import objectives
    >>> labels_of(objectives.create("vae"), [0, 1], ("a", "b"), 2) is None
    True
    """
    if y is not None and classes and objective.labels != "none":
        places = {known: place for place, known in enumerate(objective.space.classes)}
        is_partial = objective.labels == "partial"
        strange = [one for one in classes if one not in places and not (is_partial and one == UNKNOWN)]
        if strange:
            raise DataError(f"{name} has the class {strange[0]!r}, and this model has {', '.join(places) or 'none'}.")
        own = np.array([places.get(one, -1) for one in classes])
        y = np.where(np.asarray(y) < 0, -1, own[np.asarray(y)])
    return checked_labels(objective, y, count)


def checked_labels(objective: Objective, y: Any, count: int) -> np.ndarray | None:
    """The labels that a variant takes with its examples, (N,) int64; None where it takes none.

    Args:
        objective: the variant, built.
        y: (N,), a class for each example, or None.
        count: N.

    Raises:
        ConfigError: there are none, and the variant requires them.
        ShapeError: there are more or fewer than examples.
        DataError: they are no classes, or not of those that the variant was built for.

    >>> from diabolo.models.objectives import objectives
    >>> checked_labels(objectives.create("vae"), [0, 1], 2) is None
    True
    """
    if objective.labels == "none":
        return None
    classes = objective.space.classes
    named = f"its classes are {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
    if y is None:
        if objective.labels == "partial":
            return np.full(count, -1, np.int64)
        raise ConfigError(
            f"The variant {type(objective).__name__} takes a label with each example, and there is none: give them "
            f"({named})."
        )
    numbers = np.asarray(y)
    if numbers.shape != (count,):
        raise ShapeError(f"Labels should have the shape ({count},), one for each example, and have {numbers.shape}.")
    if numbers.dtype.kind in "USO":
        places = {name: place for place, name in enumerate(classes)}
        strange = sorted({str(name) for name in numbers} - set(places))
        if strange:
            raise DataError(f"There is no class {strange[0]!r}: {named}.")
        return np.array([places[str(name)] for name in numbers], np.int64)
    if numbers.dtype.kind not in "iub":
        raise DataError(f"Labels are numbers of classes or their names, and these are {numbers.dtype}: {named}.")
    least = -1 if objective.labels == "partial" else 0
    outside = numbers[(numbers < least) | (numbers >= len(classes))]
    if len(outside):
        unknown = "; -1 stands for unknown" if least else ""
        raise DataError(
            f"There is no class number {outside[0]}: there are 0 to {len(classes) - 1}{unknown}, and {named}."
        )
    return numbers.astype(np.int64)
