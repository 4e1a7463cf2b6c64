"""What every variant of the registry does at work: it goes on after a kill, on two processes, in a compiled step, in
bfloat16, in an export, in a fresh process, in a report and in the explorer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.cli import main
from diabolo.datasets import Dataset, open_dataset
from diabolo.errors import ConfigError
from diabolo.explorer import explore, open_atlas
from diabolo.models.objectives import objectives
from diabolo.runs.resuming import resume
from diabolo.training.settings import Settings
from stepping import CLOSE, Pull, PulledPlugError, assert_same, gone, needs_compiler, started, state

NAMES = list(objectives)
# What a variant needs for 72 small pictures, and for codes of four numbers; others are at their defaults.
SMALL: dict[str, dict[str, Any]] = {
    "fsq": {"levels": (4,)},
    "jumprelu": {"network": "dictionary", "latent_dim": 16},
    "matryoshka": {"network": "dictionary", "latent_dim": 16, "dead": 2},
    "topk": {"network": "dictionary", "latent_dim": 16, "dead": 2},
    "vamp": {"components": 5},
    "vq": {"codes": 8, "positions": 2},
}
# Settings under which a variant has a part that it has not by default.
FURTHER: list[tuple[str, dict[str, Any]]] = [
    ("conditional", {"class_priors": True, "embedding": "one-hot"}),
    ("fsq", {"lfq": True}),
    ("hierarchical", {"ladder": True}),
    ("iwae", {"draws": 3, "estimator": "dreg"}),
    ("iwae", {"draws": 3, "repeats": 2, "estimator": "piwae"}),
    ("rae", {"penalty": "gp"}),
    ("topk", {"scope": "batch"}),
    ("vamp", {"exemplars": True}),
    ("vq", {"decay": 0.0, "levels": 2}),
    ("vq", {"network": "conv", "channels": (4, 8), "spatial": True, "positions": 0}),
    ("wae", {"distance": "cramer-wold"}),
]
CASES = [(name, {}) for name in NAMES] + FURTHER
IDS = [name + "".join(f"-{value}" for value in more.values()) for name, more in CASES]
QUICK = ("aae", "conditional", "topk")  # the others are slow tests
each = pytest.mark.parametrize(
    ("name", "more"),
    [
        pytest.param(*case, id=label, marks=() if case[0] in QUICK and not case[1] else pytest.mark.slow)
        for case, label in zip(CASES, IDS, strict=True)
    ],
)
all_slow = pytest.mark.parametrize(
    ("name", "more"),
    [pytest.param(*case, id=label, marks=pytest.mark.slow) for case, label in zip(CASES, IDS, strict=True)],
)


def options(name: str, more: dict[str, Any]) -> dict[str, Any]:
    """Of a small run: four numbers, or as many as the variant wants."""
    found = {"latent_dim": 4, **SMALL.get(name, {}), **more}
    return found | ({"widths": None, "start": "mean"} if "network" in found else {})


def classed(pictures: np.ndarray) -> Dataset:
    return open_dataset(pictures, labels=np.array(["a", "b", "c"])[np.arange(len(pictures)) % 3])


def wants(name: str, data: Dataset, pictures: np.ndarray) -> Any:
    return pictures if objectives[name].labels == "none" else data


@pytest.fixture(scope="module")
def data(pictures: np.ndarray) -> Dataset:
    return classed(pictures)


# --- training ---------------------------------------------------------------------------------------------------------


@all_slow
def test_it_goes_on_after_a_kill_bit_for_bit(
    name: str, more: dict[str, Any], pictures: np.ndarray, data: Dataset, tmp_path: Path
) -> None:
    x, own = wants(name, data, pictures), options(name, more)
    whole = gone(x, name, **own)
    run = started(x, name, tmp_path / "run", [Pull(7)], checkpoint_seconds=1e-9, **own)
    with pytest.raises(PulledPlugError):
        run.go()
    again = resume(tmp_path / "run", source=x)
    assert 0 < again.training.steps <= 7
    again.go()
    assert_same(state(whole), state(again.training))


@needs_compiler
@all_slow
def test_a_compiled_step_is_the_same_step(name: str, more: dict[str, Any], pictures: np.ndarray, data: Dataset) -> None:
    x, own = wants(name, data, pictures), options(name, more)
    eager = gone(x, name, **own)
    compiled = gone(x, name, compile="on", **own)
    assert compiled.compilation is not None
    assert_same(state(eager), state(compiled), rtol=2e-3, atol=2e-3)


@all_slow
def test_it_trains_in_bfloat16(name: str, more: dict[str, Any], pictures: np.ndarray, data: Dataset) -> None:
    training = gone(wants(name, data, pictures), name, **{**options(name, more), "precision": "bf16"})
    assert all(value.isfinite().all() for value in state(training).values() if value.is_floating_point())
    assert {value.dtype for value in training.model.parameters()} == {torch.float32}


def work(folder: Path) -> None:
    """Every variant in one process of two; what it says where it refuses."""
    torch.set_num_threads(1)
    pictures, said = np.load(folder / "x.npy"), {}
    rank = int(os.environ["RANK"])
    for (name, more), label in zip(CASES, IDS, strict=True):
        try:
            training = gone(wants(name, classed(pictures), pictures), name, **options(name, more))
        except ConfigError as problem:
            said[label] = str(problem)
            continue
        np.savez(folder / f"{label}-{rank}.npz", **{key: value.numpy() for key, value in state(training).items()})
    (folder / f"said-{rank}.json").write_text(json.dumps(said))


@pytest.mark.slow
def test_two_processes_have_one_model_or_a_reason_not_to(pictures: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_CURRENT_TEST", None)
    process = subprocess.Popen(
        [*command, str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        errors = process.communicate(timeout=900)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors[-3000:]
    said = json.loads((tmp_path / "said-0.json").read_text())
    data = classed(pictures)
    for (name, more), label in zip(CASES, IDS, strict=True):
        objective = objectives.create(name, {key: value for key, value in more.items() if key not in vars(Settings())})
        assert (label in said) == bool(objective.couples), (label, said.get(label))
        if label in said:
            assert "process" in said[label], label
            continue
        first, second = (
            {key: torch.from_numpy(value) for key, value in np.load(tmp_path / f"{label}-{rank}.npz").items()}
            for rank in (0, 1)
        )
        assert_same(first, second)
        if name in ("autoencoder", "topk", "jumprelu", "sparse", "vq", "fsq") and label not in said:  # without noise
            alone = state(gone(wants(name, data, pictures), name, **options(name, more)))
            assert_same(alone, first, **CLOSE)


# --- afterwards -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, diabolo.Autoencoder]:
    return {}


@pytest.fixture
def model(
    name: str, more: dict[str, Any], runs: dict[str, diabolo.Autoencoder], tmp_path_factory: pytest.TempPathFactory
) -> diabolo.Autoencoder:
    """A run on scikit-learn's digits, trained once."""
    key = f"{name} {more}"
    if key not in runs:
        own = {"latent_dim": 4, **SMALL.get(name, {}), **more}
        own |= {} if "network" in own else {"widths": (16,)}
        folder = tmp_path_factory.mktemp("run") / "run"
        runs[key] = diabolo.train("digits", model=name, epochs=2, precision="float32", seed=1, out=folder, **own)
    return runs[key]


