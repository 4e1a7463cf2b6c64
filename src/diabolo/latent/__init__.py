"""Functions on latent codes, NumPy in and NumPy out, and the objects that are fitted to latent codes.

`geometry`: interpolation, traversals, neighbours. `concepts`: directions that separate two groups of examples.
`code_statistics`: the distance from the training codes. `anomalies`: scores and thresholds. `artifacts`: which of these
a saved model has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.latent.anomalies import SCORES, UNITS, Threshold
    from diabolo.latent.artifacts import (
        CONCEPTS,
        PRIOR,
        STATISTICS,
        THRESHOLD,
        LatentArtifacts,
        concept_path,
    )
    from diabolo.latent.code_statistics import LEVELS, CodeStatistics
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
    "manifold_grid",
    "nearest",
    "traverse",
]

if not TYPE_CHECKING:  # to a type checker, a name that is not above does not exist
    __getattr__ = lazy(
        __name__,
        {
            "diabolo.latent.anomalies": ["SCORES", "Threshold", "UNITS"],
            "diabolo.latent.code_statistics": ["CodeStatistics", "LEVELS"],
            "diabolo.latent.artifacts": [
                "LatentArtifacts",
                "CONCEPTS",
                "PRIOR",
                "STATISTICS",
                "THRESHOLD",
                "concept_path",
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
