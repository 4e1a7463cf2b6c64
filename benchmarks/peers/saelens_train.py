"""sae-lens: its own trainer, on activations in memory that are in no need of being shuffled."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch
from _turns import Turns
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

ENOUGH = 10**9  # samples: it is stopped when nobody asks for more


def main() -> None:
    """Trains the rows again and again, for as long as it is asked to."""
    turns = Turns()
    job = turns.job
    torch.manual_seed(job["seed"])
    rows = torch.from_numpy(turns.images())
    sizes = {"d_in": rows.shape[1], "d_sae": job["width"], "k": job["k"], "device": "cpu", "dtype": "float32"}
    if job["scope"] == "batch":
        sae: Any = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**sizes))
    else:
        sparse = job["variant"] == "sparse"  # which its rescaling cannot do: torch has no view of a sparse tensor
        sae = TopKTrainingSAE(
            TopKTrainingSAEConfig(**sizes, use_sparse_activations=sparse, rescale_acts_by_decoder_norm=not sparse)
        )
    config = SAETrainerConfig(
        total_training_samples=ENOUGH, train_batch_size_samples=job["batch"], lr=job["lr"], lr_end=job["lr"],
        device="cpu", logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    trainer = SAETrainer(config, sae, iter(()))
    turns.start()
    while True:
        total = 0.0
        for batch in rows.split(job["batch"]):
            step = trainer.step(batch)
            trainer.n_training_steps += 1
            total += float(step.losses["mse_loss"]) * len(batch)
        version = importlib.metadata.version("sae-lens")
        turns.done(total / len(rows), threads=torch.get_num_threads(), version=version, torch=torch.__version__)


if __name__ == "__main__":
    main()
