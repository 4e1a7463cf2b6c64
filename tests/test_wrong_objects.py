"""Objects that are none of what is meant end in one sentence, before anything is read, built or trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

import diabolo
from diabolo.errors import ConfigError, DataError, DiaboloError, RunError, ShapeError
from diabolo.models.objectives.vae import VAE
from diabolo.models.priors import GaussianPrior
from diabolo.training import Callback


def function(*_: Any) -> None:
    """Neither a part nor a path."""


def named(value: Any) -> str:
    """What to call a case; without addresses, which differ from process to process."""
    return re.sub(r" at 0x\w+", "", str(value))


ESTIMATOR, MODULE = GaussianMixture(), torch.nn.Linear(2, 2)
NO_PATHS = [3, None, function, VAE, ["runs/a"], b"runs/a"]
NO_NUMBERS = ["many", function, None]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(x: np.ndarray) -> Any:
    return diabolo.train(x, layout="HW", latent_dim=2, widths=(8,), epochs=1)


def refused(call: Any, *says: str, error: type[Exception] = ConfigError) -> None:
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert all(part in text for part in says), text
    assert text.endswith("."), text


@pytest.fixture
def train(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`train` on a small array, in which no step may be taken."""

    def never(*_: Any) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr("diabolo.training.loop.Trainer.run", never)
    return lambda **options: diabolo.train(x, layout="HW", latent_dim=2, epochs=1, **options)


@pytest.mark.parametrize("kind", ["model", "network", "likelihood"])
@pytest.mark.parametrize("wrong", [function, MODULE, ESTIMATOR, GaussianMixture, 3, ["vae"], {"name": "vae"}, b"vae"])
def test_parts(train: Any, kind: str, wrong: Any) -> None:
    refused(lambda: train(**{kind: wrong}), f"The {kind} should be a name, or a class or an object of diabolo.")


@pytest.mark.parametrize(
    "pair", [(1, 2), (function, function), (torch.nn.Flatten, torch.nn.Flatten), (torch.nn.Flatten(),)], ids=named
)
def test_pairs_of_modules(train: Any, pair: Any) -> None:
    refused(lambda: train(network=pair), "The network should be a pair of torch.nn.Module, (encoder, decoder)")


class GivesTwo(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return x, x


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        (
            torch.nn.LSTM(8, 4),
            "The encoder, LSTM, fails in evaluation on a batch of shape (2, 1, 8, 8): ValueError: LSTM: Expected",
        ),
        (GivesTwo(), "The encoder should give (n, features), and gave an object of tuple for n = 2."),
    ],
    ids=["fails", "tuple"],
)
def test_modules_that_are_no_encoder(train: Any, encoder: Any, says: str) -> None:
    with pytest.raises(DiaboloError, match=re.escape(says)):
        train(network=(encoder, torch.nn.Linear(2, 64)))


@pytest.mark.parametrize("wrong", [Callback, function, [Callback], [function], Callback(), "tensorboard", [None], None])
def test_callbacks(train: Any, wrong: Any) -> None:
    refused(lambda: train(callbacks=wrong), "callbacks should be a sequence of objects of diabolo.training.Callback")


@pytest.mark.parametrize("wrong", [Callback, function, [Callback], 3, None, Callback()])
def test_loggers(train: Any, wrong: Any, tmp_path: Path) -> None:
    refused(
        lambda: train(log=wrong, out=tmp_path / "run"), "log should be the name of a logger, or a sequence of names"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        *(({"out": wrong}, "out should be a path") for wrong in NO_PATHS if wrong is not None),
        *(({"data_dir": wrong}, "data_dir should be a path") for wrong in (3, function)),
        *(({"recipe": wrong}, "There is no recipe named") for wrong in (3, function, VAE)),
        *(({"pictures": wrong}, "pictures should be names of pictures") for wrong in (3, function, VAE)),
        *(({"reader": wrong}, "reader should be a name, an import path, module:function") for wrong in (3, function)),
        ({"reader": "csw"}, "There is no reader named 'csw'. Did you mean 'csv'?"),
        (
            {"reader": "csv"},
            "The reader 'csv' takes a file that ends in .csv or .tsv or .txt or .dat or .data of its own",
        ),
    ],
    ids=named,
)
def test_other_choices_of_train(train: Any, options: dict[str, Any], says: str) -> None:
    refused(lambda: train(**options), says, error=DataError if options == {"reader": "csv"} else ConfigError)


