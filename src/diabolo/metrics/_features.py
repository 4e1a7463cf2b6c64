"""Extractors by name: a random network, a classifier of the data itself, Inception."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import ConfigError, DataError, ShapeError, unknown_name
from diabolo.metrics._check import class_indices
from diabolo.metrics._extractor import Extractor, NetworkFeatures, check_numbers
from diabolo.metrics._inception import inception_features
from diabolo.models.preprocess import Preprocess
from diabolo.storage.images import is_image

__all__ = ["ClassifierFeatures", "Extractor", "classifier_features", "features", "random_features"]

RANDOM_FILTERS = (32, 64, 64)
RANDOM_WIDTH = 256
FILTERS = (32, 64, 128)  # of the classifier; the last goes on until the image is no more than 8 pixels wide
WIDTH = 128  # of its penultimate layer
BATCH = 128
LEAST_STEPS = 300
EPOCHS = 30  # at most, beyond the least steps
LEARNING_RATE = 2e-3
LEAST = 20  # labelled examples

Array = npt.NDArray[Any]


class ClassifierFeatures(NetworkFeatures):
    """The penultimate activations of a classifier.

    Attributes:
        accuracy: of the classifier on the labelled examples that it was not trained on, 0 to 1.

    >>> x, labels = np.random.default_rng(0).random((40, 8)), np.arange(40) % 2
    >>> classifier_features(x, labels, "F", steps=1).accuracy <= 1
    True
    """

    def __init__(self, name: str, preprocess: Preprocess, network: nn.Module, accuracy: float) -> None:
        super().__init__(name, preprocess, network)
        self.accuracy = accuracy


def features(name: str, **options: Any) -> Extractor:
    """An extractor by name: `features("random", event_shape=(28, 28), layout="HW")`.

    Args:
        name: random, classifier or inception.
        **options: those of `random_features`, `classifier_features` or `inception_features`.

    Raises:
        ConfigError: an unknown name or option, or one that is missing.
        ShapeError, DataError, MissingExtraError: as those functions.

    >>> extractor = features("random", event_shape=(28, 28), layout="HW")
    >>> extractor(np.zeros((2, 28, 28), np.uint8), "HW").shape
    (2, 256)
    """
    makers: dict[str, Callable[..., Extractor]] = {
        "classifier": classifier_features,
        "inception": inception_features,
        "random": random_features,
    }
    if name not in makers:
        raise unknown_name("feature extractor", str(name), makers)
    known = inspect.signature(makers[name]).parameters
    for option in options:
        if option not in known:
            raise unknown_name(f"option of the {name} features", option, known)
    missing = [item.name for item in known.values() if item.default is item.empty and item.name not in options]
    if missing:
        raise ConfigError(
            f"The {name} features need {' and '.join(missing)}, and were not given: features({name!r}, ...)."
        )
    return makers[name](**options)


def random_features(
    event_shape: tuple[int, ...], layout: str, seed: int = 0, *, reference: Any = None
) -> NetworkFeatures:
    """Features of a network that was never trained: the same for every model and every data set of a shape.

    For images, three convolutions of 3 x 3 with 32, 64 and 64 filters, each with ReLU, and averages over 2 x 2 pixels
    after the first two; the features are the averages of the last in the four quarters of the image, 256 numbers. For
    anything else, 256 units of one layer with ReLU. Weights are normal of variance 2 / inputs, and biases of
    deviation 0.1 (images) or 1.

    They see textures, shapes and places, not what an image means: they tell apart sets whose pixels differ.

    Args:
        event_shape: the shape of one example.
        layout: what its axes are.
        seed: of the weights.
        reference: (m, *event), examples whose mean and deviation bring each column of a table, or each channel of a
            signal, to one scale; without them, values are taken as they are. Not for images.

    Raises:
        ConfigError: an unknown layout, a negative seed.
        ShapeError: a layout that does not fit the shape.
        DataError: NaN or infinite values in the reference.

    >>> random_features((8, 8), "HW").name
    '256 features of a random convolutional network (32-64-64 filters), seed 0'
    """
    require(seed >= 0, "seed", "a number of at least 0", seed)
    shape = tuple(event_shape)
    if reference is not None and not is_image(layout):
        preprocess, scaled = _standard(check_numbers(np.asarray(reference)), layout), "standardised "
    else:
        preprocess, scaled = _unscaled(shape, layout), ""
    channels, image = preprocess.model_shape[0], is_image(layout)
    with torch.random.fork_rng(devices=[]):
        network = _random_convolutions(channels) if image else _random_layer(preprocess.values)
    _draw(network, seed, 0.1 if image else 1.0)
    filters = "-".join(map(str, RANDOM_FILTERS))
    what = f"convolutional network ({filters} filters)" if image else f"layer of {scaled}values"
    width = 4 * RANDOM_FILTERS[-1] if image else RANDOM_WIDTH
    return NetworkFeatures(f"{width} features of a random {what}, seed {seed}", preprocess, network)


def classifier_features(x: Any, labels: Any, layout: str, seed: int = 0, *, steps: int = 1200) -> ClassifierFeatures:
    """The penultimate activations, 128 numbers, of a small classifier that is trained on labelled examples.

    They see what separates the classes of this data, as those of Inception see what separates the classes of ImageNet.
    For images: 3 x 3 convolutions of stride 2 with 32, 64 and then 128 filters until the image is no more than 8 pixels
    wide, and a layer of 128. For anything else: two layers of 128 on standardised values. Adam in batches of 128, with
    a step size that falls from 2e-3 to 0 over `steps` steps, or 30 epochs where those are fewer (but no fewer than 300
    steps). A tenth of the examples is held out, to say in the name how good the classifier is. On one machine, the same
    data and seed give the same features.

    Args:
        x: (n, *event), at least 20 examples.
        labels: (n,), their classes.
        layout: what the axes of an event are.
        seed: of the weights, of the order, and of what is held out.
        steps: of the training, at most.

    Raises:
        ConfigError: an unknown layout, a setting out of range.
        ShapeError: a layout that does not fit, or not a label for each example.
        DataError: too few examples; labels that are missing, continuous or all the same; NaN or infinite values.

    >>> x, labels = np.random.default_rng(0).random((40, 8)), np.arange(40) % 2
    >>> classifier_features(x, labels, "F", steps=1)(x, "F").shape
    (40, 128)
    """
    require(seed >= 0, "seed", "a number of at least 0", seed)
    require(steps >= 1, "steps", "a number of at least 1", steps)
    values = np.asarray(x)
    if len(values) < LEAST:
        raise DataError(f"A classifier needs at least {LEAST} labelled examples, and {len(values)} were given.")
    if values.ndim < 2:
        raise ShapeError(f"The examples should have the shape (n, *event), and have {values.shape}.")
    y, classes = class_indices(labels, len(values))
    if len(classes) < 2:
        raise DataError(
            f"All {len(values):,} labels are {classes[0]!s}: a classifier needs examples of at least two classes. "
            "Choose random features, or give more examples."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(values))
    test, train = order[: len(values) // 10], order[len(values) // 10 :]
    image = is_image(layout)
    preprocess = _unscaled(values.shape[1:], layout) if image else _standard(check_numbers(values[train]), layout)
    with torch.random.fork_rng(devices=[]):
        body = _convolutions(preprocess.model_shape) if image else _layers(preprocess.values)
        head = nn.Linear(WIDTH, len(classes))
    network = nn.Sequential(body, head)
    _draw(network, seed, 0.0)
    epochs = max(1, len(train) // BATCH)
    _train(network, preprocess, values, y, train, rng, min(steps, max(LEAST_STEPS, EPOCHS * epochs)))
    extractor = ClassifierFeatures("", preprocess, body, 0.0)
    with torch.no_grad():
        guesses = head(torch.from_numpy(extractor(values[test], layout))).argmax(1).numpy()
    extractor.accuracy = float((guesses == y[test]).mean())
    extractor.name = (
        f"{WIDTH} features of a classifier trained on {len(train):,} of these examples ({len(classes)} classes, "
        f"{100 * extractor.accuracy:.1f}% right on {len(test):,} others, seed {seed})"
    )
    return extractor


def _train(
    network: nn.Module,
    preprocess: Preprocess,
    x: Array,
    y: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
    rng: np.random.Generator,
    steps: int,
) -> None:
    """Steps of Adam on batches of the examples at `train`; every epoch takes them in another order."""
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    size = min(BATCH, len(train))
    queue = np.empty(0, np.int64)
    network.train()
    for _ in range(steps):
        if len(queue) < size:
            queue = rng.permutation(train)
        batch, queue = queue[:size], queue[size:]
        with torch.enable_grad():
            logits = network(preprocess(torch.from_numpy(check_numbers(x[batch]))))
            loss = F.cross_entropy(logits, torch.from_numpy(y[batch]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.requires_grad_(False)


def _unscaled(event_shape: tuple[int, ...], layout: str) -> Preprocess:
    """Bytes as [0, 1], floats as they are."""
    return Preprocess(event_shape=event_shape, layout=layout, scale="bytes")


def _standard(x: Array, layout: str) -> Preprocess:
    """Each column of a table, or channel of a signal, to mean 0 and deviation 1."""
    return Preprocess.fit(x, layout, np.arange(len(x)), "standard")


class _Quarters(nn.Module):
    """The averages over the four quarters of images, (B, 4 C); quarters of a single pixel are that pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 2).flatten(1)


