"""NumPy's files, read without pickle and from many threads at the same time."""

from __future__ import annotations

import ast
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from diabolo.storage.npy import Npz, load_numpy, read_npy_header


def saved(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
    np.array(2.5),
    np.zeros((0, 3), np.uint8),
    np.array([True, False]),
    np.array(["a", "longer"]),
    np.array([(1, 2.5)], dtype=[("count", "<i4"), ("size", "<f8")]),  # its header goes to NumPy's own parser
]


@pytest.mark.parametrize("x", ARRAYS, ids=lambda x: f"{x.dtype.str}{x.shape}")
def test_arrays_are_read_as_numpy_reads_them(x: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(saved(x))
    for mapped in (False, True):
        read = load_numpy(path, mapped=mapped)
        assert isinstance(read, np.ndarray)
        assert (read.dtype, read.shape, read.flags.f_contiguous) == (x.dtype, x.shape, x.flags.f_contiguous)
        np.testing.assert_array_equal(read, np.load(path))
    assert load_numpy(path).flags.writeable
    assert isinstance(load_numpy(path, mapped=True), np.memmap) == bool(x.size)


def test_a_header_of_another_writer_is_read_too() -> None:
    header = b"{\"shape\": (2,), 'fortran_order': False, 'descr': '<u2'}".ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes([1, 0, 2, 0])
    np.testing.assert_array_equal(load_numpy(io.BytesIO(data)), np.array([1, 2], np.uint16))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "pickle"),
        (b"\x80\x04K\x01.        ", "pickle"),
        (b"PK\x03\x04 and no archive", "no archive"),
        (b"\x93NUMPY\x01\x00\x10", "within its header"),
        (saved(np.arange(9))[:-1], "72 bytes"),
        (saved(np.array([{}], dtype=object)), "Python objects"),
        (saved(np.arange(9)).replace(b"'<i8'", b"'<q9'"), "type"),
        (saved(np.arange(9)).replace(b"(9,), }  ", b"(-1,), } "), "negative"),
        (saved(np.arange(9)).replace(b"(9,), }" + b" " * 18, b"(9" + b"0" * 14 + b",), }    "), "truncated"),
        (saved(np.arange(9)).replace(b"'<i8'", b"id(9)"), "malformed"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(data: bytes, word: str) -> None:
    with pytest.raises((ValueError, EOFError), match=word):
        load_numpy(io.BytesIO(data))


def test_an_archive_gives_its_arrays_by_name(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", codes=ARRAYS[0], labels=ARRAYS[5], objects=np.array([{}], dtype=object))
    with Npz(tmp_path / "x.npz") as archive:
        assert archive.files == ["codes", "labels", "objects"]
        np.testing.assert_array_equal(archive["codes"], ARRAYS[0])
        np.testing.assert_array_equal(archive["labels"], ARRAYS[5])
        with pytest.raises(ValueError, match="Python objects"):
            archive["objects"]
        with pytest.raises(KeyError):
            archive["others"]


def test_two_hundred_threads_read_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 does not guard `ast` between threads: headers of numbers never reach it."""
    monkeypatch.setattr(ast, "literal_eval", lambda _: pytest.fail("ast.literal_eval parsed a header"))
    data = [saved(np.zeros(shape, np.float32)) for shape in ((2,), (3, 4), (1, 28, 28), ())]
    start = threading.Barrier(200)

    def read(number: int) -> bool:
        start.wait(60)
        of = data[number % len(data)]
        expected = [(2,), (3, 4), (1, 28, 28), ()][number % len(data)]
        return all(read_npy_header(io.BytesIO(of))[0] == expected for _ in range(50))

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(read, range(200)))


def test_records_are_parsed_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    parse = np.lib.format.read_array_header_1_0

    def counted(stream: io.BytesIO) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        header = parse(stream)
        inside -= 1
        return header

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", counted)
    data = saved(ARRAYS[6])
    with ThreadPoolExecutor(50) as pool:
        headers = list(pool.map(lambda _: read_npy_header(io.BytesIO(data)), range(500)))
    assert len(headers) == 500
    assert most == 1
