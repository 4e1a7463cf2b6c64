"""`demo`: trains a small model on real digits and writes its figures and its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diabolo.callbacks.progress import ProgressBar
from diabolo.cli._parser import Parser
from diabolo.cli.train import finish, free_folder
from diabolo.runs.config import make_run_config
from diabolo.runs.run import start

__all__ = ["demo"]


def demo(parser: Parser, words: Sequence[str]) -> int:
    """Trains a small convolutional VAE with a 2-D code on the embedded digits."""
    parser.add_argument("-o", "--out", type=Path, help="the run's folder (runs/demo when left out)")
    arguments = parser.parse(words)
    run_config = make_run_config(
        "digits",
        model="vae",
        network="conv",
        channels=(32, 64),
        latent_dim=2,
        beta=0.5,
        epochs=60,
        batch_size=64,
        lr=2e-3,
        schedule="cosine",
        lr_warmup=2.0,
    )
    folder = arguments.out or free_folder(run_config, "demo")
    print("1,797 real digits of 8 x 8 pixels, and a convolutional VAE that gives each a place on a plane.")
    return finish(start(run_config, folder, [ProgressBar()]), folder, as_json=False)
