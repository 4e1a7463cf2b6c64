"""Posteriors and likelihoods: pure maths on tensors, without networks or loops.

A posterior is the distribution q(z | x) that an encoder outputs for each input; a likelihood is p(x | z), read from the
output of a decoder. Sums run over an event or a latent code, never over the batch: results are in nats per example.

One file, longer than most, since a step of training that is read from end to end should pass through few of them.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diabolo.config import Registry, check_choices, require
from diabolo.models._cross_entropy import CrossEntropy

__all__ = [
    "Bernoulli",
    "DiagonalGaussian",
    "Dirac",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "LinearStart",
    "Posterior",
    "StudentT",
    "likelihoods",
]

MOST_DEGREES = 1000  # of a t distribution: beyond, it is a Gaussian, and float32 has no digits left for its constant
KEPT = 0.95  # of an optimal variance after a step: what is evaluated has that of the last twenty or so
START_MARGIN = 0.05  # of 0 and 1, within which the slope of a logit is too steep to start from


class LinearStart(NamedTuple):
    """The latent code that affine maps give to k principal components of the data.

    Attributes:
        encoder: (k,), the posterior's mean over the coordinate along each component.
        decoder: (k,), the coordinate over the latent code.
        constants: (k,) each, the other outputs of the encoder for each dimension, which do not depend on the example:
            of a Gaussian the logarithm of the variance.

    >>> Dirac.linear_start(torch.tensor([4.0]), noise=1.0)
    LinearStart(encoder=tensor([0.5000]), decoder=tensor([2.]), constants=())
    """

    encoder: Tensor
    decoder: Tensor
    constants: tuple[Tensor, ...] = ()


class Posterior(ABC):
    """q(z | x), the distribution of a latent code given its input, for a batch of B inputs and d dimensions.

    Attributes:
        kind: what a code is: a point, gaussian, an index into a codebook, or of one's own.
        width: the outputs of an encoder for each dimension of the latent code.
        density: whether q(z | x) has a density, from which bounds and likelihoods can be computed.
        mean: (B, d), the latent codes that `encode` returns.
        log_variance: (B, d), of a diagonal Gaussian; None for any other.
        index: (B, positions, levels) int64, the entries of a codebook that a code is written with; None for any other.
    """

    kind: str = "point"
    width: int
    density: bool = False
    mean: Tensor
    log_variance: Tensor | None = None
    index: Tensor | None = None

    @property
    def deviation(self) -> Tensor | None:
        """The standard deviation of each number of the code, (B, d); None where it has none."""
        return None if self.log_variance is None else torch.exp(0.5 * self.log_variance)

    @classmethod
    @abstractmethod
    def from_features(cls, features: Tensor) -> Self:
        """The posterior of an encoder's output, (B, width * d)."""

    @abstractmethod
    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One latent code per input, (B, d), reparameterised: gradients pass through it to the encoder."""

    def shifted(self, noise: Tensor) -> Tensor:
        """The sample, (B, d), of given standard normal noise, (d,) or (B, d)."""
        return self.mean

    @classmethod
    def linear_start(cls, variances: Tensor, noise: float) -> LinearStart:
        """The coordinates along principal components, in one unit for all: of variance 1 on average.

        Distances between latent codes are those between the examples' projections, but for that unit.

        Args:
            variances: (k,), of the data along each component.
            noise: the variance of each value that the components leave.
        """
        unit = torch.where(variances.mean() > 0, variances.mean(), 1.0).sqrt().expand_as(variances)
        return LinearStart(1 / unit, unit)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z | x), (B,), in nats, of one latent code per input, (B, d); only with a density."""
        raise NotImplementedError(f"{type(self).__name__} has no density")

    def placed(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The sample of given standard normal noise, (B, d), and its log q(z | x), (B,).

        A posterior that knows the density of its own draws alone, such as a flow, gives both here.
        """
        z = self.shifted(noise)
        return z, self.log_prob(z)

    def draw(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Latent codes, (n, B, d), and log q(z | x) of each, (n, B)."""
        codes, logs = zip(*(self.placed(self.noise(generator)) for _ in range(n)), strict=True)
        return torch.stack(codes), torch.stack(logs)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal noise in the shape of the mean, (B, d)."""
        shape, device = self.mean.shape, self.mean.device
        return torch.randn(shape, generator=generator, device=device, dtype=self.mean.dtype)

    def detached(self) -> Self:
        """The same, through which no gradient passes to the encoder."""
        copied = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(copied, name, value.detach())
        return copied


class Dirac(Posterior):
    """A point mass: the posterior of a plain autoencoder.

    >>> Dirac(torch.tensor([[1.0, 2.0]])).sample()
    tensor([[1., 2.]])
    """

    width = 1

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    @classmethod
    def from_features(cls, features: Tensor) -> Self:
        return cls(features.float())

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean


class DiagonalGaussian(Posterior):
    """N(mean, diag(exp(log_variance))), the posterior of a VAE (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114).

    >>> posterior = DiagonalGaussian(mean=torch.tensor([[1.0]]), log_variance=torch.zeros(1, 1))
    >>> posterior.shifted(torch.tensor([2.0]))
    tensor([[3.]])
    """

    kind = "gaussian"
    width = 2
    density = True
    log_variance: Tensor

    def __init__(self, mean: Tensor, log_variance: Tensor) -> None:
        self.mean = mean
        self.log_variance = log_variance

    @classmethod
    def from_features(cls, features: Tensor) -> Self:
        mean, log_variance = features.float().chunk(2, dim=1)
        return cls(mean, log_variance)

    @classmethod
    def linear_start(cls, variances: Tensor, noise: float) -> LinearStart:
        """The optimum of a linear VAE: probabilistic PCA (Tipping, Bishop 1999; Lucas et al. 2019, section 3)."""
        explained = (variances - noise).clamp(min=1e-3 * noise)  # a dimension without any would never learn
        decoder = explained.sqrt()
        return LinearStart(decoder / (explained + noise), decoder, (torch.log(noise / (explained + noise)),))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.shifted(self.noise(generator))

    def shifted(self, noise: Tensor) -> Tensor:
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        scaled = (z - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (scaled + self.log_variance + math.log(2 * math.pi)).sum(1)


class Likelihood(nn.Module, ABC):
    """p(x | z) of an example, read from the output of a decoder.

    The output has the shape of a batch of examples, (B, C, ...), with `width` times as many channels (or features).

    >>> likelihoods.create("bernoulli").log_prob(torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
    tensor([-2.7726, -2.7726])
    """

    width: int = 1
    pace: float = 1.0  # the learning rate of its own parameters, over that of the weights
    couples: str = ""  # what of it is a statistic of the whole batch in training, see `Objective.couples`
    squashes: bool = False  # whether it takes the output through a sigmoid

    def __init_subclass__(cls, **options: Any) -> None:
        """Overriding `log_prob_each` resets `log_prob` and `log_prob_fused` to the generic versions.

        Faster versions of these two in a base class belong to its own `log_prob_each`.
        """
        super().__init_subclass__(**options)
        overridden = False
        for name in ("log_prob_each", "log_prob", "log_prob_fused"):  # each is the next one's source
            if name in vars(cls):
                overridden = True
            elif overridden:
                setattr(cls, name, getattr(Likelihood, name))

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """Log p(x | z) summed over the event, (B,), in nats."""
        return self.log_prob_each(output, x).flatten(1).sum(1)

    def log_prob_fused(self, output: Tensor, x: Tensor) -> Tensor:
        """`log_prob` by operations that a compiler turns into few loops over memory."""
        return self.log_prob(output, x)

    @abstractmethod
    def log_prob_each(self, output: Tensor, x: Tensor) -> Tensor:
        """Log p of each value, (B, C, ...), in nats."""

    @abstractmethod
    def surprise(self, output: Tensor, x: Tensor) -> Tensor:
        """The nats of each value above the least that this likelihood can give it, (B, C, ...).

        Zero where the reconstruction is exact; large where an example departs from the model's expectation.
        """

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The mean of p(x | z), (B, C, ...): the reconstruction."""

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw from p(x | z), (B, C, ...)."""

    def output_of(self, mean: Tensor, margin: float = 1e-7) -> Tensor:
        """The output, (B, C', ...), whose mean is this one, (B, C, ...).

        Args:
            mean: of the values.
            margin: how near to 0 and 1 a mean is followed, where the ends are infinitely far away.
        """
        return mean

    def statistics(self, output: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Sums over a batch in training, for `update`."""
        return {}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Moves buffers in place, once a step, by the statistics of the whole batch."""

    def start_at(self, variance: float) -> None:
        """Lets a spread that is learned start at this variance of each value, and nothing otherwise."""

    def linear_start(self, mean: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """The output for an average example, and the slope with which it follows a change of the mean.

        Args:
            mean: (1, C, ...), the average example.
            noise: the variance of each value about its mean; sets the spread where one is learned.

        Returns:
            (1, C', ...) and (1, C, ...).
        """
        with torch.enable_grad():
            variable = mean.detach().requires_grad_()
            output = self.output_of(variable, START_MARGIN)
            (slope,) = torch.autograd.grad(output.sum(), variable)
        return output.detach(), slope


class Bernoulli(Likelihood):
    """Cross-entropy: each value is the probability of a one.

    -log p(x | z) = sum over values of -x log m - (1 - x) log(1 - m). For grey values in (0, 1) this is the usual
    cross-entropy and not a normalised density: its minimum is the entropy of the data, not zero.

    Args:
        inputs: the output of the decoder: logits, or probabilities where it ends in a sigmoid of its own.

    >>> Bernoulli().mean(torch.zeros(1, 3))
    tensor([[0.5000, 0.5000, 0.5000]])
    """

    def __init__(self, *, inputs: Literal["logits", "probabilities"] = "logits") -> None:
        super().__init__()
        self.inputs = inputs
        self.squashes = inputs == "logits"
        check_choices(self)

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        return -self._entropy(output, x).flatten(1).sum(1)  # the sign changes once per example, not once per value

    def log_prob_fused(self, output: Tensor, x: Tensor) -> Tensor:
        if self.inputs != "logits":
            return self.log_prob(output, x)
        cross_entropy: Tensor = CrossEntropy.apply(output.flatten(1), x.flatten(1))  # type: ignore[no-untyped-call]
        return -cross_entropy

    def log_prob_each(self, output: Tensor, x: Tensor) -> Tensor:
        return -self._entropy(output, x)

    def _entropy(self, output: Tensor, x: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits if self.inputs == "logits" else F.binary_cross_entropy
        return entropy(output.float(), x, reduction="none")

    def surprise(self, output: Tensor, x: Tensor) -> Tensor:
        least = -torch.xlogy(x, x) - torch.xlogy(
            1 - x, 1 - x
        )  # the entropy of a grey value, which no prediction can go below
        return self._entropy(output, x) - least

    def mean(self, output: Tensor) -> Tensor:
        return torch.sigmoid(output.float()) if self.inputs == "logits" else output.float()

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.mean(output), generator=generator)

    def output_of(self, mean: Tensor, margin: float = 1e-7) -> Tensor:
        return _logit(mean, margin) if self.inputs == "logits" else mean


def _logit(mean: Tensor, margin: float) -> Tensor:
    """The logit of values in [0, 1], with the slope at the margin for those beyond it."""
    return torch.logit(mean + (mean.clamp(margin, 1 - margin) - mean).detach())


SCALES = ("learned", "decoded")


class _LocationScale(Likelihood):
    """A location, and a scale that is fixed, learned as one number, decoded, or the best one for each batch."""

    pace = 10.0  # a rate that is right for weights would take thousands of steps over a spread's logarithm

    def __init__(self, name: str, scale: float | str, output: str, words: tuple[str, ...] = SCALES) -> None:
        super().__init__()
        fits = scale in words if isinstance(scale, str) else 0 < scale < math.inf
        require(fits, name, f"a number above 0, {' or '.join(map(repr, words))}", scale)
        require(output in ("linear", "sigmoid", "clip"), "output", "'linear', 'sigmoid' or 'clip'", output)
        self.location_as = output
        self.squashes = output == "sigmoid"
        self.learned = isinstance(scale, str)
        self.width = 2 if scale == "decoded" else 1
        # One tensor, fixed or learned, so that both are the same arithmetic. Its name is a key of saved runs.
        start = torch.tensor(0.0 if isinstance(scale, str) else math.log(scale))
        self.log_spread: Tensor
        if scale == "learned":
            self.log_spread = nn.Parameter(start)
        else:
            self.register_buffer("log_spread", start, persistent=scale == "optimal")
        if scale == "optimal":
            self.register_buffer("steps", torch.zeros(()))

    def parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The location, (B, C, ...), and the log of the scale (Gaussian: of the variance), that shape or a scalar."""
        output = output.float()
        location, log_scale = output.chunk(2, dim=1) if self.width == 2 else (output, self.log_spread)
        if self.learned:  # a value that is constant in the data would drive its scale to 0 and its density to infinity
            log_scale = log_scale.clamp(-10, 10)
        if self.location_as == "sigmoid":
            location = torch.sigmoid(location)
        elif self.location_as == "clip":  # the gradient passes: it points back inside wherever an example lies there
            location = location + (location.clamp(0, 1) - location).detach()
        return location, log_scale

    def output_of(self, mean: Tensor, margin: float = 1e-7) -> Tensor:
        location = _logit(mean, margin) if self.location_as == "sigmoid" else mean
        return torch.cat([location, torch.zeros_like(location)], 1) if self.width == 2 else location

    def linear_start(self, mean: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        self.start_at(noise)
        output, slope = super().linear_start(mean, noise)
        if self.width == 2:
            output[:, output.shape[1] // 2 :] = self.log_scale_of(noise)
        return output, slope

    def start_at(self, variance: float) -> None:
        if self.learned:  # where it is decoded nothing reads it
            self.log_spread.data.fill_(self.log_scale_of(variance))

    def mean(self, output: Tensor) -> Tensor:
        return self.parts(output)[0]

    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        location, log_scale = self.parts(output)
        if log_scale.dim():
            return super().log_prob(output, x)
        distance = self.distance(location, x).flatten(1)
        # A scale for all values is applied after their sum: one operation per example.
        return self.log_density(distance.sum(1), self.fitted(distance, log_scale), distance.shape[1])

    def log_prob_each(self, output: Tensor, x: Tensor) -> Tensor:
        location, log_scale = self.parts(output)
        distance = self.distance(location, x)
        return self.log_density(distance, self.fitted(distance, log_scale), 1)

    def fitted(self, distance: Tensor, log_scale: Tensor) -> Tensor:
        """The log of the scale for values at these distances, where it is theirs."""
        return log_scale

    @abstractmethod
    def distance(self, location: Tensor, x: Tensor) -> Tensor:
        """The distance of each value from its location, (B, C, ...): squared for Gaussian, absolute for Laplace."""

    def log_scale_of(self, variance: float) -> float:
        """The log of the scale at which values have this variance."""
        return math.log(variance)

    @abstractmethod
    def log_density(self, distance: Tensor, log_scale: Tensor, values: int) -> Tensor:
        """Log p of `values` values together, in nats, from the sum of their distances."""


class Gaussian(_LocationScale):
    """Squared error with its constant: -log p(x | z) = sum of (x - m)^2 / (2 v) + log(2 pi v) / 2.

    With a fixed variance this is the squared error divided by 2 v plus a constant; one learned variance for all values
    weighs error against KL by itself (Rybkin et al. 2021, sigma-VAE, https://arxiv.org/abs/2006.13202).

    Args:
        variance: v, a number; `learned`: one for all values; `decoded`: the decoder gives one for each value;
            `optimal`: in training the mean squared error of each batch, which needs no learning rate and costs
            D/2 (log 2 pi e + log MSE) nats (the same paper), and otherwise an average over the last batches.
        output: the location: `linear`; for values in [0, 1] also `sigmoid`, or `clip`, which is linear within [0, 1]
            and reaches both ends.

    >>> Gaussian(variance=0.5).log_prob(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([-3.1447])
    """

    def __init__(
        self,
        *,
        variance: float | Literal["learned", "decoded", "optimal"] = 1.0,
        output: Literal["linear", "sigmoid", "clip"] = "linear",
    ) -> None:
        super().__init__("variance", variance, output, (*SCALES, "optimal"))
        self.variance = variance
        self.output = output
        self.couples = "variance=optimal, the mean squared error" if variance == "optimal" else ""

    def distance(self, location: Tensor, x: Tensor) -> Tensor:
        return F.mse_loss(location, x, reduction="none")

    def fitted(self, distance: Tensor, log_scale: Tensor) -> Tensor:
        if not (self.training and self.variance == "optimal"):
            return log_scale
        # At the best variance the slope of the loss along it is zero: without a gradient the loss has the same one.
        return distance.detach().mean().log().clamp(-10, 10)

    def statistics(self, output: Tensor, x: Tensor) -> dict[str, Tensor]:
        if self.variance != "optimal":
            return {}
        squares = self.distance(self.parts(output)[0], x).detach()
        return {"squares": squares.sum(), "values": torch.full((), squares.numel(), device=squares.device)}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        if statistics:
            now, steps = (statistics["squares"] / statistics["values"]).log().clamp(-10, 10), self.get_buffer("steps")
            self.log_spread.lerp_(now, (1 / steps.add_(1)).clamp(min=1 - KEPT))

    def log_density(self, distance: Tensor, log_scale: Tensor, values: int) -> Tensor:
        return -0.5 * (distance * torch.exp(-log_scale) + values * (log_scale + math.log(2 * math.pi)))

    def surprise(self, output: Tensor, x: Tensor) -> Tensor:
        mean, log_variance = self.parts(output)
        return 0.5 * self.distance(mean, x) * torch.exp(-log_variance)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_variance = self.parts(output)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + torch.exp(0.5 * log_variance) * noise


class Laplace(_LocationScale):
    """Absolute error with its constant: -log p(x | z) = sum of |x - m| / b + log(2 b).

    Args:
        scale: b, a number; `learned`: one for all values; `decoded`: the decoder gives one for each value.
        output: the location: `linear`; for values in [0, 1] also `sigmoid`, or `clip`, which is linear within [0, 1]
            and reaches both ends.

    >>> Laplace(scale=1.0).log_prob(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([-3.3863])
    """

    def __init__(
        self,
        *,
        scale: float | Literal["learned", "decoded"] = 1.0,
        output: Literal["linear", "sigmoid", "clip"] = "linear",
    ) -> None:
        super().__init__("scale", scale, output)
        self.scale = scale
        self.output = output

    def distance(self, location: Tensor, x: Tensor) -> Tensor:
        return (location - x).abs()

    def log_scale_of(self, variance: float) -> float:
        return math.log(variance / 2) / 2  # 2 b^2 is the variance

    def log_density(self, distance: Tensor, log_scale: Tensor, values: int) -> Tensor:
        return -(distance * torch.exp(-log_scale) + values * (log_scale + math.log(2)))

    def surprise(self, output: Tensor, x: Tensor) -> Tensor:
        median, log_scale = self.parts(output)
        return self.distance(median, x) * torch.exp(-log_scale)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        median, log_scale = self.parts(output)
        uniform = torch.rand(median.shape, generator=generator, device=median.device) - 0.5
        # The inverse distribution function. The clamp keeps 1 - 2|u| above zero, where its logarithm is infinite.
        tail = torch.log1p((-2 * uniform.abs()).clamp(min=-1 + 1e-7))
        return median - torch.exp(log_scale) * uniform.sign() * tail


class StudentT(_LocationScale):
    """Student's t: nearly squared error about the location, and a logarithm far from it, so that outliers cost little.

    -log p(x | z) = sum of (n + 1) / 2 log(1 + (x - m)^2 / (n s^2)) + log s + a constant of n degrees of freedom.

    Args:
        degrees: n, of freedom, a number, or `learned`: few for heavy tails; without end it is the Gaussian.
        scale: s, a number; `learned`: one for all values; `decoded`: the decoder gives one for each value.
        output: the location: `linear`; for values in [0, 1] also `sigmoid`, or `clip`, which is linear within [0, 1]
            and reaches both ends.

    >>> StudentT(degrees=1.0, scale=1.0).log_prob(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([-3.6758])
    """

    def __init__(
        self,
        *,
        degrees: float | Literal["learned"] = "learned",
        scale: float | Literal["learned", "decoded"] = "learned",
        output: Literal["linear", "sigmoid", "clip"] = "linear",
    ) -> None:
        super().__init__("scale", scale, output)
        fits = degrees == "learned" if isinstance(degrees, str) else 0 < degrees <= MOST_DEGREES
        require(fits, "degrees", f"a number above 0 and up to {MOST_DEGREES}, or 'learned'", degrees)
        self.degrees = degrees
        self.scale = scale
        self.output = output
        start = torch.tensor(math.log(5.0 if isinstance(degrees, str) else degrees))
        self.log_degrees: Tensor
        if degrees == "learned":
            self.log_degrees = nn.Parameter(start)
        else:
            self.register_buffer("log_degrees", start, persistent=False)

    def freedom(self) -> Tensor:
        """The degrees of freedom; learned ones are at least 1."""
        return (
            self.log_degrees.clamp(0, math.log(MOST_DEGREES)) if self.degrees == "learned" else self.log_degrees
        ).exp()

    def distance(self, location: Tensor, x: Tensor) -> Tensor:
        return F.mse_loss(location, x, reduction="none")

    def log_scale_of(self, variance: float) -> float:
        degrees = float(self.freedom())
        return 0.5 * math.log(variance * (degrees - 2) / degrees if degrees > 2 else variance)  # infinite up to 2

    def log_prob_each(self, output: Tensor, x: Tensor) -> Tensor:
        location, log_scale = self.parts(output)
        return self.log_density(self.distance(location, x), log_scale, 1)

    def log_density(self, distance: Tensor, log_scale: Tensor, values: int) -> Tensor:
        n = self.freedom()
        constant = torch.lgamma((n + 1) / 2) - torch.lgamma(n / 2) - 0.5 * torch.log(math.pi * n)
        return constant - log_scale - self._excess(distance, log_scale)

    def surprise(self, output: Tensor, x: Tensor) -> Tensor:
        location, log_scale = self.parts(output)
        return self._excess(self.distance(location, x), log_scale)

    def _excess(self, distance: Tensor, log_scale: Tensor) -> Tensor:
        n = self.freedom()
        return (n + 1) / 2 * torch.log1p(distance * torch.exp(-2 * log_scale) / n)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        location, log_scale = self.parts(output)
        angle, radius = (torch.rand(location.shape, generator=generator, device=location.device) for _ in "ab")
        n = self.freedom()
        # Bailey 1994, the polar method: of two uniform numbers, whatever n is.
        length = torch.sqrt(n * torch.expm1(-2 / n * torch.log(radius.clamp(min=1e-7))))
        return location + torch.exp(log_scale) * length * torch.cos(2 * math.pi * angle)


likelihoods: Registry[Likelihood] = Registry("likelihood", Likelihood, "diabolo.likelihoods")
for _name, _likelihood in (
    ("bernoulli", Bernoulli), ("gaussian", Gaussian), ("laplace", Laplace), ("student", StudentT)
):  # fmt: skip
    likelihoods.register(_name, _likelihood)
