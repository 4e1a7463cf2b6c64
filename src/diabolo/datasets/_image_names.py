"""What the folders of images are named for: parts and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["TEST", "counted", "few", "labelled", "labels_of", "parts_of"]

TRAIN, VALIDATION = ("train", "training"), ("val", "valid", "validation", "dev")
TEST = ("test", "testing")


def parts_of(names: Iterable[str]) -> dict[str, str]:
    """Path -> part (train, val, test, ...), where folders are called so; those that wrap all are passed through."""
    paths = {name: name.split("/") for name in names}
    depth = _wrapped(list(paths.values()))
    parts = {name: path[depth].lower() for name, path in paths.items() if len(path) > depth + 1}
    parts = {name: part for name, part in parts.items() if part in TRAIN + VALIDATION + TEST}
    kinds = [any(part in kind for part in parts.values()) for kind in (TRAIN, VALIDATION, TEST)]
    return parts if sum(kinds) > 1 else {}


def labelled(names: Iterable[str], folders: str) -> set[str]:
    """The images that lie in folders, where these are said to be labels; all where none does, or it is not said."""
    depth = _wrapped([name.split("/") for name in names])
    return {name for name in names if folders == "labels" and name.count("/") > depth} or {*names}


def _wrapped(paths: Sequence[Sequence[str]]) -> int:
    """The number of folders that all paths begin with."""
    first = min(paths, key=len)
    return next((i for i in range(len(first) - 1) if any(path[i] != first[i] for path in paths)), len(first) - 1)


def labels_of(names: Sequence[str], parts: dict[str, str], folders: str) -> tuple[list[str] | None, tuple[str, ...]]:
    """The label of each image, which is a folder's name, and which level that is, or why there are none."""
    if folders == "none":
        return None, ()
    paths = [name.split("/") for name in names]
    depth = _wrapped(paths) + (1 if parts else 0)
    below = [path[depth:] for path in paths]
    if parts:
        inner = _wrapped(below)
        below, depth = [path[inner:] for path in below], depth + inner
    classes = sorted({path[0] for path in below if len(path) > 1})
    stray = [name for name, path in zip(names, below, strict=True) if len(path) == 1]
    if len(classes) < 2:
        return None, (f"no labels: all images lie below one folder, {classes[0]}",) if classes and not stray else ()
    if stray:
        return None, (
            f"no labels: {counted(len(stray))} beside the folders {few(classes)} ({few(stray)}); move it into one, "
            "or away (folders='labels' leaves it out)",
        )
    level = ("first", "second", "third", "fourth")[depth] if depth < 4 else f"{depth + 1}th"
    words = f"labels are the names of the {level} folders: {few(classes)} (folders='none': no labels)"
    return [path[0] for path in below], (words,)


def counted(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def few(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")
