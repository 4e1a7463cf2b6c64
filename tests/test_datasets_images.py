"""Folders of images -> `Dataset`: formats, sizes, labels, broken files, the cache of decoded images."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diabolo.datasets._decode as decode
from diabolo.datasets import open_dataset
from diabolo.errors import ConfigError, DataError

REAL = os.environ.get("DIABOLO_DATA_DIR")  # before the tests change it
GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pictures"


def save(path, array=GREY, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)


def count_decoded(monkeypatch):
    """A list that grows by one for each image that is decoded from now on."""
    seen, original = [], decode._decode

    def counted(*args):
        seen.append(args[1])
        return original(*args)

    monkeypatch.setattr(decode, "_decode", counted)
    return seen


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tif", ".TIFF", ".PNG", ".webp", ".jpg", ".jpeg"])
def test_formats(folder, suffix):
    flat = np.full((6, 8), 90, np.uint8)
    save(folder / f"a{suffix}", flat)
    opened = open_dataset(folder, colour=False)
    assert (opened.x.shape, opened.x.dtype, opened.layout, opened.name) == ((1, 6, 8), np.uint8, "HW", "pictures")
    np.testing.assert_allclose(opened.x[0], flat, atol=2)


def test_the_order_is_that_of_the_paths_and_hidden_files_do_not_count(folder):
    for i, name in enumerate(["b.png", "a/z.png", "c/d/e.png", ".hidden.png", ".git/x.png", "a/notes.txt"]):
        save(folder / name, np.full((2, 2), i, np.uint8), format="PNG")
    opened = open_dataset(folder)
    assert opened.ids == ("a/z.png", "b.png", "c/d/e.png")
    assert opened.x[:, 0, 0].tolist() == [1, 0, 2]
    assert opened.y is None, "an image lies at the top"


def test_class_folders_are_labels(folder):
    for name in ("cat/1.png", "dog/1.png", "dog/more/2.png"):
        save(folder / name)
    opened = open_dataset(str(folder))
    assert (opened.classes, opened.y.tolist(), opened.y.dtype) == (("cat", "dog"), [0, 1, 1], np.int64)
    assert open_dataset(folder / "dog").y is None
    given = open_dataset(folder, labels=[5, 6, 5])
    assert (given.classes, given.y.tolist()) == (("5", "6"), [0, 1, 0])
    with pytest.raises(DataError, match="2 labels for 3 examples"):
        open_dataset(folder, labels=[1, 2])
    with pytest.raises(DataError, match="labels='kind'"):
        open_dataset(folder, labels="kind")


def test_a_loop_of_links_ends(folder):
    save(folder / "a" / "1.png")
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    opened = open_dataset(folder)
    assert opened.ids == ("a/1.png",)
    assert opened.y is None, "one folder makes no classes"


def test_colour(folder):
    red = np.zeros((6, 8, 3), np.uint8)
    red[..., 0] = 200
    save(folder / "a.png")
    assert open_dataset(folder).layout == "HW"
    assert open_dataset(folder, colour=True).x.shape == (1, 6, 8, 3)
    save(folder / "b.png", red)
    both = open_dataset(folder)
    assert (both.layout, both.x.shape) == ("HWC", (2, 6, 8, 3))
    assert both.x[1, 0, 0].tolist() == [200, 0, 0]
    np.testing.assert_array_equal(both.x[0], np.stack([GREY] * 3, axis=-1))
    assert open_dataset(folder, colour=False).x[1, 0, 0] == 60, "0.299 of the red"


def test_palettes(folder):
    save(folder / "a.png", Image.fromarray(GREY).convert("P"))
    opened = open_dataset(folder)
    np.testing.assert_array_equal(opened.x[0], GREY)
    coloured = Image.new("P", (8, 6), 1)
    coloured.putpalette([0, 0, 0, 10, 20, 30])
    save(folder / "b.png", coloured)
    assert open_dataset(folder).x[1, 0, 0].tolist() == [10, 20, 30]


def test_16_bits(folder):
    save(folder / "a.png", np.array([[0, 257, 65535, 128, 129]], np.uint16))
    save(folder / "b.tif", np.array([[0, 257, 65535, 128, 129]], np.uint16))
    opened = open_dataset(folder)
    assert (opened.x * 65535).tolist() == [[[0, 257, 65535, 128, 129]]] * 2
    assert opened.notes == ("16-bit images, scaled to [0, 1] by 65535 (white= names another number)",)
    for white in ("full", 255):
        reduced = open_dataset(folder, white=white)
        assert reduced.x.tolist() == [[[0, 1, 255, 0, 1]]] * 2
        assert reduced.notes == ("2 images with 16 bits a pixel, reduced to 8",)


def test_transparency_is_laid_on_white(folder):
    save(folder / "a.png", np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8))
    opened = open_dataset(folder)
    assert opened.x.tolist() == [[[[10, 20, 30], [255, 255, 255]]]]
    assert opened.notes == ("1 image with transparency, laid on white (ground='black': on black)",)
    save(folder / "a.png", np.array([[[10, 255], [10, 0]]], np.uint8))
    assert open_dataset(folder).x.tolist() == [[[10, 255]]]


def test_exif_rotation(folder):
    exif = Image.Exif()
    exif[274] = 6
    save(folder / "a.png", np.ascontiguousarray(np.rot90(GREY)), exif=exif)
    np.testing.assert_array_equal(open_dataset(folder).x[0], GREY)


def test_the_first_frame_of_a_gif(folder):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (40, 200)]
    save(folder / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert open_dataset(folder, colour=False).x.tolist() == [[[40] * 4] * 4]


def test_several_sizes_ask_for_one(folder):
    for i, shape in enumerate([(4, 6)] * 3 + [(5, 5)] * 2 + [(6, 4)]):
        save(folder / f"{i}.png", np.zeros(shape, np.uint8))
    with pytest.raises(DataError) as caught:
        open_dataset(folder)
    for word in ("3 different sizes", "4 x 6 (3), 5 x 5 (2), 6 x 4 (1)", "--size"):
        assert word in str(caught.value)
    assert open_dataset(folder, size=4).x.shape == (6, 4, 4)
    assert open_dataset(folder, size=(3, 5)).x.shape == (6, 3, 5)


@pytest.mark.parametrize("size", [0, -1, (4,), (4, 0), (1, 2, 3), 2.5, "64"])
def test_impossible_sizes(folder, size):
    save(folder / "a.png")
    with pytest.raises(ConfigError, match=r"size (must|should) be"):
        open_dataset(folder, size=size)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("wide", [True, False])
def test_resizing_does_not_distort(folder, suffix, wide):
    """A disc stays a disc, and what is cut is cut on both sides alike."""
    rows, columns = np.mgrid[:400, :800] if wide else np.mgrid[:800, :400]
    centre = (rows.max() / 2, columns.max() / 2)
    disc = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 150**2).astype(np.uint8) * 255
    save(folder / f"a{suffix}", disc)
    image = open_dataset(folder, size=32).x[0] > 127
    heights, widths = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (np.ptp(heights) + 1, np.ptp(widths) + 1) == (24, 24)
    assert (heights.min(), widths.min()) == (4, 4)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_files_are_shrunk_without_loss(folder, mode):
    """Pillow's shortcut for JPEG files gives what scaling the whole image gives."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((800, 600)).convert(mode)
    save(folder / "a.jpg", image, quality=95)
    (folder.parent / "whole").mkdir()
    Image.open(folder / "a.jpg").save(folder.parent / "whole" / "a.png")
    shrunk, whole = (open_dataset(place, size=64).x.astype(int) for place in (folder, folder.parent / "whole"))
    assert abs(shrunk - whole).mean() < 1.5


