"""The context of an evaluation: the model, the examples, the training examples, the choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo.autoencoder.inference import Places
from diabolo.autoencoder.model import Autoencoder
from diabolo.evaluation.terms import CHUNK, chunks, evaluating, labels_at
from diabolo.models.objectives import Batch, checked_labels
from diabolo.storage import images

__all__ = ["EvaluationContext"]


@dataclass(eq=False)
class EvaluationContext:
    """The input of a family of metrics: model, examples and choices; costly arrays are computed once.

    Attributes:
        model: the trained model.
        x: (n, *event), the examples.
        labels: (n,), class indices, or None.
        reference: (m, *event), training examples, and (m,), their labels, from which probes learn; or None.
        factors: (n, F), known factors, or None.
        samples: importance samples for the likelihood; 0 leaves it out.
        likelihood_examples: how many of the examples it is estimated on.
        extractor: auto, classifier, random or inception.
        weights: a file with the extractor's weights.
        metrics: the names of the metrics to measure.
        seed: of all random draws.
        left_out: sentences on what was not measured, and why.
        details: results that are no single number, such as a KL for each dimension.

    >>> from diabolo.metrics import Measurement, bootstrap
    >>> def measure_norm(context: EvaluationContext):
    ...     norms = np.linalg.norm(context.codes, axis=1)
    ...     yield Measurement("norm", "norm of the code", "", bootstrap(norms), "", "Euclidean", values=norms)
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
    metrics: frozenset[str]
    seed: int
    left_out: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def likelihood(self) -> str:
        """The likelihood in words; nats of different likelihoods do not compare."""
        part = self.model.model.config()["likelihood"]
        options = ", ".join(f"{name}={value}" for name, value in part["options"].items())
        scale = self.model.model.preprocess.scale
        return f"{part['name'] or 'custom'} likelihood ({options}; values scaled as {scale})"

    @property
    def scaling(self) -> str:
        """What is said of an error in values as the model sees them; nothing where they are the data's own."""
        scale = self.model.model.preprocess.scale
        return f"; values scaled as {scale}" if scale in ("standard", "range") else ""

    @property
    def units(self) -> str:
        """The units of values as the model sees them: errors compare where these are the same."""
        preprocess = self.model.model.preprocess
        numbers = (float(value) for part in (preprocess.shift, preprocess.spread) for value in part.flatten())
        return f"shift and scale {hash(tuple(numbers)):x}" if self.scaling else "the units of the data"

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Examples as the model sees them, (n, C, ...): the values whose squared error `train` and `evaluate` say."""
        with torch.no_grad():
            parts = [self.model.model.prepare(part).cpu().numpy() for part in chunks(x, None, self.model.device)]
        return np.concatenate(parts)

    @property
    def is_image(self) -> bool:
        """Whether the examples are images."""
        return images.is_image(self.model.layout)

    def displayed(self, x: np.ndarray) -> np.ndarray:
        """Examples as an image viewer shows them, (n, *event), float32 in [0, 1]."""
        values = self.model.model.preprocess.displayed(x)
        return values / np.float32(255) if values.dtype == np.uint8 else values.astype(np.float32)

    @cached_property
    def own_labels(self) -> np.ndarray | None:
        """(n,), the labels of the examples, where the model takes some."""
        found = checked_labels(self.model.model.objective, self.labels, len(self.x))
        return None if found is None else found.view(Places)

    @cached_property
    def codes(self) -> np.ndarray:
        """(n, d), the latent codes of the examples."""
        return self.model.encode(self.x, self.own_labels, flat=True)

    @cached_property
    def reference_codes(self) -> np.ndarray:
        """(m, d), the latent codes of the training examples."""
        assert self.reference is not None  # noqa: S101
        x, y = self.reference
        takes_labels = y is not None and self.model.labels != "none"
        return self.model.encode(x, np.asarray(y).view(Places) if takes_labels else None, flat=True)

    @cached_property
    def reconstructions(self) -> np.ndarray:
        """(n, *event), the examples decoded from their latent codes."""
        return self.model.decode(self.codes, self.own_labels)

    def batches(self, count: int | None = None) -> Iterator[tuple[int, Batch]]:
        """(number, chunk) of the first `count` examples, on the model's device, the model in evaluation mode."""
        x = self.x if count is None else self.x[:count]
        with torch.no_grad(), evaluating(self.model.model, self.seed):
            for number, part in enumerate(chunks(x, None, self.model.device)):
                rows = slice(number * CHUNK, number * CHUNK + len(part))
                yield number, Batch(part, labels_at(self.own_labels, rows, self.model.device))

    def noise(self, chunk: int, draws: int, size: int) -> Iterator[Tensor]:
        """Standard normal noise for a chunk, (size, d), `draws` times.

        The seed and the chunk's number fix it, so that no chunk depends on the ones before it.
        """
        rng = np.random.default_rng([self.seed, chunk])
        for _ in range(draws):
            noise = rng.standard_normal((size, self.model.latent_dim)).astype(np.float32)
            yield torch.from_numpy(noise).to(self.model.device)

    def posterior(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Means and log-variances of q(z | x), (n, d) each; None where it is no Gaussian."""
        means, variances = np.empty_like(self.codes), np.empty_like(self.codes)
        for number, batch in self.batches():
            code = self.model.model.encode(self.model.model.prepare(batch.x), batch.y)
            if code.log_variance is None:
                return None
            part = slice(number * CHUNK, number * CHUNK + len(batch))
            means[part], variances[part] = code.mean.cpu().numpy(), code.log_variance.cpu().numpy()
        return means, variances
