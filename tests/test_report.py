"""The report: its health on every branch, its commands there and back, and a page that is whole, quiet and alone."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli import train as cli_train
from diabolo.cli._parser import Parser
from diabolo.datasets import Dataset, Split, open_dataset
from diabolo.diagnostics import Scale, diagnose_code, diagnose_loss, diagnose_training, scale_of
from diabolo.models.distributions import Bernoulli, Gaussian, Laplace, Likelihood
from diabolo.models.model import Model, build_model
from diabolo.models.preprocess import Preprocess
from diabolo.report import write_report
from diabolo.report._markup import code, duration, marked, number, plural
from diabolo.report._repeat import choices, relative, train_call, train_command
from diabolo.report.run_figures import RunFigure
from diabolo.runs import config as plans
from diabolo.runs.config import RunConfig

# The health of the code


def test_a_code_in_full_use_is_good() -> None:
    found = diagnose_code(2, np.array([1.0, 0.9]), [3.0, 3.5], 2)
    assert (found.level, found.title) == ("good", "Both dimensions are in use")
    assert "6.500 nats" in found.text
    assert "9.378 bits" in found.text


def test_idle_dimensions_are_named_as_the_figures_name_them() -> None:
    found = diagnose_code(
        4, np.array([1.0, 0.01, 0.9, 0.02]), [2.0, 0.01, 1.5, 0.02], 2, options={"beta": 4.0, "free_bits": 0.0}
    )
    assert (found.level, found.title) == ("note", "2 of 4 dimensions are in use")
    assert "dimensions z2 and z4 do not vary" in found.text
    assert "0.03000 of the code's KL" in found.text
    assert "it is 4" in found.text


def test_active_dimensions_are_counted_from_the_spreads_where_nobody_counted() -> None:
    assert diagnose_code(3, np.array([1.0, 0.05, 0.5]), [2.0, 0.1, 1.0]).title == "2 of 3 dimensions are in use"


def test_many_idle_dimensions_are_not_all_listed() -> None:
    spreads = np.r_[1.0, np.zeros(39)]
    assert "z11, z12 and 28 more do not vary" in diagnose_code(40, spreads, [1.0] + [0.0] * 39, 1).text


def test_a_collapsed_code_is_a_problem_with_cures() -> None:
    found = diagnose_code(
        2, np.array([1e-3, 1e-3]), [1e-4, 2e-4], 0, options={"beta": 50.0, "free_bits": 0.0, "warmup": 0.0}
    )
    assert found.level == "problem"
    assert all(cure in found.text for cure in ("--beta", "--warmup", "--free-bits", "--epochs", "it is 50"))


def test_only_what_a_variant_has_is_advised() -> None:
    found = diagnose_code(2, np.array([1e-3, 1e-3]), [1e-4, 2e-4], 0, options={"gamma": 100.0, "capacity": 0.01})
    assert "a larger `--capacity` (it is 0.01), or more `--epochs`." in found.text
    assert "--beta" not in found.text


def test_dead_units_of_a_plain_autoencoder() -> None:
    found = diagnose_code(3, np.array([0.0, 2.0, 1.0]))
    assert (found.level, found.title) == ("note", "1 of 3 dimensions is dead")
    assert found.text.startswith("Dimension z1 has the same value")


def test_a_small_plain_code_is_not_dead() -> None:
    """The scale of a plain code is arbitrary: dimensions are compared with each other."""
    assert diagnose_code(2, np.array([1e-3, 2e-3])).level == "good"


def test_a_constant_plain_code_is_a_problem() -> None:
    assert diagnose_code(2, np.zeros(2)).title == "The code is constant"


def test_one_dimension_reads_well() -> None:
    assert diagnose_code(1, np.ones(1), [1.0], 1).title == "Its one dimension is in use"
    assert " to " not in diagnose_code(1, np.ones(1)).text.split(".")[0]


def test_no_better_than_the_average() -> None:
    scale = Scale(10.0, 20.0, 0.1)
    assert [item.level for item in diagnose_loss(20.5, scale)] == ["problem"]
    assert not list(diagnose_loss(99.0, None))


@pytest.mark.parametrize(
    ("loss", "mse", "level", "way", "explained"),
    [
        (19.6, 0.09, "note", "4%", "10%"),
        (19.95, 0.0999, "note", "less than 1%", "less than 1%"),
        (17.0, 0.05, "good", "30%", "50%"),
        (10.0, 0.0, "good", "100%", "100%"),
    ],
)
def test_the_way_to_a_perfect_copy(loss: float, mse: float, level: str, way: str, explained: str) -> None:
    (found,) = diagnose_loss(loss, Scale(10.0, 20.0, 0.1), mse)
    assert (found.level, found.title) == (level, f"It has gone {way} of the way to a perfect copy")
    assert f"explain {explained} of the variance" in found.text
    assert ("To go further" in found.text) == (level == "note")


def test_a_code_in_use_that_carries_less_than_a_bit_a_dimension_is_not_good() -> None:
    """A model of 0.75 nats in two dimensions had two green findings."""
    found = diagnose_code(2, np.array([0.5, 0.4]), [0.4, 0.35], 2, options={"beta": 4.0})
    assert (found.level, found.title) == ("note", "Both dimensions are in use, and carry little")
    assert "0.7500 nats" in found.text
    assert "a lower `--beta` (it is 4)" in found.text
    assert diagnose_code(1, np.ones(1), [0.6], 1).title == "Its one dimension is in use, and carries little"


# The health of training


def lines(train: Sequence[float], watched: Sequence[float] = (), part: str = "validation") -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for epoch, loss in enumerate(train, 1):
        line = {"epoch": epoch, "weights": {}, "train": {"loss": loss, "reconstruction": loss, "bits_per_dim": None}}
        if len(watched):
            line[part] = {"loss": watched[epoch - 1], "reconstruction": watched[epoch - 1], "mse": 1.0}
        made.append(line)
    return made


def falling(count: int, rate: float, floor: float = 100.0) -> list[float]:
    return [floor + 50 * math.exp(-rate * epoch) for epoch in range(count)]


def titles(*arguments: Any, **options: Any) -> list[str]:
    return [item.title for item in diagnose_training(*arguments, **options)]


def test_training_that_has_settled() -> None:
    found = diagnose_training(lines(falling(20, 1), falling(20, 1)), 20)
    assert [item.title for item in found] == ["Training has settled"]
    assert "and the training loss 100.0" in found[0].text


def test_overfitting_says_by_how_much() -> None:
    found = diagnose_training(lines(falling(20, 1, 80), falling(20, 1)), 20)
    assert found[0].title.endswith("overfitting")
    assert "20.00 nats (25%) higher" in found[0].text


def test_still_improving_says_how_to_go_on() -> None:
    found = diagnose_training(lines(falling(8, 0.1), falling(8, 0.1)), 8, run="runs/my run")
    assert [item.title for item in found] == ["It was still improving when training ended"]
    assert "`diabolo resume 'runs/my run' --epochs 16`" in found[0].text


def test_the_best_epoch_long_past() -> None:
    watched = [*falling(10, 1), *(101.0 + rise for rise in range(10))]
    kept = diagnose_training(lines(watched, watched), 10)
    assert [item.title for item in kept] == ["The best epoch was 10 of 20"]
    assert "was 100.0 then and is 110.0 at the end, 9.994 nats higher" in kept[0].text
    assert "The weights of epoch 10 are kept" in kept[0].text
    assert "--keep best" in diagnose_training(lines(watched, watched), 20, keep="last")[0].text


def test_without_held_out_examples_the_training_loss_speaks() -> None:
    assert "nothing was held out" in diagnose_training(lines(falling(20, 1)), 20)[0].text
    assert "the test loss" in diagnose_training(lines(falling(20, 1), falling(20, 1), "test"), 20)[0].text


def test_too_short_to_judge() -> None:
    assert titles(lines([1.0]), 1) == ["Too short to judge"]
    assert titles([], 0) == ["Too short to judge"]


def test_epochs_of_a_warm_up_are_compared_at_the_final_weights() -> None:
    """While beta rises the loss as it was trained rises too: no reason to call the first epoch the best."""
    warming = lines([10.0] * 4)
    for epoch, line in enumerate(warming):
        line["weights"] = {"kl": epoch / 3}
        line["train"] |= {"reconstruction": 10.0, "kl": 8.0 - 2 * epoch, "loss": 10 + epoch / 3 * (8.0 - 2 * epoch)}
    assert titles(warming, 4, weights={"kl": 1.0}) == ["It was still improving when training ended"]


# The scale of a loss


def model_for(x: np.ndarray, likelihood: str | Likelihood, scaling: Any = "auto") -> Model:
    preprocess = Preprocess.fit(x, "F", np.arange(len(x)), scaling)
    return build_model(preprocess, network="linear", latent_dim=1, likelihood=likelihood)


def test_the_scale_of_cross_entropy_is_that_of_entropies() -> None:
    x = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    x[0] = [0.0, 1.0, 0.5]

    def entropy(p: np.ndarray) -> np.ndarray:
        p = np.clip(p.astype(np.float64), 1e-12, 1 - 1e-12)
        return np.asarray(-p * np.log(p) - (1 - p) * np.log(1 - p))

    found = scale_of(model_for(x, Bernoulli(), "unit"), x, np.arange(50))
    assert found is not None
    assert found.perfect == pytest.approx(entropy(x).sum(1).mean(), rel=1e-4)
    assert found.average == pytest.approx(entropy(x.mean(0)).sum(), rel=1e-4)
    assert found.variance == pytest.approx(x.var(0).mean(), rel=1e-4)


@pytest.mark.parametrize("output", ["linear", "sigmoid", "clip"])
def test_the_scale_of_a_gaussian_is_its_constant(output: Any) -> None:
    x = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    found = scale_of(model_for(x, Gaussian(variance=0.5, output=output), "unit"), x, np.arange(50))
    assert found is not None
    constant = 1.5 * math.log(math.pi)
    assert found.perfect == pytest.approx(constant, rel=1e-4)
    assert found.average == pytest.approx(constant + 3 * x.var(0).mean(), rel=1e-4)


def test_a_decoded_variance_has_no_scale() -> None:
    x = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    assert scale_of(model_for(x, Laplace(scale="decoded")), x, np.arange(50)) is None


# There and back: the command of a run


class Captured(Exception):  # noqa: N818
    """Carries the plan that the command line made."""


def plan_of(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[RunConfig, str]:
    """What `diabolo train` would start."""

    def start(run_config: RunConfig, folder: Path, callbacks: object, log: object) -> None:
        raise Captured(run_config, str(folder))

    monkeypatch.setattr(cli_train, "start", start)
    words = shlex.split(command)
    assert words[:2] == ["diabolo", "train"]
    with pytest.raises(Captured) as caught:
        cli_train.train(Parser(prog="diabolo train"), words[2:])
    run_config, folder = caught.value.args
    return run_config, folder


def config_of(run_config: RunConfig, x: np.ndarray, layout: str) -> dict[str, Any]:
    """What config.json would say of a plan."""
    preprocess = Preprocess.fit(x, layout, np.arange(len(x)), run_config.scaling)  # type: ignore[arg-type]
    model = build_model(preprocess, latent_dim=run_config.latent_dim, options=run_config.options, **run_config.parts)
    return {"run_config": run_config.config(), **model.config()}


PLANS: list[dict[str, Any]] = [
    {},
    {"source": "digits"},
    {"source": "my data/digits.npz", "labels": "y", "layout": "HW"},
    {"model": "vae", "network": "conv", "channels": (8, 16), "hidden": (), "latent_dim": 2, "beta": 784 * 5e-4},
    {"model": "denoising", "noise": "salt-and-pepper=0.2", "validation": 0.0, "keep": "last", "patience": None},
    {"likelihood": "gaussian", "variance": "learned", "output": "sigmoid", "scaling": "unit"},
    {"likelihood": "gaussian", "variance": 0.5, "output": "clip", "schedule": "cosine", "lr_warmup": 0.5},
    {"likelihood": "laplace", "scale": 0.1, "output": "clip"},
    {"scale": 0.1},
    {"variance": 0.1},
    {"inputs": "probabilities"},
    {"network": "conv", "start": "random", "enlarge": "transposed", "schedule": "constant", "ema": 0.0},
    {"network": "resnet", "channels": (4, 8), "patch": 2, "start": "random"},
    {"likelihood": "laplace", "scale": 0.1, "seed": 7, "clip": 1.0, "ema": 0.99, "momentum": 0.5, "patience": 4},
    {"source": "photos", "size": (8, 8), "colour": False, "strict": True},
    {"source": "photos", "size": 8, "colour": True},
    {"widths": (), "pictures": ("tutorial-rec", "first-five")},
    {"recipe": "mnist-vae-conv"},
    {"recipe": "mnist-vae-conv", "preset": "fast", "source": "digits", "epochs": 1},
    {"recipe": "mnist-vae-conv", "beta2": "none", "optimizer": "adam", "init": "torch"},
    {"recipe": "mnist-ae-3d", "preset": "thorough", "network": "linear", "likelihood": "bernoulli"},
    {"recipe": "fashion-ae", "model": "vae", "pictures": "tutorial-vae", "validation": 0.1},
    {"recipe": "mnist-bottleneck", "widths": (32, 16), "latent_dim": 3},
]


@pytest.mark.parametrize("given", PLANS, ids=lambda given: "-".join(map(str, given)) or "defaults")
def test_the_command_of_a_run_plans_the_same_run(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).random((20, 8, 8)).astype(np.float32)
    run_config = plans.make_run_config(
        given.get("source"), **{name: value for name, value in given.items() if name != "source"}
    )
    config = config_of(run_config, x, "HW")
    command = train_command(config, "runs/a b")
    assert command is not None
    again, folder = plan_of(command, monkeypatch)
    assert folder == "runs/a b"
    assert config_of(again, x, "HW") == config
    # The call in Python says the same.
    calls: dict[str, Any] = {}
    monkeypatch.setattr(diabolo, "train", lambda source, **options: calls.update(source=source, **options))
    exec(train_call(config, "runs/a b"), {"diabolo": diabolo})
    assert calls.pop("out") == "runs/a b"
    assert config_of(plans.make_run_config(**calls), x, "HW") == config


def test_a_command_says_nothing_that_is_default() -> None:
    defaults = {"epochs": 0, "lr": 5e-4, "likelihood": "gaussian", "variance": "learned", "output": "clip"}
    run_config = plans.make_run_config("digits", model="vae", beta=1.0, start="pca", **defaults)
    config = config_of(run_config, np.ones((3, 8, 8), np.uint8), "HW")
    assert choices(config) == {"model": "vae"}
    assert train_command(config, "a") == "diabolo train digits --model vae --out a"


def test_an_array_or_a_network_of_ones_own_has_no_command() -> None:
    run_config = plans.make_run_config(np.ones((3, 4), np.float32), model="vae", latent_dim=2)
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    config = config_of(run_config, x, "F")
    assert train_command(config, "a") is None
    assert train_call(config, "a").splitlines()[1:4] == ["    x,", "    model='vae',", "    latent_dim=2,"]
    modules = (torch.nn.Linear(4, 2), torch.nn.Linear(2, 4))
    own = config_of(plans.make_run_config("some.csv", network=modules, latent_dim=2), x, "F")
    assert train_command(own, "a") is None
    assert "network=(encoder, decoder)" in train_call(own, "a")


@pytest.mark.parametrize("path", ["/home/ann/secret/photos", "~/photos", "C:\\Users\\ann\\photos"])
def test_an_absolute_path_loses_all_but_its_name(path: str) -> None:
    assert relative(path) == "photos"
    run_config = plans.make_run_config(path, data_dir="/home/ann/data")
    command = train_command(config_of(run_config, np.ones((3, 8, 8), np.uint8), "HW"), "a")
    assert command == "diabolo train photos --out a"


# The page

VOID = {"meta", "img", "source", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Reads a page, and complains of tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"<{tag}> says something twice: {attrs}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def reported(model: Autoencoder, folder: Path, source: Any, split: Split | None = None, **options: Any) -> Page:
    dataset = source if isinstance(source, Dataset) else open_dataset(source, **options)
    settings = model.info["run_config"]["settings"]
    parts = split or dataset.split(settings["seed"], settings["validation"], settings["test"])
    path = write_report(model, folder, dataset, parts)
    assert path == folder / "report.html"
    page = path.read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    assert not list(folder.rglob("*.part*"))
    made = Page(page)
    assert 1 <= len(made.all("img")) <= len(list((folder / "figures").glob("*.png")))
    check(page, made)
    return made


def check(page: str, made: Page) -> None:
    """What holds of every page."""
    assert page.startswith("<!doctype html>")
    assert "$" not in made.text
    assert len(made.all("h1")) == len(made.all("main")) == len(made.all("title")) == 1
    assert not made.all("script")
    assert not made.all("link")
    for image in made.all("img"):
        assert len(image["alt"] or "") > 20
        assert (image["src"] or "").startswith("data:image/png;base64,")
        assert int(image["width"] or 0) > 100
    assert all((source["srcset"] or "").startswith("data:image/png;base64,") for source in made.all("source"))
    assert len(made.all("source")) == len(made.all("img")) == len(made.all("figure")) == len(made.all("figcaption"))
    identifiers = [attributes["id"] for _, attributes in made.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for link in made.all("a"):
        href = link["href"] or ""
        assert href.startswith("https://") or href.removeprefix("#") in identifiers
    assert all(cell.get("scope") == "row" for cell in made.all("th"))
    # Nothing is loaded from elsewhere, and nothing says where on this machine it was made.
    assert "@import" not in page
    assert "url(" not in page
    everything = made.text + "".join(
        str(value) for _, at in made.tags for name, value in at.items() if "src" not in name
    )
    assert not re.search(r"(?<![\w:/.])/(tmp|home|root|work|usr|var|private|Users)/", everything)
    assert "None" not in made.text
    assert not re.search(r"\bnan\b", made.text)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory, pictures: np.ndarray) -> tuple[Autoencoder, Path, Path]:
    """A VAE on images of a file at an absolute path: the model, its folder, the file."""
    home = tmp_path_factory.mktemp("home")
    np.save(home / "spots.npy", pictures)
    model = diabolo.train(
        home / "spots.npy", layout="HW", model="vae", beta=0.5, widths=(16,), latent_dim=2, epochs=2, out=home / "run"
    )
    return model, home / "run", home / "spots.npy"


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time: where the figures do not matter, there is but a small one."""

    def draw(theme: str) -> Figure:
        return Figure(figsize=(2, 1), dpi=50, facecolor="white" if theme == "light" else "black")

    def run_figures(*_: object) -> Iterator[RunFigure]:
        yield RunFigure("curves", "Training", "What was drawn.", draw)

    monkeypatch.setattr("diabolo.report._page.run_figures", run_figures)


