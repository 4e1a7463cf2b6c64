"""Arrays through a trained model: NumPy in, NumPy out, the same answer every time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from diabolo._border import checked_methods
from diabolo._words import whole_number
from diabolo.autoencoder.examples import as_dataset, codes_of, scaled
from diabolo.autoencoder.packed import packed, unpacked
from diabolo.config import require
from diabolo.datasets import Dataset, Store, as_store
from diabolo.datasets._arrays import as_examples
from diabolo.datasets._mixed import decoded
from diabolo.devices import DTYPES, choose_device, compute_alone_after_fork, keep_freed_memory
from diabolo.errors import ConfigError, DataError, DivergedError, ShapeError, short
from diabolo.evaluation.scores import surprise
from diabolo.evaluation.terms import CHUNK, evaluate, evaluating, labels_at
from diabolo.models.distributions import Posterior
from diabolo.models.engine import ENGINES, Arithmetic, Engine, FusedEngine, answering, engine_of
from diabolo.models.model import Model
from diabolo.models.objectives import Batch, checked_labels, labels_of
from diabolo.models.own_modules import blamed
from diabolo.models.portable import deep_copied
from diabolo.models.priors.own import CodePrior
from diabolo.models.summary import Summary, summary_of
from diabolo.storage import images
from diabolo.storage.foreign import as_array

__all__ = ["Inference", "Places"]

MAPPED = 2**15  # values of examples that go through convolutions at a time
LEAST = 16  # examples that are computed at a time


@checked_methods
class Inference:
    """A trained model between arrays and codes.

    Args:
        model: the trained model.
        device: where it computes; `auto` takes a GPU where there is one.
        precision: of wide layers; in bf16 answers are good to two or three digits.
        engine: computes the layers: torch, fused, or auto, the faster one on this machine, see `Settings`.

    Attributes:
        label: the class, by name or number, that examples and codes are taken to have where none is given; for models
            that take labels.

    Raises:
        ConfigError: there is no such device, precision or engine.

    >>> from diabolo.autoencoder.inference import Inference
    >>> Inference(model.model, engine="torch").latent_dim
    2
    """

    info: dict[str, Any] = {}  # noqa: RUF012 (of its own in each that has one)

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
        self.label: str | int | None = None
        self.said = set(self.info.get("data", {}).get("notes", ()))
        self._are_weights_checked = False
        keep_freed_memory()
        compute_alone_after_fork()
        self._chunk = CHUNK
        if self.model.channels_last and self._device.type == "cpu":  # maps of many channels, to be kept in its caches
            self._chunk = max(LEAST, MAPPED // self.model.preprocess.values // LEAST * LEAST)

    # As a plain value

    def __getstate__(self) -> dict[str, Any]:
        dtype, engine = self._arithmetic
        return {name: value for name, value in vars(self).items() if name != "model" and not name.startswith("_")} | {
            "model": packed(self.model),
            "device": str(self._device),
            "precision": next(name for name, known in DTYPES.items() if known == dtype),
            "engine": "torch" if engine is None else "fused",
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        device, precision, engine = (state.pop(name) for name in ("device", "precision", "engine"))
        try:
            choose_device(device)
        except ConfigError:  # this machine lacks the one of training
            device = "auto"
        Inference.__init__(self, unpacked(state.pop("model")), device, precision, engine)
        vars(self).update(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return deep_copied(self, memo)

    # What it is

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.model.preprocess.event_shape

    @property
    def layout(self) -> str:
        """What the axes of an example are: F, LC, CL, HW, HWC, CHW, DHW, CDHW, THWC, TCHW or any."""
        return self.model.preprocess.layout

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns that it was trained on, in their order; () where they had none."""
        return tuple(self.info.get("data", {}).get("features", ()))

    @property
    def latent_dim(self) -> int:
        """The dimensions of the latent code, d."""
        return self.model.latent_dim

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of a latent code: (d,), or (c, h, w) where it has places."""
        return self.model.code_shape

    @property
    def labels(self) -> Literal["none", "partial", "required"]:
        """Which classes it takes with its examples."""
        return self.model.objective.labels

    @property
    def own_prior(self) -> CodePrior | None:
        """The density that it was trained to hold its codes near, if its variant has one."""
        return self.model.prior()

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

    def table(self, x: Any) -> dict[str, np.ndarray]:
        """Examples of a table, (n, d), as columns by the names of its source.

        Where the training had columns of mixed kinds (`mixed=True`), categories come by their names, booleans as true
        and false, dates as datetime64.

        Raises:
            ShapeError: they are no rows of this model's table.

        >>> rows = diabolo.open_dataset({"data": np.eye(3), "feature_names": ["a", "b", "c"]})
        >>> small = diabolo.train(rows, latent_dim=1, widths=(8,), epochs=1, validation=0, test=0)
        >>> list(small.table(small.reconstruct(rows)))
        ['a', 'b', 'c']
        """
        rows, codes = _array(x), codes_of(self)
        if self.layout != "F" or rows.shape[1:] != self.event_shape:
            raise ShapeError(
                f"The model's examples have the shape {self.event_shape} and the layout {self.layout}: an array of "
                f"shape {rows.shape} holds no rows of its table."
            )
        if codes:
            return decoded(codes, rows)
        names = self.features or tuple(str(place) for place in range(rows.shape[1]))
        return {name: rows[:, place] for place, name in enumerate(names)}

    # What it does

    def encode(
        self, x: Any, y: Any = None, *, sample: bool = False, seed: int | None = None, flat: bool = False
    ) -> np.ndarray:
        """The codes of examples, (n, d), float32: the mean of the posterior, the same at every call.

        Args:
            x: (n, *event); or a `Dataset`, whose labels come with it.
            y: (n,), the classes of the examples, by name or number, where the model takes labels.
            sample: draw from the posterior instead.
            seed: of the draws; needed to repeat them.
            flat: codes as rows where they have places, (n, c * h * w); they are (n, c, h, w) otherwise.

        Raises:
            ShapeError, DataError: x or y is not what the model reads.
            ConfigError: the model takes labels, and there are none.

        >>> model.encode(x).shape
        (80, 2)
        >>> drawn = model.encode(x, sample=True, seed=0)
        """
        generator = self._generator(seed) if sample else None
        codes = self._codes(x, y, None if generator is None else lambda code: code.sample(generator))
        return codes if flat else codes.reshape(-1, *self.code_shape)

    def posterior(self, x: Any, y: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the standard deviation of q(z | x), (n, d) each, float32; of a code that is a point, 0.

        Args:
            x: as for `encode`.
            y: likewise.

        Raises:
            ConfigError: the variant's posterior is of its own kind, and has no deviation.

        >>> mean, deviation = model.posterior(x)
        >>> bool((mean == model.encode(x)).all()), bool((deviation > 0).all())
        (True, True)
        """

        def both(code: Posterior) -> Tensor:
            if code.deviation is None and code.density:
                raise ConfigError(
                    f"A posterior of {type(code).__name__} has no deviation: encode(sample=True) draws from it."
                )
            return torch.stack(
                [code.mean, torch.zeros_like(code.mean) if code.deviation is None else code.deviation], 1
            )

        codes = self._codes(x, y, both, 2)
        mean, deviation = (codes[:, part].reshape(-1, *self.code_shape) for part in range(2))
        return mean, deviation

    def summary(self) -> Summary:
        """The layers of the encoder and the decoder: what each gives for an example, and its parameters; a table.

        >>> model.summary()
        layer ...
        """
        with self._evaluating():
            return summary_of(self.model)

    def decode(self, z: Any = None, y: Any = None, *, tokens: Any = None) -> np.ndarray:
        """The examples that codes stand for: the mean of p(x | z), (n, *event), float32.

        Codes that no example can have, between the entries of a codebook, are decoded as the nearest that one can.

        Args:
            z: (n, d), or (n, c, h, w) where codes have places; where a code has levels also the upper one alone.
            y: (n,), the classes of the examples, where the model takes labels.
            tokens: (n, positions, levels), in the place of codes: see `tokens`.

        Raises:
            ShapeError: the codes do not have d numbers.
            DataError: a code is not finite, or a token is not in the codebook.
            ConfigError: the model takes labels, and there are none.

        >>> model.decode([[0.0, 0.0]]).shape
        (1, 6, 6)
        """
        if (z is None) == (tokens is None):
            raise ConfigError("decode takes codes, or tokens: give one of the two.")
        codes = self.codes_of(tokens) if z is None else _array(z)
        if len(self.code_shape) > 1 and codes.shape[1:] == self.code_shape:
            codes = codes.reshape(len(codes), -1)
        if codes.ndim == 2 and codes.shape[1:] == self._upper:
            codes = self.completed(codes)
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim:
            raise ShapeError(
                f"A code of this model has {self.latent_dim} numbers: decode expects the shape (n, "
                f"{', '.join(map(str, self.code_shape))}), and was given {codes.shape}."
            )
        if codes.dtype.kind not in "fiub":
            raise DataError(f"decode expects codes of numbers, and was given an array of {codes.dtype}.")
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
            codes = codes.astype(np.float32)
        if not np.isfinite(codes).all():
            raise DataError("A code holds NaN or infinite numbers; decode expects finite ones.")
        labels = self._classes(y, len(codes))
        return self._map(
            self._decode, codes, self.event_shape, least=1, y=labels, dtype=self._dtype
        )  # one picture, at once

    def tokens(self, x: Any, y: Any = None) -> np.ndarray:
        """The codes of examples as the numbers of codebook entries, (n, positions, levels), int64.

        Args:
            x: (n, *event).
            y: (n,), the classes of the examples, where the model takes labels.

        Raises:
            ConfigError: the codes of this model are no tokens.

        >>> quantised = diabolo.train(x, model="vq", latent_dim=8, positions=4, codes=8, widths=(8,), epochs=1)
        >>> found = quantised.tokens(x[:2])
        >>> found.shape, bool((quantised.decode(tokens=found) == quantised.reconstruct(x[:2])).all())
        ((2, 4, 1), True)
        """
        code = self.model.passed(torch.zeros(1, *self.model.preprocess.model_shape, device=self._device))[0]
        if code.index is None:
            raise ConfigError("The codes of this model are no tokens: it has no codebook (model='vq' has).")

        def found(batch: Tensor, labels: Tensor | None) -> Tensor:
            index = self.model.encode(self.model.prepare(batch), labels).index
            assert index is not None  # noqa: S101 (as of the example above)
            return index

        x, known = self._taken(x, y)
        return self._map(found, self._checked(x), tuple(code.index.shape[1:]), y=known, dtype=np.int64)

    @torch.no_grad()
    def completed(self, upper: Any) -> np.ndarray:
        """The codes, (n, d), of their upper level alone, (n, less than d): the lower one is what it expects.

        Raises:
            ShapeError: codes of this model have no levels, or other ones.

        >>> levels = diabolo.train(x, model="hierarchical", latent_dim=3, upper=1, widths=(8,), epochs=1)
        >>> levels.completed([[0.0], [1.0]]).shape
        (2, 3)
        """
        array = _array(upper)
        if not self._upper or array.ndim != 2 or array.shape[1:] != self._upper:
            expected = f"(n, {self._upper[0]})" if self._upper else "no such: its codes have one level"
            raise ShapeError(f"An upper level of codes of this model has the shape {expected}, and was {array.shape}.")
        z = torch.from_numpy(array.astype(np.float32)).to(self._device)
        codes: np.ndarray = self.model.objective.completed(z).cpu().numpy()
        return self._finite(codes)

    @property
    def _upper(self) -> tuple[int, ...]:
        """The numbers of the upper level of a code, where it has levels."""
        return tuple(size for _, size in self.model.objective.sections[-1:])

    @torch.no_grad()
    def codes_of(self, tokens: Any) -> np.ndarray:
        """The codes, (n, d), float32, that are written with these entries of the codebook, (n, positions, levels).

        Raises:
            ConfigError: the codes of this model are no tokens.
            ShapeError, DataError: the tokens are not of its shape, or not in its codebook.

        >>> quantised = diabolo.train(x, model="vq", latent_dim=8, positions=4, codes=8, widths=(8,), epochs=1)
        >>> quantised.codes_of(np.zeros((2, 4, 1), int)).shape
        (2, 8)
        """
        array = _array(tokens)
        if array.dtype.kind not in "iu":
            raise DataError(
                f"Tokens are whole numbers, the places of entries in a codebook, and these are {array.dtype}."
            )
        tokens = torch.from_numpy(array.astype(np.int64)).to(self._device)
        codes: np.ndarray = self.model.objective.from_tokens(tokens).float().cpu().numpy()
        return self._finite(codes)

    def reconstruct(self, x: Any, y: Any = None) -> np.ndarray:
        """Examples through the latent code and back, (n, *event), float32; the same as `decode(encode(x))`.

        >>> model.reconstruct(x[:3]).shape
        (3, 6, 6)
        """
        x, y = self._taken(x, y)
        return self.decode(self._codes(x, y), y)

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
        generator, corrupt = self._generator(seed), self.model.objective.corrupt
        corrupt(torch.zeros(1, *self.model.preprocess.model_shape))  # or the error that says that it has none

        def noisy(batch: Tensor, _: Tensor | None) -> Tensor:
            return self.model.preprocess.undo(corrupt(self.model.prepare(batch), generator))

        return self._map(noisy, self._checked(x), self.event_shape, dtype=self._dtype)

    def denoise(self, x: Any, y: Any = None) -> np.ndarray:
        """Noisy examples, cleaned: through the latent code and back, (n, *event), float32.

        The same as `reconstruct`, but pixels may lie outside [0, 1] as noise leaves them. A model that was trained to
        denoise (model='denoising') does best at the kind and strength of noise that it was trained on.

        Args:
            x: (n, *event), noisy.
            y: (n,), the classes of the examples, where the model takes labels.

        >>> noisy = x[:2] / 255 + 0.1
        >>> model.denoise(noisy).shape
        (2, 6, 6)
        """
        x, y = self._taken(x, y)
        return self.decode(self._codes(x, y, noisy=True), y)

    def surprise(self, x: Any, y: Any = None) -> np.ndarray:
        """Where an example departs from what the model makes of it: nats of each value, (n, *event), float32.

        Each is what a value costs at the code's mean, above the least that the likelihood could give it: zero where the
        reconstruction is exact. Their sum is the `surprise` score.

        Args:
            x: (n, *event).
            y: (n,), the classes of the examples, where the model takes labels.

        >>> bool((model.surprise(x[:2]) >= 0).all())
        True
        """
        to_layout = self.model.preprocess.to_layout

        def found(batch: Tensor, labels: Tensor | None) -> Tensor:
            return to_layout(surprise(self.model, Batch(batch, labels)))

        x, known = self._taken(x, y)
        return self._map(found, self._checked(x), self.event_shape, y=known)

    def loss_terms(self, x: Any, y: Any = None, *, seed: int = 0) -> dict[str, float]:
        """The terms of the training loss, averaged over examples.

        `loss` and each term are in nats per example, `mse` is per value; `bits_per_dim` is the bound in bits per value.

        Args:
            x: (n, *event).
            y: (n,), the classes of the examples, where the model takes labels.
            seed: of the codes' noise and of any corruption; the same seed gives the same numbers.

        >>> sorted(model.loss_terms(x))
        ['bits_per_dim', 'kl', 'loss', 'mse', 'reconstruction']
        """
        x, known = self._taken(x, y)
        examples = self._checked(x)
        with answering(self._arithmetic):
            averages = evaluate(self.model, examples, seed=seed, y=known).averages
            self._finite(
                np.array([list(averages.values())]), lambda: evaluate(self.model, examples, seed=seed, y=known)
            )
        return averages

    # Inside

    def _decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        z = self.model.objective.nearest(z)
        return self.model.preprocess.undo(self.model.likelihood.mean(self.model.decode(z, y)))

    def labels_of(self, dataset: Dataset) -> np.ndarray | None:
        """The labels of a data set as this model numbers its classes, (N,) int64; None where it takes none.

        Raises:
            ConfigError, DataError: it requires labels, and there are none, or of other classes.

        >>> model.labels_of(diabolo.open_dataset(x)) is None
        True
        """
        if dataset.y is None and self.label is not None:
            return self._classes(None, len(dataset))
        places = labels_of(self.model.objective, dataset.y, dataset.classes, len(dataset), dataset.name)
        return None if places is None else places.view(Places)

    def _taken(self, x: Any, y: Any) -> tuple[Any, np.ndarray | None]:
        """Examples, and their labels where the model takes some; those of a `Dataset` come with it."""
        x = as_dataset(self, x)
        if isinstance(x, Dataset):
            y, x = self.labels_of(x) if y is None else y, x.x
        x = x if isinstance(x, Store) else _array(x)
        return x, self._classes(y, len(x))

    def _classes(self, y: Any, count: int) -> np.ndarray | None:
        """The labels of some examples or codes, (n,) int64, where the model takes labels."""
        if self.labels == "none":
            if y is not None:
                raise ConfigError("This model learned without labels and takes none: leave y out.")
            return None
        if y is None and self.label is not None:
            y = np.repeat(self.label, count)
        if y is not None and not isinstance(y, Places):
            y = _named(as_array("y", y), self.model.objective.space.classes)
        places = checked_labels(self.model.objective, y, count)
        return None if places is None else places.view(Places)  # once they are places, they stay so

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator(device=self.device)
        generator.manual_seed(seed) if seed is not None else generator.seed()
        return generator

    def _codes(
        self,
        x: Any,
        y: Any = None,
        answer: Callable[[Posterior], Tensor] | None = None,
        each: int = 1,
        *,
        noisy: bool = False,
    ) -> np.ndarray:
        """The means of the posteriors of examples, (n, d), or another `answer` of theirs, (n, each, d)."""
        preprocess = self.model.preprocess
        noisy = noisy or self.model.objective.corrupts
        x, known = self._taken(x, y)
        examples = self._read(x)
        preprocess.check_shape(examples.shape)
        preprocess.check(examples[:0])

        def codes(batch: Tensor, labels: Tensor | None) -> Tensor:
            # Values are looked at while they are in the caches: three passes over all of them take as long as encoding.
            if batch.is_floating_point() and batch.numel():
                least, largest = torch.aminmax(batch)
                if not preprocess.accepts(least.item(), largest.item(), noisy=noisy):
                    preprocess.check(batch.cpu().numpy() if isinstance(x, Store) else examples, noisy=noisy)
            code = self.model.encode(self.model.prepare(batch), labels)
            return code.mean if answer is None else answer(code)

        return self._map(codes, examples, (self.latent_dim,) if each == 1 else (each, self.latent_dim), y=known)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """A context in which the model is evaluated, in this one's arithmetic, though it be in training."""
        is_trained = self.model.training or self.model.epoch != math.inf
        if is_trained or not self._are_weights_checked:  # infinite ones may give finite answers, behind a ReLU
            self._check_weights()
            self._are_weights_checked = True
        with answering(self._arithmetic), evaluating(self.model, 0) if is_trained else contextlib.nullcontext():
            yield

    def _checked(self, x: Any) -> np.ndarray:
        array = self._read(x)
        if as_store(array) is not None:  # it is read, and its values checked, chunk by chunk
            self.model.preprocess.check_shape(array.shape)
        else:
            self.model.preprocess.check(array, noisy=self.model.objective.corrupts)
        return array

    def _read(self, x: Any) -> np.ndarray:
        """Examples as an array of bytes or float32, or as the store that they are."""
        x = as_dataset(self, x)
        x = x.x if isinstance(x, Dataset) else x
        if isinstance(x, Store):
            return cast(np.ndarray, x)
        array = scaled(self, _array(x))
        if array.dtype not in (np.uint8, self._dtype):
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
                array = array.astype(self._dtype) if array.dtype.kind in "fiub" else array
        return array

    @property
    def _dtype(self) -> type[np.floating[Any]]:
        """Of examples: float64 where float32 would lose what tells them apart."""
        return np.float64 if self.model.preprocess.exact else np.float32

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
            yield torch.from_numpy(part if lends else np.array(part, order="C")).to(self._device)

    @torch.no_grad()
    def _map(
        self,
        function: Callable[[Tensor, Tensor | None], Tensor],
        x: np.ndarray,
        shape: tuple[int, ...],
        least: int = LEAST,
        y: np.ndarray | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> np.ndarray:
        """`function` over chunks of x, and of y, on the device; the results in one array, (n, *shape).

        Few examples are computed beside repetitions of themselves, `least` in all: the kernels for small matrices round
        otherwise, and an example's result would depend on how many others there are.
        """
        size = self._chunk

        def answered(batch: Tensor, number: int = 0) -> np.ndarray:
            count = batch.shape[0]
            rows = slice(number * size, number * size + count)
            labels = None if y is None else labels_at(y, rows, self._device)
            if 0 < count < least:
                places = torch.arange(least, device=batch.device) % count
                batch, labels = batch[places], None if labels is None else labels[places]
            with self.model.naming(batch):
                return function(batch, labels)[:count].cpu().numpy()

        with self._evaluating():
            if len(x) == 1:
                out = np.array(answered(next(self._batches(x))), dtype)
            else:
                out = np.empty((len(x), *shape), dtype)
                for number, batch in enumerate(self._batches(x)):
                    out[number * size : (number + 1) * size] = answered(batch, number)
            return self._finite(out, lambda: [answered(*part[::-1]) for part in enumerate(self._batches(x))])

    def _finite(self, results: np.ndarray, again: Callable[[], object] | None = None) -> np.ndarray:
        """Results as they are, where all are finite; computed `again` to tell why not.

        Raises:
            DivergedError: some are not, since weights are not.
            DataError: some are not, though the weights are.
        """
        if np.isfinite(results).all():
            return results
        self._check_weights()
        wrong = ~np.isfinite(results).reshape(len(results), -1).all(1)
        why = blamed(self.model, again) if again is not None else ""
        raise DataError(
            f"{np.count_nonzero(wrong):,} of {len(results):,} results are NaN or infinite, row {wrong.argmax()} first: "
            f"{why or 'those examples or codes lie too far from what the model was trained on.'} Leave them out, or "
            "scale them."
        )

    def _check_weights(self) -> None:
        """Raises a DivergedError where a weight is NaN or infinite."""
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise DivergedError(
                    f"The weights of this model hold NaN or infinite numbers ({name} is the first), so that nothing it "
                    "answers has a meaning: its training diverged, or its file was changed. Restore it, or train again "
                    "with a smaller lr."
                )


class Places(np.ndarray):
    """Labels that are places in the list of a model's classes, whatever these are called."""


def _named(y: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Labels by name, where they are numbers and the classes are called by other numbers than their places."""
    is_numbered = all(whole_number(name.removeprefix("-")) is not None for name in classes)
    if y.dtype.kind not in "iu" or not is_numbered or list(classes) == [str(place) for place in range(len(classes))]:
        return y
    places = {int(name): place for place, name in enumerate(classes)}
    unknown = [number for number in np.unique(y).tolist() if number not in places and number != -1]
    if unknown:
        raise DataError(f"There is no class {unknown[0]}: the classes are {', '.join(classes[:20])}.")
    numbers: np.ndarray = np.array([places.get(number, -1) for number in y.ravel().tolist()]).reshape(y.shape)
    return numbers


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
    """A list, a NumPy array, a torch tensor or a sparse matrix, as a NumPy array of this machine's numbers."""
    array = x if type(x) is np.ndarray and x.dtype.kind in "fiub" else as_examples(x)
    if array.ndim == 0:
        raise ShapeError(f"An array of examples or codes was expected, and {short(x)} was given.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
