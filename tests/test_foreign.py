"""Bytes from outside: mutated runs end in one error of diabolo's or in right answers, in bounded memory."""

from __future__ import annotations

import copy
import gzip
import importlib.util
import json
import random
import resource
import struct
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diabolo
from diabolo.cli import main
from diabolo.errors import DiaboloError, DivergedError
from diabolo.latent.anomalies import SCORES
from diabolo.runs.config import run_config_of
from diabolo.storage.parquet import write_parquet
from diabolo.training.speed.compiled_step import _cache_folder

X = np.random.default_rng(0).integers(0, 256, (120, 6, 6), dtype=np.uint8)
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**25, 10**5000, 0.5, -1e308, float("inf"), float("nan"), "", "x",
    "none", "\ud800", "\0", "a" * 5000, [], [1], [[]], {}, {"a": 1}, [None], ["x"], "../../etc", "os:system", 1e-320,
]  # fmt: skip


def entries(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all entries of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for key, item in items for one in ((*path, key), *entries(item, (*path, key)))]


def written(value: Any) -> str:
    """JSON text also of what JSON cannot hold: numbers of thousands of digits, NaN, lone surrogates."""
    text = json.dumps(value, default=lambda item: f"@{item}")
    return text.replace('"@long"', "1" * 5000).replace('"@deep"', "[" * 100_000 + "]" * 100_000)


