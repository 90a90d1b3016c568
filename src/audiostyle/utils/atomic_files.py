"""Atomic file output: files are written under a temporary name and renamed when complete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from audiostyle.errors import DiskError, OutputError
from audiostyle.utils.safe_read import check_regular_file

DISK_ERRORS = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextlib.contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """Create a temporary file next to `path`; remove it at the end unless it was renamed."""
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode  # fails if the name is too long, or lies below a file
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
                # A new file would take the place of a device, such as /dev/null.
                raise OutputError(f"{path}: is not a regular file; choose another name")
        descriptor, name = tempfile.mkstemp(prefix=".audiostyle-", suffix=".part", dir=path.parent)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise OutputError(f"{path}: {_explain_missing(path.parent)}") from None
        if error.errno in DISK_ERRORS:
            raise write_error(path, error, path.parent) from None
        raise OutputError(
            f"{path}: cannot be created in {path.parent} ({error.strerror}); choose another place "
            "or name"
        ) from None
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _explain_missing(folder: Path) -> str:
    try:
        folder.absolute()
    except FileNotFoundError:
        return "the current folder was removed; change to another one"
    return f"there is no folder {folder}; create it first"


def make_folder(folder: Path) -> None:
    """Create a folder for outputs, with its parents, unless it exists."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error, folder.parent) from None


def write_error(path: Path, error: Exception, folder: Path, n_bytes: int = 0) -> OutputError:
    """Make the error for a failed write: a `DiskError` if the disk is full or read-only.

    Libraries do not pass on the system's error number: for their errors, the free space of `folder`
    is compared with the `n_bytes` that were to be written.
    """
    reason = getattr(error, "strerror", None) or str(getattr(error, "error_string", error)).strip()
    full = getattr(error, "errno", None) in DISK_ERRORS
    if not isinstance(error, OSError):
        with contextlib.suppress(OSError):
            full = shutil.disk_usage(folder).free < n_bytes
    if full:
        return DiskError(f"{path}: cannot be written ({reason}); free space on the disk")
    return OutputError(f"{path}: cannot be written ({reason})")


class Staging(contextlib.ExitStack):
    """Several files that are published together; what is not published is removed on exit.

    Examples
    --------
    >>> with Staging() as staging:
    ...     staging.add(Path("a.txt")).write_text("a")
    ...     staging.write(Path("b.txt"), b"b")
    ...     staging.publish()
    """

    def __init__(self) -> None:
        super().__init__()
        self._staged: list[tuple[Path, Path]] = []

    def add(self, path: Path) -> Path:
        """Create and return the temporary file that will become `path`."""
        part = self.enter_context(part_file(path))
        self._staged.append((part, path))
        return part

    def write(self, path: Path, data: bytes) -> None:
        """Add a file with all of its data."""
        part = self.add(path)
        try:
            part.write_bytes(data)
        except OSError as error:
            raise write_error(path, error, path.parent) from None

    def publish(self) -> None:
        """Flush all files to disk and rename them, in the order in which they were added."""
        umask = os.umask(0)
        os.umask(umask)
        for part, path in self._staged:
            try:
                with part.open("r+b") as file:
                    os.fsync(file.fileno())
                part.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
                part.replace(path)
            except OSError as error:
                raise write_error(path, error, path.parent) from None


def record_path(output: Path) -> Path:
    """Return the path of the JSON record of an output."""
    return output.with_name(output.name + ".json")


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a regular file; raise an `OSError` for anything else."""
    check_regular_file(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
