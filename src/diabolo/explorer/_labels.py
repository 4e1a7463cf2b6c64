"""Classes that requests name, as the numbers that a model takes with its examples and codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diabolo._words import whole_number
from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError
from diabolo.models.objectives import checked_labels

__all__ = ["LONGEST", "labels_of"]

LONGEST = 200  # characters of a class


def labels_of(model: Autoencoder, words: Sequence[str], count: int, *, needed: bool = True) -> np.ndarray | None:
    """The classes of some examples or codes, (count,) int64; None where the model takes none, or takes its own.

    Args:
        model: the trained model.
        words: the classes, by name or number: one for all, or one for each; none where the request names none.
        count: the examples or codes.
        needed: whether there is no other class to take, where the model requires one.

    Raises:
        ConfigError: the model takes no classes and is given one, or requires one and is given none.
        ShapeError, DataError: more or fewer classes than examples, or one that the model does not know.
    """
    if model.labels == "none":
        if words:
            raise ConfigError("label is for models that take a class with each example, and this model takes none.")
        return None
    classes = model.model.objective.space.classes
    if not words:
        if needed and model.labels == "required" and model.label is None:
            some = f"{', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
            raise ConfigError(
                "This model takes a class with each example and each code: add label=NAME, or its number, once for all "
                f"or once for each. Its classes are {some}."
            )
        return None
    places = {name: place for place, name in enumerate(classes)}
    numbers = [places[word] if word in places else _number(word) for word in words]
    given = np.array(words if None in numbers else numbers)
    return checked_labels(model.model.objective, np.repeat(given, count) if len(words) == 1 else given, count)


def _number(word: str) -> int | None:
    """The number that a word is, if it is a short one."""
    number = whole_number(word.removeprefix("-"))
    return -number if number and word.startswith("-") else number
