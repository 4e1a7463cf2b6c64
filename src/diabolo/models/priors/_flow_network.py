"""Masked autoregressive flows on codes, by zuko: `pip install 'diabolo[flow]'`.

A flow is a chain of invertible maps from latent codes to standard normal noise; the density of a code is that of its
noise times the determinant of the maps' Jacobian. Autoregressive: a masked network computes the shift and scale of
dimension i from the dimensions before it (Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057).
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.errors import DivergedError, MissingExtraError

__all__ = ["Univariate", "build_flow", "flow_log_prob", "flow_sample", "train_flow"]

Univariate = Literal["affine", "spline"]

CHUNK = 10_000  # latent codes at a time
CLIP_NORM = 5.0  # of a gradient


def build_flow(dim: int, transforms: int, hidden: tuple[int, ...], univariate: Univariate, seed: int = 0) -> nn.Module:
    """An untrained flow; the same seed gives the same weights.

    Args:
        dim: the dimension of a latent code, d.
        transforms: the number of maps in a row, with the dimensions in ascending and descending order by turns.
        hidden: the widths of each map's masked network.
        univariate: the map of each dimension: `affine` shifts and scales it; `spline` bends it within [-5, 5]
            (Durkan et al. 2019, https://arxiv.org/abs/1906.04032).
        seed: of the weights.

    Raises:
        MissingExtraError: zuko is not installed.
    """
    zuko = _zuko()
    make = zuko.flows.MAF if univariate == "affine" else zuko.flows.NSF
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        flow: nn.Module = make(dim, transforms=transforms, hidden_features=hidden)
    if dim == 1:  # no network, and zuko's parameters start far from the identity
        for parameter in flow.parameters():
            nn.init.zeros_(parameter)
    return flow


def train_flow(
    flow: nn.Module,
    codes: np.ndarray,
    held_out: np.ndarray,
    *,
    epochs: int,
    patience: int,
    batch_size: int,
    lr: float,
    seed: int,
) -> dict[str, int]:
    """Trains a flow by maximum likelihood with Adam; ends with the weights of the epoch that explains `held_out` best.

    Args:
        flow: from `build_flow`; changed in place.
        codes: (n, d), of mean about 0 and deviation about 1.
        held_out: (m, d), not trained on.
        epochs: the most epochs.
        patience: the epochs without a gain on `held_out` after which training stops.
        batch_size: codes per step.
        lr: Adam's.
        seed: of the order of the codes.

    Returns:
        `epochs`, the number of epochs, and `best_epoch`, the one whose weights remain.

    Raises:
        DivergedError: the likelihood is no longer finite.
    """
    optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed % 2**63)
    x = _tensor(codes)
    best, best_epoch, best_weights = -np.inf, 0, copy.deepcopy(flow.state_dict())
    epoch = 0
    while epoch < epochs and epoch - best_epoch < patience:
        epoch += 1
        _train_epoch(flow, optimizer, x[torch.randperm(len(x), generator=generator)], batch_size)
        score = float(flow_log_prob(flow, held_out).mean())
        if not np.isfinite(score):
            raise DivergedError(
                f"The flow's likelihood is no longer finite in epoch {epoch}. Take a smaller lr than {lr:g}."
            )
        if score > best:
            best, best_epoch, best_weights = score, epoch, copy.deepcopy(flow.state_dict())
    flow.load_state_dict(best_weights)
    return {"epochs": epoch, "best_epoch": best_epoch}


def flow_log_prob(flow: nn.Module, codes: np.ndarray) -> np.ndarray:
    """The log-density of latent codes, (n, d), under a flow: (n,) float64, in nats."""
    parts = [codes[start : start + CHUNK] for start in range(0, len(codes), CHUNK)]
    with torch.no_grad():
        nats = [flow().log_prob(_tensor(part)).double().numpy() for part in parts]
    return np.concatenate(nats) if nats else np.empty(0)


def flow_sample(flow: nn.Module, noise: np.ndarray) -> np.ndarray:
    """The latent codes, (n, d) float64, that the flow maps to standard normal noise, (n, d)."""
    parts = [noise[start : start + CHUNK] for start in range(0, len(noise), CHUNK)]
    with torch.no_grad():
        codes = [flow().transform.inv(_tensor(part)).double().numpy() for part in parts]
    return np.concatenate(codes) if codes else np.empty(noise.shape)


def _train_epoch(flow: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, batch_size: int) -> None:
    with torch.enable_grad():
        for batch in torch.split(x, batch_size):
            loss = -flow().log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), CLIP_NORM)
            optimizer.step()


def _tensor(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes, np.float32))


def _zuko() -> Any:
    try:
        import zuko
        import zuko.flows
    except ImportError as error:
        raise MissingExtraError("zuko", "flow", "A flow as the prior of codes") from error
    return zuko
