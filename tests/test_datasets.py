"""Arrays, tables and array files -> `Dataset`; its split, subset and fingerprint."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import diabolo.datasets
from diabolo.datasets import Dataset, RawData, _named, check_trainable, known_datasets, open_dataset
from diabolo.errors import ConfigError, DataError, DiaboloError, MissingExtraError, ShapeError, SourceNotFound

ROWS = np.array([[0.5, 1, 2], [3, 4, 5], [6, 7, 8.25]], np.float32)


def grey(n=6, height=4, width=4):
    return np.arange(n * height * width, dtype=np.uint8).reshape(n, height, width)


def refused(error, *words, source=None, **options):
    with pytest.raises(error) as caught:
        open_dataset(source, **options)
    for word in words:
        assert word in str(caught.value)
    assert isinstance(caught.value, DiaboloError)


def test_public_names():
    assert sorted(diabolo.datasets.__all__) == [
        "BINARIZED",
        "Dataset",
        "KnownDataset",
        "RawData",
        "ReadOptions",
        "Shuffled",
        "Split",
        "Store",
        "as_store",
        "check_trainable",
        "known_datasets",
        "open_dataset",
        "register_reader",
    ]


def test_importing_is_cheap():
    heavy = ("torch", "sklearn", "PIL", "pooch", "pandas", "pyarrow", "rich", "requests")
    code = f"import sys, diabolo.datasets; sys.exit(', '.join(m for m in {heavy} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- arrays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        ((5, 7), "f4", "F"),
        ((5, 3, 9), "u1", "HW"),
        ((5, 6, 6), "f4", "HW"),
        ((5, 16, 63), "f4", "HW"),
        ((5, 128, 2), "f4", "LC"),
        ((5, 16, 128), "f4", "CL"),
        ((5, 8, 8, 3), "f4", "HWC"),
        ((5, 1, 8, 8), "f4", "CHW"),
        ((5, 4, 8, 9), "f4", "CHW"),
        ((5, 28, 28, 28), "f4", "DHW"),
        ((5, 16, 20, 20, 3), "u1", "THWC"),
        ((5, 16, 3, 20, 20), "u1", "TCHW"),
        ((5, 1, 16, 20, 20), "f4", "CDHW"),
        ((5, 2, 2, 2, 2, 2), "f4", "any"),
    ],
)
def test_layout_is_detected(shape, dtype, layout):
    opened = open_dataset(np.zeros(shape, dtype))
    assert (opened.layout, opened.event_shape, len(opened)) == (layout, shape[1:], 5)


@pytest.mark.parametrize("shape", [(5, 16, 64), (5, 17, 200), (5, 10, 20), (5, 3, 8, 3), (5, 8, 8, 8), (5, 16, 64, 64)])
def test_an_unclear_layout_is_asked_for(shape):
    refused(ShapeError, "more than one way", "layout=", str(shape), source=np.zeros(shape))
    layout = "HW" if len(shape) == 3 else "CHW"
    assert open_dataset(np.zeros(shape), layout=layout).layout == layout


def test_a_given_layout_must_be_known_and_fit():
    refused(ShapeError, "'HWC' asks for 4 axes", "received 3", source=grey(), layout="HWC")
    refused(ConfigError, "'WH'", "HW", source=grey(), layout="WH")
    assert open_dataset(np.zeros((3, 20, 30), np.uint8), layout="LC").layout == "LC"


def test_one_axis_is_refused_with_advice():
    refused(ShapeError, "one-dimensional", "reshape it to (7, 1)", source=np.zeros(7))


@pytest.mark.parametrize(
    ("given_dtype", "expected"), [("u1", "u1"), ("f8", "f4"), ("i8", "f4"), ("f2", "f4"), ("?", "f4")]
)
def test_element_types(given_dtype, expected):
    x = np.array([[0, 1], [1, 1]], given_dtype)
    opened = open_dataset(x)
    assert opened.x.dtype == expected
    np.testing.assert_array_equal(opened.x, [[0, 1], [1, 1]])


def test_the_array_is_not_copied_where_its_type_stays():
    x = grey()
    assert open_dataset(x).x is x


def test_16_bit_images_are_scaled_and_noted():
    opened = open_dataset(np.full((2, 4, 4), 65535, np.uint16))
    assert opened.x.max() == 1
    assert "65535" in opened.notes[0]
    assert open_dataset(np.full((2, 4), 65535, np.uint16)).x.max() == 65535, "a table is no image"


def test_pixels_beyond_one_are_noted():
    assert "between 0 and 16" in open_dataset(np.arange(17).repeat(16).reshape(17, 4, 4)).notes[0]
    assert open_dataset(np.ones((2, 4, 4))).notes == ()


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (np.array([["a", "b"]]), "text"),
        (np.array([[1j, 2]]), "complex"),
        (np.array([[object(), None]]), "Python objects"),
        (np.array([["2020-01-01"]], "M8[D]"), "dates"),
        (np.zeros((3, 2), [("a", "f4")]), "records"),
        (np.float32(3), "single value"),
        (object(), "single value"),
        (np.zeros((0, 4)), "empty"),
        (np.zeros((4, 0)), "empty"),
        ([], "empty"),
        ([[1, 2], [3]], "same shape"),
        (np.ma.masked_equal([[1, 2]], 2), "masked"),
        (None, "No source"),
    ],
)
def test_what_is_not_an_array_of_numbers_is_refused(x, word):
    refused(DataError, word, source=x)


def test_nan_is_counted_and_placed():
    x = np.zeros((9, 2, 2))
    x[3, 1, 0], x[5, 0, 0], x[5, 0, 1] = np.nan, np.inf, -np.inf
    refused(DataError, "3 of 36 values", "example 3, position (1, 0)", "nan", source=x)


def test_nan_is_found_in_the_last_chunk_of_many(monkeypatch):
    monkeypatch.setattr("diabolo.datasets._dataset._CHUNK_BYTES", 64)
    x = np.zeros((100, 4), np.float32)
    x[97, 2] = np.nan
    refused(DataError, "1 of 400", "example 97, position (2,)", source=x)
    x[50, 1] = np.nan
    refused(DataError, "2 of 400", "example 50, position (1,)", source=x)


def test_a_number_too_large_for_float32_is_named_so():
    refused(DataError, "too large for float32", source=np.array([[1.0, 1e300]]))


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    values = torch.tensor(ROWS, requires_grad=True)
    np.testing.assert_array_equal(open_dataset(values).x, ROWS)
    np.testing.assert_array_equal(open_dataset(values.bfloat16()).x, ROWS)
    np.testing.assert_array_equal(open_dataset(values.detach().to_sparse()).x, ROWS)


def test_lists_and_sparse_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    assert open_dataset(ROWS.tolist()).fingerprint == open_dataset(sparse.csr_matrix(ROWS)).fingerprint


def test_a_dataset_stays_what_it_is():
    opened = open_dataset(grey())
    assert open_dataset(opened) is opened
    changed = open_dataset(opened, layout="CL", labels=list("aabbcc"))
    assert (changed.layout, changed.classes, changed.y.tolist()) == ("CL", ("a", "b", "c"), [0, 0, 1, 1, 2, 2])
    refused(ShapeError, "asks for 2 axes", source=opened, layout="F")


def test_options_without_use_are_refused():
    refused(ConfigError, "size=", "images", source=grey(), size=3)
    refused(ConfigError, "colour=", source="digits", colour=False)
    refused(ConfigError, "size must be", "received 0", source="digits", size=0)
    refused(ConfigError, "workers must be", source="digits", workers=0)
    refused(DataError, "labels='kind'", source="digits", labels="kind")


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "y", "classes"),
    [
        ([3, 5, 3], [0, 1, 0], ("3", "5")),
        (["b", "a", "b"], [1, 0, 1], ("a", "b")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
        ([1.0, 0.0, 1.0], [1, 0, 1], ("0", "1")),
        (np.array([[1], [2], [1]]), [0, 1, 0], ("1", "2")),
        (np.array([1, "x", 1], object), [0, 1, 0], ("1", "x")),
        ([0.5, 1, 2], [0.5, 1, 2], ()),
    ],
)
def test_labels(labels, y, classes):
    opened = open_dataset(ROWS, labels=labels)
    assert (opened.y.tolist(), opened.classes) == (y, classes)
    assert opened.y.dtype == (np.int64 if classes else np.float32)


def test_many_whole_numbers_are_continuous():
    labels = np.arange(300.0)
    assert open_dataset(np.zeros((300, 2)), labels=labels).classes == ()
    assert len(open_dataset(np.zeros((300, 2)), labels=labels.astype(int) // 2).classes) == 150


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 2], ("2 labels", "3 examples")),
        (np.eye(3), ("shape (3, 3)", "3 examples")),
        ([1.5, np.nan, 2], ("example 1", "missing")),
        (["a", None, "b"], ("example 1", "missing")),
        (np.array(["a", "", "b"]), ("example 1", "missing")),
    ],
)
def test_bad_labels(labels, words):
    refused(DataError, *words, source=ROWS, labels=labels)


# --- the Dataset ----------------------------------------------------------------------------------------------------


def test_a_dataset_refuses_parts_that_do_not_fit():
    with pytest.raises(DataError, match="float16"):
        Dataset(x=np.zeros((2, 2), np.float16), layout="F", name="x")
    with pytest.raises(ShapeError, match="1 labels for 3 examples"):
        Dataset(x=ROWS, layout="F", name="x", y=np.zeros(1, np.int64))
    with pytest.raises(ShapeError, match="2 feature names for 3 columns"):
        Dataset(x=ROWS, layout="F", name="x", features=("a", "b"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        open_dataset(ROWS).name = "other"


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200),
    seed=st.integers(0, 2**32),
    validation=st.floats(0, 0.5),
    test=st.floats(0, 0.49),
    official=st.integers(0, 50),
)
def test_a_split_is_disjoint_complete_and_repeatable(n, seed, validation, test, official):
    tested = np.arange(n - official, n) if 0 < official < n else None
    dataset = dataclasses.replace(open_dataset(np.zeros((n, 1), np.float32)), official_test=tested)
    split = dataset.split(seed, validation, test)
    together = np.concatenate([split.train, split.validation, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(n))
    assert len(split.train) >= 1
    assert all(part.dtype == np.int64 for part in (split.train, split.validation, split.test))
    free = n if tested is None else n - len(tested)
    if free > 3:
        assert abs(len(split.validation) - validation * free) <= 1
    if tested is not None:
        np.testing.assert_array_equal(split.test, tested)
    elif free > 3:
        assert abs(len(split.test) - test * free) <= 0.5 + 1e-9
    again = dataset.split(seed, validation, test)
    np.testing.assert_array_equal(split.train, again.train)
    np.testing.assert_array_equal(split.validation, again.validation)


@pytest.mark.parametrize(("n", "sizes"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (100, (1, 50, 49))])
def test_there_is_always_something_to_train_on(n, sizes):
    split = open_dataset(np.zeros((n, 1))).split(validation=0.5, test=0.49)
    assert (len(split.train), len(split.validation), len(split.test)) == sizes


def test_another_seed_is_another_split():
    dataset = open_dataset(np.zeros((100, 1)))
    assert dataset.split(0).test.tolist() != dataset.split(1).test.tolist()
    assert len(dataset.split(test=0).test) == 0
    assert [len(part) for part in vars(dataset.split()).values()] == [80, 10, 10]


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.1), (0.1, 1.0)])
def test_impossible_fractions(fractions):
    with pytest.raises(ConfigError, match="together less than 1"):
        open_dataset(ROWS).split(0, *fractions)
    with pytest.raises(ConfigError, match="seed"):
        open_dataset(ROWS).split(-1)


def test_subset():
    dataset = dataclasses.replace(
        open_dataset(grey(), labels=list("abcabc")), ids=tuple("uvwxyz"), official_test=np.array([4, 5])
    )
    part = dataset.subset([5, 0, -2])
    assert (part.ids, part.y.tolist(), part.classes) == (("z", "u", "y"), [2, 0, 1], ("a", "b", "c"))
    assert part.official_test.tolist() == [0, 2]
    np.testing.assert_array_equal(part.x, dataset.x[[5, 0, 4]])
    assert dataset.subset(np.arange(6) > 3).official_test is None, "nothing would be left to train on"
    assert dataset.subset([0]).official_test is None


@pytest.mark.parametrize(
    ("indices", "word"),
    [([6], "Index 6"), ([-7], "Index -7"), ([], "at least one"), ([0.5], "whole"), ([True], "mask")],
)
def test_bad_subsets(indices, word):
    with pytest.raises(DataError, match=word):
        open_dataset(grey()).subset(indices)


def test_fingerprint(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    np.save(tmp_path / "c.npy", ROWS)
    np.save(tmp_path / "f.npy", np.asfortranarray(ROWS))
    np.save(tmp_path / "big.npy", ROWS.astype(">f8"))
    np.savez(tmp_path / "z.npz", data=ROWS)
    pd.DataFrame(ROWS).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(ROWS, columns=list("abc")).to_parquet(tmp_path / "t.parquet")
    sources = [ROWS, *sorted(tmp_path.iterdir())]
    assert len(sources) == 7
    prints = {open_dataset(source).fingerprint for source in sources}
    monkeypatch.setattr("diabolo.datasets._dataset._CHUNK_BYTES", 8)
    prints.add(open_dataset(ROWS).fingerprint)
    assert len(prints) == 1
    assert prints.pop().startswith("blake2b:")
    others = [ROWS[:2], ROWS.reshape(1, 9), ROWS + 1, ROWS.astype(np.uint8)]
    assert len({open_dataset(x).fingerprint for x in [ROWS, *others]}) == 5
    assert open_dataset(ROWS, labels=[1, 2, 3]).fingerprint != open_dataset(ROWS).fingerprint


def test_describe():
    lines = open_dataset(np.zeros((1200, 4)), labels=np.arange(1200) % 12).describe().splitlines()
    assert lines == [
        "array: 1,200 rows of 4 columns, float32, 19.2 kB",
        "12 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...",
    ]
    assert "no labels" in open_dataset(grey()).describe()
    assert "from 0.5 to 2.5" in open_dataset(ROWS, labels=[0.5, 1, 2.5]).describe()
    assert "note: 16-bit" in open_dataset(np.zeros((2, 4, 4), np.uint16)).describe()


def test_check_trainable():
    with pytest.raises(DataError, match="at least 2 examples"):
        check_trainable(open_dataset(ROWS[:1]))
    with pytest.raises(DataError, match="identical"):
        check_trainable(open_dataset(np.ones((50, 3))))
    check_trainable(open_dataset(ROWS))


def test_digits():
    opened = open_dataset("digits")
    assert opened.x.shape == (1797, 8, 8)
    assert (opened.x.min(), opened.x.max(), opened.x.dtype) == (0, 1, np.float32)
    assert opened.classes == tuple("0123456789")
    assert np.bincount(opened.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (opened.layout, opened.official_test, opened.notes) == ("HW", None, ())


@pytest.mark.parametrize("size", [12, (12, 12), (5, 9)])
def test_a_known_set_of_a_size(size):
    opened, own = open_dataset("digits", size=size), open_dataset("digits")
    height, width = (size, size) if isinstance(size, int) else size
    assert (opened.x.shape, opened.x.dtype, opened.layout) == ((1797, height, width), np.float32, "HW")
    assert opened.notes == (f"scaled from 8 x 8 to {height} x {width} pixels, bilinearly",)
    assert (opened.y == own.y).all()
    assert opened.fingerprint != own.fingerprint
    if height == width:
        expected = Image.fromarray(own.x[7]).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(opened.x[7], np.asarray(expected), atol=1e-6)
    assert 0 <= opened.x.min() < opened.x.max() <= 1 + 1e-6


def test_its_own_size_changes_nothing():
    assert open_dataset("digits", size=8).fingerprint == open_dataset("digits").fingerprint
    assert open_dataset("digits", size=8).notes == ()


def test_a_size_for_a_known_set_without_images(monkeypatch):
    table = RawData(x=np.zeros((4, 3), np.float32), name="digits")
    monkeypatch.setattr(_named, "_open_digits", lambda: table)
    refused(ConfigError, "size= is for images, and an example of digits is", "(3,)", source="digits", size=8)


def test_known_datasets():
    known = {one.name: one for one in known_datasets()}
    assert list(known) == ["digits", "shapes", "mnist", "fashion-mnist", "kmnist"]
    assert known["fashion-mnist"].classes[9] == "Ankle boot"
    assert all(
        len(one.classes) == (3 if one.name == "shapes" else 10) and one.licence and one.origin for one in known.values()
    )


# --- files ----------------------------------------------------------------------------------------------------------


def test_npy_is_mapped(tmp_path):
    np.save(tmp_path / "x.npy", grey())
    opened = open_dataset(tmp_path / "x.npy")
    assert isinstance(opened.x, np.memmap)
    assert opened.name == "x"


def test_npz(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, extra=[1, 2, 3], X=ROWS, targets=["u", "v", "u"])
    assert open_dataset(path).classes == ("u", "v")
    assert open_dataset(str(path), labels="extra").classes == ("1", "2", "3")
    refused(DataError, "'other'", "extra", source=path, labels="other")
    np.savez(path, only=ROWS)
    assert len(open_dataset(path)) == 3
    np.savez(path, one=ROWS, two=ROWS)
    refused(DataError, "2 arrays (one, two)", source=path)


def test_damaged_and_pickled_arrays(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, ROWS)
    path.write_bytes(path.read_bytes()[:-8])
    refused(DataError, "x.npy", "truncated", source=path)
    path.write_bytes(b"")
    refused(DataError, "cannot be read", source=path)
    path.write_bytes(b"no array")
    refused(DataError, "another format", source=path)
    np.save(path, np.array([[{}]]), allow_pickle=True)
    refused(DataError, "Python objects", "never loaded", source=path)
    np.save(path, np.zeros((0, 3)))
    refused(DataError, "empty", source=path)
    archive = tmp_path / "x.npz"
    np.savez(archive, x=np.array([[{}]]))
    refused(DataError, "Python objects", source=archive)
    np.savez(archive, x=ROWS)
    archive.rename(path)
    refused(DataError, "Rename it to x.npz", source=path)
    with archive.open("wb") as stream:
        np.save(stream, ROWS)
    refused(DataError, "x.npz", "not an archive", source=archive)
    archive.write_bytes(path.read_bytes()[:-30])
    refused(DataError, "x.npz", source=archive)


CSV = {
    "named": "a,b,kind\n1,2,x\n3,4,y\n",
    "semicolons, BOM, blank lines": "\ufeff\na;b;kind\n\n1;2;x\n3;4;y\n",
    "tabs, quotes, Windows": '"a"\t"b"\t"kind"\r\n"1"\t2\t"x"\r\n3\t4\ty\r\n',
    "a comment sign, spaces": "a, b ,kind\n1, 2,x\n3 ,4,y\n",
}


@pytest.mark.parametrize("text", CSV.values(), ids=CSV)
def test_csv(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    opened = open_dataset(path, labels="kind")
    assert (opened.features, opened.classes, opened.x.tolist()) == (("a", "b"), ("x", "y"), [[1, 2], [3, 4]])


def test_csv_without_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("5.1,3.5,setosa\n4.9,3.0,other\n")
    assert open_dataset(path, labels="2").x.shape == (2, 2), "the text column is text in the second row too"
    path.write_text("1,2\n3,4\n")
    opened = open_dataset(path)
    assert (opened.features, len(opened)) == (("0", "1"), 2)
    path.write_text("1,2,label\n3,4,5\n")
    assert open_dataset(path).features == ("1", "2", "label")
    path.write_text("\ufeff1,2\n3,4\n", encoding="utf-8")
    assert open_dataset(path).x.tolist() == [[1, 2], [3, 4]]
    path.write_text("7,8\n")
    assert open_dataset(path).x.tolist() == [[7, 8]]
    path.write_text(",a\n0,5\n1,6\n")
    assert "an index?" in open_dataset(path).notes[0]


def test_csv_labels_keep_their_kind(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,n,r\n1,10,0.5\n2,9,1.5\n")
    assert open_dataset(path, labels="n").classes == ("9", "10"), "in the order of the numbers"
    assert open_dataset(path, labels="r").y.tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,kind\n1,2\n3,setosa\n", ("'kind'", "row 1", "'setosa'", "labels='kind'")),
        ("a,b\n1,2\n,4\n", ("'a'", "misses a value", "line 3")),
        ("a,b\n1,2\n3,NA\n", ("'b'", "misses a value", "line 3")),
        ("a,b\n1,2\n3,nan\n", ("column 'b'", "example 1", "NaN or infinite")),
        ("a,b\n1,2\n3\n", ("Line 3", "1 cells", "first row has 2")),
        ("a,b\n1,2\n3,4,5\n", ("Line 3", "3 cells")),
        ("a,b\n", ("no rows",)),
        ("", ("empty",)),
        ("\n\n", ("empty",)),
    ],
)
def test_bad_csv(tmp_path, text, words):
    path = tmp_path / "t.csv"
    path.write_text(text)
    refused(DataError, *words, source=path)


def test_more_bad_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,\xff\n")
    refused(DataError, "UTF-8", source=path)
    path.write_text("a,b\n1,2\n")
    refused(DataError, "'c'", "'a', 'b'", source=path, labels="c")
    path.write_text("a,a\n1,2\n")
    refused(DataError, "2 columns are named so", source=path, labels="a")
    path.write_text("a\n1\n")
    refused(DataError, "no feature", source=path, labels="a")
    path.write_text("a,kind\n1,\n2,x\n")
    refused(DataError, "label of example 0 is missing", source=path, labels="kind")


def test_parquet(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [True, False, True], "kind": list("xyx")}, index=[7, 8, 9])
    frame.to_parquet(path)
    opened = open_dataset(path, labels="kind")
    assert (opened.features, opened.classes, opened.name) == (("a", "b"), ("x", "y"), "t")
    assert opened.x.tolist() == [[1, 1], [2, 0], [3, 1]]
    refused(DataError, "'kind' of t", "'x'", source=path)
    frame["kind"] = frame["kind"].astype("category")
    frame.to_parquet(path)
    assert open_dataset(path, labels="kind").classes == ("x", "y")
    pd.DataFrame({"a": [1, None, 3]}, dtype="Int64").to_parquet(path)
    refused(DataError, "example 1, column 'a'", source=path)
    path.write_bytes(b"PAR1 no")
    refused(DataError, "cannot be read as Parquet", source=path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(MissingExtraError, "diabolo[parquet]", source=path)


def test_data_frames():
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "kind": pd.Categorical(["x", "y"])})
    opened = open_dataset(frame, labels="kind")
    assert (opened.features, opened.classes, opened.x.tolist()) == (("a", "b"), ("x", "y"), [[1, 0.5], [2, 1.5]])
    refused(DataError, "'kind'", "row 0 holds 'x'", source=frame)
    refused(DataError, "no rows", source=frame[:0], labels="kind")
    missing = pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})
    refused(DataError, "column 'a'", "example 1", source=missing)
    assert open_dataset(pd.DataFrame(np.eye(2, dtype=np.uint8))).x.dtype == np.uint8


def test_bunches():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = open_dataset(datasets.load_digits())
    assert (digits.layout, digits.classes, digits.x.max()) == ("HW", tuple("0123456789"), 16)
    iris = open_dataset(datasets.load_iris(as_frame=True))
    assert iris.classes == ("setosa", "versicolor", "virginica")
    assert iris.features[0] == "sepal length (cm)"
    diabetes = open_dataset(datasets.load_diabetes())
    assert (diabetes.classes, diabetes.y.dtype) == ((), np.float32)
    refused(DataError, "'kind'", "target_names", source=datasets.load_iris(), labels="kind")


def test_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(SourceNotFound, "'fashon-mnist'", "Did you mean 'fashion-mnist'?", str(tmp_path), source="fashon-mnist")
    refused(SourceNotFound, "'MNIST'", "Did you mean 'mnist'?", source="MNIST")
    refused(SourceNotFound, "no file or folder", "data/x.npy", source="data/x.npy")
    refused(SourceNotFound, "no file or folder", source=tmp_path / "x")
    refused(SourceNotFound, "empty name", source="")
    refused(SourceNotFound, "no known set", source="x" * 5000)
    refused(SourceNotFound, "no file or folder", source="~nobody-of-that-name/x")
    assert issubclass(SourceNotFound, FileNotFoundError)


def test_unknown_suffixes(tmp_path):
    for name, words in (("x.pkl", ("'.pkl'", ".parquet")), ("x", ("no suffix", ".npz"))):
        (tmp_path / name).write_bytes(b"x")
        refused(DataError, *words, source=tmp_path / name)
