"""The contract of a variant, seen from outside the package: batches with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

import diabolo
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, open_dataset
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.models.objectives import Batch, checked_labels
from diabolo.models.objectives.vae import VAE
from stepping import needs_compiler

CLASSES = ("left", "middle", "right")
OPTIONS: dict[str, Any] = {"latent_dim": 2, "widths": (16,), "epochs": 3, "batch_size": 16, "precision": "float32"}
# Each step is as long as `lr` says, and the weights are those after the last one.
PLAIN: dict[str, Any] = {"schedule": "constant", "lr_warmup": 0.0, "ema": 0.0, "keep": "last", "augment": "none"}


class Told(VAE):
    """A VAE whose encoder and decoder are told the class: planes beside the channels, numbers beside the code."""

    labels = "required"

    def encoder_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (event_shape[0] + len(self.space.classes), *event_shape[1:])

    def fed(self, latent_dim: int) -> int:
        return latent_dim + len(self.space.classes)

    def enter(self, batch: Batch) -> Tensor:
        hot = self.hot(batch.y).view(len(batch), -1, *[1] * (batch.x.dim() - 2))
        return torch.cat([batch.x, hot.expand(-1, -1, *batch.x.shape[2:])], 1)

    def embed(self, z: Tensor, y: Tensor | None) -> Tensor:
        return torch.cat([z, self.hot(y)], 1)

    def hot(self, y: Tensor | None) -> Tensor:
        """(B, classes), with nothing set where the class is not known."""
        assert y is not None
        return one_hot(y + 1, len(self.space.classes) + 1)[:, 1:].float()


class HalfTold(Told):
    """Of which some classes may be unknown."""

    labels = "partial"


def thirds(pictures: np.ndarray) -> Dataset:
    """The spots, with the third of the picture that each lies in."""
    columns = pictures.sum(1, dtype=np.float64)
    centre = (columns * np.arange(8)).sum(1) / columns.sum(1)
    return open_dataset(pictures, labels=np.array(CLASSES)[np.digitize(centre, [3.0, 4.2])])


@pytest.fixture(scope="module")
def data(pictures: np.ndarray) -> Dataset:
    return thirds(pictures)


@pytest.fixture(scope="module")
def told(data: Dataset) -> Autoencoder:
    return diabolo.train(data, model=Told, **{**OPTIONS, "epochs": 60, "lr": 0.01})


def parameters(model: Autoencoder) -> list[Tensor]:
    return [value.detach() for value in model.model.parameters()]


def centres(x: np.ndarray) -> np.ndarray:
    """The column about which each picture lies."""
    columns = x.sum(1)
    return np.asarray((columns * np.arange(8)).sum(1) / columns.sum(1))


# --- a batch ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_cut_and_mapped_with_all_that_it_holds() -> None:
    x, y, index = torch.arange(12.0).view(4, 3), torch.tensor([0, 1, -1, 2]), torch.tensor([9, 7, 5, 3])
    batch = Batch(x, y, index)
    assert len(batch) == 4
    assert [part.tolist() for part in batch[1:3].parts] == [x[1:3].tolist(), [1, -1], [7, 5]]
    assert [part.tolist() for part in batch[torch.tensor([3, 0])].parts] == [x[[3, 0]].tolist(), [2, 0], [3, 9]]
    assert [part.tolist() for part in batch.map(lambda part: part + 1).parts[1:]] == [[1, 2, 0, 3], [10, 8, 6, 4]]
    bare = Batch(x)[:2].map(lambda part: 2 * part)
    assert (bare.y, bare.index, len(bare.parts)) == (None, None, 1)
    assert torch.equal(bare.x, 2 * x[:2])
    assert len(Batch(x, index=index).parts) == 2


# --- labels -----------------------------------------------------------------------------------------------------------


def test_what_is_sampled_and_decoded_has_the_class_that_was_asked_for(told: Autoencoder, data: Dataset) -> None:
    middles = [centres(told.sample(200, seed=0, y=name)).mean() for name in CLASSES]
    assert middles[0] + 0.7 < middles[1] < middles[2] - 0.7
    codes = np.zeros((3, 2), np.float32)
    first, second, third = centres(told.decode(codes, list(CLASSES)))
    assert first < second < third
    in_turn = told.sample(6, seed=1)  # all classes in turn
    assert np.array_equal(in_turn, told.sample(6, seed=1, y=[0, 1, 2, 0, 1, 2]))
    errors = np.square(told.reconstruct(data) - data.x / np.float32(255)).mean()
    wrong = np.square(told.reconstruct(data.x, (data.y + 1) % 3) - data.x / np.float32(255)).mean()
    assert errors < 0.7 * wrong


def test_labels_by_name_by_number_and_of_a_data_set_are_the_same(told: Autoencoder, data: Dataset) -> None:
    names = [CLASSES[number] for number in data.y]
    ways: list[tuple[Any, ...]] = [(data,), (data.x, data.y), (data.x, names), (data.x, np.array(names)), (data, names)]
    ways += [(data.x, torch.from_numpy(data.y)), (data.x, data.y.astype(np.uint8).tolist())]
    for ask in (
        told.encode,
        told.reconstruct,
        told.score,
        lambda *given: told.score(*given, kind="likelihood", draws=4),
        lambda *given: told.score(*given, kind="latent"),
        lambda *given: told.encode(*given, sample=True, seed=3),
        told.surprise,
        told.denoise,
    ):
        first, *others = (ask(*given) for given in ways)
        assert len(first) == len(data)
        assert all(np.array_equal(first, other) for other in others)
        assert not np.array_equal(first, ask(data.x, (data.y + 1) % 3)), "the labels count"
    assert told.loss_terms(data) == told.loss_terms(data.x, names) == told.loss_terms(data.x, data.y)
    turned = Dataset(data.x, "HW", "turned", 2 - data.y, CLASSES[::-1])  # the same classes in another order
    assert np.array_equal(told.encode(turned), told.encode(data))


def test_answers_do_not_depend_on_how_many_are_asked_at_once(told: Autoencoder, data: Dataset) -> None:
    together = told.score(data.x, data.y)
    one_by_one = [told.score(data.x[[row]], data.y[[row]])[0] for row in (0, 7, 50)]
    assert np.array_equal(together[[0, 7, 50]], one_by_one)
    many, y = np.tile(data.x, (24, 1, 1)), np.tile(data.y, 24)  # more than are computed at a time
    assert np.array_equal(told.encode(many, y), np.tile(told.encode(data), (24, 1)))
    assert np.array_equal(told.score(many, y), np.tile(together, 24))
    assert told.loss_terms(many, y)["kl"] == pytest.approx(told.loss_terms(data)["kl"], rel=1e-5)
    ways = [told.interpolate(data.x[0], data.x[1], 5, y=1), told.traverse(data.x[0], 0, [-1, 0, 1, 2, 3], y="middle")]
    assert [way.shape for way in ways] == [(5, 8, 8)] * 2
    assert told.manifold(3, y="left").shape == (9, 8, 8)
    assert centres(told.manifold(3, y="left")).mean() < centres(told.manifold(3, y="right")).mean() - 1
    assert told.calibrate(data, false_alarms=0.1).draws == 16
    assert np.array_equal(told.detect(data), told.detect(data.x, data.y))


@pytest.mark.parametrize("variant", [Told, HalfTold])
def test_parts_of_a_batch_take_their_labels_along(data: Dataset, variant: type[VAE]) -> None:
    whole, parts = (diabolo.train(data, model=variant, **OPTIONS, **PLAIN, accumulate=parts) for parts in (1, 2))
    for one, other in zip(parameters(whole), parameters(parts), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(whole.history, parts.history, strict=True):
        assert one["train"] == pytest.approx(other["train"], rel=1e-4)


def test_examples_that_are_held_out_have_their_own_labels(data: Dataset) -> None:
    """The history's numbers are those of the examples of each part, with their labels."""
    model = diabolo.train(data, model=Told, **{**OPTIONS, **PLAIN, "validation": 0.2, "test": 0.2})
    split = data.split(0, 0.2, 0.2)
    seen = {"validation": model.history[-1]["validation"], "test": model.info["result"]["test"]}
    for part, terms in seen.items():
        again = model.loss_terms(data.subset(getattr(split, part)))
        assert again == pytest.approx({name: terms[name] for name in again}, rel=1e-5)


