"""Quick check of a clip: its header, and its first and last block.

Where the last block cannot be read without all others, what is left is only counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.audio.decoder import CUT_OFF
from audiostyle.audio.reader import open_audio
from audiostyle.audio.streams import check_channels, check_clip, check_usable
from audiostyle.errors import AudioFileError

BLOCK_FRAMES = 1 << 16


@dataclass(frozen=True)
class ClipInfo:
    """Format of a clip, and what is wrong with it."""

    sr: int = 0  # Hz
    channels: int = 0
    frames: int = 0
    subtype: str = ""  # libsndfile's name of the sample format
    kind: str = ""  # of the fault, as `AudioFileError.kind`; empty if there is none
    reason: str = ""  # of the fault, in one line

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ClipInfo | None:
        """Restore the fields from JSON; return None if they are not valid."""
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        valid = all(type(record.get(name)) is kind for name, kind in kinds.items())
        if not valid or min(record["sr"], record["channels"], record["frames"]) < 0:
            return None
        return cls(**{name: record[name] for name in kinds})

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.sr if self.sr else 0.0


def probe_clip(path: Path) -> ClipInfo:
    """Check a clip without reading all of it; silence in a long clip is not found."""
    try:
        return _probe(path)
    except AudioFileError as error:
        return ClipInfo(kind=error.kind, reason=str(error))


def _probe(path: Path) -> ClipInfo:
    with open_audio(path) as decoder:
        first = decoder.read(BLOCK_FRAMES)
        left, last = decoder.skip_to_last(BLOCK_FRAMES)
        n = first.shape[1] + left
        notes = decoder.notes(n)
        info = ClipInfo(decoder.sr, decoder.channels, n, decoder.subtype)
    cut = next((note for note in notes if note.startswith(CUT_OFF)), "")
    if cut:
        raise AudioFileError(f"{path}: {cut}; copy it again", kind="truncated")
    if left == last.shape[1]:
        check_clip(np.concatenate([first, last], axis=1), info.sr, str(path))
    check_channels(info.channels, str(path))
    finite = bool(np.isfinite(first).all() and np.isfinite(last).all())
    check_usable(info.frames, info.sr, finite, str(path))
    return info
