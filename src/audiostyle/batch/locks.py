"""Locks of an output folder: one process per folder, or one per shard.

A lock is free as soon as the process that held it is gone. Locks are looked at and acquired under a
guard, a lock that is held only for a moment, so that two processes never see each other half
started.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from audiostyle.errors import BusyError, DiskError
from audiostyle.utils.atomic_files import write_error

LOCK_NAME = ".journal.lock"
GUARD_NAME = ".journal.guard"
SHARD_LOCKS = ".journal.*-of-*.lock"
GUARD_SECONDS = 60.0  # longest wait for processes that start or end; each takes milliseconds
POLL_SECONDS = 0.02


def disk_error(path: Path, error: OSError) -> DiskError:
    """Return the error of a journal or lock that cannot be written: no pair works without it."""
    return DiskError(str(write_error(path, error, path.parent)))


def _acquire(path: Path, busy: str, timeout: float = 0.0) -> BaseFileLock:
    lock = FileLock(path)
    try:
        if not path.parent.is_dir():  # FileLock would create it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        lock.acquire(timeout=timeout, poll_interval=POLL_SECONDS)
    except Timeout:
        raise BusyError(busy) from None
    except OSError as error:
        raise disk_error(path, error) from None
    except NotImplementedError:
        raise DiskError(f"{path}: the file system has no locks; choose another folder") from None
    return lock


@contextlib.contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Let no other process start or end within the context; wait for those that do."""
    busy = f"{folder}: another process has been starting or ending for {GUARD_SECONDS:.0f} s"
    lock = _acquire(folder / GUARD_NAME, busy, GUARD_SECONDS)
    try:
        yield
    finally:
        lock.release()


def active_parts(folder: Path) -> list[str]:
    """Return the parts that processes work on: ``2-of-8`` for a shard, empty for the whole batch.

    Call it under the guard.
    """
    active = []
    for path in (folder / LOCK_NAME, *sorted(folder.glob(SHARD_LOCKS))):
        if path.exists():
            try:
                _acquire(path, "").release()
            except BusyError:
                active.append(path.name.removeprefix(".journal.").removesuffix("lock").rstrip("."))
    return active


def acquire_part(folder: Path, part: str) -> BaseFileLock:
    """Acquire the lock of a part unless the same pairs may be in an active part.

    These are the whole batch, the same shard, and shards of another division. Call it under the
    guard.
    """
    asked = f"--shard {part.replace('-of-', '/')}" if part else "the whole batch"
    whole = f"{folder}: another process works in this folder; wait for it, or use another folder"
    for other in active_parts(folder):
        if not other:
            raise BusyError(whole)
        if other == part:
            raise BusyError(f"{folder}: another process runs {asked}; wait for it")
        if other.partition("-of-")[2] != part.partition("-of-")[2]:
            running = other.replace("-of-", "/")
            raise BusyError(
                f"{folder}: shard {running} is running; {asked} cannot run until it ends"
            )
    return _acquire(folder / (f".journal.{part}.lock" if part else LOCK_NAME), whole)
