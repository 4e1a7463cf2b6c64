"""One affine map of each patch beside the layers of an encoder or a decoder whose codes have places."""

from __future__ import annotations

from torch import Tensor, nn

from diabolo.models.networks._affine_path import zero_last
from diabolo.models.networks._base import Shape, sizes_after
from diabolo.models.networks._residual import patch_rows, whole

__all__ = ["PatchDecoder", "PatchEncoder"]


class PatchEncoder(nn.Module):
    """f(x) + W p + b at each place, p its patch: layers, and beside them one affine map, the same for all patches.

    The last weights of f start at zero, so that at first there is the affine map alone: see `models.principal`.

    Args:
        layers: f; it gives one row, the numbers of all places, channels first.
        inner: the shape of one input, (C, ...).
        features: the numbers that f gives for each place.
        patch: the side of a patch, the total stride of f.

    >>> import torch
    >>> layers = nn.Sequential(nn.Conv1d(3, 2, 4, stride=4, padding=1), nn.Flatten())
    >>> path = PatchEncoder(layers, inner=(3, 7), features=2, patch=4)
    >>> path(torch.ones(5, 3, 7)).shape, path.layers(torch.ones(1, 3, 7)).tolist()
    (torch.Size([5, 4]), [[0.0, 0.0, 0.0, 0.0]])
    """

    def __init__(self, layers: nn.Module, *, inner: Shape, features: int, patch: int) -> None:
        super().__init__()
        self.layers = layers
        self.patch = patch
        self.affine = nn.Linear(inner[0] * patch ** (len(inner) - 1), features)
        zero_last(layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, features * places)."""
        affine = self.affine(patch_rows(x, self.patch)).movedim(-1, 1).flatten(1)
        y: Tensor = self.layers(x).float() + affine.float()  # what training adds is small beside the affine map
        return y


class PatchDecoder(nn.Module):
    """The way back: f(z) + W z + b, with W z + b a patch for each place.

    Args:
        layers: f.
        output: the shape of what it gives, (C, ...).
        latent_dim: numbers at each place.
        patch: the side of a patch.

    >>> import torch
    >>> layers = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Upsample(size=7), nn.Conv1d(2, 3, 1))
    >>> PatchDecoder(layers, output=(3, 7), latent_dim=2, patch=4)(torch.ones(5, 4)).shape
    torch.Size([5, 3, 7])
    """

    def __init__(self, layers: nn.Module, *, output: Shape, latent_dim: int, patch: int) -> None:
        super().__init__()
        self.layers = layers
        self.patch, self.output = patch, output
        self.inner = (latent_dim, *sizes_after(output[1:], (patch,))[-1])
        self.affine = nn.Linear(latent_dim, output[0] * patch ** (len(output) - 1))
        zero_last(layers)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim * places) to (B, C, ...)."""
        affine = whole(self.affine(z.view(-1, *self.inner).movedim(1, -1)).movedim(-1, 1), self.patch)
        for axis, side in enumerate(self.output[1:], 2):
            affine = affine.narrow(axis, 0, side)
        y: Tensor = self.layers(z).float() + affine.float()
        return y
