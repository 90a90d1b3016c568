"""A first look at a clip: its header, its first and its last block. A broken one costs little."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio import reader
from audiostyle.audio.streams import check_clip
from audiostyle.config.transfer_config import MAX_CHANNELS, MIN_SECONDS
from audiostyle.errors import AudioFileError

Array = npt.NDArray[Any]

BLOCK_FRAMES = 1 << 16


@dataclass(frozen=True)
class ClipInfo:
    """What a first look found.

    Attributes
    ----------
    sr : int, in Hz
    channels : int
    frames : int
    subtype : str
        libsndfile's name of the sample format.
    kind : str
        What is wrong, as `AudioFileError.kind`; empty if nothing is.
    reason : str
        The same in one line.
    """

    sr: int = 0
    channels: int = 0
    frames: int = 0
    subtype: str = ""
    kind: str = ""
    reason: str = ""

    @classmethod
    def recall(cls, known: Mapping[str, Any]) -> ClipInfo | None:
        """Make facts of what a journal says; None if that cannot be right.

        Parameters
        ----------
        known : dict of str to Any

        Returns
        -------
        Facts or None
        """
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        whole = all(type(known.get(name)) is kind for name, kind in kinds.items())
        counts = whole and min(known["sr"], known["channels"], known["frames"]) >= 0
        return cls(**{name: known[name] for name in kinds}) if counts else None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self.sr if self.sr else 0.0


def probe_clip(path: Path) -> ClipInfo:
    """Look at a clip without reading all of it.

    What only a full reading can find, as silence in a long clip, is not found here.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Facts
    """
    try:
        return _look(path)
    except AudioFileError as error:
        return ClipInfo(kind=error.kind, reason=str(error))


def _look(path: Path) -> ClipInfo:
    with reader.open_audio(path) as file:
        first = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        end = len(first)
        blocks = [first]
        if len(first) == BLOCK_FRAMES and file.frames > BLOCK_FRAMES:
            begin = max(BLOCK_FRAMES, file.frames - BLOCK_FRAMES)
            file.seek(begin)
            blocks.append(file.read(BLOCK_FRAMES, dtype="float32", always_2d=True))
            end = begin + len(blocks[-1])
        damage = reader.describe_damage(file, end)
        facts = ClipInfo(int(file.samplerate), int(file.channels), int(file.frames), file.subtype)
    if damage:
        raise AudioFileError(f"{path}: {damage[0]}; copy it anew", kind="truncated")
    if facts.frames <= 2 * BLOCK_FRAMES:
        check_clip(np.concatenate(blocks).T, facts.sr, str(path))
    _check(facts, blocks, path)
    return facts


def _check(facts: ClipInfo, blocks: list[Array], path: Path) -> None:
    if facts.channels > MAX_CHANNELS:
        raise AudioFileError(f"{path}: {facts.channels} channels; at most {MAX_CHANNELS} are taken")
    if facts.seconds < MIN_SECONDS:
        raise AudioFileError(
            f"{path}: {facts.seconds:.3g} s is too short; at least {MIN_SECONDS} s are needed",
            kind="too_short",
        )
    if not all(np.isfinite(block).all() for block in blocks):
        raise AudioFileError(
            f"{path}: holds NaN or infinite samples; repair or re-export it", kind="not_finite"
        )
