"""Large jobs by Ray's workers: the same pieces as in one process, whatever happens to a worker, a file or the run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pieces import KIND, break_inside, rows_of

from diabolo import bulk
from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk import _ray
from diabolo.errors import ConfigError, DataError, RunError, StorageError
from diabolo.runs.run import train

pytest.importorskip("ray", reason="Ray is not installed: pip install 'diabolo[ray]'")

Command = Callable[..., Any]

pytestmark = [
    pytest.mark.usefixtures("environment"),
    pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning:ray.data.context"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets of Ray's own, whenever they are collected
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="session")
def local_ray() -> Iterator[Any]:
    """One Ray for all these tests, started as the executor starts it."""
    ray = _ray._ray()
    with _ray._started(ray, 2, None):
        yield ray


def same(one: Path, other: Path) -> None:
    first, second = rows_of(one), rows_of(other)
    assert list(first) == list(second)
    for name, column in first.items():
        assert column.dtype == second[name].dtype
        np.testing.assert_array_equal(column, second[name])


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("operation", [bulk.Encode(), bulk.Score("latent"), bulk.Reconstruct()], ids=lambda it: it.name)
def test_the_pieces_are_those_of_one_process(run: Path, shards: Path, tmp_path: Path, operation: Any) -> None:
    model = Autoencoder.load(run)
    alone = bulk.run(model, shards, tmp_path / "alone", operation, data=KIND)
    by_ray = bulk.run(model, str(shards), tmp_path / "ray", operation, data=KIND, executor=bulk.Ray(workers=2))
    assert (by_ray.rows, by_ray.pieces, by_ray.skipped) == (2600, 5, 0)
    assert by_ray.summary == alone.summary
    if operation.name == "reconstruct":
        first, second = (np.stack(rows_of(folder)["x"]) for folder in (alone.folder, by_ray.folder))
        np.testing.assert_array_equal(first, second)
    else:
        same(alone.folder, by_ray.folder)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_either_executor_goes_on_with_the_others_job(run: Path, trained: Path, tmp_path: Path, x: Any) -> None:
    model, source = Autoencoder.load(run), trained.parent / "x.npy"
    whole = bulk.run(model, source, tmp_path / "whole", piece_rows=500)
    shutil.copytree(whole.folder, tmp_path / "part")
    for number in (0, 3):
        (tmp_path / "part" / f"piece-0000{number}.parquet").unlink()
    done = bulk.run(model, source, tmp_path / "part", piece_rows=500, executor=bulk.Ray(workers=1))
    assert (done.pieces, done.skipped) == (6, 4)
    same(whole.folder, done.folder)
    assert bulk.run(model, source, tmp_path / "part", piece_rows=500).skipped == 6


@dataclass(frozen=True)
class Deadly(bulk.Encode):
    """Kills the process that computes it, the first time or always."""

    marker: str = ""
    always: bool = False

    def columns(self, model: Autoencoder, x: Any) -> dict[str, np.ndarray]:
        path = Path(self.marker)
        if self.always or not path.exists():
            path.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().columns(model, x)


@pytest.mark.slow
def test_a_killed_worker_is_replaced(run: Path, shards: Path, tmp_path: Path, x: Any, local_ray: Any) -> None:
    local_ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    model, marker = Autoencoder.load(run), tmp_path / "killed"
    alone = bulk.run(model, shards, tmp_path / "alone", data=KIND)
    executor, operation = bulk.Ray(workers=2), Deadly(marker=str(marker))
    done = bulk.run(model, str(shards), tmp_path / "ray", operation, data=KIND, executor=executor)
    assert int(marker.read_text()) != os.getpid()
    same(alone.folder, done.folder)
    assert not list(done.folder.glob(".*"))  # what the killed process had begun to write


@pytest.mark.slow
def test_what_kills_every_worker_ends_the_job(run: Path, shards: Path, tmp_path: Path, local_ray: Any) -> None:
    local_ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    operation = Deadly(marker=str(tmp_path / "killed"), always=True)
    with pytest.raises(RunError, match=r"The worker that makes piece-0000\d.parquet was killed 4 times"):
        bulk.run(Autoencoder.load(run), str(shards), tmp_path / "ray", operation, data=KIND, executor=bulk.Ray(1))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_broken_file_in_the_middle_costs_its_own_piece(run: Path, shards: Path, tmp_path: Path) -> None:
    path = shards / "part-3.parquet"
    whole = break_inside(path)
    model, executor = Autoencoder.load(run), bulk.Ray(workers=2)
    with pytest.raises(DataError, match=r"1 of 5 pieces could not be made. piece-00003.parquet \(part-3.parquet, rows"):
        bulk.run(model, str(shards), tmp_path / "codes", data=KIND, executor=executor)
    assert len(list((tmp_path / "codes").glob("piece-*"))) == 4
    path.write_bytes(whole)
    assert bulk.run(model, str(shards), tmp_path / "codes", data=KIND, executor=executor).skipped == 4


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_run_that_vanishes_or_changes(run: Path, shards: Path, tmp_path: Path, x: Any) -> None:
    model, executor = Autoencoder.load(run), bulk.Ray(workers=1)
    train(x, model="vae", epochs=1, widths=(16,), latent_dim=3, seed=1).save(tmp_path / "other")
    run.rename(tmp_path / "away")
    with pytest.raises(RunError, match=r"run is not a folder. A run is the folder that training or save wrote"):
        bulk.run(model, str(shards), tmp_path / "codes", data=KIND, executor=executor)
    (tmp_path / "other").rename(run)
    with pytest.raises(RunError, match="does not hold the model that the job began with"):
        bulk.run(model, str(shards), tmp_path / "codes", data=KIND, executor=executor)
    assert [path.name for path in (tmp_path / "codes").iterdir()] == ["job.json"]
    shutil.rmtree(run)
    (tmp_path / "away").rename(run)
    bulk.run(model, str(shards), tmp_path / "codes", data=KIND, executor=executor)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_an_output_that_cannot_be_written(run: Path, shards: Path, tmp_path: Path) -> None:
    folder = bulk.run(Autoencoder.load(run), str(shards), tmp_path / "codes", data=KIND).folder
    (folder / "piece-00002.parquet").unlink()
    (folder / "piece-00002.parquet").mkdir()
    with pytest.raises(StorageError, match=r"piece-00002.parquet could not be written: "):
        bulk.run(Autoencoder.load(run), str(shards), folder, data=KIND, executor=bulk.Ray(workers=1))


def test_what_workers_cannot_have(run: Path, tmp_path: Path, x: Any) -> None:
    model = Autoencoder.load(run)
    with pytest.raises(ConfigError, match=r"read the source themselves: name a path or a known set. A ndarray in"):
        bulk.run(model, x, tmp_path / "codes", executor=bulk.Ray())
    model.folder = None
    with pytest.raises(ConfigError, match=r"load the model from its folder, and it has none: model.save\(FOLDER\)"):
        bulk.run(model, "digits", tmp_path / "codes", executor=bulk.Ray())
    with pytest.raises(ConfigError, match=r"workers should be a number of at least 1, and was given 0"):
        bulk.Ray(workers=0)
    assert not (tmp_path / "codes").exists()


def test_it_listens_on_this_machine_alone(local_ray: Any) -> None:
    """Also says when a newer Ray has moved the switch that the executor turns."""
    assert local_ray.util.get_node_ip_address() == "127.0.0.1"
    assert local_ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    assert {node["NodeManagerAddress"] for node in local_ray.nodes()} == {"127.0.0.1"}


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_the_command_line(command: Command, run: Path, shards: Path, local_ray: Any) -> None:
    before = dict(os.environ)
    said = command("encode", run, shards, "--labels", "kind", "--executor", "ray", "--workers", 1)
    assert (said.status, said.err) == (0, "")
    assert said.out == "2,600 codes of 3 numbers in 5 pieces -> codes\n"
    command("encode", run, shards, "--labels", "kind", "-o", "alone/")
    same(Path("alone"), Path("codes"))
    telemetry = [actor for actor in local_ray.util.list_named_actors(True) if "usage" in actor["name"].lower()]
    assert not telemetry
    assert os.environ.get("RAY_USAGE_STATS_ENABLED") == before.get("RAY_USAGE_STATS_ENABLED")


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_ray_of_its_own(run: Path, shards: Path) -> None:
    """Started and stopped by the command; nothing but the result is printed, though RAY_ADDRESS names no cluster."""
    words = [sys.executable, "-m", "diabolo", "encode", run, shards, "--labels", "kind", "--executor", "ray", "--json"]
    found = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env={**os.environ, "RAY_ADDRESS": "127.0.0.1:9"}
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    assert json.loads(found.stdout) == {"out": "codes", "count": 2600, "pieces": 5, "skipped": 0}


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_a_running_ray_by_its_address(run: Path, shards: Path, local_ray: Any) -> None:
    words = [sys.executable, "-m", "diabolo", "encode", run, shards, "--labels", "kind", "--executor", "ray"]
    found = subprocess.run(
        [*map(str, words), "--workers", "1", "--ray-address", local_ray.get_runtime_context().gcs_address],
        capture_output=True,
        text=True,
        env={**os.environ, **_ray._LOOPBACK},  # as the Ray that it joins, which has no other address
    )
    assert (found.returncode, found.stdout) == (0, "2,600 codes of 3 numbers in 5 pieces -> codes\n"), found.stderr


@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:9", "Connection refused"), ("cluster", "neither 'auto' nor host:port")]
)
def test_an_address_where_no_ray_is(address: str, why: str) -> None:
    real = _ray._ray()
    idle = SimpleNamespace(is_initialized=lambda: False, shutdown=lambda: None, exceptions=real.exceptions)
    with pytest.raises(ConfigError) as caught, _ray._started(idle, 1, address):
        pass
    assert f"No Ray cluster can be reached at {address!r}: " in str(caught.value)
    assert why in str(caught.value)
