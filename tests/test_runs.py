"""From names and options, and any array, to a trained model and its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diabolo
from diabolo.errors import ConfigError, DataError, RunError, ShapeError, SourceNotFound, UntrustedError
from diabolo.evaluation.terms import evaluate
from diabolo.models.distributions import Dirac, Gaussian
from diabolo.models.networks import MLP
from diabolo.models.objectives import Batch, Loss, Net, Objective
from diabolo.models.objectives.vae import VAE
from diabolo.runs.config import RunConfig, make_run_config
from diabolo.runs.data import open_data, open_examples
from diabolo.runs.resuming import resume as start_again
from diabolo.runs.run import start
from diabolo.runs.tables import read_codes
from diabolo.storage.files import write_text
from diabolo.storage.parquet import write_parquet
from diabolo.training import Callback, Training

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 16, "latent_dim": 2, "precision": "float32"}


def toy(*event: int, count: int = 40, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (count, *event)).astype(np.float32)


# --- data of every shape ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "layout", "network"),
    [
        ((1,), None, "mlp"),
        ((5,), None, "linear"),
        ((64, 2), None, "conv"),
        ((33, 1), "LC", "resnet"),
        ((2, 64), None, "mlp"),
        ((8, 8), None, "conv"),
        ((13, 37), "HW", "resnet"),
        ((1, 5), "HW", "conv"),
        ((9, 7, 3), None, "conv"),
        ((3, 9, 7), None, "resnet"),
        ((1, 1, 1), "CHW", "mlp"),
        ((2, 3, 4, 5), "any", "conv"),
        ((2, 2, 2, 2, 2), None, "mlp"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["autoencoder", "vae"])
def test_arrays_of_every_shape_train(event: tuple[int, ...], layout: str | None, network: str, model: str) -> None:
    x = toy(*event)
    made = diabolo.train(x, layout=layout, network=network, model=model, **QUICK)
    assert made.event_shape == event
    assert made.reconstruct(x).shape == x.shape
    assert made.encode(x).shape == (40, 2)
    assert np.isfinite(made.score(x)).all()
    assert len(made.history) == 1


CLIPPED = {"name": "gaussian", "options": {"variance": "learned", "output": "clip"}}
LINEAR = {"name": "gaussian", "options": {"variance": "learned", "output": "linear"}}
BERNOULLI = {"name": "bernoulli", "options": {"inputs": "logits"}}


@pytest.mark.parametrize(
    ("x", "likelihood"),
    [
        ((255 * toy(6, 6)).astype(np.uint8), CLIPPED),
        (toy(6, 6), CLIPPED),
        (toy(6, 6, low=-3, high=3), LINEAR),
        (toy(6), LINEAR),
        (toy(6).tolist(), LINEAR),
        (torch.from_numpy(toy(6, 6)), CLIPPED),
        (toy(6).astype(np.float64), LINEAR),
        ((9 * toy(6)).astype(np.int64), LINEAR),
        (toy(6) > 0.5, LINEAR),
        (255 * (toy(6, 6) > 0.5).astype(np.uint8), BERNOULLI),
        ((toy(6, 6) > 0.5).astype(np.float32), BERNOULLI),
        ((255 * toy(6, 6) > 128) * np.uint8(254), CLIPPED),
    ],
    ids=[
        *("uint8", "unit", "floats", "table", "lists", "torch", "float64", "int64", "bool"),
        *("black-and-white", "zeros-and-ones", "nearly-white"),
    ],
)
def test_the_likelihood_follows_the_values(x: Any, likelihood: dict[str, Any]) -> None:
    made = diabolo.train(x, **QUICK)
    assert made.model.config()["likelihood"] == likelihood
    assert made.info["reasons"].keys() == {"likelihood", "augment"}
    named = diabolo.train(x, likelihood=likelihood["name"], **QUICK)
    assert named.model.config()["likelihood"]["name"] == likelihood["name"]
    assert named.info["reasons"].keys() == {"augment"}


@pytest.mark.parametrize("scaling", ["auto", "none", "standard", "range"])
def test_scalings(scaling: str) -> None:
    x = toy(4, low=10, high=20)
    made = diabolo.train(x, scaling=scaling, **QUICK)
    assert made.model.preprocess.scale == ("standard" if scaling == "auto" else scaling)
    assert made.model.config()["likelihood"] == (CLIPPED if scaling == "range" else LINEAR)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (None, ()),
        (np.zeros(40, int), ("0",)),
        (["cat"] * 40, ("cat",)),
        (np.linspace(0, 1, 40), ()),
        (np.arange(40) % 3, ("0", "1", "2")),
    ],
    ids=["none", "one", "one-word", "continuous", "three"],
)
def test_labels_of_every_kind_or_none(labels: Any, classes: tuple[str, ...]) -> None:
    assert diabolo.train(toy(5), labels=labels, **QUICK).classes == classes


def test_two_examples_are_enough(tmp_path: Path) -> None:
    made = diabolo.train(toy(5, count=2), out=tmp_path, **QUICK)
    assert made.encode(toy(5, count=2)).shape == (2, 2)
    assert np.array_equal(diabolo.load(tmp_path).encode(toy(5, count=2)), made.encode(toy(5, count=2)))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (toy(5, count=1), DataError, "at least 2 examples"),
        (np.ones((9, 5)), DataError, "identical"),
        (np.full((9, 5), np.nan), DataError, "NaN"),
        (np.ones(9), ShapeError, "one-dimensional"),
        (toy(10, 20), ShapeError, "layout="),
        ("no-such-data", SourceNotFound, "no-such-data"),
    ],
)
def test_data_that_cannot_be_trained_on(x: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        diabolo.train(x, **QUICK)


def test_a_folder_of_digits_or_nothing_at_all_is_the_digits() -> None:
    assert make_run_config().source == "digits"
    made = diabolo.train(**{**QUICK, "batch_size": 600})
    assert made.info["data"]["name"] == "digits"
    assert made.info["data"]["examples"] == {"train": 1437, "validation": 180, "test": 180}


def test_real_data_by_name(data_dir: Path, tmp_path: Path) -> None:
    made = diabolo.train("mnist", data_dir=str(data_dir), widths=(16,), **{**QUICK, "batch_size": 3000})
    assert made.event_shape == (28, 28)
    assert made.info["data"]["examples"]["test"] > 0


def test_a_known_set_is_opened_at_the_size_of_the_run(tmp_path: Path) -> None:
    made = diabolo.train("digits", size=12, out=tmp_path / "run", widths=(8,), **{**QUICK, "batch_size": 600})
    assert made.event_shape == (12, 12)
    run = diabolo.load(tmp_path / "run")
    assert run.info["run_config"]["data"] == {"size": 12}
    for source in (None, "digits"):  # its own data, without a name and by name: never what it was trained on
        dataset, split = open_data(run, source)
        assert dataset.fingerprint == made.info["data"]["fingerprint"]
        assert len(split.test) == 180
        assert open_examples(run, source).event_shape == (12, 12)
    assert start_again(tmp_path / "run", epochs=2).dataset.event_shape == (12, 12)
    assert diabolo.evaluate(run, metrics=["pixels"])["mse"].estimate.count == 180
    plain = diabolo.train("digits", widths=(8,), **{**QUICK, "batch_size": 600})
    with pytest.raises(ShapeError, match=r"expects examples of shape \(8, 8\)"):
        open_examples(plain, "digits", {"size": 12})


# --- names and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "vea"}, "no model named 'vea'. Did you mean 'vae'"),
        ({"network": "cnov"}, "no network named 'cnov'. Did you mean 'conv'"),
        ({"likelihood": "gausian"}, "no likelihood named 'gausian'. Did you mean 'gaussian'"),
        ({"recipe": "mnist-vae-con"}, "no recipe named 'mnist-vae-con'. Did you mean 'mnist-vae-conv'"),
        ({"recipe": "mnist-ae-3d", "preset": "thorogh"}, "no preset of the recipe 'mnist-ae-3d' named 'thorogh'"),
        ({"preset": "fast"}, "'fast'.*belongs to a recipe"),
        ({"epoch": 3}, "no option.*named 'epoch'. Did you mean 'epochs'"),
        ({"model": "vae", "bata": 3}, "named 'bata'. Did you mean 'beta'"),
        ({"beta": 3}, r"no option \(for model 'autoencoder', network 'mlp', likelihood 'auto'\) named 'beta'"),
        ({"channels": (3,)}, "named 'channels'"),
        ({"latent_dim": 0}, "latent_dim should be a number of dimensions of at least 1, and was given 0"),
        ({"latent_dim": "two"}, "latent_dim should be int, and was given 'two'"),
        ({"latent_dim": 2.5}, "latent_dim should be int"),
        ({"epochs": -1}, "epochs should be a number of at least 1, or 0 for as many as fit the data"),
        ({"epochs": "ten"}, "epochs should be int, and was given 'ten'"),
        ({"optimizer": "adm"}, "optimizer should be adam | adamw | rmsprop | sgd, and was given 'adm'"),
        ({"widths": "512,a"}, "widths should be int,... | none, and was given '512,a'"),
        ({"variance": 0.5, "likelihood": "bernoulli"}, "named 'variance'"),
        ({"scaling": "standart"}, "scaling should be|scale should be"),
        ({"pictures": "tutorial-rek"}, "no picture named 'tutorial-rek'. Did you mean 'tutorial-rec'"),
        ({"pictures": "tutorial-rec"}, "out="),
        ({"validation": 0.6, "test": 0.5}, "together less than 1"),
        ({"seed": -1}, "seed"),
        ({"device": "abacus"}, "'abacus' cannot be used"),
        ({"layout": "WH"}, "'WH'"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_what_is_nearest(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        diabolo.train(**{"source": toy(6, 6), **QUICK, **options})


def test_strings_are_as_good_as_numbers() -> None:
    run_config = make_run_config(
        toy(4), model="vae", beta="4", widths="64,32", latent_dim="3", epochs="7", lr="1e-2", clip="none", draws=2.0
    )
    assert run_config.options["model"] == {"beta": 4.0, "draws": 2}
    assert run_config.options["network"] == {"widths": (64, 32)}
    assert run_config.latent_dim == 3
    assert (run_config.settings.epochs, run_config.settings.lr, run_config.settings.clip) == (7, 0.01, None)


def test_options_go_where_they_belong() -> None:
    run_config = make_run_config(
        "digits", model="sparse", likelihood="laplace", l1=0.5, scale=0.25, seed=3, layout="HW"
    )
    assert run_config.options == {"model": {"l1": 0.5}, "network": {}, "likelihood": {"scale": 0.25}}
    assert run_config.data == {"layout": "HW"}
    assert run_config.settings.seed == 3


def test_parts_may_be_made_already() -> None:
    made = diabolo.train(
        toy(6), model=VAE(beta=2.0), network=MLP(widths=(8,)), likelihood=Gaussian(variance="learned"), **QUICK
    )
    config = made.model.config()
    assert config["model"]["options"]["beta"] == 2.0
    assert config["network"]["options"]["widths"] == [8]
    assert config["likelihood"]["options"]["variance"] == "learned"
    with pytest.raises(ConfigError, match="named 'beta'"):
        diabolo.train(toy(6), model=VAE(), beta=3.0, **QUICK)


def test_none_stands_for_not_given() -> None:
    assert make_run_config("digits", model=None, epochs=None).config() == make_run_config("digits").config()


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("work")
    with pytest.raises(ConfigError, match=f"{tmp_path} is not empty.*diabolo resume"):
        diabolo.train(toy(5), out=tmp_path, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    with pytest.raises(ConfigError, match="is not empty"):
        diabolo.train(toy(5), out=tmp_path / "precious", **QUICK)
    (tmp_path / "empty").mkdir()
    diabolo.train(toy(5), out=tmp_path / "empty", **QUICK)
    with pytest.raises(ConfigError, match="no run is written over another"):
        diabolo.train(toy(5), out=str(tmp_path / "empty"), **QUICK)


def test_a_mistake_leaves_no_folder_behind(tmp_path: Path) -> None:
    for wrong in ({"model": "vea"}, {"latent_dim": 0}, {"layout": "HWC"}, {"pictures": "no"}, {"device": "abacus"}):
        with pytest.raises((ConfigError, ShapeError)):
            diabolo.train(toy(6, 6), out=tmp_path / "run", **{**QUICK, **wrong})
        assert not (tmp_path / "run").exists(), f"{wrong}: the corrected command would be refused"


def test_what_is_in_the_folder(tmp_path: Path) -> None:
    x = (255 * toy(6, 6, count=60)).astype(np.uint8)
    made = diabolo.train(x, labels=np.arange(60) % 2, model="vae", start="random", out=tmp_path / "a" / "run", **QUICK)
    folder = tmp_path / "a" / "run"
    names = ["config.json", "examples.safetensors", "history.jsonl", "last.safetensors", "model.safetensors"]
    names.append("statistics.safetensors")
    assert sorted(path.name for path in folder.iterdir()) == names
    config = json.loads((folder / "config.json").read_text())
    assert config["format"] == 1
    assert config["data"]["fingerprint"] == diabolo.open_dataset(x, labels=np.arange(60) % 2).fingerprint
    assert config["data"]["examples"] == {"train": 48, "validation": 6, "test": 6}
    assert config["data"]["classes"] == ["0", "1"]
    assert config["parameters"] == made.model.parameter_count
    assert config["versions"]["torch"] == torch.__version__
    assert config["run_config"]["source"] is None
    result = config["result"]
    assert (result["epochs"], result["kept_epoch"], result["precision"]) == (1, 1, "float32")
    assert result["weights"] == {"kl": 1.0}
    assert result["baseline"].keys() == {"components", "pca", "average", "bits"}
    assert result["baseline"] == made.info["result"]["baseline"]
    assert config["reasons"] == made.info["reasons"] != {}
    split = diabolo.open_dataset(x).split(0)
    assert result["test"] == json.loads(json.dumps(evaluate(made.model, x, split.test, seed=0).line()))
    assert made.examples is not None
    assert np.array_equal(made.examples, x[split.test]), "what is shown was not trained on"


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    diabolo.train(toy(5), log_every=1, checkpoint_seconds=0, **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_patience_ends_in_a_folder_that_can_be_loaded(tmp_path: Path) -> None:
    x = toy(5, count=30)
    made = diabolo.train(x, out=tmp_path, **{**QUICK, "epochs": 300, "patience": 1, "lr": 0.1, "start": "random"})
    assert 1 < len(made.history) < 300
    assert np.array_equal(diabolo.load(tmp_path).encode(x), made.encode(x))
    assert made.info["result"]["kept_epoch"] == len(made.history) - 1


def test_best_of_a_resumed_or_whole_run_is_what_comes_back(tmp_path: Path) -> None:
    x = toy(5, count=50)
    made = diabolo.train(x, out=tmp_path, keep="best", start="random", **{**QUICK, "epochs": 12, "lr": 0.2})
    best = min(made.history, key=lambda line: line["validation"]["loss"])
    assert made.info["result"]["kept_epoch"] == best["epoch"]
    split = diabolo.open_dataset(x).split(0)
    again = evaluate(diabolo.load(tmp_path).model, x, split.validation).line()
    assert again["loss"] == pytest.approx(best["validation"]["loss"], rel=1e-6)


class NoReconstruction(Objective):
    """A user's own objective, whose one term has another name."""

    posterior_family = Dirac
    equation = "|x - m|"
    source = "these tests, 2024"

    def loss(self, batch: Batch, net: Net) -> Loss:
        code = net.encode(batch.x)
        output = net.decode(code.mean)
        return Loss({"distance": (output - batch.x).abs().flatten(1).sum(1)}, code, output)


