"""Parquet, WebDataset's .tar shards and Hugging Face's `datasets`, in memory and on the disk."""

import builtins
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from diabolo.datasets import as_store, open_dataset
from diabolo.datasets._shuffle import Shuffled
from diabolo.errors import ConfigError, DataError, MissingExtraError, ShapeError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

X = np.random.default_rng(0).integers(0, 256, (300, 6, 8), dtype=np.uint8)
Y = np.arange(300) % 3


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shards"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shards").mkdir()
    return tmp_path / "shards"


def png(array, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind)
    return stream.getvalue()


PNGS = [png(array) for array in X]


def on_disk(source, **options):
    opened = open_dataset(source, memory=0, **options)
    assert as_store(opened.x) is not None
    return opened


def same(opened, expected):
    """The whole, any part, and what training draws are what they should be."""
    np.testing.assert_array_equal(np.asarray(opened.x), expected)
    np.testing.assert_array_equal(opened.x[[7, 280, 7, -1]], expected[[7, 280, 7, -1]])
    np.testing.assert_array_equal(opened.x[50:270:3], expected[50:270:3])
    store = as_store(opened.x)
    if store is not None:
        store.buffer = 3 * store.example_bytes
        order = Shuffled(store, opened.split(0).train, batch_size=7)
        np.testing.assert_array_equal(
            np.concatenate(list(order.batches(0, 2))), expected[np.concatenate(list(order.order(0)))[14:]]
        )


# --- Parquet --------------------------------------------------------------------------------------------------------


def images_table(rows=slice(None), label="label"):
    column = pa.array([{"bytes": data, "path": None} for data in PNGS[rows]])
    return pa.table({"image": column, label: pa.array(Y[rows])})


def write(path, table, group=40):
    pq.write_table(table, path, row_group_size=group)


@pytest.mark.parametrize("memory", [0, 2])
def test_images_as_hugging_face_writes_them(folder, memory):
    for i in range(3):
        write(folder / f"train-{i:05}-of-00003.parquet", images_table(slice(100 * i, 100 * i + 100)))
    opened = open_dataset(folder, memory=memory)
    assert (opened.layout, opened.name, opened.x.dtype) == ("HW", "shards", np.uint8)
    assert (opened.y.tolist(), opened.classes) == (Y.tolist(), ("0", "1", "2"))
    same(opened, X)
    if memory == 0:
        assert opened.x.blocks.tolist() == [0, 40, 80, 100, 140, 180, 200, 240, 280, 300]
        assert "train-00001-of-00003.parquet, row 5" in opened.x.where(105)


def test_binary_columns_names_of_classes_size_and_colour(folder):
    schema = pa.schema(
        [("jpg", pa.binary()), ("kind", pa.int64())],
        metadata={"huggingface": '{"info": {"features": {"kind": {"names": ["no", "yes", "maybe"]}}}}'},
    )
    write(folder / "a.parquet", pa.table({"jpg": PNGS, "kind": Y}, schema=schema))
    opened = on_disk(folder / "a.parquet", labels="kind", size=4, colour=True)
    assert (opened.event_shape, opened.classes) == ((4, 4, 3), ("no", "yes", "maybe"))
    assert on_disk(folder / "a.parquet").y is None, "kind is no name of labels unless it is said"


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_lists_of_numbers(folder, fixed, dtype):
    flat = X.reshape(300, 48).astype(dtype)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 48) if fixed else pa.array(list(flat))
    write(folder / "a.parquet", pa.table({"pixels": lists, "label": Y}))
    opened = on_disk(folder / "a.parquet")
    assert (opened.layout, opened.x.dtype) == ("F", np.uint8 if dtype == "u1" else np.float32)
    assert opened.classes == ("0", "1", "2")
    same(opened, flat.astype(opened.x.dtype))
    assert type(open_dataset(folder / "a.parquet").x) is np.ndarray


def test_lists_of_lists(folder):
    write(folder / "a.parquet", pa.table({"pixels": pa.array(X.tolist(), pa.list_(pa.list_(pa.uint8())))}))
    opened = on_disk(folder / "a.parquet")
    assert (opened.layout, opened.x.dtype) == ("HW", np.uint8)
    same(opened, X)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f8"])