@pytest.mark.slow
@needs_compiler
def test_a_compiled_step_takes_labels(data: Dataset) -> None:
    options = {**OPTIONS, **PLAIN, "validation": 0.0, "test": 0.0, "batch_size": 30}
    eager, compiled = (diabolo.train(data, model=Told, **options, compile=how) for how in ("off", "on"))
    assert compiled.info["result"]["compiled"]
    for one, other in zip(parameters(eager), parameters(compiled), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_model_with_labels_is_saved_and_loaded(told: Autoencoder, data: Dataset, tmp_path: Path) -> None:
    told.save(tmp_path / "told")
    again = diabolo.load(tmp_path / "told", trust=__name__)
    assert again.labels == "required"
    assert again.model.objective.space.classes == CLASSES
    assert np.array_equal(again.encode(data.x, ["left", "right", "middle"] * 30), told.encode(data.x, [0, 2, 1] * 30))
    assert np.array_equal(again.sample(4, seed=0, y="right"), told.sample(4, seed=0, y=2))
    assert again.loss_terms(data) == told.loss_terms(data)
    told.fit_prior("gaussian", data)
    assert told.sample(3, seed=0, prior="fitted", y="left").shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (None, ConfigError, "Told takes a label with each example, and there is none.*left, middle, right"),
        ([0, 1], ShapeError, r"\(90,\), one for each example"),
        (np.zeros((90, 1), int), ShapeError, r"\(90,\), one for each example"),
        (["left", "up"] * 45, DataError, "no class 'up'.*left, middle, right"),
        ([0, 3] * 45, DataError, "no class number 3: there are 0 to 2.*left, middle, right"),
        ([0, -1] * 45, DataError, "no class number -1: there are 0 to 2, and"),
        ([0.0, 1.0] * 45, DataError, "numbers of classes or their names, and these are float64"),
    ],
)
def test_labels_that_are_missing_or_wrong_are_one_clear_error(
    told: Autoencoder, data: Dataset, y: Any, error: type[Exception], words: str
) -> None:
    for ask in (told.encode, told.score, told.reconstruct, told.loss_terms, told.surprise, told.denoise):
        with pytest.raises(error, match=words):
            ask(data.x, y)
    with pytest.raises(error, match=words):
        told.decode(np.zeros((90, 2)), y)
    if y is not None:  # all classes in turn, otherwise
        with pytest.raises(error, match=words):
            told.sample(90, y=y)


