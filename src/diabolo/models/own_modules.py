"""Parts of a user's own in a model: what they raise, or return, becomes one error that names them.

A `model` is a `Model`, which imports this file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diabolo.errors import DiaboloError, PartError, ShapeError, TrainingError, memory_shortage
from diabolo.models.objectives import Batch

__all__ = [
    "blamed",
    "called",
    "check_fit",
    "differentiating",
    "features_of",
    "is_of_users",
    "named",
    "naming",
    "needs_several",
    "untrained",
]

log = logging.getLogger("diabolo")

WORDS = {"variant": "objective", "likelihood": "likelihood"}
TRIED = 16  # examples of noise
DIFFERENT = 1e-3  # what an output may move by with the number of examples, as rounding does


def is_of_users(part: object) -> bool:
    """Whether a part was made outside of diabolo.

    >>> is_of_users(nn.Linear(2, 2))
    True
    """
    return part is not None and type(part).__module__.partition(".")[0] != "diabolo"


def naming(model: Any, x: Tensor | None = None) -> contextlib.AbstractContextManager[None]:
    """A context that names the variant and the likelihood where these are a user's own, and something fails in them."""
    parts = {word: getattr(model, name) for word, name in WORDS.items() if name in model.of_users}
    return named(" or the ".join(parts), [*parts.values()], x)


@contextlib.contextmanager
def named(what: str, parts: Sequence[Any], x: Tensor | None = None) -> Iterator[None]:
    """A context that turns whatever parts raise into one error with their names, what went in, and the cause.

    >>> with named("encoder", [nn.Linear(3, 2)], torch.zeros(4, 5)):
    ...     raise KeyError("mask")
    Traceback (most recent call last):
    diabolo.errors.PartError: The encoder, Linear, fails in training on a batch of shape (4, 5): KeyError: 'mask'.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiaboloError) or memory_shortage(error) is not None or not any(map(is_of_users, parts)):
            raise
        cause = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(" .:")
        where, hint = "", ""
        if x is not None:
            where = f" {_when(parts[0])} on a batch of {_shape(x)}"
            is_alone = parts[0].training and len(x) == 1
            hint = " It needs several examples: take a batch_size above 1, and drop_last where one is left." * is_alone
        raise PartError(f"{_which(what, *parts)} fails{where}: {cause}.{hint}") from error


def called(model: Any, name: str, x: Tensor, call: Callable[[Tensor], Any]) -> Tensor:
    """What an encoder or a decoder of the user's own gives, looked at; it may write into its input, which is a copy.

    Raises:
        PartError: it fails, or gives what is no tensor of numbers on the device of its input.
        ShapeError: it gives another shape for each example than at first.
    """
    module: nn.Module = getattr(model, name)
    with named(name, [module], x):
        output = call(x.clone())
    expected, received = "a tensor", ""
    if not isinstance(output, Tensor):
        received = f"an object of {type(output).__qualname__}"
    elif output.layout != torch.strided:
        received = f"one of the layout {output.layout}"
    elif not output.is_floating_point():
        expected, received = "floating-point numbers", f"{output.dtype}"
    elif output.device != x.device:
        expected, received = f"its output on {x.device}, where its input is", f"it on {output.device}"
    if received:
        raise PartError(f"{_which(name, module)} should give {expected}, and gave {received} {_when(module)}.")
    size = model.sizes.setdefault(name, tuple(output.shape[1:]))
    if output.shape != (len(x), *size):
        raise ShapeError(
            f"{_which(name, module)} should give a tensor of {_shape((len(x), *size))}, and gave {_shape(output)} "
            f"{_when(module)}."
        )
    if model.blamed is not None and not _is_finite(output) and _is_finite(x, *module.parameters()):
        model.blamed.append(f"{_which(name, module)} gives NaN or infinite numbers for finite ones.")
    checked: Tensor = output
    return checked


@contextlib.contextmanager
def differentiating() -> Iterator[None]:
    """A context of gradients, in which an error tells that parts of the user's own do what has none.

    Raises:
        TrainingError: they do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiaboloError) or memory_shortage(error) is not None:
            raise
        raise TrainingError(
            f"The gradients of the loss cannot be computed: {' '.join(str(error).split())[:300]}. Parts of your own "
            "should leave tensors as they are that others computed (x = x + 1 in the place of x += 1, inplace=False)."
        ) from error


