"""Masked autoregressive flows on codes, by zuko: `pip install 'diabolo[flow]'`.

A flow is a chain of invertible maps that takes codes to standard normal noise; the density of a code is that of its
noise, times how much the maps stretch space there. Autoregressive: dimension i is moved and scaled by numbers that a
masked network reads from the dimensions before it (Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057).
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

CHUNK = 10_000  # codes at a time
STEEPEST = 5.0  # the norm that a gradient is cut down to


def build_flow(dim: int, transforms: int, hidden: tuple[int, ...], univariate: Univariate, seed: int = 0) -> nn.Module:
    """A flow that is not trained yet; the same seed gives the same weights.

    Args:
        dim: the numbers of a code, d.
        transforms: how many maps stand in a row, with the dimensions in ascending and descending order by turns.
        hidden: the widths of each map's masked network.
        univariate: what is done to each dimension: `affine` moves and scales it; `spline` bends it within [-5, 5]
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
    if dim == 1:  # there is no network, and zuko's numbers start far from the identity
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
    """Trains by maximum likelihood with Adam, and leaves the weights of the epoch that explained `held_out` best.

    Args:
        flow: what `build_flow` made; changed in place.
        codes: (n, d), of mean about 0 and deviation about 1.
        held_out: (m, d), not trained on.
        epochs: at most how many.
        patience: stop after this many epochs without a gain on `held_out`.
        batch_size: codes per step.
        lr: Adam's.
        seed: of the order of the codes.

    Returns:
        `epochs`, how many were trained, and `best_epoch`, the one that is kept.

    Raises:
        DivergedError: the likelihood is no longer finite.
    """
    optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed % 2**63)
    x = _tensor(codes)
    best, best_epoch, kept = -np.inf, 0, copy.deepcopy(flow.state_dict())
    epoch = 0
    while epoch < epochs and epoch - best_epoch < patience:
        epoch += 1
        _train_epoch(flow, optimizer, x[torch.randperm(len(x), generator=generator)], batch_size)
        reached = float(flow_log_prob(flow, held_out).mean())
        if not np.isfinite(reached):
            raise DivergedError(
                f"The flow's likelihood is no longer finite in epoch {epoch}. Take a smaller lr than {lr:g}."
            )
        if reached > best:
            best, best_epoch, kept = reached, epoch, copy.deepcopy(flow.state_dict())
    flow.load_state_dict(kept)
    return {"epochs": epoch, "best_epoch": best_epoch}


def flow_log_prob(flow: nn.Module, codes: np.ndarray) -> np.ndarray:
    """The density of codes, (n, d), under the flow: (n,) float64, in nats."""
    parts = [codes[start : start + CHUNK] for start in range(0, len(codes), CHUNK)]
    with torch.no_grad():
        found = [flow().log_prob(_tensor(part)).double().numpy() for part in parts]
    return np.concatenate(found) if found else np.empty(0)


def flow_sample(flow: nn.Module, noise: np.ndarray) -> np.ndarray:
    """The codes that standard normal noise, (n, d), stands for: (n, d) float64."""
    parts = [noise[start : start + CHUNK] for start in range(0, len(noise), CHUNK)]
    with torch.no_grad():
        found = [flow().transform.inv(_tensor(part)).double().numpy() for part in parts]
    return np.concatenate(found) if found else np.empty(noise.shape)


def _train_epoch(flow: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, batch_size: int) -> None:
    with torch.enable_grad():
        for batch in torch.split(x, batch_size):
            loss = -flow().log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), STEEPEST)
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