def test_a_page_of_images(vae: tuple[Autoencoder, Path, Path]) -> None:
    model, folder, source = vae
    page = reported(model, folder, source, layout="HW")
    test = model.info["result"]["test"]
    assert "VAE on spots" in page.text
    assert f"{number(test['loss'])} nats per example" in page.text
    assert f"reconstruction {number(test['reconstruction'])} + beta 0.5 × KL {number(test['kl'])}" in page.text
    assert "0.5 / 64 = 0.00781" in page.text
    baseline = model.info["result"]["baseline"]
    assert baseline["components"] in (1, 2)
    assert f"{plural(baseline['components'], 'component')} has {number(baseline['pca'])}" in page.text
    assert "summed over the 64 values" in page.text
    assert "always the average" in page.text
    assert "diabolo train spots.npy --model vae" in page.text
    assert "Write the path to spots.npy" in page.text
    assert "diabolo sample run -n 100" in page.text
    assert "diabolo.load('run')" in page.text
    titles = {"Reconstructions", "Samples", "The plane of codes", "Codes", "Training"}
    assert titles <= set(page.words)
    assert model.info["data"]["fingerprint"] in page.text


@pytest.mark.usefixtures("one_figure")
def test_a_loaded_run_writes_the_same_page(vae: tuple[Autoencoder, Path, Path]) -> None:
    model, folder, source = vae
    reported(model, folder, source, layout="HW")
    before = (folder / "report.html").read_bytes()
    reported(diabolo.load(folder), folder, source, layout="HW")
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.usefixtures("one_figure")
def test_other_data_is_measured_now(vae: tuple[Autoencoder, Path, Path], pictures: np.ndarray) -> None:
    model, folder, _ = vae
    other = open_dataset(255 - pictures, layout="HW")
    page = reported(model, folder, other, other.split(0, 0.0, 0.5))
    assert "Shown with other data" in page.text
    assert f"{number(model.info['result']['test']['loss'])} nats per example" not in page.text
    assert "averaged over the 45 test examples" in page.text


