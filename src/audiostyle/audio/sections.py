"""Where the streams begin that one file holds one after another.

Ogg, FLAC and MPEG audio may be joined by appending one file to another. Decoders stop after the
first stream, or take the headers of the next one for sound; so the streams are found here, and each
is decoded on its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, NamedTuple

CHUNK_BYTES = 1 << 20

# The first page of a logical stream of Ogg; a FLAC stream with its first block of metadata.
OGG_START = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")
FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
MARKER_BYTES = 8  # of the longer one

SYNC = re.compile(rb"\xff(?=[\xe0-\xff])")
CONSECUTIVE = 3  # frames of MPEG audio that follow each other are no coincidence
HEADER_BYTES = 192  # of a frame: enough for the tags that encoders put into an empty one
# Bit rates in kbit/s by version (1, or 2 and 2.5) and layer.
BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass
class Section:
    """A part of a file that is a stream of its own."""

    start: int  # in bytes
    stop: int
    n_streams: int = 1  # that it interleaves, such as sound and video
    n_frames: int = 0  # of MPEG audio, without the one that only holds a header
    claimed: int = 0  # frames, by that header; 0 if it does not say
    n_lost: int = 0  # bytes between the frames that are none


class SectionFile(io.RawIOBase):
    """A section of a file as a file of its own, without a name that decoders could go by."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._start, self._stop = file, start, stop
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the section."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, which may lie beyond the end."""
        base = (0, self._position, self._stop - self._start)[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer up to the end of the section."""
        left = self._stop - self._start - self._position
        if left <= 0:  # as damaged headers lead to
            return 0
        self._file.seek(self._start + self._position)
        data = self._file.read(min(len(buffer), left))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def file_size(file: BinaryIO) -> int:
    """Return the size of an open file in bytes."""
    return file.seek(0, io.SEEK_END)


def find_ogg_streams(file: BinaryIO) -> list[Section]:
    """Find the links of an Ogg chain; streams that begin together are one section."""
    size = file_size(file)
    sections: list[Section] = []
    last = 0
    for start in _find(file, OGG_START):
        # Streams that are interleaved begin with one short page each, before all others.
        if sections and _page_end(file, last) == start:
            sections[-1].n_streams += 1
        else:
            sections += [Section(start, size)]
        last = start
    return _end_at_next(sections)


def find_flac_streams(file: BinaryIO) -> list[Section]:
    """Find the FLAC streams of a file."""
    size = file_size(file)
    return _end_at_next([Section(start, size) for start in _find(file, FLAC_START)])


def _end_at_next(sections: list[Section]) -> list[Section]:
    for section, following in pairwise(sections):
        section.stop = following.start
    return sections


def _page_end(file: BinaryIO, start: int) -> int:
    """Return where the page of Ogg ends that begins at `start`."""
    file.seek(start)
    page = file.read(27 + 255)
    n_segments = page[26] if len(page) > 26 else 0
    return start + 27 + n_segments + sum(page[27 : 27 + n_segments])


def _find(file: BinaryIO, marker: re.Pattern[bytes]) -> Iterator[int]:
    """Yield the positions of a marker."""
    base, kept = 0, b""
    while True:
        file.seek(base + len(kept))
        chunk = file.read(CHUNK_BYTES)
        data = kept + chunk
        last = len(data) - MARKER_BYTES if chunk else len(data)
        yield from (base + m.start() for m in marker.finditer(data) if m.start() < last)
        if not chunk:
            return
        kept = data[max(0, last) :]
        base += len(data) - len(kept)


class MpegFrame(NamedTuple):
    """What the header of a frame of MPEG audio says."""

    format: tuple[int, int, int, bool]  # version code, layer, rate in Hz, mono
    size: int  # in bytes


def parse_mpeg_header(header: bytes) -> MpegFrame | None:
    """Parse four bytes; None if they are no header, or one of a free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, sr, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or sr == 3 or bit_rate in (0, 15):
        return None
    major = 1 if version == 3 else 2
    rate = (44_100, 48_000, 32_000)[sr] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * BIT_RATES[major, min(layer, 4 - major)][bit_rate - 1]
    if layer == 1:
        size = 4 * (12 * bits // rate + padding)
    else:
        size = (72 if major == 2 and layer == 3 else 144) * bits // rate + padding
    return MpegFrame((version, layer, rate, header[3] >> 6 == 3), size)


def find_mpeg_streams(file: BinaryIO) -> list[Section]:
    """Find the streams of MPEG audio: each begins with a header of its encoder, or after a tag.

    Frames are followed by their sizes; nothing is decoded. Bytes that are no frames end a stream
    only if they are a tag.
    """
    size = file_size(file)
    sections: list[Section] = []
    position = _next_frame(file, _skip_tags(file, 0, size), size)
    current: tuple[int, int, int, bool] | None = None  # None begins a section
    while position < size:
        file.seek(position)
        head = file.read(HEADER_BYTES)
        frame = parse_mpeg_header(head)
        is_new = frame is not None and frame.format != current
        if is_new and not _follow_each_other(file, position, size):
            frame = None  # a damaged header
        if frame is None:
            after_tags = _skip_tags(file, position, size)
            if after_tags > position:
                current = None
            position = _next_frame(file, max(after_tags, position + 1), size)
            continue
        if position + frame.size > size:
            break  # nothing can be decoded of a part of a frame
        info = _is_info(head)
        if info or frame.format != current:
            sections.append(Section(position, position, claimed=_claimed_frames(head)))
            current = frame.format
        sections[-1].n_lost += position - sections[-1].stop
        position += frame.size
        sections[-1].stop = position
        sections[-1].n_frames += not info
    return [section for section in sections if section.n_frames]


def _is_info(head: bytes) -> bool:
    """Tell whether a frame holds no sound, but what an encoder says of the frames to come."""
    return b"Xing" in head[4:48] or b"Info" in head[4:48] or head[36:40] == b"VBRI"


def _claimed_frames(head: bytes) -> int:
    at = max(head.find(b"Xing", 4, 48), head.find(b"Info", 4, 48))
    if at > 0 and head[at + 7 : at + 8] and head[at + 7] & 1:
        return int.from_bytes(head[at + 8 : at + 12], "big")
    return 0


def _next_frame(file: BinaryIO, position: int, size: int) -> int:
    """Return where frames begin that follow each other, at or after a position; `size` if none."""
    while position < size:
        file.seek(position)
        chunk = file.read(1 << 16)
        for match in SYNC.finditer(chunk):
            if _follow_each_other(file, position + match.start(), size):
                return position + match.start()
        position += max(1, len(chunk) - 1)
    return size


def _follow_each_other(file: BinaryIO, position: int, size: int) -> bool:
    formats = set()
    for _ in range(CONSECUTIVE):
        file.seek(position)
        frame = parse_mpeg_header(file.read(4))
        if frame is None:
            return False
        formats.add(frame.format[:3])
        position += frame.size
        if position >= size:
            break
    return len(formats) == 1


def _skip_tags(file: BinaryIO, position: int, size: int) -> int:
    """Return the end of the ID3 and APE tags at a position."""
    while position < size:
        file.seek(position)
        head = file.read(32)
        if head.startswith((b"ID3", b"3DI")) and len(head) >= 10:
            length = 0
            for byte in head[6:10]:
                length = length << 7 | byte & 0x7F
            position += 10 + length + 10 * bool(head[5] & 0x10)
        elif head.startswith(b"TAG"):
            position += 128
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            is_header = head[23] & 0x20
            position += 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
        else:
            break
    return min(position, size)
