"""Quick check of a clip: its header, and its first and last block."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.audio.reader import describe_damage, open_audio
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
    with open_audio(path) as file:
        first = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        end = len(first)
        blocks = [first]
        if len(first) == BLOCK_FRAMES and file.frames > BLOCK_FRAMES:
            begin = max(BLOCK_FRAMES, file.frames - BLOCK_FRAMES)
            file.seek(begin)
            blocks.append(file.read(BLOCK_FRAMES, dtype="float32", always_2d=True))
            end = begin + len(blocks[-1])
        damage = describe_damage(file, end)
        info = ClipInfo(int(file.samplerate), int(file.channels), int(file.frames), file.subtype)
    if damage:
        raise AudioFileError(f"{path}: {damage}; copy it again", kind="truncated")
    if info.frames <= 2 * BLOCK_FRAMES:
        check_clip(np.concatenate(blocks).T, info.sr, str(path))
    check_channels(info.channels, str(path))
    finite = all(np.isfinite(block).all() for block in blocks)
    check_usable(info.frames, info.sr, finite, str(path))
    return info
