"""JAX without a library above it: a jitted step with Adam or RMSprop by hand, alone or scanned over a whole epoch."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _turns import Turns
from jax import lax

Tree = Any


def initial(key: Any, shape: tuple[int, ...]) -> Tree:
    """A layer's initial weights, which are the recipes': Glorot and Bengio's uniform ones, and biases of zero."""
    field = int(np.prod(shape[:-2]))
    limit = (6 / (field * (shape[-2] + shape[-1]))) ** 0.5
    return {"w": jax.random.uniform(key, shape, minval=-limit, maxval=limit), "b": jnp.zeros(shape[-1])}


def shapes_of(job: dict[str, Any]) -> list[tuple[int, ...]]:
    """The shapes of the weights, in order."""
    numbers = job["latent_dim"] * (2 if job["kind"] == "vae" else 1)
    if job["network"] == "mlp":
        down, up = [784, *job["widths"], numbers], [job["latent_dim"], *job["widths"][::-1], 784]
        return [*itertools.pairwise(down), *itertools.pairwise(up)]
    convolutions = [(3, 3, 1, 32), (3, 3, 32, 64), (3, 3, 64, 64), (3, 3, 64, 64)]
    return [*convolutions, (12_544, 32), (32, numbers), (job["latent_dim"], 12_544), (3, 3, 64, 32), (3, 3, 32, 1)]


def affine(h: jax.Array, layer: Tree) -> jax.Array:
    """One affine layer."""
    return h @ layer["w"] + layer["b"]


def convolution(h: jax.Array, layer: Tree, stride: int = 1, patches: bool = False) -> jax.Array:
    """A 3 x 3 convolution that keeps the size, or halves it: XLA's own, or one product of its patches."""
    if not patches:
        axes = ("NHWC", "HWIO", "NHWC")
        padding = [(1, 1), (1, 1)]
        return lax.conv_general_dilated(h, layer["w"], (stride, stride), padding, dimension_numbers=axes) + layer["b"]
    count, side = h.shape[0], h.shape[1]
    padded = jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, i : i + side : stride, j : j + side : stride] for i in range(3) for j in range(3)]
    rows = jnp.concatenate(taps, axis=-1).reshape(-1, 9 * h.shape[3])
    out = rows @ layer["w"].reshape(9 * h.shape[3], -1)
    return out.reshape(count, side // stride, side // stride, -1) + layer["b"]


def enlargement(h: jax.Array, layer: Tree, patches: bool = False) -> jax.Array:
    """A 3 x 3 transposed convolution that doubles the size: XLA's own, or one product, laid out and added up."""
    if not patches:
        axes = ("NHWC", "HWIO", "NHWC")
        return lax.conv_transpose(h, layer["w"], (2, 2), "SAME", dimension_numbers=axes) + layer["b"]
    count, side, inner = h.shape[0], h.shape[1], h.shape[3]
    taps = (h.reshape(-1, inner) @ layer["w"].transpose(2, 0, 1, 3).reshape(inner, -1)).reshape(
        count, side, side, 9, -1
    )
    zero, total = jnp.zeros((), h.dtype), jnp.zeros(())
    for i in range(3):
        for j in range(3):
            room = ((0, 0, 0), (i, 2 - i, 1), (j, 2 - j, 1), (0, 0, 0))  # before, after, between two values
            total = total + lax.pad(taps[:, :, :, 3 * i + j], zero, room)
    return total[:, 1:, 1:] + layer["b"]


def encode(weights: list[Tree], x: jax.Array, job: dict[str, Any]) -> jax.Array:
    """From (B, 28, 28) to (B, features)."""
    if job["network"] == "mlp":
        h, layers = x.reshape(len(x), -1), weights[: len(job["widths"]) + 1]
    else:
        h, patches = x[..., None], job["variant"] == "patches"
        for layer, stride in zip(weights[:4], (1, 2, 1, 1), strict=True):
            h = jax.nn.relu(convolution(h, layer, stride, patches))
        h, layers = h.reshape(len(x), -1), weights[4:6]
    for layer in layers[:-1]:
        h = jax.nn.relu(affine(h, layer))
    return affine(h, layers[-1])


def decode(weights: list[Tree], z: jax.Array, job: dict[str, Any]) -> jax.Array:
    """From (B, latent_dim) to logits, (B, 28, 28)."""
    if job["network"] == "mlp":
        layers = weights[len(job["widths"]) + 1 :]
        for layer in layers[:-1]:
            z = jax.nn.relu(affine(z, layer))
        return affine(z, layers[-1]).reshape(-1, 28, 28)
    h = jax.nn.relu(affine(z, weights[6])).reshape(-1, 14, 14, 64)
    patches = job["variant"] == "patches"
    return convolution(jax.nn.relu(enlargement(h, weights[7], patches)), weights[8], 1, patches)[..., 0]


def loss_of(weights: list[Tree], x: jax.Array, key: Any, job: dict[str, Any]) -> jax.Array:
    """Nats per example."""
    z, kl = encode(weights, x, job), 0.0
    if job["kind"] == "vae":
        mean, log_variance = jnp.split(z, 2, axis=1)
        z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        kl = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance)) / len(x)
    logits = decode(weights, z, job)
    # log(1 + exp(l)) - x l, in the form that does not overflow.
    error = jnp.maximum(logits, 0) - x * logits + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return jnp.sum(error) / len(x) + job["beta"] * kl


