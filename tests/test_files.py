"""Files that are whole or not there, and tensors on disk."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from diabolo.errors import RunError, StorageError
from diabolo.storage import checkpoint
from diabolo.storage.files import read_json, sweep, write_bytes, write_json, write_text, writing
from diabolo.storage.generation import FolderLock, generation


@pytest.fixture
def small_files() -> Iterator[None]:
    """While it lasts no file can grow beyond 4 kB: the kernel's own refusal, as of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".part" in path.name]


def test_what_is_written_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "file.txt"
    write_text(path, "héllo")
    assert path.read_bytes() == "héllo".encode()
    write_bytes(path, b"again")
    assert path.read_bytes() == b"again"
    assert left_over(path.parent) == []


def test_nobody_sees_a_half_written_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with writing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"new"


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("sync"), sync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("replace"), replace(self, to))[1])
    write_bytes(tmp_path / "file", b"x")
    assert events == ["sync", "replace"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_fails_leaves_things_as_they_were(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail_half_way() -> None:
        with writing(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert left_over(tmp_path) == []


def test_a_full_disk_leaves_things_as_they_were(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(StorageError) as caught:
        write_bytes(path, b"x" * 10_000)
    for words in (str(path), "could not be written: File too large", "Nothing that was there before was touched"):
        assert words in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert path.read_bytes() == b"old"
    assert left_over(tmp_path) == []
    with pytest.raises(StorageError):
        checkpoint.save_tensors(path, {"x": torch.zeros(10_000)}, {})
    assert path.read_bytes() == b"old"


def test_a_place_that_cannot_hold_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write_text(tmp_path / "file" / "inside", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="could not be written"):
        write_text(tmp_path / "folder", "x")
    assert left_over(tmp_path) == []


def test_permissions_follow_the_user_s_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    value = {"name": "né", "list": [1, 2.5, None, True], "deep": {"a": {}}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert json.loads((tmp_path / "value.json").read_text()) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"half": ', "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        ("[1, 2]", "should hold a JSON object, and holds a list"),
        ("\xff\xfe", "cannot be read as JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=words) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    with pytest.raises(RunError, match="is not there"):
        read_json(tmp_path / "nowhere.json")


# --- tensors ----------------------------------------------------------------------------------------------------------


def test_tensors_and_numbers_go_there_and_back_bit_for_bit(tmp_path: Path) -> None:
    whole = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    tensors = {
        "transposed": whole.T,
        "part": whole[1:3, ::2],
        "number": torch.tensor(0.1),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "same": whole,
    }
    numbers = {"steps": 3, "loss": 0.1 + 0.2, "none": None, "nested": {"a": [1.5]}}
    checkpoint.save_tensors(tmp_path / "file", tensors, numbers)
    read, again = checkpoint.load_tensors(tmp_path / "file")
    assert again == numbers
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(read[name], value), name
        assert read[name].dtype == value.dtype


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "header", "text"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save_tensors(path, {"x": torch.zeros(100)}, {})
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        new = {"empty": b"", "truncated": data[:-10], "header": data[:20], "text": b"no tensors at all" * 20}
        path.write_bytes(new[damage])
    with pytest.raises(RunError) as caught:
        checkpoint.load_tensors(path)
    assert str(path) in str(caught.value)
    assert ("is not there" if damage == "missing" else "truncated or edited") in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"weight": torch.zeros(2, 3)}, r"for 'bias' the configuration expects \(2,\) and the file holds nothing"),
        (
            {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)},
            r"for 'weight' the configuration expects \(2, 3\) and the file holds \(2, 4\)",
        ),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)},
            r"for 'more' the configuration expects nothing and the file holds \(1,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors: dict[str, torch.Tensor], words: str) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    with pytest.raises(RunError, match=words):
        checkpoint.load_weights(layer, tensors, "model.safetensors")
    assert torch.equal(layer.weight, before)


# --- a generation of files, and who may write it ----------------------------------------------------------------------


def test_a_temporary_file_is_swept_when_its_writer_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".x.txt.abc.diabolo.part").write_text("killed")
    (tmp_path / ".somebody-elses.part").write_text("kept")
    with writing(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
        sweep(tmp_path)
        assert temporary.exists(), "it is being written"
        assert len(left_over(tmp_path)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".somebody-elses.part", "x.txt"]


def test_a_generation_takes_the_place_of_another_as_a_whole(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_text(tmp_path / name, "old")
    with pytest.raises(ZeroDivisionError), generation(tmp_path, ["b"]) as files:  # noqa: PT012
        write_text(files / "a", "new")
        raise ZeroDivisionError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    with generation(tmp_path, ["a", "b"]) as files:
        write_text(files / "a", "new")
        write_text(files / "deep" / "d", "new")
        assert (tmp_path / "a").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {
        "a": "new",
        "c": "old",
        "d": "new",
    }


def test_a_full_disk_leaves_the_generation_before(tmp_path: Path, small_files: None) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(StorageError, match="File too large"), generation(tmp_path) as files:  # noqa: PT012
        write_text(files / "a", "new")
        write_text(files / "b", "x" * 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with FolderLock(folder):
        child = os.fork()
        if not child:
            try:
                FolderLock(folder)
            except RunError as error:
                os._exit(7 if f"process {os.getppid()} on " in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(RunError, match="takes one writer at a time"):
            FolderLock(folder)
    assert list(folder.iterdir()) == []
    child = os.fork()
    if not child:
        lock = FolderLock(folder)
        (folder / ".next").mkdir()
        (folder / ".next" / "x").write_text("half")
        os._exit(0 if lock.is_held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [".lock", ".next"]
    with FolderLock(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"], "the holder is gone"
    first = FolderLock(folder)
    second = FolderLock(folder)  # of the same process, which was not writing
    assert (first.is_held, second.is_held) == (False, True)
    second.release()
