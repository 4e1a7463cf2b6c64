"""`evaluate` and `compare`: one table with errors and a protocol, a leaderboard, a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli import main
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.metrics import measure_model
from diabolo.metrics.comparison import Comparison, compare, evaluate
from diabolo.report import write_comparison

QUICK = {"epochs": 8, "latent_dim": 4, "seed": 0, "lr": 3e-3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A VAE, the same one trained for less long, and a plain autoencoder, on digits."""
    folder = tmp_path_factory.mktemp("runs")
    diabolo.train("digits", model="vae", out=folder / "long", **QUICK)
    diabolo.train("digits", model="vae", out=folder / "short", **{**QUICK, "epochs": 1})
    diabolo.train("digits", model="autoencoder", out=folder / "plain", **QUICK)
    return [folder / name for name in ("long", "short", "plain")]


@pytest.fixture(scope="module")
def compared(runs: list[Path]) -> Comparison:
    return compare(runs, samples=20)


def test_everything_that_applies_is_measured(runs: list[Path]) -> None:
    card = evaluate(runs[0], samples=20)
    names = {item.name for item in card.measurements}
    assert names == {
        "reconstruction", "kl", "elbo", "nll", "bits_per_dim", "mse", "psnr", "ssim", "pca", "active_units",
        "mutual_information", "marginal_kl", "knn", "probe", "fid", "kid",
        "precision", "recall",
    }  # fmt: skip
    assert card.examples == 180
    for item in card.measurements:
        assert item.estimate.low <= item.estimate.value <= item.estimate.high, item.name
        assert item.how, item.name
    said = " ".join(card.protocol)
    assert "digits" in said
    assert "values as they are" in said
    assert "classifier" in card["fid"].how
    text = card.table()
    for item in card.measurements:
        assert item.title in text
    assert json.loads(json.dumps(card.json()))["measurements"]["nll"]["count"] == 180


def test_the_numbers_are_those_of_the_model(runs: list[Path]) -> None:
    model, dataset = diabolo.load(runs[0]), diabolo.open_dataset("digits")
    test = dataset.split(0).test
    card = evaluate(model, metrics=["elbo", "mse"])
    assert card["elbo"].estimate.value == pytest.approx(model.score(dataset.x[test], draws=200).mean(), rel=0.01)
    x = dataset.x[test] / 255 if dataset.x.dtype == np.uint8 else dataset.x[test]
    error = x - model.reconstruct(dataset.x[test])
    assert card["mse"].estimate.value == pytest.approx(np.square(error).mean(), rel=1e-4)
    assert card.json() == evaluate(runs[0], metrics=["elbo", "mse"]).json() | {"model": "long"}


def test_principal_components_of_the_training_split_are_measured_beside_it(runs: list[Path]) -> None:
    dataset = diabolo.open_dataset("digits")
    split = dataset.split(0)
    flat = dataset.x.reshape(len(dataset.x), -1).astype(np.float64)
    known = PCA(4).fit(flat[split.train])
    errors = np.square(flat - known.inverse_transform(known.transform(flat)))[split.test].mean(1)
    card = evaluate(runs[0], metrics=["baseline", "mse"])
    assert card["pca"].estimate.value == pytest.approx(errors.mean(), rel=1e-4)
    assert card["pca"].estimate.standard_error == pytest.approx(errors.std() / np.sqrt(len(errors)), rel=0.2)
    assert "4 components of 1,437 training examples" in card["pca"].how


@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
def test_a_squared_error_is_one_quantity_everywhere(scaling: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 5)) * [1, 10, 100, 0.1, 5] + [0, 50, -7, 3, 1]
    model = diabolo.train(x, model="vae", scaling=scaling, latent_dim=2, epochs=1, widths=(8,), out=tmp_path / "run")
    result = model.info["result"]
    card = evaluate(model, x, metrics=["baseline", "mse"])
    assert card["mse"].estimate.value == pytest.approx(result["test"]["mse"], rel=1e-4)
    test = diabolo.open_dataset(x).split(0).test
    assert model.loss_terms(x[test])["mse"] == pytest.approx(result["test"]["mse"], rel=1e-4)
    values = model.model.prepare(torch.from_numpy(x[test].astype(np.float32))).numpy()
    copies = model.model.prepare(torch.from_numpy(model.reconstruct(x[test]))).numpy()
    assert np.square(values - copies).mean() == pytest.approx(result["test"]["mse"], rel=1e-4)
    assert card["pca"].like == card["mse"].like
    assert ("scaled as" in card["mse"].how) == (scaling != "none")


