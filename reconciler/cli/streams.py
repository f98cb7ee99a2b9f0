"""Standard streams on which a failed write never ends the command: an apply goes on when its log is full.

In: the streams that Python opened. Out: streams whose writes don't raise, whichever library writes. The first failure
is kept, and the end of the program asks for it.
"""

from __future__ import annotations

import io
import os
import sys
from errno import EBADF, EPIPE
from select import select
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from pathlib import Path

_FIRST_FREE: Final = 3
"""File descriptors below this one are standard input, output and error."""


class Lasting(io.RawIOBase):
    """The raw side of a stream. If a write fails, its bytes and all that follow are dropped."""

    def __init__(self, raw: io.RawIOBase, failure: OSError | None = None) -> None:
        self._raw = raw
        self.failure = failure
        """Why nothing arrives any more; ``None`` as long as writes work."""

    @property
    def name(self) -> object:
        """Return what Python calls the stream."""
        return getattr(self._raw, "name", None)

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._raw.isatty()

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._raw.fileno()

    def write(self, data: Any, /) -> int:
        """Write some or all of the bytes, or drop them; return how many were taken."""
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                written = self._raw.write(data)
                if written is not None:
                    return written
                select([], [self.fileno()], [])  # another program made it non-blocking, and its reader is slow
            except OSError as error:
                self.failure = error
        return size

    def close(self) -> None:
        """Close it, and what is behind it."""
        if not self.closed:
            super().close()
            self._raw.close()


def make_lasting() -> None:
    """Replace the standard streams of this process; one that was closed at the start becomes the null device."""
    _fill_gaps()
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - it is open as long as the process is
    sys.stdout = _lasting(sys.stdout, 1)
    sys.stderr = _lasting(sys.stderr, 2)


def _fill_gaps() -> None:
    """Open the null device for each closed standard descriptor. Otherwise the journal could get its number, and what
    is meant for stderr would be written into it."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor >= _FIRST_FREE:
            os.close(descriptor)
            return


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # Python's word for one that was closed
        raw = Lasting(io.FileIO(descriptor, "wb", closefd=False), OSError(EBADF, os.strerror(EBADF)))
        return _text(raw, encoding="utf-8", errors="backslashreplace")
    stream.flush()
    behind = stream.buffer
    inner = behind.raw if isinstance(behind, io.BufferedWriter) else behind  # with PYTHONUNBUFFERED it is raw already
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(inner, io.RawIOBase):
        return stream
    return _text(Lasting(inner), encoding=stream.encoding, errors=stream.errors, line_buffering=stream.line_buffering)


def _text(raw: Lasting, *, encoding: str, errors: str | None, line_buffering: bool = False) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=line_buffering)


def open_lasting(path: Path) -> TextIO:
    """Open a new file for text, whose writes don't raise either. Raises :class:`OSError` where it can't be made."""
    return _text(Lasting(io.FileIO(path, "wb")), encoding="utf-8", errors=None)


def failure_of(stream: TextIO) -> OSError | None:
    """Return why output to a stream was lost; ``None`` if it arrived, or if that can't be known."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, Lasting) else None


def is_lost(failure: OSError | None) -> bool:
    """Return whether a failure counts as lost output. A reader that has gone, such as ``head``, has all it wanted."""
    return failure is not None and failure.errno != EPIPE
