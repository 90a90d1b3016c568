"""Archives of arrays: never a pickle, never a bomb.

What an archive claims about itself is compared to limits before any memory is taken for it.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

UNPACKED_BYTES = 1 << 30  # of all arrays of an archive together
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(data: bytes, limit: int = UNPACKED_BYTES) -> dict[str, Array]:
    """Read the arrays of an ``.npz``; nothing is written anywhere, nothing is unpickled.

    Parameters
    ----------
    data : bytes
        Of the file.
    limit : int
        How many bytes all arrays may take together.

    Returns
    -------
    dict of str to np.ndarray

    Raises
    ------
    ValueError
        If the archive claims more than `limit`, or holds anything but plain arrays.
    Exception
        Of a dozen other kinds, from zipfile, zlib and NumPy, on broken bytes.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > limit:
            raise ValueError(f"claims {claimed} bytes unpacked; at most {limit} are read")
        if len({member.filename for member in members}) < len(members):
            raise ValueError("names an array twice")
        return {
            member.filename.removesuffix(".npy"): _read_array(_unpack(archive, member))
            for member in members
        }


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a member; told how much to read, zipfile unpacks no more, whatever there is."""
    with archive.open(member) as file:
        return file.read(member.file_size + 1)


def _read_array(data: bytes) -> Array:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"holds an array of layout {version}")
    shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("holds objects, which only a pickle can")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array claims the shape {shape}, and holds {len(data)} bytes")
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
