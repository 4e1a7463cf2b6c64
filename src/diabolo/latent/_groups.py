"""The two groups of latent codes that a concept vector is learned from."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.errors import ConfigError, DataError, ShapeError, unknown_name
from diabolo.latent.geometry import checked_codes
from diabolo.storage.foreign import as_array

__all__ = ["find_groups", "hold_out", "without_overlap"]

log = logging.getLogger("diabolo")

Codes = npt.NDArray[np.float64]
HELD_OUT = 0.3  # of each group
LEAST = 4  # examples of each group: two to learn from and two to judge by


def find_groups(codes: Any, labels: Any, positive: Any, negative: Any) -> tuple[tuple[Codes, Codes], tuple[str, str]]:
    """The codes of the positive and of the negative group, and the names of the groups."""
    points = checked_codes(codes, "codes")
    values = as_array("labels", labels)
    if values.ndim == 2:
        other = checked_codes(values, "the negative group's codes")
        if other.shape[1] != points.shape[1]:
            raise ShapeError(
                f"The groups' codes have {points.shape[1]} and {other.shape[1]} numbers: they do not match."
            )
        return (points, other), (str(positive or "positive"), str(negative or "negative"))
    if values.shape != (len(points),):
        raise ShapeError(f"Labels should have the shape ({len(points)},), one for each code, and have {values.shape}.")
    missing = sum(value is None or value != value for value in values.tolist())
    if missing:
        raise DataError(f"{missing:,} labels are missing: leave those examples out.")
    names = np.array([_name(value) for value in values.tolist()])
    positive_label, negative_label = _labels_of(np.unique(names).tolist(), positive, negative)
    group = points[names == positive_label if positive_label else names != negative_label]
    other = points[names == negative_label if negative_label else names != positive_label]
    return (group, other), (positive_label or f"not {negative_label}", negative_label or f"not {positive_label}")


def _labels_of(names: list[str], positive: Any, negative: Any) -> tuple[str | None, str | None]:
    """The labels of the two groups; None stands for all examples outside the other group."""
    if len(names) < 2:
        raise DataError(f"All labels are {names[0]!r}: a concept needs examples with it and examples without it.")
    first, last = (None if label is None else _name(label) for label in (positive, negative))
    for label in (first, last):
        if label is not None and label not in names:
            raise unknown_name("label", label, names)
    if first is not None and first == last:
        raise ConfigError(f"The positive and the negative group are both {first!r}: they should be two groups.")
    if len(names) == 2:
        first = first or next(name for name in reversed(names) if name != last)
        return first, next(name for name in names if name != first)
    if first is None and last is None:
        few = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise ConfigError(f"There are {len(names)} labels ({few}): name the positive one, or both groups.")
    return first, last


def _name(label: Any) -> str:
    """The name of a label; 1 and 1.0 have the same."""
    return f"{label:g}" if isinstance(label, float) else str(label)


def without_overlap(groups: tuple[Codes, Codes], names: tuple[str, str]) -> tuple[Codes, Codes]:
    """The groups without the codes that are in both: a few are errors of labels, many are a mistake of the user.

    Raises:
        DataError: at least half of a group is in the other one, or a group is too small.
    """
    keys = [list(map(bytes, np.ascontiguousarray(group))) for group in groups]
    shared = set(keys[0]) & set(keys[1])
    masks = [np.array([key not in shared for key in part], bool) for part in keys]
    if any(2 * mask.sum() <= len(mask) for mask in masks):
        raise DataError(
            f"{len(shared):,} codes are in both {names[0]!r} and {names[1]!r}: the same examples are in both groups. "
            "Leave them out of one."
        )
    if shared:
        log.warning("%s in both %r and %r: left out of both.", _examples(len(shared)), *names)
    remaining = [group[mask] for group, mask in zip(groups, masks, strict=True)]
    for group, name in zip(remaining, names, strict=True):
        if len(group) < LEAST:
            raise DataError(
                f"The group {name!r} has {_examples(len(group))}; at least {LEAST} are needed, so that some can be "
                "held out to judge the direction by."
            )
    return remaining[0], remaining[1]


def _examples(count: int) -> str:
    return f"{count:,} example{'' if count == 1 else 's'}"


def hold_out(groups: tuple[Codes, Codes], seed: int) -> tuple[tuple[Codes, Codes], tuple[Codes, Codes]]:
    """The groups in two parts: for learning the direction, and for judging it."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(group)) for group in groups]
    counts = [max(2, round(HELD_OUT * len(group))) for group in groups]
    training = [group[order[count:]] for group, order, count in zip(groups, orders, counts, strict=True)]
    test = [group[order[:count]] for group, order, count in zip(groups, orders, counts, strict=True)]
    return (training[0], training[1]), (test[0], test[1])
