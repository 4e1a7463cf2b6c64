"""The systems of five tutorials, each by name: where it comes from, its settings, and where it differs from its text.

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
        settings: what `diabolo.train` is given; without a `source` the recipe is for data of the user's own.
        notes: every deviation from the text: choices where it leaves one, its slips that are put right, other forms.
        presets: name -> settings that replace some, with the reason in `reasons`.
        reasons: name of a preset -> what it is for.
        units: the source's own unit of the loss: its name, and the factor by which nats are multiplied.

    >>> recipe = find_recipe("mnist-vae-conv")
    >>> recipe.settings["latent_dim"], recipe.with_preset("fast")["batch_size"]
    (2, 64)
    """

    name: str
    title: str
    source: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    units: tuple[str, float] | None = None

    @property
    def values(self) -> int | None:
        """The number of values of an example of the text's data; None where the data is the user's own."""
        return None if "source" not in self.settings else 784

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


_CONSTANT = {"schedule": "constant", "lr_warmup": 0.0, "ema": 0.0, "augment": "none"}
_WHOLE = {
    "validation": 0.0,
    "keep": "last",
    **_CONSTANT,
}  # as the sources do: train on all, report on the test set, choose nothing
_ANNEALED = {"optimizer": "adam", "beta2": 0.99, "draws": 4, "batch_size": 64, "schedule": "cosine"}
_NO_TEST = "Where the data has no test part, a tenth of it, drawn with the seed, is the test set."
_KERAS = (
    "Epsilon of the optimizer is torch's 1e-8 where Keras has 1e-7. The text computes in float32: --precision float32."
)
_LINES = (
    "The text prints a line every 100 steps, counted from 0 within an epoch; here `history.jsonl` has one after every "
    "100 steps of the run."
)
_HEADS = (
    "The text's two heads of {d} are one layer of {both} here, so that Glorot's bound is sqrt(6 / {ours}) for its "
    "weights where the text has sqrt(6 / {theirs})."
)

