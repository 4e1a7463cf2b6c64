"""A step of training as one function of tensors, from a batch to new weights: compiled, or on a GPU captured.

Run one by one, the operations of a step read and write main memory once each, and Python stands between them: that is
more than half of the time of a network of affine layers. Here all of them, the optimizer's among them, are recorded
once and given to torch's compiler, which makes few loops of them. What depends on the number of the step is an input
(the optimizer's pace, the time in epochs), noise comes from the run's generator as it does otherwise, and the
optimizer's memory stays where it is, so that a run may change between compiled and other steps, and be saved in either.

On a GPU the operations are fast and it is Python that does not keep up: there the same function is captured in a CUDA
graph, and a step is a copy of the batch and one launch.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call

from diabolo.models.engine import operation as product_operation
from diabolo.models.model import Model
from diabolo.models.objectives import Batch, Meter
from diabolo.models.units import RECORDING
from diabolo.storage.machine import cache_dir, machine_key
from diabolo.training.gradients import StepResult, include
from diabolo.training.optimizers import players, rates_of
from diabolo.training.settings import Settings
from diabolo.training.speed.optimizer_rules import Memory, memory, pace, rule

__all__ = ["CompiledStep", "NotCompiled"]

log = logging.getLogger("diabolo")

OPTIONS = {
    "alignment_asserts": False,  # of tensors that are the same in every step
    "size_asserts": False,
    "cpp.dynamic_threads": True,  # as many as there are now
    "fallback_random": True,  # torch's own noise
    "fx_graph_cache": False,  # which holds pickles
    "pattern_matcher": False,  # oneDNN's products are given as they shall be
}

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # torch's own
WARM = 3  # steps on copies, before one is captured


class NotCompiled(Exception):  # noqa: N818 (it is no error where nobody insists)
    """The step cannot be compiled; the message says why."""


class CompiledStep:
    """The step of a model for batches of one size, in the precision that the model is trained in now.

    What an objective or a module does in Python, and not by tensors, happens while it is recorded and never again.

    Args:
        model: what is trained.
        optimizer: of its parameters.
        settings: how to train.
        generator: where noise is drawn from.
        batch: of x (B, *event), one like those that it will be given.

    Raises:
        NotCompiled: there is no compiler, or the step depends on the values of tensors.
    """

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        generator: torch.Generator,
        batch: Batch,
    ) -> None:
        self.like = _shapes(batch)
        self.settings = settings
        self.generator = generator
        self._names: list[str] = []
        self._statistics: list[str] = []
        self._weights: dict[str, Any] = {}
        learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
        fixed = {name: value for name, value in model.state_dict(keep_vars=True).items() if name not in learned}
        fixed |= {name: value for name, value in model.named_buffers() if name not in fixed}
        rates = rates_of(optimizer, settings)
        states = []
        for parameter in learned.values():
            if not optimizer.state[parameter]:
                optimizer.state[parameter].update(memory(parameter, rates[parameter][1]))
            states.append(dict(optimizer.state[parameter]))
        none = torch.zeros((), device=batch.x.device)
        self._rates = [rates[parameter] for parameter in learned.values()]
        places: dict[Tensor, int] = {parameter: number for number, parameter in enumerate(learned.values())}
        together = [[places[parameter] for parameter in player] for player in players(optimizer)]
        own_settings = [own for _, own in self._rates]
        empty = batch.map(lambda part: part[:0])
        self._counts = [state.get("step", none) for state in states]
        self._tensors = [
            *(value.detach() for value in (*learned.values(), *fixed.values())),
            *(value for state in states for value in state.values()),
        ]

        def step(*tensors: Tensor) -> list[Tensor]:
            """Moves the weights, the buffers and the optimizer's memory, and gives the loss, the terms, the weights."""
            inputs = iter(tensors)
            own = {name: next(inputs).detach().requires_grad_() for name in learned}
            others = {name: next(inputs) for name in fixed}
            memories: list[Memory] = [{name: next(inputs) for name in state} for state in states]
            examples = empty.map(lambda _: next(inputs))
            paces, epoch = inputs
            model.epoch = cast(float, epoch)
            loss = functional_call(model, {**own, **others}, (examples.x, examples.y, examples.index))
            total = loss.total
            found = torch.autograd.grad(total, list(own.values()), allow_unused=True)
            gradients = _clipped(found, together, settings)
            _move(tensors[: len(own)], gradients, memories, paces, torch.isfinite(total), own_settings)
            self._names = list(loss.terms)
            self._weights = dict(loss.weights)
            self._statistics = list(loss.statistics)
            moving = [weight for weight in loss.weights.values() if isinstance(weight, Tensor)]
            sums = [term.detach().sum(dtype=torch.float64) for term in loss.terms.values()]
            return [total.detach(), *sums, *(value.detach() for value in loss.statistics.values()), *moving]

        optimizer.zero_grad(set_to_none=True)  # gradients are not kept from now on
        given = batch.map(Tensor.contiguous).parts
        example = [*self._tensors, *given, self._paces(0.0), torch.zeros((), dtype=torch.float64)]
        with _as_it_was(model):
            if batch.x.device.type == "cuda":
                model.generator = generator
                self._run = _captured(step, example, generator, len(self._tensors))
            else:
                self._run = _compiled(step, example)

    def fits(self, batch: Batch) -> bool:
        """Whether a batch is like the one that it was made for."""
        return _shapes(batch) == self.like

    def __call__(self, batch: Batch, rate: float, epoch: float) -> StepResult:
        """Takes a step, unless the loss is not finite: then nothing moves.

        Args:
            batch: of x (B, *event).
            rate: the learning rate.
            epoch: time in epochs.
        """
        time = torch.tensor(epoch, dtype=torch.float64)
        on_gpu = batch.x.device.type == "cuda"
        parts = batch.map(Tensor.contiguous).parts
        with torch.no_grad(), contextlib.nullcontext() if on_gpu else _drawing_from(self.generator):
            total, *others = self._run(*self._tensors, *parts, self._paces(rate), time)
        meter = Meter()
        meter.count = len(batch)
        meter.sums = dict(zip(self._names, others, strict=False))
        rest = iter(others[len(self._names) :])
        statistics = {name: next(rest) for name in self._statistics}
        weights = {
            name: next(rest).item() if isinstance(value, Tensor) else value for name, value in self._weights.items()
        }
        return StepResult(
            total.item(),
            weights,
            lambda running: include(running, meter),
            lambda: {name: value.item() / meter.count for name, value in meter.sums.items()},
            statistics,
        )

    def _paces(self, rate: float) -> Tensor:
        """(P, 3), the paces of all parameters in the next step."""
        counts = torch.stack(self._counts).tolist()
        keys = [(own, settings, count) for (own, settings), count in zip(self._rates, counts, strict=True)]
        paces = {key: pace(key[1], key[0] * rate, key[2]) for key in set(keys)}
        return torch.tensor([paces[key] for key in keys], device=self._counts[0].device)


