"""The package `autoencoders` at its own defaults.

    python defaults_of_autoencoders.py JOB.json

What the defaults are, and the modules of autoencoders 0.6.8 that set them:

- `autoencoders.training.trainer.TrainingConfig`: Adam at a constant rate of 1e-3, batches of 256, 5 epochs; after
  `fit` the model holds the weights of the last epoch.
- `autoencoders.models.base.configuration_base`: the squared error, averaged over the values and the examples.
- `autoencoders.models.base.configuration_vae`: the KL, summed over the dimensions, with a weight of 1 and at least 0.02
  nats for each dimension. Beside an error that is averaged over D values, this is a weight of D in the usual sum.
- The network has no default: a model without one cannot be trained. Taken are the widths that the package's first
  example gives (the quick start of its description, for vectors of 50 numbers): `autoencoders.modules.mlp` with 64 and
  32 units for the encoder, then the code, then 64 units for the decoder; ReLU, no activation at the end. Between the
  encoder and the code there is one more affine layer, and in the autoencoder another one back to 32 numbers: a code of
  more than 32 numbers holds no more than 32 do.

Its convolutional module, `autoencoders.modules.cnn`, has no place here: it gives a code of `latent_dim` numbers at each
place of a picture, not one for the picture.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from autoencoders import AETrainer, TrainingConfig, VAETrainer, load_model
from autoencoders.data.base import DatasetLoaders, TensorSpec
from torch import Tensor, nn
from torch.utils.data import DataLoader

ENCODER, DECODER = (64, 32), (64,)  # the widths of the quick start
PARTS = ("train", "validation", "test")


def model_of(job: dict[str, Any], values: int) -> nn.Module:
    """The untrained model of a job, for vectors of so many values.

    Raises:
        SystemExit: there is no such network.
    """
    if job["network"] != "mlp":
        raise SystemExit(f"has no {job['network']} network with one code for a picture")
    return load_model(
        "vae" if job["model"] == "vae" else "ae",
        sample_spec=TensorSpec(shape=(values,)),
        latent_dim=job["latent_dim"],
        encoder="mlp",
        encoder_config={"hidden_dims": list(ENCODER)},
        decoder="mlp",
        decoder_config={"hidden_dims": [*DECODER, values]},
    )


def train(job: dict[str, Any], model: nn.Module, data: dict[str, Tensor]) -> None:
    """Trains a model as the package's trainer does when it is told nothing."""
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(output_dir=folder, seed=job["seed"])
        loaders = {name: DataLoader(data[name], config.batch_size, shuffle=name == "train") for name in PARTS}
        trainer = (VAETrainer if job["model"] == "vae" else AETrainer)(model=model, args=config)
        trainer.fit(DatasetLoaders(**loaders))


@torch.no_grad()
def measured(job: dict[str, Any], model: nn.Module, x: Tensor) -> dict[str, Any]:
    """The error of the test pictures, rebuilt from the posterior's mean, and the KL of each dimension in nats."""
    out = model.cpu().eval()(inputs=x)
    kl = None
    if job["model"] == "vae":
        mean, log_variance = out.posterior_mean, out.posterior_logvar
        kl = (0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)).mean(0).tolist()
    mse = (out.reconstruction - x).square().mean().item()
    return {"mse": mse, "kl": None if kl is None else sum(kl), "kl_per_dimension": kl}


def main() -> None:
    """Trains one model and prints its result."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    with np.load(job["data"]) as file:
        data = {name: torch.from_numpy(file[name]).flatten(1) for name in PARTS}
    model = model_of(job, data["train"].shape[1])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    began = time.perf_counter()
    train(job, model, data)
    found = {"seconds": time.perf_counter() - began, "parameters": parameters, **measured(job, model, data["test"])}
    print("\n" + json.dumps({**found, "version": importlib.metadata.version("autoencoders")}))


if __name__ == "__main__":
    main()
