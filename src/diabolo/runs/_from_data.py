"""What a run takes from its data: the likelihood that fits, where its model starts, and what it is measured against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from diabolo.datasets import Dataset, Split
from diabolo.models.model import Model, auto_likelihood
from diabolo.models.preprocess import Preprocess
from diabolo.models.principal import PrincipalComponents, start_at_components
from diabolo.runs._run_contents import spread_indices
from diabolo.runs.config import RunConfig

__all__ = ["baseline", "start_from_data", "with_likelihood"]

BINARY_EXAMPLES = 100  # that tell whether all values are 0 or 1


def with_likelihood(
    run_config: RunConfig, preprocess: Preprocess, dataset: Dataset, split: Split
) -> tuple[RunConfig, dict[str, str]]:
    """The run config with a likelihood in the place of `auto`, and the reason for the choice."""
    if run_config.parts.get("likelihood", "auto") != "auto":
        return run_config, {}
    few = np.asarray(dataset.x[split.train[:BINARY_EXAMPLES]], np.float32)
    ends = (0, 1) if few.max(initial=0) <= 1 else (0, 255)
    is_binary = preprocess.in_unit_range and bool(np.isin(few, ends).all())
    name, options, reason = auto_likelihood(preprocess, run_config.options.get("likelihood"), is_binary=is_binary)
    parts, settings = {**run_config.parts, "likelihood": name}, {**run_config.options, "likelihood": options}
    return replace(run_config, parts=parts, options=settings), {"likelihood": reason}


def start_from_data(model: Model, dataset: Dataset, split: Split, run_config: RunConfig) -> PrincipalComponents | None:
    """The components at which an untrained model starts now; None where its network starts with random weights.

    Then a spread that is learned starts at what the components leave all the same: from 1 it would have a long way to
    go, at the rate of the weights, and a VAE would empty its code meanwhile.
    """
    is_random = model.network is None or model.network.start == "random"
    if len(split.train) < 2 or (is_random and not list(model.likelihood.parameters())):
        return None
    components = _components(model, dataset, split, run_config)
    if is_random:
        model.likelihood.start_at(max(components.rest, 1e-6))
        return None
    return components if start_at_components(model, components) else None


def baseline(
    model: Model,
    dataset: Dataset,
    split: Split,
    run_config: RunConfig,
    used: int,
    components: PrincipalComponents | None,
) -> dict[str, Any]:
    """On the test split, what needs no training: the errors of PCA of the code's size and of the average example.

    Args:
        model: the trained model.
        dataset: the examples.
        split: of them.
        run_config: the choices.
        used: the number of components.
        components: those at which the model started, if it did.
    """
    components = components or _components(model, dataset, split, run_config)
    examples = dataset.x[spread_indices(dataset.x, split.test, components.most_examples(model.preprocess.values))]
    count = min(used, components.count)
    pca, average = (float(components.errors(model.preprocess, examples, k).mean()) for k in (count, 0))
    return {"components": count, "pca": pca, "average": average}


def _components(model: Model, dataset: Dataset, split: Split, run_config: RunConfig) -> PrincipalComponents:
    """PCA of the training split with as many components as the latent code has dimensions."""
    most = PrincipalComponents.most_examples(model.preprocess.values)
    some = dataset.x[spread_indices(dataset.x, split.train, most)]
    return PrincipalComponents.fit(model.preprocess, some, model.latent_dim, run_config.settings.seed)
