"""Who works in a folder: one process on the whole, or one on each shard.

A lock dies with its owner. Every look at more than one lock happens behind a gate, a lock that is
held for a moment only, so that two processes never see half of what the other does.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from audiostyle.errors import BusyError, DiskError
from audiostyle.utils.atomic_files import write_error

LOCK_NAME = ".journal.lock"
GATE_NAME = ".journal.gate"
SHARD_LOCKS = ".journal.*-of-*.lock"
GATE_SECONDS = 60.0  # to wait at most for others that begin or end; each takes milliseconds
GATE_PAUSE = 0.02


class Lock:
    """A file that one process at a time may hold; it is free as soon as that process is gone.

    Parameters
    ----------
    path : Path
    refusal : str
        What a `BusyError` says if another process has it.
    """

    def __init__(self, path: Path, refusal: str = "") -> None:
        self._path = path
        self._refusal = refusal
        self._file: Any = None

    def __enter__(self) -> Lock:
        """Take it, or raise a `BusyError`."""
        try:
            self._file = self._path.open("a+b")
        except OSError as error:
            raise disk_error(self._path, error) from None
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.close()
            raise BusyError(self._refusal) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it up."""
        self._file.close()


if os.name == "nt":

    def _lock(descriptor: int) -> None:
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def disk_error(path: Path, error: OSError) -> DiskError:
    """Say that there is no journal: whatever the reason, no pair can be done without.

    Parameters
    ----------
    path : Path
    error : OSError

    Returns
    -------
    DiskError
    """
    return DiskError(str(write_error(path, error, path.parent)))


@contextlib.contextmanager
def gate(folder: Path) -> Iterator[None]:
    """Let no other process begin or end for a moment; wait for those that are at it.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    None

    Raises
    ------
    BusyError
        If others take longer than `GATE_SECONDS`.
    DiskError
    """
    refusal = f"{folder}: another process has been beginning or ending for {GATE_SECONDS:.0f} s"
    deadline = time.monotonic() + GATE_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(Lock(folder / GATE_NAME, refusal))
                break
            except BusyError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(GATE_PAUSE)
        yield


def claim(folder: Path, tag: str = "") -> Lock:
    """Make sure that a part of the work may be begun, and return the lock to hold meanwhile.

    Parameters
    ----------
    folder : Path
    tag : str
        ``2-of-8`` for a shard; empty for the whole.

    Returns
    -------
    Lock
        To be entered before the gate is left.

    Raises
    ------
    BusyError
        If another process works on the whole, or on the same shard, or on one of another division:
        the same pair might be computed twice at once.
    """
    whole = f"{folder}: another process works in this folder; wait for it, or take another folder"
    for path in sorted(folder.glob(SHARD_LOCKS)):
        other = _tag(path)
        if other != tag and other.partition("-of-")[2] != tag.partition("-of-")[2]:
            shard = other.replace("-of-", "/")
            why = "the whole cannot be run" if not tag else f"--shard {tag.replace('-of-', '/')}"
            with Lock(path, f"{folder}: shard {shard} is being run; {why} until it ends"):
                pass
    if not tag:
        return Lock(folder / LOCK_NAME, whole)
    with Lock(folder / LOCK_NAME, whole):
        pass
    same = f"{folder}: another process runs --shard {tag.replace('-of-', '/')}; wait for it"
    return Lock(folder / f".journal.{tag}.lock", same)


def holders(folder: Path) -> list[str]:
    """Say which parts of the work are being done at this moment. To be called behind the gate.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str
        Tags as for `claim`; empty for the whole.
    """
    found = []
    for path in (folder / LOCK_NAME, *sorted(folder.glob(SHARD_LOCKS))):
        if path.exists():
            try:
                with Lock(path):
                    pass
            except BusyError:
                found.append(_tag(path))
    return found


def _tag(path: Path) -> str:
    return path.name.removeprefix(".journal.").removesuffix("lock").rstrip(".")
