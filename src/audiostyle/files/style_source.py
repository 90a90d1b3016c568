"""Style sources: where the clips of a style are, and how they are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from audiostyle.audio.folder import SkippedFile, find_clips
from audiostyle.audio.reader import FileSource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.style import AnalyzedStyle, Style
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import AudioFileError
from audiostyle.utils.atomic_files import file_digest


@dataclass
class StyleSource:
    """The clips of one style: a file, the files of a folder, or an analysed style file."""

    path: Path
    weight: float
    clips: list[Path]
    # Filled by `read_clips`, or known from a style file:
    used: list[dict[str, Any]] = field(default_factory=list)  # as from `describe_clip`
    skipped: list[SkippedFile] = field(default_factory=list)  # also files that are no clips
    notes: list[str] = field(default_factory=list)
    sha256: str | None = None  # of a style file
    analyzed: Callable[[], AnalyzedStyle] | None = None  # then no clip is read

    def as_style(self, config: TransferConfig) -> Style:
        """Return what a transfer takes; see `open_clips`."""
        clips = () if self.analyzed is not None else open_clips(self, config)
        return Style(clips, self.weight, str(self.path), self.analyzed)


def find_source(path: Path, weight: float = 1.0) -> StyleSource:
    """Find the clips below a folder, or take the one clip that `path` is."""
    if not os.path.isdir(path):
        return StyleSource(path, weight, [path])
    found = find_clips(path)
    return StyleSource(path, weight, found.clips, skipped=found.skipped)


def open_clips(source: StyleSource, config: TransferConfig) -> Iterator[NormalizedStream]:
    """Open the first usable clip now, and the others one by one as they are iterated.

    A style without a usable clip raises an `AudioFileError` here, before TensorFlow is loaded.
    """
    clips = read_clips(source, config)
    return chain([next(clips)], clips)


def read_clips(source: StyleSource, config: TransferConfig) -> Iterator[NormalizedStream]:
    """Open the clips of a style one by one, and list in `source` what was used and skipped.

    A clip of a folder that cannot be used is skipped; if none can, an `AudioFileError` says why.
    """
    first_error: AudioFileError | None = None
    for path in source.clips:
        try:
            file = FileSource(path)
            stream = NormalizedStream(file, config)
        except AudioFileError as error:
            if not os.path.isdir(source.path):
                raise
            first_error = first_error or error
            source.skipped.append({"path": str(path), "reason": str(error)})
            continue
        source.used.append(describe_clip(path, stream.sr, stream.channels, stream.n))
        source.notes += file.notes
        yield stream
    if not source.used and first_error is not None:
        raise AudioFileError(
            f"{source.path}: none of its {len(source.clips)} files can be used; "
            f"the first: {first_error}",
            first_error.kind,
        )


def describe_clip(path: Path, sr: int, channels: int, samples: int) -> dict[str, Any]:
    """Return the entry of an input file in a record."""
    try:
        digest = file_digest(path)
    except OSError as error:
        raise AudioFileError(
            f"{path}: disappeared after it was read ({error.strerror}); restore it and try again",
            kind="missing",
        ) from None
    size = {"sr": sr, "channels": channels, "samples": samples}
    return {"path": str(path), "sha256": digest, **size}
