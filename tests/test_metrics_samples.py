"""Distances between sets of samples, against closed forms and plain loops; and the features they are taken on."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diabolo.errors import (
    ChecksumError,
    ConfigError,
    DataError,
    DownloadError,
    MissingExtraError,
    ShapeError,
    SourceNotFound,
)
from diabolo.metrics import (
    classifier_features,
    features,
    frechet_distance,
    frechet_distance_of_gaussians,
    inception_features,
    kernel_distance,
    precision_and_recall,
    random_features,
)

rng = np.random.default_rng(0)


def covariance(width: int, rank: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((rank, width))
    return root.T @ root / rank


# Frechet distance.


def test_gaussians_with_commuting_covariances_are_as_far_apart_as_by_hand() -> None:
    found = frechet_distance_of_gaussians([0, 1, 2], np.diag([4.0, 9.0, 1.0]), [1, 1, 0], np.diag([1.0, 16.0, 0.0]))
    assert found == pytest.approx(5 + (2 - 1) ** 2 + (3 - 4) ** 2 + (1 - 0) ** 2)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turned = [rotation @ np.diag(values) @ rotation.T for values in ([4.0, 9.0, 1.0], [1.0, 16.0, 0.0])]
    assert frechet_distance_of_gaussians(np.zeros(3), turned[0], np.zeros(3), turned[1]) == pytest.approx(3)


def test_gaussians_are_as_far_apart_as_with_scipys_matrix_root() -> None:
    from scipy.linalg import sqrtm

    a, b = covariance(12, 40, 1), covariance(12, 40, 2)
    means = rng.standard_normal((2, 12))
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance_of_gaussians(means[0], a, means[1], b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance_of_gaussians(means[0], a, means[0], a) == pytest.approx(0, abs=1e-10)


def test_what_is_no_gaussian_is_refused() -> None:
    with pytest.raises(DataError, match="has no negative eigenvalue, and this matrix has an eigenvalue of -1"):
        frechet_distance_of_gaussians([0, 0], np.eye(2), [0, 0], np.diag([1.0, -1.0]))
    with pytest.raises(DataError, match="symmetric"):
        frechet_distance_of_gaussians([0, 0], np.eye(2), [0, 0], [[1, 0.5], [0, 1]])
    with pytest.raises(ShapeError, match=r"of shape \(2, 2\), and the second mean"):
        frechet_distance_of_gaussians([0, 0], np.eye(2), [0, 0, 0], np.eye(3))


@pytest.mark.parametrize("counts", [(60, 80), (8, 80), (8, 7)])
def test_the_distance_of_samples_is_that_of_their_means_and_covariances(counts: tuple[int, int]) -> None:
    a, b = (np.random.default_rng(n).standard_normal((n, 20)) * np.arange(1, 21) for n in counts)
    expected = frechet_distance_of_gaussians(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert frechet_distance(a, b).value == pytest.approx(expected, rel=1e-6)


def test_the_distance_of_samples_tends_to_that_of_their_gaussians() -> None:
    a, b = covariance(6, 20, 1), covariance(6, 20, 2)
    shift = np.full(6, 0.3)
    truth = frechet_distance_of_gaussians(np.zeros(6), a, shift, b)
    off = []
    for count in (100, 1000, 10_000):
        drawn = np.random.default_rng(count)
        x, y = drawn.multivariate_normal(np.zeros(6), a, count), drawn.multivariate_normal(shift, b, count)
        found = frechet_distance(x, y)
        assert abs(found.value - truth) < 4 * found.standard_error + 20 / count
        off.append(found.standard_error)
    assert off[0] > 1.5 * off[1] > 3 * off[2]
    assert off[2] < 0.1 * truth


def test_the_jackknifes_error_is_the_deviation_over_samples() -> None:
    values, errors = [], []
    for seed in range(40):
        drawn = np.random.default_rng(seed)
        found = frechet_distance(
            drawn.standard_normal((300, 3)), 1.5 * drawn.standard_normal((300, 3)) + 0.5, seed=seed
        )
        values.append(found.value)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)


def test_sorted_samples_have_the_same_error_as_shuffled_ones() -> None:
    x = np.random.default_rng(1).standard_normal((1000, 2)) + 10 * (np.arange(1000) // 500)[:, None]
    y = np.random.default_rng(2).standard_normal((1000, 2)) + 10 * (np.arange(1000) // 500)[:, None]
    mixed = frechet_distance(rng.permutation(x), rng.permutation(y)).standard_error
    assert frechet_distance(x, y).standard_error < 3 * mixed + 1e-3


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_very_few_samples_have_an_infinite_error(distance: Any) -> None:
    found = distance(rng.standard_normal((3, 5)), rng.standard_normal((9, 5)))
    assert math.isfinite(found.value)
    assert found.standard_error == math.inf
    assert found.count == 3


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_features_that_do_not_compare_are_refused(distance: Any) -> None:
    with pytest.raises(ShapeError, match="features should have as many columns, and have 3 and 4"):
        distance(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(ShapeError, match="At least 2 rows of features are needed, and 1 were given"):
        distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(DataError, match="features of 5 of 5 examples are NaN"):
        distance(np.zeros((5, 3)), np.full((5, 3), np.nan))
    with pytest.raises(ConfigError, match="groups should be a number of at least 2"):
        distance(np.zeros((5, 3)), np.zeros((5, 3)), groups=1)


# Kernel distance.


def mmd(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    n, m = len(a), len(b)
    same_a = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    same_b = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same_a + same_b - 2 * sum(kernel(x, y) for x in a for y in b) / (n * m)


@pytest.mark.parametrize("counts", [(23, 23), (9, 31), (2, 3)])
def test_the_kernel_distance_is_that_of_a_double_loop(counts: tuple[int, int]) -> None:
    a, b = (np.random.default_rng(n).standard_normal((n, 4)) + 0.1 * n for n in counts)
    assert kernel_distance(a, b).value == pytest.approx(mmd(a, b), rel=1e-9)


def test_the_kernel_distances_error_is_that_of_plain_recomputation() -> None:
    a, b = rng.standard_normal((20, 3)), rng.standard_normal((20, 3)) + 1
    found = kernel_distance(a, b, groups=5, seed=3)
    labels = [np.random.default_rng(seed).permutation(np.arange(20) % 5) for seed in (3, 4)]
    without = [mmd(a[labels[0] != group], b[labels[1] != group]) for group in range(5)]
    assert found.standard_error == pytest.approx(math.sqrt(4 / 5 * 5 * np.var(without)))


def test_samples_of_one_distribution_are_at_no_kernel_distance_and_others_are() -> None:
    scores = []
    for seed in range(20):
        drawn = np.random.default_rng(seed)
        a, b = drawn.standard_normal((2, 400, 10))
        found = kernel_distance(a, b, seed=seed)
        scores.append(found.value / found.standard_error)
        moved = kernel_distance(a, b + 0.3, seed=seed)
        assert moved.low > 0
        assert moved.value > 10 * found.standard_error
    assert abs(np.mean(scores)) < 0.8
    assert np.std(scores) < 1.6


def test_of_many_rows_some_are_picked() -> None:
    a, b = rng.standard_normal((600, 3)), rng.standard_normal((600, 3)) + 1
    found = kernel_distance(a, b, limit=300)
    assert found.count == 300
    whole = kernel_distance(a, b)
    assert abs(found.value - whole.value) < 4 * found.standard_error
    assert kernel_distance(a, b, limit=300) == found
    assert kernel_distance(a, b, limit=300, seed=1) != found


# Features.


@pytest.mark.parametrize(
    ("layout", "shape", "width"),
    [
        ("HW", (8, 8), 256),
        ("HWC", (9, 7, 3), 256),
        ("CHW", (2, 28, 28), 256),
        ("HW", (1, 3), 256),
        ("F", (5,), 256),
        ("LC", (11, 2), 256),
        ("any", (2, 2, 2, 2), 256),
    ],
)
def test_random_features_are_the_same_for_the_same_seed(layout: str, shape: tuple[int, ...], width: int) -> None:
    x = rng.random((30, *shape)).astype(np.float32)
    state = torch.get_rng_state()
    found = random_features(shape, layout)(x, layout)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.shape == (30, width)
    assert found.dtype == np.float32
    assert found.std(0).max() > 0.01
    np.testing.assert_array_equal(random_features(shape, layout)(x, layout), found)
    assert np.abs(random_features(shape, layout, seed=1)(x, layout) - found).max() > 0.1


def test_random_features_are_the_same_whatever_the_batch_or_the_layout(pictures: np.ndarray) -> None:
    extractor = random_features((8, 8), "HW")
    whole = extractor(pictures, "HW")
    np.testing.assert_allclose(extractor(pictures[7:9], "HW"), whole[7:9], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(extractor(pictures / 255, "HW"), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(random_features((8, 8, 1), "HWC")(pictures[..., None], "HWC"), whole, atol=1e-6)
    np.testing.assert_allclose(random_features((1, 8, 8), "CHW")(pictures[:, None], "CHW"), whole, atol=1e-6)


def test_chunks_do_not_change_features(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = random_features((8, 8), "HW")(pictures, "HW")
    monkeypatch.setattr("diabolo.metrics._extractor.CHUNK", 7 * 64)
    np.testing.assert_allclose(random_features((8, 8), "HW")(pictures, "HW"), whole, rtol=1e-5, atol=1e-6)


def test_the_distance_on_random_features_grows_with_the_noise(pictures: np.ndarray) -> None:
    extractor = random_features((8, 8), "HW")
    clean = extractor(pictures[:45], "HW")
    noise = np.random.default_rng(1).standard_normal((45, 8, 8))
    made = [extractor(np.clip(pictures[45:] / 255 + level * noise, 0, 1), "HW") for level in (0, 0.1, 0.3, 0.6)]
    for distance in (frechet_distance, kernel_distance):
        values = [distance(clean, other).value for other in made]
        assert values == sorted(values)
        assert values[-1] > 3 * max(values[0], 1e-4)


def test_a_reference_brings_columns_to_one_scale(table: np.ndarray) -> None:
    extractor = random_features((5,), "F", reference=table)
    scaled = random_features((5,), "F")((table - table.mean(0)) / table.std(0), "F")
    np.testing.assert_allclose(extractor(table, "F"), scaled, atol=1e-4)
    assert "standardised" in extractor.name


def test_an_extractor_refuses_other_examples(pictures: np.ndarray) -> None:
    extractor = random_features((8, 8), "HW")
    with pytest.raises(ShapeError, match=r"layout HW and shape \(n, 8, 8\), and were asked of layout HW.*\(90, 8\)"):
        extractor(pictures[:, 0], "HW")
    with pytest.raises(ShapeError, match="asked of layout HWC"):
        extractor(pictures, "HWC")
    with pytest.raises(DataError, match="64 values of the examples are NaN"):
        extractor(np.where(np.arange(90)[:, None, None] == 3, np.nan, pictures / 255), "HW")
    with pytest.raises(DataError, match="array of <U1"):
        extractor(np.full((2, 8, 8), "a"), "HW")


def test_a_classifier_learns_the_classes_and_says_how_well() -> None:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    x, y = (digits.images / 16).astype(np.float32), digits.target
    state = torch.get_rng_state()
    extractor = classifier_features(x, y, "HW", steps=150)
    assert torch.equal(torch.get_rng_state(), state)
    assert extractor.accuracy > 0.9
    assert extractor.name == (
        f"128 features of a classifier trained on 1,618 of these examples (10 classes, {100 * extractor.accuracy:.1f}% "
        "right on 179 others, seed 0)"
    )
    found = extractor(x, "HW")
    assert found.shape == (1797, 128)
    again = classifier_features(x, digits.target_names[y].astype(str), "HW", steps=150)
    np.testing.assert_array_equal(again(x[:50], "HW"), extractor(x[:50], "HW"))
    assert again.name == extractor.name
    half = frechet_distance(found[:898], found[898:]).value
    other = frechet_distance(found[:898], extractor(x[898:, ::-1], "HW")).value
    ones = frechet_distance(found[:898], found[y == 1]).value
    assert other > 2 * half
    assert ones > 5 * half


@pytest.mark.parametrize("seed", [0, 1])
def test_a_classifier_of_a_table_standardises_its_columns(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    y = drawn.integers(0, 2, 400)
    x = np.stack([1e4 * drawn.standard_normal(400), 1e-3 * (3 * y + drawn.standard_normal(400))], 1)
    with torch.no_grad():  # which must not keep it from learning
        extractor = classifier_features(x, y, "F", seed=seed)
    assert extractor.accuracy > 0.8
    assert extractor(x, "F").shape == (400, 128)


def test_large_and_oblong_images_can_be_classified() -> None:
    x = rng.random((30, 40, 3, 3)).astype(np.float32)
    x[:15] /= 2
    extractor = classifier_features(x, np.arange(30) < 15, "HWC", steps=5)
    assert extractor(x, "HWC").shape == (30, 128)


def test_labels_that_teach_nothing_are_refused(pictures: np.ndarray) -> None:
    with pytest.raises(DataError, match="All 90 labels are 1: a classifier needs examples of at least two classes"):
        classifier_features(pictures, np.ones(90, int), "HW")
    with pytest.raises(DataError, match="1 of 90 labels are missing"):
        classifier_features(pictures, np.r_[np.nan, np.ones(89)], "HW")
    with pytest.raises(DataError, match="at least 20 labelled examples, and 19 were given"):
        classifier_features(pictures[:19], np.arange(19) % 2, "HW")
    with pytest.raises(ShapeError, match=r"labels should have the shape \(90,\)"):
        classifier_features(pictures, np.arange(80) % 2, "HW")


def test_features_are_chosen_by_name() -> None:
    assert features("random", event_shape=(8, 8), layout="HW", seed=2).name.endswith("seed 2")
    with pytest.raises(ConfigError, match=r"no feature extractor named 'radnom'\. Did you mean 'random'"):
        features("radnom", event_shape=(8, 8), layout="HW")
    with pytest.raises(ConfigError, match=r"no option of the random features named 'sed'\. Did you mean 'seed'"):
        features("random", event_shape=(8, 8), layout="HW", sed=2)
    with pytest.raises(ConfigError, match="The classifier features need labels and layout"):
        features("classifier", x=np.zeros((3, 2)))


# Inception.

STAND_IN = '''
import torch


class FeatureExtractorInceptionV3(torch.nn.Module):
    """The library's interface on a network of six numbers."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        assert features_list == ["2048"]
        self.fc = torch.nn.Linear(3, 2)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))
        self.requires_grad_(False)

    def forward(self, x):
        assert x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1] == 3
        return (self.fc(x.float().mean((2, 3))),)
