"""scikit-learn's own checks of an estimator, all of them."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from diabolo.models.objectives import objectives
from diabolo.sklearn import AutoencoderOutlierDetector, AutoencoderTransformer

COMMON: list[BaseEstimator] = [
    AutoencoderTransformer(),
    AutoencoderOutlierDetector(epochs=2),
    AutoencoderTransformer(epochs=2, model="vae", model_options={"beta": 0.5}, validation=0.2, patience=1),
    AutoencoderOutlierDetector(epochs=2, model="vae"),
]
VARIANTS: list[BaseEstimator] = [  # transform has no labels to give
    AutoencoderTransformer(model=name, epochs=2) for name in objectives if objectives[name].labels != "required"
]
SCORES: list[BaseEstimator] = [
    AutoencoderOutlierDetector(),
    *(
        AutoencoderOutlierDetector(epochs=2, model="vae", kind=kind, contamination=0.2)
        for kind in ("surprise", "reconstruction", "likelihood", "latent")
    ),
]


@parametrize_with_checks(COMMON)
def test_sklearn_check(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([*VARIANTS, *SCORES])
def test_sklearn_check_of_every_variant_and_score(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)
