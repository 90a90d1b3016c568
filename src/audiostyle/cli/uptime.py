"""How long the process has run: what a user waits for begins before the first line of Python."""

from __future__ import annotations

import os
import time

import audiostyle


def seconds() -> float:
    """Time since the start of the process.

    Returns
    -------
    float
        To the hundredth. Where the platform does not say when that was, since `audiostyle` was
        imported.
    """
    since_import = time.perf_counter() - audiostyle.IMPORTED
    since_start = _since_start()
    # In a sandbox the two clocks of the system need not have one beginning.
    return since_import if since_start is None else max(since_start, since_import)


def _since_start() -> float | None:
    """Ask Linux, which knows the start in ticks since the system's own."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            # The name of the program comes second, in parentheses, and may hold anything.
            fields = file.read().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, ValueError, IndexError):
        return None
