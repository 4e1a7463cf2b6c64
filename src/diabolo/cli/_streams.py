"""The standard streams of a command: one that is closed, full or that nobody reads does not end the work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["sturdy_streams"]


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
        yield
