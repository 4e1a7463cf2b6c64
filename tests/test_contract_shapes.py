"""The contract of a variant, seen from outside the package: places in the data set, shapes, what it is built for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diabolo
from diabolo.datasets import Dataset, as_store
from diabolo.errors import PartError, ShapeError
from diabolo.models.distributions import DiagonalGaussian, Posterior
from diabolo.models.model import build_model
from diabolo.models.objectives import Batch, Loss, Net, Space
from diabolo.models.objectives.autoencoder import Autoencoder as Plain
from diabolo.models.objectives.vae import VAE
from diabolo.models.preprocess import Preprocess
from diabolo.training.batches import Batches
from diabolo.training.settings import Settings
from test_contract import CLASSES, OPTIONS, Told, thirds


@pytest.fixture(scope="module")
def data(pictures: np.ndarray) -> Dataset:
    return thirds(pictures)


# --- places in the data set -------------------------------------------------------------------------------------------


class Placed(Plain):
    """Remembers the batches that it was trained on."""

    wants_index = True
    labels = "partial"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Batch] = []

    def loss(self, batch: Batch, net: Net) -> Loss:
        if self.training:
            self.seen.append(batch)
        return super().loss(batch, net)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("kind", ["array", "map", "store"])
def test_the_index_is_the_place_in_the_data_set(kind: str, accumulate: int, data: Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data.x)
    source = {"array": data.x, "map": np.load(tmp_path / "x.npy", mmap_mode="r"), "store": str(tmp_path / "x.npy")}[
        kind
    ]
    options = {**OPTIONS, "epochs": 2, "memory": 0 if kind == "store" else 2.0, "accumulate": accumulate}
    model = diabolo.train(source, labels=[CLASSES[one] for one in data.y], model=Placed, augment="none", **options)
    assert (as_store(model.trained_on[0].x) is not None) == (kind == "store")
    seen = model.model.objective.seen
    assert len(seen) == 2 * 5 * accumulate
    for batch in seen:
        assert torch.equal(batch.x, model.model.preprocess(torch.from_numpy(data.x[batch.index])))
        assert batch.y.tolist() == data.y[batch.index].tolist()
    for epoch in (seen[: len(seen) // 2], seen[len(seen) // 2 :]):
        assert sorted(torch.cat([batch.index for batch in epoch]).tolist()) == model.trained_on[1].tolist()


def test_processes_see_the_places_that_one_would(data: Dataset) -> None:
    indices, settings, cpu = np.arange(0, 90, 2), Settings(batch_size=16, seed=3), torch.device("cpu")
    ways = [Batches(data.x, indices, settings, cpu, rank, 2, data.y, True).epoch(1, 1) for rank in (0, 1)]
    for whole, *shares in zip(Batches(data.x, indices, settings, cpu).epoch(1, 1), *ways, strict=True):
        places, y = (torch.cat([getattr(share, name) for share in shares]).numpy() for name in ("index", "y"))
        assert (whole.y, whole.index) == (None, None)
        assert np.array_equal(data.x[places], whole.x)
        assert np.array_equal(data.y[places], y)


# --- shapes -----------------------------------------------------------------------------------------------------------


class Round(VAE):
    """A VAE whose codes have one variance for all their numbers: d + 1 features."""

    def features(self, latent_dim: int) -> int:
        return latent_dim + 1

    def posterior(self, features: Tensor, batch: Batch) -> Posterior:
        return DiagonalGaussian(features[:, :-1], features[:, -1:].expand(-1, features.shape[1] - 1))


@pytest.mark.parametrize("network", [{"network": "mlp", "widths": (8,)}, {"network": "conv", "channels": (4,)}])
def test_features_need_not_be_a_multiple_of_the_code(network: dict[str, Any], data: Dataset, tmp_path: Path) -> None:
    options = {"latent_dim": 3, "epochs": 2, "precision": "float32", "out": tmp_path / "run"}
    model = diabolo.train(data, model=Round, **options, **network)
    assert model.encode(data).shape == (90, 3)
    code = model.model.passed(torch.zeros(1, 1, 8, 8))[0]
    assert (code.log_variance == code.log_variance[:, :1]).all()
    again = diabolo.load(tmp_path / "run", trust=__name__)
    assert np.array_equal(again.score(data), model.score(data))


def test_modules_of_ones_own_give_the_features_and_take_what_is_fed() -> None:
    preprocess = Preprocess(event_shape=(8, 8), layout="HW", scale="unit")

    def modules(features: int, fed: int, channels: int = 1) -> tuple[nn.Module, nn.Module]:
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, features))
        return encoder, nn.Sequential(nn.Linear(fed, 64), nn.Unflatten(1, (1, 8, 8)))

    assert build_model(preprocess, model=Round, network=modules(4, 3)).latent_dim == 3
    with pytest.raises(ShapeError, match=r"should give 2, 3, \.\.\. \(for codes of 1, 2, \.\.\. numbers\).* gives 1\."):
        build_model(preprocess, model=Round, network=modules(1, 1))
    with pytest.raises(ShapeError, match="should give 4 numbers for each example, and gives 6"):
        build_model(preprocess, model=Round, network=modules(6, 5), latent_dim=3)
    space = Space(classes=CLASSES)
    built = build_model(preprocess, model=Told, network=modules(4, 2 + 3, 1 + 3), space=space)
    assert built.latent_dim == 2
    with pytest.raises(PartError, match="fails in evaluation on a batch"):
        build_model(preprocess, model=Told, network=modules(4, 2, 1 + 3), space=space)


class Spacious(VAE):
    """Makes of its space what it can, and keeps what it was told."""

    spaces: ClassVar[list[Space]] = []

    def build(self, space: Space) -> None:  # without super's: the model sees to `self.space`
        self.spaces.append(space)
        self.table = nn.Parameter(torch.randn(space.examples, space.latent_dim))
        self.register_buffer("centre", torch.zeros(space.event_shape) if space.mean is None else space.mean.clone())
        self.heads = nn.Linear(space.latent_dim, len(space.classes))


def test_what_is_built_for_a_space_is_built_again(data: Dataset, tmp_path: Path) -> None:
    Spacious.spaces.clear()
    model = diabolo.train(data, model=Spacious, **OPTIONS, out=tmp_path / "run")
    assert len(Spacious.spaces) == 1
    mean = model.model.preprocess(torch.from_numpy(data.x[model.trained_on[1]])).mean(0)
    first, objective = Spacious.spaces[0], model.model.objective
    assert (first.latent_dim, first.code_shape, first.event_shape) == (2, (2,), (1, 8, 8))
    assert (first.classes, first.examples) == (CLASSES, 72)
    torch.testing.assert_close(first.mean, mean)
    assert (objective.space.classes, objective.space.mean, objective.prior().sample(3, 0).shape) == (
        CLASSES,
        None,
        (3, 2),
    )
    again = diabolo.load(tmp_path / "run", trust=__name__)
    assert Spacious.spaces[1] == objective.space
    for name, value in model.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
