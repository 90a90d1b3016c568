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
CGROUPS = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_TREES = {
    "": (
        CGROUP_ROOT,
        CGROUP_ROOT / "unified",
    ),  # version 2; beside version 1, in a folder of its own
    "memory": (CGROUP_ROOT / "memory",),
}
"""By the controller that `CGROUPS` names, where its tree may be mounted."""
LIMIT_FILES = {"": "memory.max", "memory": "memory.limit_in_bytes"}


def memory_limits() -> dict[str, int]:
    """Look up what the system allows this process.

    Returns
    -------
    dict of str to int, in bytes
        ``addresses`` (RLIMIT_AS) and ``memory`` (of a container, or of whatever group of processes
        this one is in), as far as there is a limit.
    """
    found: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            found["addresses"] = soft
    if groups := _group_limits():
        found["memory"] = min(groups)
    return found


def _group_limits() -> list[int]:
    """Limits of the control group of this process, and of all above it: the least of them holds.

    A container sees its own group as the root; a service or a job of a cluster is somewhere below.
    """
    paths = dict.fromkeys(LIMIT_FILES, Path())
    try:
        for line in CGROUPS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            for name in set(controllers.split(",")) & LIMIT_FILES.keys():
                paths[name] = Path(group.lstrip("/"))
    except (OSError, ValueError):  # no Linux, or none that says it: the root is still looked at
        pass
    found = []
    for name, path in paths.items():
        outside = ".." in path.parts  # of what this process is shown
        for folder in {Path()} if outside else {path, *path.parents}:
            for root in CGROUP_TREES[name]:
                try:
                    found.append(int((root / folder / LIMIT_FILES[name]).read_text()))
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
    for what, limit in memory_limits().items():
        if limit < NEEDED[what]:
            how = "ulimit -v" if what == "addresses" else "the container's memory"
            raise DeviceError(
                f"out of memory: this process may take {limit / 1e9:.2f} GB of {what}, TensorFlow "
                f"needs {NEEDED[what] / 1e9:.2f} GB to begin with; raise the limit ({how})"
            )
