"""How much memory a process may take: where that cannot suffice, it is said before TensorFlow dies.

Libraries written in C end the process where an allocation fails: a limit is looked up beforehand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from audiostyle.errors import DeviceError

# Measured with the preset `fast`, a clip of 1 s and two threads: 3.0 GB of addresses and 0.96 GB of
# memory. With less than this, TensorFlow hardly starts, and a transfer never ends well.
NEEDED = {"addresses": 2 << 30, "memory": 640 << 20}
CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def limits() -> dict[str, int]:
    """Look up what the system allows this process.

    Returns
    -------
    dict of str to int, in bytes
        ``addresses`` (RLIMIT_AS) and ``memory`` (of a container), as far as there is a limit.
    """
    found: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            found["addresses"] = soft
    for file in CGROUP_FILES:
        try:
            found["memory"] = int(file.read_text())
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return found


def check_memory() -> None:
    """Raise a `DeviceError` if there is less memory than any transfer needs.

    Raises
    ------
    DeviceError
        If a limit of the process, or of its container, is below `NEEDED`.
    """
    for what, limit in limits().items():
        if limit < NEEDED[what]:
            how = "ulimit -v" if what == "addresses" else "the container's memory"
            raise DeviceError(
                f"out of memory: this process may take {limit / 1e9:.2f} GB of {what}, TensorFlow "
                f"needs {NEEDED[what] / 1e9:.2f} GB to begin with; raise the limit ({how})"
            )
