"""Tensors and numbers in one safetensors file, and the state of optimizers as tensors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from diabolo.errors import RunError
from diabolo.storage.files import named, write_bytes
from diabolo.storage.foreign import check_form, parse_json, reading

__all__ = [
    "CHECKPOINT",
    "WEIGHTS",
    "digest_of",
    "fit_tensors",
    "full_tensor",
    "load_tensors",
    "load_weights",
    "optimizer_tensors",
    "restore_optimizer",
    "save_tensors",
    "shard_like",
    "weights_of",
]

CHECKPOINT = "last.safetensors"  # in the folder of a run: everything that training needs to go on
BELONGS = "weights_digest"  # in the header of a file: of the weights that it belongs to
ROOM = 2**24  # bytes that the copying itself may take
WEIGHTS = "model.safetensors"  # in the folder of a run: the weights in use, of the best epoch or of the last one


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], weights: str = ""
) -> None:
    """Writes tensors, with `numbers` as JSON in the header of the file, as a whole or not at all.

    Args:
        path: of the file.
        tensors: by name.
        numbers: and whatever else JSON has.
        weights: the digest of the weights that they belong to, if they do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tensors(f"{folder}/x.safetensors", {"x": torch.ones(2)}, {"epoch": 3})
    ...     load_tensors(f"{folder}/x.safetensors")
    ({'x': tensor([1., 1.])}, {'epoch': 3})
    """
    _check_memory(sum(tensor.nbytes for tensor in tensors.values()))
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {**numbers, BELONGS: weights} if weights else numbers  # one entry: several have no order of their own
    write_bytes(path, safetensors.torch.save(plain, {"diabolo": json.dumps(header)}))


def _check_memory(size: int) -> None:
    """Raises MemoryError where tensors of so many bytes, copied for a file, would not fit: safetensors would abort."""
    np.empty(3 * size + ROOM, dtype=np.uint8)  # torch's copy, the file in Rust and in Python; no page of it is touched


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """`blake2b:<hex>` over named tensors: their names, types, shapes and bits.

    >>> digest_of({"x": torch.ones(2)}) == digest_of({"x": torch.ones(2).double()})
    False
    """
    digest = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return f"blake2b:{digest.hexdigest()}"


def weights_of(path: str | os.PathLike[str]) -> str:
    """The digest of the weights that a file of `save_tensors` belongs to; empty where it does not say, or is damaged.

    >>> weights_of("nowhere/model.safetensors")
    ''
    """
    try:
        with named(Path(path)) as name, safetensors.safe_open(name, framework="pt") as file:
            return str(json.loads((file.metadata() or {})["diabolo"])[BELONGS])
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the numbers of a file of `save_tensors`.

    Raises:
        RunError: the file does not exist, is truncated, or is of another format.

    >>> load_tensors("nowhere/model.safetensors")
    Traceback (most recent call last):
    diabolo.errors.RunError: nowhere/model.safetensors is not there. Is nowhere the folder of a run?
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path} is not there. Is {path.parent} the folder of a run?")
    with reading(path, remedy="It was truncated or edited; restore it or train again."):
        with named(path) as name, safetensors.safe_open(name, framework="pt") as file:
            numbers = parse_json((file.metadata() or {}).get("diabolo", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        check_form(numbers, dict, "its header")
    numbers.pop(BELONGS, None)
    return tensors, numbers


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Loads tensors into a module; `path` is for messages.

    Raises:
        RunError: a tensor is missing, unknown, or of another shape.

    >>> layer = nn.Linear(2, 1)
    >>> load_weights(layer, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, "model.safetensors")
    >>> layer.weight.sum().item()
    2.0
    """
    fit_tensors(module, tensors, path)
    module.load_state_dict(dict(tensors))


def fit_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Checks that tensors are those of a module, by name and shape; `path` is for messages.

    Raises:
        RunError: a tensor is missing, unknown, or of another shape.

    >>> fit_tensors(nn.Linear(2, 1), {"weight": torch.ones(1, 3), "bias": torch.zeros(1)}, "model.safetensors")
    Traceback (most recent call last):
    diabolo.errors.RunError: model.safetensors does not fit config.json: for 'weight' ...
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


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded over processes: a collective call, in the same order in each process.

    >>> full_tensor(torch.ones(2))
    tensor([1., 1.])
    """
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, sharded over the processes as `like` is; unchanged where `like` is not sharded.

    >>> shard_like(torch.ones(2), like=torch.zeros(2))
    tensor([1., 1.])
    """
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    shared = cast(DTensor, like)
    return distribute_tensor(tensor.to(like.device), shared.device_mesh, shared.placements)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as named tensors: `optimizer.3.exp_avg` and so on.

    >>> weight = nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.Adam([weight])
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()
    >>> sorted(optimizer_tensors(optimizer))
    ['optimizer.0.exp_avg', 'optimizer.0.exp_avg_sq', 'optimizer.0.step']
    """
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": full_tensor(torch.as_tensor(value))
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores the state of an optimizer from `optimizer_tensors`.

    >>> optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], momentum=0.9)
    >>> restore_optimizer(optimizer, {"optimizer.0.momentum_buffer": torch.tensor([2.0])})
    >>> optimizer_tensors(optimizer)
    {'optimizer.0.momentum_buffer': tensor([2.])}
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused kernels step through memory, so the state needs the parameter's memory format (channels last).
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(shard_like(value, parameter))
