"""Examples that stay on the disk: .npy files and their pieces, what is read of them, their split and fingerprint."""

import re
import shutil
import threading

import numpy as np
import pytest

import diabolo
from diabolo.datasets import Dataset, Store, as_store, check_trainable, open_dataset
from diabolo.datasets._ahead import _tasks
from diabolo.errors import ConfigError, DataError, ShapeError, SourceNotFound

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (3000, 5, 7), dtype=np.uint8)


@pytest.fixture
def pieces(tmp_path):
    """A folder of X in three pieces of 1,000."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", X[1000 * i : 1000 * (i + 1)])
    return folder


def on_disk(source, **options):
    opened = open_dataset(source, memory=0, **options)
    assert as_store(opened.x) is not None
    return opened


def test_pieces_are_one_array_in_the_order_of_their_names(pieces):
    opened = on_disk(pieces)
    assert (opened.x.shape, opened.x.dtype, opened.layout, opened.name) == (X.shape, np.uint8, "HW", "pieces")
    assert (len(opened), opened.x.ndim, opened.x.nbytes, opened.x.itemsize) == (3000, 3, X.nbytes, 1)
    np.testing.assert_array_equal(np.asarray(opened.x), X)
    assert opened.x.parts.tolist() == [0, 1000, 2000, 3000]
    assert "3,000 images of 5 x 7" in opened.describe()


def test_what_is_small_is_read_into_memory(pieces):
    opened = open_dataset(pieces)
    assert type(opened.x) is np.ndarray
    np.testing.assert_array_equal(opened.x, X)
    assert type(open_dataset(pieces, memory=X.nbytes / 1e9).x) is np.ndarray
    assert as_store(open_dataset(pieces, memory=(X.nbytes - 1) / 1e9).x) is not None


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(1999),
        slice(None),
        slice(990, 1010),
        slice(2500, 10, -7),
        slice(5, 5),
        [2999, 0, 1000, 1000, -1],
        np.array([], np.int64),
        np.array([[1, 2], [2000, 5]]),
        np.arange(3000) % 3 == 0,
        (slice(10, 1500), 2),
        (7, 3, 4),
        ([1, 2999], 0, slice(2, 4)),
    ],
    ids=str,
)
def test_it_is_indexed_like_an_array(pieces, key):
    read = on_disk(pieces).x[key]
    np.testing.assert_array_equal(read, X[key])
    assert read.dtype == np.uint8


@pytest.mark.parametrize("key", [3000, -3001, [0, 5000], np.ones(7, np.bool_), 0.5, "x"], ids=str)
def test_what_no_array_would_take_is_refused(pieces, key):
    with pytest.raises(IndexError):
        on_disk(pieces).x[key]


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "f2", "i8", "?", ">u2"])
def test_other_numbers_become_float32_when_they_are_read(tmp_path, dtype):
    values = (X[:300].reshape(300, 35) % 2 if dtype == "?" else X[:300].reshape(300, 35)).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    opened = on_disk(tmp_path / "a.npy")
    assert (opened.x.dtype, opened.layout) == (np.float32, "F")
    np.testing.assert_array_equal(opened.x[10:200], values[10:200].astype(np.float32))


def test_16_bit_images_are_scaled_as_in_memory(tmp_path):
    np.save(tmp_path / "a.npy", X[:50].astype(np.uint16) * 257)
    opened = on_disk(tmp_path / "a.npy", layout="HW")
    assert "65535" in opened.notes[0]
    np.testing.assert_allclose(opened.x[3], X[3] / 255, atol=1e-6)
    assert open_dataset(tmp_path / "a.npy", layout="HW").notes == opened.notes


def test_a_map_that_is_handed_over_is_read_by_offset_where_it_is_whole(tmp_path):
    np.save(tmp_path / "a.npy", X)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(on_disk(mapped).x[5:9], X[5:9])
    part = open_dataset(mapped[1000:], memory=0)
    assert as_store(part.x) is None, "where a slice of a map begins in its file cannot be told"
    np.testing.assert_array_equal(part.x[0], X[1000])


def test_fortran_s_order_stays_a_map_or_is_refused_in_pieces(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(X))
    opened = open_dataset(tmp_path / "a.npy", memory=0)
    np.testing.assert_array_equal(opened.x[2000], X[2000])
    with pytest.raises(DataError, match="Fortran's order"):
        open_dataset(tmp_path, memory=0)


def test_pixels_beyond_one_are_noted_and_nan_is_found_when_it_is_read(tmp_path):
    values = X[:900].astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    assert "pixel values lie between" in on_disk(tmp_path / "a.npy", layout="HW").notes[0]
    values[701, 2, 2] = np.nan
    np.save(tmp_path / "a.npy", values)
    opened = on_disk(tmp_path / "a.npy", layout="HW")
    assert len(opened.x[:700]) == 700
    with pytest.raises(DataError, match=r"Example 701 \(.*a\.npy, row 701\).*NaN"):
        opened.x[690:710]


# --- patterns and folders -------------------------------------------------------------------------------------------


def test_patterns(pieces, monkeypatch):
    np.testing.assert_array_equal(on_disk(f"{pieces}/[12].npy").x[:], X[1000:])
    np.testing.assert_array_equal(on_disk(f"{pieces}/{{0..1}}.npy").x[:], X[:2000])
    np.testing.assert_array_equal(open_dataset(pieces / "*.npy").x, X)
    monkeypatch.chdir(pieces)
    assert on_disk("*.npy").name == "pieces"


def test_a_range_in_braces_names_what_is_missing(pieces):
    (pieces / "1.npy").unlink()
    with pytest.raises(DataError, match=r"1 of the 3 files .* missing: 1\.npy"):
        open_dataset(f"{pieces}/{{0..2}}.npy")
    shutil.copy(pieces / "0.npy", pieces / "002.npy")
    with pytest.raises(DataError, match=r"missing: 003\.npy, 004\.npy"):
        open_dataset(f"{pieces}/{{002..004}}.npy")
    with pytest.raises(ConfigError, match="count up"):
        open_dataset(f"{pieces}/{{5..2}}.npy")


@pytest.mark.parametrize("pattern", ["nothing/*.npy", "*.parquet", "x{0..3}.npy"])
def test_a_pattern_that_nothing_fits(pieces, pattern, monkeypatch):
    monkeypatch.chdir(pieces)
    with pytest.raises(SourceNotFound, match=f"No file fits {re.escape(pattern)}"):
        open_dataset(pattern)


def test_files_that_do_not_belong_together(pieces):
    np.save(pieces / "3.npy", X[:10, :4])
    with pytest.raises(ShapeError, match=r"3\.npy holds examples of shape \(4, 7\)"):
        open_dataset(pieces)
    (pieces / "3.npy").rename(pieces / "3.csv")
    with pytest.raises(DataError, match=r"end in \.csv, \.npy"):
        open_dataset(f"{pieces}/*")
    (pieces / "3.csv").rename(pieces / "3.tar")
    with pytest.raises(DataError, match=r"several kinds \(3 \.npy, 1 \.tar\)"):
        open_dataset(pieces)


def test_options_that_pieces_have_no_use_for(pieces):
    with pytest.raises(DataError, match="labels='kind'"):
        open_dataset(pieces, labels="kind")
    with pytest.raises(ConfigError, match="size="):
        open_dataset(pieces, size=8)
    with pytest.raises(ConfigError, match="memory should be a number of gigabytes"):
        open_dataset(pieces, memory=-1)
    with pytest.raises(ConfigError, match="buffer should be a number of megabytes above 0"):
        open_dataset(pieces, buffer=0)
    labelled = open_dataset(pieces, memory=0, labels=np.arange(3000) % 4)
    assert len(labelled.classes) == 4


def test_a_folder_that_holds_an_image_is_one_of_images(pieces):
    from PIL import Image

    (pieces / "cat").mkdir()
    Image.fromarray(X[0]).save(pieces / "cat" / "a.png")
    assert open_dataset(pieces).x.shape == (1, 5, 7)


def test_a_large_folder_of_images_is_read_from_its_cache(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "cache"))
    for i in range(20):
        path = tmp_path / "faces" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[i]).save(path)
    for _ in range(2):
        opened = on_disk(tmp_path / "faces")
        np.testing.assert_array_equal(opened.x[:], X[[*range(0, 20, 2), *range(1, 20, 2)]])
        assert (opened.classes, opened.ids[0], len(opened.ids)) == (("a", "b"), "a/00.png", 20)
    assert type(open_dataset(tmp_path / "faces").x) is np.memmap


# --- what goes wrong while it is read -------------------------------------------------------------------------------


def test_a_piece_that_is_missing_or_cut_off(pieces):
    x = on_disk(pieces).x
    kept = (pieces / "1.npy").read_bytes()
    (pieces / "1.npy").unlink()
    np.testing.assert_array_equal(x[:1000], X[:1000])
    with pytest.raises(DataError, match=r"1\.npy is missing.*diabolo resume"):
        x[500:1500]
    (pieces / "1.npy").write_bytes(kept[:-400])
    with pytest.raises(DataError, match=r"1\.npy has 34,728 bytes, and had 35,128"):
        x[1000]
    with pytest.raises(DataError, match="cut off"):
        open_dataset(pieces)
    (pieces / "1.npy").write_bytes(kept)
    np.testing.assert_array_equal(x[500:1500], X[500:1500])


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "damaged"), (b"not an array", "damaged"), (b"\x93NUMPY\x01\x00\xff", "damaged")]
)
def test_what_is_no_npy_file(pieces, content, word):
    (pieces / "2.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"2\.npy .*{word}"):
        open_dataset(pieces)


def test_objects_are_never_read(pieces):
    np.save(pieces / "2.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(DataError, match=r"2\.npy holds object"):
        open_dataset(f"{pieces}/2*.npy")


def test_a_whole_that_does_not_fit_into_memory_is_refused(pieces, monkeypatch):
    monkeypatch.setattr("diabolo.datasets._store._physical_memory", lambda: 100_000.0)
    x = on_disk(pieces).x
    with pytest.raises(DataError, match=r"0\.0 GB of memory"):
        np.asarray(x)
    assert len(x[:1000]) == 1000


# --- the data set: split, subset, fingerprint -----------------------------------------------------------------------


def test_the_split_is_disjoint_exact_and_in_runs(pieces, monkeypatch):
    monkeypatch.setattr("diabolo.datasets._split.BLOCK", 35 * 3)
    opened = on_disk(pieces)
    split = opened.split(seed=3, validation=0.1, test=0.25)
    parts = [split.train, split.validation, split.test]
    assert [len(part) for part in parts] == [1950, 300, 750]
    assert all((np.diff(part) > 0).all() and part.dtype == np.int64 for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(3000))
    runs = np.count_nonzero(np.diff(split.validation) > 1) + 1
    assert 70 <= runs <= 110, "about 100 runs of three"
    again, other = opened.split(3, 0.1, 0.25), opened.split(4, 0.1, 0.25)
    np.testing.assert_array_equal(again.test, split.test)
    assert (other.test != split.test).any()
    assert len(opened.split(0, 0, 0).train) == 3000


def test_the_split_of_sorted_data_has_all_classes_in_every_part(tmp_path):
    np.save(tmp_path / "a.npy", np.repeat(np.arange(10, dtype=np.uint8), 2000)[:, None] + np.zeros((1, 4), np.uint8))
    opened = on_disk(tmp_path / "a.npy")
    split = opened.split(0)
    for part in (split.validation, split.test):
        shares = np.bincount(opened.x[part][:, 0], minlength=10) / len(part)
        assert (np.abs(shares - 0.1) < 0.09).all(), "three standard deviations of the share of 100 runs"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_split_of_very_few(tmp_path, count):
    np.save(tmp_path / "a.npy", X[:count])
    split = on_disk(tmp_path / "a.npy").split(0, 0.4, 0.5)
    assert len(split.train) >= 1
    assert len(split.train) + len(split.validation) + len(split.test) == count


def test_a_subset_is_read_or_stays_on_the_disk(pieces, monkeypatch):
    opened = on_disk(pieces, labels=np.arange(3000) % 5)
    chosen = [2999, 3, 3, 1500, -2]
    small = opened.subset(chosen)
    assert type(small.x) is np.ndarray
    np.testing.assert_array_equal(small.x, X[chosen])
    monkeypatch.setattr("diabolo.datasets._dataset._SUBSET_BYTES", 10)
    large = opened.subset(chosen)
    assert as_store(large.x) is not None
    np.testing.assert_array_equal(large.x[:], X[chosen])
    np.testing.assert_array_equal(large.x[[4, 0]], X[[2998, 2999]])
    np.testing.assert_array_equal(large.y, small.y)
    assert "2.npy, row 999" in large.x.where(0)


def test_the_fingerprint_follows_the_data_and_not_its_place(pieces, tmp_path):
    opened = on_disk(pieces)
    assert re.fullmatch("sampled:[0-9a-f]{40}", opened.fingerprint)
    shutil.copytree(pieces, tmp_path / "moved")
    assert on_disk(tmp_path / "moved").fingerprint == opened.fingerprint
    labelled = on_disk(pieces, labels=np.arange(3000) % 5)
    assert labelled.fingerprint != opened.fingerprint
    (pieces / "0.npy").rename(pieces / "9.npy")
    assert on_disk(pieces).fingerprint != opened.fingerprint, "another order"
    changed = X[:1000].copy()
    changed[0, 0, 0] += 1
    np.save(tmp_path / "moved" / "0.npy", changed)
    assert on_disk(tmp_path / "moved").fingerprint != opened.fingerprint, "the ends of the pieces are looked at"


def test_binarized_anew_each_time_or_not_at_all(pieces):
    assert on_disk(pieces, binarize="dynamic").binarize == "dynamic"
    with pytest.raises(ConfigError, match="binarize='dynamic'"):
        on_disk(pieces, binarize="static")


def test_what_is_all_the_same_cannot_be_learned_from(tmp_path):
    np.save(tmp_path / "a.npy", np.full((100, 4), 3, np.uint8))
    with pytest.raises(DataError, match="identical"):
        check_trainable(on_disk(tmp_path / "a.npy"))
    np.save(tmp_path / "a.npy", X)
    check_trainable(on_disk(tmp_path / "a.npy"))


# --- reading in parts -----------------------------------------------------------------------------------------------


def test_tasks_end_where_blocks_end(pieces, monkeypatch):
    monkeypatch.setattr("diabolo.datasets._ahead._TASK", 35 * 100)
    x = on_disk(pieces).x
    x.blocks = np.append(np.arange(0, 3000, 64), 3000)
    indices = np.flatnonzero(np.arange(3000) % 3)
    bounds = _tasks(x, indices)
    assert (bounds[0], bounds[-1]) == (0, len(indices))
    assert (np.diff(bounds) > 0).all()
    assert all(indices[b] // 64 > indices[b - 1] // 64 for b in bounds[1:-1])
    assert max(np.diff(bounds)) <= 100 + 64
    np.testing.assert_array_equal(x[indices], X[indices])
    assert _tasks(x, indices[:0]) == [0, 0]


def test_threads_share_a_large_reading_and_end(pieces, monkeypatch):
    monkeypatch.setattr("diabolo.datasets._ahead._TASK", 35 * 100)
    x = on_disk(pieces).x
    x.blocks = np.append(np.arange(0, 3000, 10), 3000)
    seen, take = set(), type(x).take

    def watched(self, indices, out=None):
        seen.add(threading.current_thread().name)
        return take(self, indices, out)

    monkeypatch.setattr(type(x), "take", watched)
    x.workers = 4
    np.testing.assert_array_equal(x[:], X)
    assert seen
    assert all(name.startswith("diabolo-read") for name in seen)
    assert not [one for one in threading.enumerate() if one.name.startswith("diabolo-read")]


def test_a_store_of_one_s_own():
    """What the documentation says: a shape, a type, blocks, and two methods."""

    class Squares(Store):
        def _take(self, indices, out):
            out[...] = (indices**2 % 251)[:, None]

        def where(self, index):
            return f"square {index}"

    store = Squares((1000, 3), np.uint8, np.arange(0, 1001, 100), "squares")
    dataset = Dataset(x=store, layout="F", name="squares")
    assert dataset.x[[7, 3]].tolist() == [[49] * 3, [9] * 3]
    made = diabolo.train(open_dataset(dataset), epochs=1, batch_size=100, latent_dim=2)
    assert made.info["data"]["examples"]["train"] == 800