def test_large_images_are_decoded_by_threads_to_the_same_pixels(folder):
    noise = np.random.default_rng(0).integers(0, 256, (5, 210, 210), dtype=np.uint8)
    for i, image in enumerate(noise):
        save(folder / f"{i}.png", image)
    np.testing.assert_array_equal(open_dataset(folder).x, noise)
    for workers, size in ((1, 20), (3, 20)):
        assert open_dataset(folder, size=size, workers=workers).x.shape == (5, 20, 20)


# --- broken files ---------------------------------------------------------------------------------------------------


def with_broken(folder):
    for i in range(4):
        save(folder / f"{i}.png", np.random.default_rng(i).integers(0, 256, (40, 40), dtype=np.uint8))
    (folder / "no.jpg").write_bytes(b"this is no image")
    (folder / "empty.png").write_bytes(b"")
    whole = (folder / "3.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("cached", [True, False])
def test_broken_images_are_skipped_counted_and_named(folder, monkeypatch, tmp_path, cached):
    with_broken(folder)
    if not cached:
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("DIABOLO_CACHE_DIR", str(tmp_path / "file"))
    for _ in range(2):
        opened = open_dataset(folder)
        assert opened.ids == ("0.png", "1.png", "2.png", "3.png")
        assert len(opened) == 4
        assert isinstance(opened.x, np.memmap) == cached
        assert len(opened.notes) == 1
        assert opened.notes[0].startswith("3 images skipped: cut.png (image file is truncated), empty.png (cannot")
        np.testing.assert_array_equal(opened.x[3], np.asarray(Image.open(folder / "3.png")))


def test_strict_refuses_a_broken_image(folder):
    with_broken(folder)
    for _ in range(2):
        with pytest.raises(DataError, match=r"(no.jpg|empty.png|cut.png) cannot be read.*3 such"):
            open_dataset(folder, strict=True)


def test_a_decompression_bomb_is_a_broken_image(folder, monkeypatch):
    save(folder / "a.png", np.zeros((4, 4), np.uint8))
    save(folder / "b.png", np.zeros((40, 40), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_dataset(folder).notes[0].startswith("1 image skipped: b.png (Image size (1600 pixels) exceeds")


def test_float_images_are_refused_by_name(folder):
    save(folder / "a.tif", np.ones((4, 4), np.float32))
    with pytest.raises(DataError, match=r"None of the 1 images.*a\.tif.*32-bit floats"):
        open_dataset(folder)


def test_folders_without_a_readable_image(folder, cache):
    folder.mkdir()
    with pytest.raises(DataError, match="holds no image; it is empty"):
        open_dataset(folder)
    (folder / "a.txt").write_text("a")
    (folder / "sub").mkdir()
    with pytest.raises(DataError, match=r"1 with \.txt.*\.png"):
        open_dataset(folder)
    (folder / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"None of the 1 images .* a\.png"):
        open_dataset(folder)
    save(folder / "b.png", np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8))
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:300])
    with pytest.raises(DataError, match="None of the 2 images"):
        open_dataset(folder)
    assert not cache.exists() or not list(cache.iterdir()), "nothing half done is left"


