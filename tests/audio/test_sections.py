"""Streams of a file: where they begin, whatever lies between them."""

from __future__ import annotations

import io

import numpy as np
import pytest

from audiostyle.audio import sections
from audiostyle.audio.sections import Section, SectionFile
from tests.conftest import make_noise, make_tones
from tests.support.media import encode

# First four bytes of frames, with the values of ISO 11172-3 and 13818-3: layer, Hz, mono, bytes.
HEADERS = {
    "fffb9000": (3, 44_100, False, 417),
    "fffb92c0": (3, 44_100, True, 418),
    "fffbe400": (3, 48_000, False, 960),
    "fff380c4": (3, 22_050, True, 208),
    "ffe318c4": (3, 8_000, True, 72),
    "fffd8400": (2, 48_000, False, 384),
    "fff58400": (2, 24_000, False, 384),
    "ffff1400": (1, 48_000, False, 32),
    "fff71600": (1, 24_000, False, 68),
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_frames(header: str) -> None:
    frame = sections.parse_mpeg_header(bytes.fromhex(header))
    assert frame is not None
    _, layer, sr, mono = frame.format
    assert (layer, sr, mono, frame.size) == HEADERS[header]


@pytest.mark.parametrize("header", ["fffbf000", "fffb0000", "fffb9c00", "ffeb9000", "fff99000"])
def test_what_is_no_header(header: str) -> None:
    assert sections.parse_mpeg_header(bytes.fromhex(header)) is None


def test_sizes_of_frames_agree_with_an_encoder() -> None:
    for codec, sr in (("libmp3lame", 44_100), ("libmp3lame", 16_000), ("mp2", 48_000)):
        data = encode(make_tones(0.5, sr), sr, "mp2" if codec == "mp2" else "mp3", codec)
        start = sections._skip_tags(io.BytesIO(data), 0, len(data))
        (section,) = sections.find_mpeg_streams(io.BytesIO(data))
        assert (section.start, section.stop) == (start, len(data))
        assert section.n_frames == section.claimed > 10 or codec == "mp2"


@pytest.mark.parametrize("junk", [b"", b"\xff", b"\xff\xfb\x90\x00", bytes(5000), b"junk" * 20_000])
def test_bytes_between_frames_end_no_stream(junk: bytes) -> None:
    data = encode(make_tones(1.0, 44_100), 44_100, "mp2", "mp2")
    (whole,) = sections.find_mpeg_streams(io.BytesIO(data))
    size = len(data) // whole.n_frames
    broken = junk + data[: 10 * size] + junk + data[10 * size :] + junk
    (section,) = sections.find_mpeg_streams(io.BytesIO(broken))
    assert (section.n_frames, section.n_lost) == (whole.n_frames, len(junk))
    assert (section.start, section.stop) == (len(junk), len(broken) - len(junk))


def test_markers_across_the_ends_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    flac = b"fLaC\x00\x00\x00\x22"
    for size in range(9, 40):
        monkeypatch.setattr(sections, "CHUNK_BYTES", size)
        data = flac + b"." * 17 + flac + b"." * 3 + flac[:7]
        found = sections.find_flac_streams(io.BytesIO(data))
        assert found == [Section(0, 25), Section(25, len(data))]


def test_streams_that_are_interleaved_are_one_section() -> None:
    def page(flags: int, n: int) -> bytes:
        return b"OggS\x00" + bytes([flags]) + bytes(20) + b"\x01" + bytes([n]) + bytes(n)

    begin, go_on = page(2, 30), page(0, 200)
    data = begin + begin + go_on + go_on + begin + go_on
    found = sections.find_ogg_streams(io.BytesIO(data))
    second = 2 * len(begin) + 2 * len(go_on)
    assert found == [Section(0, second, n_streams=2), Section(second, len(data))]


def test_a_section_is_a_file_of_its_own() -> None:
    data = np.random.default_rng(0).bytes(1000)
    alone, part = io.BytesIO(data[100:700]), SectionFile(io.BytesIO(data), 100, 700)
    for offset, whence in ((0, 0), (50, 0), (20, 1), (-10, 1), (-5, 2), (100, 2), (10**30, 0)):
        position = part.seek(offset, whence)
        assert position == (alone.seek(offset, whence) if offset < 10**18 else offset)
        assert position == part.tell()
        assert part.read(40) == (alone.read(40) if offset < 10**18 else b"")
    assert part.read(10) == b"" and part.readable() and part.seekable()
    assert part.seek(0) == 0 and part.read() == data[100:700]


def test_no_frames_are_found_in_noise() -> None:
    noise = make_noise(1.0).tobytes()
    assert sections.find_mpeg_streams(io.BytesIO(noise)) == []
    assert sections.find_mpeg_streams(io.BytesIO(b"")) == []
