"""The three networks in plain PyTorch, for the peers that use it."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import torch
from torch import nn

__all__ = ["decoder", "encoder", "features", "place", "synchronize"]


def place(job: dict[str, Any]) -> torch.device:
    """The device that the job asks for; ends the process where there is none."""
    if job["device"] == "cuda" and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} finds no GPU here.")
    return torch.device(job["device"])


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def perceptron(*widths: int) -> list[nn.Module]:
    """Affine layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return layers[:-1]


def features(job: dict[str, Any]) -> int:
    """How many numbers the encoder gives."""
    return job["latent_dim"] * (2 if job["kind"] == "vae" else 1)


def encoder(job: dict[str, Any]) -> nn.Module:
    """From (B, 1, 28, 28) to (B, features)."""
    if job["network"] == "mlp":
        return glorot(nn.Sequential(nn.Flatten(), *perceptron(784, *job["widths"], features(job))))
    return glorot(
        nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(14 * 14 * 64, 32), nn.ReLU(), nn.Linear(32, features(job))),
        )
    )


def decoder(job: dict[str, Any]) -> nn.Module:
    """From (B, latent_dim) to logits (B, 1, 28, 28)."""
    if job["network"] == "mlp":
        layers = perceptron(job["latent_dim"], *job["widths"][::-1], 784)
        return glorot(nn.Sequential(*layers, nn.Unflatten(1, (1, 28, 28))))
    return glorot(
        nn.Sequential(
            *(nn.Linear(job["latent_dim"], 14 * 14 * 64), nn.ReLU(), nn.Unflatten(1, (64, 14, 14))),
            *(nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU()),
            nn.Conv2d(32, 1, 3, padding=1),
        )
    )


def glorot(network: nn.Module) -> nn.Module:
    """The initial weights of the recipes, which are Keras's: Glorot and Bengio's uniform ones, and biases of zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return network
