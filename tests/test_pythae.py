"""Models that pythae saved: their numbers are read without unpickling, and mean the same here."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diabolo
from diabolo.cli import main
from diabolo.errors import ConfigError, RunError, SourceNotFound
from diabolo.runs import import_pythae
from diabolo.runs.pythae import COUNTERPARTS
from diabolo.storage.torch_archive import read_tensors

SHAPE, D = (1, 4, 4), 3
# The settings that pythae writes beside those that all models have.
SETTINGS: dict[str, dict[str, Any]] = {
    "AE": {}, "VAE": {"reconstruction_loss": "mse"}, "BetaVAE": {"reconstruction_loss": "bce", "beta": 4.0},
    "DisentangledBetaVAE": {"beta": 10.0, "C": 50.0, "warmup_epoch": 25},
    "BetaTCVAE": {"alpha": 1.0, "beta": 6.0, "gamma": 1.0, "use_mss": True}, "FactorVAE": {"gamma": 2.0},
    "IWAE": {"number_samples": 10}, "MIWAE": {"number_gradient_estimates": 5, "number_samples": 10},
    "PIWAE": {"number_gradient_estimates": 5, "number_samples": 10}, "CIWAE": {"number_samples": 10, "beta": 0.5},
    "INFOVAE_MMD": {"alpha": 0, "lbd": 0.001}, "WAE_MMD": {"reg_weight": 0.03, "reconstruction_loss_scale": 1.0},
    "Adversarial_AE": {"adversarial_loss_scale": 0.5, "reconstruction_loss_scale": 2.0},
    "RAE_L2": {"embedding_weight": 1e-4, "reg_weight": 1e-7}, "RAE_GP": {"embedding_weight": 1e-4, "reg_weight": 1e-7},
    "VAMP": {"number_components": 5, "linear_scheduling_steps": 0},
    "VQVAE": {"commitment_loss_factor": 0.25, "num_embeddings": 8, "use_ema": False, "decay": 0.99},
}  # fmt: skip
UNDERSCORED = {"INFOVAE_MMD", "WAE_MMD", "Adversarial_AE", "RAE_L2", "RAE_GP"}
POINTS = {"AE", "WAE_MMD", "RAE_L2", "RAE_GP", "VQVAE"}  # without a variance


def saved(folder: Path, name: str, /, **more: Any) -> dict[str, Tensor]:
    """A folder as pythae 0.1.2 writes it; the tensors in it."""
    folder.mkdir()
    config = {"name": f"{name}{'_' if name in UNDERSCORED else ''}Config", "input_dim": list(SHAPE), "latent_dim": D}
    config |= {"uses_default_encoder": True, "uses_default_decoder": True, **SETTINGS[name], **more}
    (folder / "model_config.json").write_text(json.dumps(config))
    generator, values = torch.Generator().manual_seed(0), 16
    shapes = {"encoder.layers.0.0": (512, values), "encoder.embedding": (D, 512), "decoder.layers.0.0": (512, D)}
    shapes |= {"decoder.layers.1.0": (values, 512)} | ({} if name in POINTS else {"encoder.log_var": (D, 512)})
    if name == "FactorVAE":
        widths = [D, 1000, 1000, 1000, 1000, 1000, 2]
        shapes |= {f"discriminator.layers.{2 * k}": (widths[k + 1], widths[k]) for k in range(6)}
    if name == "VAMP":
        shapes |= {"pseudo_inputs.0": (values, 5)}
    tensors = {}
    for layer, (rows, columns) in shapes.items():
        tensors[f"{layer}.weight"] = torch.randn(rows, columns, generator=generator) / columns**0.5
        tensors[f"{layer}.bias"] = 0.1 * torch.randn(rows, generator=generator)
    if name == "VQVAE":
        tensors["quantizer.embeddings.weight"] = torch.randn(8, 1, generator=generator)
    torch.save({"model_state_dict": tensors}, folder / "model.pt")
    return tensors


def by_hand(tensors: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The means and the reconstructions of them that its default networks compute."""

    def layer(name: str, value: Tensor) -> Tensor:
        return value @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    z = layer("encoder.embedding", layer("encoder.layers.0.0", x.flatten(1)).relu())
    book = tensors.get("quantizer.embeddings.weight")
    if book is not None:
        z = book[:, 0][(z[..., None] - book[:, 0]).abs().argmin(-1)]
    output = layer("decoder.layers.1.0", layer("decoder.layers.0.0", z).relu())
    return z, torch.sigmoid(output).view(-1, *SHAPE)


@pytest.mark.parametrize("name", list(COUNTERPARTS))
def test_its_codes_and_reconstructions_are_pythae_s(name: str, tmp_path: Path) -> None:
    tensors = saved(tmp_path / "final_model", name)
    model = import_pythae(tmp_path / "final_model")
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))
    z, output = by_hand(tensors, x)
    np.testing.assert_allclose(model.encode(x.numpy()), z, atol=1e-5)
    np.testing.assert_allclose(model.reconstruct(x.numpy()), output, atol=1e-5)
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(diabolo.load(tmp_path / "run").encode(x.numpy()), model.encode(x.numpy()))


