"""Concept vectors: directions of latent space from examples without a property to examples with it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from diabolo._border import checked_methods
from diabolo.config import require
from diabolo.errors import DataError, RunError, ShapeError, unknown_name
from diabolo.latent._groups import find_groups, hold_out, without_overlap
from diabolo.latent.geometry import checked_codes
from diabolo.storage.checkpoint import load_tensors, save_tensors
from diabolo.storage.foreign import as_array, check_form, reading

__all__ = ["METHODS", "ConceptVector", "check_name"]

Codes = npt.NDArray[np.float64]
PAST = 1.645  # standard deviations beyond the gap that carry 95% of normal codes past the positive group's mean
METHODS = ("mean", "logistic", "svm")
FORMAT = 1
_FORM = dict.fromkeys(("name", "method", "positive", "negative"), str) | {
    **dict.fromkeys(("unit", "gap", "middle", "auc", "auc_low", "auc_high"), float),
    "counts": [int], "orthogonal_to": [str], "seed": int,
}  # fmt: skip


@checked_methods
@dataclass(frozen=True, eq=False)
class ConceptVector:
    """A direction of latent space, and how well it separates two groups of examples.

    Attributes:
        name: of the concept.
        direction: (d,), float32, of length 1, from the negative group to the positive one.
        unit: the step of a code at strength 1: one standard deviation, within the groups, along the direction.
        gap: the two group means are `gap` standard deviations apart.
        middle: the coordinate along the direction of the middle between the group means.
        auc: the probability that a positive code lies further along the direction than a negative one, on held-out
            codes.
        auc_low: the lower end of its 95% interval.
        auc_high: the upper end.
        method: of learning: mean, logistic or svm.
        positive: the name of the positive group.
        negative: the name of the negative group.
        counts: the examples of the positive and of the negative group.
        orthogonal_to: the concepts that the direction is orthogonal to.
        seed: of the choice of the held-out examples.

    >>> rng = np.random.default_rng(0)
    >>> smiling = rng.standard_normal((50, 2)) + [4, 0]
    >>> smile = ConceptVector.fit(smiling, rng.standard_normal((50, 2)), name="smile")
    >>> smile.direction.round(), smile.auc > 0.95, smile.apply([[0.0, 0.0]], 2.0).shape
    (array([1., 0.], dtype=float32), True, (1, 2))
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

        Three tenths of each group are held out, and a direction that is learned from the rest is judged on them (AUC,
        with the interval of DeLong et al. 1988, https://doi.org/10.2307/2531595). The result is learned from all.

        - `mean`: the difference of the group means (Larsen et al. 2016,
          https://arxiv.org/abs/1512.09300).
        - `logistic`, `svm`: the normal of the separating plane of a logistic regression, or of a linear support vector
          machine (Shen et al. 2020, https://arxiv.org/abs/1907.10786).

        Codes that are in both groups are left out of both, with a warning.

        Args:
            codes: (n, d): of both groups, or of the positive group alone where `labels` holds the negative one.
            labels: (n,), one for each code; or (m, d), the codes of the negative group.
            name: letters, digits, - and _: it becomes a file's name.
            positive: the label of the positive group; by default the larger of two labels, or all but `negative`.
            negative: the label of the negative group; by default all other labels.
            method: mean, logistic or svm.
            orthogonal_to: concepts whose directions are removed from it.
            seed: of the choice of the held-out examples.

        Raises:
            ConfigError: an unknown method or label, or a name that no file could have.
            DataError: a group that is empty or too small, at least half of a group in the other one, labels that are
                all one class.
            ShapeError: arrays of another shape.
        """
        check_name(name)
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        require(seed >= 0, "seed", "a number of at least 0", seed)
        groups, names = find_groups(codes, labels, positive, negative)
        groups = without_overlap(groups, names)
        others = _basis(orthogonal_to, groups[0].shape[1])
        training, test = hold_out(groups, seed)
        auc, deviation = _auc(*(part @ _direction(training, method, others) for part in test))
        direction = _direction(groups, method, others)
        along = [group @ direction for group in groups]
        unit = math.sqrt(sum(np.square(part - part.mean()).sum() for part in along) / (sum(map(len, along)) - 2))
        if not unit > 0:
            raise DataError(
                f"The codes within {names[0]!r} and within {names[1]!r} do not vary along the direction between "
                "them: there is no unit to count its strength in. Give groups of examples that differ."
            )
        return cls(
            name,
            direction.astype(np.float32),
            unit,
            float((along[0].mean() - along[1].mean()) / unit),
            float((along[0].mean() + along[1].mean()) / 2),
            auc,
            max(0.0, auc - 1.96 * deviation),
            min(1.0, auc + 1.96 * deviation),
            method,
            *names,
            (len(groups[0]), len(groups[1])),
            tuple(other.name for other in orthogonal_to),
            seed,
        )

    @property
    def strength(self) -> float:
        """The advised strength: it carries 95% of the negative examples past the mean of the positive ones.

        `gap` carries the mean of one group to the mean of the other, and so half of the negative examples not as far.
        """
        return self.gap + PAST

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
        amount = as_array("strength", strength, np.float64)
        if amount.shape not in ((), (len(points),)):
            raise ShapeError(
                f"A strength is one number, or one for each of the {len(points):,} codes; its shape is {amount.shape}."
            )
        if not np.isfinite(amount).all():
            raise DataError("A strength is NaN or infinite; a number of units is expected, such as 2.")
        edited = points + np.multiply.outer(amount * self.unit, self.direction.astype(np.float64))
        return edited.astype(np.float32)

    def project(self, codes: Any) -> npt.NDArray[np.float64]:
        """The coordinates of codes along the direction, (n,), in units from the middle between the group means.

        Args:
            codes: (n, d).
        """
        along: npt.NDArray[np.float64] = self._checked(codes) @ self.direction.astype(np.float64) - self.middle
        return along / self.unit

    def save(self, path: str | os.PathLike[str], weights: str = "") -> None:
        """Writes the concept to a safetensors file, as a whole or not at all; `weights` is the digest of the model's.

        Raises:
            StorageError: the file could not be written.
        """
        import torch

        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "direction"}
        save_tensors(path, {"direction": torch.from_numpy(self.direction)}, {"format": FORMAT, **numbers}, weights)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The concept in a file of `save`.

        Raises:
            RunError: the file does not exist, is truncated, was edited, or is of a newer version.
        """
        tensors, numbers = load_tensors(path)
        version = numbers.pop("format", None)
        if isinstance(version, int) and version > FORMAT:
            raise RunError(
                f"{path} was written in format {version}, by a newer diabolo; this one reads up to {FORMAT}. "
                "Upgrade it: pip install --upgrade diabolo"
            )
        with reading(path, remedy="It was edited; restore it or learn it again."):
            check_form(numbers, _FORM, "the concept")
            direction = tensors["direction"].numpy().astype(np.float32)
            fits = direction.ndim == 1 and np.isfinite(direction).all() and numbers["unit"] > 0
            if not fits or len(tensors) > 1 or len(numbers) != len(_FORM) or len(numbers["counts"]) != 2:
                raise ValueError("it holds no concept vector")
            check_name(numbers["name"])
            numbers |= {name: tuple(numbers[name]) for name in ("counts", "orthogonal_to")}
        return cls(direction=direction, **numbers)

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
    """Checks that the name of a concept can be the name of a file.

    Raises:
        ConfigError: other characters than letters, digits, - and _.

    >>> check_name("smile/2")
    Traceback (most recent call last):
    diabolo.errors.ConfigError: name should be letters, digits, - and _ (it becomes a file's name), at most 64, ...
    """
    require(
        bool(re.fullmatch(r"\w[\w-]{0,63}", name)),
        "name",
        "letters, digits, - and _ (it becomes a file's name), at most 64",
        name,
    )


def _direction(groups: tuple[Codes, Codes], method: str, others: Codes) -> Codes:
    """The direction from the negative to the positive group, (d,), of length 1, orthogonal to the rows of `others`."""
    raw = groups[0].mean(0) - groups[1].mean(0) if method == "mean" else _normal(groups, method)
    length = float(np.linalg.norm(raw))
    direction: Codes = raw - others.T @ (others @ raw)
    remainder = float(np.linalg.norm(direction))
    if not remainder > 1e-6 * max(length, 1e-300):
        raise DataError(
            "Nothing is left of the direction: the groups do not differ, or only along the concepts it shall be "
            "orthogonal to."
        )
    return direction / remainder


def _normal(groups: tuple[Codes, Codes], method: str) -> Codes:
    """The normal of the plane of a linear classifier.

    The codes are divided by one number: the penalty of a classifier depends on the scale of its inputs.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    points = np.concatenate(groups)
    labels = np.repeat([1, 0], [len(groups[0]), len(groups[1])])
    points = points - points.mean(0)
    points /= max(float(np.sqrt(np.square(points).mean())), 1e-300)
    if method == "logistic":
        classifier = LogisticRegression(class_weight="balanced", max_iter=5000).fit(points, labels)
    else:
        classifier = LinearSVC(C=0.01, class_weight="balanced", dual=False, max_iter=20_000).fit(points, labels)
    weights: Codes = classifier.coef_[0]
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