def test_columns_of_numbers(folder, dtype):
    columns = {f"c{i}": X[:, 0, i].astype(dtype) for i in range(8)}
    for i in range(2):
        part = slice(150 * i, 150 * i + 150)
        write(folder / f"{i}.parquet", pa.table({n: v[part] for n, v in columns.items()} | {"kind": ["a", "b"] * 75}))
    opened = on_disk(folder / "*.parquet", labels="kind")
    assert (opened.features, opened.classes) == (tuple(columns), ("a", "b"))
    same(opened, X[:, 0].astype(opened.x.dtype))
    in_memory = open_dataset(folder, labels="kind")
    assert in_memory.x.dtype == opened.x.dtype
    np.testing.assert_array_equal(in_memory.y, opened.y)


def test_one_table_is_the_same_on_the_disk_and_in_memory(folder):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, 0, :3].astype("f8"), columns=["a", "b", "c"], index=np.arange(300) + 5)
    frame.to_parquet(folder / "a.parquet", row_group_size=70)
    frame.index.name = None
    opened, kept = on_disk(folder / "a.parquet"), open_dataset(folder / "a.parquet")
    assert opened.features == kept.features == ("a", "b", "c")
    np.testing.assert_array_equal(opened.x[:], kept.x)


def test_a_row_group_larger_than_what_is_read_at_a_time(folder, monkeypatch):
    monkeypatch.setattr("diabolo.storage.parquet._ROWS", 7)
    monkeypatch.setattr("diabolo.datasets._columns._CACHE", 300)
    write(folder / "a.parquet", pa.table({"pixels": list(X.reshape(300, 48))}), group=200)
    same(on_disk(folder / "a.parquet"), X.reshape(300, 48))


def test_a_block_that_is_read_bit_by_bit_is_read_once(folder, monkeypatch):
    write(folder / "a.parquet", pa.table({"pixels": list(X.reshape(300, 48))}), group=100)
    x, groups = on_disk(folder / "a.parquet").x, []
    original = x.source.batches
    monkeypatch.setattr(x.source, "batches", lambda block, names: groups.append(block) or original(block, names))
    for start in range(0, 300, 20):
        np.testing.assert_array_equal(x[start : start + 20], X.reshape(300, 48)[start : start + 20])
    assert groups == [0, 1, 2]


def test_missing_values(folder):
    write(folder / "a.parquet", pa.table({"a": [1.0] * 250 + [None] * 50, "b": [2.0] * 300}))
    opened = on_disk(folder / "a.parquet")
    assert opened.x[:250].tolist() == [[1, 2]] * 250
    with pytest.raises(DataError, match=r"Example 250 \(.*a\.parquet, row 250\).*NaN"):
        opened.x[:300]
    write(folder / "b.parquet", pa.table({"a": pa.array([1] * 299 + [None], pa.uint8())}))
    with pytest.raises(DataError, match="'a' misses a value"):
        on_disk(folder / "b.parquet").x[280:]
    write(folder / "c.parquet", pa.table({"a": [[1, 2]] * 200 + [None] * 100}))
    with pytest.raises(DataError, match="misses a value"):
        on_disk(folder / "c.parquet").x[:]


def test_lists_of_another_length(folder):
    write(folder / "a.parquet", pa.table({"a": [[1, 2, 3]] * 200 + [[1, 2]] * 50 + [[1, 2, 3, 4]] * 50}))
    opened = on_disk(folder / "a.parquet")
    with pytest.raises(DataError, match="a list of 'a' has 2 values, and the first of all has 3"):
        opened.x[200:]


