"""Evaluation of a model in nats: the terms of its loss over a whole data set, and scores of single examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._lazy import lazy

if TYPE_CHECKING:
    from diabolo.evaluation.scores import (
        DRAWS,
        bound,
        elbo,
        importance_weights,
        likelihood,
        noise,
        reconstruction,
        resolve_draws,
        surprise,
    )
    from diabolo.evaluation.terms import ACTIVE, CHUNK, Evaluation, chunks, evaluate, evaluating, to_device

__all__ = [
    "ACTIVE",
    "CHUNK",
    "DRAWS",
    "Evaluation",
    "bound",
    "chunks",
    "elbo",
    "evaluate",
    "evaluating",
    "importance_weights",
    "likelihood",
    "noise",
    "reconstruction",
    "resolve_draws",
    "surprise",
    "to_device",
]

if not TYPE_CHECKING:  # to a type checker, a name that is not above does not exist
    __getattr__ = lazy(
        __name__,
        {
            "diabolo.evaluation.scores": [
                "DRAWS",
                "bound",
                "elbo",
                "importance_weights",
                "likelihood",
                "noise",
                "reconstruction",
                "resolve_draws",
                "surprise",
            ],
            "diabolo.evaluation.terms": [
                "ACTIVE",
                "CHUNK",
                "Evaluation",
                "chunks",
                "evaluate",
                "evaluating",
                "to_device",
            ],
        },
    )
