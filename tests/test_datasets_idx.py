"""IDX files and the sets known by name: data folders, the cache, and a download from a server on this machine."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import logging
import os
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from diabolo.datasets import open_dataset
from diabolo.datasets._catalogue import PUBLISHED
from diabolo.datasets._idx import read_idx
from diabolo.errors import ChecksumError, ConfigError, DataError, DownloadError, SourceNotFound, StorageError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
REAL = os.environ.get("DIABOLO_DATA_DIR")  # before the tests change it


def idx(array):
    array = np.asarray(array)
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def small_set(folder, train=7, test=3, gzipped=True):
    """Writes four small files and returns the images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (train + test, 5, 5), dtype=np.uint8)
    labels = (np.arange(train + test) % 10).astype(np.uint8)
    arrays = (images[:train], labels[:train], images[train:], labels[train:])
    for name, array in zip(FILES, arrays, strict=True):
        if len(array):
            packed = gzip.compress(idx(array), mtime=0) if gzipped else idx(array)
            (folder / (name + ".gz" * gzipped)).write_bytes(packed)
    return images


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    monkeypatch.delenv("DIABOLO_DATA_DIR", raising=False)
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def real_data():
    folder = REAL
    if not folder:
        pytest.skip("DIABOLO_DATA_DIR is not set: it should name a folder with mnist/ and fashion-mnist-part/")
    return Path(folder)


# --- the format -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    ),
    gzipped=st.booleans(),
)
def test_round_trip(tmp_path_factory, array, gzipped):
    path = tmp_path_factory.mktemp("idx") / ("x-idx.gz" if gzipped else "x-idx")
    path.write_bytes(gzip.compress(idx(array)) if gzipped else idx(array))
    read = read_idx(path)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert read.tobytes() == array.tobytes()


@settings(max_examples=40, deadline=None)
@given(kept=st.integers(0, 40))
def test_any_truncation_is_refused(tmp_path_factory, kept):
    path = tmp_path_factory.mktemp("idx") / "x"
    whole = idx(np.zeros((3, 3, 3), np.uint8))
    path.write_bytes(whole[: min(kept, len(whole) - 1)])
    with pytest.raises(DataError, match=r"truncated|header|not an IDX"):
        read_idx(path)


def test_broken_files(tmp_path):
    good = idx(np.zeros((2, 3, 3), np.uint8))
    packed = gzip.compress(good)
    for name, data, word in (
        ("x", b"\0\0\7\3" + good[4:], "begins with 00 00 07 03"),
        ("x", b"\x1f\x8b" + good, "not an IDX file"),
        ("x", b"", "nothing"),
        ("x", b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2**31), "truncated"),
        ("x.gz", packed[:-9], "damaged or truncated gzip"),
        ("x.gz", good, "gzip"),
        ("x.gz", packed[:20] + b"\xff\xff" + packed[22:], "gzip"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=word):
            read_idx(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "nowhere")


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gzipped", [True, False])
def test_a_folder_of_idx_files(tmp_path, gzipped):
    images = small_set(tmp_path / "some", gzipped=gzipped)
    opened = open_dataset(tmp_path / "some")
    np.testing.assert_array_equal(opened.x, images)
    assert (opened.name, opened.layout, opened.notes) == ("some", "HW", ())
    assert opened.official_test.tolist() == [7, 8, 9]
    assert opened.y.tolist() == list(range(10))
    assert opened.split(validation=0.2).test.tolist() == [7, 8, 9]


def test_a_part_of_a_known_set(tmp_path):
    small_set(tmp_path / "fashion-mnist-part", test=0)
    opened = open_dataset(tmp_path / "fashion-mnist-part")
    assert (len(opened), opened.official_test, opened.classes[6]) == (7, None, "Shirt")
    assert "not the published files of fashion-mnist: 7 images, from train-images" in opened.notes[0]
    assert "no t10k-images, t10k-labels" in opened.notes[1]


def test_plain_files_have_no_checksum_but_a_count(tmp_path):
    small_set(tmp_path / "mnist", gzipped=False)
    assert open_dataset("mnist", data_dir=tmp_path).notes == ("not the whole of mnist: 10 of 70,000 images",)


def test_missing_and_mismatched_files(tmp_path):
    small_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    opened = open_dataset(tmp_path)
    assert (opened.y, opened.classes) == (None, ())
    assert "without labels" in opened.notes[0]
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(6, np.uint8))))
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"shape \(6,\).*7 images"):
        open_dataset(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match="none of images"):
        open_dataset(tmp_path)


def test_parts_of_different_shapes(tmp_path):
    small_set(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((3, 4, 4), np.uint8))))
    with pytest.raises(DataError, match=r"differ: \(7, 5, 5\) and \(3, 4, 4\)"):
        open_dataset(tmp_path)


# --- sets by name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["kmnist", ".", "KMNIST/raw"])
@pytest.mark.parametrize("by_environment", [True, False])
def test_data_folders(tmp_path, monkeypatch, inside, by_environment):
    images = small_set(tmp_path / "data" / inside)
    if by_environment:
        monkeypatch.setenv("DIABOLO_DATA_DIR", str(tmp_path / "data"))
    opened = open_dataset("kmnist", data_dir=None if by_environment else tmp_path / "data")
    np.testing.assert_array_equal(opened.x, images)
    assert (opened.name, opened.classes[2], opened.official_test.tolist()) == ("kmnist", "su", [7, 8, 9])
    assert "not the published files" in opened.notes[0]


