"""Pythae's own trainer and models, with the networks of the workloads in the place of its defaults."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from _torch import decoder, encoder, place, synchronize
from _turns import Turns
from pythae.data.datasets import BaseDataset
from pythae.models import AE, VAE, AEConfig, BetaVAE, BetaVAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn


class Encoder(BaseEncoder):  # type: ignore[misc]
    """An encoder in the form that pythae asks for."""

    def __init__(self, network: nn.Module, density: bool) -> None:
        super().__init__()
        self.network, self.density = network, density

    def forward(self, x: Tensor) -> ModelOutput:
        out = self.network(x)
        if not self.density:
            return ModelOutput(embedding=out)
        mean, log_variance = out.chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):  # type: ignore[misc]
    """A decoder in the form that pythae asks for: it gives probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


class BernoulliAE(AE):  # type: ignore[misc]
    """Pythae's AE knows the squared error alone; this is its VAE's cross-entropy in its place."""

    def loss_function(self, recon_x: Tensor, x: Tensor) -> Tensor:
        error = F.binary_cross_entropy(recon_x.reshape(len(x), -1), x.reshape(len(x), -1), reduction="none")
        return error.sum(dim=-1).mean(dim=0)


class Report(TrainingCallback):  # type: ignore[misc]
    """Says each epoch's loss; what the trainer does at the end of an epoch is in its time."""

    def __init__(self, turns: Turns, device: torch.device) -> None:
        self.turns, self.device = turns, device

    def on_log(self, training_config: Any, logs: dict[str, float], **more: Any) -> None:
        synchronize(self.device)
        self.turns.done(logs["train_epoch_loss"], threads=torch.get_num_threads(), torch=torch.__version__)


def model_of(job: dict[str, Any]) -> nn.Module:
    """The model of a job."""
    parts = {"encoder": Encoder(encoder(job), job["kind"] == "vae"), "decoder": Decoder(decoder(job))}
    shape = {"input_dim": (1, 28, 28), "latent_dim": job["latent_dim"]}
    if job["kind"] == "autoencoder":
        return BernoulliAE(AEConfig(**shape), **parts)
    if job["beta"] == 1:
        return VAE(VAEConfig(reconstruction_loss="bce", **shape), **parts)
    return BetaVAE(BetaVAEConfig(reconstruction_loss="bce", beta=job["beta"], **shape), **parts)


def main() -> None:
    """Trains for as many epochs as there are turns."""
    turns = Turns()
    job = turns.job
    device = place(job)
    torch.manual_seed(job["seed"])
    x = torch.from_numpy(turns.images()).float().div(255).unsqueeze(1)
    turns.start()
    model = model_of(job)
    turns.require(sum(parameter.numel() for parameter in model.parameters()))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=job["batch"],
            num_epochs=job["epochs"],
            optimizer_cls={"adam": "Adam", "rmsprop": "RMSprop"}[job["optimizer"]],
            optimizer_params={"alpha": 0.9} if job["optimizer"] == "rmsprop" else None,
            learning_rate=1e-3,
            seed=job["seed"],
            no_cuda=device.type != "cuda",
        )
        data = BaseDataset(x, torch.zeros(len(x)))
        BaseTrainer(model, data, training_config=config, callbacks=[Report(turns, device)]).train()


if __name__ == "__main__":
    main()
