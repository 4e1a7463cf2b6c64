"""Metrics of a model: of its likelihood, reconstructions, latent codes and samples, and against known factors.

Arrays in, numbers out; each number that comes from a sample has a standard error. `evaluate` measures one run,
`compare` ranks several, `metric_family` adds a metric of your own to both.
"""

from __future__ import annotations

from diabolo.metrics._code_metrics import (
    MutualInformation,
    active_units,
    knn_correct,
    marginal_kl,
    mutual_information,
    probe_correct,
)
from diabolo.metrics._context import EvaluationContext
from diabolo.metrics._dictionaries import DictionaryScores, compare_dictionaries, explained_variance
from diabolo.metrics._estimates import Estimate, bootstrap, paired_difference
from diabolo.metrics._extractor import Extractor
from diabolo.metrics._factors import DCI, dci, factor_vae_score, mig, sap
from diabolo.metrics._features import ClassifierFeatures, classifier_features, features, random_features
from diabolo.metrics._inception import inception_features
from diabolo.metrics._measure import measure_model
from diabolo.metrics._neighbourhoods import Coverage, precision_and_recall
from diabolo.metrics._pixels import psnr, squared_error, ssim
from diabolo.metrics._registry import families, metric_family, metric_names
from diabolo.metrics._samples import frechet_distance, frechet_distance_of_gaussians, kernel_distance
from diabolo.metrics._scorecard import Measurement, Scorecard
from diabolo.metrics.comparison import Comparison, Standing, compare, evaluate

__all__ = [
    "DCI",
    "ClassifierFeatures",
    "Comparison",
    "Coverage",
    "DictionaryScores",
    "Estimate",
    "EvaluationContext",
    "Extractor",
    "Measurement",
    "MutualInformation",
    "Scorecard",
    "Standing",
    "active_units",
    "bootstrap",
    "classifier_features",
    "compare",
    "compare_dictionaries",
    "dci",
    "evaluate",
    "explained_variance",
    "factor_vae_score",
    "families",
    "features",
    "frechet_distance",
    "frechet_distance_of_gaussians",
    "inception_features",
    "kernel_distance",
    "knn_correct",
    "marginal_kl",
    "measure_model",
    "metric_family",
    "metric_names",
    "mig",
    "mutual_information",
    "paired_difference",
    "precision_and_recall",
    "probe_correct",
    "psnr",
    "random_features",
    "sap",
    "squared_error",
    "ssim",
]
