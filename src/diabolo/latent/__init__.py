"""Functions on latent codes, NumPy in and NumPy out: geometry, concept vectors, anomalies, and what is fitted to codes.

`geometry` has the ways between codes and their neighbours; `concepts` the directions that mean something; `anomalies`
the distance from the training codes and the threshold of a score; `artifacts` what of this is kept with a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.latent.anomalies import LEVELS, SCORES, UNITS, CodeStatistics, Threshold
    from diabolo.latent.artifacts import (
        CONCEPTS,
        PRIOR,
        STATISTICS,
        THRESHOLD,
        LatentArtifacts,
        concept_path,
        learned_names,
    )
    from diabolo.latent.concepts import METHODS, ConceptVector, check_name
    from diabolo.latent.geometry import checked_codes, class_means, interpolate, manifold_grid, nearest, traverse

__all__ = [
    "CONCEPTS",
    "LEVELS",
    "METHODS",
    "PRIOR",
    "SCORES",
    "STATISTICS",
    "THRESHOLD",
    "UNITS",
    "CodeStatistics",
    "ConceptVector",
    "LatentArtifacts",
    "Threshold",
    "check_name",
    "checked_codes",
    "class_means",
    "concept_path",
    "interpolate",
    "learned_names",
    "manifold_grid",
    "nearest",
    "traverse",
]

__getattr__ = lazy(
    __name__,
    {
        "diabolo.latent.anomalies": ["CodeStatistics", "LEVELS", "SCORES", "Threshold", "UNITS"],
        "diabolo.latent.artifacts": [
            "LatentArtifacts",
            "CONCEPTS",
            "PRIOR",
            "STATISTICS",
            "THRESHOLD",
            "concept_path",
            "learned_names",
        ],
        "diabolo.latent.concepts": ["ConceptVector", "METHODS", "check_name"],
        "diabolo.latent.geometry": [
            "checked_codes",
            "class_means",
            "interpolate",
            "manifold_grid",
            "nearest",
            "traverse",
        ],
    },
)
