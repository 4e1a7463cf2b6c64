"""What people really give a program: each mistake gets one clear line and its exit status, and leaves nothing behind.

What is wrong, what was expected, what was received, what to do: each of these lines is asked for its substance.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import diabolo
from diabolo.cli import main
from diabolo.datasets._catalogue import PUBLISHED

SMALL = ("--epochs", 1, "--widths", 8, "--latent-dim", 2, "--no-report", "--quiet")
TRAIN = (*SMALL, "-o", "out")

Refused = Callable[..., str]


pytestmark = pytest.mark.usefixtures("environment", "here")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "digits", "--model", "vae", *map(str, SMALL), "-o", str(folder)]) == 0
    return folder


@pytest.fixture
def run(finished: Path, here: Path) -> Path:
    """A finished run of digits, a copy to be damaged: the folder `run`."""
    shutil.copytree(finished, here / "run")
    return Path("run")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: path -> contents, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], here: Path) -> Refused:
    """Runs a command that must fail with that status, in one line that holds those words; gives the line."""

    def call(status: int, words: tuple[object, ...], *says: str) -> str:
        capsys.readouterr()
        before = tree(here)
        returned = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("diabolo: ")
        assert err.count("\n") == 1, "one line"
        assert "defect" not in err
        for word in says:
            assert word in err
        assert returned == status
        assert tree(here) == before, "nothing is left behind, nothing is touched"
        return err

    return call


def pictures(folder: str, count: int = 12, size: tuple[int, ...] = (10, 12)) -> Path:
    Path(folder).mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(f"{folder}/{number:02}.png")
    return Path(folder)


def toy(*event: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (count, *event)).astype(np.float32)


# --- what is not there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("no/such/file.npy", ("no file or folder no/such/file.npy", "Check the path")),
        ("digit", ("no known set named 'digit'", "Did you mean 'digits'?")),
        ("fasion-mnist", ("Did you mean 'fashion-mnist'?",)),
        ("nowhere", ("no known set named 'nowhere'", "Known sets: digits, shapes, mnist")),
        ("", ("empty name", "or name a path")),
        ("x" * 5000, ("no known set",)),
        ("a\0b", ("no known set",)),
    ],
    ids=["path", "near", "nearer", "far", "empty", "long", "zero"],
)
@pytest.mark.parametrize("command", [("train", *TRAIN), ("datasets",), ("encode", "run"), ("plot", "run")])
def test_a_source_that_is_not_there(
    refused: Refused, run: Path, command: tuple[object, ...], source: str, says: tuple[str, ...]
) -> None:
    refused(1, (*command, source), *says)


@pytest.mark.parametrize("command", ["info", "plot", "report", "encode", "score", "reconstruct", "sample", "resume"])
def test_a_run_that_is_not_there(refused: Refused, here: Path, command: str) -> None:
    refused(1, (command, "nowhere"), "nowhere is not a folder. A run is the folder that training or save wrote.")
    Path("empty").mkdir()
    refused(1, (command, "empty"), "empty/config.json is not there", "Is empty the folder of a run?")
    Path("file").write_text("")
    refused(1, (command, "file"), "file is not a folder")


def test_a_data_folder_that_is_not_there(refused: Refused) -> None:
    refused(1, ("train", "mnist", "--data-dir", "nowhere", *TRAIN), "data folder nowhere is not there", "Name a folder")


def test_an_empty_folder(refused: Refused, here: Path) -> None:
    Path("empty").mkdir()
    refused(1, ("train", "empty", *TRAIN), "empty holds no image; it is empty", ".png", "Name another folder")
    Path("empty/notes.txt").write_text("no image")
    refused(1, ("train", "empty", *TRAIN), "it holds other files: 1 with .txt")


# --- images -----------------------------------------------------------------------------------------------------------


def test_broken_images_among_good_ones(refused: Refused, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    folder = pictures("faces")
    Path(folder, "05.png").write_bytes(b"not a picture at all")
    Path(folder, "07.png").write_bytes(Path(folder, "07.png").read_bytes()[:60])
    line = refused(1, ("train", folder, "--strict", *TRAIN), "faces/05.png cannot be read as an image", "2 such in all")
    assert "Repair or remove it" in line
    assert main(["train", "faces", *map(str, SMALL[:-1]), "-o", "out"]) == 0
    skipped = "2 images skipped: 05.png (cannot identify image file '05.png'), 07.png (image file is truncated)"
    assert skipped in capsys.readouterr().err
    config = json.loads(Path("out/config.json").read_text())
    assert sum(config["data"]["examples"].values()) == 10
    assert config["data"]["notes"] == [skipped]


def test_nothing_but_broken_images(refused: Refused, here: Path) -> None:
    folder = pictures("faces", 2)
    for path in folder.iterdir():
        path.write_bytes(b"not a picture at all")
    refused(1, ("train", folder, *TRAIN), "None of the 2 images in faces can be read", "00.png", "Check that the files")


def test_images_of_several_sizes(refused: Refused, here: Path) -> None:
    folder = pictures("faces", 4)
    Image.new("L", (5, 7)).save("faces/odd.png")
    says = ("2 different sizes (height x width)", "10 x 12 (4), 7 x 5 (1)", "--size 64")
    refused(1, ("train", folder, *TRAIN), *says)
    refused(1, ("datasets", folder), *says)
    assert main(["train", "faces", "--size", "6", *map(str, TRAIN)]) == 0


def test_text_that_is_called_an_image(refused: Refused, run: Path) -> None:
    Path("dog.png").write_text("no picture of a dog")
    for command in (("train", "dog.png", *TRAIN), ("encode", "run", "dog.png"), ("datasets", "dog.png")):
        line = refused(1, command, "dog.png cannot be read as an image: cannot identify image file", "Repair it")
        assert "'dog.png'" in line


def test_the_reason_why_an_image_is_broken_stays_readable(refused: Refused, here: Path) -> None:
    """The folder's name is left out of the reason, and out of nothing else."""
    Path("d").mkdir()
    Path("d/dog.png").write_text("no picture of a dog")
    refused(1, ("datasets", "d/dog.png"), "d/dog.png cannot be read as an image: cannot identify image file")
    refused(1, ("datasets", "d"), "cannot identify image file")