def test_the_argument_comes_before_the_environment(tmp_path, monkeypatch):
    small_set(tmp_path / "a" / "mnist", train=4)
    small_set(tmp_path / "b" / "mnist", train=5)
    monkeypatch.setenv("DIABOLO_DATA_DIR", str(tmp_path / "b"))
    assert len(open_dataset("mnist", data_dir=tmp_path / "a")) == 7
    assert len(open_dataset("mnist")) == 8
    (tmp_path / "empty").mkdir()
    assert len(open_dataset("mnist", data_dir=tmp_path / "empty")) == 8
    with pytest.raises(SourceNotFound, match="data folder"):
        open_dataset("mnist", data_dir=tmp_path / "nowhere")


def test_a_broken_file_in_a_data_folder(tmp_path):
    small_set(tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="truncated gzip"):
        open_dataset("mnist", data_dir=tmp_path)


@contextlib.contextmanager
def serving(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Serves a small set in place of mnist, its checksums being the published ones."""
    images = small_set(tmp_path / "server")
    md5 = tuple(hashlib.md5((tmp_path / "server" / f"{name}.gz").read_bytes()).hexdigest() for name in FILES)

    def at(base):
        monkeypatch.setitem(PUBLISHED, "mnist", dataclasses.replace(PUBLISHED["mnist"], base=base, md5=md5))
        return images

    return at


def test_a_download_is_checked_kept_and_silent(tmp_path, publish, capfd, caplog):
    with serving(tmp_path / "server") as base, caplog.at_level(logging.INFO, logger="diabolo"):
        images = publish(base)
        opened = open_dataset("mnist")
    np.testing.assert_array_equal(opened.x, images)
    assert (opened.notes, opened.official_test.tolist()) == ((), [7, 8, 9])
    assert [record.name for record in caplog.records if "downloading" in record.message] == ["diabolo"] * 4
    assert capfd.readouterr() == ("", "")
    assert open_dataset("mnist").fingerprint == opened.fingerprint, "the second time without the server"


def test_a_corrupted_download_is_refused_and_not_kept(tmp_path, publish):
    bad = tmp_path / "server" / "train-labels-idx1-ubyte.gz"
    with serving(tmp_path / "server") as base:
        publish(base)
        expected = PUBLISHED["mnist"].md5[1]
        bad.write_bytes(bad.read_bytes()[:-1] + b"?")
        received = hashlib.md5(bad.read_bytes()).hexdigest()
        with pytest.raises(ChecksumError) as caught:
            open_dataset("mnist")
    for word in (base + bad.name, expected, received, "--data-dir"):
        assert word in str(caught.value)
    assert [path.name for path in (tmp_path / "cache" / "mnist").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_a_corrupted_cache_is_refused(tmp_path, publish):
    with serving(tmp_path / "server") as base:
        publish(base)
        open_dataset("mnist")
    bad = tmp_path / "cache" / "mnist" / "train-images-idx3-ubyte.gz"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(ChecksumError) as caught:
        open_dataset("mnist")
    for word in (str(bad), PUBLISHED["mnist"].md5[0], "100 bytes", f"Delete {bad}"):
        assert word in str(caught.value)


def test_no_network(publish):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        publish(base)
        with pytest.raises(DownloadError) as caught:
            open_dataset("mnist")
    for word in (base + "train-images-idx3-ubyte.gz", "refused", "--data-dir", "DIABOLO_DATA_DIR"):
        assert word in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_file_that_the_server_has_not(tmp_path, publish):
    (tmp_path / "server" / "t10k-images-idx3-ubyte.gz").unlink()
    with serving(tmp_path / "server") as base:
        publish(base)
        with pytest.raises(DownloadError, match="404"):
            open_dataset("mnist")


def test_a_cache_that_cannot_be_written(tmp_path, publish, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "file"))
    with serving(tmp_path / "server") as base:
        publish(base)
        with pytest.raises(StorageError, match="DIABOLO_CACHE_DIR"):
            open_dataset("mnist")


# --- real files -----------------------------------------------------------------------------------------------------


def test_all_of_mnist(real_data):
    opened = open_dataset("mnist", data_dir=real_data)
    assert (opened.x.shape, opened.x.dtype, opened.notes) == ((70_000, 28, 28), np.uint8, ())
    assert np.bincount(opened.y[:60_000]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    split = opened.split()
    assert [len(split.train), len(split.validation), len(split.test)] == [54_000, 6_000, 10_000]


def test_mnist_at_32_is_what_pillow_makes_of_it(real_data):
    opened, own = open_dataset("mnist", data_dir=real_data, size=32), open_dataset("mnist", data_dir=real_data)
    assert (opened.x.shape, opened.x.dtype) == ((70_000, 32, 32), np.uint8)
    for number in (0, 69_999):
        expected = Image.fromarray(own.x[number]).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(opened.x[number], np.asarray(expected))
    assert opened.official_test is not None
    assert len(opened.official_test) == 10_000


def test_a_folder_of_idx_files_of_a_size(tmp_path):
    images = small_set(tmp_path / "some")
    opened = open_dataset(tmp_path / "some", size=(10, 8))
    assert opened.x.shape == (len(images), 10, 8)
    with pytest.raises(ConfigError, match="colour= is for images that are read from files"):
        open_dataset(tmp_path / "some", colour=True)


def test_a_real_part_of_fashion_mnist(real_data):
    opened = open_dataset(real_data / "fashion-mnist-part")
    assert (opened.x.shape, opened.classes[opened.y[0]]) == ((3615, 28, 28), "Ankle boot")
    assert "not the published" in opened.notes[0]
