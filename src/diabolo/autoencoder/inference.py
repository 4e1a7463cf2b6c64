"""Arrays through a trained model: NumPy in, NumPy out, the same answer every time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from diabolo.config import require
from diabolo.datasets import Store
from diabolo.devices import DTYPES, choose_device, compute_alone_after_fork, keep_freed_memory
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.evaluation.scores import surprise
from diabolo.evaluation.terms import CHUNK, evaluate, evaluating
from diabolo.models.engine import ENGINES, Arithmetic, Engine, FusedEngine, answering, engine_of
from diabolo.models.model import Model
from diabolo.models.priors.own import CodePrior
from diabolo.storage import images

__all__ = ["Inference"]

MAPPED = 2**15  # values of examples that go through convolutions at a time
LEAST = 16  # examples that are computed at a time


class Inference:
    """A trained model between arrays and codes.

    Args:
        model: the trained model.
        device: where it computes; `auto` takes a GPU where there is one.
        precision: of wide layers; in bf16 answers are good to two or three digits.
        engine: computes the layers: torch, fused, or auto, the faster one on this machine, see `Settings`.

    Raises:
        ConfigError: there is no such device, precision or engine.

    >>> from diabolo.autoencoder.inference import Inference
    >>> Inference(model.model, engine="torch").latent_dim
    2
    """

    def __init__(
        self,
        model: Model,
        device: str = "auto",
        precision: Literal["float32", "bf16"] = "float32",
        engine: Engine = "auto",
    ) -> None:
        require(precision in DTYPES, "precision", f"one of {', '.join(DTYPES)}", precision)
        require(engine in ENGINES, "engine", f"one of {', '.join(ENGINES)}", engine)
        self.model = model.to(choose_device(device)).eval()
        self.model.use_channels_last()  # whatever layout it was trained in, it answers in this one
        self._device = next(self.model.parameters()).device
        fused = engine_of(engine, self._device) == "fused"
        self._arithmetic = Arithmetic(DTYPES[precision], FusedEngine() if fused else None)
        if not self.model.training and self.model.epoch == math.inf:  # nobody trains it
            self.model.evaluation_arithmetic = self._arithmetic
        keep_freed_memory()
        compute_alone_after_fork()
        self._chunk = CHUNK
        if self.model.channels_last and self._device.type == "cpu":  # maps of many channels, to be kept in its caches
            self._chunk = max(LEAST, MAPPED // self.model.preprocess.values // LEAST * LEAST)

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
        """The dimensions of the latent code, d."""
        return self.model.latent_dim

    @property
    def own_prior(self) -> CodePrior | None:
        """The density that it was trained to hold its codes near, if its variant has one."""
        return self.model.objective.prior()

    @property
    def has_prior(self) -> bool:
        """Whether it was trained to hold its codes near a prior."""
        return self.own_prior is not None

    @property
    def has_bound(self) -> bool:
        """Whether it has an evidence lower bound: codes with a density, and a prior."""
        return self.has_density and self.has_prior

    @property
    def has_density(self) -> bool:
        """Whether the code of an example, q(z | x), is a distribution with a density rather than a point."""
        return self.model.objective.posterior_family.density

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Examples, (n, *event), as they are drawn: uint8 (n, H, W) or (n, H, W, 3).

        Raises:
            ShapeError: they are no images.

        >>> model.pixels(x[:2]).dtype
        dtype('uint8')
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

        >>> model.encode(x).shape
        (80, 2)
        >>> drawn = model.encode(x, sample=True, seed=0)
        """
        return self._codes(x, self._generator(seed) if sample else None)

    def decode(self, z: Any) -> np.ndarray:
        """The examples that codes stand for: the mean of p(x | z), (n, *event), float32.

        Args:
            z: (n, d).

        Raises:
            ShapeError: the codes do not have d numbers.
            DataError: a code is not finite.

        >>> model.decode([[0.0, 0.0]]).shape
        (1, 6, 6)
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
        return self._map(self._decode, codes, self.event_shape, least=1)  # one picture, at once

    def reconstruct(self, x: Any) -> np.ndarray:
        """Examples through the latent code and back, (n, *event), float32; the same as `decode(encode(x))`.

        >>> model.reconstruct(x[:3]).shape
        (3, 6, 6)
        """
        return self.decode(self.encode(x))

    def corrupt(self, x: Any, *, seed: int = 0) -> np.ndarray:
        """Examples with the noise put on that a denoising model is trained to remove, (n, *event), float32.

        Args:
            x: (n, *event), clean.
            seed: of the noise.

        Raises:
            ConfigError: this variant has no noise.

        >>> denoiser = diabolo.train(x, model="denoising", latent_dim=2, widths=(8,), epochs=1)
        >>> denoiser.corrupt(x[:2], seed=0).shape
        (2, 6, 6)
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

    def denoise(self, x: Any) -> np.ndarray:
        """Noisy examples, cleaned: through the latent code and back, (n, *event), float32.

        The same as `reconstruct`, but pixels may lie outside [0, 1] as noise leaves them. A model that was trained to
        denoise (model='denoising') does best at the kind and strength of noise that it was trained on.

        Args:
            x: (n, *event), noisy.

        >>> noisy = x[:2] / 255 + 0.1
        >>> model.denoise(noisy).shape
        (2, 6, 6)
        """
        return self.decode(self._codes(x, noisy=True))

    def surprise(self, x: Any) -> np.ndarray:
        """Where an example departs from what the model makes of it: nats of each value, (n, *event), float32.

        Each is what a value costs at the code's mean, above the least that the likelihood could give it: zero where the
        reconstruction is exact. Their sum is the `surprise` score.

        Args:
            x: (n, *event).

        >>> bool((model.surprise(x[:2]) >= 0).all())
        True
        """
        to_layout = self.model.preprocess.to_layout
        return self._map(lambda part: to_layout(surprise(self.model, part)), self._checked(x), self.event_shape)

    def loss_terms(self, x: Any, *, seed: int = 0) -> dict[str, float]:
        """The terms of the training loss, averaged over examples.

        `loss` and each term are in nats per example, `mse` is per value; `bits_per_dim` is the bound in bits per value.

        Args:
            x: (n, *event).
            seed: of the codes' noise and of any corruption; the same seed gives the same numbers.

        >>> sorted(model.loss_terms(x))
        ['bits_per_dim', 'kl', 'loss', 'mse', 'reconstruction']
        """
        with answering(self._arithmetic):
            return evaluate(self.model, self._checked(x), seed=seed).averages

    # Inside

    def _decode(self, z: Tensor) -> Tensor:
        return self.model.preprocess.undo(self.model.likelihood.mean(self.model.decode(z)))

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator(device=self.device)
        generator.manual_seed(seed) if seed is not None else generator.seed()
        return generator

    def _codes(self, x: Any, generator: torch.Generator | None = None, *, noisy: bool = False) -> np.ndarray:
        preprocess = self.model.preprocess
        noisy = noisy or hasattr(self.model.objective, "corrupt")
        examples = self._read(x)
        preprocess.check_shape(examples.shape)
        preprocess.check(examples[:0])

        def codes(batch: Tensor) -> Tensor:
            # Values are looked at while they are in the caches: three passes over all of them take as long as encoding.
            if batch.is_floating_point() and batch.numel():
                least, largest = torch.aminmax(batch)
                if not preprocess.accepts(least.item(), largest.item(), noisy=noisy):
                    preprocess.check(batch.cpu().numpy() if isinstance(x, Store) else examples, noisy=noisy)
            code = self.model.encode(self.model.prepare(batch))
            return code.mean if generator is None else code.sample(generator)

        return self._map(codes, examples, (self.latent_dim,))

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """A context in which the model is evaluated, in this one's arithmetic, though it be in training."""
        is_trained = self.model.training or self.model.epoch != math.inf
        with answering(self._arithmetic), evaluating(self.model, 0) if is_trained else contextlib.nullcontext():
            yield

    def _checked(self, x: Any) -> np.ndarray:
        array = self._read(x)
        if isinstance(x, Store):  # it is read, and its values checked, chunk by chunk
            self.model.preprocess.check_shape(x.shape)
        else:
            self.model.preprocess.check(array, noisy=hasattr(self.model.objective, "corrupt"))
        return array

    def _read(self, x: Any) -> np.ndarray:
        """Examples as an array of bytes or float32, or as the store that they are."""
        if isinstance(x, Store):
            return cast(np.ndarray, x)
        array = _array(x)
        if array.dtype not in (np.uint8, np.float32):
            array = array.astype(np.float32) if array.dtype.kind in "fiub" else array
        return array

    def _batches(self, x: np.ndarray) -> Iterator[Tensor]:
        """Chunks of examples or latent codes on the device.

        They are lent and not copied where nothing would write into them: in an array that is aligned, in order and
        writeable, by layers that make new tensors.
        """
        flags = getattr(x, "flags", None)  # which a store has none of
        lends = self._device.type == "cpu" and flags is not None and flags.carray
        lends = lends and all(map(_leaves_input, (self.model.encoder, self.model.decoder)))
        for start in range(0, len(x), self._chunk):
            part = x[start : start + self._chunk]
            yield torch.from_numpy(part if lends else np.array(part)).to(self._device)

    @torch.no_grad()
    def _map(
        self, function: Callable[[Tensor], Tensor], x: np.ndarray, shape: tuple[int, ...], least: int = LEAST
    ) -> np.ndarray:
        """`function` over chunks of x on the device; the results in one array, (n, *shape).

        Few examples are computed beside repetitions of themselves, `least` in all: the kernels for small matrices round
        otherwise, and an example's result would depend on how many others there are.
        """

        def answered(batch: Tensor) -> np.ndarray:
            count = batch.shape[0]
            if 0 < count < least:
                batch = batch[torch.arange(least, device=batch.device) % count]
            return function(batch)[:count].cpu().numpy()

        with self._evaluating():
            if len(x) == 1:
                return np.array(answered(next(self._batches(x))), np.float32)
            out = np.empty((len(x), *shape), np.float32)
            size = self._chunk
            for number, batch in enumerate(self._batches(x)):
                out[number * size : (number + 1) * size] = answered(batch)
        return out


def _leaves_input(module: nn.Module) -> bool:
    """Whether a module is sure not to write into its input: behind views, its first layer makes a new tensor."""
    layer = module
    while type(layer) is nn.Sequential and not (layer._forward_hooks or layer._forward_pre_hooks):
        children = (child for child in layer if type(child) not in (nn.Flatten, nn.Identity, nn.Unflatten))
        layer = next(children, nn.Identity())
    if type(layer) not in (nn.Linear, nn.Conv1d, nn.Conv2d) or "forward" in vars(layer):
        return False
    return not layer._forward_pre_hooks


def _array(x: Any) -> np.ndarray:
    """A list, a NumPy array, a torch tensor or a sparse matrix, as a NumPy array."""
    if isinstance(x, Tensor):
        x = x.detach().cpu().numpy()
    elif hasattr(x, "toarray"):
        x = x.toarray()
    array = np.asarray(x)
    if array.ndim == 0:
        raise ShapeError(f"An array of examples or codes was expected, and {x!r} was given.")
    return array
