"""Concept vectors: directions in the code that lead from examples without something to examples with it."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from diabolo.config import require
from diabolo.errors import ConfigError, DataError, RunError, ShapeError, unknown_name
from diabolo.latent.geometry import checked_codes
from diabolo.storage.checkpoint import load_tensors, save_tensors

__all__ = ["METHODS", "ConceptVector", "check_name"]

log = logging.getLogger("diabolo")

Codes = npt.NDArray[np.float64]
METHODS = ("mean", "logistic", "svm")
FORMAT = 1
HELD_OUT = 0.3
LEAST = 4  # examples of each group: two to learn from and two to judge by


@dataclass(frozen=True, eq=False)
class ConceptVector:
    """A direction in the code of d numbers, and how well it separates two groups.

    Attributes:
        name: what it is called.
        direction: (d,), float32, of length 1; it points from the negative group to the positive one.
        unit: how far a strength of 1 moves a code: one standard deviation of the codes within the groups along it.
        gap: how many units the means of the groups lie apart.
        middle: where the middle between the groups' means lies along the direction.
        auc: the probability that a positive code lies further along the direction than a negative one, on codes that
            it was not learned from.
        auc_low: the lower end of its 95% interval.
        auc_high: the upper end.
        method: how it was learned.
        positive: what the positive group is called.
        negative: what the negative one is called.
        counts: examples of the positive and of the negative group.
        orthogonal_to: the concepts that it leaves alone.
        seed: of the choice of the examples that are held out.
    """

    name: str
    direction: npt.NDArray[np.float32]
    unit: float
    gap: float
    middle: float
    auc: float
    auc_low: float
    auc_high: float
    method: str
    positive: str
    negative: str
    counts: tuple[int, int]
    orthogonal_to: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def fit(
        cls,
        codes: Any,
        labels: Any,
        *,
        name: str = "concept",
        positive: Any = None,
        negative: Any = None,
        method: str = "mean",
        orthogonal_to: Sequence[ConceptVector] = (),
        seed: int = 0,
    ) -> Self:
        """Learns the direction from two groups of codes.

        Three tenths of each group are held out: a direction learned from the rest is judged on them (AUC, with the
        interval of DeLong et al. 1988, https://doi.org/10.2307/2531595); the one that is kept is learned from all.

        - `mean`: from the mean of the negative codes to that of the positive ones (Larsen et al. 2016,
          https://arxiv.org/abs/1512.09300).
        - `logistic`, `svm`: the normal of the plane by which a logistic regression, or a linear support vector machine,
          tells the groups apart (Shen et al. 2020, https://arxiv.org/abs/1907.10786).

        Codes that are in both groups are left out of both, with a warning.

        Args:
            codes: (n, d): of both groups, or of the positive group alone where `labels` holds the negative one.
            labels: (n,), one for each code; or (m, d), the codes of the negative group.
            name: letters, digits, - and _: it becomes a file's name.
            positive: the label of the positive group. When left out: the larger of two labels, or all that are not
                `negative`.
            negative: the label of the negative group; all others when left out.
            method: mean, logistic or svm.
            orthogonal_to: concepts whose directions are taken out of it.
            seed: of the choice of what is held out.

        Raises:
            ConfigError: an unknown method or label, or a name that no file could have.
            DataError: a group that is empty or too small, half a group or more that is in the other, too, labels that
                are all one class.
            ShapeError: no such arrays.
        """
        check_name(name)
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        require(seed >= 0, "seed", "a number of at least 0", seed)
        groups, called = _groups(codes, labels, positive, negative)
        groups = _told_apart(groups, called)
        others = _basis(orthogonal_to, groups[0].shape[1])
        learned, held = _held_out(groups, seed)
        area, deviation = _auc(*(part @ _direction(learned, method, others) for part in held))
        direction = _direction(groups, method, others)
        along = [group @ direction for group in groups]
        unit = math.sqrt(sum(np.square(part - part.mean()).sum() for part in along) / (sum(map(len, along)) - 2))
        if not unit > 0:
            raise DataError(
                f"The codes within {called[0]!r} and within {called[1]!r} do not vary along the direction between "
                "them: there is no unit to count its strength in. Give groups of examples that differ."
            )
        return cls(
            name,
            direction.astype(np.float32),
            unit,
            float((along[0].mean() - along[1].mean()) / unit),
            float((along[0].mean() + along[1].mean()) / 2),
            area,
            max(0.0, area - 1.96 * deviation),
            min(1.0, area + 1.96 * deviation),
            method,
            *called,
            (len(groups[0]), len(groups[1])),
            tuple(other.name for other in orthogonal_to),
            seed,
        )

    def apply(self, codes: Any, strength: Any = 1.0) -> npt.NDArray[np.float32]:
        """Codes moved along the direction, float32 (n, d).

        Args:
            codes: (n, d).
            strength: how far, in units; one number, or (n,).

        Raises:
            ShapeError: codes of another width, or strengths that are not one for each.
            DataError: numbers that are not finite.
        """
        points = self._checked(codes)
        amount = np.asarray(strength, np.float64)
        if amount.shape not in ((), (len(points),)):
            raise ShapeError(
                f"A strength is one number, or one for each of the {len(points):,} codes; its shape is {amount.shape}."
            )
        if not np.isfinite(amount).all():
            raise DataError("A strength is NaN or infinite; a number of units is expected, such as 2.")
        moved = points + np.multiply.outer(amount * self.unit, self.direction.astype(np.float64))
        return moved.astype(np.float32)

    def project(self, codes: Any) -> npt.NDArray[np.float64]:
        """How far along the direction codes lie, (n,), in units from the middle between the groups' means.

        Args:
            codes: (n, d).
        """
        along: npt.NDArray[np.float64] = self._checked(codes) @ self.direction.astype(np.float64) - self.middle
        return along / self.unit

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as one safetensors file, whole or not at all.

        Raises:
            StorageError: the file could not be written.
        """
        import torch

        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "direction"}
        save_tensors(path, {"direction": torch.from_numpy(self.direction)}, {"format": FORMAT, **numbers})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote.

        Raises:
            RunError: it is not there, is truncated, was edited, or is of a newer version.
        """
        tensors, numbers = load_tensors(path)
        version = numbers.pop("format", None)
        if isinstance(version, int) and version > FORMAT:
            raise RunError(
                f"{path} was written in format {version}, by a newer diabolo; this one reads up to {FORMAT}. "
                "Upgrade it: pip install --upgrade diabolo"
            )
        edited = RunError(f"{path} does not hold a concept vector: it was edited; restore it or learn it again.")
        if set(tensors) != {"direction"} or set(numbers) != {item.name for item in fields(cls)} - {"direction"}:
            raise edited
        direction = tensors["direction"].numpy()
        reals = ("unit", "gap", "middle", "auc", "auc_low", "auc_high")
        plain = all(isinstance(numbers[name], int | float) and math.isfinite(numbers[name]) for name in reals)
        if direction.ndim != 1 or not np.isfinite(direction).all() or not plain or numbers["unit"] <= 0:
            raise edited
        for name in ("counts", "orthogonal_to"):
            if not isinstance(numbers[name], list):
                raise edited
            numbers[name] = tuple(numbers[name])
        return cls(direction=direction.astype(np.float32), **numbers)

    def __repr__(self) -> str:
        return (
            f"ConceptVector({self.name}: {self.negative} -> {self.positive}, AUC {self.auc:.3f} "
            f"[{self.auc_low:.3f}, {self.auc_high:.3f}], gap {self.gap:.2f})"
        )

    def _checked(self, codes: Any) -> Codes:
        points = checked_codes(codes, "codes")
        if points.shape[1] != len(self.direction):
            raise ShapeError(
                f"The concept {self.name!r} is of codes of {len(self.direction)} numbers, and these have "
                f"{points.shape[1]}: it was learned from another model."
            )
        return points


def check_name(name: str) -> None:
    """Refuses a name that no file could have.

    Raises:
        ConfigError: other than letters, digits, - and _.
    """
    require(
        bool(re.fullmatch(r"\w[\w-]{0,63}", name)),
        "name",
        "letters, digits, - and _ (it becomes a file's name), at most 64",
        name,
    )


def _groups(codes: Any, labels: Any, positive: Any, negative: Any) -> tuple[tuple[Codes, Codes], tuple[str, str]]:
    """The codes of the positive and of the negative group, and what these are called."""
    points = checked_codes(codes, "codes")
    second = np.asarray(labels)
    if second.ndim == 2:
        other = checked_codes(second, "the negative group's codes")
        if other.shape[1] != points.shape[1]:
            raise ShapeError(
                f"The groups' codes have {points.shape[1]} and {other.shape[1]} numbers: they do not match."
            )
        return (points, other), (str(positive or "positive"), str(negative or "negative"))
    if second.shape != (len(points),):
        raise ShapeError(f"Labels should have the shape ({len(points)},), one for each code, and have {second.shape}.")
    missing = sum(value is None or value != value for value in second.tolist())
    if missing:
        raise DataError(f"{missing:,} labels are missing: leave those examples out.")
    names = np.array([_name(value) for value in second.tolist()])
    first, last = _wanted(np.unique(names).tolist(), positive, negative)
    group = points[names == first if first else names != last]
    other = points[names == last if last else names != first]
    return (group, other), (first or f"not {last}", last or f"not {first}")


def _wanted(known: list[str], positive: Any, negative: Any) -> tuple[str | None, str | None]:
    """The labels of the two groups; None is all that the other one is not."""
    if len(known) < 2:
        raise DataError(f"All labels are {known[0]!r}: a concept needs examples with it and examples without it.")
    first, last = (None if given is None else _name(given) for given in (positive, negative))
    for given in (first, last):
        if given is not None and given not in known:
            raise unknown_name("label", given, known)
    if first is not None and first == last:
        raise ConfigError(f"The positive and the negative group are both {first!r}: they should be two groups.")
    if len(known) == 2:
        first = first or next(name for name in reversed(known) if name != last)
        return first, next(name for name in known if name != first)
    if first is None and last is None:
        few = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        raise ConfigError(f"There are {len(known)} labels ({few}): name the positive one, or both groups.")
    return first, last


def _name(label: Any) -> str:
    """What a label is called: 1 and 1.0 are the same."""
    return f"{label:g}" if isinstance(label, float) else str(label)


def _told_apart(groups: tuple[Codes, Codes], called: tuple[str, str]) -> tuple[Codes, Codes]:
    """The groups without the codes that are in both: few are slips of the labels, many are a mistake.

    Raises:
        DataError: half of a group or more is in the other, too, or a group is too small.
    """
    keys = [list(map(bytes, np.ascontiguousarray(group))) for group in groups]
    both = set(keys[0]) & set(keys[1])
    kept = [np.array([key not in both for key in part], bool) for part in keys]
    if any(2 * mask.sum() <= len(mask) for mask in kept):
        raise DataError(
            f"{len(both):,} codes are in both {called[0]!r} and {called[1]!r}: the same examples are in both groups. "
            "Leave them out of one."
        )
    if both:
        log.warning("%s in both %r and %r: left out of both.", _examples(len(both)), *called)
    chosen = [group[mask] for group, mask in zip(groups, kept, strict=True)]
    for group, name in zip(chosen, called, strict=True):
        if len(group) < LEAST:
            raise DataError(
                f"The group {name!r} has {_examples(len(group))}; at least {LEAST} are needed, so that some can be "
                "held out to judge the direction by."
            )
    return chosen[0], chosen[1]


def _examples(count: int) -> str:
    return f"{count:,} example{'' if count == 1 else 's'}"


def _held_out(groups: tuple[Codes, Codes], seed: int) -> tuple[tuple[Codes, Codes], tuple[Codes, Codes]]:
    """Each group in two parts: to learn from, and to judge by."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(group)) for group in groups]
    counts = [max(2, round(HELD_OUT * len(group))) for group in groups]
    learned = [group[order[count:]] for group, order, count in zip(groups, orders, counts, strict=True)]
    held = [group[order[:count]] for group, order, count in zip(groups, orders, counts, strict=True)]
    return (learned[0], learned[1]), (held[0], held[1])


def _direction(groups: tuple[Codes, Codes], method: str, others: Codes) -> Codes:
    """The direction from the negative group to the positive one, (d,), of length 1, without its part along `others`."""
    raw = groups[0].mean(0) - groups[1].mean(0) if method == "mean" else _normal(groups, method)
    length = float(np.linalg.norm(raw))
    direction: Codes = raw - others.T @ (others @ raw)
    left = float(np.linalg.norm(direction))
    if not left > 1e-6 * max(length, 1e-300):
        raise DataError(
            "Nothing is left of the direction: the groups do not differ, or only along the concepts it shall be "
            "orthogonal to."
        )
    return direction / left


def _normal(groups: tuple[Codes, Codes], method: str) -> Codes:
    """The normal of a linear classifier's plane, the codes scaled as a whole so that its penalty means the same."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    points = np.concatenate(groups)
    labels = np.repeat([1, 0], [len(groups[0]), len(groups[1])])
    points = points - points.mean(0)
    points /= max(float(np.sqrt(np.square(points).mean())), 1e-300)
    if method == "logistic":
        made = LogisticRegression(class_weight="balanced", max_iter=5000).fit(points, labels)
    else:
        made = LinearSVC(C=0.01, class_weight="balanced", dual=False, max_iter=20_000).fit(points, labels)
    weights: Codes = made.coef_[0]
    return weights


def _basis(concepts: Sequence[ConceptVector], width: int) -> Codes:
    """An orthonormal basis, (k, d), of the span of concepts' directions."""
    for other in concepts:
        if len(other.direction) != width:
            raise ShapeError(
                f"The concept {other.name!r} is of codes of {len(other.direction)} numbers, and these have {width}."
            )
    if not concepts:
        return np.zeros((0, width))
    _, values, vectors = np.linalg.svd(np.stack([other.direction for other in concepts]).astype(np.float64))
    basis: Codes = vectors[: len(values)][values > 1e-6]
    return basis


def _auc(positive: Codes, negative: Codes) -> tuple[float, float]:
    """The area under the ROC curve and its standard error (DeLong et al. 1988)."""
    above = np.searchsorted(np.sort(negative), positive, "left") + np.searchsorted(np.sort(negative), positive, "right")
    below = np.searchsorted(np.sort(positive), negative, "left") + np.searchsorted(np.sort(positive), negative, "right")
    wins, losses = above / (2 * len(negative)), 1 - below / (2 * len(positive))
    variance = wins.var(ddof=1) / len(positive) + losses.var(ddof=1) / len(negative)
    return float(wins.mean()), float(math.sqrt(variance))
