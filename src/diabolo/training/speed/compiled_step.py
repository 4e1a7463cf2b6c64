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
from diabolo.models.objectives import Meter
from diabolo.storage.machine import cache_dir, machine_key
from diabolo.training.gradients import StepResult, include
from diabolo.training.optimizers import paces_of
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
        batch: (B, *event), one like those that it will be given.

    Raises:
        NotCompiled: there is no compiler, or the step depends on the values of tensors.
    """

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        settings: Settings,
        generator: torch.Generator,
        batch: Tensor,
    ) -> None:
        self.like = (batch.shape, batch.dtype)
        self.settings = settings
        self.generator = generator
        self._names: list[str] = []
        self._weights: dict[str, Any] = {}
        learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
        fixed = {name: value for name, value in model.state_dict(keep_vars=True).items() if name not in learned}
        fixed |= {name: value for name, value in model.named_buffers() if name not in fixed}
        states = []
        for parameter in learned.values():
            if not optimizer.state[parameter]:
                optimizer.state[parameter].update(memory(parameter, settings))
            states.append(dict(optimizer.state[parameter]))
        none = torch.zeros((), device=batch.device)
        paces = paces_of(optimizer)
        self._own_paces = [paces[parameter] for parameter in learned.values()]
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
            examples, paces, epoch = inputs
            model.epoch = cast(float, epoch)
            loss = functional_call(model, {**own, **others}, (examples,))
            total = loss.total
            gradients = torch.autograd.grad(total, list(own.values()), allow_unused=True)
            _move(tensors[: len(own)], gradients, memories, paces, torch.isfinite(total), settings)
            self._names = list(loss.terms)
            self._weights = dict(loss.weights)
            moving = [weight for weight in loss.weights.values() if isinstance(weight, Tensor)]
            sums = [term.detach().sum(dtype=torch.float64) for term in loss.terms.values()]
            return [total.detach(), *sums, *moving]

        optimizer.zero_grad(set_to_none=True)  # gradients are not kept from now on
        example = [*self._tensors, batch.contiguous(), self._paces(0.0), torch.zeros((), dtype=torch.float64)]
        with _as_it_was(model):
            if batch.device.type == "cuda":
                model.generator = generator
                self._run = _captured(step, example, generator)
            else:
                self._run = _compiled(step, example)

    def fits(self, batch: Tensor) -> bool:
        """Whether a batch is like the one that it was made for."""
        return (batch.shape, batch.dtype) == self.like

    def __call__(self, batch: Tensor, rate: float, epoch: float) -> StepResult:
        """Takes a step, unless the loss is not finite: then nothing moves.

        Args:
            batch: (B, *event).
            rate: the learning rate.
            epoch: time in epochs.
        """
        time = torch.tensor(epoch, dtype=torch.float64)
        on_gpu = batch.device.type == "cuda"
        with torch.no_grad(), contextlib.nullcontext() if on_gpu else _drawing_from(self.generator):
            total, *others = self._run(*self._tensors, batch.contiguous(), self._paces(rate), time)
        meter = Meter()
        meter.count = len(batch)
        meter.sums = dict(zip(self._names, others, strict=False))
        moving = iter(others[len(self._names) :])
        weights = {
            name: next(moving).item() if isinstance(value, Tensor) else value for name, value in self._weights.items()
        }
        return StepResult(
            total.item(),
            weights,
            lambda running: include(running, meter),
            lambda: {name: value.item() / meter.count for name, value in meter.sums.items()},
        )

    def _paces(self, rate: float) -> Tensor:
        """(P, 3), the paces of all parameters in the next step."""
        keys = list(zip(self._own_paces, torch.stack(self._counts).tolist(), strict=True))
        paces = {(own, count): pace(self.settings, own * rate, count) for own, count in set(keys)}
        return torch.tensor([paces[key] for key in keys], device=self._counts[0].device)


def _move(
    parameters: Any, gradients: Any, memories: list[Memory], paces: Tensor, is_finite: Tensor, settings: Settings
) -> None:
    """Clips the gradients, and writes new weights and memories over the old ones where the loss is finite."""
    used = [number for number, gradient in enumerate(gradients) if gradient is not None]
    if settings.clip is not None:
        norm = torch.stack([gradients[number].square().sum() for number in used]).sum().sqrt()
        factor = (settings.clip / (norm + 1e-6)).clamp(max=1.0)
        gradients = [None if gradient is None else gradient * factor for gradient in gradients]
    advance = rule(settings)
    with torch.no_grad():
        for number in used:
            parameter, old = parameters[number], memories[number]
            value, new = advance(parameter, gradients[number], old, paces[number])
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
    folder = _cache_folder()
    try:
        return _compiled_in(folder, step, example)
    except NotCompiled as error:
        if folder not in str(error.__cause__):
            raise
        aside = tempfile.mkdtemp(prefix="diabolo-compiled-")  # its files stay open for as long as the process lives
        atexit.register(shutil.rmtree, aside, ignore_errors=True)
        log.warning(
            "The compiler's cache %s cannot be used (%s): compiled anew. Remove it, or make it yours.", folder, error
        )
        return _compiled_in(aside, step, example)


def _cache_folder() -> str:
    """The compiler's cache: where the user has it, else in the user's cache for diabolo, a folder for each machine.

    Torch sets the variable by itself, to a folder in the system's temporary one: that is nobody's wish.
    """
    chosen = Path(os.environ.get(CACHE_VARIABLE) or "")
    is_default = chosen.parent == Path(tempfile.gettempdir()) and chosen.name.startswith("torchinductor_")
    return str(cache_dir() / "compiled" / machine_key() if is_default or not chosen.name else chosen)


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


def _captured(step: Any, example: list[Tensor], generator: torch.Generator) -> Any:
    """What does as `step` does, with the example's own weights and memories, as one CUDA graph.

    Raises:
        NotCompiled: it cannot be captured.
    """
    *fixed_tensors, batch, paces, epoch = example
    inputs = [batch.clone(), paces, epoch.to(batch.device)]
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
    model.is_recorded = True
    try:
        yield
    finally:
        model.is_recorded = False
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