'''


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with torch-fidelity's interface, whose own `__init__` needs what is not there."""
    folder = tmp_path / "packages" / "torch_fidelity"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('no torchvision')")
    (folder / "feature_extractor_inceptionv3.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return {"fc.weight": torch.rand(2, 3, generator=drawn), "fc.bias": torch.rand(2, generator=drawn)}


@pytest.fixture
def published(tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as the published one."""
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    monkeypatch.setattr("diabolo.metrics._inception.SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves that file on this machine, and lists what was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = published.read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("diabolo.metrics._inception.URL", f"http://127.0.0.1:{httpd.server_port}/inception.pth")
        yield asked
        httpd.shutdown()


def test_inception_reads_safetensors_and_sees_images_as_bytes(
    stand_in: Path, weights: dict[str, torch.Tensor], pictures: np.ndarray
) -> None:
    save_file(weights, stand_in / "own.safetensors")
    state = torch.get_rng_state()
    extractor = inception_features(stand_in / "own.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    found = extractor(pictures, "HW")
    means = np.repeat(pictures.mean((1, 2))[:, None], 3, axis=1)
    np.testing.assert_allclose(found, means @ weights["fc.weight"].numpy().T + weights["fc.bias"].numpy(), rtol=1e-5)
    np.testing.assert_allclose(extractor(pictures / 255, "HW"), found, rtol=1e-5)
    colored = np.stack([pictures, 255 - pictures, pictures // 2], 1)
    np.testing.assert_allclose(extractor(np.moveaxis(colored, 1, -1), "HWC"), extractor(colored, "CHW"))
    assert extractor.name.startswith("2,048 features of Inception v3 (torch-fidelity, weights of own.safetensors, ")
    assert "torch_fidelity" not in sys.modules
    with pytest.raises(ShapeError, match="layout should be HW, HWC or CHW, and is F"):
        extractor(np.zeros((3, 5)), "F")
    with pytest.raises(DataError, match="NaN or infinite"):
        extractor(np.full((1, 8, 8), np.nan), "HW")


def test_inception_reads_the_published_file_and_no_other_pickle(stand_in: Path, published: Path) -> None:
    extractor = features("inception", weights=published)
    assert extractor.name == "2,048 features of Inception v3 (torch-fidelity, published weights of 2015-12-05)"
    other = stand_in / "other.pth"
    other.write_bytes(published.read_bytes() + b"x")
    with pytest.raises(ChecksumError, match=r"other.pth is not the published file: its sha256 .* as \.safetensors"):
        inception_features(other)


def test_inception_refuses_files_that_do_not_fit(stand_in: Path, weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(SourceNotFound, match=r"none\.pth, is not there"):
        inception_features(stand_in / "none.pth")
    save_file({"fc.weight": weights["fc.weight"]}, stand_in / "part.safetensors")
    with pytest.raises(DataError, match=r"part\.safetensors does not hold the weights .* Missing key"):
        inception_features(stand_in / "part.safetensors")
    (stand_in / "broken.safetensors").write_bytes(b"1234")
    with pytest.raises(DataError, match=r"broken\.safetensors does not hold the weights"):
        inception_features(stand_in / "broken.safetensors")


def test_inceptions_weights_come_over_the_network_only_when_asked_for(stand_in: Path, server: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"name their file with weights=, put it at .*inception\.pth, or allow"):
        inception_features()
    assert not server
    first = inception_features(download=True)
    assert server == ["/inception.pth"]
    assert inception_features().name == first.name
    assert inception_features(download=True).name == first.name
    assert server == ["/inception.pth"]


def test_a_download_that_is_not_the_published_file_is_not_kept(
    stand_in: Path, server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diabolo.metrics._inception.SHA256", "0" * 64)
    with pytest.raises(ChecksumError, match=r"is not the published file.* Nothing was kept"):
        inception_features(download=True)
    assert not list((stand_in / "cache").rglob("*.pth"))


def test_a_server_that_is_not_there_is_said_so(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diabolo.metrics._inception.URL", "http://127.0.0.1:9/inception.pth")
    with pytest.raises(DownloadError, match=r"could not be downloaded.* name it with weights="):
        inception_features(download=True)


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_without_torch_fidelity_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"Inception needs the package 'torch-fidelity'.*diabolo\[fid\]"):
        inception_features("weights.pth")


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is None, reason="torch-fidelity is not installed")
def test_the_librarys_own_network_reads_weights_of_its_names(tmp_path: Path, pictures: np.ndarray) -> None:
    from diabolo.metrics import _inception

    library = _inception._library()

    class Bare(library.FeatureExtractorInceptionV3):  # type: ignore[misc, name-defined]
        def load_state_dict(self, state: Any) -> None:
            pass

    empty = tmp_path / "empty.pt"
    torch.save({}, empty)
    torch.manual_seed(0)
    network = Bare("inception", ["2048"], feature_extractor_weights_path=empty).eval()
    save_file(network.state_dict(), tmp_path / "random.safetensors")
    found = inception_features(tmp_path / "random.safetensors")(pictures[:3], "HW")
    assert found.shape == (3, 2048)
    expected = network(torch.from_numpy(np.repeat(pictures[:3, None], 3, axis=1)))[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert "torchvision" not in sys.modules


def test_precision_and_recall_by_hand() -> None:
    """On a line, by balls: examples at 0, 1, 2, 10; the second neighbour is 2, 1, 2, 9 away."""
    examples, samples = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[-2.0], [4.1], [19.0], [20.0]])
    coverage = precision_and_recall(samples, examples, neighbours=2)
    assert coverage.precise.tolist() == [True, True, True, False], "-2 in 0's ball, 4.1 and 19 in 10's"
    # the second neighbours of the samples are 21, 14.9, 14.9 and 15.9 away
    assert coverage.recalled.tolist() == [True, True, True, True]


def test_precision_and_recall_against_every_pair() -> None:
    rng = np.random.default_rng(0)
    samples, examples = rng.normal(size=(1100, 3)), rng.normal(0.5, 2, (1300, 3))  # more than a block
    coverage = precision_and_recall(samples, examples, neighbours=5)

    def inside(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        reach = np.sort(np.linalg.norm(others[:, None] - others, axis=2), axis=1)[:, 5]
        return (np.linalg.norm(rows[:, None] - others, axis=2) <= reach).any(1)

    assert np.array_equal(coverage.precise, inside(samples, examples))
    assert np.array_equal(coverage.recalled, inside(examples, samples))
    assert coverage.recalled.mean() < 0.8 < coverage.precise.mean(), "samples are in the middle of the examples"


@pytest.mark.parametrize(
    ("samples", "examples", "neighbours", "error", "says"),
    [
        (np.zeros((4, 2)), np.zeros((9, 2)), 4, ConfigError, "neighbours should be a number from 1 to 3"),
        (np.zeros((4, 2)), np.zeros((9, 2)), 0, ConfigError, "neighbours should be a number from 1 to 3"),
        (np.zeros((4, 2)), np.zeros((9, 3)), 1, ShapeError, "2"),
        (np.full((4, 2), np.nan), np.zeros((9, 2)), 1, DataError, "samples"),
    ],
)
def test_precision_and_recall_refuse(samples: Any, examples: Any, neighbours: int, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        precision_and_recall(samples, examples, neighbours=neighbours)
