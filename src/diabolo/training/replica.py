"""The model as this process trains it: the model itself, one of several replicas, or this process's share of it."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.model import Model
from diabolo.models.objectives import Batch, Loss
from diabolo.storage.checkpoint import full_tensor, shard_like
from diabolo.training.distributed import ProcessGroup
from diabolo.training.optimizers import make_optimizer
from diabolo.training.settings import Settings

__all__ = ["Replica"]

TRIED = 2  # steps in which memory may run out: the gradients come in the first, the optimizer's memory with the second


class Replica:
    """What a process calls, differentiates and updates.

    Alone it is the model. Among several processes gradients are averaged by torch's own engines, which start to send
    them while the rest is still being computed: `DistributedDataParallel`, or `fully_shard`, where each process keeps
    its share of the weights, of the gradients and of the optimizer's memory, and fetches a layer when it needs it. A
    layer of more convenience above them (Accelerate, Lightning, Fabric) would save these lines and cost an import of
    two to three seconds.

    In the first steps replicas average their gradients one by one, so that a process that runs out of memory can say
    so; what takes memory later was there by then.

    Args:
        model: the whole model, the same in all processes afterwards.
        processes: those that train it.
        sharding: `full` for a share each, `none` for a replica each.
        device: where this process computes.
    """

    def __init__(
        self, model: Model, processes: ProcessGroup, sharding: Literal["none", "full"], device: torch.device
    ) -> None:
        self.processes = processes
        self.device = device
        self.is_sharded = sharding == "full" and processes.count > 1
        processes.broadcast_tensors(list(model.state_dict().values()))
        if self.is_sharded:
            self.model = _sharded(copy.deepcopy(model), device)
        else:
            self.model = model.to(device)
            self.model.use_channels_last()
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        buffers = dict(self.model.objective.named_buffers())
        self.averaged = [
            *self.parameters,
            *(buffers[name] for name in self.model.objective.averaged if name in buffers),
        ]
        self.steps = 0
        self._engine: nn.parallel.DistributedDataParallel | None = None

    @property
    def is_tried(self) -> bool:
        """Whether this step's gradients are averaged at its end, so that it may be taken again."""
        return self.processes.count > 1 and not self.is_sharded and self.steps < TRIED

    def __call__(self, batch: Batch) -> Loss:
        """The loss of examples, as this process's share of the step."""
        loss: Loss = (self.model if self._engine is None else self._engine)(batch.x, batch.y, batch.index)
        return loss

    def quiet(self, is_last: bool) -> contextlib.AbstractContextManager[object]:
        """While it lasts, gradients are added up here and not sent, unless this is the last part of a step."""
        return contextlib.nullcontext() if is_last or self._engine is None else self._engine.no_sync()

    def stepped(self) -> None:
        """Ends a step's gradients: those of the first steps are averaged, then the engine takes over."""
        if self.is_tried:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            self.processes.all_reduce_mean(gradients)
            if self.steps == TRIED - 1:
                self._engine = self._replicated(len(gradients) < len(self.parameters))
        self.steps += 1

    def _replicated(self, some_unused: bool) -> nn.parallel.DistributedDataParallel:
        engine = nn.parallel.DistributedDataParallel(
            self.model,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            find_unused_parameters=some_unused,
            gradient_as_bucket_view=True,
        )
        engine.broadcast_buffers = False  # at each step; `settle` does it where they change
        return engine

    def settle(self) -> None:
        """Gives each process the first one's buffers, such as the running statistics of a user's normalisation."""
        for part in (self.model.encoder, self.model.decoder):
            self.processes.broadcast_tensors(list(part.buffers()))

    def optimizer(self, settings: Settings) -> torch.optim.Optimizer:
        """The optimizer of what this process holds."""
        optimizer = make_optimizer(self.model.groups(), settings)
        if self.is_sharded and settings.optimizer == "sgd":  # torch cannot fuse this one for shares
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = False, True
        return optimizer

    def own(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value of each weight, as far as this process holds it."""
        for name, parameter in self.model.named_parameters():
            yield name, parameter.to_local() if hasattr(parameter, "to_local") else parameter

    def state(self) -> dict[str, Tensor]:
        """The whole model's state, copied; where it is sharded, all processes ask for it, and get it in main memory."""
        tensors = self.model.state_dict()
        if self.is_sharded:
            return {name: full_tensor(value.detach()).cpu() for name, value in tensors.items()}
        return {name: value.detach().clone() for name, value in tensors.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over a whole model's state."""
        for name, value in self.model.state_dict().items():
            value.copy_(shard_like(state[name], value))

    @torch.no_grad()
    def put(self, values: Sequence[Tensor]) -> None:
        """Gives what is averaged these values, each of which lies as its parameter or buffer does."""
        for parameter, value in zip(self.averaged, values, strict=True):
            parameter.copy_(value)


def _sharded(model: Model, device: torch.device) -> Model:
    """The model with its weights shared out over the processes, layer by layer.

    Raises:
        ConfigError: a weight is a single number, which cannot be shared out.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    single = [name for name, parameter in model.named_parameters() if parameter.dim() == 0]
    if single:
        raise ConfigError(
            f"sharding='full' shares out arrays of weights, and {single[0]} is a single number: use sharding='none', "
            "or leave out what learns it (one learned variance, which the likelihood auto has: name a number, as in "
            "likelihood='gaussian', variance=1)."
        )
    for module in model.modules():  # what overwrites a layer's output would cut the hook that fetches its weights
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)  # of that same danger
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    options: dict[str, Any] = {"mesh": mesh}
    for part in (model.encoder, model.decoder):
        for layer in part.children():
            if any(True for _ in layer.parameters()):
                fully_shard(layer, **options)
    fully_shard(model, **options)
    return model
