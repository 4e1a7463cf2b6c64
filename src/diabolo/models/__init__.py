"""The model: preprocessing, encoder, objective, decoder and likelihood in one module; everything here is torch.

`objectives` has the variants, `networks` the pairs of encoder and decoder, `distributions` the posteriors and
likelihoods, `priors` densities fitted to codes. `engine` is the one door to the layers of `fused`.
"""

from __future__ import annotations

from diabolo.models.distributions import (
    Bernoulli,
    DiagonalGaussian,
    Dirac,
    Gaussian,
    Laplace,
    Likelihood,
    Posterior,
    StudentT,
    likelihoods,
)
from diabolo.models.model import Model, OwnParts, build_model, rebuild_model
from diabolo.models.networks import MLP, Bottleneck, Conv, Dictionary, Linear, Network, ResNet, split
from diabolo.models.objectives import Batch, Group, Loss, Net, Objective, Reduction, Space, Variational, frozen, ramp
from diabolo.models.preprocess import Preprocess, Scale
from diabolo.models.priors import Prior, fit_prior, load_prior
from diabolo.models.priors.own import CodePrior, StandardNormal, divergence
from diabolo.models.units import Units

__all__ = [
    "MLP",
    "Batch",
    "Bernoulli",
    "Bottleneck",
    "CodePrior",
    "Conv",
    "DiagonalGaussian",
    "Dictionary",
    "Dirac",
    "Gaussian",
    "Group",
    "Laplace",
    "Likelihood",
    "Linear",
    "Loss",
    "Model",
    "Net",
    "Network",
    "Objective",
    "OwnParts",
    "Posterior",
    "Preprocess",
    "Prior",
    "Reduction",
    "ResNet",
    "Scale",
    "Space",
    "StandardNormal",
    "StudentT",
    "Units",
    "Variational",
    "build_model",
    "divergence",
    "fit_prior",
    "frozen",
    "likelihoods",
    "load_prior",
    "ramp",
    "rebuild_model",
    "split",
]
