"""What a run takes from its data: the likelihood that fits, where its model starts, and what it is measured against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from diabolo.datasets import Dataset, Split
from diabolo.errors import ConfigError
from diabolo.evaluation.terms import Evaluation, chunks, labels_at
from diabolo.models import objectives
from diabolo.models.model import Model, auto_likelihood
from diabolo.models.networks import PatchEncoder
from diabolo.models.objectives import Batch, Objective, Space
from diabolo.models.preprocess import Preprocess
from diabolo.models.principal import PrincipalComponents, start_at_components, start_at_mean
from diabolo.runs._run_contents import spread_indices
from diabolo.runs.config import RunConfig
from diabolo.training.augmentation import AXES, ENOUGH, SMALL, misfits

__all__ = [
    "baseline",
    "initialise",
    "labels_of",
    "space_of",
    "start_from_data",
    "with_augmentation",
    "with_likelihood",
]

AUGMENTED = 1.05  # the largest misfit of pictures that are taken for as likely as before
PICTURES = 1_000  # that tell
STARTING, STARTING_VALUES = 4_096, 2**24  # examples, and values of these, that a variant starts from
CHANGED = {"mirror": "mirrored", "shift": "shifted"}
FEWEST_PIXELS = 12  # a side
CPU = torch.device("cpu")
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


def with_augmentation(
    run_config: RunConfig, preprocess: Preprocess, dataset: Dataset, split: Split, processes: int
) -> tuple[RunConfig, dict[str, str]]:
    """The run config with what fits the pictures in the place of `augment=auto`, and the reason.

    Nothing fits pictures too few to tell, and none of fewer than 12 pixels a side.
    """
    if run_config.settings.augment != "auto":
        return run_config, {}
    none = run_config.with_settings(augment="none")
    side = min(preprocess.model_shape[1:], default=0)
    if preprocess.layout not in AXES or len(split.train) < ENOUGH or side < FEWEST_PIXELS or processes > 1:
        return none, {
            "augment": f"none; it takes {ENOUGH} pictures to train on, {FEWEST_PIXELS} pixels a side, and one process"
        }
    height, width = (min(SMALL, size) for size in preprocess.model_shape[1:])
    some = spread_indices(dataset.x, split.train, PICTURES)
    batches = chunks(dataset.x, some, CPU, size=100)
    pictures = torch.cat([adaptive_avg_pool2d(preprocess(batch), (height, width)) for batch in batches])
    found = misfits(pictures[torch.from_numpy(np.random.default_rng(0).permutation(len(some)))])
    words = ",".join(word for word, misfit in found.items() if misfit <= AUGMENTED) or "none"
    times = " and ".join(f"{misfit:.2f} times on {CHANGED[word]} pictures" for word, misfit in found.items())
    reason = f"{words}; principal components leave {times} the error that they leave on others"
    return run_config.with_settings(augment=words), {"augment": reason}


def space_of(dataset: Dataset, split: Split, preprocess: Preprocess) -> Space:
    """What a variant may be built for: the classes, the number and the mean of the training examples."""
    most = max(2, min(PICTURES, STARTING_VALUES // preprocess.values))
    some = dataset.x[spread_indices(dataset.x, split.train, most)]
    with torch.no_grad():
        mean = preprocess(torch.from_numpy(np.array(some))).mean(0)
    classes = dataset.classes if dataset.y is not None else ()
    return Space(classes=tuple(classes), examples=len(split.train), mean=mean)


def labels_of(model: Model, dataset: Dataset) -> np.ndarray | None:
    """The classes of a data set's examples, (N,) int64, where the model takes labels.

    Raises:
        ConfigError: it requires some, and there are none.
        DataError: the labels are no classes.
    """
    return objectives.labels_of(model.objective, dataset.y, dataset.classes, len(dataset), dataset.name)


@torch.no_grad()
def initialise(model: Model, dataset: Dataset, split: Split, seed: int) -> None:
    """Lets a variant start from its training examples, of which it gets at most some thousands."""
    fit_scale = getattr(model.encoder, "fit_scale", None)
    if type(model.objective).initialise is Objective.initialise and fit_scale is None:
        return
    most = max(16, min(STARTING, STARTING_VALUES // model.preprocess.values))
    indices = spread_indices(dataset.x, split.train, most)
    y = labels_of(model, dataset)
    x = model.preprocess(torch.from_numpy(np.array(dataset.x[indices])))
    place = torch.from_numpy(np.asarray(indices, np.int64))
    model.eval()
    model.generator = torch.Generator().manual_seed(seed)
    before = set(model.objective.state_dict())
    batch = Batch(x, labels_at(y, indices, CPU), place)
    model.objective.initialise(batch, model)
    if fit_scale is not None and (share := _overshoot(model, x[:PICTURES])) < 1:
        fit_scale(share)
        model.objective.initialise(batch, model)  # what it took from codes has the new scale
    if late := sorted(set(model.objective.state_dict()) - before):
        raise ConfigError(
            f"{type(model.objective).__name__}.initialise made {late[0]}, which a saved run could not be given back: "
            "make it in build, and set it in initialise."
        )
    if isinstance(model.encoder, PatchEncoder) and model.objective.posterior_family.kind == "index":
        # Entries leave more than components do: with a smaller spread the reconstruction drowns the commitment.
        some = x[:PICTURES]
        error = (model.likelihood.mean(model.passed(some)[1]) - some).square().mean()
        model.likelihood.start_at(float(error))
    model.generator = None
    model.train()


def _overshoot(model: Model, x: torch.Tensor) -> float:
    """What the outputs about their average would be multiplied with to fit examples best, in squared error."""
    copies = model.likelihood.mean(model.passed(x)[1]).flatten(1)
    away, examples = copies - copies.mean(0), x.flatten(1) - x.flatten(1).mean(0)
    return float((away * examples).sum() / away.square().sum().clamp(min=1e-12))


def start_from_data(model: Model, dataset: Dataset, split: Split, run_config: RunConfig) -> PrincipalComponents | None:
    """The components at which an untrained model starts now; None where its network starts with random weights.

    Where a code has places they are those of patches.
    With `start=mean` or `median` these are random too, but for the decoder's last bias.
    Then a spread that is learned starts at what the components leave all the same: from 1 it would have a long way to
    go, at the rate of the weights, and a VAE would empty its code meanwhile.
    """
    start = "random" if model.network is None else model.network.start
    if start in ("mean", "median"):
        centre: Any = start
        start_at_mean(model, model.preprocess, _some_examples(model, dataset, split), centre)
    is_random = start != "pca"
    if len(split.train) < 2 or (is_random and not list(model.likelihood.parameters())):
        return None
    # A code with places that starts at random is told to leave what a component for each number of a place leaves.
    patch = model.encoder.patch if isinstance(model.encoder, PatchEncoder) else 0
    # Of as many as are worth a code whose numbers are mostly zero: those of its length would leave nothing.
    count = max(1, model.preprocess.values // 4) if start == "median" else model.code_shape[0]
    components = _components(model, dataset, split, run_config, count, patch)
    held_out = split.validation[:PICTURES]
    if len(held_out):  # few examples lie nearer to their own components than others do
        error = float(components.errors(model.preprocess, dataset.x[held_out]).mean())
        components = replace(components, rest=max(components.rest, error))
    if is_random:
        model.likelihood.start_at(components.spread)
        return None
    return components if start_at_components(model, components) else None


def baseline(
    model: Model,
    dataset: Dataset,
    split: Split,
    run_config: RunConfig,
    evaluation: Evaluation,
    components: PrincipalComponents | None,
) -> dict[str, Any]:
    """On the test split, what needs no training: the errors of PCA worth the latent code, and of the average example.

    Args:
        model: the trained model.
        dataset: the examples.
        split: of them.
        run_config: the choices.
        evaluation: of the trained model, on the test split.
        components: those at which the model started, if it did.
    """
    if components is None or components.patch:
        components = _components(model, dataset, split, run_config, model.latent_dim)
    examples = dataset.x[spread_indices(dataset.x, split.test, components.most_examples(model.preprocess.values))]
    worth, more = evaluation.components, {}
    if model.counts_units and evaluation.used < model.latent_dim:
        worth = min(worth, max(1, round(evaluation.used)))
        more["used"] = evaluation.used
    count = min(worth, components.count)
    pca, average = (float(components.errors(model.preprocess, examples, k).mean()) for k in (count, 0))
    if evaluation.bits is not None:
        more["bits"] = evaluation.bits
    return {"components": count, "pca": pca, "average": average, **more}


def _components(
    model: Model, dataset: Dataset, split: Split, run_config: RunConfig, count: int, patch: int = 0
) -> PrincipalComponents:
    """PCA of the training split, or of its patches, with so many components."""
    some = _some_examples(model, dataset, split)
    return PrincipalComponents.fit(model.preprocess, some, count, run_config.settings.seed, patch)


def _some_examples(model: Model, dataset: Dataset, split: Split) -> np.ndarray:
    """Training examples, at most as many as components are fitted to."""
    most = PrincipalComponents.most_examples(model.preprocess.values)
    return np.asarray(dataset.x[spread_indices(dataset.x, split.train, most)])