def test_terms_may_have_any_name(tmp_path: Path) -> None:
    made = diabolo.train(toy(5), model=NoReconstruction(), out=tmp_path, **QUICK)
    assert made.history[0]["train"]["loss"] == made.history[0]["train"]["distance"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["result"]["test"]["distance"] > 0
    with pytest.raises(UntrustedError, match=rf"'{NoReconstruction.__module__}:NoReconstruction' is code of"):
        diabolo.load(tmp_path)
    assert diabolo.load(tmp_path, objective=NoReconstruction()).latent_dim == made.latent_dim


def test_callbacks_are_told(tmp_path: Path) -> None:
    heard: list[int] = []

    class Listener(Callback):
        def epoch(self, training: Training, line: dict[str, Any]) -> None:
            heard.append(line["epoch"])

    diabolo.train(toy(5), callbacks=[Listener()], **{**QUICK, "epochs": 3})
    assert heard == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "model", "files"),
    [
        ("tutorial-rec", "autoencoder", {"rec_epoch_0.png", "rec_epoch_1.png"}),
        (
            "tutorial-vae",
            "vae",
            {"epoch_0_rec.png", "epoch_0_sampled.png", "epoch_1_rec.png", "epoch_1_sampled.png"},
        ),
        ("samples", "vae", {"samples_epoch_0.png", "samples_epoch_1.png"}),
        (
            "first-five",
            "autoencoder",
            {"truth.png", "first_five_epoch_0_step_0.png", "first_five_epoch_1_step_0.png"},
        ),
    ],
)
def test_pictures_are_drawn_on_the_way(
    pictures: np.ndarray, tmp_path: Path, name: str, model: str, files: set[str]
) -> None:
    options = {**QUICK, "epochs": 2}
    drawn = diabolo.train(pictures, model=model, pictures=(name,), out=tmp_path / "a", **options)
    assert {path.name for path in (tmp_path / "a" / "figures").iterdir()} == files
    plain = diabolo.train(pictures, model=model, **options)
    assert np.array_equal(drawn.encode(pictures), plain.encode(pictures)), "drawing changes nothing"