@pytest.mark.parametrize("wrong", NO_PATHS, ids=named)
def test_runs(model: Any, x: np.ndarray, wrong: Any) -> None:
    for call in (diabolo.load, diabolo.resume, diabolo.evaluate):
        refused(lambda call=call: call(wrong), "folder should be a path")
    refused(lambda: diabolo.compare([wrong, model], x), "folder should be a path")
    refused(lambda: diabolo.explore(wrong), "model should be a trained model, such as diabolo.load(path) gives")
    refused(lambda: diabolo.explore(model, x, with_=wrong or 3), "model should be a trained model")


@pytest.mark.parametrize("wrong", [None, 3, "runs/a", function, VAE], ids=named)
def test_comparisons(wrong: Any) -> None:
    refused(lambda: diabolo.compare(wrong), "runs should be a sequence of trained models or their folders")


def test_a_model_in_the_place_of_its_folder(model: Any) -> None:
    for call in (diabolo.load, diabolo.resume):
        refused(lambda call=call: call(model), "should be a path, and was given Autoencoder(")


@pytest.mark.parametrize("wrong", [ESTIMATOR, GaussianMixture, function, 3, None, MODULE, ["gmm"], VAE()], ids=named)
def test_priors(model: Any, x: np.ndarray, wrong: Any) -> None:
    refused(lambda: model.fit_prior(wrong, x), "should be")


def test_options_of_priors(model: Any, x: np.ndarray) -> None:
    class Local(GaussianPrior):
        pass

    refused(lambda: model.fit_prior(Local, x), "A prior of the class", "has no name that its file could say")
    refused(lambda: model.fit_prior(GaussianPrior(), x, shrinkage=0.5), "The prior is made already", "(shrinkage)")
    for wrong in NO_NUMBERS:
        refused(lambda wrong=wrong: model.fit_prior("gmm", x, seed=wrong), "seed should be a whole number")


def test_metrics(model: Any, x: np.ndarray) -> None:
    for wrong in (function, 3, [function], [3], {"mse": 1}, [None]):
        for call in (lambda wrong=wrong: diabolo.evaluate(model, x, metrics=wrong),):
            refused(call, "metrics should be names, such as ['pixels', 'fid']")
    refused(lambda: diabolo.compare([model, model], x, metrics=function), "metrics should be names")
    refused(lambda: diabolo.evaluate(model, x, metrics="/nowhere/x"), "There is no metric named '/nowhere/x'")
    refused(lambda: diabolo.evaluate(model, x, metrics="a:b"), "The metric 'a:b' cannot be imported")
    assert "mse" in diabolo.evaluate(model, x, metrics="mse,kl"), "names with commas, as on the command line"


@pytest.mark.parametrize(
    ("options", "says", "error"),
    [
        *(
            ({name: wrong}, f"{name} should be int", ConfigError)
            for name in ("samples", "seed")
            for wrong in NO_NUMBERS
        ),
        *(({"limit": wrong}, "limit should be int", ConfigError) for wrong in NO_NUMBERS[:2]),
        *(({"extractor": wrong}, "There is no feature extractor named", ConfigError) for wrong in (3, function)),
        *(({"factors": wrong}, "factors should be an array (n, F)", ShapeError) for wrong in (3, function, "a")),
        *(({"data": wrong}, "data should be options of open_dataset", ConfigError) for wrong in (3, "a", function)),
        ({"weights": 3}, "weights should be a path", ConfigError),
        ({"sample": 3}, "There is no option of an evaluation named 'sample'. Did you mean 'samples'?", ConfigError),
    ],
    ids=named,
)
def test_options_of_evaluations(
    model: Any, x: np.ndarray, options: dict[str, Any], says: str, error: type[Exception]
) -> None:
    refused(lambda: diabolo.evaluate(model, x, **{"metrics": ["mse"], **options}), says, error=error)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        *(({name: "many"}, f"{name} should be int") for name in ("points", "port", "height")),
        *(({"layouts": wrong}, "layouts should be names") for wrong in (3, function, [function])),
        ({"layouts": "pac"}, "There is no layout named 'pac'. Did you mean 'pca'?"),
        ({"data": 3}, "data should be options of open_dataset"),
    ],
    ids=named,
)
def test_options_of_the_explorer(model: Any, x: np.ndarray, options: dict[str, Any], says: str) -> None:
    pytest.importorskip("uvicorn")
    refused(lambda: diabolo.explore(model, x, **options), says)


