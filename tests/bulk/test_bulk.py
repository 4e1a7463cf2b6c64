"""Large jobs in this process: pieces like those of the source, taken up where they were left, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pieces import CUTS, KIND, break_inside, rows_of

from diabolo import bulk
from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk import _pieces as _source
from diabolo.datasets import Dataset
from diabolo.errors import ConfigError, DataError, MissingExtraError, ShapeError, StorageError
from diabolo.runs.run import train
from diabolo.runs.tables import read_codes
from diabolo.storage.parquet import read_parquet_columns, write_parquet

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("environment")


def codes_of(folder: Path) -> np.ndarray:
    rows = rows_of(folder)
    return np.stack([rows[f"z{number}"] for number in (1, 2, 3)], axis=1)


def test_a_piece_for_each_parquet_file_row_by_row(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    done = bulk.run(model, shards, tmp_path / "codes", data=KIND)
    assert (done.rows, done.pieces, done.skipped) == (2600, 5, 0)
    rows = rows_of(done.folder)
    assert list(rows) == ["row", "label", "z1", "z2", "z3"]
    assert rows["z1"].dtype == np.float32
    np.testing.assert_array_equal(rows["row"], np.arange(2600))
    np.testing.assert_array_equal(rows["label"], np.where(x[:, 0] > 99, "a", "b"))
    np.testing.assert_array_equal(codes_of(done.folder), model.encode(x))
    for number, (start, stop) in enumerate(itertools.pairwise(CUTS)):
        piece = read_parquet_columns(done.folder / f"piece-{number:05}.parquet")
        np.testing.assert_array_equal(piece["row"], np.arange(start, stop))
    np.testing.assert_array_equal(read_codes(done.folder), model.encode(x))


def test_a_pattern_names_files_too(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    (shards / ".hidden.parquet").write_bytes(b"nothing")
    done = bulk.run(model, f"{shards}/*-[03].parquet", tmp_path / "codes", data=KIND)
    np.testing.assert_array_equal(codes_of(done.folder), model.encode(np.concatenate([x[:1300], x[1301:1550]])))


def test_other_sources_are_cut_into_pieces(model: Autoencoder, trained: Path, tmp_path: Path, x: Any) -> None:
    done = bulk.run(model, trained.parent / "x.npy", tmp_path / "codes", piece_rows=1000)
    sizes = [len(read_parquet_columns(path)["row"]) for path in sorted(done.folder.glob("piece-*"))]
    assert sizes == [1000, 1000, 600]
    np.testing.assert_array_equal(codes_of(done.folder), model.encode(x))
    own = bulk.run(model, None, tmp_path / "own", piece_rows=700)
    np.testing.assert_array_equal(codes_of(own.folder), model.encode(x))


def test_names_and_continuous_labels_stay(tmp_path: Path, model: Autoencoder, x: Any) -> None:
    y = np.linspace(0, 1, 50, dtype=np.float32)
    data = Dataset(x[:50], "F", "named", y=y, ids=tuple(f"f/{i}" for i in range(50)))
    rows = rows_of(bulk.run(model, data, tmp_path / "codes", piece_rows=20).folder)
    assert rows["id"].tolist() == list(data.ids)
    np.testing.assert_array_equal(rows["label"], y)


class Slow:
    """An array-like that remembers what was read of it at once."""

    def __init__(self, x: np.ndarray, blocks: list[int]) -> None:
        self.x, self.shape, self.dtype, self.ndim, self.nbytes = x, x.shape, x.dtype, x.ndim, x.nbytes
        self.itemsize = x.itemsize
        self.blocks = np.array(blocks)
        self.read: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, key: slice) -> np.ndarray:
        self.read.append((key.start, key.stop))
        return self.x[key]


def test_memory_is_bounded_and_blocks_stay_whole(
    model: Autoencoder, tmp_path: Path, x: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = np.concatenate([x] * 4)
    slow = Slow(many, [0, 2500, 4000, 10_000, 10_400])
    monkeypatch.setattr(_source, "_PART_BYTES", 64 * 2000)  # 2,000 rows of 16 floats
    monkeypatch.setattr(_source, "_BLOCK_BYTES", 16 * 2000)
    done = bulk.run(model, Dataset(slow, "F", "slow"), tmp_path / "codes", piece_rows=4500)
    assert [len(read_parquet_columns(path)["row"]) for path in sorted(done.folder.glob("piece-*"))] == [4000, 6000, 400]
    parts = [pair for pair in slow.read if pair[1] - pair[0] <= 2000]
    assert parts[-6:] == [(0, 2000), (2000, 4000), (4000, 6000), (6000, 8000), (8000, 10_000), (10_000, 10_400)]
    np.testing.assert_array_equal(codes_of(done.folder), model.encode(many))


@pytest.mark.parametrize(("group", "sizes"), [(1000, [2000, 600]), (100, [2500, 100])])
def test_data_on_disk_are_read_in_row_groups(
    model: Autoencoder, tmp_path: Path, x: Any, group: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    values = arrow.FixedSizeListArray.from_arrays(arrow.array(x.reshape(-1)), 16)
    parquet.write_table(arrow.table({"x": values}), tmp_path / "x.parquet", row_group_size=group)
    monkeypatch.setattr(_source, "_BLOCK_BYTES", 16 * 500)
    done = bulk.run(model, tmp_path / "x.parquet", tmp_path / "codes", data={"memory": 0}, piece_rows=2500)
    assert [len(read_parquet_columns(path)["row"]) for path in sorted(done.folder.glob("piece-*"))] == sizes
    np.testing.assert_array_equal(codes_of(done.folder), model.encode(x))


def test_scores_and_anomalies(run: Path, shards: Path, tmp_path: Path, x: Any) -> None:
    model = Autoencoder.load(run)
    model.calibrate(x[:500], false_alarms=0.1)
    done = bulk.run(model, shards, tmp_path / "scores", bulk.Score(threshold=True), data=KIND)
    rows, expected = rows_of(done.folder), model.score(x)
    np.testing.assert_allclose(rows["elbo"], expected, rtol=1e-6)
    np.testing.assert_array_equal(rows["anomaly"], model.threshold.exceeded(rows["elbo"]))
    np.testing.assert_array_equal(rows["p_value"], model.threshold.p_values(rows["elbo"]))
    assert 0 < rows["anomaly"].sum() < 600
    assert done.summary["sum"] == pytest.approx(expected.sum(dtype=np.float64))
    assert done.summary["largest"] == rows["elbo"].max()
    assert done.summary["anomalies"] == rows["anomaly"].sum()
    again = bulk.run(model, shards, tmp_path / "scores", bulk.Score(threshold=True), data=KIND)
    assert (again.skipped, again.summary) == (5, done.summary)


@pytest.mark.parametrize("kind", ["reconstruction", "surprise", "likelihood", "latent"])
def test_each_kind_of_score(model: Autoencoder, shards: Path, tmp_path: Path, x: Any, kind: str) -> None:
    draws = 2 if kind == "likelihood" else None
    done = bulk.run(model, shards, tmp_path / "s", bulk.Score(kind, draws, seed=3), data=KIND)
    expected = model.score(x, kind=kind, draws=draws, seed=3)
    np.testing.assert_allclose(rows_of(done.folder)[kind], expected, rtol=1e-6)


def test_reconstructions(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    done = bulk.run(model, shards, tmp_path / "back", bulk.Reconstruct(), data=KIND)
    rows = rows_of(done.folder)
    np.testing.assert_allclose(np.stack(rows["x"]), model.reconstruct(x), rtol=1e-6)  # a chunk's last values may round
    parts = [model.reconstruct(x[start:stop]) for start, stop in itertools.pairwise(CUTS) if start < stop]
    np.testing.assert_array_equal(np.stack(rows["x"]), np.concatenate(parts))


def test_a_job_goes_on_where_it_was(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    folder = bulk.run(model, shards, tmp_path / "codes", data=KIND).folder
    (folder / "piece-00001.parquet").unlink()
    (folder / "piece-00003.parquet").write_bytes(b"PAR1 cut off")
    (folder / ".piece-00001.parquet.abc.part.parquet").write_bytes(b"of a killed process")
    kept = [folder / f"piece-0000{number}.parquet" for number in (0, 2, 4)]
    before = [path.stat().st_mtime_ns for path in kept]
    done = bulk.run(model, shards, folder, data=KIND)
    assert done.skipped == 3
    assert [path.stat().st_mtime_ns for path in kept] == before
    np.testing.assert_array_equal(codes_of(folder), model.encode(x))
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", *(f"piece-0000{i}.parquet" for i in range(5))]
    job = json.loads((folder / "job.json").read_text())
    assert job["finished"] is True
    assert job["pieces"][3]["file"] == "part-3.parquet"
    assert job["pieces"][3]["size"] == (shards / "part-3.parquet").stat().st_size


class Stop(bulk.Bar):
    """A bar in front of which somebody presses Ctrl-C."""

    def advance(self, rows: int) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_job_leaves_whole_pieces(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        bulk.run(model, shards, tmp_path / "codes", data=KIND, bar=Stop())
    assert [path.name for path in (tmp_path / "codes").iterdir()] == ["job.json"]
    assert json.loads((tmp_path / "codes" / "job.json").read_text())["finished"] is False
    bulk.run(model, shards, tmp_path / "codes", data=KIND)
    np.testing.assert_array_equal(codes_of(tmp_path / "codes"), model.encode(x))


@pytest.mark.parametrize(
    ("operation", "data", "says"),
    [
        (bulk.Score(), KIND, "what is computed differs. It was name='encode'"),
        (bulk.Encode(), {**KIND, "layout": "F"}, "the source differs. It was options={'labels': 'kind'}"),
    ],
)
def test_another_jobs_folder_is_refused(
    model: Autoencoder, shards: Path, tmp_path: Path, operation: Any, data: Any, says: str
) -> None:
    folder = bulk.run(model, shards, tmp_path / "codes", data=KIND).folder
    before = (folder / "job.json").read_bytes()
    with pytest.raises(ConfigError) as caught:
        bulk.run(model, shards, folder, operation, data=data)
    assert f"{folder} holds the pieces of another job: {says}" in str(caught.value)
    assert "Choose another folder, or empty this one." in str(caught.value)
    assert (folder / "job.json").read_bytes() == before


def test_another_models_folder_is_refused(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    folder = bulk.run(model, shards, tmp_path / "codes", data=KIND).folder
    other = train(x, model="vae", epochs=1, widths=(16,), latent_dim=3, seed=1)
    with pytest.raises(ConfigError, match=r"another job: the model differs. It was blake2b:"):
        bulk.run(other, shards, folder, data=KIND)


def test_pieces_whose_rows_changed_are_refused(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    folder = bulk.run(model, shards, tmp_path / "codes", data=KIND).folder
    columns = {f"p{i}": 255 - x[1301:1550, i] for i in range(16)}
    write_parquet(shards / "part-3.parquet", {**columns, "kind": np.full(249, "a")})
    with pytest.raises(ConfigError, match=r"piece-00003.parquet was made from rows that are no longer.*digest="):
        bulk.run(model, shards, folder, data=KIND)
    (folder / "piece-00003.parquet").unlink()
    assert bulk.run(model, shards, folder, data=KIND).skipped == 4
    (shards / "part-4.parquet").unlink()
    with pytest.raises(ConfigError, match=r"piece-00004.parquet has no counterpart in the source"):
        bulk.run(model, shards, folder, data=KIND)


def test_strangers_in_the_folder(model: Autoencoder, shards: Path, tmp_path: Path) -> None:
    first = bulk.run(model, shards, tmp_path / "codes", data=KIND).folder
    second = bulk.run(model, shards, tmp_path / "scores", bulk.Score(), data=KIND).folder
    shutil.copy(second / "piece-00002.parquet", first)
    with pytest.raises(ConfigError, match=r"piece-00002.parquet was made by another job than the others"):
        bulk.run(model, shards, first, data=KIND)
    with pytest.raises(ConfigError, match=r"is not empty and holds no job.json"):
        bulk.run(model, shards, shards, data=KIND)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file, and pieces go into a folder"):
        bulk.run(model, shards, tmp_path / "file", data=KIND)


@pytest.mark.parametrize(("number", "rows"), [(0, "0 to 1,299"), (3, "1,301 to 1,549")])
def test_a_broken_file_costs_its_own_piece(
    model: Autoencoder, shards: Path, tmp_path: Path, x: Any, number: int, rows: str
) -> None:
    path = shards / f"part-{number}.parquet"
    whole = break_inside(path)
    with pytest.raises(DataError) as caught:
        bulk.run(model, shards, tmp_path / "codes", data=KIND)
    for word in ("1 of 5 pieces could not be made", f"piece-0000{number}.parquet (part-{number}.parquet, rows {rows})"):
        assert word in str(caught.value)
    assert "repair the source, start the same again, and only what is missing is made" in str(caught.value)
    assert len(list((tmp_path / "codes").glob("piece-*"))) == 4
    path.write_bytes(whole)
    assert bulk.run(model, shards, tmp_path / "codes", data=KIND).skipped == 4
    np.testing.assert_array_equal(codes_of(tmp_path / "codes"), model.encode(x))


def test_a_value_that_is_missing_costs_its_own_piece(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    part = (x[1301:1550] / 255).astype(np.float32)
    part[7, 3] = np.nan
    columns = {f"p{i}": part[:, i] for i in range(16)}
    write_parquet(shards / "part-3.parquet", {**columns, "kind": np.full(249, "a")})
    with pytest.raises(
        DataError, match=r"1 of 5 pieces .*rows 1,301 to 1,549.*NaN or infinite.* example 7, column 'p3'"
    ):
        bulk.run(model, shards, tmp_path / "codes", data=KIND)
    assert len(list((tmp_path / "codes").glob("piece-*"))) == 4


def test_an_output_that_cannot_be_written(model: Autoencoder, shards: Path, tmp_path: Path) -> None:
    folder = bulk.run(model, shards, tmp_path / "codes", data=KIND).folder
    (folder / "piece-00003.parquet").unlink()
    (folder / "piece-00003.parquet").mkdir()
    with pytest.raises(StorageError, match=r"piece-00003.parquet could not be written: .* Choose another folder"):
        bulk.run(model, shards, folder, data=KIND)


def test_a_truncated_file_is_found_before_anything_is_made(model: Autoencoder, shards: Path, tmp_path: Path) -> None:
    path = shards / "part-3.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"part-3.parquet cannot be read as Parquet: .* Nothing was computed"):
        bulk.run(model, shards, tmp_path / "codes", data=KIND)
    assert not (tmp_path / "codes").exists()


def test_what_cannot_be(model: Autoencoder, shards: Path, tmp_path: Path, x: Any) -> None:
    out = tmp_path / "codes"
    with pytest.raises(ConfigError, match=r"piece_rows should be a number of rows of at least 1, and was given 0"):
        bulk.run(model, x, out, piece_rows=0)
    with pytest.raises(ShapeError, match=r"expects examples of shape \(16,\)"):
        bulk.run(model, x[:, :9], out)
    with pytest.raises(ConfigError, match=r"no score named 'elvo'. Did you mean 'elbo'"):
        bulk.run(model, x, out, bulk.Score("elvo"))
    with pytest.raises(ConfigError, match=r"keeps no threshold for these scores"):
        bulk.run(model, x, out, bulk.Score(threshold=True))
    (tmp_path / "empty").mkdir()
    write_parquet(tmp_path / "empty" / "a.parquet", {"p": np.empty(0, np.uint8)})
    with pytest.raises(DataError, match="hold no rows"):
        bulk.run(model, tmp_path / "empty", out)
    assert not out.exists()


def test_without_pyarrow(model: Autoencoder, x: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"A folder of Parquet pieces needs the package 'pyarrow'"):
        bulk.run(model, x, tmp_path / "codes")


@pytest.mark.usefixtures("here")
def test_the_command_line_makes_pieces(command: Command, run: Path, shards: Path, x: Any) -> None:
    model = Autoencoder.load(run)
    said = command("encode", run, shards, "--labels", "kind", "-o", "codes/")
    assert (said.status, said.err, said.out) == (0, "", "2,600 codes of 3 numbers in 5 pieces -> codes\n")
    np.testing.assert_array_equal(codes_of(Path("codes")), model.encode(x))
    said = command("encode", run, shards, "--labels", "kind", "-o", "codes", "--json")  # a folder by now
    assert json.loads(said.out) == {"out": "codes", "count": 2600, "pieces": 5, "skipped": 5}
    assert command("decode", run, "--codes", "codes", "-o", "back.npy").status == 0
    np.testing.assert_array_equal(np.load("back.npy"), model.decode(model.encode(x)))
    said = command("reconstruct", run, "--piece-rows", 1000, "-o", "back/")
    assert said.out == "2,600 examples of shape (16,) in 3 pieces -> back\n"
    said = command("score", run, shards, "--labels", "kind", "--threshold", 0.1, "-o", "scores/", "--json")
    found, scores = json.loads(said.out), model.score(x)
    assert found["mean"] == pytest.approx(scores.mean())
    assert found["anomalies"] == (scores > found["threshold"]["value"]).sum()
    said = command("score", run, shards, "--labels", "kind", "-o", "scores/")
    assert f"2,600 elbo scores: mean {scores.mean():.3f}, largest {scores.max():.3f} nats" in said.out
    assert "scores in 5 pieces, 5 of them there before -> scores" in said.out


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("-o codes", 2, "codes should end in .npz, .csv or .parquet"),
        ("--executor ray -o codes.npz", 2, "--out should name one, such as codes/, and was given 'codes.npz'"),
        ("--ray-address auto -o codes/", 2, "--ray-address is for --executor ray"),
        ("--piece-rows 5", 2, "--piece-rows is for a folder of pieces: --out codes/"),
        ("--piece-rows 0 -o codes/", 2, "piece_rows should be a number of rows of at least 1"),
        ("--executor spark", 2, "invalid choice: 'spark'"),
        ("--executor ray --workers 0", 2, "workers should be a number of at least 1, and was given 0"),
        ("--executor ray", 1, "The executor Ray (--executor ray) needs the package 'ray', which is not installed"),
    ],
)
@pytest.mark.usefixtures("here")
def test_words_that_cannot_be(
    command: Command, run: Path, words: str, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    said = command("encode", run, *words.split())
    assert said.status == status
    assert says in said.err
    assert not Path("codes").exists()


@pytest.mark.usefixtures("here")
def test_heat_maps_are_for_one_file(command: Command, run: Path) -> None:
    said = command("score", run, "--heatmaps", "-o", "scores/")
    assert said.status == 2
    assert "heatmaps should be left out where the scores go into a folder" in said.err