def test_a_page_of_a_table(table: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(table, latent_dim=3, widths=(8,), epochs=3, out=tmp_path / "run")
    page = reported(model, tmp_path / "run", table)
    assert "Of standardised values" in page.text
    assert "x stands for it" in page.text
    assert "diabolo.train( x, latent_dim=3, widths=(8,), epochs=3, out='run', )" in page.text
    assert "diabolo encode run data.npy --out codes.csv" in page.text
    assert "sample" not in {words.split()[1] for words in page.words if words.startswith("diabolo ")}
    assert "KL" not in page.text
    assert "beta" not in page.text.replace("beta1", "").replace("beta2", "")


def test_a_denoising_model_without_validation(pictures: np.ndarray, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "denoising", "noise": "masking=0.3", "widths": (16,), "latent_dim": 4}
    model = diabolo.train(pictures, layout="HW", validation=0.0, epochs=2, out=tmp_path / "run", **options)
    page = reported(model, tmp_path / "run", pictures, layout="HW")
    assert "Noise removed" in page.words
    assert "Denoising autoencoder on" in page.text


@pytest.mark.usefixtures("one_figure")
def test_a_run_with_nothing_held_out(pictures: np.ndarray, tmp_path: Path) -> None:
    model = diabolo.train(
        pictures, layout="HW", model="vae", validation=0.0, test=0.0, widths=(16,), epochs=2, out=tmp_path / "run"
    )
    page = reported(model, tmp_path / "run", pictures, layout="HW")
    assert "Training loss" in page.words
    assert "averaged over the 90 training examples" in page.text
    assert "nothing was held out" in page.text or "the training loss fell" in page.text


@pytest.mark.usefixtures("one_figure")
def test_a_recipe_says_its_source_and_what_was_changed(tmp_path: Path, pictures: np.ndarray) -> None:
    large = np.pad(pictures[:60], ((0, 0), (10, 10), (10, 10)))  # of the text's size, 28 x 28
    settings = {"layout": "HW", "recipe": "mnist-vae-conv", "preset": "fast", "epochs": 1}
    model = diabolo.train(large, out=tmp_path / "run", **settings)
    page = reported(model, tmp_path / "run", large, layout="HW")
    assert "Recipe mnist-vae-conv, fast" in page.text
    assert "Source: Francois Chollet" in page.text
    assert "Changed for this run: source an array, epochs 1, layout HW." in page.text
    loss = model.info["result"]["test"]["loss"]
    assert f"In the source's own units{number(loss / 784)}nats / 784" in page.text
    assert "recipe='mnist-vae-conv'" in page.text
    small = diabolo.train(pictures, out=tmp_path / "small", **settings)
    assert "In the source's own units" not in reported(small, tmp_path / "small", pictures, layout="HW").text


@pytest.mark.usefixtures("one_figure")
def test_names_are_escaped(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    dataset = Dataset(x, "F", "<b>$x & y</b>", features=("<i>a</i>", "$b", "c"), notes=("1 < 2 & $more",))
    model = diabolo.train(dataset, latent_dim=1, widths=(4,), epochs=1, out=tmp_path / "a 'run' & <more>")
    path = write_report(model, tmp_path / "a 'run' & <more>", dataset, dataset.split())
    page = Page(path.read_text(encoding="utf-8"))
    assert "<b>$x & y</b>" in page.text
    assert "1 < 2 & $more" in page.text
    assert not page.all("more")


@pytest.mark.usefixtures("one_figure")
def test_an_unfinished_run_says_so(vae: tuple[Autoencoder, Path, Path], tmp_path: Path) -> None:
    model, _, source = vae
    info = {name: value for name, value in model.info.items() if name != "result"}
    unfinished = Autoencoder(model.model, info, model.examples, model.history)
    page = reported(unfinished, tmp_path, source, layout="HW")
    assert "Training is not finished" in page.text


# Words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (144.3512, "144.4"),
        (0.0481234, "0.04812"),
        (1234.56, "1,234.6"),
        (2e-7, "2.0e-07"),
        (None, "–"),
        (-3, "-3.000"),
    ],
)
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert number(value) == text


def test_small_words() -> None:
    assert duration(1.97) == "2.0 seconds"
    assert duration(300) == "5 minutes"
    assert duration(7200) == "2.0 hours"
    assert marked("a < `--b`") == "a &lt; <code><span>--b</span></code>"
    assert (
        code("diabolo x --beta 2 -n 3") == "<code><span>diabolo x</span> <span>--beta 2</span> <span>-n 3</span></code>"
    )
    assert marked("see https://a.b/c, & more") == 'see <a href="https://a.b/c">https://a.b/c</a>, &amp; more'
