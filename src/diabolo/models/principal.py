"""Principal components of the data, in the model's own values: what a model is measured against, and where it starts.

PCA of d components is the best that affine maps do with a latent code of d numbers, in squared error on the examples
that it was fitted to (Baldi & Hornik 1989, https://doi.org/10.1016/0893-6080(89)90014-2). A model that is worse on
held-out examples has not earned its training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from diabolo.errors import ConfigError
from diabolo.models.model import Model
from diabolo.models.networks import PatchEncoder, affine_path
from diabolo.models.networks._residual import patch_rows
from diabolo.models.networks.resnet import Corrected
from diabolo.models.objectives import Batch
from diabolo.models.preprocess import Preprocess

__all__ = ["PrincipalComponents", "start_at_components", "start_at_mean"]

Floats = npt.NDArray[np.float32]

LEAST_SPREAD = 1e-3  # of the variance of the data: a likelihood that leaves nothing calls all else impossible
MOST_EXAMPLES = 20_000  # from which components are fitted
MOST_PATCHES = 100_000  # of them
MOST_VALUES = 1e8  # of these examples: 0.4 GB
MEAN_MARGIN = 1e-3  # of 0 and 1, as in the first code of IWAE: the bias of a pixel that is never lit is -6.9


@dataclass(frozen=True)
class PrincipalComponents:
    """The principal components of a training split, in the values that the model sees.

    Attributes:
        mean: (D,), the average example, or patch.
        axes: (k, D), orthonormal, in the order of their variance.
        variances: (k,), the variance of the examples along each.
        rest: the variance that the components leave, per value: their mean squared error on these examples.
        examples: how many they were fitted to.
        patch: the side of the patches whose components they are, with C patch^n values; 0 for whole examples.

    >>> x = np.array([[0, 0], [2, 2], [4, 4]], np.float32)
    >>> preprocess = Preprocess(event_shape=(2,), layout="F", scale="none")
    >>> components = PrincipalComponents.fit(preprocess, x, 1)
    >>> components.errors(preprocess, x).round(6).tolist(), components.errors(preprocess, x, 0).tolist()
    ([0.0, 0.0, 0.0], [4.0, 0.0, 4.0])
    """

    mean: Floats
    axes: Floats
    variances: Floats
    rest: float
    examples: int
    patch: int = 0

    @classmethod
    def most_examples(cls, values: int) -> int:
        """How many examples of so many values are used at most."""
        return int(max(1, min(MOST_EXAMPLES, MOST_VALUES / values)))

    @classmethod
    def fit(
        cls, preprocess: Preprocess, x: npt.NDArray[np.generic], count: int, seed: int = 0, patch: int = 0
    ) -> PrincipalComponents:
        """The components of examples, or of their patches; fewer than `count` where examples or values are fewer.

        Args:
            preprocess: from the user's values to the model's.
            x: (n, *event), training examples, as the user holds them.
            count: how many components.
            seed: of the randomised solver that large data are given to, and of the patches that are taken of very many.
            patch: the side of a patch; 0 for whole examples.
        """
        from sklearn.decomposition import PCA

        flat = _flat(preprocess, x, patch)
        if patch and len(flat) > MOST_PATCHES:
            flat = flat[np.sort(np.random.default_rng(seed).choice(len(flat), MOST_PATCHES, replace=False))]
        most = max(1, min(count, len(flat) - 1, flat.shape[1]))
        with np.errstate(divide="ignore", invalid="ignore"):  # shares of no variance, where all examples are equal
            pca = PCA(most, random_state=seed).fit(flat)
        rest = float(np.square(flat - pca.inverse_transform(pca.transform(flat))).mean())
        mean, axes, variances = (
            np.asarray(array, np.float32) for array in (pca.mean_, pca.components_, pca.explained_variance_)
        )
        return cls(mean, axes, variances, rest, len(x), patch)

    @property
    def spread(self) -> float:
        """The variance per value at which a likelihood starts: what the components leave, but some of what there is."""
        average = self.rest + float(self.variances.sum()) / self.mean.size
        return max(self.rest, LEAST_SPREAD * average, 1e-6)

    @property
    def count(self) -> int:
        """The number of components, k."""
        return len(self.axes)

    def errors(self, preprocess: Preprocess, x: npt.NDArray[np.generic], count: int | None = None) -> Floats:
        """The mean squared error per value of each example's, or each patch's, projection, (n,), in the model's values.

        Args:
            preprocess: from the user's values to the model's.
            x: (n, *event), held-out examples, as the user holds them.
            count: how many components; all when left out, the average example alone for 0.
        """
        axes = self.axes[:count]
        centred = _flat(preprocess, x, self.patch) - self.mean
        errors: Floats = np.square(centred - (centred @ axes.T) @ axes).mean(1)
        return errors


@torch.no_grad()
def start_at_components(model: Model, components: PrincipalComponents) -> bool:
    """Sets the affine paths of an untrained model so that it starts as PCA; its other layers give zero at first.

    The latent code is the one that the model's family of posteriors asks for: coordinates in one unit, or, for a
    Gaussian, the optimum of a linear VAE, probabilistic PCA (Tipping & Bishop 1999,
    https://doi.org/10.1111/1467-9868.00196; Lucas et al. 2019, https://arxiv.org/abs/1911.02469), moved to where the
    model's prior has its mean and its deviation. Where codes have places, each is that of its patch, with a prior of
    the average place. A likelihood with one learned spread gets that of what the components leave. Behind a sigmoid the
    output is PCA's to first order.

    Args:
        model: with affine paths in its encoder and its decoder.
        components: at least 1, of patches where codes have places; where the code has more dimensions, the others start
            at zero.

    Returns:
        Whether there was something to set.
    """
    into, out = affine_path(model.encoder), affine_path(model.decoder)
    if into is None or out is None:
        return False
    d, places = model.code_shape[0], math.prod(model.code_shape[1:])
    patch = model.encoder.patch if isinstance(model.encoder, PatchEncoder) else 0
    features, fed = model.objective.features(d), model.objective.fed(d)
    if fed < d and features == fed * model.objective.posterior_family.width:
        d = fed  # the part of a code that the encoder gives and the decoder takes
    if (len(model.code_shape) > 1 and not patch) or patch != components.patch or features % d:
        return False
    k, spatial = min(d, components.count), len(model.preprocess.model_shape) - 1
    noise = components.spread * components.mean.size / max(components.mean.size - k, 1)
    start = model.objective.posterior_family.linear_start(torch.from_numpy(components.variances[:k]), noise)
    axes, mean = torch.from_numpy(components.axes[:k]), torch.from_numpy(components.mean)
    spread = noise if model.objective.posterior_family.density else components.spread
    shape = (model.preprocess.model_shape[0], *[patch] * spatial) if patch else model.preprocess.model_shape
    output, slope = model.likelihood.linear_start(mean.view(1, *shape), spread)
    prior = model.prior()
    moments = (torch.zeros(d * places), torch.ones(d * places)) if prior is None else prior.moments()
    centre, unit = (moment[: d * places].reshape(d, places).mean(1) for moment in moments)
    for path in (into, out):
        path.weight.zero_()
        path.bias.zero_()
    values = mean.numel()  # what is given beside them, and beside a code, has no part in it
    into.weight[:k, :values] = (unit[:k] * start.encoder)[:, None] * axes
    into.bias[:d] = centre
    into.bias[:k] -= into.weight[:k, :values] @ mean
    for number, constant in enumerate(start.constants, 1):
        into.bias[number * d : number * d + k] = constant + 2 * unit[:k].log()
    out.weight[:values, :k] = slope.view(-1, 1) * ((start.decoder / unit[:k])[:, None] * axes).T
    out.bias.copy_(output.flatten() - out.weight[:, :d] @ centre)
    blank = Batch(torch.zeros(1, *model.preprocess.model_shape))
    held = model.objective.posterior(into.bias.repeat_interleave(places)[None], blank).log_variance
    if held is not None:  # within what the variant holds it in: beyond it would learn nothing
        into.bias[d : 2 * d] = held[0, ::places]
    return True


@torch.no_grad()
def start_at_mean(
    model: Model,
    preprocess: Preprocess,
    x: npt.NDArray[np.generic],
    centre: Literal["mean", "median"] = "mean",
) -> None:
    """Sets the last bias of an untrained decoder to the output for the mean example: for Bernoulli its logit.

    So training need not find the mean first (Burda, Grosse, Salakhutdinov 2016, https://arxiv.org/abs/1509.00519, in
    their code). Where there is a bias for each channel alone, it is the mean of the channel.

    Args:
        model: whose decoder has a bias in its last layer.
        preprocess: from the user's values to the model's.
        x: (n, *event), training examples, as the user holds them.
        centre: their mean, or their geometric median; an encoder with a `centre` gets it too.

    Raises:
        ConfigError: there is no such bias.

    >>> from diabolo.models.model import build_model
    >>> x = np.array([[0, 0], [2, 4]], np.float32)
    >>> preprocess = Preprocess(event_shape=(2,), layout="F", scale="none")
    >>> model = build_model(preprocess, network="linear", likelihood="gaussian", latent_dim=1)
    >>> start_at_mean(model, preprocess, x)
    >>> model.decode(torch.zeros(1, 1)).tolist()
    [[1.0, 2.0]]
    """
    layers = [model.decoder.affine] if isinstance(model.decoder, Corrected) else model.decoder.modules()
    found = [getattr(layer, "bias", None) for layer in layers]
    biases = [bias for bias in found if isinstance(bias, torch.nn.Parameter)]
    values = _flat(preprocess, x)
    point = torch.from_numpy(values.mean(0) if centre == "mean" else geometric_median(values))
    if isinstance(into := getattr(model.encoder, "centre", None), torch.Tensor):
        into.copy_(point)
    mean = point.view(1, *preprocess.model_shape)
    means = (mean, mean.flatten(2).mean(2) if mean.dim() > 2 else mean)  # of each value, and of each channel
    outputs = [model.likelihood.output_of(one, MEAN_MARGIN).flatten() for one in means]
    fitting = [output for output in outputs if biases and len(output) == biases[-1].numel()]
    if not fitting:
        raise ConfigError(
            "start='mean' is for a decoder whose last layer has a bias for each value or for each channel, and this "
            "one has none: take start='random'."
        )
    biases[-1].copy_(fitting[0])


def geometric_median(rows: Floats, steps: int = 100) -> Floats:
    """The point, (D,), with the least sum of distances from rows, (n, D): the mean, but for outliers.

    Weiszfeld's algorithm (https://en.wikipedia.org/wiki/Geometric_median).

    >>> float(geometric_median(np.array([[0], [1], [2], [900]], np.float32))[0]) < 2
    True
    """
    point: Floats = rows.mean(0)
    for _ in range(steps):
        weights = 1 / np.maximum(np.linalg.norm(rows - point, axis=1), 1e-12)
        before, point = point, (weights @ rows / weights.sum()).astype(np.float32)
        if np.linalg.norm(point - before) <= 1e-6 * np.linalg.norm(point):
            break
    return point


def _flat(preprocess: Preprocess, x: npt.NDArray[np.generic], patch: int = 0) -> Floats:
    """Examples as the model sees them, or their patches, (n, D)."""
    with torch.no_grad():
        seen = preprocess(torch.from_numpy(np.array(x)).to(preprocess.shift.device))
        flat: Floats = (patch_rows(seen, patch).flatten(0, -2) if patch else seen.flatten(1)).cpu().numpy()
    return flat
