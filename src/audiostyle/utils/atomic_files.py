"""Files that appear whole or not at all: written under another name, and renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from audiostyle.errors import DiskError, OutputError
from audiostyle.utils import safe_read

DISK_ERRORS = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextlib.contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """Make a temporary file beside `path`, and remove it in the end unless it was moved away.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Path

    Raises
    ------
    OutputError
        If no file of that name can be made there.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # fails where the name is too long, or lies below a file
        descriptor, name = tempfile.mkstemp(prefix=".audiostyle-", suffix=".part", dir=path.parent)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise OutputError(
                f"{path}: there is no folder {path.parent}; create it first"
            ) from None
        if error.errno in DISK_ERRORS:
            raise write_error(path, error, path.parent) from None
        raise OutputError(
            f"{path}: cannot be made in {path.parent} ({error.strerror}); choose another place or "
            "name"
        ) from None
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, and those above it, if it is not there.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    OutputError
        If it cannot be made; `DiskError` if the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error, folder.parent) from None


def publish(part: Path, path: Path) -> None:
    """Flush a finished temporary file to disk and rename it to its final name.

    Parameters
    ----------
    part, path : Path

    Raises
    ------
    OutputError
    """
    try:
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        part.replace(path)
    except OSError as error:
        raise write_error(path, error, path.parent) from None


def write_error(path: Path, error: Exception, folder: Path, n_bytes: int = 0) -> OutputError:
    """Say why a file could not be written, and whether any other could be.

    Parameters
    ----------
    path : Path
        For the message.
    error : Exception
        From the system, or from a library that only says that the system failed.
    folder : Path
    n_bytes : int
        How much was to be written.

    Returns
    -------
    OutputError
        A `DiskError` if the disk is full, read-only, or over its quota.
    """
    reason = getattr(error, "strerror", None) or str(getattr(error, "error_string", error)).strip()
    full = getattr(error, "errno", None) in DISK_ERRORS
    if not isinstance(error, OSError):
        with contextlib.suppress(OSError):
            full = shutil.disk_usage(folder).free < n_bytes
    if full:
        return DiskError(f"{path}: cannot be written ({reason}); free space on the disk")
    return OutputError(f"{path}: cannot be written ({reason})")


class Staging:
    """Several files that appear together, or not at all.

    Examples
    --------
    >>> with Staging() as staging:
    ...     staging.add(Path("a.txt")).write_text("a")
    ...     staging.add(Path("b.txt")).write_text("b")
    ...     staging.publish()
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._staged: list[tuple[Path, Path]] = []

    def __enter__(self) -> Staging:
        """Begin with no file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the temporary files that were not published."""
        self._stack.close()

    def add(self, path: Path) -> Path:
        """Make a temporary file that will become `path`; write into it.

        Parameters
        ----------
        path : Path

        Returns
        -------
        Path
        """
        part = self._stack.enter_context(part_file(path))
        self._staged.append((part, path))
        return part

    def write(self, path: Path, data: bytes) -> None:
        """Add a small file, all of it at once.

        Parameters
        ----------
        path : Path
        data : bytes
        """
        part = self.add(path)
        try:
            part.write_bytes(data)
        except OSError as error:
            raise write_error(path, error, path.parent) from None

    def publish(self) -> None:
        """Give all of them their names, in the order in which they were added."""
        for part, path in self._staged:
            publish(part, path)


def record_path(output: Path) -> Path:
    """Where the record of the run that made an output lies.

    Parameters
    ----------
    output : Path

    Returns
    -------
    Path
    """
    return output.with_name(output.name + ".json")


def file_digest(path: str | Path) -> str:
    """SHA-256 of a regular file; of anything else there is an `OSError`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str
    """
    safe_read.check_regular_file(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
