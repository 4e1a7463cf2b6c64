"""The conditional VAE: examples of a class, whose code says what the class does not."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diabolo.config import check_choices, require
from diabolo.models.distributions import DiagonalGaussian
from diabolo.models.objectives._base import Batch, Space
from diabolo.models.objectives._variational import Variational
from diabolo.models.priors.mixtures import GaussianOfEach, PosteriorMixture
from diabolo.models.priors.own import CodePrior


class Conditional(Variational):
    """A VAE of examples given their class: q(z | x, y), p(x | z, y), and with `class_priors` p(z | y).

    The code need not say the class, and does not: what can be read off it falls, and that is no defect.

    Args:
        embedding: what a class is beside an example and beside a code: numbers that are `learned`, in images and
            signals one more channel beside the example; or `one-hot`, in images and signals a channel for each class.
        class_dim: how many learned numbers a class has beside a code.
        class_priors: learn a Gaussian prior for each class, in the place of N(0, I).
        beta: the weight of the KL; 1 is the evidence lower bound of log p(x | y).
        log_variance: the least and the largest logarithm of a variance of the posterior, as -6,2.
    """

    labels = "required"
    equation = "E_q(z|x,y)[-log p(x | z, y)] + beta * KL(q(z | x, y) || p(z | y))"
    formula = r"\mathbb{E}_{q(z \mid x, y)}[-\log p(x \mid z, y)] + \beta \, \mathrm{KL}(q(z \mid x, y) \| p(z \mid y))"
    when = (
        "Take it where examples have classes and new ones of a class are wanted, or codes of style without the class. "
        "Not to find the classes: it takes them with every example."
    )
    teaches = {"reconstruction": "encoder decoder likelihood (objective)", "kl": "encoder (objective)"}
    source = (
        "Sohn, Lee, Yan 2015, Learning structured output representation, "
        "https://proceedings.neurips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html"
    )

    def __init__(
        self,
        *,
        embedding: Literal["learned", "one-hot"] = "learned",
        class_dim: int = 16,
        class_priors: bool = False,
        beta: float = 1.0,
        log_variance: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(beta=beta, log_variance=log_variance)
        require(class_dim >= 1, "class_dim", "a number of at least 1", class_dim)
        self.embedding, self.class_dim, self.class_priors = embedding, class_dim, class_priors
        check_choices(self)

    def build(self, space: Space) -> None:
        super().build(space)
        classes, beside = len(space.classes), space.event_shape[1:]
        if self.embedding == "one-hot":
            eye = torch.eye(classes)
            self.register_buffer("numbers", eye, persistent=False)
            self.register_buffer("pictures", eye.view(classes, classes, *[1] * len(beside)), persistent=False)
        else:
            self.numbers = nn.Parameter(torch.randn(classes, self.class_dim))
            self.pictures = nn.Parameter(0.1 * torch.randn(classes, self.channels(space.event_shape), *beside))
        if self.class_priors:
            self.priors = nn.Parameter(torch.zeros(2, classes, space.latent_dim))  # means, and log-variances

    def channels(self, event_shape: tuple[int, ...]) -> int:
        """How many channels, or numbers, a class has beside an example."""
        return self.fed(0) if self.embedding == "one-hot" or len(event_shape) == 1 else 1

    def encoder_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (event_shape[0] + self.channels(event_shape), *event_shape[1:])

    def enter(self, batch: Batch) -> Tensor:
        return torch.cat([batch.x, self.pictures[batch.y].expand(-1, -1, *batch.x.shape[2:])], 1)

    def fed(self, latent_dim: int) -> int:
        return latent_dim + (len(self.space.classes) if self.embedding == "one-hot" else self.class_dim)

    def embed(self, z: Tensor, y: Tensor | None) -> Tensor:
        places = math.prod(self.space.code_shape[1:])
        return torch.cat([z, self.numbers[y][:, :, None].expand(-1, -1, places).flatten(1)], 1)

    def prior(self) -> CodePrior:
        if not self.class_priors:
            return super().prior()
        return _OfClasses("a Gaussian of each class", DiagonalGaussian(*self.priors))


class _OfClasses(PosteriorMixture):
    """Of codes of unknown classes the mixture; of others the Gaussian of the class of each."""

    def given(self, net: Any, y: Tensor | None) -> CodePrior:
        return self if y is None else GaussianOfEach(self.name, self.mean[y], self.log_variance[y])