def _random_convolutions(channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in zip((channels, *RANDOM_FILTERS), RANDOM_FILTERS, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True)]
    return nn.Sequential(*layers[:-1], _Quarters())


def _random_layer(values: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(values, RANDOM_WIDTH), nn.ReLU())


def _convolutions(shape: tuple[int, ...]) -> nn.Module:
    channels, *sides = shape
    layers: list[nn.Module] = []
    while max(sides) > 8 or len(layers) < 4:
        filters = FILTERS[min(len(layers) // 2, len(FILTERS) - 1)]
        layers += [nn.Conv2d(channels, filters, 3, stride=2, padding=1), nn.ReLU()]
        channels, sides = filters, [-(-side // 2) for side in sides]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(sides), WIDTH), nn.ReLU())


def _layers(values: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(values, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())


@torch.no_grad()
def _draw(network: nn.Module, seed: int, bias: float) -> None:
    """Normal weights of variance 2 / inputs, and biases of a deviation, the same on every machine."""
    rng = np.random.default_rng(seed)
    for parameter in network.parameters():
        values = rng.standard_normal(tuple(parameter.shape))
        scale = math.sqrt(2 / parameter[0].numel()) if parameter.ndim > 1 else bias
        parameter.copy_(torch.from_numpy(scale * values))
