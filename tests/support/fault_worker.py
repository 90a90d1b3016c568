"""The command line with an instant transfer, in a process with a fault.

python tests/support/fault_worker.py FAULT COMMAND ...

FAULT is one of

- ``none``;
- ``pause=SECONDS``: between iterations;
- ``fsize=BYTES``: no file may become longer;
- ``fill=FILE``: after two results FILE takes the rest of the disk;
- ``lock=FOLDER``: after two results nothing can be created in FOLDER;
- ``memory=N``: the system refuses memory to the Nth transfer;
- ``group=FOLDER``: the limits of control groups are those below FOLDER, and the transfer is real;
- ``stopped``: permissions apply from the start, even to root.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from audiostyle.cli.main import main
from audiostyle.files import transfer
from audiostyle.utils import memory
from tests.support.fakes import install

CAPABILITIES = 0x20080522  # the version of the structures below
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2


def drop_rights() -> None:
    """Make permissions apply to root (another user might not be able to read this Python)."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable: the lower, the upper 32
    if libc.capget(header, sets) == 0:
        for i in range(3):
            sets[i] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
        if libc.capset(header, sets) == 0:
            return
    raise OSError(ctypes.get_errno(), "root cannot give up its rights here")


def limit_files(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fill(file: str) -> None:
    with open(file, "wb", buffering=0) as stream:
        for chunk in (65_536, 4096, 1):
            try:
                while True:
                    stream.write(bytes(chunk))
            except OSError:
                continue


def starve() -> None:
    """Make the system refuse the next large array."""
    import resource

    saved = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), saved[1]))
    try:
        np.ones(1 << 28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, saved)


def later(n: int, act: Callable[[], None]) -> Callable[[Any], None]:
    """Call `act` at the nth call."""
    calls: list[Any] = []

    def call(thing: Any) -> None:
        calls.append(thing)
        if len(calls) == n:
            act()

    return call


def prepare(fault: str, fake: Any) -> None:
    name, _, value = fault.partition("=")
    if name == "pause":
        fake.pause = float(value)
    elif name == "fsize":
        limit_files(int(value))
    elif name == "fill":
        fake.watch = staticmethod(later(2, lambda: fill(value)))
    elif name == "lock":
        drop_rights()
        fake.watch = staticmethod(later(2, lambda: os.chmod(value, 0o555)))
    elif name == "memory":
        fake.fail = staticmethod(later(int(value), starve))
    elif name == "stopped":
        drop_rights()
    elif name != "none":
        raise ValueError(fault)


def main_in_group(root: Path) -> None:
    """Run the real command under the memory limit of a control group."""
    memory.CGROUPS = root / "self"
    memory.CGROUP_TREES = {"": (root,), "memory": ()}
    try:
        main(sys.argv[2:])
    finally:
        assert "tensorflow" not in sys.modules, "it was loaded, and the process would be killed"


if __name__ == "__main__":
    if sys.argv[1].startswith("group="):
        main_in_group(Path(sys.argv[1].removeprefix("group=")))
    fake = install(setattr)
    transfer.StyleTransfer = fake  # type: ignore[misc,assignment]
    prepare(sys.argv[1], fake)
    main(sys.argv[2:])
