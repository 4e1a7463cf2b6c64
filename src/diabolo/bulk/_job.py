"""job.json in the output folder: it lets the same job resume there, and no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diabolo.bulk._piece_files import read_note
from diabolo.bulk._piece_writer import merge_summary
from diabolo.bulk._pieces import Piece
from diabolo.errors import ConfigError
from diabolo.storage.files import read_json, write_json
from diabolo.storage.generation import has_contents

__all__ = ["JOB", "begin", "digest_of", "finish"]

JOB = "job.json"
_FORMAT = 1
_KEYS = {"operation": "what is computed", "weights": "the model", "source": "the source"}


def digest_of(config: dict[str, Any]) -> str:
    """A digest of what identifies a job: its operation, its model, its source."""
    text = json.dumps({key: config[key] for key in _KEYS}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def begin(folder: Path, config: dict[str, Any], pieces: Sequence[Piece]) -> list[Piece]:
    """Starts or resumes a job in a folder; returns the pieces that are missing.

    Args:
        folder: of the output.
        config: of the job: `operation`, `weights`, `source`, and notes for a reader.
        pieces: all of them.

    Raises:
        ConfigError: the folder holds something else, or a piece of another job or of rows that have changed.
        RunError: job.json cannot be read.
        StorageError: the folder cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file, and pieces go into a folder. Choose another one.")
    if has_contents(folder):
        _check_job(folder, config)
    digest, names = digest_of(config), {piece.name: piece for piece in pieces}
    present = set()
    for path in sorted(folder.glob("piece-*.parquet")):
        note = read_note(path)
        if note is None:
            continue  # damaged: it is written again
        expected = names[path.name].config() if path.name in names else None
        if note["job"] != digest or note["piece"] != expected:
            raise ConfigError(_changed(path, note, expected, same_job=note["job"] == digest))
        present.add(path.name)
    _remove(folder, ".piece-*.attempts")
    entries = [{**piece.config(), "name": piece.name} for piece in pieces]
    write_json(folder / JOB, {"format": _FORMAT, **config, "finished": False, "pieces": entries})
    return [piece for piece in pieces if piece.name not in present]


def finish(folder: Path, pieces: Sequence[Piece]) -> dict[str, float]:
    """Marks a job as finished, removes the files of killed processes, and returns the summary of all rows.

    Raises:
        StorageError: the folder cannot be written to.
    """
    whole: dict[str, float] = {}
    for piece in pieces:
        note = read_note(folder / piece.name) or {}
        merge_summary(whole, note.get("summary", {}))
    _remove(folder, ".piece-*.part*")
    write_json(folder / JOB, {**read_json(folder / JOB), "finished": True, "summary": whole})
    return whole


def _remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)


def _check_job(folder: Path, config: dict[str, Any]) -> None:
    if not (folder / JOB).is_file():
        raise ConfigError(
            f"{folder} is not empty and holds no {JOB}, so that it is no folder of this job's pieces. Choose another "
            "folder, or empty this one."
        )
    previous = read_json(folder / JOB)
    for key, words in _KEYS.items():
        if previous.get(key) != config[key]:
            old, new = _difference(previous.get(key), config[key])
            raise ConfigError(
                f"{folder} holds the pieces of another job: {words} differs. It was {old}, and is {new} now. Choose "
                "another folder, or empty this one."
            )


def _difference(old: Any, new: Any) -> tuple[str, str]:
    """Both values; of two objects, the entries that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        return _listed(old, names), _listed(new, names)
    return str(old), str(new)


def _listed(values: dict[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={values[name]!r}" for name in names if name in values) or "without"


def _changed(path: Path, note: dict[str, Any], expected: dict[str, Any] | None, *, same_job: bool) -> str:
    if not same_job:
        return f"{path} was made by another job than the others of its folder. Take it out, or choose another folder."
    if expected is None:
        return f"{path} has no counterpart in the source, which has fewer pieces now. Choose another folder."
    old, new = _difference(note["piece"], expected)
    return (
        f"{path} was made from rows that are no longer those of the source: {old} then, {new} now. Remove it to have "
        "it made again, or choose another folder."
    )
