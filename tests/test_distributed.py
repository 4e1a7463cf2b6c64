"""Several processes train what one would: the same losses, one who writes, one end for all.

Run by torchrun, this file is the worker of its own tests: it goes through all scenes and writes down what it saw.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.errors import ConfigError, DataError, StorageError, TrainingError
from diabolo.models.distributions import DiagonalGaussian
from diabolo.storage.history import read_history
from diabolo.training import Callback, Interrupted, Trainer, Training
from diabolo.training.distributed import ProcessGroup, _TorchGroup, join, share
from diabolo.training.partial_noise import Part, PartialNoise

COMMON: dict[str, Any] = {"latent_dim": 3, "epochs": 3, "precision": "float32", "log_every": 1, "seed": 2}
# 72 examples to train on: the last batch of 71 has one example, which leaves a process with none.
AUTOENCODER: dict[str, Any] = {**COMMON, "batch_size": 71, "widths": (8,)}
VAE: dict[str, Any] = {**COMMON, "model": "vae", "batch_size": 30, "widths": (8,), "ema": 0.8, "clip": 5.0, "lr": 0.01}
VAE |= {"likelihood": "bernoulli"}  # which learns no single number: its weights can be shared out
CONV = {
    **COMMON,
    "model": "denoising",
    "network": "conv",
    "channels": (4, 6),
    "hidden": (8,),
    "batch_size": 31,
    "accumulate": 3,
    "noise": "masking=0.3",
    "schedule": "cosine",
    "keep": "last",
    "optimizer": "sgd",  # whose steps are as long as the gradient; Adam forgives a wrong factor
    "likelihood": "bernoulli",  # whose gradients stay small enough for it: rounding does not grow from step to step
    "momentum": 0.9,
    "lr": 0.003,
}
RUNS: dict[str, dict[str, Any]] = {
    "autoencoder": AUTOENCODER,
    "vae": VAE,
    "conv": CONV,
    "sharded": {**VAE, "sharding": "full"},
    "plateau": {
        **AUTOENCODER,
        "epochs": 6,
        "schedule": "plateau",
        "lr_patience": 1,
        "lr_decay": 0.5,
        "lr": 1.0,
        "start": "mean",
        "spectral": "both",
        "optimizer": "adamax",
        "likelihood": "bernoulli",
    },
    "vamp": {**COMMON, "model": "vamp", "components": 10, "widths": (8,), "batch_size": 30},
    "vq": {**COMMON, "model": "vq", "positions": 3, "codes": 8, "widths": (8,), "batch_size": 31, "accumulate": 2},
    "patient": {**AUTOENCODER, "epochs": 40, "patience": 1, "lr": 0.3, "log_every": 0, "start": "random"},
}


# --- what the worker does ---------------------------------------------------------------------------------------------


class Hook(Callback):
    """Does something after a step; only the first process has callbacks that are told."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.at = at
        self.action = action

    def step(self, training: Training, loss: float) -> None:
        if training.steps == self.at:
            self.action()


@contextlib.contextmanager
def after_step(at: int, rank: int, action: Callable[[], None]) -> Iterator[None]:
    """While it lasts, one process does something after a step of its training."""
    take = Trainer._step

    def step(self: Trainer, batch: Any) -> float:
        value = take(self, batch)
        if self.steps == at and self.processes.rank == rank:
            action()
        return value

    Trainer._step = step  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer._step = take  # type: ignore[method-assign]


@contextlib.contextmanager
def little_memory(most: int, rank: int) -> Iterator[None]:
    """While it lasts, one process's device has no room for more than so many examples with their gradients."""
    from diabolo.models.model import Model

    forward = Model.forward

    def limited(self: Model, x: torch.Tensor, *more: Any) -> Any:
        if self.training and len(x) > most and int(os.environ.get("RANK", "0")) == rank:
            raise torch.OutOfMemoryError("CUDA out of memory (says a test)")
        return forward(self, x, *more)

    Model.forward = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        Model.forward = forward  # type: ignore[method-assign]