def _shapes(batch: Batch) -> list[Any]:
    return [(part.shape, part.dtype) for part in batch.parts]


def _clipped(gradients: Any, together: list[list[int]], settings: Settings) -> list[Any]:
    """The gradients, of which those that are clipped together have at most the largest norm."""
    clipped = list(gradients)
    if settings.clip is not None:
        for numbers in together:
            used = [number for number in numbers if gradients[number] is not None]
            if used:
                norm = torch.stack([gradients[number].square().sum() for number in used]).sum().sqrt()
                factor = (settings.clip / (norm + 1e-6)).clamp(max=1.0)
                for number in used:
                    clipped[number] = gradients[number] * factor
    return clipped


def _move(
    parameters: Any, gradients: Any, memories: list[Memory], paces: Tensor, is_finite: Tensor, own: list[Settings]
) -> None:
    """Writes new weights and memories over the old ones where the loss is finite."""
    rules = {settings: rule(settings) for settings in set(own)}
    with torch.no_grad():
        for number in [number for number, gradient in enumerate(gradients) if gradient is not None]:
            parameter, old = parameters[number], memories[number]
            value, new = rules[own[number]](parameter, gradients[number], old, paces[number])
            parameter.copy_(torch.where(is_finite, value, parameter))
            for name, remembered in old.items():
                remembered.copy_(torch.where(is_finite, new[name], remembered))


def _compiled(step: Any, example: list[Tensor]) -> Any:
    """What does as `step` does, for tensors like the example's, as loops of the compiler's.

    What the compiler writes lies in the user's cache, in a folder for this machine, and serves again; where it is torn,
    since a process was killed while it wrote, or another's, that is said, and all is compiled anew in a folder aside.

    Raises:
        NotCompiled: it cannot be recorded or compiled.
    """
    folder, why = _cache_folder(), "others may write into it, or it cannot be made"
    if folder is not None:
        try:
            return _compiled_in(folder, step, example)
        except NotCompiled as error:
            if folder not in str(error.__cause__):
                raise
            why = str(error)
    aside = tempfile.mkdtemp(prefix="diabolo-compiled-")  # its files stay open for as long as the process lives
    atexit.register(shutil.rmtree, aside, ignore_errors=True)
    where = folder or os.environ.get(CACHE_VARIABLE) or cache_dir()
    log.warning("The compiler's cache %s cannot be used (%s): compiled anew. Remove it, or make it yours.", where, why)
    return _compiled_in(aside, step, example)