@pytest.mark.parametrize(
    ("columns", "options", "error", "words"),
    [
        ({"a": [1, 2], "t": ["x", "y"]}, {}, DataError, ["'t' holds string", "labels="]),
        ({"a": [[1], [2]], "b": [[1], [2]]}, {}, DataError, ["2 columns that may hold the examples: 'a', 'b'"]),
        ({"a": [[1], [2]]}, {"labels": "kind"}, DataError, ["labels='kind'", "'a'"]),
        ({"a": [[1], [2]]}, {"size": 4}, ConfigError, ["size= is for images"]),
        ({"a": pa.array([], pa.list_(pa.int8()))}, {}, DataError, ["no rows"]),
        ({"a": [[], [1]]}, {}, DataError, ["first list of the column 'a' is empty"]),
        ({"kind": [1, 2]}, {"labels": "kind"}, DataError, ["none beside the labels"]),
        ({"image": [b"no image", b"x"]}, {}, DataError, ["Example 0", "row 0", "cannot be read as an image"]),
        ({"image": [png(X[0]), png(X[0, :4])]}, {}, DataError, ["different sizes", "4 x 8, 6 x 8", "size="]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_tables_that_cannot_be_used(folder, columns, options, error, words):
    write(folder / "0.parquet", pa.table(columns))
    with pytest.raises(error) as caught:
        open_dataset(folder, memory=0, **options)
    for word in words:
        assert word in str(caught.value)


def test_shards_that_do_not_agree(folder):
    write(folder / "0.parquet", images_table())
    write(folder / "1.parquet", images_table(label="other"))
    with pytest.raises(ShapeError, match=r"1\.parquet has the columns 'image', 'other'"):
        open_dataset(folder)


def test_a_parquet_shard_that_goes_missing_or_breaks(folder):
    for i in range(2):
        write(folder / f"{i}.parquet", images_table(slice(150 * i, 150 * i + 150)))
    x = on_disk(folder).x
    kept = (folder / "1.parquet").read_bytes()
    (folder / "1.parquet").unlink()
    with pytest.raises(DataError, match=r"1\.parquet is missing.*diabolo resume"):
        x[200]
    (folder / "1.parquet").write_bytes(kept[:4] + bytes(len(kept) - 3000) + kept[-2996:])
    with pytest.raises(DataError, match=r"Row group 1 of .*1\.parquet cannot be read"):
        x[200]
    (folder / "1.parquet").write_bytes(kept[:-10])
    with pytest.raises(DataError, match="bytes before and has"):
        x[200]
    with pytest.raises(DataError, match=r"1\.parquet cannot be read as Parquet"):
        open_dataset(folder)
    (folder / "1.parquet").write_bytes(kept)
    np.testing.assert_array_equal(x[200], X[200])


def test_a_broken_image_is_named(folder):
    data = [*PNGS[:130], PNGS[130][:60], *PNGS[131:]]
    write(folder / "a.parquet", pa.table({"image": data}))
    x = on_disk(folder / "a.parquet").x
    np.testing.assert_array_equal(x[:130], X[:130])
    with pytest.raises(DataError, match=r"Example 130 \(.*a\.parquet, row 130\) cannot be read as an image"):
        x[100:140]


def test_the_fingerprint_of_parquet(folder, tmp_path):
    write(folder / "a.parquet", images_table())
    first = on_disk(folder / "a.parquet").fingerprint
    assert first.startswith("sampled:")
    (folder / "a.parquet").rename(tmp_path / "b.parquet")
    assert on_disk(tmp_path / "b.parquet").fingerprint == first
    assert on_disk(tmp_path / "b.parquet", size=4).fingerprint != first
    write(folder / "a.parquet", images_table(slice(None, None, -1)))
    assert on_disk(folder / "a.parquet").fingerprint != first


# --- WebDataset -----------------------------------------------------------------------------------------------------


def tar(path, examples, **options):
    with tarfile.open(path, "w", **options) as archive:
        for name, data in examples:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def members(rows, folder="", more=True):
    for i in rows:
        yield f"{folder}{i:06}.png", PNGS[i]
        if more:
            yield f"{folder}{i:06}.cls", str(Y[i]).encode()
            yield f"{folder}{i:06}.json", f'{{"kind": "k{Y[i]}", "n": {i}}}'.encode()


@pytest.fixture
def shards(folder):
    for i in range(3):
        tar(folder / f"part-{i:03}.tar", members(range(100 * i, 100 * i + 100), f"long/{'x' * 120}/" if i == 1 else ""))
    return folder


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize("pattern", ["", "*.tar", "part-{000..002}.tar"])
def test_shards(shards, memory, pattern):
    opened = open_dataset(str(shards / pattern), memory=memory)
    assert (opened.layout, opened.name, opened.y) == ("HW", "shards", None)
    same(opened, X)
    if memory == 0:
        assert opened.x.parts.tolist() == [0, 100, 200, 300]
        assert "part-002.tar, member 000205.png" in opened.x.where(205)


def test_webdataset_s_own_writer(folder):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(folder / "a.tar")) as sink:
        for i in range(300):
            sink.write({"__key__": f"{i:05}", "png": PNGS[i], "cls": int(Y[i])})
    opened = on_disk(folder / "a.tar", labels="cls")
    same(opened, X)
    np.testing.assert_array_equal(opened.y, Y)


def test_labels_of_shards(shards):
    assert on_disk(shards, labels="cls").y.tolist() == Y.tolist()
    assert on_disk(shards, labels="kind").classes == ("k0", "k1", "k2")
    with pytest.raises(DataError, match=r"labels='no'.*part-000\.tar.*it has no 'no'"):
        open_dataset(shards, labels="no")
    tar(shards / "part-001.tar", members(range(100, 200), more=False))
    with pytest.raises(DataError, match=r"part-001\.tar, 000100\.png has no member \.cls and no \.json; it has png"):
        open_dataset(shards, labels="cls")


def test_the_index_is_kept_and_made_again_when_a_shard_changes(shards, cache, monkeypatch, caplog):
    opened = on_disk(shards)
    (entry,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        np.testing.assert_array_equal(on_disk(shards).x[:], X)
    tar(shards / "part-002.tar", members(range(200, 250)))
    assert len(on_disk(shards)) == 250
    tar(shards / "part-002.tar", members(range(200, 300)))
    same_again = on_disk(shards)
    assert same_again.fingerprint == opened.fingerprint
    entry.write_bytes(b"damaged")
    for path in cache.iterdir():
        path.write_bytes(b"damaged")
    np.testing.assert_array_equal(on_disk(shards).x[:], X)
    assert "is made again" in caplog.text


def test_what_is_no_image_does_not_count(folder):
    mixed = [("README", b"x"), (".hidden.png", PNGS[5]), *members(range(20)), ("z.txt", b"y")]
    tar(folder / "a.tar", mixed)
    np.testing.assert_array_equal(on_disk(folder / "a.tar").x[:], X[:20])
    tar(folder / "b.tar", [("a.txt", b"x")])
    with pytest.raises(DataError, match=r"hold no image.*\.png"):
        open_dataset(folder / "b.tar")


def test_shards_that_cannot_be_read(shards):
    good = (shards / "part-001.tar").read_bytes()
    (shards / "part-001.tar").write_bytes(b"not an archive" * 100)
    with pytest.raises(DataError, match=r"part-001\.tar cannot be read as \.tar"):
        open_dataset(shards)
    (shards / "part-001.tar").write_bytes(good[: len(good) // 2 + 100])
    with pytest.raises(DataError, match=r"part-001\.tar cannot be read as \.tar"):
        open_dataset(shards)
    tar(shards / "part-001.tar", members(range(100, 200)))
    good = (shards / "part-001.tar").read_bytes()
    middle = good.index(b"000150.cls")
    (shards / "part-001.tar").write_bytes(good[:middle] + b"\xff" * 512 + good[middle + 512 :])
    with pytest.raises(DataError, match=r"part-001\.tar cannot be read as \.tar: .*damaged"):
        open_dataset(shards)
    tar(shards / "part-003.tar", members(range(5)))
    with tarfile.open(shards / "part-001.tar", "w:gz") as archive:
        archive.add(shards / "part-003.tar", "a.tar")
    with pytest.raises(DataError, match=r"part-001\.tar.*compressed: decompress it"):
        open_dataset(shards)


def test_a_shard_that_goes_missing_or_breaks(shards):
    x = on_disk(shards).x
    good = (shards / "part-001.tar").read_bytes()
    (shards / "part-001.tar").unlink()
    with pytest.raises(DataError, match=r"part-001\.tar is missing.*diabolo resume"):
        x[100:200]
    (shards / "part-001.tar").write_bytes(good[:-5000])
    with pytest.raises(DataError, match=r"part-001\.tar has [\d,]+ bytes, and had"):
        x[100:200]
    at = good.index(PNGS[150])
    (shards / "part-001.tar").write_bytes(good[:at] + bytes(len(PNGS[150])) + good[at + len(PNGS[150]) :])
    with pytest.raises(DataError, match=r"Example 150 \(.*part-001\.tar, member .*\) cannot be read as an image"):
        x[100:200]
    (shards / "part-001.tar").write_bytes(good)
    np.testing.assert_array_equal(x[100:200], X[100:200])


def test_sizes_of_images_in_shards(folder):
    tar(folder / "a.tar", [("a.png", png(X[0])), ("b.jpg", png(np.stack([X[1, :5]] * 3, -1), "JPEG"))])
    with pytest.raises(DataError, match=r"different sizes.*5 x 8, 6 x 8.*--size"):
        open_dataset(folder)
    opened = on_disk(folder, size=(4, 4))
    assert opened.x.shape == (2, 4, 4, 3)
    assert on_disk(folder, size=4, colour=False).x.shape == (2, 4, 4)


# --- Hugging Face ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hugging_face(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets


def image_rows(datasets):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    rows = {"image": [{"bytes": data, "path": None} for data in PNGS], "label": Y.tolist()}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.mark.parametrize("memory", [0, 2])
def test_a_dataset_handed_over(hugging_face, memory):
    opened = open_dataset(image_rows(hugging_face), memory=memory)
    assert (opened.layout, opened.classes) == ("HW", ("a", "b", "c"))
    np.testing.assert_array_equal(opened.y, Y)
    same(opened, X)


def test_a_dataset_in_another_order_and_in_parts(hugging_face):
    rows = image_rows(hugging_face)
    order = np.random.default_rng(3).permutation(300)
    same(on_disk(rows.select(order)), X[order])
    assert on_disk(rows.select(order)).fingerprint != on_disk(rows).fingerprint


def test_arrays_of_two_axes(hugging_face):
    features = hugging_face.Features({"pixels": hugging_face.Array2D((6, 8), "uint8")})
    rows = hugging_face.Dataset.from_dict({"pixels": X.tolist()}, features=features)
    opened = on_disk(rows)
    assert (opened.layout, opened.x.dtype) == ("HW", np.uint8)
    same(opened, X)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_that_save_to_disk_wrote(hugging_face, folder):
    rows = image_rows(hugging_face)
    rows.save_to_disk(folder)
    opened = on_disk(folder)
    assert opened.name == "shards"
    same(opened, X)
    assert opened.fingerprint == on_disk(rows).fingerprint
    both = hugging_face.DatasetDict({"train": rows, "test": rows})
    both.save_to_disk(folder / "both")
    with pytest.raises(DataError, match=r"several splits \(test, train\)"):
        open_dataset(folder / "both")
    same(open_dataset(folder / "both" / "test"), X)
    with pytest.raises(DataError, match=r"several splits \('train', 'test'\).*\['train'\]"):
        open_dataset(both)


def test_a_stream_is_refused(hugging_face):
    with pytest.raises(DataError, match="only be read from its beginning"):
        open_dataset(image_rows(hugging_face).to_iterable_dataset())


def test_without_the_packages(folder, monkeypatch):
    for name in ("state.json", "dataset_info.json"):
        (folder / name).write_text("{}")
    original = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in ("datasets", "pyarrow"):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"diabolo\[huggingface\]"):
        open_dataset(folder)
    (folder / "state.json").unlink()
    (folder / "a.parquet").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"diabolo\[parquet\]"):
        open_dataset(folder)


# --- the command line -----------------------------------------------------------------------------------------------


def test_shards_on_the_command_line(folder, command, here):
    for i in range(2):
        write(folder / f"{i}.parquet", images_table(slice(150 * i, 150 * i + 150)))
    words = ["--epochs", 1, "--latent-dim", 2, "--quiet", "--no-report", "--json", "-o", here / "run"]
    done = command("train", f"{folder}/*.parquet", *words)
    assert done.status == 0, done.err
    config = json.loads((here / "run" / "config.json").read_text())
    assert (config["run_config"]["source"], config["data"]["classes"]) == (f"{folder}/*.parquet", ["0", "1", "2"])
    missing = command("train", f"{folder}/{{0..2}}.parquet", *words[:-1], here / "other")
    assert missing.status != 0
    assert "1 of the 3 files" in missing.err
    assert "2.parquet" in missing.err
    assert not (here / "other").exists()
    nothing = command("train", "nowhere/*.tar", *words[:-1], here / "other")
    assert "No file fits nowhere/*.tar" in nothing.err