def test_what_is_handed_to_load(model: Any, tmp_path: Path) -> None:
    run = model.save(tmp_path / "run")
    for options in ({"modules": (function, function)}, {"objective": function}, {"likelihood": MODULE}):
        refused(lambda options=options: diabolo.load(run, **options), "was" if "modules" in options else "should be")
    refused(lambda: diabolo.load(run, device=function), "device should be text")
    with pytest.raises(DiaboloError):
        diabolo.load(run, trust=3)  # type: ignore[arg-type]
    with pytest.raises(RunError):
        diabolo.load(tmp_path)


# Parts of modules outside that are wrong, or fail

OUTSIDE = """
import numpy as np
from diabolo.datasets import RawData, register_reader
from diabolo.explorer import Placement
from diabolo.metrics import metric_family
from diabolo.models.objectives.vae import VAE
from diabolo.training import Callback

number = 3
class Plain: pass
def undecorated(*_): return 3
class NoFolder(Callback): pass
class Late(VAE):
    def loss(self, x, net):
        return {}["reconstruction"]
@register_reader("array-reader", suffixes=(".raw",))
def gives_array(path, options): return np.zeros((3, 4))
@register_reader("raising-reader", suffixes=(".raw",))
def raises(path, options): return 1 / 0
def gives_points(codes): return codes[:, :2]
def gives_one(codes): return Placement(codes[:1, :2], ("a", "b"))
def gives_nan(codes): return Placement(np.full((len(codes), 2), np.nan), ("a", "b"))
def gives_words(codes): return Placement(codes[:, :2], "ab")
def fails(codes): return codes.nothing
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: Any, x: np.ndarray) -> Path:
    place = tmp_path_factory.mktemp("wrong")
    (place / "wrong_outside.py").write_text(OUTSIDE)
    (place / "a.raw").write_bytes(b"abc")
    np.save(place / "x.npy", x)
    model.save(place / "run")
    return place


LOGGER, READER = ["train", "x.npy", "--layout", "HW", "--out", "new", "--log"], ["datasets", "a.raw", "--reader"]
METRIC, KIND = ["evaluate", "run", "x.npy", "--metrics"], ["fit-prior", "run", "x.npy", "--kind"]
MAP = ["explore", "run", "x.npy", "--export", "page", "--map"]
WRONG = [
    (
        LOGGER,
        "Plain",
        "The logger 'wrong_outside:Plain' should be a class that derives from diabolo.",
    ),
    (LOGGER, "NoFolder", "The logger 'wrong_outside:NoFolder' cannot be made with the folder that it writes to"),
    (LOGGER, "nothing", "and the module holds nothing of that name."),
    (
        READER,
        "undecorated",
        "should be a function below @register_reader(...) of diabolo.datasets, and",
    ),
    (READER, "number", "should be a function below @register_reader(...) of diabolo.datasets, and the module holds 3."),
    (
        READER,
        "gives_array",
        "The reader 'array-reader' should return a diabolo.datasets.RawData, and returned an",
    ),
    (
        READER,
        "raises",
        "The reader 'raising-reader' cannot read a.raw: ZeroDivisionError: division by zero.",
    ),
    (
        METRIC,
        "undecorated",
        "should be a function below @metric_family(...) of diabolo.metrics, and",
    ),
    (METRIC, "Plain", "should be a function below @metric_family(...) of diabolo.metrics, and the module holds <c"),
    (KIND, "Plain", "The prior 'wrong_outside:Plain' should be a class that derives from diabolo.models.priors"),
    (MAP, "Plain", "The layout 'wrong_outside:Plain' should be a function, and the module holds <c"),
    (MAP, "number", "The layout 'wrong_outside:number' should be a function, and the module holds 3."),
    (MAP, "gives_points", "should return a diabolo.explorer.Placement, and returned an object of ndarray."),
    (MAP, "gives_one", "should return xy of the shape (60, 2), finite numbers, and returned (1, 2) of float32."),
    (MAP, "gives_nan", "should return xy of the shape (60, 2), finite numbers, and returned (60, 2) of float64."),
    (MAP, "gives_words", "should return two labels, of its axes, and returned 'ab'."),
    (
        MAP,
        "fails",
        "fails on 60 codes of 2 numbers: AttributeError: ",
    ),
    (
        ["train", "x.npy", "--layout", "HW", "--out", "late", "--model"],
        "Late",
        "The variant, Late, fails in evaluation on a batch of shape (6, 8, 8): KeyError",
    ),
]


def test_wrong_parts_of_modules_outside(place: Path) -> None:
    from test_extending import said_each

    commands = [[*words, f"wrong_outside:{name}"] for words, name, _ in WRONG]
    for (_, name, says), done in zip(WRONG, said_each(place, *commands, path=place), strict=True):
        assert says in done.stderr, (name, done.stderr)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
    assert not (place / "new").exists()
