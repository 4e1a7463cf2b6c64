"""Layouts of the map: functions that place latent codes in a plane, by name.

A layout with an inverse can be decoded anywhere in the plane; one without (such as an embedding of neighbours) shows
where the examples lie, and no more. `@layouts.register("radius")` above a function from latent codes, (n, d), to a
`Placement` adds one; `diabolo explore RUN --map my_module:place` names one of another module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diabolo._imported import is_path, trust
from diabolo.config import Names
from diabolo.errors import ConfigError

__all__ = ["Placement", "layouts", "named_layouts", "place"]

Points = npt.NDArray[np.float32]
Layout = Callable[[Points], "Placement"]

layouts: Names[Layout] = Names("layout", "diabolo.layouts")
PLANES = ("dims", "pca")  # which the page computes by itself


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
        ConfigError: there is no such layout, or it fails on these codes.

    >>> codes = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    >>> placement = place("pca", codes)
    >>> placement.xy.shape, placement.inverse(placement.xy).shape
    ((50, 2), (50, 5))
    """
    codes = np.asarray(codes, np.float32)
    layout = layouts[name]
    try:
        placement: Any = layout(codes)
    except Exception as error:
        shape = f"{len(codes):,} codes of {codes.shape[1]} numbers"
        raise ConfigError(f"The layout {name!r} fails on {shape}: {type(error).__name__}: {error}.") from error
    return _checked(name, placement, len(codes))


def named_layouts(names: str | Sequence[str]) -> tuple[str, ...]:
    """The names of layouts, each of which exists.

    Args:
        names: one name, several with commas between them, or a sequence of names; `module:function` for one's own.

    Raises:
        ConfigError: there is no such layout, or what is there is no function.

    >>> named_layouts("dims,pca")
    ('dims', 'pca')
    """
    chosen: Any = [name for name in names.split(",") if name] if isinstance(names, str) else names
    if not isinstance(chosen, Sequence) or not all(isinstance(name, str) for name in chosen):
        raise ConfigError(f"layouts should be names, such as ('pca', 'my_module:place'), and was given {names!r}.")
    trust(name for name in chosen if is_path(name))  # whoever names code wants it run
    for name in chosen:
        layouts[name]
    return tuple(dict.fromkeys(chosen))


def _checked(name: str, placement: Any, count: int) -> Placement:
    """What a layout of another module returned, as a placement of `count` codes."""
    if not isinstance(placement, Placement):
        raise ConfigError(
            f"The layout {name!r} should return a diabolo.explorer.Placement, and returned an object of "
            f"{type(placement).__qualname__}."
        )
    xy = np.asarray(placement.xy)
    if xy.shape != (count, 2) or xy.dtype.kind not in "fiu" or not np.isfinite(xy).all():
        raise ConfigError(
            f"The layout {name!r} should return xy of the shape ({count}, 2), finite numbers, and returned "
            f"{xy.shape} of {xy.dtype}."
        )
    labels: Any = placement.labels
    if not isinstance(labels, tuple | list) or [type(one) for one in labels] != [str, str]:
        raise ConfigError(f"The layout {name!r} should return two labels, of its axes, and returned {labels!r}.")
    return Placement(np.ascontiguousarray(xy, np.float32), (labels[0], labels[1]), placement.inverse)


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
