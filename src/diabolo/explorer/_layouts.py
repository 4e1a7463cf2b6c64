"""Layouts of the map: functions that place latent codes in a plane, by name.

A layout with an inverse can be decoded anywhere in the plane; one without (such as an embedding of neighbours) shows
where the examples lie, and no more. `@layouts.register("radius")` above a function from latent codes, (n, d), to a
`Placement` adds one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo.config import Names

__all__ = ["Placement", "layouts", "place"]

Points = npt.NDArray[np.float32]
Layout = Callable[[Points], "Placement"]

layouts: Names[Layout] = Names("layout")


@dataclass(frozen=True, eq=False)
class Placement:
    """The points of latent codes in a plane.

    Attributes:
        xy: (n, 2), float32.
        labels: of the two axes.
        inverse: from points, (k, 2), to latent codes, (k, d); None where a point of the plane is no single code.

    >>> placement = place("dims", np.array([[1, 2, 3], [3, 2, 1]], np.float32))
    >>> placement.xy.tolist(), placement.labels
    ([[1.0, 2.0], [3.0, 2.0]], ('z1', 'z2'))
    """

    xy: Points
    labels: tuple[str, str]
    inverse: Callable[[Points], Points] | None = None


def place(name: str, codes: Any) -> Placement:
    """The placement of latent codes by a layout.

    Args:
        name: of the layout.
        codes: (n, d).

    Raises:
        ConfigError: there is no such layout.

    >>> codes = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    >>> placement = place("pca", codes)
    >>> placement.xy.shape, placement.inverse(placement.xy).shape
    ((50, 2), (50, 5))
    """
    return layouts[name](np.asarray(codes, np.float32))


@layouts.register("dims")
def place_by_dimensions(codes: Points) -> Placement:
    """The first two dimensions as they are; on a line where there is one alone. Inverse: the others at their mean."""
    axes = np.eye(codes.shape[1])[:2]
    labels = ("z1", "z2" if len(axes) > 1 else "")
    return _on_plane(codes, np.where(axes.any(0), 0, codes.mean(0, dtype=np.float64)), axes, labels)


@layouts.register("pca")
def place_by_principal_components(codes: Points) -> Placement:
    """The first two principal components, about the mean. Inverse: the point of their plane."""
    mean = codes.mean(0, dtype=np.float64)
    centred = codes - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors.T[::-1][:2]
    # An eigenvector has two signs: the one whose largest number is positive gives the same map on every machine.
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    return _on_plane(codes, mean, axes, ("PC 1", "PC 2" if len(axes) > 1 else ""))


def _on_plane(codes: Points, origin: npt.NDArray[Any], axes: npt.NDArray[Any], labels: tuple[str, str]) -> Placement:
    """Orthogonal projection onto the plane of one or two orthonormal axes through the origin."""
    xy = np.zeros((len(codes), 2), np.float32)
    xy[:, : len(axes)] = (codes - origin) @ axes.T

    def inverse(points: Points) -> Points:
        codes: Points = (origin + np.asarray(points)[:, : len(axes)] @ axes).astype(np.float32)
        return codes

    return Placement(xy, labels, inverse)