def test_data_without_classes_trains_no_variant_that_requires_them(pictures: np.ndarray) -> None:
    words = "Told learns with the classes of its examples, and these have none"
    with pytest.raises(ConfigError, match=words):
        diabolo.train(pictures, model=Told, **OPTIONS)
    continuous = open_dataset(pictures, labels=np.linspace(0, 1, 90) ** 2)
    with pytest.raises(ConfigError, match=words):
        diabolo.train(continuous, model=Told, **OPTIONS)


def test_a_variant_without_labels_takes_none(data: Dataset) -> None:
    model = diabolo.train(data, model="vae", **{**OPTIONS, "epochs": 1})
    assert model.labels == "none"
    assert np.array_equal(model.encode(data), model.encode(data.x))
    for wrong in (lambda: model.encode(data.x, ["whatever"]), lambda: model.score(data.x, "likelihood")):
        with pytest.raises(ConfigError, match="learned without labels and takes none"):
            wrong()
    assert checked_labels(model.model.objective, [9], 5) is None


def test_some_labels_may_be_unknown(data: Dataset) -> None:
    y = np.where(np.arange(90) % 3 == 0, -1, data.y)
    model = diabolo.train(Dataset(data.x, "HW", "some", y, CLASSES), model=HalfTold, **OPTIONS)
    assert model.labels == "partial"
    unknown = np.full(90, -1)
    assert np.array_equal(model.encode(data.x), model.encode(data.x, unknown)), "none given: all unknown"
    assert not np.array_equal(model.encode(data.x, y), model.encode(data.x, data.y))
    assert np.array_equal(model.encode(data.x, y)[::3], model.encode(data.x)[::3])
    assert model.loss_terms(data.x) == model.loss_terms(data.x, unknown)
    assert np.array_equal(model.decode(np.zeros((2, 2))), model.decode(np.zeros((2, 2)), [-1, -1]))
    with pytest.raises(DataError, match="no class number -2: there are 0 to 2; -1 stands for unknown"):
        model.encode(data.x, np.full(90, -2))


