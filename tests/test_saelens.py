"""The same weights and batch in sae-lens and here: the same losses and gradients.

sae-lens lives in an environment of its own, which benchmarks/sparse_speed.py makes.
"""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diabolo.models import Model, Preprocess, build_model

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PYTHON = BENCHMARKS / ".envs" / "saelens" / "bin" / "python"
VALUES, WIDTH, ROWS, K = 24, 96, 128, 5
OPTIONS: dict[str, dict[str, Any]] = {
    "topk": {"k": K, "aux_loss_coefficient": 0.5},
    "batch": {"k": K, "aux_loss_coefficient": 0.5},
    "matryoshka": {"k": K, "aux_loss_coefficient": 0.5, "matryoshka_widths": [12, 48, WIDTH]},
    "jumprelu": {"l0_coefficient": 0.3, "jumprelu_bandwidth": 0.2},
}
AUXILIARY = {"k": K, "auxiliary": 0.5, "auxiliary_k": VALUES // 2, "dead": 10}
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "topk": ("topk", AUXILIARY),
    "batch": ("topk", {**AUXILIARY, "scope": "batch"}),
    "matryoshka": ("matryoshka", {**AUXILIARY, "nested": (12, 48, WIDTH)}),
    "jumprelu": ("jumprelu", {"l0": 0.3, "bandwidth": 0.2}),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="sae-lens is not there: benchmarks/sparse_speed.py installs it"),
]


@pytest.fixture(scope="module")
def given() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    directions = F.normalize(torch.from_numpy(rng.normal(size=(WIDTH, VALUES))), dim=1).float().numpy()
    arrays = {
        "x": rng.normal(size=(ROWS, VALUES)),
        "W_enc": rng.normal(size=(VALUES, WIDTH)) / math.sqrt(VALUES),
        "b_enc": 0.1 * rng.normal(size=WIDTH),
        "b_dec": rng.normal(size=VALUES),
        "threshold": rng.uniform(0.05, 0.5, WIDTH),
    }
    dead = rng.random(WIDTH) < 0.3
    return {name: array.astype(np.float32) for name, array in arrays.items()} | {"W_dec": directions, "dead": dead}


@pytest.fixture(scope="module")
def theirs(given: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("saelens")
    np.savez(folder / "given.npz", **given)
    command = [str(PYTHON), str(BENCHMARKS / "peers" / "saelens_parity.py"), str(folder), json.dumps(OPTIONS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-2000:]
    return np.load(folder / "theirs.npz")


def made(kind: str, given: dict[str, np.ndarray]) -> Model:
    name, options = OURS[kind]
    model = build_model(
        Preprocess(event_shape=(VALUES,), layout="F", scale="none"), model=name, network="dictionary",
        likelihood="gaussian", latent_dim=WIDTH, options={"model": options, "likelihood": {"variance": 0.5}},
    )  # fmt: skip
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    state = model.state_dict()
    state |= {"encoder.weight": tensors["W_enc"].T, "encoder.bias": tensors["b_enc"]}
    state |= {"decoder.weight": tensors["W_dec"], "decoder.bias": tensors["b_dec"]}
    if kind == "jumprelu":
        state["objective.thresholds"] = tensors["threshold"]
    else:
        state["objective.silent"] = 10.0 * tensors["dead"]
    model.load_state_dict(state)
    return model.train()


@pytest.mark.parametrize("kind", list(OURS))
def test_losses_and_gradients_are_theirs(kind: str, given: dict[str, np.ndarray], theirs: Any) -> None:
    model = made(kind, given)
    loss = model(torch.from_numpy(given["x"]))
    loss.total.backward()
    constant = VALUES / 2 * math.log(math.pi)  # of -log p, in each reconstruction
    total = loss.total.item() - constant * (3 if kind == "matryoshka" else 1)
    if "auxiliary" in loss.terms:  # theirs is |r - r'|^2, ours less |r|^2, with the same gradient
        error = (torch.from_numpy(given["x"]) - loss.output).square().sum(1).mean().item()
        total += 0.5 * error  # as many units are dead as full weight takes
        assert given["dead"].sum() >= VALUES // 2
    assert total == pytest.approx(float(theirs[f"{kind}.loss"]), rel=1e-5)
    gradients = {name: value.grad for name, value in model.named_parameters()}
    expected = {name: torch.from_numpy(theirs[f"{kind}.{name}"]) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    directions = torch.from_numpy(given["W_dec"])
    along = (expected["W_dec"] * directions).sum(1, keepdim=True)
    pairs = {
        "encoder.weight": expected["W_enc"].T,
        "encoder.bias": expected["b_enc"],
        "decoder.weight": expected["W_dec"] - along * directions,  # a length of 1 has no slope along itself
        "decoder.bias": expected["b_dec"],
    }
    if kind == "jumprelu":
        pairs["objective.thresholds"] = torch.from_numpy(theirs["jumprelu.threshold"])
    for name, value in pairs.items():
        found = gradients[name]
        assert found is not None, name
        assert (found - value).abs().max() <= 1e-5 * value.abs().max(), name