def test_pictures_that_cannot_be_drawn(pictures: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="samples from the prior, and this model has none"):
        diabolo.train(pictures, pictures="tutorial-vae", out=tmp_path / "a", **QUICK)
    with pytest.raises(ConfigError, match=r"are for images.* this data has the layout F"):
        diabolo.train(toy(5), pictures="tutorial-rec", out=tmp_path / "b", **QUICK)


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_is_written_down_and_read_again() -> None:
    run_config = make_run_config("digits", recipe="mnist-vae-conv", preset="fast", size=28, epochs=3, scaling="bytes")
    written = json.loads(json.dumps(run_config.config()))
    again = RunConfig.of({"run_config": written, "latent_dim": 2})
    assert again.config() == run_config.config()
    assert again.settings == run_config.settings
    assert again.recipe == ("mnist-vae-conv", "fast")
    assert again.data == {"size": 28}
    assert again.with_settings(epochs=9).settings.epochs == 9
    assert again.settings.epochs == 3


@pytest.mark.parametrize(
    "damage",
    [
        {"run_config": None},
        {"run_config": {}},
        {"run_config": {"source": "digits", "data": {}, "settings": {"epochs": -1}, "scaling": "auto", "pictures": []}},
    ],
)
def test_a_plan_that_was_edited(damage: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="edited"):
        RunConfig.of({"latent_dim": 2, **damage})


