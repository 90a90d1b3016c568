"""Safe reading of whole files, also of text: no pipe that blocks, no file without an end.

Imports no NumPy: the command line reads its configuration files with this.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

MAX_FILE_BYTES = 1 << 30  # much longer than any valid file that is read as a whole


def read_file(path: str | Path) -> bytes:
    """Read a regular file of at most `MAX_FILE_BYTES`; raise an `OSError` for anything else."""
    size = check_regular_file(path)
    if size > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, f"{size} bytes; at most {MAX_FILE_BYTES} are read")
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES)


def read_text(path: str | Path) -> str:
    """Read text in UTF-8 or UTF-16, with or without a mark; other bytes become surrogates.

    Raises an `OSError` or a `ValueError` if it cannot be read.
    """
    data = read_file(path)
    if b"\0" not in data:
        return data.decode("utf-8-sig", "surrogateescape")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")


def readings(name: str) -> tuple[str, ...]:
    """Return a name from a text, and if it is not UTF-8 also as Windows writes it."""
    if name.isascii() or name.encode("utf-8", "replace").decode() == name:
        return (name,)
    return name, name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def check_regular_file(path: str | Path) -> int:
    """Return the size of a regular file; raise an `OSError` for anything else."""
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return found.st_size


def system_name(path: Path) -> Path | bytes:
    """Return a path for soundfile: except on Windows, a name can be any bytes."""
    return path if os.name == "nt" else os.fsencode(path)
