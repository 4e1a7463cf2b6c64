"""Variants, networks and likelihoods of a module outside the package: by class, by import path, by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo._imported import import_class, path_of, trust
from diabolo.cli import main
from diabolo.errors import ConfigError, RunError, UntrustedError
from diabolo.models import Gaussian, Likelihood
from diabolo.models.networks import MLP
from diabolo.models.objectives import Batch, Loss, Net, Objective, objectives
from diabolo.models.objectives.vae import VAE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
MODULE = PAGE.read_text(encoding="utf-8").split("All of `my_parts.py`")[1].split("```python\n")[1].split("```")[0]

TRAIN = ["--model", "my_parts:MyVAE", "--strength", "0.25", "--network", "my_parts:Doubled", "--width", "6"]
TRAIN += ["--likelihood", "my_parts:Soft", "--latent-dim", "2", "--epochs", "2", "--out", "run", "--layout", "HW"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pictures: np.ndarray) -> Path:
    """A folder with a module, data, and a run that was trained on them by the command line."""
    place = tmp_path_factory.mktemp("outside")
    (place / "my_parts.py").write_text(MODULE)
    np.save(place / "x.npy", pictures)
    done = said(place, "train", "x.npy", *TRAIN)
    assert done.returncode == 0, done.stderr
    return place


def said(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says in a fresh process that trusts nobody yet."""
    environment = {name: value for name, value in os.environ.items() if name != "DIABOLO_TRUST"}
    line = [sys.executable, "-c", "import sys; sys.path.pop(0); from diabolo.cli import main; sys.exit(main())", *words]
    return subprocess.run(
        line, cwd=place, capture_output=True, text=True, check=False, env={**environment, "OMP_NUM_THREADS": "1"}
    )


COMMANDS = [
    ["encode", "run", "x.npy", "--out", "codes.csv"],
    ["evaluate", "run", "--samples", "20"],
    ["report", "run"],
    ["export", "run", "--out", "onnx"],
    ["resume", "run", "--epochs", "3"],
]


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, id=words[0], marks=() if words[0] == "encode" else pytest.mark.slow) for words in COMMANDS],
)
def test_every_command_asks_before_it_runs_code_of_a_run(place: Path, words: list[str]) -> None:
    done = said(place, *words)
    assert done.returncode == 1, done.stdout
    assert "is code of the module my_parts, which loading would run. If you trust it, say so: --trust my_parts" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    trusted = said(place, *words, "--trust", "my_parts")
    assert trusted.returncode == 0, trusted.stderr


def test_the_run_says_where_its_parts_are_from(place: Path) -> None:
    shown = said(place, "info", "run", "--trust=my_parts")
    assert "my_parts:MyVAE (strength=0.25, beta=1.0)" in shown.stdout
    page = (place / "run" / "report.html").read_text()
    assert "trust='my_parts'" in page.replace("&#x27;", "'")


def test_in_python(place: Path, monkeypatch: pytest.MonkeyPatch, pictures: np.ndarray) -> None:
    monkeypatch.setenv("DIABOLO_TRUST", "")
    monkeypatch.syspath_prepend(str(place))
    with pytest.raises(UntrustedError, match="trust='my_parts' in Python"):
        diabolo.load(place / "run")
    model = diabolo.load(place / "run", trust="my_parts")
    assert path_of(type(model.model.objective)) == "my_parts:MyVAE"
    assert model.model.state_dict()["objective.scale"].shape == (2,)
    assert (model.model.state_dict()["objective.scale"] != 1).all(), "trained and saved"
    assert model.encode(pictures).shape == (90, 2)
    kind: Any = type(model.model.objective)
    named = diabolo.train(pictures, model=kind, strength=0.75, layout="HW", latent_dim=2, widths=(8,), epochs=1)
    assert named.model.objective.strength == 0.75
    assert named.model.config()["model"] == {"name": "my_parts:MyVAE", "options": {"strength": 0.75, "beta": 1.0}}


class Unnamed(VAE):
    """A variant whose constructor keeps nothing: no configuration makes it again."""

    def __init__(self, *, secret: float) -> None:
        super().__init__()
        self.hidden = secret

    def loss(self, batch: Batch, net: Net) -> Loss:
        return super().loss(batch, net)


def test_what_has_no_name_is_handed_over(tmp_path: Path, pictures: np.ndarray) -> None:
    class Local(Gaussian):
        pass

    options: dict[str, Any] = {"layout": "HW", "latent_dim": 2, "widths": (8,), "epochs": 1}
    made = diabolo.train(
        pictures, model=Unnamed(secret=1.0), likelihood=Local(variance=0.5), out=tmp_path / "run", **options
    )
    with pytest.raises(RunError, match=r"hand them over, load\(path, objective=..., likelihood=...\)"):
        diabolo.load(tmp_path / "run")
    with pytest.raises(RunError, match=r"load\(path, likelihood=...\)"):
        diabolo.load(tmp_path / "run", objective=Unnamed(secret=1.0))
    own: dict[str, Any] = {"objective": Unnamed(secret=1.0), "likelihood": Local(variance=0.5)}
    again = diabolo.load(tmp_path / "run", **own)
    assert np.array_equal(again.encode(pictures), made.encode(pictures))
    longer = diabolo.resume(tmp_path / "run", source=pictures, epochs=2, **own).go()
    assert longer.info["result"]["epochs"] == 2


