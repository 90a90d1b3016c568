"""Broken and odd files that a collection may hold.

`CLIPS` maps a name to a function that writes the file, and to the possible outcomes: kinds of
`audiostyle.errors.AudioFileError`, or ``taken``, first in a transfer, then in a batch.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from tests.conftest import Array, make_tones
from tests.support.media import encode

SR = 16_000
Write = Callable[[Path], object]


def encoded(y: Array, sr: int = SR, format: str = "WAV", subtype: str | None = None) -> bytes:
    """Encode samples [shape=(n,) or (n, channels)]."""
    stream = io.BytesIO()
    sf.write(stream, y, sr, format=format, subtype=subtype)
    return stream.getvalue()


def clip(**options: object) -> bytes:
    """Encode a valid clip."""
    return encoded(make_tones(0.6, SR), **options)  # type: ignore[arg-type]


def samples(y: Array, sr: int = SR, subtype: str = "FLOAT") -> Write:
    """Write a WAV file of these samples."""
    return lambda path: path.write_bytes(encoded(y, sr, subtype=subtype))


def holding(data: bytes) -> Write:
    """Write these bytes."""
    return lambda path: path.write_bytes(data)


def sized(riff: int, data: int) -> bytes:
    """Put wrong sizes into the headers of a WAV file."""
    whole = clip()
    assert whole[36:40] == b"data"
    return whole[:4] + struct.pack("<I", riff) + whole[8:40] + struct.pack("<I", data) + whole[44:]


def miscounted(factor: float) -> bytes:
    """Put a wrong number of frames into the header of an MP3 file."""
    whole = clip(format="MP3")
    at = max(whole.find(b"Info"), whole.find(b"Xing"))
    assert at > 0, "the encoder wrote no header"
    (count,) = struct.unpack(">I", whole[at + 8 : at + 12])
    return whole[: at + 8] + struct.pack(">I", int(count * factor)) + whole[at + 12 :]


def with_value(value: float) -> Array:
    """Put one odd sample into a clip."""
    y = make_tones(0.6, SR)
    y[1000] = value
    return y


def broken_frame() -> bytes:
    """Damage a frame in the middle of a FLAC file."""
    whole = bytearray(clip(format="FLAC"))
    middle = len(whole) // 2
    whole[middle : middle + 8] = bytes(byte ^ 0x5A for byte in whole[middle : middle + 8])
    return bytes(whole)


def media(container: str, codec: str, **options: bool | int) -> bytes:
    """Encode a valid clip as FFmpeg does."""
    sr = 48_000 if codec == "libopus" else SR
    return encode(make_tones(0.6, sr), sr, container, codec, **options)  # type: ignore[arg-type]


def piped() -> bytes:
    """Remove the number of samples from the header of a FLAC file."""
    whole = bytearray(clip(format="FLAC"))
    whole[21] &= 0xF0
    whole[22:26] = bytes(4)
    return bytes(whole)


def loop(path: Path) -> None:
    """Make a link to itself."""
    path.symlink_to(path.name)


def double(n: int, sr: int = SR) -> Array:
    """Give `n` samples of tones."""
    return np.resize(make_tones(0.6, sr), n)


BIG = 2**32 - 2
CLIPS: dict[str, tuple[Write, str, str]] = {
    "empty.wav": (holding(b""), "unreadable", "unreadable"),
    "text.wav": (holding(b"no sound at all\n" * 99), "unreadable", "unreadable"),
    "cut-header.wav": (holding(clip()[:20]), "unreadable", "unreadable"),
    "header-only.wav": (holding(clip()[:44]), "unreadable", "too_short truncated"),
    "cut-half.wav": (holding(clip()[:16_000]), "too_short", "truncated"),
    "cut-end.wav": (holding(clip()[:-1001]), "taken", "truncated"),
    "riff-0.wav": (holding(sized(0, 19_200)), "taken", "taken"),
    "data-0.wav": (holding(sized(19_236, 0)), "taken unreadable", "taken too_short"),
    "data-more.wav": (holding(sized(19_236, 40_000)), "taken", "truncated"),
    "data-less.wav": (holding(sized(19_236, 2_000)), "too_short", "too_short"),
    "data-4g.wav": (holding(sized(BIG, BIG)), "taken", "taken"),
    "data-odd.wav": (holding(sized(19_235, 19_199)), "taken", "taken"),
    "apple.wav": (holding(b"\x00\x05\x16\x07" + bytes(207)), "unreadable", "unreadable"),
    "nan.wav": (samples(with_value(np.nan)), "not_finite", "not_finite"),
    "inf.wav": (samples(with_value(np.inf)), "not_finite", "not_finite"),
    "one-sample.wav": (samples(np.ones(1)), "too_short", "too_short"),
    "almost.wav": (samples(double(SR // 2 - 1)), "too_short", "too_short"),
    "least.wav": (samples(double(SR // 2)), "taken", "taken"),
    "eight.wav": (samples(np.stack([double(SR)] * 8, axis=1)), "taken", "taken"),
    "many.wav": (samples(np.ones((SR, 65)) * double(SR)[:, None]), "unreadable", "unreadable"),
    "8k.wav": (samples(double(6000, 8000), 8000), "taken", "taken"),
    "192k.wav": (samples(double(115_200, 192_000), 192_000), "taken", "taken"),
    "1-hz.wav": (samples(double(SR), 1), "unreadable", "unreadable"),
    "zeros.wav": (samples(np.zeros(SR)), "silent", "silent"),
    "dc.wav": (samples(np.full(SR, 0.5)), "silent", "silent"),
    "square.wav": (samples(np.sign(np.sin(np.arange(SR) * 0.1)), subtype="PCM_16"), *["taken"] * 2),
    "loud.wav": (samples(1e30 * double(SR)), "taken", "taken"),
    "more.mp3": (holding(miscounted(3)), "taken", "taken truncated"),
    "fewer.mp3": (holding(miscounted(0.9)), "taken", "taken"),
    "frame.flac": (holding(broken_frame()), "unreadable", "unreadable"),
    "phone.m4a": (holding(media("ipod", "aac")), "taken", "taken"),
    "half.m4a": (holding(media("ipod", "aac")[:4000]), "unreadable", "unreadable"),
    "half.webm": (holding(media("webm", "libopus")[:4000]), "too_short", "truncated"),
    "silent.mp4": (holding(media("mp4", "aac", tracks=0, picture=True)), *["unreadable"] * 2),
    "renamed.wav": (holding(clip(format="MP3")), "taken", "taken"),
    "joined.mp3": (
        holding(clip(format="MP3") + b"TAG" + bytes(125) + clip(format="MP3")),
        "taken",
        "taken",
    ),
    "piped.flac": (holding(piped()), "taken", "taken"),
    "audio.dsf": (holding(b"DSD " + bytes(9999)), "unreadable", "absent"),
    "list.m4a": (holding(b"#EXTM3U\n#EXTINF:1,\ngood.wav\n" * 99), *["unreadable"] * 2),
    "list.ts": (holding(b"ffconcat version 1.0\nfile good.wav\n" * 99), *["unreadable"] * 2),
    "bare.raw": (holding(bytes(20_000)), "unreadable", "unreadable"),
    "folder.wav": (Path.mkdir, "unreadable", "absent"),
    "loop.wav": (loop, "unreadable", "absent"),
}
if hasattr(os, "mkfifo"):
    CLIPS["pipe.wav"] = (os.mkfifo, "unreadable", "absent")

NAMES: dict[str, str] = {
    "spaces": " two  words .wav",
    "quotes": 'it\'s "so" `$HOME` %s {x}.wav',
    "newline": "two\nlines.wav",
    "dashes": "--force.wav",
    "bytes": os.fsdecode(b"\xff\xfe caf\xe9.wav"),
    "long": "x" * 251 + ".wav",
    "glob": "a[1]*?.wav",
    "at": "@list.wav",
}
"""Names that a file can have on Linux; other systems do not allow all of them."""
