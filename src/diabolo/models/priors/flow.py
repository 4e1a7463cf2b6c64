"""A masked autoregressive flow as a prior."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from diabolo.config import check_choices, require
from diabolo.models.priors._base import Arrays, Prior, at_least, check_shapes
from diabolo.models.priors._flow_network import Univariate, build_flow, flow_log_prob, flow_sample, train_flow
from diabolo.models.priors._gaussians import coloured, factor_of, whitened

__all__ = ["FlowPrior"]

LEAST = 100  # latent codes of a fit


class FlowPrior(Prior):
    """A masked autoregressive flow (Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057): the most flexible.

    log p(z) = log N(f(z); 0, I) + log |det df/dz|. The codes are whitened by their covariance first, so that f begins
    near the full Gaussian. Adam trains f until the likelihood of the tenth that is held out stops rising, so that this
    likelihood is slightly optimistic. Sampling takes d steps for each map.
    Needs `pip install 'diabolo[flow]'`.

    Args:
        transforms: the number of maps in a row.
        hidden: the widths of the network of each map.
        univariate: the map of a number: `affine` shifts and scales it, `spline` bends it (Durkan et al. 2019; slower).
            An affine flow on codes of one number is a Gaussian.
        epochs: the most epochs of training.
        patience: the epochs without a gain after which training stops.
        batch_size: codes per step.
        lr: the learning rate.

    >>> codes = np.random.default_rng(0).standard_normal((200, 2))
    >>> FlowPrior(transforms=1, hidden=(8,), epochs=1).fit(codes).sample(3, seed=0).shape
    (3, 2)
    """

    kind = "flow"

    def __init__(
        self,
        *,
        transforms: int = 5,
        hidden: tuple[int, ...] = (128, 128),
        univariate: Univariate = "affine",
        epochs: int = 100,
        patience: int = 10,
        batch_size: int = 256,
        lr: float = 1e-3,
    ) -> None:
        counts = {"transforms": transforms, "epochs": epochs, "patience": patience, "batch_size": batch_size}
        for name, value in counts.items():
            require(value >= 1, name, "a number of at least 1", value)
        require(len(hidden) >= 1 and min(hidden) >= 1, "hidden", "one or more widths of at least 1", hidden)
        require(lr > 0, "lr", "a number above 0", lr)
        self.transforms = transforms
        self.hidden = hidden
        self.univariate = univariate
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.lr = lr
        self._flow: nn.Module | None = None
        check_choices(self)

    def _check_count(self, count: int, dim: int) -> None:
        at_least(LEAST, count, "A flow", "Give more codes, or take a gaussian or a gmm.")

    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        flow, factor = self._build(codes.shape[1], seed), factor_of(codes)
        result = train_flow(
            flow,
            whitened(codes, factor),
            whitened(held_out, factor),
            epochs=self.epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            lr=self.lr,
            seed=seed,
        )
        self._flow = flow
        note = f"trained for {result['epochs']} epochs, of which number {result['best_epoch']} was the best"
        still = result["best_epoch"] > self.epochs - self.patience
        end = ": it might gain from more epochs" if still and result["epochs"] == self.epochs else ""
        weights = {f"flow.{name}": tensor.numpy() for name, tensor in flow.state_dict().items()}
        return {"factor": factor, **weights}, [note + end]

    def _shapes(self, dim: int) -> None:
        """None: the flow is built at its first use, so that opening a run needs no zuko."""

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        flow, factor = self._built(), self._fitted()["factor"]
        return coloured(flow_sample(flow, rng.standard_normal((n, len(factor)))), factor)

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        flow, factor = self._built(), self._fitted()["factor"]
        nats: np.ndarray = flow_log_prob(flow, whitened(codes, factor)) - np.log(np.diag(factor)).sum()
        return nats

    def _build(self, dim: int, seed: int) -> nn.Module:
        return build_flow(dim, self.transforms, self.hidden, self.univariate, seed)

    def _built(self) -> nn.Module:
        """The flow with its fitted weights, built at the first use."""
        if self._flow is None:
            arrays = self._fitted()
            dim = len(arrays["mean"])
            flow = self._build(dim, 0)
            weights = {f"flow.{name}": tuple(tensor.shape) for name, tensor in flow.state_dict().items()}
            check_shapes(arrays, {"mean": (dim,), "scale": (dim,), "factor": (dim, dim), **weights})
            flow.load_state_dict({name.removeprefix("flow."): torch.from_numpy(arrays[name]) for name in weights})
            self._flow = flow
        return self._flow