# --- the cache ------------------------------------------------------------------------------------------------------


def test_the_second_time_is_a_memory_map(folder, monkeypatch):
    for i in range(3):
        save(folder / "ab"[i % 2] / f"{i}.png")
    seen = count_decoded(monkeypatch)
    first, second = open_dataset(folder), open_dataset(folder)
    assert len(seen) == 3
    assert isinstance(second.x, np.memmap)
    assert not second.x.flags.writeable
    assert (first.fingerprint, first.ids, first.classes) == (second.fingerprint, second.ids, second.classes)
    open_dataset(folder, size=3)
    open_dataset(folder, colour=True)
    assert len(seen) == 9, "other options are other pixels"


def test_a_changed_folder_is_decoded_again(folder, monkeypatch):
    save(folder / "a.bmp")
    open_dataset(folder)
    seen = count_decoded(monkeypatch)
    length = (folder / "a.bmp").stat().st_size
    save(folder / "a.bmp", GREY[::-1])
    os.utime(folder / "a.bmp", (1, 1))
    assert (folder / "a.bmp").stat().st_size == length, "of the same length, so that the time decides"
    np.testing.assert_array_equal(open_dataset(folder).x[0], GREY[::-1])
    (folder / "a.bmp").rename(folder / "b.bmp")
    assert open_dataset(folder).ids == ("b.bmp",)
    assert seen == ["a.bmp", "b.bmp"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_entry_is_decoded_again(folder, cache, monkeypatch, damage, suffix):
    save(folder / "a.png")
    open_dataset(folder)
    seen = count_decoded(monkeypatch)
    damage(next(cache.glob(f"*{suffix}")))
    np.testing.assert_array_equal(open_dataset(folder).x[0], GREY)
    open_dataset(folder)
    assert len(seen) == 1


def test_the_cached_array_is_a_common_npy_file(folder, cache):
    for i in range(3):
        save(folder / f"{i}.png")
    (folder / "x.png").write_bytes(struct.pack(">I", 5))
    opened = open_dataset(folder)
    np.testing.assert_array_equal(np.load(next(cache.glob("*.npy"))), opened.x)


def test_progress_goes_to_stderr(folder, capfd):
    save(folder / "a.png")
    open_dataset(folder, progress=True)
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(not REAL, reason="DIABOLO_DATA_DIR is not set: it should name a folder with smiles/")
def test_real_faces():
    opened = open_dataset(Path(REAL) / "smiles", strict=True)
    assert (opened.x.shape, opened.layout) == ((6527, 64, 64), "HW")
    assert (opened.classes, np.bincount(opened.y).tolist()) == (("neutral", "smile"), [4682, 1845])


def test_one_image_is_a_set_of_one(tmp_path):
    pixels = np.arange(15, dtype=np.uint8).reshape(3, 5)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    dataset = open_dataset(tmp_path / "one.png")
    assert dataset.ids == ("one.png",)
    np.testing.assert_array_equal(dataset.x, pixels[None])
    assert open_dataset(tmp_path / "one.png", size=(2, 2), colour=True).x.shape == (1, 2, 2, 3)


def test_one_broken_image_is_refused_by_name(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"x\.png cannot be read as an image"):
        open_dataset(tmp_path / "x.png")