# --- arrays and tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_in_an_array(refused: Refused, run: Path, value: float) -> None:
    x = toy(8, 8)
    x[3, 2, 1] = value
    np.save("x.npy", x)
    says = ("1 of 2,560 values", "NaN or infinite", f"in example 3, position (2, 1) ({value})", "Remove")
    refused(1, ("train", "x.npy", *TRAIN), *says)
    refused(1, ("encode", "run", "x.npy"), *says)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("nan", ("1 of 20 values that are NaN or infinite", "example 3, column 'right' (nan)", "fill the values in")),
        ("-inf", ("example 3, column 'right' (-inf)",)),
        ("1e60", ("example 3, column 'right'",)),
        ("", ("The column 'right' of x.csv misses a value in line 5", "fill it in")),
        ("NA", ("misses a value in line 5 ('NA')",)),
        ("many", ("The column 'right' of x.csv is not numeric: row 3 holds 'many'", "label")),
        ("1,2", ("Line 5 of x.csv has 3 cells, and the first row has 2", "repair that line")),
    ],
)
def test_values_that_are_no_numbers_in_a_table(refused: Refused, here: Path, cell: str, says: tuple[str, ...]) -> None:
    Path("x.csv").write_text("left,right\n" + "".join(f"{i},{cell if i == 3 else 2 * i}\n" for i in range(10)))
    refused(1, ("train", "x.csv", *TRAIN), *says)


def test_a_table_of_nothing(refused: Refused, here: Path) -> None:
    Path("x.csv").write_text("")
    refused(1, ("train", "x.csv", *TRAIN), "x.csv is empty: it holds no row", "At least one row")
    Path("x.csv").write_text("left,right\n")
    refused(1, ("train", "x.csv", *TRAIN), "names of 2 columns and no rows")
    np.save("x.npy", np.zeros((0, 4)))
    refused(1, ("train", "x.npy", *TRAIN), "x is empty: its shape is (0, 4)")


def test_one_example(refused: Refused, here: Path) -> None:
    np.save("x.npy", toy(6, count=1))
    refused(1, ("train", "x.npy", *TRAIN), "at least 2 examples, and x has 1", "Add some")


