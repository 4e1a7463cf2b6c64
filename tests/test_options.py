"""Every option of every command with hostile values: some, and more of them with `-m slow`.

Each call is a process of its own, forked from this one, with a bound on its memory and its seconds. It ends in an
answer or in one sentence.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.cli import COMMANDS, _parser, main
from diabolo.cli._streams import sturdy_streams
from diabolo.errors import StorageError
from diabolo.runs.config import make_run_config
from diabolo.storage.checkpoint import save_tensors
from diabolo.storage.files import write_text

MEMORY = 2**30  # bytes that a call may take, beyond what the process had before
SECONDS = 60
VALUES = [
    "", " ", "-", "--", "---", "=", ",", ",,", ".", "..", "./", "~", "*", "?", "%", "%s", "{}", "{0}", "$HOME",
    "`id`", "|", "&", ";", "'", '"', "\\", "\n", "a\nb", "\t", "\x1b[31m", "\u202e", "\udcff", "é", "😀", "١", "½",
    "None", "none", "null", "auto", "true", "false", "yes", "0", "-0", "1", "-1", "2", "0.5", "-0.5", "1e3", "1e308",
    "1e309", "-1e309", "1e-320", "nan", "inf", "-inf", "0x10", "1_000", "65536", "2147483648", "9223372036854775808",
    "9" * 40, "9" * 5000, "1,2", "1,,2", "1,a", "2x2", "a", "a:b", "os:system", "a=b", "a=1", "a" * 5000,
    "../../etc/passwd", "[]", '{"a": 1}', "<b>", "-h", "x.npy", "x.csv", "nothere/x.png", "run", "fifo",
]  # fmt: skip
READ = ["/", "/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self/fd/0"]  # for what is only read
WRITTEN = {"-o", "--out", "--heatmaps", "--report", "--export", "--data-dir", "--ray-address"}
DATA = "data"  # the group of options that many commands share: those of two stand for all
QUICK = ("info", "decode", "sample", "edit", "traverse", "datasets", "encode", "score", "fit-prior")
TOO_LONG = {("train", "--epochs"), ("resume", "--epochs"), ("demo", "--epochs")}
WORDS = {
    command: words.split()
    for command, words in {
        "demo": "--out new",
        "train": "x.npy --layout HW --epochs 1 --out new --quiet",
        "resume": "run",
        "info": "run",
        "plot": "run",
        "report": "run",
        "encode": "run x.npy -o y.npz",
        "decode": "run --code 0,0",
        "reconstruct": "run x.npy -o y.npz",
        "denoise": "run x.npy",
        "sample": "run -n 3",
        "fit-prior": "run x.npy --kind gaussian",
        "interpolate": "run one.npy one.npy",
        "traverse": "run one.npy",
        "neighbours": "run one.npy --source x.npy -k 2",
        "concept": "learn run x.csv --labels kind --positive a --name b",
        "edit": "run x.npy",
        "score": "run x.npy",
        "evaluate": "run x.npy",
        "compare": "run run --source x.npy",
        "export": "run",
        "import-pythae": "run",
        "explore": "run x.npy --no-browser",
        "serve": "run",
        "models": "",
        "recipes": "",
        "datasets": "x.npy",
    }.items()
}


class FoundError(Exception):
    """A parser that knows its options."""


def options_of(command: str) -> list[tuple[str, bool]]:
    """The options of a command, and whether a value follows; those that many share only of `encode` and `datasets`."""
    parsers = []

    def parse(self: Any, _: Any) -> None:
        parsers.append(self)
        raise FoundError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_parser.Parser, "parse", parse)
        module = importlib.import_module(f"diabolo.cli.{COMMANDS[command][0]}")
        with pytest.raises(FoundError):
            getattr(module, command.replace("-", "_"))(_parser.Parser(prog="diabolo"), list(WORDS[command]))
    shared = [group for group in parsers[0]._action_groups if group.title == DATA]
    of_data = {action for group in shared for action in group._group_actions}
    actions = [action for action in parsers[0]._actions if action.option_strings]
    actions = [action for action in actions if action not in of_data or command in ("encode", "datasets")]
    return [(action.option_strings[-1], action.nargs != 0) for action in actions] + [("", True)] * bool(WORDS[command])


def calls() -> list[list[str]]:
    """All calls: command, words."""
    made = []
    for command in COMMANDS:
        for option, takes in options_of(command):
            values = VALUES + [
                value for value in READ if option not in WRITTEN and (option or command != "import-pythae")
            ]
            for value in values if takes else ["", "x"]:
                if option and (command, option) in TOO_LONG and value.isdecimal() and len(value) > 2:
                    continue
                joined = f"{option}={value}" if option.startswith("--") else value
                place = [option, value] if option.startswith("-") and not option.startswith("--") else [joined]
                made.append([command, *WORDS[command], *place])
    return made


def place(folder: Path) -> Path:
    """A folder with a run, an array, a table, one example and a pipe."""
    folder.mkdir()
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8)
    np.save(folder / "x.npy", x)
    np.save(folder / "one.npy", x[:1])
    rows = [",".join([*map(str, one.ravel()), "ab"[number % 2]]) for number, one in enumerate(x)]
    (folder / "x.csv").write_text("\n".join([",".join([*(f"p{i}" for i in range(16)), "kind"]), *rows]))
    diabolo.train(x, layout="HW", model="vae", latent_dim=2, widths=(8,), epochs=1, out=folder / "run")
    os.mkfifo(folder / "fifo")
    return folder


def ended(words: list[str], before: Path, folder: Path) -> str:
    """What is wrong with the end of a call; empty for nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder, ignore=lambda *_: {"fifo"})
    os.mkfifo(folder / "fifo")
    reader = os.open(folder / "fifo", os.O_RDWR | os.O_NONBLOCK)  # who opens it does not wait for ever
    said = folder.parent / "said"
    child = os.fork()
    if not child:
        try:
            os.chdir(folder)
            streams = os.open(os.devnull, os.O_RDONLY), os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(streams[0], 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(streams[1], 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            signal.alarm(10 * SECONDS)
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
            status = main(words)
            sys.stderr.flush()
            os._exit(status)
        except BaseException as error:  # noqa: BLE001
            sys.stderr.write(f"Traceback: {type(error).__name__}: {error}")
            sys.stderr.flush()
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(reader)
    text = said.read_text(errors="replace")
    errors = [line for line in text.splitlines() if line.startswith("diabolo: ")]
    wrong = status not in (0, 1, 2) or "Traceback" in text or "a defect of" in text or "an error of the module" in text
    wrong = wrong or (status != 0 and len(errors) != 1) or not (folder / "fifo").is_fifo()
    return f"{[word[:60] for word in words]}: {status}: {text[-400:]}" if wrong else ""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place(tmp_path_factory.mktemp("options") / "before")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers end as soon as they are ready, and `demo` after an epoch."""
    monkeypatch.setattr(pytest.importorskip("uvicorn").Server, "run", lambda *_, **__: None)
    demo = importlib.import_module("diabolo.cli.demo")
    monkeypatch.setattr(demo, "make_run_config", lambda *a, **k: make_run_config(*a, **{**k, "epochs": 1}))


def campaign(chosen: list[list[str]], before: Path, tmp_path: Path) -> list[str]:
    return [wrong for words in chosen if (wrong := ended(words, before, tmp_path / "place"))]


def test_a_sample_of_options(before: Path, tmp_path: Path, short: None) -> None:
    quick = [words for words in calls() if words[0] in QUICK]
    assert campaign(random.Random(19).sample(quick, 10), before, tmp_path) == []


@pytest.mark.slow
def test_many_options(before: Path, tmp_path: Path, short: None) -> None:
    """DIABOLO_OPTIONS says which calls: `all`, `3/16` (a part), --frame,--values, 2000 or 2000-SEED."""
    asked = os.environ.get("DIABOLO_OPTIONS", "2000")
    made = calls()
    if asked.startswith("-"):
        made = [words for words in made if words[-1].partition("=")[0] in asked.split(",")]
    elif "/" in asked:
        part, parts = map(int, asked.split("/"))
        made = made[part - 1 :: parts]
    elif asked != "all":
        number, _, seed = asked.partition("-")
        made = random.Random(int(seed or 19)).sample(made, int(number))
    wrong = campaign(made, before, tmp_path)
    print(f"{len(made):,} calls of {len(COMMANDS)} commands: {len(wrong)} wrong", *wrong, sep="\n")  # noqa: T201
    assert wrong == []


@pytest.mark.parametrize(
    "words", ["sample run -o=--", "sample run -o--", "sample run --out=--", "train x.npy --model=--"]
)
def test_two_dashes_are_no_value(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert "should be followed by a value, and was given '--'" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["evaluate run x.npy --limit 20", "sample run -n 2 -o y.npz"])
def test_any_seed_will_do(words: str, before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(before)
    for seed in (2**32, 2**63, "9" * 40):
        assert main([*words.split(), "--seed", str(seed)]) == 0


@pytest.mark.parametrize(
    "words",
    [
        "traverse run one.npy --dim=NUMBER",
        "traverse run one.npy --dim=zNUMBER",
        "neighbours run NUMBER --source x.npy",
        "decode run long.csv",
        "train x-{0..NUMBER}.npy",
        "datasets x.csv --header=NUMBER",
        "datasets x.npy --white=NUMBER",
        "encode run x.npy -o codes --format parquet --workers 2 --ray-address=here:NUMBER",
    ],
)
def test_numbers_longer_than_python_reads(
    words: str, before: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """int() fails on 5,000 digits with a ValueError of its own."""
    monkeypatch.chdir(before)
    number = "9" * 5000
    Path("long.csv").write_text(f"z1,z{number}\n0,0\n")
    assert main(words.replace("NUMBER", number).split()) in (1, 2)
    said = capsys.readouterr().err
    assert sum(line.startswith("diabolo: ") for line in said.splitlines()) == 1
    assert "a defect of" not in said


def test_paths_that_are_no_text_are_printed_as_their_bytes(before: Path, tmp_path: Path) -> None:
    for encoding, expected in (("utf-8", b"\xc3\xa9\xff\\ud800"), ("ascii", b"\\xe9\xff\\ud800")):
        with (tmp_path / "out").open("w", encoding=encoding) as stream, contextlib.redirect_stdout(stream):
            with sturdy_streams():
                print("\xe9\udcff\ud800", end="")  # noqa: T201
            assert stream.errors == "strict"
        assert (tmp_path / "out").read_bytes() == expected


def test_a_current_folder_that_was_removed(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, place = diabolo.load(before / "run"), tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    for words in ("models", "info run", f"sample {before / 'run'}"):
        assert main(words.split()) == 1
        assert "diabolo: The folder that you are in is not there any more" in capsys.readouterr().err
    x = np.zeros((9, 4), np.float32)
    for call in (
        lambda: diabolo.train(x, out="run"), lambda: model.save("run"), lambda: diabolo.open_dataset("x.npy"),
    ):  # fmt: skip
        with pytest.raises(StorageError, match="change to another, and call again"):
            call()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are those of Linux")
def test_a_file_that_memory_does_not_hold_is_no_abort(tmp_path: Path) -> None:
    """safetensors aborts, or panics, where memory ends while it writes."""
    tensors = {"x": torch.zeros(2**28)}  # 1 GiB, of which no page is touched: a copy fits into the limit, and not two
    child = os.fork()
    if not child:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 3 * 2**29, resource.RLIM_INFINITY))
        try:
            save_tensors(tmp_path / "x.safetensors", tensors, {})
        except MemoryError:
            os._exit(7)
        except BaseException:  # noqa: BLE001
            os._exit(8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert [*tmp_path.iterdir()] == []


def test_no_device_is_written_over(before: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rename would put a file in its place."""
    assert main(["sample", str(before / "run"), "-n", "2", "-o", str(before / "fifo")]) != 0
    with pytest.raises(StorageError, match="is a device or a pipe, and no file: choose another name"):
        write_text(before / "fifo", "x")
    assert (before / "fifo").is_fifo()


def test_all_commands_are_walked() -> None:
    count = Counter(words[0] for words in calls())
    assert count.keys() == COMMANDS.keys()
    assert len(VALUES) >= 75
    assert min(count[name] for name in ("train", "encode", "score")) > 500
