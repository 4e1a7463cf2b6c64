"""The trained model in the user's hand: NumPy in, NumPy out, the same answer every time."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diabolo import checkpoint, images
from diabolo.checkpoint import WEIGHTS
from diabolo.devices import choose_device
from diabolo.errors import ConfigError, DataError, RunError, ShapeError
from diabolo.evaluation import CHUNK, chunks, evaluate, evaluating
from diabolo.files import read_json, write_json
from diabolo.history import HISTORY, read_history, write_history
from diabolo.model import Model, Modules, rebuild_model
from diabolo.signature import require

__all__ = ["CONFIG", "EXAMPLES", "FORMAT", "Autoencoder"]

CONFIG = "config.json"
EXAMPLES = "examples.safetensors"
FORMAT = 1  # of a run's folder; raised when an older diabolo could not read it


class Autoencoder:
    """A trained model.

    Arrays have the examples' shape, (n, *event), in the layout that the model was trained on. Pixels go in as uint8 or
    as floats in [0, 1] and come out as float32 in [0, 1]; tables and signals go in and come out in their own units.
    Everything is computed in float32, in chunks, and repeats exactly; what is drawn takes a seed.

    Args:
        model: the trained model.
        info: what config.json says beside the model: data, settings, versions.
        examples: (n, *event), a few examples that were not trained on, to show.
        history: the lines of its history.
        device: where it computes; `auto` takes a GPU where there is one.
    """

    def __init__(
        self,
        model: Model,
        info: Mapping[str, Any] | None = None,
        examples: np.ndarray | None = None,
        history: Sequence[dict[str, Any]] = (),
        device: str = "auto",
    ) -> None:
        self.model = model.to(choose_device(device)).eval()
        self.model.use_channels_last()  # whatever layout it was trained in, it answers in this one
        self.info = dict(info or {})
        self.examples = examples
        self.history = list(history)

    # What it is

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.model.preprocess.event_shape

    @property
    def layout(self) -> str:
        """What the axes of an example are: F, LC, CL, HW, HWC, CHW or any."""
        return self.model.preprocess.layout

    @property
    def latent_dim(self) -> int:
        """The dimensions of the code, d."""
        return self.model.latent_dim

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes of the data that it was trained on, if it had any."""
        return tuple(self.info.get("data", {}).get("classes", ()))

    @property
    def has_prior(self) -> bool:
        """Whether it can make examples from nothing."""
        return self.model.objective.prior

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Examples, (n, *event), as they are drawn: uint8 (n, H, W) or (n, H, W, 3).

        Raises:
            ShapeError: they are no images.
        """
        return images.as_pixels(self.model.preprocess.displayed(x), self.layout)

    # What it does

    def encode(self, x: Any, *, sample: bool = False, seed: int | None = None) -> np.ndarray:
        """The codes of examples, (n, d), float32: the mean of the posterior, the same at every call.

        Args:
            x: (n, *event).
            sample: draw from the posterior instead.
            seed: of the draws; needed to repeat them.

        Raises:
            ShapeError, DataError: x is not what the model reads.
        """
        generator = self._generator(seed)

        def codes(batch: Tensor) -> Tensor:
            code = self.model.encode(self.model.prepare(batch))
            return code.sample(generator) if sample else code.mean

        return self._map(codes, self._checked(x), (self.latent_dim,))

    def decode(self, z: Any) -> np.ndarray:
        """The examples that codes stand for: the mean of p(x | z), (n, *event), float32.

        Args:
            z: (n, d).

        Raises:
            ShapeError: the codes do not have d numbers.
            DataError: a code is not finite.
        """
        codes = _array(z)
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim:
            raise ShapeError(
                f"A code of this model has {self.latent_dim} numbers: decode expects the shape (n, {self.latent_dim}), "
                f"and was given {codes.shape}."
            )
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
            codes = codes.astype(np.float32)
        if not np.isfinite(codes).all():
            raise DataError("A code holds NaN or infinite numbers; decode expects finite ones.")
        return self._map(self._decode, codes, self.event_shape)

    def reconstruct(self, x: Any) -> np.ndarray:
        """Examples through the code and back, (n, *event), float32; the same as `decode(encode(x))`."""
        return self.decode(self.encode(x))

    def corrupt(self, x: Any, *, seed: int = 0) -> np.ndarray:
        """Examples with the noise put on that a denoising model is trained to remove, (n, *event), float32.

        Args:
            x: (n, *event), clean.
            seed: of the noise.

        Raises:
            ConfigError: this variant has no noise.
        """
        corruption = getattr(self.model.objective, "corrupt", None)
        if corruption is None:
            raise ConfigError(
                "This model is trained on clean examples: it has no noise to put on (model='denoising' has)."
            )
        generator = self._generator(seed)

        def noisy(batch: Tensor) -> Tensor:
            return self.model.preprocess.undo(corruption(self.model.prepare(batch), generator))

        return self._map(noisy, self._checked(x), self.event_shape)

    def sample(self, n: int, *, seed: int | None = None) -> np.ndarray:
        """New examples, (n, *event), float32: codes from the prior N(0, I), decoded.

        Args:
            n: how many.
            seed: needed to repeat them.

        Raises:
            ConfigError: this variant has no prior to draw from.
        """
        require(n >= 1, "n", "a number of examples of at least 1", n)
        require(seed is None or seed >= 0, "seed", "a number of at least 0", seed)
        if not self.has_prior:
            name = self.info.get("model", {}).get("name", "model")
            raise ConfigError(
                f"The codes of this {name} follow no prior, so there is nothing to draw them from. Train a model that "
                "has one (model='vae'), or decode codes of your own choice."
            )
        return self.decode(np.random.default_rng(seed).standard_normal((n, self.latent_dim)))

    def score(self, x: Any, *, draws: int = 0, seed: int = 0) -> np.ndarray:
        """How badly the model explains each example, (n,), in nats: -log p(x | z) + KL(q(z | x) || p(z)).

        Codes that are points have no KL, and it is left out. With `draws=0` z is the posterior's mean, so the score is
        a function of the example alone. With draws, the first term is averaged over codes drawn from the posterior,
        and the score is the negative evidence lower bound; all examples share the same noise, so it still does not
        depend on what else is in the batch.

        Args:
            x: (n, *event).
            draws: codes drawn for each example.
            seed: of the draws.
        """
        require(draws >= 0, "draws", "a number of at least 0", draws)
        require(seed >= 0, "seed", "a number of at least 0", seed)
        noise = torch.from_numpy(
            np.random.default_rng(seed).standard_normal((draws, self.latent_dim)).astype(np.float32)
        )

        def nats(batch: Tensor) -> Tensor:
            values = self.model.prepare(batch)
            code = self.model.encode(values)
            zs = [code.shifted(row.to(self.device)) for row in noise] or [code.mean]
            error = torch.stack([-self.model.log_likelihood(self.model.decode(z), values) for z in zs]).mean(0)
            kl = code.kl()
            return error if kl is None else error + kl.sum(1)

        return self._map(nats, self._checked(x), ())

    def loss_terms(self, x: Any, *, seed: int = 0) -> dict[str, float]:
        """The terms of the training loss, averaged over examples.

        `loss` and each term are in nats per example, `mse` is per value; `bits_per_dim` is the bound in bits per value.

        Args:
            x: (n, *event).
            seed: of the codes' noise and of any corruption; the same seed gives the same numbers.
        """
        return evaluate(self.model, self._checked(x), seed=seed).averages

    # On disk

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the model as a folder: tensors in safetensors, the rest in JSON; each file whole or not at all.

        Raises:
            StorageError: a file could not be written; what was there before is untouched.
        """
        folder = Path(folder)
        checkpoint.save_tensors(folder / WEIGHTS, self.model.state_dict(), {})
        (folder / EXAMPLES).unlink(missing_ok=True)
        if self.examples is not None:
            checkpoint.save_tensors(folder / EXAMPLES, {"x": torch.from_numpy(np.array(self.examples))}, {})
        write_history(folder / HISTORY, self.history)
        write_json(folder / CONFIG, {"format": FORMAT, **self.info, **self.model.config()})
        return folder

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, modules: Modules | None = None, device: str = "auto"
    ) -> Autoencoder:
        """Reads a saved model; it answers bit for bit as it did when it was saved, on the same machine.

        Args:
            folder: what `save` or a training run wrote.
            modules: (encoder, decoder), where they were the user's own.
            device: where it computes.

        Raises:
            RunError: the folder is not a run, is truncated, was edited, or is of a newer version.
        """
        folder = Path(folder)
        config = read_config(folder)
        model = rebuild_model(config, modules)
        checkpoint.load_weights(model, checkpoint.load_tensors(folder / WEIGHTS)[0], folder / WEIGHTS)
        examples = None
        if (folder / EXAMPLES).exists():
            examples = checkpoint.load_tensors(folder / EXAMPLES)[0]["x"].numpy()
        return cls(model, config, examples, read_history(folder / HISTORY), device)

    # In a notebook

    def __repr__(self) -> str:
        config = self.model.config()
        names = [config[kind]["name"] or "custom" for kind in ("model", "network", "likelihood")]
        data = self.info.get("data", {}).get("name")
        return (
            f"Autoencoder({', '.join(names)}: {self.event_shape} <-> {self.latent_dim}, "
            f"{self.model.parameter_count:,} parameters{f', trained on {data}' if data else ''})"
        )

    def _repr_html_(self) -> str:
        lines = [f"<code>{html.escape(repr(self))}</code>"]
        if self.history and "train" in self.history[-1]:
            last = [line for line in self.history if line.get("kind") == "epoch"][-1:]
            for line in last:
                terms = {**line["train"], **{f"{k}": v for k, v in line.get("validation", {}).items()}}
                lines.append(f"after epoch {line['epoch']}: loss {terms['loss']:.2f} nats per example")
        if self.examples is not None and images.is_image(self.layout):
            x = self.examples[:10]
            pairs = images.pairs(self.pixels(x), self.pixels(self.reconstruct(x)), columns=len(x))
            data = base64.b64encode(images.png(pairs)).decode()
            style = f"image-rendering:pixelated;width:min(100%,{len(x) * 56}px)"
            alt = "Originals above their reconstructions"
            lines.append(f'<img style="{style}" alt="{alt}" src="data:image/png;base64,{data}">')
        return "<div>" + "<br>".join(lines) + "</div>"

    # Inside

    def _decode(self, z: Tensor) -> Tensor:
        return self.model.preprocess.undo(self.model.likelihood.mean(self.model.decode(z)))

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator(device=self.device)
        generator.manual_seed(seed) if seed is not None else generator.seed()
        return generator

    def _checked(self, x: Any) -> np.ndarray:
        array = _array(x)
        if array.dtype not in (np.uint8, np.float32):
            array = array.astype(np.float32) if array.dtype.kind in "fiub" else array
        self.model.preprocess.check(array, noisy=hasattr(self.model.objective, "corrupt"))
        return array

    @torch.no_grad()
    def _map(self, function: Any, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """`function` over chunks of x on the device; the results in one array, (n, *shape)."""
        out = np.empty((len(x), *shape), np.float32)
        with evaluating(self.model, 0):
            for number, batch in enumerate(chunks(x, None, self.device)):
                part = out[number * CHUNK : number * CHUNK + len(batch)]
                part[...] = function(batch).cpu().numpy()
        return out


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json of a run says.

    Raises:
        RunError: the folder is not a run, or one of a newer version.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder. A run is the folder that training or save wrote.")
    config = read_json(folder / CONFIG)
    version = config.get("format")
    if not isinstance(version, int):
        raise RunError(f"{folder / CONFIG} does not say which format it has: it was edited, or is no run of diabolo's.")
    if version > FORMAT:
        raise RunError(
            f"{folder} was written in format {version}, by a newer diabolo; this one reads up to format {FORMAT}. "
            "Upgrade it: pip install --upgrade diabolo"
        )
    return config


def _array(x: Any) -> np.ndarray:
    """A list, a NumPy array or a torch tensor, as a NumPy array."""
    if isinstance(x, Tensor):
        x = x.detach().cpu().numpy()
    array = np.asarray(x)
    if array.ndim == 0:
        raise ShapeError(f"An array of examples or codes was expected, and {x!r} was given.")
    return array