def blamed(model: Any, again: Callable[[], object]) -> str:
    """A sentence on the part of the user's own that turns finite numbers into others; empty for none.

    Args:
        model: the model.
        again: computes once more what was not finite.
    """
    if not model.of_users:
        return ""
    model.blamed = []
    with contextlib.suppress(DiaboloError), torch.no_grad():
        again()
    sentences, model.blamed = model.blamed, None
    return sentences[0] if sentences else ""


def untrained(model: Any) -> list[str]:
    """A sentence on each encoder and decoder of the user's own that no gradient has reached."""
    return [
        f"{_which(name, module)} gets no gradient, and does not learn: it should compute by differentiable operations "
        "of torch, without detach, .data or no_grad."
        for name in sorted(model.of_users & {"encoder", "decoder"})
        for module in [getattr(model, name)]
        for learned in [[one for one in module.parameters() if one.requires_grad]]
        if learned and all(one.grad is None for one in learned)
    ]


def needs_several(model: Any) -> bool:
    """Whether a layer normalises by the examples of a batch, so that it cannot be trained on one."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def check_fit(model: Any) -> None:
    """One blank batch through the model, so that what does not fit is said before training starts."""
    shape = model.preprocess.model_shape
    expected = (2, shape[0] * model.likelihood.width, *shape[1:])
    training = model.training
    model.eval()
    with torch.no_grad():
        try:
            with model.naming(torch.zeros(2, *shape)):
                _, output = model.passed(torch.zeros(2, *shape))
                model.likelihood.mean(output)
                model.prior(None if model.objective.labels == "none" else torch.zeros(2, dtype=torch.int64))
        except DiaboloError:  # a variant says what is wrong
            raise
        except Exception as error:
            raise ShapeError(f"The model fails on a batch of shape {(2, *shape)}: {error}") from error
        if tuple(output.shape) != expected:
            raise ShapeError(f"The decoder should give {expected} for two examples, and gives {tuple(output.shape)}.")
        for note in _notes_on(model):
            log.warning(note)
    model.train(training)


def _notes_on(model: Any) -> Iterator[str]:
    """What is said of an encoder and a decoder of the user's own: answers that do not repeat, or depend on others."""
    if model.objective.labels != "none" or not model.of_users & {"encoder", "decoder"}:
        return
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(TRIED, *model.preprocess.model_shape, generator=generator)
    codes = torch.randn(TRIED, model.latent_dim, generator=generator)
    for name, batch in (("encoder", model.objective.enter(Batch(x))), ("decoder", model.objective.embed(codes, None))):
        first, second, fewer = (model.run(name, part).float() for part in (batch, batch, batch[:2]))
        which = _which(name, getattr(model, name))
        if not _is_finite(first, second, fewer):
            return  # it may want other numbers than these
        if not torch.equal(first, second):
            yield f"{which} gives other numbers each time, in evaluation too: results do not repeat."
        elif not torch.allclose(first[:2], fewer, DIFFERENT, DIFFERENT * float(first.abs().max())):
            yield (
                f"{which} gives an example other numbers beside other examples, in evaluation too: results depend on "
                "what is asked together."
            )


def features_of(encoder: nn.Module, shape: tuple[int, ...]) -> int:
    """How many numbers a user's encoder gives for an example of the given shape.

    Raises:
        PartError: it fails on two blank examples.
        ShapeError: its output is not (2, features).
    """
    training = encoder.training
    encoder.eval()  # a batch of zeros must leave no trace in running statistics
    blank = torch.zeros(2, *shape)
    with torch.no_grad(), named("encoder", [encoder], blank):
        output = encoder(blank)
    encoder.train(training)
    if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != 2:
        given = tuple(output.shape) if isinstance(output, Tensor) else f"an object of {type(output).__qualname__}"
        raise ShapeError(f"The encoder should give (n, features), and gave {given} for n = 2.")
    return int(output.shape[1])


def _which(what: str, *parts: object) -> str:
    return f"The {what}, {' or '.join(type(part).__qualname__ for part in parts)},"


def _when(part: nn.Module) -> str:
    return "in training" if part.training else "in evaluation"


def _shape(x: Tensor | tuple[int, ...]) -> str:
    return f"shape {tuple(x.shape) if isinstance(x, Tensor) else x}"


def _is_finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(one).all()) for one in tensors)
