"""A second VAE, of latent codes, as a prior."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.errors import DivergedError
from diabolo.models.priors._base import Arrays, Prior, at_least
from diabolo.models.priors._gaussians import coloured, factor_of, whitened

__all__ = ["TwoStagePrior"]

LEAST = 100  # latent codes of a fit
CHUNK = 200_000  # pairs of a code and a draw whose density is estimated at a time
CLIP_NORM = 5.0  # of a gradient
LOG_VARIANCE = -4.0  # of the posterior and of the decoder, at the start


class TwoStagePrior(Prior):
    """A second VAE, whose data are the codes of the first (Dai, Wipf 2019, https://arxiv.org/abs/1903.05789).

    Its code u has as many numbers as z: p(z) is the integral of N(z; g(u), s^2 I) N(u; 0, I), with s learned. Both
    networks start near the identity, so that the fit begins near a full Gaussian. Adam maximises the evidence lower
    bound, until that of the tenth that is held out stops rising.
    The density is estimated by importance sampling, from below, with the same noise for the same code.

    Args:
        hidden: the widths of both networks.
        draws: of u, from which the density of a code is estimated.
        epochs: the most epochs of training.
        patience: the epochs without a gain after which training stops.
        batch_size: codes per step.
        lr: the learning rate.

    >>> codes = np.random.default_rng(0).standard_normal((200, 2))
    >>> TwoStagePrior(hidden=(8,), epochs=1).fit(codes).sample(3, seed=0).shape
    (3, 2)
    """

    kind = "two-stage"

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (256, 256),
        draws: int = 200,
        epochs: int = 200,
        patience: int = 20,
        batch_size: int = 256,
        lr: float = 1e-3,
    ) -> None:
        counts = {"draws": draws, "epochs": epochs, "patience": patience, "batch_size": batch_size}
        for name, value in counts.items():
            require(value >= 1, name, "a number of at least 1", value)
        require(len(hidden) >= 1 and min(hidden) >= 1, "hidden", "one or more widths of at least 1", hidden)
        require(0 < lr < math.inf, "lr", "a number above 0", lr)
        self.hidden, self.draws, self.epochs, self.patience = hidden, draws, epochs, patience
        self.batch_size, self.lr = batch_size, lr

    def _check_count(self, count: int, dim: int) -> None:
        at_least(LEAST, count, "A second VAE", "Give more codes, or take kind='gaussian'.")

    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        factor = factor_of(codes)
        vae = _second(codes.shape[1], self.hidden, seed)
        epochs, best = self._train(vae, _tensor(whitened(codes, factor)), _tensor(whitened(held_out, factor)), seed)
        weights = {f"vae.{name}": value.numpy() for name, value in vae.state_dict().items()}
        end = ": it might gain from more epochs" if best > self.epochs - self.patience and epochs == self.epochs else ""
        return {"factor": factor, **weights}, [f"trained for {epochs} epochs, of which number {best} was the best{end}"]

    def _train(self, vae: _Second, codes: Tensor, held_out: Tensor, seed: int) -> tuple[int, int]:
        """The number of epochs, and of the one whose weights remain."""
        optimizer = torch.optim.Adam(vae.parameters(), lr=self.lr)
        generator = torch.Generator().manual_seed(seed % 2**63)
        best, best_epoch, kept, epoch = -math.inf, 0, copy.deepcopy(vae.state_dict()), 0
        while epoch < self.epochs and epoch - best_epoch < self.patience:
            epoch += 1
            for part in torch.split(torch.randperm(len(codes), generator=generator), self.batch_size):
                optimizer.zero_grad()
                (-vae.log_weights(codes[part], 1, generator).mean()).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(vae.parameters(), CLIP_NORM)
                optimizer.step()
            with torch.no_grad():
                score = float(vae.log_weights(held_out, 10, torch.Generator().manual_seed(0)).mean())
            if not math.isfinite(score):
                raise DivergedError(
                    f"The second VAE's bound is no longer finite in epoch {epoch}. Take a smaller lr than {self.lr:g}."
                )
            if score > best:
                best, best_epoch, kept = score, epoch, copy.deepcopy(vae.state_dict())
        vae.load_state_dict(kept)
        return epoch, best_epoch

    def _shapes(self, dim: int) -> dict[str, tuple[int, ...]]:
        weights = _second(dim, self.hidden).state_dict()
        return {"factor": (dim, dim), **{f"vae.{name}": tuple(value.shape) for name, value in weights.items()}}

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        vae, factor = self._built(), self._fitted()["factor"]
        u, noise = (torch.from_numpy(rng.standard_normal((n, len(factor)), np.float32)) for _ in range(2))
        with torch.no_grad():
            z = vae.decoded(u) + (vae.log_variance / 2).exp() * noise
        return coloured(z.double().numpy(), factor)

    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        vae, factor = self._built(), self._fitted()["factor"]
        nats = []
        with torch.no_grad():
            for part in torch.split(_tensor(whitened(codes, factor)), max(1, CHUNK // self.draws)):
                generator = torch.Generator().manual_seed(0)
                noise = torch.randn(self.draws, 1, part.shape[1], generator=generator)
                nats.append(torch.logsumexp(vae.log_weights(part, self.draws, noise=noise), 0) - math.log(self.draws))
        every: np.ndarray = torch.cat(nats).double().numpy() - np.log(np.diag(factor)).sum()
        return every

    def _built(self) -> _Second:
        """The networks with their fitted weights."""
        arrays = self._fitted()
        vae = _second(len(arrays["mean"]), self.hidden)
        vae.load_state_dict(
            {name.removeprefix("vae."): torch.from_numpy(arrays[name]) for name in arrays if "vae." in name}
        )
        return vae


class _Second(nn.Module):
    """q(u | z) and p(z | u), each the identity and a network that starts at zero.

    Args:
        dim: of z and of u.
        hidden: widths.
    """

    def __init__(self, dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.decoder = _layers(dim, hidden, 2 * dim), _layers(dim, hidden, dim)
        self.log_variance = nn.Parameter(torch.tensor(LOG_VARIANCE))

    def decoded(self, u: Tensor) -> Tensor:
        """The mean of z, of the shape of u."""
        mean: Tensor = u + self.decoder(u)
        return mean

    def log_weights(
        self, z: Tensor, draws: int, generator: torch.Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """Log p(z, u) - log q(u | z) of draws of u, (draws, n)."""
        shift, spread = self.encoder(z).chunk(2, 1)
        mean, log_variance = z + shift, (spread + LOG_VARIANCE).clamp(max=4.0)
        noise = torch.randn(draws, *z.shape, generator=generator) if noise is None else noise
        u = mean + (log_variance / 2).exp() * noise
        away = (z - self.decoded(u)).square() / self.log_variance.exp() + self.log_variance
        logs: Tensor = 0.5 * (log_variance + noise.square() - u.square() - away - math.log(2 * math.pi)).sum(2)
        return logs


def _second(dim: int, hidden: tuple[int, ...], seed: int = 0) -> _Second:
    """The networks before they learn; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        return _Second(dim, hidden)


def _layers(dim: int, hidden: tuple[int, ...], out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(dim, width), nn.ReLU()]
        dim = width
    last = nn.Linear(dim, out)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def _tensor(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(codes.astype(np.float32))