def _cache_folder() -> str | None:
    """The compiler's cache: where the user has it, else in the user's cache for diabolo, a folder for each machine.

    Torch sets the variable by itself, to a folder in the system's temporary one: that is nobody's wish.
    """
    chosen = Path(os.environ.get(CACHE_VARIABLE) or "")
    is_default = chosen.parent == Path(tempfile.gettempdir()) and chosen.name.startswith("torchinductor_")
    folder = cache_dir() / "compiled" / machine_key() if is_default or not chosen.name else chosen
    return str(folder) if _is_own(folder) else None


def _is_own(folder: Path) -> bool:
    """Whether a folder is this user's and nobody else may write into it; it is made so where there is none.

    What lies in it is loaded as machine code.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _compiled_in(folder: str, step: Any, example: list[Tensor]) -> Any:
    """As `_compiled`, with what the compiler writes in a folder."""
    with _or_not(), warnings.catch_warnings(action="ignore"):  # the compiler warns of what is its own affair
        import torch._inductor.compile_fx as compiler
        from torch._inductor.async_compile import shutdown_compile_workers
        from torch.fx.experimental.proxy_tensor import make_fx

        graph = make_fx(step, tracing_mode="fake")(*example)  # of tensors without values: nothing is moved by it
        try:
            with torch.no_grad(), _writing_to(folder), _called_as_it_is(product_operation()):
                return compiler.compile_fx(graph, example, config_patches=_known_options())
        finally:
            shutdown_compile_workers()  # processes that would wait for more


def _known_options() -> dict[str, Any]:
    """Those of OPTIONS that this version of torch has: each saves time, and none is needed."""
    from torch._inductor import config

    known = set(config.get_config_copy()) if hasattr(config, "get_config_copy") else set(OPTIONS)
    return {name: value for name, value in OPTIONS.items() if name in known}


@contextmanager
def _writing_to(folder: str) -> Iterator[None]:
    """A context in which the compiler has its cache in a folder."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _captured(step: Any, example: list[Tensor], generator: torch.Generator, fixed: int) -> Any:
    """What does as `step` does, with the example's own weights and memories, as one CUDA graph.

    Raises:
        NotCompiled: it cannot be captured.
    """
    fixed_tensors, (*parts, paces, epoch) = example[:fixed], example[fixed:]
    inputs = [*(part.clone() for part in parts), paces, epoch.to(paces.device)]
    with _or_not():
        state = generator.get_state()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries choose their ways before anything is captured
            for _ in range(WARM):
                step(*(value.clone() for value in fixed_tensors), *inputs)
        torch.cuda.current_stream().wait_stream(stream)
        generator.set_state(state)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph):  # nothing is computed, nothing moves
            answer = step(*fixed_tensors, *inputs)

    def run(*tensors: Tensor) -> list[Tensor]:
        for place, value in zip(inputs, tensors[len(fixed_tensors) :], strict=True):
            place.copy_(value)
        graph.replay()
        return [value.clone() for value in answer]

    return run


@contextmanager
def _or_not() -> Iterator[None]:
    """Turns whatever goes wrong into NotCompiled: the compiler's errors are many, and some are the system's."""
    try:
        yield
    except Exception as error:
        words = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise NotCompiled(f"{type(error).__name__}{': ' if words else ''}{words[0] if words else ''}") from error


@contextmanager
def _called_as_it_is(packet: Any) -> Iterator[None]:
    """While it lasts the compiler leaves a product to oneDNN; its own way wants weights that do not change."""
    if packet is None:
        yield
        return
    from torch._inductor.lowering import fallback_handler, lowerings

    operation = packet.default
    before = lowerings.get(operation)
    lowerings[operation] = fallback_handler(operation, add_to_fallback_set=False)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if before is None:
            lowerings.pop(operation, None)
        else:
            lowerings[operation] = before


@contextmanager
def _as_it_was(model: Model) -> Iterator[None]:
    """While it lasts the model may be called with other tensors in the place of its own."""
    epoch, generator, training = model.epoch, model.generator, model.training
    model.train()
    model.generator = None
    model.is_recorded = RECORDING.is_on = True
    try:
        yield
    finally:
        model.is_recorded = RECORDING.is_on = False
        model.train(training)
        model.epoch, model.generator = epoch, generator


@contextmanager
def _drawing_from(generator: torch.Generator) -> Iterator[None]:
    """While it lasts torch's own noise comes from the generator."""
    before = torch.default_generator.get_state()
    torch.default_generator.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.default_generator.get_state())
        torch.default_generator.set_state(before)