def test_constant_data(refused: Refused, here: Path) -> None:
    np.save("x.npy", np.ones((9, 5), np.float32))
    refused(1, ("train", "x.npy", *TRAIN), "All 9 examples of x are identical", "nothing to learn", "look at how")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((9,), ("one-dimensional array, (9,)", "reshape it to (9, 1)")),
        ((9, 10, 20), ("shape (9, 10, 20)", "more than one way", "layout", "'HW', 'LC', 'CL', 'any'")),
        ((9, 8, 8, 8), ("shape (9, 8, 8, 8)", "'HWC', 'CHW', 'DHW', 'any'")),
    ],
)
def test_a_shape_that_says_too_little(
    refused: Refused, here: Path, shape: tuple[int, ...], says: tuple[str, ...]
) -> None:
    np.save("x.npy", np.random.default_rng(0).standard_normal(shape))
    refused(1, ("train", "x.npy", *TRAIN), *says)
    refused(1, ("datasets", "x.npy", "--layout", "F"), "'F' asks for 2 axes", f"received {len(shape)}, {shape}")
    refused(2, ("datasets", "x.npy", "--layout", "WH"), "no layout 'WH'", "Known: F, HW")


@pytest.mark.parametrize("command", ["encode", "reconstruct", "score", "plot", "report"])
def test_examples_of_another_shape_than_the_model_s(refused: Refused, run: Path, command: str) -> None:
    np.save("x.npy", toy(9, 7))
    says = (
        "expects examples of shape (8, 8)",
        "those of x have the shape (9, 7)",
        "like that of its training (digits)",
    )
    refused(1, (command, "run", "x.npy"), *says)


def test_pixels_of_another_range_than_the_model_s(refused: Refused, run: Path) -> None:
    np.save("x.npy", 200 * toy(8, 8))
    refused(1, ("encode", "run", "x.npy"), "floats in [0, 1]", "float32 from 0.", "Scale it")


def test_labels_of_the_wrong_length_or_name(refused: Refused, here: Path) -> None:
    np.savez("x.npz", x=toy(6), y=np.arange(39), other=np.arange(41))
    refused(1, ("train", "x.npz", *TRAIN), "39 labels for 40 examples", "one label for each")
    refused(1, ("train", "x.npz", "--labels", "other", *TRAIN), "41 labels for 40 examples")
    refused(1, ("train", "x.npz", "--labels", "kind", *TRAIN), "'kind': x.npz holds no such array", "x, y, other")
    Path("x.csv").write_text("left,right\n1,2\n3,4\n")
    refused(1, ("train", "x.csv", "--labels", "kind", *TRAIN), "'kind': no column is named so", "'left', 'right'")
    refused(1, ("train", "digits", "--labels", "kind", *TRAIN), "'kind'", "digits has neither")


# --- files that are not what they are called --------------------------------------------------------------------------