@contextlib.contextmanager
def recorded_writes() -> Iterator[list[str]]:
    """The names of all files that this process writes."""
    names: list[str] = []
    replace, opened = Path.replace, Path.open

    def replacing(self: Path, target: Any) -> Path:
        names.append(Path(target).name)
        return replace(self, target)

    def opening(self: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode == "a":
            names.append(self.name)
        return opened(self, mode, *more, **options)

    Path.replace, Path.open = replacing, opening  # type: ignore[method-assign, assignment]
    try:
        yield names
    finally:
        Path.replace, Path.open = replace, opened  # type: ignore[method-assign]


def trained(out: Path, name: str, x: np.ndarray) -> dict[str, Any]:
    with recorded_writes() as written:
        model = diabolo.train(x, out=out / name, **RUNS[name])
    codes = model.encode(x[:5])
    return {"result": model.info["result"], "history": model.history, "codes": codes.tolist(), "written": written}


def stopped(out: Path, x: np.ndarray, **options: Any) -> dict[str, Any]:
    with after_step(4, 1, lambda: os.kill(os.getpid(), signal.SIGTERM)):
        try:
            diabolo.train(x, out=out, **{**VAE, **options})
        except Interrupted:
            return {"stopped": True}
    return {"stopped": False}


def gone_on(out: Path, x: np.ndarray) -> dict[str, Any]:
    """Resumes what one process had begun; before that, the weights are those of one process too."""
    diabolo.resume(out / "begun-by-one", source=x).go()
    return {}


def refused(run: Callable[[], object]) -> dict[str, str]:
    try:
        run()
    except (ConfigError, DataError, StorageError, TrainingError) as error:
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": "none", "message": ""}


def short_of_memory(out: Path, x: np.ndarray) -> dict[str, Any]:
    with little_memory(9, rank=1):
        diabolo.train(x, out=out / "short-of-memory", **VAE)
    return {}


def never_enough_memory(x: np.ndarray) -> None:
    with little_memory(0, rank=1):
        diabolo.train(x, **VAE)


def full_disk(out: Path, x: np.ndarray) -> None:
    def fsync(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = os.fsync
    run = diabolo.runs.run.start(diabolo.runs.config.make_run_config(x, **AUTOENCODER), out / "full-disk")
    try:
        if os.environ["RANK"] == "0":
            os.fsync = fsync  # type: ignore[assignment]
        run.go()
    finally:
        os.fsync = before


def blown_up(x: np.ndarray) -> None:
    diabolo.train(x, **{**AUTOENCODER, "optimizer": "sgd", "lr": 1e30, "log_every": 0, "likelihood": "gaussian"})


def work(out: Path) -> None:
    """All scenes, one after the other, among the same processes."""
    import diabolo.runs.config
    import diabolo.runs.run

    torch.set_num_threads(1)
    logging.getLogger("diabolo").addHandler(handler := Said())
    rank = int(os.environ["RANK"])
    x = np.load(out / "x.npy")
    other = x if rank == 0 else x[::-1].copy()
    seen: dict[str, Any] = {name: trained(out, name, x) for name in RUNS}
    seen["stopped"] = stopped(out / "stopped", x)
    for name in ("shares-to-shares", "shares-to-one"):
        seen[name] = stopped(out / name, x, sharding="full")
    diabolo.resume(out / "shares-to-shares", source=x).go()
    seen["gone-on"] = gone_on(out, x)
    seen["short-of-memory"] = short_of_memory(out, x)
    seen["other-data"] = refused(lambda: diabolo.train(other, out=out / "never", **VAE))
    seen["other-command"] = refused(lambda: diabolo.train(x, **{**VAE, "beta": 1.0 + rank}))
    seen["small-batch"] = refused(lambda: diabolo.train(x, **{**VAE, "batch_size": 1}))
    learned = {**VAE, "likelihood": "gaussian", "variance": "learned", "sharding": "full"}
    seen["single-number"] = refused(lambda: diabolo.train(x, **learned))
    seen["no-memory"] = refused(lambda: never_enough_memory(x))
    seen["blown-up"] = refused(lambda: blown_up(x))
    seen["full-disk"] = refused(lambda: full_disk(out, x))
    seen["said"] = handler.lines
    (out / f"seen-{rank}.json").write_text(json.dumps(seen))
    join("cpu").close()


class Said(logging.Handler):
    """The lines that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


# --- what two processes saw -------------------------------------------------------------------------------------------


def torchrun(*words: object, processes: int = 2, **options: Any) -> subprocess.CompletedProcess[str]:
    """Starts processes that meet on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    environment.pop("PYTEST_CURRENT_TEST", None)
    return subprocess.run(
        [*command, *map(str, words)], env=environment, capture_output=True, text=True, timeout=1200, **options
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return read_history(folder / "history.jsonl")


def numbers(line: dict[str, Any]) -> dict[str, float]:
    """Every number of a line of the history but its time."""
    return {
        f"{part}.{name}": value
        for part in ("train", "validation")
        for name, values in line.get(part, {}).items()
        for value in (values if isinstance(values, list) else [values])
    } | {name: line[name] for name in ("step", "lr", "epoch") if name in line}


def assert_same_losses(one: Path, several: Path) -> None:
    """Every loss, after every step and epoch, is that of one process within the rounding of float32."""
    expected, got = lines(one), lines(several)
    assert [line["kind"] for line in got] == [line["kind"] for line in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-4, abs=2e-6)
    weights = [diabolo.load(folder).model.state_dict() for folder in (one, several)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5, msg=name)


class Two:
    """What two processes left behind, beside what one does with the same."""

    def __init__(self, folder: Path, x: np.ndarray) -> None:
        self.folder = folder
        self.x = x
        self.seen = [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in (0, 1)]

    def both(self, scene: str) -> list[dict[str, Any]]:
        return [seen[scene] for seen in self.seen]

    def alone(self, name: str, **options: Any) -> Path:
        """The folder of the same run by one process."""
        folder = self.folder / "alone" / name
        if not folder.exists():
            diabolo.train(self.x, out=folder, **options)
        return folder


@pytest.fixture(scope="module")
def two(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Two:
    """All scenes, gone through once by two processes."""
    folder = tmp_path_factory.mktemp("together")
    np.save(folder / "x.npy", pictures)
    with pytest.raises(Interrupted):
        diabolo.train(
            pictures,
            out=folder / "begun-by-one",
            callbacks=[Hook(4, lambda: signal.raise_signal(signal.SIGINT))],
            **VAE,
        )
    done = torchrun(__file__, folder)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr
    return Two(folder, pictures)


@pytest.mark.parametrize("name", ["autoencoder", "vae", "conv", "plateau", "vamp", "vq"])
def test_two_processes_get_the_losses_of_one(two: Two, name: str) -> None:
    """Noise included; whatever the parts, the average of the weights, the size of the last batch."""
    one = two.alone(name, **{**RUNS[name], "accumulate": 1})
    assert_same_losses(one, two.folder / name)
    result = diabolo.load(one).info["result"]
    for seen in two.both(name):
        assert seen["result"]["test"]["loss"] == pytest.approx(result["test"]["loss"], rel=1e-5)
        assert seen["result"]["test"]["active_units"] == result["test"]["active_units"]
        np.testing.assert_allclose(seen["codes"], diabolo.load(one).encode(two.x[:5]), rtol=1e-3, atol=1e-4)


def test_two_processes_lower_the_rate_at_the_same_epoch(two: Two) -> None:
    rates = [line["lr"] for line in lines(two.folder / "plateau") if line["kind"] == "epoch"]
    assert rates[-1] < rates[0], "there was something to agree on"
    assert rates == [line["lr"] for line in lines(two.alone("plateau", **RUNS["plateau"])) if line["kind"] == "epoch"]


def test_a_model_in_shares_gets_the_losses_of_a_whole_one(two: Two) -> None:
    assert_same_losses(two.alone("vae", **VAE), two.folder / "sharded")
    codes = [np.array(seen["codes"]) for seen in two.both("sharded")]
    assert np.array_equal(*codes)
    np.testing.assert_allclose(codes[0], diabolo.load(two.folder / "sharded").encode(two.x[:5]), atol=1e-6)


def test_one_process_writes(two: Two) -> None:
    for name in RUNS:
        first, second = two.both(name)
        assert {"config.json", "last.safetensors", "model.safetensors", "history.jsonl"} <= set(first["written"])
        assert second["written"] == []
        assert [line["step"] for line in second["history"]] == [line["step"] for line in first["history"]]


def test_two_processes_stop_at_the_same_epoch(two: Two) -> None:
    one = diabolo.load(two.alone("patient", **RUNS["patient"])).info["result"]
    assert one["epochs"] < 40
    for seen in two.both("patient"):
        assert (seen["result"]["epochs"], seen["result"]["kept_epoch"]) == (one["epochs"], one["kept_epoch"])


def test_what_two_began_one_ends(two: Two) -> None:
    """The signal reached the second process only, after step 4; both stopped after step 5."""
    assert two.both("stopped") == [{"stopped": True}] * 2
    run = diabolo.resume(two.folder / "stopped", source=two.x)
    assert run.training.steps == 5
    run.go()
    assert_same_losses(two.alone("vae", **VAE), two.folder / "stopped")


def test_shares_are_taken_up_again_by_as_many_or_by_one(two: Two) -> None:
    diabolo.resume(two.folder / "shares-to-one", source=two.x).go()
    for name in ("shares-to-one", "shares-to-shares"):
        assert two.both(name) == [{"stopped": True}] * 2
        assert_same_losses(two.alone("vae", **VAE), two.folder / name)


def test_what_one_began_two_end(two: Two) -> None:
    assert_same_losses(two.alone("vae", **VAE), two.folder / "begun-by-one")


def test_a_process_short_of_memory_takes_all_to_smaller_parts(two: Two) -> None:
    assert_same_losses(two.alone("vae", **VAE), two.folder / "short-of-memory")
    said = [line for line in two.seen[0]["said"] if "ran out of memory" in line]
    assert said == [
        "Process 0 of 2: cpu ran out of memory: each batch of 30 is now computed in 2 parts, with the same result "
        "(accumulate=2)."
    ] + [line for line in said[1:] if "parts" in line]
    assert not any("ran out of memory" in line for line in two.seen[1]["said"])


@pytest.mark.parametrize(
    ("scene", "kind", "words"),
    [
        ("other-data", "DataError", ["All 2 processes should have the same data", "blake2b:", "same files on each"]),
        ("other-command", "DataError", ["should have the same model", "'beta': 1.0", "'beta': 2.0"]),
        ("small-batch", "ConfigError", ["at least one example for each of the 2 processes, and has 1", "batch_size"]),
        ("single-number", "ConfigError", ["sharding='full'", "is a single number", "sharding='none'"]),
        ("no-memory", "TrainingError", ["not even one example at a time fits", "smaller network"]),
        ("blown-up", "DivergedError", ["Training diverged", "reconstruction became", "lower lr"]),
        ("full-disk", "StorageError", ["No space left on device", "diabolo resume"]),
    ],
)
def test_every_process_says_what_is_wrong(two: Two, scene: str, kind: str, words: list[str]) -> None:
    for seen in two.both(scene):
        assert seen["kind"] == kind, seen["message"]
        for word in words:
            assert word in seen["message"]
    assert not (two.folder / "never").exists()


# --- one process ------------------------------------------------------------------------------------------------------


def test_shares_are_even_and_cover_all() -> None:
    for count in range(12):
        for parts in range(1, 6):
            shares = [share(count, part, parts) for part in range(parts)]
            assert shares[0][0] == 0
            assert shares[-1][1] == count
            assert all(before[1] == after[0] for before, after in itertools.pairwise(shares))
            sizes = [stop - start for start, stop in shares]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("bounds", [(0, 3), (3, 7), (6, 7)])
def test_noise_of_a_part_is_that_of_the_whole_batch(bounds: tuple[int, int]) -> None:
    chances = torch.rand(7, 2, 5, 5).contiguous(memory_format=torch.channels_last)
    code = DiagonalGaussian(torch.zeros(7, 3), torch.zeros(7, 3))

    def draw(rows: slice, generator: torch.Generator) -> list[torch.Tensor]:
        part = DiagonalGaussian(code.mean[rows], code.log_variance[rows])
        return [
            part.noise(generator),
            torch.bernoulli(chances[rows], generator=generator),
            torch.rand(chances[rows].shape, generator=generator),
        ]

    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    whole = draw(slice(None), generators[0])
    with PartialNoise(generators[1], Part(*bounds, 7), (0, 0)):
        part = draw(slice(*bounds), generators[1])
    for ours, theirs in zip(part, whole, strict=True):
        assert torch.equal(ours, theirs[bounds[0] : bounds[1]])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_other_draws_are_the_part_s_own_and_leave_the_shared_generator_alone() -> None:
    shared = torch.Generator().manual_seed(5)
    before = shared.get_state()
    drawn = []
    for bounds in ((0, 3), (3, 7), (3, 7)):
        with PartialNoise(shared, Part(*bounds, 7), (1, 2)):
            drawn.append(torch.randn(99, 2, generator=shared))
    assert torch.equal(shared.get_state(), before)
    assert torch.equal(drawn[1], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_dropout_of_a_part_is_its_own_and_leaves_torch_s_generator_alone() -> None:
    shared, dropped = torch.Generator().manual_seed(5), []
    before = torch.get_rng_state()
    for bounds in ((0, 3), (3, 7), (3, 7)):
        with PartialNoise(shared, Part(*bounds, 7), (1, 2)):
            dropped.append(torch.nn.functional.dropout(torch.ones(99)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(dropped[1], dropped[2])
    assert not torch.equal(dropped[0], dropped[1])


@pytest.mark.parametrize("parts", [2, 5, 30])
def test_a_batch_in_parts_is_the_same_step(pictures: np.ndarray, tmp_path: Path, parts: int) -> None:
    options = {**VAE, "binarize": "dynamic", "draws": 2}
    for name, accumulate in (("whole", 1), ("parts", parts)):
        diabolo.train(pictures, out=tmp_path / name, **{**options, "accumulate": accumulate})
    assert_same_losses(tmp_path / "whole", tmp_path / "parts")


def test_out_of_memory_halves_the_batch_and_says_so(
    pictures: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**AUTOENCODER, "batch_size": 30}
    diabolo.train(pictures, out=tmp_path / "whole", **options)
    with little_memory(8, rank=0):
        diabolo.train(pictures, out=tmp_path / "parts", **options)
    assert [record.getMessage() for record in caplog.records if record.name == "diabolo"] == [
        f"cpu ran out of memory: each batch of 30 is now computed in {parts} parts, with the same result "
        f"(accumulate={parts})."
        for parts in (2, 4)
    ]
    assert_same_losses(tmp_path / "whole", tmp_path / "parts")


def test_an_example_that_does_not_fit_is_an_error(pictures: np.ndarray) -> None:
    with (
        little_memory(0, rank=0),
        pytest.raises(TrainingError, match=r"cpu ran out of memory, and not even one example"),
    ):
        diabolo.train(pictures, **AUTOENCODER)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate should be a number of parts from 1 to batch_size, 64, and was given 0"),
        ({"accumulate": 9, "batch_size": 8}, "from 1 to batch_size, 8, and was given 9"),
        ({"sharding": "some"}, "sharding should be none | full"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        diabolo.Settings(**options)
    assert message in str(caught.value)


def test_half_an_environment_is_refused(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(
        ConfigError, match=r"WORLD_SIZE is 2, and MASTER_ADDR, MASTER_PORT should be set with it.*torchrun"
    ):
        diabolo.train(pictures, **AUTOENCODER)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match=r"WORLD_SIZE should be a number, and was given .two."):
        join()


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone = join()
    assert type(alone) is ProcessGroup
    assert (alone.rank, alone.count, alone.is_first) == (0, 1, True)
    assert alone.all_reduce([1.5, 2]) == [1.5, 2]
    assert alone.any(True)
    assert not alone.any(False)
    alone.require_same({"data": "a"})
    assert not torch.distributed.is_initialized()


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    one = _TorchGroup.__new__(_TorchGroup)
    one.rank, one.count, one.here, one._local_rank = 3, 4, 2, 1
    assert one.device("auto") == "cuda:1"
    assert one.device("cuda") == "cuda:1"
    assert one.device("cpu") == "cpu"
    assert taken == [1, 1]
    with pytest.raises(ConfigError, match=r"device='cuda:0' would put 2 processes on one GPU: say 'cuda'"):
        one.device("cuda:0")
    one.here = 3
    with pytest.raises(
        ConfigError, match=r"this machine has 2 for 3 processes: torchrun --nproc-per-node 2, or --device"
    ):
        one.device("auto")


# --- the command line -------------------------------------------------------------------------------------------------

DIGITS = ["--batch-size", 110, "--widths", 8, "--latent-dim", 3, "--precision", "float32", "--quiet", "--no-report"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_killed_process_ends_all_and_any_number_goes_on(tmp_path: Path, processes: int) -> None:
    source = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_distributed import after_step
from diabolo.cli import main
with after_step(20, 1, lambda: os.kill(os.getpid(), signal.SIGKILL)):
    sys.exit(main())
"""
    (tmp_path / "killed.py").write_text(source)
    words = ["train", "digits", "--model", "vae", "--epochs", 3, *DIGITS, "--checkpoint-seconds", 0, "--out", "run"]
    done = torchrun(tmp_path / "killed.py", *words, cwd=tmp_path)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("diabolo:")]
    assert len(said) == 1
    assert "Process 0 of 2 lost the connection to another one" in said[0]
    assert "torchrun --nproc-per-node 2 -m diabolo resume run" in said[0]
    assert len(lines(tmp_path / "run")) == 1
    done = torchrun("-m", "diabolo", "resume", "run", "--quiet", "--no-report", processes=processes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Trained 3 epochs") == 1
    whole = tmp_path / "whole"
    diabolo.train(
        "digits", model="vae", epochs=3, batch_size=110, widths=8, latent_dim=3, precision="float32", out=whole
    )
    assert_same_losses(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_process_that_fails_says_so_and_ends_all(tmp_path: Path) -> None:
    source = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_distributed import after_step
from diabolo.cli import main

def fail():
    raise KeyError("nobody expected this")

with after_step(5, 1, fail):
    sys.exit(main())
"""
    (tmp_path / "failing.py").write_text(source)
    done = torchrun(tmp_path / "failing.py", "train", "digits", *DIGITS, "--out", "run", cwd=tmp_path)
    said = sorted(line for line in done.stderr.splitlines() if line.startswith("diabolo:"))
    assert done.returncode != 0
    assert len(said) == 2
    assert "Process 0 of 2 lost the connection" in said[0]
    assert "KeyError: 'nobody expected this'" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "rmsprop", "sgd"])
def test_every_optimizer_among_three(tmp_path: Path, optimizer: str, sharding: str) -> None:
    options = ["--optimizer", optimizer, "--lr", 1e-3 if optimizer != "sgd" else 1e-5, "--momentum", 0.5, "--epochs", 2]
    options += ["--model", "vae", "--network", "resnet", "--channels", "4,6", "--binarize", "dynamic", "--ema", 0.9]
    words = ["train", "digits", *options, *[word for word in DIGITS if word not in ("--widths", 8)]]
    done = torchrun("-m", "diabolo", *words, "--out", "three", "--sharding", sharding, processes=3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Warning" not in done.stderr
    one = subprocess.run(
        [sys.executable, "-m", "diabolo", *map(str, words), "--out", "one"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert one.returncode == 0, one.stderr
    assert_same_losses(tmp_path / "one", tmp_path / "three")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
