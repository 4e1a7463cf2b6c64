"""The network of Keras's own example of a variational autoencoder, written anew for pictures of any size.

    python defaults_of_keras.py JOB.json

Keras has no autoencoder of its own: its documentation has examples. That of a VAE (keras.io/examples/generative/vae)
sets what is the default here:

- convolutions of 3 x 3 with 32 and 64 channels, stride 2 and ReLU; a dense layer of 16 units with ReLU; the mean and
  the logarithm of the variance; a dense layer of 64 channels at a quarter of the size; transposed convolutions with 64
  and 32 channels and stride 2; one more with as many channels as the picture, and a sigmoid;
- the cross-entropy summed over the values, and the KL with a weight of 1; `keras.optimizers.Adam` as it is (a rate of
  1e-3), batches of 128, 30 epochs.

The example has one channel and a code of 2 numbers. With larger codes its layer of 16 units is the narrowest place:
`tutorial` keeps it, `no-16` leaves it out. The autoencoder is the same network with a code in the place of the mean
and the variance; the examples' own convolutional autoencoder has a code as large as the picture.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
os.environ["KERAS_BACKEND"] = "jax"
if hasattr(os, "sched_setaffinity"):  # before jax starts its threads
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-job["threads"] :])

import keras  # noqa: E402 (the backend is chosen before)
import numpy as np  # noqa: E402
from keras import layers, ops  # noqa: E402

EPOCHS, BATCH, NARROW = 30, 128, 16


class Draw(layers.Layer):  # type: ignore[misc]
    """In training a code from its density, else the mean of it; the KL is added to the loss."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, parameters: Any, training: bool | None = None) -> Any:
        mean, log_variance = ops.split(parameters, 2, axis=1)
        kl = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1 - log_variance, axis=1)
        self.add_loss(ops.mean(kl))
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        return mean + ops.exp(0.5 * log_variance) * noise if training else mean


def model_of(shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """The model, and its encoder with the parameters of the code, for pictures of (H, W, C).

    Raises:
        SystemExit: a side is no multiple of 4.
    """
    height, width, channels = shape
    if height % 4 or width % 4:
        raise SystemExit(f"its strides do not give back {height} x {width}")
    picture = h = keras.Input(shape)
    for filters in (32, 64):
        h = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Flatten()(h)
    if job["network"] == "tutorial":
        h = layers.Dense(NARROW, activation="relu")(h)
    is_vae = job["model"] == "vae"
    h = parameters = layers.Dense(job["latent_dim"] * (2 if is_vae else 1))(h)
    if is_vae:
        h = Draw(job["seed"])(h)
    h = layers.Dense(height * width * 4, activation="relu")(h)
    h = layers.Reshape((height // 4, width // 4, 64))(h)
    for filters in (64, 32):
        h = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Conv2DTranspose(channels, 3, padding="same", activation="sigmoid")(h)
    return keras.Model(picture, h), keras.Model(picture, parameters)


def cross_entropy(x: Any, probabilities: Any) -> Any:
    """Summed over the values of a picture, (B,)."""
    return ops.sum(ops.binary_crossentropy(x, probabilities), axis=(1, 2, 3))


def main() -> None:
    """Trains the model and prints its result."""
    keras.utils.set_random_seed(job["seed"])
    with np.load(job["data"]) as file:
        data = {name: np.moveaxis(file[name], 1, -1) for name in ("train", "validation", "test")}
    model, encoder = model_of(data["train"].shape[1:])
    model.compile(optimizer=keras.optimizers.Adam(), loss=cross_entropy)
    x, watched = data["train"], (data["validation"],) * 2
    began = time.perf_counter()
    model.fit(x, x, BATCH, EPOCHS, verbose=0, validation_data=watched if len(watched[0]) else None)
    seconds, kl = time.perf_counter() - began, None
    if job["model"] == "vae":
        mean, log_variance = np.split(encoder.predict(data["test"], verbose=0), 2, axis=1)
        kl = (0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)).mean(0).tolist()
    mse = float(np.square(model.predict(data["test"], verbose=0) - data["test"]).mean(dtype=np.float64))
    found = {"mse": mse, "kl": None if kl is None else sum(kl), "kl_per_dimension": kl, "seconds": seconds}
    print(json.dumps({**found, "parameters": model.count_params(), "version": keras.__version__}))


if __name__ == "__main__":
    main()
