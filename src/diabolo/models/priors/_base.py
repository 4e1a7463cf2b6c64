"""`Prior`, the base class of all kinds of priors: standardisation, checks, saving."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch

from diabolo._border import checked_methods
from diabolo.config import Registry, as_whole_number, configuration, require
from diabolo.errors import ConfigError, DataError, DivergedError, RunError, ShapeError
from diabolo.models.priors._gaussians import factor_of, log_density
from diabolo.models.priors.own import CodePrior
from diabolo.storage.checkpoint import save_tensors

__all__ = ["FORMAT", "Arrays", "Prior", "at_least", "check_shapes", "priors"]

FORMAT = 1  # of the file of a prior; raised when an older diabolo could not read it
CHUNK = 10_000  # latent codes at a time
CONSTANT = 1e-5  # a dimension is constant where its deviation is below this share of all dimensions'
PRECISION = 1e-6  # or below this share of its own mean: float32 resolves no less

Arrays = dict[str, np.ndarray]


@checked_methods
class Prior(CodePrior):
    """A density on latent codes of d numbers, fitted to some.

    It wears the face of a variant's own prior (`CodePrior`): what takes the one takes the other.

    Each kind is fitted to codes that are standardised to mean 0 and deviation 1 in each dimension, and its density is
    scaled back. A constant dimension has no density; it gets N(mean, s^2), where s is a hundred-thousandth of the root
    mean square of all dimensions' deviations, or a millionth of its mean where that is more.

    A kind of one's own gives `kind`, `_fit`, `_shapes`, `_draw` and `_log_prob`, all on standardised codes.

    Attributes:
        kind: the name of the kind, as a person reads it.
        of_tokens: whether it is fitted to tokens, which a codebook has, rather than to codes.
        baselines: the numbers of `info` that it is compared with, in words.
        info: a description of the fit, ready for JSON: `count` and `dim` of the codes, `seed`, and mean log-likelihoods
            in nats per code: `fitted`, of the codes of the fit, and `held_out`, of the tenth that was held out; on that
            tenth also those of N(0, I) and of a Gaussian of full covariance (`held_out_standard_normal`,
            `held_out_gaussian`). Fewer than 10 codes leave none to hold out, and these three are None. `notes` are
            sentences.

    >>> from diabolo.models.priors import GaussianPrior
    >>> prior = GaussianPrior().fit(np.random.default_rng(0).standard_normal((100, 2)))
    >>> prior.info["count"], prior.log_prob([[0.0, 0.0]]).shape
    (100, (1,))
    """

    kind: ClassVar[str]
    of_tokens: ClassVar[bool] = False
    baselines: ClassVar[dict[str, str]] = {
        "held_out_standard_normal": "N(0, I)",
        "held_out_gaussian": "full Gaussian",
    }
    info: dict[str, Any]
    _arrays: Arrays | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """What a person calls it."""
        return f"a fitted {self.kind}"

    def fit(self, codes: Any, seed: int = 0, entries: int | None = None) -> Self:
        """Fits the density to nine tenths of some codes; the same codes and seed give the same density.

        Args:
            codes: (n, d), finite.
            seed: of the choice of the tenth that is held out, and of the fit.
            entries: of a codebook; for tokens alone.

        Raises:
            ShapeError: codes of another shape.
            DataError: too few codes, codes that are all the same, or codes that are not finite.
        """
        require(as_whole_number("seed", seed) >= 0, "seed", "a number of at least 0", seed)
        codes = _checked(codes)
        count, dim = codes.shape
        self._check_count(count, dim)
        rng = np.random.default_rng(seed)
        order = rng.permutation(count)
        held_out, fitted = codes[order[: count // 10]], codes[order[count // 10 :]]
        mean, scale, constant = _standard(fitted)
        u, v = (fitted - mean) / scale, (held_out - mean) / scale
        # Noise in place of a constant: with no variance at all the covariance of a fit would be singular.
        for part in (u, v):
            part[:, constant] = rng.standard_normal((len(part), int(constant.sum())))
        own, notes = self._fit(u, v, seed)
        self._arrays = {"mean": mean, "scale": scale, **own}
        if constant.any():
            notes = [*notes, f"{constant.sum()} of {dim} dimensions are constant, and are drawn next to their mean"]
        gaussian = log_density((held_out - mean) / scale, np.zeros(dim), factor_of(u)) - np.log(scale).sum()
        self.info = {
            "count": count,
            "dim": dim,
            "seed": seed,
            "fitted": _average(self.log_prob(fitted)),
            "held_out": _average(self.log_prob(held_out)),
            "held_out_standard_normal": _average(log_density(held_out, np.zeros(dim), np.ones(dim))),
            "held_out_gaussian": _average(gaussian),
            "notes": notes,
        }
        return self

    def sample(self, n: int, seed: int | None = None) -> np.ndarray:
        """Latent codes drawn from the density, (n, d), float32.

        Args:
            n: how many.
            seed: of the draw; None draws other codes each time.

        Raises:
            DivergedError: codes that are not finite.
        """
        require(n >= 1, "n", "a number of codes of at least 1", n)
        require(seed is None or seed >= 0, "seed", "a number of at least 0", seed)
        arrays = self._fitted()
        with np.errstate(over="ignore", invalid="ignore"):
            noise = self._draw(n, np.random.default_rng(seed))
            codes: np.ndarray = (arrays["mean"] + arrays["scale"] * noise).astype(np.float32)
        if not np.isfinite(codes).all():
            raise DivergedError(
                "The prior drew codes that are not finite: it does not fit the codes well. Fit it to more codes, with "
                "a smaller lr, or take another kind."
            )
        return codes

    def draw(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        seed = (
            None if generator is None else int(torch.randint(2**31, (), generator=generator, device=generator.device))
        )
        return torch.from_numpy(self.sample(n, seed))

    def log_prob(self, codes: Any) -> Any:
        """The log-density of latent codes, (n,), float64, in nats; a tensor, without gradient, where they are one.

        Args:
            codes: (n, d), finite.

        Raises:
            ShapeError, DataError: other than codes of d finite numbers.
        """
        if isinstance(codes, torch.Tensor):
            return torch.from_numpy(self.log_prob(codes.detach().cpu().numpy())).to(codes.device, codes.dtype)
        mean, scale = self._fitted()["mean"], self._fitted()["scale"]
        codes = _checked(codes)
        if codes.shape[1] != len(mean):
            raise ShapeError(
                f"This prior is one of codes of {len(mean)} numbers: log_prob expects the shape (n, {len(mean)}), and "
                f"was given {codes.shape}."
            )
        out = np.empty(len(codes))
        for start in range(0, len(codes), CHUNK):
            part = slice(start, start + CHUNK)
            out[part] = self._log_prob((codes[part] - mean) / scale) - np.log(scale).sum()
        return out

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in configuration(self).items())
        info = getattr(self, "info", None)
        state = f"fitted to {info['count']:,} codes of {info['dim']} numbers" if info else "not fitted"
        return f"{self.kind} ({options}), {state}"

    def save(self, path: str | os.PathLike[str], weights: str = "") -> None:
        """Writes the prior to a safetensors file, as a whole or not at all; `weights` is the digest of the model's.

        Raises:
            StorageError: the file could not be written.
        """
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in self._fitted().items()}
        header = {"format": FORMAT, "prior": priors.name_of(self), "options": configuration(self), "info": self.info}
        save_tensors(path, tensors, header, weights)

    def restore(self, arrays: Arrays, info: dict[str, Any]) -> Self:
        """Sets the arrays and the `info` of a fitted prior.

        Raises:
            RunError: arrays of another kind or other options.
        """
        mean, scale = (arrays.get(name, np.empty((0, 0))) for name in ("mean", "scale"))
        if mean.ndim != 1 or mean.shape != scale.shape or not (scale > 0).all():
            raise RunError("It does not say how the codes are moved and scaled.")
        shapes = self._shapes(len(mean))
        if shapes is not None:
            check_shapes(arrays, {"mean": mean.shape, "scale": scale.shape, **shapes})
        self._arrays, self.info = dict(arrays), dict(info)
        return self

    def _fitted(self) -> Arrays:
        if self._arrays is None:
            raise ConfigError("This prior has not been fitted: call fit(codes) first.")
        return self._arrays

    def _check_count(self, count: int, dim: int) -> None:
        """Raises a DataError for fewer codes than the fit needs, a tenth of which is held out."""
        at_least(2, count, "A prior", "Give more codes.")

    @abstractmethod
    def _fit(self, codes: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[Arrays, list[str]]:
        """Fits to standardised codes, (n, d) float64; returns arrays by name, and notes."""

    @abstractmethod
    def _shapes(self, dim: int) -> dict[str, tuple[int, ...]] | None:
        """The shapes of the arrays of `_fit` by name; None where they are not known yet."""

    @abstractmethod
    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Standardised codes drawn from the density, (n, d) float64."""

    @abstractmethod
    def _log_prob(self, codes: np.ndarray) -> np.ndarray:
        """The log-density of standardised codes, (n,) float64."""


