"""Capture of what C libraries print on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


@dataclass
class CapturedStderr:
    """The text that was written to file descriptor 2 during a capture."""

    text: str = ""


class _Redirection:
    """File descriptor 2 of the process, which all captures that overlap redirect together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.saved = -1
        self.log: BinaryIO | None = None

    def enter(self) -> int:
        """Redirect, unless another capture has done so; return the length of the log."""
        with self.lock:
            _flush()
            if self.users == 0:
                with contextlib.suppress(OSError):  # there may be no standard error
                    self.saved = os.dup(2)
                    self.log = _open_log()
                    os.dup2(self.log.fileno(), 2)
            self.users += 1
            return self.log.seek(0, os.SEEK_END) if self.log else 0

    def leave(self, start: int) -> str:
        """Restore, unless another capture goes on; return what the log holds from `start`."""
        with self.lock:
            _flush()
            self.users -= 1
            if self.log is None:
                return ""
            self.log.seek(start)
            text = self.log.read().decode(errors="replace")
            if self.users == 0:
                os.dup2(self.saved, 2)
                os.close(self.saved)
                self.log.close()
                self.log = None
            return text


_redirection = _Redirection()


@contextlib.contextmanager
def capture_stderr() -> Iterator[CapturedStderr]:
    """Redirect file descriptor 2 to a temporary file; the text is available after the block.

    This affects the whole process: use it for short calls only. Captures may overlap, in several
    threads too: each gets all that is written meanwhile, and the last one restores the descriptor.
    """
    capture = CapturedStderr()
    start = _redirection.enter()
    try:
        yield capture
    finally:
        capture.text = _redirection.leave(start)


def _open_log() -> BinaryIO:
    """Open an unnamed file, in memory where the system can: no folder may be writable."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("audiostyle-stderr"), "w+b")
    return tempfile.TemporaryFile()


def _flush() -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # None, broken or closed
        sys.stderr.flush()
