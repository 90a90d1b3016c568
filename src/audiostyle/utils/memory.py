"""Memory limits of the process, checked before TensorFlow starts.

C libraries end the process where an allocation fails, so the limits are read beforehand.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from pathlib import Path

from audiostyle.errors import DeviceError

# Measured with the preset `fast`, a clip of 1 s and two threads: 3.0 GB of addresses and 0.96 GB of
# memory. With less than this, TensorFlow hardly starts, and a transfer never completes.
NEEDED = {"addresses": 2 << 30, "memory": 640 << 20}
CGROUPS = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")
# Possible mount points and the limit file, by the controller that `CGROUPS` names: "" is version 2,
# which may be mounted in a folder of its own beside version 1.
CGROUP_TREES = {
    "": (CGROUP_ROOT, CGROUP_ROOT / "unified"),
    "memory": (CGROUP_ROOT / "memory",),
}
LIMIT_FILES = {"": "memory.max", "memory": "memory.limit_in_bytes"}


def memory_limits() -> dict[str, int]:
    """Return the limits of this process in bytes: ``addresses`` (RLIMIT_AS), ``memory`` (cgroup).

    A kind without a limit is left out.
    """
    found: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            found["addresses"] = soft
    if limits := _cgroup_limits():
        found["memory"] = min(limits)
    return found


def _cgroup_limits() -> list[int]:
    """Return the limits of this process's control group and its parents; the lowest one applies.

    A container sees its own group as the root; a service or a cluster job is somewhere below it.
    """
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):  # not Linux, or another format: read the root
        for line in CGROUPS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            groups |= dict.fromkeys(controllers.split(","), group)
    found = []
    for name, file in LIMIT_FILES.items():
        path = Path(groups.get(name, "").lstrip("/"))
        folders = {Path()} if ".." in path.parts else {path, *path.parents}  # .. is not visible
        for folder, root in itertools.product(folders, CGROUP_TREES[name]):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                found.append(int((root / folder / file).read_text()))
    return found


def check_memory() -> None:
    """Raise a `DeviceError` if a limit is below what any transfer needs."""
    for what, limit in memory_limits().items():
        if limit < NEEDED[what]:
            how = "ulimit -v" if what == "addresses" else "the container's memory"
            raise DeviceError(
                f"out of memory: this process may use {limit / 1e9:.2f} GB of {what}, TensorFlow "
                f"needs at least {NEEDED[what] / 1e9:.2f} GB; raise the limit ({how})"
            )