_ALL = [
    Recipe(
        "fashion-ae",
        "MLP autoencoder 784-256-128-20 on Fashion-MNIST",
        "Liangqu Long, Deep Learning with TensorFlow (book, chapter 12), autoencoder",
        {
            "source": "fashion-mnist",
            "model": "autoencoder",
            "network": "mlp",
            "start": "random",
            "widths": (256, 128),
            "init": "glorot",
            "latent_dim": 20,
            "likelihood": "bernoulli",
            "lr": 1e-3,
            "batch_size": 512,
            "epochs": 100,
            "log_every": 100,
            "pictures": ("tutorial-rec",),
            **_WHOLE,
        },
        (
            "The text averages its cross-entropy over pixels and batch; here it is summed over pixels, so that its "
            "number times 784 is nats per example. Adam takes the same steps with either, but for its epsilon.",
            "Rate and batch are variables whose values the text does not say: 1e-3 and 512 are chosen here.",
            "The text shuffles within a buffer of 5 batches; here an epoch is a permutation of all examples.",
            "Of the text's two pictures the second is drawn, 50 test images and their 50 reconstructions; the first, "
            "100 reconstructions, is --pictures tutorial-rec-100, and --pictures rows puts each row of originals "
            "above its reconstructions.",
            _LINES,
            _KERAS,
            _NO_TEST,
        ),
        units=("cross-entropy per pixel", 1 / 784),
    ),
    Recipe(
        "fashion-vae",
        "MLP VAE 784-128-20 on Fashion-MNIST",
        "Liangqu Long, Deep Learning with TensorFlow (book, chapter 12), VAE",
        {
            "source": "fashion-mnist",
            "model": "vae",
            "network": "mlp",
            "start": "random",
            "widths": (128,),
            "init": "glorot",
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
            "The text says 100 epochs in words and, in one of its listings, 1,000 in code; this follows the words.",
            "Its words have 20 dimensions and its files 10; this follows the words.",
            "Rate and batch are variables whose values the text does not say: 1e-3 and 512 are chosen here.",
            _HEADS.format(d=20, both=40, ours=168, theirs=148),
            "Samples are of 100 new codes in each epoch, as in the text; --pictures samples,rows draws the same codes "
            "every time, and reconstructions of the posterior's mean below each row of originals.",
            _LINES,
            _KERAS,
            _NO_TEST,
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
            "start": "random",
            "widths": (128, 64, 12),
            "activation": "tanh",
            "latent_dim": 3,
            "likelihood": "gaussian",
            "variance": 0.5,
            "output": "sigmoid",
            "lr": 1e-2,
            "batch_size": 100,
            "epochs": 3,
            "log_every": 100,
            "pictures": ("first-five",),
            **_WHOLE,
        },
        (
            "Squared error is the Gaussian likelihood of variance 1/2: nats = squared error + 784 log(pi) / 2. The "
            "text averages it over pixels and batch, here it is summed over pixels; Adam takes the same steps with "
            "either, but for its epsilon.",
            "The listing trains on [0, 1] and feeds its scatter (x - 0.5) / 0.5, which the network never saw; here "
            "both are [0, 1]. Its 500 training digits in space are the report's `codes-3d.png`, in other colours than "
            "its rainbow.",
            "Its two codes by hand are read off its own plot: `diabolo decode RUN --code 0.02,-0.543,-0.012` decodes "
            "that place of yours, where another digit may lie. The codes of every step are not kept: `diabolo encode` "
            "gives those of the end.",
            "The pictures of five digits are drawn as in the text; --pictures first-five-grey has them in grey, pixel "
            "by pixel. The truth is above the reconstructions in each of them.",
            _LINES,
            "The text reads the test set one example at a time; here it is read in chunks, with the same result. It "
            "computes in float32: --precision float32.",
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
            "start": "random",
            "enlarge": "transposed",
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
            "pictures": ("tutorial-manifold",),
            **_WHOLE,
        },
        (
            "Mean cross-entropy per pixel minus 5e-4 times the mean over the 2 dimensions of 1 + log_var - mean^2 - "
            "exp(log_var), which is the KL: times 784, an ELBO of beta 784 * 5e-4 = 0.392.",
            "The listing's z = mean + exp(z_log_var) * eps takes the log-variance for a log-deviation, so its noise is "
            "smaller than its KL says and its loss is no bound. Here the deviation is exp(z_log_var / 2); "
            "--noise-scale variance is the listing's own form.",
            "The text calls its 10,000 test images validation data. Here they are the test set: evaluated after each "
            "epoch, choosing nothing.",
            "RMSprop's beta2 is 0.9, Keras's default. " + _KERAS,
            _HEADS.format(d=2, both=4, ours=36, theirs=34),
            "`tutorial_manifold.png` is the text's picture, 420 x 420 with values that grow downwards; the report's "
            "`manifold.png` has them grow upwards, and axes.",
            "The concept vectors that the text tells of are `diabolo concept learn` and `diabolo edit`: see the recipe "
            "smiles.",
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
            "start": "random",
            "widths": (256,),
            "init": "glorot",
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
        (
            "Squared error is the Gaussian likelihood of variance 1/2, summed over pixels; --likelihood bernoulli is "
            "the cross-entropy, with which the text says it does as well.",
            "The text's listings are missing. It does not say the rate, the batch, the activation or the initial "
            "weights: 1e-3, 128, ReLU in the hidden layers with a sigmoid at the end, and Glorot uniform weights with "
            "zero biases, which TensorFlow's layers have, are chosen here.",
            _HEADS.format(d=2, both=4, ours=260, theirs=258),
            "Its pictures are the report's: test digits above their outputs, the plane of the codes by class, and a "
            "plane of decoded samples (`manifold.png`).",
            "The codes as features of a classifier, of which it tells: `diabolo.sklearn.AutoencoderTransformer`.",
        ),
    ),
    Recipe(
        "mnist-ae-128",
        "One-layer autoencoder 784-128-784 on MNIST, encode and decode apart",
        "a common form of tutorials in TensorFlow 1; no one author was found",
        {
            "source": "mnist",
            "model": "autoencoder",
            "network": "mlp",
            "start": "random",
            "widths": (),
            "code_activation": "relu",
            "init": "normal",
            "latent_dim": 128,
            "likelihood": "bernoulli",
            "optimizer": "rmsprop",
            "beta2": 0.9,
            "lr": 5e-3,
            "batch_size": 64,
            "drop_last": True,
            "epochs": 10,
            **_WHOLE,
        },
        (
            "The text sums its cross-entropy over pixels and batch; here it is summed over pixels and averaged over "
            "the batch of 64. RMSprop divides a gradient by its own size, so that steps are the same but for what the "
            "optimizer adds to that size: 1e-8 to its root here, 1e-10 under it in TensorFlow 1.",
            "RMSprop's beta2 is 0.9, TensorFlow's default. TensorFlow 1 starts its average of squares at 1, here it "
            "is 0.",
            "With weights of N(0, 1) all but about ten of the 128 ReLUs die in the first steps, here as in the text, "
            "and the images stay blurred; --thorough has weights and a rate that they live with.",
            "Its calls apart are `diabolo encode` and `diabolo decode`, or `model.encode(x)` and `model.decode(z)`.",
        ),
        {"thorough": {"init": "glorot", "lr": 1e-3}},
        {"thorough": "what the network needs: Glorot's weights and a fifth of the rate"},
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
            "activation": "linear",
            "init": "glorot",
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
            "It averages over pixels and batch, here it is summed over pixels; Adam takes the same steps with either, "
            "but for its epsilon.",
            "The listing asks for a layer 'encode' where its own is named 'bottleneck'; here the cut is at the name "
            "that the layer has, by `diabolo.split(sequential, at='bottleneck')`.",
            "No layer but the last has an activation, as in the text: the code is an affine function of the "
            "pixels. --activation relu is the usual form.",
            _KERAS,
        ),
    ),
    Recipe(
        "smiles",
        "Convolutional VAE with a code of 128 numbers on faces, for a concept vector",
        "the concept vectors that Chollet, Deep Learning with Python (2017), section 8.4, tells of and does not build; "
        "Larsen et al. 2016, https://arxiv.org/abs/1512.09300",
        {
            "model": "vae",
            "network": "conv",
            "start": "random",
            "enlarge": "transposed",
            "channels": (32, 64, 128),
            "hidden": (),
            "latent_dim": 128,
            "likelihood": "gaussian",
            "variance": 0.004,
            "beta": 1.0,
            "size": 64,
            "colour": False,
            "lr": 1e-3,
            "schedule": "cosine",
            "lr_warmup": 0.0,
            "ema": 0.0,
            "augment": "none",
            "batch_size": 64,
            "epochs": 60,
            "validation": 0.02,
            "test": 0.0,
            "keep": "last",
        },
        (
            "For a folder of faces in class folders, smiling and neutral ones: diabolo train faces/ --recipe smiles. "
            "Images are read as 64 x 64 in grey; --size and --colour read them otherwise.",
            "Then: diabolo concept learn RUN --name smile --positive smile --negative neutral, which says at what "
            "strength it works, and diabolo edit RUN face.jpg --concept smile=STRENGTH -o smiling.png.",
            "No text trains this; `benchmarks/smiles.py` measures what it reaches on faces that it never saw.",
        ),
    ),
]

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; says which is nearest.

    >>> find_recipe("fashion-ae").settings["widths"]
    (256, 128)
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