priors: Registry[Prior] = Registry("prior", Prior, "diabolo.priors")


def at_least(minimum: int, count: int, what: str, remedy: str) -> None:
    """Raises a DataError where nine tenths of `count` codes are fewer than the `minimum` of a fit."""
    if count - count // 10 < minimum:
        total = minimum + (minimum - 1) // 9
        held_out = f" ({minimum:,} to fit, the rest held out)" if total > minimum else ""
        raise DataError(f"{what} needs at least {total:,} codes{held_out}, and was given {count:,}. {remedy}")


def check_shapes(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks the arrays of a file by name and shape.

    Raises:
        RunError: an array is missing, unknown, or of another shape.
    """
    for name in sorted(arrays.keys() | shapes.keys()):
        expected = shapes.get(name, "nothing")
        received = arrays[name].shape if name in arrays else "nothing"
        if expected != received:
            raise RunError(f"For {name!r} the prior's options ask for {expected}, and its file holds {received}.")


def _checked(codes: Any) -> np.ndarray:
    """Latent codes as float64, (n, d), checked."""
    try:
        array = np.asarray(codes, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"Codes should be an array of numbers of shape (n, d): {error}.") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise ShapeError(f"Codes should have the shape (n, d), one row for each, and these have {array.shape}.")
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32)).all(1)
    if not finite.all():
        raise DataError(
            f"{np.count_nonzero(~finite):,} of {len(array):,} codes hold NaN or infinite numbers; row "
            f"{finite.argmin()} is the first. Remove them, or look for what makes the model give them."
        )
    return array


def _standard(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each dimension, its scale, and whether it is constant: (d,) each."""
    mean, deviation = codes.mean(0), codes.std(0)
    least = np.maximum(CONSTANT * np.sqrt(np.square(deviation).mean()), PRECISION * np.abs(mean))
    constant = deviation <= least
    if constant.all():
        raise DataError(
            f"All {len(codes):,} codes are the same, so there is no density to fit. Was the model trained, and on "
            "examples that differ?"
        )
    return mean, np.where(constant, least, deviation), constant


def _average(nats: np.ndarray) -> float | None:
    return float(nats.mean()) if len(nats) else None
