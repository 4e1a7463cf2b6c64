"""The systems of five tutorials, each by name: where it comes from, its settings, and what was chosen or put right.

A recipe is nothing but settings of `diabolo.train`; whatever is given beside it wins. A preset (`fast`, `thorough`)
changes some of them and is never taken unasked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diabolo.errors import ConfigError, unknown_name

__all__ = ["RECIPES", "Recipe", "find_recipe"]


@dataclass(frozen=True)
class Recipe:
    """One tutorial's system.

    Attributes:
        name: what it is called on the command line.
        title: what it is.
        source: whose listing it follows.
        settings: what `diabolo.train` is given.
        notes: choices where the source leaves one, and slips of its listing that are put right here.
        presets: name -> settings that replace some, with the reason in `reasons`.
        reasons: name of a preset -> what it is for.
        units: the source's own unit of the loss: its name, and the factor by which nats are multiplied.
    """

    name: str
    title: str
    source: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    units: tuple[str, float] | None = None

    def with_preset(self, preset: str | None) -> dict[str, Any]:
        """The settings, those of a preset in the place of some.

        Raises:
            ConfigError: the recipe has no such preset.
        """
        if preset is None:
            return dict(self.settings)
        if not self.presets:
            raise ConfigError(f"The recipe {self.name!r} has no presets, and {preset!r} was asked for: leave it out.")
        if preset not in self.presets:
            raise unknown_name(f"preset of the recipe {self.name!r}", preset, self.presets)
        return {**self.settings, **self.presets[preset]}


_WHOLE = {"validation": 0.0, "keep": "last"}  # as the sources do: train on all, report on the test set, choose nothing
_ANNEALED = {"optimizer": "adam", "beta2": 0.99, "draws": 4, "batch_size": 64, "schedule": "cosine"}

_ALL = [
    Recipe(
        "fashion-ae",
        "MLP autoencoder 784-256-128-20 on Fashion-MNIST",
        "Liangqu Long, Deep Learning with TensorFlow (book, chapter 12), autoencoder",
        {
            "source": "fashion-mnist",
            "model": "autoencoder",
            "network": "mlp",
            "widths": (256, 128),
            "latent_dim": 20,
            "likelihood": "bernoulli",
            "lr": 1e-3,
            "batch_size": 512,
            "epochs": 100,
            "pictures": ("tutorial-rec",),
            **_WHOLE,
        },
        (
            "The source averages its cross-entropy over pixels: its number times 784 is nats per example.",
            "The source fills its picture by columns, originals left, reconstructions right; here each row of "
            "originals stands above its reconstructions.",
            "Where the data has no test part, a tenth of it, drawn with the seed, is the test set.",
        ),
    ),
    Recipe(
        "fashion-vae",
        "MLP VAE 784-128-20 on Fashion-MNIST",
        "Liangqu Long, Deep Learning with TensorFlow (book, chapter 12), VAE",
        {
            "source": "fashion-mnist",
            "model": "vae",
            "network": "mlp",
            "widths": (128,),
            "latent_dim": 20,
            "likelihood": "bernoulli",
            "beta": 1.0,
            "lr": 1e-3,
            "batch_size": 512,
            "epochs": 100,
            "log_every": 100,
            "pictures": ("tutorial-vae",),
            **_WHOLE,
        },
        (
            "The source says 100 epochs in words and, in one of its listings, 1,000 in code; this follows the words.",
            "Its text has 20 dimensions and its files 10; this follows the text.",
            "Where the data has no test part, a tenth of it, drawn with the seed, is the test set.",
        ),
    ),
    Recipe(
        "mnist-ae-3d",
        "Deep tanh autoencoder 784-128-64-12-3 on MNIST",
        "after Morvan Zhou, PyTorch-Tutorial, 404_autoencoder (2017); its descendants differ in rate, batch and epochs",
        {
            "source": "mnist",
            "model": "autoencoder",
            "network": "mlp",
            "widths": (128, 64, 12),
            "activation": "tanh",
            "latent_dim": 3,
            "likelihood": "gaussian",
            "variance": 0.5,
            "output": "sigmoid",
            "lr": 1e-2,
            "batch_size": 100,
            "epochs": 3,
            "pictures": ("first-five",),
            **_WHOLE,
        },
        (
            "Squared error is the Gaussian likelihood of variance 1/2: nats = squared error + 784 log(pi) / 2.",
            "The listing trains on [0, 1] and feeds its scatter [-1, 1]; here both are [0, 1].",
        ),
        {
            "thorough": {
                "epochs": 60,
                "lr": 5e-3,
                "beta2": 0.99,
                "schedule": "cosine",
                "lr_warmup": 1.0,
                "precision": "float32",
            }
        },
        {
            "thorough": "what the network needs: 60 epochs, half the rate with a warm-up and a cosine, and float32 "
            "(bf16 costs it 4% here)"
        },
        ("mean squared error", float("nan")),
    ),
    Recipe(
        "mnist-vae-conv",
        "Convolutional VAE with a 2-D code on MNIST",
        "Francois Chollet, Deep Learning with Python (1st edition, 2017), section 8.4",
        {
            "source": "mnist",
            "model": "vae",
            "network": "conv",
            "channels": (32, 64, 64, 64),
            "strides": (1, 2, 1, 1),
            "hidden": (32,),
            "decoder_channels": (32,),
            "decoder_strides": (2, 1),
            "decoder_hidden": (),
            "init": "glorot",
            "latent_dim": 2,
            "likelihood": "bernoulli",
            "beta": 784 * 5e-4,
            "optimizer": "rmsprop",
            "beta2": 0.9,
            "lr": 1e-3,
            "batch_size": 16,
            "epochs": 10,
            **_WHOLE,
        },
        (
            "Mean cross-entropy per pixel plus 5e-4 of the KL is, times 784, an ELBO of beta 784 * 5e-4 = 0.392.",
            "The listing's z = mean + exp(z_log_var) * eps takes the log-variance for a log-deviation, so its noise is "
            "smaller than its KL says and its loss is no bound: noise_scale='variance' is the listing's own form.",
            "RMSprop's beta2 is 0.9, Keras's default.",
            "The book's notebook prints a validation loss of 0.1801 after 10 epochs; a later run of its listing, "
            "by cdfmlr (2020), printed 0.1840 for training and 0.1826 for validation.",
        ),
        {
            "fast": {**_ANNEALED, "lr": 2e-3, "lr_warmup": 0.5},
            "thorough": {**_ANNEALED, "lr": 1.5e-3, "lr_warmup": 0.8, "epochs": 40},
        },
        {
            "fast": "as many examples, in a quarter of the steps: Adam, batch 64, cosine, four codes drawn per image",
            "thorough": "what the network needs: the settings of fast for 40 epochs",
        },
        ("nats / 784", 1 / 784),
    ),
    Recipe(
        "mnist-vae-mlp",
        "MLP VAE 784-256-2 on MNIST",
        "after the Keras example variational_autoencoder (2016) and its copies, which differ in batch and optimizer",
        {
            "source": "mnist",
            "model": "vae",
            "network": "mlp",
            "widths": (256,),
            "latent_dim": 2,
            "likelihood": "gaussian",
            "variance": 0.5,
            "output": "sigmoid",
            "beta": 1.0,
            "lr": 1e-3,
            "batch_size": 128,
            "epochs": 50,
            **_WHOLE,
        },
        ("Squared error by default, as a Gaussian of variance 1/2; likelihood='bernoulli' is the cross-entropy form.",),
    ),
    Recipe(
        "mnist-ae-128",
        "One-layer autoencoder 784-128-784 on MNIST, encode and decode apart",
        "a common Keras tutorial form; no one author was found",
        {
            "source": "mnist",
            "model": "autoencoder",
            "network": "mlp",
            "widths": (),
            "code_activation": "relu",
            "latent_dim": 128,
            "likelihood": "bernoulli",
            "optimizer": "rmsprop",
            "beta2": 0.9,
            "lr": 5e-3,
            "batch_size": 64,
            "epochs": 10,
            **_WHOLE,
        },
        ("Cross-entropy is summed over the pixels, as everywhere here.", "RMSprop's beta2 is 0.9."),
    ),
    Recipe(
        "mnist-bottleneck",
        "A plain Sequential 784-256-128-784 on MNIST, split at its layer named bottleneck",
        "a common Keras tutorial form; no one author was found",
        {
            "source": "mnist",
            "model": "autoencoder",
            "network": "bottleneck",
            "widths": (256,),
            "latent_dim": 128,
            "likelihood": "bernoulli",
            "lr": 1e-3,
            "batch_size": 32,
            "epochs": 10,
            **_WHOLE,
        },
        (
            "The listing's loss takes logits and is given an output that went through a sigmoid, so the sigmoid is "
            "applied twice and no loss can fall below log 2 = 0.693 nats for a black pixel; here it is given logits.",
        ),
    ),
]

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; says which is nearest.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