@pytest.mark.parametrize(
    ("part", "error", "says"),
    [
        ({"model": "no_such_module:MyVAE"}, ConfigError, "cannot be imported: .* Call it from the folder in which"),
        ({"model": ":MyVAE"}, ConfigError, "':MyVAE' should be an import path, module:Class"),
        ({"model": "diabolo.models.networks:MLP"}, ConfigError, "should be a class that derives from .*Objective"),
        ({"model": "diabolo.models:NoSuch"}, ConfigError, "the module holds nothing of that name"),
        (
            {"model": MLP},
            ConfigError,
            "The model should be a name, or a class .* of .*, and is the class MLP",
        ),
        ({"model": MLP()}, ConfigError, "and is an object of MLP"),
        ({"model": print}, ConfigError, "and is an object of builtin_function_or_method"),
        (
            {"network": torch.nn.Linear(2, 2)},
            ConfigError,
            "The network should be .* and is an object of Linear",
        ),
        ({"network": VAE}, ConfigError, "and is the class VAE"),
        ({"likelihood": torch.nn.MSELoss()}, ConfigError, "The likelihood should be a name, .* object of MSELoss"),
    ],
    ids=["missing", "no-module", "network", "no-name", "class", "object", "function", "module", "variant", "loss"],
)
def test_wrong_parts_are_told_before_the_first_step(
    part: dict[str, Any], error: type[Exception], says: str, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIABOLO_TRUST", "")
    with pytest.raises(error, match=says):
        diabolo.train(pictures, layout="HW", latent_dim=2, epochs=1, **part)


def test_trust_is_of_a_module_and_of_what_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIABOLO_TRUST", "")
    path = "diabolo.models.objectives.vae:VAE"
    for other in ("diabolo.models.objectives.va", "diabolo.mod", "json"):
        trust(other)
        with pytest.raises(UntrustedError):
            import_class(path, Objective, "model")
    trust("diabolo.models")
    assert import_class(path, Objective, "model") is VAE
    assert objectives.name_of(VAE()) == "vae", "what is registered keeps its name"
    assert issubclass(import_class("diabolo.models:Gaussian", Likelihood, "likelihood"), Likelihood)


def test_what_a_module_does_as_it_is_imported_is_told(place: Path) -> None:
    (place / "leaves.py").write_text("raise SystemExit(0)")
    (place / "breaks.py").write_text(
        "from diabolo.models.objectives.vae import VAE\n"
        "class Positional(VAE):\n    def __init__(self, strength):\n        super().__init__()\n"
        "class Raises(VAE):\n    def __init__(self, *, k: int = 1):\n        1 / 0\n"
    )
    for name, says in (
        ("leaves:X", "cannot be imported: SystemExit"),
        ("breaks:Positional", "Its constructor should take keyword-only arguments, each with a default."),
        ("breaks:Raises", "The model 'breaks:Raises' cannot be made: ZeroDivisionError"),
    ):
        done = said(place, "train", "x.npy", "--model", name, "--epochs", "1", "--out", "none", "--layout", "HW")
        assert done.returncode == 2, (name, done.stderr)
        assert says in done.stderr
    elsewhere = said(place, "info", "run", "--trust", "my_parts").stdout
    assert "my_parts:MyVAE" in elsewhere
    (place / "empty").mkdir()
    gone = said(place / "empty", "info", "../run", "--trust", "my_parts")
    assert "name that folder in PYTHONPATH" in gone.stderr
    assert "edited" not in gone.stderr


@pytest.mark.parametrize("words", [["--trust"], ["--trust="], ["--trust", "--json", "info"]], ids=" ".join)
def test_trust_names_a_module(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "--trust should be followed by the name of a module" in capsys.readouterr().err


def test_trust_alone_is_no_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DIABOLO_TRUST", "")
    assert main(["--trust", "my_parts"]) == 0
    assert "usage: diabolo COMMAND" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="trust should be names of modules, such as 'my_module', and was given 3"):
        trust(3)


def test_what_is_handed_over_has_to_fit(tmp_path: Path, pictures: np.ndarray) -> None:
    diabolo.train(pictures, model="vae", layout="HW", latent_dim=2, widths=(8,), epochs=1, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="objective should be an object of Objective"):
        diabolo.load(tmp_path / "run", objective=Gaussian())
