"""Keep what libraries written in C print on standard error, and show it only where it matters."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class CapturedStderr:
    """What was written to file descriptor 2 while it was captured."""

    def __init__(self) -> None:
        self.text = ""


@contextmanager
def capture_stderr() -> Iterator[CapturedStderr]:
    """Point file descriptor 2 at a temporary file for a while.

    The whole process is affected: for short calls only.

    Yields
    ------
    Capture
        Holds the text as soon as the block has ended.
    """
    capture = CapturedStderr()
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # the process was started without a standard error
        yield capture
        return
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield capture
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            log.seek(0)
            capture.text = log.read().decode(errors="replace")