def test_the_seed_sets_the_weights_and_the_split() -> None:
    made = [start(make_run_config(toy(5), **QUICK, seed=seed)).training for seed in (1, 1, 2)]
    firsts = [training.parameters[0].detach() for training in made]
    assert torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[0], firsts[2])
    assert made[0].split.test.tolist() == made[1].split.test.tolist() != made[2].split.test.tolist()


def test_starting_trains_nothing_yet(tmp_path: Path) -> None:
    run = start(make_run_config(toy(5), **QUICK), tmp_path / "run")
    assert run.training.steps == 0
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == [".lock", "config.json", "examples.safetensors"]
    assert isinstance(run.go(), diabolo.Autoencoder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": Callback()}, "callbacks should be a sequence of objects of diabolo.training.Callback"),
        ({"callbacks": [print]}, "callbacks should be a sequence of objects of diabolo.training.Callback"),
        ({"log": 3}, "log should be the name of a logger, or a sequence of names"),
        ({"latent": 2}, "Did you mean 'latent_dim'"),
    ],
)
def test_what_train_is_given_is_checked(options, message):
    x = np.zeros((20, 4), np.float32)
    with pytest.raises(ConfigError, match=message):
        diabolo.train(x, epochs=1, **options)


def test_paths_that_are_no_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may hold any bytes: of the source, the run's folder, and what is written beside it."""
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"z\xff")
    Path(name).mkdir()
    np.save(f"{name}/x.npy", toy(4))
    diabolo.train(f"{name}/x.npy", out=f"{name}/run", **QUICK)
    again = start_again(f"{name}/run", epochs=2)
    assert again.run_config.source == r"z\xff/x.npy"
    model = again.go()
    assert len(model.history) == 2
    write_text("page.html", f"<title>{name}</title>")
    assert Path("page.html").read_text(encoding="utf-8") == r"<title>z\xff</title>"
    codes = diabolo.load(f"{name}/run").encode(toy(4))
    write_parquet(Path(f"{name}.parquet"), {"z1": codes[:, 0], "z2": codes[:, 1]})
    np.testing.assert_array_equal(read_codes(Path(f"{name}.parquet")), codes)