def test_settings_are_those_of_the_counterpart(tmp_path: Path) -> None:
    for name in COUNTERPARTS:
        saved(tmp_path / name, name)
    options = {name: import_pythae(tmp_path / name).model.config() for name in COUNTERPARTS}
    assert options["MIWAE"]["model"]["options"]["draws"] == 5
    assert options["MIWAE"]["model"]["options"]["repeats"] == 10
    assert options["CIWAE"]["model"]["options"]["share"] == 0.5
    assert options["INFOVAE_MMD"]["model"]["options"]["strength"] == 1
    assert options["Adversarial_AE"]["model"]["options"]["weight"] == 0.25
    assert options["BetaVAE"]["likelihood"]["name"] == "bernoulli"
    assert options["VAE"]["likelihood"]["options"]["variance"] == 1.0
    assert options["AE"]["likelihood"]["options"]["variance"] == 0.5


def test_pseudo_inputs_and_the_critic_come_with_it(tmp_path: Path) -> None:
    tensors = saved(tmp_path / "vamp", "VAMP")
    objective = import_pythae(tmp_path / "vamp").model.objective
    inputs = (tensors["pseudo_inputs.0.weight"].T + tensors["pseudo_inputs.0.bias"]).view(5, *SHAPE)
    torch.testing.assert_close(objective.inputs.detach(), inputs)
    tensors = saved(tmp_path / "factor", "FactorVAE")
    z = value = torch.randn(4, D)
    for k in range(6):
        value = (
            value @ tensors[f"discriminator.layers.{2 * k}.weight"].T + tensors[f"discriminator.layers.{2 * k}.bias"]
        )
        value = torch.where(value > 0, value, 0.2 * value) if k < 5 else value
    odds = import_pythae(tmp_path / "factor").model.objective.critic(z)
    torch.testing.assert_close(odds.detach(), value[:, 0] - value[:, 1], rtol=1e-4, atol=1e-5)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "final_model", "BetaTCVAE")
    assert main(["import-pythae", str(tmp_path / "final_model"), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "Autoencoder(tc" in said
    assert "not on the diagonal" in said
    assert main(["sample", str(tmp_path / "run"), "-n", "3", "--out", str(tmp_path / "three.npz")]) == 0
    assert main(["info", str(tmp_path / "run")]) == 0


class Trap:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return open, ("trap-was-sprung", "w")


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "final_model", "VAE")
    torch.save({"model_state_dict": {}, "more": Trap()}, tmp_path / "final_model" / "model.pt")
    with pytest.raises(RunError, match="holds more than tensors"):
        import_pythae(tmp_path / "final_model")
    assert not (tmp_path / "trap-was-sprung").exists()


def test_tensors_of_every_kind_are_read(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(4, 6)
    tensors = {
        "whole": base, "turned": base.T, "part": base[1:3, ::2], "one": torch.tensor(3.5), "none": torch.zeros(0, 3),
        "long": torch.arange(3), "half": torch.ones(2, dtype=torch.float16), "nested": {"a": torch.zeros(1)},
    }  # fmt: skip
    torch.save(tensors, tmp_path / "x.pt")
    found = read_tensors(tmp_path / "x.pt")
    assert set(found) == {*tensors} - {"nested"} | {"nested.a"}
    for name in ("whole", "turned", "part", "one", "none", "long", "half"):
        np.testing.assert_array_equal(found[name], tensors[name].numpy())


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"has no model_config\.json\. Name the folder"):
        import_pythae(tmp_path)
    saved(tmp_path / "own", "VAE", uses_default_encoder=False)
    with pytest.raises(ConfigError, match=r"The encoder of .* pickles are never loaded"):
        import_pythae(tmp_path / "own")
    saved(tmp_path / "other", "AE", name="RHVAEConfig")
    with pytest.raises(ConfigError, match=r"RHVAE has no counterpart here\. These have one: AE, VAE"):
        import_pythae(tmp_path / "other")
    saved(tmp_path / "short", "VAE", latent_dim=5)
    with pytest.raises(RunError, match="cannot be read as what its configuration says"):
        import_pythae(tmp_path / "short")
    saved(tmp_path / "torn", "VAE")
    (tmp_path / "torn" / "model.pt").write_bytes(b"PK")
    with pytest.raises(RunError, match="cannot be read as tensors"):
        import_pythae(tmp_path / "torn")
    saved(tmp_path / "wrong", "VAE")
    (tmp_path / "wrong" / "model_config.json").write_text("[]")
    with pytest.raises(RunError, match="should hold a JSON object"):
        import_pythae(tmp_path / "wrong")


def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(4)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as whole, zipfile.ZipFile(tmp_path / "y.pt", "w") as short:
        for name in whole.namelist():
            data = whole.read(name)
            short.writestr(name, data[:8] if name.endswith("data/0") else data)
    with pytest.raises(RunError, match="is larger than its 2 numbers"):
        read_tensors(tmp_path / "y.pt")


@pytest.mark.parametrize("command", ["evaluate", "report", "resume"])
def test_what_wants_a_run_says_so(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "final_model", "VAE")
    import_pythae(tmp_path / "final_model").save(tmp_path / "run")
    assert main([command, str(tmp_path / "run")]) == 1
    assert "was not trained here: it has no data" in capsys.readouterr().err