def labels_for(model: diabolo.Autoencoder, count: int) -> np.ndarray | None:
    return None if model.model.objective.labels == "none" else np.arange(count) % 10


@each
def test_an_export_gives_the_same_codes_and_pictures(model: diabolo.Autoencoder, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from diabolo.export import export_onnx

    exported = export_onnx(model, tmp_path)
    x, y = np.asarray(open_dataset("digits").x[:7], np.float32), labels_for(model, 7)
    given = {} if y is None else {"y": y}
    encoder, decoder = (onnxruntime.InferenceSession(path) for path in (exported.encoder, exported.decoder))
    code, *tokens = encoder.run(None, {"x": x, **given})
    assert np.allclose(code, model.encode(x, y, flat=True), atol=1e-4)
    fed = {"tokens": tokens[0]} if model.model.objective.entries else {"code": code, **given}
    pictures = model.decode(tokens=tokens[0]) if "tokens" in fed else model.decode(code, y)
    assert np.allclose(decoder.run(None, fed)[0], pictures, atol=1e-4)


@each
def test_a_fresh_process_finds_the_same_model(model: diabolo.Autoencoder) -> None:
    again = diabolo.load(str(model.folder))
    x, y = open_dataset("digits").x[:9], labels_for(model, 9)
    assert np.array_equal(again.encode(x, y), model.encode(x, y))
    assert np.array_equal(again.reconstruct(x, y), model.reconstruct(x, y))
    again.save(model.folder.parent / "saved")  # type: ignore[union-attr]
    assert np.array_equal(diabolo.load(model.folder.parent / "saved").encode(x, y), model.encode(x, y))  # type: ignore[union-attr]


@each
def test_it_is_measured_told_of_and_shown(model: diabolo.Autoencoder, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fastapi")
    run = str(model.folder)
    for command in (["evaluate", run, "--samples", "5"], ["report", run], ["info", run]):
        assert main(command) == 0, capsys.readouterr().err
    assert "Reconstructions" in (Path(run) / "report.html").read_text(encoding="utf-8")
    assert open_atlas(model, points=40).codes.shape[0] == 40
    shown = explore(model, points=40)
    try:
        with urllib.request.urlopen(shown.url, timeout=30) as answer:
            assert answer.status == 200
    finally:
        shown.stop()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