class Trap:
    """Unpickling it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("sprung", "w")


@pytest.mark.parametrize("suffix", ["npy", "npz", "pickle"])
def test_pickles_are_never_loaded(refused: Refused, run: Path, suffix: str) -> None:
    """Neither as examples nor as codes."""
    trap = np.array([[Trap()]], dtype=object)
    name = "x.npz" if suffix == "npz" else "x.npy"
    if suffix == "npz":
        np.savez(name, x=trap, codes=trap)
    elif suffix == "npy":
        np.save(name, trap, allow_pickle=True)
    else:
        Path(name).write_bytes(pickle.dumps(Trap()))
    for command in (("train", name, *TRAIN), ("datasets", name), ("encode", "run", name)):
        refused(1, command, f"{name} cannot be read as .{name[2:]}", "never loaded", "Save it")
    line = refused(1, ("decode", "run", "--codes", name), f"{name} holds no array of codes", "never loaded", "encode")
    assert "allow_pickle" not in line, "nobody is told to load it all the same"
    assert not Path("sprung").exists()
    with contextlib.closing(Trap().__reduce__()[0]("sprung", "w")):
        assert Path("sprung").exists(), "the trap works"


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "csv", "txt", "md", "gz"])
def test_text_of_another_name(refused: Refused, here: Path, suffix: str) -> None:
    Path(f"text.{suffix}").write_text("Dear diary,\ntoday I was renamed.\n")
    says = {
        "npz": "text.npz cannot be read as .npz: it is of another format",
        "npy": "text.npy cannot be read as .npy: it is of another format",
        "parquet": "text.parquet cannot be read as Parquet",
        "csv": "The column 'Dear diary' of text.csv is not numeric: row 0 holds 'today I was renamed.'",
        "txt": "The column 'Dear diary' of text.txt is not numeric",
        "md": "text.md has '.md'; files that can be read: .npy, .npz, .csv, .tsv, .txt, .dat, .data, .parquet",
        "gz": "text.gz has '.gz'",
    }[suffix]
    refused(1, ("train", f"text.{suffix}", *TRAIN), says)


def test_bytes_that_are_no_text(refused: Refused, here: Path) -> None:
    Path("x.csv").write_bytes(bytes(range(256)))
    refused(1, ("train", "x.csv", *TRAIN), "x.csv is not UTF-8 text", "Save it as UTF-8")


@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet"])
def test_files_that_were_cut_short(refused: Refused, here: Path, suffix: str) -> None:
    path = Path(f"x.{suffix}")
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.table({"a": np.arange(1000.0)}), path)
    else:
        (np.save if suffix == "npy" else np.savez)(path, toy(6))
    path.write_bytes(path.read_bytes()[:-100])
    refused(1, ("train", path, *TRAIN), f"{path} cannot be read")


# --- codes ------------------------------------------------------------------------------------------------------------


def write_csv(text: str | bytes) -> Callable[[], str]:
    def write() -> str:
        Path("codes.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "codes.csv"

    return write


def write_npy(array: Any) -> Callable[[], str]:
    def write() -> str:
        np.save("codes.npy", array)
        return "codes.npy"

    return write


def write_npz(**arrays: Any) -> Callable[[], str]:
    def write() -> str:
        np.savez("codes.npz", **arrays)
        return "codes.npz"

    return write


def damaged_npz() -> str:
    np.savez_compressed("codes.npz", codes=np.random.default_rng(0).standard_normal((400, 2)))
    data = bytearray(Path("codes.npz").read_bytes())
    data[300:330] = b"\xff" * 30
    Path("codes.npz").write_bytes(data)
    return "codes.npz"


def text_as(name: str) -> Callable[[], str]:
    def write() -> str:
        Path(name).write_text("Dear diary")
        return name

    return write


CODES: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
    "nowhere": (lambda: "nowhere.npz", ("nowhere.npz is not there", ".npz, .npy, .csv or .parquet", "encode")),
    "a folder": (lambda: "run", ("run is not there",)),
    "three columns": (write_csv("z1,z2,z3\n1,2,3\n"), ("has 2 numbers", "(n, 2)", "given (1, 3)")),
    "other columns": (write_csv("left,right\n1,2\n"), ("codes.csv has no columns z1, z2", "encode wrote")),
    "an empty file": (write_csv(""), ("codes.csv has no columns z1, z2",)),
    "a header alone": (write_csv("z1,z2\n"), ("codes.csv holds no codes",)),
    "a word": (write_csv("z1,z2\n1,two\n"), ("columns z1 to z2, should hold numbers", "'two'")),
    "a short row": (write_csv("z1,z2\n1,2\n3\n"), ("Row 2 of codes.csv has 1 cells", "header 2", "Repair")),
    "a long row": (write_csv("z1,z2\n1,2,3\n"), ("Row 1 of codes.csv has 3 cells",)),
    "NaN": (write_csv("z1,z2\n1,nan\n"), ("NaN or infinite", "expects finite")),
    "too large": (write_csv("z1,z2\n1,1e60\n"), ("NaN or infinite",)),
    "no text": (write_csv(bytes(range(256))), ("codes.csv cannot be read as a table of codes", "encode wrote")),
    "one axis": (write_npy(np.zeros(4)), ("(n, 2)", "given (4,)")),
    "three numbers": (write_npy(np.zeros((4, 3))), ("(n, 2)", "given (4, 3)")),
    "no axis": (write_npy(np.float32(3)), ("array",)),
    "no codes": (write_npy(np.zeros((0, 2))), ("holds no codes: its shape is (0, 2)",)),
    "complex": (write_npy(np.zeros((4, 2), complex)), ("complex128",)),
    "words": (write_npy(np.array([["a", "b"]])), ("codes.npy holds no array of codes", "<U1")),
    "infinite": (write_npy(np.full((3, 2), np.inf)), ("NaN or infinite",)),
    "too large a float64": (write_npy(np.full((3, 2), 1e60)), ("NaN or infinite",)),
    "another array": (write_npz(x=np.zeros((4, 2))), ("codes.npz holds no array named codes", "encode wrote")),
    "damaged": (damaged_npz, ("codes.npz holds no array of codes", "encode wrote")),
    "text as npz": (text_as("codes.npz"), ("codes.npz holds no array of codes", "of another format")),
    "text as npy": (text_as("codes.npy"), ("codes.npy holds no array of codes", "of another format")),
    "text as parquet": (text_as("codes.parquet"), ("codes.parquet cannot be read as Parquet",)),
}


@pytest.mark.parametrize("what", CODES)
def test_codes_that_cannot_be_decoded(refused: Refused, run: Path, what: str) -> None:
    make, says = CODES[what]
    refused(1, ("decode", "run", "--codes", make(), "-o", "x.npy"), *says)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--epochs -1", "epochs should be a number of at least 1, or 0 for as many as fit the data, and was given -1"),
        ("--epochs ten", "epochs should be int, and was given 'ten'"),
        ("--epochs 1.5", "epochs should be int, and was given '1.5'"),
        ("--batch-size -1", "batch_size should be a number of at least 1, and was given -1"),
        ("--lr nan", "lr should be a number above 0, and was given nan"),
        ("--lr inf", "lr should be"),
        ("--lr 0", "lr should be a number above 0, and was given 0.0"),
        ("--validation 1.5", "validation should be a fraction of at least 0 and below 1, and was given 1.5"),
        ("--validation nan", "validation should be a fraction"),
        ("--test -0.1", "test should be a fraction of at least 0 and below 1, and was given -0.1"),
        ("--validation 0.5 --test 0.5", "together less than 1"),
        ("--device nonsense", "The device 'nonsense' cannot be used: Expected one of cpu, cuda"),
        ("--latent-dim 0", "latent_dim should be a number of dimensions of at least 1, and was given 0"),
        ("--latent-dim -2", "at least 1, and was given -2"),
        ("--latent-dim two", "latent_dim should be int, and was given 'two'"),
        ("--widths 0", "widths should be numbers of units of at least 1, and was given (0,)"),
        ("--widths 8,a", "widths should be int,... | none, and was given '8,a'"),
        ("--model vea", "no model named 'vea'. Did you mean 'vae'?"),
        ("--network cnov", "no network named 'cnov'. Did you mean 'conv'?"),
        ("--recipe mnist-vae-con", "no recipe named 'mnist-vae-con'. Did you mean 'mnist-vae-conv'?"),
        ("--likelihood gausian", "no likelihood named 'gausian'. Did you mean 'gaussian'?"),
        ("--model vae --beta -1", "beta should be a number of at least 0, and was given -1.0"),
        ("--model vae --beta nan", "beta should be"),
        ("--model vae --beta inf", "beta should be"),
        ("--weight-decay inf", "weight_decay should be"),
        ("--momentum 3", "momentum should be"),
        ("--momentum nan", "momentum should be"),
        ("--beta2 1", "beta2 should be"),
        ("--optimizer sgd --momentum -1", "momentum should be"),
        ("--optimizer adm", "optimizer should be adam | adamw | adamax | rmsprop | sgd, and was given 'adm'"),
        ("--activation rleu", "activation should be relu | tanh"),
        ("--precision half", "precision should be auto | float32 | bf16, and was given 'half'"),
        ("--scaling huge", "scaling should be one of auto, bytes, unit, none, standard, range"),
        ("--pictures nope", "no picture named 'nope'. Known: first-five"),
        ("--seed -1", "seed"),
        ("--seed 99999999999999999999999", "seed should be"),
        ("--clip 0", "clip should be a number above 0"),
        ("--lr-warmup -2", "lr_warmup should be a number of epochs of at least 0, or -1 for a twentieth of all"),
        ("--start pcs", "start should be pca | random | mean, and was given 'pcs'"),
        ("--eps 0", "eps should be a number above 0, and was given 0.0"),
        ("--schedule milestones", "milestones should be given with schedule='milestones', and with no other, and was"),
        ("--schedule milestones --milestones 3,two", "milestones should be float,..., and was given '3,two'"),
        ("--schedule plateau --validation 0", "schedule should be another than 'plateau' where validation is 0"),
        ("--model vae --log-variance 2,-6", "log_variance should be two numbers, the lower one first, such as -6,2"),
        ("--bias false", "with bias=False there is none: take start='random'"),
        ("--spectral all", "spectral should be none | decoder | both, and was given 'all'"),
        ("--patience 0", "patience should be a number of epochs of at least 1"),
        ("--grey", "colour= is for images that are read from files, and digits is not"),
        ("--size 0", "1 or more each; received 0"),
        ("--threads 65536", "threads should be 1 to 1024, and was given 65536"),
        (f"--batch-size {'9' * 40}", "batch_size should be a number of at most 64 bits, and was given '999"),
        ("--workers 0", "workers must be 1 or more; received 0"),
    ],
)
def test_settings_that_cannot_be(refused: Refused, words: str, says: str) -> None:
    refused(2, ("train", "digits", "--widths", 8, "--epochs", 1, *words.split(), "-o", "out"), says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--kernel 4", "kernel should be odd with enlarge='resize'"),
        ("--kernel 4 --enlarge transposed --channels 4,4 --strides 2,1", "strides should be even numbers up to 4"),
        ("--kernel 4 --enlarge transposed --channels 4,4,4,4", "Of maps of 8 x 8 nothing is left"),
        ("--spectral decoder", "take start='random', or 'mean'"),
    ],
)
def test_convolutions_that_cannot_be(refused: Refused, words: str, says: str) -> None:
    status = 1 if "nothing is left" in says else 2  # of these data, or of any
    refused(status, ("train", "digits", "--network", "conv", "--epochs", 1, *words.split(), "-o", "out"), says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sample run -n 0", "n should be a number of examples of at least 1, and was given 0"),
        ("sample run -n -3", "at least 1, and was given -3"),
        ("sample run --seed -1", "seed"),
        ("score run --draws -1", "draws should be a number of codes of at least 0"),
        ("score run --draws 2 --seed -1", "seed"),
        ("reconstruct run -n 0", "n should be a number of examples of at least 1, and was given 0"),
        ("reconstruct run -n -3", "at least 1, and was given -3"),
        ("resume run", "trained for all of its 1 epochs"),
        ("resume run --epochs 1", "trained for all of its 1 epochs"),
        ("resume run --epochs 0", "epochs should be a number of epochs in all, of at least 1, and was given 0"),
        ("resume run --epochs -1", "epochs should be a number of epochs in all, of at least 1, and was given -1"),
        ("encode run -o codes.xlsx", "codes.xlsx should end in .npz, .csv or .parquet"),
        ("encode run -o codes", "codes should end in .npz, .csv or .parquet"),
        ("score run -o scores.txt", "out should be a .npz, .csv or .parquet, and was given 'scores.txt'"),
        ("sample run -o samples.jpg", "samples.jpg should end in .png, .npz or .npy"),
        ("decode run --code 1,2 -o x.mp4", "x.mp4 should end in .png, .npz or .npy"),
        ("reconstruct run -o x", "x should end in .png, .npz or .npy"),
    ],
)
def test_requests_that_cannot_be(refused: Refused, run: Path, words: str, says: str) -> None:
    refused(2, tuple(words.split()), says)


def test_only_a_prior_is_sampled(refused: Refused, here: Path) -> None:
    assert main(["train", "digits", *map(str, TRAIN)]) == 0
    refused(2, ("sample", "out"), "follow no prior", "model='vae'")


# --- damaged runs -----------------------------------------------------------------------------------------------------


def edit(**changes: Any) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        path = run / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def drop(*keys: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        path = run / "config.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in keys}))

    return damage


def cut(name: str, size: int) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).write_bytes((run / name).read_bytes()[:size])

    return damage


def lose(*names: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        for name in names:
            (run / name).unlink()

    return damage


DAMAGED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "weights cut": (cut("model.safetensors", 500), ("run/model.safetensors cannot be read", "truncated or edited")),
    "weights empty": (cut("model.safetensors", 0), ("run/model.safetensors cannot be read", "restore it")),
    "weights lost": (lose("model.safetensors"), ("run/model.safetensors is not there",)),
    "config cut": (cut("config.json", 200), ("run/config.json cannot be read as JSON", "restore it")),
    "config lost": (lose("config.json"), ("run/config.json is not there", "Is run the folder of a run?")),
    "newer": (edit(format=2), ("written in format 2, by a newer diabolo", "up to format 1", "--upgrade diabolo")),
    "no format": (drop("format"), ("does not say which format",)),
    "another size": (edit(latent_dim=5), ("run/model.safetensors does not fit config.json", "expects", "restore it")),
    "another model": (edit(model={"name": "autoencoder", "options": {}}), ("does not fit config.json",)),
    "an unknown model": (edit(model={"name": "vea", "options": {}}), ("named 'vea'", "Did you mean 'vae'", "edited")),
    "no network": (drop("network"), ("network", "edited; restore it")),
    "a word": (edit(latent_dim="many"), ("latent_dim should be a whole number, and is 'many'", "edited; restore it")),
    "no model at all": (edit(model=None), ("edited; restore it",)),
    "history": (lambda run: (run / "history.jsonl").write_text("{}\n{}\n") and None, ("history.jsonl, line 1",)),
}


@pytest.mark.parametrize("command", ["info", "encode", "report"])
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_run(refused: Refused, run: Path, what: str, command: str) -> None:
    damage, says = DAMAGED[what]
    damage(run)
    refused(1, (command, "run"), *says)


@pytest.mark.parametrize("key", ["data", "run_config", "versions"])
@pytest.mark.parametrize("command", ["info", "report", "resume"])
def test_a_run_whose_story_was_edited(refused: Refused, run: Path, command: str, key: str) -> None:
    drop(key, "result")(run)
    refused(1, (command, "run", *(["--epochs", 2] if command == "resume" else [])), "restore it", key)


def test_a_checkpoint_that_was_cut(refused: Refused, run: Path) -> None:
    cut("last.safetensors", 700)(run)
    refused(1, ("resume", "run", "--epochs", 2), "run/last.safetensors cannot be read", "truncated or edited")


def test_a_run_whose_data_changed(refused: Refused, here: Path) -> None:
    np.save("x.npy", toy(6))
    assert main(["train", "x.npy", *map(str, TRAIN)]) == 0
    np.save("x.npy", toy(6) / 2)
    says = ("x is not the data that out was trained on", "fingerprint", "was expected", "the right source")
    refused(1, ("resume", "out", "--epochs", 2), *says)
    refused(1, ("resume", "out", "--epochs", 2, "--source", "digits"), "digits is not the data", "the right source")
    Path("x.npy").unlink()
    refused(1, ("resume", "out", "--epochs", 2), "no file or folder", "x.npy")
    refused(1, ("encode", "out"), "no file or folder", "x.npy")
    refused(1, ("report", "out"), "no file or folder", "x.npy")


# --- downloads --------------------------------------------------------------------------------------------------------


def test_a_cached_file_whose_checksum_does_not_hold(
    refused: Refused, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(here / "cache"))
    path = here / "cache" / "mnist" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"flipped bits")
    expected = PUBLISHED["mnist"].md5[0]
    says = (f"{path} is not the published file", f"md5 should be {expected} and is ", "(12 bytes)", f"Delete {path}")
    refused(1, ("train", "mnist", *TRAIN), *says)
    refused(1, ("datasets", "mnist"), *says)


def test_no_network(refused: Refused, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "cache" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(here / "cache"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        monkeypatch.setitem(PUBLISHED, "mnist", dataclasses.replace(PUBLISHED["mnist"], base=base))
        says = (f"{base}train-images-idx3-ubyte.gz could not be downloaded", "refused", "--data-dir")
        refused(1, ("train", "mnist", *TRAIN), *says)


# --- disks that are full, places that cannot be written ---------------------------------------------------------------


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("trick", ["size", "fsync"])
@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet", "png"])
def test_a_full_disk_while_results_are_written(
    refused: Refused, run: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, trick: str
) -> None:
    """What stood there before stays, and no half of a file beside it."""
    command = "reconstruct" if suffix == "png" else "encode"
    path = Path(f"result.{suffix}")
    path.write_text("yesterday's")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    if trick == "fsync":
        monkeypatch.setattr("os.fsync", full)
    reason = "File too large" if trick == "size" else "No space left on device"
    with files_up_to(500) if trick == "size" else contextlib.nullcontext():
        refused(1, (command, "run", "-o", path), f"{path} could not be written: ", reason, "Free some space")
    assert path.read_text() == "yesterday's"


def test_a_disk_that_is_full_from_the_start(refused: Refused, here: Path) -> None:
    """The message says to run the same command again, so that must be possible."""
    words = ("train", "digits", *TRAIN)
    for size in (500, 8000):
        with files_up_to(size):
            assert main([str(word) for word in words]) == 1
        held = tree(here)
        assert all(contents is None for contents in held.values()), f"left behind: {sorted(held)}"
    assert main([str(word) for word in words]) == 0


def test_a_disk_that_fills_up_while_it_trains(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    words = ("train", "digits", "--epochs", 2, "--widths", 512, "--latent-dim", 2, "--no-report", "--quiet")
    with files_up_to(100_000):
        assert main([str(word) for word in (*words, "-o", "out")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("diabolo: out/model.safetensors could not be written: File too large")
    assert err.count("\n") == 1
    assert sorted(tree(here / "out")) == ["config.json", "examples.safetensors", "history.jsonl"], "no half files"
    assert main(["resume", "out", "--quiet", "--no-report"]) == 0
    assert main([str(word) for word in (*words, "-o", "whole")]) == 0
    x = diabolo.open_dataset("digits").x
    np.testing.assert_array_equal(diabolo.load("out").encode(x), diabolo.load("whole").encode(x))


def test_a_disk_that_fills_up_while_a_run_goes_on(refused: Refused, run: Path) -> None:
    """The old checkpoint stands, and so does the old model."""
    x = diabolo.open_dataset("digits").x
    before, codes = tree(run), diabolo.load(run).encode(x)
    with files_up_to(5000):
        assert main(["resume", "run", "--epochs", "2", "--no-report", "--quiet"]) == 1
    after = tree(run)
    assert sorted(after) == sorted(before), "no half files"
    for name in ("model.safetensors", "last.safetensors", "examples.safetensors"):
        assert after[name] == before[name]
    np.testing.assert_array_equal(diabolo.load(run).encode(x), codes)
    assert main(["resume", "run", "--epochs", "2", "--no-report", "--quiet"]) == 0


def test_a_place_that_cannot_hold_files(refused: Refused, run: Path) -> None:
    Path("file").write_text("in the way")
    Path("folder.npz").mkdir()
    refused(1, ("train", "digits", *SMALL, "-o", "file/run"), "file/run", "could not be written", "another folder")
    refused(2, ("train", "digits", *SMALL, "-o", "file"), "file is not empty", "another folder")
    refused(1, ("encode", "run", "-o", "file/codes.csv"), "file/codes.csv could not be written")
    refused(1, ("encode", "run", "-o", "folder.npz"), "folder.npz could not be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
def test_a_place_without_permission(refused: Refused, run: Path, here: Path) -> None:
    Path("locked").mkdir(mode=0o500)
    refused(1, ("train", "digits", *SMALL, "-o", "locked/run"), "could not be written: Permission denied")
    refused(1, ("encode", "run", "-o", "locked/codes.csv"), "could not be written: Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
def test_a_file_without_permission(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    np.save("x.npy", toy(6))
    Path("x.npy").chmod(0)
    assert main(["train", "x.npy", *map(str, TRAIN)]) == 1
    err = capsys.readouterr().err
    assert "x.npy" in err
    assert "Permission denied" in err
    assert "defect" not in err