def edited(value: Any, rng: random.Random) -> Any:
    """A JSON value with one entry gone, of another type, or under another name."""
    value = copy.deepcopy(value)
    *path, last = rng.choice(entries(value))
    place = value
    for key in path:
        place = place[key]
    kind = rng.choice(["delete", "value", "value", "value", "long", "deep", "nest", "rename", "double"])
    if kind == "delete":
        del place[last]
    elif kind == "nest":
        place[last] = [place[last]]
    elif kind == "rename" and isinstance(place, dict):
        place[last + "x"] = place.pop(last)
    elif kind == "double" and isinstance(place, list):
        place.append(place[last])
    else:
        place[last] = f"@{kind}" if kind in ("long", "deep") else rng.choice([v for v in VALUES if v != 10**5000])
    return value


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes with some flipped, cut off, doubled, or put in."""
    at = rng.randrange(max(1, min(len(data), rng.choice([16, 200, len(data)]))))
    kind = rng.choice(["flip", "flip", "cut", "double", "insert", "zero", "text", "empty"])
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    return {
        "cut": data[:at],
        "double": data[:at] + data[at:] * 2,
        "insert": data[:at] + rng.randbytes(rng.choice([1, 2, 8, 100])) + data[at:],
        "zero": data[:at] + bytes(8) + data[at + 8 :],
        "text": b"<html>not found</html>",
        "empty": b"",
    }[kind]


def mutate(path: Path, rng: random.Random) -> None:
    """Changes a file as people, disks and attackers do."""
    data = path.read_bytes()
    if rng.random() < 0.3:
        path.write_bytes(damaged(data, rng))
    elif path.suffix == ".json":
        path.write_text(written(edited(json.loads(data), rng)))
    elif path.suffix == ".jsonl":
        lines = [json.loads(line) for line in data.splitlines()]
        at = rng.randrange(len(lines))
        lines[at] = edited(lines[at], rng)
        path.write_text("".join(written(line) + "\n" for line in lines))
    else:
        length = struct.unpack("<Q", data[:8])[0]
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        if rng.random() < 0.5:
            header["__metadata__"]["diabolo"] = written(
                edited(json.loads(header["__metadata__"]["diabolo"]) or {"a": 1}, rng)
            )
        else:
            header = edited(header, rng)
        text = written(header).encode()
        body = damaged(body, rng) if rng.random() < 0.2 else body
        path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def use(run: Path) -> None:
    """Everything that a run is read for."""
    model = diabolo.load(run)
    codes = model.encode(X[:4])
    for array in (codes, model.decode(codes), model.sample(2, seed=0), model.score(X[:4]), model.edit(X[:2], "odd")):
        assert np.isfinite(array).all()
    model.detect(X[:4])
    repr(model), model._repr_html_()


COMMANDS: list[Callable[[Path], list[str]]] = [
    lambda run: ["info", str(run)],
    lambda run: ["encode", str(run), str(run.parent / "x.npy"), "-o", str(run.parent / "codes.csv")],
    lambda run: ["score", str(run), str(run.parent / "x.npy"), "--detect"],
    lambda run: ["sample", str(run), "-o", str(run.parent / "new.npz")],
    lambda run: ["evaluate", str(run), str(run.parent / "x.npy")],
    lambda run: ["concept", "list", str(run)],
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "run"
    labels = np.arange(len(X)) % 2
    model = diabolo.train(
        X, labels=labels, model="vae", latent_dim=2, widths=(8,), epochs=2, out=folder, engine="torch"
    )
    model.fit_prior("gmm", X, components=2)
    model.calibrate(X, false_alarms=0.1)
    model.learn_concept("odd", X, labels, positive=1)
    model.save(folder)
    np.save(folder.parent / "x.npy", X[:8])
    return folder


def campaign(run: Path, seeds: range, capsys: pytest.CaptureFixture[str], every: int) -> Counter[str]:
    """Mutates one file of a run after the other; each `every`-th time a command is tried, too."""
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "last.safetensors"]
    kept = {path: path.read_bytes() for path in files}
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        rng = random.Random(seed)
        path = rng.choice([*files, run / "config.json", run / "config.json"])
        mutate(path, rng)
        where = f"seed {seed}, {path.name}"
        try:
            use(run)
            outcomes["right"] += 1
        except DiaboloError as error:
            outcomes["refused" if len(str(error)) < 2000 else "too many words"] += 1
        except Exception as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
        if seed % every == 0:
            command = rng.choice(COMMANDS)(run)
            capsys.readouterr()
            main(command)
            err = capsys.readouterr().err
            assert "defect" not in err, f"{where}, {command[0]}: {err}"
            assert "Traceback" not in err, f"{where}, {command[0]}: {err}"
        path.write_bytes(kept[path])
    return outcomes


def grown(before: int) -> float:
    """How much the most memory that this process has held grew, in bytes."""
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def test_mutated_runs_end_in_one_error_or_in_right_answers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = campaign(run, range(500), capsys, every=5)
    assert outcomes.keys() == {"refused", "right"}
    assert outcomes["refused"] > 200
    assert grown(before) < 1e9


@pytest.mark.slow
def test_ten_thousand_mutated_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = campaign(run, range(1000, 11_000), capsys, every=5)
    assert outcomes.keys() == {"refused", "right"}
    assert grown(before) < 1e9


# --- sources ----------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    shape = array.shape if shape is None else shape
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """The file that is changed, and the source that it belongs to."""
    folder = tmp_path_factory.mktemp("sources")
    np.save(folder / "a.npy", X)
    np.savez_compressed(folder / "a.npz", x=X, y=np.arange(len(X)) % 2)
    (folder / "a.csv").write_text("a,b,kind\n" + "".join(f"{i},{i * i},{'xy'[i % 2]}\n" for i in range(40)))
    for name in ("idx", "faces"):
        (folder / name).mkdir()
    (folder / "idx/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X)))
    for number in range(4):
        Image.fromarray(X[number].repeat(4, 0).repeat(4, 1)).save(folder / f"faces/{number}.png")
    with tarfile.open(folder / "a.tar", "w") as archive:
        for path in sorted((folder / "faces").iterdir()):
            archive.add(path, path.name)
    plain = [folder / name for name in ("a.npy", "a.npz", "a.csv", "a.tar")]
    whole = {folder / "idx/train-images-idx3-ubyte.gz": folder / "idx", folder / "faces/1.png": folder / "faces"}
    if importlib.util.find_spec("pyarrow"):
        write_parquet(folder / "a.parquet", {"a": np.arange(40.0), "b": np.arange(40) % 7})
        plain.append(folder / "a.parquet")
    return {path: path for path in plain} | whole


def open_changed(sources: dict[Path, Path], seeds: range) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        rng = random.Random(seed)
        path = rng.choice(list(sources))
        kept = path.read_bytes()
        path.write_bytes(damaged(kept, rng))
        try:
            dataset = diabolo.open_dataset(sources[path])
            assert np.asarray(dataset.x[: len(dataset)]).dtype.kind in "fiub"
            outcomes["right"] += 1
        except DiaboloError:
            outcomes["refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, {path.name}: {type(error).__name__}: {error}") from error
        finally:
            path.write_bytes(kept)
    return outcomes


def test_changed_sources(sources: dict[Path, Path]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert open_changed(sources, range(100))["refused"] > 30
    assert grown(before) < 5e8


@pytest.mark.slow
def test_a_thousand_changed_sources(sources: dict[Path, Path]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert open_changed(sources, range(1000, 2000)).total() == 1000
    assert grown(before) < 5e8


def npy(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file that promises that much, with eight values."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def write(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(10**11)


def bomb(path: Path) -> None:
    with gzip.open(path, "wb") as stream:
        stream.write(idx(np.zeros(8, np.uint8), (2, 2, 2)))
        for _ in range(300):
            stream.write(bytes(2**20))


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy((10**12, 2)))


IDX = "train-images-idx3-ubyte"
HARMFUL: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "npy of a terabyte": ("a.npy", write(npy((10**12, 2))), "cannot be read"),
    "npz of a terabyte": ("a.npz", zip_bomb, "truncated: its header promises 2,000,000,000,000 bytes"),
    "npy of 99 axes": ("a.npy", write(npy((1,) * 99)), "cannot be read"),
    "zeros for ever as csv": ("a.csv", link("/dev/zero"), "no regular file"),
    "zeros for ever as npy": ("a.npy", link("/dev/zero"), "no regular file"),
    "one line of 100 GB": ("a.csv", sparse, "cannot be read as a table"),
    "idx that promises much": (IDX + ".gz", write(gzip.compress(idx(X, (2**31, 2**31, 9)))), "truncated"),
    "idx of 255 axes": (IDX, write(idx(X[0, 0, :1], (1,) * 255)), "dimension"),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_sizes_and_kinds_are_asked_before_memory_is(tmp_path: Path, what: str) -> None:
    name, make, words = HARMFUL[what]
    make(tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DiaboloError, match=words):
        diabolo.open_dataset(tmp_path if "idx" in name else tmp_path / name)
    assert grown(before) < 4e8


def test_what_follows_the_promised_bytes_of_a_gzip_file_is_not_unpacked(tmp_path: Path) -> None:
    bomb(tmp_path / "train-images-idx3-ubyte.gz")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert diabolo.open_dataset(tmp_path).event_shape == (2, 2)
    assert grown(before) < 1e8


def test_an_absent_setting_is_said(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = json.loads((run / "config.json").read_text())
    del config["model"]["options"]["beta"], config["data"]["classes"], config["run_config"]["settings"]["lr"]
    kept = (run / "config.json").read_text()
    (run / "config.json").write_text(json.dumps(config))
    try:
        run_config_of(diabolo.load(run))
    finally:
        (run / "config.json").write_text(kept)
    assert "it.data has no 'classes'" in caplog.text
    assert "does not say all of the model 'vae': beta=1.0 taken" in caplog.text
    assert "does not say all settings of training: lr=" in caplog.text


# --- results ----------------------------------------------------------------------------------------------------------

DOORS: dict[str, Callable[[diabolo.Autoencoder], Any]] = {
    "encode": lambda model: model.encode(X),
    "encode a draw": lambda model: model.encode(X, sample=True, seed=0),
    "decode": lambda model: model.decode([[0.0, 0.0]]),
    "sample": lambda model: model.sample(3, seed=0),
    "reconstruct": lambda model: model.reconstruct(X),
    "one": lambda model: model.reconstruct(X[:1]),
    "surprise": lambda model: model.surprise(X),
    "loss_terms": lambda model: model.loss_terms(X),
    "edit": lambda model: model.edit(X, "odd"),
    "interpolate": lambda model: model.interpolate(X[0], X[1]),
    "traverse": lambda model: model.traverse(X[0], 0, [0, 1]),
    "manifold": lambda model: model.manifold(3),
    "neighbours": lambda model: model.neighbours(X, X[:2]),
    "detect": lambda model: model.detect(X),
    "calibrate": lambda model: model.calibrate(X, false_alarms=0.1),
    "fit_prior": lambda model: model.fit_prior("gaussian", X),
    **{f"score {kind}": lambda model, kind=kind: model.score(X, kind=kind) for kind in SCORES},  # type: ignore[misc]
}


@pytest.mark.parametrize("value", [np.inf])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("door", DOORS)
def test_weights_that_are_not_finite_are_said(run: Path, door: str, part: str, value: float) -> None:
    model = diabolo.load(run)
    with torch.no_grad():
        next(getattr(model.model, part).parameters()).fill_(value)
    model = diabolo.Autoencoder(model.model, model.info, artifacts=model.artifacts)
    with pytest.raises(DivergedError, match=rf"weights of this model hold NaN or infinite numbers \({part}\."):
        DOORS[door](model)


# --- code -------------------------------------------------------------------------------------------------------------


def test_compiled_code_comes_from_a_folder_of_the_user_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_somebody")
    folder = Path(_cache_folder() or "")
    assert folder.is_relative_to(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert _cache_folder() is None, "others may have put code there"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/dev/null/x")
    assert _cache_folder() is None
