"""What is said of a model before it is trained: a code, a network or a decoder that does not fit the data."""

from __future__ import annotations

import numpy as np
import torch

from diabolo.config import readable_bytes
from diabolo.datasets import Dataset, Split
from diabolo.diagnostics import plural
from diabolo.models._outputs import check_outputs
from diabolo.models.model import Model
from diabolo.models.networks import MLP
from diabolo.models.networks._base import CONVOLUTIONS
from diabolo.models.principal import PrincipalComponents
from diabolo.runs._run_contents import spread_indices
from diabolo.storage.images import is_image

__all__ = ["about_the_model"]

EXACT = 1e-6  # of the variance of the data, which is rounding
LARGE = 20_000_000  # parameters of a default network, from which it is said what they cost
BYTES = 20  # for each in training: it, its gradient, two moments and an average
SOME = 100  # examples that tell whether a decoder reaches them


def about_the_model(
    model: Model, dataset: Dataset, split: Split, components: PrincipalComponents | None, *, is_chosen: bool
) -> list[str]:
    """What is said of an untrained model.

    Args:
        model: untrained.
        dataset: the examples.
        split: of them.
        components: those at which the model starts, if it does.
        is_chosen: whether the sizes of its network were given.

    Raises:
        ConfigError: the decoder cannot be trained with this likelihood.
    """
    said = _about_the_code(model, len(split.train), components)
    said += _about_the_axes(model)
    if not is_chosen:
        said += _about_the_size(model)
    if model.network is None:
        some = dataset.x[spread_indices(dataset.x, split.train, SOME)]
        with torch.no_grad():
            x = model.preprocess(torch.from_numpy(np.array(some)).to(model.preprocess.shift.device))
        said += check_outputs(model, x)
    return said


def _about_the_axes(model: Model) -> list[str]:
    """Which axes a network convolves over, where nobody named them."""
    preprocess = model.preprocess
    if preprocess.layout != "any" or not any(isinstance(module, CONVOLUTIONS) for module in model.encoder.modules()):
        return []
    first, *others = preprocess.event_shape
    return [
        f"The axes of an example have no names (layout any): the network takes the first, of length {first}, for "
        f"channels, and convolves over the others, {' x '.join(map(str, others))}. If these are others, such as "
        "colours or time, name them: --layout CHW, DHW, CDHW, THWC or TCHW."
    ]


def _about_the_size(model: Model) -> list[str]:
    """What the parameters of a large default network cost, and what would be smaller."""
    count, values = model.parameter_count, model.preprocess.values
    if count < LARGE or model.network is None:
        return []
    is_table = len(model.preprocess.model_shape) == 1
    smaller = ["--size 64"] if is_image(model.preprocess.layout) else []
    smaller += [f"--network {'linear' if is_table else 'resnet'}"] if isinstance(model.network, MLP) else []
    smaller.append("sizes of your own (--widths, --channels)")
    return [
        f"The network has {count:,} parameters for examples of {values:,} values, which take about "
        f"{readable_bytes(BYTES * count)} of memory in training. What is smaller: {', '.join(smaller)}."
    ]


def _about_the_code(model: Model, train: int, components: PrincipalComponents | None) -> list[str]:
    """What is said before training of a code that is too large for its data, or of data that need no network.

    Args:
        model: untrained.
        train: the examples of the training split.
        components: those at which the model starts, if it does.
    """
    d, values = model.latent_dim, model.preprocess.values
    if d == 1 or (len(model.code_shape) > 1 and d < values):
        return []
    if d >= values:
        copies = (
            f"The latent code has {plural(d, 'number')} and an example {plural(values, 'value')}: to copy them is an "
            f"answer, and teaches nothing. Take a smaller code (--latent-dim {max(1, values // 4)}), or a variant "
            "whose codes may be large (sparse, denoising)."
        )
        return [] if model.objective.overcomplete else [copies]
    said = []
    if d >= train:
        said.append(
            f"The latent code has {plural(d, 'number')} and there are {plural(train, 'example')} to train on, which "
            f"differ in {plural(train - 1, 'dimension')}: take a smaller code (--latent-dim {max(1, train // 10)}), or "
            "more examples."
        )
    if components is not None and components.rest < EXACT * components.variances.sum() / components.mean.size:
        used = int((components.variances > EXACT * components.variances.sum()).sum())
        said.append(
            f"The examples lie in a plane of {plural(used, 'dimension')}, where PCA has no error left: training can "
            "improve nothing. Take a smaller code if it is to find more than the plane."
        )
    return said
