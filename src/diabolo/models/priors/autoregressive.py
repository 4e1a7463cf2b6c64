"""An autoregressive prior of tokens: each given the ones before it, by a small transformer."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diabolo.config import require
from diabolo.errors import DivergedError
from diabolo.models.priors._base import Arrays, at_least, check_shapes
from diabolo.models.priors.tokens import TokenPrior

__all__ = ["AutoregressivePrior"]

LEAST = 100  # examples of a fit
CHUNK = 256  # examples at a time
CLIP_NORM = 1.0


class AutoregressivePrior(TokenPrior):
    """p(t) = product of p(t_i | t_1, ..., t_(i-1)), in rows of positions, levels within a position.

    A causal transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762) gives each factor; so van den Oord et
    al. 2017 sample from a quantised autoencoder, with PixelCNN. Adam trains it until the likelihood of the tenth that
    is held out stops rising. Sampling takes a step for each token.

    Args:
        width: of its layers.
        layers: how many.
        heads: of attention, a divisor of the width.
        dropout: the share of units that are left out in training.
        epochs: the most epochs of training.
        patience: the epochs without a gain after which training stops.
        batch_size: examples per step.
        lr: the learning rate.

    >>> tokens = np.random.default_rng(0).integers(0, 4, (120, 3, 1))
    >>> AutoregressivePrior(width=8, layers=1, heads=2, epochs=1).fit(tokens).sample(2, seed=0).shape
    (2, 3, 1)
    """

    kind = "autoregressive"

    def __init__(
        self,
        *,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        epochs: int = 60,
        patience: int = 5,
        batch_size: int = 64,
        lr: float = 1e-3,
    ) -> None:
        counts = {"width": width, "layers": layers, "epochs": epochs, "patience": patience, "batch_size": batch_size}
        for name, value in counts.items():
            require(value >= 1, name, "a number of at least 1", value)
        require(heads >= 1 and width % heads == 0, "heads", f"a divisor of the width, {width}", heads)
        require(0 <= dropout < 1, "dropout", "at least 0 and below 1", dropout)
        require(lr > 0, "lr", "a number above 0", lr)
        self.width, self.layers, self.heads, self.dropout = width, layers, heads, dropout
        self.epochs, self.patience, self.batch_size, self.lr = epochs, patience, batch_size, lr
        self._network: _Causal | None = None

    def _check_count(self, count: int, dim: int) -> None:
        at_least(LEAST, count, "An autoregressive prior", "Give more, or take a categorical.")

    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            network = self._network = self._build(codes.shape[1])
            optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
            tokens = torch.from_numpy(codes)
            best, best_epoch, weights = -np.inf, 0, copy.deepcopy(network.state_dict())
            epoch = 0
            while epoch < self.epochs and epoch - best_epoch < self.patience:
                epoch += 1
                network.train()
                for batch in torch.split(tokens[torch.randperm(len(tokens))], self.batch_size):
                    loss = F.cross_entropy(network(batch).flatten(0, 1), batch.flatten())
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
                    optimizer.step()
                network.eval()
                score = float(self._log_prob(held_out).mean())
                if not np.isfinite(score):
                    raise DivergedError(
                        f"The prior's likelihood is no longer finite in epoch {epoch}. Take a smaller lr than "
                        f"{self.lr:g}."
                    )
                if score > best:
                    best, best_epoch, weights = score, epoch, copy.deepcopy(network.state_dict())
        network.load_state_dict(weights)
        note = f"trained for {epoch} epochs, of which number {best_epoch} was the best"
        note += ": it might gain from more epochs" if epoch == self.epochs > best_epoch + 1 - self.patience else ""
        return {f"network.{name}": tensor.numpy() for name, tensor in weights.items()}, [note]

    def _shapes(self, dim: int) -> None:
        """None: the network is built at its first use."""

    @torch.no_grad()
    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        network, (positions, levels) = self._built(), self.token_shape
        tokens = torch.zeros(n, positions * levels, dtype=torch.int64)
        chances = torch.from_numpy(rng.random((positions * levels, n)))
        for place, chance in enumerate(chances):
            for part in torch.split(torch.arange(n), CHUNK):
                logits = network(tokens[part, : place + 1])[:, -1].double()
                below = (torch.softmax(logits, 1).cumsum(1) < chance[part, None]).sum(1)
                tokens[part, place] = below.clamp(max=self.entries - 1)
        return tokens.numpy()

    @torch.no_grad()
    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        network, nats = self._built(), []
        for part in torch.split(torch.from_numpy(codes), CHUNK):
            logs = F.log_softmax(network(part).double(), -1)
            nats.append(logs.gather(-1, part[..., None])[..., 0].sum(1).numpy())
        return np.concatenate(nats) if nats else np.empty(0)

    def _build(self, length: int) -> _Causal:
        return _Causal(length, self.entries, self.width, self.layers, self.heads, self.dropout)

    def _built(self) -> _Causal:
        """The network with its fitted weights, built at the first use."""
        if self._network is None:
            arrays, (positions, levels) = self._fitted(), self.token_shape
            network = self._build(positions * levels)
            weights = {f"network.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
            check_shapes(arrays, {"shape": (3,), **weights})
            network.load_state_dict({name.removeprefix("network."): torch.from_numpy(arrays[name]) for name in weights})
            self._network = network.eval()
        return self._network


class _Causal(nn.Module):
    """Tokens, (B, T), to the logits of each given the ones before it, (B, T, K)."""

    def __init__(self, length: int, entries: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.entries = entries
        self.embedding = nn.Embedding(entries + 1, width)  # the last one stands before the first token
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, entries)

    def forward(self, tokens: Tensor) -> Tensor:
        before = F.pad(tokens[:, :-1], (1, 0), value=self.entries)
        length = tokens.shape[1]
        hidden = self.embedding(before) + self.places[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        logits: Tensor = self.head(self.layers(hidden, mask=mask, is_causal=True))
        return logits