def updated(job: dict[str, Any], weights: Tree, gradient: Tree, slow: Tree, number: jax.Array) -> tuple[Tree, Tree]:
    """A step of Adam (Kingma & Ba 2014) or of RMSprop; `slow` holds the running moments."""
    each = jax.tree.map
    if job["optimizer"] == "rmsprop":
        square = each(lambda v, g: 0.9 * v + 0.1 * g * g, slow[1], gradient)
        new = each(lambda w, g, v: w - 1e-3 * g / (jnp.sqrt(v) + 1e-8), weights, gradient, square)
        return new, (slow[0], square)
    first = each(lambda m, g: 0.9 * m + 0.1 * g, slow[0], gradient)
    square = each(lambda v, g: 0.999 * v + 0.001 * g * g, slow[1], gradient)
    rate, scale = 1e-3 / (1 - 0.9**number), 1 - 0.999**number
    new = each(lambda w, m, v: w - rate * m / (jnp.sqrt(v / scale) + 1e-8), weights, first, square)
    return new, (first, square)


def step(job: dict[str, Any], x: jax.Array, state: Tree, chosen: jax.Array) -> tuple[Tree, jax.Array]:
    """One batch: those of the images that are chosen."""
    weights, slow, number, key = state
    key, noise = jax.random.split(key)
    loss, gradient = jax.value_and_grad(loss_of)(weights, x[chosen], noise, job)
    weights, slow = updated(job, weights, gradient, slow, number)
    return (weights, slow, number + 1.0, key), loss


def main() -> None:
    """Trains an epoch at a time, for as long as it is asked to."""
    turns = Turns()
    job = turns.job
    rng = np.random.default_rng(job["seed"])
    x = jnp.asarray(turns.images().astype(np.float32) / 255)
    turns.start()
    keys = jax.random.split(jax.random.key(job["seed"]), len(shapes_of(job)))
    weights = [initial(key, shape) for key, shape in zip(keys, shapes_of(job), strict=True)]
    turns.require(sum(leaf.size for leaf in jax.tree.leaves(weights)))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = (weights, (zeros, jax.tree.map(jnp.zeros_like, weights)), jnp.ones(()), jax.random.key(job["seed"]))
    one = jax.jit(functools.partial(step, job), donate_argnums=1)

    @functools.partial(jax.jit, donate_argnums=1)
    def epoch(x: jax.Array, state: Tree, order: jax.Array) -> tuple[Tree, jax.Array]:
        return lax.scan(functools.partial(step, job, x), state, order)

    while True:
        order = rng.permutation(len(x)).reshape(-1, job["batch"])
        if job["variant"] == "scan":
            state, losses = epoch(x, state, order)
        else:
            found = []
            for chosen in order:
                state, loss = one(x, state, chosen)
                found.append(loss)
            losses = jnp.stack(found)
        jax.block_until_ready(state)
        turns.done(float(losses.mean()), jax=jax.__version__)


if __name__ == "__main__":
    main()
