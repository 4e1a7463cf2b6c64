"""Evaluation of a model in nats: the terms of its loss over a whole data set, and scores of single examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._moved import without_names
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

if not TYPE_CHECKING:
    __getattr__ = without_names(__name__)
