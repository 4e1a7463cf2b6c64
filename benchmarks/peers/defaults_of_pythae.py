"""Pythae at its own defaults, with its own networks.

    python defaults_of_pythae.py JOB.json

What the defaults are, and the modules of pythae 0.1.2 that set them:

- `pythae.trainers.BaseTrainerConfig`: Adam at a constant rate of 1e-4, batches of 64, no schedule, and the model of the
  epoch with the least loss on the validation part. Its 100 epochs are the one default that is not kept: the job says
  how many, and 20 where it does not.
- `pythae.models.AE`: the squared error, summed over the values. `pythae.models.VAE`: half of that, which is a Gaussian
  likelihood of variance 1, and the KL with a weight of 1.
- `mlp`: the network of `pythae.models.nn.default_architectures`, one hidden layer of 512 units with ReLU on each side
  and a sigmoid at the end.
- `conv` and `resnet`: the networks of `pythae.models.nn.benchmarks` for pictures of just one size: `mnist` for
  1 x 28 x 28, `cifar` for 3 x 32 x 32, `celeba` for 3 x 64 x 64.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pythae.models import AE, VAE, AEConfig, VAEConfig
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from torch import nn

SIZES = {(1, 28, 28): "mnist", (3, 32, 32): "cifar", (3, 64, 64): "celeba"}
WORDS = {"conv": "Conv", "resnet": "ResNet"}
EPOCHS = 20
BATCH = 250  # test pictures at a time


def model_of(job: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """The untrained model of a job, for pictures of a shape (C, H, W).

    Raises:
        SystemExit: pythae has no such network for this shape.
    """
    kind, make, make_config = ("AE", AE, AEConfig) if job["model"] == "autoencoder" else ("VAE", VAE, VAEConfig)
    config = make_config(input_dim=shape, latent_dim=job["latent_dim"])
    if job["network"] == "mlp":
        return make(config)
    if shape not in SIZES:
        raise SystemExit(f"has no {job['network']} network for {' x '.join(map(str, shape))}")
    networks = importlib.import_module(f"pythae.models.nn.benchmarks.{SIZES[shape]}")
    word, size = WORDS[job["network"]], SIZES[shape].upper()
    encoder, decoder = (
        getattr(networks, f"{part}_{word}_{which}_{size}")(config)
        for part, which in (("Encoder", kind), ("Decoder", "AE"))
    )
    return make(config, encoder, decoder)


def trained(job: dict[str, Any], model: nn.Module, data: Any) -> nn.Module:
    """The model that pythae's pipeline would keep."""
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(output_dir=folder, num_epochs=job.get("epochs", EPOCHS), seed=job["seed"])
        pipeline = TrainingPipeline(model, config)
        pipeline(train_data=data["train"], eval_data=data["validation"])
    # What it has saved in the folder as well, but would load by pickle.
    return pipeline.trainer._best_model.cpu().eval()


@torch.no_grad()
def measured(job: dict[str, Any], model: nn.Module, x: np.ndarray) -> dict[str, Any]:
    """The error of the test pictures, rebuilt from the posterior's mean, and the KL of each dimension in nats."""
    errors, divergences = [], []
    for batch in torch.from_numpy(x).split(BATCH):
        errors.append((model.predict(batch).recon_x - batch).square().flatten(1).mean(1))
        if job["model"] == "vae":
            posterior = model.encoder(batch)
            mean, log_variance = posterior.embedding, posterior.log_covariance
            divergences.append(0.5 * (mean.square() + log_variance.exp() - 1 - log_variance))
    kl = torch.cat(divergences).mean(0).tolist() if divergences else None
    return {"mse": torch.cat(errors).mean().item(), "kl": None if kl is None else sum(kl), "kl_per_dimension": kl}


def main() -> None:
    """Trains one model and prints its result."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    with np.load(job["data"]) as file:
        data = {name: file[name] for name in ("train", "validation", "test")}
    model = model_of(job, data["train"].shape[1:])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    began = time.perf_counter()
    model = trained(job, model, data)
    found = {"seconds": time.perf_counter() - began, "parameters": parameters, **measured(job, model, data["test"])}
    print(json.dumps({**found, "version": importlib.metadata.version("pythae")}))


if __name__ == "__main__":
    main()
