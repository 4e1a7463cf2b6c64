"""Bytes from outside: mutated runs end in one error of diabolo's or in right answers, in bounded memory."""

from __future__ import annotations

import copy
import json
import random
import resource
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.cli import main
from diabolo.errors import DiaboloError

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
