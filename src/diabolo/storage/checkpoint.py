"""Tensors and numbers on disk: one safetensors file holds both, and is whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from diabolo.errors import RunError
from diabolo.storage.files import write_bytes

__all__ = [
    "WEIGHTS",
    "fit_tensors",
    "gathered",
    "load_tensors",
    "load_weights",
    "optimizer_tensors",
    "placed",
    "restore_optimizer",
    "save_tensors",
]

WEIGHTS = "model.safetensors"  # of a run's folder: the weights in use, of the best epoch or of the last one


def save_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Writes tensors, and `numbers` as JSON in the file's header; what was there before stays until all is written."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(plain, {"diabolo": json.dumps(numbers)}))


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_tensors` wrote, on the CPU.

    Raises:
        RunError: the file is not there, is truncated, or is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path} is not there. Is {path.parent} the folder of a run?")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            numbers = json.loads((file.metadata() or {}).get("diabolo", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, numbers  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}. It was truncated or edited; restore it or train again."
        ) from error


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Puts tensors into a module, each in its place.

    Raises:
        RunError: one is missing, left over, or of another shape.
    """
    fit_tensors(module, tensors, path)
    module.load_state_dict(dict(tensors))


def fit_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Refuses tensors that are not those of a module.

    Raises:
        RunError: one is missing, left over, or of another shape.
    """
    own = module.state_dict()
    wrong = [name for name in own.keys() | tensors.keys() if name not in own or name not in tensors]
    wrong += [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    if wrong:
        name = min(wrong)
        expected = tuple(own[name].shape) if name in own else "nothing"
        received = tuple(tensors[name].shape) if name in tensors else "nothing"
        raise RunError(
            f"{path} does not fit config.json: for {name!r} the configuration expects {expected} and the file holds "
            f"{received}. One of them was edited or comes from another run; restore it."
        )


def gathered(tensor: Tensor) -> Tensor:
    """A tensor, put together where its parts lie in several processes, all of which ask for it in the same order."""
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, cut and laid over the processes as `like` is, where that is so."""
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    shared = cast(DTensor, like)
    return distribute_tensor(tensor.to(like.device), shared.device_mesh, shared.placements)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as named tensors: `optimizer.3.exp_avg` and so on."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": gathered(torch.as_tensor(value))
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused kernels walk through memory: the state must lie there as its parameter does (channels last).
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(placed(value, parameter))
