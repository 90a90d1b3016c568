"""Capture of what C libraries print on standard error."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class CapturedStderr:
    """The text that was written to file descriptor 2 during a capture."""

    text: str = ""


@contextmanager
def capture_stderr() -> Iterator[CapturedStderr]:
    """Redirect file descriptor 2 to a temporary file; the text is available after the block.

    This affects the whole process: use it for short calls only.
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
