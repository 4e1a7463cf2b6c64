"""Parts of an installed package, and of modules on the way: those of docs/extending.md, used as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import diabolo

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
MODULES = ("my_parts", "my_chunks", "my_contrast", "my_csv", "my_box", "my_rings")
SMALL = ("--latent-dim", "2", "--epochs", "2")


def said(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a command says in a fresh process that trusts nobody; `path` is where modules are found beside diabolo."""
    line = ["-c", "import sys; sys.path.pop(0); from diabolo.cli import main; sys.exit(main())", *words]
    return python(folder, *line, path=path)


def python(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DIABOLO_TRUST"}
    paths = [str(path) if path else "", environment.get("PYTHONPATH", "")]
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


MANY = """
import contextlib, io, json, os, sys
from diabolo.cli import main
answers = []
for words in json.loads(sys.argv[1]):
    os.environ.pop("DIABOLO_TRUST", None)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    answers.append([words, status, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def said_each(folder: Path, *commands: list[str], path: Path | None = None) -> list[subprocess.CompletedProcess[str]]:
    """What commands say, one after the other in one process."""
    answers = json.loads(good(python(folder, "-c", MANY, json.dumps(commands), path=path)).splitlines()[-1])
    return [subprocess.CompletedProcess(*answer) for answer in answers]


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, as its author has it."""
    folder = tmp_path_factory.mktemp("project")
    for name in MODULES:
        code = PAGE.split(f"`{name}.py`")[1].split("```python\n")[1].split("```")[0]
        (folder / f"{name}.py").write_text(code)
    (folder / "pyproject.toml").write_text(PAGE.split("```toml\n")[1].split("```")[0])
    return folder


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the package is installed."""
    site = tmp_path_factory.mktemp("site")
    # A copy is built: what a build leaves beside the modules would name their entry points there, too.
    copied = shutil.copytree(project, tmp_path_factory.mktemp("build") / "my-parts")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    good(python(project, "-m", "pip", "install", *options, "--target", str(site), str(copied)))
    return site


def write_chunks(folder: Path, x: np.ndarray) -> None:
    folder.mkdir()
    about = {"shape": x.shape, "dtype": "uint8", "rows": 32, "layout": "HW", "labels": ["a", "b", "c"] * (len(x) // 3)}
    (folder / "chunks.json").write_text(json.dumps(about))
    for number, start in enumerate(range(0, len(x), 32)):
        (folder / f"{number}.bin").write_bytes(x[start : start + 32].tobytes())


@pytest.fixture(scope="module")
def place(site: Path, tmp_path_factory: pytest.TempPathFactory, pictures: np.ndarray) -> Path:
    """A folder with data, and a run of the installed parts by their plain names."""
    place = tmp_path_factory.mktemp("place")
    write_chunks(place / "scans.chunks", pictures)
    words = ["--model", "my-vae", "--strength", "0.25", "--network", "doubled", "--likelihood", "soft", "--log", "csv"]
    good(said(place, "train", "scans.chunks", *words, *SMALL, "--out", "run", path=site))
    good(said(place, "fit-prior", "run", "--kind", "box", "--margin", "0.1", path=site))
    return place


def test_a_run_says_the_plain_names(place: Path) -> None:
    config = json.loads((place / "run" / "config.json").read_text())
    names = [config[kind]["name"] for kind in ("model", "network", "likelihood")]
    assert names == ["my-vae", "doubled", "soft"]
    assert config["model"]["options"] == {"strength": 0.25, "beta": 1.0}
    assert len((place / "run" / "csv" / "losses.csv").read_text().splitlines()) == 2


QUICK = ("encode",)  # the others are slow tests
COMMANDS = {
    "encode": (["run", "--out", "codes.csv"], "90 codes of 2 numbers"),
    "evaluate": (["run", "--metrics", "contrast,mse"], "contrast lost"),
    "sample": (["run", "-n", "4", "--out", "samples.npy"], "4 examples"),
    "report": (["run"], "report.html"),
    "info": (["run"], "my-vae (strength=0.25, beta=1.0)"),
    "resume": (["run", "--epochs", "3", "--log", "csv"], "Trained 3 epochs"),
    "datasets": (["scans.chunks"], "3 classes"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COMMANDS]
)
def test_every_command_finds_installed_parts(place: Path, site: Path, name: str) -> None:
    words, expected = COMMANDS[name]
    assert expected in good(said(place, name, *words, path=site))


@pytest.mark.slow
def test_onnx(place: Path, site: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert "decoder.onnx" in good(said(place, "export", "run", "--out", "onnx", path=site))


USE = """
import io, json, urllib.request
import numpy as np, diabolo
model = diabolo.load("run")
data = diabolo.open_dataset("scans.chunks")
assert np.array_equal(model.encode(data.x), diabolo.load("run").encode(data.x))
model.fit_prior("box", data.x, margin=0.5)
model.save("copy")
again = diabolo.load("copy")
codes = again.sample_codes(50, seed=0)
assert np.array_equal(codes, model.sample_codes(50, seed=0))
assert np.isfinite(again.prior.log_prob(codes)).all()
view = diabolo.explore(model, layouts="rings")
base, _, token = view.url.partition("/?token=")
def get(path):
    return urllib.request.urlopen(f"{base}/api/explore/{path}?token={token}").read()
listed = {one["name"]: one for one in json.loads(get("layouts"))}
xy = np.load(io.BytesIO(get("layouts/rings")))
told = {"prior": repr(again.prior), "xy": xy.shape, "layouts": json.loads(get("state"))["layouts"]}
print(json.dumps({**told, "labels": listed["rings"]["labels"], "inverse": listed["rings"]["inverse"]}))
view.stop()
"""


def test_in_a_fresh_process_of_python(place: Path, site: Path) -> None:
    pytest.importorskip("fastapi")
    answer = json.loads(good(python(place, "-c", USE, path=site)).splitlines()[-1])
    assert answer["prior"] == "box (margin=0.5), fitted to 90 codes of 2 numbers"
    assert (answer["labels"], answer["inverse"], answer["xy"]) == (["angle", "distance"], False, [90, 2])
    assert answer["layouts"] == [{"name": "rings", "labels": ["angle", "distance"]}]


@pytest.mark.slow
def test_the_lists_say_where_parts_are_from(place: Path, site: Path) -> None:
    listed = good(said(place, "models", path=site))
    for line in ("my-vae  my_parts:MyVAE, of the installed package my-parts 1.0", "explore --map rings"):
        assert line in listed
    entries = json.loads(good(said(place, "models", "--json", path=site)))
    assert {"kind": "model", "name": "my-vae", "path": "my_parts:MyVAE", "package": "my-parts 1.0"} in entries
    one = good(said(place, "models", "my-vae", path=site))
    assert "A VAE around 3" in one
    assert "of the installed package my-parts 1.0" in one
    assert "--strength" in one
    helps = {
        "train": ("my-vae", "doubled", "soft", "csv"),
        "fit-prior": ("box",),
        "evaluate": ("contrast",),
        "explore": ("rings",),
    }
    for (name, parts), done in zip(
        helps.items(), said_each(place, *([name, "--help"] for name in helps), path=site), strict=True
    ):
        assert all(part in good(done) for part in parts), name
    assert "chunks" in good(said(place, "datasets", path=site))


def test_without_the_package_it_is_said_what_is_missing(place: Path) -> None:
    expected = {
        "There is no model named 'my-vae'": ["info", "run"],
        "There is no logger named 'csv'": ["train", "digits", "--out", "new", "--log", "csv"],
        "There is no reader named 'chunks'": ["train", "digits", "--out", "new", "--reader", "chunks"],
        "There is no prior named 'box'": ["fit-prior", "run", "--kind", "box"],
        "scans.chunks holds no image": ["datasets", "scans.chunks"],
    }
    for sentence, done in zip(expected, said_each(place, *expected.values()), strict=True):
        assert done.returncode in (1, 2)
        assert sentence in done.stderr


@pytest.fixture(scope="module")
def by_path(project: Path, tmp_path_factory: pytest.TempPathFactory, pictures: np.ndarray) -> Path:
    """A run of the same parts by import path, of modules that are not installed."""
    place = tmp_path_factory.mktemp("by-path")
    write_chunks(place / "scans.chunks", pictures)
    words = ["--reader", "my_chunks:read_chunks", "--log", "my_csv:Csv"]
    shown = good(said(place, "train", "scans.chunks", *words, *SMALL, "--out", "run", path=project))
    assert "diabolo explore run --trust my_chunks" in shown
    assert (place / "run" / "my_csv.Csv" / "losses.csv").exists()
    shown = good(said(place, "fit-prior", "run", "--kind", "my_box:Box", "--trust", "my_chunks", path=project))
    assert "diabolo sample run --trust my_box,my_chunks" in shown
    return place


@pytest.mark.slow  # every command by name, and the parts by path elsewhere, stand for it
def test_by_import_path_everything_but_what_was_typed_is_asked_for(by_path: Path, project: Path) -> None:
    metric = ["evaluate", "run", "--metrics", "my_contrast:measure_contrast"]
    page = ["explore", "run", "--map", "my_rings:place_on_rings", "--export", "site"]
    resume = ["resume", "run", "--epochs", "3"]
    unasked = said_each(by_path, metric, page, resume, path=project)
    assert ["my_box" in one.stderr for one in unasked] == [True, True, False], "a run is resumed without its prior"
    half = said_each(by_path, *([*words, "--trust", "my_box"] for words in (metric, page, resume)), path=project)
    for asked in (unasked[2], *half):
        assert (asked.returncode, asked.stderr) == (
            1,
            "diabolo: The reader 'my_chunks:read_chunks' is code of the module my_chunks, which loading would run. If "
            "you trust it, say so: --trust my_chunks, or trust='my_chunks' in Python.\n",
        )
    trusted = ["--trust", "my_box,my_chunks"]
    for done in said_each(by_path, *([*words, *trusted] for words in (metric, page, resume)), path=project):
        good(done)


@pytest.mark.slow
def test_another_source_is_read_by_the_reader_that_is_typed(by_path: Path, project: Path) -> None:
    words = ["encode", "run", "scans.chunks", "--out", "codes.csv", "--trust", "my_box"]
    done = said(by_path, *words, path=project)
    assert "holds no image" in done.stderr
    assert "90 codes" in good(said(by_path, *words, "--reader", "my_chunks:read_chunks", path=project))


@pytest.mark.slow
def test_a_function_in_the_place_of_its_name(by_path: Path, project: Path) -> None:
    code = (
        "import diabolo, my_chunks\n"
        "model = diabolo.train('scans.chunks', reader=my_chunks.read_chunks, latent_dim=2, epochs=1, out='own')\n"
        "print(model.info['run_config']['data'])\n"
        "assert 'mse' in diabolo.evaluate(model, metrics=['mse']), 'whoever hands code over wants it run'\n"
    )
    assert good(python(by_path, "-c", code, path=project)).splitlines()[-1] == "{'reader': 'my_chunks:read_chunks'}"
    asked = said(by_path, "evaluate", "own", "--metrics", "mse", path=project)
    assert "The reader 'my_chunks:read_chunks' is code of the module my_chunks" in asked.stderr


# Entry points of packages that are broken, or in each other's way


def add_package(site: Path, name: str, entries: str, modules: dict[str, str] | None = None) -> Path:
    folder = site / f"{name.replace('-', '_')}-0.5.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.5\n")
    (folder / "entry_points.txt").write_text(entries)
    for module, code in (modules or {}).items():
        (site / f"{module}.py").write_text(code)
    return site


KINDS = ("models", "networks", "likelihoods", "priors", "readers", "metrics", "loggers", "layouts")
BROKEN = "".join(f"[diabolo.{kind}]\nbroken = no_such_module:Part\nwrong = wrong_parts:thing\n" for kind in KINDS)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_package(tmp_path_factory.mktemp("broken"), "torn-parts", BROKEN, {"wrong_parts": "thing = 3\n"})


def test_a_broken_package_harms_nobody_who_does_not_use_it(here: Path, broken: Path) -> None:
    lists = [["--help"], ["models"], ["datasets"], ["train", "--help"], ["explore", "--help"]]
    for done in said_each(here, *lists, path=broken):
        assert (done.returncode, done.stderr) == (0, ""), done.args
    good(said(here, "train", "digits", "--epochs", "1", "--widths", "8", "--no-report", "--out", "run", path=broken))


USES = {
    "model": ["train", "digits", "--model"],
    "network": ["train", "digits", "--network"],
    "likelihood": ["train", "digits", "--likelihood"],
    "logger": ["train", "digits", "--out", "run", "--log"],
    "reader": ["datasets", "x.npy", "--reader"],
    "prior": ["fit-prior", "nowhere", "--kind"],
    "metric": ["evaluate", "run", "--metrics"],
    "layout": ["explore", "run", "--export", "page.html", "--map"],
}


@pytest.mark.slow
def test_a_broken_part_is_told_where_it_is_used(here: Path, broken: Path) -> None:
    np.save(here / "x.npy", np.zeros((4, 3)))
    diabolo.train("digits", widths=(8,), epochs=1, latent_dim=2, out=here / "run")
    for kind, done in zip(
        USES, said_each(here, *([*one, "broken"] for one in USES.values()), path=broken), strict=True
    ):
        assert (done.returncode, done.stderr.removeprefix("diabolo: ")) == (
            2,
            f"The {kind} 'broken' of the package torn-parts 0.5 cannot be imported: ModuleNotFoundError: No module "
            "named 'no_such_module'. Install that package again, or uninstall it.\n",
        )
    for kind, done in zip(USES, said_each(here, *([*one, "wrong"] for one in USES.values()), path=broken), strict=True):
        assert done.returncode == 2
        assert f"The {kind} 'wrong' of the package torn-parts 0.5 should be a " in done.stderr
        assert done.stderr.endswith("and the module holds 3.\n") or "and the module holds 3, " in done.stderr


@pytest.mark.slow
def test_a_broken_reader_is_told_where_nothing_else_reads_the_source(here: Path, broken: Path) -> None:
    (here / "a.unknown").write_text("x")
    done = said(here, "datasets", "a.unknown", path=broken)
    assert "files that can be read" in done.stderr
    assert "The reader 'broken' of the package torn-parts 0.5 cannot be imported" in done.stderr


@pytest.mark.slow
def test_names_that_clash(here: Path, site: Path, tmp_path: Path) -> None:
    entries = "[diabolo.models]\nvae = my_parts:MyVAE\nmy-vae = my_parts:MyVAE\n[diabolo.priors]\ngmm = my_box:Box\n"
    other = add_package(tmp_path / "site", "same-names", entries)
    both = Path(f"{site}{os.pathsep}{other}")
    listed = " ".join(good(said(here, "models", path=both)).split())
    for kind, name, path in (("model", "vae", "my_parts:MyVAE"), ("prior", "gmm", "my_box:Box")):
        assert (
            f"The {kind} '{name}' of the package same-names 0.5 is not used: there is one of that name already. Its "
            f"import path, {path}, names it." in listed
        )
    assert "A VAE around 3" not in good(said(here, "models", "vae", path=both)), "what is diabolo's stays so"
    done = said(here, "train", "digits", "--model", "my-vae", path=both)
    assert done.returncode == 2
    assert "Two packages have a model named 'my-vae': my-parts 1.0 and same-names 0.5" in done.stderr or (
        "Two packages have a model named 'my-vae': same-names 0.5 and my-parts 1.0" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_nothing_is_looked_up_for_diabolo_s_own_names(here: Path) -> None:
    code = (
        "import sys\nimport diabolo, diabolo.cli\n"
        "assert 'importlib.metadata' not in sys.modules and 'numpy' not in sys.modules\n"
        "import importlib.metadata\n"
        "ask = importlib.metadata.entry_points\n"
        "def watched(**words):\n"
        "    assert not words.get('group', '').startswith('diabolo'), 'looked up'\n"
        "    return ask(**words)\n"
        "importlib.metadata.entry_points = watched\n"
        "model = diabolo.train('digits', widths=(8,), epochs=1, latent_dim=2, out='run')\n"
        "model.fit_prior('gaussian'); diabolo.evaluate(model, metrics=['pixels', 'kl'])\n"
        "assert diabolo.cli.main(['encode', 'run', '--out', 'codes.csv']) == 0\n"
    )
    good(python(here, "-c", code))
