"""The standard streams of a command: one that is closed, full or that nobody reads does not end the work."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["sturdy_streams"]

BYTES = "diabolo.bytes"  # the name of how paths that are no text are printed


class _Sturdy:
    """A text stream whose errors of writing are dropped: what it would say is news, and no result."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


@contextlib.contextmanager
def sturdy_streams() -> Iterator[None]:
    """A context in which news goes to stderr or nowhere, and no file gets the number of a closed stream."""
    with contextlib.ExitStack() as stack:
        for number in (0, 1, 2):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if sys.stdout is None:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))  # noqa: PTH123
        stderr: Any = sys.stderr if sys.stderr is not None else stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
        stack.enter_context(contextlib.redirect_stderr(_Sturdy(stderr)))
        if isinstance(sys.stdout, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stack.callback(_with_errors, sys.stdout, sys.stdout.errors or "strict")
                _with_errors(sys.stdout, BYTES)
        yield


def _with_errors(stream: io.TextIOWrapper, errors: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # what is still in it cannot be written: the next to write says so
        stream.reconfigure(errors=errors)


def _bytes_of(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for a character that a stream cannot say: the byte of a path, or an escape."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    try:
        return codecs.lookup_error("surrogateescape")(one)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(one)


codecs.register_error(BYTES, _bytes_of)
