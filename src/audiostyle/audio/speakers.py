"""Which channel is which speaker: the order of WAV, which is used everywhere, and that of Vorbis.

libsndfile does not reorder channels; FFmpeg does.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from audiostyle.arrays import Array

# For each channel of WAV and FLAC, its number in Vorbis and Opus, which have the centre second and
# the subwoofer last.
VORBIS_CHANNELS = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 5, 3, 4],
    7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}
# FL 1, FR 2, FC 4, LFE 8, BL 10, BR 20, BC 100, SL 200, SR 400.
WAV_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
EXTENSIBLE = b"\xfe\xff"


def from_file_order(y: Array, subtype: str) -> Array:
    """Bring channels [shape=(channels, n)] that libsndfile read into the order of WAV."""
    order = VORBIS_CHANNELS.get(len(y)) if subtype in ("VORBIS", "OPUS") else None
    return y if order is None else y[order]


def to_file_order(y: Array, subtype: str) -> Array:
    """Bring channels [shape=(channels, n)] in the order of WAV into that of a file."""
    order = VORBIS_CHANNELS.get(len(y)) if subtype in ("VORBIS", "OPUS") else None
    return y if order is None else y[np.argsort(order)]


def set_channel_mask(path: Path, channels: int) -> None:
    """Write into the header of a WAV file which speakers its channels are.

    libsndfile knows only some numbers of channels. Headers that have no place for it stay as they
    are.
    """
    with path.open("r+b") as file:
        head = file.read(256)
        chunk = head.find(b"fmt ")
        if chunk > 0 and head[chunk + 8 : chunk + 10] == EXTENSIBLE:
            file.seek(chunk + 28)
            file.write(struct.pack("<I", WAV_MASKS.get(channels, 0)))