def test_kinds_of_codes_stand_beside_each_other(tmp_path: Path) -> None:
    options: dict[str, Any] = {"latent_dim": 4, "widths": (16,), "epochs": 1, "seed": 0}
    names = ("conditional", "hierarchical", "topk")
    models = [diabolo.train("digits", model=name, **options) for name in names]
    comparison = compare(models, metrics=["codes", "baseline"])
    known, levels, sparse = comparison.scorecards
    assert "mutual_information" in known
    assert "Mutual information: it needs independent dimensions." in levels.left_out
    assert known["pca"].how.startswith("4 components")
    assert sparse["pca"].how.startswith("1 component"), "as many as an example has active units"
    told = models[2].info["result"]["baseline"]
    assert (told["components"], told["used"]) == (1, pytest.approx(1, abs=0.2))
    assert "conditional" in write_comparison(comparison, tmp_path / "page.html").read_text(encoding="utf-8")


def test_codes_that_are_points_have_no_likelihood(runs: list[Path]) -> None:
    card = evaluate(runs[2])
    assert "nll" not in card
    assert "kl" not in card
    assert "fid" not in card
    left = " ".join(card.left_out)
    assert "points" in left
    assert "fit_prior" in left
    with pytest.raises(ConfigError, match="no measurement"):
        card["nll"]


def test_a_fitted_prior_is_measured(runs: list[Path]) -> None:
    model = diabolo.load(runs[2])
    model.fit_prior("gaussian", diabolo.open_dataset("digits").x)
    card = evaluate(model, metrics=["samples"])
    assert "fitted prior" in card["fid"].how


def test_a_table_and_factors() -> None:
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (600, 2))
    x = np.concatenate([factors, factors @ rng.standard_normal((2, 3))], 1).astype(np.float32)
    model = diabolo.train(x, model="vae", latent_dim=2, epochs=3)
    card = evaluate(model, diabolo.open_dataset(x), factors=factors, samples=10)
    for name in ("mig", "dci_disentanglement", "sap", "factor_vae"):
        assert 0 <= card[name].estimate.value <= 1, name
    assert "psnr" not in card
    assert "no images" in " ".join(card.left_out)
    with pytest.raises(ShapeError, match="one for each"):
        evaluate(model, diabolo.open_dataset(x), factors=factors[:-1])


def test_the_better_model_leads_and_what_cannot_compare_does_not(compared: Comparison) -> None:
    long, short, plain = compared.standings("elbo")
    assert long is not None
    assert short is not None
    assert plain is None
    assert long.best
    assert not short.tied
    assert short.behind == pytest.approx(short.measurement.estimate.value - long.measurement.estimate.value)
    assert 0 < short.error < short.behind
    mse = compared.standings("mse")
    assert mse[1] is not None
    assert not mse[1].best
    assert all(one is None or not one.best for one in compared.standings("kl")), "neither more nor less is better"
    assert "*" in compared.table()


def test_a_model_is_no_worse_than_itself(runs: list[Path]) -> None:
    made = compare([runs[0], runs[0]], metrics=["elbo", "mse"])
    assert [card.model for card in made.scorecards] == ["long (1)", "long (2)"]
    for name in made.names:
        best, other = made.standings(name)
        assert best is not None
        assert best.best
        assert other is not None
        assert other.tied


def test_different_likelihoods_are_not_ranked(runs: list[Path]) -> None:
    bernoulli = diabolo.train("digits", model="vae", likelihood="bernoulli", **QUICK)
    made = compare([diabolo.load(runs[0]), bernoulli], metrics=["elbo", "mse"])
    assert all(one is not None and not one.best and not one.tied for one in made.standings("elbo"))
    assert any(one is not None and one.best for one in made.standings("mse"))


def test_the_page_stands_alone(compared: Comparison, tmp_path: Path) -> None:
    from diabolo.report import write_comparison

    text = write_comparison(compared, tmp_path / "page.html").read_text()
    for name in ("long", "short", "plain", "negative ELBO", "Protocol"):
        assert name in text
    assert text.count('alt="') >= 5
    assert "<script" not in text
    assert not any(f'{what}="http' in text for what in ("src", "href"))
    with pytest.raises(ConfigError, match=r"\.html"):
        write_comparison(compared, tmp_path / "page.pdf")


