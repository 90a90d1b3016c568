"""Files that are read whole: never a pipe that is waited for, never one without an end.

Needs no NumPy: the command line reads its configuration files with this.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

FILE_BYTES = 1 << 30  # no file that is read whole is nearly as long


def read_file(path: str | Path) -> bytes:
    """Read a regular file of a sensible length.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        Also if it is no regular file, as a pipe that nobody writes to, or longer than `FILE_BYTES`.
    """
    size = check_regular_file(path)
    if size > FILE_BYTES:
        raise OSError(errno.EFBIG, f"{size} bytes; at most {FILE_BYTES} are read")
    with open(path, "rb") as file:
        return file.read(FILE_BYTES)


def check_regular_file(path: str | Path) -> int:
    """Return the size of a regular file; raise an `OSError` for whatever else there may be.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    int, in bytes

    Raises
    ------
    IsADirectoryError
        If it is a folder.
    OSError
        If it is not there, or is a pipe, a socket or a device.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return found.st_size


def system_name(path: Path) -> Path | bytes:
    """Return what soundfile takes for a path: elsewhere than on Windows a name may be any bytes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path or bytes
    """
    return path if os.name == "nt" else os.fsencode(path)
