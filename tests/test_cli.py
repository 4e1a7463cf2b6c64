"""The command line: what each command writes and prints, how it is found, how it is helped, how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

import diabolo
from diabolo.cli import COMMANDS, main
from diabolo.config import parameters, summary
from diabolo.datasets import known_datasets, open_dataset
from diabolo.devices import choose_device
from diabolo.diagnostics import diagnose_baseline
from diabolo.runs.config import REGISTRIES
from diabolo.runs.recipes import RECIPES
from diabolo.storage import images
from diabolo.training import Settings
from test_pythae import saved

SMALL = ("--epochs", 1, "--widths", 16, "--latent-dim", 2, "--no-report")
PARTS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]
WRITTEN = ["config.json", "examples.safetensors", "history.jsonl", "last.safetensors", "model.safetensors"]
WRITTEN.append("statistics.safetensors")


Command = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE with two numbers for a code, on digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "digits", "--model", "vae", *map(str, SMALL), "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 coloured images of 12 x 10 pixels, in a folder for each of two classes."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for number in range(24):
        place = folder / ("glad" if number % 2 else "sad")
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(place / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def face_run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "faces"
    assert main(["train", str(faces), *map(str, SMALL), "-o", str(folder)]) == 0
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_and_version_answer_at_once() -> None:
    heavy = ("torch", "numpy", "matplotlib", "sklearn", "rich", "PIL")
    code = (
        "import sys; from diabolo.cli import main; assert main(['--help']) == 0; assert main(['--version']) == 0; "
        f"sys.exit(', '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"diabolo {diabolo.__version__}\n")
    assert "usage: diabolo COMMAND" in done.stdout


def test_the_command_is_installed() -> None:
    script = Path(sys.executable).with_name("diabolo")
    if not script.exists():
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run([script, "-V"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"diabolo {diabolo.__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("help",)])
def test_the_overview_names_every_command(command: Command, words: tuple[str, ...]) -> None:
    said = command(*words)
    assert (said.status, said.err) == (0, "")
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", said.out, re.MULTILINE)
    assert "diabolo demo" in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(command: Command, name: str) -> None:
    said = command(name, "--help")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"usage: diabolo {name}")
    assert COMMANDS[name][1].capitalize() + "." in " ".join(said.out.split())


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_s_options_come_from_its_signature(
    command: Command, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100000")
    said = command("train", f"--{kind}", name, "--help")
    assert (said.status, said.err) == (0, "")
    _, _, section = said.out.partition(f"\n{kind} {name}:\n")
    listed = re.sub(r"\n {9,}", "  ", section.split("\n\n")[0]).splitlines()
    options = parameters(REGISTRIES[kind][name])
    assert len(listed) == len(options)
    for line, item in zip(listed, options, strict=True):
        assert item.doc, "every argument is documented"
        assert line.strip().startswith(f"--{item.name.replace('_', '-')} ")
        assert item.doc.rstrip(".").replace("`", "") in line
        if isinstance(item.default, int | float) and not isinstance(item.default, bool):
            assert f"(default: {item.default})" in line


def test_the_options_of_the_three_parts_of_data_and_of_training_stand_together(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100000")
    words = ("--model", "vae", "--network=conv", "--likelihood", "gaussian")
    said = command("train", *words, "--help").out
    for option in ("--beta", "--channels", "--variance", "--layout", "--size", "--latent-dim", "--scaling", "--json"):
        assert re.search(rf"^ +(-o, )?{option}\b", said, re.MULTILINE), option
    for item in parameters(Settings):
        assert item.doc.rstrip(".").replace("`", "") in said
    assert "--widths" not in said
    assert "mnist-vae-conv" in said


def test_a_recipe_brings_its_parts(command: Command) -> None:
    said = command("train", "--recipe", "mnist-vae-conv", "--help").out
    for title in ("model vae:", "network conv:", "likelihood bernoulli:"):
        assert title in said
    assert "network mlp:" in command("train", "--recipe", "mnist-vae-conv", "--network", "mlp", "--help").out


# --- what was meant ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("encod", "no command named 'encod'. Did you mean 'encode'?"),
        ("train digits --epcohs 3", "no option --epcohs. Did you mean --epochs?"),
        ("train digits --latent_dim 3", "no option --latent_dim. Did you mean --latent-dim?"),
        ("train --model vae --bata=3", "no option --bata. Did you mean --beta?"),
        ("train --model=sparse --beta 3", "and the model 'vae' and the model 'vamp', none of which was chosen"),
        (
            "train --channels 3",
            "--channels is an option of the network 'conv' and the network 'resnet', none of which was",
        ),
        ("train --likelihood bernoulli --variance 1", "--variance is an option of the likelihood 'gaussian'"),
        ("train --model", "--model: expected one argument"),
        ("train digits mnist", "one argument too many: 'mnist'"),
        ("train --model vea", "no model named 'vea'. Did you mean 'vae'?"),
        ("train --model vea --help", "no model named 'vea'. Did you mean 'vae'?"),
        ("train --network=cnov", "no network named 'cnov'. Did you mean 'conv'?"),
        ("train --likelihood gausian", "no likelihood named 'gausian'. Did you mean 'gaussian'?"),
        ("train --recipe mnist-vae-con", "no recipe named 'mnist-vae-con'. Did you mean 'mnist-vae-conv'?"),
        ("train --thorough", "'thorough'"),
        ("train --recipe mnist-ae-3d --fast", "'fast'. Known: thorough"),
        ("train --recipe mnist-bottleneck --thorough", "has no presets"),
        ("models vea", "named 'vea'. Did you mean 'vae'?"),
        ("recipes mnist-vae-con", "no recipe named 'mnist-vae-con'. Did you mean 'mnist-vae-conv'?"),
        ("sample", "the following arguments are required: run"),
        ("sample run --sed 3", "no option --sed. Did you mean --seed?"),
        ("sample run -n many", "-n: invalid int value: 'many'"),
        ("info run --jsn", "no option --jsn. Did you mean --json?"),
        ("train --size wide", "--size: it should be N or H,W in pixels, and was given 'wide'"),
        ("train --size 1,2,3", "--size: it should be N or H,W in pixels, and was given '1,2,3'"),
        ("plot run --theme neon", "--theme: invalid choice: 'neon'"),
        ("train --grey --colour", "--colour: not allowed with argument --grey"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(command: Command, words: str, says: str) -> None:
    said = command(*words.split())
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("diabolo: ")
    assert said.err.count("\n") == 1
    assert says in said.err
    assert list(Path().iterdir()) == []


def test_a_defect_is_one_line_unless_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise ZeroDivisionError("one by zero")

    monkeypatch.setattr("diabolo.cli.look.read_config", broken)
    said = command("info", "run")
    assert (said.status, said.out) == (1, "")
    assert "a defect of diabolo's own: ZeroDivisionError: one by zero" in said.err
    monkeypatch.setenv("DIABOLO_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["info", "run"])


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("out of memory")]
)
def test_too_little_memory_is_said_so(command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def greedy(folder: Path) -> None:
        raise error

    monkeypatch.setattr("diabolo.cli.look.read_config", greedy)
    said = command("info", "run")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("diabolo: There is not enough memory for this. Take a smaller batch")
    assert said.err.count("\n") == 1


# --- train and resume -------------------------------------------------------------------------------------------------


def test_train_writes_a_run_and_prints_its_result(command: Command) -> None:
    said = command("train", "digits", *SMALL, "-o", "a/run")
    assert said.status == 0
    assert sorted(path.name for path in Path("a/run").iterdir()) == WRITTEN
    result = json.loads(Path("a/run/config.json").read_text())["result"]
    assert said.out.startswith("Trained 1 epoch in ")
    for words in (f"loss {result['test']['loss']:.3f}", "nats per example", "run     a/run", "diabolo explore a/run"):
        assert words in said.out
    assert "PCA of 2 components" in said.out, "what it is measured against"
    assert "report" not in said.out
    for words in (
        "1,797 images of 8 x 8",
        "10 classes",
        "(8, 8) <-> 2",
        "1,437 examples",
        "likelihood: one variance",
        "epoch   1  train ",
    ):
        assert words in said.err, "progress goes to stderr"
        assert words not in said.out
    assert "\x1b" not in said.out + said.err
    assert "\r" not in said.err


def test_quiet_and_json_say_no_more_than_they_should(command: Command) -> None:
    assert command("train", "digits", *SMALL, "--quiet", "-o", "quiet").err == ""
    said = command("train", "digits", *SMALL, "--start", "random", "--json", "-o", "json")
    assert (said.status, said.err) == (0, "")
    result = json.loads(said.out)
    assert result["run"] == "json"
    assert result["report"] is None
    assert result["epochs"] == result["kept_epoch"] == 1


def test_a_start_that_no_epoch_improved_on_is_told(command: Command) -> None:
    still = ("--optimizer", "sgd", "--lr", 1e-12)
    said = command("train", "digits", *SMALL, *still, "-o", "run")
    assert said.status == 0
    assert json.loads(Path("run/config.json").read_text())["result"]["kept_epoch"] == 0
    assert "the weights are those of the start, which no epoch improved on." in said.out
    assert "PCA of 2 components is as good." in said.out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_is_for_terminals_whose_user_wants_it(
    command: Command, monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    said = command("train", "digits", *SMALL, "-o", "run")
    assert said.status == 0
    shown = terminal.getvalue()
    assert "epoch 1/1" in shown, "the bar"
    assert bool(re.search(r"\x1b\[(\d+;)*3[0-8][;m]", shown)) is not bool(no_color)
    assert "\x1b" not in said.out


def test_options_reach_the_run(command: Command) -> None:
    parts = "--model vae --beta 4 --network conv --channels 4,8 --likelihood gaussian --variance learned"
    rest = "--epochs 1 --latent-dim 3 --lr 2e-3 --optimizer adamw --clip none --seed 3 --quiet --no-report"
    assert command("train", "digits", *parts.split(), *rest.split(), "-o", "run").status == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["latent_dim"] == 3
    assert (config["model"]["name"], config["model"]["options"]["beta"]) == ("vae", 4.0)
    assert (config["network"]["name"], config["network"]["options"]["channels"]) == ("conv", [4, 8])
    assert config["likelihood"] == {"name": "gaussian", "options": {"variance": "learned", "output": "linear"}}
    settings = config["run_config"]["settings"]
    assert [settings[name] for name in ("lr", "optimizer", "clip", "seed")] == [2e-3, "adamw", None, 3]


def test_a_run_has_a_folder_of_its_own(command: Command) -> None:
    for expected in ("runs/digits-autoencoder-mlp", "runs/digits-autoencoder-mlp-2", "runs/digits-autoencoder-mlp-3"):
        said = command("train", *SMALL, "--json")
        assert json.loads(said.out)["run"] == expected
        assert (Path(expected) / "config.json").exists()
    assert "resume runs/digits-autoencoder-mlp" in command(
        "train", *SMALL, "-o", "runs/digits-autoencoder-mlp"
    ).err, "a folder that was named is not replaced by another"  # fmt: skip


def test_no_run_is_written_over_another(command: Command, run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    said = command("train", "digits", *SMALL, "-o", run)
    assert (said.status, said.out) == (2, "")
    assert f"{run} is not empty" in said.err
    assert f"diabolo resume {run}" in said.err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_finished_run_goes_on_where_it_is_asked_to(command: Command, run: Path) -> None:
    shutil.copytree(run, "run")
    said = command("resume", "run")
    assert said.status == 2
    assert "all of its 1 epochs" in said.err
    assert "--epochs 2" in said.err
    said = command("resume", "run", "--epochs", 2, "--no-report")
    assert said.status == 0
    assert "Trained 2 epochs" in said.out
    assert "Going on at epoch 2, step 23." in said.err


def test_an_interrupt_says_how_to_go_on(command: Command, here: Path) -> None:
    code = (  # Ctrl-C is pressed within the process: on a busy machine another one might be too late for it
        "import os, pathlib, signal, sys, threading, time\n"
        "from diabolo.cli import main\n"
        "def press():\n"
        "    while not pathlib.Path('run/history.jsonl').exists():\n"
        "        time.sleep(0.005)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        "sys.exit(main())\n"
    )
    words = "train digits --epochs 600 --batch-size 2000 --widths 8 --latent-dim 2 --no-report -o run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words.split()],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, ""), err[-500:]
    assert "Interrupted. All was saved after step " in err
    assert err.endswith("To go on: diabolo resume run\n")
    assert "Traceback" not in err
    assert "\x1b" not in err, "a pipe is no terminal"
    said = command("info", "run")
    assert said.status == 0
    assert "not finished: diabolo resume goes on with it" in said.out
    said = command("resume", "run", "--json", "--no-report")
    assert said.status == 0
    assert json.loads(said.out)["epochs"] == 600
    assert "not finished" not in command("info", "run").out


@pytest.mark.parametrize(
    "words", ["models", "--help", pytest.param("train digits --epochs 1 --no-report", marks=pytest.mark.slow)]
)
def test_nobody_reads_the_output(words: str, here: Path) -> None:
    """As behind `| head`: the command ends, and is silent about it."""
    with subprocess.Popen(
        [sys.executable, "-m", "diabolo", *words.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 141, err
    assert "Broken" not in err
    assert "Traceback" not in err


@pytest.fixture
def stand_in(here: Path) -> Path:
    """In place of MNIST: 300 soft spots of 28 x 28 pixels."""
    rng = np.random.default_rng(0)
    row, column = rng.uniform(4, 24, (2, 300, 1, 1))
    grid = np.arange(28.0)
    spots = np.exp(-0.05 * ((grid[:, None] - row) ** 2 + (grid - column) ** 2))
    np.savez(here / "mnist.npz", x=(255 * spots).astype(np.uint8), y=np.arange(300) % 10)
    return here / "mnist.npz"


def test_a_recipe_with_its_presets_and_what_is_given_beside_it(command: Command, stand_in: Path) -> None:
    words = ("train", "--recipe", "mnist-ae-3d", stand_in, "--epochs", 1, "--no-report", "--json")
    plain, thorough = (
        json.loads(Path(json.loads(command(*words, *more).out)["run"], "config.json").read_text())
        for more in ((), ("--thorough", "--batch-size", 50))
    )
    assert plain["latent_dim"] == 3
    assert plain["network"]["options"]["widths"] == [128, 64, 12]
    assert [made["run_config"]["recipe"] for made in (plain, thorough)] == [
        ["mnist-ae-3d", None],
        ["mnist-ae-3d", "thorough"],
    ]
    first, second = plain["run_config"]["settings"], thorough["run_config"]["settings"]
    assert [first[name] for name in ("lr", "batch_size", "schedule", "epochs")] == [1e-2, 100, "constant", 1]
    assert [second[name] for name in ("lr", "batch_size", "schedule", "epochs")] == [5e-3, 50, "cosine", 1]
    assert [path.name for path in sorted(Path("runs").iterdir())] == ["mnist-ae-3d", "mnist-ae-3d-thorough"]
    assert Path("runs/mnist-ae-3d/figures/first_five_epoch_0_step_0.png").exists()
    assert "recipe      mnist-ae-3d thorough" in command("info", "runs/mnist-ae-3d-thorough").out


def test_a_recipe_s_own_units(command: Command, stand_in: Path) -> None:
    words = ("--network", "mlp", "--widths", "8", "--batch-size", 64, "--epochs", 1, "--no-report", "--quiet")
    said = command("train", "--recipe", "mnist-vae-conv", stand_in, *words, "-o", "run")
    test = json.loads(Path("run/config.json").read_text())["result"]["test"]
    assert f"in the source's units (nats / 784) {test['loss'] / 784:.4f}" in said.out


# --- JSON -------------------------------------------------------------------------------------------------------------

DONE = {"out", "count"}
RESULT = {"run", "report", "epochs", "kept_epoch", "seconds", "precision", "test", "weights", "baseline"}
JSON: dict[str, tuple[str, set[str]]] = {
    "train": (f"train digits {' '.join(map(str, SMALL))} -o out", RESULT),
    "resume": ("resume {copy} --epochs 2 --no-report", RESULT),
    "info": (
        "info {run}",
        {
            "format",
            "versions",
            "run_config",
            "data",
            "parameters",
            "reasons",
            "result",
            "model",
            "network",
            "likelihood",
            "latent_dim",
        },
    ),
    "encode": ("encode {run}", DONE),
    "decode": ("decode {run} --code 1,2", DONE),
    "reconstruct": ("reconstruct {run}", DONE),
    "sample": ("sample {run}", DONE),
    "denoise": ("denoise {run}", DONE),
    "fit-prior": ("fit-prior {copy} --kind gaussian", {"out", "kind", "options", "count", "held_out"}),
    "interpolate": ("interpolate {run} 1 2", DONE),
    "traverse": ("traverse {run} 1", DONE),
    "neighbours": ("neighbours {run} 1", {"neighbours"}),
    "edit": ("edit {concepts} --concept one=1", DONE),
    "evaluate": ("evaluate {run} --metrics mse,ssim", {"protocol", "measurements"}),
    "compare": ("compare {run} {run} --metrics mse,ssim", {"out"}),
    "score": ("score {run}", DONE | {"mean"}),
    "export": ("export {run} -o onnx", {"out", "encoder", "decoder", "code_difference", "decoded_difference"}),
    "import-pythae": ("import-pythae final_model -o imported", {"run", "imported", "notes"}),
    "models": ("models", {"kind", "name", "summary", "options"}),
    "recipes": ("recipes", {"name", "title", "source", "settings", "notes", "presets"}),
    "datasets": (
        "datasets",
        {"name", "shape", "train", "test", "classes", "licence", "origin", "download_bytes"},
    ),
}


def test_every_command_that_has_json_is_tried(command: Command) -> None:
    assert {name for name in COMMANDS if "--json" in command(name, "--help").out} == set(JSON)


@pytest.mark.parametrize("name", JSON)
def test_json_is_all_that_is_printed(command: Command, run: Path, here: Path, name: str) -> None:
    words, keys = JSON[name]
    if "{copy}" in words or "{concepts}" in words:
        shutil.copytree(run, here / "copy")
    if "final_model" in words:
        saved(here / "final_model", "VAE")
    if "{concepts}" in words:
        assert command("concept", "learn", "copy", "--name", "one", "--positive", 1).status == 0
    said = command(*words.format(run=run, copy="copy", concepts="copy").split(), "--json")
    assert (said.status, said.err) == (0, "")
    found = json.loads(said.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    for entry in found if isinstance(found, list) else [found]:
        assert keys <= entry.keys()
    if "out" in keys:
        assert Path(found["out"]).exists()


def test_json_of_a_source(command: Command) -> None:
    found = json.loads(command("datasets", "digits", "--json").out)
    digits = open_dataset("digits")
    assert found == {
        "name": "digits",
        "examples": 1797,
        "event_shape": [8, 8],
        "layout": "HW",
        "dtype": "float32",
        "classes": list("0123456789"),
        "notes": [],
        "fingerprint": digits.fingerprint,
    }


# --- encode and decode ------------------------------------------------------------------------------------------------


def test_codes_in_every_format_are_the_model_s(command: Command, run: Path) -> None:
    digits = open_dataset("digits")
    assert digits.y is not None
    expected = diabolo.load(run).encode(digits.x)
    for suffix in ("npz", "csv", "parquet"):
        said = command("encode", run, "-o", f"codes.{suffix}")
        assert (said.status, said.out, said.err) == (0, f"1,797 codes of 2 numbers -> codes.{suffix}\n", "")
    held = arrays_of(Path("codes.npz"))
    np.testing.assert_array_equal(held["codes"], expected)
    np.testing.assert_array_equal(held["labels"], digits.y)
    assert held["classes"].tolist() == list(digits.classes)
    rows = rows_of(Path("codes.csv"))
    assert list(rows[0]) == ["label", "z1", "z2"]
    np.testing.assert_array_equal(np.array([[row["z1"], row["z2"]] for row in rows], np.float32), expected)
    assert [row["label"] for row in rows] == [digits.classes[label] for label in digits.y]
    table = pyarrow.parquet.read_table("codes.parquet")
    assert table.column_names == ["label", "z1", "z2"]
    np.testing.assert_array_equal(np.stack([table["z1"], table["z2"]], 1), expected)
    assert table["label"].to_pylist() == [row["label"] for row in rows]


def test_codes_in_every_format_are_decoded_alike(command: Command, run: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez("digits.npz", x=rng.uniform(0, 1, (9, 8, 8)).astype(np.float32))
    model = diabolo.load(run)
    codes = model.encode(arrays_of(Path("digits.npz"))["x"])
    np.save("codes.npy", codes)
    for suffix in ("npz", "csv", "parquet"):
        command("encode", run, "digits.npz", "-o", f"codes.{suffix}")
    for suffix in ("npz", "csv", "parquet", "npy"):
        said = command("decode", run, "--codes", f"codes.{suffix}", "-o", f"{suffix}.npy")
        assert (said.status, said.out) == (0, f"9 examples of shape (8, 8) -> {suffix}.npy\n")
        np.testing.assert_array_equal(np.load(f"{suffix}.npy"), model.decode(codes))


def test_columns_are_taken_by_their_number(command: Command, here: Path) -> None:
    """z10 comes after z2, and what is no code is left alone."""
    words = ("train", "digits", "--epochs", 1, "--widths", 8, "--latent-dim", 11, "--no-report", "-o", "run")
    assert command(*words).status == 0
    assert command("encode", "run", "-o", "codes.csv").status == 0
    assert command("decode", "run", "--codes", "codes.csv", "-o", "x.npy").status == 0
    model = diabolo.load("run")
    np.testing.assert_array_equal(np.load("x.npy"), model.reconstruct(open_dataset("digits").x))


def test_a_layout_that_no_shape_tells_is_the_model_s(command: Command, here: Path) -> None:
    np.save("signals.npy", np.random.default_rng(0).standard_normal((30, 10, 20)))
    assert command("train", "signals.npy", "--layout", "CL", *SMALL, "-o", "run").status == 0
    for words in (("encode", "run"), ("encode", "run", "signals.npy"), ("plot", "run", "signals.npy")):
        assert command(*words, "-o", "out.npz" if words[0] == "encode" else "figures").status == 0
    codes = diabolo.load("run").encode(np.load("signals.npy"))
    np.testing.assert_array_equal(arrays_of(Path("out.npz"))["codes"], codes)


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (["--code", "-0.5,1"], [[-0.5, 1]]),
        (["--code=-0.5,1"], [[-0.5, 1]]),
        (["--code", "-.5,1e0"], [[-0.5, 1]]),
        (["--code", "-0.5 1"], [[-0.5, 1]]),
        (["--code", "0,0", "--code", "-1,2", "--code=3,-4"], [[0, 0], [-1, 2], [3, -4]]),
    ],
)
def test_codes_may_be_typed(command: Command, run: Path, words: list[str], codes: list[list[float]]) -> None:
    said = command("decode", run, *words, "-o", "x.npz")
    assert (said.status, said.err) == (0, "")
    examples = "1 example" if len(codes) == 1 else f"{len(codes)} examples"
    assert said.out == f"{examples} of shape (8, 8) -> x.npz\n"
    np.testing.assert_array_equal(arrays_of(Path("x.npz"))["x"], diabolo.load(run).decode(codes))


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "either --code Z1,Z2,... (as often as you like), or --codes FILE, or --tokens FILE"),
        (["--code", "1,2", "--codes", "codes.npz"], 2, "either --code"),
        (["--code", "1"], 1, "has 2 numbers, and '1' has 1"),
        (["--code", "-1,2,3"], 1, "has 2 numbers, and '-1,2,3' has 3"),
        (["--code", "1,2", "--code", ""], 2, "and '' was given"),
        (["--code", "one,two"], 2, "numbers with commas between them, and 'one,two' was given"),
        (["--code", "nan,1"], 2, "numbers with commas between them"),
        (["--code", "-inf,1"], 2, "numbers with commas between them"),
        (["--code", "1e40,1"], 1, "NaN or infinite"),
        (["--code"], 2, "--code: expected one argument"),
    ],
)
def test_what_is_no_code(command: Command, run: Path, words: list[str], status: int, says: str) -> None:
    said = command("decode", run, *words)
    assert (said.status, said.out) == (status, "")
    assert said.err.count("\n") == 1
    assert says in said.err
    assert list(Path().iterdir()) == []


# --- reconstruct, sample and score ------------------------------------------------------------------------------------


def test_reconstructions(command: Command, run: Path) -> None:
    model, x = diabolo.load(run), open_dataset("digits").x
    said = command("reconstruct", run, "-n", 4)
    assert (said.status, said.out) == (0, "4 examples of shape (8, 8) -> reconstructions.png\n")
    drawn = pixels_of(Path("reconstructions.png"))
    assert drawn.shape == (18 * 16, 18 * 32), "four pairs of 8 x 8, enlarged"
    assert model.examples is not None
    shown = model.examples[:4]  # of the test split
    pairs = images.pairs(model.pixels(shown), model.pixels(model.reconstruct(shown)), columns=4)
    np.testing.assert_array_equal(drawn[4::18, 4::18], pairs)
    for name in ("all.npz", "all.npy"):
        assert command("reconstruct", run, "-n", 4, "-o", name).out.startswith("1,797 examples of shape (8, 8)")
    np.testing.assert_array_equal(np.load("all.npy"), model.reconstruct(x))
    np.testing.assert_array_equal(arrays_of(Path("all.npz"))["x"], np.load("all.npy"))


def test_a_seed_gives_the_same_samples(command: Command, run: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        for suffix in ("png", "npz"):
            assert command("sample", run, "-n", 7, "--seed", seed, "-o", f"{name}.{suffix}").status == 0
    for suffix in ("png", "npz"):
        a, b, c = (Path(f"{name}.{suffix}").read_bytes() for name in "abc")
        assert a == b
        assert a != c
    made = arrays_of(Path("a.npz"))["x"]
    assert (made.shape, made.dtype) == ((7, 8, 8), np.float32)
    np.testing.assert_array_equal(made, diabolo.load(run).sample(7, seed=5))
    assert pixels_of(Path("a.png")).shape == (10 * 8, 10 * 56), "7 of 8 x 8 in one row, enlarged"


def test_a_hundred_samples_are_a_square(command: Command, run: Path) -> None:
    assert command("sample", run).out == "100 examples of shape (8, 8) -> samples.png\n"
    height, width = pixels_of(Path("samples.png")).shape
    assert height == width >= 280


def test_a_table_has_no_pictures(command: Command, here: Path) -> None:
    rng = np.random.default_rng(0)
    text = "\n".join(f"{a:.3f},{b:.3f},{'xyz'[i % 3]}" for i, (a, b) in enumerate(rng.standard_normal((40, 2))))
    Path("table.csv").write_text(f"left,right,kind\n{text}\n")
    assert command("train", "table.csv", "--labels", "kind", *SMALL, "--model", "vae", "-o", "run").status == 0
    for words in (("decode", "run", "--code", "0,0"), ("sample", "run"), ("reconstruct", "run")):
        said = command(*words)
        assert said.status == 2
        assert "are no images" in said.err
        assert ".npz or .npy" in said.err
        assert command(*words, "-o", "x.npy").status == 0
        assert np.load("x.npy").shape[1:] == (2,)
    assert "3 classes: x, y, z" in command("datasets", "table.csv", "--labels", "kind").out
    assert command("encode", "run", "table.csv", "-o", "named.csv").status == 0
    assert command("encode", "run", "-o", "own.csv").status == 0
    assert Path("named.csv").read_text() == Path("own.csv").read_text(), "the run knows which column has the labels"
    assert command("info", "run").status == 0


# --- images -----------------------------------------------------------------------------------------------------------


def test_one_image_is_resized_to_the_model_s_size(command: Command, face_run: Path, here: Path) -> None:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (31, 20), dtype=np.uint8)).save("grey.png")
    assert diabolo.load(face_run).event_shape == (12, 10, 3)
    said = command("encode", face_run, "grey.png", "-o", "code.csv")
    assert (said.status, said.err) == (0, "")
    expected = diabolo.load(face_run).encode(open_dataset("grey.png", size=(12, 10), colour=True).x)
    (row,) = rows_of(Path("code.csv"))
    assert row["id"] == "grey.png"
    np.testing.assert_array_equal(np.array([row["z1"], row["z2"]], np.float32), expected[0])


def test_a_folder_of_images_is_resized_to_the_model_s_size(command: Command, face_run: Path, here: Path) -> None:
    rng = np.random.default_rng(1)
    for name, size in {"glad/a.png": (30, 40, 3), "sad/b.jpg": (9, 9, 3), "sad/c.png": (64, 12, 3)}.items():
        path = here / "others" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
    expected = diabolo.load(face_run).encode(open_dataset("others", size=(12, 10)).x)
    for suffix in ("npz", "csv", "parquet"):
        assert command("encode", face_run, "others", "-o", f"codes.{suffix}").status == 0
    rows = rows_of(Path("codes.csv"))
    assert list(rows[0]) == ["id", "label", "z1", "z2"]
    assert [row["id"] for row in rows] == ["glad/a.png", "sad/b.jpg", "sad/c.png"]
    assert [row["label"] for row in rows] == ["glad", "sad", "sad"]
    held = arrays_of(Path("codes.npz"))
    np.testing.assert_array_equal(held["codes"], expected)
    assert held["ids"].tolist() == [row["id"] for row in rows]
    assert held["classes"][held["labels"]].tolist() == ["glad", "sad", "sad"]
    assert pyarrow.parquet.read_table("codes.parquet")["id"].to_pylist() == [row["id"] for row in rows]
    assert command("reconstruct", face_run, "others", "-o", "pairs.png").status == 0
    assert pixels_of(Path("pairs.png")).ndim == 3, "in colour"
    assert command("plot", face_run, "others", "-o", "figures").status == 0


def test_the_run_s_own_folder_is_the_default(command: Command, face_run: Path, faces: Path) -> None:
    assert command("encode", face_run, "-o", "own.csv").status == 0
    assert command("encode", face_run, faces, "-o", "named.csv").status == 0
    assert Path("own.csv").read_text() == Path("named.csv").read_text()
    assert len(rows_of(Path("own.csv"))) == 24


# --- lists ------------------------------------------------------------------------------------------------------------


def test_models_lists_all_there_is(command: Command) -> None:
    said = command("models")
    assert (said.status, said.err) == (0, "")
    flat = " ".join(said.out.split())
    for kind, name in PARTS:
        assert re.search(rf"^  {name} ", said.out, re.MULTILINE)
        assert summary(REGISTRIES[kind][name]) in flat
    for name in REGISTRIES["model"]:
        variant = REGISTRIES["model"][name]
        assert variant.equation in said.out
        for work in variant.source.split("; "):
            assert work in flat


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_models_describes_one(command: Command, kind: str, name: str) -> None:
    said = command("models", name)
    assert said.status == 0
    flat = " ".join(said.out.split())
    assert f"{name} ({kind}): {summary(REGISTRIES[kind][name])}." in flat
    for item in parameters(REGISTRIES[kind][name]):
        assert f"--{item.name.replace('_', '-')} " in said.out
        assert item.doc in flat
    (entry,) = (entry for entry in json.loads(command("models", name, "--json").out) if entry["kind"] == kind)
    assert [option["name"] for option in entry["options"]] == [item.name for item in parameters(REGISTRIES[kind][name])]
    assert all(option["help"] and option["type"] for option in entry["options"])
    assert ("equation" in entry and "source" in entry) == (kind == "model")


def test_recipes_lists_all_there_are(command: Command) -> None:
    said = command("recipes")
    assert (said.status, said.err) == (0, "")
    for name, recipe in RECIPES.items():
        assert re.search(rf"^{name} +{re.escape(recipe.title)}$", said.out, re.MULTILINE)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_describes_one(command: Command, name: str) -> None:
    said = command("recipes", name)
    assert said.status == 0
    recipe, flat = RECIPES[name], " ".join(said.out.split())
    assert f"{name}: {recipe.title}" in flat
    assert f"source: {recipe.source}" in flat
    source = "" if recipe.settings.get("source") else "FOLDER "
    assert f"diabolo train {source}--recipe {name}" in flat
    for text in (*recipe.settings, *recipe.notes, *(f"--{preset}" for preset in recipe.presets)):
        assert text in flat
    (facts,) = json.loads(command("recipes", name, "--json").out)
    assert facts["settings"] == json.loads(json.dumps(dict(recipe.settings)))


def test_datasets_lists_all_there_are(command: Command) -> None:
    said = command("datasets")
    assert (said.status, said.err) == (0, "")
    flat = re.sub(r"\s+", "", said.out)
    for known in known_datasets():
        assert re.search(rf"^{known.name} ", said.out, re.MULTILINE)
        assert re.sub(r"\s+", "", f"{known.origin} ({known.licence})") in flat
    for words in ("60,000 + 10,000", "28 x 28", "12 MB to download once", "no download", ".parquet"):
        assert re.sub(r"\s+", "", words) in flat


def test_datasets_looks_into_a_source(command: Command, faces: Path) -> None:
    said = command("datasets", faces)
    assert said.status == 0
    dataset = open_dataset(str(faces))
    assert said.out == f"{dataset.describe()}\nfingerprint {dataset.fingerprint}\n"
    assert "24 images of 12 x 10 x 3" in said.out
    assert "24 images of 6 x 6 (layout HW)" in command("datasets", faces, "--size", 6, "--grey").out
    assert "24 images of 6 x 5 (layout HW)" in command("datasets", faces, "--size", "6x5", "--grey").out


# --- info, plot and report --------------------------------------------------------------------------------------------


def test_layers(command: Command, run: Path, here: Path) -> None:
    said = command("info", run, "--layers").out.splitlines()
    assert said[0].split() == ["layer", "kind", "output", "parameters"]
    model = diabolo.load(run)
    assert said[-1].split() == ["all", f"{model.model.parameter_count:,}"]
    dry = command("train", "digits", "--latent-dim", 3, "--dry-run")
    assert dry.status == 0
    assert "decoder.layers" in dry.out
    assert not [*here.glob("runs/*")]


def test_info(command: Command, run: Path) -> None:
    said = command("info", run)
    assert (said.status, said.err) == (0, "")
    config = json.loads((run / "config.json").read_text())
    flat = " ".join(said.out.split())
    for words in (
        "Autoencoder(vae, mlp, gaussian: (8, 8) <-> 2",
        "vae (beta=1.0",
        config["reasons"]["likelihood"],
        "digits: 1,437 train, 180 validation, 180 test",
        config["data"]["fingerprint"],
        "epochs=1",
        f"diabolo {diabolo.__version__}",
        "1 epochs in",
        f"loss {config['result']['test']['loss']:.5g}",
        diagnose_baseline(config["result"]["test"]["mse"], config["result"]["baseline"]).text.replace("`", ""),
    ):
        assert words in flat
    assert json.loads(command("info", run, "--json").out) == config


@pytest.mark.parametrize("weights", [True, False])
def test_info_of_a_run_that_was_cut_short(command: Command, run: Path, here: Path, weights: bool) -> None:
    """Killed at its end, or before its first checkpoint."""
    shutil.copytree(run, "run")
    config = json.loads(Path("run/config.json").read_text())
    del config["result"]
    Path("run/config.json").write_text(json.dumps(config))
    if not weights:
        for name in ("model.safetensors", "last.safetensors", "history.jsonl"):
            Path("run", name).unlink()
    said = command("info", "run")
    assert (said.status, said.err) == (0, "")
    assert "not finished: diabolo resume goes on with it" in said.out
    assert "Autoencoder(vae, mlp, gaussian: (8, 8) <-> 2" in said.out


def test_plot_and_report_write_files(command: Command, run: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    said = command("plot", "run", "--theme", "dark", "-o", "figures")
    assert (said.status, said.err) == (0, "")
    written = said.out.splitlines()
    assert sorted(written) == sorted(str(path) for path in Path("figures").iterdir())
    for path in written:
        assert path.endswith("-dark.png")
        assert min(pixels_of(Path(path)).shape[:2]) > 50
    assert {"figures/reconstructions-dark.png", "figures/codes-dark.png", "figures/curves-dark.png"} <= set(written)
    np.save("some.npy", open_dataset("digits").x[:40])
    said = command("report", "run", "some.npy")
    assert (said.status, said.out, said.err) == (0, "run/report.html\n", "")
    page = Path("run/report.html").read_text()
    assert "<h1>" in page
    assert "other data" in page
    assert (here / "run" / "figures" / "reconstructions.png").exists()


def test_a_model_stays_on_the_device_that_was_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def chosen(name: str) -> Any:
        asked.append(name)
        return choose_device("cpu")

    monkeypatch.setattr("diabolo.autoencoder.inference.choose_device", chosen)  # where `auto` would take a GPU
    assert command("train", "digits", *SMALL, "--device", "cpu").status == 0
    assert set(asked) == {"cpu"}


def test_train_draws_and_reports_unless_told_not_to(command: Command) -> None:
    words = [word for word in SMALL if word != "--no-report"]
    said = command("train", "digits", *words, "-o", "run")
    assert said.status == 0
    assert "report  run/report.html" in said.out
    assert sorted(path.name for path in Path("run").iterdir()) == sorted([*WRITTEN, "figures", "report.html"])


@pytest.mark.slow
def test_demo(command: Command) -> None:
    said = command("demo")
    assert said.status == 0
    assert "report  runs/demo/report.html" in said.out
    assert json.loads(Path("runs/demo/config.json").read_text())["result"]["test"]["active_units"] == 2


def test_tensorboard_events_are_written_beside_the_rest(command: Command, here: Path) -> None:
    pytest.importorskip("tensorboardX")
    words = ["--epochs", 1, "--widths", 8, "--out", "board", "--no-report"]
    said = command("train", "digits", *words, "--log", "tensorboard")
    assert said.status == 0, said.err
    assert list((here / "board" / "tensorboard").iterdir())


def test_an_unknown_logger_is_refused(command: Command) -> None:
    said = command("train", "digits", "--log", "tensorbord")
    assert said.status == 2
    assert "no logger named 'tensorbord'. Did you mean 'tensorboard'?" in said.err
