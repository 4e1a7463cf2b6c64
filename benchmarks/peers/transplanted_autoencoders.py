"""What the package `autoencoders` makes of the codes of one batch: its regularisers, on given codes.

    python transplanted_autoencoders.py CODES.npz SAID.json

CODES holds `mean` and `log_variance` of a batch's posteriors, `z` drawn from them, `prior` and `other` from N(0, I).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from autoencoders import load_model
from autoencoders.data.base import TensorSpec


def main(codes: Path, said: Path) -> None:
    """One number for each regulariser."""
    given = {name: torch.from_numpy(value) for name, value in np.load(codes).items()}
    mean, log_variance, z, prior = (given[name] for name in ("mean", "log_variance", "z", "prior"))
    options = {"sample_spec": TensorSpec(shape=(16,)), "latent_dim": z.shape[1], "encoder": "mlp", "decoder": "mlp"}
    options |= {"encoder_config": {"hidden_dims": [8, 8]}, "decoder_config": {"hidden_dims": [8, 16]}}

    def model(name: str) -> torch.nn.Module:
        return load_model(name, **options)

    vae = model("vae")
    parts = model("betatcvae").decompose_kl(z, mean, log_variance)
    dip = model("dipvae")
    found = {
        "kl": vae.compute_kl_loss(mean, log_variance),
        "mutual information": parts[0],
        "total correlation": parts[1],
        "dimension-wise kl": parts[2],
        "dip": dip.compute_dip_loss(mean),
        "mmd": model("wae").compute_mmd_loss(z, prior),
        "mmd of N(0, I)": model("wae").compute_mmd_loss(given["other"], prior),
    }
    said.write_text(json.dumps({name: float(value) for name, value in found.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
