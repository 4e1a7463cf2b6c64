"""sae-lens' losses and gradients for weights and a batch that are given: FOLDER/given.npz to FOLDER/theirs.npz."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import (
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.saes.sae import TrainStepInput
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig

KINDS: dict[str, tuple[Any, Any]] = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batch": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig),
}


def main() -> None:
    """One step of each kind that is asked for, with its own options, without the optimizer."""
    folder = Path(sys.argv[1])
    given, found = np.load(folder / "given.npz"), {}
    for kind, options in json.loads(sys.argv[2]).items():
        model, config = KINDS[kind]
        coefficients = {"l0": options.pop("l0_coefficient")} if kind == "jumprelu" else {}
        width, values = given["W_dec"].shape
        sae = model(config(d_in=values, d_sae=width, apply_b_dec_to_input=False, **options))
        with torch.no_grad():
            for name in ("W_enc", "b_enc", "W_dec", "b_dec", *(("threshold",) if kind == "jumprelu" else ())):
                getattr(sae, name).copy_(torch.from_numpy(given[name]))
        step = TrainStepInput(
            sae_in=torch.from_numpy(given["x"]), coefficients=coefficients, n_training_steps=0,
            dead_neuron_mask=None if kind == "jumprelu" else torch.from_numpy(given["dead"]), is_logging_step=False,
        )  # fmt: skip
        loss = sae.training_forward_pass(step).loss
        loss.backward()
        found[f"{kind}.loss"] = loss.detach().numpy()
        found |= {f"{kind}.{name}": value.grad.numpy() for name, value in sae.named_parameters()}
    np.savez(folder / "theirs.npz", **found)


if __name__ == "__main__":
    main()
