"""The harness that kills a process at every file event: what it left, and what the same work makes of that.

An audit hook counts what changes files (opens for writing, renames, removals, new folders). A child, forked from this
process once everything is imported, dies at event k as of SIGKILL; others look at what it left and go on. Or the system
refuses event k, and from there on all of them, as a full disk or a folder that went away does.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diabolo.errors import DiaboloError

KILLED, FAILED = 137, 1
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

FAULTS = (
    *(errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES, errno.ENOENT, errno.EDQUOT, errno.EMFILE, errno.ESTALE),
    errno.EPERM,
)
FULL = (errno.ENOSPC, errno.EDQUOT)

_count, _limit = 0, -1
_place = ""
_fault, _lasts = 0, False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    global _count
    if _limit < 0:
        return
    is_change = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING)
    if not is_change or not isinstance(arguments[0], str | os.PathLike):
        return
    path = Path(arguments[0])
    if not path.is_absolute() or _place in str(path):  # relative: in a folder that is removed
        _count += 1
        if _fault and (_count == _limit or (_lasts and _count > _limit)):
            raise OSError(_fault, os.strerror(_fault), str(path))
        if _count == _limit:
            os._exit(KILLED)


sys.addaudithook(_hook)


def forked(
    work: Callable[[], Any], kill_at: int = 0, place: Path | str = "", fault: int = 0, lasts: bool = False
) -> int:
    """Runs work in a child process, which is killed at its event `kill_at` below `place`, if it has so many.

    Args:
        work: what it does.
        kill_at: the event.
        place: where events count.
        fault: an error of the system, which the event meets rather than the end of the process.
        lasts: whether all later ones meet it, too.

    Returns:
        The number of events; negative where the child was killed.

    Raises:
        AssertionError: the work failed.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        global _limit, _place, _fault, _lasts
        os.close(reader)
        _place, _limit, _fault, _lasts = str(place), kill_at or 1_000_000_000, fault, lasts
        try:
            work()
        except BaseException:  # noqa: BLE001 (to the parent)
            _limit = -1
            os.write(writer, traceback.format_exc()[-3000:].encode())
            os._exit(FAILED)
        _limit = -1
        os.write(writer, str(_count).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, KILLED), said or f"exit status {status}"
    return -kill_at if status == KILLED else int(said)


@dataclass
class Campaign:
    """One kind of work, killed everywhere.

    Args:
        place: an empty folder for all that is written.
        prepare: makes what is there before the work, in a folder.
        work: on that folder.
        go_on: does the work, or the rest of it, where it was killed.
        contents: what a reader finds in a folder, by name; an error where there is nothing whole to read.
        is_new: whether the folder holds nothing before the work: then a reader may find nothing.
    """

    place: Path
    prepare: Callable[[Path], Any]
    work: Callable[[Path], Any]
    go_on: Callable[[Path], Any]
    contents: Callable[[Path], Any]
    is_new: bool = False
    events: int = 0
    kills: int = 0
    readers: Callable[[Path], Any] | None = None
    faults: list[str] = field(default_factory=list)

    def run(self, every: int = 1, twice: int = 0) -> Campaign:
        """Kills at every n-th event, and at every `twice`-th of them again, at every third event of the recovery."""
        before, after = self.place / "before", self.place / "after"
        forked(lambda: self.prepare(before))
        self._copy(before, after)
        self.events = forked(lambda: self.work(after), place=after)
        for k in range(1, self.events + 1, every):
            folder = self._killed(before, k)
            self._look(folder, before, after, f"at {k}")
            if twice and (k // every) % twice == 0:
                again = self.place / "again"
                self._copy(folder, again)
                count = forked(lambda again=again: self.go_on(again), place=again)
                for j in range(1 + k % 3, count + 1, 3):
                    self._copy(folder, again)
                    forked(lambda again=again: self.go_on(again), j, again)
                    self.kills += 1
                    self._recover(again, after, f"at {k} and then {j}")
                shutil.rmtree(again)
            self._recover(folder, after, f"at {k}")
        return self

    def refused(self, every: int = 1) -> Campaign:
        """The system refuses every n-th event, once or from there on: one sentence names the first error, and why."""
        before, after, folder = self.place / "before", self.place / "after", self.place / "refused"
        forked(lambda: self.prepare(before))
        self._copy(before, after)
        self.events = forked(lambda: self.work(after), place=after)
        for number, k in enumerate(range(1, self.events + 1, every)):
            fault, lasts = FAULTS[number % len(FAULTS)], number // len(FAULTS) % 2 == number % 2
            when = f"{errno.errorcode[fault]}{' for good' * lasts} at {k}"
            self._copy(before, folder)
            try:
                forked(lambda fault=fault: self._told(folder, fault), k, folder, fault, lasts)
            except AssertionError as error:
                self.faults.append(f"{when}: {error}")
            self.kills += 1
            self._look(folder, before, after, when)
            self._recover(folder, after, when)
        return self

    def _told(self, folder: Path, fault: int) -> None:
        """The work, which may end in one sentence on this error."""
        try:
            self.work(folder)
        except (AssertionError, DiaboloError) as error:
            text = str(error).partition("\nassert")[0]  # without what pytest explains
            assert text.count("diabolo: ") <= 1, f"several: {text}"
            assert os.strerror(fault) in text, f"not the first error: {text}"
            assert "defect" not in text, text
            assert ("Free some space" in text) == (fault in FULL), f"wrong advice: {text}"

    def _killed(self, before: Path, k: int) -> Path:
        folder = self.place / "killed"
        self._copy(before, folder)
        forked(lambda: self.work(folder), k, folder)
        self.kills += 1
        return folder

    def _look(self, folder: Path, before: Path, after: Path, when: str) -> None:
        """A reader finds what was there before or what is there now, whole."""

        def check() -> None:
            try:
                seen = (self.readers or self.contents)(folder)
            except Exception:
                if not self.is_new:
                    raise
                return
            known = [] if self.is_new else [(self.readers or self.contents)(before)]
            known.append((self.readers or self.contents)(after))
            assert self.is_new or seen in known, f"a mixture: {seen}"

        self._note(check, f"{when}: a reader")

    def _recover(self, folder: Path, after: Path, when: str) -> None:
        def check() -> None:
            here, there = self.contents(folder), self.contents(after)
            differing = [name for name in there if here[name] != there[name]]
            assert not differing, f"different: {differing}"
            left = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
            assert left == [], f"left over: {left}"

        self._note(lambda: self.go_on(folder), f"{when}: does not go on")
        self._note(check, f"{when}: afterwards")

    def _note(self, work: Callable[[], Any], what: str) -> None:
        try:
            forked(work)
        except AssertionError as error:
            self.faults.append(f"{what}: {error}")

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        if source.exists():
            shutil.copytree(source, target)


def bytes_of(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The contents of some files, without those that are not there."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