def test_the_commands(runs: list[Path], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs[0]), "--samples", "5", "--limit", "50", "-o", "card.json"]) == 0
    assert "negative log-likelihood" in capsys.readouterr().out
    assert json.loads((here / "card.json").read_text())["examples"] == 50
    assert main(["evaluate", str(runs[0]), "--metrics", "mse", "--json", "--binarize", "static"]) == 0
    assert "static" in json.loads(capsys.readouterr().out)["protocol"][0]
    assert main(["compare", *map(str, runs), "--metrics", "bounds,mse", "--samples", "5"]) == 0
    assert "negative ELBO" in capsys.readouterr().out
    assert (here / "comparison.html").exists()
    np.save(here / "factors.npy", np.random.default_rng(0).integers(0, 3, (1797, 2)))
    assert main(["evaluate", str(runs[0]), "--metrics", "mig", "--factors", "factors.npy"]) == 0
    assert "MIG" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["evaluate", "RUN", "--metrics", "ffid"], 2, "Did you mean 'fid'"),
        (["evaluate", "RUN", "--features", "inceptoin"], 2, "Did you mean 'inception'"),
        (["evaluate", "RUN", "--samples", "-1"], 2, "samples should be"),
        (["evaluate", "RUN", "--limit", "1"], 2, "at least 2"),
        (["evaluate", "RUN", "--out", "card.txt"], 2, ".json"),
        (["evaluate", "RUN", "--factors", "gone.npy"], 1, "gone.npy is not there"),
        (["compare", "RUN"], 2, "at least two runs"),
        (["evaluate", "gone"], 1, "is not a folder"),
    ],
)
def test_a_mistake_is_answered(
    words: list[str], code: int, said: str, runs: list[Path], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(runs[0]) if word == "RUN" else word for word in words]) == code
    assert said in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused(runs: list[Path], pictures: np.ndarray, table: np.ndarray) -> None:
    other = diabolo.train(table, epochs=1, latent_dim=2)
    with pytest.raises(ShapeError, match="cannot be shown the same"):
        compare([diabolo.load(runs[0]), other])
    with pytest.raises(DataError, match="at least 2 examples"):
        measure_model(diabolo.load(runs[0]), pictures[:1])
    with pytest.raises(ShapeError, match=r"should have the shape \(90,\)"):
        measure_model(diabolo.load(runs[0]), pictures, labels=np.zeros(3))


def test_runs_of_other_seeds_share_what_neither_was_trained_on(runs: list[Path], tmp_path: Path) -> None:
    other = diabolo.train("digits", model="vae", **{**QUICK, "seed": 5, "epochs": 1})
    made = compare([diabolo.load(runs[0]), other], metrics=["mse"])
    dataset = diabolo.open_dataset("digits")
    shared = np.intersect1d(dataset.split(0).test, dataset.split(5).test)
    assert made.scorecards[0].examples == len(shared)
    assert isinstance(made.models[0], Autoencoder)


def test_an_unknown_metric_names_the_nearest(runs: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r"There is no metric named 'fdi'. Did you mean 'fid'"):
        evaluate(runs[0], metrics=["fdi"])


def test_own_data_under_another_name_or_option_is_measured_on_its_own_test_part(runs: list[Path]) -> None:
    model = diabolo.load(runs[0])
    expected = evaluate(model, metrics=["mse"])
    assert expected.examples < 1797 / 2
    assert evaluate(model, "digits", metrics=["mse"])["mse"].estimate == expected["mse"].estimate
    drawn = evaluate(model, data={"binarize": "static"}, metrics=["mse"])
    assert drawn.examples == expected.examples
    assert "binarised once" in " ".join(drawn.protocol)
    assert drawn["mse"].estimate.value > expected["mse"].estimate.value


def test_own_data_that_grew_is_not_its_own_any_more(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    model = diabolo.train(tmp_path / "x.npy", latent_dim=2, epochs=1, widths=(8,))
    np.save(tmp_path / "x.npy", np.concatenate([x, x + 1]))
    with pytest.raises(DataError, match="has 120 examples now, and the run was trained on a split of 60"):
        evaluate(model, data={"layout": "F"}, metrics=["mse"])
