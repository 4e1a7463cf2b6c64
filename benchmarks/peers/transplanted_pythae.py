"""What pythae's models say of one batch: the loss of each, with its weights and the noise that it drew.

    python transplanted_pythae.py FOLDER

Each model has pythae's default networks, for images of 1 x 8 x 8 and codes of 4 numbers, and the settings beside it.
FOLDER gets a folder for each, as `model.save` writes it, and in it `said.npz`: the batch, the losses, the noise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pythae.models as models
import torch

EXAMPLES = 1_000  # of the data set of which the batch is a part
SETTINGS: dict[str, dict[str, Any]] = {
    "AE": {}, "VAE": {}, "VAE bce": {"reconstruction_loss": "bce"}, "BetaVAE": {"beta": 4.0},
    "DisentangledBetaVAE": {"beta": 10.0, "C": 12.0}, "BetaTCVAE": {"beta": 6.0, "use_mss": True},
    "BetaTCVAE mws": {"beta": 6.0, "use_mss": False}, "FactorVAE": {"gamma": 6.0}, "IWAE": {"number_samples": 5},
    "MIWAE": {"number_gradient_estimates": 2, "number_samples": 5},
    "PIWAE": {"number_gradient_estimates": 2, "number_samples": 5}, "CIWAE": {"number_samples": 5, "beta": 0.3},
    "INFOVAE_MMD": {"alpha": 0.5, "lbd": 10.0}, "WAE_MMD": {"reg_weight": 5.0}, "RAE_L2": {},
    "RAE_GP": {"reg_weight": 0.1},
    "VAMP": {"number_components": 5}, "VQVAE": {"num_embeddings": 16},
}  # fmt: skip


def main(folder: Path) -> None:
    """One model after the other."""
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for title, settings in SETTINGS.items():
        name = title.partition(" ")[0]
        config = getattr(models, f"{name}Config", None) or getattr(models, f"{name}_Config")
        torch.manual_seed(1)
        model = getattr(models, name)(config(input_dim=(1, 8, 8), latent_dim=4, **settings))
        for value in model.parameters():  # as large as trained ones are: terms that matter
            value.data.mul_(3.0)
        noise: list[torch.Tensor] = []
        drawn = torch.randn_like

        def kept(like: Any, noise: list[torch.Tensor] = noise, drawn: Any = drawn, **more: Any) -> torch.Tensor:
            noise.append(drawn(like, **more).detach())
            return noise[-1].clone()

        torch.randn_like = kept
        said = model({"data": x.clone()}, dataset_size=EXAMPLES, epoch=10_000)
        torch.randn_like = drawn
        place = folder / title.replace(" ", "-")
        model.save(str(place))
        losses = {key: said[key].detach().numpy() for key in said if key.endswith("loss")}
        order = said["recon_x_indices"].numpy() if "recon_x_indices" in said else np.arange(len(x))
        arrays = {f"noise{number}": value.numpy() for number, value in enumerate(noise)}
        np.savez(place / "said.npz", x=x.numpy(), order=order, **losses, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
