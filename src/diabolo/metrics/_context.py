"""What an evaluation works on: the model, the examples, what they are compared with, and the choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo.autoencoder.model import Autoencoder
from diabolo.evaluation.terms import CHUNK, chunks, evaluating
from diabolo.models.distributions import DiagonalGaussian
from diabolo.storage import images

__all__ = ["FAMILIES", "EvaluationContext"]

# Family -> the names of what it measures: what `metrics=` may ask for.
FAMILIES = {
    "bounds": ("reconstruction", "kl", "elbo", "nll", "bits_per_dim"),
    "pixels": ("mse", "psnr", "ssim"),
    "codes": ("active_units", "mutual_information", "marginal_kl"),
    "labels": ("knn", "probe"),
    "samples": ("fid", "kid"),
    "factors": ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "sap", "factor_vae"),
}


@dataclass(eq=False)
class EvaluationContext:
    """One evaluation's data and choices.

    Attributes:
        model: the trained model.
        x: (n, *event), the examples.
        labels: (n,), class indices, or None.
        reference: (m, *event), training examples and (m,) their labels, for what has to learn; or None.
        factors: (n, F), known factors, or None.
        samples: importance samples for the likelihood; 0 leaves it out.
        likelihood_examples: how many of the examples it is estimated on.
        extractor: auto, classifier, random or inception.
        weights: a file with the extractor's weights.
        wanted: the names of what is measured.
        seed: of everything that is drawn.
        left_out: what was not measured, and why.
        details: numbers that are no single number.
    """

    model: Autoencoder
    x: np.ndarray
    labels: np.ndarray | None
    reference: tuple[np.ndarray, np.ndarray | None] | None
    factors: np.ndarray | None
    samples: int
    likelihood_examples: int
    extractor: str
    weights: str | None
    wanted: frozenset[str]
    seed: int
    left_out: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def wants(self, family: str) -> bool:
        """Whether anything of a family is asked for."""
        return bool(self.wanted.intersection(FAMILIES[family]))

    @property
    def likelihood(self) -> str:
        """The likelihood in words: nats of different ones do not compare."""
        part = self.model.model.config()["likelihood"]
        options = ", ".join(f"{name}={value}" for name, value in part["options"].items())
        scale = self.model.model.preprocess.scale
        return f"{part['name'] or 'custom'} likelihood ({options}; values scaled as {scale})"

    @property
    def is_image(self) -> bool:
        """Whether the examples are drawn as images."""
        return images.is_image(self.model.layout)

    def shown(self, x: np.ndarray) -> np.ndarray:
        """Examples in [0, 1], as they are drawn."""
        displayed = self.model.model.preprocess.displayed(x)
        return displayed / np.float32(255) if displayed.dtype == np.uint8 else displayed.astype(np.float32)

    @cached_property
    def codes(self) -> np.ndarray:
        """(n, d), the examples' codes."""
        return self.model.encode(self.x)

    @cached_property
    def reference_codes(self) -> np.ndarray:
        """(m, d), those of the training examples."""
        assert self.reference is not None  # noqa: S101
        return self.model.encode(self.reference[0])

    @cached_property
    def rebuilt(self) -> np.ndarray:
        """(n, *event), the reconstructions."""
        return self.model.decode(self.codes)

    def batches(self, count: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Chunks of the first `count` examples with the number of each, the model being evaluated meanwhile."""
        x = self.x if count is None else self.x[:count]
        with torch.no_grad(), evaluating(self.model.model, self.seed):
            yield from enumerate(chunks(x, None, self.model.device))

    def noise(self, chunk: int, draws: int, size: int) -> Iterator[Tensor]:
        """Noise for each example of a chunk, (size, d), `draws` times; set by the seed and the chunk's number."""
        rng = np.random.default_rng([self.seed, chunk])
        for _ in range(draws):
            drawn = rng.standard_normal((size, self.model.latent_dim)).astype(np.float32)
            yield torch.from_numpy(drawn).to(self.model.device)

    def posterior(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The means and the log-variances of the examples' codes, (n, d) each; None where codes are no Gaussians."""
        means, variances = np.empty_like(self.codes), np.empty_like(self.codes)
        for number, batch in self.batches():
            code = self.model.model.encode(self.model.model.prepare(batch))
            if not isinstance(code, DiagonalGaussian):
                return None
            part = slice(number * CHUNK, number * CHUNK + len(batch))
            means[part], variances[part] = code.mean.cpu().numpy(), code.log_variance.cpu().numpy()
        return means, variances
