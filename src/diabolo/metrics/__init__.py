"""Numbers that say how good a model is: of reconstructions, of codes, of samples, and with known factors.

All take and return NumPy, and each that comes from a sample says how far it may be off.
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
from diabolo.metrics._estimates import Estimate, bootstrap, paired_difference
from diabolo.metrics._evaluate import evaluate_model, metric_names
from diabolo.metrics._extractor import Extractor
from diabolo.metrics._factors import DCI, dci, factor_vae_score, mig, sap
from diabolo.metrics._features import ClassifierFeatures, classifier_features, features, random_features
from diabolo.metrics._inception import inception_features
from diabolo.metrics._pixels import psnr, squared_error, ssim
from diabolo.metrics._samples import frechet_distance, frechet_distance_of_gaussians, kernel_distance
from diabolo.metrics._scorecard import Measurement, Scorecard
from diabolo.metrics.comparison import Comparison, Standing, compare, evaluate

__all__ = [
    "DCI",
    "ClassifierFeatures",
    "Comparison",
    "Estimate",
    "Extractor",
    "Measurement",
    "MutualInformation",
    "Scorecard",
    "Standing",
    "active_units",
    "bootstrap",
    "classifier_features",
    "compare",
    "dci",
    "evaluate",
    "evaluate_model",
    "factor_vae_score",
    "features",
    "frechet_distance",
    "frechet_distance_of_gaussians",
    "inception_features",
    "kernel_distance",
    "knn_correct",
    "marginal_kl",
    "metric_names",
    "mig",
    "mutual_information",
    "paired_difference",
    "probe_correct",
    "psnr",
    "random_features",
    "sap",
    "squared_error",
    "ssim",
]
