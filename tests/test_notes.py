"""Notes on how data were read: each guess about their meaning names the option that overrules it, and it does."""

from __future__ import annotations

import ast
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import diabolo
from diabolo import Dataset, open_dataset
from diabolo.autoencoder.examples import open_examples
from diabolo.cli import main
from diabolo.errors import ConfigError, DataError
from diabolo.runs import open_data

pytestmark = pytest.mark.usefixtures("environment", "here")

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 6, 6), dtype=np.uint8)
READERS = Path(diabolo.__file__).parent / "datasets"


def _text(content: str, encoding: str = "utf-8") -> Callable[[], str]:
    def write() -> str:
        Path("t.csv").write_bytes(content.encode(encoding))
        return "t.csv"

    return write


def _array(x: np.ndarray) -> Callable[[], str]:
    def write() -> str:
        np.save("x.npy", x)
        return "x.npy"

    return write


def _archive(**arrays: np.ndarray) -> Callable[[], str]:
    def write() -> str:
        np.savez("x.npz", **arrays)  # type: ignore[arg-type]
        return "x.npz"

    return write


def _folder(*names: str, **options: Any) -> Callable[[], str]:
    def write() -> str:
        shutil.rmtree("x", ignore_errors=True)
        for number, name in enumerate(names):
            path = Path("x", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(GREY[number])
            if options.get("transparent"):
                image = Image.merge("LA", [image, image])
            frames = [Image.fromarray(255 - GREY[number])] if path.suffix == ".tif" else []
            image.save(path, **({"save_all": True, "append_images": frames} if frames else {}))
        return "x"

    return write


def _images(**columns: Any) -> Callable[[], str]:
    def write() -> str:
        pytest.importorskip("pyarrow")
        _folder("0.png", "1.png", "2.png")()
        encoded = [path.read_bytes() for path in sorted(Path("x").iterdir())]
        pd.DataFrame({"image": encoded, **columns}).to_parquet("t.parquet")
        return "t.parquet"

    return write


def _shard() -> str:
    _folder("0.png", "1.png", "2.png", "3.png")()
    with tarfile.open("t.tar", "w") as archive:
        for number, suffix in enumerate(("png", "seg.png")):
            archive.add(f"x/{number}.png", f"0.{suffix}")
    return "t.tar"


def _idx() -> str:
    folder = Path("my-fashion-mnist")
    folder.mkdir(exist_ok=True)
    for name, x in (("images-idx3", GREY[:2]), ("labels-idx1", np.array([3, 1], np.uint8))):
        sizes = b"".join(side.to_bytes(4, "big") for side in x.shape)
        (folder / f"train-{name}-ubyte").write_bytes(bytes([0, 0, 8, x.ndim]) + sizes + x.tobytes())
    return str(folder)


class Guess(NamedTuple):
    """A source, words of the note on it, the options that overrule it, and those that the source asks for at all."""

    write: Callable[[], str]
    says: str
    overruled: dict[str, Any]
    asks: Mapping[str, Any] = MappingProxyType({})


MIXED = "a,b\n1,x\n,y\n2,x\n"
GUESSES = {
    "UTF-16": Guess(_text("a,b\n1,2\n3,4", "utf-16"), "UTF-16 text", {"encoding": "latin-1"}, {"mixed": True}),
    "cp1252": Guess(_text("frø,b\n1,2\n", "cp1252"), "read as cp1252", {"encoding": "cp1250"}),
    "sep=": Guess(_text("sep=;\na;b\n1;2\n"), "names the separator", {"separator": ","}, {"mixed": True}),
    "bars": Guess(_text("a|b\n1|2\n"), "parted by '|'", {"separator": ";"}, {"mixed": True}),
    "names that count": Guess(_text("0,1,2\n3,4,5\n"), "the first row, 0, 1, 2", {"header": 0}),
    "units": Guess(_text("a,b\nm,s\n1,2\n"), "taken for units", {"header": 1}, {"mixed": True}),
    "names in a comment": Guess(_text("# a b\n1 2\n"), "the comment above the first row", {"header": 0}),
    "a row of numbers": Guess(_text("1990,1991\n1,2\n3,4\n"), "may hold the names", {"header": 1}),
    "names of rows": Guess(_text('a b\n"1" 4 5\n"2" 6 7\n'), "the name of the row", {"columns": ",a,b"}),
    "no name": Guess(_text(",a\n7,1\n5,2\n"), "a column without a name", {"columns": "-"}),
    "comments": Guess(_text("a\nred\n#x\nblue\n"), "1 line that begins with # taken for comments",
                      {"comments": "none"}, {"mixed": True}),
    "no comments": Guess(_text("k,a\nx,1\n#y,2\n"), "1 line that begins with # taken for rows", {"comments": "#"},
                         {"labels": "k"}),
    "thousands": Guess(_text("a;b\n1,234;1.5\n2,345;2\n"), "parts thousands", {"decimal": ",", "columns": "a"}),
    "decimal commas": Guess(_text('a;b\n1,5;"1,234"\n'), "is a decimal mark", {"decimal": ".", "columns": "b"}),
    "points": Guess(_text("1.234;2.345\n"), "the point is a decimal mark", {"decimal": ","}),
    "commas in labels": Guess(_text("a;y\n1;1,5\n2;2,5\n"), "in the labels", {"decimal": "."}, {"labels": "y"}),
    "per cent": Guess(_text("a,b\n12%,1\n3%,2\n"), "% left out in 'a': 12 % is 12", {"columns": "-a"}),
    "true": Guess(_text("a,b\ntrue,1\nfalse,2\n"), "true is 1 and false is 0 in 'a'", {"columns": "-a"}),
    "rows that are counted": Guess(_text("a,b\n1,3\n2,5\n3,5\n"), "counts the rows", {"columns": "-a"}),
    "rows that are named": Guess(_text("b,id\n3,9\n5,2\n5,7\n"), "another number in each row", {"columns": "-id"}),
    "places": Guess(_text("1,2\n3,4\n"), "taken by their places", {"columns": "1,0"}, {"columns": "a,b", "header": 0}),
    "missing": Guess(_text(MIXED), "missing values filled: 'a'", {"columns": "-a"}, {"mixed": True}),
    "categories": Guess(_text(MIXED), "categories are columns of 0 and 1: 'b'", {"columns": "-b"}, {"mixed": True}),
    "dates": Guess(_text("a,b\n2020-01-31,1\n2020-02-01,2\n"), "days since 1970", {"columns": "-a"}, {"mixed": True}),
    "bytes of a table": Guess(_array(GREY[:, 0]), "taken for pixels", {"white": 1}),
    "whole numbers": Guess(_array(GREY[:, 0] // 16), "taken for numbers rather than pixels", {"white": 255}),
    "few greys": Guess(_array(GREY // 16), "uint8 from 0 to 15, scaled to [0, 1] by 15", {"white": 255}),
    "12 bits": Guess(_array(GREY.astype(np.uint16) * 16), "scaled to [0, 1] by 4095", {"white": 65535}),
    "16 bits": Guess(_array(GREY.astype(np.uint16) * 200), "16-bit images", {"white": 60000}),
    "volumes": Guess(_array(np.ones((2, 16, 16, 16))), "taken for volumes", {"layout": "CHW"}),
    "parts of an archive": Guess(_archive(x_train=GREY, x_test=GREY[:5]), "parts: x_train", {"examples": "x_test"}),
    "arrays left out": Guess(_archive(x=GREY, z=GREY[:5]), "arrays left out: 'z'", {"examples": "z"}),
    "two arrays": Guess(_archive(arr_0=GREY, arr_1=np.arange(24) % 2), "the array 'arr_1'", {"examples": "arr_0"}),
    "labels of images": Guess(_images(y=[0, 1, 0]), "the labels are the column 'y'", {"columns": "-y"}),
    "columns beside images": Guess(_images(a=[0.5, 1, 0]), "and not 'a'", {"columns": "-image"}),
    "two images of an example": Guess(_shard, "and not 'seg.png'", {"examples": "seg.png"}),
    "names of classes": Guess(_idx, "named as those of fashion-mnist", {"folders": "none"}),
    "folders": Guess(_folder("a/0.png", "b/1.png"), "labels are the names of the first", {"folders": "none"}),
    "parts by folder": Guess(_folder("test/a/0.png", "train/b/1.png", "train/a/2.png"), "parts by folder: ",
                             {"folders": "labels"}),
    "beside the parts": Guess(_folder("test/0.png", "train/1.png", "o/2.png"), "beside the parts' folders left out: o/",
                              {"folders": "none"}),
    "beside the labels": Guess(_folder("a/0.png", "b/1.png", "2.png"), "beside the labels' folders left out: 2.png",
                               {"folders": "none"}, {"folders": "labels"}),
    "no labels": Guess(_folder("a/0.png", "b/1.png", "2.png"), "move it into one, or away", {"folders": "labels"}),
    "frames": Guess(_folder("0.tif"), "1 image with more than one frame", {"frame": 1}),
    "transparency": Guess(_folder("0.png", transparent=True), "laid on white", {"ground": "black"}),
    "floats": Guess(_array(GREY.astype(np.float32)), "and are taken as they are", {"scaling": "range"},
                    {"layout": "HW"}),
}  # fmt: skip
FACTS = [
    "values lie close together far from zero: kept as float64, of which float32 would lose much",  # no value changes
    *("1 row without any value left out", "the empty cell at the end of each row left out"),  # nothing is in them
    "examples of 5 axes, which are taken as they are (any): no layout names them; reshape them to one that does",
    *("columns left out: 'a'", "1 image with 16 bits a pixel, reduced to 8"),  # asked for; 8 bits hold no more
    "files that are no images passed over: 1 with .txt",
    "no labels: all images lie below one folder, a",
    "read without labels: the file of train-labels is not there",
    *("not the published files of mnist: 7 images, from a", "not the whole of mnist: 10 of 70,000 images"),
    *("a part of mnist: no t10k-labels", "scaled from 8 x 8 to 4 x 4 pixels, bilinearly"),
    "categories that the training did not have are none of its: 'a'",  # at the doors of a model
    "made by code; 5 known factors: shape",
]


def _notes(name: str) -> tuple[str, ...]:
    guess = GUESSES[name]
    return open_dataset(guess.write(), **guess.asks).notes


def _differ(a: Dataset, b: Dataset) -> bool:
    """Whether two readings of a source take it for different things."""
    tests = [() if data.official_test is None else tuple(data.official_test) for data in (a, b)]
    if (a.layout, a.features, a.classes, a.white, tests[0]) != (b.layout, b.features, b.classes, b.white, tests[1]):
        return True
    return not (np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y))  # type: ignore[arg-type]


def _words(options: dict[str, Any]) -> list[str]:
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


@pytest.mark.parametrize("name", GUESSES)
def test_each_guess_names_an_option_that_overrules_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    guess = GUESSES[name]
    source, option = guess.write(), next(iter(guess.overruled))
    data = open_dataset(source, **guess.asks)
    note = next(note for note in data.notes if guess.says in note)
    assert re.search(rf"\([^()]*\b{option}=", note), note
    if option == "scaling":  # of the training
        sizes: dict[str, Any] = {**guess.asks, "latent_dim": 1, "widths": (4,), "epochs": 1}
        models = [diabolo.train(source, **sizes, **more).model for more in ({}, guess.overruled)]
        assert [model.preprocess.scale for model in models] == ["standard", "range"]
        return
    options = {**guess.asks, **guess.overruled}
    other = open_dataset(source, **options)
    assert _differ(data, other)
    assert not any(note.rpartition(" (")[0] in one for one in other.notes)
    assert main(["datasets", source, *_words(options)]) == 0
    assert capsys.readouterr().out.startswith(other.describe())


def _literals(node: ast.AST) -> Iterator[str]:
    """The longest constant part of each text in an expression."""
    if isinstance(node, (ast.Constant, ast.JoinedStr)):
        parts = [node] if isinstance(node, ast.Constant) else node.values
        texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        yield max(texts, key=len, default="")
        return
    for child in ast.iter_child_nodes(node):
        yield from _literals(child)


def _sources_of_notes(tree: ast.Module) -> Iterator[ast.AST]:
    """The expressions from which the readers make notes."""
    names = {"notes", "note", "words", "about"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if names & {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}:
                yield node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "notes.append":
            yield node.args[0]
        elif isinstance(node, ast.keyword) and node.arg == "notes":
            yield node.value
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            yield node.iter
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            yield from (part for part in node.value.elts if isinstance(part, (ast.Tuple, ast.IfExp)))


def test_each_note_of_the_readers_is_one_of_these_guesses_or_a_fact() -> None:
    said = "\n".join([*(note for name in GUESSES for note in _notes(name)), *FACTS])
    for path in sorted(READERS.glob("*.py")):
        if path.name in ("_open.py", "_read_options.py"):  # which make errors
            continue
        for expression in _sources_of_notes(ast.parse(path.read_text())):
            for text in _literals(expression):
                assert " " not in text.strip() or text in said, (
                    f"{path.name}: {text!r}: a guess belongs in GUESSES, with its option, or in FACTS"
                )


def test_a_fact_is_no_guess() -> None:
    assert not any(re.search(r"\([^()]*\w=", fact) for fact in FACTS)


def test_options_that_overrule_guesses_are_kept_with_the_run() -> None:
    numbers = RNG.normal(size=(40, 3)).round(3)
    lines = [",".join(map(str, row)) for row in numbers]
    Path("own.csv").write_text("\n".join(["% by x", "a,b,c", *lines[:20], "% more, in words", *lines[20:]]))
    diabolo.train("own.csv", comments="%", latent_dim=1, widths=(4,), epochs=1, out="run")
    model = diabolo.load("run")
    assert model.info["run_config"]["data"] == {"comments": "%"}
    assert len(open_data(model)[0]) == 40
    assert np.allclose(model.encode("own.csv"), model.encode(numbers.astype(np.float32)), atol=1e-6)
    assert main(["encode", "run", "own.csv", "-o", "c.npz"]) == 0
    Path("own.csv").write_text(Path("own.csv").read_text().replace("%", "#"))
    assert main(["score", "run", "own.csv"]) == 1, "lines with # are rows, as in the training"
    assert main(["score", "run", "own.csv", "--comments", "#"]) == 0


def test_frame_ground_and_folders_are_kept_with_the_run() -> None:
    _folder(*(f"{part}/{label}/{i}.tif" for i in range(4) for part in ("train", "test") for label in "ab"))()
    options: dict[str, Any] = {"frame": 1, "folders": "labels", "ground": "black"}
    diabolo.train("x", **options, latent_dim=1, widths=(4,), epochs=1, out="run")
    model = diabolo.load("run")
    assert model.info["run_config"]["data"] == options
    assert model.info["data"]["classes"] == ["test", "train"]
    own = open_data(model)[0]
    assert own.official_test is None
    assert np.array_equal(own.x[[own.ids.index("train/a/0.tif")]], 255 - GREY[:1])
    Path("x").rename("y")
    other = open_examples(model, "y")
    assert other.classes == ("test", "train"), "of another folder"
    assert np.array_equal(other.x, own.x)
    _folder("0.png", "1.png", transparent=True)()
    with pytest.raises(DataError, match=r"its frames are 1, and frame=1 was asked for"):
        model.encode("x/0.png")
    at_first = {name: value for name, value in options.items() if name == "ground"}
    assert np.array_equal(open_examples(model, "x/0.png", {"frame": 0}).x, open_dataset("x/0.png", **at_first).x)


@pytest.mark.parametrize(
    "options",
    [{"comments": sign} for sign in ("", "a", "1", "-", ".", '"', "# ", "####")]
    + [{"comments": ";", "separator": ";"}, {"frame": -1}, {"folders": "parts"}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        open_dataset(_text("a\n1\n")(), **options)


def test_options_for_other_sources_are_refused() -> None:
    for source in (GREY, open_dataset(GREY), _text("a\n1\n2\n")()):
        with pytest.raises(ConfigError, match="frame= is for images that are read from files"):
            open_dataset(source, frame=1)
        with pytest.raises(ConfigError, match="folders= is for folders of images"):
            open_dataset(source, folders="none")
    with pytest.raises(ConfigError, match="comments= is for text tables"):
        open_dataset(GREY, comments="#")


def test_comments_of_other_signs() -> None:
    for sign in ("%", "//", "--"):
        data = open_dataset(_text(f"{sign} a b\n1 2\n{sign} more\n3 4\n")(), comments=sign)
        assert (data.features, data.x.tolist()) == (("a", "b"), [[1, 2], [3, 4]])
        assert f"1 line that begins with {sign} left out" in data.notes
    many = _text("# by x\n" * 100 + "a b\n1 2\n")
    assert open_dataset(many()).features == ("a", "b"), "however many comments there are"
    with pytest.raises(DataError, match="is empty: it holds no row"):
        open_dataset(_text("% a\n% b\n")(), comments="%")


def test_frames_of_images_in_stores() -> None:
    _folder("0.tif", "1.tif")()
    pytest.importorskip("pyarrow")
    pd.DataFrame({"image": [path.read_bytes() for path in sorted(Path("x").iterdir())]}).to_parquet("t.parquet")
    first, second = (open_dataset("t.parquet", frame=frame, memory=0) for frame in (None, 1))
    assert np.array_equal(second.x[:], 255 - first.x[:])
    assert second.fingerprint != first.fingerprint
    with pytest.raises(DataError, match="its frames are 2"):
        open_dataset("t.parquet", frame=2)


def test_what_is_asked_for_is_no_guess() -> None:
    assert open_dataset(_text(",a\n7,1\n5,2\n")(), columns=",a").notes == ()
    assert open_dataset(GREY[:, 0], white="full").notes == ()


def test_columns_without_names_are_taken_in_another_order_by_a_model() -> None:
    numbers = RNG.normal(size=(20, 2)).astype(np.float32)
    model = diabolo.train(pd.DataFrame(numbers, columns=["a", "b"]), latent_dim=1, widths=(4,), epochs=1)
    source = _text("\n".join(f"{b},{a}" for a, b in numbers.tolist()))()
    assert np.allclose(open_examples(model, source, {"columns": "1,0"}).x, numbers)
    assert np.allclose(open_examples(model, source).x, numbers[:, ::-1])
