"""Safe reading of ``.npz`` archives: nothing is unpickled, and no archive bomb is unpacked.

Sizes that an archive claims are checked before memory is allocated for them.
"""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np

from audiostyle.arrays import Array

MAX_UNPACKED_BYTES = 1 << 30  # all arrays of an archive together
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(data: bytes, prefixes: tuple[str, ...] = ("",)) -> dict[str, Array]:
    """Read the arrays of the archive `data`, at most `MAX_UNPACKED_BYTES` in all.

    Arrays whose names begin with none of the `prefixes` are not unpacked.

    Raises a `ValueError` if the archive claims more, or holds anything but plain arrays. Broken
    bytes raise a dozen other kinds of errors in zipfile, zlib and NumPy.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > MAX_UNPACKED_BYTES:
            raise ValueError(
                f"claims {claimed} bytes unpacked; at most {MAX_UNPACKED_BYTES} are read"
            )
        if len({member.filename for member in members}) < len(members):
            raise ValueError("names an array twice")
        return {
            member.filename.removesuffix(".npy"): _read_array(archive, member)
            for member in members
            if member.filename.startswith(prefixes)
        }


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)  # given a size, zipfile unpacks no more than that
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"holds an array of format version {version}")
    shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which need a pickle")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array claims the shape {shape}, and holds {len(data)} bytes")
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
