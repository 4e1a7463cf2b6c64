"""Keras: `Model.fit` on an array in memory, with the backend that the job names."""

from __future__ import annotations

import os
from typing import Any

from _turns import Turns

turns = Turns()
os.environ["KERAS_BACKEND"] = turns.job["variant"]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402 (the backend is chosen before)
import numpy as np  # noqa: E402
from keras import layers, ops  # noqa: E402


class Draw(layers.Layer):  # type: ignore[misc]
    """A code from its density, with the KL added to the loss."""

    def __init__(self, beta: float, seed: int) -> None:
        super().__init__()
        self.beta = beta
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, parameters: Any) -> Any:
        mean, log_variance = ops.split(parameters, 2, axis=1)
        kl = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=1)
        self.add_loss(self.beta * ops.mean(kl))
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seeds)


class Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Says each epoch's loss."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        turns.done((logs or {})["loss"], keras=keras.__version__)


def perceptron(h: Any, widths: list[int]) -> Any:
    """Affine layers through `widths` with ReLU between them; they start as Keras's own do, and so do the recipes'."""
    for outer in widths[:-1]:
        h = layers.Dense(outer, activation="relu")(h)
    return layers.Dense(widths[-1])(h)


def model_of(job: dict[str, Any]) -> Any:
    """The model of a job."""
    network = job["network"]
    numbers = job["latent_dim"] * (2 if job["kind"] == "vae" else 1)
    image = h = keras.Input((28, 28, 1))
    if network == "conv":
        for channels, stride in ((32, 1), (64, 2), (64, 1), (64, 1)):
            h = layers.Conv2D(channels, 3, strides=stride, padding="same", activation="relu")(h)
    h = layers.Flatten()(h)
    h = perceptron(h, [32, numbers] if network == "conv" else [*job["widths"], numbers])
    if job["kind"] == "vae":
        h = Draw(job["beta"], job["seed"])(h)
    if network == "mlp":
        h = perceptron(h, [*job["widths"][::-1], 784])
        return keras.Model(image, layers.Reshape((28, 28, 1))(h))
    h = layers.Reshape((14, 14, 64))(layers.Dense(14 * 14 * 64, activation="relu")(h))
    h = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(h)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same")(h))


def cross_entropy(x: Any, logits: Any) -> Any:
    """Summed over the pixels, (B,)."""
    return ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), axis=(1, 2, 3))


def main() -> None:
    """Trains for as many epochs as there are turns."""
    job = turns.job
    keras.utils.set_random_seed(job["seed"])
    x = turns.images().astype(np.float32)[..., None] / 255
    turns.start()
    model = model_of(job)
    turns.require(sum(int(np.prod(weight.shape)) for weight in model.trainable_weights))
    optimizer = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[job["optimizer"]]
    model.compile(optimizer=optimizer(1e-3), loss=cross_entropy)
    model.fit(x, x, batch_size=job["batch"], epochs=job["epochs"], verbose=0, callbacks=[Report()])


if __name__ == "__main__":
    main()