def test_unknown_labels_of_a_data_set_stay_unknown(data: Dataset) -> None:
    y = np.where(np.arange(90) % 3 == 0, -1, data.y)
    some = Dataset(data.x, "HW", "some", y, CLASSES)
    model = diabolo.train(some, model=HalfTold, **{**OPTIONS, "epochs": 1})
    assert np.array_equal(model.encode(some), model.encode(data.x, y))


def test_all_labels_may_be_unknown(pictures: np.ndarray) -> None:
    model = diabolo.train(pictures, model=HalfTold, **OPTIONS)
    assert model.encode(pictures).shape == (90, 2)
    assert model.score(pictures).shape == (90,)
    assert model.sample(3, seed=0).shape == (3, 8, 8)


def test_numbers_are_names_where_classes_are_called_by_other_numbers(pictures: np.ndarray) -> None:
    data = open_dataset(pictures, labels=np.array([1, 2, 5])[np.arange(len(pictures)) % 3])
    model = diabolo.train(data, model=Told, **{**OPTIONS, "epochs": 1})
    assert model.model.objective.space.classes == ("1", "2", "5")
    codes = np.zeros((3, 2))
    by_name = model.decode(codes, ["1", "2", "5"])
    assert not np.array_equal(by_name[0], by_name[1])
    assert np.array_equal(model.decode(codes, [1, 2, 5]), by_name)
    assert np.array_equal(model.sample(3, seed=0, y=[1, 2, 5]), model.sample(3, seed=0)), "all in turn"
    labels = np.array([1, 2, 5])[np.arange(len(pictures)) % 3]
    assert np.array_equal(model.reconstruct(data), model.reconstruct(pictures, labels))
    with pytest.raises(DataError, match="There is no class 0: the classes are 1, 2, 5"):
        model.decode(codes[:1], [0])


def test_a_class_called_minus_one_is_none_where_labels_may_be_unknown(pictures: np.ndarray) -> None:
    y = np.array([-1, 4, 7])[np.arange(len(pictures)) % 3]
    data = open_dataset(pictures, labels=y)
    assert data.classes == ("-1", "4", "7")
    model = diabolo.train(data, model=HalfTold, **{**OPTIONS, "epochs": 1})
    assert model.model.objective.space.classes == ("4", "7")
    found = model.labels_of(data)
    assert found is not None
    assert found.tolist() == (np.array([-1, 0, 1])[np.arange(len(pictures)) % 3]).tolist()
    assert np.array_equal(model.encode(data), model.encode(pictures, y))
    with pytest.raises(DataError, match="has the class '-1', and this model has"):
        diabolo.train(thirds(pictures), model=Told, **{**OPTIONS, "epochs": 1}).encode(data)
