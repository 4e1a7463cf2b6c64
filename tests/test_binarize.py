"""Values drawn to be 0 or 1: once, or anew each time, and named in what comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diabolo
from diabolo.cli import main
from diabolo.errors import ConfigError, DataError
from diabolo.models.preprocess import Preprocess


def test_static_draws_each_value_with_its_grey_as_the_probability() -> None:
    grey = np.repeat(np.array([0, 51, 128, 255], np.uint8), 4 * 500).reshape(4, 500, 4).transpose(1, 0, 2).copy()
    drawn = diabolo.open_dataset(grey, layout="HW", binarize="static")
    assert set(np.unique(drawn.x)) == {0, 255}
    share = (drawn.x / 255).mean((0, 2))
    np.testing.assert_allclose(share, [0, 0.2, 128 / 255, 1], atol=0.03)
    assert "static" in drawn.describe()


def test_static_is_the_same_draw_every_time_for_bytes_and_for_floats(pictures: np.ndarray) -> None:
    once = diabolo.open_dataset(pictures, layout="HW", binarize="static")
    again = diabolo.open_dataset(pictures, layout="HW", binarize="static")
    floats = diabolo.open_dataset((pictures / 255).astype(np.float32), layout="HW", binarize="static")
    assert once.fingerprint == again.fingerprint == floats.fingerprint


def test_dynamic_draws_in_the_loss_and_nowhere_else(pictures: np.ndarray) -> None:
    scale = Preprocess.fit(pictures, "HW", np.arange(len(pictures)), binarize=True)
    batch = torch.from_numpy(pictures)
    prepared = scale(batch)
    assert len(prepared.unique()) > 2
    one, other = (scale.drawn(prepared, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(one, other)
    assert torch.equal(one, scale.drawn(prepared, torch.Generator().manual_seed(0)))


def test_a_run_keeps_how_it_was_binarised(pictures: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pictures)
    model = diabolo.train(
        tmp_path / "x.npy", layout="HW", binarize="dynamic", model="vae", latent_dim=2, epochs=1, out=tmp_path / "run"
    )
    assert model.info["data"]["binarize"] == "dynamic"
    again = diabolo.load(tmp_path / "run")
    assert again.model.preprocess.binarize
    assert again.loss_terms(pictures) == model.loss_terms(pictures)
    card = diabolo.evaluate(again, metrics=["bounds"], samples=0)
    assert "static" in " ".join(card.protocol)


def test_what_cannot_be_a_probability_is_refused(table: np.ndarray, pictures: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"values in \[0, 1\]"):
        diabolo.open_dataset(table, binarize="static")
    with pytest.raises(ConfigError, match="none, static or dynamic"):
        diabolo.open_dataset(pictures, layout="HW", binarize="fixed")
    drawn = diabolo.open_dataset(pictures, layout="HW", binarize="static")
    with pytest.raises(DataError, match="already"):
        drawn.binarized("dynamic")


@pytest.mark.slow
def test_every_result_names_the_binarisation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    words = ("--binarize", "static", "--epochs", "1", "--widths", "8", "--latent-dim", "2", "--model", "vae")
    assert main(["train", "digits", *words, "-o", run]) == 0
    assert "values binarised once (static, seed 0)" in capsys.readouterr().out
    assert "binarised once (static, seed 0)" in (tmp_path / "run" / "report.html").read_text()
    assert main(["info", run]) == 0
    assert "binarised once (static, seed 0)" in capsys.readouterr().out
    assert main(["evaluate", run, "--metrics", "elbo"]) == 0
    assert "binarised once (static, seed 0)" in capsys.readouterr().out
